//! Finds equations inside prose, and fills in the result of one that is being written.
//!
//! A sentence bends what stands next to it: in `half of 20 + 5 = 15` the sum is not an operand by itself,
//! in `150/60 = 2 hours 30 minutes` the result goes on behind the 2. So an equation is *clear* only if
//! nothing beside it can change its meaning. A clear equation can hold or fail; an unclear one can hold,
//! but is never called false.

use num_rational::BigRational;

use super::sides::{is_oversized, prefix, suffix, written};
use super::{CALCULATOR_DECIMALS, ExprError, Kind, Node, Token, evaluate, lex, parse};
use crate::number::{big_decimals, render};

/// An equation in a line of text. Both sides are arithmetic in ASCII, without units, currency and separators;
/// a side that could not be read is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equation {
    pub lhs: String,
    pub rhs: String,
    pub clarity: Clarity,
    /// Written as a calculator annotation, `<<48/2=24>>`.
    pub annotated: bool,
    /// Its left side is the right side of the equation before it, as in `a = b = c`.
    pub chained: bool,
}

/// How much the text says of an equation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clarity {
    /// Nothing beside it can change its meaning.
    Clear,
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
    Fails,
    Unknown(ExprError),
}

impl Equation {
    /// Evaluates both sides exactly.
    ///
    /// A percent sign on the result alone is taken as a unit where that makes the equation hold:
    /// `20/80*100 = 25%` and `20/80 = 25%` both do.
    pub fn check(&self) -> Truth {
        if self.clarity == Clarity::Oversized {
            return Truth::Unknown(ExprError::OutOfFuel);
        }
        let refuted = if self.clarity == Clarity::Clear { Truth::Fails } else { Truth::Unknown(ExprError::Unreadable) };
        match (evaluate(&self.lhs), evaluate(&self.rhs)) {
            (Ok(left), Ok(right)) if left == right => Truth::Holds,
            (Ok(left), Ok(right)) => {
                let as_unit = self.rhs.ends_with('%') && left == right * BigRational::from_integer(100.into());
                if as_unit { Truth::Holds } else { refuted }
            }
            (Err(ExprError::OutOfFuel), _) | (_, Err(ExprError::OutOfFuel)) => Truth::Unknown(ExprError::OutOfFuel),
            (Err(ExprError::Unreadable), _) | (_, Err(ExprError::Unreadable)) => Truth::Unknown(ExprError::Unreadable),
            _ => refuted,
        }
    }
}

/// The equations of one line, in order; annotations first.
pub fn equations(line: &str) -> Vec<Equation> {
    let (annotations, text) = split_annotations(line);
    let mut found = Vec::new();
    for annotation in &annotations {
        let tokens = lex(annotation);
        let sides: Vec<&[Token]> = tokens.split(|t| t.kind == Kind::Equals).collect();
        for (i, pair) in sides.windows(2).enumerate() {
            found.push(Equation {
                lhs: written(pair[0]),
                rhs: written(pair[1]),
                clarity: if pair.iter().any(|side| is_oversized(side)) { Clarity::Oversized } else { Clarity::Clear },
                annotated: true,
                chained: i > 0,
            });
        }
    }
    let tokens = lex(without_bullet(&text));
    let segments: Vec<&[Token]> = tokens.split(|t| t.kind == Kind::Equals).collect();
    for (i, pair) in segments.windows(2).enumerate() {
        let last = i + 2 == segments.len();
        found.extend(between(pair[0], pair[1], i > 0, last && !annotations.is_empty()));
    }
    found
}

/// Reads the equation around one `=` of running text; `None` if the `=` belongs to no arithmetic.
fn between(left: &[Token], right: &[Token], chained: bool, may_end_open: bool) -> Option<Equation> {
    let lhs = suffix(left);
    let rhs = prefix(right);
    let percent_added = left.iter().any(|t| t.kind == Kind::Percent) && left.iter().any(|t| matches!(t.kind, Kind::Operator('+' | '-')));
    let mut equation = Equation {
        lhs: lhs.text,
        rhs: rhs.text,
        // `100 + 10% = 110` is a manner of speaking.
        clarity: lhs.clarity.max(rhs.clarity).max(Clarity::when(!percent_added)),
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
fn split_annotations(line: &str) -> (Vec<&str>, String) {
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
    if let Some(rest) = ["- ", "* ", "+ ", "• ", "– "].iter().find_map(|marker| line.strip_prefix(marker)) {
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
