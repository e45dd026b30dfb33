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
use super::{Rotary, Shape, Weights, simd};
use crate::model::parts::Part;

mod attention;
mod chunk;
mod layer;

pub use chunk::Chunk;
use chunk::Pass;

/// About how many tokens a chunk has at most: enough for full matrix products, few enough to divide a batch.
const CHUNK: usize = 512;
/// About how many it has at least, if that leaves two chunks, where weights are [`LARGE`]: a product packs
/// its weight first, which takes a quarter of its time with 64 tokens and a tenth with 256.
const FULL: usize = 256;
/// Values of a weight that no cache of one core holds.
const LARGE: usize = 1 << 20;

/// Rows of a weight `[rows, columns]` whose gradient is one task. Each task packs the inputs anew.
fn block(rows: usize, columns: usize) -> usize {
    if rows * columns > LARGE { 256 } else { 64 }
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
        if !self.rotary.covers(longest) {
            self.rotary = Rotary::new(&weights.config, longest);
        }
        self.divide(sequences);
        let pass = Pass::new(weights, &self.rotary, self.recompute, self.used);
        self.chunks[..self.used].par_iter_mut().for_each(|chunk| chunk.forward(pass));
    }

    /// Runs the layers of `weights` on the streams that another trunk's batch has ended in, as if they stood
    /// behind its last layer. `weights` needs no embeddings.
    pub fn branch(&mut self, weights: &Weights, from: &Trunk) {
        let longest = from.chunks[..from.used].iter().flat_map(|c| &c.sequences).map(|s| s.1).max();
        if !self.rotary.covers(longest.unwrap_or(0)) {
            self.rotary = from.rotary.clone();
        }
        self.used = from.used;
        self.chunks.resize_with(self.chunks.len().max(self.used), Chunk::default);
        let pass = Pass::new(weights, &self.rotary, self.recompute, self.used);
        self.chunks[..self.used].par_iter_mut().zip(&from.chunks).for_each(|(chunk, from)| {
            chunk.tokens.clone_from(&from.tokens);
            chunk.sequences.clone_from(&from.sequences);
            chunk.x.clone_from(&from.x);
            chunk.run_layers(pass);
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
    /// `gradients` (in the order of [`Weights::all`], then A and B of each adapter; an empty one is left
    /// out).
    pub fn backward(&mut self, weights: &Weights, gradients: &mut [Vec<f32>]) {
        let shape = self.shape;
        let pass = Pass::new(weights, &self.rotary, self.recompute, self.used);
        let chunks = &mut self.chunks[..self.used];
        let norm = weights.norm_index();
        chunks.par_iter_mut().for_each(|chunk| chunk.backward_start(&weights.all[norm]));
        for chunk in chunks.iter() {
            simd::add(&mut gradients[norm], &chunk.norm);
        }
        for layer in (0..weights.config.num_hidden_layers).rev() {
            chunks.par_iter_mut().for_each(|chunk| chunk.backward_layer(pass, layer));
            sum_weights(chunks, layer, weights, gradients);
        }
        if gradients[0].is_empty() {
            return;
        }
        let scale = weights.config.switches.embed_scale;
        for chunk in chunks.iter_mut() {
            if let Some(scale) = scale {
                simd::scale(&mut chunk.x, scale);
            }
            for (token, dx) in chunk.tokens.iter().zip(chunk.x.chunks_exact(shape.hidden)) {
                let at = *token as usize * shape.hidden;
                simd::add(&mut gradients[0][at..at + shape.hidden], dx);
            }
        }
    }

    /// Cuts a batch into chunks: whole sequences, in order, of [`CHUNK`] tokens or an eighth of a smaller
    /// batch, though not below [`FULL`] tokens or half of the batch where weights are large.
    fn divide(&mut self, sequences: &[&[u32]]) {
        let total: usize = sequences.iter().map(|s| s.len()).sum();
        let large = 2 * self.shape.inner * self.shape.hidden > LARGE;
        let least = if large { FULL.min(total.div_ceil(2)) } else { 0 };
        let goal = CHUNK.min(total.div_ceil(8).max(least));
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
fn sum_weights(chunks: &[Chunk], layer: usize, weights: &Weights, gradients: &mut [Vec<f32>]) {
    let (config, shape) = (&weights.config, Shape::of(&weights.config));
    for part in config.parts.iter().filter(|part| part.is_norm() || part.is_bias()) {
        let sum = config.index(layer, *part).map_or(&mut [][..], |at| &mut gradients[at]);
        if !sum.is_empty() {
            for chunk in chunks {
                chunk.slopes.add_to(sum, *part);
            }
        }
    }
    let products: [(Part, usize, usize, Of); 4] = [
        (Part::Qkv, shape.qkv(), shape.hidden, |c, l| (&c.slopes.qkv, &c.saved(l).normed_1)),
        (Part::Output, shape.hidden, shape.attended(), |c, l| (&c.slopes.middle, &c.saved(l).attended)),
        (Part::GateUp, 2 * shape.inner, shape.hidden, |c, l| (&c.slopes.gate_up, &c.saved(l).normed_2)),
        (Part::Down, shape.hidden, shape.inner, |c, _| (&c.slopes.out, &c.slopes.inner)),
    ];
    let first = 1 + layer * config.parts.len();
    let (gradients, adapted) = gradients.split_at_mut(weights.all.len());
    let sums = gradients[first..].iter_mut().zip(&config.parts);
    let tasks: Vec<_> = sums
        .filter_map(|(sum, part)| {
            products.iter().find(|product| product.0 == *part).map(|p| (sum, p.1, p.2, p.3))
        })
        .flat_map(|(sum, rows, columns, of)| {
            let height = block(rows, columns);
            sum.chunks_mut(height * columns)
                .enumerate()
                .map(move |(i, block)| (block, i * height, rows, columns, of))
        })
        .collect();
    tasks.into_par_iter().for_each(|(block, from, rows, columns, of)| {
        for chunk in chunks {
            let (slopes, inputs) = of(chunk, layer);
            add_outer(block, from, Outer { slopes, rows, inputs, columns });
        }
    });
    let adapters = weights.adapters.iter().zip(adapted.chunks_exact_mut(2));
    let tasks: Vec<_> = adapters
        .filter_map(|(adapter, sums)| {
            let (_, rows, _, of) =
                products.iter().find(|product| config.index(layer, product.0) == Some(adapter.weight))?;
            Some((adapter, sums, *rows, *of))
        })
        .collect();
    tasks.into_par_iter().for_each(|(adapter, sums, rows, of)| {
        let [a, b] = sums else { return };
        for chunk in chunks {
            let (slopes, inputs) = of(chunk, layer);
            adapter.add_gradients([a, b], inputs, slopes, rows);
        }
    });
}

/// The gradient of a weight, `slopes^T inputs`, before it is computed.
#[derive(Clone, Copy)]
pub struct Outer<'a> {
    /// `[N, rows]`
    pub slopes: &'a [f32],
    pub rows: usize,
    /// `[N, columns]`
    pub inputs: &'a [f32],
    pub columns: usize,
}

/// Adds rows `from..` of `slopes^T inputs` to a block of a weight's gradient.
pub fn add_outer(block: &mut [f32], from: usize, outer: Outer<'_>) {
    let Outer { slopes, rows, inputs, columns } = outer;
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
