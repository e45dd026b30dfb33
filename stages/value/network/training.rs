//! How a value network learns: batches, the optimizer, and the epoch that is kept.

use anyhow::{Context, Result};
use datasets::key;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{FIRST, Lesson, Network, Pass, ROWS, parts};
use crate::events::Events;
use crate::model::cpu::simd;
use crate::train::value::{Target, ValueLoss, base_logit, loss_sum, weight_sum};

/// Rows of a batch that one task works on: fixed, so that sums do not depend on threads.
const CHUNK: usize = 64;

/// How a network learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    pub loss: ValueLoss,
    pub epochs: usize,
    pub batch: usize,
    pub learning_rate: f32,
    pub seed: u64,
}

impl Network {
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
                    &batch.iter().map(|i| &lessons[*i]).collect::<Vec<_>>(),
                    training.loss,
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

    fn step(&mut self, network: &mut Network, batch: &[&Lesson], loss: ValueLoss, rate: f32) {
        let passes: Vec<Pass> = batch.par_iter().map(|lesson| network.forward(&lesson.seen)).collect();
        let logits: Vec<f32> = passes.iter().map(|pass| pass.z).collect();
        let targets: Vec<&Target> = batch.iter().map(|lesson| &lesson.target).collect();
        let total = weight_sum(loss, &targets) as f32;
        if total <= 0.0 {
            return;
        }
        let (_, slopes) = loss_sum(loss, &logits, &targets);
        let chunks: Vec<(Vec<f32>, Vec<[f32; FIRST]>)> = batch
            .par_chunks(CHUNK)
            .enumerate()
            .map(|(c, chunk)| {
                let mut gradient = vec![0.0; network.dense.len()];
                let rows = chunk.iter().enumerate().map(|(k, lesson)| {
                    let at = c * CHUNK + k;
                    network.backward(&lesson.seen, &passes[at], slopes[at] / total, &mut gradient)
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
        for (lesson, slope) in batch.iter().zip(chunks.iter().flat_map(|(_, rows)| rows)) {
            // In units of a single state's gradient, whatever the batch.
            let slope = slope.map(|s| s * total);
            let square = simd::dot(&slope, &slope) / FIRST as f32;
            if square == 0.0 {
                continue;
            }
            for row in &lesson.seen.rows {
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
