//! `step_labels` and `preferences`: what curation has for verifiers and for learning from comparisons, with
//! the columns that TRL reads for stepwise supervision (`prompt`, `completions`, `labels`: texts, its only
//! form of them) and preferences (`prompt`, `chosen`, `rejected`: conversations).

use super::column::table;
use super::turns::{AssistantTurn, UserTurn};

/// The steps of a solution up to its first wrong one, each with a label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepLabels {
    pub problem_id: String,
    pub solution_id: String,
    pub round: u32,
    pub prompt: String,
    pub completions: Vec<String>,
    pub labels: Vec<bool>,
    pub values: Vec<f32>,
    pub tries: Vec<u32>,
}

table! {
    StepLabels, "step_labels", version 1, "the steps of a solution up to its first wrong one, with labels",
    {
        problem_id: "the problem",
        solution_id: "the first solution with these steps",
        round: "round of the run",
        prompt: "the question as asked",
        completions: "the steps; the first wrong one is the last",
        labels: "for each step: whether it is right",
        values: "for each step: share of the problem's judged solutions with the same steps up to it that \
            are correct",
        tries: "for each step: number of solutions the share is taken over",
    }
}

/// A better and a worse solution of a problem.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preference {
    pub problem_id: String,
    pub round: u32,
    pub prompt: UserTurn,
    pub chosen: AssistantTurn,
    pub rejected: AssistantTurn,
    pub chosen_id: String,
    pub rejected_id: String,
    pub margin: f32,
    pub reason: String,
}

table! {
    Preference, "preferences", version 2, "a better and a worse solution of the same problem",
    {
        problem_id: "the problem",
        round: "round of the run",
        prompt: "the question as the user's turn",
        chosen: "the better answer as the assistant's turn; it is kept",
        rejected: "the worse answer as the assistant's turn",
        chosen_id: "the solution that is kept",
        rejected_id: "the solution that is rejected",
        margin: "how much worse: 1 for a wrong answer, 0.5 for a right answer with wrong steps",
        reason: "why it is worse: not_correct or wrong_steps",
    }
}
