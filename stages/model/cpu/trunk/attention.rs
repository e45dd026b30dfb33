//! Causal attention inside of each sequence of a chunk, and its gradient. Probabilities are computed again
//! from log-sums (arXiv 2205.14135).

use super::super::matrix::{View, product};
use super::super::{Shape, simd};
use super::chunk::{Chunk, sized, zeroed};
use super::layer::Saved;

/// Rows of scores that attention computes at once.
const SCORES: usize = 64;

/// Which tokens of a sequence some queries see: queries `from..from + rows`, keys `first..end`.
#[derive(Clone, Copy)]
struct Block {
    from: usize,
    rows: usize,
    first: usize,
    end: usize,
    window: Option<usize>,
}

impl Block {
    /// All blocks of a sequence.
    fn of(len: usize, window: Option<usize>) -> impl Iterator<Item = Self> {
        (0..len).step_by(SCORES).map(move |from| {
            let rows = SCORES.min(len - from);
            let first = window.map_or(0, |window| (from + 1).saturating_sub(window));
            Self { from, rows, first, end: from + rows, window }
        })
    }

    fn columns(&self) -> usize {
        self.end - self.first
    }

    /// Columns that a row sees.
    fn visible(&self, row: usize) -> std::ops::Range<usize> {
        let own = self.from + row + 1;
        let first = self.window.map_or(0, |window| own.saturating_sub(window));
        first - self.first..own - self.first
    }
}

/// A row's scores outside of what it sees.
fn hide(row: &mut [f32], visible: std::ops::Range<usize>) {
    row[visible.end..].fill(0.0);
    row[..visible.start].fill(0.0);
}

impl Chunk {
    /// Causal attention inside of each sequence: `saved.attended` and its log-sums from `saved.qkv`.
    pub(super) fn attend(&mut self, saved: &mut Saved, shape: &Shape, window: Option<usize>) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        sized(&mut saved.log_sums, n * shape.heads);
        sized(&mut saved.attended, n * o);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let key = (shape.heads + head / (shape.heads / shape.shared)) * size;
                let value = key + shape.shared * size;
                for block in Block::of(len, window) {
                    let (own, seen, columns) = (start + block.from, start + block.first, block.columns());
                    sized(&mut self.scores, block.rows * columns);
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(own, head * size), block.rows, size, q);
                    let keys = View::new(at(seen, key), columns, size, q);
                    product(&mut self.scores, columns, queries, keys.t(), false);
                    for (row, scores) in self.scores.chunks_exact_mut(columns).enumerate() {
                        let visible = block.visible(row);
                        saved.log_sums[(own + row) * shape.heads + head] =
                            simd::softmax(&mut scores[visible.clone()], shape.scale);
                        hide(scores, visible);
                    }
                    let values = View::new(at(seen, value), columns, size, q);
                    let out = &mut saved.attended[own * o + head * size..];
                    product(out, o, View::rows(&self.scores, columns), values, false);
                }
            }
        }
    }

    /// Gradient of [`Chunk::attend`] with respect to the rotated queries, keys and values.
    pub(super) fn attend_backward(
        &mut self,
        saved: &Saved,
        dattended: &[f32],
        dqkv: &mut Vec<f32>,
        (shape, window): (&Shape, Option<usize>),
    ) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        zeroed(dqkv, n * q);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let (query, key) = (head * size, (shape.heads + head / (shape.heads / shape.shared)) * size);
                let value = key + shape.shared * size;
                for block in Block::of(len, window) {
                    let (own, seen, columns) = (start + block.from, start + block.first, block.columns());
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(own, query), block.rows, size, q);
                    let keys = View::new(at(seen, key), columns, size, q);
                    let values = View::new(at(seen, value), columns, size, q);
                    let place = own * o + head * size;
                    let dout = View::new(&dattended[place..], block.rows, size, o);
                    sized(&mut self.scores, block.rows * columns);
                    sized(&mut self.more, block.rows * columns);
                    product(&mut self.scores, columns, queries, keys.t(), false);
                    product(&mut self.more, columns, dout, values.t(), false);
                    let rows = self.scores.chunks_exact_mut(columns).zip(self.more.chunks_exact_mut(columns));
                    for (row, (p, dp)) in rows.enumerate() {
                        let visible = block.visible(row);
                        let place = place + row * o;
                        let delta =
                            simd::dot(&dattended[place..place + size], &saved.attended[place..place + size]);
                        let log_sum = saved.log_sums[(own + row) * shape.heads + head];
                        let (seen_p, seen_dp) = (&mut p[visible.clone()], &mut dp[visible.clone()]);
                        simd::softmax_backward(seen_p, seen_dp, shape.scale, log_sum, delta);
                        hide(p, visible.clone());
                        hide(dp, visible);
                    }
                    let (p, ds) = (View::rows(&self.scores, columns), View::rows(&self.more, columns));
                    product(&mut dqkv[seen * q + value..], q, p.t(), dout, true);
                    product(&mut dqkv[own * q + query..], q, ds, keys, true);
                    product(&mut dqkv[seen * q + key..], q, ds.t(), queries, true);
                }
            }
        }
    }
}
