//! Some sequences of a batch on their way through the layers, forward and backward, on one thread.

use super::super::simd::{self, Normed};
use super::super::{Rotary, Shape, Weights};
use super::layer::{Saved, Slopes};

/// What a pass over all layers goes by.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) weights: &'a Weights,
    pub(super) shape: Shape,
    pub(super) rotary: &'a Rotary,
    /// Keep a layer's input only, and compute the rest again.
    pub(super) recompute: bool,
    /// Threads for one chunk's products with weights.
    pub(super) threads: usize,
}

impl<'a> Pass<'a> {
    /// Of so many chunks.
    pub(super) fn new(weights: &'a Weights, rotary: &'a Rotary, recompute: bool, chunks: usize) -> Self {
        let threads = (rayon::current_num_threads() / chunks.max(1)).max(1);
        Self { weights, shape: Shape::of(&weights.config), rotary, recompute, threads }
    }
}

/// Some sequences of a batch and what was computed of them. Buffers are kept for the next batch.
#[derive(Default)]
pub struct Chunk {
    pub(super) tokens: Vec<u32>,
    /// First token and length of each sequence.
    pub(super) sequences: Vec<(usize, usize)>,
    /// One for each layer, or one for all if they are computed again.
    pub(super) layers: Vec<Saved>,
    /// `[N, D]` each: the layers' inputs, if they are computed again.
    pub(super) inputs: Vec<Vec<f32>>,
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
    pub(super) wide: Vec<f32>,
}

pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}

pub(super) fn zeroed(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
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
        if let Some(scale) = weights.config.switches.embed_scale {
            simd::scale(&mut self.x, scale);
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
}
