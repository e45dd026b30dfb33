//! `qstill work` and `qstill finish`: a run by several processes. Workers do the shards of the stages that
//! can be shared; what follows from all rows together is finished by one.

use anyhow::{Context, Result};
use clap::Args;

use crate::command::arguments::{Overrides, Source, Where, existing, interrupted, open};
use crate::command::run::{say_results, walked};
use crate::config::Config;
use crate::config::resolve::file;
use crate::disk::layout::Stage;
use crate::run::goal::Goal;
use crate::run::plan::StageLine;
use crate::run::session::Session;
use crate::run::turn::Turn;
use crate::run::walk;
use crate::stage::verifier::present;
use crate::terminal::console::Console;
use crate::terminal::exit::{self, Exit};
use crate::terminal::text::plural;

/// Work on a run beside others: shards of search, verify, score, gate and evaluate.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill finish runs/mine                            problems, and whatever else one process has to do
  qstill work runs/mine --array 0/2 --gpu 0 &        then as many workers as you like, on any machine that
  qstill work runs/mine --array 1/2 --gpu 1          sees the run's directory
  qstill finish runs/mine                            curate, value and train; and so on until all is done
  qstill launch local runs/mine -n 2                 all of this on one machine
A worker ends with 0 when nothing is left for workers, and may be killed and started again at any time.")]
pub struct Work {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Which of how many workers this is, from 0: which shards it does first. Then it does what is left of
    /// the others'.
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    array: Turn,
    #[command(flatten)]
    device: Where,
    /// One stage alone, of a round, for whoever holds the other end of stdin: it stops when that is closed.
    #[arg(long, hide = true, value_name = "STAGE:ROUND", value_parser = stage_of)]
    tied: Option<(Stage, u32)>,
}

fn stage_of(text: &str) -> Result<(Stage, u32), String> {
    let parts = text.split_once(':');
    let found = parts.and_then(|(stage, round)| Some((Stage::parse(stage)?, round.parse().ok()?)));
    found.ok_or_else(|| "a stage and its round".to_owned())
}

/// Do what one process has to do of a run, up to the next stage for workers.
#[derive(Args)]
#[command(after_help = "Examples:
  until qstill finish runs/mine; do [ $? -eq 75 ] || break; qstill work runs/mine; done
The exit code is 0 if the run is done, and 75 if something is left for workers (or others have the run).")]
pub struct Finish {
    /// The run's directory, or its name under runs/.
    pub run: String,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    over: Overrides,
}

/// Does what is left for workers.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn work(args: Work, console: &Console) -> Result<Exit> {
    let run = existing(&args.run)?;
    let (config, _) = Config::resolve(&[file(&run.config())?], &args.device.sets())?;
    present(&config)?;
    let root = run.root().display().to_string();
    let session = Session::share(run, config, console.clone(), args.array)?;
    console.install_interrupt().context("failed to listen for signals")?;
    if args.tied.is_some() {
        tie(console).context("failed to start a thread")?;
    }
    let goal = Goal::Share(args.tied);
    walk::walk(&session, goal)
        .map_err(|error| interrupted(error, &format!("`qstill work {root}` goes on")))?;
    match next(&session, goal) {
        _ if args.tied.is_some() => {}
        Some(line) => console.say(&format!("{} is for one process: `qstill finish {root}`", line.name())),
        None => console.say(&format!("all is committed: `qstill finish {root}` sums up")),
    }
    Ok(Exit::Done)
}

/// Stops the work once stdin ends: whoever started it is gone.
fn tie(console: &Console) -> std::io::Result<()> {
    let console = console.clone();
    let wait = move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        exit::preempt();
        console.cancel();
    };
    std::thread::Builder::new().name("tie".to_owned()).spawn(wait).map(|_| ())
}

/// Does what is left for one process.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn finish(args: Finish, console: &Console) -> Result<Exit> {
    let session = open(&args.run, &args.source, &args.over, console)?;
    let Some(line) = finished(&session)? else { return Ok(Exit::Done) };
    let root = session.workspace.run.root().display();
    let missing = plural(u64::from(line.left()), "shard");
    console.say(&format!(
        "next: {missing} of {}, for workers: `qstill work {root}` (`qstill resume {root}` does all of it)",
        line.name()
    ));
    Ok(Exit::Busy)
}

/// Does what is left for one process, results included; says which stage is next for workers.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn finished(session: &Session) -> Result<Option<StageLine>> {
    session.workspace.take_lines();
    walked(session, Goal::Finish)?;
    let next = next(session, Goal::Finish);
    if next.is_none() {
        say_results(session, Goal::All)?;
    }
    Ok(next)
}

/// The stage that a walk has come to, if it has left it to others.
fn next(session: &Session, goal: Goal) -> Option<StageLine> {
    session.workspace.take_lines().pop().filter(|line| !line.is_done() && goal.leaves(line.stage, line.round))
}
