//! A resolved configuration, section by section.

use serde::{Deserialize, Serialize};
use stages::curate::CurateConfig;
use stages::evaluate::EvaluateConfig;
use stages::gate::{GateConfig, Require};
use stages::judge::VerifyConfig;
use stages::model::DeviceSetting;
use stages::policy::PromptConfig;
use stages::policy::endpoint::EndpointConfig;
use stages::problems::ProblemsConfig;
use stages::search::{Sampler, SearchConfig, TreeConfig};
use stages::train::losses::TokenLoss;
use stages::train::{ModelConfig, TrainConfig};
use stages::value::ValueConfig;

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    pub seed: u64,
    pub rounds: u32,
    pub shard_size: usize,
    pub device: DeviceSetting,
}

/// A resolved configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub run: RunConfig,
    pub problems: ProblemsConfig,
    pub prompt: PromptConfig,
    pub search: SearchConfig,
    pub tree: TreeConfig,
    pub verify: VerifyConfig,
    pub curate: CurateConfig,
    pub value: ValueConfig,
    pub model: ModelConfig,
    pub train: TrainConfig,
    pub gate: GateConfig,
    pub evaluate: EvaluateConfig,
    pub endpoint: EndpointConfig,
}

impl Config {
    /// Whether a round has a value stage: a student from scratch has no trunk before it was trained.
    pub fn has_value(&self, round: u32) -> bool {
        let model = match self.search.policy {
            Sampler::Teacher => true,
            Sampler::Model => round > 1 || !self.model.from_scratch(),
            Sampler::None | Sampler::Rules | Sampler::Endpoint => false,
        };
        self.value.is_on_in(model)
    }

    /// Whether a teacher reads what rounds keep.
    pub fn has_score(&self) -> bool {
        self.train.loss == TokenLoss::Distil && self.train.on_policy < 1.0
    }

    /// Whether rounds have a gate: a student that is no policy afterwards needs none.
    pub fn has_gate(&self) -> bool {
        self.gate.require != Require::None && self.run.rounds > 1 && self.search.policy == Sampler::Model
    }
}
