//! Forward and backward of a decoder over whole sequences, all tokens of a batch packed one behind the other:
//! attention stays inside of each sequence, nothing is padding.
//!
//! A batch is cut into [`Chunk`]s of whole sequences. A chunk goes through a layer on one thread; gradients
//! of weights are then summed over the chunks in their order, in blocks of a weight's rows. Attention keeps
//! log-sums, not probabilities, and computes these again (arXiv 2205.14135), so memory is linear in the
//! length. Shapes: N tokens of a chunk, D hidden, F inner, H heads of size d, K key/value heads, Q = (H + 2K)
//! d.

use rayon::prelude::*;

use super::matrix::{View, product};
use super::{Part, Rotary, Shape, Weights, simd};

/// About how many tokens a chunk has: enough for full matrix products, few enough to divide a batch.
const CHUNK: usize = 512;
/// Rows of scores that attention computes at once.
const SCORES: usize = 64;
/// Rows of a weight whose gradient is one task.
const BLOCK: usize = 64;

/// What a layer's backward pass needs of its forward pass.
#[derive(Default)]
struct Saved {
    /// `[N, D]`: the layer's input.
    x: Vec<f32>,
    inverse_1: Vec<f32>,
    /// `[N, D]`
    normed_1: Vec<f32>,
    /// `[N, Q]`, rotated.
    qkv: Vec<f32>,
    /// `[N, H]`
    log_sums: Vec<f32>,
    /// `[N, H d]`
    attended: Vec<f32>,
    /// `[N, D]`: after attention.
    middle: Vec<f32>,
    inverse_2: Vec<f32>,
    /// `[N, D]`
    normed_2: Vec<f32>,
    /// `[N, 2F]`
    gate_up: Vec<f32>,
}

/// Gradients of one layer's products, from a chunk's backward pass to the sums over chunks.
#[derive(Default)]
struct Slopes {
    /// `[N, Q]`
    qkv: Vec<f32>,
    /// `[N, D]`
    middle: Vec<f32>,
    /// `[N, 2F]`
    gate_up: Vec<f32>,
    /// `[N, F]`: input of `down`, computed again.
    inner: Vec<f32>,
    /// `[N, D]`
    out: Vec<f32>,
    norm_1: Vec<f32>,
    norm_2: Vec<f32>,
}

/// Some sequences of a batch and what was computed of them. Buffers are kept for the next batch.
#[derive(Default)]
pub struct Chunk {
    tokens: Vec<u32>,
    /// First token and length of each sequence.
    sequences: Vec<(usize, usize)>,
    /// One for each layer, or one for all if they are computed again.
    layers: Vec<Saved>,
    /// `[N, D]` each: the layers' inputs, if they are computed again.
    inputs: Vec<Vec<f32>>,
    /// `[N, D]`: the stream after the last layer; its gradient during the backward pass.
    x: Vec<f32>,
    inverse: Vec<f32>,
    /// `[N, D]`: final hidden states, normalised; the caller puts their gradient here.
    pub hidden: Vec<f32>,
    /// `[N, D]` or nothing: what else is to be added to the gradient of the stream after the last layer
    /// ([`Trunk::branch`]).
    added: Vec<f32>,
    slopes: Slopes,
    norm: Vec<f32>,
    scores: Vec<f32>,
    more: Vec<f32>,
    wide: Vec<f32>,
}

fn sized(buffer: &mut Vec<f32>, len: usize) {
    buffer.resize(len, 0.0);
}

fn zeroed(buffer: &mut Vec<f32>, len: usize) {
    buffer.clear();
    buffer.resize(len, 0.0);
}

/// A decoder at work on batches. `recompute` keeps a layer's input only and runs its forward pass again in
/// the backward pass (gradient checkpointing, arXiv 1604.06174): a third more work for a fraction of the
/// memory.
pub struct Trunk {
    shape: Shape,
    rotary: Rotary,
    pub chunks: Vec<Chunk>,
    used: usize,
    recompute: bool,
}

impl Trunk {
    pub fn new(weights: &Weights, recompute: bool) -> Self {
        Self {
            shape: Shape::of(&weights.config),
            rotary: Rotary::default(),
            chunks: Vec::new(),
            used: 0,
            recompute,
        }
    }

    /// Runs sequences forward; then [`Chunk::hidden`] of [`Trunk::active`] holds their final hidden states,
    /// all sequences' tokens in the order given.
    pub fn forward(&mut self, weights: &Weights, sequences: &[&[u32]]) {
        let longest = sequences.iter().map(|s| s.len()).max().unwrap_or(0);
        if self.rotary.positions() < longest {
            self.rotary = Rotary::new(&weights.config, longest);
        }
        self.divide(sequences);
        let (shape, rotary, recompute) = (self.shape, &self.rotary, self.recompute);
        self.chunks[..self.used]
            .par_iter_mut()
            .for_each(|chunk| chunk.forward(weights, &shape, rotary, recompute));
    }

    /// Runs the layers of `weights` on the streams that another trunk's batch has ended in, as if they stood
    /// behind its last layer. `weights` needs no embeddings.
    pub fn branch(&mut self, weights: &Weights, from: &Trunk) {
        if self.rotary.positions() < from.rotary.positions() {
            self.rotary = from.rotary.clone();
        }
        self.used = from.used;
        self.chunks.resize_with(self.chunks.len().max(self.used), Chunk::default);
        let (shape, rotary, recompute) = (self.shape, &self.rotary, self.recompute);
        self.chunks[..self.used].par_iter_mut().zip(&from.chunks).for_each(|(chunk, from)| {
            chunk.tokens.clone_from(&from.tokens);
            chunk.sequences.clone_from(&from.sequences);
            chunk.x.clone_from(&from.x);
            chunk.run_layers(weights, &shape, rotary, recompute);
        });
    }

    /// After the backward pass of a branch: adds the gradient of its input to what this trunk's own backward
    /// pass begins with.
    pub fn join(&mut self, branch: &Trunk) {
        self.chunks[..self.used].par_iter_mut().zip(&branch.chunks).for_each(|(chunk, from)| {
            chunk.added.resize(from.x.len(), 0.0);
            simd::add(&mut chunk.added, &from.x);
        });
    }

    /// The chunks of the last batch.
    pub fn active(&mut self) -> &mut [Chunk] {
        &mut self.chunks[..self.used]
    }

    /// From the gradient in [`Chunk::hidden`] to that of all weights but the output matrix, added to
    /// `gradients` (in the order of [`Weights::all`]; an empty one is left out).
    pub fn backward(&mut self, weights: &Weights, gradients: &mut [Vec<f32>]) {
        let (shape, rotary, recompute) = (self.shape, &self.rotary, self.recompute);
        let chunks = &mut self.chunks[..self.used];
        let norm = weights.norm_index();
        chunks.par_iter_mut().for_each(|chunk| chunk.backward_start(&weights.all[norm]));
        for chunk in chunks.iter() {
            simd::add(&mut gradients[norm], &chunk.norm);
        }
        for layer in (0..weights.config.num_hidden_layers).rev() {
            chunks
                .par_iter_mut()
                .for_each(|chunk| chunk.backward_layer(weights, layer, &shape, rotary, recompute));
            sum_weights(chunks, layer, &shape, gradients);
        }
        if gradients[0].is_empty() {
            return;
        }
        for chunk in chunks.iter() {
            for (token, dx) in chunk.tokens.iter().zip(chunk.x.chunks_exact(shape.hidden)) {
                let at = *token as usize * shape.hidden;
                simd::add(&mut gradients[0][at..at + shape.hidden], dx);
            }
        }
    }

    /// Cuts a batch into chunks: whole sequences, in order, of [`CHUNK`] tokens or an eighth of a smaller
    /// batch.
    fn divide(&mut self, sequences: &[&[u32]]) {
        let total: usize = sequences.iter().map(|s| s.len()).sum();
        let goal = CHUNK.min(total.div_ceil(8));
        self.used = 0;
        let mut open = false;
        for sequence in sequences {
            if !open {
                if self.chunks.len() == self.used {
                    self.chunks.push(Chunk::default());
                }
                let chunk = &mut self.chunks[self.used];
                chunk.tokens.clear();
                chunk.sequences.clear();
                self.used += 1;
            }
            let chunk = &mut self.chunks[self.used - 1];
            chunk.sequences.push((chunk.tokens.len(), sequence.len()));
            chunk.tokens.extend_from_slice(sequence);
            open = chunk.tokens.len() < goal;
        }
    }
}

/// Gradient of a product's outputs and its inputs, of one chunk and layer.
type Of = fn(&Chunk, usize) -> (&[f32], &[f32]);

/// Adds one layer's gradients of all chunks, in the order of the chunks, block by block.
fn sum_weights(chunks: &[Chunk], layer: usize, shape: &Shape, gradients: &mut [Vec<f32>]) {
    let first = Weights::index(layer, Part::AttentionNorm);
    let [norm_1, qkv, output, norm_2, gate_up, down] = &mut gradients[first..first + super::PER_LAYER] else {
        return;
    };
    for chunk in chunks {
        if !norm_1.is_empty() {
            simd::add(norm_1, &chunk.slopes.norm_1);
        }
        if !norm_2.is_empty() {
            simd::add(norm_2, &chunk.slopes.norm_2);
        }
    }
    let products: [(&mut Vec<f32>, usize, usize, Of); 4] = [
        (qkv, shape.qkv(), shape.hidden, |c, l| (&c.slopes.qkv, &c.saved(l).normed_1)),
        (output, shape.hidden, shape.attended(), |c, l| (&c.slopes.middle, &c.saved(l).attended)),
        (gate_up, 2 * shape.inner, shape.hidden, |c, l| (&c.slopes.gate_up, &c.saved(l).normed_2)),
        (down, shape.hidden, shape.inner, |c, _| (&c.slopes.out, &c.slopes.inner)),
    ];
    let tasks: Vec<_> = products
        .into_iter()
        .flat_map(|(sum, rows, columns, of)| {
            sum.chunks_mut(BLOCK * columns)
                .enumerate()
                .map(move |(i, block)| (block, i * BLOCK, rows, columns, of))
        })
        .collect();
    tasks.into_par_iter().for_each(|(block, from, rows, columns, of)| {
        for chunk in chunks {
            let (slopes, inputs) = of(chunk, layer);
            add_outer(block, from, slopes, rows, inputs, columns);
        }
    });
}

/// Adds rows `from..` of `slopes^T inputs` to a block of a weight's gradient; `slopes [N, rows]`, `inputs [N,
/// columns]`.
pub fn add_outer(
    block: &mut [f32],
    from: usize,
    slopes: &[f32],
    rows: usize,
    inputs: &[f32],
    columns: usize,
) {
    let (tokens, height) = (inputs.len() / columns, block.len() / columns);
    if tokens > 0 {
        product(
            block,
            columns,
            View::new(&slopes[from..], tokens, height, rows).t(),
            View::rows(inputs, columns),
            true,
        );
    }
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

    fn saved(&self, layer: usize) -> &Saved {
        &self.layers[layer.min(self.layers.len() - 1)]
    }

    fn forward(&mut self, weights: &Weights, shape: &Shape, rotary: &Rotary, recompute: bool) {
        let d = shape.hidden;
        self.x.clear();
        for token in &self.tokens {
            self.x.extend_from_slice(&weights.all[0][*token as usize * d..(*token as usize + 1) * d]);
        }
        self.run_layers(weights, shape, rotary, recompute);
    }

    /// From the stream before the first layer in `self.x` to the final hidden states.
    fn run_layers(&mut self, weights: &Weights, shape: &Shape, rotary: &Rotary, recompute: bool) {
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
            self.forward_layer(&mut saved, &mut x, weights, layer, shape, rotary);
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
    fn forward_layer(
        &mut self,
        saved: &mut Saved,
        out: &mut Vec<f32>,
        weights: &Weights,
        layer: usize,
        shape: &Shape,
        rotary: &Rotary,
    ) {
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

    /// Causal attention inside of each sequence: `saved.attended` and its log-sums from `saved.qkv`.
    fn attend(&mut self, saved: &mut Saved, shape: &Shape) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        let scale = 1.0 / (size as f32).sqrt();
        sized(&mut saved.log_sums, n * shape.heads);
        sized(&mut saved.attended, n * o);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let key = (shape.heads + head / (shape.heads / shape.shared)) * size;
                let value = key + shape.shared * size;
                for from in (0..len).step_by(SCORES) {
                    let (rows, seen) = (SCORES.min(len - from), (from + SCORES).min(len));
                    sized(&mut self.scores, rows * seen);
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(start + from, head * size), rows, size, q);
                    product(
                        &mut self.scores,
                        seen,
                        queries,
                        View::new(at(start, key), seen, size, q).t(),
                        false,
                    );
                    for (row, scores) in self.scores.chunks_exact_mut(seen).enumerate() {
                        let (visible, hidden) = scores.split_at_mut(from + row + 1);
                        saved.log_sums[(start + from + row) * shape.heads + head] =
                            simd::softmax(visible, scale);
                        hidden.fill(0.0);
                    }
                    let out = &mut saved.attended[(start + from) * o + head * size..];
                    product(
                        out,
                        o,
                        View::rows(&self.scores, seen),
                        View::new(at(start, value), seen, size, q),
                        false,
                    );
                }
            }
        }
    }

    /// From the gradient of the final hidden states to that of the stream.
    fn backward_start(&mut self, norm: &[f32]) {
        let dy = std::mem::take(&mut self.hidden);
        let mut dx = std::mem::take(&mut self.more);
        zeroed(&mut dx, dy.len());
        zeroed(&mut self.norm, norm.len());
        simd::rms_norm_backward(&dy, &self.x, norm, &self.inverse, &mut dx, &mut self.norm);
        simd::add(&mut dx, &self.added);
        self.added.clear();
        self.more = std::mem::replace(&mut self.x, dx);
        self.hidden = dy;
    }

    /// Turns the gradient of a layer's output in `self.x` into that of its input; leaves in `self.slopes`
    /// what the gradients of its weights are made of.
    fn backward_layer(
        &mut self,
        weights: &Weights,
        layer: usize,
        shape: &Shape,
        rotary: &Rotary,
        recompute: bool,
    ) {
        let weight = |part| weights.layer(layer, part);
        let d = shape.hidden;
        let slot = if recompute { 0 } else { layer };
        let mut saved = std::mem::take(&mut self.layers[slot]);
        if recompute {
            saved.x.clone_from(&self.inputs[layer]);
            let mut out = std::mem::take(&mut self.more);
            self.forward_layer(&mut saved, &mut out, weights, layer, shape, rotary);
            self.more = out;
        }
        let mut slopes = std::mem::take(&mut self.slopes);

        slopes.out.clone_from(&self.x);
        linear_backward(&mut slopes.inner, &self.x, weight(Part::Down), shape.inner);
        slopes.gate_up.clone_from(&saved.gate_up);
        simd::swiglu_backward(&mut slopes.gate_up, &mut slopes.inner, shape.inner);
        linear_backward(&mut self.more, &slopes.gate_up, weight(Part::GateUp), d);
        zeroed(&mut slopes.norm_2, d);
        simd::rms_norm_backward(
            &self.more,
            &saved.middle,
            weight(Part::MlpNorm),
            &saved.inverse_2,
            &mut self.x,
            &mut slopes.norm_2,
        );

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
        simd::rms_norm_backward(
            &self.more,
            &saved.x,
            weight(Part::AttentionNorm),
            &saved.inverse_1,
            &mut self.x,
            &mut slopes.norm_1,
        );
        self.slopes = slopes;
        self.layers[slot] = saved;
    }

    /// Gradient of [`Chunk::attend`] with respect to the rotated queries, keys and values.
    fn attend_backward(&mut self, saved: &Saved, dattended: &[f32], dqkv: &mut Vec<f32>, shape: &Shape) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        let scale = 1.0 / (size as f32).sqrt();
        zeroed(dqkv, n * q);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let (query, key) = (head * size, (shape.heads + head / (shape.heads / shape.shared)) * size);
                let value = key + shape.shared * size;
                for from in (0..len).step_by(SCORES) {
                    let (rows, seen) = (SCORES.min(len - from), (from + SCORES).min(len));
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(start + from, query), rows, size, q);
                    let (keys, values) = (
                        View::new(at(start, key), seen, size, q),
                        View::new(at(start, value), seen, size, q),
                    );
                    let place = (start + from) * o + head * size;
                    let dout = View::new(&dattended[place..], rows, size, o);
                    sized(&mut self.scores, rows * seen);
                    sized(&mut self.more, rows * seen);
                    product(&mut self.scores, seen, queries, keys.t(), false);
                    product(&mut self.more, seen, dout, values.t(), false);
                    for (row, (p, dp)) in
                        self.scores.chunks_exact_mut(seen).zip(self.more.chunks_exact_mut(seen)).enumerate()
                    {
                        let visible = from + row + 1;
                        let place = place + row * o;
                        let delta =
                            simd::dot(&dattended[place..place + size], &saved.attended[place..place + size]);
                        let log_sum = saved.log_sums[(start + from + row) * shape.heads + head];
                        simd::softmax_backward(&mut p[..visible], &mut dp[..visible], scale, log_sum, delta);
                        p[visible..].fill(0.0);
                        dp[visible..].fill(0.0);
                    }
                    let (p, ds) = (View::rows(&self.scores, seen), View::rows(&self.more, seen));
                    product(&mut dqkv[start * q + value..], q, p.t(), dout, true);
                    product(&mut dqkv[(start + from) * q + query..], q, ds, keys, true);
                    product(&mut dqkv[start * q + key..], q, ds.t(), queries, true);
                }
            }
        }
    }
}
