//! Reads and evaluates arithmetic as people and models write it, exactly and with bounded work.
//!
//! Three layers, one file each: `lex` cuts text into tokens, `parse` builds a tree from tokens that are all
//! arithmetic, `equations` finds arithmetic inside prose (its two `sides`, the `units` behind its numbers),
//! row by row (`rows`). `graph` joins the equations of a whole solution. Whatever the text, the answer is a
//! value, a refusal ([`ExprError`]) or nothing at all: never a guess, a rounding or a panic.

mod equations;
mod graph;
mod latex;
mod lex;
mod parse;
mod rows;
mod sides;
mod units;

use num_rational::BigRational;
use thiserror::Error;

#[cfg(test)]
pub(crate) use equations::split_annotations;
pub use equations::{Clarity, Equation, Truth, calculator, equations};
pub(crate) use equations::{is_rounded, read};
pub use graph::canonical_path;
pub use parse::Operator;

pub(crate) use graph::{Arithmetic, Exact, Graph};
pub(crate) use lex::{Kind, Token, lex};
pub(crate) use parse::{Node, decimal, parse};
pub(crate) use rows::rows;

/// Most digits that one expression may hold, over all its numbers.
pub const MAX_DIGITS: usize = 512;
/// Most numbers and operators that one expression may hold.
pub const MAX_NODES: usize = 256;
/// Deepest nesting of parentheses and signs.
pub const MAX_DEPTH: usize = 64;

/// Most decimals of a result that [`calculator`] fills in.
pub const CALCULATOR_DECIMALS: u32 = 6;

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExprError {
    #[error("not an arithmetic expression")]
    Unreadable,
    #[error("more than {MAX_DIGITS} digits, {MAX_NODES} numbers and operators or {MAX_DEPTH} levels")]
    OutOfFuel,
    #[error("division by zero")]
    DivisionByZero,
}

/// Evaluates text that is an arithmetic expression from end to end.
///
/// Numbers: `12`, `12.5`, `.5`, `1,234`, each with a currency sign before or after it. Operators: `+ - * /`,
/// `× · ÷ −`, `x` between numbers, `\times \cdot \div`, signs, parentheses. `25%` is 25/100. Operators of one
/// rank group to the left.
pub fn evaluate(text: &str) -> Result<BigRational, ExprError> {
    parse(&lex(text))?.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::render;
    use proptest::prelude::*;

    fn value(text: &str) -> String {
        evaluate(text).map_or_else(|error| format!("{error:?}"), |value| render(&value))
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("48/2", "24"),
            ("48 + 24", "72"),
            ("0.2*50", "10"),
            ("20*.5", "10"),
            ("1,234 + 1", "1235"),
            ("1,234,567.5", "1234567.5"),
            ("$5 * 3", "15"),
            ("-$5 + 3", "-2"),
            ("$-5", "-5"),
            ("5€ × 2", "10"),
            ("12 ÷ 4 − 1", "2"),
            ("3 · 4", "12"),
            ("3 x 4", "12"),
            ("3x4", "12"),
            ("(2 + 3) x (4 - 1)", "15"),
            ("25%", "0.25"),
            ("80 * 25%", "20"),
            ("2 - -3", "5"),
            ("10 - 2 - 3", "5"),
            ("100 / 10 / 2", "5"),
            ("1/3 + 1/6", "0.5"),
            ("1/3", "1/3"),
            (r"3 \times 4", "12"),
            ("((7))", "7"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            " ",
            "+",
            "3 +",
            "* 3",
            "2 ** 3",
            "2^3",
            "2 // 3",
            "3 4",
            "(3",
            "3)",
            "()",
            "1,23",
            "1,2345",
            "3.4.5",
            "3:4",
            "5!",
            "x",
            "3 apples",
            "1e5",
            "3 = 3",
            "25%%",
            "2(3)",
            "3 x",
            "٣",
            "½",
            "5²",
            "3..4",
            "factorial(5)",
        ] {
            assert_eq!(value(text), "Unreadable", "{text}");
        }
        assert_eq!(value("1 / (2 - 2)"), "DivisionByZero");
        assert_eq!(value(&"9".repeat(MAX_DIGITS + 1)), "OutOfFuel");
        assert_eq!(value(&format!("1{}", "+1".repeat(MAX_NODES))), "OutOfFuel");
        assert_eq!(value(&format!("{}1{}", "(".repeat(99_999), ")".repeat(99_999))), "OutOfFuel");
        assert_eq!(value(&"-".repeat(99_999)), "OutOfFuel");
    }

    proptest! {
        #[test]
        fn no_panic_on_any_text(text in ".*") {
            let _ = evaluate(&text);
        }

        #[test]
        fn no_panic_on_arithmetic_like_text(text in r"[-+*/=x().,$%0-9 a<>\\{}^]*") {
            let _ = evaluate(&text);
        }

        #[test]
        fn operations_are_exact(a in -99_999_i64..99_999, b in 1_i64..99_999, c in -99_999_i64..99_999) {
            let whole = |n: i64| BigRational::from_integer(n.into());
            let expected = whole(a) + whole(c) / whole(b) * whole(a) - whole(b);
            prop_assert_eq!(evaluate(&format!("{a} + {c} / {b} * {a} - {b}")), Ok(expected));
        }

        #[test]
        fn written_values_read_back(p in any::<i64>(), q in 1_i64..10_000) {
            let value = BigRational::new(p.into(), q.into());
            prop_assert_eq!(evaluate(&render(&value)), Ok(value));
        }
    }
}
