//! Completions: a text taken apart into steps and answer. This is the one reader of what a policy, a student
//! or a file writes.

use super::extract::{Found, Rule, Scope, find};
use super::said::said;

/// The gold answer in a data set's answer field: what stands behind the last `####` of the last line
/// (GSM8K's form), else the whole text, trimmed.
pub fn gold(text: &str) -> String {
    let text = text.trim();
    let last = text.lines().next_back().unwrap_or("");
    last.rsplit_once("####").map_or(text, |(_, answer)| answer).trim().to_owned()
}

/// The line that takes back the step before it, of those that still stand: a search written as one text
/// (stream of search, arXiv 2404.03683).
pub const UNDO: &str = "undo";

/// A completion taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The lines before the answer that are not blank, trimmed: thoughts, what was taken back and each
    /// [`UNDO`] included.
    pub lines: Vec<String>,
    /// Indices of the lines that are steps, in order; none if the text is overdrawn.
    pub steps: Vec<usize>,
    /// The final answer; empty if there is none, or if the text is overdrawn.
    pub answer: String,
    /// Whether some line takes back a step where none stands. Such a text says nothing.
    pub overdrawn: bool,
}

/// Takes a whole completion apart. Its answer is found as [`super::grade`] finds it.
///
/// What stands before a marker on its own line counts as a line if it holds a digit, so that an equation
/// there is checked like any other (`3*4 = \boxed{12}` gives the step `3*4 = 12`). Where the answer is part
/// of the closing sentence, that is a line too.
pub fn read_completion(text: &str) -> Completion {
    // A line that takes back a step is no answer.
    take_apart(
        text,
        find(text, Scope::Whole).filter(|found| found.rule != Rule::Whole || found.answer != UNDO),
    )
}

/// Takes apart a text that may go on, such as a single step: only an answer behind a marker is one.
pub fn read_marked(text: &str) -> Completion {
    take_apart(text, find(text, Scope::Marked))
}

fn take_apart(text: &str, found: Option<Found<'_>>) -> Completion {
    let said = said(text);
    let (mut all, mut answer, mut end) = (Vec::new(), String::new(), said.end);
    let mut beside = None;
    if let Some(found) = found {
        end = found.line_start;
        let equation = found.rule == Rule::Whole && found.answer.contains('=');
        let line = if equation { found.answer.clone() } else { found.beside };
        beside = Some(line.into_owned()).filter(|line| line.contains(|c: char| c.is_ascii_digit()));
        answer = found.answer.into_owned();
    }
    // Thoughts are lines, and no steps. A line in which a thought ends is what follows on it.
    let mut silent = 0;
    if said.start > 0 {
        let first = text[..said.start].rfind('\n').map_or(0, |newline| newline + 1);
        all.extend(lines(&text[..first]));
        let rest = text[said.start..end.max(said.start)].lines().next().unwrap_or("");
        if rest.trim().is_empty() {
            all.extend(lines(&text[first..said.start]));
        }
        silent = all.len();
    }
    all.extend(lines(&text[said.start..end.max(said.start)]));
    all.extend(beside.iter().flat_map(|line| lines(line)));
    let (mut steps, mut overdrawn) = (Vec::with_capacity(all.len()), false);
    for (at, line) in all.iter().enumerate().skip(silent) {
        if line == UNDO {
            overdrawn |= steps.pop().is_none();
        } else {
            steps.push(at);
        }
    }
    if overdrawn {
        steps.clear();
        answer.clear();
    }
    Completion { lines: all, steps, answer, overdrawn }
}

/// The steps of a completion that stand at its end, and its final answer, see [`read_completion`].
pub fn split_completion(text: &str) -> (Vec<String>, String) {
    let Completion { mut lines, steps, answer, .. } = read_completion(text);
    let steps = if steps.len() == lines.len() {
        lines
    } else {
        steps.into_iter().map(|at| std::mem::take(&mut lines[at])).collect()
    };
    (steps, answer)
}

fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}
