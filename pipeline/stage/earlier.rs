//! What the rounds before, and the one at hand so far, have given.

use crate::run::rows::{Rounds, StageOutput};

/// What the rounds before, and the one at hand so far, have given.
#[derive(Default)]
pub struct EarlierRounds {
    pub searches: Rounds,
    pub verdicts: Rounds,
    pub kept: Rounds,
    /// What a teacher said of the kept rows, with `train.loss = "distil"`.
    pub targets: Rounds,
    /// The last student that the gate accepted: the policy of the round at hand, if it is a model.
    pub student: Option<StageOutput>,
    /// What the gate measured of it, or of the base while no student was accepted.
    pub gate: Option<Gated>,
    /// The policy of the round before, likewise.
    pub searcher: Option<StageOutput>,
    /// The value models of the round before.
    pub value: Option<StageOutput>,
}

/// Rows of a gate that measure the current policy, and the name that they have there.
pub struct Gated {
    pub rows: StageOutput,
    pub model: &'static str,
}
