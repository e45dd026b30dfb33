//! Where the final answer stands in a text.
//!
//! Markers are looked for in this order of kinds; the first kind that occurs decides, and of that kind the
//! last marker in the text:
//!
//! 1. `\boxed{}` or `\fbox{}` with balanced braces (a box that is cut off is none). Boxes side by side, with
//!    nothing but commas, `and`, `or` and dollar signs between them, are one list.
//! 2. `####`, up to the end of its line.
//! 3. `A:`, `Answer:`, `Final answer:` at the start of a line, perhaps emphasised; the answer is the rest of
//!    the line, or the next line if that is blank.
//! 4. The phrase `answer is`, up to the end of its sentence.
//!
//! The word "answer" alone is no marker. A text without markers is its own answer if it is one line, or if it
//! can be read as mathematics from end to end; any other has none.

use std::borrow::Cow;

/// A marker with its answer.
pub(super) struct Found<'a> {
    /// Byte at which the marker's line starts.
    line_start: usize,
    /// What the marker's line says besides.
    beside: Cow<'a, str>,
    pub answer: Cow<'a, str>,
}

pub(super) fn find(text: &str) -> Option<Found<'_>> {
    boxed(text).or_else(|| hashes(text)).or_else(|| labelled(text)).or_else(|| phrase(text))
}

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
    /// included.
    pub lines: Vec<String>,
    /// Indices of the lines that are steps, in order; none if the text is overdrawn.
    pub steps: Vec<usize>,
    /// The final answer; empty if no marker is there, or if the text is overdrawn.
    pub answer: String,
    /// Whether some line takes back a step where none stands. Such a text says nothing.
    pub overdrawn: bool,
}

/// Takes a completion apart. This is the one reader of what a policy, a student or a file writes.
///
/// What stands before the marker on its own line counts as a line if it holds a digit, so that an equation
/// there is checked like any other (`3*4 = \boxed{12}` gives the step `3*4 = 12`).
pub fn read_completion(text: &str) -> Completion {
    let (mut all, mut answer) = (Vec::new(), String::new());
    match find(text) {
        Some(found) => {
            all.extend(lines(&text[..found.line_start]));
            if found.beside.contains(|c: char| c.is_ascii_digit()) {
                all.extend(lines(&found.beside));
            }
            answer = found.answer.into_owned();
        }
        None => all.extend(lines(text)),
    }
    let (mut steps, mut overdrawn) = (Vec::with_capacity(all.len()), false);
    for (at, line) in all.iter().enumerate() {
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

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The last closed box that starts before `end`: its start, and where its content starts and ends.
fn last_box(text: &str, end: usize) -> Option<(usize, usize, usize)> {
    let mut before = end;
    loop {
        // A search for one byte from the end is much faster than one for a word.
        let at = text[..before].rfind('\\')?;
        let rest = &text[at..];
        let open = ["\\boxed{", "\\fbox{", "\\boxed {"].iter().find(|open| rest.starts_with(**open));
        if let Some(length) = open.map(|open| open.len())
            && let Some(closed) = closing_brace(&rest[length..])
        {
            return Some((at, at + length, at + length + closed));
        }
        before = at;
    }
}

fn boxed(text: &str) -> Option<Found<'_>> {
    let (mut at, from, to) = last_box(text, text.len())?;
    let mut answer = Cow::Borrowed(text[from..to].trim());
    while let Some((earlier, from, to)) = last_box(text, at)
        && to < at
        && between_boxes(&text[to + 1..at])
    {
        answer = Cow::Owned(format!("{}, {answer}", text[from..to].trim()));
        at = earlier;
    }
    let start = line_start(text, at);
    let before = &text[start..at];
    let behind = text[to + 1..].lines().next().unwrap_or("");
    let digits = before.contains(|c: char| c.is_ascii_digit());
    let beside = if digits { Cow::Owned(format!("{before}{answer}{behind}")) } else { Cow::Borrowed("") };
    Some(Found { line_start: start, beside, answer })
}

fn between_boxes(text: &str) -> bool {
    let mut words = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '$' | ';'))
        .filter(|word| !word.is_empty());
    words.all(|word| matches!(word, "and" | "or" | "\\text{and}" | "\\text{or}")) && !text.contains('\n')
}

/// Byte of the `}` that closes a brace opened just before the text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.bytes().enumerate() {
        match c {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn hashes(text: &str) -> Option<Found<'_>> {
    let mut end = text.len();
    loop {
        let last = text[..end].rfind('#')?;
        if text[..last].ends_with("###") {
            let start = line_start(text, last);
            let answer = text[last + 1..].lines().next().unwrap_or("").trim();
            return Some(Found {
                line_start: start,
                beside: text[start..=last].trim_end_matches('#').into(),
                answer: answer.into(),
            });
        }
        end = last;
    }
}

fn labelled(text: &str) -> Option<Found<'_>> {
    let mut last = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '#' | '>'));
        let word = |word: &str| {
            bare.get(..word.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(word))
                .then(|| &bare[word.len()..])
        };
        let rest = word("final answer")
            .or_else(|| word("answer"))
            .map(|rest| rest.trim_start_matches('*'))
            .or_else(|| bare.strip_prefix('A'));
        if let Some(body) = rest.and_then(|rest| rest.strip_prefix(':')) {
            last = Some((start, start + line.len(), body));
        }
        start += line.len();
    }
    let (start, end, body) = last?;
    let undecorated = |text: &'_ str| -> (usize, usize) {
        let decoration = |c: char| c.is_whitespace() || matches!(c, '*' | '_');
        let from = text.len() - text.trim_start_matches(decoration).len();
        (from, text.trim_end_matches(decoration).len().max(from))
    };
    let (from, to) = undecorated(body);
    let mut answer = &body[from..to];
    if answer.is_empty() {
        // The label is a heading: the answer is on the next line.
        let next = text[end..].lines().find(|line| !line.trim().is_empty()).unwrap_or("");
        let (from, to) = undecorated(next);
        answer = &next[from..to];
    }
    Some(Found { line_start: start, beside: "".into(), answer: answer.into() })
}

fn phrase(text: &str) -> Option<Found<'_>> {
    const PHRASE: &[u8] = b"answer is";
    let at = text.as_bytes().windows(PHRASE.len()).rposition(|window| window.eq_ignore_ascii_case(PHRASE))?;
    let start = line_start(text, at);
    let line = text[at + PHRASE.len()..].lines().next().unwrap_or("");
    let sentence = line.split_once(". ").map_or(line, |(sentence, _)| sentence);
    let answer = sentence.trim().trim_start_matches(':').trim();
    // `3*4=12. The answer is 12`: the sentence that holds the phrase is no step.
    let before = &text[start..at];
    let beside = [". ", "! ", "? ", "; ", ", "].iter().filter_map(|end| before.rfind(end)).max();
    Some(Found {
        line_start: start,
        beside: before[..beside.map_or(before.len(), |end| end + 1)].into(),
        answer: answer.into(),
    })
}
