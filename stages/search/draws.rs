//! What is random in a search: every draw is a function of a key, never of time, order or threads.

use datasets::key;
use datasets::types::Problem;

/// Names the draws of one search: everything random in it is a function of this and the problem.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    pub seed: u64,
    pub round: u32,
    /// `search` or `evaluate`, so that measuring never repeats the draws of searching.
    pub purpose: &'static str,
}

impl Draws {
    /// Seed of one sample of a problem.
    pub fn sample(&self, problem: &Problem, sample: usize) -> u64 {
        key::seed(&[
            self.purpose.into(),
            self.seed.into(),
            u64::from(self.round).into(),
            (&problem.problem_id).into(),
            (sample as u64).into(),
        ])
    }

    /// Seed of one step sampled at a node of a problem's tree.
    pub fn step(&self, problem: &Problem, node: u32, sample: usize) -> u64 {
        key::seed(&[
            self.purpose.into(),
            "step".into(),
            self.seed.into(),
            u64::from(self.round).into(),
            (&problem.problem_id).into(),
            u64::from(node).into(),
            (sample as u64).into(),
        ])
    }

    /// Whether a problem is in the part of the problems that a round looks at.
    pub fn looks_at(&self, problem: &Problem, slices: u32) -> bool {
        let part = key::unit(&["slice".into(), self.seed.into(), (&problem.problem_id).into()]);
        slices < 2 || (part * f64::from(slices)) as u32 == (self.round - 1) % slices
    }

    /// One number in [0, 1) of a problem, for a decision of that name.
    pub(super) fn unit(&self, problem: &Problem, what: &str) -> f64 {
        key::unit(&[
            self.purpose.into(),
            what.into(),
            self.seed.into(),
            u64::from(self.round).into(),
            (&problem.problem_id).into(),
        ])
    }

    /// Random numbers of a problem's search itself.
    pub fn rng(&self, problem: &Problem, what: &str) -> key::Rng {
        key::rng(&[
            self.purpose.into(),
            what.into(),
            self.seed.into(),
            u64::from(self.round).into(),
            (&problem.problem_id).into(),
        ])
    }
}
