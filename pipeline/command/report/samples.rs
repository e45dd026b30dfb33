//! Rows to look at: some that were kept, and some of each reason to drop.

use std::collections::HashMap;

use serde::Serialize;

use super::accounts::{KEPT, Place};
use super::rounds::meaning;
use crate::command::show::sheet::{FateSheet, RoundSheet, SolutionSheet};

/// Longest text of a sample that is shown whole, in characters.
const LONGEST: usize = 4_000;

/// Samples of a kind.
#[derive(Clone, Debug, Serialize)]
pub struct Samples {
    pub kind: String,
    pub meaning: &'static str,
    pub rows: Vec<Sample>,
}

/// A solution as it stands in the tables.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub solution_id: String,
    pub problem_id: String,
    pub round: u32,
    pub question: String,
    pub answer: String,
    pub steps: Vec<SampleStep>,
    pub final_answer: String,
    pub found_by: String,
    /// Why it was dropped, in figures; empty if it was kept.
    pub evidence: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct SampleStep {
    pub text: String,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// A problem's question, its answer and its difficulty.
pub type Asked = (String, String, u32);

/// Problems by their ids.
pub type Questions = HashMap<String, Asked>;

/// The samples of a kind, from the sheets of their problems.
pub fn samples<'a>(
    kind: &str,
    places: impl Iterator<Item = &'a Place>,
    questions: &Questions,
    sheets: &HashMap<String, Vec<RoundSheet>>,
) -> Samples {
    let row = |place: &Place| {
        let rounds = sheets.get(&place.problem_id)?;
        let round = rounds.iter().find(|sheet| sheet.round == place.round)?;
        let solution = round.solutions.iter().find(|s| s.solution_id == place.solution_id)?;
        Some(sample(place, solution, questions.get(&place.problem_id).cloned().unwrap_or_default()))
    };
    let meaning = if kind == KEPT { "what the student learns from" } else { meaning(kind).0 };
    Samples { kind: kind.to_owned(), meaning, rows: places.filter_map(row).collect() }
}

fn sample(place: &Place, solution: &SolutionSheet, (question, answer, _): Asked) -> Sample {
    let steps = solution.steps.iter().map(|step| SampleStep {
        text: shortened(&step.text),
        faults: step.faults.iter().map(|fault| shortened(fault)).collect(),
    });
    let evidence = match &solution.fate {
        FateSheet::Dropped { evidence, .. } => shortened(evidence),
        FateSheet::Kept { .. } | FateSheet::NotCurated => String::new(),
    };
    Sample {
        solution_id: place.solution_id.clone(),
        problem_id: place.problem_id.clone(),
        round: place.round,
        question: shortened(&question),
        answer: shortened(&answer),
        steps: steps.collect(),
        final_answer: shortened(&solution.final_answer),
        found_by: format!("{}, {}", solution.policy, solution.algorithm),
        evidence,
    }
}

/// The text, or its beginning if it is very long.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} … ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
