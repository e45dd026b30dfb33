//! The kinds of problems that qstill knows. One domain is one file.

pub mod countdown;
pub mod math;

use crate::domain::{Domain, Origin, State};
use crate::number::Number;

pub use crate::expr::canonical_path;

/// Names of all domains, as in the `domain` column.
pub const NAMES: &[&str] = &["math", "countdown"];

/// The domain of a name.
pub fn domain(name: &str) -> Option<&'static dyn Domain> {
    match name {
        "math" => Some(&math::Math),
        "countdown" => Some(&countdown::Countdown),
        _ => None,
    }
}

/// Names a state for transpositions, of either domain: the sorted multiset of its quantities, each with its
/// kind (given 0, lexicon 1, result 2) and its uses. States with equal keys allow the same continuations,
/// whatever order their steps came in.
pub fn state_key(state: &State) -> Vec<(Number, u8, u32)> {
    let kind = |origin| match origin {
        Origin::Given => 0,
        Origin::Lexicon => 1,
        Origin::Result(_) => 2,
    };
    let mut key: Vec<_> = state.pool.iter().map(|q| (q.value, kind(q.origin), q.uses)).collect();
    key.sort_unstable();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_domain() {
        for name in NAMES {
            assert_eq!(domain(name).map(Domain::name), Some(*name));
        }
        assert!(domain("poetry").is_none());
    }
}
