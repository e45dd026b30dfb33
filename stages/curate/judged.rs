//! Judged solutions by problem, how many of them are correct, and their texts.

use std::collections::HashMap;
use std::fmt::{self, Display};

use anyhow::{Context, Result};
use datasets::table::VerdictRow;
use datasets::types::{Judgement, Solution, Verdict};

/// Solutions with their judgements by problem, in their order.
pub(super) fn judged<'a>(
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

/// Correct ones among a problem's samples that could be judged; among all such solutions where no samples
/// could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub correct: usize,
    pub of: usize,
    pub sampled: bool,
}

impl Rate {
    pub(super) fn of(rows: &[(&Solution, &Judgement)]) -> Self {
        // The enumeration has the answer as its goal: that it finds it says nothing of how hard the problem
        // is.
        let judged = rows.iter().filter(|(_, judgement)| judgement.verdict != Verdict::Undecidable);
        let any = judged.clone().any(|(solution, _)| solution.sampled());
        let counted = judged.filter(|(solution, _)| solution.sampled() == any);
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

/// How many of each problem's samples are correct, see [`Rate`].
///
/// # Errors
/// If a solution has no verdict.
pub fn rates(solutions: &[Solution], verdicts: &[VerdictRow]) -> Result<HashMap<String, Rate>> {
    Ok(judged(solutions, verdicts)?.into_iter().map(|(id, rows)| (id.to_owned(), Rate::of(&rows))).collect())
}
