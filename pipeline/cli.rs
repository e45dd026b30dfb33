//! The command line: which commands there are. The arguments of each stand beside what it does, in `command`.

use std::io::ErrorKind::BrokenPipe;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use stages::fault;

use crate::command::{
    ablate, answer, audit, bakeoff, bench, check_verifier, context, curate, diff, doctor, export,
    export_gguf, grade, init, inspect, launch, manual, pack, regrade, report, run, show, sql, status,
    verify_run, work,
};
use crate::disk::layout::RunDir;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};

/// Self-play synthetic data for distillation: an expensive search finds solutions, an exact verifier keeps
/// the correct ones, and a cheaper student is trained on them and deployed without the search.
#[derive(Parser)]
#[command(
    name = "qstill",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = after_help()
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print warnings and results only.
    #[arg(long, short, global = true)]
    quiet: bool,
}

const EXAMPLES: &str = "Examples:
  qstill run --preset demo                       the main job on generated word problems
  qstill init --preset gsm8k > my.toml           a commented configuration to edit
  qstill run --config my.toml --run runs/mine    your own
  qstill resume runs/mine                        resume after a stop, a crash or a change
  qstill inspect runs/mine                       what is in it
  qstill diff runs/mine                          what its last round has that its first had not
  qstill grade answers.jsonl                     grade predicted answers of your own";

fn after_help() -> String {
    let codes = Exit::ALL.map(|exit| format!("{} {}", exit.code(), exit.word()));
    format!("{EXAMPLES}\n\nExit codes: {}.", codes.join(", "))
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Resume(run::Resume),
    Stage(run::OneStage),
    Launch(launch::Launch),
    Work(work::Work),
    Finish(work::Finish),
    Curate(curate::Curate),
    Status(status::Status),
    Inspect(inspect::Inspect),
    Show(show::Show),
    Report(report::Report),
    Sql(sql::Sql),
    Diff(diff::Diff),
    Bakeoff(bakeoff::Bakeoff),
    Ablate(ablate::Ablate),
    Audit(audit::Audit),
    Export(export::Export),
    Regrade(regrade::Regrade),
    VerifyRun(verify_run::VerifyRun),
    Pack(pack::Pack),
    Unpack(pack::Unpack),
    CheckVerifier(check_verifier::CheckVerifier),
    Grade(grade::Grade),
    Answer(answer::Answer),
    ExportGguf(export_gguf::ExportGguf),
    Init(init::Init),
    Doctor(doctor::Doctor),
    Context(context::Context),
    Completions(manual::Completions),
    Man(manual::Man),
    Bench(bench::Bench),
}

impl Command {
    /// The run that a command works on.
    fn run(&self) -> Option<String> {
        match self {
            Command::Run(args) => args.name(),
            Command::Resume(args) => Some(args.run.clone()),
            Command::Stage(args) => Some(args.run.clone()),
            Command::Launch(args) => Some(args.run().to_owned()),
            Command::Work(args) => Some(args.run.clone()),
            Command::Finish(args) => Some(args.run.clone()),
            Command::Curate(args) => Some(args.run.clone()),
            Command::Status(args) => Some(args.run.clone()),
            Command::Bakeoff(args) => Some(args.run.clone()),
            Command::Ablate(args) => Some(args.run.clone()),
            Command::Audit(args) => Some(args.run.clone()),
            Command::Export(args) => Some(args.run.clone()),
            Command::Regrade(args) => Some(args.run.clone()),
            Command::VerifyRun(args) => Some(args.run.clone()),
            Command::Pack(args) => Some(args.run.clone()),
            _ => None,
        }
    }
}

/// Parses the command line and runs the command.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn main() -> Result<Exit> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // A reader that has gone, such as `head`, is no error.
            let printed = error.print().or_else(|e| if e.kind() == BrokenPipe { Ok(()) } else { Err(e) });
            printed.context("failed to print")?;
            return Ok(if shown { Exit::Done } else { Exit::Usage });
        }
    };
    refuse_faults(&cli.command)?;
    let console = Console::new(cli.quiet, Duration::from_secs(10));
    match cli.command {
        Command::Run(args) => run::run(args, &console),
        Command::Resume(args) => run::resume(args, &console),
        Command::Stage(args) => run::stage(args, &console),
        Command::Launch(args) => launch::run(args, &console),
        Command::Work(args) => work::work(args, &console),
        Command::Finish(args) => work::finish(args, &console),
        Command::Curate(args) => curate::run(args, &console),
        Command::Status(args) => status::run(args, &console),
        Command::Inspect(args) => inspect::run(args, &console),
        Command::Show(args) => show::run(args),
        Command::Report(args) => report::run(args, &console),
        Command::Sql(args) => sql::run(args, &console),
        Command::Diff(args) => diff::run(args),
        Command::Bakeoff(args) => bakeoff::run(args, &console),
        Command::Ablate(args) => ablate::run(args, &console),
        Command::Audit(args) => audit::run(args, &console),
        Command::Export(args) => export::run(args, &console),
        Command::Regrade(args) => regrade::run(args, &console),
        Command::VerifyRun(args) => verify_run::run(args),
        Command::Pack(args) => pack::pack(args, &console),
        Command::Unpack(args) => pack::unpack(args, &console),
        Command::CheckVerifier(args) => check_verifier::run(args, &console),
        Command::Grade(args) => grade::run(args, &console),
        Command::Answer(args) => answer::run(args, &console),
        Command::ExportGguf(args) => export_gguf::run(args, &console),
        Command::Init(args) => init::run(args, &console),
        Command::Doctor(args) => doctor::run(args),
        Command::Context(args) => context::run(args, Cli::command()),
        Command::Completions(args) => manual::completions(args, Cli::command()),
        Command::Man(args) => manual::man(args, Cli::command()),
        Command::Bench(args) => bench::run(args, &console),
    }
}

/// Deliberate faults are for runs that are marked for them: one that stayed in the environment must not
/// damage a run of worth.
fn refuse_faults(command: &Command) -> Result<(), Failure> {
    let hint = "unset QSTILL_FAULT; it is for tests";
    let wanted = fault::wanted()
        .map_err(|name| Failure::usage(format!("QSTILL_FAULT names `{name}`, which is not a fault"), hint))?;
    let marked = || {
        let run = command.run().and_then(|run| RunDir::named(&run).ok());
        run.is_some_and(|run| run.root().join(fault::MARKER).is_file())
    };
    if wanted.is_empty() || marked() {
        return Ok(());
    }
    let what = format!("QSTILL_FAULT is set, but the run is not marked by a file `{}`", fault::MARKER);
    Err(Failure::usage(what, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
