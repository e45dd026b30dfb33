//! The kinds of problems that qstill knows. One domain is one file.

pub mod countdown;
pub mod math;

use std::fmt;
use std::sync::Arc;

use crate::domain::{Case, Domain, Unsound};
use crate::types::Problem;

pub use crate::expr::canonical_path;

/// Names of all domains, as in the `domain` column.
pub const NAMES: &[&str] = &["math", "countdown"];

/// The domain of a name, with its own verifier.
pub fn domain(name: &str) -> Option<&'static dyn Domain> {
    match name {
        "math" => Some(&math::Math),
        "countdown" => Some(&countdown::Countdown),
        _ => None,
    }
}

/// The domains of a run: those above, or ones with their rules and another verifier. Whatever gives a verdict
/// finds its domain here. Clones are the same domains.
#[derive(Clone)]
pub struct Domains(Arc<[Box<dyn Domain>]>);

impl Default for Domains {
    fn default() -> Self {
        Self::new(vec![Box::new(math::Math), Box::new(countdown::Countdown)])
    }
}

impl fmt::Debug for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|domain| domain.name())).finish()
    }
}

impl Domains {
    pub fn new(domains: Vec<Box<dyn Domain>>) -> Self {
        Self(domains.into())
    }

    /// The domain of a problem; None if its name is not known.
    pub fn of(&self, problem: &Problem) -> Option<&dyn Domain> {
        self.0.iter().map(|domain| &**domain).find(|domain| domain.name() == problem.domain)
    }

    /// See [`Domain::foresee`]: `cases` gives all that will be asked, once for each domain.
    pub fn foresee<'a, I: Iterator<Item = Case<'a>>>(&self, cases: impl Fn() -> I) {
        for domain in self.0.iter() {
            domain.foresee(&mut cases().filter(|case| case.problem.domain == domain.name()));
        }
    }

    /// See [`Domain::sound`].
    ///
    /// # Errors
    /// That of the first domain that is not.
    pub fn sound(&self) -> Result<(), Unsound> {
        self.0.iter().try_for_each(|domain| domain.sound())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_domain() {
        let all = Domains::default();
        for name in NAMES {
            assert_eq!(domain(name).map(Domain::name), Some(*name));
            let problem = Problem { domain: (*name).to_owned(), ..Problem::default() };
            assert_eq!(all.of(&problem).map(Domain::name), Some(*name));
        }
        assert!(domain("poetry").is_none() && all.of(&Problem::default()).is_none());
    }
}
