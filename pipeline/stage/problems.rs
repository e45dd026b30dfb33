//! The problems stage: one for all rounds.

use std::collections::HashMap;

use anyhow::Result;
use datasets::table::Example;
use datasets::types::{Problem, Split};
use serde::Serialize;
use stages::problems::{self, ProblemsConfig, Source};

use crate::run::inputs::Tables;
use crate::run::rows::{Counts, StageOutput, counts, write, write_some};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};

/// What problems depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    problems: ProblemsConfig,
    seed: u64,
    shard_size: usize,
    /// Version of the generator.
    source: u32,
    /// Of the input files.
    files: String,
}

/// # Errors
/// Input files that cannot be read.
pub fn inputs(session: &Session) -> Result<Inputs> {
    let c = &session.config;
    Ok(Inputs {
        code: problems::VERSION,
        tables: Tables::default().with::<Problem>().with::<Example>(),
        problems: c.problems.clone(),
        seed: c.run.seed,
        shard_size: c.run.shard_size,
        source: c.problems.source_version(),
        files: problems::input_hash(&c.problems)?,
    })
}

/// Draws or reads the problems. Shards are numbered as they fill, each of one split; what is committed
/// already is drawn again but not written.
///
/// # Errors
/// Bad rows and files; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let dir = opened.dir()?;
    let standing: HashMap<u32, _> = opened.commits.iter().map(|c| (c.shard, c)).collect();
    let wanted = &inputs.problems;
    let all = [wanted.train, wanted.validation, wanted.test];
    // Of files, 0 is as many as there are.
    let known = wanted.source != Source::Files || !all.contains(&0);
    let total = if known { all.iter().sum::<usize>() as u64 } else { 0 };
    let progress = workspace.console.stage("problems", "problems", total, 0);
    let mut commits = Vec::new();
    let mut waiting: HashMap<Split, Vec<Problem>> = HashMap::new();
    let mut put = |split: Split, rows: Vec<Problem>| -> Result<()> {
        let shard = commits.len() as u32;
        let commit = match standing.get(&shard) {
            Some(commit) => (*commit).clone(),
            None => {
                let counts = Counts::from([(split.name().to_owned(), rows.len() as i64)]);
                let mut attempt = dir.begin(shard);
                write(&mut attempt, rows)?;
                attempt.commit(&opened.fingerprint, counts)?
            }
        };
        commits.push(commit);
        Ok(())
    };
    let found = problems::problems(wanted, inputs.seed, &progress, &mut |problem| {
        let split = problem.split;
        let rows = waiting.entry(split).or_default();
        rows.push(problem);
        if rows.len() < inputs.shard_size { Ok(()) } else { put(split, std::mem::take(rows)) }
    })?;
    for split in [Split::Train, Split::Validation, Split::Test] {
        if let Some(rows) = waiting.remove(&split).filter(|rows| !rows.is_empty()) {
            put(split, rows)?;
        }
    }
    let mut attempt = dir.begin(commits.len() as u32);
    write_some(&mut attempt, found.examples.clone())?;
    let last = counts(&[
        ("duplicates", found.duplicates),
        ("leaked", found.leaked),
        ("skipped", found.skipped),
        ("examples", found.examples.len()),
        ("shards", commits.len() + 1),
    ]);
    commits.push(attempt.commit(&opened.fingerprint, last)?);
    progress.finish();
    workspace.console.say(&format!(
        "problems: {} train, {} validation, {} test; {} duplicates (kept, each with an id of its own), {} \
         train rows left out because they are in test, {} unreadable rows skipped, {} worked examples for \
         the prompt",
        found.train,
        found.validation,
        found.test,
        found.duplicates,
        found.leaked,
        found.skipped,
        found.examples.len()
    ));
    Ok(opened.output(commits))
}
