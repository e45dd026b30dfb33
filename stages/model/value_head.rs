//! The value head: one row of weights on the decoder's final normalised hidden state h `[D]`, z = w·h + b, V
//! = sigmoid(z).
//!
//! V estimates the probability that a text which ends after a reasoning step leads to a correct answer. The
//! head stands in a file of its own in the model directory, which other programs pass over.

use std::path::Path;

use super::cpu::simd;
use super::{ModelError, tensors};

/// Its file in a model directory.
pub const FILE: &str = "value_head.safetensors";
const WEIGHT: &str = "value_head.weight";
const BIAS: &str = "value_head.bias";

/// Weights of the value head.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueHead {
    /// w `[D]`.
    pub weight: Vec<f32>,
    /// b.
    pub bias: f32,
}

impl ValueHead {
    /// An untrained head for hidden states of a size: it says 0.5 of everything.
    pub fn new(size: usize) -> Self {
        Self { weight: vec![0.0; size], bias: 0.0 }
    }

    /// z of a hidden state `[D]`.
    pub fn logit(&self, hidden: &[f32]) -> f32 {
        simd::dot(&self.weight, hidden) + self.bias
    }

    /// V of a hidden state `[D]`, in 0..=1.
    pub fn value(&self, hidden: &[f32]) -> f32 {
        sigmoid(self.logit(hidden))
    }

    /// Its file: name and content, `weight [1, D]` and `bias [1, 1]`.
    ///
    /// # Errors
    /// If the tensors cannot be encoded.
    pub fn file(&self) -> Result<(String, Vec<u8>), ModelError> {
        let shape = [1, self.weight.len()];
        let tensors: [(&str, &[usize], &[f32]); 2] =
            [(WEIGHT, &shape, &self.weight), (BIAS, &[1, 1], &[self.bias])];
        Ok((FILE.to_owned(), tensors::write(&tensors)?))
    }

    /// Reads the head of a decoder of this hidden size from the bytes of its file; `path` is named in errors.
    ///
    /// # Errors
    /// If the file is damaged, lacks a tensor, or belongs to another decoder.
    pub fn parse(path: &Path, bytes: &[u8], size: usize) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
        let mut tensors = tensors::read(path, bytes)?;
        let mut take = |name: &str, columns: usize| {
            let (shape, values) =
                tensors.remove(name).ok_or_else(|| bad(format!("lacks tensor `{name}`")))?;
            if shape != [1, columns] {
                return Err(bad(format!(
                    "tensor `{name}` has shape {shape:?}, config.json makes it [1, {columns}]"
                )));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(bad(format!("tensor `{name}` holds {} at element {at}", values[at])));
            }
            Ok(values)
        };
        Ok(Self { weight: take(WEIGHT, size)?, bias: take(BIAS, 1)?[0] })
    }
}

/// 1 / (1 + e^-z), without overflow.
pub fn sigmoid(z: f32) -> f32 {
    let e = (-z.abs()).exp();
    (if z >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_probabilities_for_any_logit() {
        let head = ValueHead { weight: vec![2.0, -1.0], bias: 0.5 };
        assert!((head.value(&[0.25, 1.0]) - 0.5).abs() < 1e-6);
        assert!((head.value(&[1.0, 0.0]) - 1.0 / (1.0 + (-2.5f32).exp())).abs() < 1e-6);
        assert_eq!((head.value(&[1e4, 0.0]), head.value(&[-1e4, 0.0])), (1.0, 0.0));
        assert_eq!(ValueHead::new(2).value(&[1e4, 3.0]).to_bits(), 0.5f32.to_bits());
    }

    #[test]
    fn a_file_of_another_shape_is_an_error_that_names_it() {
        let head = ValueHead { weight: vec![0.1, 0.2, 0.3], bias: -1.0 };
        let (name, bytes) = head.file().unwrap();
        assert_eq!(ValueHead::parse(name.as_ref(), &bytes, 3).unwrap(), head);
        let error = ValueHead::parse(name.as_ref(), &bytes, 4).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("[1, 4]"), "{error}");
        assert!(ValueHead::parse(name.as_ref(), &bytes[..40], 3).is_err());
        let other = tensors::write(&[(WEIGHT, &[1, 3], &head.weight)]).unwrap();
        assert!(ValueHead::parse(name.as_ref(), &other, 3).unwrap_err().to_string().contains(BIAS));
        let broken = ValueHead { bias: f32::NAN, ..head };
        assert!(
            ValueHead::parse(name.as_ref(), &broken.file().unwrap().1, 3)
                .unwrap_err()
                .to_string()
                .contains("NaN")
        );
    }
}
