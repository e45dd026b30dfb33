//! The two sides of an equation in running text: how far the arithmetic beside an `=` goes, and whether the
//! words around it bend its meaning.

use super::units::{is_rate, is_rate_of, singular};
use super::{Clarity, ExprError, Kind, MAX_DIGITS, MAX_NODES, Token, parse};

/// Words in front of an expression that operate on it.
pub(super) const OPERATING: &[&str] = &[
    "of",
    "times",
    "plus",
    "minus",
    "by",
    "over",
    "per",
    "than",
    "from",
    "to",
    "between",
    "less",
    "twice",
    "double",
    "triple",
    "thrice",
    "half",
    "third",
    "quarter",
    "squared",
    "cubed",
    "square",
    "cube",
    "root",
    "sum",
    "product",
    "difference",
    "ratio",
    "divided",
    "multiplied",
    "add",
    "added",
    "subtract",
    "subtracted",
    "multiply",
    "divide",
    "increased",
    "decreased",
    "x",
];

/// Words behind a result that change it.
pub(super) const SCALING: &[&str] = &[
    "hundred",
    "thousand",
    "million",
    "billion",
    "trillion",
    "dozen",
    "dozens",
    "k",
    "m",
    "cents",
    "cent",
    "pair",
    "pairs",
    "half",
    "halves",
    "third",
    "thirds",
    "quarter",
    "quarters",
    "times",
    "plus",
    "minus",
    "divided",
    "multiplied",
    "over",
    "squared",
    "cubed",
    "of",
    "or",
    "x",
    "mod",
    "r",
    "remainder",
];

/// Words behind a result that start a new phrase, so that a number behind them does not belong to it.
const JOINING: &[&str] =
    &["and", "so", "then", "thus", "therefore", "hence", "but", "while", "now", "next", "because", "since"];

/// Most unit words behind a number, as in `5 pieces of straw per hamster cage`.
const UNIT_WORDS: usize = 6;

/// One side of an equation in running text.
#[derive(Default)]
pub(super) struct Side<'a> {
    pub text: String,
    /// [`Clarity::Units`] if only the words behind its numbers leave it open.
    pub clarity: Clarity,
    /// Its tokens, with the words behind its numbers.
    pub tokens: &'a [Token],
    /// It is all there is between the line's start or one `=` and the next.
    pub whole: bool,
    pub computes: bool,
    /// A sign or operator that the side does not cover stands before it.
    pub after_symbol: bool,
    /// What its numbers count, if it only adds and subtracts; in the singular.
    pub unit: Option<String>,
}

/// The longest expression that ends a segment, unit words left out.
pub(super) fn suffix(segment: &[Token]) -> Side<'_> {
    let (mut run, mut places) = (Vec::new(), Vec::new());
    let mut units: Vec<&[Token]> = Vec::new();
    let mut rest = segment;
    while let Some((token, before)) = rest.split_last() {
        if is_arithmetic(token.kind) {
            run.push(token.clone());
            places.push(before.len());
            rest = before;
            continue;
        }
        // Words between a number and an operator or the end are its unit: `miles`, `miles/hour`.
        let mut words = trailing_words(rest);
        let (before, rate) = rest.split_at(rest.len() - words);
        if is_rate_of(before, rate, segment) {
            words += 1 + trailing_words(&before[..before.len() - 1]);
        }
        let number = rest.len().checked_sub(words + 1).map(|i| rest[i].kind);
        let behind = run.last().is_none_or(|t| matches!(t.kind, Kind::Operator(_) | Kind::Close));
        let is_unit = (1..=UNIT_WORDS).contains(&words)
            && behind
            && matches!(number, Some(Kind::Number | Kind::Percent | Kind::Close | Kind::Currency));
        if !is_unit {
            break;
        }
        units.push(&rest[rest.len() - words..]);
        rest = &rest[..rest.len() - words];
    }
    run.reverse();
    places.reverse();
    if run.len() > 2 * MAX_NODES {
        return Side { clarity: Clarity::Oversized, ..Side::default() };
    }
    for start in 0..run.len() {
        let node = match parse(&run[start..]) {
            Ok(node) => node,
            Err(ExprError::OutOfFuel) => return Side { clarity: Clarity::Oversized, ..Side::default() },
            Err(_) => continue,
        };
        let boundary = if start > 0 { Some(&run[start - 1]) } else { rest.last() };
        let signed = matches!(run[start].kind, Kind::Operator(_));
        let counted = !units.is_empty();
        let clear = match boundary {
            None => true,
            Some(token) => match token.kind {
                Kind::Word => !(signed || operates(rest) || counted && goes_on(rest)),
                // A stray sign, as in `.8 + . 84`, does not separate.
                Kind::Pause => !matches!(rest.iter().rev().nth(1).map(|t| t.kind), Some(Kind::Operator(_))),
                Kind::Open => true,
                _ => false,
            },
        };
        let terms = &run[start..];
        let sums = terms.iter().all(|t| matches!(t.kind, Kind::Number | Kind::Operator('+' | '-')));
        let unit = if sums { common(&units) } else { None };
        return Side {
            text: written(terms),
            clarity: if clear && counted { Clarity::Units } else { Clarity::when(clear) },
            tokens: &segment[places[start]..],
            whole: boundary.is_none() && !counted,
            computes: node.computes(),
            after_symbol: matches!(boundary.map(|t| t.kind), Some(Kind::Symbol | Kind::Operator(_))),
            unit,
        };
    }
    let dangling = matches!(run.last().map(|t| t.kind), Some(Kind::Operator(_)));
    Side {
        after_symbol: dangling || matches!(segment.last().map(|t| t.kind), Some(Kind::Symbol)),
        ..Side::default()
    }
}

/// The longest expression that starts a segment.
pub(super) fn prefix(segment: &[Token]) -> Side<'_> {
    let length = segment.iter().take_while(|t| is_arithmetic(t.kind)).count();
    if length > 2 * MAX_NODES {
        return Side { clarity: Clarity::Oversized, ..Side::default() };
    }
    for end in (1..=length).rev() {
        let node = match parse(&segment[..end]) {
            Ok(node) => node,
            Err(ExprError::OutOfFuel) => return Side { clarity: Clarity::Oversized, ..Side::default() },
            Err(_) => continue,
        };
        // `8.333...%`
        let dots = segment[end..].iter().take_while(|t| matches!(t.text.as_str(), "." | "…")).count();
        let cut = dots > 0 && segment.get(end + dots).is_some_and(|t| t.kind == Kind::Percent);
        let behind = &segment[if cut { end + dots } else { end }..];
        let percent_word =
            behind.first().is_some_and(|t| is_one_of(t, &["percent"]) || cut && t.kind == Kind::Percent);
        let words = leading_words(behind);
        return Side {
            text: written(&segment[..end]) + if percent_word { "%" } else { "" },
            clarity: Clarity::when(ends_here(if percent_word { &behind[1..] } else { behind })),
            tokens: &segment[..segment.len() - behind.len() + words],
            whole: behind.is_empty(),
            computes: node.computes(),
            ..Side::default()
        };
    }
    Side::default()
}

/// Does the last word operate on what stands behind it? A total does not: `a total of 80 + 18 = 98`.
fn operates(tokens: &[Token]) -> bool {
    let total = match tokens {
        [.., article, total, of] => {
            is_one_of(article, &["a"]) && is_one_of(total, &["total"]) && is_one_of(of, &["of"])
        }
        _ => false,
    };
    !total && tokens.last().is_some_and(|token| is_one_of(token, OPERATING))
}

/// How many words stand at the start.
fn leading_words(tokens: &[Token]) -> usize {
    tokens.iter().take_while(|t| t.kind == Kind::Word).count()
}

/// How many words stand at the end.
fn trailing_words(tokens: &[Token]) -> usize {
    tokens.iter().rev().take_while(|t| t.kind == Kind::Word).count()
}

/// Do the words at the end stand behind a number, as in `5 feet` before `6 inches`?
fn goes_on(tokens: &[Token]) -> bool {
    let words = &tokens[tokens.len() - trailing_words(tokens)..];
    let number = tokens.len().checked_sub(words.len() + 1).map(|i| tokens[i].kind);
    matches!(number, Some(Kind::Number | Kind::Percent)) && !words.iter().any(|word| is_one_of(word, JOINING))
}

/// The first or last word of units in the singular, if all have it: `3 new clients + 5 old clients`. A letter
/// is a variable.
fn common(units: &[&[Token]]) -> Option<String> {
    let words = |unit: &[Token]| {
        let ends = [unit.first(), unit.last()];
        ends.map(|end| end.filter(|t| t.kind == Kind::Word).map_or_else(String::new, |t| singular(&t.text)))
    };
    let all: Vec<[String; 2]> = units.iter().map(|unit| words(unit)).collect();
    let ends = [1, 0].into_iter().find(|&end| all.iter().all(|unit| unit[end] == all[0][end]))?;
    all.first().map(|unit| unit[ends].clone()).filter(|word| word.len() > 1)
}

/// Does a result end here, i.e. can what stands behind it not change it?
fn ends_here(behind: &[Token]) -> bool {
    let Some(first) = behind.first() else { return true };
    match first.kind {
        Kind::Pause | Kind::Close => true,
        // `17 times` counts, `3 times 6` goes on.
        Kind::Word if is_one_of(first, SCALING) => {
            let counts = behind.get(1).is_none_or(|t| matches!(t.kind, Kind::Pause | Kind::Close));
            is_one_of(first, &["times"]) && counts
        }
        Kind::Word if is_one_of(first, JOINING) => {
            // `2 and a half`, `2 and 1/2`.
            let second = behind.get(1);
            let fraction = matches!(behind.get(2).map(|t| t.kind), Some(Kind::Operator('/')));
            !(fraction || second.is_some_and(|t| is_one_of(t, &["a", "one", "half", "two", "three"])))
        }
        Kind::Word => {
            // `2 hours 30 minutes`, `2 hours and 30 minutes`, `3 packs of 5`; `20 rows / 4`, `1 hour * 60`.
            let words = leading_words(behind);
            let joined = words > 2 && is_one_of(&behind[words - 1], JOINING);
            let kind = |at: usize| behind.get(at).map(|t| t.kind);
            let amount = |kind| matches!(kind, Some(Kind::Number | Kind::Currency | Kind::Open));
            let computed = match kind(words) {
                Some(Kind::Operator('-')) => amount(kind(words + 1)),
                Some(Kind::Operator(_)) => !behind.get(words + 1).is_some_and(is_rate),
                _ => false,
            };
            !computed && (joined || !matches!(kind(words), Some(Kind::Number | Kind::Currency)))
        }
        // `$45/day`
        Kind::Operator('/') => behind.get(1).is_some_and(is_rate),
        _ => false,
    }
}

fn is_arithmetic(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Number | Kind::Operator(_) | Kind::Open | Kind::Close | Kind::Percent | Kind::Currency
    )
}

pub(super) fn is_one_of(token: &Token, words: &[&str]) -> bool {
    token.kind == Kind::Word && words.iter().any(|word| token.text.eq_ignore_ascii_case(word))
}

pub(super) fn is_oversized(tokens: &[Token]) -> bool {
    tokens.len() > 2 * MAX_NODES || tokens.iter().map(|t| t.text.len()).sum::<usize>() > 2 * MAX_DIGITS
}

/// Tokens of one expression as ASCII text; empty where one of them is not arithmetic.
pub(super) fn written(tokens: &[Token]) -> String {
    if is_oversized(tokens) || !tokens.iter().all(|t| is_arithmetic(t.kind)) {
        return String::new();
    }
    let mut text = String::new();
    let mut last_number = false;
    for token in tokens.iter().filter(|t| t.kind != Kind::Currency) {
        let number = token.kind == Kind::Number;
        if number && last_number {
            text.push(' ');
        }
        last_number = number;
        match token.kind {
            Kind::Operator(sign) => text.push(sign),
            _ => text.push_str(&token.text),
        }
    }
    text
}
