//! value: learns from search trees how likely a state leads to a correct answer.
//!
//! - [`targets`]: what came of the states of a tree
//! - [`bisect`]: where wrong solutions go wrong
//! - [`network`]: a small network over the domain's features of a state, for searches over rules
//! - [`linear`]: a head on the frozen trunk of the policy
//! - [`gains`]: values along kept solutions
//! - [`mod@measure`]: how good values are, on problems that were held out; [`metrics`]: as numbers
//!
//! A decoder with a head that is trained for values alone is [`crate::train`]'s business. Whatever the model,
//! a process reward model (after every step) and an outcome reward model (whole solutions) differ in their
//! targets alone.

use std::collections::HashMap;

use anyhow::Result;
use datasets::domain::State;
use datasets::domains::Domains;
use datasets::table::Node;
use datasets::types::Problem;
use datasets::{Domain, key};
use rayon::prelude::*;

use crate::events::Events;
use crate::model::ValueHead;
use crate::policy::model::{ModelPolicy, path_text};
use crate::policy::{Policy, ValueQuery};
use crate::search::value::{Scorer, StateValue};
use crate::train::batch::Example;
use crate::train::value::Target;

pub mod bisect;
pub mod config;
pub mod exact;
pub mod gains;
pub mod linear;
pub mod measure;
pub mod metrics;
pub mod network;
pub mod targets;

pub use config::{Estimator, ValueConfig};
use linear::{Fit, Probed};
pub use measure::{Exact, Measured, measure};
use network::{Lesson, Network, Training};
use targets::{Judge, Level, Observed};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 3;

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
    domains: &Domains,
    (problems, nodes): (&[Problem], &[Node]),
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
        let domain = known_domain(domains, problem)?;
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

fn known_domain<'a>(domains: &'a Domains, problem: &Problem) -> Result<&'a dyn Domain> {
    match domains.of(problem) {
        Some(domain) => Ok(domain),
        None => bail!("problem {}: no domain is named `{}`", problem.problem_id, problem.domain),
    }
}

/// The state after some steps, as far as the domain follows them.
fn follow(problem: &Problem, domain: &dyn Domain, steps: &[String]) -> Option<State> {
    steps.iter().try_fold(domain.start(problem), |state, step| domain.follow(&state, step))
}

/// The states of some problems as lessons for a network; `group` is the number of the problem.
pub fn lessons(domains: &Domains, trees: &[Trees], part: Part) -> Result<Vec<Lesson>> {
    let of = |(group, trees): (usize, &Trees)| -> Result<Vec<Lesson>> {
        let domain = known_domain(domains, &trees.problem)?;
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
    domains: &Domains,
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
    let of = |part| lessons(domains, trees, part);
    Network::train(&of(Part::Train)?, &of(Part::Choose)?, &training, events)
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
    let fit = Fit { loss: config.loss, passes: config.epochs, learning_rate: config.learning_rate as f32 };
    linear::fit(&train, &held, fit, events)
}

/// The paths of some problems as rows for a decoder that learns values alone. Paths longer than `most` tokens
/// are left out, and counted.
///
/// # Errors
/// A question that the chat template does not take.
pub fn rows(trees: &[Trees], part: Part, reader: &ModelPolicy, most: usize) -> Result<(Vec<Example>, usize)> {
    let end = reader.model().decoder.config.eos_token_ids.first().copied().unwrap_or(0);
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
        domains: &Domains,
        problem: &Problem,
        states: &[(&[String], Option<&str>)],
        events: &dyn Events,
    ) -> Result<Vec<f32>> {
        let domain = known_domain(domains, problem)?;
        match self {
            Trained::Network(network) => {
                let scorer = network.scorer(problem, domain);
                Ok(states
                    .iter()
                    .map(|(steps, _)| follow(problem, domain, steps).map_or(0.5, |state| scorer(&state)))
                    .collect())
            }
            Trained::Reader(reader) => {
                let queries: Vec<ValueQuery<'_>> = states
                    .iter()
                    .map(|(steps, answer)| ValueQuery {
                        problem,
                        domain,
                        steps,
                        state: None,
                        answer: *answer,
                    })
                    .collect();
                Ok(reader.values(&queries, events)?.into_iter().map(|(value, _)| value).collect())
            }
        }
    }
}
