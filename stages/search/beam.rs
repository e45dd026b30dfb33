//! Step beam: expands the `beams` best partial paths at once, step by step, and keeps the best of what they
//! give.
//!
//! The score of a path is that of its step values, put together by `aggregate` (the last one by default, as
//! in Hugging Face's search-and-learn). Paths that end leave the beam. When all have ended and there is
//! budget left, the beam starts again from the best states that it left behind, so that a larger budget
//! always buys more search. A state stands in the tree once, so no path can fill several places of the beam,
//! nor vote twice.

use super::budget::Allowance;
use super::config::{Aggregate, TreeConfig};
use super::tree::{Tree, Want};

/// The search of one problem.
pub struct Beam {
    /// What the beam's paths became.
    next: Vec<u32>,
    begun: bool,
    samples: bool,
}

impl Beam {
    pub fn new(samples: bool) -> Self {
        Self { next: Vec::new(), begun: false, samples }
    }

    pub fn want(&mut self, tree: &Tree, allowance: &mut Allowance, config: &TreeConfig) -> Vec<Want> {
        let count = config.beams.max(1);
        let mut paths = best(tree, std::mem::take(&mut self.next), count, config);
        if paths.is_empty() {
            paths = best_open(tree, 0, count, config);
        }
        if paths.is_empty() && (self.samples || !self.begun) {
            paths.push(0);
        }
        self.begun = true;
        paths.into_iter().map_while(|node| allowance.steps(node, config.width)).collect()
    }

    pub fn grown(&mut self, children: &[u32]) {
        self.next.extend(children);
    }
}

/// Score of the path to a node.
pub(super) fn score(tree: &Tree, node: u32, config: &TreeConfig) -> f32 {
    match config.aggregate {
        Aggregate::Last => tree.get(node).value,
        other => other.of(&tree.path(node).into_iter().map(|n| tree.get(n).value).collect::<Vec<_>>()),
    }
}

/// The best states below a node that nobody has expanded.
pub(super) fn best_open(tree: &Tree, below: u32, count: usize, config: &TreeConfig) -> Vec<u32> {
    if below == 0 {
        best(tree, 0..tree.items.len() as u32, count, config)
    } else {
        best(tree, tree.below(below), count, config)
    }
}

/// Those of some nodes that may be expanded, best first, and at most so many.
pub(super) fn best(
    tree: &Tree,
    nodes: impl IntoIterator<Item = u32>,
    count: usize,
    config: &TreeConfig,
) -> Vec<u32> {
    let open = nodes.into_iter().filter(|n| tree.get(*n).is_open());
    let mut scored: Vec<(f32, u32)> = open.map(|n| (score(tree, n, config), n)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.truncate(count);
    scored.into_iter().map(|(_, n)| n).collect()
}
