//! `qstill status RUN`: where each stage stands, and how to go on.
//!
//! This only lays out what the caller found: whether a stage is done is decided by `plan`, in one place.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::command::arguments::{Overrides, Source, look, parse_stage};
use crate::disk::layout::{RunDir, Stage};
use crate::disk::lock::{Holder, Lock};
use crate::run::bill::{Bill, bill};
use crate::run::plan::{StageLine, Standing};
use crate::run::session::Session;
use crate::run::walk::lines;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;
use crate::terminal::text::{self, table};

/// What is done and what is outstanding.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill status runs/mine
  qstill status runs/mine --why train --set train.epochs=3   what a setting would make outstanding")]
pub struct Status {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Why this stage is outstanding: each field that changed, from what to what.
    #[arg(long, value_name = "STAGE")]
    why: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    over: Overrides,
}

/// Shows where a run stands.
///
/// # Errors
/// A run that does not exist; failed reads.
pub fn run(args: Status, console: &Console) -> Result<Exit> {
    let stage = args.why.as_deref().map(parse_stage).transpose()?;
    let session = look(&args.run, &Source::default(), &args.over, console)?;
    let found = lines(&session)?;
    match stage {
        Some(stage) => why(&found, stage, args.json)?,
        None => status(&session, &found, args.json)?,
    }
    Ok(Exit::Done)
}

/// Prints why a stage is outstanding, in every round that has it.
///
/// # Errors
/// A stdout that cannot be written.
fn why(stages: &[StageLine], stage: Stage, json: bool) -> Result<()> {
    let lines: Vec<&StageLine> = stages.iter().filter(|line| line.stage == stage).collect();
    let text = if json {
        serde_json::to_string_pretty(&json!({ "stages": lines }))? + "\n"
    } else if lines.is_empty() {
        format!("{}: the configuration has no such stage\n", stage.name())
    } else {
        lines.iter().map(|line| reason(line, stages)).collect()
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

/// A stage's reason, a line for each field.
fn reason(line: &StageLine, stages: &[StageLine]) -> String {
    let of = |line: &StageLine| line.stage.in_round(line.round);
    let why = match line.state {
        Standing::Done => "done: nothing is outstanding".to_owned(),
        Standing::Stale => "outstanding: what exists was made with other settings or inputs".to_owned(),
        Standing::Partial => {
            format!(
                "outstanding: {} of {} shards are missing",
                line.missing.len(),
                line.done as usize + line.missing.len()
            )
        }
        Standing::Waiting => {
            let before = stages.iter().find(|line| !line.is_done() && line.state != Standing::Waiting);
            before.map_or_else(
                || "waiting".to_owned(),
                |before| format!("waits for {}, which is {}", of(before), before.state.name()),
            )
        }
        Standing::Outstanding => "outstanding: nothing of it is there".to_owned(),
    };
    let mut text = format!("{}: {why}\n", of(line));
    let show = |value: &Option<String>| {
        value.as_deref().map_or_else(|| "(not there)".to_owned(), |text| text::brief(text, 4000))
    };
    for change in &line.changes {
        text.push_str(&format!(
            "  {}\n    from {}\n    to   {}\n",
            change.field,
            show(&change.from),
            show(&change.to)
        ));
    }
    if !line.missing.is_empty() {
        let shown: Vec<String> = line.missing.iter().take(20).map(ToString::to_string).collect();
        let more = if line.missing.len() > 20 { ", …" } else { "" };
        text.push_str(&format!("  shards {}{more}\n", shown.join(", ")));
    }
    text.extend(
        line.detail.iter().filter(|note| note.starts_with("damaged")).map(|note| format!("  {note}\n")),
    );
    text
}

/// Prints the state of a run to stdout.
///
/// # Errors
/// A stdout that cannot be written.
fn status(session: &Session, stages: &[StageLine], json: bool) -> Result<()> {
    let run = &session.workspace.run;
    let holder = Lock::holder(run.root());
    let bill = bill(session)?;
    let text = if json {
        to_json(run, stages, holder.as_ref(), bill.as_ref())?
    } else {
        let said = bill.map_or_else(String::new, |bill| format!("endpoint: {bill}\n"));
        to_text(run, stages, holder.as_ref(), &said)
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))
}

fn to_json(
    run: &RunDir,
    stages: &[StageLine],
    holder: Option<&Holder>,
    bill: Option<&Bill>,
) -> Result<String> {
    let value = json!({
        "run": run.name(),
        "path": run.root().display().to_string(),
        "holder": holder,
        "done": all_done(stages),
        "endpoint": bill,
        "stages": stages,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn to_text(run: &RunDir, stages: &[StageLine], holder: Option<&Holder>, bill: &str) -> String {
    let mut text = format!("run {} ({})\n", run.name(), run.root().display());
    text.extend(
        holder.map(|Holder { pid, command, started }| {
            format!("running: pid {pid} since {started} ({command})\n")
        }),
    );
    text.push_str(bill);
    text.push('\n');
    let row = |line: &StageLine| {
        // The problems are the same in all rounds.
        let round = if line.stage == Stage::Problems { "-".to_owned() } else { line.round.to_string() };
        let total = line.total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let note = line.detail.first().cloned().unwrap_or_default();
        let shards = format!("{}/{total}", line.done);
        vec![
            round,
            line.stage.name().to_owned(),
            line.state.name().to_owned(),
            shards,
            line.rows.to_string(),
            note,
        ]
    };
    let mut rows = Vec::new();
    for line in stages {
        rows.push(row(line));
        let further = line.detail.iter().skip(1);
        rows.extend(further.map(|note| [[""; 5].map(str::to_owned).to_vec(), vec![note.clone()]].concat()));
    }
    text.push_str(&table(&["round", "stage", "state", "shards", "rows", "notes"], &rows, &[0, 3, 4]));
    text.push('\n');
    text.push_str(&hint(run, stages, holder.is_some()));
    text.push('\n');
    text
}

fn all_done(stages: &[StageLine]) -> bool {
    !stages.is_empty() && stages.iter().all(StageLine::is_done)
}

/// What to do next.
fn hint(run: &RunDir, stages: &[StageLine], running: bool) -> String {
    let path = run.root().display();
    match stages.iter().find(|line| !line.is_done()) {
        _ if running => "it is at work: look again later".to_owned(),
        Some(next) if next.stage == Stage::Problems => {
            format!("next: problems; resume with `qstill resume {path}`")
        }
        Some(next) => {
            format!("next: {} of round {}; resume with `qstill resume {path}`", next.stage.name(), next.round)
        }
        None if stages.is_empty() => format!("nothing is planned; start with `qstill resume {path}`"),
        None => format!("all is done; look at it with `qstill inspect {path}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(
        round: u32,
        stage: Stage,
        state: Standing,
        (done, total): (u32, Option<u32>),
        detail: &[&str],
    ) -> StageLine {
        let detail = detail.iter().map(|note| (*note).to_owned()).collect();
        let rows = u64::from(done) * 10;
        StageLine { round, stage, state, done, total, rows, detail, changes: Vec::new(), missing: Vec::new() }
    }

    #[test]
    fn a_run_half_done() {
        let run = RunDir::at("/none/first");
        let stages = [
            line(1, Stage::Problems, Standing::Done, (2, Some(2)), &[]),
            line(1, Stage::Search, Standing::Partial, (3, Some(10)), &["12 solved", "4 tokens"]),
            line(1, Stage::Verify, Standing::Waiting, (0, None), &[]),
        ];
        let expected = "\
run first (/none/first)

round  stage     state    shards  rows  notes
    -  problems  done        2/2    20
    1  search    partial    3/10    30  12 solved
                                        4 tokens
    1  verify    waiting     0/?     0

next: search of round 1; resume with `qstill resume /none/first`
";
        assert_eq!(to_text(&run, &stages, None, ""), expected);
        let holder =
            Holder { pid: 7, command: "qstill run".to_owned(), started: "2026-03-09T11:05:00Z".to_owned() };
        let text = to_text(&run, &stages, Some(&holder), "");
        assert!(text.contains("\nrunning: pid 7 since 2026-03-09T11:05:00Z (qstill run)\n"), "{text}");
        assert!(text.ends_with("look again later\n"), "{text}");
    }

    #[test]
    fn for_programs() -> Result<()> {
        let stages = [line(1, Stage::Problems, Standing::Done, (2, Some(2)), &[])];
        let value: serde_json::Value =
            serde_json::from_str(&to_json(&RunDir::at("a/b"), &stages, None, None)?)?;
        assert_eq!(value["done"], true);
        assert_eq!(value["stages"][0]["stage"], "problems");
        assert!(value["holder"].is_null());
        Ok(())
    }
}
