//! Best-of-N: independent samples of whole paths. The mandatory baseline of any search.
//!
//! A policy that enumerates is walked at random, step by step: all legal steps and, where the path may end,
//! the end are equally likely. A state that an earlier walk expanded is known, and costs nothing again.

use std::collections::HashSet;

use rand::RngExt;

use super::budget::Allowance;
use super::config::TreeConfig;
use super::tree::{Grow, NONE, Tree, Want};

/// Walks over known states alone after which a tree counts as known to its ends.
const IDLE: usize = 1000;

/// When sampling stops by what it found, so that samples go where they teach something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// Distinct correct calculations after which no more is drawn.
    pub wanted: usize,
    /// Correct samples after which no more is drawn.
    pub enough: usize,
    /// Samples after which a problem without a correct one is given up.
    pub give_up: usize,
}

/// The search of one problem.
pub struct BestOfN {
    aim: Option<Aim>,
    drawn: usize,
    correct: usize,
    calculations: HashSet<String>,
    /// Samples still to be drawn.
    left: usize,
    /// How many are asked for at once.
    wave: usize,
    /// Where the walk of an enumerating policy stands.
    at: Option<u32>,
    rng: datasets::key::Rng,
    /// Ends of the paths, once for each sample.
    pub ends: Vec<u32>,
}

impl BestOfN {
    pub fn new(samples: usize, wave: usize, aim: Option<Aim>, rng: datasets::key::Rng) -> Self {
        let (drawn, correct, calculations) = (0, 0, HashSet::new());
        Self {
            aim,
            drawn,
            correct,
            calculations,
            left: samples,
            wave: wave.max(1),
            at: None,
            rng,
            ends: Vec::new(),
        }
    }

    /// Whether it wants to know which samples are correct.
    pub fn asks_verdicts(&self) -> bool {
        self.aim.is_some()
    }

    /// Takes up what a correct sample calculates.
    pub fn correct(&mut self, calculation: String) {
        self.correct += 1;
        self.calculations.insert(calculation);
    }

    /// Whether what was found so far says that more samples are not worth it.
    fn settled(&self) -> bool {
        self.aim.is_some_and(|aim| {
            self.calculations.len() >= aim.wanted
                || self.correct >= aim.enough
                || (self.correct == 0 && self.drawn >= aim.give_up)
        })
    }

    /// Whole paths of a policy that samples.
    pub fn want_paths(&mut self, allowance: &mut Allowance) -> Vec<Want> {
        if self.settled() {
            return Vec::new();
        }
        let want = allowance.paths(self.left.min(self.wave));
        if let Some(Want { grow: Grow::Paths(count), .. }) = want {
            self.left -= count;
            self.drawn += count;
        }
        want.into_iter().collect()
    }

    /// The next state of a random walk that nobody has expanded. Walks over known states are taken on the
    /// way: `ended` is told of each.
    pub fn want_step(
        &mut self,
        tree: &mut Tree,
        allowance: &mut Allowance,
        config: &TreeConfig,
        ended: &mut dyn FnMut(&mut Tree, u32) -> bool,
    ) -> Vec<Want> {
        // A tree that is known to its ends can be walked for ever.
        let mut idle = 0;
        while self.left > 0 && idle < IDLE {
            let node = self.at.unwrap_or(0);
            let item = tree.get(node);
            if item.order == NONE && item.is_open() && item.depth < config.depth {
                self.at = Some(node);
                return allowance.steps(node, 1).into_iter().collect();
            }
            let choices = item.children + u32::from(item.answer.is_some());
            let chosen = if choices == 0 || item.depth >= config.depth {
                choices
            } else {
                self.rng.random_range(0..choices)
            };
            let child = tree.children(node).nth(chosen as usize);
            match child {
                Some(child) => self.at = Some(child),
                None => {
                    self.at = None;
                    self.left -= 1;
                    idle += 1;
                    self.ends.push(node);
                    if ended(tree, node) {
                        return Vec::new();
                    }
                }
            }
        }
        Vec::new()
    }
}
