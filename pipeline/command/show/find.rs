//! Which problem or solution is meant, and in which shards its rows are.

use std::collections::HashSet;

use anyhow::{Context, Result};
use datasets::types::{Problem, Solution};

use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::{committed, train_shards};
use crate::terminal::exit::Failure;

/// Ids that are named where several begin alike.
const NAMED: usize = 4;

/// A problem of a run.
pub struct Found {
    pub problem: Problem,
    /// Its place in the table of problems, from 1.
    pub number: usize,
    /// Its shard in the stages of train problems; None for held-out ones.
    pub shard: Option<u32>,
    /// The solution that was asked for, and its round; None if the problem was.
    pub solution: Option<(u32, String)>,
}

/// The problem of an id, of the beginning of one, or of a number; or that of a solution, by its id or the
/// beginning of it.
///
/// # Errors
/// No problem or several; failed reads.
pub fn problem(run: &RunDir, text: &str) -> Result<Found> {
    let problems = committed(run, 0, Stage::Problems)?;
    let mut ids: Vec<(u32, String)> = Vec::new();
    for commit in &problems.commits {
        let of_shard = problems.column::<Problem>(commit.shard, "problem_id")?;
        ids.extend(of_shard.into_iter().map(|id| (commit.shard, id)));
    }
    let text = text.trim();
    // Ids are longer than any number that counts problems.
    let number = text.parse::<usize>().ok().filter(|number| (1..=ids.len()).contains(number));
    let places: Vec<usize> = match number {
        Some(number) => vec![number - 1],
        None if text.is_empty() => Vec::new(),
        None => (0..ids.len()).filter(|at| ids[*at].1.starts_with(text)).collect(),
    };
    let root = run.root().display();
    let (at, solution) = match &places[..] {
        [one] => (*one, None),
        [] => {
            let Some((problem, solution)) = solution(run, text)? else {
                let all = ids.len();
                let what = format!("{root} has no problem and no solution whose id begins with `{text}`");
                let hint = format!(
                    "give an id of `qstill inspect {root}/problems/problems`, or a number up to {all}"
                );
                return Err(Failure::input(what, hint).into());
            };
            let at = ids.iter().position(|(_, id)| *id == problem);
            (at.with_context(|| format!("problem {problem} is gone"))?, Some(solution))
        }
        several => return Err(several_begin_so("problems", text, several.iter().map(|at| &ids[*at].1))),
    };
    let (shard, id) = &ids[at];
    let rows: Vec<Problem> = problems.of_problems(Some(*shard), &HashSet::from([id.clone()]))?;
    let problem = rows.into_iter().next().with_context(|| format!("problem {id} is gone"))?;
    let shard = train_shards(&problems).iter().position(|train| train == shard).map(|n| n as u32);
    Ok(Found { problem, number: at + 1, shard, solution })
}

/// The solution whose id begins so, with its round, and its problem.
fn solution(run: &RunDir, text: &str) -> Result<Option<(String, (u32, String))>> {
    let mut found: Vec<(String, (u32, String))> = Vec::new();
    for round in run.rounds()?.into_iter().filter(|_| !text.is_empty()) {
        let search = committed(run, round, Stage::Search)?;
        for commit in &search.commits {
            let column = |name| search.column::<Solution>(commit.shard, name);
            let pairs = column("problem_id")?.into_iter().zip(column("solution_id")?);
            let here = pairs.filter(|(_, id)| id.starts_with(text));
            found.extend(here.map(|(problem, id)| (problem, (round, id))));
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(several_begin_so("solutions", text, found.iter().map(|(_, (_, id))| id))),
    }
}

fn several_begin_so<'a>(
    what: &str,
    text: &str,
    ids: impl ExactSizeIterator<Item = &'a String>,
) -> anyhow::Error {
    let (count, more) = (ids.len(), if ids.len() > NAMED { ", …" } else { "" });
    let named = ids.take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let what = format!("{count} {what} have an id that begins with `{text}`: {named}{more}");
    Failure::input(what, "give more of the id").into()
}
