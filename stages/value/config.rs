//! `[value]` of a configuration.

use serde::{Deserialize, Serialize};

use super::targets::{Level, Reading, Targets};
use crate::train::value::ValueLoss;

/// What says what a state is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    None,
    /// A small network over the domain's features of a state.
    Features,
    /// A head on the frozen trunk of the policy that searched.
    Trunk,
    /// A decoder of its own, started from `[model]`.
    Decoder,
}

/// `[value]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueConfig {
    pub model: Estimator,
    /// The first guides searches.
    pub levels: Vec<Level>,
    pub targets: Targets,
    pub min_tries: u32,
    pub unexplored: f64,
    /// Most wrong states of an enumerated tree.
    pub states: usize,
    pub loss: ValueLoss,
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    /// Share of the problems that choose the epoch and the threshold, and measure the values: half for each.
    pub holdout: f64,
    /// Most correct branches that the threshold may lose.
    pub lost: f64,
    /// Wrong samples of a problem whose first wrong step is looked for by rollouts; 0 for none.
    pub bisect: usize,
    /// Rollouts of a probe.
    pub rollouts: usize,
    /// Whether searches give up branches below that threshold.
    pub prune: bool,
}

impl ValueConfig {
    /// Whether values are learned at all.
    pub fn is_on(&self) -> bool {
        self.model != Estimator::None
    }

    /// Whether they are in a round: a head needs the trunk of a model that searched (`searched`).
    pub fn is_on_in(&self, searched: bool) -> bool {
        self.is_on() && (self.model != Estimator::Trunk || searched)
    }

    pub(super) fn reading(&self) -> Reading {
        // A head on the trunk of a model judges what that model writes.
        let most = if self.model == Estimator::Trunk { 0 } else { self.states };
        Reading { targets: self.targets, min_tries: self.min_tries, unexplored: self.unexplored as f32, most }
    }
}
