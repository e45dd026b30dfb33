//! Heads that predict the tokens after the next one (multi-token prediction, arXiv 2404.19737): each is one
//! more decoder layer on the stream after the decoder's last layer, before its final norm; norm and output
//! matrix are the decoder's own. Head k of 1..=n, read after token t, predicts token t + 1 + k.
//!
//! They stand in a file of their own in the model directory, which other programs pass over. No answer
//! depends on them, and so no fingerprint does.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};

use super::cpu::Weights;
use super::decoder::Layer;
use super::parts::Part;
use super::{DecoderConfig, ModelError, device, tensors};

/// Their file in a model directory.
pub const FILE: &str = "future_heads.safetensors";

/// Weights of future heads.
#[derive(Clone, Debug, PartialEq)]
pub struct FutureHeads {
    /// Of each head the weights of its layer, in the order of [`DecoderConfig::parts`].
    pub layers: Vec<Vec<Vec<f32>>>,
}

impl FutureHeads {
    /// Untrained heads, drawn as the layers of a decoder are.
    pub fn random(config: &DecoderConfig, count: usize, seed: u64) -> Self {
        let layer = |k: usize| {
            let mut rng = datasets::key::rng(&["future head".into(), seed.into(), (k as u64).into()]);
            config.parts.iter().map(|part| config.drawn(*part, &mut rng)).collect()
        };
        Self { layers: (1..=count).map(layer).collect() }
    }

    /// Their layers as a decoder has them, on the CPU.
    pub fn decoder_layers(&self, config: &DecoderConfig) -> Vec<Layer> {
        let tensor = |(part, values): (&Part, &Vec<f32>)| {
            (
                *part,
                Tensor::from_data(TensorData::new(values.clone(), config.shape(*part)), &device::cpu())
                    .into(),
            )
        };
        let layer = |layer: &Vec<Vec<f32>>| Layer(config.parts.iter().zip(layer).map(tensor).collect());
        self.layers.iter().map(layer).collect()
    }

    /// Their file: name and content.
    ///
    /// # Errors
    /// If the tensors cannot be encoded.
    pub fn file(&self, config: &DecoderConfig) -> Result<(String, Vec<u8>), ModelError> {
        let shapes = config.shapes();
        let of = |k: usize| config.parts.iter().map(move |part| name(k, *part));
        let names: Vec<String> = (1..=self.layers.len()).flat_map(of).collect();
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
            let mut layer = Vec::new();
            for part in &config.parts {
                let (name, expected) = (name(layers.len() + 1, *part), config.shape(*part));
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
                layer.push(values);
            }
            layers.push(layer);
        }
        if layers.is_empty() {
            return Err(bad("holds no head".into()));
        }
        Ok(Self { layers })
    }
}

fn name(head: usize, part: Part) -> String {
    format!("future_heads.{head}.{}", part.name())
}

/// A head's layer as a decoder of one layer that reads a stream instead of tokens: no embeddings, and the
/// decoder's own norm.
pub fn as_weights(config: &DecoderConfig, layer: Vec<Vec<f32>>, norm: Vec<f32>) -> Weights {
    Weights {
        config: config.one_layer(),
        all: [Vec::new()].into_iter().chain(layer).chain([norm]).collect(),
        adapters: Vec::new(),
    }
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
