//! The kinds of problems that qstill knows. One domain is one file.

pub mod choice;
pub mod compared;
pub mod countdown;
pub mod judged;
pub mod math;

use std::fmt;
use std::sync::Arc;

use crate::domain::{Case, Domain, Unsound, Verifier};
use crate::types::Problem;
use judged::Judged;

pub use crate::expr::canonical_path;

/// Names of the compiled domains, as in the `domain` column.
pub const NAMES: &[&str] = &["math", "countdown", "choice"];

/// The compiled domains, with their own verifiers.
const ALL: [&dyn Domain; 3] = [&math::Math, &countdown::Countdown, &choice::Choice];

/// The compiled domains, as those of a run.
pub fn compiled() -> Vec<Box<dyn Domain>> {
    vec![Box::new(math::Math), Box::new(countdown::Countdown), Box::new(choice::Choice)]
}

/// The compiled domain of a name, with its own verifier.
pub fn domain(name: &str) -> Option<&'static dyn Domain> {
    ALL.into_iter().find(|domain| domain.name() == name)
}

/// Whether solutions of a problem are calculations, see [`Domain::calculates`].
pub fn calculates(problem: &Problem) -> bool {
    domain(&problem.domain).is_some_and(Domain::calculates)
}

/// An answer to a problem as it votes, see [`Domain::reading`].
pub fn reading(problem: &Problem, final_answer: &str) -> String {
    domain(&problem.domain).unwrap_or(&math::Math).reading(problem, final_answer)
}

/// The domains of a run: those above, or ones with their rules and another verifier. Whatever gives a verdict
/// finds its domain here. Clones are the same domains.
#[derive(Clone)]
pub struct Domains(Arc<[Box<dyn Domain>]>);

impl Default for Domains {
    fn default() -> Self {
        Self::new(compiled())
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

    /// Domains with their rules, and the verdicts of another verifier.
    pub fn judged<V: Verifier + 'static>(domains: Vec<Box<dyn Domain>>, verifier: impl Fn() -> V) -> Self {
        let judged = |rules| Box::new(Judged { rules, verifier: verifier() }) as Box<dyn Domain>;
        Self::new(domains.into_iter().map(judged).collect())
    }

    /// The domain of a problem; None if its name is not known.
    pub fn of(&self, problem: &Problem) -> Option<&dyn Domain> {
        self.iter().find(|domain| domain.name() == problem.domain)
    }

    pub fn iter(&self) -> impl Iterator<Item = &dyn Domain> {
        self.0.iter().map(|domain| &**domain)
    }

    /// See [`Domain::foresee`]: `cases` gives all that will be asked, once for each domain.
    pub fn foresee<'a, I: Iterator<Item = Case<'a>>>(&self, cases: impl Fn() -> I) {
        for domain in self.0.iter() {
            domain.foresee(&mut cases().filter(|case| case.problem.domain == domain.name()));
        }
    }

    /// See [`Domain::begin`] and [`Domain::expand`].
    pub fn begin(&self, problems: &[Problem]) {
        for domain in self.0.iter() {
            domain.begin(&mut problems.iter().filter(|problem| problem.domain == domain.name()));
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
