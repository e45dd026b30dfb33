//! Training rows as tokens, and their order: batches of similar length, so that little is padding, in an
//! order that is a function of seed and epoch alone. Each row stands alone in its batch: no cross-talk.

use datasets::key;
use rand::seq::SliceRandom;

/// A tokenised row: the model reads `tokens[..n-1]` and is asked for `tokens[1..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Weight of each target in the loss, `tokens.len() - 1` of them.
    pub weights: Vec<f32>,
}

impl Example {
    /// Prompt and completion in one row. Prompt targets weigh `prompt_weight`, completion targets 1, both times `weight`.
    pub fn new(prompt: &[u32], completion: &[u32], prompt_weight: f32, weight: f32) -> Self {
        let mut weights = vec![prompt_weight * weight; prompt.len().saturating_sub(1)];
        weights.resize(prompt.len() + completion.len() - 1, weight);
        Self { tokens: [prompt, completion].concat(), weights }
    }
}

/// How many batches' worth of rows are sorted by length together: larger means less padding, smaller more mixing.
const POOL: usize = 32;

/// The batches of one epoch, as indices into the examples.
pub fn epoch(examples: &[Example], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = key::rng(&["epoch".into(), seed.into(), epoch.into()]);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut rng);
    let mut batches = Vec::new();
    for pool in order.chunks_mut(batch_size * POOL) {
        pool.sort_by_key(|&i| (examples[i].tokens.len(), i));
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// Number of optimizer steps in one epoch.
pub fn steps_per_epoch(examples: usize, batch_size: usize) -> usize {
    examples.div_ceil(batch_size)
}

/// Rows padded to one length: inputs, and for each target that counts its place, id and weight.
pub struct Padded {
    pub rows: usize,
    pub len: usize,
    /// Input tokens, `rows x len`, row by row.
    pub inputs: Vec<i64>,
    /// Places (row x len + column) of targets with weight > 0.
    pub places: Vec<i64>,
    pub targets: Vec<i64>,
    pub weights: Vec<f32>,
}

/// Pads rows on the right to a multiple of `unit`, and targets too (they then weigh nothing): batches have few shapes.
/// Causal attention never sees the padding from before it.
pub fn pad(examples: &[&Example], unit: usize) -> Padded {
    let len = examples.iter().map(|e| e.tokens.len() - 1).max().unwrap_or(0).next_multiple_of(unit);
    let mut out = Padded {
        rows: examples.len(),
        len,
        inputs: Vec::with_capacity(examples.len() * len),
        places: Vec::new(),
        targets: Vec::new(),
        weights: Vec::new(),
    };
    for (row, example) in examples.iter().enumerate() {
        for column in 0..len {
            let real = column + 1 < example.tokens.len();
            out.inputs.push(if real { i64::from(example.tokens[column]) } else { 0 });
            if real && example.weights[column] > 0.0 {
                out.places.push((row * len + column) as i64);
                out.targets.push(i64::from(example.tokens[column + 1]));
                out.weights.push(example.weights[column]);
            }
        }
    }
    let count = out.places.len().next_multiple_of(unit);
    out.places.resize(count, 0);
    out.targets.resize(count, 0);
    out.weights.resize(count, 0.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(len: usize) -> Example {
        Example::new(&vec![1; len - 2], &[2, 3], 0.0, 1.0)
    }

    #[test]
    fn every_row_comes_once_an_epoch_and_the_order_is_a_function_of_the_seed() {
        let examples: Vec<Example> = (0..1003).map(|i| example(3 + i % 40)).collect();
        let batches = epoch(&examples, 16, 7, 0);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1003).collect::<Vec<_>>());
        assert_eq!(batches.len(), steps_per_epoch(1003, 16));
        assert_eq!(batches, epoch(&examples, 16, 7, 0));
        assert_ne!(batches, epoch(&examples, 16, 7, 1));
    }

    #[test]
    fn padding_keeps_completion_targets_only() {
        let (a, b) = (Example::new(&[5, 6, 7], &[8, 9], 0.0, 1.0), Example::new(&[5], &[8, 9], 0.0, 0.5));
        let padded = pad(&[&a, &b], 1);
        assert_eq!((padded.rows, padded.len), (2, 4));
        assert_eq!(padded.inputs, [5, 6, 7, 8, 5, 8, 0, 0]);
        assert_eq!(padded.places, [2, 3, 4, 5]);
        assert_eq!(padded.targets, [8, 9, 8, 9]);
        assert_eq!(padded.weights, [1.0, 1.0, 0.5, 0.5]);
        let padded = pad(&[&a, &b], 3);
        assert_eq!((padded.len, padded.inputs.len(), padded.weights.len()), (6, 12, 6));
        assert_eq!((padded.places[..4].to_vec(), padded.weights[4..].to_vec()), (vec![2, 3, 6, 7], vec![0.0, 0.0]));
    }
}
