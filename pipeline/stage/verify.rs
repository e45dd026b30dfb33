//! The verify stage: an exact judgement of every solution.

use anyhow::Result;
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution};
use serde::Serialize;
use stages::verify;

use crate::run::inputs::Tables;
use crate::run::rows::{StageOutput, counts, train_shards, write};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};

/// What verdicts depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    problems: StageOutput,
    solutions: StageOutput,
    verifier: u32,
}

impl Inputs {
    /// Number of shards.
    pub fn shards(&self) -> u32 {
        train_shards(&self.problems).len() as u32
    }
}

pub fn inputs(session: &Session, problems: &StageOutput, solutions: &StageOutput) -> Inputs {
    Inputs {
        code: verify::VERSION,
        tables: Tables::default().with::<VerdictRow>(),
        problems: problems.clone(),
        solutions: solutions.clone(),
        verifier: session.config.problems.domain().version(),
    }
}

/// Judges every solution.
///
/// # Errors
/// Failed reads and writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let shards = train_shards(&inputs.problems);
    let units = inputs.solutions.count("solutions") as u64;
    let size = Size { shards: inputs.shards(), unit: "solutions", units };
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let rows: Vec<Problem> = inputs.problems.shard(shards[shard as usize])?;
        let solutions: Vec<Solution> = inputs.solutions.shard(shard)?;
        let verdicts = verify::verify(&rows, &solutions, progress)?;
        let mut counts = counts(&[("units", verdicts.len())]);
        for row in &verdicts {
            let (verdict, reason) = (row.judgement.verdict.name(), row.judgement.reason.as_str());
            let key = if verdict == reason {
                format!("verdict {verdict}")
            } else {
                format!("verdict {verdict} ({reason})")
            };
            *counts.entry(key).or_default() += 1;
        }
        write(attempt, verdicts)?;
        Ok(counts)
    })?;
    workspace.console.say(&format!("{}: {}", opened.name(), output.reasons("verdict ")));
    Ok(output)
}
