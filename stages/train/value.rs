//! What a value head learns: targets after some tokens of a row, and three losses on its logits z, with V =
//! sigmoid(z).
//!
//! With a target after each step the head is a process reward model, with one after the last step an outcome
//! reward model. Each loss is a weighted mean over the whole accumulated batch:
//!
//! - `Bce`: −y ln V − (1−y) ln(1−V), whose minimum is the probability itself
//! - `Mse`: (V − y)²
//! - `Pairwise`: −ln σ(z_a − z_b) over pairs of one group whose targets differ clearly, weighing the product
//!   of their weights (rStar-Math's process preference model, arXiv 2501.04519)

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::batch::Example;
pub use super::batch::Target;
use crate::model::ValueHead;
use crate::model::value_head::sigmoid;

/// Targets of a pair differ by more than this.
pub const MARGIN: f32 = 0.25;

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueLoss {
    Bce,
    Mse,
    /// Pairs reach over the rows of a batch, so a batch is then one micro-batch.
    Pairwise,
}

/// How a value head is trained beside the decoder, or alone on a frozen one.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadConfig {
    pub loss: ValueLoss,
    /// λ: what the loss of values weighs beside the cross-entropy.
    pub weight: f32,
    pub start: ValueHead,
}

/// Two targets of which the first should have the larger logit, as indices into the list of targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub better: usize,
    pub worse: usize,
    pub weight: f32,
}

/// All pairs of a list of targets, in the order of the list.
pub fn pairs(targets: &[&Target]) -> Vec<Pair> {
    let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (i, target) in targets.iter().enumerate() {
        groups.entry(target.group).or_default().push(i);
    }
    let mut out = Vec::new();
    for group in groups.values() {
        for &better in group {
            for &worse in group {
                let (a, b) = (targets[better], targets[worse]);
                if a.target > b.target + MARGIN && a.weight * b.weight > 0.0 {
                    out.push(Pair { better, worse, weight: a.weight * b.weight });
                }
            }
        }
    }
    out
}

/// The targets of some rows, in their order.
pub fn targets<'a>(rows: &[&'a Example]) -> Vec<&'a Target> {
    rows.iter().flat_map(|row| &row.values).collect()
}

/// What the sum of a loss over these targets is divided by: the sum of weights, of targets or of pairs.
pub fn weight_sum(loss: ValueLoss, targets: &[&Target]) -> f64 {
    match loss {
        ValueLoss::Bce | ValueLoss::Mse => targets.iter().map(|t| f64::from(t.weight)).sum(),
        ValueLoss::Pairwise => pairs(targets).iter().map(|p| f64::from(p.weight)).sum(),
    }
}

/// Weighted sum of a loss for the targets' logits, and the slope of that sum in each logit.
pub fn loss_sum(loss: ValueLoss, logits: &[f32], targets: &[&Target]) -> (f64, Vec<f32>) {
    let mut slopes = vec![0.0; logits.len()];
    let mut sum = 0.0;
    match loss {
        ValueLoss::Bce => {
            for ((z, t), slope) in logits.iter().zip(targets).zip(&mut slopes) {
                // −y ln V − (1−y) ln(1−V) = softplus(z) − y z.
                sum += f64::from(t.weight) * (softplus(*z) - f64::from(t.target) * f64::from(*z));
                *slope = t.weight * (sigmoid(*z) - t.target);
            }
        }
        ValueLoss::Mse => {
            for ((z, t), slope) in logits.iter().zip(targets).zip(&mut slopes) {
                let (value, rest) = (sigmoid(*z), sigmoid(-*z));
                sum += f64::from(t.weight) * f64::from(value - t.target).powi(2);
                *slope = t.weight * 2.0 * (value - t.target) * value * rest;
            }
        }
        ValueLoss::Pairwise => {
            for pair in pairs(targets) {
                let apart = logits[pair.better] - logits[pair.worse];
                sum += f64::from(pair.weight) * softplus(-apart);
                let slope = pair.weight * sigmoid(-apart);
                slopes[pair.better] -= slope;
                slopes[pair.worse] += slope;
            }
        }
    }
    (sum, slopes)
}

/// The logit of the mean target: where a model starts that knows nothing else. 0 for pairs, which leave it
/// open.
pub fn base_logit(loss: ValueLoss, targets: &[&Target]) -> f32 {
    let (sum, total) = targets.iter().fold((0.0, 0.0), |(sum, total), t| {
        (sum + f64::from(t.weight * t.target), total + f64::from(t.weight))
    });
    if loss == ValueLoss::Pairwise || total <= 0.0 {
        return 0.0;
    }
    let share = (sum / total).clamp(1e-4, 1.0 - 1e-4);
    (share / (1.0 - share)).ln() as f32
}

/// ln(1 + e^z), without overflow.
fn softplus(z: f32) -> f64 {
    let z = f64::from(z);
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Whether rows may be trained on.
///
/// # Errors
/// If a target stands outside of its row, is no probability, or weighs less than nothing.
pub fn check(rows: &[&Example]) -> Result<()> {
    for row in rows {
        for t in &row.values {
            ensure!(
                t.place + 1 < row.tokens.len(),
                "a value target is after token {} of a row of {} tokens; it must come before the last",
                t.place,
                row.tokens.len()
            );
            ensure!(
                (0.0..=1.0).contains(&t.target),
                "a value target is {}, which is not a probability",
                t.target
            );
            ensure!(t.weight.is_finite() && t.weight >= 0.0, "a value target has weight {}", t.weight);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(target: f32, weight: f32, group: u32) -> Target {
        Target { place: 0, target, weight, group }
    }

    #[test]
    fn slopes_are_those_of_the_loss() {
        let owned = [
            target(1.0, 1.0, 1),
            target(0.3, 0.5, 1),
            target(0.0, 2.0, 1),
            target(0.6, 1.0, 2),
            target(0.1, 0.25, 2),
        ];
        let targets: Vec<&Target> = owned.iter().collect();
        let logits = [0.3f32, -1.2, 2.5, -0.1, 0.7];
        for loss in [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise] {
            let (_, slopes) = loss_sum(loss, &logits, &targets);
            for i in 0..logits.len() {
                let at = |by: f32| {
                    let mut moved = logits;
                    moved[i] += by;
                    loss_sum(loss, &moved, &targets).0
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((slope - f64::from(slopes[i])).abs() < 1e-4, "{loss:?} {i}: {slope} {}", slopes[i]);
            }
        }
    }

    #[test]
    fn losses_are_what_they_say_and_finite_for_any_logit() {
        let owned = [target(0.25, 2.0, 1), target(1.0, 1.0, 1)];
        let targets: Vec<&Target> = owned.iter().collect();
        let logits = [0.5f32, -0.5];
        let v = |z: f32| 1.0 / (1.0 + (-f64::from(z)).exp());
        let bce = 2.0 * (-0.25 * v(0.5).ln() - 0.75 * (1.0 - v(0.5)).ln()) - v(-0.5).ln();
        assert!((loss_sum(ValueLoss::Bce, &logits, &targets).0 - bce).abs() < 1e-6);
        let mse = 2.0 * (v(0.5) - 0.25).powi(2) + (v(-0.5) - 1.0).powi(2);
        assert!((loss_sum(ValueLoss::Mse, &logits, &targets).0 - mse).abs() < 1e-6);
        assert!((loss_sum(ValueLoss::Pairwise, &logits, &targets).0 + 2.0 * v(-1.0).ln()).abs() < 1e-6);
        for loss in [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise] {
            let (sum, slopes) = loss_sum(loss, &[3e30, -3e30], &targets);
            assert!(sum.is_finite() && slopes.iter().all(|s| s.is_finite()), "{loss:?} {sum} {slopes:?}");
        }
    }

    #[test]
    fn pairs_stay_in_their_group_and_need_a_margin() {
        let owned = [
            target(1.0, 1.0, 7),
            target(0.75, 1.0, 7),
            target(0.5, 0.5, 7),
            target(0.0, 1.0, 8),
            target(0.9, 1.0, 8),
            target(0.0, 0.0, 7),
        ];
        let targets: Vec<&Target> = owned.iter().collect();
        let pair = |better, worse, weight| Pair { better, worse, weight };
        assert_eq!(pairs(&targets), [pair(0, 2, 0.5), pair(4, 3, 1.0)]);
        assert!((weight_sum(ValueLoss::Pairwise, &targets) - 1.5).abs() < 1e-9);
        assert!((weight_sum(ValueLoss::Mse, &targets) - 4.5).abs() < 1e-9);
    }
}
