//! Training rows as tokens, and their order: batches of similar length, so that little is padding, in an
//! order that is a function of seed and epoch alone. Each row stands alone in its batch: no cross-talk.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;

use datasets::key;
use rand::seq::SliceRandom;

use crate::model::soft::TopK;

/// A tokenised row: the model reads `tokens[..n-1]` and is asked for `tokens[1..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Weight of each target in the loss, `tokens.len() - 1` of them. All may be 0: then only values are
    /// learned.
    pub weights: Vec<f32>,
    /// Index of the first target that belongs to the completion; those before it are of the prompt.
    pub asked: usize,
    /// Cross-entropy of a reference at each target that weighs something; empty where none is asked.
    pub reference: Vec<f32>,
    /// What a teacher says of each target of the completion; none where no teacher has read the row.
    pub teacher: Option<Arc<TopK>>,
    /// What the value head is to say of it.
    pub values: Vec<Target>,
    /// When it comes in an epoch: lower first.
    pub turn: u32,
}

/// What the value head is to say after one of a row's tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Index of the input token after which the value is asked: less than `tokens.len() - 1`, for the last
    /// token is no input.
    pub place: usize,
    /// 0..=1
    pub target: f32,
    /// In the loss, at least 0.
    pub weight: f32,
    /// Pairs are made inside of a group, in one row or over several. A group must have a number of its own
    /// among all rows.
    pub group: u32,
}

impl Example {
    /// Prompt and completion in one row. Prompt targets weigh `prompt_weight`, completion targets 1, both
    /// times `weight`.
    pub fn new(prompt: &[u32], completion: &[u32], prompt_weight: f32, weight: f32) -> Self {
        let asked = prompt.len().saturating_sub(1);
        let mut weights = vec![prompt_weight * weight; asked];
        weights.resize(prompt.len() + completion.len() - 1, weight);
        Self {
            tokens: [prompt, completion].concat(),
            weights,
            asked,
            reference: Vec::new(),
            teacher: None,
            values: Vec::new(),
            turn: 0,
        }
    }

    /// The same row with targets of the value head; see [`Target::place`] for where these may stand.
    #[must_use]
    pub fn with_values(self, values: Vec<Target>) -> Self {
        Self { values, ..self }
    }
}

/// What teachers say of the targets of some rows that weigh something, in their order; of k tokens each. Of a
/// prompt's targets they say nothing.
pub fn taught(rows: &[&Example], k: usize) -> TopK {
    let mut all = TopK { k, ..TopK::default() };
    for row in rows {
        for at in (0..row.weights.len()).filter(|at| row.weights[*at] > 0.0) {
            match row.teacher.as_ref().zip(at.checked_sub(row.asked)) {
                Some((teacher, place)) if place < teacher.len() => all.push(teacher, place),
                _ => all.push_none(),
            }
        }
    }
    all
}

/// How many batches' worth of rows are sorted by length together: larger means less padding, smaller more
/// mixing.
const POOL: usize = 32;

/// The batches of one epoch, as indices into the examples. Rows whose turns differ come by turn, those of one
/// turn shuffled.
pub fn epoch(examples: &[Example], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = key::rng(&["epoch".into(), seed.into(), epoch.into()]);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut rng);
    if examples.iter().any(|example| example.turn != examples[0].turn) {
        order.sort_by_key(|&i| examples[i].turn);
        return order.chunks(batch_size).map(<[usize]>::to_vec).collect();
    }
    let mut batches = Vec::new();
    for pool in order.chunks_mut(batch_size * POOL) {
        pool.sort_by_key(|&i| (examples[i].tokens.len(), i));
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// The batches of one epoch with rows that share a group of value targets in one batch: as many batches as
/// [`grouped_steps`] says, of about equal size, each with a row at least.
pub fn grouped_epoch(examples: &[Example], batch_size: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut rng = key::rng(&["epoch".into(), seed.into(), epoch.into()]);
    let mut units = units(examples);
    units.shuffle(&mut rng);
    // The largest first, each to the batch that has least.
    units.sort_by_key(|unit| Reverse(unit.len()));
    let count = grouped(examples.len(), units.len(), batch_size);
    let mut batches: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut heap: BinaryHeap<Reverse<(usize, usize)>> = (0..count).map(|b| Reverse((0, b))).collect();
    for unit in units {
        let Some(Reverse((size, batch))) = heap.pop() else { break };
        heap.push(Reverse((size + unit.len(), batch)));
        batches[batch].extend(unit);
    }
    batches.shuffle(&mut rng);
    batches
}

/// Number of optimizer steps in an epoch of [`grouped_epoch`].
pub fn grouped_steps(examples: &[Example], batch_size: usize) -> usize {
    grouped(examples.len(), units(examples).len(), batch_size)
}

fn grouped(rows: usize, units: usize, batch_size: usize) -> usize {
    steps_per_epoch(rows, batch_size).min(units)
}

/// Rows that belong together because they share a group, or share one with a row that does, in the order of
/// their first rows.
fn units(examples: &[Example]) -> Vec<Vec<usize>> {
    fn root(parents: &mut [usize], mut row: usize) -> usize {
        while parents[row] != row {
            parents[row] = parents[parents[row]];
            row = parents[row];
        }
        row
    }
    let mut parents: Vec<usize> = (0..examples.len()).collect();
    let mut first: HashMap<u32, usize> = HashMap::new();
    for (row, example) in examples.iter().enumerate() {
        for target in &example.values {
            let other = *first.entry(target.group).or_insert(row);
            let (a, b) = (root(&mut parents, row), root(&mut parents, other));
            parents[a.max(b)] = a.min(b);
        }
    }
    let mut units: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for row in 0..examples.len() {
        units.entry(root(&mut parents, row)).or_default().push(row);
    }
    units.into_values().collect()
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
    /// Places (row x len + column) after which values are asked, in the order of the rows and their targets.
    pub values: Vec<i64>,
}

/// Pads rows on the right to a multiple of `unit`, and targets too (they then weigh nothing): batches have
/// few shapes. Causal attention never sees the padding from before it.
pub fn pad(examples: &[&Example], unit: usize) -> Padded {
    let len = examples.iter().map(|e| e.tokens.len() - 1).max().unwrap_or(0).next_multiple_of(unit);
    let mut out = Padded {
        rows: examples.len(),
        len,
        inputs: Vec::with_capacity(examples.len() * len),
        places: Vec::new(),
        targets: Vec::new(),
        weights: Vec::new(),
        values: examples
            .iter()
            .enumerate()
            .flat_map(|(row, e)| e.values.iter().map(move |t| (row * len + t.place) as i64))
            .collect(),
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
    fn rows_of_one_group_are_in_one_batch() {
        let value = |group| Target { place: 0, target: 1.0, weight: 1.0, group };
        // Forty problems of one to four rows, all rows of a problem bound by a chain of groups; and one that
        // exceeds a batch.
        let mut examples = Vec::new();
        for problem in 0..40u32 {
            for row in 0..=problem % 4 {
                examples.push(
                    example(4).with_values(vec![value(problem * 10 + row), value(problem * 10 + row + 1)]),
                );
            }
        }
        examples.extend((0..30).map(|_| example(4).with_values(vec![value(9999)])));
        let batches = grouped_epoch(&examples, 8, 7, 0);
        assert_eq!(
            (batches.len(), grouped_steps(&examples, 8)),
            (examples.len().div_ceil(8), examples.len().div_ceil(8))
        );
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..examples.len()).collect::<Vec<_>>());
        assert!(batches.iter().all(|b| !b.is_empty()));
        let mut home: HashMap<u32, usize> = HashMap::new();
        for (b, row) in batches.iter().enumerate().flat_map(|(b, rows)| rows.iter().map(move |&row| (b, row)))
        {
            let problem = examples[row].values[0].group / 10;
            assert_eq!(*home.entry(problem).or_insert(b), b, "problem {problem}");
        }
        assert_ne!(batches, grouped_epoch(&examples, 8, 7, 1));
        // No more batches than there is something to put in each.
        assert_eq!(grouped_epoch(&examples[examples.len() - 30..], 8, 7, 0).len(), 1);
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
        assert_eq!(
            (padded.places[..4].to_vec(), padded.weights[4..].to_vec()),
            (vec![2, 3, 6, 7], vec![0.0, 0.0])
        );
    }
}
