//! A*: always expands the state whose path is the cheapest so far, together with what the rest of it will
//! cost.
//!
//! f(s) = g(s) + w h(s), with g the steps taken (times `step_cost`, in nats) and h = -ln V(s) + `step_cost`
//! times the steps that are needed at least; where V stands for the steps that are left itself
//! ([`super::value::Values::Effort`]), h = -ln V(s). If V is the probability that the policy succeeds from s,
//! and a step costs -ln of its probability, then h is consistent: V(s) is a mean over V(s') and no s' can
//! exceed V(s) / p. A learned V is neither, so nothing here rests on it: a state that is reached again on a
//! cheaper way is re-opened, and w > 1 (weighted A*, arXiv cs/0309053 for its anytime form) trades length for
//! speed.
//!
//! - **OPEN** is a heap; an entry whose f is no longer that of its state is skipped. **CLOSED** are the
//!   expanded states.
//! - **Transpositions** go by the domain's key of a state, never by text. Of two ways to a state the cheaper
//!   one stays (if it has no more steps, which are limited), and the other is kept as its duplicate: that is
//!   where further distinct solutions come from, at no cost.
//! - **Sampled policies** show a few steps at a time. A state goes back to OPEN after each time it was
//!   expanded, and counts half as promising as before (partial expansion, Yoshizumi, Miura and Ishida 2000).
//! - **Shortest** solution: the search goes on after the first one, drops what cannot be shorter, and lowers
//!   w each time (ARA*), until OPEN is empty or the budget spent.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use datasets::Domain;
use datasets::domain::Key;

use super::budget::Allowance;
use super::config::{Cost, TreeConfig};
use super::tree::{NONE, Status, Tree, Want};

/// What is unsaid of a state after each time it was sampled from.
const FADE: f64 = 0.5;

/// The search of one problem.
pub struct AStar {
    /// (f in thousandths, node), least first.
    open: BinaryHeap<Reverse<(i64, u32)>>,
    /// By node: cost of its way, and how often it was sampled from.
    costs: Vec<(f64, u32)>,
    known: HashMap<Key, u32>,
    /// Where we are in the list of weights.
    weight: usize,
    /// Length of the shortest solution.
    incumbent: u32,
    samples: bool,
    /// Whether h has the steps needed at least beside -ln V.
    rest: bool,
    begun: bool,
}

impl AStar {
    /// `samples`: whether the policy shows a few steps at a time. `rest`: whether V leaves out the steps that
    /// are to come.
    pub fn new(samples: bool, rest: bool) -> Self {
        let (open, costs, known) = (BinaryHeap::new(), Vec::new(), HashMap::new());
        Self { open, costs, known, weight: 0, incumbent: u32::MAX, samples, rest, begun: false }
    }

    fn f(&self, tree: &Tree, node: u32, domain: &dyn Domain, config: &TreeConfig) -> i64 {
        let (g, times) = self.costs[node as usize];
        let item = tree.get(node);
        let least = item
            .state
            .as_ref()
            .filter(|_| self.rest && config.cost == Cost::Steps)
            .map_or(0, |state| domain.least_steps(state));
        let h = -f64::from(item.value).max(1e-30).ln() - f64::from(times) * FADE.ln()
            + config.step_cost * least as f64;
        let weight = config.weights.get(self.weight).or(config.weights.last()).copied().unwrap_or(1.0);
        ((g + weight * h) * 1000.0).round() as i64
    }

    /// Cost of one step.
    fn step(tree: &Tree, node: u32, config: &TreeConfig) -> f64 {
        match config.cost {
            Cost::Steps => config.step_cost,
            Cost::Surprisal => -f64::from(tree.get(node).prior).max(1e-30).ln(),
        }
    }

    fn cost(&mut self, tree: &Tree, node: u32, config: &TreeConfig) -> f64 {
        self.costs.resize(tree.items.len(), (0.0, 0));
        let parent = tree.get(node).parent;
        if parent == NONE { 0.0 } else { self.costs[parent as usize].0 + Self::step(tree, node, config) }
    }

    fn push(&mut self, tree: &Tree, node: u32, domain: &dyn Domain, config: &TreeConfig) {
        let f = self.f(tree, node, domain, config);
        self.open.push(Reverse((f, node)));
    }

    /// The cheapest states whose steps are to be asked for.
    pub fn want(
        &mut self,
        tree: &Tree,
        domain: &dyn Domain,
        allowance: &mut Allowance,
        config: &TreeConfig,
    ) -> Vec<Want> {
        if !self.begun {
            self.begun = true;
            self.costs.resize(tree.items.len(), (0.0, 0));
            if let Some(state) = &tree.get(0).state {
                self.known.insert(domain.key(state), 0);
            }
            self.push(tree, 0, domain, config);
        }
        let mut wants = Vec::new();
        while wants.len() < config.parallel.max(1) && allowance.has_room() {
            let Some(Reverse((f, node))) = self.open.pop() else { break };
            let item = tree.get(node);
            let again = self.samples && item.status == Status::Expanded;
            let stale = f != self.f(tree, node, domain, config) || !(item.is_open() || again);
            if stale || self.is_too_long(tree, node, domain) {
                continue;
            }
            let Some(want) = allowance.steps(node, config.width) else { break };
            self.costs[node as usize].1 += 1;
            wants.push(want);
        }
        wants
    }

    /// Whether no solution through a node is shorter than what is known.
    fn is_too_long(&self, tree: &Tree, node: u32, domain: &dyn Domain) -> bool {
        let item = tree.get(node);
        // A sampled path may end anywhere; one of rules would be a solution already.
        let least = || item.state.as_ref().map_or(1, |state| domain.least_steps(state).max(1)) as u32;
        let rest = if self.samples { 0 } else { least() };
        self.incumbent != u32::MAX && item.depth + rest >= self.incumbent
    }

    /// Takes up a new node: false if its state is there already.
    pub fn admit(&mut self, tree: &mut Tree, node: u32, domain: &dyn Domain, config: &TreeConfig) -> bool {
        let own = self.cost(tree, node, config);
        self.costs[node as usize].0 = own;
        let item = tree.get(node);
        let Some(state) = item.state.as_ref().filter(|_| config.transpositions && item.is_open()) else {
            return true;
        };
        let known = *self.known.entry(domain.key(state)).or_insert(node);
        if known == node {
            return true;
        }
        tree.at(node).same = known;
        tree.at(node).status = Status::Duplicate;
        let mut duplicates = vec![node];
        while let Some(duplicate) = duplicates.pop() {
            duplicates.extend(self.reopen(tree, duplicate, domain, config));
        }
        false
    }

    /// Moves a state to the place of its duplicate, if that is on a cheaper way; the duplicate remembers the
    /// one that was given up. What is below gets cheaper as well: gives the duplicates there, which may have
    /// become the cheaper way in turn.
    fn reopen(
        &mut self,
        tree: &mut Tree,
        duplicate: u32,
        domain: &dyn Domain,
        config: &TreeConfig,
    ) -> Vec<u32> {
        let mut duplicates = Vec::new();
        let known = tree.get(duplicate).same;
        let saved = self.costs[known as usize].0 - self.costs[duplicate as usize].0;
        if saved < 1e-9 || tree.get(duplicate).depth > tree.get(known).depth {
            return duplicates;
        }
        tree.exchange(known, duplicate);
        self.costs[duplicate as usize].0 += saved;
        for below in tree.below(known) {
            self.costs[below as usize].0 -= saved;
            let item = tree.get(below);
            if item.same != NONE {
                duplicates.push(below);
            } else if item.is_open() || self.samples {
                self.push(tree, below, domain, config);
            }
        }
        duplicates
    }

    /// Goes on from `new` nodes, the expanded one and its children, which have their values now. Puts the
    /// expanded one back if more can be sampled there.
    pub fn grown(&mut self, tree: &Tree, new: (u32, &[u32]), domain: &dyn Domain, config: &TreeConfig) {
        let (expanded, children) = new;
        for child in children {
            if tree.get(*child).is_open() {
                self.push(tree, *child, domain, config);
            }
        }
        if self.samples {
            self.push(tree, expanded, domain, config);
        }
    }

    /// A solution of this length was found: if a shorter one is wanted, what cannot be shorter is no more of
    /// interest.
    pub fn solved(&mut self, tree: &Tree, length: u32, domain: &dyn Domain, config: &TreeConfig) {
        if config.shortest && length < self.incumbent {
            self.incumbent = length;
            if self.weight + 1 < config.weights.len() {
                self.weight += 1;
                let nodes: Vec<u32> = self.open.drain().map(|Reverse((_, node))| node).collect();
                for node in nodes {
                    self.push(tree, node, domain, config);
                }
            }
        }
    }
}
