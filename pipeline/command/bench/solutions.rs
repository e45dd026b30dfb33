//! Word problems and solutions of all kinds (right, reordered, in prose, wrong, looping), verified and
//! written a shard at a time as a run writes them: what curation and questions in SQL are measured on.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datasets::domains::Domains;
use datasets::key;
use datasets::sources::{Raw, words};
use datasets::table::{self, Row, Writer};
use datasets::types::{End, Problem, Solution, Split, Step};
use rayon::prelude::*;
use serde_json::Value;
use stages::events::Silent;
use stages::verify::verify;

use crate::terminal::console::Console;

/// Most problems of a shard, solutions of a problem.
const PROBLEMS: u64 = 2_048;
const SAMPLES: u64 = 16;

/// A folder that goes when it is no longer needed.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was made.
pub struct Made {
    pub folder: Folder,
    pub shards: u64,
    /// Problems of a shard.
    pub size: u64,
    pub bytes: u64,
}

/// Makes about `solutions` solutions in a folder under `parent`, with their problems and verdicts.
///
/// # Errors
/// Failed writes.
pub fn make(solutions: u64, parent: Option<&Path>, console: &Console) -> Result<Made> {
    let folder = parent
        .map_or_else(std::env::temp_dir, Path::to_path_buf)
        .join(format!("qstill-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let folder = Folder(folder);
    let size = PROBLEMS.min(solutions.div_ceil(SAMPLES)).max(1);
    let shards = solutions.div_ceil(size * SAMPLES).max(1);
    let progress = console.stage("make", "shards", shards, 0);
    for shard in 0..shards {
        let problems: Vec<Problem> = (0..size).into_par_iter().map(|at| problem(shard * size + at)).collect();
        let solutions: Vec<Solution> =
            problems.par_iter().flat_map_iter(|p| (0..SAMPLES).map(|sample| solution(p, sample))).collect();
        let verdicts = verify(&Domains::default(), &problems, &solutions, &Silent)?;
        put(&folder.0, shard, problems)?;
        put(&folder.0, shard, solutions)?;
        put(&folder.0, shard, verdicts)?;
        stages::Events::advance(&progress, 1, 0, 0);
    }
    progress.finish();
    let bytes: u64 = std::fs::read_dir(&folder.0)?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum::<std::io::Result<u64>>()?;
    Ok(Made { folder, shards, size, bytes })
}

/// What the problems are like.
pub const DIAL: words::Dial = words::Dial { min_operations: 1, max_operations: 5, distractors: 0.2 };

/// Of several problems of the same text each has an id of its own, as in a run.
fn problem(index: u64) -> Problem {
    Raw::from(words::generate(1, index, &DIAL)).into_problem("math", "words", index as u32, Split::Train)
}

/// A solution of one of eight kinds, made from the true one.
fn solution(problem: &Problem, sample: u64) -> Solution {
    let id = [(&problem.problem_id).into(), sample.into()];
    let meta: Value = serde_json::from_str(&problem.meta).unwrap_or_default();
    let mut steps: Vec<String> = meta["solution"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default();
    let mut answer = problem.answer.clone();
    match (key::unit(&id) * 8.0) as u32 {
        0 | 1 => steps = steps.iter().map(|s| format!("That makes {s} of them.")).collect(),
        2 => steps = steps.iter().map(|s| swapped(s).unwrap_or_else(|| s.clone())).collect(),
        3 => answer = format!("{answer}1"),
        4 => drop(steps.pop()),
        5 if sample.is_multiple_of(5) => {
            steps = vec!["Again and again he has the same number of them and so on.".to_owned(); 12];
        }
        5 => steps.reverse(),
        6 => steps.iter_mut().for_each(|s| s.push('7')),
        _ => {}
    }
    let steps =
        steps.into_iter().map(|text| Step { text, logprob: -0.5, value: f32::NAN, q: f32::NAN, tokens: 8 });
    Solution {
        solution_id: key::id(&id),
        problem_id: problem.problem_id.clone(),
        round: 1,
        algorithm: "best-of-n".into(),
        policy: "model".into(),
        policy_fingerprint: "bench".into(),
        seed: sample,
        steps: steps.collect(),
        final_answer: answer,
        end: End::Complete,
        thought: String::new(),
        thought_tokens: 0,
        tokens: 32,
        search_tokens: 32.0,
        search_expansions: 4.0,
    }
}

/// `b+a=c` for `a+b=c`.
fn swapped(step: &str) -> Option<String> {
    let (left, right) = step.split_once('=')?;
    let sign = if left.contains('+') { '+' } else { '*' };
    let (a, b) = left.split_once(sign)?;
    Some(format!("{b}{sign}{a}={right}"))
}

/// The file of a table's shard.
pub fn path<R: Row>(folder: &Path, shard: u64) -> PathBuf {
    folder.join(format!("part-{shard:05}-{}.parquet", R::TABLE))
}

/// Writes a shard of a table.
///
/// # Errors
/// Failed writes.
pub fn put<R: Row>(folder: &Path, shard: u64, rows: Vec<R>) -> Result<()> {
    let path = path::<R>(folder, shard);
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    let mut writer = Writer::new(BufWriter::new(file))?;
    writer.extend(rows)?;
    writer.finish()?;
    Ok(())
}

/// Reads a shard of a table.
///
/// # Errors
/// Failed reads.
pub fn get<R: Row>(folder: &Path, shard: u64) -> Result<Vec<R>> {
    Ok(table::read_all(&path::<R>(folder, shard))?)
}
