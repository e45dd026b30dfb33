//! Step beam: expands the `beams` best partial paths at once, step by step, and keeps the best of what they
//! give.
//!
//! The score of a path is that of its step values, put together by `aggregate` (the last one by default, as
//! in Hugging Face's search-and-learn). Paths that end leave the beam. When all have ended and there is
//! budget left, the beam starts again from the best states that it left behind, so that a larger budget
//! always buys more search. A state stands in the tree once, so no path can fill several places of the beam,
//! nor vote twice.

use super::budget::Allowance;
use super::tree::Tree;
use super::{TreeConfig, Want, best, best_open};

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
