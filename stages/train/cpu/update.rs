//! Gradients of what is trained, and the optimizer's step over it.

use rayon::prelude::*;

use super::super::optimizer::decays;
use super::{BLOCK, Cpu};
use crate::model::cpu::simd;

impl Cpu {
    /// Gradients of the trained matrices, in the order of the slots.
    pub(super) fn gradients(&mut self) -> Vec<Vec<f32>> {
        let trained = self.sums.iter_mut().zip(&self.trains).filter(|(_, trains)| **trains);
        let mut gradients: Vec<Vec<f32>> = trained.map(|(sum, _)| std::mem::take(sum)).collect();
        gradients
            .extend(self.future.iter_mut().flat_map(|future| future.sums.iter_mut().map(std::mem::take)));
        gradients.extend(self.head.iter().flat_map(|head| head.sums.iter().cloned()));
        gradients
    }

    pub(super) fn put_back(&mut self, gradients: Vec<Vec<f32>>) {
        let mut gradients = gradients.into_iter();
        for (sum, _) in self.sums.iter_mut().zip(&self.trains).filter(|(_, trains)| **trains) {
            *sum = gradients.next().unwrap_or_default();
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
        let trained = self.weights.every_mut().zip(&self.trains).filter(|(_, trains)| **trains);
        // All others stand in their slots.
        let values = trained.map(|(values, _)| Some(values)).chain(std::iter::repeat_with(|| None));
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
    }
}
