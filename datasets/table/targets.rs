//! `token_targets`: what a teacher would have written at each token of a kept row.

use super::column::table;

/// A kept row as a teacher reads it: its k likeliest tokens in place of each of the row's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenTargets {
    pub solution_id: String,
    pub problem_id: String,
    pub round: u32,
    /// n tokens of the completion, the end of the text with them.
    pub tokens: Vec<u32>,
    /// `[n, k]`, likeliest first.
    pub top_ids: Vec<u32>,
    /// `[n, k]`, in nats.
    pub top_logprobs: Vec<f32>,
    /// `[n]`: of all other tokens together.
    pub tail_logprobs: Vec<f32>,
}

table! {
    TokenTargets, "token_targets", version 1, "a teacher's likeliest tokens along a kept row",
    {
        solution_id: "the kept row's solution",
        problem_id: "the problem it answers",
        round: "round of the run",
        tokens: "n tokens of the completion as the student reads it, with the end of the text",
        top_ids: "the teacher's k likeliest tokens in place of each: n times k, likeliest first",
        top_logprobs: "their log-probabilities, in nats",
        tail_logprobs: "log-probability of all other tokens together, in place of each of the n tokens",
    }
}
