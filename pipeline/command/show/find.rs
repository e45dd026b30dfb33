//! Which problem is meant, and in which shards its rows are.

use std::collections::HashSet;

use anyhow::{Context, Result};
use datasets::types::Problem;

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
}

/// The problem of an id, of the beginning of one, or of a number.
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
    let at = match &places[..] {
        [one] => *one,
        [] => {
            let all = ids.len();
            let what = format!("{root} has no problem whose id begins with `{text}`");
            let hint =
                format!("give an id of `qstill inspect {root}/problems/problems`, or a number up to {all}");
            return Err(Failure::input(what, hint).into());
        }
        several => {
            let named: Vec<&str> = several.iter().take(NAMED).map(|at| ids[*at].1.as_str()).collect();
            let (count, more) = (several.len(), if several.len() > NAMED { ", …" } else { "" });
            let named = named.join(", ");
            let what = format!("{count} problems have an id that begins with `{text}`: {named}{more}");
            return Err(Failure::input(what, "give more of the id").into());
        }
    };
    let (shard, id) = &ids[at];
    let rows: Vec<Problem> = problems.of_problems(Some(*shard), &HashSet::from([id.clone()]))?;
    let problem = rows.into_iter().next().with_context(|| format!("problem {id} is gone"))?;
    let shard = train_shards(&problems).iter().position(|train| train == shard).map(|n| n as u32);
    Ok(Found { problem, number: at + 1, shard })
}
