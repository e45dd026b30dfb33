//! Training on burn's tensors and its automatic differentiation: what a GPU runs, and what the CPU's own code is tested against.
//!
//! Rows are padded to few lengths, so that kernels to be tried out are few. A step brings
//! two numbers to the host, loss and gradient norm. In f16 or bf16 the passes are in that type; weights, moments, sums of
//! gradients and the loss stay in f32, and gradients of f16 are scaled up by a power of two that is found as training goes on.

use anyhow::Result;
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, FloatDType, GradientCheckpointingStrategy, Int, Tensor, TensorData, activation};

use super::batch::{Example, pad};
use super::learner::{Adam, Slot, State, weight_sum};
use super::lora::Tuned;
use crate::model::fault::{Fault, Reader, guard, read, recover};
use crate::model::{Llama, ModelError, hf};

/// Rows are padded to a multiple of so many tokens, and so are targets.
const UNIT: usize = 16;
/// Where the scale of f16 gradients starts, and the most that it grows to.
const SCALE: f32 = 32768.0;
/// Steps without overflow after which the scale is doubled.
const CALM: usize = 500;

/// Weighted cross-entropy summed over targets, and the sum of their weights:
/// L = -Σ m_t log p_t (the caller divides by Σ m_t of the whole accumulated batch).
fn loss_sum(llama: &Llama, examples: &[&Example], device: &Device) -> Tensor<1> {
    let batch = pad(examples, UNIT);
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
///
/// # Errors
/// If the device fails.
pub fn mean_loss(llama: &Llama, examples: &[&Example], micro: usize) -> Result<f32, Fault> {
    guard(|| {
        let (device, llama) = (llama.device(), llama.cast());
        let mut order: Vec<&Example> = examples.to_vec();
        order.sort_by_key(|e| e.tokens.len());
        let sums: Vec<Tensor<1>> = order.chunks(micro.max(1)).map(|chunk| loss_sum(&llama, chunk, &device)).collect();
        Ok(read(Tensor::cat(sums, 0))?.iter().sum::<f32>() / weight_sum(examples))
    })
}

/// How gradients are computed.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Most rows at once.
    pub micro: usize,
    /// Keep less of the forward pass, and compute it again.
    pub recompute: bool,
    /// What the loss is multiplied by on its way back.
    pub scale: f32,
}

/// Loss and gradients of a batch, both still on the device; gradients (in the order of [`Llama::weights`]) of what is needed.
pub fn gradients(llama: &Llama, batch: &[&Example], pass: Pass, needs: impl Fn(usize) -> bool) -> (Tensor<1>, Vec<Option<Tensor<2>>>) {
    let total = weight_sum(batch);
    let (strategy, device) = match (pass.recompute, llama.device().autodiff()) {
        (true, device) => (GradientCheckpointingStrategy::Balanced, device.gradient_checkpointing()),
        (false, device) => (GradientCheckpointingStrategy::default(), device),
    };
    let mut losses = Vec::new();
    let mut sum: Vec<Option<Tensor<2>>> = vec![None; llama.weights().len()];
    for rows in batch.chunks(pass.micro.max(1)) {
        let mut index = 0;
        let tracked = llama.map(|weight| {
            index += 1;
            let weight = weight.autodiff().with_gradient_checkpointing_strategy(strategy);
            if needs(index - 1) { weight.require_grad() } else { weight }
        });
        let loss = loss_sum(&tracked.cast(), rows, &device).div_scalar(total);
        let mut gradients = loss.clone().mul_scalar(pass.scale).backward();
        losses.push(loss.without_autodiff());
        for (_, (weight, sum)) in tracked.weights().into_iter().zip(&mut sum).enumerate().filter(|(i, _)| needs(*i)) {
            let new = weight.grad_remove(&mut gradients).unwrap_or_else(|| weight.clone().without_autodiff().zeros_like());
            *sum = Some(match sum.take() {
                None => new,
                Some(old) => old + new,
            });
        }
    }
    if pass.scale > 1.0 {
        sum = sum.into_iter().map(|g| g.map(|g| g.div_scalar(pass.scale))).collect();
    }
    (Tensor::cat(losses, 0).sum(), sum)
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
    recompute: bool,
    /// Most rows that the device has room for, as far as is known.
    rows: usize,
    /// Of gradients in f16, and the steps since it changed.
    scale: (f32, usize),
    pub(super) reader: Reader<1>,
    notes: Vec<String>,
}

impl OnDevice {
    pub fn new(llama: &Llama, tuned: Tuned, adam: Adam, recompute: bool) -> Self {
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
            recompute,
            rows: usize::MAX,
            scale: (if llama.dtype == FloatDType::F16 { SCALE } else { 1.0 }, 0),
            reader: Box::new(read),
            notes: Vec::new(),
        }
    }

    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<(f32, f32)> {
        let (loss, norm, gradients) = loop {
            let micro = micro.min(self.rows).min(batch.len());
            match self.attempt(batch, micro) {
                Ok((loss, norm, gradients)) => {
                    ensure!(loss.is_finite(), "the loss is {loss}");
                    if norm.is_finite() {
                        break (loss, norm, gradients);
                    }
                    ensure!(self.scale.0 > 1.0, "the norm of the gradient is {norm}");
                    self.scale = (self.scale.0 / 2.0, 0);
                }
                Err(Fault::Memory(_)) if micro > 1 => {
                    recover(&self.llama.device());
                    self.rows = micro / 2;
                    self.notes
                        .push(format!("the GPU has no room for {micro} rows at once: going on with {} (train.micro_batch)", micro / 2));
                }
                Err(fault) => return Err(ModelError::from(fault).into()),
            }
        };
        self.scale.1 += 1;
        if self.scale.0 > 1.0 && self.scale.0 < SCALE && self.scale.1 >= CALM {
            self.scale = (self.scale.0 * 2.0, 0);
        }
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

    /// Loss, gradient norm and gradients of the trained matrices, without a change of anything.
    fn attempt(&mut self, batch: &[&Example], micro: usize) -> Result<(f32, f32, Vec<Tensor<2>>), Fault> {
        let pass = Pass { micro, recompute: self.recompute, scale: self.scale.0 };
        guard(|| {
            let (loss, all) = gradients(&self.llama, batch, pass, |i| self.tuned.needs(i));
            let gradients = self.select(all);
            let squares = gradients.iter().map(|g| g.clone().square().sum()).collect();
            let out = (self.reader)(Tensor::cat(vec![loss, Tensor::cat(squares, 0).sum()], 0))?;
            Ok((out[0], out[1].sqrt(), gradients))
        })
    }

    /// Mean weighted loss over some examples.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mean_loss(&mut self, examples: &[&Example], micro: usize) -> Result<f32> {
        loop {
            let micro = micro.min(self.rows).min(examples.len());
            match mean_loss(&self.llama, examples, micro) {
                Ok(loss) => return Ok(loss),
                Err(Fault::Memory(_)) if micro > 1 => {
                    recover(&self.llama.device());
                    self.rows = micro / 2;
                }
                Err(fault) => return Err(ModelError::from(fault).into()),
            }
        }
    }

    /// What there is to say since the last time.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Gradients of the trained matrices.
    fn select(&self, gradients: Vec<Option<Tensor<2>>>) -> Vec<Tensor<2>> {
        match &self.tuned {
            Tuned::Weights(_) => gradients.into_iter().flatten().collect(),
            Tuned::Adapters { adapters, scale, .. } => adapters
                .iter()
                .zip(self.places.chunks_exact(2))
                .flat_map(|(adapter, places)| {
                    let sum = gradients[adapter.weight].clone().map(|g| g.narrow(0, adapter.rows.start, adapter.rows.len()));
                    let side = |i: usize| places[i].values.clone().map(|v: Tensor<2>| v.transpose());
                    let (a, b) = (side(0), side(1));
                    [b.zip(sum.clone()).map(|(b, sum)| b.matmul(sum)), a.zip(sum).map(|(a, sum)| sum.matmul(a))]
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
