//! verify: judges every solution against its problem's gold answer, exactly, or as a command of the user's
//! says.

use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::domain::Case;
use datasets::domains::Domains;
use datasets::table::VerdictRow;
use datasets::types::{End, Judgement, Problem, Solution, Verdict};
use rayon::prelude::*;

use crate::events::Events;
use crate::policy::Proposal;

/// Version of the stage, part of its fingerprint with those of the domains.
pub const VERSION: u32 = 2;

/// One judgement. A problem of an unknown domain is undecidable.
pub fn judge(domains: &Domains, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
    match domains.of(problem) {
        Some(domain) => domain.verify(problem, steps, final_answer),
        None => Judgement::undecidable("unknown_domain"),
    }
}

/// What a policy proposed for a problem, as [`Domains::foresee`] takes it: `before` are the steps in front of
/// the proposal's own.
pub fn case<'a>(problem: &'a Problem, before: &[String], proposal: &Proposal) -> Case<'a> {
    let own = proposal.steps.iter().map(|step| step.text.clone());
    let steps = before.iter().cloned().chain(own).collect();
    Case { problem, steps, answer: proposal.final_answer.clone() }
}

/// Judges solutions, in their order.
///
/// # Errors
/// If a solution's problem is not among `problems`.
pub fn verify(
    domains: &Domains,
    problems: &[Problem],
    solutions: &[Solution],
    events: &dyn Events,
) -> Result<Vec<VerdictRow>> {
    let by_id: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
    let said = |solution: &&Solution| !matches!(solution.end, End::Filtered | End::Failed);
    domains.foresee(|| {
        solutions.iter().filter(said).filter_map(|solution| {
            let problem = *by_id.get(solution.problem_id.as_str())?;
            let steps = solution.steps.iter().map(|step| step.text.clone()).collect();
            Some(Case { problem, steps, answer: solution.final_answer.clone() })
        })
    });
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
                End::Filtered | End::Failed => Judgement::undecidable(solution.end.name()),
                _ => judge(domains, problem, &steps, &solution.final_answer),
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
