//! What a search may spend on a problem, and what it has spent.
//!
//! A budget is never exceeded: before a policy is asked, the most that it may answer is set aside, and what
//! it did not use comes back.

use serde::{Deserialize, Serialize};

use super::tree::{Grow, Want};

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Tokens that the policy generates.
    Tokens,
    /// Proposals that the policy is asked for: a sampled step, a sampled path, or all legal steps of a state.
    Calls,
    /// States whose next steps are enumerated.
    Expansions,
}

/// What was spent on one problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens that the policy generated.
    pub tokens: u64,
    pub calls: u64,
    pub expansions: u64,
    /// Next steps that were looked at.
    pub nodes: u64,
    /// Those of them that were there already.
    pub duplicates: u64,
    /// States whose value was asked for.
    pub values: u64,
    /// Floating-point operations of the policy: 2 P for each token of its prompt, once, and for each token it
    /// generated.
    pub policy_flops: u64,
    /// The same of the value model; of a head on the policy's own trunk, one token a state.
    pub value_flops: u64,
}

impl Spent {
    /// How much of a unit.
    pub fn of(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Calls => self.calls,
            Unit::Expansions => self.expansions,
        }
    }
}

/// What is left of a budget, and what a proposal may cost at most.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub unit: Unit,
    pub left: u64,
    /// Most tokens of a sampled step.
    pub step_tokens: u64,
    /// Most tokens of a sampled path.
    pub path_tokens: u64,
    /// Whether the policy samples steps; one that enumerates shows all steps of a state for the price of one.
    pub samples: bool,
}

impl Allowance {
    /// Whether there is room for a step.
    pub fn has_room(&self) -> bool {
        self.left >= self.price(self.step_tokens)
    }

    /// Up to `width` steps of a state, which are set aside; none if there is no room.
    pub fn steps(&mut self, node: u32, width: usize) -> Option<Want> {
        let count = self.take(if self.samples { width } else { 1 }, self.step_tokens);
        (count > 0).then_some(Want { node, grow: Grow::Steps(count) })
    }

    /// Up to so many paths from the root, which are set aside; none if there is no room.
    pub fn paths(&mut self, count: usize) -> Option<Want> {
        let count = self.take(count, self.path_tokens);
        (count > 0).then_some(Want { node: 0, grow: Grow::Paths(count) })
    }

    fn price(&self, tokens: u64) -> u64 {
        if self.unit == Unit::Tokens { tokens.max(1) } else { 1 }
    }

    /// Sets aside as many as there is room for, and says how many these are.
    fn take(&mut self, count: usize, tokens: u64) -> usize {
        let price = self.price(tokens);
        let count = (count as u64).min(self.left / price);
        self.left -= count * price;
        count as usize
    }
}
