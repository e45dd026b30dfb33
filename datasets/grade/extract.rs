//! Where the final answer stands in a text.
//!
//! What is said of a text (see `said`) is looked at for markers, in this order of kinds; the first kind that
//! occurs decides, and of that kind the last marker with anything behind it:
//!
//! 1. `\boxed{}`, `\fbox{}`, `\boxed 2`.
//! 2. `####`, up to the end of its line, or of the code that begins on it: that is an answer as it stands.
//! 3. `A:`, `Answer:`, `Final answer:` at the start of a line, perhaps emphasised, or such words alone as a
//!    heading; the answer is the rest of the line, or what follows if that is blank.
//! 4. The phrase `answer is` (`solution is`, `correct choice is`), up to the end of its sentence.
//! 5. `<answer>…</answer>`, then a field `answer` of JSON.
//!
//! Another marker behind a box stands for the text's last word, and so does a weaker one behind a marker that
//! cannot be read. Without a marker, the text is
//!
//! 6. its own answer, if it can be read as one from end to end;
//! 7. read by its end, see `closing`: the last formula of the closing sentence, the last bold words, the last
//!    relation or number of the closing sentence;
//! 8. its own answer in words, if it is one line.
//!
//! An answer in words ends before `because`, `since`, `as`, `so` and `which`, if it can be read so, and
//! before a condition (`5 when x = 3`, `5 (x = -2 is extraneous)`, see `side`). A text that denies or
//! supposes what it names, or that answers several parts, is no value; nor is what is taken back behind it
//! (`remarks`), or replaced by another conclusion.

use std::borrow::Cow;
use std::ops::Range;

use super::limits::{MAX_BYTES, Stop};
use super::markers::{self, Marker};
use super::read::{Exponents, read};
use super::remarks::retracts;
use super::tree::Answer;
use super::{amount, blocks, boxes, calculation, closing, said, side};

/// What found an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Box,
    Hashes,
    Label,
    Phrase,
    Tag,
    Json,
    /// The whole text is the answer.
    Whole,
    /// The last formula of the closing sentence.
    Formula,
    /// The last bold words.
    Bold,
    /// The last relation or number of the closing sentence.
    Sentence,
}

impl Rule {
    pub const ALL: [Rule; 10] = [
        Rule::Box,
        Rule::Hashes,
        Rule::Label,
        Rule::Phrase,
        Rule::Tag,
        Rule::Json,
        Rule::Whole,
        Rule::Formula,
        Rule::Bold,
        Rule::Sentence,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Rule::Box => "box",
            Rule::Hashes => "hashes",
            Rule::Label => "label",
            Rule::Phrase => "phrase",
            Rule::Tag => "tag",
            Rule::Json => "json",
            Rule::Whole => "whole",
            Rule::Formula => "formula",
            Rule::Bold => "bold",
            Rule::Sentence => "sentence",
        }
    }

    /// Whether the answer is marked as one.
    pub fn is_marker(self) -> bool {
        matches!(self, Rule::Box | Rule::Hashes | Rule::Label | Rule::Phrase | Rule::Tag | Rule::Json)
    }
}

/// Which rules may find an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Markers alone.
    Marked,
    /// All of them.
    Whole,
}

/// An answer and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub rule: Rule,
    /// Byte at which the line with the answer starts, or behind all lines if it is part of the last one.
    pub line_start: usize,
    /// What that line says besides.
    pub beside: Cow<'a, str>,
    pub answer: Cow<'a, str>,
    /// Whether the text is one sentence.
    pub alone: bool,
}

/// Whether a text is mathematics, a choice, or yes or no.
pub(super) fn is_readable(text: &str) -> bool {
    if amount::scan(text).is_some() {
        return true;
    }
    let read = if text.len() > MAX_BYTES { Err(Stop::Fuel) } else { read(text, Exponents::AsWritten) };
    !matches!(read, Ok(Answer::Text(_)))
}

/// The answer of a text.
pub(super) fn find(text: &str, scope: Scope) -> Option<Found<'_>> {
    find_in(text, said::said(text).range, scope, &[])
}

/// The answer of what is said of a text; `own` are markers that count before all others.
pub(super) fn find_in<'a>(
    text: &'a str,
    range: Range<usize>,
    scope: Scope,
    own: &[String],
) -> Option<Found<'a>> {
    let (start, said) = (range.start, &text[range]);
    if let Some(marker) = markers::own(said, own).or_else(|| marked(said, scope)) {
        let code = marker.rule == Rule::Hashes && blocks::is_code(&marker.answer);
        let answer = if code { marker.answer } else { refined(marker.answer, scope) };
        let line_start = start + marker.line_start;
        return Some(Found { rule: marker.rule, line_start, beside: marker.beside, answer, alone: false });
    }
    if scope == Scope::Marked || said.trim().is_empty() {
        return None;
    }
    let found = |rule, answer, alone| {
        Some(Found { rule, line_start: start + said.len(), beside: "".into(), answer, alone })
    };
    let one_line = !said.trim().contains('\n');
    let parts = side::is_parts(said);
    let whole = || Found {
        rule: Rule::Whole,
        line_start: start,
        beside: "".into(),
        answer: if parts { said.trim().into() } else { refined(said.trim().into(), Scope::Marked) },
        alone: false,
    };
    if (one_line || blocks::is_display(said)) && is_readable(said) && !calculation::is_calculation(said) {
        return Some(whole());
    }
    if parts {
        return Some(whole());
    }
    match closing::closing(said) {
        Some(closing) => found(closing.rule, closing.answer, closing.alone),
        None => (one_line && blocks::sentence_start(said.trim()) == 0).then(whole),
    }
}

/// The marker that decides.
fn marked(text: &str, scope: Scope) -> Option<Marker<'_>> {
    type Find = fn(&str) -> Option<Marker<'_>>;
    const RULES: [Find; 6] =
        [boxes::boxed, markers::hashes, markers::labelled, markers::phrase, markers::tag, markers::json];
    let (strongest, marker) = RULES.iter().enumerate().find_map(|(at, find)| Some((at, find(text)?)))?;
    let behind = &text[marker.end..];
    let replaced = replaced(behind, &marker.answer);
    let stands = !replaced && !retracts(behind, &marker.answer);
    let readable = |marker: &Marker<'_>| is_readable(&refined(marker.answer.clone(), scope));
    let is_box = marker.rule == Rule::Box;
    let is_code = marker.rule == Rule::Hashes && blocks::is_code(&marker.answer);
    let last_word = !is_box && (is_code || readable(&marker)) || is_box && behind.trim().len() < 3;
    if last_word && stands {
        return Some(marker);
    }
    // The last word: another marker behind it, if it can be read; it may be part of one that cannot, such as
    // the heading `#### Answer`.
    let between = |c: char| matches!(c, '.' | ',' | ';' | '$' | ')' | '*' | ' ');
    let from = if is_box { text.len() - behind.trim_start_matches(between).len() } else { marker.line_start };
    let later = RULES[strongest + 1..].iter().find_map(|find| find(&text[from..]).filter(&readable));
    if let Some(later) = later {
        let line_start = markers::line_start(text, from + later.line_start);
        return Some(Marker { line_start, end: from + later.end, ..later });
    }
    // One that says nothing, before a text that comes to something.
    let closes = matches!(marker.rule, Rule::Hashes | Rule::Label | Rule::Phrase) && scope == Scope::Whole;
    let closes = closes && !replaced;
    let closing = closing::closing(behind).filter(|closing| closes && is_readable(&closing.answer));
    if let Some(closing) = closing {
        let (rule, answer) = (closing.rule, closing.answer);
        return Some(Marker { rule, line_start: text.len(), end: text.len(), beside: "".into(), answer });
    }
    if !is_code && !stands {
        // What stands in its place is not marked.
        let answer = Cow::Owned(format!("not {}", marker.answer));
        return Some(Marker { answer, ..marker });
    }
    Some(marker)
}

/// Whether a text behind an answer concludes with another number: `So the perimeter is 13.`
fn replaced(behind: &str, answer: &str) -> bool {
    if !side::has_digit(behind) {
        return false;
    }
    let last = behind.trim_end();
    let last = last[last.rfind('\n').map_or(0, |at| at + 1)..].trim();
    let last = last[blocks::sentence_start(last)..].trim_start();
    let word = last.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_lowercase();
    if !side::is("so thus hence therefore finally upon", &word) || !side::has_digit(last) {
        return false;
    }
    let lower = last.to_lowercase();
    let named = ["answer", "final", "result", "total", "value", "number of", "perimeter", "area"];
    let checks = ["check", "both sides", "recall", "verif", "as required", "option"];
    let concludes = named.iter().any(|name| lower.contains(name));
    if !concludes || checks.iter().any(|word| lower.contains(word)) || last.contains(answer.trim()) {
        return false;
    }
    let said = closing::closing(last).map(|closing| closing.answer).filter(|said| is_readable(said));
    said.is_some_and(|said| super::compare(answer, &said).reason == "wrong_answer")
}

/// What of the text behind a marker is the answer.
fn refined(answer: Cow<'_, str>, scope: Scope) -> Cow<'_, str> {
    // Equations over each other; with `&` they are the cases of one value.
    if answer.trim().starts_with("\\begin{cases}") && !answer.contains('&') {
        return blocks::aligned(&answer).map_or(answer, Cow::Owned);
    }
    if amount::scan(&answer).is_some() {
        return answer;
    }
    let cut = side::without_conditions(&answer);
    if !cut.denied && cut.main.len() < answer.len() && is_readable(cut.main) {
        let end = cut.main.len();
        return up_to(answer, end);
    }
    let reason = closing::before_because(&answer).len();
    if cut.denied || reason == answer.len() && is_readable(&answer) {
        return answer;
    }
    let cut = closing::before_reason(&answer).len();
    // `m = 5 and n = 7, so the sum is 12`
    let concludes = scope == Scope::Whole && answer[cut..].trim_start_matches([',', ' ']).starts_with("so ");
    let concludes = concludes && answer[..cut].contains('=') && side::has_digit(&answer[cut..]);
    if cut < answer.len() && !concludes && is_readable(&answer[..cut]) {
        return up_to(answer, cut);
    }
    if scope == Scope::Whole {
        let closing = match &answer {
            Cow::Borrowed(answer) => closing::closing(answer).map(|closing| closing.answer),
            Cow::Owned(answer) => {
                closing::closing(answer).map(|closing| Cow::Owned(closing.answer.into_owned()))
            }
        };
        if let Some(closing) = closing.filter(|answer| is_readable(answer)) {
            return closing;
        }
        // `the point (3, 4)`
        if let Some(at) = answer.find(['(', '[']).filter(|at| !answer[..*at].contains(|c: char| !is_prose(c)))
            && is_readable(&answer[at..])
        {
            return answer[at..].to_owned().into();
        }
    }
    answer
}

/// The first bytes of an answer.
fn up_to(mut answer: Cow<'_, str>, end: usize) -> Cow<'_, str> {
    match &mut answer {
        Cow::Borrowed(text) => *text = &text[..end],
        Cow::Owned(text) => text.truncate(end),
    }
    answer
}

fn is_prose(c: char) -> bool {
    c.is_ascii_lowercase() || c == ' '
}
