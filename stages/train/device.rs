//! Training on burn's tensors and its automatic differentiation: what a GPU runs, and what the CPU's own code is tested against.

use anyhow::Result;
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::batch::{Example, pad};
use super::learner::{Adam, Slot, State, weight_sum};
use super::lora::Tuned;
use crate::model::{Llama, hf};

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
pub fn mean_loss(llama: &Llama, examples: &[&Example], micro: usize) -> f32 {
    let device = llama.device();
    let mut order: Vec<&Example> = examples.to_vec();
    order.sort_by_key(|e| e.tokens.len());
    let total: f32 = order.chunks(micro.max(1)).map(|chunk| loss_sum(llama, chunk, &device).into_scalar::<f32>()).sum();
    total / weight_sum(examples)
}

/// Loss and gradients (in the order of [`Llama::weights`]) of a batch, in micro-batches of at most `micro` rows.
pub fn gradients(llama: &Llama, batch: &[&Example], micro: usize) -> (f32, Vec<Tensor<2>>) {
    let total = weight_sum(batch);
    let device = llama.device().autodiff();
    let mut loss_total = 0.0;
    let mut sum: Option<Vec<Tensor<2>>> = None;
    for rows in batch.chunks(micro.max(1)) {
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
    (loss_total, sum.unwrap_or_default())
}

/// A trained matrix and its moments on the device.
struct Place {
    /// Empty for a weight of the decoder itself: its values stand there.
    values: Option<Tensor<2>>,
    moments: Option<(Tensor<2>, Tensor<2>)>,
}

/// A decoder in training on burn's tensors.
pub struct OnDevice {
    /// What the decoder runs on: adapters merged.
    llama: Llama,
    /// The decoder under adapters, as it was before.
    frozen: Llama,
    tuned: Tuned,
    adam: Adam,
    decayed: AdamW,
    plain: AdamW,
    places: Vec<Place>,
    time: usize,
}

impl OnDevice {
    pub fn new(llama: &Llama, tuned: Tuned, adam: Adam) -> Self {
        let device = llama.device();
        let base = AdamWConfig::new().with_beta_1(adam.beta_1).with_beta_2(adam.beta_2).with_epsilon(adam.epsilon);
        let places = match &tuned {
            Tuned::Weights(wanted) => wanted.iter().filter(|w| **w).map(|_| Place { values: None, moments: None }).collect(),
            Tuned::Adapters { .. } => tuned
                .first_values()
                .into_iter()
                .map(|(shape, values)| Place { values: Some(tensor(values, shape, &device)), moments: None })
                .collect(),
        };
        Self {
            llama: llama.clone(),
            frozen: llama.clone(),
            tuned,
            adam,
            decayed: base.clone().with_weight_decay(adam.weight_decay).build(),
            plain: base.with_weight_decay(0.0).build(),
            places,
            time: 0,
        }
    }

    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<(f32, f32)> {
        let (loss, gradients) = gradients(&self.llama, batch, micro);
        ensure!(loss.is_finite(), "the loss is {loss}");
        let gradients = self.select(gradients);
        let norm = gradients.iter().map(|g| g.clone().square().sum().into_scalar::<f32>()).sum::<f32>().sqrt();
        let scale = self.adam.scale(norm);
        let mut trained = self.trained().into_iter();
        let mut updated = Vec::with_capacity(self.places.len());
        for (place, gradient) in self.places.iter_mut().zip(gradients) {
            let Some(weight) = trained.next() else { break };
            let gradient = if scale < 1.0 { gradient.mul_scalar(scale) } else { gradient };
            let adam = if weight.dims()[0] == 1 { &self.plain } else { &self.decayed };
            let time = self.time;
            let state = place.moments.take().map(|(m, v)| AdamWState { momentum: AdaptiveMomentumState::new(time, m, v) });
            let (weight, state) = adam.step(rate, weight, gradient, state);
            place.moments = state.map(|s| (s.momentum.moment_1, s.momentum.moment_2));
            updated.push(weight);
        }
        self.time += 1;
        self.put(updated);
        Ok((loss, norm))
    }

    pub fn mean_loss(&self, examples: &[&Example], micro: usize) -> f32 {
        mean_loss(&self.llama, examples, micro)
    }

    /// Gradients of the trained matrices.
    fn select(&self, gradients: Vec<Tensor<2>>) -> Vec<Tensor<2>> {
        match &self.tuned {
            Tuned::Weights(wanted) => gradients.into_iter().zip(wanted).filter(|(_, w)| **w).map(|(g, _)| g).collect(),
            Tuned::Adapters { adapters, scale, .. } => adapters
                .iter()
                .zip(self.places.chunks_exact(2))
                .flat_map(|(adapter, places)| {
                    let sum = gradients[adapter.weight].clone().narrow(0, adapter.rows.start, adapter.rows.len());
                    let side = |i: usize| places[i].values.clone().map(|v: Tensor<2>| v.transpose());
                    let (a, b) = (side(0), side(1));
                    [b.map(|b| b.matmul(sum.clone())), a.map(|a| sum.matmul(a))]
                })
                .flatten()
                .map(|g| g.mul_scalar(*scale))
                .collect(),
        }
    }

    /// The trained matrices as they stand.
    fn trained(&self) -> Vec<Tensor<2>> {
        match &self.tuned {
            Tuned::Weights(wanted) => self.llama.weights().into_iter().zip(wanted).filter(|(_, w)| **w).map(|(t, _)| t.clone()).collect(),
            Tuned::Adapters { .. } => self.places.iter().filter_map(|p| p.values.clone()).collect(),
        }
    }

    fn put(&mut self, values: Vec<Tensor<2>>) {
        match &self.tuned {
            Tuned::Weights(wanted) => {
                let (mut values, mut wanted) = (values.into_iter(), wanted.iter());
                self.llama = self.llama.map(|old| if wanted.next() == Some(&true) { values.next().unwrap_or(old) } else { old });
            }
            Tuned::Adapters { adapters, scale, .. } => {
                for (place, value) in self.places.iter_mut().zip(values) {
                    place.values = Some(value);
                }
                let mut index = 0;
                self.llama = self.frozen.map(|mut weight| {
                    for (adapter, places) in adapters.iter().zip(self.places.chunks_exact(2)).filter(|(a, _)| a.weight == index) {
                        if let (Some(a), Some(b)) = (places[0].values.clone(), places[1].values.clone()) {
                            let columns = weight.dims()[1];
                            let at = [adapter.rows.clone(), 0..columns];
                            let sum = weight.clone().slice(at.clone()) + b.matmul(a).mul_scalar(*scale);
                            weight = weight.slice_assign(at, sum);
                        }
                    }
                    index += 1;
                    weight
                });
            }
        }
    }

    pub fn time(&self) -> usize {
        self.time
    }

    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    pub fn state(&self) -> State {
        let slots = self
            .trained()
            .iter()
            .zip(&self.places)
            .map(|(weight, place)| {
                let shape = weight.dims();
                let (first, second) = match &place.moments {
                    Some((m, v)) => (hf::values(m), hf::values(v)),
                    None => (vec![0.0; shape[0] * shape[1]], vec![0.0; shape[0] * shape[1]]),
                };
                Slot { shape, values: hf::values(weight), first, second }
            })
            .collect();
        State { slots, time: self.time }
    }

    /// Shapes are the caller's to check.
    pub fn restore(&mut self, state: State) {
        let device = self.llama.device();
        let mut values = Vec::with_capacity(self.places.len());
        for (place, slot) in self.places.iter_mut().zip(state.slots) {
            let moments = (tensor(slot.first, slot.shape, &device), tensor(slot.second, slot.shape, &device));
            place.moments = (state.time > 0).then_some(moments);
            values.push(tensor(slot.values, slot.shape, &device));
        }
        self.time = state.time;
        self.put(values);
    }

    pub fn llama(&self) -> Llama {
        self.llama.clone()
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
