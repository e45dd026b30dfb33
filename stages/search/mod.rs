//! The expensive part: many solution paths for each problem.
//!
//! - [`best_of_n`], [`beam`], [`dvts`], [`mcts`], [`astar`]: the algorithms, each a state machine that says
//!   what it wants to see next of one problem's [`tree`]
//! - [`single`]: the search of one problem; [`grow`]: the loop over problems that asks the policy and the
//!   value model for all of them at once
//! - [`budget`]: what a problem may cost
//! - [`value`]: what a state is worth
//! - [`repair`]: one step of the rules behind the steps of a wrong sample
//! - [`choose`]: which answer a search gives, if no verifier decides
//!
//! Every node that a search looked into becomes a row of `nodes`, every complete path a row of `solutions`.

use std::sync::Arc;

use anyhow::Result;
use datasets::Domain;
use datasets::domains::Domains;
use datasets::types::Problem;

use crate::events::Events;
use crate::policy::{Ask, Horizon, Policy};
use crate::siblings::Siblings;

pub mod astar;
pub mod beam;
pub mod best_of_n;
pub mod budget;
pub mod choose;
pub mod config;
pub mod draws;
pub mod dvts;
#[cfg(test)]
mod golden_tests;
pub mod grow;
pub mod mcts;
pub mod repair;
mod rows;
pub mod single;
#[cfg(test)]
pub(crate) mod tests;
pub mod tree;
pub mod value;

use best_of_n::Aim;
use budget::Unit;
pub use config::{Aggregate, Algorithm, Cost, Goal, RulesOn, Sampler, SearchConfig, TreeConfig};
pub use draws::Draws;
pub use rows::SearchRows;
use rows::Writer;
pub use single::{Plan, SearchOutcome};
pub use tree::{Grow, Want};
use value::Values;

/// Version of the searches, part of fingerprints.
pub const VERSION: u32 = 6;

/// Which of the problems the rules enumerate, and for which the policy is sampled.
pub struct Scope<'a> {
    pub rules: &'a dyn Fn(&Problem) -> bool,
    pub policy: &'a dyn Fn(&Problem) -> bool,
    /// On which problems paths of the rules are tried, and how many have to confirm them so that they are
    /// found.
    pub siblings: Option<(Arc<Siblings>, usize)>,
}

impl Scope<'_> {
    /// Both look at all problems.
    pub const ALL: Scope<'static> = Scope { rules: &|_| true, policy: &|_| true, siblings: None };
}

/// The enumeration over the rules: A* with what the domain says of the effort that is left, in steps.
fn enumeration(searching: &Searching<'_>, told: bool) -> Plan {
    let Searching { config, tree, draws, .. } = *searching;
    let tree = TreeConfig {
        unit: Unit::Expansions,
        budget: config.rule_expansions as u64,
        goal: Goal::Verified,
        solutions: config.rule_solutions,
        shortest: false,
        depth: config.rule_steps as u32,
        parallel: 1,
        threshold: 0.0,
        cost: Cost::Steps,
        step_cost: 1.0,
        weights: vec![1.0],
        // In arithmetic every way to a state is a path of its own. Other worlds go round in circles.
        transpositions: told && tree.transpositions,
        ..tree.clone()
    };
    Plan {
        algorithm: Algorithm::AStar,
        tree,
        samples: 0,
        aim: None,
        siblings: None,
        sampling: config.sampling(),
        name: "best-first",
        draws,
        domains: searching.domains.clone(),
    }
}

/// What is searched and how, besides the policy and its values.
#[derive(Clone, Copy)]
pub struct Searching<'a> {
    pub config: &'a SearchConfig,
    pub tree: &'a TreeConfig,
    pub scope: &'a Scope<'a>,
    pub draws: Draws,
    /// Who judges paths.
    pub domains: &'a Domains,
}

/// Searches some problems with everything that is configured. Results are in the order of the problems.
///
/// # Errors
/// Those of the policy, and [`crate::Cancelled`].
pub fn search(
    problems: &[Problem],
    searching: &Searching<'_>,
    sampler: Option<&mut dyn Policy>,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<Searched> {
    let Searching { config, scope, draws, .. } = *searching;
    let mut searched = Searched { found: SearchRows::default(), rules: Vec::new(), policy: Vec::new() };
    if problems.is_empty() {
        return Ok(searched);
    }
    if config.rule_solutions > 0 {
        let told = searching.domains.of(&problems[0]).is_some_and(Domain::is_told);
        let plan = Plan { siblings: scope.siblings.clone(), ..enumeration(searching, told) };
        let mut rules = crate::policy::rules::Rules(searching.domains.clone());
        let mut guide =
            if let Values::State(value) = values { Values::State(*value) } else { Values::Effort };
        let share = config.rule_decay.powi(draws.round.saturating_sub(1) as i32);
        let enumerates = |problem: &Problem| searching.domains.of(problem).is_none_or(Domain::enumerates);
        let wanted = |problem: &Problem| draws.unit(problem, "rules") < share && (scope.rules)(problem);
        let (places, some) = some(problems, |problem| enumerates(problem) && wanted(problem));
        let outcomes = grow::run(&some, &plan, &mut rules, &mut guide, events)?;
        let valued = matches!(guide, Values::State(_));
        Writer { plan: &plan, policy: &rules, valued }.collect(&some, &outcomes, &mut searched.found);
        searched.rules = at_places(problems.len(), places, outcomes);
    }
    if let Some(policy) = sampler {
        let plan = policy_plan(searching);
        let (places, some) = some(problems, scope.policy);
        let outcomes = grow::run(&some, &plan, policy, values, events)?;
        let valued = !matches!(values, Values::None | Values::Effort);
        Writer { plan: &plan, policy, valued }.collect(&some, &outcomes, &mut searched.found);
        if config.repair {
            rows::repaired(&some, &outcomes, policy, &plan, &mut searched.found)?;
        }
        searched.policy = at_places(problems.len(), places, outcomes);
    }
    let order: std::collections::HashMap<&str, usize> =
        problems.iter().enumerate().map(|(i, p)| (p.problem_id.as_str(), i)).collect();
    searched.found.nodes.sort_by_key(|n| order.get(n.problem_id.as_str()).copied());
    searched.found.solutions.sort_by_key(|s| order.get(s.problem_id.as_str()).copied());
    Ok(searched)
}

/// Tells a policy which paths a later [`search`] of these problems asks it for first.
pub fn expect(problems: &[Problem], searching: &Searching<'_>, policy: &mut dyn Policy) {
    let plan = policy_plan(searching);
    let open = plan.aim.is_none_or(|(_, aim)| aim.wanted.min(aim.enough).min(aim.give_up) > 0);
    if plan.algorithm != Algorithm::BestOfN || policy.enumerates() || !open {
        return;
    }
    let wave = plan.aim.map_or(plan.samples, |(wave, _)| wave.max(1).min(plan.samples));
    let (_, some) = some(problems, searching.scope.policy);
    let seeds: Vec<Vec<u64>> =
        some.iter().map(|problem| (0..wave).map(|k| plan.draws.sample(problem, k)).collect()).collect();
    let ask = |(problem, seeds)| Ask { problem, steps: &[], seeds };
    let asks: Vec<Ask<'_>> = some.iter().zip(&seeds).map(|(p, s)| ask((p, &s[..]))).collect();
    policy.expect(&asks, Horizon::Path, &plan.sampling);
}

/// Some of the problems, and where they stand.
fn some(problems: &[Problem], wanted: impl Fn(&Problem) -> bool) -> (Vec<usize>, Vec<Problem>) {
    problems
        .iter()
        .enumerate()
        .filter(|(_, problem)| wanted(problem))
        .map(|(i, problem)| (i, problem.clone()))
        .unzip()
}

fn at_places(count: usize, places: Vec<usize>, outcomes: Vec<SearchOutcome>) -> Vec<Option<SearchOutcome>> {
    let mut all: Vec<Option<SearchOutcome>> = (0..count).map(|_| None).collect();
    for (place, outcome) in places.into_iter().zip(outcomes) {
        all[place] = Some(outcome);
    }
    all
}

/// How the policy is searched: best-of-N draws `samples` paths, whatever they are; the others follow
/// `[tree]`.
fn policy_plan(searching: &Searching<'_>) -> Plan {
    let Searching { config, tree, draws, .. } = *searching;
    let mut tree = tree.clone();
    if config.algorithm == Algorithm::BestOfN {
        tree = TreeConfig { unit: Unit::Calls, budget: u64::MAX, goal: Goal::Chosen, ..tree };
    }
    let aim = Aim { wanted: config.wanted, enough: config.enough, give_up: config.give_up };
    let aim = (config.max_samples > 0).then_some((config.samples, aim));
    let samples = if aim.is_some() { config.max_samples } else { config.samples };
    Plan {
        algorithm: config.algorithm,
        tree,
        samples,
        aim,
        siblings: None,
        sampling: config.sampling(),
        name: config.algorithm.name(),
        draws,
        domains: searching.domains.clone(),
    }
}

/// Rows of a search, and what it cost problem by problem.
pub struct Searched {
    pub found: SearchRows,
    /// Of the enumeration over the rules, None for problems it did not look at; empty if there was none.
    pub rules: Vec<Option<SearchOutcome>>,
    /// Of the policy's search, likewise.
    pub policy: Vec<Option<SearchOutcome>>,
}

impl Searched {
    /// How many of the problems have a correct solution.
    pub fn solved(&self) -> usize {
        (0..self.rules.len().max(self.policy.len()))
            .filter(|i| self.of(*i).any(|outcome| !outcome.solutions.is_empty()))
            .count()
    }

    /// The searches of a problem.
    pub fn of(&self, problem: usize) -> impl Iterator<Item = &SearchOutcome> {
        [&self.rules, &self.policy].into_iter().filter_map(move |all| all.get(problem)?.as_ref())
    }
}
