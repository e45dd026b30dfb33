//! Multi-token prediction in training (arXiv 2404.19737): n more heads ([`FutureHeads`]) learn the tokens t +
//! 2 .. t + n + 1 beside the next one,
//!
//! L = L_next + β Σ_k L_k,    L_k = −Σ_t m_{t+k} log p_k(x_{t+1+k} | x_1..x_t) / Σ m
//!
//! with m as in the loss of the next token and β = `train.future_weight`. The trunk runs once; then each head
//! runs forward and backward by itself, and its gradient is added up at the trunk's output, so that the
//! logits of one head are held at a time. Heads are trained in full, whatever of the decoder is frozen or
//! adapted.

use anyhow::Result;

use super::batch::Example;
use super::config::TrainConfig;
use super::optimizer::Slot;
use crate::model::DecoderConfig;
use crate::model::future_heads::FutureHeads;

/// Heads to be trained beside the decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct FutureConfig {
    pub start: FutureHeads,
    /// β
    pub weight: f32,
}

/// The heads that `[train]` asks for, drawn from a seed.
///
/// # Errors
/// A weight that is not positive.
pub fn start(config: &TrainConfig, shape: &DecoderConfig, seed: u64) -> Result<Option<FutureConfig>> {
    if config.future == 0 {
        return Ok(None);
    }
    ensure!(
        config.future_weight > 0.0 && config.future_weight.is_finite(),
        "train.future_weight is {}: give a positive number, or set train.future to 0",
        config.future_weight
    );
    Ok(Some(FutureConfig {
        start: FutureHeads::random(shape, config.future, seed),
        weight: config.future_weight as f32,
    }))
}

/// The targets of a head: inputs of some rows after which it predicts (numbered over all rows), tokens and
/// weights.
pub fn targets(rows: &[&Example], head: usize) -> (Vec<usize>, Vec<u32>, Vec<f32>) {
    let (mut places, mut tokens, mut weights, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for row in rows {
        for (place, (token, weight)) in row.tokens[1..].iter().zip(&row.weights).skip(head).enumerate() {
            if *weight > 0.0 {
                places.push(first + place);
                tokens.push(*token);
                weights.push(*weight);
            }
        }
        first += row.weights.len();
    }
    (places, tokens, weights)
}

/// `count` heads of a decoder in training as they stand in its slots.
pub fn heads(slots: &[Slot], count: usize) -> FutureHeads {
    let layer = |slots: &[Slot]| slots.iter().map(|slot| slot.values.clone()).collect();
    FutureHeads { layers: slots.chunks_exact(slots.len() / count.max(1)).map(layer).collect() }
}
