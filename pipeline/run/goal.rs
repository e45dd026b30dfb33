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
    /// What one process has to do, up to the next stage that several may share.
    Finish,
    /// Shards of the stages that several processes may share, up to the next that they may not; or of one of
    /// these stages alone.
    Share(Option<(Stage, u32)>),
    /// Nothing: only say what is outstanding.
    Look,
}

impl Goal {
    /// Whether decisions and results are written: they are for one process.
    pub fn decides(self) -> bool {
        !matches!(self, Goal::Share(_) | Goal::Look)
    }

    /// Whether a stage is left to others.
    pub fn leaves(self, stage: Stage, round: u32) -> bool {
        match self {
            Goal::Look => true,
            Goal::Finish => stage.is_shared(),
            Goal::Share(one) => !stage.is_shared() || one.is_some_and(|one| one != (stage, round)),
            Goal::All | Goal::Until(_) | Goal::One(..) => false,
        }
    }

    /// Whether a stage of a round is the goal; problems belong to every round.
    pub fn is(self, stage: Stage, round: u32) -> bool {
        matches!(self, Goal::One(s, r) if s == stage && (r == round || s == Stage::Problems))
    }
}
