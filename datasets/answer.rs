//! Final answers: where one stands in a text, and whether it is the gold answer.
//!
//! # Where an answer stands
//!
//! [`split_completion`] looks for markers in this order of kinds: `\boxed{}`, `####`, `A:` / `Answer:` /
//! `Final answer:` at the start of a line, the phrase `answer is`. The first kind that occurs decides, and of
//! that kind the last marker in the text.
//!
//! # When two answers are the same
//!
//! [`compare`] reads both as exact rationals: `1,234`, `18.00`, `3/4`, `1 1/4`, `$18`, `18 dollars`, `18 clips`,
//! `x = 18`, `-5`, `−5`, `**18**`, `18.`, `2 million`. There is no tolerance. A number with anything beside it
//! that could change it (`5π`, `1e5`, `2 and a half`, `3:00`, `about 18`) is not read.
//!
//! Percent: two answers that both have the sign, or both lack it, are compared as written. If one alone has it,
//! the number without the sign decides: below 1 in size it is a share (`0.28` is `28%`), from 1 on it counts
//! percent (`28` is `28%`, `12.5` is `12.5%`). So `100%` is 100 and not 1, and `0.5%` is 0.005 and not 0.5.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::expr::{self, Kind, MAX_DIGITS, Token};
use crate::number::render;
use crate::types::Verdict;

/// Outcome of [`compare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub verdict: Verdict,
    /// `correct`, `wrong-answer`, `no-answer`, `answer-unreadable`, `gold-unreadable` or `out-of-fuel`.
    pub reason: &'static str,
    /// The gold as it was read: a number, or text in normal form.
    pub gold_read: String,
    pub predicted_read: String,
}

/// Judges a predicted answer against the gold.
///
/// | gold | prediction | verdict | reason |
/// |---|---|---|---|
/// | any | empty | wrong | `no-answer` |
/// | number | the same number | correct | `correct` |
/// | number | another number | wrong | `wrong-answer` |
/// | number | not a number | wrong | `answer-unreadable` |
/// | text | the same text in normal form | correct | `correct` |
/// | text | anything else | undecidable | `gold-unreadable` |
/// | a number too long to read on either side | | undecidable | `out-of-fuel` |
pub fn compare(gold: &str, predicted: &str) -> Comparison {
    let (gold, predicted) = (Reading::of(gold), Reading::of(predicted));
    let (verdict, reason) = match (&gold, &predicted) {
        (_, Reading::Text(text)) if text.is_empty() => (Verdict::Wrong, "no-answer"),
        (Reading::TooLong, _) | (_, Reading::TooLong) => (Verdict::Undecidable, "out-of-fuel"),
        (Reading::Number(_), Reading::Text(_)) => (Verdict::Wrong, "answer-unreadable"),
        (Reading::Number(a), Reading::Number(b)) if a.is_same(b) => (Verdict::Correct, "correct"),
        (Reading::Number(_), Reading::Number(_)) => (Verdict::Wrong, "wrong-answer"),
        (Reading::Text(a), Reading::Text(b)) if a == b => (Verdict::Correct, "correct"),
        (Reading::Text(_), _) => (Verdict::Undecidable, "gold-unreadable"),
    };
    Comparison { verdict, reason, gold_read: gold.to_string(), predicted_read: predicted.to_string() }
}

/// The gold answer in a data set's answer field: what stands behind the last `####` of the last line
/// (GSM8K's form), else the whole text, trimmed.
pub fn gold(text: &str) -> String {
    let text = text.trim();
    let last = text.lines().next_back().unwrap_or("");
    last.rsplit_once("####").map_or(text, |(_, answer)| answer).trim().to_owned()
}

/// Takes a completion apart: its steps (the lines before the answer that are not blank, trimmed) and its final
/// answer, empty if there is none.
///
/// What stands before the marker on its own line counts as a step if it holds a digit, so that an equation
/// there is checked like any other (`3*4 = \boxed{12}` gives the step `3*4 = 12`).
pub fn split_completion(text: &str) -> (Vec<String>, String) {
    let Some(found) = boxed(text).or_else(|| hashes(text)).or_else(|| labelled(text)).or_else(|| phrase(text)) else {
        return (lines(text), String::new());
    };
    let mut steps = lines(&text[..found.line_start]);
    if found.beside.contains(|c: char| c.is_ascii_digit()) {
        steps.extend(lines(&found.beside));
    }
    (steps, found.answer)
}

/// A marker with its answer.
struct Found {
    /// Byte at which the marker's line starts.
    line_start: usize,
    /// What the marker's line says besides.
    beside: String,
    answer: String,
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn boxed(text: &str) -> Option<Found> {
    let mut before = text;
    loop {
        let at = before.rfind("\\boxed{")?;
        let open = at + "\\boxed{".len();
        // An unclosed box, as in a text that was cut off, holds no answer.
        if let Some(length) = closing_brace(&text[open..]) {
            let start = line_start(text, at);
            let answer = text[open..open + length].trim().to_owned();
            let before = &text[start..at];
            let behind = text[open + length + 1..].lines().next().unwrap_or("");
            let digits = before.contains(|c: char| c.is_ascii_digit());
            let beside = if digits { format!("{before}{answer}{behind}") } else { String::new() };
            return Some(Found { line_start: start, beside, answer });
        }
        before = &text[..at];
    }
}

/// Byte of the `}` that closes a brace opened just before the text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn hashes(text: &str) -> Option<Found> {
    let at = text.rfind("####")?;
    let start = line_start(text, at);
    let answer = text[at + 4..].lines().next().unwrap_or("").trim().to_owned();
    let beside = text[start..at].trim_end_matches('#').to_owned();
    Some(Found { line_start: start, beside, answer })
}

fn labelled(text: &str) -> Option<Found> {
    let mut last = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | '#' | '>'));
        let lower = bare.to_ascii_lowercase();
        let label = ["answer", "final answer"]
            .into_iter()
            .find(|label| lower.strip_prefix(label).is_some_and(|rest| rest.trim_start_matches('*').starts_with(':')));
        if label.is_some() || bare.starts_with("A:") {
            last = Some((start, start + line.len(), bare.split_once(':').map_or("", |(_, body)| body)));
        }
        start += line.len();
    }
    let (start, end, body) = last?;
    let undecorated = |text: &str| text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_')).to_owned();
    let mut answer = undecorated(body);
    if answer.is_empty() {
        // The label is a heading: the answer is on the next line.
        answer = undecorated(text[end..].lines().find(|line| !line.trim().is_empty()).unwrap_or(""));
    }
    Some(Found { line_start: start, beside: String::new(), answer })
}

fn phrase(text: &str) -> Option<Found> {
    const PHRASE: &str = "answer is";
    let at = text.to_ascii_lowercase().rfind(PHRASE)?;
    let start = line_start(text, at);
    let line = text[at + PHRASE.len()..].lines().next().unwrap_or("");
    let sentence = line.split_once(". ").map_or(line, |(sentence, _)| sentence);
    let answer = sentence.trim().trim_start_matches(':').trim().to_owned();
    // `3*4=12. The answer is 12`: the sentence that holds the phrase is no step.
    let before = &text[start..at];
    let beside = [". ", "! ", "? ", "; ", ", "].iter().filter_map(|end| before.rfind(end)).max();
    Some(Found { line_start: start, beside: before[..beside.map_or(before.len(), |end| end + 1)].to_owned(), answer })
}

/// An answer as it was read.
enum Reading {
    Number(Amount),
    /// Text in normal form.
    Text(String),
    /// A number with more digits than are read.
    TooLong,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub value: BigRational,
    /// Written with a percent sign; `value` is what stands before it.
    pub percent: bool,
}

impl Amount {
    /// Reads an answer; `None` if it is not exactly one number, possibly with a unit.
    pub(crate) fn read(answer: &str) -> Option<Self> {
        match Reading::of(answer) {
            Reading::Number(amount) => Some(amount),
            _ => None,
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (plain, percent) = match (self.percent, other.percent) {
            (false, true) => (&self.value, &other.value),
            (true, false) => (&other.value, &self.value),
            _ => return self.value == other.value,
        };
        let is_share = plain.abs() < BigRational::one() && !plain.is_zero();
        if is_share { plain * integer(100) == *percent } else { plain == percent }
    }
}

impl std::fmt::Display for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reading::Number(amount) => write!(f, "{}{}", render(&amount.value), if amount.percent { "%" } else { "" }),
            Reading::Text(text) => f.write_str(text),
            Reading::TooLong => f.write_str("(too long)"),
        }
    }
}

impl Reading {
    fn of(answer: &str) -> Reading {
        let plain = without_markup(answer);
        let value = plain.rsplit('=').next().unwrap_or("").trim().trim_end_matches(['.', ',', ';']);
        let tokens = expr::lex(value);
        let digits: usize = tokens.iter().filter(|t| t.kind == Kind::Number).map(|t| t.text.len()).sum();
        if digits > MAX_DIGITS {
            return Reading::TooLong;
        }
        amount(&tokens).map_or_else(|| Reading::Text(normal(&plain)), Reading::Number)
    }
}

fn integer(value: u32) -> BigRational {
    BigRational::from_integer(value.into())
}

/// Text in the form in which two texts are compared: lower case, single blanks, no full stop.
fn normal(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_lowercase()
}

/// The answer without TeX and Markdown around its parts.
fn without_markup(answer: &str) -> String {
    let mut text = answer.replace(['−', '–'], "-").replace("{,}", ",");
    for command in ["\\dfrac", "\\tfrac", "\\frac"] {
        while let Some((before, behind)) = text.split_once(command) {
            let Some((over, under, rest)) = fraction(behind) else { break };
            text = format!("{before} {over}/{under}{rest}");
        }
    }
    for command in ["\\boxed", "\\text", "\\mathrm", "\\mathbf", "\\textbf"] {
        text = text.replace(command, " ");
    }
    for (command, plain) in [("\\$", "$"), ("\\%", "%"), ("\\(", ""), ("\\)", ""), ("\\,", ""), ("\\!", ""), ("\\ ", " ")] {
        text = text.replace(command, plain);
    }
    let text = text.replace(['{', '}', '*', '`'], "");
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '_' | '"' | '\'')).to_owned()
}

/// `{3}{4}rest` as (`3`, `4`, `rest`).
fn fraction(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.strip_prefix('{')?;
    let end = closing_brace(text)?;
    let under = text[end + 1..].strip_prefix('{')?;
    let close = closing_brace(under)?;
    Some((&text[..end], &under[..close], &under[close + 1..]))
}

/// Words that may stand before an amount.
const CURRENCY_WORDS: &[&str] = &["usd", "us", "eur", "gbp", "rs"];

/// Words that multiply the number before them.
const SCALES: &[(&str, u32)] = &[("hundred", 100), ("thousand", 1000), ("million", 1_000_000), ("billion", 1_000_000_000)];

/// Words that make another number of the one before them, so they are no units.
const NO_UNITS: &[&str] = &["x", "y", "z", "n", "i", "e", "k", "b", "π", "pi", "sqrt", "or", "to", "half", "trillion"];

/// One number, possibly with currency, percent sign and unit, and nothing else.
fn amount(tokens: &[Token]) -> Option<Amount> {
    let mut rest = tokens;
    let mut negative = false;
    loop {
        match rest.first()?.kind {
            Kind::Operator('-') if !negative => negative = true,
            Kind::Operator('+') | Kind::Currency => {}
            Kind::Word if CURRENCY_WORDS.iter().any(|word| rest[0].text.eq_ignore_ascii_case(word)) => {}
            _ => break,
        }
        rest = &rest[1..];
    }
    let (mut value, length) = magnitude(rest)?;
    rest = &rest[length..];
    if let Some((_, scale)) = SCALES.iter().find(|(word, _)| rest.first().is_some_and(|t| t.text.eq_ignore_ascii_case(word))) {
        value *= integer(*scale);
        rest = &rest[1..];
    }
    let percent = rest.first().is_some_and(|t| t.kind == Kind::Percent || t.text.eq_ignore_ascii_case("percent"));
    if !is_unit(&rest[usize::from(percent)..]) {
        return None;
    }
    Some(Amount { value: if negative { -value } else { value }, percent })
}

/// `12.5`, `3/4` or `1 3/4` at the front, and how many tokens it takes.
fn magnitude(tokens: &[Token]) -> Option<(BigRational, usize)> {
    let kinds: Vec<Kind> = tokens.iter().take(4).map(|t| t.kind).collect();
    let number = |i: usize| expr::decimal(&tokens[i].text);
    let ratio = |i: usize| number(i + 2).filter(|q| !q.is_zero()).and_then(|q| Some(number(i)? / q));
    let whole = |i: usize| !tokens[i].text.contains('.');
    match kinds.as_slice() {
        [Kind::Number, Kind::Number, Kind::Operator('/'), Kind::Number] if whole(0) && whole(1) && whole(3) => {
            Some((number(0)? + ratio(1)?, 4))
        }
        [Kind::Number, Kind::Operator('/'), Kind::Number, ..] => Some((ratio(0)?, 3)),
        [Kind::Number, ..] => Some((number(0)?, 1)),
        _ => None,
    }
}

/// May these tokens stand behind a number without changing it?
fn is_unit(tokens: &[Token]) -> bool {
    tokens.iter().enumerate().all(|(i, token)| {
        let before = i.checked_sub(1).map(|j| &tokens[j]);
        let behind_word = before.is_some_and(|t| t.kind == Kind::Word);
        let next_is_word = tokens.get(i + 1).is_some_and(|t| t.kind == Kind::Word);
        match token.kind {
            Kind::Word => {
                let plain = !token.text.contains(|c: char| c.is_numeric());
                plain && !NO_UNITS.iter().any(|word| token.text.to_lowercase() == *word)
            }
            Kind::Pause | Kind::Open | Kind::Close | Kind::Currency => true,
            // `km/h`, `12-inch`.
            Kind::Operator('/' | '-') => next_is_word,
            // `cm²`, `cm^2`, `20°`, `50¢`.
            Kind::Symbol => matches!(token.text.as_str(), "°" | "¢") || (behind_word && matches!(token.text.as_str(), "²" | "³" | "^")),
            Kind::Number => before.is_some_and(|t| t.text == "^") && matches!(token.text.as_str(), "2" | "3"),
            Kind::Operator(_) | Kind::Equals | Kind::Percent => false,
        }
    })
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
