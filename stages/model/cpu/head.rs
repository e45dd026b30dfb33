//! Weighted cross-entropy over the output matrix, and its gradient, without holding all logits at once.

use rayon::prelude::*;

use super::matrix::{View, product};
use super::simd;
use super::trunk::{Outer, add_outer};
use crate::model::soft::{NONE, Soft};

mod soft;

pub use soft::likeliest;
use soft::{largest, soft_row};

/// Rows of a task.
const ROWS: usize = 128;
/// Most logits held at once.
const LOGITS: usize = 1 << 26;

/// What to predict: for each of M rows the token and its weight in the loss.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    pub tokens: &'a [u32],
    pub weights: &'a [f32],
    /// What a teacher says of each, where one is learned from.
    pub soft: Option<Soft<'a>>,
}

impl<'a> Targets<'a> {
    pub fn hard(tokens: &'a [u32], weights: &'a [f32]) -> Self {
        Self { tokens, weights, soft: None }
    }

    /// In groups of so many rows.
    fn chunks(self, rows: usize) -> impl Iterator<Item = Self> {
        (0..self.tokens.len()).step_by(rows).map(move |from| {
            let to = (from + rows).min(self.tokens.len());
            let soft = self.soft.map(|soft| soft.rows(from, to));
            Self { tokens: &self.tokens[from..to], weights: &self.weights[from..to], soft }
        })
    }
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
    /// Rows of the output matrix whose gradient is one task.
    block: usize,
}

impl Cut {
    fn of(vocab: usize, size: usize) -> Self {
        let (rows, tokens) = (ROWS, 8192);
        if vocab <= tokens {
            let together = (LOGITS / 2 / vocab / rows).clamp(1, 16) * rows;
            return Self { rows, tokens: vocab, together, columns: size, block: 128 };
        }
        let rows = (LOGITS / vocab).clamp(1, 3 * rows);
        Self { rows, tokens, together: rows, columns: 128, block: 256 }
    }

    /// The same for so many rows in all: where a task has all rows that are held at once, the last ones have
    /// as many as the first.
    fn evenly(self, all: usize) -> Self {
        if self.rows < self.together {
            return self;
        }
        let rows = all.div_ceil(all.div_ceil(self.rows));
        Self { rows, together: rows, ..self }
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

/// How the exponentials of a row's logits become its gradient.
#[derive(Clone, Copy)]
struct Slope {
    scale: f32,
    /// What is taken off at the target.
    goal: f32,
}

/// Σ_i w_i (-log p_i) with p = softmax(H E^T), for `hidden` H `[M, D]` and `matrix` E `[V, D]`. With a
/// teacher ([`Targets::soft`]) a row's loss is that of [`crate::model::soft::Distil`] instead.
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
    let cut = Cut::of(vocab, size).evenly(targets.tokens.len());
    let mut logits = vec![0.0; cut.together.min(hidden.len() / size) * vocab];
    let mut loss = 0.0;
    for (hidden, targets) in hidden.chunks_mut(cut.together * size).zip(targets.chunks(cut.together)) {
        let tokens = targets.tokens;
        let logits = &mut logits[..tokens.len() * vocab];
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
        sums.par_chunks_mut(cut.block * size).enumerate().for_each(|(i, block)| {
            let from = i * cut.block;
            // The rows of a task that has not all tokens are all rows.
            let first = from / cut.tokens * cut.tokens;
            let width = cut.tokens.min(vocab - first);
            let slopes = &logits[first * tokens.len()..][..tokens.len() * width];
            add_outer(block, from - first, Outer { slopes, rows: width, inputs: &inputs, columns: size });
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
    let (parts, near): (Vec<Vec<Found>>, Vec<Vec<f32>>) =
        tasks.par_iter_mut().map(|task| (task.look(size, asked), task.take_near())).unzip();
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
    // Of the teacher's tokens: their logits, then their gradients.
    let mut near: Vec<f32> = near.chunks(across).flat_map(largest).collect();
    let k = targets.soft.map_or(0, |soft| soft.k);
    let rows: Vec<(f64, Slope)> = (0..found.len())
        .map(|row| {
            let near = &mut near[row * k..(row + 1) * k];
            let weight = targets.weights[row];
            match targets.soft.filter(|_| near.iter().any(|logit| *logit > f32::NEG_INFINITY)) {
                Some(soft) => soft_row(&found[row], sums[row], near, (soft, row), weight),
                None => {
                    let loss = f64::from(sums[row].ln() + found[row].top - found[row].goal);
                    (f64::from(weight) * loss, Slope { scale: weight / sums[row], goal: weight })
                }
            }
        })
        .collect();
    if backward {
        let slopes: Vec<Slope> = rows.iter().map(|row| row.1).collect();
        let width = cut.rows * k;
        tasks.par_iter_mut().zip(groups(&slopes, cut, across)).enumerate().for_each(|(i, (task, slopes))| {
            let near = &near[(i / across * width).min(near.len())..];
            task.divide(slopes, &near[..slopes.len() * k]);
        });
    }
    let parts: Vec<f64> = rows.into_iter().map(|row| row.0).collect();
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
    for (hidden, targets) in rows.zip(targets.chunks(cut.rows)) {
        for (block, matrix) in matrix.chunks(cut.tokens * size).enumerate() {
            let (own, rest) = logits.split_at_mut(targets.tokens.len() * (matrix.len() / size));
            logits = rest;
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

    /// Takes the logits of the teacher's tokens out, `[rows, k]`: what is left are the others.
    fn take_near(&mut self) -> Vec<f32> {
        let Some(soft) = self.targets.soft else { return Vec::new() };
        let width = self.width();
        let mut near = vec![f32::NEG_INFINITY; soft.ids.len()];
        for (at, (id, near)) in soft.ids.iter().zip(&mut near).enumerate() {
            let row = &mut self.logits[at / soft.k * width..][..width];
            let logit = (*id as usize).checked_sub(self.token).and_then(|at| row.get_mut(at));
            if let Some(logit) = logit.filter(|_| *id != NONE) {
                *near = std::mem::replace(logit, f32::NEG_INFINITY);
            }
        }
        near
    }

    /// From exponentials to the gradient of the logits; without a teacher that is w (p - [token is the
    /// target]). `near` has the gradients of the teacher's tokens.
    fn divide(&mut self, slopes: &[Slope], near: &[f32]) {
        let (width, first) = (self.width(), self.token);
        for (row, (logits, slope)) in self.logits.chunks_exact_mut(width).zip(slopes).enumerate() {
            simd::scale(logits, slope.scale);
            if let Some(soft) = self.targets.soft {
                for (id, near) in soft.row(row).0.iter().zip(&near[row * soft.k..]) {
                    let at = (*id as usize).checked_sub(first).and_then(|at| logits.get_mut(at));
                    if let Some(at) = at.filter(|_| *id != NONE) {
                        *at = *near;
                    }
                }
            }
            let goal = self.targets.tokens[row] as usize;
            if let Some(goal) = goal.checked_sub(first).and_then(|at| logits.get_mut(at)) {
                *goal -= slope.goal;
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
            let targets = Targets::hard(&tokens, &weights);
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
