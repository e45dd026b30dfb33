//! Heads that predict the tokens after the next, in training on burn's tensors.

use burn::tensor::Tensor;

use super::super::batch::{Example, Padded};
use super::super::future::targets;
use super::losses::{filled, loss_sum};
use crate::model::Decoder;
use crate::model::decoder::{Layer, Places};
use crate::model::weight::Weight;

/// Future heads on the device.
#[derive(Clone, Debug)]
pub struct Future {
    /// Of each head the weights of its layer, in the order of [`crate::model::DecoderConfig::parts`].
    pub layers: Vec<Vec<Tensor<2>>>,
    /// β
    pub weight: f32,
}

impl Future {
    /// Σ_k -Σ m_t log p_k over the targets of all heads, for the stream `[B, T, D]` of some rows and a
    /// decoder in the type that is computed in; `None` if no token has weight.
    pub fn loss_sum(
        &self,
        decoder: &Decoder,
        stream: &Tensor<3>,
        places: &Places,
        rows: &[&Example],
    ) -> Option<Tensor<1>> {
        let [count, len, size] = stream.dims();
        let of = |(k, layer): (usize, &Vec<Tensor<2>>)| {
            let (inputs, tokens, weights) = targets(rows, k + 1);
            if inputs.is_empty() {
                return None;
            }
            let cast = layer.iter().map(|weight| weight.clone().cast(decoder.dtype));
            let branch = Decoder {
                config: decoder.config.one_layer(),
                layers: vec![Layer(
                    decoder.config.parts.iter().copied().zip(cast.map(Weight::from)).collect(),
                )],
                ..decoder.clone()
            };
            let hidden =
                branch.normed(branch.through(stream.clone(), places, None)).reshape([count * len, size]);
            // Places in rows that stand one behind the other, as places in rows of one length.
            let mut starts = rows.iter().scan(0, |end, row| {
                let start = *end;
                *end += row.weights.len();
                Some((start, *end))
            });
            let (mut row, mut at) = (0, starts.next().unwrap_or_default());
            let padded = inputs.into_iter().map(|place| {
                while place >= at.1 {
                    (row, at) = (row + 1, starts.next().unwrap_or((at.1, usize::MAX)));
                }
                (row * len + place - at.0) as i64
            });
            let padded = Padded {
                rows: count,
                len,
                inputs: Vec::new(),
                places: filled(padded.collect(), 0),
                targets: filled(tokens.into_iter().map(i64::from).collect(), 0),
                weights: filled(weights, 0.0),
                values: Vec::new(),
            };
            loss_sum(&branch, &hidden, &padded, None, None)
        };
        let sums: Vec<Tensor<1>> = self.layers.iter().enumerate().filter_map(of).collect();
        (!sums.is_empty()).then(|| Tensor::cat(sums, 0).sum())
    }
}
