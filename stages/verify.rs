//! verify: judges every solution against its problem's gold answer, exactly.

use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::domains;
use datasets::table::VerdictRow;
use datasets::types::{End, Judgement, Problem, Solution, Verdict};
use rayon::prelude::*;

use crate::events::Events;

/// Version of the stage, part of its fingerprint with those of the domains.
pub const VERSION: u32 = 2;

/// One judgement. A problem of an unknown domain is undecidable.
pub fn judge(problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
    match domains::domain(&problem.domain) {
        Some(domain) => domain.verify(problem, steps, final_answer),
        None => undecidable("unknown_domain"),
    }
}

fn undecidable(reason: &str) -> Judgement {
    Judgement {
        verdict: Verdict::Undecidable,
        reason: reason.into(),
        checks: Vec::new(),
        first_wrong: None,
        faults: Vec::new(),
    }
}

/// Judges solutions, in their order.
///
/// # Errors
/// If a solution's problem is not among `problems`.
pub fn verify(problems: &[Problem], solutions: &[Solution], events: &dyn Events) -> Result<Vec<VerdictRow>> {
    let by_id: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
    let rows = solutions
        .par_iter()
        .map(|solution| {
            let problem = by_id.get(solution.problem_id.as_str()).with_context(|| {
                format!(
                    "solution {} answers problem {}, which is not in this shard",
                    solution.solution_id, solution.problem_id
                )
            })?;
            let steps: Vec<String> = solution.steps.iter().map(|s| s.text.clone()).collect();
            let judgement = match solution.end {
                // No answer of the model: nothing speaks against it.
                End::Filtered | End::Failed => undecidable(solution.end.name()),
                _ => judge(problem, &steps, &solution.final_answer),
            };
            Ok(VerdictRow {
                solution_id: solution.solution_id.clone(),
                problem_id: solution.problem_id.clone(),
                judgement,
                judge_yes: None,
                judge_votes: None,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let correct = rows.iter().filter(|r| r.judgement.verdict == Verdict::Correct).count();
    events.advance(rows.len() as u64, correct as u64, 0);
    Ok(rows)
}
