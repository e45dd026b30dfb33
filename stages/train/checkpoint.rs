//! A training run's state on disk: weights, moments, and how far it is. One safetensors file and one JSON file,
//! in a directory that the caller writes and publishes at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::step::Optimizer;
use crate::model::{Llama, hf};

/// Everything besides tensors that training needs to go on. The order of rows and every random draw follow
/// from seed and step, so `step` is also the data cursor and the state of the random numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// What is being trained on what: a checkpoint of another fingerprint is not resumed from.
    pub fingerprint: String,
    /// Optimizer steps taken.
    pub step: usize,
    pub tokens: u64,
    /// Optimizer's step count, for bias correction.
    pub time: usize,
}

/// The files of a checkpoint.
///
/// # Errors
/// If the tensors cannot be encoded.
pub fn files(llama: &Llama, optimizer: &Optimizer, cursor: &Cursor) -> Result<Vec<(String, Vec<u8>)>> {
    let mut named: Vec<(String, [usize; 2], Vec<f32>)> = Vec::new();
    for (i, weight) in llama.weights().into_iter().enumerate() {
        named.push((format!("weight.{i}"), weight.dims(), hf::values(weight)));
    }
    for (i, (first, second)) in optimizer.moments.iter().enumerate() {
        named.push((format!("first.{i}"), first.dims(), hf::values(first)));
        named.push((format!("second.{i}"), second.dims(), hf::values(second)));
    }
    let tensors: Vec<(&str, &[usize], &[f32])> = named.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    Ok(vec![("state.safetensors".into(), hf::safetensors(&tensors)?), ("cursor.json".into(), serde_json::to_vec_pretty(cursor)?)])
}

/// Reads a checkpoint's cursor.
///
/// # Errors
/// If the file is missing or malformed.
pub fn cursor(dir: &Path) -> Result<Cursor> {
    let path = dir.join("cursor.json");
    let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}: not a checkpoint cursor", path.display()))
}

/// Puts a checkpoint's tensors into a model and an optimizer of the same shape.
///
/// # Errors
/// If the file is damaged or of another shape.
pub fn restore(dir: &Path, llama: &Llama, optimizer: &mut Optimizer, cursor: &Cursor, device: &Device) -> Result<Llama> {
    let path = dir.join("state.safetensors");
    let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).with_context(|| format!("{}: not a whole safetensors file", path.display()))?;
    let tensor = |name: String, like: [usize; 2]| -> Result<Tensor<2>> {
        let view = file.tensor(&name).with_context(|| format!("{}: lacks {name}", path.display()))?;
        ensure!(view.shape() == like, "{}: {name} has shape {:?}, expected {like:?}", path.display(), view.shape());
        let values: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Tensor::from_data(TensorData::new(values, like), device))
    };
    let shapes: Vec<[usize; 2]> = llama.weights().iter().map(|w| w.dims()).collect();
    let weights: Vec<Tensor<2>> = shapes.iter().enumerate().map(|(i, s)| tensor(format!("weight.{i}"), *s)).collect::<Result<_>>()?;
    optimizer.time = cursor.time;
    optimizer.moments = shapes
        .iter()
        .enumerate()
        .map(|(i, s)| Ok((tensor(format!("first.{i}"), *s)?, tensor(format!("second.{i}"), *s)?)))
        .collect::<Result<_>>()?;
    let mut weights = weights.into_iter();
    Ok(llama.map(|old| weights.next().unwrap_or(old)))
}
