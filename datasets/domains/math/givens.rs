//! The numbers that a question writes, and those that its words mean.

use std::cell::RefCell;
use std::iter;

use crate::domain::{Origin, Quantity};
use crate::expr::{self, Kind, Token};
use crate::number::Number;

/// Words that mean a number without being one. A solution may multiply and divide by it.
pub const LEXICON: &[(&str, i64)] = &[
    ("half", 2),
    ("halves", 2),
    ("halved", 2),
    ("twice", 2),
    ("double", 2),
    ("doubled", 2),
    ("doubles", 2),
    ("couple", 2),
    ("pair", 2),
    ("pairs", 2),
    ("triple", 3),
    ("tripled", 3),
    ("triples", 3),
    ("thrice", 3),
    ("third", 3),
    ("thirds", 3),
    ("quarter", 4),
    ("quarters", 4),
    ("fourth", 4),
    ("fourths", 4),
    ("quadruple", 4),
    ("fifth", 5),
    ("fifths", 5),
    ("sixth", 6),
    ("sixths", 6),
    ("week", 7),
    ("weeks", 7),
    ("weekly", 7),
    ("eighth", 8),
    ("eighths", 8),
    ("tenth", 10),
    ("tenths", 10),
    ("decade", 10),
    ("dozen", 12),
    ("dozens", 12),
    ("year", 12),
    ("years", 12),
    ("annual", 12),
    ("yearly", 12),
    ("hour", 60),
    ("hours", 60),
    ("hourly", 60),
    ("minute", 60),
    ("minutes", 60),
    ("percent", 100),
    ("percentage", 100),
    ("cent", 100),
    ("cents", 100),
    ("century", 100),
];

/// Number words, counted as written in the question.
const NUMERALS: &[(&str, i64)] = &[
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
];

/// Words that multiply the number before them, and are numbers by themselves.
const SCALES: &[(&str, i64)] = &[("hundred", 100), ("thousand", 1000), ("million", 1_000_000)];

/// Most copies of one value: a number that is written twice may be used with itself.
const COPIES: usize = 2;

/// The pool at the start: given numbers in the order of the text, then numbers that words mean.
///
/// Fractions (`3/4`) and mixed numbers (`1 1/2`) are one value. A value that is written several times stands
/// there twice, a value from the lexicon once. Zero is left out, since no sensible step uses it.
pub fn givens(question: &str) -> Vec<Quantity> {
    thread_local! {
        /// The last question: the solutions of a problem are looked at one after the other.
        static LAST: RefCell<(String, Vec<Quantity>)> = const { RefCell::new((String::new(), Vec::new())) };
    }
    LAST.with_borrow_mut(|(last, found)| {
        if last != question {
            *found = read(question);
            question.clone_into(last);
        }
        found.clone()
    })
}

fn read(question: &str) -> Vec<Quantity> {
    let tokens = expr::lex(question);
    let (mut given, mut meant): (Vec<Number>, Vec<Number>) = (Vec::new(), Vec::new());
    let mut rest = tokens.as_slice();
    while let Some(first) = rest.first() {
        let (value, length) = written(rest).unwrap_or((Number::ZERO, 1));
        if !value.is_zero() && given.iter().filter(|&&v| v == value).count() < COPIES {
            given.push(value);
        }
        if let Some(value) = meaning(first).filter(|value| !meant.contains(value)) {
            meant.push(value);
        }
        rest = &rest[length..];
    }
    let quantity = |(value, origin)| Quantity { value, origin, uses: 0 };
    let given = given.into_iter().zip(iter::repeat(Origin::Given));
    given.chain(meant.into_iter().zip(iter::repeat(Origin::Lexicon))).map(quantity).collect()
}

fn meaning(token: &Token) -> Option<Number> {
    match token.kind {
        Kind::Percent => Some(Number::integer(100)),
        Kind::Word => look_up(LEXICON, token),
        _ => None,
    }
}

fn look_up(table: &[(&str, i64)], token: &Token) -> Option<Number> {
    if token.kind != Kind::Word {
        return None;
    }
    let found = table.iter().find(|(word, _)| token.text.eq_ignore_ascii_case(word));
    found.map(|(_, value)| Number::integer(*value))
}

/// The number at the front of the tokens, and how many of them it takes.
pub(crate) fn written(tokens: &[Token]) -> Option<(Number, usize)> {
    let (value, length) = in_digits(tokens).or_else(|| in_words(tokens))?;
    match tokens.get(length).and_then(|t| look_up(SCALES, t)) {
        Some(scale) => Some((value.checked_mul(scale)?, length + 1)),
        None => Some((value, length)),
    }
}

fn in_digits(tokens: &[Token]) -> Option<(Number, usize)> {
    let number = |at: usize| {
        let token: &Token = tokens.get(at).filter(|t| t.kind == Kind::Number)?;
        Number::from_big(&expr::decimal(&token.text)?)
    };
    let whole = |at: usize| number(at).filter(|n| n.is_integer() && !n.is_zero());
    let ratio = |at: usize| {
        let slash = tokens.get(at + 1).is_some_and(|t| t.kind == Kind::Operator('/'));
        if slash { whole(at)?.checked_div(whole(at + 2)?) } else { None }
    };
    if let Some(value) = ratio(0) {
        return Some((value, 3));
    }
    if let (Some(value), Some(part)) = (whole(0), ratio(1)) {
        return Some((value.checked_add(part)?, 4));
    }
    Some((number(0)?, 1))
}

/// `seven`, `twenty`, `twenty-five`, `hundred`.
fn in_words(tokens: &[Token]) -> Option<(Number, usize)> {
    let first = tokens.first()?;
    if let Some(scale) = look_up(SCALES, first) {
        return Some((scale, 1));
    }
    let value = look_up(NUMERALS, first)?;
    if value >= Number::integer(20) && tokens.get(1).is_some_and(|t| t.kind == Kind::Operator('-')) {
        let unit =
            tokens.get(2).and_then(|t| look_up(NUMERALS, t)).filter(|unit| *unit < Number::integer(10));
        if let Some(unit) = unit {
            return Some((value.checked_add(unit)?, 3));
        }
    }
    Some((value, 1))
}

/// The numerals among some tokens, each by itself.
pub(super) fn numerals(tokens: &[Token]) -> impl Iterator<Item = Number> {
    tokens.iter().filter_map(|token| look_up(NUMERALS, token).or_else(|| look_up(SCALES, token)))
}
