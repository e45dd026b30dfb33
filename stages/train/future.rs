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
use burn::tensor::Tensor;

use super::TrainConfig;
use super::batch::{Example, Padded};
use super::device::{filled, loss_sum};
use super::learner::Slot;
use crate::model::cpu::head::{Targets, cross_entropy};
use crate::model::cpu::trunk::Trunk;
use crate::model::cpu::{PER_LAYER, Weights};
use crate::model::future_heads::{FutureHeads, as_weights, shapes};
use crate::model::llama::{Layer, Places};
use crate::model::{Llama, LlamaConfig};

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
pub fn start(config: &TrainConfig, shape: &LlamaConfig, seed: u64) -> Result<Option<FutureConfig>> {
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

/// The heads of a decoder in training as they stand in its slots.
pub fn heads(slots: &[Slot]) -> FutureHeads {
    let layer = |slots: &[Slot]| std::array::from_fn(|part| slots[part].values.clone());
    FutureHeads { layers: slots.chunks_exact(PER_LAYER).map(layer).collect() }
}

/// Heads in training on the CPU, besides their slots.
pub struct OnCpu {
    pub weight: f32,
    pub count: usize,
    /// Gradients, in the order of the slots.
    pub sums: Vec<Vec<f32>>,
    branch: Trunk,
}

impl OnCpu {
    pub fn new(llama: &Llama, weights: &Weights, config: FutureConfig) -> (Self, Vec<Slot>) {
        let shapes = shapes(&llama.config);
        let count = config.start.layers.len();
        let slot = |(values, shape): (Vec<f32>, &[usize; 2])| {
            let zeros = vec![0.0; values.len()];
            Slot { shape: *shape, values, first: zeros.clone(), second: zeros }
        };
        let slots: Vec<Slot> =
            config.start.layers.into_iter().flatten().zip(shapes.iter().cycle()).map(slot).collect();
        let sums = slots.iter().map(|s| vec![0.0; s.values.len()]).collect();
        (Self { weight: config.weight, count, sums, branch: Trunk::new(weights, false) }, slots)
    }

    /// After the trunk's forward pass over some rows: Σ_k L_k, each weighing `1 / total`. The gradient of β
    /// times that goes to the heads' own sums, to those of the decoder's output matrix and norm (where `sums`
    /// has room for them), and to the trunk's output.
    pub fn run(
        &mut self,
        weights: &Weights,
        trunk: &mut Trunk,
        slots: &mut [Slot],
        rows: &[&Example],
        total: f32,
        sums: &mut [Vec<f32>],
    ) -> f64 {
        let (size, output, norm) = (weights.config.hidden_size, weights.head_index(), weights.norm_index());
        let mut loss = 0.0;
        for (head, (slots, own)) in
            slots.chunks_exact_mut(PER_LAYER).zip(self.sums.chunks_exact_mut(PER_LAYER)).enumerate()
        {
            let (places, tokens, mut factors) = targets(rows, head + 1);
            if places.is_empty() {
                continue;
            }
            for weight in &mut factors {
                *weight *= self.weight / total;
            }
            let layer = std::array::from_fn(|part| std::mem::take(&mut slots[part].values));
            let layer = as_weights(&weights.config, layer, weights.all[norm].clone());
            self.branch.branch(&layer, trunk);
            let chunks = self.branch.active();
            let mut hidden = Vec::with_capacity(places.len() * size);
            for &place in &places {
                hidden.extend_from_slice(super::cpu::row(chunks, place, size));
            }
            let targets = Targets { tokens: &tokens, weights: &factors };
            loss += cross_entropy(
                &mut hidden,
                &weights.all[output],
                size,
                &targets,
                Some(&mut sums[output]),
                None,
            );
            for chunk in chunks.iter_mut() {
                chunk.hidden.fill(0.0);
            }
            for (&place, gradient) in places.iter().zip(hidden.chunks_exact(size)) {
                super::cpu::row(chunks, place, size).copy_from_slice(gradient);
            }
            // In the order of the layer's weights: no embeddings, the layer, the decoder's norm.
            let mut gradients = vec![Vec::new()];
            gradients.extend(own.iter_mut().map(std::mem::take));
            gradients.push(std::mem::take(&mut sums[norm]));
            self.branch.backward(&layer, &mut gradients);
            sums[norm] = gradients.pop().unwrap_or_default();
            own.iter_mut().zip(gradients.into_iter().skip(1)).for_each(|(own, sum)| *own = sum);
            slots
                .iter_mut()
                .zip(layer.all.into_iter().skip(1))
                .for_each(|(slot, values)| slot.values = values);
            trunk.join(&self.branch);
        }
        loss / f64::from(self.weight)
    }
}

/// Future heads on the device.
#[derive(Clone, Debug)]
pub struct Future {
    /// Of each head the weights of its layer, in the order of [`crate::model::cpu::Part`].
    pub layers: Vec<[Tensor<2>; PER_LAYER]>,
    /// β
    pub weight: f32,
}

impl Future {
    /// Σ_k -Σ m_t log p_k over the targets of all heads, for the stream `[B, T, D]` of some rows and a
    /// decoder in the type that is computed in; `None` if no token has weight.
    pub fn loss_sum(
        &self,
        llama: &Llama,
        stream: &Tensor<3>,
        places: &Places,
        rows: &[&Example],
    ) -> Option<Tensor<1>> {
        let [count, len, size] = stream.dims();
        let of = |(k, layer): (usize, &[Tensor<2>; PER_LAYER])| {
            let (inputs, tokens, weights) = targets(rows, k + 1);
            if inputs.is_empty() {
                return None;
            }
            let [attention_norm, qkv, output, mlp_norm, gate_up, down] =
                layer.clone().map(|weight| weight.cast(llama.dtype));
            let branch = Llama {
                config: LlamaConfig { num_hidden_layers: 1, ..llama.config.clone() },
                layers: vec![Layer { attention_norm, qkv, output, mlp_norm, gate_up, down }],
                ..llama.clone()
            };
            let hidden =
                branch.normed(branch.through(stream.clone(), places, None)).reshape([count * len, size]);
            // Places in rows that stand one behind the other, as places in rows of one length.
            let mut starts = rows.iter().scan(0, |end, row| {
                let start = *end;
                *end += row.weights.len();
                Some((start, *end))
            });
            let (mut row, mut at) = (0, starts.next().unwrap_or_default());
            let padded = inputs.into_iter().map(|place| {
                while place >= at.1 {
                    (row, at) = (row + 1, starts.next().unwrap_or((at.1, usize::MAX)));
                }
                (row * len + place - at.0) as i64
            });
            let padded = Padded {
                rows: count,
                len,
                inputs: Vec::new(),
                places: filled(padded.collect(), 0),
                targets: filled(tokens.into_iter().map(i64::from).collect(), 0),
                weights: filled(weights, 0.0),
                values: Vec::new(),
            };
            loss_sum(&branch, &hidden, &padded, None)
        };
        let sums: Vec<Tensor<1>> = self.layers.iter().enumerate().filter_map(of).collect();
        (!sums.is_empty()).then(|| Tensor::cat(sums, 0).sum())
    }
}
