//! Exact numbers of the word problems: hundredths in an integer.
//!
//! Everything a problem says or asks has at most two decimals, so an operation whose result has more
//! has no value here and the draw that led to it is dropped.

use std::fmt;

/// A number with at most two decimals, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed(i64);

/// In hundredths. Larger numbers do not belong in these stories.
const LIMIT: i64 = 2_000_000;

/// The four operations.
pub const OPERATIONS: [char; 4] = ['+', '-', '*', '/'];

impl Fixed {
    pub const fn from_int(int: i64) -> Self {
        Self(int * 100)
    }

    pub const fn from_hundredths(hundredths: i64) -> Self {
        Self(hundredths)
    }

    pub const fn hundredths(self) -> i64 {
        self.0
    }

    /// Whether the number is a multiple of `unit` hundredths: 100 for integers, 10 for one decimal.
    pub const fn is_multiple_of(self, unit: i64) -> bool {
        self.0 % unit == 0
    }

    /// `self op other`, if that has at most two decimals and a moderate size.
    pub fn apply(self, op: char, other: Self) -> Option<Self> {
        let result = match op {
            '+' => self.0 + other.0,
            '-' => self.0 - other.0,
            '*' if (self.0 * other.0) % 100 == 0 => self.0 * other.0 / 100,
            '/' if other.0 != 0 && (self.0 * 100) % other.0 == 0 => self.0 * 100 / other.0,
            _ => return None,
        };
        (result.abs() <= LIMIT).then_some(Self(result))
    }

    /// As a price without its sign: cents in two digits, or none.
    pub fn price(self) -> String {
        if self.0 % 100 == 0 { self.to_string() } else { format!("{}.{:02}", self.0 / 100, self.0 % 100) }
    }
}

impl fmt::Display for Fixed {
    /// Plain and shortest: `12`, `0.5`, `12.75`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.abs() / 100, self.0.abs() % 100);
        match part {
            0 => write!(f, "{sign}{whole}"),
            p if p % 10 == 0 => write!(f, "{sign}{whole}.{}", p / 10),
            p => write!(f, "{sign}{whole}.{p:02}"),
        }
    }
}
