//! A layer on one chunk, forward and backward.

use super::super::low_rank::LowRank;
use super::super::matrix::{How, View, product};
use super::super::simd::{self, Normed};
use super::super::{Shape, Weights};
use super::chunk::{Chunk, Pass, sized, zeroed};
use crate::model::config::Attention;
use crate::model::parts::Part;

/// What a layer's backward pass needs of its forward pass.
#[derive(Default)]
pub(super) struct Saved {
    /// `[N, D]`: the layer's input.
    pub(super) x: Vec<f32>,
    inverse_1: Vec<f32>,
    /// `[N, D]`
    pub(super) normed_1: Vec<f32>,
    /// `[N, (H + K) d]`: queries and keys before their norms, if they have any.
    raw: Vec<f32>,
    /// `[N, H + K]`
    raw_inverse: Vec<f32>,
    /// `[N, Q]`, rotated.
    pub(super) qkv: Vec<f32>,
    /// `[N, H]`
    pub(super) log_sums: Vec<f32>,
    /// `[N, H d]`
    pub(super) attended: Vec<f32>,
    attention: Residual,
    /// `[N, D]`: after attention.
    middle: Vec<f32>,
    inverse_2: Vec<f32>,
    /// `[N, D]`
    pub(super) normed_2: Vec<f32>,
    /// `[N, 2F]`
    gate_up: Vec<f32>,
    mlp: Residual,
}

/// What is added to the stream, if a norm stands between.
#[derive(Default)]
struct Residual {
    /// `[N, D]`: before the norm.
    raw: Vec<f32>,
    inverse: Vec<f32>,
    normed: Vec<f32>,
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
    /// Gradients of norms by their [`Part`].
    norms: [Vec<f32>; Part::COUNT],
}

impl Slopes {
    /// The gradient of a norm, to be added to.
    fn norm(&mut self, part: Part, len: usize) -> &mut [f32] {
        let sum = &mut self.norms[part as usize];
        zeroed(sum, len);
        sum
    }

    /// Adds the gradient of a norm or bias.
    pub(super) fn add_to(&self, sum: &mut [f32], part: Part) {
        match part {
            Part::QkvBias => simd::add_rows(sum, &self.qkv),
            Part::OutputBias => simd::add_rows(sum, &self.middle),
            Part::GateUpBias => simd::add_rows(sum, &self.gate_up),
            Part::DownBias => simd::add_rows(sum, &self.out),
            norm => simd::add(sum, &self.norms[norm as usize]),
        }
    }
}

/// A layer's weights, and how it attends.
#[derive(Clone, Copy)]
struct Layer<'a> {
    weights: &'a Weights,
    index: usize,
    shape: Shape,
    attention: Attention,
    threads: usize,
}

impl<'a> Layer<'a> {
    fn of(pass: Pass<'a>, index: usize) -> Self {
        let attention = pass.weights.config.attention[index];
        Self { weights: pass.weights, index, shape: pass.shape, attention, threads: pass.threads }
    }

    /// Empty if its family has none.
    fn get(&self, part: Part) -> &'a [f32] {
        self.weights.layer(self.index, part)
    }

    fn adapters(&self, part: Part) -> &'a [LowRank] {
        self.weights.config.index(self.index, part).map_or(&[], |index| self.weights.adapters_of(index))
    }

    /// `out [N, rows] = x [N, columns] W^T`, or added to it.
    fn linear(&self, part: Part, out: &mut Vec<f32>, x: &[f32], accumulate: bool) {
        let [rows, columns] = self.weights.config.shape(part);
        sized(out, x.len() / columns * rows);
        let how = How { accumulate, threads: self.threads };
        product(out, rows, View::rows(x, columns), View::rows(self.get(part), columns).t(), how);
        for adapter in self.adapters(part) {
            adapter.add(x, out, rows);
        }
    }

    /// `out [N, columns] = dy [N, rows] W`.
    fn linear_backward(&self, part: Part, out: &mut Vec<f32>, dy: &[f32]) {
        let [rows, columns] = self.weights.config.shape(part);
        sized(out, dy.len() / rows * columns);
        let how = How { accumulate: false, threads: self.threads };
        product(out, columns, View::rows(dy, rows), View::rows(self.get(part), columns), how);
        for adapter in self.adapters(part) {
            adapter.add_back(dy, out, rows);
        }
    }
}

/// `out` and `inverse` of the norm of `x`.
fn norm(x: &[f32], weight: &[f32], shape: &Shape, out: &mut Vec<f32>, inverse: &mut Vec<f32>) {
    sized(out, x.len());
    sized(inverse, x.len() / weight.len());
    simd::rms_norm(x, weight, shape.epsilon, out, inverse);
}

impl Chunk {
    /// From `saved.x` to the layer's output.
    pub(super) fn forward_layer(
        &mut self,
        saved: &mut Saved,
        out: &mut Vec<f32>,
        pass: Pass<'_>,
        index: usize,
    ) {
        let layer = Layer::of(pass, index);
        let shape = &layer.shape;
        let first = layer.get(Part::AttentionNorm);
        norm(&saved.x, first, shape, &mut saved.normed_1, &mut saved.inverse_1);
        layer.linear(Part::Qkv, &mut saved.qkv, &saved.normed_1, false);
        simd::add_row(&mut saved.qkv, layer.get(Part::QkvBias));
        norm_heads(saved, &layer);
        self.turn(&mut saved.qkv, pass, index, 1.0);
        self.attend(saved, shape, layer.attention.window);
        saved.middle.clone_from(&saved.x);
        let end = (Part::Output, Part::OutputBias, Part::PostAttentionNorm);
        residual(&mut saved.middle, &saved.attended, &layer, end, &mut saved.attention);
        let second = layer.get(Part::MlpNorm);
        norm(&saved.middle, second, shape, &mut saved.normed_2, &mut saved.inverse_2);
        layer.linear(Part::GateUp, &mut saved.gate_up, &saved.normed_2, false);
        simd::add_row(&mut saved.gate_up, layer.get(Part::GateUpBias));
        sized(&mut self.wide, saved.x.len() / shape.hidden * shape.inner);
        simd::gated(shape.activation, &saved.gate_up, &mut self.wide, shape.inner);
        out.clone_from(&saved.middle);
        residual(out, &self.wide, &layer, (Part::Down, Part::DownBias, Part::PostMlpNorm), &mut saved.mlp);
    }

    /// Turns queries and keys of all tokens; `-1` turns back.
    fn turn(&self, qkv: &mut [f32], pass: Pass<'_>, layer: usize, direction: f32) {
        let (attention, shape) = (pass.weights.config.attention[layer], pass.shape);
        for &(start, len) in &self.sequences {
            for position in 0..len {
                let at = (start + position) * shape.qkv();
                pass.rotary.turn(attention, &mut qkv[at..at + shape.turned()], position, direction);
            }
        }
    }

    /// Turns the gradient of a layer's output in `self.x` into that of its input; leaves in `self.slopes`
    /// what the gradients of its weights are made of.
    pub(super) fn backward_layer(&mut self, pass: Pass<'_>, index: usize) {
        let layer = Layer::of(pass, index);
        let shape = &layer.shape;
        let d = shape.hidden;
        let slot = if pass.recompute { 0 } else { index };
        let mut saved = std::mem::take(&mut self.layers[slot]);
        if pass.recompute {
            saved.x.clone_from(&self.inputs[index]);
            let mut out = std::mem::take(&mut self.more);
            self.forward_layer(&mut saved, &mut out, pass, index);
            self.more = out;
        }
        let mut slopes = std::mem::take(&mut self.slopes);

        let mut out = std::mem::take(&mut slopes.out);
        residual_backward(&mut out, &self.x, &layer, (Part::PostMlpNorm, &saved.mlp), &mut slopes);
        slopes.out = out;
        layer.linear_backward(Part::Down, &mut slopes.inner, &slopes.out);
        slopes.gate_up.clone_from(&saved.gate_up);
        simd::gated_backward(shape.activation, &mut slopes.gate_up, &mut slopes.inner, shape.inner);
        layer.linear_backward(Part::GateUp, &mut self.more, &slopes.gate_up);
        let weight = layer.get(Part::MlpNorm);
        let normed = Normed { x: &saved.middle, weight, inverses: &saved.inverse_2 };
        simd::rms_norm_backward(&self.more, normed, &mut self.x, slopes.norm(Part::MlpNorm, d));

        let mut middle = std::mem::take(&mut slopes.middle);
        residual_backward(
            &mut middle,
            &self.x,
            &layer,
            (Part::PostAttentionNorm, &saved.attention),
            &mut slopes,
        );
        slopes.middle = middle;
        let mut dattended = std::mem::take(&mut self.wide);
        layer.linear_backward(Part::Output, &mut dattended, &slopes.middle);
        self.attend_backward(&saved, &dattended, &mut slopes.qkv, (shape, layer.attention.window));
        self.wide = dattended;
        self.turn(&mut slopes.qkv, pass, index, -1.0);
        norm_heads_backward(&saved, &layer, &mut slopes);
        layer.linear_backward(Part::Qkv, &mut self.more, &slopes.qkv);
        let weight = layer.get(Part::AttentionNorm);
        let normed = Normed { x: &saved.x, weight, inverses: &saved.inverse_1 };
        simd::rms_norm_backward(&self.more, normed, &mut self.x, slopes.norm(Part::AttentionNorm, d));
        self.slopes = slopes;
        self.layers[slot] = saved;
    }
}

/// Adds the product with `input` to the stream `x`, with bias and norm between where the family has them.
fn residual(
    x: &mut Vec<f32>,
    input: &[f32],
    layer: &Layer<'_>,
    (weight, bias, after): (Part, Part, Part),
    saved: &mut Residual,
) {
    let (bias, after) = (layer.get(bias), layer.get(after));
    if after.is_empty() {
        layer.linear(weight, x, input, true);
        return simd::add_row(x, bias);
    }
    layer.linear(weight, &mut saved.raw, input, false);
    simd::add_row(&mut saved.raw, bias);
    norm(&saved.raw, after, &layer.shape, &mut saved.normed, &mut saved.inverse);
    simd::add(x, &saved.normed);
}

/// From the gradient of the stream to that of what the product has given.
fn residual_backward(
    out: &mut Vec<f32>,
    dx: &[f32],
    layer: &Layer<'_>,
    (after, saved): (Part, &Residual),
    slopes: &mut Slopes,
) {
    let weight = layer.get(after);
    if weight.is_empty() {
        out.clear();
        return out.extend_from_slice(dx);
    }
    zeroed(out, dx.len());
    let normed = Normed { x: &saved.raw, weight, inverses: &saved.inverse };
    simd::rms_norm_backward(dx, normed, out, slopes.norm(after, weight.len()));
}

/// Norms of each head's queries and keys, where the family has them.
fn norm_heads(saved: &mut Saved, layer: &Layer<'_>) {
    let (shape, q_norm, k_norm) = (&layer.shape, layer.get(Part::QNorm), layer.get(Part::KNorm));
    if q_norm.is_empty() {
        return;
    }
    let (turned, heads) = (shape.turned(), shape.heads + shape.shared);
    let tokens = saved.qkv.len() / shape.qkv();
    sized(&mut saved.raw, tokens * turned);
    sized(&mut saved.raw_inverse, tokens * heads);
    let rows = saved.qkv.chunks_exact_mut(shape.qkv()).zip(saved.raw.chunks_exact_mut(turned));
    for ((row, raw), inverse) in rows.zip(saved.raw_inverse.chunks_exact_mut(heads)) {
        raw.copy_from_slice(&row[..turned]);
        let at = shape.attended();
        let (q_inverse, k_inverse) = inverse.split_at_mut(shape.heads);
        simd::rms_norm(&raw[..at], q_norm, shape.epsilon, &mut row[..at], q_inverse);
        simd::rms_norm(&raw[at..], k_norm, shape.epsilon, &mut row[at..turned], k_inverse);
    }
}

/// Gradient of [`norm_heads`], in place in `slopes.qkv`.
fn norm_heads_backward(saved: &Saved, layer: &Layer<'_>, slopes: &mut Slopes) {
    let (shape, q_norm, k_norm) = (&layer.shape, layer.get(Part::QNorm), layer.get(Part::KNorm));
    if q_norm.is_empty() {
        return;
    }
    let (at, turned, heads) = (shape.attended(), shape.turned(), shape.heads + shape.shared);
    let (mut q_sum, mut k_sum) = (vec![0.0; shape.size], vec![0.0; shape.size]);
    let mut dx = vec![0.0; turned];
    let rows = slopes.qkv.chunks_exact_mut(shape.qkv()).zip(saved.raw.chunks_exact(turned));
    for ((row, raw), inverses) in rows.zip(saved.raw_inverse.chunks_exact(heads)) {
        dx.fill(0.0);
        let q = Normed { x: &raw[..at], weight: q_norm, inverses: &inverses[..shape.heads] };
        simd::rms_norm_backward(&row[..at], q, &mut dx[..at], &mut q_sum);
        let k = Normed { x: &raw[at..], weight: k_norm, inverses: &inverses[shape.heads..] };
        simd::rms_norm_backward(&row[at..turned], k, &mut dx[at..], &mut k_sum);
        row[..turned].copy_from_slice(&dx);
    }
    slopes.norms[Part::QNorm as usize] = q_sum;
    slopes.norms[Part::KNorm as usize] = k_sum;
}
