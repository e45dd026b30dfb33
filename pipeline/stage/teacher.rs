//! What the train stage has of a teacher (`train.loss = "distil"`): stored targets of kept rows, and a model
//! that reads what the student writes itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use datasets::table::TokenTargets;
use datasets::types::{Kept, Problem, Split};
use serde::Serialize;
use stages::curate::contamination::normalised;
use stages::model::soft::TopK;
use stages::model::{Model, Precision, Tokenizer};
use stages::policy::endpoint::{EndpointConfig, Scorer};
use stages::train::on_policy::OnPolicy;
use stages::train::teacher::{Teacher, Tokens, same_tokens, stored};
use stages::train::{TeacherAt, TrainConfig, row_tokens, validates};

use crate::run::rows::{Rounds, StageOutput, problems_of};
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::stage::policy::ModelFiles;
use crate::terminal::exit::Failure;

/// What the teacher said of each kept row, if it has read it.
///
/// # Errors
/// Failed reads.
pub fn taught(targets: &Rounds, kept: &[Kept], config: &TrainConfig) -> Result<Vec<Option<Arc<TopK>>>> {
    let mut all = HashMap::new();
    for round in &targets.0 {
        for row in round.read::<TokenTargets>()? {
            all.insert(row.solution_id.clone(), Arc::new(stored(row, config)?));
        }
    }
    Ok(kept.iter().map(|row| all.get(&row.solution_id).cloned()).collect())
}

/// The tokens of a model.
pub fn tokens(model: &Model) -> Tokens<'_> {
    Tokens { tokenizer: &model.tokenizer, ends: &model.decoder.config.eos_token_ids }
}

/// Refuses a teacher whose tokens are not the student's.
///
/// # Errors
/// What differs.
pub fn refuse_other_tokens(path: &Path, teacher: Tokens<'_>, student: Tokens<'_>) -> Result<(), Failure> {
    same_tokens(teacher, student).map_err(|why| {
        Failure::input(
            format!("{} cannot be the teacher: {why}", path.display()),
            "a student learns a teacher's distribution over the same tokens: set model.teacher to a model of \
             the student's family, or train.loss to \"ce\" to learn from its samples",
        )
    })
}

/// Who teaches, as an input.
#[derive(Serialize)]
#[serde(untagged)]
pub enum TeacherInputs {
    Model(ModelFiles),
    /// What the server's model is called; where it is does not count.
    Server {
        endpoint: String,
        revision: String,
        #[serde(skip)]
        settings: Box<EndpointConfig>,
    },
}

/// A teacher that is there to be asked.
pub enum Loaded {
    Model(Arc<Model>),
    Server(Box<EndpointConfig>),
}

impl TeacherInputs {
    /// The teacher of a session.
    ///
    /// # Errors
    /// A model that cannot be read.
    pub fn of(session: &Session) -> Result<Self> {
        let c = &session.config;
        Ok(match c.train.teacher {
            TeacherAt::Model => Self::Model(ModelFiles::of(session, &c.model.teacher)?),
            TeacherAt::Endpoint => Self::Server {
                endpoint: c.endpoint.model.clone(),
                revision: c.endpoint.revision.clone(),
                settings: Box::new(c.endpoint.clone()),
            },
        })
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Model(files) => files.path.display().to_string(),
            Self::Server { endpoint, .. } => format!("{endpoint} behind the endpoint"),
        }
    }

    /// # Errors
    /// A teacher that cannot be read, or has other tokens than the student. A server's tokens are looked at
    /// in what it says.
    pub fn load(&self, workspace: &Workspace, dtype: Precision, student: &Model) -> Result<Loaded> {
        match self {
            Self::Model(files) => {
                let teacher = files.load(workspace, dtype)?;
                refuse_other_tokens(&files.path, tokens(&teacher), tokens(student))?;
                Ok(Loaded::Model(teacher))
            }
            Self::Server { settings, .. } => Ok(Loaded::Server(settings.clone())),
        }
    }
}

impl Loaded {
    /// The teacher of a student with this tokenizer.
    ///
    /// # Errors
    /// Settings of a server that cannot work.
    pub fn teacher<'a>(&'a self, workspace: &Workspace, tokenizer: &'a Tokenizer) -> Result<Teacher<'a>> {
        Ok(match self {
            Self::Model(model) => Teacher::new(&model.decoder, workspace.device()?),
            Self::Server(settings) => {
                Teacher::Server(Box::new(Scorer::new(settings, workspace.run.responses())?), tokenizer)
            }
        })
    }

    /// Longest text that it reads, in tokens, as far as that is known.
    pub fn context(&self) -> usize {
        match self {
            Self::Model(model) => model.decoder.config.max_position_embeddings,
            Self::Server(_) => usize::MAX,
        }
    }
}

/// What rows that a student writes itself depend on.
#[derive(Serialize)]
pub struct OwnRows {
    teacher: TeacherInputs,
}

impl OwnRows {
    /// Those of a session, if it asks for any.
    ///
    /// # Errors
    /// A teacher that cannot be read.
    pub fn of(session: &Session) -> Result<Option<Self>> {
        if session.config.train.on_policy == 0.0 {
            return Ok(None);
        }
        Ok(Some(Self { teacher: TeacherInputs::of(session)? }))
    }

    /// The teacher.
    ///
    /// # Errors
    /// Those of [`TeacherInputs::load`].
    pub fn load(&self, workspace: &Workspace, dtype: Precision, student: &Model) -> Result<Loaded> {
        self.teacher.load(workspace, dtype, student)
    }

    /// The questions of train problems as the student is asked them: not of those that validate, and none
    /// that a test problem asks.
    ///
    /// # Errors
    /// Failed reads; if no question is left.
    pub fn prompts(problems: &StageOutput, config: &TrainConfig, student: &Model) -> Result<Vec<Vec<u32>>> {
        let held: Vec<Problem> =
            if config.allow_leaks { Vec::new() } else { problems_of(problems, Split::Test, 0)? };
        let held: HashSet<String> = held.iter().map(|p| normalised(&p.question)).collect();
        let asked = |problem: &Problem| {
            !validates(&problem.problem_id, config) && !held.contains(&normalised(&problem.question))
        };
        let mut prompts = Vec::new();
        for problem in problems_of(problems, Split::Train, 0)?.iter().filter(|problem| asked(problem)) {
            let (prompt, _) = row_tokens(&student.tokenizer, 0, &problem.question, "")?;
            if OnPolicy::fits(&prompt, config, &student.decoder.config) {
                prompts.push(prompt);
            }
        }
        if prompts.is_empty() {
            return Err(Failure::input(
                "no train problem is left for the student to answer (train.on_policy)",
                "lower train.on_policy_tokens, or give more problems",
            )
            .into());
        }
        Ok(prompts)
    }
}
