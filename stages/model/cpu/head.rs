//! Weighted cross-entropy over the output matrix, and its gradient, without holding all logits at once.

use rayon::prelude::*;

use super::matrix::{View, product};
use super::simd;
use super::trunk::{Outer, add_outer};

/// Rows of a task.
const ROWS: usize = 128;
/// Most logits held at once.
const LOGITS: usize = 1 << 26;
/// Rows of the output matrix whose gradient is one task.
const BLOCK: usize = 128;

/// What to predict: for each of M rows the token and its weight in the loss.
pub struct Targets<'a> {
    pub tokens: &'a [u32],
    pub weights: &'a [f32],
}

/// How the logits `[M, V]` are cut into tasks. It follows from the sizes alone, and so does what is computed.
#[derive(Clone, Copy)]
struct Cut {
    /// Rows of a task.
    rows: usize,
    /// Tokens of a task. Logits stand task by task: all tokens of the first rows, then the next rows.
    tokens: usize,
    /// Rows whose logits are held at once; those of one task where a task has not all tokens.
    together: usize,
    /// Columns of the hidden states' gradient that are one task.
    columns: usize,
}

impl Cut {
    fn of(vocab: usize, size: usize) -> Self {
        let (rows, tokens) = (ROWS, 8192);
        if vocab <= tokens {
            let together = (LOGITS / 2 / vocab / rows).clamp(1, 16) * rows;
            return Self { rows, tokens: vocab, together, columns: size };
        }
        let rows = (LOGITS / vocab).clamp(1, 3 * rows);
        Self { rows, tokens, together: rows, columns: 128 }
    }
}

/// Some rows' logits for some tokens.
struct Task<'a> {
    hidden: &'a [f32],
    matrix: &'a [f32],
    logits: &'a mut [f32],
    /// First token.
    token: usize,
    /// Of its rows.
    targets: Targets<'a>,
}

/// What a task finds of a row.
#[derive(Clone, Copy)]
struct Found {
    top: f32,
    /// Which token it is, if that is asked.
    best: u32,
    /// Logit of the target, if it is among the task's tokens.
    goal: f32,
}

/// Σ_i w_i (-log p_i) with p = softmax(H E^T), for `hidden` H `[M, D]` and `matrix` E `[V, D]`.
///
/// With `gradient`: H becomes its own gradient, and that of E is added to the slice (if it is not empty).
/// With `best`: each row's likeliest token is added to the list.
pub fn cross_entropy(
    hidden: &mut [f32],
    matrix: &[f32],
    targets: &Targets<'_>,
    mut gradient: Option<&mut [f32]>,
    mut best: Option<&mut Vec<u32>>,
) -> f64 {
    if targets.tokens.is_empty() {
        return 0.0;
    }
    let size = hidden.len() / targets.tokens.len();
    let vocab = matrix.len() / size;
    let cut = Cut::of(vocab, size);
    let mut logits = vec![0.0; cut.together.min(hidden.len() / size) * vocab];
    let mut loss = 0.0;
    let whole = hidden
        .chunks_mut(cut.together * size)
        .zip(targets.tokens.chunks(cut.together))
        .zip(targets.weights.chunks(cut.together));
    for ((hidden, tokens), weights) in whole {
        let logits = &mut logits[..tokens.len() * vocab];
        let targets = Targets { tokens, weights };
        let backward = gradient.is_some();
        let mut tasks = tasks(hidden, matrix, &targets, logits, cut);
        let (lost, found) = slopes(&mut tasks, &targets, (size, cut), backward, best.is_some());
        loss += lost;
        if let Some(best) = best.as_deref_mut() {
            best.extend(found.iter().map(|found| found.best));
        }
        let Some(sums) = gradient.as_deref_mut() else { continue };
        // The inputs of the product are needed once more for the gradient of the matrix.
        let inputs = if sums.is_empty() { Vec::new() } else { hidden.to_vec() };
        back(hidden, matrix, logits, (size, cut));
        sums.par_chunks_mut(BLOCK * size).enumerate().for_each(|(i, block)| {
            // The rows of a task that has not all tokens are all rows.
            let first = i * BLOCK / cut.tokens * cut.tokens;
            let width = cut.tokens.min(vocab - first);
            let slopes = &logits[first * tokens.len()..][..tokens.len() * width];
            add_outer(
                block,
                i * BLOCK - first,
                Outer { slopes, rows: width, inputs: &inputs, columns: size },
            );
        });
    }
    loss
}

/// The loss of some rows, and what was found of each. With `backward` the logits become their own gradient.
fn slopes(
    tasks: &mut [Task<'_>],
    targets: &Targets<'_>,
    (size, cut): (usize, Cut),
    backward: bool,
    asked: bool,
) -> (f64, Vec<Found>) {
    let parts: Vec<Vec<Found>> = tasks.par_iter_mut().map(|task| task.look(size, asked)).collect();
    let across = tasks.len() / targets.tokens.len().div_ceil(cut.rows);
    let mut found: Vec<Found> = Vec::with_capacity(targets.tokens.len());
    for blocks in parts.chunks(across) {
        found.extend((0..blocks[0].len()).map(|row| {
            blocks[1..].iter().fold(blocks[0][row], |all, block| {
                let Found { top, best, goal } = block[row];
                let (top, best) = if top > all.top { (top, best) } else { (all.top, all.best) };
                Found { top, best, goal: all.goal.max(goal) }
            })
        }));
    }
    let sums: Vec<Vec<f32>> = tasks
        .par_iter_mut()
        .zip(groups(&found, cut, across))
        .map(|(task, found)| task.sums(found, backward))
        .collect();
    let sums: Vec<f32> = sums
        .chunks(across)
        .flat_map(|blocks| (0..blocks[0].len()).map(|row| blocks.iter().map(|block| block[row]).sum::<f32>()))
        .collect();
    if backward {
        tasks.par_iter_mut().zip(groups(&sums, cut, across)).for_each(|(task, sums)| task.divide(sums));
    }
    let rows = found.iter().zip(&sums).zip(targets.weights);
    let loss = |((found, sum), weight): ((&Found, &f32), &f32)| {
        f64::from(*weight) * f64::from(sum.ln() + found.top - found.goal)
    };
    let parts: Vec<f64> = rows.map(loss).collect();
    (parts.chunks(cut.rows).map(|part| part.iter().sum::<f64>()).sum(), found)
}

/// For each task what there is for each of its rows.
fn groups<T: Sync>(rows: &[T], cut: Cut, across: usize) -> Vec<&[T]> {
    rows.chunks(cut.rows).flat_map(|rows| std::iter::repeat_n(rows, across)).collect()
}

fn tasks<'a>(
    hidden: &'a [f32],
    matrix: &'a [f32],
    targets: &Targets<'a>,
    mut logits: &'a mut [f32],
    cut: Cut,
) -> Vec<Task<'a>> {
    let size = hidden.len() / targets.tokens.len();
    let mut tasks = Vec::new();
    let rows = hidden.chunks(cut.rows * size);
    for ((hidden, tokens), weights) in
        rows.zip(targets.tokens.chunks(cut.rows)).zip(targets.weights.chunks(cut.rows))
    {
        for (block, matrix) in matrix.chunks(cut.tokens * size).enumerate() {
            let (own, rest) = logits.split_at_mut(tokens.len() * (matrix.len() / size));
            logits = rest;
            let targets = Targets { tokens, weights };
            tasks.push(Task { hidden, matrix, logits: own, token: block * cut.tokens, targets });
        }
    }
    tasks
}

impl Task<'_> {
    fn width(&self) -> usize {
        self.logits.len() / self.targets.tokens.len()
    }

    /// Computes the logits, and looks at each row; for the likeliest token only if that is asked.
    fn look(&mut self, size: usize, asked: bool) -> Vec<Found> {
        let width = self.width();
        let (hidden, matrix) = (View::rows(self.hidden, size), View::rows(self.matrix, size).t());
        product(self.logits, width, hidden, matrix, false);
        let of = |(row, token): (&[f32], &u32)| {
            let top = simd::max(row);
            let best = if asked { row.iter().position(|logit| *logit >= top) } else { None };
            let best = best.unwrap_or(0) + self.token;
            let goal = (*token as usize).checked_sub(self.token).and_then(|at| row.get(at));
            Found { top, best: best as u32, goal: goal.copied().unwrap_or(f32::NEG_INFINITY) }
        };
        self.logits.chunks_exact(width).zip(self.targets.tokens).map(of).collect()
    }

    /// Σ exp(logit - top) of each row; with `keep` that is what the logits become.
    fn sums(&mut self, found: &[Found], keep: bool) -> Vec<f32> {
        let width = self.width();
        let rows = self.logits.chunks_exact_mut(width).zip(found);
        let sum =
            if keep { simd::exp_sum } else { |row: &mut [f32], top, scale| simd::sum_exp(row, top, scale) };
        rows.map(|(row, found)| sum(row, found.top, 1.0)).collect()
    }

    /// From exponentials to the gradient of the logits: w (p - [token is the target]).
    fn divide(&mut self, sums: &[f32]) {
        let width = self.width();
        let targets = self.targets.tokens.iter().zip(self.targets.weights);
        for ((row, sum), (token, weight)) in self.logits.chunks_exact_mut(width).zip(sums).zip(targets) {
            simd::scale(row, weight / sum);
            let goal = (*token as usize).checked_sub(self.token).and_then(|at| row.get_mut(at));
            if let Some(goal) = goal {
                *goal -= weight;
            }
        }
    }
}

/// The gradient of hidden states from that of their logits.
fn back(hidden: &mut [f32], matrix: &[f32], logits: &[f32], (size, cut): (usize, Cut)) {
    let vocab = matrix.len() / size;
    let rows = hidden.par_chunks_mut(cut.rows * size).zip(logits.par_chunks(cut.rows * vocab));
    rows.for_each(|(hidden, logits)| {
        let rows = hidden.len() / size;
        let column = |first: usize| {
            let columns = cut.columns.min(size - first);
            let mut out = vec![0.0; rows * columns];
            for (block, matrix) in matrix.chunks(cut.tokens * size).enumerate() {
                let width = matrix.len() / size;
                let slopes = &logits[block * cut.tokens * rows..][..rows * width];
                let matrix = View::new(&matrix[first..], width, columns, size);
                product(&mut out, columns, View::rows(slopes, width), matrix, block > 0);
            }
            out
        };
        let all: Vec<Vec<f32>> = (0..size.div_ceil(cut.columns))
            .into_par_iter()
            .map(|block| column(block * cut.columns))
            .collect();
        for (block, values) in all.iter().enumerate() {
            let columns = values.len() / rows;
            for (row, values) in hidden.chunks_exact_mut(size).zip(values.chunks_exact(columns)) {
                row[block * cut.columns..][..columns].copy_from_slice(values);
            }
        }
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Loss, and the gradients of hidden states and matrix, by the book.
    fn dense(hidden: &[f32], matrix: &[f32], targets: &Targets<'_>) -> (f64, Vec<f64>, Vec<f64>) {
        let size = hidden.len() / targets.tokens.len();
        let (mut loss, mut dh, mut de) = (0.0, Vec::new(), vec![0.0; matrix.len()]);
        let rows = hidden.chunks(size).zip(targets.tokens.iter().zip(targets.weights));
        for (hidden, (token, weight)) in rows {
            let dot =
                |e: &[f32]| e.iter().zip(hidden).map(|(e, h)| f64::from(*e) * f64::from(*h)).sum::<f64>();
            let logits: Vec<f64> = matrix.chunks(size).map(dot).collect();
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            loss += f64::from(*weight) * (sum.ln() - logits[*token as usize]);
            let mut own = vec![0.0; size];
            for (v, logit) in logits.iter().enumerate() {
                let p = logit.exp() / sum - if v == *token as usize { 1.0 } else { 0.0 };
                let slope = f64::from(*weight) * p;
                for i in 0..size {
                    own[i] += slope * f64::from(matrix[v * size + i]);
                    de[v * size + i] += slope * f64::from(hidden[i]);
                }
            }
            dh.extend(own);
        }
        (loss, dh, de)
    }

    #[test]
    fn the_loss_and_its_gradients_are_those_of_the_book_however_large_the_vocabulary() {
        for (vocab, size, rows) in [(300, 17, 300), (9_000, 130, 5), (20_000, 12, 400)] {
            let mut rng = datasets::key::rng(&["head".into()]);
            let mut draw = |count: usize, scale: f32| -> Vec<f32> {
                (0..count).map(|_| (rand::RngExt::random::<f32>(&mut rng) - 0.5) * scale).collect()
            };
            let (hidden, matrix) = (draw(rows * size, 2.0), draw(vocab * size, 1.0));
            let tokens: Vec<u32> = (0..rows).map(|row| ((row * 7_919 + vocab - 1) % vocab) as u32).collect();
            let weights: Vec<f32> = (0..rows).map(|row| 0.5 + row as f32 / rows as f32).collect();
            let targets = Targets { tokens: &tokens, weights: &weights };
            let (loss, dh, de) = dense(&hidden, &matrix, &targets);
            let (mut dhidden, mut dmatrix) = (hidden.clone(), vec![0.0; matrix.len()]);
            let found = cross_entropy(&mut dhidden, &matrix, &targets, Some(&mut dmatrix), None);
            assert!((found - loss).abs() < 1e-4 * loss, "{found} {loss}");
            for (found, expected) in dhidden.iter().zip(dh).chain(dmatrix.iter().zip(de)) {
                assert!((f64::from(*found) - expected).abs() < 2e-5 * (1.0 + expected.abs()));
            }
            let mut best = Vec::new();
            let alone = cross_entropy(&mut hidden.clone(), &matrix, &targets, None, Some(&mut best));
            assert!((alone - loss).abs() < 1e-4 * loss);
            let losses = token_losses(&hidden, &matrix, size, &tokens);
            let sum: f32 = losses.iter().zip(&weights).map(|(loss, weight)| loss * weight).sum();
            assert!((f64::from(sum) - loss).abs() < 1e-4 * loss);
            for (row, best) in hidden.chunks(size).zip(best) {
                let dot = |token: usize| simd::dot(row, &matrix[token * size..(token + 1) * size]);
                let most = (0..vocab).map(dot).fold(f32::NEG_INFINITY, f32::max);
                assert!(dot(best as usize) > most - 1e-5);
            }
        }
    }
}
