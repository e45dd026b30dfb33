//! The expensive part: many solution paths for each problem.
//!
//! - [`best_of_n`]: independent samples from a policy
//! - [`best_first`]: budgeted enumeration over the domain's rules
//!
//! Every node that a search looked into becomes a row of `nodes`, every complete path a row of `solutions`.

use anyhow::Result;
use datasets::key;
use datasets::table::Node;
use datasets::types::{Problem, Solution};
use serde::{Deserialize, Serialize};

use crate::events::Events;
use crate::policy::{Policy, Sampling};

pub mod best_first;
pub mod best_of_n;
#[cfg(test)]
mod tests;

/// Version of the searches, part of fingerprints.
pub const VERSION: u32 = 2;

/// Who proposes the samples of best-of-N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Nobody: only the rules are searched.
    None,
    /// Uniform draws from the domain's rules.
    Rules,
    /// The base model in round 1, then each round's student. A student from scratch has no base to sample from:
    /// round 1 then searches the rules alone.
    Model,
    /// The OpenAI-compatible server of `[endpoint]`, in every round.
    Endpoint,
}

/// `[search]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    pub policy: Sampler,
    /// Samples per problem.
    pub samples: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    /// Most tokens per sample.
    pub max_tokens: usize,
    /// Fill in results of `48/2=`.
    pub calculator: bool,
    /// Most distinct correct paths that the enumeration over the rules looks for; 0 turns it off.
    pub rule_solutions: usize,
    /// Most states the enumeration expands per problem.
    pub rule_expansions: usize,
    /// Longest path it considers.
    pub rule_steps: usize,
}

impl SearchConfig {
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature as f32,
            top_p: self.top_p as f32,
            top_k: self.top_k,
            max_tokens: self.max_tokens,
            calculator: self.calculator,
        }
    }
}

/// What one search of some problems gave.
#[derive(Debug, Default)]
pub struct Found {
    pub nodes: Vec<Node>,
    pub solutions: Vec<Solution>,
}

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
}

/// Searches some problems with everything that is configured. Results are in the order of the problems.
///
/// # Errors
/// Those of the policy, and [`crate::Cancelled`].
pub fn search(
    problems: &[Problem],
    config: &SearchConfig,
    sampler: Option<&mut dyn Policy>,
    draws: Draws,
    events: &dyn Events,
) -> Result<Found> {
    let mut found = Found::default();
    if config.rule_solutions > 0 {
        found = best_first::search(problems, config, draws, events)?;
    }
    if let Some(policy) = sampler.filter(|_| config.samples > 0) {
        let more = best_of_n::search(problems, config, policy, draws, events)?;
        found.nodes.extend(more.nodes);
        found.solutions.extend(more.solutions);
    }
    let order: std::collections::HashMap<&str, usize> = problems.iter().enumerate().map(|(i, p)| (p.problem_id.as_str(), i)).collect();
    found.nodes.sort_by_key(|n| order.get(n.problem_id.as_str()).copied());
    found.solutions.sort_by_key(|s| order.get(s.problem_id.as_str()).copied());
    Ok(found)
}

/// Id of a solution: the same path drawn twice is two solutions.
fn solution_id(problem: &Problem, algorithm: &str, policy: &str, draws: Draws, ordinal: usize) -> String {
    key::id(&[
        (&problem.problem_id).into(),
        draws.purpose.into(),
        u64::from(draws.round).into(),
        draws.seed.into(),
        algorithm.into(),
        policy.into(),
        (ordinal as u64).into(),
    ])
}
