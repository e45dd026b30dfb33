//! `values`: what a value model says of states that it has not seen.

use super::column::table;

/// A state of a problem that was held out of the value model's training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueRow {
    pub problem_id: String,
    pub round: u32,
    /// `steps` (a value of every state) or `outcome` (of whole solutions).
    pub level: String,
    /// Steps taken.
    pub depth: u32,
    pub value: f32,
    pub target: f32,
    pub weight: f32,
}

table! {
    ValueRow, "values", version 1, "what a value model says of a state that it has not seen",
    {
        problem_id: "the problem, which was held out of the value model's training",
        round: "round of the run",
        level: "steps (a value of every state) or outcome (of whole solutions)",
        depth: "steps taken",
        value: "estimated probability that the state leads to a correct answer",
        target: "what came of it in the search trees",
        weight: "how much it counts: states that were drawn from many stand for the others",
    }
}
