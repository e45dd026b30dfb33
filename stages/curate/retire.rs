//! Second thoughts: rows of earlier rounds that the samples of this one speak against. So a path that reached
//! the answer by chance, and was kept while nobody could tell, leaves the pool once a policy that reads the
//! question computes something else.

use std::collections::HashMap;

use anyhow::Result;
use datasets::agreement::classes;
use datasets::answer::split_completion;
use datasets::domains;
use datasets::table::{Retired, VerdictRow};
use datasets::types::{Judgement, Kept, Problem, Solution, Verdict};
use rayon::prelude::*;

use super::config::{CurateConfig, Retire};
use super::judged::judged;

/// Which rows of earlier rounds are no longer learned from. `earlier` are those still in use, of the problems
/// of this shard.
///
/// A row of a word problem is retired as `outvoted` if `min_agreement` samples of this round (one at least)
/// compute another function of the given numbers, and more than compute the row's. With
/// [`Retire::Unconfirmed`] a row that the rules found is also retired, as `unconfirmed`, if its problem was
/// sampled and no correct sample computes the same.
///
/// # Errors
/// A solution without a verdict.
pub fn retire(
    problems: &[Problem],
    earlier: &[Kept],
    solutions: &[Solution],
    verdicts: &[VerdictRow],
    config: &CurateConfig,
) -> Result<Vec<Retired>> {
    if config.retire == Retire::Off || earlier.is_empty() {
        return Ok(Vec::new());
    }
    let by_problem = judged(solutions, verdicts)?;
    let mut rows: HashMap<&str, Vec<&Kept>> = HashMap::new();
    for row in earlier {
        rows.entry(&row.problem_id).or_default().push(row);
    }
    let parts: Vec<Vec<Retired>> = problems
        .par_iter()
        .filter(|problem| domains::calculates(problem))
        .filter_map(|problem| {
            let id = problem.problem_id.as_str();
            Some(of_problem(problem, rows.get(id)?, by_problem.get(id)?, config))
        })
        .collect();
    Ok(parts.concat())
}

fn of_problem(
    problem: &Problem,
    rows: &[&Kept],
    judged: &[(&Solution, &Judgement)],
    config: &CurateConfig,
) -> Vec<Retired> {
    let Some(round) = judged.first().map(|(solution, _)| solution.round) else { return Vec::new() };
    let samples = judged.iter().filter(|(solution, _)| solution.sampled()).count();
    let sound = |judgement: &Judgement| {
        judgement.verdict == Verdict::Correct
            && judgement.faults.iter().all(|fault| !config.faults.contains(&fault.kind))
    };
    let voters: Vec<&Solution> =
        judged.iter().filter(|(s, j)| s.votes() && sound(j)).map(|(s, _)| *s).collect();
    let written: Vec<Vec<String>> = rows.iter().map(|row| split_completion(&row.completion).0).collect();
    let written: Vec<Vec<&str>> =
        written.iter().map(|steps| steps.iter().map(String::as_str).collect()).collect();
    let drawn: Vec<Vec<&str>> = voters.iter().map(|solution| solution.texts()).collect();
    let paths: Vec<&[&str]> = written.iter().chain(&drawn).map(Vec::as_slice).collect();
    let classes = classes(problem, &paths);
    let (own, others) = classes.split_at(rows.len());
    let votes = super::choose::voices(&voters, others);
    let most = votes.iter().max_by_key(|(class, count)| (**count, std::cmp::Reverse(**class)));
    let mut retired = Vec::new();
    for (row, class) in rows.iter().zip(own) {
        let mine = votes.get(class).copied().unwrap_or(0);
        let outvoted = most.filter(|(other, count)| {
            *other != class && **count >= config.min_agreement.max(1) && **count > mine
        });
        let (reason, evidence) = match outvoted {
            Some((_, count)) => (
                "outvoted",
                format!("{count} of {samples} samples compute another function, {mine} this one"),
            ),
            None if config.retire == Retire::Unconfirmed
                && row.origin == "rules"
                && samples > 0
                && mine == 0 =>
            {
                ("unconfirmed", format!("none of {samples} samples computes the same"))
            }
            None => continue,
        };
        let (solution_id, problem_id) = (row.solution_id.clone(), row.problem_id.clone());
        retired.push(Retired { solution_id, problem_id, round, reason: reason.into(), evidence });
    }
    retired
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::tests::{problem, solution, verdict};

    fn row(steps: &str, origin: &str) -> Kept {
        Kept {
            completion: format!("{steps}\n#### 8"),
            problem_id: "p".into(),
            solution_id: steps.into(),
            origin: origin.into(),
            ..Kept::default()
        }
    }

    #[test]
    fn rows_leave_when_samples_compute_something_else() {
        let question = Problem {
            domain: "math".into(),
            ..problem("p", "Ann has 2 bags of 4 pens and 6 caps. How many pens?", "8")
        };
        let product = |id: &str| solution(id, "p", "best-of-n", &["2*4=8"], "8");
        let sum = |id: &str| solution(id, "p", "best-of-n", &["2+6=8"], "8");
        let reasons = |rows: &[Kept], drawn: &[Solution], second: Retire, least: usize| -> Vec<String> {
            let config = CurateConfig { retire: second, min_agreement: least, ..CurateConfig::default() };
            let verdicts: Vec<VerdictRow> = drawn.iter().map(|s| verdict(s, true, None)).collect();
            let retired = retire(std::slice::from_ref(&question), rows, drawn, &verdicts, &config).unwrap();
            retired.iter().map(|r| format!("{} {}", r.solution_id, r.reason)).collect()
        };
        let rows = [row("2+6=8", "rules"), row("2*4=8", "rules")];
        // One agreeing pair outvotes; a single sample does not where two are asked for.
        assert_eq!(reasons(&rows, &[product("a"), product("b")], Retire::Outvoted, 2), ["2+6=8 outvoted"]);
        assert!(reasons(&rows, &[product("a")], Retire::Outvoted, 2).is_empty());
        assert_eq!(reasons(&rows, &[product("a")], Retire::Unconfirmed, 2), ["2+6=8 unconfirmed"]);
        // Ties keep both, and what a policy drew earlier only goes when it is outvoted.
        assert!(reasons(&rows, &[product("a"), sum("b")], Retire::Unconfirmed, 1).is_empty());
        assert!(reasons(&[row("4+4=8", "model")], &[product("a")], Retire::Unconfirmed, 2).is_empty());
        assert!(reasons(&rows, &[product("a"), product("b")], Retire::Off, 1).is_empty());
    }
}
