//! The part of the loss that learns from a teacher's likeliest tokens; see [`crate::model::soft`].

use rayon::prelude::*;

use super::super::matrix::{View, product};
use super::{Found, ROWS, Slope};
use crate::model::soft::{Soft, TopK};

/// Of lists of equal length the largest value at each place.
pub(super) fn largest(lists: &[Vec<f32>]) -> Vec<f32> {
    let mut all = lists[0].clone();
    for list in &lists[1..] {
        all.iter_mut().zip(list).for_each(|(all, one)| *all = all.max(*one));
    }
    all
}

/// Loss and gradient of a row that a teacher has read. `tail` is Σ exp(logit - top) over the tokens that the
/// teacher does not name; `near` are the logits of those that it names, and become their gradients.
pub(super) fn soft_row(
    found: &Found,
    tail: f32,
    near: &mut [f32],
    (soft, row): (Soft<'_>, usize),
    weight: f32,
) -> (f64, Slope) {
    let (top, tail, weight) = (f64::from(found.top), f64::from(tail), f64::from(weight));
    let share = f64::from(soft.how.share);
    let mut own: Vec<f64> = near.iter().map(|logit| f64::from(*logit) - top).collect();
    let total = (tail + own.iter().map(|log| log.exp()).sum::<f64>()).ln();
    for log in &mut own {
        *log -= total;
    }
    own.push(tail.ln() - total);
    let mut slopes = vec![0.0; own.len()];
    let divergence = soft.how.compare(soft.row(row).1, &own, &mut slopes);
    let entropy = total + top - f64::from(found.goal);
    for ((out, log), slope) in near.iter_mut().zip(&own).zip(&slopes) {
        *out = (weight * ((1.0 - share) * log.exp() + share * slope)) as f32;
    }
    // A tail of 0 has no exponentials that could be scaled.
    let of_tail = if tail > 0.0 { slopes[near.len()] / tail } else { 0.0 };
    let scale = weight * ((1.0 - share) * (-total).exp() + share * of_tail);
    let loss = weight * ((1.0 - share) * entropy + share * divergence);
    (loss, Slope { scale: scale as f32, goal: (weight * (1.0 - share)) as f32 })
}

/// What a row's softmax says of its `k` likeliest tokens among the first `vocabulary`, and of the others.
pub fn likeliest(hidden: &[f32], matrix: &[f32], size: usize, (k, vocabulary): (usize, usize)) -> TopK {
    let vocab = matrix.len() / size;
    let of = |hidden: &[f32]| {
        let mut logits = vec![0.0; hidden.len() / size * vocab];
        product(&mut logits, vocab, View::rows(hidden, size), View::rows(matrix, size).t(), false);
        let mut top = TopK { k, ..TopK::default() };
        logits.chunks_exact(vocab).for_each(|row| top.add(row, vocabulary));
        top
    };
    // Small tasks: there is a logit for each word of the vocabulary.
    let parts: Vec<TopK> = hidden.par_chunks(ROWS / 8 * size).map(of).collect();
    let mut all = TopK { k, ..TopK::default() };
    for part in parts {
        all.ids.extend(part.ids);
        all.logs.extend(part.logs);
    }
    all
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::{Targets, cross_entropy};
    use super::*;
    use crate::model::soft::{Distil, Divergence};

    /// Loss of rows by the book, in f64. A row that no teacher has read is plain cross-entropy.
    fn dense(hidden: &[f64], matrix: &[f32], targets: &Targets<'_>) -> f64 {
        let (size, soft) = (hidden.len() / targets.tokens.len(), targets.soft.unwrap());
        let of = |(row, hidden): (usize, &[f64])| {
            let dot = |e: &[f32]| e.iter().zip(hidden).map(|(e, h)| f64::from(*e) * h).sum::<f64>();
            let logits: Vec<f64> = matrix.chunks(size).map(dot).collect();
            let sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
            let log = |id: u32| logits[id as usize] - sum;
            let (ids, teacher) = soft.row(row);
            let share = if ids[0] == crate::model::soft::NONE { 0.0 } else { f64::from(soft.how.share) };
            let mut own: Vec<f64> = ids.iter().map(|id| if share > 0.0 { log(*id) } else { 0.0 }).collect();
            let rest = (0..logits.len() as u32).filter(|id| !ids.contains(id)).map(|id| log(id).exp());
            own.push(rest.sum::<f64>().ln());
            let kl =
                if share > 0.0 { soft.how.compare(teacher, &own, &mut vec![0.0; own.len()]) } else { 0.0 };
            let entropy = -log(targets.tokens[row]);
            f64::from(targets.weights[row]) * ((1.0 - share) * entropy + share * kl)
        };
        hidden.chunks(size).enumerate().map(of).sum()
    }

    #[test]
    fn a_teachers_loss_and_its_gradient_are_those_of_the_book_however_large_the_vocabulary() {
        let mut rng = datasets::key::rng(&["soft head".into()]);
        for (vocab, size, rows) in [(300, 17, 300), (20_000, 12, 9)] {
            for (share, divergence) in [(1.0, Divergence::Forward), (0.7, Divergence::Reverse)] {
                let mut draw = |count: usize, scale: f32| -> Vec<f32> {
                    (0..count).map(|_| (rng.random::<f32>() - 0.5) * scale).collect()
                };
                let (hidden, matrix) = (draw(rows * size, 2.0), draw(vocab * size, 1.0));
                let teacher = draw(rows * size, 4.0);
                let mut top = likeliest(&teacher, &matrix, size, (5, vocab - 3));
                let place = (rows - 1) * 5;
                top.ids[place..].fill(crate::model::soft::NONE);
                let tokens: Vec<u32> = (0..rows).map(|row| (row * 7_919 % vocab) as u32).collect();
                let weights: Vec<f32> = (0..rows).map(|row| 0.5 + row as f32 / rows as f32).collect();
                let how = Distil { share, temperature: 1.5, divergence };
                let soft = Soft { k: 5, ids: &top.ids, logs: &top.logs, how };
                let targets = Targets { tokens: &tokens, weights: &weights, soft: Some(soft) };
                let wide: Vec<f64> = hidden.iter().map(|x| f64::from(*x)).collect();
                let loss = dense(&wide, &matrix, &targets);
                let (mut slopes, mut of_matrix) = (hidden.clone(), vec![0.0; matrix.len()]);
                let found = cross_entropy(&mut slopes, &matrix, &targets, Some(&mut of_matrix), None);
                assert!((found - loss).abs() < 1e-4 * loss, "{found} {loss}");
                let alone = cross_entropy(&mut hidden.clone(), &matrix, &targets, None, None);
                assert!((alone - found).abs() < 1e-6 * found);
                for at in (0..hidden.len()).step_by(hidden.len() / 20) {
                    let moved = |by: f64| {
                        let mut moved = wide.clone();
                        moved[at] += by;
                        dense(&moved, &matrix, &targets)
                    };
                    let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                    assert!((slope - f64::from(slopes[at])).abs() < 2e-4, "{slope} {}", slopes[at]);
                }
                // A named token's, another's and a target's row of the matrix.
                for token in [top.ids[0], vocab as u32 - 1, tokens[rows / 2]] {
                    let at = token as usize * size + 3;
                    let moved = |by: f32| {
                        let mut moved = matrix.clone();
                        moved[at] += by;
                        dense(&wide, &moved, &targets)
                    };
                    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    let bound = 2e-3 * (1.0 + slope.abs());
                    assert!((slope - f64::from(of_matrix[at])).abs() < bound, "{slope} {}", of_matrix[at]);
                }
            }
        }
    }
}
