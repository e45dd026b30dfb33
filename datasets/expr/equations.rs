//! Finds equations inside prose, and fills in the result of one that is being written.
//!
//! A sentence bends what stands next to it: in `half of 20 + 5 = 15` the sum is not an operand by itself,
//! in `150/60 = 2 hours 30 minutes` the result goes on behind the 2. So an equation is *clear* only if
//! nothing beside it can change its meaning. A clear equation can hold or fail; an unclear one can hold,
//! but is never called false.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Signed;

use super::sides::{is_oversized, prefix, suffix, written};
use super::units::{counts, leave_numbers};
use super::{CALCULATOR_DECIMALS, ExprError, Kind, Node, Token, evaluate, lex, parse, rows};
use crate::number::{big_decimals, render};

/// Digits from which on a decimal is taken for the output of binary floating point.
const FLOAT_DIGITS: usize = 16;

/// An equation in a line of text. Both sides are arithmetic in ASCII, without units, currency and separators;
/// a side that could not be read is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    pub lhs: String,
    pub rhs: String,
    pub clarity: Clarity,
    /// Written as a calculator annotation, `<<48/2=24>>`.
    pub annotated: bool,
    /// Its left side is the right side of the equation before it, as in `a = b = c`. In `x = 2*3 = 6` nothing
    /// is before it.
    pub chained: bool,
}

/// How much the text says of an equation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clarity {
    /// Nothing beside it can change its meaning.
    Clear,
    /// Words behind its numbers can, and they name nothing that is converted: `20 miles * 5 days = 90 miles`.
    Units,
    /// Something beside it can: it may hold, but is never called false.
    #[default]
    Unclear,
    /// A side is longer than an expression may be.
    Oversized,
}

impl Clarity {
    pub(super) fn when(clear: bool) -> Self {
        if clear { Clarity::Clear } else { Clarity::Unclear }
    }
}

/// What exact evaluation says of an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    Holds,
    /// The result is the exact one, rounded or cut to the decimals that are written (see [`is_rounded`]).
    Rounded,
    Fails,
    Unknown(ExprError),
}

impl Equation {
    /// Evaluates both sides exactly.
    ///
    /// A percent sign on the result alone, or a factor `100%`, is taken as a unit where that makes the
    /// equation hold: `20/80*100 = 25%`, `20/80 = 25%` and `20/80*100% = 25` all do.
    pub fn check(&self) -> Truth {
        if self.clarity == Clarity::Oversized {
            return Truth::Unknown(ExprError::OutOfFuel);
        }
        let refuted = match self.clarity {
            Clarity::Clear | Clarity::Units => Truth::Fails,
            Clarity::Unclear | Clarity::Oversized => Truth::Unknown(ExprError::Unreadable),
        };
        match (evaluate(&self.lhs), evaluate(&self.rhs)) {
            (Ok(left), Ok(right)) if left == right => Truth::Holds,
            (Ok(left), Ok(right)) => self.compare(&left, &right).unwrap_or(refuted),
            (Err(ExprError::OutOfFuel), _) | (_, Err(ExprError::OutOfFuel)) => {
                Truth::Unknown(ExprError::OutOfFuel)
            }
            (Err(ExprError::Unreadable), _) | (_, Err(ExprError::Unreadable)) => {
                Truth::Unknown(ExprError::Unreadable)
            }
            _ => refuted,
        }
    }

    /// What makes sides hold that are not equal, or leaves it open; `None` if nothing does.
    fn compare(&self, left: &BigRational, right: &BigRational) -> Option<Truth> {
        let hundred = BigRational::from_integer(100.into());
        let written = self.rhs.trim_end_matches('%');
        // In percent, as `1/6*100% = 16.67` is too.
        let percent = self.rhs.ends_with('%') || self.lhs.ends_with("*100%");
        let scaled = percent.then(|| left * &hundred);
        if percent && left == &(right * &hundred) || scaled.as_ref() == Some(right) {
            return Some(Truth::Holds);
        }
        let exact = || std::iter::once(left).chain(&scaled);
        if exact().any(|value| is_rounded(value, written)) {
            return Some(Truth::Rounded);
        }
        // `25 / 1/3 = 75` does not say what is divided by what. With units, quotients of quotients are seldom
        // read from left to right, and what is counted comes whole: `100 people / 30 seats = 4 buses`.
        let second = fractions(&self.lhs);
        let counted = || evaluate(written).is_ok_and(|whole| exact().any(|value| is_counted(value, &whole)));
        let open = second.as_ref().is_some_and(|lhs| evaluate(lhs).as_ref() == Ok(right))
            || self.clarity == Clarity::Units && (second.is_some() || counted());
        open.then_some(Truth::Unknown(ExprError::Unreadable))
    }
}

/// Is the result a whole number next to the exact one, which is none?
fn is_counted(exact: &BigRational, result: &BigRational) -> bool {
    result.is_integer() && (exact - result).abs() < BigRational::from_integer(1.into())
}

/// The second of two quotients in a row in brackets: `25/(1/3)` for `25/1/3`. None if there are no two in a
/// row.
fn fractions(lhs: &str) -> Option<String> {
    let quotient = |c: char| c.is_ascii_digit() || c == '.';
    let first = lhs.find('/')?;
    let rest = &lhs[first + 1..];
    let second = rest.find(|c| !quotient(c)).filter(|&at| at > 0 && rest[at..].starts_with('/'))?;
    let behind = &rest[second + 1..];
    let end = behind.find(|c| !quotient(c)).unwrap_or(behind.len());
    (end > 0).then(|| format!("{}({}){}", &lhs[..=first], &rest[..second + 1 + end], &behind[end..]))
}

/// Is the written decimal the exact value, rounded to the nearest or cut to its decimals?
///
/// `10/3 = 3.33` and `800/3 = 266.6666666666667` are; `10/4 = 2.4` is not, nor is `10/3 = 3`: a whole number
/// says that something was counted. What binary floating point makes of an exact decimal (`0.1+0.2 =
/// 0.30000000000000004`) is rounded too: it has [`FLOAT_DIGITS`] digits, and is off by less than a unit in
/// the 14th.
pub(crate) fn is_rounded(exact: &BigRational, written: &str) -> bool {
    let (whole, decimals) = written.split_once('.').unwrap_or((written, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    if decimals.is_empty() || !digits(whole) || !digits(decimals) {
        return false;
    }
    let Ok(value) = evaluate(written) else { return false };
    if value == *exact {
        return false;
    }
    let unit = BigRational::new(1.into(), BigInt::from(10).pow(decimals.len() as u32));
    let off = (exact - &value).abs();
    let nearest = &off + &off <= unit;
    let cut = off < unit && value.abs() < exact.abs();
    if (nearest || cut) && !(exact / &unit).is_integer() {
        return true;
    }
    let significant = whole.trim_start_matches('0').len() + decimals.len();
    significant >= FLOAT_DIGITS && off * BigInt::from(10).pow(14) < exact.abs()
}

/// The equations of a step, row by row; of a row in order, annotations first.
pub fn equations(step: &str) -> Vec<Equation> {
    rows(step).iter().flat_map(|row| read(row).0).collect()
}

/// The equations of one row, in order, annotations first; and the row's tokens, where all of it is running
/// text.
pub(crate) fn read(line: &str) -> (Vec<Equation>, Option<Vec<Token>>) {
    let (annotations, text) = split_annotations(line);
    let mut found = Vec::new();
    for annotation in &annotations {
        let tokens = lex(annotation);
        let sides: Vec<&[Token]> = tokens.split(|t| t.kind == Kind::Equals).collect();
        for (i, pair) in sides.windows(2).enumerate() {
            found.push(Equation {
                lhs: written(pair[0]),
                rhs: written(pair[1]),
                clarity: if pair.iter().any(|side| is_oversized(side)) {
                    Clarity::Oversized
                } else {
                    Clarity::Clear
                },
                annotated: true,
                chained: i > 0,
            });
        }
    }
    let bare = without_bullet(&text);
    let tokens = lex(bare);
    let segments: Vec<&[Token]> = tokens.split(|t| t.kind == Kind::Equals).collect();
    let mut chained = false;
    for (i, pair) in segments.windows(2).enumerate() {
        let last = i + 2 == segments.len();
        let equation = between(pair[0], pair[1], chained, last && !annotations.is_empty());
        chained = equation.is_some();
        found.extend(equation);
    }
    let whole = annotations.is_empty() && bare == line;
    (found, whole.then_some(tokens))
}

/// Reads the equation around one `=` of running text; `None` if the `=` belongs to no arithmetic.
fn between(left: &[Token], right: &[Token], chained: bool, may_end_open: bool) -> Option<Equation> {
    let lhs = suffix(left);
    let rhs = prefix(right);
    // `3 apples + 4 apples = 8 apples`: one unit, so the numbers say it all.
    let same = lhs.unit.as_ref().is_some_and(|unit| counts(rhs.tokens, unit));
    let left_clarity = match lhs.clarity {
        Clarity::Units if same => Clarity::Clear,
        Clarity::Units if !leave_numbers(lhs.tokens, rhs.tokens) => Clarity::Unclear,
        clarity => clarity,
    };
    let percent_added = left.iter().any(|t| t.kind == Kind::Percent)
        && left.iter().any(|t| matches!(t.kind, Kind::Operator('+' | '-')));
    let mut equation = Equation {
        lhs: lhs.text,
        rhs: rhs.text,
        // `100 + 10% = 110` is a manner of speaking.
        clarity: left_clarity.max(rhs.clarity).max(Clarity::when(!percent_added)),
        annotated: false,
        chained: chained && lhs.whole,
    };
    if equation.clarity == Clarity::Oversized {
        return Some(equation);
    }
    if lhs.computes {
        // `48/2 = <<48/2=24>>` may end there: the annotation says the rest.
        return (!equation.rhs.is_empty() || !right.is_empty() || !may_end_open).then_some(equation);
    }
    if equation.lhs.is_empty() || !lhs.whole {
        // Left of the sign stands arithmetic that could not be read, or a mere number or name.
        let arithmetic = left.iter().any(|t| t.kind == Kind::Number) && lhs.after_symbol;
        equation.lhs.clear();
        return arithmetic.then_some(equation);
    }
    // A bare number from the line's start or the `=` before it: `24 = 24`. With a unit it is a conversion
    // (`1 hour = 60 minutes`), which is no arithmetic.
    (equation.clarity == Clarity::Clear && !equation.rhs.is_empty()).then_some(equation)
}

/// The exact result of the expression before a final `=`, as [`crate::number::Number`] writes it.
///
/// `tail` is the text written so far. Inside an open annotation (`<<48/2=`) the result closes it (`24>>`).
/// `None`, i.e. leave the writer alone, unless the text ends with `=` (one blank behind it is allowed), what
/// stands before it is clearly a complete expression with an operator, and its value is a decimal with at
/// most [`CALCULATOR_DECIMALS`] places.
pub fn calculator(tail: &str) -> Option<String> {
    let line = tail.rsplit('\n').next().unwrap_or(tail);
    let line = line.strip_suffix(' ').unwrap_or(line).strip_suffix('=')?;
    if line.ends_with(['<', '>', '!', '=', '~', ':']) {
        return None;
    }
    let open = line.rfind("<<").filter(|&at| !line[at..].contains(">>"));
    let tokens = match open {
        Some(at) => lex(&line[at + 2..]),
        None => lex(without_bullet(&split_annotations(line).1)),
    };
    let segment = tokens.rsplit(|t| t.kind == Kind::Equals).next()?;
    let expression = match open {
        Some(_) => written(segment),
        None => Some(suffix(segment)).filter(|side| side.clarity == Clarity::Clear && side.computes)?.text,
    };
    let tokens = lex(&expression);
    let node = parse(&tokens).ok().filter(Node::computes)?;
    let value = node.value().ok()?;
    if big_decimals(&value)? > CALCULATOR_DECIMALS {
        return None;
    }
    Some(render(&value) + if open.is_some() { ">>" } else { "" })
}

/// The contents of all `<<...>>`, and the line without them.
pub(crate) fn split_annotations(line: &str) -> (Vec<&str>, String) {
    let (mut inside, mut outside, mut rest) = (Vec::new(), String::with_capacity(line.len()), line);
    while let Some((before, after)) = rest.split_once("<<") {
        let Some((content, behind)) = after.split_once(">>") else { break };
        inside.push(content);
        outside.push_str(before);
        rest = behind;
    }
    outside.push_str(rest);
    (inside, outside)
}

/// The line without a list marker in front: `- `, `* `, `+ `, `• `, `1. `, `2) `, `(3) `.
fn without_bullet(line: &str) -> &str {
    let line = line.trim_start();
    if let Some(rest) = ["- ", "* ", "+ ", "• ", "– "].iter().find_map(|marker| line.strip_prefix(marker))
    {
        return rest;
    }
    let numeral = line.strip_prefix('(').unwrap_or(line);
    let rest = numeral.trim_start_matches(|c: char| c.is_ascii_digit());
    let marked = rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") "));
    marked.filter(|_| rest.len() < numeral.len()).unwrap_or(line)
}

#[cfg(test)]
#[path = "equations_tests.rs"]
mod tests;
