//! What a command of rules is asked and answers: lines of JSON.
//!
//! ```text
//! {"id": "1", "start": [{"problem": "1.3. ...", "meta": {}}]}
//! {"id": "1", "states": [{"state": "1.3. ...", "left": 6}]}
//! {"id": "2", "moves": ["1.3. ..."]}
//! {"id": "2", "moves": [[{"step": "2 at b1", "state": "123. ...", "left": 5}]]}
//! {"id": "3", "follow": [["123. ...", "4 at d1"]]}
//! {"id": "3", "states": [{"state": "1234 ...", "left": 4}]}
//! ```
//!
//! A list has an item for each one that was asked. `answer` stands where a path may stop, `left` is optional;
//! null is no state: a step that is not legal, or a problem that nothing can be done with.

use std::collections::HashSet;
use std::sync::Arc;

use datasets::domain::Told;
use datasets::types::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

/// From here on a float cannot tell whole numbers apart that JSON of other programs has.
const EXACT: f64 = 9_223_372_036_854_775_808.0;
/// What begins and ends code and thoughts in texts of models.
const OTHERWISE: [&str; 3] = ["```", "<think>", "</think>"];

/// Legal steps and where they lead.
pub(super) type Moves = Arc<[(String, Arc<Told>)]>;

/// An answer.
#[derive(Deserialize)]
struct Reply {
    id: Option<Value>,
    states: Option<Vec<Option<Place>>>,
    moves: Option<Vec<Vec<Next>>>,
}

#[derive(Deserialize)]
struct Place {
    state: Value,
    answer: Option<Value>,
    left: Option<u32>,
}

#[derive(Deserialize)]
struct Next {
    step: String,
    state: Value,
    answer: Option<Value>,
    left: Option<u32>,
}

/// How a problem is shown to rules: without its answer.
pub(super) fn shown(problem: &Problem) -> String {
    json!({"problem": problem.question, "meta": problem.meta()}).to_string()
}

/// A question of some items, each JSON already.
pub(super) fn question(id: &str, kind: &str, items: &[String]) -> String {
    format!("{{\"id\":\"{id}\",\"{kind}\":[{}]}}\n", items.join(","))
}

fn told(state: Value, answer: Option<Value>, left: Option<u32>) -> Result<Arc<Told>, String> {
    let answer = match answer {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(other) => return Err(format!("`answer` is {other}; it may be a text or a number")),
    };
    if answer.as_deref().is_some_and(|text| text.trim().is_empty() || text.contains('\n')) {
        return Err("`answer` is empty or has several lines".to_owned());
    }
    if let Some(number) = inexact(&state) {
        return Err(format!(
            "the number {number} in `state` is too large to be kept exactly: write it as a text"
        ));
    }
    let mut state = state;
    state.sort_all_objects();
    Ok(Arc::new(Told { text: state.to_string(), answer, left }))
}

/// A whole number that did not fit into 64 bits and has lost digits.
fn inexact(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => {
            number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() >= EXACT)
        }
        Value::Array(items) => items.iter().find_map(inexact),
        Value::Object(fields) => fields.values().find_map(inexact),
        _ => None,
    }
}

/// A step as one is read again from a text.
fn check_step(step: &str) -> Result<(), String> {
    let shown = || step.chars().take(80).collect::<String>();
    if step.is_empty() || step.contains(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(format!("the step `{}` is empty or has several lines", shown().escape_debug()));
    }
    match OTHERWISE.iter().find(|mark| step.contains(**mark)) {
        Some(mark) => Err(format!("the step `{}` has `{mark}`, which is read as something else", shown())),
        None => Ok(()),
    }
}

fn read(line: &[u8], id: &str) -> Result<Reply, String> {
    let reply: Reply = serde_json::from_slice(line).map_err(|error| format!("not as described: {error}"))?;
    match reply.id.as_ref().filter(|said| said.as_str() != Some(id)) {
        Some(said) => Err(format!("the answer to another question: `id` is {said}, asked was \"{id}\"")),
        None => Ok(reply),
    }
}

fn all<T>(items: Option<Vec<T>>, key: &str, asked: usize) -> Result<Vec<T>, String> {
    match items {
        Some(items) if items.len() == asked => Ok(items),
        Some(items) => Err(format!("`{key}` has {} items for {asked} that were asked", items.len())),
        None => Err(format!("no `{key}`")),
    }
}

/// Reads states, none where there is null.
///
/// # Errors
/// Says what is wrong with the line.
pub(super) fn states(line: &[u8], id: &str, asked: usize) -> Result<Vec<Option<Arc<Told>>>, String> {
    let one = |place: Option<Place>| place.map(|p| told(p.state, p.answer, p.left)).transpose();
    all(read(line, id)?.states, "states", asked)?.into_iter().map(one).collect()
}

/// Reads the legal steps of states.
///
/// # Errors
/// Says what is wrong with the line.
pub(super) fn moves(line: &[u8], id: &str, asked: usize) -> Result<Vec<Moves>, String> {
    let next = |next: Next| -> Result<(String, Arc<Told>), String> {
        let step = next.step.trim();
        check_step(step)?;
        Ok((step.to_owned(), told(next.state, next.answer, next.left)?))
    };
    let one = |steps: Vec<Next>| -> Result<Moves, String> {
        let steps: Moves = steps.into_iter().map(next).collect::<Result<_, String>>()?;
        let mut seen = HashSet::new();
        match steps.iter().find(|(step, _)| !seen.insert(step.as_str())) {
            None => Ok(Arc::clone(&steps)),
            Some((step, _)) => Err(format!("the step `{step}` is there twice")),
        }
    };
    all(read(line, id)?.moves, "moves", asked)?.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_moves_are_read_and_what_is_none_is_said() {
        let line = br#"{"id": "1", "states": [{"state": {"b": 1, "a": [2]}, "answer": 3, "left": 0}, null]}"#;
        let found = states(line, "1", 2).unwrap();
        let told = found[0].as_ref().unwrap();
        assert_eq!((told.text.as_str(), told.answer.as_deref()), (r#"{"a":[2],"b":1}"#, Some("3")));
        assert!(told.left == Some(0) && found[1].is_none());
        let line = br#"{"moves": [[{"step": " go ", "state": 1}, {"step": "stay", "state": 1}], []]}"#;
        let found = moves(line, "7", 2).unwrap();
        assert_eq!((found[0].len(), found[0][0].0.as_str(), found[1].len()), (2, "go", 0));
        for (line, why) in [
            (r#"{"id": "2", "moves": []}"#, "another question"),
            (r#"{"moves": []}"#, "0 items for 1"),
            (r#"{"states": []}"#, "no `moves`"),
            (r#"{"moves": [[{"step": "", "state": 1}]]}"#, "empty"),
            (r#"{"moves": [[{"step": "so <think>", "state": 1}]]}"#, "read as something else"),
            (r#"{"moves": [[{"step": "a", "state": {"n": [36893488147419103232]}}]]}"#, "write it as a text"),
            (r#"{"moves": [[{"step": "a\nb", "state": 1}]]}"#, "several lines"),
            (r#"{"moves": [[{"step": "a", "state": 1, "answer": [1]}]]}"#, "`answer` is [1]"),
            (r#"{"moves": [[{"step": "a", "state": 1, "left": -1}]]}"#, "not as described"),
            (r#"{"moves": [[{"step": "a"}]]}"#, "not as described"),
            (r#"{"moves": [[{"step": "a", "state": 1}, {"step": "a", "state": 2}]]}"#, "twice"),
        ] {
            let said = moves(line.as_bytes(), "1", 1).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }
}
