//! `[search]` and `[tree]` of a configuration.

use serde::{Deserialize, Serialize};

use super::budget::Unit;
use crate::policy::Sampling;

/// Who proposes steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Nobody: only the rules are searched.
    None,
    /// The domain's rules: every legal step.
    Rules,
    /// The base model in round 1, then each round's student. A student from scratch has no base to sample
    /// from: round 1 then searches the rules alone.
    Model,
    /// The model of `model.teacher`, in every round.
    Teacher,
    /// The OpenAI-compatible server of `[endpoint]`, in every round.
    Endpoint,
}

/// How the policy's tree is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    BestOfN,
    Beam,
    Dvts,
    Mcts,
    #[serde(rename = "astar")]
    AStar,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] = [Self::BestOfN, Self::Beam, Self::Dvts, Self::Mcts, Self::AStar];

    pub fn name(self) -> &'static str {
        match self {
            Self::BestOfN => "best-of-n",
            Self::Beam => "beam",
            Self::Dvts => "dvts",
            Self::Mcts => "mcts",
            Self::AStar => "astar",
        }
    }
}

/// Which problems the enumeration over the rules looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulesOn {
    /// Those that the round looks at.
    All,
    /// Those of all parts that have [siblings](crate::siblings), which have to confirm what it finds.
    Siblings,
}

/// `[search]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    pub policy: Sampler,
    pub algorithm: Algorithm,
    /// Samples per problem of best-of-N.
    pub samples: usize,
    /// Most samples of a problem, in waves of `samples`; 0 for one wave, whatever it finds. Drawing stops
    /// with `wanted` distinct correct calculations or `enough` correct samples, and without any correct one
    /// after `give_up` samples.
    pub max_samples: usize,
    pub wanted: usize,
    pub enough: usize,
    pub give_up: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: usize,
    /// Most tokens per sample.
    pub max_tokens: usize,
    /// Fill in results of `48/2=`.
    pub calculator: bool,
    /// Most distinct correct paths that the enumeration over the rules looks for; 0 turns it off.
    pub rule_solutions: usize,
    /// Most states the enumeration expands per problem.
    pub rule_expansions: usize,
    /// Longest path it considers.
    pub rule_steps: usize,
    pub rules_on: RulesOn,
    /// Complete wrong samples of best-of-N by one legal step, where that reaches the answer.
    pub repair: bool,
    /// Round K searches one of so many parts of the train problems, the K-th and round again; 0 or 1 for all
    /// of them in every round.
    pub slices: u32,
    /// In round K the enumeration looks at this to the power of K - 1 as the share of the problems, drawn
    /// anew in each round.
    pub rule_decay: f64,
}

impl SearchConfig {
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature as f32,
            top_p: self.top_p as f32,
            top_k: self.top_k,
            max_tokens: self.max_tokens,
            calculator: self.calculator,
        }
    }
}

/// What ends a search, and what the end of a path is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// A path that the verifier accepts: how data is made. The search stops once it has enough of them.
    Verified,
    /// Nobody knows the answer: how a search is deployed. It spends its budget, and an answer is chosen among
    /// its paths.
    Chosen,
}

/// What a step costs in A*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// `step_cost` each.
    Steps,
    /// -ln of the policy's probability of the step among its siblings.
    Surprisal,
}

/// How step values of a path become its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    Min,
    Product,
    Last,
    Mean,
}

impl Aggregate {
    /// The score of a path with these step values; 0.5 for a path without any.
    pub fn of(self, values: &[f32]) -> f32 {
        let Some(last) = values.last() else { return 0.5 };
        match self {
            Aggregate::Min => values.iter().copied().fold(f32::INFINITY, f32::min),
            Aggregate::Product => values.iter().product(),
            Aggregate::Last => *last,
            Aggregate::Mean => values.iter().sum::<f32>() / values.len() as f32,
        }
    }
}

/// `[tree]` of a configuration: what tree searches share, and what each has of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeConfig {
    pub unit: Unit,
    /// What a problem may cost.
    pub budget: u64,
    pub goal: Goal,
    /// Distinct verified solutions after which a search stops.
    pub solutions: usize,
    /// A*: go on for a shorter solution than the first.
    pub shortest: bool,
    /// Longest path.
    pub depth: u32,
    /// Steps sampled at a state at a time. Rules show all legal ones.
    pub width: usize,
    /// Most tokens of a sampled step.
    pub step_tokens: usize,
    /// States of one tree that are expanded at once (MCTS, A*).
    pub parallel: usize,
    /// Branches whose value is below are given up.
    pub threshold: f64,
    /// Beam: paths kept. DVTS: subtrees.
    pub beams: usize,
    pub aggregate: Aggregate,
    /// A*.
    pub cost: Cost,
    pub step_cost: f64,
    pub weights: Vec<f64>,
    pub transpositions: bool,
    /// MCTS.
    pub c_init: f64,
    pub c_base: f64,
    pub noise: f64,
    pub noise_share: f64,
    pub widen: f64,
    pub widen_power: f64,
}
