//! The two sides of an equation in running text: how far the arithmetic beside an `=` goes, and whether the
//! words around it bend its meaning.

use super::{Clarity, ExprError, Kind, MAX_DIGITS, MAX_NODES, Token, parse};

/// Words in front of an expression that operate on it.
const OPERATING: &[&str] = &[
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
const SCALING: &[&str] = &[
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

/// Most unit words behind a number, as in `3 dollars per full hour`.
const UNIT_WORDS: usize = 4;

/// One side of an equation in running text.
#[derive(Default)]
pub(super) struct Side {
    pub text: String,
    pub clarity: Clarity,
    /// It is all there is between the line's start or one `=` and the next.
    pub whole: bool,
    pub computes: bool,
    /// A sign or operator that the side does not cover stands before it.
    pub after_symbol: bool,
    /// The words behind its numbers, if they are the same behind each; of a right side those behind it.
    pub unit: Option<String>,
    /// What its clarity would be without them, of a left side that only adds and subtracts.
    pub clear_but_unit: Clarity,
}

/// The longest expression that ends a segment, unit words left out.
pub(super) fn suffix(segment: &[Token]) -> Side {
    let mut run = Vec::new();
    let mut units: Vec<String> = Vec::new();
    let mut rest = segment;
    while let Some((token, before)) = rest.split_last() {
        if is_arithmetic(token.kind) {
            run.push(token.clone());
            rest = before;
            continue;
        }
        // Words between a number and an operator or the end are its unit.
        let words = rest.iter().rev().take_while(|t| t.kind == Kind::Word).count();
        let number = rest.len().checked_sub(words + 1).map(|i| rest[i].kind);
        let behind = run.last().is_none_or(|t| matches!(t.kind, Kind::Operator(_) | Kind::Close));
        let is_unit = (1..=UNIT_WORDS).contains(&words)
            && behind
            && matches!(number, Some(Kind::Number | Kind::Percent | Kind::Close | Kind::Currency));
        if !is_unit {
            break;
        }
        units.push(unit(&rest[rest.len() - words..]));
        rest = &rest[..rest.len() - words];
    }
    run.reverse();
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
        let clear = match boundary {
            None => true,
            Some(token) => match token.kind {
                Kind::Word => !signed && !is_one_of(token, OPERATING),
                // A stray sign, as in `.8 + . 84`, does not separate.
                Kind::Pause => !matches!(rest.iter().rev().nth(1).map(|t| t.kind), Some(Kind::Operator(_))),
                Kind::Open => true,
                _ => false,
            },
        };
        let terms = &run[start..];
        let numbers = terms.iter().filter(|t| t.kind == Kind::Number).count();
        let sums = terms.iter().all(|t| matches!(t.kind, Kind::Number | Kind::Operator('+' | '-')));
        let same = sums && units.len() == numbers && units.windows(2).all(|pair| pair[0] == pair[1]);
        return Side {
            text: written(terms),
            clarity: Clarity::when(clear && units.is_empty()),
            whole: boundary.is_none() && units.is_empty(),
            computes: node.computes(),
            after_symbol: matches!(boundary.map(|t| t.kind), Some(Kind::Symbol | Kind::Operator(_))),
            clear_but_unit: Clarity::when(clear && same),
            unit: units.pop().filter(|_| same),
        };
    }
    let dangling = matches!(run.last().map(|t| t.kind), Some(Kind::Operator(_)));
    Side {
        after_symbol: dangling || matches!(segment.last().map(|t| t.kind), Some(Kind::Symbol)),
        ..Side::default()
    }
}

/// The longest expression that starts a segment.
pub(super) fn prefix(segment: &[Token]) -> Side {
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
        let behind = &segment[end..];
        let percent_word = behind.first().is_some_and(|t| is_one_of(t, &["percent"]));
        return Side {
            text: written(&segment[..end]) + if percent_word { "%" } else { "" },
            clarity: Clarity::when(ends_here(if percent_word { &behind[1..] } else { behind })),
            whole: behind.is_empty(),
            computes: node.computes(),
            unit: Some(unit(behind)).filter(|unit| !unit.is_empty()),
            ..Side::default()
        };
    }
    Side::default()
}

/// The words at the start, in lower case.
fn unit(tokens: &[Token]) -> String {
    let words = tokens.iter().take_while(|t| t.kind == Kind::Word).map(|t| t.text.to_lowercase());
    words.collect::<Vec<_>>().join(" ")
}

/// Does a result end here, i.e. can what stands behind it not change it?
fn ends_here(behind: &[Token]) -> bool {
    let Some(first) = behind.first() else { return true };
    match first.kind {
        Kind::Pause | Kind::Close => true,
        Kind::Word if is_one_of(first, SCALING) => false,
        Kind::Word if is_one_of(first, JOINING) => {
            // `2 and a half`, `2 and 1/2`.
            let second = behind.get(1);
            let fraction = matches!(behind.get(2).map(|t| t.kind), Some(Kind::Operator('/')));
            !(fraction || second.is_some_and(|t| is_one_of(t, &["a", "one", "half", "two", "three"])))
        }
        Kind::Word => {
            // `2 hours 30 minutes`, `2 hours and 30 minutes`, `3 packs of 5`.
            let words = behind.iter().take_while(|t| t.kind == Kind::Word).count();
            let joined = words > 2 && is_one_of(&behind[words - 1], JOINING);
            joined || !matches!(behind.get(words).map(|t| t.kind), Some(Kind::Number | Kind::Currency))
        }
        _ => false,
    }
}

fn is_arithmetic(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Number | Kind::Operator(_) | Kind::Open | Kind::Close | Kind::Percent | Kind::Currency
    )
}

fn is_one_of(token: &Token, words: &[&str]) -> bool {
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
