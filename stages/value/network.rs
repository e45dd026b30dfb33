//! A small value network over the features of a state, trained and run on the CPU:
//!
//! h1 = relu(b1 + sum of table rows + D x),  h2 = relu(b2 + W h1),  z = b + o·h2,  V = sigmoid(z)
//!
//! x are the dense features; each sparse one has a row of the table by its hash, and unlike ones may share a
//! row (feature hashing, Weinberger et al. 2009). Dense weights learn by Adam, table rows by row-wise Adagrad
//! (Duchi et al. 2011), so that rare features learn as fast as frequent ones. Same rows, same seed: same
//! network, on any number of threads.

use std::path::Path;

use datasets::domain::Features;
use datasets::key;
use rayon::prelude::*;

use crate::model::value_head::sigmoid;
use crate::model::{ModelError, cpu::simd, tensors};
use crate::train::value::{Target, ValueLoss, loss_sum, weight_sum};

mod training;

pub use training::Training;

/// Rows of the table.
const ROWS: usize = 1 << 17;
/// Numbers in h1 and in h2.
const FIRST: usize = 32;
const SECOND: usize = 32;

/// A trained network.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Dense features it takes.
    inputs: usize,
    /// `[ROWS, FIRST]`
    table: Vec<f32>,
    /// All other weights in one list: D `[inputs, FIRST]`, b1, W `[SECOND, FIRST]`, b2, o, b.
    dense: Vec<f32>,
}

/// One state to learn from.
#[derive(Clone, Debug)]
pub struct Lesson {
    seen: Seen,
    /// `group` is its problem; `place` is not read.
    target: Target,
}

/// Features with the table rows of the sparse ones.
#[derive(Clone, Debug)]
struct Seen {
    dense: Vec<f32>,
    rows: Vec<u32>,
}

impl Seen {
    fn new(features: &Features) -> Self {
        let rows = features.sparse.iter().map(|feature| (feature % ROWS as u64) as u32).collect();
        Self { dense: features.dense.clone(), rows }
    }
}

impl Lesson {
    pub fn new(features: &Features, target: Target) -> Self {
        Self { seen: Seen::new(features), target }
    }
}

/// Where each part of `dense` begins.
struct Parts {
    b1: usize,
    w: usize,
    b2: usize,
    o: usize,
    b: usize,
    end: usize,
}

fn parts(inputs: usize) -> Parts {
    let b1 = FIRST * inputs;
    let w = b1 + FIRST;
    let b2 = w + SECOND * FIRST;
    let o = b2 + SECOND;
    let b = o + SECOND;
    Parts { b1, w, b2, o, b, end: b + 1 }
}

/// What a forward pass leaves for the backward pass.
struct Pass {
    h1: [f32; FIRST],
    h2: [f32; SECOND],
    z: f32,
}

impl Network {
    /// An untrained network: it says about one half of everything.
    pub fn new(inputs: usize, seed: u64) -> Self {
        use rand::RngExt;
        let mut rng = key::rng(&["value network".into(), seed.into()]);
        let p = parts(inputs);
        let mut uniform = |scale: f32| (rng.random::<f32>() * 2.0 - 1.0) * scale;
        let mut dense = vec![0.0; p.end];
        dense[..p.b1].fill_with(|| uniform((3.0 / inputs.max(1) as f32).sqrt()));
        dense[p.w..p.b2].fill_with(|| uniform((6.0 / FIRST as f32).sqrt()));
        dense[p.o..p.b].fill_with(|| uniform((1.0 / SECOND as f32).sqrt()));
        let table = (0..ROWS * FIRST).map(|_| uniform(0.05)).collect();
        Self { inputs, table, dense }
    }

    /// z of a state.
    fn logit(&self, features: &Features) -> f32 {
        self.forward(&Seen::new(features)).z
    }

    /// V of a state, in 0..=1.
    pub fn value(&self, features: &Features) -> f32 {
        sigmoid(self.logit(features))
    }

    /// Floating-point operations of one state with as many sparse features as are usual.
    pub fn flops(&self, sparse: usize) -> u64 {
        (FIRST * sparse + 2 * (FIRST * self.inputs + FIRST * SECOND + SECOND)) as u64
    }

    fn forward(&self, seen: &Seen) -> Pass {
        let p = parts(self.inputs);
        let mut h1 = [0.0; FIRST];
        h1.copy_from_slice(&self.dense[p.b1..p.w]);
        for row in &seen.rows {
            let at = *row as usize * FIRST;
            simd::add(&mut h1, &self.table[at..at + FIRST]);
        }
        for (i, x) in seen.dense.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            let column = &self.dense[i * FIRST..(i + 1) * FIRST];
            for (h, d) in h1.iter_mut().zip(column) {
                *h += d * x;
            }
        }
        for h in &mut h1 {
            *h = h.max(0.0);
        }
        let mut h2 = [0.0; SECOND];
        for (i, h) in h2.iter_mut().enumerate() {
            let w = &self.dense[p.w + i * FIRST..p.w + (i + 1) * FIRST];
            *h = (self.dense[p.b2 + i] + simd::dot(w, &h1)).max(0.0);
        }
        let z = self.dense[p.b] + simd::dot(&self.dense[p.o..p.b], &h2);
        Pass { h1, h2, z }
    }

    /// Adds the gradient of the dense weights for a slope in z; returns the gradient of every table row of
    /// the state.
    fn backward(&self, seen: &Seen, pass: &Pass, slope: f32, gradient: &mut [f32]) -> [f32; FIRST] {
        let p = parts(self.inputs);
        let mut d1 = [0.0; FIRST];
        gradient[p.b] += slope;
        for (i, h) in pass.h2.iter().enumerate() {
            gradient[p.o + i] += slope * h;
            if *h <= 0.0 {
                continue;
            }
            let d = slope * self.dense[p.o + i];
            gradient[p.b2 + i] += d;
            let (w, at) = (&self.dense[p.w + i * FIRST..p.w + (i + 1) * FIRST], p.w + i * FIRST);
            for (k, (g, h1)) in gradient[at..at + FIRST].iter_mut().zip(&pass.h1).enumerate() {
                *g += d * h1;
                d1[k] += d * w[k];
            }
        }
        for (d, h) in d1.iter_mut().zip(&pass.h1) {
            *d = if *h > 0.0 { *d } else { 0.0 };
        }
        simd::add(&mut gradient[p.b1..p.w], &d1);
        for (i, x) in seen.dense.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            for (g, d) in gradient[i * FIRST..(i + 1) * FIRST].iter_mut().zip(&d1) {
                *g += d * x;
            }
        }
        d1
    }

    /// Mean loss of some states.
    pub fn loss(&self, loss: ValueLoss, lessons: &[Lesson]) -> f64 {
        let logits: Vec<f32> = lessons.par_iter().map(|lesson| self.forward(&lesson.seen).z).collect();
        let targets: Vec<&Target> = lessons.iter().map(|lesson| &lesson.target).collect();
        loss_sum(loss, &logits, &targets).0 / weight_sum(loss, &targets).max(1e-12)
    }

    /// Its file's content.
    ///
    /// # Errors
    /// If the tensors cannot be encoded.
    pub fn file(&self) -> Result<Vec<u8>, ModelError> {
        let tensors: [(&str, &[usize], &[f32]); 2] =
            [("table", &[ROWS, FIRST], &self.table), ("dense", &[1, self.dense.len()], &self.dense)];
        tensors::write(&tensors)
    }

    /// Reads it back; `path` is named in errors.
    ///
    /// # Errors
    /// A damaged file, or one of another shape.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
        let mut tensors = tensors::read(path, bytes)?;
        let mut take = |name: &str| tensors.remove(name).ok_or_else(|| bad(format!("lacks tensor `{name}`")));
        let (shape, table) = take("table")?;
        let (_, dense) = take("dense")?;
        let rest = dense.len().checked_sub(parts(0).end).filter(|rest| rest.is_multiple_of(FIRST));
        match rest {
            Some(rest) if shape == [ROWS, FIRST] => Ok(Self { inputs: rest / FIRST, table, dense }),
            _ => Err(bad(format!("is no value network: table {shape:?}, {} dense weights", dense.len()))),
        }
    }
}

#[cfg(test)]
mod tests;
