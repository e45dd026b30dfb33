//! The kinds of problems that qstill knows. One domain is one file.

pub mod countdown;
pub mod math;

use crate::domain::Domain;

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
