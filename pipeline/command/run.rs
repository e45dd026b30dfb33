//! `qstill run`, `resume` and `stage`: do what is outstanding of a run.

use anyhow::Result;
use clap::Args;

use crate::command::arguments::{Overrides, Source, interrupted, open, parse_stage};
use crate::command::report;
use crate::disk::layout::Stage;
use crate::run::goal::Goal;
use crate::run::plan::Standing;
use crate::run::session::Session;
use crate::run::walk;
use crate::stage::evaluation;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::to_stdout;

/// Run all stages of a configuration, or what is outstanding of them.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill run --preset demo
  qstill run --config my.toml --set search.samples=16 --set run.rounds=3
  qstill run --preset demo --run runs/tiny --set problems.train=200 --device cpu
  qstill run --config my.toml --set verify.command=./check    a verifier of your own: docs/verifiers.md")]
pub struct Run {
    #[command(flatten)]
    source: Source,
    /// The run's directory, or its name under runs/. Default: the name of the preset or file.
    #[arg(long = "run", value_name = "RUN")]
    named: Option<String>,
    /// Stop after this stage of the last round: search, verify, curate, value, train or gate.
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    #[command(flatten)]
    over: Overrides,
}

impl Run {
    /// The run's name, if one is given.
    pub fn name(&self) -> Option<String> {
        self.named.clone().or_else(|| self.source.name())
    }
}

/// Resume a run: do everything that is outstanding under its saved configuration.
#[derive(Args)]
pub struct Resume {
    /// The run's directory, or its name under runs/.
    pub run: String,
    #[command(flatten)]
    over: Overrides,
}

/// Run one stage of a run on what is committed.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill stage problems runs/mine --config my.toml     the first stage creates the run
  qstill stage search runs/mine
  qstill stage evaluate runs/mine --round 2")]
pub struct OneStage {
    /// problems, search, verify, curate, value, train, gate or evaluate.
    stage: String,
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Which round; default: the first in which the stage is outstanding.
    #[arg(long)]
    round: Option<u32>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    over: Overrides,
}

/// Does all that is outstanding.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn run(args: Run, console: &Console) -> Result<Exit> {
    let Some(name) = args.name() else {
        return Err(Failure::usage(
            "no configuration is given",
            "give --preset demo, --config FILE, or --run of an existing run",
        )
        .into());
    };
    let until = args.until.as_deref().map(parse_stage).transpose()?;
    let session = open(&name, &args.source, &args.over, console)?;
    to_goal(&session, until.map_or(Goal::All, Goal::Until))
}

/// The same for a run that exists.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn resume(args: Resume, console: &Console) -> Result<Exit> {
    to_goal(&open(&args.run, &Source::default(), &args.over, console)?, Goal::All)
}

/// Does one stage.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn stage(args: OneStage, console: &Console) -> Result<Exit> {
    let stage = parse_stage(&args.stage)?;
    let session = open(&args.run, &args.source, &args.over, console)?;
    if stage == Stage::Value && !session.config.value.is_on() {
        return Err(Failure::usage(
            "value.model is \"none\": the run has no value stage",
            "for instance --set value.model=features",
        )
        .into());
    }
    if stage == Stage::Score && !session.config.has_score() {
        return Err(Failure::usage(
            "train.loss is not \"distil\": the run has no score stage",
            "for instance --set train.loss=distil --set model.teacher=DIR",
        )
        .into());
    }
    if stage == Stage::Gate && !session.config.has_gate() {
        return Err(Failure::usage(
            "the run has no gate stage",
            "it has one with run.rounds above 1, search.policy = \"model\", and gate.require not \"none\"",
        )
        .into());
    }
    one(&session, stage, args.round)
}

/// One stage of a round; of the first in which it is outstanding, if none is given.
///
/// # Errors
/// A round that the run does not have; everything that ends in an exit code.
pub fn one(session: &Session, stage: Stage, round: Option<u32>) -> Result<Exit> {
    let rounds = session.config.run.rounds;
    let round = match round {
        Some(round) if round >= 1 && round <= rounds => round,
        Some(round) => {
            let hint = format!("the run has rounds 1 to {rounds}");
            return Err(Failure::usage(format!("there is no round {round}"), hint).into());
        }
        None => {
            let lines = walk::lines(session)?;
            let outstanding =
                lines.iter().filter(|l| l.stage == stage && l.round > 0 && l.state != Standing::Done);
            outstanding.map(|line| line.round).min().unwrap_or(rounds)
        }
    };
    to_goal(session, Goal::One(stage, round))
}

fn to_goal(session: &Session, goal: Goal) -> Result<Exit> {
    walked(session, goal)?;
    say_results(session, goal)?;
    Ok(Exit::Done)
}

/// Walks to a goal.
///
/// # Errors
/// Those of the walk; how to resume, if it was stopped.
pub fn walked(session: &Session, goal: Goal) -> Result<()> {
    let root = session.workspace.run.root().display();
    walk::walk(session, goal)
        .map_err(|error| interrupted(error, &format!("resume with `qstill resume {root}`")))
}

/// Writes the report, and prints the table of results.
///
/// # Errors
/// Failed reads and writes.
pub fn say_results(session: &Session, goal: Goal) -> Result<()> {
    let run = &session.workspace.run;
    let root = run.root().display().to_string();
    let console = &session.workspace.console;
    if matches!(goal, Goal::All | Goal::Until(_)) {
        report::write_after(run, console);
    }
    if matches!(goal, Goal::All | Goal::One(Stage::Evaluate, _))
        && let Some(table) = evaluation::table(run)?
    {
        to_stdout(|out| Ok(writeln!(out, "{table}")?))?;
        let file = run.evaluation();
        console.say(&format!("details: {}; tables: `qstill inspect {root}`", file.display()));
    }
    Ok(())
}
