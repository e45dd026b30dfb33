//! Completions: a text taken apart into steps and answer. This is the one reader of what a policy, a student
//! or a file writes.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::blocks::{self, Blocks};
use super::extract::{Found, Rule, Scope, find_in};
use super::pattern::Pattern;
use super::said::{self, said, said_behind};

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
    /// The lines before the answer that are not blank, trimmed: what was taken back and each [`UNDO`]
    /// included. A formula or code that goes over several lines is one of these.
    pub lines: Vec<String>,
    /// Where each of them stands in the text, in bytes.
    pub spans: Vec<Range<usize>>,
    /// Indices of the lines that are steps, in order; none if the text is overdrawn.
    pub steps: Vec<usize>,
    /// The final answer; empty if there is none, or if the text is overdrawn.
    pub answer: String,
    /// Whether some line takes back a step where none stands. Such a text says nothing.
    pub overdrawn: bool,
    /// What was thought before anything was said, in bytes of the text; empty if nothing was.
    pub thought: Range<usize>,
    /// Where what is said begins; 0 where nothing was thought.
    pub said: usize,
    /// Whether the text ends within a thought.
    pub thinking: bool,
}

/// Where the answer stands in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Behind a marker, or where the end of the text has it.
    #[default]
    Marked,
    /// It is the last code between fences.
    Code,
    /// All that is said is the answer, on one line.
    Whole,
    /// It is the last match of a regular expression.
    Pattern,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::Marked => "marked",
            Form::Code => "code",
            Form::Whole => "whole",
            Form::Pattern => "pattern",
        }
    }
}

/// How the texts of a policy are read: with the words that mark answers, besides those that are known
/// everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader<'a> {
    /// The answer stands behind the last of these, up to the end of its line or on the next ones.
    pub markers: &'a [String],
    /// Whether the text goes on from a thought that was opened before it.
    pub thinking: bool,
    pub form: Form,
    /// What finds the answer with [`Form::Pattern`].
    pub pattern: Option<&'a Pattern>,
}

impl Reader<'_> {
    /// Takes a whole completion apart. Its answer is found as [`super::grade`] finds it.
    ///
    /// What stands before a marker on its own line counts as a line if it holds a digit, so that an equation
    /// there is checked like any other (`3*4 = \boxed{12}` gives the step `3*4 = 12`). Where the answer is
    /// part of the closing sentence, that is a line too.
    pub fn completion(&self, text: &str) -> Completion {
        // A line that takes back a step is no answer.
        self.take_apart(text, Scope::Whole)
    }

    /// Takes apart a text that may go on, such as a single step: only an answer behind a marker is one.
    pub fn marked(&self, text: &str) -> Completion {
        self.take_apart(text, Scope::Marked)
    }

    fn take_apart(&self, text: &str, scope: Scope) -> Completion {
        let said = if self.thinking { said_behind(text) } else { said(text) };
        let found = match self.form {
            Form::Marked => find_in(text, said.range.clone(), scope, self.markers),
            Form::Code => last_code(text, said.range.clone()),
            Form::Whole => whole(text, said.range.clone(), scope),
            Form::Pattern => self.pattern.and_then(|pattern| pattern.last(text, said.range.clone())),
        };
        let found = found.filter(|found| found.rule != Rule::Whole || found.answer != UNDO);
        let mut read = Completion {
            thought: said.thought,
            said: said.range.start,
            thinking: said.cut,
            ..Completion::default()
        };
        let (mut end, mut beside, mut line) = (said.range.end, None, said.range.end..said.range.end);
        if let Some(found) = found {
            end = found.line_start;
            let equation = found.rule == Rule::Whole && found.answer.contains('=');
            let words = if equation { found.answer.clone() } else { found.beside };
            beside = Some(words.into_owned()).filter(|words| words.contains(|c: char| c.is_ascii_digit()));
            read.answer = found.answer.into_owned();
            line = end..line_end(text, end.max(said.range.start), said.range.end);
        }
        let start = said.range.start;
        let Blocks { mut blocks, open } = blocks::blocks(&text[start..end.max(start)]);
        if let Some((close, last)) = open.and_then(|close| Some((close, blocks.pop()?))) {
            let tail = &text[start..][last.clone()];
            let closes = text[end.max(start)..said.range.end].contains(close);
            if close == blocks::FENCE && !read.answer.is_empty() {
                // The whole answer is written as code.
                let inner = blocks::lines(tail).skip(1);
                blocks.extend(inner.map(|part| last.start + part.start..last.start + part.end));
            } else if closes {
                // A formula that the answer ends: `\[` stands on a line before it.
                let digits = tail.contains(|c: char| c.is_ascii_digit());
                let inner = beside.or_else(|| digits.then(|| read.answer.clone()));
                beside = inner.map(|inner| format!("{tail}\n{inner}\n{close}"));
                line.start = start + last.start;
            } else {
                // Cut off, or no formula.
                blocks.extend(blocks::lines(tail).map(|part| last.start + part.start..last.start + part.end));
            }
        }
        for block in blocks {
            let block = start + block.start..start + block.end;
            read.lines.push(text[block.clone()].to_owned());
            read.spans.push(block);
        }
        if let Some(beside) = beside {
            for block in blocks::blocks(&beside).blocks {
                read.lines.push(beside[block].to_owned());
                read.spans.push(line.clone());
            }
        }
        for (at, line) in read.lines.iter().enumerate() {
            if line == UNDO {
                read.overdrawn |= read.steps.pop().is_none();
            } else {
                read.steps.push(at);
            }
        }
        if read.overdrawn {
            read.steps.clear();
            read.answer.clear();
        }
        read
    }
}

/// All that is said as the answer. A text that may go on has none yet.
fn whole(text: &str, said: Range<usize>, scope: Scope) -> Option<Found<'_>> {
    let line_start = said.start;
    let answer = text[said].split_whitespace().collect::<Vec<_>>().join(" ");
    let found =
        Found { rule: Rule::Hashes, line_start, beside: "".into(), answer: answer.into(), alone: false };
    Some(found).filter(|found| scope == Scope::Whole && !found.answer.is_empty())
}

/// The last code between fences as the answer, with its fences.
fn last_code(text: &str, said: Range<usize>) -> Option<Found<'_>> {
    let (mut open, mut last, mut at) = (None, None, said.start);
    for line in text[said].split_inclusive('\n') {
        let fence = line.trim_start().starts_with(blocks::FENCE);
        match open {
            None if fence => open = Some(at),
            Some(start) if line.trim() == blocks::FENCE => {
                last = Some((start, at + line.trim_end().len()));
                open = None;
            }
            _ => {}
        }
        at += line.len();
    }
    let (line_start, end) = last?;
    let answer = text[line_start..end].trim_start().into();
    Some(Found { rule: Rule::Hashes, line_start, beside: "".into(), answer, alone: false })
}

/// Where the line ends that begins here.
fn line_end(text: &str, start: usize, end: usize) -> usize {
    let end = end.max(start);
    text[start..end].find('\n').map_or(end, |length| start + length)
}

/// A completion taken apart, see [`Reader::completion`].
pub fn read_completion(text: &str) -> Completion {
    Reader::default().completion(text)
}

/// A text that may go on, taken apart, see [`Reader::marked`].
pub fn read_marked(text: &str) -> Completion {
    Reader::default().marked(text)
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

/// Whether a text goes on in the middle of a thought, or of a formula or code over several lines.
pub fn is_open(text: &str) -> bool {
    said(text).cut || blocks::blocks(text).open.is_some()
}

/// Where what is said begins in a text; nowhere if the text ends within a thought.
pub fn spoken_from(text: &str) -> Option<usize> {
    let said = said(text);
    (!said.cut).then_some(said.range.start)
}

/// Whether a prompt ends with the beginning of a thought.
pub fn opens_thought(prompt: &str) -> bool {
    said::opens_at_end(prompt)
}

/// Whether a text ends behind its answer: a line behind `####`, or code over several lines that such a line
/// begins.
pub fn ends_answer(text: &str) -> bool {
    let text = text.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    is_answer_line(last) && !opens_code(last) || closes_code(text)
}

/// Whether an answer line begins code that ends on another line.
pub fn opens_code(line: &str) -> bool {
    let code =
        line.trim_start().strip_prefix("####").and_then(|rest| rest.trim_start().strip_prefix(blocks::FENCE));
    code.is_some_and(|code| !code.contains(blocks::FENCE))
}

/// Whether a text ends with the end of such code.
pub fn closes_code(text: &str) -> bool {
    let mut lines = text.trim_end().lines().rev();
    let closes = lines.next().is_some_and(|line| line.trim() == blocks::FENCE);
    let opens = |line: &&str| line.trim_start().starts_with(blocks::FENCE) || is_answer_line(line);
    closes && lines.find(opens).is_some_and(opens_code)
}

/// Whether a line is an answer behind `####`, and not a heading of Markdown (`#### Step 1: Add`).
pub fn is_answer_line(line: &str) -> bool {
    line.trim_start().strip_prefix("####").is_some_and(|rest| !is_heading(rest))
}

fn is_heading(text: &str) -> bool {
    let words = text.trim().trim_matches(['*', '_', ' ']);
    let numeral = words.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = numeral.len() < words.len()
        && [". ", ") ", ": "].iter().any(|end| {
            numeral.strip_prefix(end).is_some_and(|rest| rest.trim_start().starts_with(char::is_alphabetic))
        });
    let worded = words.starts_with(char::is_alphabetic) && (words.contains(' ') || words.ends_with(':'));
    numbered || worded
}
