//! `qstill bench verify`: pairs per second of the grader.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use datasets::grade::pairs_per_second;
use datasets::sources::{Raw, files, words};
use serde_json::json;

/// Most pairs that the grader is measured on.
const PAIRS: usize = 10_000;

/// Measures the grader on one thread for about `time` with each kind of prediction: `The answer is X.`, and
/// whole solutions. The gold is a solution both times. They come from a file in GSM8K's form, or are those of
/// generated problems.
///
/// # Errors
/// A file that cannot be read.
pub fn bench(file: Option<&Path>, time: Duration) -> Result<serde_json::Value> {
    let problems: Vec<Raw> = match file {
        Some(path) => files::open(path, &files::Options::default())?.take(PAIRS).collect::<Result<_, _>>()?,
        None => {
            let dial = words::Dial { min_operations: 1, max_operations: 4, distractors: 0.0 };
            (0..PAIRS as u64 / 5).map(|index| words::generate(0, index, &dial).into()).collect()
        }
    };
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for Raw { answer, worked, .. } in problems {
        let solution = worked.unwrap_or_default() + "\n#### " + &answer;
        short.push((solution.clone(), format!("The answer is {answer}.")));
        long.push((solution.clone(), solution));
    }
    Ok(json!({
        "source": if file.is_some() { "file" } else { "words" }, "pairs": short.len(), "threads": 1,
        "answers_per_second": pairs_per_second(&short, time).round(),
        "solutions_per_second": pairs_per_second(&long, time).round(),
    }))
}
