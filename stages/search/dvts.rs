//! Diverse verifier tree search: independent subtrees, each of which always follows its best step.
//!
//! The best `beams` first steps are the subtrees' roots (search-and-learn draws them independently; distinct
//! ones are more diverse). A subtree whose path has ended starts again from the best state that it left
//! behind, and one that has none left takes over the best first step that nobody has.

use super::beam::{best, best_open};
use super::budget::Allowance;
use super::config::TreeConfig;
use super::tree::{Tree, Want};

struct Subtree {
    root: u32,
    at: Option<u32>,
}

/// The search of one problem.
pub struct Dvts {
    subtrees: Vec<Subtree>,
    samples: bool,
    begun: bool,
}

impl Dvts {
    pub fn new(samples: bool) -> Self {
        Self { subtrees: Vec::new(), samples, begun: false }
    }

    pub fn want(&mut self, tree: &Tree, allowance: &mut Allowance, config: &TreeConfig) -> Vec<Want> {
        if self.begun {
            self.place(tree, config);
        }
        let mut nodes: Vec<(u32, usize)> =
            self.subtrees.iter().filter_map(|s| Some((s.at?, config.width))).collect();
        if nodes.is_empty() && (self.samples || !self.begun) {
            nodes.push((0, config.width * config.beams.max(1)));
        }
        self.begun = true;
        nodes.into_iter().map_while(|(node, width)| allowance.steps(node, width)).collect()
    }

    /// Gives each subtree without a state to expand its next one.
    fn place(&mut self, tree: &Tree, config: &TreeConfig) {
        self.subtrees.retain_mut(|subtree| {
            subtree.at = subtree
                .at
                .filter(|node| tree.get(*node).is_open())
                .or_else(|| best_open(tree, subtree.root, 1, config).first().copied());
            subtree.at.is_some()
        });
        let room = config.beams.max(1).saturating_sub(self.subtrees.len());
        let free = tree.children(0).filter(|node| self.subtrees.iter().all(|s| s.root != *node));
        let new = best(tree, free, room, config);
        self.subtrees.extend(new.into_iter().map(|root| Subtree { root, at: Some(root) }));
    }

    pub fn grown(&mut self, tree: &Tree, want: &Want, children: &[u32], config: &TreeConfig) {
        if let Some(subtree) = self.subtrees.iter_mut().find(|s| s.at == Some(want.node)) {
            subtree.at = best(tree, children.iter().copied(), 1, config).first().copied();
        }
    }
}
