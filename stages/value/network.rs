//! A small value network over the features of a state, trained and run on the CPU:
//!
//! h1 = relu(b1 + sum of table rows + D x),  h2 = relu(b2 + W h1),  z = b + o·h2,  V = sigmoid(z)
//!
//! x are the dense features; each sparse one has a row of the table by its hash, and unlike ones may share a
//! row (feature hashing, Weinberger et al. 2009). Dense weights learn by Adam, table rows by row-wise Adagrad
//! (Duchi et al. 2011), so that rare features learn as fast as frequent ones. Same rows, same seed: same
//! network, on any number of threads.

use std::path::Path;

use anyhow::{Context, Result};
use datasets::domain::Features;
use datasets::key;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::events::Events;
use crate::model::value_head::sigmoid;
use crate::model::{ModelError, cpu::simd, hf};
use crate::train::value::{Target, ValueLoss, base_logit, loss_sum, weight_sum};

/// Rows of the table.
const ROWS: usize = 1 << 17;
/// Numbers in h1 and in h2.
const FIRST: usize = 32;
const SECOND: usize = 32;
/// Rows of a batch that one task works on: fixed, so that sums do not depend on threads.
const CHUNK: usize = 64;

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

/// How a network learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    pub loss: ValueLoss,
    pub epochs: usize,
    pub batch: usize,
    pub learning_rate: f32,
    pub seed: u64,
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

    /// Trains a network, and returns the one of the epoch that was best on `held`, with that epoch's number
    /// and loss; with nothing held out, the last.
    ///
    /// # Errors
    /// Lessons of unlike size or without any weight; a loss that is not finite; [`crate::Cancelled`].
    pub fn train(
        lessons: &[Lesson],
        held: &[Lesson],
        training: &Training,
        events: &dyn Events,
    ) -> Result<(Self, usize, f64)> {
        let inputs = lessons.first().context("there is no state to learn values from")?.seen.dense.len();
        ensure!(
            lessons.iter().chain(held).all(|l| l.seen.dense.len() == inputs),
            "states of unlike numbers of features"
        );
        let all: Vec<&Target> = lessons.iter().map(|lesson| &lesson.target).collect();
        ensure!(
            weight_sum(training.loss, &all) > 0.0,
            "no state says anything about values: all weigh nothing, or no pair differs"
        );
        let mut network = Self::new(inputs, training.seed);
        network.dense[parts(inputs).b] = base_logit(training.loss, &all);
        let mut optimizer = Optimizer::new(&network);
        let mut best: Option<(Self, usize, f64)> = None;
        let count = batches(lessons, training, 0).len();
        let total = (count * training.epochs) as f32;
        for epoch in 0..training.epochs {
            for (i, batch) in batches(lessons, training, epoch).into_iter().enumerate() {
                events.check()?;
                // Down to a tenth along a line.
                let done = (epoch * count + i) as f32 / total;
                optimizer.step(
                    &mut network,
                    lessons,
                    &batch,
                    training,
                    training.learning_rate * (1.0 - 0.9 * done.min(1.0)),
                );
                events.advance(1, 0, 0);
            }
            let measured = if held.is_empty() { 0.0 } else { network.loss(training.loss, held) };
            ensure!(
                measured.is_finite(),
                "the value network's loss is not finite in epoch {}: lower value.learning_rate",
                epoch + 1
            );
            if held.is_empty() || best.as_ref().is_none_or(|(_, _, least)| measured < *least) {
                best = Some((network.clone(), epoch + 1, measured));
            }
        }
        best.context("value.epochs is 0")
    }

    /// Its file's content.
    ///
    /// # Errors
    /// If the tensors cannot be encoded.
    pub fn file(&self) -> Result<Vec<u8>, ModelError> {
        let tensors: [(&str, &[usize], &[f32]); 2] =
            [("table", &[ROWS, FIRST], &self.table), ("dense", &[1, self.dense.len()], &self.dense)];
        hf::safetensors(&tensors)
    }

    /// Reads it back; `path` is named in errors.
    ///
    /// # Errors
    /// A damaged file, or one of another shape.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
        let mut tensors = hf::tensors(path, bytes)?;
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

/// The batches of an epoch as indices: by problems if pairs are made within them, else by states.
fn batches(lessons: &[Lesson], training: &Training, epoch: usize) -> Vec<Vec<usize>> {
    let mut rng = key::rng(&["value epoch".into(), training.seed.into(), (epoch as u64).into()]);
    let mut units: Vec<Vec<usize>> = Vec::new();
    if training.loss == ValueLoss::Pairwise {
        let mut last = None;
        for (i, lesson) in lessons.iter().enumerate() {
            if last != Some(lesson.target.group) {
                units.push(Vec::new());
            }
            last = Some(lesson.target.group);
            if let Some(unit) = units.last_mut() {
                unit.push(i);
            }
        }
    } else {
        units = (0..lessons.len()).map(|i| vec![i]).collect();
    }
    units.shuffle(&mut rng);
    let mut out: Vec<Vec<usize>> = vec![Vec::new()];
    for unit in units {
        if out.last().is_none_or(|batch| batch.len() >= training.batch) {
            out.push(Vec::new());
        }
        if let Some(batch) = out.last_mut() {
            batch.extend(unit);
        }
    }
    out
}

/// Adam over the dense weights, row-wise Adagrad over the table.
struct Optimizer {
    first: Vec<f32>,
    second: Vec<f32>,
    squares: Vec<f32>,
    steps: i32,
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.99;
/// How much faster table rows learn than dense weights.
const TABLE_RATE: f32 = 3.0;

impl Optimizer {
    fn new(network: &Network) -> Self {
        let zeros = vec![0.0; network.dense.len()];
        Self { first: zeros.clone(), second: zeros, squares: vec![0.0; ROWS], steps: 0 }
    }

    fn step(
        &mut self,
        network: &mut Network,
        lessons: &[Lesson],
        batch: &[usize],
        training: &Training,
        rate: f32,
    ) {
        let passes: Vec<Pass> = batch.par_iter().map(|i| network.forward(&lessons[*i].seen)).collect();
        let logits: Vec<f32> = passes.iter().map(|pass| pass.z).collect();
        let targets: Vec<&Target> = batch.iter().map(|i| &lessons[*i].target).collect();
        let total = weight_sum(training.loss, &targets) as f32;
        if total <= 0.0 {
            return;
        }
        let (_, slopes) = loss_sum(training.loss, &logits, &targets);
        let chunks: Vec<(Vec<f32>, Vec<[f32; FIRST]>)> = batch
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(c, chunk)| {
                let mut gradient = vec![0.0; network.dense.len()];
                let rows = chunk.iter().enumerate().map(|(k, i)| {
                    let at = c * CHUNK + k;
                    network.backward(&lessons[*i].seen, &passes[at], slopes[at] / total, &mut gradient)
                });
                let rows = rows.collect();
                (gradient, rows)
            })
            .collect();
        let mut gradient = vec![0.0; network.dense.len()];
        for (part, _) in &chunks {
            simd::add(&mut gradient, part);
        }
        self.steps += 1;
        let (c1, c2) = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for (i, g) in gradient.iter().enumerate() {
            self.first[i] = BETA_1 * self.first[i] + (1.0 - BETA_1) * g;
            self.second[i] = BETA_2 * self.second[i] + (1.0 - BETA_2) * g * g;
            network.dense[i] -= rate * (self.first[i] / c1) / ((self.second[i] / c2).sqrt() + 1e-8);
        }
        for (i, slope) in batch.iter().zip(chunks.iter().flat_map(|(_, rows)| rows)) {
            // In units of a single state's gradient, whatever the batch.
            let slope = slope.map(|s| s * total);
            let square = simd::dot(&slope, &slope) / FIRST as f32;
            if square == 0.0 {
                continue;
            }
            for row in &lessons[*i].seen.rows {
                let r = *row as usize;
                self.squares[r] += square;
                let step = rate * TABLE_RATE / (self.squares[r].sqrt() + 1e-6);
                for (w, s) in network.table[r * FIRST..(r + 1) * FIRST].iter_mut().zip(&slope) {
                    *w -= step * s;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;

    /// States of which the value is a function of two named features together, and of a number.
    fn lessons(count: u64, from: u64) -> Vec<Lesson> {
        (from..from + count)
            .map(|i| {
                let (a, b, x) = (
                    key::unit(&["a".into(), i.into()]) < 0.5,
                    key::unit(&["b".into(), i.into()]) < 0.5,
                    key::unit(&["x".into(), i.into()]),
                );
                let good = (a ^ b) == (x < 0.5);
                let sparse = vec![1000 + u64::from(a), 2000 + u64::from(b), 1_000_000 + i % 97];
                let target = Target {
                    place: 0,
                    target: f32::from(u8::from(good)),
                    weight: 1.0,
                    group: (i / 10) as u32,
                };
                Lesson::new(&Features { dense: vec![x as f32, 1.0], sparse }, target)
            })
            .collect()
    }

    fn training(loss: ValueLoss) -> Training {
        Training { loss, epochs: 12, batch: 64, learning_rate: 0.01, seed: 3 }
    }

    #[test]
    fn it_learns_what_no_linear_function_says_with_every_loss_and_a_constant_cannot() {
        let (train, held) = (lessons(4000, 0), lessons(1000, 100_000));
        for loss in [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise] {
            let (network, _, _) = Network::train(&train, &held, &training(loss), &Silent).unwrap();
            let right = |l: &&Lesson| (network.forward(&l.seen).z > 0.0) == (l.target.target > 0.5);
            let share = held.iter().filter(right).count() as f64 / held.len() as f64;
            assert!(share > 0.9, "{loss:?}: {share}");
        }
    }

    #[test]
    fn threads_do_not_change_it_and_its_file_gives_it_back() {
        let train = lessons(600, 0);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Network::train(&train, &[], &training(ValueLoss::Bce), &Silent).unwrap().0)
        };
        let one = on(1);
        assert_eq!(one, on(4));
        let bytes = one.file().unwrap();
        assert_eq!(Network::parse("x".as_ref(), &bytes).unwrap(), one);
        assert!(Network::parse("x".as_ref(), &bytes[..bytes.len() - 4]).is_err());
    }

    #[test]
    fn gradients_are_those_of_the_loss() {
        let train = lessons(8, 0);
        let mut network = Network::new(2, 5);
        let mut gradient = vec![0.0; network.dense.len()];
        for lesson in &train {
            let pass = network.forward(&lesson.seen);
            network.backward(&lesson.seen, &pass, sigmoid(pass.z) - lesson.target.target, &mut gradient);
        }
        for i in (0..network.dense.len()).step_by(37) {
            let kept = network.dense[i];
            let mut at = |x: f32| {
                network.dense[i] = x;
                network.loss(ValueLoss::Bce, &train) * 8.0
            };
            let slope = (at(kept + 1e-2) - at(kept - 1e-2)) / 2e-2;
            network.dense[i] = kept;
            assert!((slope - f64::from(gradient[i])).abs() < 2e-2, "weight {i}: {slope} and {}", gradient[i]);
        }
    }
}
