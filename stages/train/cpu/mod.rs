//! Training on the CPU: gradients by [`crate::model::cpu`], AdamW over slices.

use anyhow::Result;
use rayon::prelude::*;

use super::batch::{Example, taught};
use super::future::{FutureConfig, heads, targets};
use super::lora::{Setup, Tuned};
use super::losses::Objective;
use super::optimizer::{Adam, Slot, State, Step, weight_sum};
use super::value::{self, HeadConfig, ValueLoss};
use crate::model::cpu::head::{Targets, cross_entropy};
use crate::model::cpu::pages::zeros;
use crate::model::cpu::trunk::Trunk;
use crate::model::cpu::{Weights, simd};
use crate::model::{Decoder, FutureHeads, ValueHead};

mod future;
mod read;
mod update;

use future::TrunkPass;
pub use read::Reader;
use read::{inputs, losses, row};

/// Values that one task of the optimizer updates.
const BLOCK: usize = 1 << 16;

/// A decoder in training on the CPU.
pub struct Cpu {
    like: Decoder,
    /// What the decoder runs on, adapters beside.
    weights: Weights,
    tuned: Tuned,
    adam: Adam,
    trunk: Trunk,
    /// Which of [`Weights::every`] is trained.
    trains: Vec<bool>,
    /// Gradients of [`Weights::every`], empty where none is needed.
    sums: Vec<Vec<f32>>,
    /// Trained matrices, whose values stand in `weights`; then those of future heads, then the value head's
    /// weight and bias.
    slots: Vec<Slot>,
    head: Option<Head>,
    future: Option<future::OnCpu>,
    pub objective: Objective,
    time: usize,
}

/// What there is of a value head besides its two slots.
struct Head {
    loss: ValueLoss,
    /// λ
    weight: f32,
    /// Gradients of weight and bias.
    sums: [Vec<f32>; 2],
}

/// Sums of weights over a whole batch, by which losses are divided.
#[derive(Clone, Copy)]
struct Totals {
    tokens: f32,
    values: f64,
}

/// A pass over some rows of a batch.
#[derive(Clone, Copy)]
struct Pass {
    totals: Totals,
    backward: bool,
    /// Whether the trunk has just read these rows.
    ready: bool,
}

/// What passes over a batch find.
#[derive(Default)]
struct BatchFound {
    loss: f64,
    /// Sum over the future heads.
    future: f64,
    /// Logits of the value targets.
    logits: Vec<f32>,
    /// The likeliest token at each target that weighs something, if that is asked.
    best: Option<Vec<u32>>,
}

impl Cpu {
    pub fn new(decoder: &Decoder, setup: Setup) -> Self {
        let Setup { tuned, adam, recompute, head } = setup;
        let mut weights = Weights::of(decoder);
        weights.adapters = tuned.low_rank();
        let trains = match &tuned {
            Tuned::Weights(wanted) => wanted.clone(),
            Tuned::Adapters { .. } => {
                (0..weights.every().count()).map(|at| at >= weights.all.len()).collect()
            }
        };
        let room = |(values, trains): (&Vec<f32>, &bool)| zeros(if *trains { values.len() } else { 0 });
        let sums = weights.every().zip(&trains).map(room).collect();
        let slot = |shape: [usize; 2], values: Vec<f32>| {
            let len = shape[0] * shape[1];
            Slot { shape, values, first: zeros(len), second: zeros(len) }
        };
        let shapes = decoder.weights().into_iter().map(|w| w.dims());
        let shapes = shapes.chain(tuned.first_values().into_iter().map(|(shape, _)| shape)).zip(&trains);
        let mut slots: Vec<Slot> =
            shapes.filter(|(_, trains)| **trains).map(|(shape, _)| slot(shape, Vec::new())).collect();
        let head = head.map(|HeadConfig { loss, weight, start }| {
            let size = start.weight.len();
            slots.extend([slot([1, size], start.weight), slot([1, 1], vec![start.bias])]);
            Head { loss, weight, sums: [vec![0.0; size], vec![0.0]] }
        });
        // Without a backward pass nothing of the forward pass needs to be kept.
        let trunk = Trunk::new(&weights, recompute || !tuned.any());
        Self {
            like: decoder.clone(),
            trunk,
            weights,
            tuned,
            adam,
            trains,
            sums,
            slots,
            head,
            future: None,
            objective: Objective::Plain,
            time: 0,
        }
    }

    /// The same with heads that predict the tokens after the next.
    #[must_use]
    pub fn with_future(mut self, config: FutureConfig) -> Self {
        let (future, slots) = future::OnCpu::new(&self.like, &self.weights, config);
        let at = self.slots.len() - if self.head.is_some() { 2 } else { 0 };
        self.slots.splice(at..at, slots);
        self.future = Some(future);
        self
    }

    /// Where the slots of future heads stand.
    fn future_slots(&self) -> std::ops::Range<usize> {
        let end = self.slots.len() - if self.head.is_some() { 2 } else { 0 };
        end - self.future.as_ref().map_or(0, |f| f.sums.len())..end
    }

    fn totals(&self, examples: &[&Example]) -> Totals {
        let values =
            self.head.as_ref().map_or(0.0, |head| value::weight_sum(head.loss, &value::targets(examples)));
        Totals { tokens: weight_sum(examples), values }
    }

    /// Mean loss of the value targets, from the logits of all of them.
    fn value_loss(&self, examples: &[&Example], logits: &[f32], total: f64) -> Option<f32> {
        let head = self.head.as_ref().filter(|_| total > 0.0)?;
        Some((value::loss_sum(head.loss, logits, &value::targets(examples)).0 / total) as f32)
    }

    /// Rows that go through the decoder at once.
    fn together(&self, rows: usize, micro: usize, backward: bool) -> usize {
        // Pairs may reach over all rows of a batch.
        let whole = backward && self.head.as_ref().is_some_and(|head| head.loss == ValueLoss::Pairwise);
        if whole { rows.max(1) } else { micro.max(1) }
    }

    /// Losses of all rows; with `backward` their gradient is added to the sums. `ready`: the trunk has just
    /// read these rows, all at once.
    fn run_all(
        &mut self,
        examples: &[&Example],
        micro: usize,
        backward: bool,
        ready: bool,
    ) -> (BatchFound, Option<f32>) {
        let totals = self.totals(examples);
        let mut found = BatchFound {
            best: (backward && matches!(self.objective, Objective::Face(_))).then(Vec::new),
            ..BatchFound::default()
        };
        for rows in examples.chunks(self.together(examples.len(), micro, backward)) {
            self.run(rows, Pass { totals, backward, ready }, &mut found);
        }
        let value_loss = self.value_loss(examples, &found.logits, totals.values);
        (found, value_loss)
    }

    /// A batch with the weights that the objective gives it, and whether the trunk has read all of it at once
    /// on the way.
    fn weighed(&mut self, batch: &[&Example], micro: usize) -> Result<(Option<Vec<Example>>, bool)> {
        Ok(match &self.objective {
            Objective::Plain | Objective::Distil(..) => (None, false),
            Objective::Face(face) => (Some(face.weigh(batch)), false),
            Objective::Golden(golden) => {
                let golden = golden.clone();
                let together = self.together(batch.len(), micro, true);
                let losses: Vec<f32> = batch
                    .chunks(together)
                    .flat_map(|rows| losses(&self.weights, &mut self.trunk, rows))
                    .collect();
                (Some(golden.choose(batch, &losses)?), together >= batch.len())
            }
        })
    }

    /// Losses of a batch as the objective weighs it, with its gradient in the sums.
    fn gradient(&mut self, batch: &[&Example], micro: usize) -> Result<(BatchFound, Option<f32>)> {
        self.clear();
        let (weighed, ready) = self.weighed(batch, micro)?;
        Ok(match &weighed {
            None => self.run_all(batch, micro, true, ready),
            Some(weighed) => self.run_all(&weighed.iter().collect::<Vec<_>>(), micro, true, ready),
        })
    }

    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<Step> {
        let (found, value_loss) = self.gradient(batch, micro)?;
        let loss = found.loss;
        ensure!(loss.is_finite(), "the loss is {loss}");
        ensure!(found.future.is_finite(), "the loss of the future heads is {}", found.future);
        ensure!(
            value_loss.is_none_or(f32::is_finite),
            "the value loss is {}",
            value_loss.unwrap_or_default()
        );
        let gradients = self.gradients();
        let parts: Vec<f64> = gradients
            .iter()
            .flat_map(|g| g.chunks(BLOCK))
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|block| f64::from(simd::dot(block, block)))
            .collect();
        let norm = parts.iter().sum::<f64>().sqrt() as f32;
        self.update(&gradients, norm, rate);
        self.put_back(gradients);
        if let (Objective::Face(face), Some(best)) = (&mut self.objective, &found.best) {
            face.count(batch, best);
        }
        let future_loss = self.future.as_ref().map(|future| (found.future / future.count as f64) as f32);
        Ok(Step { loss: loss as f32, future_loss, value_loss, norm })
    }

    fn clear(&mut self) {
        self.sums.par_iter_mut().for_each(|sum| sum.fill(0.0));
        if let Some(head) = &mut self.head {
            head.sums.iter_mut().for_each(|sum| sum.fill(0.0));
        }
        if let Some(future) = &mut self.future {
            future.sums.par_iter_mut().for_each(|sum| sum.fill(0.0));
        }
    }

    /// Losses of a batch and the gradients of all weights.
    #[cfg(test)]
    pub fn sums(&mut self, batch: &[&Example], micro: usize) -> (f64, Option<f32>, &[Vec<f32>]) {
        let (found, value_loss) = self.gradient(batch, micro).unwrap();
        (found.loss, value_loss, &self.sums)
    }

    /// Σ_k L_k of a batch and the gradients of the future heads.
    #[cfg(test)]
    pub fn future_sums(&mut self, batch: &[&Example], micro: usize) -> (f64, &[Vec<f32>]) {
        let (found, _) = self.gradient(batch, micro).unwrap();
        (found.future, self.future.as_ref().map_or(&[], |future| &future.sums))
    }

    /// Gradients of the value head's weight and bias after [`Cpu::sums`].
    #[cfg(test)]
    pub fn head_sums(&self) -> Option<&[Vec<f32>; 2]> {
        self.head.as_ref().map(|head| &head.sums)
    }

    pub fn mean_losses(&mut self, examples: &[&Example], micro: usize) -> (f32, Option<f32>) {
        let (found, value_loss) = self.run_all(examples, micro, false, false);
        (found.loss as f32, value_loss)
    }

    /// Adds to what is found: the loss of some rows' tokens, each weighing `1 / totals.tokens`, and the
    /// logits of their value targets. With `backward` also the losses of future heads, and the gradient of
    /// all losses is added to the sums.
    fn run(&mut self, rows: &[&Example], pass: Pass, found: &mut BatchFound) {
        let Pass { totals, backward, ready } = pass;
        if !ready {
            self.trunk.forward(&self.weights, &inputs(rows));
        }
        let size = self.weights.config.hidden_size;
        // Only places that count go through the output product.
        let (places, tokens, mut weights) = targets(rows, 0);
        for weight in &mut weights {
            *weight /= totals.tokens;
        }
        let taught = match (&self.objective, backward) {
            (Objective::Distil(how, k), true) => Some((*how, taught(rows, *k))),
            _ => None,
        };
        let chunks = self.trunk.active();
        let mut hidden = Vec::with_capacity(places.len() * size);
        for &place in &places {
            hidden.extend_from_slice(row(chunks, place, size));
        }
        // The gradient of the values' loss by rows of hidden states is λ dL/dz w.
        let mut slopes: Vec<(usize, f32)> = Vec::new();
        if let (Some(head), [.., weight, bias]) = (&mut self.head, &self.slots[..]) {
            let valued = value::targets(rows);
            let mut start = 0;
            let mut places = Vec::with_capacity(valued.len());
            for row in rows {
                places.extend(row.values.iter().map(|target| start + target.place));
                start += row.tokens.len() - 1;
            }
            let own = found.logits.len();
            found.logits.extend(
                places
                    .iter()
                    .map(|&place| simd::dot(&weight.values, row(chunks, place, size)) + bias.values[0]),
            );
            if backward && totals.values > 0.0 {
                let factor = (f64::from(head.weight) / totals.values) as f32;
                for (place, slope) in
                    places.into_iter().zip(value::loss_sum(head.loss, &found.logits[own..], &valued).1)
                {
                    let slope = slope * factor;
                    simd::weighted_sum(&[slope], row(chunks, place, size), &mut head.sums[0]);
                    head.sums[1][0] += slope;
                    slopes.push((place, slope));
                }
            }
        }
        let head = self.weights.head_index();
        let (through, any) = (self.needs_trunk(), self.tuned.any());
        let soft = taught.as_ref().map(|(how, top)| top.learned(*how));
        let targets = Targets { tokens: &tokens, weights: &weights, soft };
        let gradient = (backward && any).then_some(&mut self.sums[head][..]);
        found.loss +=
            cross_entropy(&mut hidden, &self.weights.all[head], &targets, gradient, found.best.as_mut());
        let slots = self.future_slots();
        if let (Some(future), true) = (&mut self.future, backward) {
            found.future += future.run(
                TrunkPass { weights: &self.weights, trunk: &mut self.trunk, sums: &mut self.sums },
                &mut self.slots[slots],
                rows,
                totals.tokens,
            );
        }
        if backward && through {
            let chunks = self.trunk.active();
            for chunk in chunks.iter_mut() {
                chunk.hidden.fill(0.0);
            }
            for (&place, gradient) in places.iter().zip(hidden.chunks_exact(size)) {
                row(chunks, place, size).copy_from_slice(gradient);
            }
            if let [.., weight, _] = &self.slots[..] {
                for (place, slope) in slopes {
                    simd::weighted_sum(&[slope], &weight.values, row(chunks, place, size));
                }
            }
            self.trunk.backward(&self.weights, &mut self.sums);
        }
    }

    /// Whether any gradient is wanted that goes through the trunk.
    fn needs_trunk(&self) -> bool {
        let (head, tied) = (self.weights.head_index(), self.weights.config.tie_word_embeddings);
        self.sums.iter().enumerate().any(|(i, sum)| !sum.is_empty() && (i != head || tied))
    }

    pub fn time(&self) -> usize {
        self.time
    }

    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    pub fn head(&self) -> Option<ValueHead> {
        match (&self.head, &self.slots[..]) {
            (Some(_), [.., weight, bias]) => {
                Some(ValueHead { weight: weight.values.clone(), bias: bias.values[0] })
            }
            _ => None,
        }
    }

    /// The future heads as they stand, if there are any.
    pub fn future(&self) -> Option<FutureHeads> {
        self.future.as_ref().map(|future| heads(&self.slots[self.future_slots()], future.count))
    }

    pub fn state(&self) -> State {
        let mut slots = self.slots.clone();
        let trained = self.weights.every().zip(&self.trains).filter(|(_, trains)| **trains);
        for (slot, (values, _)) in slots.iter_mut().zip(trained) {
            slot.values.clone_from(values);
        }
        State { slots, time: self.time, counts: Vec::new(), scale: None }
    }

    /// Shapes are the caller's to check.
    pub fn restore(&mut self, state: State) {
        self.slots = state.slots;
        self.time = state.time;
        let trained = self.weights.every_mut().zip(&self.trains).filter(|(_, trains)| **trains);
        for (slot, (values, _)) in self.slots.iter_mut().zip(trained) {
            *values = std::mem::take(&mut slot.values);
        }
    }

    /// The decoder as it stands, adapters merged. It shares what does not change with the one it began with.
    pub fn decoder(&self) -> Decoder {
        self.like.replaced(|weight| match &self.tuned {
            Tuned::Weights(wanted) => wanted[weight].then(|| self.weights.all[weight].clone()),
            Tuned::Adapters { .. } => {
                let adapters = self.weights.adapters_of(weight);
                let mut merged = (!adapters.is_empty()).then(|| self.weights.all[weight].clone())?;
                for adapter in adapters {
                    adapter.merge(&mut merged);
                }
                Some(merged)
            }
        })
    }
}
