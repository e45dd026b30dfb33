//! Step beam: expands the `beams` best partial paths at once, step by step, and keeps the best of what they give.
//!
//! The score of a path is that of its step values, put together by `aggregate` (the last one by default, as in Hugging Face's
//! search-and-learn). Paths that end leave the beam. When all have ended and there is budget left, the beam
//! starts again from the best states that it left behind, so that a larger budget always buys more search. A state stands in
//! the tree once, so no path can fill several places of the beam, nor vote twice.

use super::budget::Allowance;
use super::tree::Tree;
use super::{Grow, TreeConfig, Want, best_open, score};

/// The search of one problem.
pub struct Beam {
    paths: Vec<u32>,
    /// What the beam's paths became.
    next: Vec<u32>,
    begun: bool,
    samples: bool,
}

impl Beam {
    pub fn new(samples: bool) -> Self {
        Self { paths: Vec::new(), next: Vec::new(), begun: false, samples }
    }

    pub fn want(&mut self, tree: &Tree, allowance: &mut Allowance, config: &TreeConfig) -> Vec<Want> {
        let mut next = std::mem::take(&mut self.next);
        next.retain(|node| tree.get(*node).status.is_open() && !tree.get(*node).end);
        next.sort_by(|a, b| score(tree, *b, config).total_cmp(&score(tree, *a, config)).then(a.cmp(b)));
        next.truncate(config.beams.max(1));
        self.paths = next;
        if self.paths.is_empty() {
            self.paths = best_open(tree, 0, config.beams.max(1), config);
        }
        if self.paths.is_empty() && (self.samples || !self.begun) {
            self.paths = vec![0];
        }
        self.begun = true;
        let mut wants = Vec::new();
        for node in &self.paths {
            let width = if self.samples { config.width.min(allowance.steps()) } else { allowance.steps().min(1) };
            if width == 0 {
                break;
            }
            allowance.take_steps(width);
            wants.push(Want { node: *node, grow: Grow::Steps(width) });
        }
        wants
    }

    pub fn grown(&mut self, children: &[u32]) {
        self.next.extend(children);
    }
}
