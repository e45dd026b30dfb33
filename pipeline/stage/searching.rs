//! A search as inputs: settings, policy, and what says how much a state is worth.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use stages::model::generate::Limits;
use stages::model::{Precision, ValueHead, value_head};
use stages::policy::model::ModelPolicy;
use stages::policy::{Policy, Prompt};
use stages::search::value::Values;
use stages::search::{self, Sampler, SearchConfig, TreeConfig};
use stages::value::network::Network;
use stages::value::targets::Level;
use stages::value::{Estimator, Measured, Trained};

use crate::run::inputs;
use crate::run::rows::StageOutput;
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::stage::earlier::EarlierRounds;
use crate::stage::policy::SamplingPolicy;
use crate::stage::verifier::{self, Verifier};

/// Files of a value model's directory.
pub const NETWORK: &str = "network.safetensors";
pub const METRICS: &str = "metrics.json";

/// A value model that a stage has learned.
#[derive(Clone, Serialize)]
pub struct ValueModel {
    pub learned: StageOutput,
    pub model: Estimator,
    pub level: Level,
    /// The policy on whose trunk it stands, if it does.
    trunk: Option<SamplingPolicy>,
    #[serde(serialize_with = "inputs::dtype")]
    dtype: Precision,
    #[serde(skip)]
    limits: Limits,
}

impl ValueModel {
    /// That of a level; `trunk` is the policy of the round in which it was learned.
    pub fn of(session: &Session, learned: &StageOutput, level: Level, trunk: &SamplingPolicy) -> Self {
        let c = &session.config;
        Self {
            learned: learned.clone(),
            model: c.value.model,
            level,
            trunk: (c.value.model == Estimator::Trunk).then(|| trunk.clone()),
            // A trunk has that of its policy.
            dtype: if c.value.model == Estimator::Decoder { c.model.dtype } else { Precision::Auto },
            limits: c.model.limits(),
        }
    }

    /// Reads it, with how good it is.
    ///
    /// # Errors
    /// Files that are damaged or missing.
    pub fn load(&self, workspace: &Workspace) -> Result<(Trained, Measured)> {
        let dir = self.learned.beside(&format!("value-{}", self.level.name()));
        let bytes = |file: &str| -> Result<(PathBuf, Vec<u8>)> {
            let path = dir.join(file);
            let read = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            Ok((path, read))
        };
        let (path, text) = bytes(METRICS)?;
        let measured: Measured = serde_json::from_slice(&text)
            .with_context(|| format!("{}: not a value model's metrics", path.display()))?;
        let trained = match self.model {
            Estimator::Features => {
                let (path, bytes) = bytes(NETWORK)?;
                Trained::Network(Box::new(Network::parse(&path, &bytes)?))
            }
            Estimator::Trunk => {
                let policy = self.trunk.as_ref().map(|trunk| trunk.model(workspace)).transpose()?.flatten();
                let mut trunk = policy.context("the policy of the value model's trunk is gone")?;
                let (path, bytes) = bytes(value_head::FILE)?;
                trunk.set_head(ValueHead::parse(&path, &bytes, trunk.model().decoder.config.hidden_size)?);
                Trained::Reader(Box::new(trunk))
            }
            Estimator::Decoder | Estimator::None => {
                let model = workspace.load(&dir, self.dtype)?;
                Trained::Reader(Box::new(ModelPolicy::new(
                    Arc::clone(&model),
                    Prompt::default(),
                    self.limits,
                )))
            }
        };
        Ok((trained, measured))
    }
}

/// A value model as searches ask it; none: all states are worth the same.
pub fn as_values(trained: Option<&mut Trained>) -> Values<'_> {
    match trained {
        None => Values::None,
        Some(Trained::Network(network)) => Values::State(&**network),
        Some(Trained::Reader(reader)) => Values::Model(&mut **reader),
    }
}

/// `[tree]` with the threshold of a value model.
pub fn with_threshold(tree: &TreeConfig, threshold: Option<f32>) -> TreeConfig {
    let least = threshold.map_or(tree.threshold, |t| tree.threshold.max(f64::from(t)));
    TreeConfig { threshold: least, ..tree.clone() }
}

/// A value model that guides a search, and whether branches below its threshold are given up.
#[derive(Clone, Serialize)]
pub struct Guide {
    #[serde(flatten)]
    pub values: ValueModel,
    pub prune: bool,
}

/// How a round's problems are searched.
#[derive(Clone, Serialize)]
pub struct Searching {
    searches: u32,
    pub search: SearchConfig,
    tree: TreeConfig,
    rules: String,
    #[serde(serialize_with = "verifier::command")]
    pub verifier: Verifier,
    policy: SamplingPolicy,
    #[serde(rename = "value")]
    guide: Option<Guide>,
    /// Whether the policy says values itself, by the head that it was trained with.
    own_values: bool,
}

impl Searching {
    /// # Errors
    /// A model directory that cannot be read.
    pub fn of(session: &Session, problems: &StageOutput, earlier: &EarlierRounds) -> Result<Self> {
        let c = &session.config;
        let verifier = Verifier::of(session)?;
        let policy = SamplingPolicy::of(session, problems, earlier.student.as_ref())?;
        let guide = match &earlier.value {
            None => None,
            Some(learned) => {
                // That model may stand on the trunk of the policy of its own round.
                let trunk = SamplingPolicy::of(session, problems, earlier.searcher.as_ref())?;
                let values = ValueModel::of(session, learned, c.value.levels[0], &trunk);
                Some(Guide { values, prune: c.value.prune })
            }
        };
        let head = c.search.policy == Sampler::Model && c.train.value_weight > 0.0;
        let own_values = guide.is_none() && head && earlier.student.is_some();
        Ok(Self {
            searches: search::VERSION,
            search: c.search.clone(),
            tree: c.tree.clone(),
            rules: verifier.rules(),
            verifier,
            policy,
            guide,
            own_values,
        })
    }

    /// Loads what it needs.
    ///
    /// # Errors
    /// Models that cannot be read.
    pub fn open(&self, workspace: &Workspace) -> Result<OpenSearch> {
        let policy = self.policy.build(workspace)?;
        let guide = self.guide.as_ref().map(|guide| guide.values.load(workspace)).transpose()?;
        let prune = self.guide.as_ref().is_some_and(|guide| guide.prune);
        let threshold = guide.as_ref().map(|(_, measured)| measured.threshold).filter(|_| prune);
        let tree = with_threshold(&self.tree, threshold);
        Ok(OpenSearch { policy, trained: guide.map(|(trained, _)| trained), tree, own: self.own_values })
    }
}

/// A search whose models are loaded.
pub struct OpenSearch {
    policy: Option<Box<dyn Policy>>,
    trained: Option<Trained>,
    pub tree: TreeConfig,
    own: bool,
}

impl OpenSearch {
    /// The policy, if there is one, and the values.
    pub fn parts(&mut self) -> (Option<&mut (dyn Policy + 'static)>, Values<'_>) {
        let own = self.own && self.policy.is_some();
        let policy = self.policy.as_deref_mut();
        (policy, if own { Values::Own } else { as_values(self.trained.as_mut()) })
    }
}
