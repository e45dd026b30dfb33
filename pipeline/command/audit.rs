//! `qstill audit`: the share of solutions that are right for the right reason, by round and search.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use clap::Args;
use datasets::types::{Kept, Problem};
use serde_json::json;
use stages::audit::{Line, Round, Sign, audit};

use crate::command::arguments::existing;
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::committed;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, interval, percent};

/// How many solutions are right for the right reason, where problems record how they were made.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill audit runs/demo
  qstill audit runs/demo --json")]
pub struct Audit {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Audits a run.
///
/// # Errors
/// Those of [`print`].
pub fn run(args: Audit, console: &Console) -> Result<Exit> {
    print(&existing(&args.run)?, console, args.json)?;
    Ok(Exit::Done)
}

/// What the audit finds in the rounds of a run that have been curated, and whether there are any.
///
/// # Errors
/// Failed reads.
pub fn found(run: &RunDir, console: &Console) -> Result<(Vec<Line>, Vec<Sign>, bool)> {
    let problems: HashMap<String, Problem> = committed(run, 0, Stage::Problems)?
        .read::<Problem>()?
        .into_iter()
        .map(|p| (p.problem_id.clone(), p))
        .collect();
    let rounds = run.rounds()?;
    let progress = console.stage("audit", "rounds", rounds.len() as u64, 0);
    let (mut lines, mut estimates): (Vec<Line>, Vec<Sign>) = (Vec::new(), Vec::new());
    let mut curated = false;
    for round in rounds {
        let kept = committed(run, round, Stage::Curate)?;
        if !kept.commits.is_empty() {
            curated = true;
            let kept: HashSet<String> = kept.read::<Kept>()?.into_iter().map(|k| k.solution_id).collect();
            let (search, verify) =
                (committed(run, round, Stage::Search)?, committed(run, round, Stage::Verify)?);
            let (solutions, verdicts) = (search.read()?, verify.read()?);
            let of = Round {
                number: round,
                problems: &problems,
                solutions: &solutions,
                verdicts: &verdicts,
                kept: &kept,
            };
            let (known, estimated) = audit(&of);
            lines.extend(known);
            estimates.extend(estimated);
        }
        stages::Events::advance(&progress, 1, 0, 0);
    }
    progress.finish();
    Ok((lines, estimates, curated))
}

/// Prints what the audit finds.
///
/// # Errors
/// Nothing is curated yet, or no problem knows how it was made; failed reads.
fn print(run: &RunDir, console: &Console, json: bool) -> Result<()> {
    let (lines, estimates, curated) = found(run, console)?;
    if lines.is_empty() && estimates.is_empty() {
        let (what, hint) = if curated {
            ("no word problem was kept", "only word problems can be audited")
        } else {
            ("nothing is curated yet", "resume it with `qstill resume`")
        };
        return Err(Failure::input(format!("{}: {what}", run.root().display()), hint).into());
    }
    let text = if json {
        serde_json::to_string_pretty(&json!({"rows": lines, "estimates": estimates}))? + "\n"
    } else {
        let known = if lines.is_empty() {
            "no problem knows how it was made: estimates only\n".to_owned()
        } else {
            table(&lines)
        };
        known + "\n" + &estimate(&estimates)
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

fn table(lines: &[Line]) -> String {
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
                interval(line.ci_low, line.ci_high),
            ]
        })
        .collect();
    let headers =
        ["round", "solutions", "search", "operations", "audited", "right reason", "share", "95% interval"];
    text::table(&headers, &rows, &[0, 3, 4, 5, 6])
        + "\nright reason: the calculation gives the true result for other numbers too. right-answer: \
           whatever the steps; verified: answer and\n\
           steps hold; kept: what the student learns. The true calculation is read for this audit alone.\n"
}

fn estimate(signs: &[Sign]) -> String {
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let rows: Vec<Vec<String>> = signs
        .iter()
        .map(|sign| {
            vec![
                sign.round.to_string(),
                sign.sign.to_owned(),
                sign.tested.to_string(),
                sign.passed.to_string(),
                percent(sign.share),
                interval(sign.ci_low, sign.ci_high),
                share(sign.right_of_passed),
                share(sign.right_of_failed),
            ]
        })
        .collect();
    let headers = [
        "round",
        "sign of kept",
        "tested",
        "passed",
        "share",
        "95% interval",
        "right of passed",
        "of failed",
    ];
    text::table(&headers, &rows, &[0, 2, 3, 4, 6, 7])
        + "\nEstimates from answers alone. transfers: the calculation gives the answers of problems that \
           differ in numbers alone; agrees:\n\
           another correct sample computes the same function; uses_all: no given number is left out. right: \
           by the table above.\n"
}
