//! Keys and values on a device, for generation.
//!
//! A [`Block`] has a fixed number of slots with a fixed number of cells each. It is made once; every pass
//! writes its cells in place, so no tensor grows and no shape changes from token to token. What all rows have
//! in common at their start stands beside it, once.

use burn::tensor::{Device, FloatDType, IndexingUpdateOp, Int, Tensor};

use super::DecoderConfig;

/// Keys and values of one layer.
pub type Pair<const D: usize> = (Tensor<D>, Tensor<D>);

/// Keys and values for rows at work.
pub struct Block {
    /// Per layer `[slots * K * capacity, d]`.
    layers: Vec<Option<Pair<2>>>,
    pub slots: usize,
    /// Cells of a slot.
    pub capacity: usize,
    /// K: heads of keys and values.
    heads: usize,
    size: usize,
}

impl Block {
    pub fn new(
        config: &DecoderConfig,
        slots: usize,
        capacity: usize,
        dtype: FloatDType,
        device: &Device,
    ) -> Self {
        let (heads, size) = (config.num_key_value_heads, config.head_dim);
        let empty = || {
            Tensor::<2>::zeros([slots * heads * capacity, size], (device, burn::tensor::DType::from(dtype)))
        };
        let layers = (0..config.num_hidden_layers).map(|_| Some((empty(), empty()))).collect();
        Self { layers, slots, capacity, heads, size }
    }

    /// Bytes of one slot.
    pub fn slot_bytes(config: &DecoderConfig, capacity: usize, dtype: FloatDType) -> usize {
        let element = if dtype == FloatDType::F32 { 4 } else { 2 };
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * capacity * element
    }

    /// Which row of a layer's matrix holds a cell, for each head.
    pub fn cells(&self, slot: usize, cell: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.heads).map(move |head| (slot * self.heads + head) * self.capacity + cell)
    }

    /// Writes keys and values `[N, d]` to cells `[N, 1]` of a layer, in place.
    pub fn write(&mut self, layer: usize, cells: &Tensor<2, Int>, keys: Tensor<2>, values: Tensor<2>) {
        // Taken out, so that nobody else holds the tensors: only then they are written in place.
        if let Some((k, v)) = self.layers[layer].take() {
            let put =
                |old: Tensor<2>, new: Tensor<2>| old.scatter_nd(cells.clone(), new, IndexingUpdateOp::Assign);
            self.layers[layer] = Some((put(k, keys), put(v, values)));
        }
    }

    /// The first cells of all slots, `[slots, K, columns, d]`.
    fn first(&self, layer: usize, columns: usize) -> Option<Pair<4>> {
        let shape = [self.slots, self.heads, self.capacity, self.size];
        let view = |t: &Tensor<2>| t.clone().reshape(shape).narrow(2, 0, columns);
        self.layers[layer].as_ref().map(|(k, v)| (view(k), view(v)))
    }
}

/// What prompts have in common at their start.
pub struct Prefix {
    pub tokens: Vec<u32>,
    /// Per layer `[1, K, P, d]`.
    pub layers: Vec<Pair<4>>,
}

/// What tokens of a pass look at besides each other, and where their keys and values go.
#[allow(clippy::large_enum_variant)]
pub enum Memory<'a> {
    /// Whole prompts, the common part excepted: what they compute is handed out, `[B, K, T, d]` per layer.
    Prompts { prefix: Option<&'a Prefix>, made: Vec<Pair<4>> },
    /// A token for each slot of the block, written to its `cells` and looking at the first `columns`.
    Slots { prefix: Option<&'a Prefix>, block: &'a mut Block, cells: Tensor<2, Int>, columns: usize },
}

impl Memory<'_> {
    /// Keys and values of the common part.
    pub fn prefix(&self, layer: usize) -> Option<Pair<4>> {
        let (Self::Prompts { prefix, .. } | Self::Slots { prefix, .. }) = self;
        prefix.map(|p| p.layers[layer].clone())
    }

    /// Keeps a layer's new keys and values; returns those that the tokens look at.
    pub fn exchange(&mut self, layer: usize, k: Tensor<4>, v: Tensor<4>) -> Pair<4> {
        match self {
            Self::Prompts { made, .. } => {
                made.push((k.clone(), v.clone()));
                (k, v)
            }
            Self::Slots { block, cells, columns, .. } => {
                let [rows, heads, _, size] = k.dims();
                block.write(
                    layer,
                    cells,
                    k.clone().reshape([rows * heads, size]),
                    v.clone().reshape([rows * heads, size]),
                );
                block.first(layer, *columns).unwrap_or((k, v))
            }
        }
    }
}
