//! Training on burn's tensors and its automatic differentiation: what a GPU runs, and what the CPU's own code
//! is tested against.
//!
//! Rows are padded to few lengths, so that kernels to be tried out are few. A step brings two numbers to the
//! host, loss and gradient norm. In f16 or bf16 the passes are in that type; weights, moments, sums of
//! gradients and the loss stay in f32, and gradients of f16 are scaled up by a power of two that is found as
//! training goes on.

use anyhow::Result;
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::batch::Example;
use super::future::FutureConfig;
use super::lora::{Setup, Tuned};
use super::losses::Objective;
use super::optimizer::{Adam, LossScale, Step, decays};
use super::value::{HeadConfig, ValueLoss};
use crate::model::fault::{DeviceFault, Reader, guard, read, recover};
use crate::model::{Decoder, FutureHeads, ModelError, ValueHead, tensors};

mod backward;
mod future;
mod losses;
mod matrices;

pub use backward::{AuxLosses, Gradients, Pass, gradients};
pub use future::Future;
pub use losses::{Head, likeliest, mean_losses, token_losses};

const SCALE: f32 = 32768.0;
/// Steps without overflow after which the scale is doubled.
const CALM: usize = 500;

/// A value head on the device, and what it learns.
/// A trained matrix and its moments on the device.
struct TrainedMatrix {
    /// Empty for a weight of the decoder itself: its values stand there.
    values: Option<Tensor<2>>,
    moments: Option<(Tensor<2>, Tensor<2>)>,
}

/// A decoder in training on burn's tensors.
pub struct OnDevice {
    /// What the decoder runs on: adapters merged.
    decoder: Decoder,
    /// The decoder under adapters, as it was before.
    frozen: Decoder,
    tuned: Tuned,
    adam: Adam,
    decayed: AdamW,
    plain: AdamW,
    /// Of the trained matrices, then of future heads, then of the value head's weight and bias.
    places: Vec<TrainedMatrix>,
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
    pub fn new(decoder: &Decoder, setup: Setup) -> Self {
        let Setup { tuned, adam, recompute, head } = setup;
        let device = decoder.device();
        let base =
            AdamWConfig::new().with_beta_1(adam.beta_1).with_beta_2(adam.beta_2).with_epsilon(adam.epsilon);
        let mut places: Vec<TrainedMatrix> = match &tuned {
            Tuned::Weights(wanted) => {
                wanted.iter().filter(|w| **w).map(|_| TrainedMatrix { values: None, moments: None }).collect()
            }
            Tuned::Adapters { .. } => tuned
                .first_values()
                .into_iter()
                .map(|(shape, values)| TrainedMatrix {
                    values: Some(tensor(values, shape, &device)),
                    moments: None,
                })
                .collect(),
        };
        let head = head.map(|HeadConfig { loss, weight, start }| {
            let size = start.weight.len();
            for (values, shape) in [(start.weight, [1, size]), (vec![start.bias], [1, 1])] {
                places.push(TrainedMatrix { values: Some(tensor(values, shape, &device)), moments: None });
            }
            (loss, weight)
        });
        let decoder = decoder.map(|weight| weight.cast(FloatDType::F32));
        Self {
            decoder: decoder.clone(),
            frozen: decoder.clone(),
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
            scale: LossScale { scale: if decoder.dtype == FloatDType::F16 { SCALE } else { 1.0 }, steps: 0 },
            reader: Box::new(read),
            notes: Vec::new(),
        }
    }

    /// The same with heads that predict the tokens after the next. Unlike on the CPU, the logits of all heads
    /// are held at once.
    #[must_use]
    pub fn with_future(mut self, config: FutureConfig) -> Self {
        let device = self.decoder.device();
        self.future = Some((config.start.layers.len(), config.weight));
        let all =
            config.start.layers.into_iter().flatten().zip(self.decoder.config.shapes().into_iter().cycle());
        let places = all.map(|(values, shape)| TrainedMatrix {
            values: Some(tensor(values, shape, &device)),
            moments: None,
        });
        let at = self.places.len() - if self.head.is_some() { 2 } else { 0 };
        self.places.splice(at..at, places);
        self
    }

    /// Where the places of future heads stand.
    fn future_places(&self) -> std::ops::Range<usize> {
        let end = self.places.len() - if self.head.is_some() { 2 } else { 0 };
        end - self.future.map_or(0, |(count, _)| count * self.decoder.config.parts.len())..end
    }

    /// The future heads as they stand on the device.
    fn own_future(&self) -> Option<Future> {
        let (_, weight) = self.future?;
        let values: Vec<Tensor<2>> =
            self.places[self.future_places()].iter().filter_map(|place| place.values.clone()).collect();
        let layers =
            values.chunks_exact(self.decoder.config.parts.len()).map(<[Tensor<2>]>::to_vec).collect();
        Some(Future { layers, weight })
    }

    /// A batch with the weights that the objective gives it.
    fn weighed(&mut self, batch: &[&Example], micro: usize) -> Result<Option<Vec<Example>>> {
        Ok(match &self.objective {
            Objective::Plain | Objective::Distil(..) => None,
            Objective::Face(face) => Some(face.weigh(batch)),
            Objective::Golden(golden) => {
                let golden = golden.clone();
                let losses = loop {
                    let micro = micro.min(self.rows).min(batch.len());
                    match token_losses(&self.decoder, batch, micro) {
                        Ok(losses) => break losses,
                        Err(DeviceFault::Memory(_)) if micro > 1 => {
                            recover(&self.decoder.device());
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
                        "the loss of the future heads is {}",
                        future_loss.unwrap_or_default()
                    );
                    ensure!(
                        value_loss.is_none_or(f32::is_finite),
                        "the value loss is {}",
                        value_loss.unwrap_or_default()
                    );
                    if norm.is_finite() {
                        break (found, best, gradients);
                    }
                    ensure!(self.scale.scale > 1.0, "the norm of the gradient is {norm}");
                    self.scale = LossScale { scale: self.scale.scale / 2.0, steps: 0 };
                }
                Err(fault @ DeviceFault::Memory(_)) if whole => {
                    let error = anyhow::Error::from(ModelError::from(fault));
                    return Err(error
                        .context("the pairwise loss needs the whole batch at once: lower train.batch_size"));
                }
                Err(DeviceFault::Memory(_)) if micro > 1 => {
                    recover(&self.decoder.device());
                    self.rows = micro / 2;
                    self.notes.push(format!(
                        "the GPU has too little memory for {micro} rows at once: continuing with {} \
                         (train.micro_batch)",
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
    ) -> Result<(Step, Vec<u32>, Vec<Tensor<2>>), DeviceFault> {
        let pass = Pass { micro, recompute: self.recompute, scale: self.scale.scale };
        guard(|| {
            let (value, future) = (self.own_head(), self.own_future());
            let best = matches!(self.objective, Objective::Face(_));
            let distil = match self.objective {
                Objective::Distil(how, k) => Some((how, k)),
                _ => None,
            };
            let beside = AuxLosses { value: value.as_ref(), future: future.as_ref(), distil, best };
            let all = gradients(&self.decoder, beside, batch, pass, |i| self.tuned.needs(i));
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
            match mean_losses(&self.decoder, self.own_head().as_ref(), examples, micro) {
                Ok(losses) => return Ok(losses),
                Err(DeviceFault::Memory(_)) if micro > 1 => {
                    recover(&self.decoder.device());
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

    pub fn time(&self) -> usize {
        self.time
    }

    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    pub fn head(&self) -> Option<ValueHead> {
        let head = self.own_head()?;
        Some(ValueHead {
            weight: tensors::values(&head.weight),
            bias: tensors::values(&head.bias).first().copied()?,
        })
    }

    /// The future heads as they stand, if there are any.
    pub fn future(&self) -> Option<FutureHeads> {
        let layers = self.own_future()?.layers;
        Some(FutureHeads {
            layers: layers.iter().map(|layer| layer.iter().map(tensors::values).collect()).collect(),
        })
    }

    pub fn decoder(&self) -> Decoder {
        self.decoder.clone()
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}
