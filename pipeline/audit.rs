//! `qstill audit`: the share of solutions that are right for the right reason, by round and search.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use datasets::types::{Kept, Problem};
use serde_json::json;
use stages::audit::{Line, audit};

use crate::commit::{Check, scan};
use crate::exit::Failure;
use crate::layout::{RunDir, Stage};
use crate::plan::Fingerprint;
use crate::progress::Console;
use crate::session::Done;
use crate::text;

/// Audits every round of a run that has been curated, and prints what was found.
///
/// # Errors
/// Nothing is curated yet, or no problem knows how it was made; failed reads.
pub fn print(run: &RunDir, console: &Console, json: bool) -> Result<()> {
    let problems: HashMap<String, Problem> =
        committed(run, 0, Stage::Problems)?.read::<Problem>()?.into_iter().map(|p| (p.problem_id.clone(), p)).collect();
    let rounds = run.rounds()?;
    let progress = console.stage("audit", "rounds", rounds.len() as u64, 0);
    let mut lines: Vec<Line> = Vec::new();
    let mut curated = false;
    for round in rounds {
        let kept = committed(run, round, Stage::Curate)?;
        if !kept.commits.is_empty() {
            curated = true;
            let kept: HashSet<String> = kept.read::<Kept>()?.into_iter().map(|k| k.solution_id).collect();
            let (search, verify) = (committed(run, round, Stage::Search)?, committed(run, round, Stage::Verify)?);
            lines.extend(audit(round, &problems, &search.read()?, &verify.read()?, &kept));
        }
        stages::Events::advance(&progress, 1, 0, 0);
    }
    progress.finish();
    if lines.is_empty() {
        let (what, hint) = if curated {
            ("no problem of this run knows how it was made", "only generated word problems (problems.source = \"words\") can be audited")
        } else {
            ("nothing is curated yet", "go on with `qstill resume`")
        };
        return Err(Failure::input(format!("{}: {what}", run.root().display()), hint).into());
    }
    let text = if json { serde_json::to_string_pretty(&json!({"rows": lines}))? + "\n" } else { table(&lines) };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

/// What is committed of a stage, whatever the configuration is now.
///
/// # Errors
/// Failed reads.
pub fn committed(run: &RunDir, round: u32, stage: Stage) -> Result<Done> {
    let path = run.stage(round, stage);
    let commits = match Fingerprint::load(&path)? {
        Some(fingerprint) => scan(&path, &fingerprint.hash(), Check::Length)?.good,
        None => Vec::new(),
    };
    Ok(Done::new(path, commits))
}

fn table(lines: &[Line]) -> String {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.round.to_string(),
                line.of.to_owned(),
                line.algorithm.clone(),
                line.operations.map_or("all".to_owned(), |n| n.to_string()),
                line.solutions.to_string(),
                line.right.to_string(),
                percent(line.share),
                format!("{} to {}", percent(line.ci_low), percent(line.ci_high)),
            ]
        })
        .collect();
    let headers = ["round", "solutions", "search", "operations", "audited", "right reason", "share", "95% interval"];
    text::table(&headers, &rows, &[0, 3, 4, 5, 6])
        + "\nright reason: the calculation gives the true result for other numbers too. right-answer: whatever the steps; verified: answer and\n\
           steps hold; kept: what the student learns. The true calculation is read for this audit alone.\n"
}
