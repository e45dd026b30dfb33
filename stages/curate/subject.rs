//! A solution as the rules see it, and what they say of it.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt::{self, Display};

use datasets::domains;
use datasets::types::{Judgement, Problem, Solution};

use super::contamination::Leak;
use super::judged::Rate;
use super::outliers::Usual;
use super::survey::CurationContext;
use crate::siblings::Tried;

/// What a rule looks at.
pub struct Subject<'a> {
    pub solution: &'a Solution,
    pub judgement: &'a Judgement,
    pub(super) of: &'a ProblemContext<'a>,
    pub(super) text: OnceCell<String>,
}

/// What all solutions of a problem have in common.
pub(super) struct ProblemContext<'a> {
    pub(super) problem: &'a Problem,
    pub(super) context: &'a CurationContext,
    pub(super) rate: Rate,
    pub(super) difficulty: u32,
    pub(super) leak: Option<Leak>,
    pub(super) tried: RefCell<HashMap<Vec<String>, Tried>>,
}

impl ProblemContext<'_> {
    /// Whether solutions have to be confirmed by samples.
    pub(super) fn asks_agreement(&self) -> bool {
        self.least_voices() > 0 && self.rate.sampled && domains::calculates(self.problem)
    }

    /// On how many siblings a solution's calculation was tried. Samples repeat each other word for word.
    pub(super) fn tried(&self, solution: &Solution) -> Tried {
        let path: Vec<String> = solution.texts().into_iter().map(str::to_owned).collect();
        let mut known = self.tried.borrow_mut();
        if let Some(tried) = known.get(&path) {
            return *tried;
        }
        let tried = self.context.siblings.try_on(self.problem, &path);
        known.insert(path, tried);
        tried
    }

    /// Of how many siblings a solution that is confirmed by them gives the answer, else 0.
    pub(super) fn confirming(&self, solution: &Solution) -> usize {
        let least = self.context.config.min_siblings;
        if least == 0 {
            return 0;
        }
        let tried = self.tried(solution);
        if tried.confirmed(least) { tried.solved } else { 0 }
    }

    /// How many of the problem's samples have to compute the same.
    pub(super) fn least_voices(&self) -> usize {
        let config = &self.context.config;
        config.min_agreement.max((config.min_agreement_share * self.rate.of as f64).ceil() as usize)
    }
}

/// What a rule says of a solution.
#[derive(Debug)]
pub enum Finding<'a> {
    /// It is switched off, or has nothing to measure.
    Skips(&'static str),
    Passes(Measured<'a>),
    Drops(Measured<'a>),
}

/// What was measured, as evidence. Written out only where somebody reads it.
#[derive(Debug)]
pub enum Measured<'a> {
    Text(Cow<'a, str>),
    Figure { value: f64, of: &'static str, limit: f64 },
    Length { characters: usize, usual: Usual, limit: f64 },
    Rate { rate: Rate, limit: f64 },
}

impl Display for Measured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measured::Text(text) => f.write_str(text),
            Measured::Figure { value, of, limit } => write!(f, "{value:.2} {of}, limit {limit}"),
            Measured::Length { characters, usual, limit } => write!(
                f,
                "{characters} characters, {:.1} deviations from the median {:.0}, limit {limit}",
                usual.distance(*characters),
                usual.median
            ),
            Measured::Rate { rate, limit } => write!(f, "{rate}, limit {limit}"),
        }
    }
}

/// Where a solution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Kept,
    Dropped { reason: &'static str, evidence: String },
}
