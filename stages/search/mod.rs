//! The expensive part: many solution paths for each problem.
//!
//! - [`best_of_n`], [`beam`], [`dvts`], [`mcts`], [`astar`]: the algorithms, each a state machine that says
//!   what it wants to see next of one problem's [`tree`]
//! - [`grow`]: the loop over problems that asks the policy and the value model for all of them at once
//! - [`budget`]: what a problem may cost
//! - [`value`]: what a state is worth
//! - [`repair`]: one step of the rules behind the steps of a wrong sample
//! - [`choose`]: which answer a search gives, if no verifier decides
//!
//! Every node that a search looked into becomes a row of `nodes`, every complete path a row of `solutions`.

use std::sync::Arc;

use anyhow::Result;
use datasets::key;
use datasets::table::Node;
use datasets::types::{Problem, Solution};
use serde::{Deserialize, Serialize};

use crate::events::Events;
use crate::policy::{Policy, Sampling};
use crate::siblings::Siblings;

pub mod astar;
pub mod beam;
pub mod best_of_n;
pub mod budget;
pub mod choose;
pub mod dvts;
#[cfg(test)]
mod golden_tests;
pub mod grow;
pub mod mcts;
pub mod repair;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
pub mod tree;
pub mod value;

use best_of_n::Aim;
use budget::Unit;
use grow::{Outcome, Plan};
use tree::Tree;
use value::Values;

/// Version of the searches, part of fingerprints.
pub const VERSION: u32 = 4;

/// Who proposes steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Nobody: only the rules are searched.
    None,
    /// The domain's rules: every legal step.
    Rules,
    /// The base model in round 1, then each round's student. A student from scratch has no base to sample
    /// from: round 1 then searches the rules alone.
    Model,
    /// The OpenAI-compatible server of `[endpoint]`, in every round.
    Endpoint,
}

/// How the policy's tree is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    BestOfN,
    Beam,
    Dvts,
    Mcts,
    #[serde(rename = "astar")]
    AStar,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [Self::BestOfN, Self::Beam, Self::Dvts, Self::Mcts, Self::AStar];

    pub fn name(self) -> &'static str {
        match self {
            Self::BestOfN => "best-of-n",
            Self::Beam => "beam",
            Self::Dvts => "dvts",
            Self::Mcts => "mcts",
            Self::AStar => "astar",
        }
    }
}

/// Which problems the enumeration over the rules looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulesOn {
    /// Those that the round looks at.
    All,
    /// Those of all parts that have [siblings](crate::siblings), which have to confirm what it finds.
    Siblings,
}

/// Who looks at which of the problems of a search.
pub struct Who<'a> {
    pub rules: &'a dyn Fn(&Problem) -> bool,
    pub policy: &'a dyn Fn(&Problem) -> bool,
    /// On which problems paths of the rules are tried, and how many have to confirm them so that they are
    /// found.
    pub siblings: Option<(Arc<Siblings>, usize)>,
}

impl Who<'_> {
    /// Everybody looks at everything.
    pub const ALL: Who<'static> = Who { rules: &|_| true, policy: &|_| true, siblings: None };
}

/// `[search]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    pub policy: Sampler,
    pub algorithm: Algorithm,
    /// Samples per problem of best-of-N.
    pub samples: usize,
    /// Most samples of a problem, in waves of `samples`; 0 for one wave, whatever it finds. Drawing stops
    /// with `wanted` distinct correct calculations or `enough` correct samples, and without any correct one
    /// after `give_up` samples.
    pub max_samples: usize,
    pub wanted: usize,
    pub enough: usize,
    pub give_up: usize,
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
    pub rules_on: RulesOn,
    /// Complete wrong samples of best-of-N by one legal step, where that reaches the answer.
    pub repair: bool,
    /// Round K searches one of so many parts of the train problems, the K-th and round again; 0 or 1 for all
    /// of them in every round.
    pub slices: u32,
    /// In round K the enumeration looks at this to the power of K - 1 as the share of the problems, drawn
    /// anew in each round.
    pub rule_decay: f64,
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

/// What ends a search, and what the end of a path is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// A path that the verifier accepts: how data is made. The search stops once it has enough of them.
    Verified,
    /// Nobody knows the answer: how a search is deployed. It spends its budget, and an answer is chosen among
    /// its paths.
    Chosen,
}

/// What a step costs in A*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// `step_cost` each.
    Steps,
    /// -ln of the policy's probability of the step among its siblings.
    Surprisal,
}

/// How step values of a path become its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    Min,
    Product,
    Last,
    Mean,
}

impl Aggregate {
    /// The score of a path with these step values; 0.5 for a path without any.
    pub fn of(self, values: &[f32]) -> f32 {
        let Some(last) = values.last() else { return 0.5 };
        match self {
            Aggregate::Min => values.iter().copied().fold(f32::INFINITY, f32::min),
            Aggregate::Product => values.iter().product(),
            Aggregate::Last => *last,
            Aggregate::Mean => values.iter().sum::<f32>() / values.len() as f32,
        }
    }
}

/// `[tree]` of a configuration: what tree searches share, and what each has of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeConfig {
    pub unit: Unit,
    /// What a problem may cost.
    pub budget: u64,
    pub goal: Goal,
    /// Distinct verified solutions after which a search stops.
    pub solutions: usize,
    /// A*: go on for a shorter solution than the first.
    pub shortest: bool,
    /// Longest path.
    pub depth: u32,
    /// Steps sampled at a state at a time. Rules show all legal ones.
    pub width: usize,
    /// Most tokens of a sampled step.
    pub step_tokens: usize,
    /// States of one tree that are expanded at once (MCTS, A*).
    pub parallel: usize,
    /// Branches whose value is below are given up.
    pub threshold: f64,
    /// Beam: paths kept. DVTS: subtrees.
    pub beams: usize,
    pub aggregate: Aggregate,
    /// A*.
    pub cost: Cost,
    pub step_cost: f64,
    pub weights: Vec<f64>,
    pub transpositions: bool,
    /// MCTS.
    pub c_init: f64,
    pub c_base: f64,
    pub noise: f64,
    pub noise_share: f64,
    pub widen: f64,
    pub widen_power: f64,
}

/// What an algorithm wants to see of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub node: u32,
    pub grow: Grow,
}

/// How a state is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grow {
    /// So many sampled next steps; all legal ones of a policy that enumerates.
    Steps(usize),
    /// So many sampled paths to the end.
    Paths(usize),
}

/// Score of the path to a node.
fn score(tree: &Tree, node: u32, config: &TreeConfig) -> f32 {
    match config.aggregate {
        Aggregate::Last => tree.get(node).value,
        other => other.of(&tree.path(node).into_iter().map(|n| tree.get(n).value).collect::<Vec<_>>()),
    }
}

/// The best states below a node that nobody has expanded.
fn best_open(tree: &Tree, below: u32, count: usize, config: &TreeConfig) -> Vec<u32> {
    if below == 0 {
        best(tree, 0..tree.items.len() as u32, count, config)
    } else {
        best(tree, tree.below(below), count, config)
    }
}

/// Those of some nodes that may be expanded, best first, and at most so many.
fn best(tree: &Tree, nodes: impl IntoIterator<Item = u32>, count: usize, config: &TreeConfig) -> Vec<u32> {
    let open = nodes.into_iter().filter(|n| tree.get(*n).is_open());
    let mut scored: Vec<(f32, u32)> = open.map(|n| (score(tree, n, config), n)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.truncate(count);
    scored.into_iter().map(|(_, n)| n).collect()
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
    fn unit(&self, problem: &Problem, what: &str) -> f64 {
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

/// The enumeration over the rules: A* with what the domain says of the effort that is left, in steps.
fn enumeration(config: &SearchConfig, tree: &TreeConfig) -> Plan {
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
        // Every way to a state is a path of its own.
        transpositions: false,
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
    }
}

/// Searches some problems with everything that is configured. Results are in the order of the problems.
///
/// # Errors
/// Those of the policy, and [`crate::Cancelled`].
#[expect(clippy::too_many_arguments)]
pub fn search(
    problems: &[Problem],
    who: &Who<'_>,
    config: &SearchConfig,
    tree: &TreeConfig,
    sampler: Option<&mut dyn Policy>,
    values: &mut Values<'_>,
    draws: Draws,
    events: &dyn Events,
) -> Result<Searched> {
    let mut searched = Searched { found: Found::default(), rules: Vec::new(), policy: Vec::new() };
    if problems.is_empty() {
        return Ok(searched);
    }
    if config.rule_solutions > 0 {
        let plan = Plan { siblings: who.siblings.clone(), ..enumeration(config, tree) };
        let mut rules = crate::policy::rules::Rules;
        let mut guide =
            if let Values::State(value) = values { Values::State(*value) } else { Values::Effort };
        let share = config.rule_decay.powi(draws.round.saturating_sub(1) as i32);
        let (places, some) =
            some(problems, |problem| draws.unit(problem, "rules") < share && (who.rules)(problem));
        let outcomes = grow::run(&some, &plan, &mut rules, &mut guide, draws, events)?;
        let valued = matches!(guide, Values::State(_));
        rows::collect(&some, &outcomes, &plan, &rules, valued, draws, &mut searched.found);
        searched.rules = at_places(problems.len(), places, outcomes);
    }
    if let Some(policy) = sampler {
        let plan = policy_plan(config, tree);
        let (places, some) = some(problems, who.policy);
        let outcomes = grow::run(&some, &plan, policy, values, draws, events)?;
        let valued = !matches!(values, Values::None | Values::Effort);
        rows::collect(&some, &outcomes, &plan, policy, valued, draws, &mut searched.found);
        if config.repair {
            rows::repaired(&some, &outcomes, policy, draws, &mut searched.found)?;
        }
        searched.policy = at_places(problems.len(), places, outcomes);
    }
    let order: std::collections::HashMap<&str, usize> =
        problems.iter().enumerate().map(|(i, p)| (p.problem_id.as_str(), i)).collect();
    searched.found.nodes.sort_by_key(|n| order.get(n.problem_id.as_str()).copied());
    searched.found.solutions.sort_by_key(|s| order.get(s.problem_id.as_str()).copied());
    Ok(searched)
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

fn at_places(count: usize, places: Vec<usize>, outcomes: Vec<Outcome>) -> Vec<Option<Outcome>> {
    let mut all: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
    for (place, outcome) in places.into_iter().zip(outcomes) {
        all[place] = Some(outcome);
    }
    all
}

/// How the policy is searched: best-of-N draws `samples` paths, whatever they are; the others follow
/// `[tree]`.
fn policy_plan(config: &SearchConfig, tree: &TreeConfig) -> Plan {
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
    }
}

/// Rows of a search, and what it cost problem by problem.
pub struct Searched {
    pub found: Found,
    /// Of the enumeration over the rules, None for problems it did not look at; empty if there was none.
    pub rules: Vec<Option<Outcome>>,
    /// Of the policy's search, likewise.
    pub policy: Vec<Option<Outcome>>,
}

impl Searched {
    /// How many of the problems have a correct solution.
    pub fn solved(&self) -> usize {
        (0..self.rules.len().max(self.policy.len()))
            .filter(|i| self.of(*i).any(|outcome| !outcome.solutions.is_empty()))
            .count()
    }

    /// The searches of a problem.
    pub fn of(&self, problem: usize) -> impl Iterator<Item = &Outcome> {
        [&self.rules, &self.policy].into_iter().filter_map(move |all| all.get(problem)?.as_ref())
    }
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
