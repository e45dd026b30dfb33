//! The sampling policy of a round, and the model that a run starts from: described as inputs, and built from
//! that description and nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::table::Example;
use datasets::types::{Kept, Problem, Split};
use serde::Serialize;
use stages::model::generate::Limits;
use stages::model::{Model, Precision};
use stages::policy::PromptConfig;
use stages::policy::endpoint::{Endpoint, EndpointConfig};
use stages::policy::model::ModelPolicy;
use stages::policy::rules::Rules;
use stages::policy::{Policy, Prompt};
use stages::search::Sampler;
use stages::train::ModelConfig;
use stages::train::select::Targets;

use crate::run::inputs;
use crate::run::rows::{Rounds, StageOutput};
use crate::run::session::Session;
use crate::run::workspace::{FileHashes, Workspace};
use crate::stage::lessons;
use crate::stage::verifier::Verifier;

/// A model directory or GGUF file as an input: what is in it counts, not where it is.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct ModelFiles {
    #[serde(skip)]
    pub path: PathBuf,
    files: FileHashes,
}

impl ModelFiles {
    /// # Errors
    /// Files that cannot be read.
    pub fn of(session: &Session, path: &str) -> Result<Self> {
        let path = PathBuf::from(path);
        Ok(Self { files: session.workspace.file_hashes(&path)?, path })
    }

    /// # Errors
    /// Those of [`Workspace::load`].
    pub fn load(&self, workspace: &Workspace, dtype: Precision) -> Result<Arc<Model>> {
        workspace.load(&self.path, dtype)
    }
}

/// The model that a run starts from.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Base {
    /// A model directory: what is in it counts, not where it is.
    Directory {
        #[serde(skip)]
        path: PathBuf,
        files: FileHashes,
        #[serde(serialize_with = "inputs::dtype")]
        dtype: Precision,
    },
    /// An untrained decoder, with a tokenizer that is trained on the run's own texts.
    FromScratch {
        #[serde(serialize_with = "inputs::model")]
        model: ModelConfig,
        #[serde(serialize_with = "inputs::dtype")]
        dtype: Precision,
        seed: u64,
        /// Whose questions, and whose completions.
        problems: StageOutput,
        kept: Option<StageOutput>,
        /// Whether completions will hold `undo` lines.
        undo: bool,
    },
}

impl Base {
    /// The base of a session; `kept` are the rows of all rounds so far.
    ///
    /// # Errors
    /// A model directory that cannot be read.
    pub fn of(session: &Session, problems: &StageOutput, kept: &Rounds) -> Result<Self> {
        let (model, train) = (&session.config.model, &session.config.train);
        if model.from_scratch() {
            return Ok(Self::FromScratch {
                model: model.clone(),
                dtype: model.dtype,
                seed: session.config.run.seed,
                problems: problems.clone(),
                kept: kept.0.first().cloned(),
                undo: train.targets == Targets::Search,
            });
        }
        let path = PathBuf::from(&model.path);
        Ok(Self::Directory { files: session.workspace.file_hashes(&path)?, path, dtype: model.dtype })
    }

    /// Loads it, or makes it.
    ///
    /// # Errors
    /// A damaged directory; a vocabulary that is too small.
    pub fn load(&self, workspace: &Workspace) -> Result<Arc<Model>> {
        match self {
            Self::Directory { path, dtype, .. } => workspace.base(|| workspace.load(path, *dtype)),
            Self::FromScratch { model, seed, problems, kept, undo, .. } => workspace.base(|| {
                let texts = || texts(problems, kept.as_ref(), *undo);
                Ok(Arc::new(stages::train::base(model, texts, *seed, workspace.device()?)?))
            }),
        }
    }
}

/// Texts that a tokenizer from scratch is trained on: questions of train problems, and what round 1 kept.
fn texts(problems: &StageOutput, kept: Option<&StageOutput>, undo: bool) -> Result<Vec<String>> {
    let train = problems.read::<Problem>()?.into_iter().filter(|p| p.split == Split::Train);
    let mut texts: Vec<String> = train.map(|p| p.question).collect();
    let kept = kept.context("round 1 kept nothing")?;
    texts.extend(kept.read::<Kept>()?.into_iter().map(|k| k.completion));
    if undo {
        texts.extend(lessons::words(texts.len()));
    }
    Ok(texts)
}

/// `[prompt]`, and worked examples, which problems hold.
#[derive(Clone, Serialize)]
pub struct PromptInputs {
    #[serde(flatten)]
    config: PromptConfig,
    examples: StageOutput,
}

impl PromptInputs {
    pub fn of(session: &Session, problems: &StageOutput) -> Self {
        Self { config: session.config.prompt.clone(), examples: problems.clone() }
    }

    /// # Errors
    /// Failed reads.
    pub fn read(&self) -> Result<Prompt> {
        let examples: Vec<Example> = self.examples.read()?;
        let examples = examples.into_iter().map(|e| (e.question, e.completion)).collect();
        Ok(Prompt { config: self.config.clone(), examples })
    }
}

/// The policy whose samples a round searches.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SamplingPolicy {
    /// The rules alone are searched. So is round 1 of a student from scratch.
    None,
    Rules {
        rules: String,
        #[serde(skip)]
        verifier: Verifier,
    },
    Endpoint {
        #[serde(serialize_with = "inputs::endpoint")]
        settings: EndpointConfig,
        prompt: PromptInputs,
    },
    /// A trained student, which is asked the question alone.
    Student {
        student: StageOutput,
        #[serde(serialize_with = "inputs::dtype")]
        dtype: Precision,
        #[serde(skip)]
        limits: Limits,
    },
    Base {
        base: Base,
        prompt: PromptInputs,
        #[serde(skip)]
        limits: Limits,
    },
    /// A model that is searched in every round, and that students learn from.
    Teacher {
        files: ModelFiles,
        #[serde(serialize_with = "inputs::dtype")]
        dtype: Precision,
        prompt: PromptInputs,
        #[serde(skip)]
        limits: Limits,
    },
}

impl SamplingPolicy {
    /// The policy of a round; `student` is the last one before it that the gate accepted.
    ///
    /// # Errors
    /// A model directory that cannot be read.
    pub fn of(session: &Session, problems: &StageOutput, student: Option<&StageOutput>) -> Result<Self> {
        let c = &session.config;
        Ok(match (c.search.policy, student) {
            (Sampler::None, _) => Self::None,
            (Sampler::Rules, _) => Self::rules(session)?,
            (Sampler::Endpoint, _) => {
                Self::Endpoint { settings: c.endpoint.clone(), prompt: PromptInputs::of(session, problems) }
            }
            (Sampler::Teacher, _) => Self::Teacher {
                files: ModelFiles::of(session, &c.model.teacher)?,
                dtype: c.model.dtype,
                prompt: PromptInputs::of(session, problems),
                limits: c.model.limits(),
            },
            (Sampler::Model, Some(student)) => Self::student(session, student),
            (Sampler::Model, None) if c.model.from_scratch() => Self::None,
            (Sampler::Model, None) => Self::base(session, problems)?,
        })
    }

    /// The rules of the domain as policy.
    ///
    /// # Errors
    /// A file of a command that cannot be read.
    pub fn rules(session: &Session) -> Result<Self> {
        let verifier = Verifier::of(session)?;
        Ok(Self::Rules { rules: verifier.rules(), verifier })
    }

    /// A student as policy.
    pub fn student(session: &Session, student: &StageOutput) -> Self {
        let model = &session.config.model;
        Self::Student { student: student.clone(), dtype: model.dtype, limits: model.limits() }
    }

    /// A base from a directory as policy, with instruction and examples.
    ///
    /// # Errors
    /// A model directory that cannot be read.
    pub fn base(session: &Session, problems: &StageOutput) -> Result<Self> {
        Ok(Self::Base {
            base: Base::of(session, problems, &Rounds::default())?,
            prompt: PromptInputs::of(session, problems),
            limits: session.config.model.limits(),
        })
    }

    /// Builds the policy; None if there is none.
    ///
    /// # Errors
    /// Models that cannot be read; an endpoint that cannot work.
    pub fn build(&self, workspace: &Workspace) -> Result<Option<Box<dyn Policy>>> {
        Ok(match self {
            Self::None => None,
            Self::Rules { verifier, .. } => Some(Box::new(Rules(verifier.open(workspace)?))),
            Self::Endpoint { settings, prompt } => {
                let answers = workspace.run.responses();
                Some(Box::new(Endpoint::new(settings.clone(), prompt.read()?, answers)?))
            }
            Self::Student { .. } | Self::Base { .. } | Self::Teacher { .. } => {
                self.model(workspace)?.map(|policy| Box::new(policy) as Box<dyn Policy>)
            }
        })
    }

    /// The same if it is a model in this process.
    ///
    /// # Errors
    /// Models that cannot be read.
    pub fn model(&self, workspace: &Workspace) -> Result<Option<ModelPolicy>> {
        Ok(match self {
            Self::Student { student, dtype, limits } => {
                let model = workspace.load(&student.beside("student"), *dtype)?;
                Some(ModelPolicy::new(model, Prompt::default(), *limits))
            }
            Self::Base { base, prompt, limits } => {
                Some(ModelPolicy::new(base.load(workspace)?, prompt.read()?, *limits))
            }
            Self::Teacher { files, dtype, prompt, limits } => {
                Some(ModelPolicy::new(files.load(workspace, *dtype)?, prompt.read()?, *limits))
            }
            Self::None | Self::Rules { .. } | Self::Endpoint { .. } => None,
        })
    }

    /// The same where nothing else will do.
    ///
    /// # Errors
    /// Those of [`SamplingPolicy::model`]; a policy that is none.
    pub fn measured(&self, workspace: &Workspace) -> Result<ModelPolicy> {
        self.model(workspace)?.context("a model in this process is measured")
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether it proposes the legal steps of the domain.
    pub fn is_rules(&self) -> bool {
        matches!(self, Self::Rules { .. })
    }
}
