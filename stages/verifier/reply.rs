//! What a command answers: a line of JSON.
//!
//! ```text
//! {"id": "…", "verdict": "wrong", "reason": "test_failed: expected 5", "steps": [true, false],
//!  "score": 0.5}
//! ```
//!
//! Only the verdict has to be there. What cannot be read as such an answer is none.

use datasets::types::{Fault, FaultKind, Judgement, StepCheck, Verdict};
use serde_json::{Map, Value, json};

/// Characters of a reason that are kept.
const LONGEST_REASON: usize = 48;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub verdict: Verdict,
    /// A code of lower-case letters, digits and `_`; empty if none was given.
    pub reason: String,
    /// For each step whether it is right, None where that is open; or empty.
    pub steps: Vec<Option<bool>>,
    pub score: Option<f32>,
}

impl Reply {
    /// Reads a line. `id` and `steps` are those of the question.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(super) fn read(line: &[u8], id: &str, steps: usize) -> Result<Self, String> {
        let fields: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| format!("no JSON object: {error}"))?;
        if let Some(said) = fields.get("id").filter(|said| said.as_str() != Some(id)) {
            return Err(format!("the answer to another question: `id` is {said}, asked was \"{id}\""));
        }
        let verdict = fields.get("verdict").ok_or("no `verdict`")?;
        let verdict = verdict.as_str().and_then(Verdict::parse).ok_or_else(|| {
            format!("`verdict` is {verdict}; it may be \"correct\", \"wrong\" or \"undecidable\"")
        })?;
        let there = |key: &str| fields.get(key).filter(|value| !value.is_null());
        let reason = match there("reason") {
            None => String::new(),
            Some(Value::String(text)) => code(text),
            Some(other) => return Err(format!("`reason` is {other}; it may be a text")),
        };
        let checked = match there("steps") {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() == steps => {
                items.iter().map(step).collect::<Result<_, _>>()?
            }
            Some(Value::Array(items)) => {
                return Err(format!("`steps` has {} verdicts for {steps} steps", items.len()));
            }
            Some(other) => return Err(format!("`steps` is {other}; it may be a list")),
        };
        let score = match there("score") {
            None => None,
            Some(score) => match score.as_f64().filter(|score| (0.0..=1.0).contains(score)) {
                Some(score) => Some(score as f32),
                None => return Err(format!("`score` is {score}; it may be a number from 0 to 1")),
            },
        };
        Ok(Self { verdict, reason, steps: checked, score })
    }

    /// The answer as it is stored.
    pub(super) fn stored(&self) -> Value {
        json!({
            "verdict": self.verdict.name(), "reason": self.reason, "steps": self.steps, "score": self.score,
        })
    }

    /// As a verdict of a domain. A step that is wrong is a fault, which drops a correct solution as any other
    /// fault does.
    pub(super) fn judgement(&self) -> Judgement {
        let wrong = || (0u32..).zip(&self.steps).filter(|(_, right)| **right == Some(false));
        let first_wrong = wrong().next().map(|(at, _)| at);
        let usual = match self.verdict {
            Verdict::Correct if first_wrong.is_some() => "correct_answer_wrong_steps",
            Verdict::Correct => "correct",
            Verdict::Wrong => "wrong_answer",
            Verdict::Undecidable => "not_decided",
        };
        let fault = |(at, _)| Fault {
            kind: FaultKind::WrongStep,
            step: Some(at),
            evidence: "the verifier's command says so".to_owned(),
        };
        let check = |right: &Option<bool>| match right {
            Some(true) => StepCheck::True,
            Some(false) => StepCheck::False,
            None => StepCheck::Unreadable,
        };
        Judgement {
            verdict: self.verdict,
            reason: if self.reason.is_empty() { usual } else { &self.reason }.to_owned(),
            checks: self.steps.iter().map(check).collect(),
            first_wrong,
            faults: wrong().map(fault).collect(),
            score: self.score,
        }
    }
}

fn step(value: &Value) -> Result<Option<bool>, String> {
    let named = value.as_str().and_then(Verdict::parse);
    match (value, named) {
        (Value::Null, _) | (_, Some(Verdict::Undecidable)) => Ok(None),
        (Value::Bool(right), _) => Ok(Some(*right)),
        (_, Some(verdict)) => Ok(Some(verdict == Verdict::Correct)),
        _ => Err(format!("`steps` has {value}; it may have true, false, null and names of verdicts")),
    }
}

/// The code at the beginning of a reason, up to a colon or the end of the line: reasons are counted, so what
/// differs from solution to solution is left out.
fn code(reason: &str) -> String {
    let head = reason.trim().split([':', '\n']).next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let words: String = head.chars().map(plain).collect();
    let words: Vec<&str> = words.split('_').filter(|word| !word.is_empty()).collect();
    words.join("_").chars().take(LONGEST_REASON).collect()
}
