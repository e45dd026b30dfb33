//! Gradients of what is trained, the optimizer's step over it, and adapters merged into the weights.

use rayon::prelude::*;

use super::super::lora::Tuned;
use super::super::optimizer::decays;
use super::{BLOCK, Cpu};
use crate::model::cpu::matrix::{View, product};
use crate::model::cpu::simd;

impl Cpu {
    /// Gradients of the trained matrices, in the order of the slots.
    pub(super) fn gradients(&mut self) -> Vec<Vec<f32>> {
        let mut gradients: Vec<Vec<f32>> = match &self.tuned {
            Tuned::Weights(_) => {
                self.sums.iter_mut().filter(|sum| !sum.is_empty()).map(std::mem::take).collect()
            }
            Tuned::Adapters { adapters, rank, scale, .. } => adapters
                .par_iter()
                .zip(self.slots.par_chunks_exact(2))
                .flat_map_iter(|(adapter, slots)| {
                    let (columns, height) = (adapter.columns, adapter.rows.len());
                    let sum =
                        &self.sums[adapter.weight][adapter.rows.start * columns..adapter.rows.end * columns];
                    let (a, b) = (View::rows(&slots[0].values, columns), View::rows(&slots[1].values, *rank));
                    let (mut da, mut db) = (vec![0.0; rank * columns], vec![0.0; height * rank]);
                    product(&mut da, columns, b.t(), View::rows(sum, columns), false);
                    product(&mut db, *rank, View::rows(sum, columns), a.t(), false);
                    simd::scale(&mut da, *scale);
                    simd::scale(&mut db, *scale);
                    [da, db]
                })
                .collect(),
        };
        gradients
            .extend(self.future.iter_mut().flat_map(|future| future.sums.iter_mut().map(std::mem::take)));
        gradients.extend(self.head.iter().flat_map(|head| head.sums.iter().cloned()));
        gradients
    }

    pub(super) fn put_back(&mut self, gradients: Vec<Vec<f32>>) {
        let mut gradients = gradients.into_iter();
        if let Tuned::Adapters { adapters, .. } = &self.tuned {
            // Those of adapters were computed from the sums, which stay.
            gradients.by_ref().take(2 * adapters.len()).for_each(drop);
        } else {
            for (i, sum) in self.sums.iter_mut().enumerate() {
                if self.tuned.needs(i) {
                    *sum = gradients.next().unwrap_or_default();
                }
            }
        }
        for sum in self.future.iter_mut().flat_map(|future| &mut future.sums) {
            *sum = gradients.next().unwrap_or_default();
        }
    }

    pub(super) fn update(&mut self, gradients: &[Vec<f32>], norm: f32, rate: f64) {
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
            Tuned::Weights(wanted) => {
                self.weights.all.iter_mut().zip(wanted).filter(|(_, w)| **w).map(|(v, _)| Some(v)).collect()
            }
            Tuned::Adapters { .. } => Vec::new(),
        };
        // All others stand in their slots.
        let values = values.into_iter().chain(std::iter::repeat_with(|| None));
        let (count, head) = (self.slots.len(), self.head.is_some());
        let tasks: Vec<_> = self
            .slots
            .iter_mut()
            .zip(values)
            .zip(gradients)
            .enumerate()
            .flat_map(|(i, ((slot, values), gradient))| {
                let adam = simd::AdamW {
                    decay: if decays(slot.shape, i, count, head) { adam.decay } else { 0.0 },
                    ..adam
                };
                let values = values.unwrap_or(&mut slot.values);
                let moments = slot.first.chunks_mut(BLOCK).zip(slot.second.chunks_mut(BLOCK));
                values
                    .chunks_mut(BLOCK)
                    .zip(gradient.chunks(BLOCK))
                    .zip(moments)
                    .map(move |task| (adam, task))
            })
            .collect();
        tasks.into_par_iter().for_each(|(adam, ((values, gradient), (first, second)))| {
            simd::adamw(adam, values, gradient, first, second);
        });
        self.merge();
    }

    /// Writes W + scale B A into the weights that have adapters.
    pub(super) fn merge(&mut self) {
        let Tuned::Adapters { adapters, scale, rank, .. } = &self.tuned else { return };
        for (adapter, slots) in adapters.iter().zip(self.slots.chunks_exact(2)) {
            let columns = adapter.columns;
            let at = adapter.rows.start * columns..adapter.rows.end * columns;
            let into = &mut self.weights.all[adapter.weight][at.clone()];
            product(
                into,
                columns,
                View::rows(&slots[1].values, *rank),
                View::rows(&slots[0].values, columns),
                false,
            );
            simd::scale(into, *scale);
            simd::add(into, &self.frozen[adapter.weight][at]);
        }
    }
}
