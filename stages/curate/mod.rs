//! curate: which correct solutions the student learns from. Every solution is kept, or dropped for one
//! reason.
//!
//! The rules, in their order. A solution is dropped by the first that applies, and the key switches it off.
//!
//! | reason | evidence | key of `[curate]`, value that switches it off |
//! |---|---|---|
//! | `not_correct` | the verdict and its reason | `keep`, "all": then only what has no answer is dropped |
//! | `wrong_steps` | the first of its faults that counts | `faults`, `[]` |
//! | `repetition` | share of its characters in repeated n-grams, and the limit | `max_repetition`, 0 |
//! | `compressible` | its size over its compressed size, and the limit | `max_compression`, 0 |
//! | `low_entropy` | bits per token, and the limit | `min_entropy`, 0 |
//! | `length_outlier` | its length, the median of its like, and how many deviations lie between | `length_outliers`, 0 |
//! | `contaminated` | what its problem shares with which held-out question | `contamination`, "off" |
//! | `too_hard` | how many of the problem's samples are correct, and the limit | `min_pass_rate`, 0 |
//! | `too_easy` | the same | `max_pass_rate`, 1 |
//! | `unused_number` | numbers of the question that no step uses | `use_all_numbers`, false |
//! | `refuted` | of how many [siblings](crate::siblings) its calculation gives the answer | `min_siblings`, 0 |
//! | `unconfirmed` | how many of the problem's samples compute the same function of its numbers, and the limit | `min_agreement` and `min_agreement_share`, 0; for paths of the rules also `min_siblings`, 0 |
//! | `duplicate` | id of the solution with the same calculation that stands for it | `duplicates`, "off" |
//! | `ambiguous` | id of another path that ranks equal, where neither samples had to confirm it nor siblings did: with answers only, one of them is right by chance | `drop_ambiguous`, false |
//! | `over_cap` | how many of its problem's solutions were chosen before it, the cap, id of the last chosen | `per_problem`, a large number |
//!
//! - [`text`]: degenerate text    - [`outliers`]: lengths    - [`contamination`]: held-out questions
//! - [`choose`]: duplicates, and which of the distinct solutions stay - [`outputs`]: `step_labels` and
//!   `preferences`
//! - [`retire`]: rows of earlier rounds that samples of this one speak against
//! - [`story`]: how one solution went through the rules    - `survey`: the first pass
//!
//! The first eleven look at one solution, with three things that all shards share ([`CurationContext`]): what
//! lengths are usual, what is held out, and which problems differ in numbers and names alone. A first pass
//! over the shards gathers them in bounded memory ([`Survey`]), the second curates shard by shard, the
//! problems of a shard in parallel. What comes out is a function of the rows alone, in the order of the
//! problems and, within a problem, of its solutions.

use std::cell::RefCell;
use std::collections::HashSet;

use anyhow::Result;
use datasets::domains;
use datasets::table::{Dropped, Preference, StepLabels, VerdictRow};
use datasets::types::{Judgement, Kept, Problem, REPAIR, Solution};
use rayon::prelude::*;

use crate::events::Events;

pub mod choose;
mod config;
pub mod contamination;
mod judged;
pub mod outliers;
pub mod outputs;
pub mod retire;
mod rules;
pub mod story;
mod subject;
mod survey;
#[cfg(test)]
pub(crate) mod tests;
pub mod text;

pub use config::{ANSWER, Choose, Contamination, CurateConfig, Duplicates, Keep, Retire};
use judged::judged;
pub use judged::{Rate, rates};
pub use rules::RULES;
use subject::ProblemContext;
pub use subject::{Fate, Finding, Measured, Subject};
pub use survey::{CurationContext, Survey, held_out_hash};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 5;

/// What a shard gives.
#[derive(Debug, Default, PartialEq)]
pub struct Curated {
    pub kept: Vec<Kept>,
    pub dropped: Vec<Dropped>,
    pub step_labels: Vec<StepLabels>,
    pub preferences: Vec<Preference>,
}

impl Curated {
    fn extend(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.dropped.extend(other.dropped);
        self.step_labels.extend(other.step_labels);
        self.preferences.extend(other.preferences);
    }
}

/// Sorts the solutions of some problems into kept and dropped. A problem has all its solutions of the round
/// here.
///
/// # Errors
/// If a solution has no verdict or no problem, or two problems have the same id.
pub fn curate(
    problems: &[Problem],
    solutions: &[Solution],
    verdicts: &[VerdictRow],
    context: &CurationContext,
    events: &dyn Events,
) -> Result<Curated> {
    let by_problem = judged(solutions, verdicts)?;
    let known: HashSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
    ensure!(
        known.len() == problems.len(),
        "{} problems of this shard have the same id as another one",
        problems.len() - known.len()
    );
    let lost: usize =
        by_problem.iter().filter(|(id, _)| !known.contains(*id)).map(|(_, rows)| rows.len()).sum();
    ensure!(lost == 0, "{lost} solutions answer problems that are not in this shard");
    let parts: Vec<Curated> = problems
        .par_iter()
        .filter_map(|problem| {
            let rows = by_problem.get(problem.problem_id.as_str())?;
            Some(Settled::of(problem, rows, context).rows())
        })
        .collect();
    let mut curated = Curated::default();
    for part in parts {
        curated.extend(part);
    }
    events.advance(solutions.len() as u64, curated.kept.len() as u64, 0);
    Ok(curated)
}

/// A problem whose solutions are sorted.
pub struct Settled<'a> {
    problem: &'a Problem,
    rows: &'a [(&'a Solution, &'a Judgement)],
    scope: ProblemContext<'a>,
    fates: Vec<Fate>,
    /// Distinct solutions that passed the rules of one, and those in the order in which they were chosen.
    paths: Vec<choose::Path>,
    order: Vec<usize>,
}

impl<'a> Settled<'a> {
    fn of(
        problem: &'a Problem,
        rows: &'a [(&'a Solution, &'a Judgement)],
        context: &'a CurationContext,
    ) -> Self {
        let config = &context.config;
        let scope = ProblemContext {
            problem,
            context,
            rate: Rate::of(rows),
            difficulty: outliers::difficulty(problem, rows),
            leak: context.held_out.leak(&problem.question),
            tried: RefCell::default(),
        };
        let mut fates: Vec<Fate> = rows.iter().map(|row| rules::first(&Subject::of(*row, &scope))).collect();
        let solutions: Vec<&Solution> = rows.iter().map(|(solution, _)| *solution).collect();
        let id = |path: &choose::Path| solutions[path.standing].solution_id.clone();

        let mut passed: Vec<usize> = (0..rows.len()).filter(|at| fates[*at] == Fate::Kept).collect();
        let (agreed, tried) =
            (scope.asks_agreement(), config.min_siblings > 0 && domains::calculates(problem));
        if agreed || tried {
            let votes = choose::agreement(problem, &solutions, &passed);
            let least = scope.least_voices();
            for (at, votes) in passed.iter().zip(votes) {
                let enough = if agreed { votes >= least } else { solutions[*at].sampled() };
                if !enough && scope.confirming(solutions[*at]) == 0 {
                    let samples = if agreed {
                        format!("{votes} of {} samples compute the same, limit {least}", scope.rate.of)
                    } else {
                        String::new()
                    };
                    let siblings = if tried {
                        format!(
                            "{} of its siblings speak for it, limit {}",
                            scope.tried(solutions[*at]).solved,
                            config.min_siblings
                        )
                    } else {
                        String::new()
                    };
                    let evidence = [samples, siblings]
                        .into_iter()
                        .filter(|text| !text.is_empty())
                        .collect::<Vec<_>>()
                        .join("; ");
                    fates[*at] = Fate::Dropped { reason: "unconfirmed", evidence };
                }
            }
            passed.retain(|at| fates[*at] == Fate::Kept);
        }
        let duplicates = match (config.duplicates, domains::domain(&problem.domain)) {
            // Where a command tells the rules, the order of steps may be all that counts.
            (Duplicates::Graph, None) => Duplicates::Text,
            (duplicates, _) => duplicates,
        };
        let (mut paths, places) = choose::paths(&solutions, &passed, duplicates);
        for path in &mut paths {
            path.siblings = scope.confirming(solutions[path.standing]);
        }
        for (at, place) in passed.into_iter().zip(places) {
            if paths[place].standing != at {
                fates[at] = Fate::Dropped { reason: "duplicate", evidence: id(&paths[place]) };
            }
        }
        let order = choose::order(&paths, &solutions, config);
        // Samples that agree, and siblings, tell which of several paths is meant.
        let twin = if agreed || paths.iter().any(|path| path.siblings > 0) {
            None
        } else {
            choose::twin(&paths, &solutions, config)
        };
        for (place, path) in order.iter().map(|i| &paths[*i]).enumerate() {
            if let Some(twin) = twin {
                let other = if order[place] == twin.0 { twin.1 } else { twin.0 };
                fates[path.standing] = Fate::Dropped { reason: "ambiguous", evidence: id(&paths[other]) };
            } else if place >= config.per_problem {
                let cap = config.per_problem;
                let evidence = format!(
                    "{place} rank before it, cap {cap}, the last kept is {}",
                    id(&paths[order[cap - 1]])
                );
                fates[path.standing] = Fate::Dropped { reason: "over_cap", evidence };
            }
        }
        Self { problem, rows, scope, fates, paths, order }
    }

    /// The weight of each kept row of the problem: together they weigh 1.
    fn weight(&self) -> f32 {
        1.0 / self.fates.iter().filter(|fate| **fate == Fate::Kept).count().max(1) as f32
    }

    fn rows(&self) -> Curated {
        let mut curated = Curated::default();
        let (weight, pass_rate) = (self.weight(), self.scope.rate.share() as f32);
        for ((solution, _), fate) in self.rows.iter().zip(&self.fates) {
            let (solution_id, problem_id) = (solution.solution_id.clone(), solution.problem_id.clone());
            let round = solution.round;
            match fate {
                Fate::Kept => {
                    let completion = self.scope.context.config.written(solution);
                    let prompt = self.problem.question.clone();
                    let origin =
                        if solution.algorithm == REPAIR { REPAIR } else { &solution.policy }.to_owned();
                    curated.kept.push(Kept {
                        prompt,
                        completion,
                        thought: solution.thought.clone(),
                        problem_id,
                        solution_id,
                        round,
                        weight,
                        pass_rate,
                        origin,
                    });
                }
                Fate::Dropped { reason, evidence } => {
                    let (reason, evidence) = ((*reason).to_owned(), evidence.clone());
                    curated.dropped.push(Dropped { solution_id, problem_id, round, reason, evidence });
                }
            }
        }
        // What is held out teaches nobody, and no verifier either.
        let config = &self.scope.context.config;
        if self.scope.leak.is_none() && (config.step_labels || config.preferences > 0) {
            let prefixes = outputs::prefixes(self.rows);
            if config.step_labels {
                curated.step_labels =
                    outputs::step_labels(self.problem, self.rows, &self.fates, &prefixes, &config.faults);
            }
            curated.preferences =
                outputs::preferences(self.problem, self.rows, &self.fates, &prefixes, config);
        }
        curated
    }
}
