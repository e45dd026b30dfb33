//! What a search may spend on a problem, and what it has spent.
//!
//! A budget is never exceeded: before a policy is asked, the most that it may answer is set aside, and what it did not
//! use comes back.

use serde::{Deserialize, Serialize};

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

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Tokens => "tokens",
            Unit::Calls => "calls",
            Unit::Expansions => "expansions",
        }
    }
}

/// A limit for one problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub unit: Unit,
    pub limit: u64,
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
    /// Floating-point operations of the policy: 2 P for each token of its prompt, once, and for each token it generated.
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
}

impl Allowance {
    /// How many sampled steps are within it.
    pub fn steps(&self) -> usize {
        self.of(self.step_tokens)
    }

    /// How many sampled paths are within it.
    pub fn paths(&self) -> usize {
        self.of(self.path_tokens)
    }

    fn of(&self, tokens: u64) -> usize {
        let price = if self.unit == Unit::Tokens { tokens.max(1) } else { 1 };
        (self.left / price) as usize
    }

    /// Sets steps aside.
    pub fn take_steps(&mut self, count: usize) {
        self.take(count as u64, self.step_tokens);
    }

    /// Sets paths aside.
    pub fn take_paths(&mut self, count: usize) {
        self.take(count as u64, self.path_tokens);
    }

    fn take(&mut self, count: u64, tokens: u64) {
        let price = if self.unit == Unit::Tokens { tokens.max(1) } else { 1 };
        self.left = self.left.saturating_sub(count * price);
    }
}
