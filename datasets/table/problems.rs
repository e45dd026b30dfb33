//! `problems` and `examples`: what is asked, and how an answer is written.

use super::column::table;
use crate::types::Problem;

/// A worked example for the prompts of a policy that has to be shown the format.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub question: String,
    /// Steps and answer line, as a model should write them.
    pub completion: String,
}

table! {
    Problem, "problems", version 1, "a question with a known final answer",
    {
        problem_id: "16 hex digits: hash of domain, source, question, answer and the ordinal of the copy",
        domain: "name of the domain that can verify it",
        source: "where it came from: a generator's name or a file's",
        split: "train, validation or test; fixed by the problem's content",
        question: "the question as asked",
        answer: "the gold final answer",
        difficulty: "number of operations if the source knows it, else 0",
        meta: "JSON for audits; no stage reads it",
    }
}

table! {
    Example, "examples", version 1, "a worked example for prompts",
    {
        question: "the question as asked",
        completion: "steps and answer line as a model should write them",
    }
}
