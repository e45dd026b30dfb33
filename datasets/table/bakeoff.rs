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
    Match, "bakeoff", version 1, "the result of one search on one problem",
    {
        problem_id: "the problem",
        search: "the search algorithm, and what guides it if not the value model",
        goal: "verified: the search knows the answer and stops when it is reached; chosen: it spends its \
            budget, then an answer is selected",
        unit: "what the budget counts: tokens, calls or expansions",
        budget: "the budget, in that unit",
        solved: "whether a correct path was found",
        solutions: "distinct correct paths",
        shortest: "number of steps of the shortest correct path found",
        optimum: "number of steps of the shortest correct path under the rules, where exhaustive search can \
            tell",
        majority: "whether the most frequent answer is correct; tied answers share the credit",
        weighted: "the same for the answer whose paths have the largest total score",
        best: "the same for the answer of the best-scoring path",
        tokens: "tokens that the policy generated",
        calls: "proposals requested from the policy",
        expansions: "states that were expanded",
        nodes: "next steps that were considered",
        values: "states whose value was requested",
        policy_flops: "floating-point operations of the policy",
        value_flops: "floating-point operations of the value model",
        first_tokens: "tokens spent when the first correct path was found",
        first_expansions: "expansions done when the first correct path was found",
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
    Selection, "selection", version 1, "a sampled solution with the scores of the value models",
    {
        problem_id: "the problem",
        sample: "index of the sample, from 0",
        answer: "its answer in canonical form; empty if there is none",
        correct: "whether the verifier accepts it",
        steps: "its steps",
        tokens: "its tokens",
        values: "values of the process reward model after each step and at the end; empty if there is no \
            such model",
        outcome: "value of the outcome reward model; null if there is no such model",
    }
}
