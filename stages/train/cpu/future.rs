//! Heads that predict the tokens after the next, in training on the CPU.

use super::super::batch::Example;
use super::super::future::{FutureConfig, targets};
use super::super::optimizer::Slot;
use super::read::row;
use crate::model::Decoder;
use crate::model::cpu::Weights;
use crate::model::cpu::head::{Targets, cross_entropy};
use crate::model::cpu::trunk::Trunk;
use crate::model::future_heads::as_weights;

/// A decoder whose trunk has read some rows, and the sums of its gradients.
pub struct TrunkPass<'a> {
    pub weights: &'a Weights,
    pub trunk: &'a mut Trunk,
    pub sums: &'a mut [Vec<f32>],
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
    pub fn new(decoder: &Decoder, weights: &Weights, config: FutureConfig) -> (Self, Vec<Slot>) {
        let shapes = decoder.config.shapes();
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
    pub fn run(&mut self, decoder: TrunkPass<'_>, slots: &mut [Slot], rows: &[&Example], total: f32) -> f64 {
        let TrunkPass { weights, trunk, sums } = decoder;
        let (size, output, norm) = (weights.config.hidden_size, weights.head_index(), weights.norm_index());
        let (mut loss, parts) = (0.0, weights.config.parts.len());
        for (head, (slots, own)) in
            slots.chunks_exact_mut(parts).zip(self.sums.chunks_exact_mut(parts)).enumerate()
        {
            let (places, tokens, mut factors) = targets(rows, head + 1);
            if places.is_empty() {
                continue;
            }
            for weight in &mut factors {
                *weight *= self.weight / total;
            }
            let layer = slots.iter_mut().map(|slot| std::mem::take(&mut slot.values)).collect();
            let layer = as_weights(&weights.config, layer, weights.all[norm].clone());
            self.branch.branch(&layer, trunk);
            let chunks = self.branch.active();
            let mut hidden = Vec::with_capacity(places.len() * size);
            for &place in &places {
                hidden.extend_from_slice(row(chunks, place, size));
            }
            let targets = Targets::hard(&tokens, &factors);
            loss += cross_entropy(&mut hidden, &weights.all[output], &targets, Some(&mut sums[output]), None);
            for chunk in chunks.iter_mut() {
                chunk.hidden.fill(0.0);
            }
            for (&place, gradient) in places.iter().zip(hidden.chunks_exact(size)) {
                row(chunks, place, size).copy_from_slice(gradient);
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
