//! How good a model's values are on problems that it has not seen.

use std::collections::HashMap;

use anyhow::Result;
use datasets::domains::Domains;
use serde::{Deserialize, Serialize};

use super::config::ValueConfig;
use super::metrics::{self, Branch, Point};
use super::{Part, Trained, Trees, exact, follow, known_domain};
use crate::events::Events;

/// How good a model's values are on problems that it has not seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub report: metrics::Report,
    /// Branches with a value below it may be given up: chosen so that at most the configured share of correct
    /// ones is lost.
    pub threshold: f32,
    /// Share of the correct branches of the measured problems that it loses, and of the wrong ones that it
    /// stops.
    pub lost: f64,
    pub stopped: f64,
    /// Against values found by exhaustion, where that was possible.
    pub exact: Option<Exact>,
}

/// Values against the truth: whether a correct answer can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    pub states: usize,
    /// Mean |V - V*|.
    pub error: f64,
    /// Share of the states of which less is said than is true, and by how much on average over all: a
    /// heuristic without such is admissible.
    pub below: f64,
    pub gap: f64,
}

/// States of which the truth is looked for by exhaustion, in all.
const EXACT_STATES: usize = 1000;
/// States that exhaustion may expand for one of them, and for all.
const EXACT_EXPANSIONS: usize = 1000;
const EXACT_TOTAL: usize = 30_000;

/// Measures a model. `depth` is the longest path of the rules.
///
/// # Errors
/// Those of the model; nothing held out.
pub fn measure(
    domains: &Domains,
    trees: &[Trees],
    model: &mut Trained,
    (config, depth): (&ValueConfig, usize),
    events: &dyn Events,
) -> Result<(Measured, Vec<Point>)> {
    let mut points = Vec::new();
    let mut branches: [Vec<Branch>; 2] = [Vec::new(), Vec::new()];
    let mut truths: Vec<(f32, f32)> = Vec::new();
    let (mut tried, mut spare) = (0, EXACT_TOTAL);
    for (number, trees) in trees.iter().enumerate().filter(|(_, t)| t.part != Part::Train) {
        events.check()?;
        let domain = known_domain(domains, &trees.problem)?;
        let states: Vec<(&[String], Option<&str>)> =
            trees.observed.iter().map(|o| (o.steps.as_slice(), o.answer.as_deref())).collect();
        let values = model.of(domains, &trees.problem, &states, events)?;
        let by_steps: HashMap<&[String], f32> = trees
            .observed
            .iter()
            .zip(&values)
            .filter(|(o, _)| o.answer.is_none())
            .map(|(o, v)| (o.steps.as_slice(), *v))
            .collect();
        let report = trees.part == Part::Report;
        for (observed, value) in trees.observed.iter().zip(&values) {
            if report {
                let depth = observed.steps.len() as u32;
                points.push(Point {
                    problem: number as u32,
                    depth,
                    value: *value,
                    target: observed.target,
                    weight: observed.weight,
                });
            }
            if observed.whole {
                // Ends are judged by the verifier; it is on the way there that a branch can be given up.
                let way = (1..=observed.steps.len())
                    .filter(|k| observed.answer.is_some() || *k < observed.steps.len());
                let lowest = way
                    .filter_map(|k| by_steps.get(&observed.steps[..k]).copied())
                    .fold(f32::INFINITY, f32::min);
                if lowest.is_finite() {
                    branches[usize::from(report)].push(Branch { correct: observed.target > 0.5, lowest });
                }
            }
            if report && observed.answer.is_none() && tried < EXACT_STATES {
                tried += 1;
                let state = follow(&trees.problem, domain, &observed.steps);
                let left = depth.saturating_sub(observed.steps.len());
                let given = EXACT_EXPANSIONS.min(spare);
                let mut rest = given;
                let truth =
                    state.and_then(|state| exact::solvable(&trees.problem, domain, &state, left, &mut rest));
                spare -= given - rest;
                if let Some(truth) = truth {
                    truths.push((*value, f32::from(u8::from(truth))));
                }
            }
        }
        events.advance(1, 0, 0);
    }
    ensure!(
        !points.is_empty(),
        "no held-out problem has value targets: search more problems, or raise value.holdout (now {})",
        config.holdout
    );
    let threshold = metrics::threshold(&branches[0], config.lost);
    let [lost, stopped] = [true, false].map(|correct| metrics::given_up(&branches[1], correct, threshold));
    let exact = (!truths.is_empty()).then(|| {
        let (below, gap) = metrics::admissibility(&truths);
        let error = truths.iter().map(|(v, t)| f64::from((v - t).abs())).sum::<f64>() / truths.len() as f64;
        Exact { states: truths.len(), error, below, gap }
    });
    Ok((Measured { report: metrics::report(&points), threshold, lost, stopped, exact }, points))
}
