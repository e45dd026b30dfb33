//! Training on the CPU: gradients by [`crate::model::cpu`], AdamW over slices.

use anyhow::Result;
use rayon::prelude::*;

use super::batch::Example;
use super::learner::{Adam, Slot, State, weight_sum};
use super::lora::Tuned;
use crate::model::Llama;
use crate::model::cpu::head::{Targets, cross_entropy};
use crate::model::cpu::matrix::{View, product};
use crate::model::cpu::trunk::Trunk;
use crate::model::cpu::{Weights, simd};

/// Values that one task of the optimizer updates.
const BLOCK: usize = 1 << 16;

/// A decoder in training on the CPU.
pub struct Cpu {
    like: Llama,
    /// What the decoder runs on: adapters merged.
    weights: Weights,
    /// Weights under adapters, as they were before.
    frozen: Vec<Vec<f32>>,
    tuned: Tuned,
    adam: Adam,
    trunk: Trunk,
    /// Gradients of the weights; empty where none is needed.
    sums: Vec<Vec<f32>>,
    slots: Vec<Slot>,
    time: usize,
}

impl Cpu {
    pub fn new(llama: &Llama, tuned: Tuned, adam: Adam, recompute: bool) -> Self {
        let weights = Weights::of(llama);
        let sums = (0..weights.all.len()).map(|i| vec![0.0; if tuned.needs(i) { weights.all[i].len() } else { 0 }]).collect();
        let slot = |shape: [usize; 2], values: Vec<f32>| {
            let len = shape[0] * shape[1];
            Slot { shape, values, first: vec![0.0; len], second: vec![0.0; len] }
        };
        let shapes = llama.weights().into_iter().map(|w| w.dims());
        let (frozen, slots) = match &tuned {
            // The values of trained weights stand in `weights`.
            Tuned::Weights(wanted) => {
                (Vec::new(), shapes.zip(wanted).filter(|(_, wanted)| **wanted).map(|(shape, _)| slot(shape, Vec::new())).collect())
            }
            Tuned::Adapters { .. } => (
                weights.all.iter().enumerate().map(|(i, w)| if tuned.needs(i) { w.clone() } else { Vec::new() }).collect(),
                tuned.first_values().into_iter().map(|(shape, values)| slot(shape, values)).collect(),
            ),
        };
        Self { like: llama.clone(), trunk: Trunk::new(&weights, recompute), weights, frozen, tuned, adam, sums, slots, time: 0 }
    }

    pub fn step(&mut self, batch: &[&Example], micro: usize, rate: f64) -> Result<(f32, f32)> {
        let total = weight_sum(batch);
        self.sums.par_iter_mut().for_each(|sum| sum.fill(0.0));
        let loss: f64 = batch.chunks(micro.max(1)).map(|rows| self.run(rows, total, true)).sum();
        ensure!(loss.is_finite(), "the loss is {loss}");
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
        if !matches!(self.tuned, Tuned::Adapters { .. }) {
            self.put_back(gradients);
        }
        Ok((loss as f32, norm))
    }

    /// Loss of a batch and the gradients of all weights.
    #[cfg(test)]
    pub fn sums(&mut self, batch: &[&Example], micro: usize) -> (f64, &[Vec<f32>]) {
        let total = weight_sum(batch);
        self.sums.iter_mut().for_each(|sum| sum.fill(0.0));
        (batch.chunks(micro).map(|rows| self.run(rows, total, true)).sum(), &self.sums)
    }

    pub fn mean_loss(&mut self, examples: &[&Example], micro: usize) -> f32 {
        let total = weight_sum(examples);
        examples.chunks(micro.max(1)).map(|rows| self.run(rows, total, false)).sum::<f64>() as f32
    }

    /// Loss of some rows, targets weighing `1 / total`; with `backward`, its gradient is added to `sums`.
    fn run(&mut self, rows: &[&Example], total: f32, backward: bool) -> f64 {
        let sequences: Vec<&[u32]> = rows.iter().map(|e| &e.tokens[..e.tokens.len() - 1]).collect();
        self.trunk.forward(&self.weights, &sequences);
        let size = self.weights.config.hidden_size;
        // Only places that count go through the output product.
        let (mut places, mut tokens, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (token, weight)) in rows.iter().flat_map(|e| e.tokens[1..].iter().zip(&e.weights)).enumerate() {
            if *weight > 0.0 {
                places.push(place);
                tokens.push(*token);
                weights.push(weight / total);
            }
        }
        let mut hidden = Vec::with_capacity(places.len() * size);
        let mut wanted = places.iter().copied().peekable();
        let mut before = 0;
        for chunk in self.trunk.active() {
            while let Some(place) = wanted.next_if(|place| *place < before + chunk.tokens()) {
                hidden.extend_from_slice(&chunk.hidden[(place - before) * size..(place - before + 1) * size]);
            }
            before += chunk.tokens();
        }
        let head = self.weights.head_index();
        let targets = Targets { tokens: &tokens, weights: &weights };
        let loss = cross_entropy(&mut hidden, &self.weights.all[head], size, &targets, backward.then_some(&mut self.sums[head][..]));
        if backward {
            let mut from = hidden.chunks_exact(size);
            let mut wanted = places.into_iter().peekable();
            let mut before = 0;
            for chunk in self.trunk.active() {
                chunk.hidden.fill(0.0);
                while let Some(place) = wanted.next_if(|place| *place < before + chunk.tokens()) {
                    if let Some(row) = from.next() {
                        chunk.hidden[(place - before) * size..(place - before + 1) * size].copy_from_slice(row);
                    }
                }
                before += chunk.tokens();
            }
            self.trunk.backward(&self.weights, &mut self.sums);
        }
        loss
    }

    /// Gradients of the trained matrices, in the order of the slots.
    fn gradients(&mut self) -> Vec<Vec<f32>> {
        match &self.tuned {
            Tuned::Weights(_) => self.sums.iter_mut().filter(|sum| !sum.is_empty()).map(std::mem::take).collect(),
            Tuned::Adapters { adapters, rank, scale, .. } => adapters
                .par_iter()
                .zip(self.slots.par_chunks_exact(2))
                .flat_map_iter(|(adapter, slots)| {
                    let (columns, height) = (adapter.columns, adapter.rows.len());
                    let sum = &self.sums[adapter.weight][adapter.rows.start * columns..adapter.rows.end * columns];
                    let (a, b) = (View::rows(&slots[0].values, columns), View::rows(&slots[1].values, *rank));
                    let (mut da, mut db) = (vec![0.0; rank * columns], vec![0.0; height * rank]);
                    product(&mut da, columns, b.t(), View::rows(sum, columns), false);
                    product(&mut db, *rank, View::rows(sum, columns), a.t(), false);
                    simd::scale(&mut da, *scale);
                    simd::scale(&mut db, *scale);
                    [da, db]
                })
                .collect(),
        }
    }

    fn put_back(&mut self, gradients: Vec<Vec<f32>>) {
        let mut gradients = gradients.into_iter();
        for (i, sum) in self.sums.iter_mut().enumerate() {
            if self.tuned.needs(i) {
                *sum = gradients.next().unwrap_or_default();
            }
        }
    }

    fn update(&mut self, gradients: &[Vec<f32>], norm: f32, rate: f64) {
        self.time += 1;
        let correct = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(self.time as i32))) as f32;
        let adam = simd::AdamW {
            rate: rate as f32,
            beta_1: self.adam.beta_1,
            beta_2: self.adam.beta_2,
            epsilon: self.adam.epsilon,
            decay: self.adam.weight_decay,
            correct_1: correct(self.adam.beta_1),
            correct_2: correct(self.adam.beta_2),
            scale: self.adam.scale(norm),
        };
        let tuned = &self.tuned;
        let values: Vec<Option<&mut Vec<f32>>> = match tuned {
            Tuned::Weights(wanted) => self.weights.all.iter_mut().zip(wanted).filter(|(_, w)| **w).map(|(v, _)| Some(v)).collect(),
            Tuned::Adapters { .. } => self.slots.iter().map(|_| None).collect(),
        };
        let tasks: Vec<_> = self
            .slots
            .iter_mut()
            .zip(values)
            .zip(gradients)
            .flat_map(|((slot, values), gradient)| {
                let adam = simd::AdamW { decay: if slot.shape[0] == 1 { 0.0 } else { adam.decay }, ..adam };
                let values = values.unwrap_or(&mut slot.values);
                let moments = slot.first.chunks_mut(BLOCK).zip(slot.second.chunks_mut(BLOCK));
                values.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK)).zip(moments).map(move |task| (adam, task))
            })
            .collect();
        tasks.into_par_iter().for_each(|(adam, ((values, gradient), (first, second)))| simd::adamw(adam, values, gradient, first, second));
        self.merge();
    }

    /// Writes W + scale B A into the weights that have adapters.
    fn merge(&mut self) {
        let Tuned::Adapters { adapters, scale, rank, .. } = &self.tuned else { return };
        for (adapter, slots) in adapters.iter().zip(self.slots.chunks_exact(2)) {
            let columns = adapter.columns;
            let at = adapter.rows.start * columns..adapter.rows.end * columns;
            let into = &mut self.weights.all[adapter.weight][at.clone()];
            product(into, columns, View::rows(&slots[1].values, *rank), View::rows(&slots[0].values, columns), false);
            simd::scale(into, *scale);
            simd::add(into, &self.frozen[adapter.weight][at]);
        }
    }

    pub fn time(&self) -> usize {
        self.time
    }

    pub fn tuned(&self) -> &Tuned {
        &self.tuned
    }

    pub fn state(&self) -> State {
        let mut slots = self.slots.clone();
        if let Tuned::Weights(wanted) = &self.tuned {
            let trained = self.weights.all.iter().zip(wanted).filter(|(_, wanted)| **wanted);
            for (slot, (values, _)) in slots.iter_mut().zip(trained) {
                slot.values.clone_from(values);
            }
        }
        State { slots, time: self.time }
    }

    /// Shapes are the caller's to check.
    pub fn restore(&mut self, state: State) {
        self.slots = state.slots;
        self.time = state.time;
        if let Tuned::Weights(wanted) = &self.tuned {
            let trained = self.weights.all.iter_mut().zip(wanted).filter(|(_, wanted)| **wanted);
            for (slot, (values, _)) in self.slots.iter_mut().zip(trained) {
                *values = std::mem::take(&mut slot.values);
            }
        }
        self.merge();
    }

    pub fn llama(&self) -> Llama {
        self.like.with_values(&self.weights.all)
    }
}
