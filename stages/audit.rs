//! audit: how many solutions are right for the right reason, where the source knows. It feeds no other stage.

use std::collections::{BTreeMap, HashMap, HashSet};

use datasets::audit::{Finding, Oracle};
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution, Verdict};
use rayon::prelude::*;
use serde::Serialize;

use crate::evaluate::statistics::wilson;

/// Some solutions of a round and what the audit found of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub round: u32,
    /// `right-answer`: the final answer is the gold's, whatever the steps; `verified`: verdict `correct`; `kept`: chosen
    /// for training.
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

/// Audits one round: lines for all and for each algorithm, and by operations for what was kept.
pub fn audit(
    round: u32,
    problems: &HashMap<String, Problem>,
    solutions: &[Solution],
    verdicts: &[VerdictRow],
    kept: &HashSet<String>,
) -> Vec<Line> {
    let judged: HashMap<&str, &VerdictRow> = verdicts.iter().map(|v| (v.solution_id.as_str(), v)).collect();
    let found: Vec<(&Solution, u32, bool, Finding)> = solutions
        .par_iter()
        .filter_map(|solution| {
            let judgement = &judged.get(solution.solution_id.as_str())?.judgement;
            if judgement.verdict != Verdict::Correct {
                return None;
            }
            let verified = judgement.faults.is_empty();
            let problem = problems.get(&solution.problem_id)?;
            let steps: Vec<String> = solution.steps.iter().map(|s| s.text.clone()).collect();
            let finding = Oracle::of(problem)?.audit(problem, &steps, &solution.final_answer);
            Some((solution, problem.difficulty, verified, finding))
        })
        .collect();
    let mut groups: BTreeMap<(usize, String, Option<u32>), Vec<Finding>> = BTreeMap::new();
    for (solution, operations, verified, finding) in found {
        let kept = kept.contains(&solution.solution_id);
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
            round,
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
