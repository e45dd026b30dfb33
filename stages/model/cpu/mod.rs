//! The decoder on the CPU, without a tensor library in between: the same weights and the same formulas as
//! [`super::decoder`], which is the reference that it is tested against.
//!
//! - [`simd`]: loops over slices, with the widest vectors of the machine
//! - [`matrix`]: matrix products
//! - [`trunk`]: forward and backward over whole sequences, for training
//! - [`head`]: the loss at its end; [`low_rank`]: adapters beside weights
//! - [`packed`], [`int8`], [`cache`], [`decoder`]: weights (in [`pages`]), keys and values, and the forward
//!   pass, for generation
//!
//! Work is divided by the data alone (chunks of sequences, blocks of weights), never by the number of
//! threads, and sums are taken in a fixed order: any number of threads gives the same bits.

use super::config::Attention;
use super::parts::{Activation, Part};
use super::rope::Rope;
use super::weight::Weight;
use super::{Decoder, DecoderConfig};

pub mod cache;
pub mod decoder;
pub mod head;
pub mod int8;
pub mod low_rank;
pub mod matrix;
pub mod packed;
pub mod pages;
pub mod simd;
pub mod trunk;

use low_rank::LowRank;

/// A decoder's weights, each row-major, in the order of [`super::Decoder::weights`].
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    pub config: DecoderConfig,
    pub all: Vec<Vec<f32>>,
    /// Changes of these, in the order of the weights.
    pub adapters: Vec<LowRank>,
}

impl Weights {
    /// A decoder's weights, copied.
    pub fn of(decoder: &Decoder) -> Self {
        Self {
            config: decoder.config.clone(),
            all: decoder.weights().into_iter().map(Weight::values).collect(),
            adapters: Vec::new(),
        }
    }

    /// A layer's weight; empty if its family has none.
    pub fn layer(&self, layer: usize, part: Part) -> &[f32] {
        self.config.index(layer, part).map_or(&[], |index| &self.all[index])
    }

    /// All values: those of the weights, then A and B of each adapter.
    pub fn every(&self) -> impl Iterator<Item = &Vec<f32>> {
        self.all.iter().chain(self.adapters.iter().flat_map(|adapter| [&adapter.a, &adapter.b]))
    }

    /// As [`Weights::every`].
    pub fn every_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        self.all.iter_mut().chain(self.adapters.iter_mut().flat_map(|own| [&mut own.a, &mut own.b]))
    }

    /// The changes of a weight.
    pub fn adapters_of(&self, weight: usize) -> &[LowRank] {
        let first = self.adapters.partition_point(|adapter| adapter.weight < weight);
        let count = self.adapters[first..].partition_point(|adapter| adapter.weight == weight);
        &self.adapters[first..first + count]
    }

    pub fn norm_index(&self) -> usize {
        self.config.norm_index()
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
    /// What attention scores are multiplied by.
    pub scale: f32,
    pub activation: Activation,
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
            scale: config.attention_scale(),
            activation: config.switches.activation,
        }
    }

    /// Width of queries and keys of a token.
    pub fn turned(&self) -> usize {
        (self.heads + self.shared) * self.size
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

/// Turns queries and keys: by one rope, or by another where a layer has a window.
#[derive(Clone, Default)]
pub struct Rotary {
    global: Table,
    local: Option<Table>,
}

/// Cosines and sines of positions 0.., `size / 2` each a position.
#[derive(Clone, Default)]
struct Table {
    frequencies: Vec<f64>,
    factor: f64,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Positions that have a place in a table; beyond, angles are computed when they are needed.
const TABLE: usize = 8192;

impl Rotary {
    pub fn new(config: &DecoderConfig, positions: usize) -> Self {
        let table = |rope: &Rope| {
            let (cos, sin) = rope.table(0..positions.min(TABLE), config.head_dim);
            let (frequencies, factor) = rope.frequencies(config.head_dim);
            Table { frequencies, factor, cos, sin }
        };
        Self { global: table(&config.rope), local: config.local_rope.as_ref().map(table) }
    }

    /// Whether the tables are as long as they need to be for so many positions.
    pub fn covers(&self, positions: usize) -> bool {
        self.global.cos.len() >= positions.min(TABLE) * self.global.frequencies.len()
            && !self.global.frequencies.is_empty()
    }

    /// Turns a token's heads by its position, as a layer does; `-1` turns back.
    pub fn turn(&self, layer: Attention, heads: &mut [f32], position: usize, direction: f32) {
        let local = self.local.as_ref().filter(|_| layer.window.is_some());
        let Table { frequencies, factor, cos, sin } = local.unwrap_or(&self.global);
        let at = position * frequencies.len()..(position + 1) * frequencies.len();
        match (layer.rotary, cos.get(at.clone()), sin.get(at)) {
            (false, ..) => {}
            (true, Some(cos), Some(sin)) => simd::rotate(heads, cos, sin, direction),
            (true, ..) => {
                let angles = || frequencies.iter().map(|frequency| position as f64 * frequency);
                let cos: Vec<f32> = angles().map(|angle| (angle.cos() * factor) as f32).collect();
                let sin: Vec<f32> = angles().map(|angle| (angle.sin() * factor) as f32).collect();
                simd::rotate(heads, &cos, &sin, direction);
            }
        }
    }
}
