//! `qstill status RUN`: where each stage stands, what a process at work says, and how to go on.
//!
//! This only lays out what the caller found: whether a stage is done is decided by `plan`, in one place.
//!
//! - `log`: the end of `run.log`    - `watch`: looking again and again

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::command::arguments::{Overrides, Source, look, parse_stage};
use crate::disk::commit::StageDir;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::lock::{Holder, Lock, Share};
use crate::disk::space::space;
use crate::run::bill::{Bill, bill};
use crate::run::plan::{StageLine, Standing};
use crate::run::session::Session;
use crate::run::walk::lines;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;
use crate::terminal::look::Look;
use crate::terminal::text::{self, brief, size, table};

mod log;
mod watch;

use log::Said;
use watch::{Seen, watch};

/// What is done and what is outstanding.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill status runs/mine
  qstill status runs/mine --watch       look again every two seconds until nobody works on it
  qstill status runs/mine --watch=60 && qstill export runs/mine > rows.jsonl
  qstill status runs/mine --why train --set train.epochs=3   what a setting would make outstanding
With --watch the exit code is 0 if the run is done when its process ends, else 75.")]
pub struct Status {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Why this stage is outstanding: each field that changed, from what to what.
    #[arg(long, value_name = "STAGE")]
    why: Option<String>,
    /// Look again every so many seconds while a process works on the run. On a terminal a look takes the
    /// place of the one before; elsewhere one is printed when something has changed.
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
        value_parser = seconds, conflicts_with_all = ["why", "json"]
    )]
    watch: Option<Duration>,
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
    let session = || look(&args.run, &Source::default(), &args.over, console);
    if let Some(pause) = args.watch {
        return watch(pause, |style| {
            // What is read may be moved by the process at work: then a second look sees it in its place.
            let found = State::of(&session()?).or_else(|_| State::of(&session()?))?;
            Ok(Seen { text: found.text(style), working: found.is_at_work(), done: found.all_done() })
        });
    }
    let session = session()?;
    let text = match stage {
        Some(stage) => why(&lines(&session)?, stage, args.json)?,
        None if args.json => State::of(&session)?.json()?,
        None => State::of(&session)?.text(Look::stdout()),
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(Exit::Done)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "give a number of seconds, 0 or more".to_owned())
}

/// Why a stage is outstanding, in every round that has it.
///
/// # Errors
/// Lines that do not serialise.
fn why(stages: &[StageLine], stage: Stage, json: bool) -> Result<String> {
    let lines: Vec<&StageLine> = stages.iter().filter(|line| line.stage == stage).collect();
    Ok(if json {
        serde_json::to_string_pretty(&json!({ "stages": lines }))? + "\n"
    } else if lines.is_empty() {
        format!("{}: the configuration has no such stage\n", stage.name())
    } else {
        lines.iter().map(|line| reason(line, stages)).collect()
    })
}

/// A stage's reason, a line for each field.
fn reason(line: &StageLine, stages: &[StageLine]) -> String {
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
                |before| format!("waits for {}, which is {}", before.name(), before.state.name()),
            )
        }
        Standing::Outstanding => "outstanding: nothing of it is there".to_owned(),
    };
    let mut text = format!("{}: {why}\n", line.name());
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

/// What one look at a run sees.
struct State {
    run: RunDir,
    stages: Vec<StageLine>,
    holder: Option<Holder>,
    /// Whether workers are at work, which nobody holds together.
    workers: bool,
    /// The shards that they have in hand.
    claims: Vec<Claim>,
    bill: Option<Bill>,
    said: Said,
    /// Bytes that the run takes, and that are left for it.
    space: (u64, Option<u64>),
}

/// A shard in the hands of a worker.
#[derive(Serialize)]
struct Claim {
    stage: &'static str,
    round: u32,
    shard: u32,
    #[serde(flatten)]
    worker: Holder,
}

/// The shards of unfinished stages that workers have in hand.
fn claims(run: &RunDir, stages: &[StageLine]) -> Vec<Claim> {
    let open = stages.iter().filter(|line| line.stage.is_shared() && !line.is_done());
    let of = |line: &StageLine| {
        let (stage, round) = (line.stage.name(), line.round);
        let claims = StageDir::claims(&run.stage(round, line.stage)).into_iter();
        claims.map(move |(shard, worker)| Claim { stage, round, shard, worker })
    };
    open.flat_map(of).collect()
}

impl State {
    /// # Errors
    /// Failed reads.
    fn of(session: &Session) -> Result<Self> {
        let run = session.workspace.run.clone();
        // Before the stages: whoever ends in between leaves them as they will stay.
        let holder = Lock::holder(run.root());
        let workers = Share::is_taken(run.root());
        let log = run.log();
        let said = log::said(&log).with_context(|| format!("failed to read {}", log.display()))?;
        let (stages, bill, space) = (lines(session)?, bill(session)?, space(run.root()));
        let claims = claims(&run, &stages);
        Ok(Self { run, stages, holder, workers, claims, bill, said, space })
    }

    fn is_at_work(&self) -> bool {
        self.workers || self.holder.is_some()
    }

    fn all_done(&self) -> bool {
        !self.stages.is_empty() && self.stages.iter().all(StageLine::is_done)
    }

    fn json(&self) -> Result<String> {
        let value = json!({
            "run": self.run.name(),
            "path": self.run.root().display().to_string(),
            "holder": self.holder,
            "workers": self.workers,
            "claims": self.claims,
            "done": self.all_done(),
            "endpoint": self.bill,
            "log": self.said,
            "disk": {"bytes": self.space.0, "free": self.space.1},
            "stages": self.stages,
        });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    fn text(&self, look: Look) -> String {
        let root = self.run.root().display();
        let mut text =
            format!("{}\n", look.bold(&brief(&format!("run {} ({root})", self.run.name()), look.width)));
        let mut say = |line: String| text.push_str(&(brief(&line, look.width) + "\n"));
        if let Some(holder) = &self.holder {
            let Holder { pid, command, started, .. } = holder;
            say(format!("running: pid {pid}{} since {started} ({command})", holder.on()));
        }
        if self.workers {
            say("running: workers (qstill work)".to_owned());
        }
        for Claim { stage, round, shard, worker } in &self.claims {
            let (pid, on, since) = (worker.pid, worker.on(), &worker.started);
            say(format!("worker: pid {pid}{on} has shard {shard} of round {round} {stage} since {since}"));
        }
        if let Some(last) = &self.said.last {
            let word = if self.is_at_work() { "now" } else { "last" };
            say(format!("{word}: {} {}", clock(&last.time, self.is_at_work()), last.text));
        }
        if let Some(bill) = &self.bill {
            say(format!("endpoint: {bill}"));
        }
        let free = self.space.1.map_or_else(String::new, |free| format!(", {} free", size(free)));
        say(format!("disk: {}{free}", size(self.space.0)));
        for trouble in &self.said.troubles {
            let line = format!("trouble: {} {}", trouble.time, trouble.text);
            text.push_str(&(look.red(&brief(&line, look.width)) + "\n"));
        }
        text.push('\n');
        self.table(look, &mut text);
        text.push('\n');
        text.push_str(&brief(&hint(&self.run, &self.stages, self.is_at_work()), look.width));
        text.push('\n');
        text
    }

    fn table(&self, look: Look, text: &mut String) {
        let row = |line: &StageLine| {
            // The problems are the same in all rounds.
            let round = if line.stage == Stage::Problems { "-".to_owned() } else { line.round.to_string() };
            let total = line.total.map_or_else(|| "?".to_owned(), |total| total.to_string());
            let note = line.detail.first().cloned().unwrap_or_default();
            let shards = format!("{}/{total}", line.done);
            let (stage, state) = (line.stage.name().to_owned(), line.state.name().to_owned());
            vec![round, stage, state, shards, line.rows.to_string(), note]
        };
        let (mut rows, mut standing) = (Vec::new(), vec![None]);
        for line in &self.stages {
            rows.push(row(line));
            standing.push(Some(line.state));
            for note in line.detail.iter().skip(1) {
                rows.push([[""; 5].map(str::to_owned).to_vec(), vec![note.clone()]].concat());
                standing.push(None);
            }
        }
        let table = table(&["round", "stage", "state", "shards", "rows", "notes"], &rows, &[0, 3, 4]);
        for (line, standing) in table.lines().zip(standing) {
            let line = brief(line, look.width);
            text.push_str(&match standing {
                Some(Standing::Done) => look.green(&line),
                Some(Standing::Partial) => look.bold(&line),
                Some(Standing::Stale) => look.red(&line),
                Some(Standing::Outstanding | Standing::Waiting) => look.dim(&line),
                None => line,
            });
            text.push('\n');
        }
    }
}

/// The time of a line in the log; of a process at work, that of the day.
fn clock(time: &str, now: bool) -> &str {
    if now { time.get(11..19).unwrap_or(time) } else { time }
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

    const PLAIN: Look = Look { width: 100, colour: false };

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
        let stages = [
            line(1, Stage::Problems, Standing::Done, (2, Some(2)), &[]),
            line(1, Stage::Search, Standing::Partial, (3, Some(10)), &["12 solved", "4 tokens"]),
            line(1, Stage::Verify, Standing::Waiting, (0, None), &[]),
        ];
        let expected = "\
run first (/none/first)
last: 2026-03-09T11:05:09Z round 1 search: 3/10
disk: 12.3 kB, 2.0 MB free
trouble: 2026-03-09T11:05:09Z error: full

round  stage     state    shards  rows  notes
    -  problems  done        2/2    20
    1  search    partial    3/10    30  12 solved
                                        4 tokens
    1  verify    waiting     0/?     0

next: search of round 1; resume with `qstill resume /none/first`
";
        let said = |text: &str| log::Line { time: "2026-03-09T11:05:09Z".to_owned(), text: text.to_owned() };
        let mut state = State {
            run: RunDir::at("/none/first"),
            stages: stages.to_vec(),
            holder: None,
            workers: false,
            claims: Vec::new(),
            bill: None,
            said: Said { last: Some(said("round 1 search: 3/10")), troubles: vec![said("error: full")] },
            space: (12_345, Some(2_000_000)),
        };
        assert_eq!(state.text(PLAIN), expected);
        state.workers = true;
        assert!(state.text(PLAIN).contains("running: workers (qstill work)\n"));
        state.workers = false;
        let (pid, command) = (7, "qstill run".to_owned());
        state.holder =
            Some(Holder { pid, host: "n7".to_owned(), command, started: "2026-03-09T11:05:00Z".to_owned() });
        let text = state.text(PLAIN);
        assert!(text.contains("\nrunning: pid 7 on n7 since 2026-03-09T11:05:00Z (qstill run)\n"), "{text}");
        assert!(text.contains("\nnow: 11:05:09 round 1 search: 3/10\n"), "{text}");
        assert!(text.ends_with("look again later\n"), "{text}");
        let narrow = state.text(Look { width: 40, colour: false });
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        let colours = state.text(Look { width: 100, colour: true });
        assert!(colours.contains("\x1b[32m    -  problems  done"), "{colours:?}");
    }
}
