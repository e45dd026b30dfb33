//! `evaluation`: every answer that a model gave when it was measured.

use super::column::table;
use crate::types::{Split, Verdict};

/// One answer of a measured model to one problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub round: u32,
    /// Name of what is measured, e.g. `student` or `teacher`.
    pub model: String,
    pub split: Split,
    pub problem_id: String,
    /// Number of the sample for this problem, from 0.
    pub sample: u32,
    /// Key of the sample's random numbers.
    pub seed: u64,
    pub correct: bool,
    pub verdict: Verdict,
    /// Reason code of the verdict.
    pub reason: String,
    /// The text as the model wrote it.
    pub completion: String,
    pub final_answer: String,
    /// Tokens generated, a search's included.
    pub tokens: u32,
    /// Those of them that a language model generated; the rest are steps that the rules wrote.
    pub model_tokens: u32,
    /// Nodes that a search expanded; 0 without search.
    pub expansions: u32,
}

table! {
    Evaluation, "evaluation", version 1, "an answer of a measured model to a problem",
    {
        round: "round of the run",
        model: "name of what is measured",
        split: "the problem's split",
        problem_id: "the problem",
        sample: "number of the sample for this problem, from 0",
        seed: "key of the sample's random numbers",
        correct: "whether the verdict is correct",
        verdict: "correct, wrong or undecidable",
        reason: "reason code of the verdict",
        completion: "the text as the model wrote it",
        final_answer: "what stands behind the last answer marker; empty if there is none",
        tokens: "tokens generated, a search's included",
        model_tokens: "those of them that a language model generated; the rest are steps that the rules wrote",
        expansions: "nodes that a search expanded; 0 without search",
    }
}
