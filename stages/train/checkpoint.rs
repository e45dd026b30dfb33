//! A training run's state on disk: weights, moments, and how far it is. One safetensors file and one JSON
//! file, in a directory that the caller writes and publishes at once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::optimizer::{LossScale, Slot, State};
use crate::model::tensors;

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
    /// Of gradients in f16 ([`State::scale`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<LossScale>,
}

/// Tensor with [`State::counts`], where there are any.
const COUNTS: &str = "counts";
const HALF: u64 = (1 << 24) - 1;

/// The files of a checkpoint.
///
/// # Errors
/// If the tensors cannot be encoded.
pub fn files(state: &State, cursor: &Cursor) -> Result<Vec<(String, Vec<u8>)>> {
    // A count is two halves of 24 bits, which f32 holds exactly.
    let halves: Vec<f32> = [24, 0]
        .into_iter()
        .flat_map(|shift| state.counts.iter().map(move |c| (c >> shift & HALF) as f32))
        .collect();
    let mut named: Vec<(String, [usize; 2], &[f32])> = state
        .slots
        .iter()
        .enumerate()
        .flat_map(|(i, slot)| {
            let part = |name: &str, values| (format!("{name}.{i}"), slot.shape, values);
            [
                part("weight", &slot.values[..]),
                part("first", &slot.first[..]),
                part("second", &slot.second[..]),
            ]
        })
        .collect();
    if !halves.is_empty() {
        named.push((COUNTS.into(), [2, state.counts.len()], &halves));
    }
    let tensors: Vec<(&str, &[usize], &[f32])> =
        named.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), *v)).collect();
    Ok(vec![
        ("state.safetensors".into(), tensors::write(&tensors)?),
        ("cursor.json".into(), serde_json::to_vec_pretty(cursor)?),
    ])
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

/// Reads a checkpoint's tensors.
///
/// # Errors
/// If the file is damaged.
pub fn state(dir: &Path, cursor: &Cursor) -> Result<State> {
    let path = dir.join("state.safetensors");
    let bytes = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{}: not a whole safetensors file", path.display()))?;
    let count = file.names().iter().filter(|name| name.starts_with("weight.")).count();
    let tensor = |name: String| -> Result<([usize; 2], Vec<f32>)> {
        let view = file.tensor(&name).with_context(|| format!("{}: lacks {name}", path.display()))?;
        let &[rows, columns] = view.shape() else {
            bail!("{}: {name} has shape {:?}, expected two sizes", path.display(), view.shape())
        };
        ensure!(view.dtype() == Dtype::F32, "{}: {name} is {:?}, expected F32", path.display(), view.dtype());
        Ok((
            [rows, columns],
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        ))
    };
    let slots = (0..count)
        .map(|i| {
            let ((shape, values), (shape_1, first), (shape_2, second)) = (
                tensor(format!("weight.{i}"))?,
                tensor(format!("first.{i}"))?,
                tensor(format!("second.{i}"))?,
            );
            ensure!(
                shape == shape_1 && shape == shape_2,
                "{}: weight.{i} and its moments differ in shape",
                path.display()
            );
            Ok(Slot { shape, values, first, second })
        })
        .collect::<Result<_>>()?;
    let counts = if file.names().contains(&COUNTS) {
        let (shape, halves) = tensor(COUNTS.into())?;
        ensure!(shape[0] == 2, "{}: {COUNTS} has shape {shape:?}, expected [2, vocabulary]", path.display());
        let (high, low) = halves.split_at(shape[1]);
        high.iter().zip(low).map(|(high, low)| (*high as u64) << 24 | *low as u64).collect()
    } else {
        Vec::new()
    };
    Ok(State { slots, time: cursor.time, counts, scale: cursor.scale })
}
