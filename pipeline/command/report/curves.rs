//! What the page draws: training curves.

use anyhow::Result;
use datasets::table::Loss;
use serde::Serialize;

use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::committed;

/// Most points of a curve; more are averaged.
const POINTS: usize = 240;

/// A round's training.
#[derive(Clone, Debug, Serialize)]
pub struct LossCurve {
    pub round: u32,
    /// Optimizer step and mean loss, in nats.
    pub loss: Vec<(f64, f64)>,
    pub validation: Vec<(f64, f64)>,
}

/// The curves of all rounds that were trained.
///
/// # Errors
/// Failed reads.
pub fn losses(run: &RunDir) -> Result<Vec<LossCurve>> {
    let mut curves = Vec::new();
    for round in run.rounds()? {
        let rows: Vec<Loss> = committed(run, round, Stage::Train)?.read()?;
        let point = |row: &Loss| (f64::from(row.step), f64::from(row.loss));
        let loss: Vec<(f64, f64)> = rows.iter().map(point).collect();
        let validation =
            rows.iter().filter_map(|row| Some((f64::from(row.step), f64::from(row.validation_loss?))));
        if !loss.is_empty() {
            curves.push(LossCurve { round, loss: thinned(&loss), validation: validation.collect() });
        }
    }
    Ok(curves)
}

/// At most [`POINTS`] points: means of neighbours.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mean = |of: &[(f64, f64)]| {
        let n = of.len() as f64;
        let (x, y) = of.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (rounded(x / n), rounded(y / n))
    };
    points.chunks(points.len().div_ceil(POINTS).max(1)).map(mean).collect()
}

/// Enough digits for a plot.
pub fn rounded(x: f64) -> f64 {
    if x.is_finite() { (x * 1e4).round() / 1e4 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_averaged() {
        let line: Vec<(f64, f64)> = (0..1000).map(|x| (f64::from(x), 2.0)).collect();
        let few = thinned(&line);
        assert!(few.len() <= POINTS && few.len() > POINTS / 2, "{}", few.len());
        assert!(
            few.iter().all(|(_, y)| (*y - 2.0).abs() < 1e-9)
                && few.windows(2).all(|pair| pair[0].0 < pair[1].0)
        );
        assert_eq!(thinned(&line[..3]).len(), 3);
        assert!(thinned(&[]).is_empty());
    }
}
