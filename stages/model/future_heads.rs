//! Heads that predict the tokens after the next one (multi-token prediction, arXiv 2404.19737): each is one
//! more decoder layer on the stream after the decoder's last layer, before its final norm; norm and output
//! matrix are the decoder's own. Head k of 1..=n, read after token t, predicts token t + 1 + k.
//!
//! They stand in a file of their own in the model directory, which other programs pass over. No answer
//! depends on them, and so no fingerprint does.

use std::path::Path;

use super::cpu::{PER_LAYER, Weights};
use super::decoder::normal;
use super::{DecoderConfig, ModelError, tensors};

/// Their file in a model directory.
pub const FILE: &str = "future_heads.safetensors";

/// Names of a layer's weights, in the order of [`super::cpu::Part`].
const PARTS: [&str; PER_LAYER] = ["attention_norm", "qkv", "output", "mlp_norm", "gate_up", "down"];

/// Weights of future heads.
#[derive(Clone, Debug, PartialEq)]
pub struct FutureHeads {
    /// Of each head the weights of its layer, in the order of [`super::cpu::Part`].
    pub layers: Vec<[Vec<f32>; PER_LAYER]>,
}

/// Shapes of a layer's weights, `[out, in]`; norms are `[1, D]`.
pub fn shapes(config: &DecoderConfig) -> [[usize; 2]; PER_LAYER] {
    let (d, query) = (config.hidden_size, config.num_attention_heads * config.head_dim);
    let qkv = query + 2 * config.num_key_value_heads * config.head_dim;
    [[1, d], [qkv, d], [d, query], [1, d], [2 * config.intermediate_size, d], [d, config.intermediate_size]]
}

impl FutureHeads {
    /// Untrained heads, drawn as the layers of a decoder are.
    pub fn random(config: &DecoderConfig, count: usize, seed: u64) -> Self {
        let residual = 0.02 / (2.0 * config.num_hidden_layers as f32).sqrt();
        let layer = |k: usize| {
            let mut rng = datasets::key::rng(&["future head".into(), seed.into(), (k as u64).into()]);
            let mut part = 0;
            shapes(config).map(|[rows, columns]| {
                part += 1;
                match part {
                    1 | 4 => vec![1.0; rows * columns],
                    3 | 6 => normal(&mut rng, rows * columns, residual),
                    _ => normal(&mut rng, rows * columns, 0.02),
                }
            })
        };
        Self { layers: (1..=count).map(layer).collect() }
    }

    /// Their file: name and content.
    ///
    /// # Errors
    /// If the tensors cannot be encoded.
    pub fn file(&self, config: &DecoderConfig) -> Result<(String, Vec<u8>), ModelError> {
        let shapes = shapes(config);
        let names: Vec<String> =
            (1..=self.layers.len()).flat_map(|k| PARTS.map(|part| name(k, part))).collect();
        let values = self.layers.iter().flatten().zip(shapes.iter().cycle());
        let tensors: Vec<(&str, &[usize], &[f32])> =
            names.iter().zip(values).map(|(n, (v, s))| (n.as_str(), &s[..], &v[..])).collect();
        Ok((FILE.to_owned(), tensors::write(&tensors)?))
    }

    /// Reads the heads of a decoder of this shape from the bytes of their file; `path` is named in errors.
    ///
    /// # Errors
    /// If the file is damaged, lacks a tensor, or belongs to another decoder.
    pub fn parse(path: &Path, bytes: &[u8], config: &DecoderConfig) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
        let mut tensors = tensors::read(path, bytes)?;
        let mut layers = Vec::new();
        while !tensors.is_empty() {
            let mut layer: [Vec<f32>; PER_LAYER] = Default::default();
            for ((place, part), expected) in layer.iter_mut().zip(PARTS).zip(shapes(config)) {
                let name = name(layers.len() + 1, part);
                let (shape, values) =
                    tensors.remove(&name).ok_or_else(|| bad(format!("lacks tensor `{name}`")))?;
                if shape != expected {
                    return Err(bad(format!(
                        "tensor `{name}` has shape {shape:?}, config.json implies {expected:?}"
                    )));
                }
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    return Err(bad(format!("tensor `{name}` contains {} at element {at}", values[at])));
                }
                *place = values;
            }
            layers.push(layer);
        }
        if layers.is_empty() {
            return Err(bad("holds no head".into()));
        }
        Ok(Self { layers })
    }
}

fn name(head: usize, part: &str) -> String {
    format!("future_heads.{head}.{part}")
}

/// A head's layer as a decoder of one layer that reads a stream instead of tokens: no embeddings, and the
/// decoder's own norm.
pub fn as_weights(config: &DecoderConfig, layer: [Vec<f32>; PER_LAYER], norm: Vec<f32>) -> Weights {
    let config = DecoderConfig { num_hidden_layers: 1, ..config.clone() };
    Weights { config, all: [Vec::new()].into_iter().chain(layer).chain([norm]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_the_heads_and_one_of_another_shape_is_an_error() {
        let config = DecoderConfig::small(40, 16);
        let heads = FutureHeads::random(&config, 2, 7);
        assert_eq!(heads, FutureHeads::random(&config, 2, 7));
        assert_ne!(heads.layers[0], heads.layers[1]);
        let (name, bytes) = heads.file(&config).unwrap();
        assert_eq!(FutureHeads::parse(name.as_ref(), &bytes, &config).unwrap(), heads);
        let wide = DecoderConfig { intermediate_size: 50, ..config.clone() };
        let error = FutureHeads::parse(name.as_ref(), &bytes, &wide).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("gate_up") && error.contains("[100, 32]"), "{error}");
        assert!(FutureHeads::parse(name.as_ref(), &bytes[..60], &config).is_err());
    }
}
