//! Some sequences of a batch on their way through the layers, forward and backward, on one thread.

use super::super::matrix::{View, product};
use super::super::simd::{self, Normed};
use super::super::{Part, Rotary, Shape, Weights};

/// What a pass over all layers goes by.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) weights: &'a Weights,
    pub(super) shape: Shape,
    pub(super) rotary: &'a Rotary,
    /// Keep a layer's input only, and compute the rest again.
    pub(super) recompute: bool,
}

/// What a layer's backward pass needs of its forward pass.
#[derive(Default)]
pub(super) struct Saved {
    /// `[N, D]`: the layer's input.
    x: Vec<f32>,
    inverse_1: Vec<f32>,
    /// `[N, D]`
    pub(super) normed_1: Vec<f32>,
    /// `[N, Q]`, rotated.
    pub(super) qkv: Vec<f32>,
    /// `[N, H]`
    pub(super) log_sums: Vec<f32>,
    /// `[N, H d]`
    pub(super) attended: Vec<f32>,
    /// `[N, D]`: after attention.
    middle: Vec<f32>,
    inverse_2: Vec<f32>,
    /// `[N, D]`
    pub(super) normed_2: Vec<f32>,
    /// `[N, 2F]`
    gate_up: Vec<f32>,
}

/// Gradients of one layer's products, from a chunk's backward pass to the sums over chunks.
#[derive(Default)]
pub(super) struct Slopes {
    /// `[N, Q]`
    pub(super) qkv: Vec<f32>,
    /// `[N, D]`
    pub(super) middle: Vec<f32>,
    /// `[N, 2F]`
    pub(super) gate_up: Vec<f32>,
    /// `[N, F]`: input of `down`, computed again.
    pub(super) inner: Vec<f32>,
    /// `[N, D]`
    pub(super) out: Vec<f32>,
    pub(super) norm_1: Vec<f32>,
    pub(super) norm_2: Vec<f32>,
}

/// Some sequences of a batch and what was computed of them. Buffers are kept for the next batch.
#[derive(Default)]
pub struct Chunk {
    pub(super) tokens: Vec<u32>,
    /// First token and length of each sequence.
    pub(super) sequences: Vec<(usize, usize)>,
    /// One for each layer, or one for all if they are computed again.
    layers: Vec<Saved>,
    /// `[N, D]` each: the layers' inputs, if they are computed again.
    inputs: Vec<Vec<f32>>,
    /// `[N, D]`: the stream after the last layer; its gradient during the backward pass.
    pub(super) x: Vec<f32>,
    inverse: Vec<f32>,
    /// `[N, D]`: final hidden states, normalised; the caller puts their gradient here.
    pub hidden: Vec<f32>,
    /// `[N, D]` or nothing: what else is to be added to the gradient of the stream after the last layer
    /// ([`Trunk::branch`]).
    pub(super) added: Vec<f32>,
    pub(super) slopes: Slopes,
    pub(super) norm: Vec<f32>,
    pub(super) scores: Vec<f32>,
    pub(super) more: Vec<f32>,
    wide: Vec<f32>,
}

pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}

pub(super) fn zeroed(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
}

/// `out [N, rows] = x [N, columns] weight^T`, or added to it.
fn linear(out: &mut Vec<f32>, x: &[f32], weight: &[f32], columns: usize, accumulate: bool) {
    let rows = weight.len() / columns;
    sized(out, x.len() / columns * rows);
    product(out, rows, View::rows(x, columns), View::rows(weight, columns).t(), accumulate);
}

/// `out [N, columns] = dy [N, rows] weight`.
fn linear_backward(out: &mut Vec<f32>, dy: &[f32], weight: &[f32], columns: usize) {
    let rows = weight.len() / columns;
    sized(out, dy.len() / rows * columns);
    product(out, columns, View::rows(dy, rows), View::rows(weight, columns), false);
}

impl Chunk {
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn saved(&self, layer: usize) -> &Saved {
        &self.layers[layer.min(self.layers.len() - 1)]
    }

    pub(super) fn forward(&mut self, pass: Pass<'_>) {
        let (d, weights) = (pass.shape.hidden, pass.weights);
        self.x.clear();
        for token in &self.tokens {
            self.x.extend_from_slice(&weights.all[0][*token as usize * d..(*token as usize + 1) * d]);
        }
        self.run_layers(pass);
    }

    /// From the stream before the first layer in `self.x` to the final hidden states.
    pub(super) fn run_layers(&mut self, pass: Pass<'_>) {
        let Pass { weights, shape, recompute, .. } = pass;
        let (depth, d, n) = (weights.config.num_hidden_layers, shape.hidden, self.tokens.len());
        self.layers.resize_with(if recompute { 1 } else { depth }, Saved::default);
        self.inputs.resize_with(if recompute { depth } else { 0 }, Vec::new);
        self.added.clear();
        let mut x = std::mem::take(&mut self.x);
        for layer in 0..depth {
            if recompute {
                self.inputs[layer].clone_from(&x);
            }
            let mut saved = std::mem::take(&mut self.layers[if recompute { 0 } else { layer }]);
            saved.x.clone_from(&x);
            self.forward_layer(&mut saved, &mut x, pass, layer);
            self.layers[if recompute { 0 } else { layer }] = saved;
        }
        sized(&mut self.inverse, n);
        sized(&mut self.hidden, n * d);
        simd::rms_norm(
            &x,
            &weights.all[weights.norm_index()],
            shape.epsilon,
            &mut self.hidden,
            &mut self.inverse,
        );
        self.x = x;
    }

    /// From `saved.x` to the layer's output.
    fn forward_layer(&mut self, saved: &mut Saved, out: &mut Vec<f32>, pass: Pass<'_>, layer: usize) {
        let Pass { weights, shape, rotary, .. } = pass;
        let shape = &shape;
        let weight = |part| weights.layer(layer, part);
        let (n, d) = (self.tokens.len(), shape.hidden);
        sized(&mut saved.inverse_1, n);
        sized(&mut saved.normed_1, n * d);
        simd::rms_norm(
            &saved.x,
            weight(Part::AttentionNorm),
            shape.epsilon,
            &mut saved.normed_1,
            &mut saved.inverse_1,
        );
        linear(&mut saved.qkv, &saved.normed_1, weight(Part::Qkv), d, false);
        for &(start, len) in &self.sequences {
            for position in 0..len {
                let at = (start + position) * shape.qkv();
                rotary.turn(
                    &mut saved.qkv[at..at + (shape.heads + shape.shared) * shape.size],
                    position,
                    1.0,
                );
            }
        }
        self.attend(saved, shape);
        saved.middle.clone_from(&saved.x);
        linear(&mut saved.middle, &saved.attended, weight(Part::Output), shape.attended(), true);
        sized(&mut saved.inverse_2, n);
        sized(&mut saved.normed_2, n * d);
        simd::rms_norm(
            &saved.middle,
            weight(Part::MlpNorm),
            shape.epsilon,
            &mut saved.normed_2,
            &mut saved.inverse_2,
        );
        linear(&mut saved.gate_up, &saved.normed_2, weight(Part::GateUp), d, false);
        sized(&mut self.wide, n * shape.inner);
        simd::swiglu(&saved.gate_up, &mut self.wide, shape.inner);
        out.clone_from(&saved.middle);
        linear(out, &self.wide, weight(Part::Down), shape.inner, true);
    }

    /// From the gradient of the final hidden states to that of the stream.
    pub(super) fn backward_start(&mut self, norm: &[f32]) {
        let dy = std::mem::take(&mut self.hidden);
        let mut dx = std::mem::take(&mut self.more);
        zeroed(&mut dx, dy.len());
        zeroed(&mut self.norm, norm.len());
        let normed = Normed { x: &self.x, weight: norm, inverses: &self.inverse };
        simd::rms_norm_backward(&dy, normed, &mut dx, &mut self.norm);
        simd::add(&mut dx, &self.added);
        self.added.clear();
        self.more = std::mem::replace(&mut self.x, dx);
        self.hidden = dy;
    }

    /// Turns the gradient of a layer's output in `self.x` into that of its input; leaves in `self.slopes`
    /// what the gradients of its weights are made of.
    pub(super) fn backward_layer(&mut self, pass: Pass<'_>, layer: usize) {
        let Pass { weights, shape, rotary, recompute } = pass;
        let shape = &shape;
        let weight = |part| weights.layer(layer, part);
        let d = shape.hidden;
        let slot = if recompute { 0 } else { layer };
        let mut saved = std::mem::take(&mut self.layers[slot]);
        if recompute {
            saved.x.clone_from(&self.inputs[layer]);
            let mut out = std::mem::take(&mut self.more);
            self.forward_layer(&mut saved, &mut out, pass, layer);
            self.more = out;
        }
        let mut slopes = std::mem::take(&mut self.slopes);

        slopes.out.clone_from(&self.x);
        linear_backward(&mut slopes.inner, &self.x, weight(Part::Down), shape.inner);
        slopes.gate_up.clone_from(&saved.gate_up);
        simd::swiglu_backward(&mut slopes.gate_up, &mut slopes.inner, shape.inner);
        linear_backward(&mut self.more, &slopes.gate_up, weight(Part::GateUp), d);
        zeroed(&mut slopes.norm_2, d);
        let normed = Normed { x: &saved.middle, weight: weight(Part::MlpNorm), inverses: &saved.inverse_2 };
        simd::rms_norm_backward(&self.more, normed, &mut self.x, &mut slopes.norm_2);

        slopes.middle.clone_from(&self.x);
        let mut dattended = std::mem::take(&mut self.wide);
        linear_backward(&mut dattended, &self.x, weight(Part::Output), shape.attended());
        self.attend_backward(&saved, &dattended, &mut slopes.qkv, shape);
        self.wide = dattended;
        for &(start, len) in &self.sequences {
            for position in 0..len {
                let at = (start + position) * shape.qkv();
                rotary.turn(
                    &mut slopes.qkv[at..at + (shape.heads + shape.shared) * shape.size],
                    position,
                    -1.0,
                );
            }
        }
        linear_backward(&mut self.more, &slopes.qkv, weight(Part::Qkv), d);
        zeroed(&mut slopes.norm_1, d);
        let normed = Normed { x: &saved.x, weight: weight(Part::AttentionNorm), inverses: &saved.inverse_1 };
        simd::rms_norm_backward(&self.more, normed, &mut self.x, &mut slopes.norm_1);
        self.slopes = slopes;
        self.layers[slot] = saved;
    }
}
