//! Where the tokens of a call stand, and what they may look at.

use burn::tensor::{Device, Tensor, TensorData};

use super::Decoder;
use crate::model::config::{Attention, DecoderConfig};
use crate::model::rope::Rope;

/// Score of a masked column: far below any real score, and finite, so that a row with nothing to see stays
/// finite.
pub const MASKED: f32 = -1e9;

/// Where the tokens of a call stand and what they may look at.
pub struct Places {
    /// For layers that see all.
    pub global: View,
    /// For layers with a window, if the decoder has any.
    pub local: Option<View>,
}

/// Positions and sight of a kind of layer.
#[derive(Clone)]
pub struct View {
    /// Rotary `cos` and `sin`, `[B or 1, 1, T, d/2]`.
    pub cos: Tensor<4>,
    pub sin: Tensor<4>,
    /// Added to attention scores: 0 or [`MASKED`], `[B or 1, 1, T, columns]`; `None` if all may look at all.
    pub mask: Option<Tensor<4>>,
    /// The same for what all rows have in common at their start, `[B or 1, 1, T, P]`.
    pub before: Option<Tensor<4>>,
}

impl Places {
    /// For a layer with this window.
    pub fn of(&self, window: Option<usize>) -> &View {
        match (&self.local, window) {
            (Some(local), Some(_)) => local,
            _ => &self.global,
        }
    }
}

impl DecoderConfig {
    /// The window of layers that have one, and their rope. All have the same.
    pub fn local(&self) -> Option<(usize, &Rope)> {
        let window = self.attention.iter().find_map(|Attention { window, .. }| *window)?;
        Some((window, self.local_rope.as_ref().unwrap_or(&self.rope)))
    }
}

impl Decoder {
    /// Places of whole sequences from their start, each token seeing those before it.
    pub fn causal(&self, tokens: usize, device: &Device) -> Places {
        self.following(0, tokens, device)
    }

    /// Places of tokens that follow `from` others, which all rows have in common; each sees those before it.
    pub fn following(&self, from: usize, tokens: usize, device: &Device) -> Places {
        let half = self.config.head_dim / 2;
        let view = |rope: &Rope, window: Option<usize>| {
            let (cos, sin) = rope.table(from..from + tokens, self.config.head_dim);
            let table = |values| Tensor::from_data(TensorData::new(values, [1, 1, tokens, half]), device);
            // Scores of the columns that stand at `first..`.
            let mask = |first: usize, columns: usize| {
                let sees = |own: usize, other: usize| other <= own && window.is_none_or(|w| own < other + w);
                let score = |own, other| if sees(own, other) { 0.0 } else { MASKED };
                let rows =
                    (from..from + tokens).flat_map(|own| (first..first + columns).map(move |o| (own, o)));
                let values: Vec<f32> = rows.map(|(own, other)| score(own, other)).collect();
                Tensor::from_data(TensorData::new(values, [1, 1, tokens, columns]), device)
            };
            View {
                cos: table(cos),
                sin: table(sin),
                mask: Some(mask(from, tokens)),
                before: (window.is_some() && from > 0).then(|| mask(0, from)),
            }
        };
        Places {
            global: view(&self.config.rope, None),
            local: self.config.local().map(|(window, rope)| view(rope, Some(window))),
        }
    }
}
