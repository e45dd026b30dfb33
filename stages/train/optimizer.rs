//! AdamW, and what a step of it reads and changes: matrices with their moments, learning rate, the scale of
//! gradients in f16.

use serde::{Deserialize, Serialize};

use super::batch::Example;
use super::config::TrainConfig;

/// AdamW's constants (arXiv 1711.05101); decay on matrices, none on norms and biases.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    pub weight_decay: f32,
    /// Largest global gradient norm; 0 for no clipping.
    pub clip: f32,
}

impl Adam {
    pub fn of(config: &TrainConfig) -> Self {
        let of = |x: f64| x as f32;
        Self {
            beta_1: of(config.beta_1),
            beta_2: of(config.beta_2),
            epsilon: 1e-8,
            weight_decay: of(config.weight_decay),
            clip: of(config.clip),
        }
    }

    /// What gradients of this global norm are multiplied by.
    pub fn scale(&self, norm: f32) -> f32 {
        if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 }
    }
}

/// One trained matrix and its moments, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    pub shape: [usize; 2],
    pub values: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

/// What gradients in f16 are multiplied by, and the steps since that changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    pub scale: f32,
    pub steps: usize,
}

/// Everything that a step changes: trained matrices in the order of [`Tuned`], then those of future heads in
/// their order, then the value head's weight `[1, D]` and bias `[1, 1]` if there is one, and the count of
/// steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub slots: Vec<Slot>,
    pub time: usize,
    /// How often each token was predicted, for a loss that goes by it ([`Objective::counts`]); else empty.
    pub counts: Vec<u64>,
    /// On a GPU that computes in f16.
    pub scale: Option<LossScale>,
}

/// What a step found before it changed the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// -Σ m_t log p_t / Σ m_t over the whole batch, with m_t as the [`Objective`] makes it; 0 if no token has
    /// weight.
    pub loss: f32,
    /// Mean of the future heads' losses, if there are any.
    pub future_loss: Option<f32>,
    /// Weighted mean loss of the value targets, if there is a head and they weigh something.
    pub value_loss: Option<f32>,
    /// Global norm of the gradient of everything that is minimised, before clipping.
    pub norm: f32,
}

/// Whether weight decay applies to a matrix, given how many stand before it and how many there are. The
/// head's weight has one row, but is no norm.
pub(super) fn decays(shape: [usize; 2], index: usize, count: usize, head: bool) -> bool {
    shape[0] != 1 || (head && index + 2 == count)
}

/// Sum of the weights of all target tokens, and a little more than 0 if none has any: their loss is then 0.
pub fn weight_sum(examples: &[&Example]) -> f32 {
    examples.iter().flat_map(|e| &e.weights).sum::<f32>().max(f32::MIN_POSITIVE)
}

/// Learning rate at a step (from 0): linear warm-up, then a cosine down to `floor` times the peak.
pub fn learning_rate(peak: f64, step: usize, steps: usize, warmup: usize, floor: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / (steps.saturating_sub(warmup)).max(1) as f64;
    peak * (floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos()))
}
