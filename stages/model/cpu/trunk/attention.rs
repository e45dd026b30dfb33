//! Causal attention inside of each sequence of a chunk, and its gradient. Probabilities are computed again
//! from log-sums (arXiv 2205.14135).

use super::super::matrix::{View, product};
use super::super::{Shape, simd};
use super::chunk::{Chunk, Saved, sized, zeroed};

/// Rows of scores that attention computes at once.
const SCORES: usize = 64;

impl Chunk {
    /// Causal attention inside of each sequence: `saved.attended` and its log-sums from `saved.qkv`.
    pub(super) fn attend(&mut self, saved: &mut Saved, shape: &Shape) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        let scale = 1.0 / (size as f32).sqrt();
        sized(&mut saved.log_sums, n * shape.heads);
        sized(&mut saved.attended, n * o);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let key = (shape.heads + head / (shape.heads / shape.shared)) * size;
                let value = key + shape.shared * size;
                for from in (0..len).step_by(SCORES) {
                    let (rows, seen) = (SCORES.min(len - from), (from + SCORES).min(len));
                    sized(&mut self.scores, rows * seen);
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(start + from, head * size), rows, size, q);
                    product(
                        &mut self.scores,
                        seen,
                        queries,
                        View::new(at(start, key), seen, size, q).t(),
                        false,
                    );
                    for (row, scores) in self.scores.chunks_exact_mut(seen).enumerate() {
                        let (visible, hidden) = scores.split_at_mut(from + row + 1);
                        saved.log_sums[(start + from + row) * shape.heads + head] =
                            simd::softmax(visible, scale);
                        hidden.fill(0.0);
                    }
                    let out = &mut saved.attended[(start + from) * o + head * size..];
                    product(
                        out,
                        o,
                        View::rows(&self.scores, seen),
                        View::new(at(start, value), seen, size, q),
                        false,
                    );
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
        shape: &Shape,
    ) {
        let (n, q, o, size) = (self.tokens.len(), shape.qkv(), shape.attended(), shape.size);
        let scale = 1.0 / (size as f32).sqrt();
        zeroed(dqkv, n * q);
        for &(start, len) in &self.sequences {
            for head in 0..shape.heads {
                let (query, key) = (head * size, (shape.heads + head / (shape.heads / shape.shared)) * size);
                let value = key + shape.shared * size;
                for from in (0..len).step_by(SCORES) {
                    let (rows, seen) = (SCORES.min(len - from), (from + SCORES).min(len));
                    let at = |token: usize, column: usize| &saved.qkv[token * q + column..];
                    let queries = View::new(at(start + from, query), rows, size, q);
                    let (keys, values) = (
                        View::new(at(start, key), seen, size, q),
                        View::new(at(start, value), seen, size, q),
                    );
                    let place = (start + from) * o + head * size;
                    let dout = View::new(&dattended[place..], rows, size, o);
                    sized(&mut self.scores, rows * seen);
                    sized(&mut self.more, rows * seen);
                    product(&mut self.scores, seen, queries, keys.t(), false);
                    product(&mut self.more, seen, dout, values.t(), false);
                    for (row, (p, dp)) in
                        self.scores.chunks_exact_mut(seen).zip(self.more.chunks_exact_mut(seen)).enumerate()
                    {
                        let visible = from + row + 1;
                        let place = place + row * o;
                        let delta =
                            simd::dot(&dattended[place..place + size], &saved.attended[place..place + size]);
                        let log_sum = saved.log_sums[(start + from + row) * shape.heads + head];
                        simd::softmax_backward(&mut p[..visible], &mut dp[..visible], scale, log_sum, delta);
                        p[visible..].fill(0.0);
                        dp[visible..].fill(0.0);
                    }
                    let (p, ds) = (View::rows(&self.scores, seen), View::rows(&self.more, seen));
                    product(&mut dqkv[start * q + value..], q, p.t(), dout, true);
                    product(&mut dqkv[(start + from) * q + query..], q, ds, keys, true);
                    product(&mut dqkv[start * q + key..], q, ds.t(), queries, true);
                }
            }
        }
    }
}
