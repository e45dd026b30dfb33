//! Reads an answer: without its decoration it is a choice, yes or no, mathematics, or else text.

use super::amount::Amount;
use super::bases::lettered;
use super::limits::Stop;
use super::moments::moment;
use super::names::TEXTS;
use super::parse;
use super::plain::plain;
use super::poly::Algebra;
use super::side;
use super::tree::{Answer, Expr, expr_depends};

/// Work spent on numbers when they are read.
pub(super) const FUEL: u64 = 2_000;
pub(super) const WORK: u64 = 1_000;

/// What a letter e between digits means in `2e-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exponents {
    /// A power of ten, unless the answer stands between delimiters of mathematics.
    AsWritten,
    /// Whatever it does not mean by itself.
    Other,
}

/// `Err` only for [`Stop::Fuel`]: what is no mathematics is text.
pub(super) fn read(answer: &str, exponents: Exponents) -> Result<Answer, Stop> {
    let plain = plain(answer);
    let text = undecorated(&plain);
    if side::is_no_value(answer) {
        return Ok(Answer::Text(normal(text)));
    }
    let delimited = text.len() < plain.trim().len() && plain.contains(['$', '\\']);
    let euler = delimited == (exponents == Exponents::AsWritten);
    choice(text, euler).map_or_else(|| content(text, euler), Ok)
}

/// Whether a text holds a number such as `2e-1`, which may be read in two ways.
pub(super) fn has_two_readings(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(4).any(|w| {
        w[0].is_ascii_digit() && w[1] == b'e' && matches!(w[2], b'+' | b'-') && w[3].is_ascii_digit()
    })
}

fn content(text: &str, euler: bool) -> Result<Answer, Stop> {
    let normal = normal(text);
    match normal.as_str() {
        "yes" | "true" => return Ok(Answer::Truth(true)),
        "no" | "false" => return Ok(Answer::Truth(false)),
        "no solution"
        | "no solutions"
        | "there is no solution"
        | "there are no solutions"
        | "empty set"
        | "the empty set" => return Ok(Answer::group('{', '}', Vec::new())),
        "all real numbers" | "all reals" | "the real numbers" | "any real number" | "all real numbers x" => {
            return Ok(Answer::reals());
        }
        _ => {}
    }
    if let Some(hour) = normal.strip_suffix("o'clock").map(str::trim_end)
        && (1..=2).contains(&hour.len())
        && hour.bytes().all(|b| b.is_ascii_digit())
    {
        return content(&format!("{hour}:00"), euler);
    }
    if let Some(moment) = moment(&normal) {
        return Ok(moment);
    }
    if let Some(based) = lettered(text) {
        return Ok(based);
    }
    match parse::parse(text, euler) {
        Ok(mut answer) => {
            simplify(&mut answer, &mut Algebra::new(FUEL, WORK));
            Ok(answer)
        }
        Err(Stop::Fuel) => Err(Stop::Fuel),
        Err(_) if normal.starts_with("yes,") || normal.starts_with("yes:") => Ok(Answer::Truth(true)),
        Err(_) if normal.starts_with("no,") || normal.starts_with("no:") => Ok(Answer::Truth(false)),
        Err(_) => Ok(Answer::Text(normal)),
    }
}

/// Expressions that are rational numbers become numbers.
fn simplify(answer: &mut Answer, algebra: &mut Algebra) {
    match answer {
        Answer::Value { expr, .. } => {
            if let Expr::Number(_) = expr {
                return;
            }
            if let Some(value) = algebra.normal(expr).ok().and_then(|normal| normal.rational()) {
                *expr = Expr::Number(value);
            }
        }
        Answer::Relation { sides: items, .. } | Answer::Group { items, .. } => {
            for item in items.iter_mut() {
                simplify(item, algebra);
            }
            if let Some(value) = said_again(answer, algebra) {
                *answer = value;
            }
        }
        Answer::Choice(_, Some(body)) => simplify(body, algebra),
        Answer::Choice(_, None)
        | Answer::Truth(_)
        | Answer::Text(_)
        | Answer::Application { .. }
        | Answer::Based(..)
        | Answer::Clock(_)
        | Answer::Date(_) => {}
    }
}

/// The value that `3/4 or 0.75` says twice.
fn said_again(answer: &Answer, algebra: &mut Algebra) -> Option<Answer> {
    let Answer::Group { open: ',', close: '∨', items } = answer else { return None };
    let (first, rest) = items.split_first()?;
    rest.iter().all(|item| is_equal(first, item, algebra)).then(|| first.clone())
}

/// Whether two values without variables are surely equal, in one unit and under one name.
pub(super) fn is_equal(a: &Answer, b: &Answer, algebra: &mut Algebra) -> bool {
    let (
        Answer::Value { expr: a, percent: p, unit: u, noun: m, .. },
        Answer::Value { expr: b, percent: q, unit: v, noun: n, .. },
    ) = (a, b)
    else {
        return false;
    };
    let fixed = |expr: &Expr| !expr_depends(expr, None);
    if u != v || m != n || !fixed(a) || !fixed(b) {
        return false;
    }
    let (Ok(a), Ok(b)) = (algebra.normal(a), algebra.normal(b)) else { return false };
    match (a.rational(), b.rational()) {
        (Some(a), Some(b)) => Amount { value: a, percent: *p }.is_same(&Amount { value: b, percent: *q }),
        _ => p == q && a == b,
    }
}

/// The answer without emphasis, quotes, delimiters of mathematics and a full stop around it.
pub(super) fn undecorated(answer: &str) -> &str {
    const PAIRS: &[(&str, &str)] = &[
        ("$$", "$$"),
        ("$", "$"),
        ("\\(", "\\)"),
        ("\\[", "\\]"),
        ("**", "**"),
        ("__", "__"),
        ("\"", "\""),
        ("'", "'"),
        ("`", "`"),
    ];
    let mut text = answer;
    loop {
        let before = text.len();
        text = without_spacing(text);
        text =
            text.trim().trim_end_matches([',', ';']).trim_start_matches("**").trim_start_matches("\u{feff}");
        if !text.ends_with("\\left.") && !text.ends_with("\\right.") {
            text = text.strip_suffix('.').filter(|rest| !rest.ends_with('.')).unwrap_or(text);
        }
        text = text.strip_suffix("**").unwrap_or(text);
        for (open, close) in PAIRS {
            if text.len() >= open.len() + close.len()
                && let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close))
                && !inner.contains(open)
                && !inner.ends_with('\\')
            {
                text = inner;
            }
        }
        for emphasis in ['*', '_'] {
            if text.len() > 1 && text.starts_with(emphasis) && text.ends_with(emphasis) {
                text = &text[1..text.len() - 1];
            }
        }
        if text.len() == before {
            return text;
        }
    }
}

/// The text without commands of spacing at its end: `12\,`, `12\ `, `12~`.
fn without_spacing(mut text: &str) -> &str {
    loop {
        text = text.trim_end();
        let spacing = ["\\,", "\\;", "\\:", "\\!", "\\", "~", "\\quad", "\\qquad"];
        match spacing.into_iter().find_map(|command| text.strip_suffix(command)) {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// Text in the form in which two texts are compared: lower case, single blanks, no markup, no full stop.
fn normal(text: &str) -> String {
    let mut plain = text.to_owned();
    if text.contains(['\\', '{', '*', '$', '~']) {
        for command in TEXTS.iter().rev().copied().chain(["mathbf", ",", " ", "!", ";"]) {
            plain = plain.replace(&format!("\\{command}"), " ");
        }
        plain = plain.replace(['{', '}', '*', '$', '~'], " ");
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_lowercase()
}

/// `B`, `(B)`, `B.`, `(B) 12`, `B) 12`, `B. 12`, `B: 12`, `Option B`, in `\text{}` too.
fn choice(text: &str, euler: bool) -> Option<Answer> {
    let mut rest = text;
    let mut braced = false;
    for command in TEXTS.iter().copied().chain(["mathbf"]) {
        let rest_of = text.strip_prefix('\\').and_then(|text| text.strip_prefix(command));
        if let Some(inner) = rest_of.and_then(|rest| rest.trim_start().strip_prefix('{')) {
            (rest, braced) = (inner.trim_start(), true);
        }
    }
    for word in ["option ", "choice "] {
        if rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)) {
            rest = rest[word.len()..].trim_start();
        }
    }
    let open = rest.starts_with('(');
    let rest = rest.trim_start_matches('(');
    let letter =
        rest.chars().next().filter(|c| matches!(c, 'A'..='H') || (matches!(c, 'a'..='h') && open))?;
    let rest = &rest[1..];
    let (marked, mut rest) = match rest.strip_prefix(')') {
        Some(rest) => (true, rest),
        None if open => return None,
        None => rest.strip_prefix(['.', ':']).map_or((false, rest), |rest| (true, rest)),
    };
    let mut apart = marked;
    if braced {
        rest = match rest.trim_start().strip_prefix('}') {
            // `\textbf{(C) }14`
            Some(outside) => outside,
            None => {
                apart &= rest.starts_with(char::is_whitespace);
                rest.trim_end().strip_suffix('}')?
            }
        };
    } else {
        apart &= rest.starts_with(|c: char| c.is_whitespace() || matches!(c, '\\' | '$'));
    }
    let body = rest.trim_start_matches("\\ ").trim_start_matches("\\,").trim();
    let letter = letter.to_ascii_uppercase();
    if body.is_empty() {
        return Some(Answer::Choice(letter, None));
    }
    // `A12`, `(a)(b)` and the like are no choices.
    let body = if apart { content(undecorated(body), euler).ok()? } else { return None };
    if matches!(&body, Answer::Text(text) if text.is_empty()) {
        None
    } else {
        Some(Answer::Choice(letter, Some(Box::new(body))))
    }
}
