//! `[train]` and `[model]` of a configuration.

use serde::{Deserialize, Serialize};

use crate::model::config::Sizes;
use crate::model::generate::Limits;
use crate::model::soft::{Distil, Divergence};
use crate::model::{DecoderConfig, Precision};

/// Where each round's student starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The base model, on all rounds' rows.
    Base,
    /// The previous round's student, on all rounds' rows.
    Previous,
}

/// `train.targets`: what of a problem's kept solutions is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    /// Every one.
    All,
    /// One of each problem ([`shortest`]).
    Shortest,
    /// Every one, with dead ends of its search ([`super::stream`]).
    Search,
}

/// `train.thoughts`: what becomes of what a model thought before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thoughts {
    /// Nothing: steps and answer are learned.
    Drop,
    /// It is learned before them, between `<think>` and `</think>`.
    Keep,
}

impl Thoughts {
    /// What is learned of a thought and what was said behind it.
    pub fn spoken(self, thought: &str, completion: String) -> String {
        match self {
            Thoughts::Keep if !thought.is_empty() => format!("<think>\n{thought}\n</think>\n\n{completion}"),
            _ => completion,
        }
    }
}

/// `train.select`: what a row counts by how often its problem's samples were correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// All rows alike.
    Uniform,
    /// A row weighs `4 p (1 - p)` more, at least [`LEARNABILITY_FLOOR`], for the pass rate p of its own
    /// round's samples (after arXiv 2502.12272, as a weight): most for what is solved half of the time. 1
    /// where its round sampled nothing of the problem.
    Learnability,
    /// Each epoch goes from the problems with the lowest newest pass rate p to those with the highest. What
    /// is kept was found by a search, so p_search (1 - p_student) is 1 - p: first what the search solves and
    /// the student never does. A problem that was never sampled stands where p is 1/2. Rows of equal p are
    /// shuffled.
    Golden,
    /// Rows of problems whose newest pass rate is below 1/2 come `train.replay_times` times in each epoch.
    Replay,
}

impl Select {
    /// Whether it goes by what samples showed.
    pub fn asks_samples(self) -> bool {
        self != Select::Uniform
    }
}

/// `train.loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenLoss {
    Ce,
    Face,
    Golden,
    Value,
    Distil,
}

/// `[train]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    pub start: Start,
    /// The last round that learns from rows of the rules, while there are others; 0 for all rounds.
    pub rules_until: u32,
    pub targets: Targets,
    /// Most steps of dead ends that a row of [`Targets::Search`] tells.
    pub dead_ends: usize,
    pub thoughts: Thoughts,
    pub select: Select,
    /// How often rows of hard problems come in an epoch ([`Select::Replay`]).
    pub replay_times: usize,
    /// Passes over the kept rows.
    pub epochs: f64,
    /// Most optimizer steps; 0 for no limit.
    pub max_steps: usize,
    /// Most tokens over all steps; 0 for no limit. Left out of fingerprints where it changes nothing, so that
    /// students from before it was there count.
    #[serde(skip_serializing_if = "crate::is_default")]
    pub max_tokens_total: u64,
    /// Rows per optimizer step.
    pub batch_size: usize,
    /// Rows that one forward pass holds: smaller needs less memory, same result.
    pub micro_batch: usize,
    /// Keep less of the forward pass and compute it again, for long rows: on the CPU all but a layer's input
    /// (a third slower), on a GPU all but matrix products.
    pub recompute: bool,
    pub learning_rate: f64,
    /// Share of the steps in which the learning rate rises.
    pub warmup: f64,
    /// Where the cosine ends, as a share of `learning_rate`.
    pub floor: f64,
    pub beta_1: f64,
    pub beta_2: f64,
    pub weight_decay: f64,
    /// Largest gradient norm; 0 for no clipping.
    pub clip: f64,
    /// Weight of prompt tokens in the loss.
    pub prompt_weight: f64,
    pub loss: TokenLoss,
    /// Least weight of a token ([`losses::Face`]).
    pub face_floor: f64,
    /// Share of the tokens that count ([`losses::Golden`]).
    pub golden_share: f64,
    /// Model directory of the reference of [`losses::Golden`]; empty for the previous round's student, or the
    /// base in round 1.
    pub reference: String,
    /// Left out of fingerprints where it is a model in this process, as it was before there was a choice.
    #[serde(default, skip_serializing_if = "crate::is_default")]
    pub teacher: TeacherAt,
    /// How many of a teacher's likeliest tokens are stored and learned, beside the sum of all others.
    pub top_k: usize,
    /// What the divergence from the teacher weighs; cross-entropy weighs the rest.
    pub distil_share: f64,
    /// Of both distributions.
    pub distil_temperature: f64,
    pub divergence: Divergence,
    /// Share of a batch's rows that the student writes itself ([`super::on_policy`]).
    pub on_policy: f64,
    /// Longest of these, in tokens.
    pub on_policy_tokens: usize,
    pub on_policy_temperature: f64,
    /// What a raise of the value by 1 adds to the weight of a step's tokens ([`losses::by_value`]).
    pub value_gain: f64,
    /// Heads that predict the tokens after the next ([`future`]).
    pub future: usize,
    /// What the sum of their losses weighs beside the next token's.
    pub future_weight: f64,
    /// Whether the student is written with them, and drafts its own answers.
    pub future_keep: bool,
    /// Rows longer than this many tokens are left out, and counted.
    pub max_tokens: usize,
    /// Share of problems whose rows measure the validation loss instead of training.
    pub validation_share: f64,
    pub validate_every: usize,
    pub checkpoint_every: usize,
    /// Rank of low-rank adapters; 0 to train the weights themselves.
    pub lora_rank: usize,
    pub lora_alpha: f64,
    /// Matrices that have adapters, of [`lora::TARGETS`].
    pub lora_targets: Vec<String>,
    /// Weights that stay as they are, of [`lora::FREEZABLE`].
    pub freeze: Vec<String>,
    /// How many of the first layers stay as they are.
    pub freeze_layers: usize,
    /// λ of a value head that is trained beside the tokens, on the paths of the search trees; 0 for none.
    pub value_weight: f64,
    /// Whether rows may ask a test question, word for word; else the caller refuses to train on them.
    pub allow_leaks: bool,
}

/// Where the teacher of [`TokenLoss::Distil`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherAt {
    /// In this process: [`ModelConfig::teacher`].
    #[default]
    Model,
    /// Behind the server of `[endpoint]`.
    Endpoint,
}

impl TrainConfig {
    /// How a student is held against its teacher.
    pub fn distil(&self) -> Distil {
        let (share, temperature) = (self.distil_share as f32, self.distil_temperature as f32);
        Distil { share, temperature, divergence: self.divergence }
    }
}

/// `[model]` of a configuration: the base model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face model directory or a GGUF file; empty to train from scratch with the sizes below.
    pub path: String,
    /// A model directory or GGUF file: what [`TokenLoss::Distil`] learns from, and what
    /// [`crate::search::Sampler::Teacher`] samples.
    pub teacher: String,
    /// From scratch: size of the vocabulary that is trained on the run's own texts.
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub context: usize,
    /// Most rows generated together.
    pub batch_rows: usize,
    /// Most memory for keys and values of rows at work, in MiB.
    pub cache_mib: usize,
    /// What a GPU computes in.
    pub dtype: Precision,
}

impl ModelConfig {
    pub fn from_scratch(&self) -> bool {
        self.path.is_empty()
    }

    /// From scratch: the decoder's shape, with a tokenizer of this size and end token.
    pub fn shape(&self, vocab_size: usize, end: Option<u32>) -> DecoderConfig {
        let sizes = Sizes {
            vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.layers,
            heads: self.heads,
            kv_heads: self.kv_heads,
            context: self.context,
        };
        DecoderConfig::llama(sizes, end)
    }

    /// How much generation works on at a time.
    pub fn limits(&self) -> Limits {
        Limits { rows: self.batch_rows, cache: self.cache_mib << 20 }
    }
}
