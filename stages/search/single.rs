//! The search of one problem: its tree, the algorithm that says what it wants to see of it, what was spent,
//! and what it came to. [`proposals`] takes up new steps and paths, [`graft`] joins solutions that
//! transpositions share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::Domain;
use datasets::domains::Domains;
use datasets::number::Number;
use datasets::types::{Problem, Verdict};

use super::astar::AStar;
use super::beam::Beam;
use super::best_of_n::{Aim, BestOfN};
use super::budget::{Allowance, Spent};
use super::config::{Algorithm, Goal, TreeConfig};
use super::draws::Draws;
use super::dvts::Dvts;
use super::mcts::Mcts;
use super::tree::{Status, Tree, Want};
use super::value::Shared;
use crate::policy::{Proposal, Sampling, ValueQuery};
use crate::siblings::Siblings;

mod graft;
mod proposals;

/// A search as it is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub algorithm: Algorithm,
    pub tree: TreeConfig,
    /// Most samples of best-of-N.
    pub samples: usize,
    /// When it draws fewer: the samples of a wave, and what ends them.
    pub aim: Option<(usize, Aim)>,
    /// Problems on which a correct path is tried, and how many have to confirm it so that it counts.
    pub siblings: Option<(Arc<Siblings>, usize)>,
    /// How paths are drawn; steps have `tree.step_tokens` instead of its token limit.
    pub sampling: Sampling,
    /// The `algorithm` of its solutions.
    pub name: &'static str,
    /// Names what is random in it.
    pub draws: Draws,
    /// Who judges paths.
    pub domains: Domains,
}

/// What the search of one problem came to.
#[derive(Clone, Debug)]
pub struct SearchOutcome {
    pub tree: Tree,
    pub spent: Spent,
    /// What was spent when the first correct path had been found.
    pub first: Option<Spent>,
    /// Last nodes of distinct correct paths, in the order in which they were found.
    pub solutions: Vec<u32>,
    /// Last nodes of whole paths, once for each vote.
    pub ends: Vec<u32>,
    /// What a policy sampled as whole paths, in the order of `ends`; empty for other searches.
    pub samples: Vec<Proposal>,
}

enum Searcher {
    BestOfN(BestOfN),
    Beam(Beam),
    Dvts(Dvts),
    Mcts(Mcts),
    AStar(AStar),
}

/// The search of one problem under way.
pub(super) struct Search<'a> {
    pub(super) problem: &'a Problem,
    pub(super) domain: &'a dyn Domain,
    pub(super) plan: &'a Plan,
    /// The gold answer, if it is a plain number: rules out almost every state without asking the verifier.
    gold: Option<Number>,
    enumerates: bool,
    searcher: Searcher,
    pub(super) tree: Tree,
    pub(super) spent: Spent,
    first: Option<Spent>,
    /// Distinct correct paths.
    paths: HashSet<String>,
    solutions: Vec<u32>,
    samples: Vec<Proposal>,
    /// Samples drawn at a node so far.
    pub(super) asked: HashMap<u32, usize>,
    done: bool,
}

impl<'a> Search<'a> {
    /// `rest`: whether values leave out the steps that are to come.
    pub(super) fn new(problem: &'a Problem, plan: &'a Plan, enumerates: bool, rest: bool) -> Result<Self> {
        let name = &problem.domain;
        let domain = plan.domains.of(problem).with_context(|| format!("no domain is named `{name}`"))?;
        let samples = !enumerates;
        let rng = plan.draws.rng(problem, plan.name);
        let searcher = match plan.algorithm {
            Algorithm::BestOfN => {
                // If one success ends the search, samples come one by one.
                let wave = if plan.tree.goal == Goal::Verified {
                    1
                } else {
                    plan.aim.map_or(plan.samples, |(wave, _)| wave)
                };
                Searcher::BestOfN(BestOfN::new(plan.samples, wave, plan.aim.map(|(_, aim)| aim), rng))
            }
            Algorithm::Beam => Searcher::Beam(Beam::new(samples)),
            Algorithm::Dvts => Searcher::Dvts(Dvts::new(samples)),
            Algorithm::Mcts => Searcher::Mcts(Mcts::new(samples, rng)),
            Algorithm::AStar => Searcher::AStar(AStar::new(samples, rest)),
        };
        Ok(Self {
            problem,
            domain,
            plan,
            gold: Number::parse(problem.answer.trim()),
            enumerates,
            searcher,
            tree: Tree::new(Some(domain.start(problem))),
            spent: Spent::default(),
            first: None,
            paths: HashSet::new(),
            solutions: Vec::new(),
            samples: Vec::new(),
            asked: HashMap::new(),
            done: false,
        })
    }

    /// The whole search of a problem whose states are enumerated and valued on the spot.
    pub(super) fn alone(&mut self, shared: &Shared<'_>) -> Result<()> {
        let scorer = shared.scorer(self.problem, self.domain);
        loop {
            let wants = self.want();
            if wants.is_empty() {
                return Ok(());
            }
            let mut lists = Vec::with_capacity(wants.len());
            for want in wants {
                let nodes = self.enumerate(want)?;
                let asked = self.unvalued(&nodes, shared.is_constant());
                for node in asked {
                    let value = self.tree.get(node).state.as_deref().map_or(0.5, &scorer);
                    self.set_value(node, value, shared.flops());
                }
                lists.push((want, nodes));
            }
            self.settle(&lists);
        }
    }

    fn verified(&self) -> bool {
        self.plan.tree.goal == Goal::Verified
    }

    /// What the algorithm wants to see next, within the budget; nothing once it is done.
    pub(super) fn want(&mut self) -> Vec<Want> {
        if self.done {
            return Vec::new();
        }
        let config = &self.plan.tree;
        let mut allowance = Allowance {
            unit: config.unit,
            left: config.budget.saturating_sub(self.spent.of(config.unit)),
            step_tokens: config.step_tokens as u64,
            path_tokens: self.plan.sampling.max_tokens as u64,
            samples: !self.enumerates,
        };
        let wants = match &mut self.searcher {
            Searcher::BestOfN(search) if !self.enumerates => search.want_paths(&mut allowance),
            Searcher::BestOfN(search) => {
                let (domain, problem, paths, solutions, first) =
                    (self.domain, self.problem, &mut self.paths, &mut self.solutions, &mut self.first);
                let (verified, spent) = (config.goal == Goal::Verified, self.spent);
                search.want_step(&mut self.tree, &mut allowance, config, &mut |tree, node| {
                    let Some(answer) = &tree.get(node).answer else { return false };
                    if !verified || !is_correct(problem, domain, &tree.steps(node), answer) {
                        return false;
                    }
                    if paths.insert(domain.path(&tree.steps(node))) {
                        solutions.push(node);
                        tree.at(node).status = Status::Solution;
                        first.get_or_insert(spent);
                    }
                    solutions.len() >= config.solutions
                })
            }
            Searcher::Beam(search) => search.want(&self.tree, &mut allowance, config),
            Searcher::Dvts(search) => search.want(&self.tree, &mut allowance, config),
            Searcher::Mcts(search) => search.want(&mut self.tree, &mut allowance, config),
            Searcher::AStar(search) => search.want(&self.tree, self.domain, &mut allowance, config),
        };
        self.done = wants.is_empty();
        wants
    }

    /// Which of these nodes the value model is asked about; the others have their values.
    pub(super) fn unvalued(&mut self, nodes: &[u32], constant: bool) -> Vec<u32> {
        let verified = self.verified();
        let mut asked = Vec::with_capacity(nodes.len());
        for node in nodes {
            let item = self.tree.at(*node);
            // Without a verifier an end is worth what the value model says.
            let sure =
                verified || matches!(item.status, Status::False | Status::Duplicate) || item.answer.is_none();
            match known(item.status).filter(|_| sure) {
                Some(value) => item.value = value,
                None if constant => item.value = 1.0,
                None => asked.push(*node),
            }
        }
        asked
    }

    pub(super) fn query<'s>(&'s self, node: u32, steps: &'s [String]) -> ValueQuery<'s> {
        let item = self.tree.get(node);
        ValueQuery {
            problem: self.problem,
            domain: self.domain,
            steps,
            state: item.state.as_deref(),
            answer: item.answer.as_deref().filter(|answer| item.end && !answer.is_empty()),
        }
    }

    pub(super) fn set_value(&mut self, node: u32, value: f32, flops: u64) {
        self.spent.values += 1;
        self.spent.value_flops += flops;
        let threshold = self.plan.tree.threshold as f32;
        let item = self.tree.at(node);
        item.value = value;
        if value < threshold && node != 0 && item.is_open() {
            item.status = Status::Pruned;
        }
    }

    /// Takes up what is new and has its values: says the algorithm so, and sees whether the goal is reached.
    pub(super) fn settle(&mut self, lists: &[(Want, Vec<u32>)]) {
        let config = &self.plan.tree;
        for (want, nodes) in lists {
            if self.tree.get(want.node).value.is_nan() {
                self.tree.at(want.node).value = 1.0;
            }
            match &mut self.searcher {
                Searcher::BestOfN(_) => {}
                Searcher::Beam(search) => search.grown(nodes),
                Searcher::Dvts(search) => search.grown(&self.tree, want, nodes, config),
                Searcher::Mcts(search) => search.grown(&mut self.tree, want, nodes, config),
                Searcher::AStar(search) => {
                    search.grown(&self.tree, (want.node, nodes), self.domain, config);
                }
            }
        }
        let new: Vec<u32> = lists
            .iter()
            .flat_map(|(_, nodes)| nodes)
            .copied()
            .filter(|n| self.tree.get(*n).status == Status::Solution)
            .collect();
        if !new.is_empty() {
            self.first.get_or_insert(self.spent);
        }
        let mut shorter = false;
        if let Searcher::AStar(search) = &mut self.searcher {
            for node in new {
                search.solved(&self.tree, self.tree.length(node), self.domain, config);
            }
            shorter = config.shortest;
        }
        self.done |= config.goal == Goal::Verified && self.solutions.len() >= config.solutions && !shorter;
    }

    pub(super) fn finish(mut self) -> SearchOutcome {
        let mut ends = match &mut self.searcher {
            Searcher::BestOfN(search) => std::mem::take(&mut search.ends),
            _ if self.enumerates => {
                (0..self.tree.items.len() as u32).filter(|n| self.tree.get(*n).answer.is_some()).collect()
            }
            _ => (0..self.tree.items.len() as u32).filter(|n| self.tree.get(*n).end).collect(),
        };
        if !self.verified() {
            // Now that the search is over, the verifier says what was right.
            let mut nodes = ends.clone();
            nodes.sort_unstable();
            nodes.dedup();
            for node in nodes {
                let item = self.tree.get(node);
                let Some(answer) = item.answer.clone() else { continue };
                let steps = self.tree.steps(node);
                let verdict = self.domain.verify(self.problem, &steps, &answer).verdict;
                let correct = verdict == Verdict::Correct;
                if correct && self.paths.insert(self.domain.path(&steps)) {
                    self.solutions.push(node);
                }
                let item = self.tree.at(node);
                if item.end {
                    item.status = ended(verdict);
                } else if correct && item.status != Status::Duplicate {
                    item.status = Status::Solution;
                }
            }
        } else if self.plan.tree.transpositions && matches!(self.searcher, Searcher::AStar(_)) {
            ends.extend(self.other_ways());
        }
        let shortest = self.plan.tree.shortest;
        if self.enumerates || shortest {
            let mut solutions = std::mem::take(&mut self.solutions);
            solutions.sort_by_key(|node| {
                (if shortest { self.tree.length(*node) } else { 0 }, self.effort(*node), *node)
            });
            self.solutions = solutions;
        }
        if self.verified() {
            self.solutions.truncate(self.plan.tree.solutions);
        }
        SearchOutcome {
            tree: self.tree,
            spent: self.spent,
            first: self.first,
            solutions: self.solutions,
            ends,
            samples: self.samples,
        }
    }

    /// Length of a whole path and what it leaves unused, in thousandths of a step: the sensible ones first.
    fn effort(&self, node: u32) -> u64 {
        let rest = self.tree.get(node).state.as_deref().map_or(0.0, |state| self.domain.effort(state));
        ((f64::from(self.tree.length(node)) + rest) * 1000.0).round() as u64
    }
}

/// What a node's state is worth where that is no question.
fn known(status: Status) -> Option<f32> {
    match status {
        Status::Solution => Some(1.0),
        // A search looks for what is known to be correct.
        Status::Wrong | Status::Undecided | Status::Dead | Status::Duplicate | Status::False => Some(0.0),
        Status::Open | Status::Expanded | Status::Pruned => None,
    }
}

/// The status of a sampled path at its end.
fn ended(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Correct => Status::Solution,
        Verdict::Wrong => Status::Wrong,
        Verdict::Undecidable => Status::Undecided,
    }
}

/// Whether the verifier accepts a path.
fn is_correct(problem: &Problem, domain: &dyn Domain, steps: &[String], answer: &str) -> bool {
    domain.verify(problem, steps, answer).verdict == Verdict::Correct
}
