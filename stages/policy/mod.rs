//! Who proposes solution steps.

use std::fmt;

use datasets::Domain;
use datasets::domain::State;
use datasets::types::{End, Problem, Step};
use serde::{Deserialize, Serialize};

use crate::events::Events;

pub mod endpoint;
pub mod model;
mod prompt;
pub mod rules;

pub use prompt::{Prompt, PromptConfig, check_question};

/// One question to a policy: continue these steps, once for every seed.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    pub problem: &'a Problem,
    /// Steps already taken; empty at the start.
    pub steps: &'a [String],
    /// One proposal per seed. A seed is unique within the run: the random draws of its proposal
    /// are a function of it alone.
    pub seeds: &'a [u64],
}

/// A state as a value model is asked about it.
#[derive(Clone, Copy)]
pub struct ValueQuery<'a> {
    pub problem: &'a Problem,
    pub domain: &'a dyn Domain,
    /// The steps so far.
    pub steps: &'a [String],
    /// The same as numbers, where the domain follows the steps.
    pub state: Option<&'a State>,
    /// The answer, if the path ends with one.
    pub answer: Option<&'a str>,
}

/// How far one proposal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// One step.
    Step,
    /// Until the final answer, or the token limit.
    Path,
}

/// How proposals are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Nucleus: smallest set of tokens with at least this probability; 1 keeps all.
    pub top_p: f32,
    /// Only the k likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Most tokens a proposal may have.
    pub max_tokens: usize,
    /// The tool: once the policy has written `48/2=`, the result is filled in for it.
    pub calculator: bool,
}

/// What a policy proposes: steps, and the final answer if it gave one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    pub steps: Vec<Step>,
    /// Empty if none was given.
    pub final_answer: String,
    /// Natural log of the probability that the policy gave to the answer's tokens, if it tells.
    pub answer_logprob: Option<f32>,
    pub end: End,
    /// Tokens generated, the calculator's included.
    pub tokens: u32,
    /// What the model thought before it said anything: neither a step nor an answer.
    pub thought: String,
    /// Those of the tokens that it thought.
    pub thought_tokens: u32,
}

/// Proposes steps. One batched call: for each ask, one proposal per seed, in order.
pub trait Policy {
    /// `rules`, `model` or `endpoint`: the `policy` column.
    fn kind(&self) -> &'static str;

    /// What its proposals depend on besides the ask: rules and versions, weights, endpoint settings.
    fn fingerprint(&self) -> String;

    /// Whether its steps are all that the domain's rules allow, so that a search enumerates them instead of
    /// asking.
    fn enumerates(&self) -> bool {
        false
    }

    /// Floating-point operations to read or write one token: 2 for each parameter. 0 if it does not tell.
    fn flops_per_token(&self) -> u64 {
        0
    }

    /// Tokens that it reads before the first step of a problem.
    ///
    /// # Errors
    /// If the problem cannot be put to it.
    fn prompt_tokens(&self, _problem: &Problem) -> anyhow::Result<u64> {
        Ok(0)
    }

    /// Estimated probability that each state leads to a correct answer, and how many tokens were new to it
    /// there.
    ///
    /// # Errors
    /// If it has no value head.
    fn values(
        &mut self,
        _queries: &[ValueQuery<'_>],
        _events: &dyn Events,
    ) -> anyhow::Result<Vec<(f32, u64)>> {
        bail!(
            "the policy has no value head: train one (train.value_weight), or use a separate value model \
             ([value])"
        )
    }

    /// Names what the next calls belong to, such as a shard: what is stored of it is stored together.
    fn belongs(&mut self, _label: &str) {}

    /// For how many problems it should be told beforehand what it will be asked, so that whoever answers it
    /// need not wait.
    fn ahead(&self) -> usize {
        0
    }

    /// Proposals that will be asked for in a later call, with the same asks; it may begin with them.
    fn expect(&mut self, _asks: &[Ask<'_>], _horizon: Horizon, _sampling: &Sampling) {}

    /// Draws proposals. While it does it may tell `events` of tokens, and of asks that are answered
    /// ([`Events::partly`]).
    ///
    /// # Errors
    /// Those of the model or server; [`crate::Cancelled`].
    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        sampling: &Sampling,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<Vec<Proposal>>>;
}

/// One chat turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        })
    }
}

/// The assistant turn of a training row: a line per step, then the answer line.
pub fn completion<S: AsRef<str>>(steps: &[S], final_answer: &str) -> String {
    steps.iter().map(|step| format!("{}\n", step.as_ref())).collect::<String>() + "#### " + final_answer
}
