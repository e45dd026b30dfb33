//! audit: how many solutions are right for the right reason. It feeds no other stage.
//!
//! Where the source knows how a problem was made, that is what [`Line`]s tell. Everywhere, [`Sign`]s are
//! estimates: each is measured on what was kept, and its own errors are shown where the source knows.

use std::collections::{BTreeMap, HashMap, HashSet};

use datasets::agreement::{classes, unused};
use datasets::audit::{Finding, Oracle};
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution, Verdict};
use rayon::prelude::*;
use serde::Serialize;

use crate::evaluate::statistics::wilson;
use crate::siblings::Siblings;

/// Some solutions of a round and what the audit found of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub round: u32,
    /// `right-answer`: the final answer is the gold's, whatever the steps; `verified`: verdict `correct`;
    /// `kept`: chosen for training.
    pub of: &'static str,
    /// `all`, or the search that found them.
    pub algorithm: String,
    /// Operations of the problem; None for all.
    pub operations: Option<u32>,
    /// Solutions whose problem knows how it was made.
    pub solutions: usize,
    /// Those of them that are right in every replay with other numbers.
    pub right: usize,
    /// `right / solutions`, with its 95% Wilson interval.
    pub share: f64,
    pub ci_low: f64,
    pub ci_high: f64,
    /// Those without a calculation to replay, counted as not right.
    pub unreadable: usize,
}

/// A round: its problems by id, and what became of its solutions.
pub struct Round<'a> {
    pub number: u32,
    pub problems: &'a HashMap<String, Problem>,
    pub solutions: &'a [Solution],
    pub verdicts: &'a [VerdictRow],
    /// Ids of what was kept.
    pub kept: &'a HashSet<String>,
}

/// Audits one round: what is known, and what the signs say.
pub fn audit(round: &Round<'_>) -> (Vec<Line>, Vec<Sign>) {
    let judged = round.verdicts.iter().filter(|v| v.judgement.verdict == Verdict::Correct);
    let correct: HashMap<&str, &VerdictRow> = judged.map(|v| (v.solution_id.as_str(), v)).collect();
    let found: HashMap<&str, Finding> = round
        .solutions
        .par_iter()
        .filter(|solution| correct.contains_key(solution.solution_id.as_str()))
        .filter_map(|solution| {
            let problem = round.problems.get(&solution.problem_id)?;
            let finding = Oracle::of(problem)?.audit(problem, &solution.texts(), &solution.final_answer);
            Some((solution.solution_id.as_str(), finding))
        })
        .collect();
    (lines(round, &correct, &found), signs(round, &correct, &found))
}

/// Lines for all and for each algorithm, and by operations for what was kept.
fn lines(
    round: &Round<'_>,
    correct: &HashMap<&str, &VerdictRow>,
    found: &HashMap<&str, Finding>,
) -> Vec<Line> {
    let mut groups: BTreeMap<(usize, String, Option<u32>), Vec<Finding>> = BTreeMap::new();
    for solution in round.solutions {
        let id = solution.solution_id.as_str();
        let Some(&finding) = found.get(id) else { continue };
        let operations = round.problems[&solution.problem_id].difficulty;
        let (verified, kept) = (correct[id].judgement.faults.is_empty(), round.kept.contains(id));
        for (stage, _) in [true, verified, kept].into_iter().enumerate().filter(|(_, counts)| *counts) {
            for algorithm in ["all", &solution.algorithm] {
                groups.entry((stage, algorithm.to_owned(), None)).or_default().push(finding);
            }
            if stage == 2 {
                groups.entry((stage, "all".to_owned(), Some(operations))).or_default().push(finding);
            }
        }
    }
    let line = |((stage, algorithm, operations), findings): ((usize, String, Option<u32>), Vec<Finding>)| {
        let count = |wanted| findings.iter().filter(|f| **f == wanted).count();
        let right = count(Finding::Right);
        let (ci_low, ci_high) = wilson(right, findings.len());
        Line {
            round: round.number,
            of: ["right-answer", "verified", "kept"][stage],
            algorithm,
            operations,
            solutions: findings.len(),
            right,
            share: right as f64 / findings.len() as f64,
            ci_low,
            ci_high,
            unreadable: count(Finding::Unreadable),
        }
    };
    groups.into_iter().map(line).collect()
}

/// A sign of what was kept in a round, which needs nothing but the answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sign {
    pub round: u32,
    /// `transfers`: the calculation gives the answers of problems that differ in numbers and names alone;
    /// `agrees`: another correct sample of the problem computes the same function of its numbers; `uses_all`:
    /// no given number is left out.
    pub sign: &'static str,
    /// Kept solutions for which there is something to compare with.
    pub tested: usize,
    pub passed: usize,
    /// `passed / tested`, with its 95% Wilson interval.
    pub share: f64,
    pub ci_low: f64,
    pub ci_high: f64,
    /// Share of those that passed, and of those that did not, that are right for the right reason; None where
    /// no problem knows how it was made, or there are none.
    pub right_of_passed: Option<f64>,
    pub right_of_failed: Option<f64>,
}

const SIGNS: [&str; 3] = ["transfers", "agrees", "uses_all"];

/// Estimates, from answers alone, how many of a round's kept solutions are right for the right reason. Word
/// problems only.
fn signs(
    round: &Round<'_>,
    correct: &HashMap<&str, &VerdictRow>,
    known: &HashMap<&str, Finding>,
) -> Vec<Sign> {
    let mut samples: HashMap<&str, Vec<&Solution>> = HashMap::new();
    for solution in
        round.solutions.iter().filter(|s| s.sampled() && correct.contains_key(s.solution_id.as_str()))
    {
        samples.entry(&solution.problem_id).or_default().push(solution);
    }
    let mut sorted: Vec<&Problem> = round.problems.values().filter(|p| p.domain == "math").collect();
    sorted.sort_by(|a, b| a.problem_id.cmp(&b.problem_id));
    let mut siblings = Siblings::default();
    for problem in sorted {
        siblings.add(problem);
    }
    // What each kept solution shows of each sign, and whether it is right where that is known.
    let found: Vec<([Option<bool>; 3], Option<bool>)> = round
        .solutions
        .par_iter()
        .filter(|solution| round.kept.contains(&solution.solution_id))
        .filter_map(|solution| {
            let problem = round.problems.get(&solution.problem_id).filter(|p| p.domain == "math")?;
            let path = solution.texts();
            let tried = siblings.try_on(problem, &path);
            let transfers = (tried.tried > 0).then_some(tried.solved == tried.tried);
            let others = samples.get(problem.problem_id.as_str()).into_iter().flatten();
            let others: Vec<Vec<&str>> =
                others.filter(|s| s.solution_id != solution.solution_id).map(|s| s.texts()).collect();
            let paths: Vec<&[&str]> =
                std::iter::once(path.as_slice()).chain(others.iter().map(Vec::as_slice)).collect();
            let classes = classes(problem, &paths);
            let agrees = (!others.is_empty()).then(|| classes[1..].contains(&classes[0]));
            let uses_all = (!path.is_empty()).then(|| unused(problem, &path).is_empty());
            let right = known.get(solution.solution_id.as_str()).map(|finding| *finding == Finding::Right);
            Some(([transfers, agrees, uses_all], right))
        })
        .collect();
    let sign = |(at, sign): (usize, &'static str)| {
        let tested: Vec<(bool, Option<bool>)> =
            found.iter().filter_map(|(signs, right)| Some((signs[at]?, *right))).collect();
        let passed = tested.iter().filter(|(passed, _)| *passed).count();
        let right = |wanted: bool| {
            let known: Vec<bool> = tested
                .iter()
                .filter(|(passed, _)| *passed == wanted)
                .filter_map(|(_, right)| *right)
                .collect();
            (!known.is_empty())
                .then(|| known.iter().filter(|right| **right).count() as f64 / known.len() as f64)
        };
        let (ci_low, ci_high) = wilson(passed, tested.len());
        let share = passed as f64 / tested.len() as f64;
        let (right_of_passed, right_of_failed) = (right(true), right(false));
        (!tested.is_empty()).then_some(Sign {
            round: round.number,
            sign,
            tested: tested.len(),
            passed,
            share,
            ci_low,
            ci_high,
            right_of_passed,
            right_of_failed,
        })
    };
    SIGNS.into_iter().enumerate().filter_map(sign).collect()
}
