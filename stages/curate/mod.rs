//! curate: which correct solutions the student learns from. Every solution is kept, or dropped for one
//! reason.
//!
//! The rules, in their order. A solution is dropped by the first that applies, and the key switches it off.
//!
//! | reason | evidence | key of `[curate]`, value that switches it off |
//! |---|---|---|
//! | `not_correct` | the verdict and its reason | none: only verified solutions are kept |
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
//! The first eleven look at one solution, with three things that all shards share ([`Ground`]): what lengths
//! are usual, what is held out, and which problems differ in numbers and names alone. A first pass over the
//! shards gathers them in bounded memory ([`Survey`]), the second curates shard by shard, the problems of a
//! shard in parallel. What comes out is a function of the rows alone, in the order of the problems and,
//! within a problem, of its solutions.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};

use anyhow::{Context, Result};
use datasets::table::{Dropped, Preference, StepLabels, VerdictRow};
use datasets::types::{Judgement, Kept, Problem, REPAIR, Solution, Verdict};
use rayon::prelude::*;

use crate::events::Events;

pub mod choose;
mod config;
pub mod contamination;
pub mod outliers;
pub mod outputs;
pub mod retire;
mod rules;
pub mod story;
mod survey;
#[cfg(test)]
mod tests;
pub mod text;

use crate::siblings::Tried;
pub use config::{Choose, Contamination, CurateConfig, Duplicates, Retire};
use contamination::Leak;
use outliers::Usual;
pub use rules::RULES;
pub use survey::{Ground, Survey, held_out_hash};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 3;

/// The assistant turn of a training row: a line per step, then the answer line.
pub fn completion<S: AsRef<str>>(steps: &[S], final_answer: &str) -> String {
    steps.iter().map(|step| format!("{}\n", step.as_ref())).collect::<String>() + "#### " + final_answer
}

/// A solution's text as a student would write it; without an answer line where it has no answer.
fn written(solution: &Solution) -> String {
    let steps = solution.texts();
    if solution.final_answer.is_empty() {
        steps.join("\n")
    } else {
        completion(&steps, &solution.final_answer)
    }
}

/// Solutions with their judgements by problem, in their order.
fn judged<'a>(
    solutions: &'a [Solution],
    verdicts: &'a [VerdictRow],
) -> Result<HashMap<&'a str, Vec<(&'a Solution, &'a Judgement)>>> {
    let judgements: HashMap<&str, &Judgement> =
        verdicts.iter().map(|v| (v.solution_id.as_str(), &v.judgement)).collect();
    let mut by_problem: HashMap<&str, Vec<_>> = HashMap::new();
    for solution in solutions {
        let id = solution.solution_id.as_str();
        let judgement =
            judgements.get(id).with_context(|| format!("solution {id} has no verdict; run verify again"))?;
        by_problem.entry(&solution.problem_id).or_default().push((solution, *judgement));
    }
    Ok(by_problem)
}

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
    ground: &Ground,
    events: &dyn Events,
) -> Result<Curated> {
    let by_problem = judged(solutions, verdicts)?;
    let known: HashSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
    ensure!(
        known.len() == problems.len(),
        "{} problems of this shard have the id of another",
        problems.len() - known.len()
    );
    let lost: usize =
        by_problem.iter().filter(|(id, _)| !known.contains(*id)).map(|(_, rows)| rows.len()).sum();
    ensure!(lost == 0, "{lost} solutions answer problems that are not in this shard");
    let parts: Vec<Curated> = problems
        .par_iter()
        .filter_map(|problem| {
            let rows = by_problem.get(problem.problem_id.as_str())?;
            Some(Settled::of(problem, rows, ground).rows())
        })
        .collect();
    let mut curated = Curated::default();
    for part in parts {
        curated.extend(part);
    }
    events.advance(solutions.len() as u64, curated.kept.len() as u64, 0);
    Ok(curated)
}

/// Correct ones among a problem's samples; among all its solutions where nobody was sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub correct: usize,
    pub of: usize,
    pub sampled: bool,
}

impl Rate {
    fn of(rows: &[(&Solution, &Judgement)]) -> Self {
        // The enumeration has the answer as its goal: that it finds it says nothing of how hard the problem
        // is.
        let any = rows.iter().any(|(solution, _)| solution.sampled());
        let counted = rows.iter().filter(|(solution, _)| solution.sampled() == any);
        let correct = counted.clone().filter(|(_, judgement)| judgement.verdict == Verdict::Correct).count();
        Self { correct, of: counted.count(), sampled: any }
    }

    pub fn share(self) -> f64 {
        self.correct as f64 / self.of.max(1) as f64
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} {} correct",
            self.correct,
            self.of,
            if self.sampled { "samples" } else { "solutions" }
        )
    }
}

/// How many of each problem's samples are correct; of all its solutions where nobody was sampled.
///
/// # Errors
/// If a solution has no verdict.
pub fn rates(solutions: &[Solution], verdicts: &[VerdictRow]) -> Result<HashMap<String, Rate>> {
    Ok(judged(solutions, verdicts)?.into_iter().map(|(id, rows)| (id.to_owned(), Rate::of(&rows))).collect())
}

/// What a rule looks at.
pub struct Subject<'a> {
    pub solution: &'a Solution,
    pub judgement: &'a Judgement,
    of: &'a Scope<'a>,
    text: OnceCell<String>,
}

/// What all solutions of a problem have in common.
struct Scope<'a> {
    problem: &'a Problem,
    ground: &'a Ground,
    rate: Rate,
    difficulty: u32,
    leak: Option<Leak>,
    tried: RefCell<HashMap<Vec<String>, Tried>>,
}

impl Scope<'_> {
    /// Whether solutions have to be confirmed by samples.
    fn asks_agreement(&self) -> bool {
        self.least_voices() > 0 && self.rate.sampled && self.problem.domain == "math"
    }

    /// On how many siblings a solution's calculation was tried. Samples repeat each other word for word.
    fn tried(&self, solution: &Solution) -> Tried {
        let path: Vec<String> = solution.texts().into_iter().map(str::to_owned).collect();
        let mut known = self.tried.borrow_mut();
        if let Some(tried) = known.get(&path) {
            return *tried;
        }
        let tried = self.ground.siblings.try_on(self.problem, &path);
        known.insert(path, tried);
        tried
    }

    /// Of how many siblings a solution that is confirmed by them gives the answer, else 0.
    fn confirming(&self, solution: &Solution) -> usize {
        let least = self.ground.config.min_siblings;
        if least == 0 {
            return 0;
        }
        let tried = self.tried(solution);
        if tried.confirmed(least) { tried.solved } else { 0 }
    }

    /// How many of the problem's samples have to compute the same.
    fn least_voices(&self) -> usize {
        let config = &self.ground.config;
        config.min_agreement.max((config.min_agreement_share * self.rate.of as f64).ceil() as usize)
    }
}

/// What a rule says of a solution.
#[derive(Debug)]
pub enum Finding<'a> {
    /// It is switched off, or has nothing to measure.
    Skips(&'static str),
    Passes(Measured<'a>),
    Drops(Measured<'a>),
}

/// What was measured, as evidence. Written out only where somebody reads it.
#[derive(Debug)]
pub enum Measured<'a> {
    Text(Cow<'a, str>),
    Figure { value: f64, of: &'static str, limit: f64 },
    Length { characters: usize, usual: Usual, limit: f64 },
    Rate { rate: Rate, limit: f64 },
}

impl Display for Measured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measured::Text(text) => f.write_str(text),
            Measured::Figure { value, of, limit } => write!(f, "{value:.2} {of}, limit {limit}"),
            Measured::Length { characters, usual, limit } => write!(
                f,
                "{characters} characters, {:.1} deviations from the median {:.0}, limit {limit}",
                usual.distance(*characters),
                usual.median
            ),
            Measured::Rate { rate, limit } => write!(f, "{rate}, limit {limit}"),
        }
    }
}

/// Where a solution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Kept,
    Dropped { reason: &'static str, evidence: String },
}

/// A problem whose solutions are sorted.
pub struct Settled<'a> {
    problem: &'a Problem,
    rows: &'a [(&'a Solution, &'a Judgement)],
    scope: Scope<'a>,
    fates: Vec<Fate>,
    /// Distinct solutions that passed the rules of one, and those in the order in which they were chosen.
    paths: Vec<choose::Path>,
    order: Vec<usize>,
}

impl<'a> Settled<'a> {
    fn of(problem: &'a Problem, rows: &'a [(&'a Solution, &'a Judgement)], ground: &'a Ground) -> Self {
        let config = &ground.config;
        let scope = Scope {
            problem,
            ground,
            rate: Rate::of(rows),
            difficulty: outliers::difficulty(problem, rows),
            leak: ground.held_out.leak(&problem.question),
            tried: RefCell::default(),
        };
        let mut fates: Vec<Fate> = rows.iter().map(|row| rules::first(&Subject::of(*row, &scope))).collect();
        let solutions: Vec<&Solution> = rows.iter().map(|(solution, _)| *solution).collect();
        let id = |path: &choose::Path| solutions[path.standing].solution_id.clone();

        let mut passed: Vec<usize> = (0..rows.len()).filter(|at| fates[*at] == Fate::Kept).collect();
        let (agreed, tried) = (scope.asks_agreement(), config.min_siblings > 0 && problem.domain == "math");
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
        let (mut paths, places) = choose::paths(&solutions, &passed, config.duplicates);
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
                    let completion = completion(&solution.texts(), &solution.final_answer);
                    let prompt = self.problem.question.clone();
                    let origin =
                        if solution.algorithm == REPAIR { REPAIR } else { &solution.policy }.to_owned();
                    curated.kept.push(Kept {
                        prompt,
                        completion,
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
        let config = &self.scope.ground.config;
        if self.scope.leak.is_none() && (config.step_labels || config.preferences > 0) {
            let prefixes = outputs::prefixes(self.rows);
            if config.step_labels {
                curated.step_labels =
                    outputs::step_labels(self.problem, self.rows, &self.fates, &prefixes, &config.faults);
            }
            curated.preferences =
                outputs::preferences(self.problem, self.rows, &self.fates, &prefixes, config.preferences);
        }
        curated
    }
}
