//! One optimizer step: loss, gradients over replicas and accumulated micro-batches, clipping, AdamW.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::batch::{Example, pad};
use crate::model::Llama;

/// Weighted cross-entropy summed over targets, and the sum of their weights:
/// L = -Σ m_t log p_t (the caller divides by Σ m_t of the whole accumulated batch).
fn loss_sum(llama: &Llama, examples: &[&Example], device: &Device) -> Tensor<1> {
    let batch = pad(examples);
    let count = batch.targets.len();
    let ints = |data: Vec<i64>, shape: Vec<usize>| TensorData::new(data, shape);
    let tokens = Tensor::<2, Int>::from_data(ints(batch.inputs, vec![batch.rows, batch.len]), device);
    let hidden = llama.hidden(tokens, &llama.causal(batch.len, device), None);
    let [rows, len, size] = hidden.dims();
    let places = Tensor::<1, Int>::from_data(ints(batch.places, vec![count]), device);
    // Only places that count go through the large output product.
    let logits = llama.logits(hidden.reshape([rows * len, size]).select(0, places));
    let targets = Tensor::<2, Int>::from_data(ints(batch.targets, vec![count, 1]), device);
    let weights = Tensor::<2>::from_data(TensorData::new(batch.weights, [count, 1]), device);
    (activation::log_softmax(logits, 1).gather(1, targets) * weights).sum().neg()
}

/// Mean weighted loss over some examples, without gradients.
pub fn mean_loss(llama: &Llama, examples: &[&Example], batch_size: usize) -> f32 {
    let device = llama.device();
    let mut order: Vec<&Example> = examples.to_vec();
    order.sort_by_key(|e| e.tokens.len());
    let total: f32 = order.chunks(batch_size).map(|chunk| loss_sum(llama, chunk, &device).into_scalar::<f32>()).sum();
    total / weight_sum(examples)
}

fn weight_sum(examples: &[&Example]) -> f32 {
    examples.iter().flat_map(|e| &e.weights).sum::<f32>().max(f32::MIN_POSITIVE)
}

/// Loss and gradients (in the order of [`Llama::weights`]) of a batch, divided over `replicas` threads
/// and then into micro-batches of at most `micro` rows. Sums are taken in a fixed order.
pub fn gradients(llama: &Llama, batch: &[&Example], replicas: usize, micro: usize) -> (f32, Vec<Tensor<2>>) {
    let total = weight_sum(batch);
    let device = llama.device().autodiff();
    let run = |share: &[&Example]| -> (f32, Option<Vec<Tensor<2>>>) {
        let mut loss_total = 0.0;
        let mut sum: Option<Vec<Tensor<2>>> = None;
        for rows in share.chunks(micro.max(1)) {
            let tracked = llama.map(|t| t.autodiff().require_grad());
            let loss = loss_sum(&tracked, rows, &device).div_scalar(total);
            let mut gradients = loss.backward();
            loss_total += loss.into_scalar::<f32>();
            let new: Vec<Tensor<2>> = tracked
                .weights()
                .into_iter()
                .map(|w| w.grad_remove(&mut gradients).unwrap_or_else(|| w.clone().without_autodiff().zeros_like()))
                .collect();
            sum = Some(match sum {
                None => new,
                Some(old) => old.into_iter().zip(new).map(|(a, b)| a + b).collect(),
            });
        }
        (loss_total, sum)
    };
    // Rows are dealt out in turn, so that each replica gets short and long ones.
    let replicas = replicas.clamp(1, batch.len());
    let shares: Vec<Vec<&Example>> = (0..replicas).map(|r| batch.iter().skip(r).step_by(replicas).copied().collect()).collect();
    let results: Vec<_> = if replicas == 1 {
        vec![run(&shares[0])]
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = shares.iter().map(|share| scope.spawn(|| run(share))).collect();
            handles.into_iter().map(|h| h.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    };
    let mut loss = 0.0;
    let mut sum: Option<Vec<Tensor<2>>> = None;
    for (part, gradients) in results {
        loss += part;
        sum = match (sum, gradients) {
            (Some(a), Some(b)) => Some(a.into_iter().zip(b).map(|(a, b)| a + b).collect()),
            (a, b) => a.or(b),
        };
    }
    (loss, sum.unwrap_or_default())
}

/// AdamW (arXiv 1711.05101) over a decoder's weights; decay on matrices, none on norms.
pub struct Optimizer {
    decayed: AdamW,
    plain: AdamW,
    clip: f32,
    /// First and second moments, in the order of [`Llama::weights`]; empty before the first step.
    pub moments: Vec<(Tensor<2>, Tensor<2>)>,
    pub time: usize,
}

impl Optimizer {
    /// `clip`: largest global gradient norm; 0 for no clipping.
    pub fn new(beta_1: f32, beta_2: f32, weight_decay: f32, clip: f32) -> Self {
        let base = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(1e-8);
        Self {
            decayed: base.clone().with_weight_decay(weight_decay).build(),
            plain: base.with_weight_decay(0.0).build(),
            clip,
            moments: Vec::new(),
            time: 0,
        }
    }

    /// Updates the weights; returns them and the gradient's global norm before clipping.
    pub fn step(&mut self, llama: &Llama, gradients: Vec<Tensor<2>>, learning_rate: f64) -> (Llama, f32) {
        let norm = gradients.iter().map(|g| g.clone().square().sum().into_scalar::<f32>()).sum::<f32>().sqrt();
        let scale = if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 };
        let mut old = std::mem::take(&mut self.moments).into_iter();
        let mut gradients = gradients.into_iter();
        let (time, moments) = (self.time, &mut self.moments);
        let updated = llama.map(|weight| {
            let Some(gradient) = gradients.next() else { return weight };
            let gradient = if scale < 1.0 { gradient.mul_scalar(scale) } else { gradient };
            let adam = if weight.dims()[0] == 1 { &self.plain } else { &self.decayed };
            let state = old.next().map(|(m, v)| AdamWState { momentum: AdaptiveMomentumState::new(time, m, v) });
            let (weight, state) = adam.step(learning_rate, weight, gradient, state);
            if let Some(state) = state {
                moments.push((state.momentum.moment_1, state.momentum.moment_2));
            }
            weight
        });
        self.time += 1;
        (updated, norm)
    }
}

/// Learning rate at a step (from 0): linear warm-up, then a cosine down to `floor` times the peak.
pub fn learning_rate(peak: f64, step: usize, steps: usize, warmup: usize, floor: f64) -> f64 {
    if step < warmup {
        return peak * (step + 1) as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / (steps.saturating_sub(warmup)).max(1) as f64;
    peak * (floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos()))
}
