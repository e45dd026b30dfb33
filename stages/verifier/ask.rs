//! What a command is asked.

use datasets::key;
use datasets::types::Problem;
use serde_json::{Value, json};

/// A question: a solution, and the problem that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Hash of the command and of all that it is asked.
    pub name: [u8; 32],
    /// The line, with its end.
    pub line: String,
    /// Steps of the solution.
    pub steps: usize,
    pub problem_id: String,
}

impl Question {
    pub(super) fn of(command: &str, problem: &Problem, steps: &[String], final_answer: &str) -> Self {
        let mut line = json!({
            "id": "",
            "problem": problem.question,
            "gold": problem.answer,
            "meta": problem.meta(),
            "solution": {"steps": steps, "text": steps.join("\n"), "final_answer": final_answer},
        });
        let name = key::digest(&[command.into(), line.to_string().as_str().into()]);
        line["id"] = Value::from(id(&name));
        let (problem_id, steps) = (problem.problem_id.clone(), steps.len());
        Self { name, line: format!("{line}\n"), steps, problem_id }
    }

    /// The id that its answer may repeat.
    pub(super) fn id(&self) -> String {
        id(&self.name)
    }
}

fn id(name: &[u8; 32]) -> String {
    key::hex(&name[..8])
}
