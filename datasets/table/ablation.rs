//! `ablation`: answers of students that were trained in different ways on the same data.

use super::column::table;

/// One greedy answer of an arm's student to one problem.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ablated {
    /// Name of the arm.
    pub arm: String,
    /// What it changes, as it was given; empty if nothing.
    pub settings: String,
    /// Of the student's weights and of the order of its rows.
    pub seed: u64,
    pub problem_id: String,
    pub correct: bool,
    /// Reason code of the verdict.
    pub reason: String,
    pub completion: String,
    pub final_answer: String,
    pub tokens: u32,
}

table! {
    Ablated, "ablation", version 1, "an arm's student's greedy answer to a problem",
    {
        arm: "name of the arm",
        settings: "the settings that the arm changes, separated by commas; empty if none",
        seed: "seed of the student's training",
        problem_id: "the problem",
        correct: "whether the verifier accepts the answer",
        reason: "reason code of the verdict",
        completion: "the generated text",
        final_answer: "the final answer; empty if there is none",
        tokens: "tokens generated",
    }
}
