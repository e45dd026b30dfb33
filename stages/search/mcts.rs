//! Monte-Carlo tree search with PUCT, in the form of AlphaZero (Silver et al. 2018, arXiv 1712.01815):
//!
//! argmax_a Q(s, a) + C(s) P(a|s) sqrt(N(s)) / (1 + N(s, a)), C(s) = ln((1 + N(s) + c_base) / c_base) +
//! c_init
//!
//! The prior at the root is mixed with Dirichlet noise. A simulation walks down to a state that was not
//! expanded, expands it, steps to the best of its children and backs up that child's value: what the value
//! model says, or 1 and 0 where the path ends and the verifier decides. Q before the first visit is the
//! child's own value.
//!
//! - **Progressive widening** for sampled policies: a state visited N times has at most ceil(k N^alpha) times
//!   `width` steps asked for; until then its next visit samples more. When all of a tree is exhausted, every
//!   state may be asked once more.
//! - **Virtual loss**: with `parallel` > 1 several leaves of a tree are expanded at once; a path under way
//!   counts as a visit of value 0 until its leaf has come back.
//! - What is explored to the end is left alone, so a search of rules without more to find ends before its
//!   budget.

use rand_distr::{Distribution, Gamma};

use super::budget::Allowance;
use super::config::TreeConfig;
use super::tree::{NONE, Status, Tree, Want};

/// The search of one problem.
pub struct Mcts {
    /// By node: nothing more can come of it.
    closed: Vec<bool>,
    /// By node: how often steps were asked for.
    asked: Vec<u32>,
    /// How often the tree of a sampled policy was exhausted.
    exhausted: u32,
    noise: Vec<f32>,
    rng: datasets::key::Rng,
    samples: bool,
}

impl Mcts {
    pub fn new(samples: bool, rng: datasets::key::Rng) -> Self {
        Self { closed: Vec::new(), asked: Vec::new(), exhausted: 0, noise: Vec::new(), rng, samples }
    }

    pub fn want(&mut self, tree: &mut Tree, allowance: &mut Allowance, config: &TreeConfig) -> Vec<Want> {
        self.resize(tree);
        let mut wants: Vec<Want> = Vec::new();
        while wants.len() < config.parallel.max(1) && allowance.has_room() {
            let Some(node) = self.descend(tree, &wants, config) else { break };
            let Some(want) = allowance.steps(node, config.width) else { break };
            visit(tree, node);
            self.asked[node as usize] += 1;
            wants.push(want);
        }
        wants
    }

    fn resize(&mut self, tree: &Tree) {
        self.closed.resize(tree.items.len(), false);
        self.asked.resize(tree.items.len(), 0);
    }

    /// The state at the end of a walk whose steps are to be asked for; None if there is none left, or another
    /// walk of this turn waits there.
    fn descend(&mut self, tree: &mut Tree, wants: &[Want], config: &TreeConfig) -> Option<u32> {
        let mut node = 0;
        loop {
            if self.closed[node as usize] {
                if !self.samples {
                    return None;
                }
                self.closed.fill(false);
                self.exhausted += 1;
            }
            let waits = wants.iter().any(|want| want.node == node);
            if self.may_widen(tree, node, config) {
                return Some(node).filter(|_| !waits);
            }
            match self.best_child(tree, node, config) {
                Some(child) => node = child,
                None if waits => return None,
                None => {
                    self.close(tree, node);
                    node = 0;
                }
            }
        }
    }

    fn may_widen(&self, tree: &Tree, node: u32, config: &TreeConfig) -> bool {
        let (item, asked) = (tree.get(node), self.asked[node as usize]);
        if asked == 0 {
            return item.is_open();
        }
        let allowed = (config.widen * f64::from(item.visits.max(1)).powf(config.widen_power)).ceil();
        self.samples && f64::from(asked) < allowed + f64::from(self.exhausted)
    }

    /// PUCT over the children that are not closed.
    fn best_child(&mut self, tree: &Tree, node: u32, config: &TreeConfig) -> Option<u32> {
        let visits = f64::from(tree.get(node).visits);
        let explore = ((1.0 + visits + config.c_base) / config.c_base).ln() + config.c_init;
        if node == 0 {
            self.noise(tree, config);
        }
        let mut best: Option<(f64, u32)> = None;
        for (at, child) in tree.children(node).enumerate() {
            if self.closed[child as usize] || !Self::is_alive(tree, child) {
                continue;
            }
            let item = tree.get(child);
            let mut prior = f64::from(item.prior);
            if node == 0
                && let Some(noise) = self.noise.get(at)
            {
                prior = (1.0 - config.noise_share) * prior + config.noise_share * f64::from(*noise);
            }
            let puct = item.q() + explore * prior * visits.sqrt() / (1.0 + f64::from(item.visits));
            if best.is_none_or(|(most, _)| puct > most) {
                best = Some((puct, child));
            }
        }
        best.map(|(_, child)| child)
    }

    /// Whether a walk may go on through a node.
    fn is_alive(tree: &Tree, node: u32) -> bool {
        let item = tree.get(node);
        !item.end && matches!(item.status, Status::Open | Status::Expanded)
    }

    /// Dirichlet noise over the root's children: Gamma draws, divided by their sum.
    fn noise(&mut self, tree: &Tree, config: &TreeConfig) {
        let count = tree.get(0).children as usize;
        if config.noise_share <= 0.0 || self.noise.len() == count || count == 0 {
            return;
        }
        let Ok(gamma) = Gamma::new(config.noise, 1.0) else { return };
        let draws: Vec<f64> = (0..count).map(|_| gamma.sample(&mut self.rng).max(1e-12)).collect();
        let sum: f64 = draws.iter().sum();
        self.noise = draws.iter().map(|d| (d / sum) as f32).collect();
    }

    /// Closes a node, and those above it that have nothing else.
    fn close(&mut self, tree: &Tree, node: u32) {
        let mut at = node;
        while at != NONE {
            self.closed[at as usize] = true;
            let parent = tree.get(at).parent;
            if parent == NONE
                || self.samples
                || tree.children(parent).any(|c| !self.closed[c as usize] && Self::is_alive(tree, c))
            {
                break;
            }
            at = parent;
        }
    }

    /// Backs up the value of the best new child.
    pub fn grown(&mut self, tree: &mut Tree, want: &Want, children: &[u32], config: &TreeConfig) {
        self.resize(tree);
        // The walk's own visit was counted with value 0 when it set out.
        let best = self.best_child(tree, want.node, config);
        let ends =
            children.iter().copied().filter(|c| tree.get(*c).end || tree.get(*c).status == Status::Solution);
        let top =
            ends.chain(best).max_by(|a, b| tree.get(*a).q().total_cmp(&tree.get(*b).q()).then(b.cmp(a)));
        let Some(child) = top else {
            if tree.children(want.node).next().is_none() && !self.samples {
                self.close(tree, want.node);
            }
            return;
        };
        let value = f64::from(tree.get(child).value);
        let item = tree.at(child);
        item.visits += 1;
        item.total += value;
        let mut at = want.node;
        while at != NONE {
            tree.at(at).total += value;
            at = tree.get(at).parent;
        }
    }
}

/// Counts a visit of a node and all above it, whose value is not known yet.
fn visit(tree: &mut Tree, node: u32) {
    let mut at = node;
    while at != NONE {
        let item = tree.at(at);
        item.visits += 1;
        at = item.parent;
    }
}
