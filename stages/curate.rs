//! curate: which correct solutions the student learns from. Every solution is kept, or dropped for one reason.
//!
//! | reason | evidence |
//! |---|---|
//! | `not_correct` | the verdict and its reason |
//! | `wrong_steps` | the first fault of its steps |
//! | `duplicate` | id of the solution with the same normalised equation path that is kept instead |
//! | `over_cap` | how many of the problem's solutions rank before it, and the cap |
//! | `ambiguous` | id of another path that ranks equal: with answers only, one of them is right by chance |

use std::cmp::Reverse;
use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::expr::canonical_path;
use datasets::table::{Dropped, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Verdict};
use serde::{Deserialize, Serialize};

use crate::events::Events;

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 1;

/// `[curate]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurateConfig {
    /// Most solutions kept per problem and round.
    pub per_problem: usize,
    /// Whether to drop a problem's best path if another one was found as often and has as few steps.
    pub drop_ambiguous: bool,
}

/// The assistant turn of a training row: a line per step, then the answer line.
pub fn completion(steps: &[String], final_answer: &str) -> String {
    steps.iter().map(|step| format!("{step}\n")).collect::<String>() + "#### " + final_answer
}

/// Sorts the solutions of some problems into kept and dropped, in their order.
///
/// Of correct solutions with the same path the first stands for all. Paths are ranked by how many solutions
/// took them; then those that a policy drew before those of the enumeration, which fits numbers without reading
/// the question; then, where ambiguity counts, by fewest steps; then by the order of the search.
///
/// # Errors
/// If a solution has no verdict or no problem.
pub fn curate(
    problems: &[Problem],
    solutions: &[Solution],
    verdicts: &[VerdictRow],
    config: &CurateConfig,
    events: &dyn Events,
) -> Result<(Vec<Kept>, Vec<Dropped>)> {
    let judged: HashMap<&str, &VerdictRow> = verdicts.iter().map(|v| (v.solution_id.as_str(), v)).collect();
    let mut by_problem: HashMap<&str, Vec<&Solution>> = HashMap::new();
    for solution in solutions {
        by_problem.entry(&solution.problem_id).or_default().push(solution);
    }
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for problem in problems {
        let Some(of_problem) = by_problem.remove(problem.problem_id.as_str()) else { continue };
        let mut drop = |solution: &Solution, reason: &str, evidence: String| {
            dropped.push(Dropped {
                solution_id: solution.solution_id.clone(),
                problem_id: solution.problem_id.clone(),
                round: solution.round,
                reason: reason.into(),
                evidence,
            });
        };
        // Distinct correct paths: who stands for it, and how many found it.
        let mut paths: Vec<(&Solution, usize)> = Vec::new();
        let mut place: HashMap<String, usize> = HashMap::new();
        let mut correct = 0;
        for solution in &of_problem {
            let id = solution.solution_id.as_str();
            let judgement = &judged.get(id).with_context(|| format!("solution {id} has no verdict; run verify again"))?.judgement;
            if judgement.verdict != Verdict::Correct {
                drop(solution, "not_correct", format!("{}: {}", judgement.verdict.name(), judgement.reason));
                continue;
            }
            correct += 1;
            if let Some(fault) = judgement.faults.first() {
                drop(solution, "wrong_steps", format!("{}: {}", fault.kind.name(), fault.evidence));
                continue;
            }
            let steps: Vec<&str> = solution.steps.iter().map(|s| s.text.as_str()).collect();
            let path = if steps.is_empty() { format!("answer {}", solution.final_answer) } else { canonical_path(&steps) };
            if let Some(&first) = place.get(&path) {
                paths[first].1 += 1;
                drop(solution, "duplicate", paths[first].0.solution_id.clone());
            } else {
                place.insert(path, paths.len());
                paths.push((solution, 1));
            }
        }
        let rank = |i: usize| {
            (Reverse(paths[i].1), paths[i].0.algorithm == "best-first", if config.drop_ambiguous { paths[i].0.steps.len() } else { 0 })
        };
        let mut ranked: Vec<usize> = (0..paths.len()).collect();
        ranked.sort_by_key(|&i| (rank(i), i));
        let ambiguous = config.drop_ambiguous && matches!(ranked[..], [first, second, ..] if rank(first) == rank(second));
        for (place, &i) in ranked.iter().enumerate() {
            if ambiguous {
                drop(paths[i].0, "ambiguous", paths[ranked[usize::from(place == 0)]].0.solution_id.clone());
            } else if place >= config.per_problem {
                drop(paths[i].0, "over_cap", format!("{place} rank before it, cap {}", config.per_problem));
            }
        }
        let pass_rate = correct as f32 / of_problem.len().max(1) as f32;
        let mut chosen: Vec<usize> = ranked.into_iter().take(if ambiguous { 0 } else { config.per_problem }).collect();
        chosen.sort_unstable();
        let weight = 1.0 / chosen.len().max(1) as f32;
        for i in chosen {
            let solution = paths[i].0;
            let steps: Vec<String> = solution.steps.iter().map(|s| s.text.clone()).collect();
            kept.push(Kept {
                prompt: problem.question.clone(),
                completion: completion(&steps, &solution.final_answer),
                problem_id: problem.problem_id.clone(),
                solution_id: solution.solution_id.clone(),
                round: solution.round,
                weight,
                pass_rate,
            });
        }
    }
    ensure!(
        by_problem.is_empty(),
        "{} solutions answer problems that are not in this shard",
        by_problem.values().map(Vec::len).sum::<usize>()
    );
    events.advance(solutions.len() as u64, kept.len() as u64, 0);
    Ok((kept, dropped))
}
