//! A low-rank change of a weight (LoRA, arXiv 2106.09685), computed beside it: y += scale B (A x). The weight
//! itself stays as it is, and no gradient of its size is needed.

use std::ops::Range;

use super::matrix::{View, product};
use super::simd;

/// W + scale B A in some rows of a weight W `[out, in]`, with A `[rank, in]` and B `[rows, rank]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// Place in [`super::Weights::all`].
    pub weight: usize,
    pub rows: Range<usize>,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
    pub rank: usize,
    pub scale: f32,
}

impl LowRank {
    fn columns(&self) -> usize {
        self.a.len() / self.rank
    }

    /// scale x Aᵀ `[N, rank]` of inputs `[N, in]`.
    fn narrowed(&self, x: &[f32]) -> Vec<f32> {
        let columns = self.columns();
        let mut out = vec![0.0; x.len() / columns * self.rank];
        product(&mut out, self.rank, View::rows(x, columns), View::rows(&self.a, columns).t(), false);
        simd::scale(&mut out, self.scale);
        out
    }

    /// The change's own part of gradients `[N, outputs]`.
    fn own<'a>(&self, dy: &'a [f32], outputs: usize) -> View<'a> {
        View::new(&dy[self.rows.start..], dy.len() / outputs, self.rows.len(), outputs)
    }

    /// scale dy B `[N, rank]`.
    fn back(&self, dy: &[f32], outputs: usize) -> Vec<f32> {
        let mut out = vec![0.0; dy.len() / outputs * self.rank];
        product(&mut out, self.rank, self.own(dy, outputs), View::rows(&self.b, self.rank), false);
        simd::scale(&mut out, self.scale);
        out
    }

    /// Adds its part to `y [N, outputs]`, the weight's product with `x [N, in]`.
    pub fn add(&self, x: &[f32], y: &mut [f32], outputs: usize) {
        let narrowed = self.narrowed(x);
        let own = &mut y[self.rows.start..];
        product(own, outputs, View::rows(&narrowed, self.rank), View::rows(&self.b, self.rank).t(), true);
    }

    /// Adds its part to `dx [N, in]`, from the gradient `[N, outputs]` of the product.
    pub fn add_back(&self, dy: &[f32], dx: &mut [f32], outputs: usize) {
        let (back, columns) = (self.back(dy, outputs), self.columns());
        product(dx, columns, View::rows(&back, self.rank), View::rows(&self.a, columns), true);
    }

    /// Adds the gradients of A and B, from the product's inputs `[N, in]` and its gradient `[N, outputs]`.
    pub fn add_gradients(&self, [da, db]: [&mut [f32]; 2], x: &[f32], dy: &[f32], outputs: usize) {
        let (back, narrowed, columns) = (self.back(dy, outputs), self.narrowed(x), self.columns());
        product(da, columns, View::rows(&back, self.rank).t(), View::rows(x, columns), true);
        product(db, self.rank, self.own(dy, outputs).t(), View::rows(&narrowed, self.rank), true);
    }

    /// Adds the change to the weight `[out, in]`.
    pub fn merge(&self, weight: &mut [f32]) {
        let columns = self.columns();
        let into = &mut weight[self.rows.start * columns..self.rows.end * columns];
        let mut change = vec![0.0; into.len()];
        product(&mut change, columns, View::rows(&self.b, self.rank), View::rows(&self.a, columns), false);
        simd::scale(&mut change, self.scale);
        simd::add(into, &change);
    }
}
