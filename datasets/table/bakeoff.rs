//! `bakeoff` and `selection`: searches of the same problems at equal budgets, and answers chosen among the
//! same samples.

use super::column::table;

/// What one search of one problem came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    pub problem_id: String,
    /// The search, e.g. `astar` or `astar/effort`.
    pub search: String,
    /// `verified` or `chosen`.
    pub goal: String,
    /// `tokens`, `calls` or `expansions`.
    pub unit: String,
    pub budget: u64,
    /// Whether a correct path was found.
    pub solved: bool,
    /// Distinct correct paths.
    pub solutions: u32,
    /// Steps of the shortest correct path that was found.
    pub shortest: Option<u32>,
    /// Steps of the shortest there is under the rules, where exhaustion tells.
    pub optimum: Option<u32>,
    /// Share of the answers level at the top that are correct: most paths, largest sum of scores, best score.
    pub majority: f32,
    pub weighted: f32,
    pub best: f32,
    /// What was spent, and when the first correct path was there.
    pub tokens: u64,
    pub calls: u64,
    pub expansions: u64,
    pub nodes: u64,
    pub values: u64,
    pub policy_flops: u64,
    pub value_flops: u64,
    pub first_tokens: Option<u32>,
    pub first_expansions: Option<u32>,
}

table! {
    Match, "bakeoff", version 1, "what one search of one problem came to",
    {
        problem_id: "the problem",
        search: "the search, and what guides it if that is not the value model",
        goal: "verified: it knows the answer and stops at it; chosen: it spends its budget, and an answer is chosen",
        unit: "what the budget counts: tokens, calls or expansions",
        budget: "what the search might spend",
        solved: "whether a correct path was found",
        solutions: "distinct correct paths",
        shortest: "steps of the shortest correct path that was found",
        optimum: "steps of the shortest under the rules, where exhaustion tells",
        majority: "whether the answer of the most paths is correct; answers that are level share",
        weighted: "the same of the answer whose paths have the largest sum of scores",
        best: "the same of the answer of the path with the best score",
        tokens: "tokens that the policy generated",
        calls: "proposals that it was asked for",
        expansions: "states whose next steps were asked for",
        nodes: "next steps that were looked at",
        values: "states whose value was asked for",
        policy_flops: "floating-point operations of the policy",
        value_flops: "floating-point operations of the value model",
        first_tokens: "tokens when the first correct path was there",
        first_expansions: "expansions when the first correct path was there",
    }
}

/// A sampled solution with its scores.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    pub problem_id: String,
    pub sample: u32,
    /// In a form that equal answers share; empty if there is none.
    pub answer: String,
    pub correct: bool,
    pub steps: u32,
    pub tokens: u32,
    /// Of the process reward model: values of its steps, the end included.
    pub values: Vec<f32>,
    /// Of the outcome reward model.
    pub outcome: Option<f32>,
}

table! {
    Selection, "selection", version 1, "a sampled solution with what value models say of it",
    {
        problem_id: "the problem",
        sample: "number of the sample, from 0",
        answer: "its answer in a form that equal answers share; empty if there is none",
        correct: "whether the verifier accepts it",
        steps: "its steps",
        tokens: "its tokens",
        values: "of the process reward model: the value after each step and at the end; empty if there is no such model",
        outcome: "of the outcome reward model; null if there is none",
    }
}
