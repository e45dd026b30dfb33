//! Exact numbers with or without a percent sign: the fast path of all comparisons, and the rule for percent.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::read::{Exponents, read};
use super::tree::{Answer, stated};
use crate::number::Number;

/// Most digits that the fast path reads: the value and its power of ten fit 64 bits.
const MAX_SMALL_DIGITS: usize = 17;

/// A number that stands for a whole answer. Units are not part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub value: BigRational,
    /// Written with a percent sign; `value` is what stands before it.
    pub percent: bool,
}

impl Amount {
    /// Reads an answer; `None` if it is not exactly one number, possibly with a unit.
    pub(crate) fn read(answer: &str) -> Option<Self> {
        if let Some(small) = scan(answer) {
            return Some(Amount { value: small.to_big(), percent: false });
        }
        match read(answer, Exponents::AsWritten) {
            Ok(Answer::Value { expr, percent, .. }) => Some(Amount { value: expr.number()?, percent }),
            // `x = 18`, `3*6 = 18`.
            Ok(answer @ Answer::Relation { .. }) => match stated(&answer)? {
                Answer::Value { expr, percent, .. } => {
                    Some(Amount { value: expr.number()?, percent: *percent })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Two answers that both have the sign, or both lack it, are compared as written. If one alone has it,
    /// the number without the sign decides: below 1 in size it is a share (`0.28` is `28%`), from 1 on it
    /// counts percent (`28` is `28%`). So `100%` is 100 and not 1, and `0.5%` is 0.005 and not 0.5.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (plain, percent) = match (self.percent, other.percent) {
            (false, true) => (&self.value, &other.value),
            (true, false) => (&other.value, &self.value),
            _ => return self.value == other.value,
        };
        let is_share = plain.abs() < BigRational::one() && !plain.is_zero();
        if is_share { plain * BigRational::from_integer(100.into()) == *percent } else { plain == percent }
    }
}

/// Reads the plain forms of a number without allocation: `-1,234.50`, with blanks, `$` or `\$` before it and
/// a full stop behind it. `None` for anything else, which the parser then reads.
pub(super) fn scan(answer: &str) -> Option<Number> {
    let mut bytes = answer.trim_ascii().as_bytes();
    let mut negative = false;
    if let [b'-', rest @ ..] = bytes {
        (negative, bytes) = (true, rest);
    }
    bytes = match bytes {
        [b'\\', b'$', rest @ ..] | [b'$', rest @ ..] => rest,
        _ => bytes,
    };
    let (mut value, mut digits, mut places, mut at) = (0_i64, 0, None, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                digits += 1;
                if digits > MAX_SMALL_DIGITS {
                    return None;
                }
                places = places.map(|n| n + 1);
            }
            b',' => {
                let group =
                    bytes.get(at + 1..at + 4).is_some_and(|group| group.iter().all(u8::is_ascii_digit));
                let ends = !bytes.get(at + 4).is_some_and(u8::is_ascii_digit);
                let first = (1..=3).contains(&at) || (at >= 4 && bytes[at - 4] == b',');
                if !(group && ends && first) || places.is_some() {
                    return None;
                }
            }
            b'.' if at + 1 == bytes.len() => break,
            b'.' if places.is_none() && bytes[at + 1].is_ascii_digit() => places = Some(0),
            _ => return None,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    let value = if negative { -value } else { value };
    match places {
        None => Some(Number::integer(value)),
        Some(places) => Number::ratio(value, 10_i64.checked_pow(places)?),
    }
}
