//! value: learns from search trees how likely a state leads to a correct answer.
//!
//! - [`targets`]: what came of the states of a tree
//! - [`bisect`]: where wrong solutions go wrong
//! - [`network`]: a small network over the domain's features of a state, for searches over rules
//! - [`linear`]: a head on the frozen trunk of the policy
//! - [`gains`]: values along kept solutions
//! - [`metrics`]: how good values are, on problems that were held out
//!
//! A decoder with a head that is trained for values alone is [`crate::train`]'s business. Whatever the model,
//! a process reward model (after every step) and an outcome reward model (whole solutions) differ in their
//! targets alone.

use std::collections::HashMap;

use anyhow::Result;
use datasets::domain::State;
use datasets::table::Node;
use datasets::types::Problem;
use datasets::{Domain, domains, key};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::Events;
use crate::model::ValueHead;
use crate::policy::Policy;
use crate::policy::model::{ModelPolicy, path_text};
use crate::search::value::{Place, Scorer, StateValue};
use crate::train::batch::Example;
use crate::train::value::{Target, ValueLoss};

pub mod bisect;
pub mod exact;
pub mod gains;
pub mod linear;
pub mod metrics;
pub mod network;
pub mod targets;

use linear::Probed;
use metrics::{Branch, Point};
use network::{Lesson, Network, Training};
use targets::{Judge, Level, Observed, Reading, Targets};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 2;

/// What says what a state is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    None,
    /// A small network over the domain's features of a state.
    Features,
    /// A head on the frozen trunk of the policy that searched.
    Trunk,
    /// A decoder of its own, started from `[model]`.
    Decoder,
}

/// `[value]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueConfig {
    pub model: Estimator,
    /// The first guides searches.
    pub levels: Vec<Level>,
    pub targets: Targets,
    pub min_tries: u32,
    pub unexplored: f64,
    /// Most wrong states of an enumerated tree.
    pub states: usize,
    pub loss: ValueLoss,
    pub epochs: usize,
    pub batch_size: usize,
    pub learning_rate: f64,
    /// Share of the problems that choose the epoch and the threshold, and measure the values: half for each.
    pub holdout: f64,
    /// Most correct branches that the threshold may lose.
    pub lost: f64,
    /// Wrong samples of a problem whose first wrong step is looked for by rollouts; 0 for none.
    pub bisect: usize,
    /// Rollouts of a probe.
    pub rollouts: usize,
    /// Whether searches give up branches below that threshold.
    pub prune: bool,
}

impl ValueConfig {
    /// Whether values are learned at all.
    pub fn is_on(&self) -> bool {
        self.model != Estimator::None
    }

    /// Whether they are in a round: a head needs the trunk of a model that searched (`searched`).
    pub fn is_on_in(&self, searched: bool) -> bool {
        self.is_on() && (self.model != Estimator::Trunk || searched)
    }

    fn reading(&self) -> Reading {
        // A head on the trunk of a model judges what that model writes.
        let most = if self.model == Estimator::Trunk { 0 } else { self.states };
        Reading { targets: self.targets, min_tries: self.min_tries, unexplored: self.unexplored as f32, most }
    }
}

/// What a problem is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Train,
    /// Chooses the epoch and the threshold.
    Choose,
    /// Measures.
    Report,
}

/// A problem with what came of its states.
pub struct Trees {
    pub problem: Problem,
    pub part: Part,
    pub observed: Vec<Observed>,
}

/// Reads the trees of some problems at a level, of which a judge may tell those right by chance.
///
/// # Errors
/// A domain that nobody knows.
pub fn read(
    problems: &[Problem],
    nodes: &[Node],
    level: Level,
    config: &ValueConfig,
    judge: Option<Judge<'_>>,
) -> Result<Vec<Trees>> {
    let mut by_problem: HashMap<&str, Vec<(&str, Vec<&Node>)>> = HashMap::new();
    for node in nodes {
        let trees = by_problem.entry(&node.problem_id).or_default();
        match trees.last_mut().filter(|(id, _)| *id == node.tree_id) {
            Some((_, rows)) => rows.push(node),
            None => trees.push((&node.tree_id, vec![node])),
        }
    }
    let reading = config.reading();
    let tree = |problem: &Problem| -> Result<Option<Trees>> {
        let domain = known_domain(problem)?;
        let mut observed: Vec<Observed> = Vec::new();
        for (_, rows) in by_problem.get(problem.problem_id.as_str()).into_iter().flatten() {
            let first = observed.last().map_or(0, |o| o.path + 1);
            let found = targets::observe(problem, domain, rows, &reading, judge);
            observed.extend(
                found
                    .into_iter()
                    .map(|o| Observed { path: first + o.path, ..o })
                    .filter(|o| level == Level::Steps || o.whole),
            );
        }
        let draw = key::unit(&["value held out".into(), (&problem.problem_id).into()]);
        let part = if draw < config.holdout / 2.0 {
            Part::Choose
        } else if draw < config.holdout {
            Part::Report
        } else {
            Part::Train
        };
        Ok((!observed.is_empty()).then(|| Trees { problem: problem.clone(), part, observed }))
    };
    problems.par_iter().filter_map(|problem| tree(problem).transpose()).collect()
}

fn known_domain(problem: &Problem) -> Result<&'static dyn Domain> {
    match domains::domain(&problem.domain) {
        Some(domain) => Ok(domain),
        None => bail!("problem {}: no domain is named `{}`", problem.problem_id, problem.domain),
    }
}

/// The state after some steps, as far as the domain follows them.
fn follow(problem: &Problem, domain: &dyn Domain, steps: &[String]) -> Option<State> {
    steps.iter().try_fold(domain.start(problem), |state, step| domain.follow(&state, step))
}

/// The states of some problems as lessons for a network; `group` is the number of the problem.
pub fn lessons(trees: &[Trees], part: Part) -> Result<Vec<Lesson>> {
    let of = |(group, trees): (usize, &Trees)| -> Result<Vec<Lesson>> {
        let domain = known_domain(&trees.problem)?;
        let describe = domain.features(&trees.problem);
        let lesson = |o: &Observed| {
            let target = Target { place: 0, target: o.target, weight: o.weight, group: group as u32 };
            Some(Lesson::new(&describe(&follow(&trees.problem, domain, &o.steps)?), target))
        };
        Ok(trees.observed.iter().filter_map(lesson).collect())
    };
    let all: Vec<Vec<Lesson>> =
        trees.par_iter().enumerate().filter(|(_, t)| t.part == part).map(of).collect::<Result<_>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// Trains a network on the lessons of a level. Returns the epoch and the loss on held-out states too.
///
/// # Errors
/// Those of [`Network::train`].
pub fn network(
    trees: &[Trees],
    config: &ValueConfig,
    seed: u64,
    events: &dyn Events,
) -> Result<(Network, usize, f64)> {
    let training = Training {
        loss: config.loss,
        epochs: config.epochs,
        batch: config.batch_size,
        learning_rate: config.learning_rate as f32,
        seed,
    };
    Network::train(&lessons(trees, Part::Train)?, &lessons(trees, Part::Choose)?, &training, events)
}

/// Trains a head on the hidden states of a policy's frozen trunk. Returns the pass and the loss on held-out
/// states too.
///
/// # Errors
/// Those of the trunk and of [`linear::fit`].
pub fn head(
    trees: &[Trees],
    trunk: &mut ModelPolicy,
    config: &ValueConfig,
    events: &dyn Events,
) -> Result<(ValueHead, usize, f64)> {
    let total = trees.iter().filter(|t| t.part != Part::Report).count();
    let mut read = 0;
    let mut probed = |part: Part| -> Result<Probed> {
        let (mut hidden, mut targets) = (Vec::new(), Vec::new());
        // Problem by problem, so that the trunk reads what paths share once.
        for (group, trees) in trees.iter().enumerate().filter(|(_, t)| t.part == part) {
            let texts = trees
                .observed
                .iter()
                .map(|o| trunk.tokens(&trees.problem, &path_text(&o.steps, o.answer.as_deref())));
            hidden.extend(trunk.hidden(&texts.collect::<Result<Vec<_>>>()?, events)?);
            targets.extend(trees.observed.iter().map(|o| Target {
                place: 0,
                target: o.target,
                weight: o.weight,
                group: group as u32,
            }));
            read += 1;
            events.state(&format!("read {read} of {total} problems"));
        }
        Ok(Probed { hidden, targets })
    };
    let (train, held) = (probed(Part::Train)?, probed(Part::Choose)?);
    linear::fit(&train, &held, config.loss, config.epochs, config.learning_rate as f32, events)
}

/// The paths of some problems as rows for a decoder that learns values alone. Paths longer than `most` tokens
/// are left out, and counted.
///
/// # Errors
/// A question that the chat template does not take.
pub fn rows(trees: &[Trees], part: Part, reader: &ModelPolicy, most: usize) -> Result<(Vec<Example>, usize)> {
    let end = reader.model().llama.config.eos_token_ids.first().copied().unwrap_or(0);
    let (mut out, mut too_long) = (Vec::new(), 0);
    for (group, trees) in trees.iter().enumerate().filter(|(_, t)| t.part == part) {
        for path in trees.observed.chunk_by(|a, b| a.path == b.path) {
            let text =
                |o: &Observed| reader.tokens(&trees.problem, &path_text(&o.steps, o.answer.as_deref()));
            let Some(longest) = path.last() else { continue };
            let mut tokens = text(longest)?;
            if tokens.len() + 1 > most {
                too_long += 1;
                continue;
            }
            let mut values = Vec::with_capacity(path.len());
            for observed in path {
                let begin = text(observed)?;
                // A tokenizer may join what stands on both sides of a line's end: there is then no such
                // place.
                if tokens.starts_with(&begin) {
                    values.push(Target {
                        place: begin.len() - 1,
                        target: observed.target,
                        weight: observed.weight,
                        group: group as u32,
                    });
                }
            }
            tokens.push(end);
            out.push(Example::new(&[], &tokens, 0.0, 0.0).with_values(values));
        }
    }
    Ok((out, too_long))
}

/// A network as what guides searches over rules.
impl StateValue for Network {
    fn scorer<'a>(&'a self, problem: &'a Problem, domain: &dyn Domain) -> Scorer<'a> {
        let describe = domain.features(problem);
        Box::new(move |state| self.value(&describe(state)))
    }

    fn flops(&self) -> u64 {
        Network::flops(self, USUAL)
    }
}

/// Sparse features of a state of a few steps.
const USUAL: usize = 60;

/// A trained model of values.
pub enum Trained {
    Network(Box<Network>),
    /// A decoder with a head.
    Reader(Box<ModelPolicy>),
}

impl Trained {
    /// Values of some states of a problem: steps, and the answer of those that end.
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn of(
        &mut self,
        problem: &Problem,
        states: &[(&[String], Option<&str>)],
        events: &dyn Events,
    ) -> Result<Vec<f32>> {
        let domain = known_domain(problem)?;
        match self {
            Trained::Network(network) => {
                let scorer = network.scorer(problem, domain);
                Ok(states
                    .iter()
                    .map(|(steps, _)| follow(problem, domain, steps).map_or(0.5, |state| scorer(&state)))
                    .collect())
            }
            Trained::Reader(reader) => {
                let places: Vec<Place<'_>> = states
                    .iter()
                    .map(|(steps, answer)| Place { problem, domain, steps, state: None, answer: *answer })
                    .collect();
                Ok(reader.values(&places, events)?.into_iter().map(|(value, _)| value).collect())
            }
        }
    }
}

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
    trees: &[Trees],
    model: &mut Trained,
    config: &ValueConfig,
    depth: usize,
    events: &dyn Events,
) -> Result<(Measured, Vec<Point>)> {
    let mut points = Vec::new();
    let mut branches: [Vec<Branch>; 2] = [Vec::new(), Vec::new()];
    let mut truths: Vec<(f32, f32)> = Vec::new();
    let (mut tried, mut spare) = (0, EXACT_TOTAL);
    for (number, trees) in trees.iter().enumerate().filter(|(_, t)| t.part != Part::Train) {
        events.check()?;
        let domain = known_domain(&trees.problem)?;
        let states: Vec<(&[String], Option<&str>)> =
            trees.observed.iter().map(|o| (o.steps.as_slice(), o.answer.as_deref())).collect();
        let values = model.of(&trees.problem, &states, events)?;
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
        "no held-out problem says anything about values: search more problems, or raise value.holdout (now {})",
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
