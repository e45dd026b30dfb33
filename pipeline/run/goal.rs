//! What to do with a run.

use crate::disk::layout::Stage;

/// What to do with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything that is outstanding.
    All,
    /// The same, up to this stage of the last round.
    Until(Stage),
    /// One stage of a round, on what is committed.
    One(Stage, u32),
    /// Nothing: only say what is outstanding.
    Look,
}

impl Goal {
    /// Whether a stage of a round is the goal; problems belong to every round.
    pub fn is(self, stage: Stage, round: u32) -> bool {
        matches!(self, Goal::One(s, r) if s == stage && (r == round || s == Stage::Problems))
    }
}
