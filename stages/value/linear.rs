//! A value head on the hidden states of a frozen trunk: one row of weights, z = w·h + b, which is all that is
//! learned.
//!
//! Each hidden number is brought to mean 0 and variance 1 first, which is worked into w and b afterwards.
//! Full batches, Adam, and the pass that was best on held-out states.

use anyhow::Result;
use rayon::prelude::*;

use crate::events::Events;
use crate::model::ValueHead;
use crate::model::cpu::simd;
use crate::train::value::{Target, ValueLoss, base_logit, loss_sum, weight_sum};

/// Hidden states `[D]` and their targets.
pub struct Probed {
    pub hidden: Vec<Vec<f32>>,
    pub targets: Vec<Target>,
}

/// States that one task sums over: fixed, so that sums do not depend on threads.
const CHUNK: usize = 256;
/// Weight decay: states are few and hidden numbers many.
const DECAY: f32 = 0.01;

/// How a head learns.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    pub loss: ValueLoss,
    /// Over all states.
    pub passes: usize,
    pub learning_rate: f32,
}

/// Learns a head. Returns it with the pass and the mean loss on `held` of which it is.
///
/// # Errors
/// Targets that weigh nothing; a loss that is not finite; [`crate::Cancelled`].
pub fn fit(train: &Probed, held: &Probed, fit: Fit, events: &dyn Events) -> Result<(ValueHead, usize, f64)> {
    let Fit { loss, passes, learning_rate: rate } = fit;
    let size = train.hidden.first().map_or(0, Vec::len);
    let targets: Vec<&Target> = train.targets.iter().collect();
    let total = weight_sum(loss, &targets) as f32;
    ensure!(total > 0.0, "no state says anything about values: all weigh nothing, or no pair differs");
    let (mean, scale) = moments(&train.hidden, size);
    let (inputs, tests) = (standard(&train.hidden, &mean, &scale), standard(&held.hidden, &mean, &scale));
    let held_targets: Vec<&Target> = held.targets.iter().collect();
    // The bias is the last weight.
    let mut weights = vec![0.0f32; size + 1];
    weights[size] = base_logit(loss, &targets);
    let (mut first, mut second) = (vec![0.0f32; size + 1], vec![0.0f32; size + 1]);
    let logits = |inputs: &[Vec<f32>], weights: &[f32]| -> Vec<f32> {
        inputs.par_iter().map(|x| simd::dot(&weights[..size], x) + weights[size]).collect()
    };
    let mut best: Option<(Vec<f32>, usize, f64)> = None;
    for pass in 1..=passes.max(1) {
        events.check()?;
        let (_, slopes) = loss_sum(loss, &logits(&inputs, &weights), &targets);
        let parts: Vec<Vec<f32>> = inputs
            .par_chunks(CHUNK)
            .zip(slopes.par_chunks(CHUNK))
            .map(|(inputs, slopes)| {
                let mut gradient = vec![0.0; size + 1];
                for (x, slope) in inputs.iter().zip(slopes) {
                    gradient[..size].iter_mut().zip(x).for_each(|(g, x)| *g += slope * x);
                    gradient[size] += slope;
                }
                gradient
            })
            .collect();
        let mut gradient = vec![0.0; size + 1];
        for part in &parts {
            simd::add(&mut gradient, part);
        }
        let (c1, c2) = (1.0 - 0.9f32.powi(pass as i32), 1.0 - 0.99f32.powi(pass as i32));
        for (i, g) in gradient.iter().enumerate() {
            let g = g / total + if i < size { DECAY * weights[i] } else { 0.0 };
            first[i] = 0.9 * first[i] + 0.1 * g;
            second[i] = 0.99 * second[i] + 0.01 * g * g;
            weights[i] -= rate * (first[i] / c1) / ((second[i] / c2).sqrt() + 1e-8);
        }
        events.advance(1, 0, 0);
        let of = if tests.is_empty() { (&inputs, &targets) } else { (&tests, &held_targets) };
        let measured = loss_sum(loss, &logits(of.0, &weights), of.1).0 / weight_sum(loss, of.1).max(1e-12);
        ensure!(
            measured.is_finite(),
            "the value head's loss is not finite in pass {pass}: lower value.learning_rate"
        );
        if best.as_ref().is_none_or(|(_, _, least)| measured < *least) {
            best = Some((weights.clone(), pass, measured));
        }
    }
    let (weights, pass, measured) = best.unwrap_or((weights, 0, f64::NAN));
    let weight: Vec<f32> = weights.iter().zip(&scale).map(|(w, s)| w * s).collect();
    let bias = weights[size] - simd::dot(&weight, &mean);
    Ok((ValueHead { weight, bias }, pass, measured))
}

/// Mean and inverse standard deviation of each number.
fn moments(hidden: &[Vec<f32>], size: usize) -> (Vec<f32>, Vec<f32>) {
    let count = hidden.len().max(1) as f64;
    let (mut sums, mut squares) = (vec![0.0f64; size], vec![0.0f64; size]);
    for row in hidden {
        for (i, x) in row.iter().enumerate() {
            sums[i] += f64::from(*x);
            squares[i] += f64::from(*x).powi(2);
        }
    }
    let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let scale = squares
        .iter()
        .zip(&mean)
        .map(|(square, mean)| 1.0 / (square / count - mean * mean).max(1e-8).sqrt() as f32)
        .collect();
    (mean.into_iter().map(|m| m as f32).collect(), scale)
}

fn standard(hidden: &[Vec<f32>], mean: &[f32], scale: &[f32]) -> Vec<Vec<f32>> {
    hidden
        .par_iter()
        .map(|row| row.iter().zip(mean).zip(scale).map(|((x, m), s)| (x - m) * s).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Silent;
    use datasets::key;

    fn probed(count: u64, from: u64) -> Probed {
        let number =
            |i: u64, k: u64| key::unit(&["h".into(), i.into(), k.into()]) as f32 * 20.0 - 10.0 + k as f32;
        let hidden: Vec<Vec<f32>> =
            (from..from + count).map(|i| (0..6).map(|k| number(i, k)).collect()).collect();
        let target = |i: usize, h: &Vec<f32>| Target {
            place: 0,
            target: f32::from(u8::from(h[1] - 2.0 * h[4] + 7.0 > 0.0)),
            weight: 1.0,
            group: i as u32 / 8,
        };
        let targets = hidden.iter().enumerate().map(|(i, h)| target(i, h)).collect();
        Probed { hidden, targets }
    }

    #[test]
    fn a_line_through_hidden_states_is_found_with_every_loss() {
        let (train, held) = (probed(2000, 0), probed(500, 9000));
        for loss in [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise] {
            let (head, _, _) =
                fit(&train, &held, Fit { loss, passes: 300, learning_rate: 0.05 }, &Silent).unwrap();
            let pairs = held.hidden.iter().zip(&held.targets);
            let right: Vec<(f32, bool)> = pairs.map(|(h, t)| (head.logit(h), t.target > 0.5)).collect();
            // Pairs leave the bias open: what counts is the order.
            let good = right.iter().filter(|r| r.1).map(|r| r.0);
            let bad: Vec<f32> = right.iter().filter(|r| !r.1).map(|r| r.0).collect();
            let (mut won, mut all) = (0, 0);
            for z in good {
                won += bad.iter().filter(|b| z > **b).count();
                all += bad.len();
            }
            assert!(won as f64 / all as f64 > 0.97, "{loss:?}: {won} of {all}");
        }
    }
}
