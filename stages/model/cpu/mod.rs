//! The decoder on the CPU, without a tensor library in between: the same weights and the same formulas as
//! [`super::decoder`], which is the reference that it is tested against.
//!
//! - [`simd`]: loops over slices, with the widest vectors of the machine
//! - [`matrix`]: matrix products
//! - [`trunk`]: forward and backward over whole sequences, for training
//! - [`head`]: the loss at its end
//! - [`packed`], [`cache`], [`decoder`]: weights, keys and values, and the forward pass, for generation
//!
//! Work is divided by the data alone (chunks of sequences, blocks of weights), never by the number of
//! threads, and sums are taken in a fixed order: any number of threads gives the same bits.

use super::{Decoder, DecoderConfig, tensors};

pub mod cache;
pub mod decoder;
pub mod head;
pub mod matrix;
pub mod packed;
pub mod simd;
pub mod trunk;

/// A decoder's weights, each row-major, in the order of [`super::Decoder::weights`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub config: DecoderConfig,
    pub all: Vec<Vec<f32>>,
}

/// Weights in a layer.
pub const PER_LAYER: usize = 6;

/// The weights of one layer, by their place in it.
#[derive(Clone, Copy)]
pub enum Part {
    AttentionNorm,
    Qkv,
    Output,
    MlpNorm,
    GateUp,
    Down,
}

impl Weights {
    /// A decoder's weights, copied.
    pub fn of(decoder: &Decoder) -> Self {
        Self {
            config: decoder.config.clone(),
            all: decoder.weights().into_iter().map(tensors::values).collect(),
        }
    }

    /// Where a layer's weight stands in the list.
    pub fn index(layer: usize, part: Part) -> usize {
        1 + layer * PER_LAYER + part as usize
    }

    pub fn layer(&self, layer: usize, part: Part) -> &[f32] {
        &self.all[Self::index(layer, part)]
    }

    pub fn norm_index(&self) -> usize {
        1 + self.config.num_hidden_layers * PER_LAYER
    }

    /// Where the output matrix stands: the embeddings if they are tied.
    pub fn head_index(&self) -> usize {
        if self.config.tie_word_embeddings { 0 } else { self.norm_index() + 1 }
    }
}

/// Sizes that every loop needs.
#[derive(Clone, Copy)]
pub struct Shape {
    pub hidden: usize,
    pub inner: usize,
    pub heads: usize,
    pub shared: usize,
    pub size: usize,
    pub epsilon: f32,
}

impl Shape {
    pub fn of(config: &DecoderConfig) -> Self {
        Self {
            hidden: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            shared: config.num_key_value_heads,
            size: config.head_dim,
            epsilon: config.rms_norm_eps as f32,
        }
    }

    /// Width of queries, keys and values of a token.
    pub fn qkv(&self) -> usize {
        (self.heads + 2 * self.shared) * self.size
    }

    /// Width of all heads' outputs.
    pub fn attended(&self) -> usize {
        self.heads * self.size
    }
}

/// Cosines and sines of rotary positions 0.., `size / 2` each a position.
#[derive(Clone, Default)]
pub struct Rotary {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotary {
    pub fn new(config: &DecoderConfig, positions: usize) -> Self {
        let half = config.head_dim / 2;
        let frequencies: Vec<f64> =
            (0..half).map(|i| config.rope_theta.powf(-(2.0 * i as f64) / config.head_dim as f64)).collect();
        let angles = || (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        Self {
            half,
            cos: angles().map(|a| a.cos() as f32).collect(),
            sin: angles().map(|a| a.sin() as f32).collect(),
        }
    }

    pub fn positions(&self) -> usize {
        self.cos.len() / self.half.max(1)
    }

    /// Turns a token's heads by its position; `-1` turns back.
    pub fn turn(&self, heads: &mut [f32], position: usize, direction: f32) {
        let at = position * self.half..(position + 1) * self.half;
        simd::rotate(heads, &self.cos[at.clone()], &self.sin[at], direction);
    }
}
