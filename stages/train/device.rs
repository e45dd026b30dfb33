//! Training on burn's tensors and its automatic differentiation: what a GPU runs, and what the CPU's own code
//! is tested against.
//!
//! Rows are padded to few lengths, so that kernels to be tried out are few. A step brings two numbers to the
//! host, loss and gradient norm. In f16 or bf16 the passes are in that type; weights, moments, sums of
//! gradients and the loss stay in f32, and gradients of f16 are scaled up by a power of two that is found as
//! training goes on.

use anyhow::Result;
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, FloatDType, GradientCheckpointingStrategy, Int, Tensor, TensorData, activation};

use super::batch::{Example, Padded, pad};
use super::future::{Future, FutureConfig};
use super::learner::{Adam, LossScale, Slot, State, Step, decays, weight_sum};
use super::lora::Tuned;
use super::losses::Objective;
use super::value::{self, HeadConfig, ValueLoss};
use crate::model::cpu::PER_LAYER;
use crate::model::fault::{Fault, Reader, guard, read, recover};
use crate::model::future_heads::shapes;
use crate::model::llama::Places;
use crate::model::{FutureHeads, Llama, ModelError, ValueHead, hf};

/// Rows are padded to a multiple of so many tokens, and so are targets.
const UNIT: usize = 16;
/// Where the scale of f16 gradients starts, and the most that it grows to.
const SCALE: f32 = 32768.0;
/// Steps without overflow after which the scale is doubled.
const CALM: usize = 500;

/// A value head on the device, and what it learns.
#[derive(Clone, Debug)]
pub struct Head {
    /// `[1, D]`
    pub weight: Tensor<2>,
    /// `[1, 1]`
    pub bias: Tensor<2>,
    pub loss: ValueLoss,
    /// λ
    pub lambda: f32,
}

impl Head {
    /// Logits `[M, 1]` in f32 of the places `[M]` of hidden states `[N, D]`.
    fn logits(&self, hidden: &Tensor<2>, places: Vec<i64>) -> Tensor<2> {
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &hidden.device());
        hidden.clone().select(0, places).cast(FloatDType::F32).matmul(self.weight.clone().transpose())
            + self.bias.clone()
    }

    /// Weighted sum of the loss over the value targets of some rows; `None` if there is nothing to sum.
    fn loss_sum(&self, hidden: &Tensor<2>, batch: &Padded, rows: &[&Example]) -> Option<Tensor<1>> {
        let targets = value::targets(rows);
        if targets.is_empty() {
            return None;
        }
        let device = hidden.device();
        // Few shapes, as for tokens: what is added weighs nothing.
        let places = filled(batch.values.clone(), 0);
        let count = places.len();
        let logits = self.logits(hidden, places);
        let column = |of: &dyn Fn(&value::Pair) -> f32, pairs: &[value::Pair]| {
            let values = filled(pairs.iter().map(of).collect(), 0.0);
            let count = values.len();
            Tensor::<2>::from_data(TensorData::new(values, [count, 1]), &device)
        };
        let each = |of: &dyn Fn(&value::Target) -> f32| {
            let values = filled(targets.iter().map(|t| of(t)).collect(), 0.0);
            Tensor::<2>::from_data(TensorData::new(values, [count, 1]), &device)
        };
        let terms = match self.loss {
            ValueLoss::Bce => {
                let target = each(&|t| t.target);
                let (yes, no) =
                    (activation::log_sigmoid(logits.clone()), activation::log_sigmoid(logits.neg()));
                (target.clone() * yes + target.neg().add_scalar(1.0) * no).neg() * each(&|t| t.weight)
            }
            ValueLoss::Mse => {
                (activation::sigmoid(logits) - each(&|t| t.target)).square() * each(&|t| t.weight)
            }
            ValueLoss::Pairwise => {
                let pairs = value::pairs(&targets);
                if pairs.is_empty() {
                    return None;
                }
                let side = |of: &dyn Fn(&value::Pair) -> usize| {
                    let indices = filled(pairs.iter().map(|p| of(p) as i64).collect(), 0);
                    let count = indices.len();
                    logits
                        .clone()
                        .select(0, Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device))
                };
                activation::log_sigmoid(side(&|p| p.better) - side(&|p| p.worse)).neg()
                    * column(&|p| p.weight, &pairs)
            }
        };
        Some(terms.sum())
    }
}

/// What is computed beside the decoder's own predictions.
#[derive(Clone, Copy, Default)]
pub struct Beside<'a> {
    pub value: Option<&'a Head>,
    pub future: Option<&'a Future>,
    /// Whether the likeliest token at each target is asked.
    pub best: bool,
}

/// Fills up to a multiple of [`UNIT`].
pub(super) fn filled<T: Clone>(mut values: Vec<T>, with: T) -> Vec<T> {
    values.resize(values.len().next_multiple_of(UNIT), with);
    values
}

/// The stream `[B, T, D]` after the last layer of some rows, padded, and where their tokens stand.
fn stream(llama: &Llama, examples: &[&Example], device: &Device) -> (Padded, Places, Tensor<3>) {
    let mut batch = pad(examples, UNIT);
    let inputs = std::mem::take(&mut batch.inputs);
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(inputs, [batch.rows, batch.len]), device);
    let places = llama.causal(batch.len, device);
    let stream = llama.stream(tokens, &places, None);
    (batch, places, stream)
}

/// Final hidden states `[B T, D]` of some rows, padded.
fn hidden(llama: &Llama, examples: &[&Example], device: &Device) -> (Padded, Tensor<2>) {
    let (batch, _, stream) = stream(llama, examples, device);
    let [rows, len, size] = stream.dims();
    (batch, llama.normed(stream).reshape([rows * len, size]))
}

/// Weighted cross-entropy summed over target tokens, -Σ m_t log p_t (the caller divides by Σ m_t of the whole
/// accumulated batch); `None` if no token has weight. With `best`: the likeliest token of each target is
/// added to the list.
pub(super) fn loss_sum(
    llama: &Llama,
    hidden: &Tensor<2>,
    batch: &Padded,
    best: Option<&mut Vec<Tensor<1>>>,
) -> Option<Tensor<1>> {
    let count = batch.targets.len();
    if count == 0 {
        return None;
    }
    let logits = target_logits(llama, hidden, batch);
    let device = hidden.device();
    if let Some(best) = best {
        let ids = logits.clone().without_autodiff().max_dim_with_indices(1).1;
        best.push(ids.cast(FloatDType::F32).reshape([count]).narrow(0, 0, real(batch)));
    }
    let weights = Tensor::<2>::from_data(TensorData::new(batch.weights.clone(), [count, 1]), &device);
    Some((target_logprobs(logits, batch, &device) * weights).sum().neg())
}

/// How many targets weigh something; what is added to fill up stands at the end.
fn real(batch: &Padded) -> usize {
    batch.weights.iter().filter(|weight| **weight > 0.0).count()
}

/// Logits `[M, V]` at the places that count: only these go through the large output product.
fn target_logits(llama: &Llama, hidden: &Tensor<2>, batch: &Padded) -> Tensor<2> {
    let places = Tensor::<1, Int>::from_data(
        TensorData::new(batch.places.clone(), [batch.places.len()]),
        &hidden.device(),
    );
    llama.logits(hidden.clone().select(0, places))
}

/// Log-probabilities `[M, 1]` of the targets.
fn target_logprobs(logits: Tensor<2>, batch: &Padded, device: &Device) -> Tensor<2> {
    let targets =
        Tensor::<2, Int>::from_data(TensorData::new(batch.targets.clone(), [batch.targets.len(), 1]), device);
    activation::log_softmax(logits, 1).gather(1, targets)
}

/// Cross-entropy at each target that weighs something, in the order of the rows.
///
/// # Errors
/// If the device fails.
pub fn token_losses(llama: &Llama, examples: &[&Example], micro: usize) -> Result<Vec<f32>, Fault> {
    guard(|| {
        let (device, llama) = (llama.device(), llama.cast());
        let mut parts = vec![Tensor::<1>::zeros([1], &device)];
        for rows in examples.chunks(micro.max(1)) {
            let (batch, hidden) = hidden(&llama, rows, &device);
            let real = real(&batch);
            if real > 0 {
                let logprobs = target_logprobs(target_logits(&llama, &hidden, &batch), &batch, &device);
                parts.push(logprobs.narrow(0, 0, real).reshape([real]).neg());
            }
        }
        Ok(read(Tensor::cat(parts, 0))?.split_off(1))
    })
}

/// Mean weighted loss over some examples, without gradients, and that of their value targets.
///
/// # Errors
/// If the device fails.
pub fn mean_losses(
    llama: &Llama,
    head: Option<&Head>,
    examples: &[&Example],
    micro: usize,
) -> Result<(f32, Option<f32>), Fault> {
    guard(|| {
        let (device, llama) = (llama.device(), llama.cast());
        let mut order: Vec<&Example> = examples.to_vec();
        order.sort_by_key(|e| e.tokens.len());
        let (mut sums, mut logits) = (vec![Tensor::<1>::zeros([1], &device)], Vec::new());
        for rows in order.chunks(micro.max(1)) {
            let (batch, hidden) = hidden(&llama, rows, &device);
            sums.extend(loss_sum(&llama, &hidden, &batch, None));
            if let Some(head) = head.filter(|_| !batch.values.is_empty()) {
                let count = batch.values.len();
                logits
                    .push(head.logits(&hidden, filled(batch.values, 0)).narrow(0, 0, count).reshape([count]));
            }
        }
        let chunks = sums.len();
        sums.extend(logits);
        let out = read(Tensor::cat(sums, 0))?;
        let loss = out[..chunks].iter().sum::<f32>() / weight_sum(examples);
        let targets = value::targets(&order);
        let value_loss = head.and_then(|head| {
            let total = value::weight_sum(head.loss, &targets);
            (total > 0.0).then(|| (value::loss_sum(head.loss, &out[chunks..], &targets).0 / total) as f32)
        });
        Ok((loss, value_loss))
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

/// Losses and gradients of a batch, all still on the device.
pub struct Gradients {
    /// Mean cross-entropy of the tokens `[1]`.
    pub loss: Tensor<1>,
    /// Mean loss of the values `[1]`, if any weigh something.
    pub value_loss: Option<Tensor<1>>,
    /// In the order of [`Llama::weights`], of what is needed.
    pub weights: Vec<Option<Tensor<2>>>,
    /// Of the value head's weight and bias, if there is one.
    pub head: Vec<Tensor<2>>,
    /// Sum of the future heads' losses `[1]`, if there are any.
    pub future_loss: Option<Tensor<1>>,
    /// Of the future heads' weights, head by head.
    pub future: Vec<Tensor<2>>,
    /// Likeliest tokens, in the order of the rows' targets that weigh something, if asked.
    pub best: Vec<Tensor<1>>,
}

/// Adds to a sum that begins with nothing.
fn add(sum: &mut Option<Tensor<2>>, new: Tensor<2>) {
    *sum = Some(match sum.take() {
        None => new,
        Some(old) => old + new,
    });
}

/// Losses and gradients of a batch.
pub fn gradients(
    llama: &Llama,
    beside: Beside<'_>,
    batch: &[&Example],
    pass: Pass,
    needs: impl Fn(usize) -> bool,
) -> Gradients {
    let Beside { value: head, future, best: asked } = beside;
    let total = weight_sum(batch);
    let values = head.map_or(0.0, |head| value::weight_sum(head.loss, &value::targets(batch)));
    let (strategy, tracked_device) = match (pass.recompute, llama.device().autodiff()) {
        (true, device) => (GradientCheckpointingStrategy::Balanced, device.gradient_checkpointing()),
        (false, device) => (GradientCheckpointingStrategy::default(), device),
    };
    let track = |weight: Tensor<2>| weight.autodiff().with_gradient_checkpointing_strategy(strategy);
    let count = llama.weights().len();
    let through = (0..count).any(&needs);
    // A decoder that stays as it is needs no backward pass, but for heads on it.
    let through = through || future.is_some();
    let device = if through { tracked_device } else { llama.device() };
    let (mut losses, mut value_losses) = (Vec::new(), Vec::new());
    let mut sum: Vec<Option<Tensor<2>>> = vec![None; count];
    let mut head_sum: Vec<Option<Tensor<2>>> = vec![None; if head.is_some() { 2 } else { 0 }];
    let mut future_sum: Vec<Option<Tensor<2>>> = vec![None; future.map_or(0, |f| f.layers.len() * PER_LAYER)];
    let (mut future_losses, mut best) = (Vec::new(), Vec::new());
    for rows in batch.chunks(pass.micro.max(1)) {
        let mut index = 0;
        let tracked = llama.map(|weight| {
            index += 1;
            match (through, needs(index - 1)) {
                (false, _) => weight,
                (true, false) => track(weight),
                (true, true) => track(weight).require_grad(),
            }
        });
        let own = head.map(|head| Head {
            weight: track(head.weight.clone()).require_grad(),
            bias: track(head.bias.clone()).require_grad(),
            ..head.clone()
        });
        let own_future = future.map(|f| Future {
            layers: f
                .layers
                .iter()
                .map(|layer| layer.clone().map(|weight| track(weight).require_grad()))
                .collect(),
            weight: f.weight,
        });
        let cast = tracked.cast();
        let (padded, places, stream) = stream(&cast, rows, &device);
        let [count, len, size] = stream.dims();
        let hidden = cast.normed(stream.clone()).reshape([count * len, size]);
        let loss =
            loss_sum(&cast, &hidden, &padded, asked.then_some(&mut best)).map(|loss| loss.div_scalar(total));
        let future_loss = own_future
            .as_ref()
            .and_then(|own| own.loss_sum(&cast, &stream, &places, rows))
            .map(|loss| loss.div_scalar(total));
        let value_loss = own
            .as_ref()
            .filter(|_| values > 0.0)
            .and_then(|own| own.loss_sum(&hidden, &padded, rows))
            .map(|loss| loss.div_scalar(values));
        losses.extend(loss.clone().map(Tensor::without_autodiff));
        value_losses.extend(value_loss.clone().map(Tensor::without_autodiff));
        future_losses.extend(future_loss.clone().map(Tensor::without_autodiff));
        let weighted = value_loss.zip(head).map(|(loss, head)| loss.mul_scalar(head.lambda));
        let ahead = future_loss.zip(future).map(|(loss, future)| loss.mul_scalar(future.weight));
        let parts = [loss.filter(|_| through), ahead, weighted];
        let Some(whole) = parts.into_iter().flatten().reduce(|a, b| a + b) else { continue };
        let mut gradients = whole.mul_scalar(pass.scale).backward();
        for (_, (weight, sum)) in
            tracked.weights().into_iter().zip(&mut sum).enumerate().filter(|(i, _)| needs(*i))
        {
            if let Some(new) = weight.grad_remove(&mut gradients) {
                add(sum, new);
            }
        }
        let beside = own.iter().flat_map(|own| [&own.weight, &own.bias]).zip(&mut head_sum);
        for (weight, sum) in
            beside.chain(own_future.iter().flat_map(|own| own.layers.iter().flatten()).zip(&mut future_sum))
        {
            if let Some(new) = weight.grad_remove(&mut gradients) {
                add(sum, new);
            }
        }
    }
    let finish = |(like, sum): (&Tensor<2>, Option<Tensor<2>>)| match sum {
        Some(sum) if pass.scale > 1.0 => sum.div_scalar(pass.scale),
        Some(sum) => sum,
        None => like.zeros_like(),
    };
    let weights = llama
        .weights()
        .into_iter()
        .zip(sum)
        .enumerate()
        .map(|(i, of)| needs(i).then(|| finish(of)))
        .collect();
    let head = head.iter().flat_map(|head| [&head.weight, &head.bias]).zip(head_sum).map(finish).collect();
    let future = future.iter().flat_map(|f| f.layers.iter().flatten()).zip(future_sum).map(finish).collect();
    let total = |losses: Vec<Tensor<1>>| (!losses.is_empty()).then(|| Tensor::cat(losses, 0).sum());
    let loss = total(losses).unwrap_or_else(|| Tensor::zeros([1], &llama.device()));
    Gradients {
        loss,
        value_loss: total(value_losses),
        weights,
        head,
        future_loss: total(future_losses),
        future,
        best,
    }
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
    /// Of the trained matrices, then of future heads, then of the value head's weight and bias.
    places: Vec<Place>,
    /// Loss and λ of the value head.
    head: Option<(ValueLoss, f32)>,
    /// Number and β of future heads.
    future: Option<(usize, f32)>,
    pub objective: Objective,
    time: usize,
    recompute: bool,
    /// Most rows that the device has room for, as far as is known.
    rows: usize,
    /// Of gradients in f16, and the steps since it changed.
    scale: LossScale,
    pub(super) reader: Reader<1>,
    notes: Vec<String>,
}

impl OnDevice {
    pub fn new(llama: &Llama, tuned: Tuned, adam: Adam, recompute: bool, head: Option<HeadConfig>) -> Self {
        let device = llama.device();
        let base =
            AdamWConfig::new().with_beta_1(adam.beta_1).with_beta_2(adam.beta_2).with_epsilon(adam.epsilon);
        let mut places: Vec<Place> = match &tuned {
            Tuned::Weights(wanted) => {
                wanted.iter().filter(|w| **w).map(|_| Place { values: None, moments: None }).collect()
            }
            Tuned::Adapters { .. } => tuned
                .first_values()
                .into_iter()
                .map(|(shape, values)| Place { values: Some(tensor(values, shape, &device)), moments: None })
                .collect(),
        };
        let head = head.map(|HeadConfig { loss, weight, start }| {
            let size = start.weight.len();
            for (values, shape) in [(start.weight, [1, size]), (vec![start.bias], [1, 1])] {
                places.push(Place { values: Some(tensor(values, shape, &device)), moments: None });
            }
            (loss, weight)
        });
        Self {
            llama: llama.clone(),
            frozen: llama.clone(),
            tuned,
            adam,
            decayed: base.clone().with_weight_decay(adam.weight_decay).build(),
            plain: base.with_weight_decay(0.0).build(),
            places,
            head,
            future: None,
            objective: Objective::Plain,
            time: 0,
            recompute,
            rows: usize::MAX,
            scale: LossScale { scale: if llama.dtype == FloatDType::F16 { SCALE } else { 1.0 }, steps: 0 },
            reader: Box::new(read),
            notes: Vec::new(),
        }
    }

    /// The same with heads that predict the tokens after the next. Unlike on the CPU, the logits of all heads
    /// are held at once.
    #[must_use]
    pub fn with_future(mut self, config: FutureConfig) -> Self {
        let device = self.llama.device();
        self.future = Some((config.start.layers.len(), config.weight));
        let all =
            config.start.layers.into_iter().flatten().zip(shapes(&self.llama.config).into_iter().cycle());
        let places =
            all.map(|(values, shape)| Place { values: Some(tensor(values, shape, &device)), moments: None });
        let at = self.places.len() - if self.head.is_some() { 2 } else { 0 };
        self.places.splice(at..at, places);
        self
    }

    /// Where the places of future heads stand.
    fn future_places(&self) -> std::ops::Range<usize> {
        let end = self.places.len() - if self.head.is_some() { 2 } else { 0 };
        end - self.future.map_or(0, |(count, _)| count * PER_LAYER)..end
    }

    /// The future heads as they stand on the device.
    fn own_future(&self) -> Option<Future> {
        let (_, weight) = self.future?;
        let values: Vec<Tensor<2>> =
            self.places[self.future_places()].iter().filter_map(|place| place.values.clone()).collect();
        let layers = values
            .chunks_exact(PER_LAYER)
            .map(|layer| std::array::from_fn(|part| layer[part].clone()))
            .collect();
        Some(Future { layers, weight })
    }

    /// A batch with the weights that the objective gives it.
    fn weighed(&mut self, batch: &[&Example], micro: usize) -> Result<Option<Vec<Example>>> {
        Ok(match &self.objective {
            Objective::Plain => None,
            Objective::Face(face) => Some(face.weigh(batch)),
            Objective::Golden(golden) => {
                let golden = golden.clone();
                let losses = loop {
                    let micro = micro.min(self.rows).min(batch.len());
                    match token_losses(&self.llama, batch, micro) {
                        Ok(losses) => break losses,
                        Err(Fault::Memory(_)) if micro > 1 => {
                            recover(&self.llama.device());
                            self.rows = micro / 2;
                        }
                        Err(fault) => return Err(ModelError::from(fault).into()),
                    }
                };
                Some(golden.choose(batch, &losses)?)
            }
        })
    }

    /// The value head as it stands on the device.
    fn own_head(&self) -> Option<Head> {
        let ((loss, lambda), [.., weight, bias]) = (self.head?, &self.places[..]) else { return None };
        Some(Head { weight: weight.values.clone()?, bias: bias.values.clone()?, loss, lambda })
    }

    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<Step> {
        // Pairs may reach over all rows of a batch.
        let whole = self.head.is_some_and(|(loss, _)| loss == ValueLoss::Pairwise);
        let given = batch;
        let weighed = self.weighed(batch, micro)?;
        let batch: &[&Example] =
            &weighed.as_ref().map_or_else(|| given.to_vec(), |weighed| weighed.iter().collect());
        let (found, best, gradients) = loop {
            let micro = if whole { batch.len() } else { micro.min(self.rows).min(batch.len()) };
            match self.attempt(batch, micro) {
                Ok((found @ Step { loss, future_loss, value_loss, norm }, best, gradients)) => {
                    ensure!(loss.is_finite(), "the loss is {loss}");
                    ensure!(
                        future_loss.is_none_or(f32::is_finite),
                        "the loss of future heads is {}",
                        future_loss.unwrap_or_default()
                    );
                    ensure!(
                        value_loss.is_none_or(f32::is_finite),
                        "the loss of values is {}",
                        value_loss.unwrap_or_default()
                    );
                    if norm.is_finite() {
                        break (found, best, gradients);
                    }
                    ensure!(self.scale.scale > 1.0, "the norm of the gradient is {norm}");
                    self.scale = LossScale { scale: self.scale.scale / 2.0, steps: 0 };
                }
                Err(fault @ Fault::Memory(_)) if whole => {
                    let error = anyhow::Error::from(ModelError::from(fault));
                    return Err(error.context("pairs need the whole batch at once: lower train.batch_size"));
                }
                Err(Fault::Memory(_)) if micro > 1 => {
                    recover(&self.llama.device());
                    self.rows = micro / 2;
                    self.notes.push(format!(
                        "the GPU has no room for {micro} rows at once: going on with {} (train.micro_batch)",
                        micro / 2
                    ));
                }
                Err(fault) => return Err(ModelError::from(fault).into()),
            }
        };
        self.scale.steps += 1;
        if self.scale.scale > 1.0 && self.scale.scale < SCALE && self.scale.steps >= CALM {
            self.scale = LossScale { scale: self.scale.scale * 2.0, steps: 0 };
        }
        let scale = self.adam.scale(found.norm);
        let (count, head) = (self.places.len(), self.head.is_some());
        let mut trained = self.trained().into_iter();
        let mut updated = Vec::with_capacity(self.places.len());
        for (i, (place, gradient)) in self.places.iter_mut().zip(gradients).enumerate() {
            let Some(weight) = trained.next() else { break };
            let gradient = if scale < 1.0 { gradient.mul_scalar(scale) } else { gradient };
            let adam = if decays(weight.dims(), i, count, head) { &self.decayed } else { &self.plain };
            let time = self.time;
            let state = place
                .moments
                .take()
                .map(|(m, v)| AdamWState { momentum: AdaptiveMomentumState::new(time, m, v) });
            let (weight, state) = adam.step(rate, weight, gradient, state);
            place.moments = state.map(|s| (s.momentum.moment_1, s.momentum.moment_2));
            updated.push(weight);
        }
        self.time += 1;
        self.put(updated);
        if let Objective::Face(face) = &mut self.objective {
            face.count(given, &best);
        }
        Ok(found)
    }

    /// Losses and gradient norm, the likeliest tokens if the objective asks, and gradients of the trained
    /// matrices, without a change of anything.
    fn attempt(
        &mut self,
        batch: &[&Example],
        micro: usize,
    ) -> Result<(Step, Vec<u32>, Vec<Tensor<2>>), Fault> {
        let pass = Pass { micro, recompute: self.recompute, scale: self.scale.scale };
        guard(|| {
            let (value, future) = (self.own_head(), self.own_future());
            let best = matches!(self.objective, Objective::Face(_));
            let beside = Beside { value: value.as_ref(), future: future.as_ref(), best };
            let all = gradients(&self.llama, beside, batch, pass, |i| self.tuned.needs(i));
            let mut gradients = self.select(all.weights);
            gradients.extend(all.future);
            gradients.extend(all.head);
            let squares = gradients.iter().map(|g| g.clone().square().sum()).collect();
            let mut found = vec![all.loss, Tensor::cat(squares, 0).sum()];
            let (valued, ahead) = (all.value_loss.is_some(), all.future_loss.is_some());
            found.extend(all.value_loss);
            found.extend(all.future_loss);
            found.extend(all.best);
            let mut out = (self.reader)(Tensor::cat(found, 0))?.into_iter();
            let mut next = || out.next().unwrap_or(f32::NAN);
            let (loss, square) = (next(), next());
            let value_loss = valued.then(&mut next);
            let future_loss = self.future.map(|(count, _)| if ahead { next() / count as f32 } else { 0.0 });
            let step = Step { loss, future_loss, value_loss, norm: square.sqrt() };
            Ok((step, out.map(|id| id as u32).collect(), gradients))
        })
    }

    /// Mean weighted loss over some examples, and that of their value targets.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mean_losses(&mut self, examples: &[&Example], micro: usize) -> Result<(f32, Option<f32>)> {
        loop {
            let micro = micro.min(self.rows).min(examples.len());
            match mean_losses(&self.llama, self.own_head().as_ref(), examples, micro) {
                Ok(losses) => return Ok(losses),
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
                    let sum = gradients[adapter.weight]
                        .clone()
                        .map(|g| g.narrow(0, adapter.rows.start, adapter.rows.len()));
                    let side = |i: usize| places[i].values.clone().map(|v: Tensor<2>| v.transpose());
                    let (a, b) = (side(0), side(1));
                    [
                        b.zip(sum.clone()).map(|(b, sum)| b.matmul(sum)),
                        a.zip(sum).map(|(a, sum)| sum.matmul(a)),
                    ]
                })
                .flatten()
                .map(|g| g.mul_scalar(*scale))
                .collect(),
        }
    }

    /// The trained matrices as they stand, the head's at the end.
    fn trained(&self) -> Vec<Tensor<2>> {
        let placed = self.places.iter().filter_map(|p| p.values.clone());
        match &self.tuned {
            Tuned::Weights(wanted) => self
                .llama
                .weights()
                .into_iter()
                .zip(wanted)
                .filter(|(_, w)| **w)
                .map(|(t, _)| t.clone())
                .chain(placed)
                .collect(),
            Tuned::Adapters { .. } => placed.collect(),
        }
    }

    fn put(&mut self, mut values: Vec<Tensor<2>>) {
        if self.head.is_some() {
            let first = values.len().saturating_sub(2);
            let places = self.places.iter_mut().skip(first);
            places.zip(values.split_off(first)).for_each(|(place, value)| place.values = Some(value));
        }
        let ahead = self.future_places();
        let of_heads = values.split_off(values.len() - ahead.len());
        self.places[ahead].iter_mut().zip(of_heads).for_each(|(place, value)| place.values = Some(value));
        match &self.tuned {
            Tuned::Weights(wanted) => {
                let (mut values, mut wanted) = (values.into_iter(), wanted.iter());
                self.llama = self
                    .llama
                    .map(|old| if wanted.next() == Some(&true) { values.next().unwrap_or(old) } else { old });
            }
            Tuned::Adapters { adapters, scale, .. } => {
                for (place, value) in self.places.iter_mut().zip(values) {
                    place.values = Some(value);
                }
                let mut index = 0;
                self.llama = self.frozen.map(|mut weight| {
                    for (adapter, places) in
                        adapters.iter().zip(self.places.chunks_exact(2)).filter(|(a, _)| a.weight == index)
                    {
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

    pub fn head(&self) -> Option<ValueHead> {
        let head = self.own_head()?;
        Some(ValueHead { weight: hf::values(&head.weight), bias: hf::values(&head.bias).first().copied()? })
    }

    /// The future heads as they stand, if there are any.
    pub fn future(&self) -> Option<FutureHeads> {
        let layers = self.own_future()?.layers;
        Some(FutureHeads { layers: layers.iter().map(|layer| layer.each_ref().map(hf::values)).collect() })
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
        State {
            slots,
            time: self.time,
            counts: Vec::new(),
            scale: (self.llama.dtype == FloatDType::F16).then_some(self.scale),
        }
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
        self.scale = state.scale.unwrap_or(self.scale);
        self.put(values);
    }

    pub fn llama(&self) -> Llama {
        self.llama.clone()
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
