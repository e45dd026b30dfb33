//! Weighted cross-entropy over the output matrix, and its gradient, without holding all logits at once.

use rayon::prelude::*;

use super::matrix::{View, product};
use super::simd;
use super::trunk::{Outer, add_outer};

/// Rows whose logits are one task.
const ROWS: usize = 128;
/// Most logits held at once.
const LOGITS: usize = 1 << 25;
/// Rows of the output matrix whose gradient is one task.
const BLOCK: usize = 128;

/// What to predict: for each of M rows the token and its weight in the loss.
pub struct Targets<'a> {
    pub tokens: &'a [u32],
    pub weights: &'a [f32],
}

/// Σ_i w_i (-log p_i) with p = softmax(H E^T), for `hidden` H `[M, D]` and `matrix` E `[V, D]`.
///
/// With `gradient`: H becomes its own gradient, and that of E is added to the slice (if it is not empty).
/// With `best`: each row's likeliest token is added to the list.
pub fn cross_entropy(
    hidden: &mut [f32],
    matrix: &[f32],
    targets: &Targets<'_>,
    gradient: Option<&mut [f32]>,
    mut best: Option<&mut Vec<u32>>,
) -> f64 {
    if targets.tokens.is_empty() {
        return 0.0;
    }
    let size = hidden.len() / targets.tokens.len();
    let vocab = matrix.len() / size;
    let together = (LOGITS / vocab / ROWS).clamp(1, 16) * ROWS;
    let mut logits = vec![0.0; together.min(hidden.len() / size) * vocab];
    let mut sums: Option<&mut [f32]> = gradient;
    let mut loss = 0.0;
    let whole = hidden
        .chunks_mut(together * size)
        .zip(targets.tokens.chunks(together))
        .zip(targets.weights.chunks(together));
    for ((hidden, tokens), weights) in whole {
        let logits = &mut logits[..tokens.len() * vocab];
        let backward = sums.is_some();
        // The inputs of the product are needed once more for the gradient of the matrix.
        let inputs = if backward { hidden.to_vec() } else { Vec::new() };
        let asked = best.is_some();
        let parts: Vec<(f64, Vec<u32>)> = hidden
            .par_chunks_mut(ROWS * size)
            .zip(logits.par_chunks_mut(ROWS * vocab))
            .zip(tokens.par_chunks(ROWS).zip(weights.par_chunks(ROWS)))
            .map(|((hidden, logits), (tokens, weights))| {
                product(logits, vocab, View::rows(hidden, size), View::rows(matrix, size).t(), false);
                let (mut loss, mut best) = (0.0, Vec::new());
                for ((row, token), weight) in logits.chunks_exact_mut(vocab).zip(tokens).zip(weights) {
                    let top = simd::max(row);
                    let goal = row[*token as usize];
                    if asked {
                        best.push(row.iter().position(|logit| *logit >= top).unwrap_or(0) as u32);
                    }
                    let sum =
                        if backward { simd::exp_sum(row, top, 1.0) } else { simd::sum_exp(row, top, 1.0) };
                    loss += f64::from(*weight) * f64::from(sum.ln() + top - goal);
                    if backward {
                        simd::scale(row, weight / sum);
                        row[*token as usize] -= weight;
                    }
                }
                if backward {
                    product(hidden, size, View::rows(logits, vocab), View::rows(matrix, size), false);
                }
                (loss, best)
            })
            .collect();
        loss += parts.iter().map(|part| part.0).sum::<f64>();
        if let Some(best) = best.as_deref_mut() {
            best.extend(parts.into_iter().flat_map(|part| part.1));
        }
        if let Some(sums) = sums.as_deref_mut() {
            let logits = &*logits;
            sums.par_chunks_mut(BLOCK * size).enumerate().for_each(|(i, block)| {
                let outer = Outer { slopes: logits, rows: vocab, inputs: &inputs, columns: size };
                add_outer(block, i * BLOCK, outer);
            });
        }
    }
    loss
}

/// -log p_i of each row's token, with p as in [`cross_entropy`].
pub fn token_losses(hidden: &[f32], matrix: &[f32], size: usize, tokens: &[u32]) -> Vec<f32> {
    let vocab = matrix.len() / size;
    let of = |(hidden, tokens): (&[f32], &[u32])| {
        let mut logits = vec![0.0; tokens.len() * vocab];
        product(&mut logits, vocab, View::rows(hidden, size), View::rows(matrix, size).t(), false);
        let loss = |(row, token): (&[f32], &u32)| {
            let top = simd::max(row);
            simd::sum_exp(row, top, 1.0).ln() + top - row[*token as usize]
        };
        logits.chunks_exact(vocab).zip(tokens).map(loss).collect::<Vec<f32>>()
    };
    let parts: Vec<Vec<f32>> = hidden.par_chunks(ROWS * size).zip(tokens.par_chunks(ROWS)).map(of).collect();
    parts.concat()
}
