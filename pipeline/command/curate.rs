//! `qstill curate`: the stage, or with `--explain` why one solution was kept or dropped.

use anyhow::Result;
use clap::Args;

use crate::command::arguments::{Overrides, Source, look, open};
use crate::command::{explain, run};
use crate::disk::layout::Stage;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;

/// Sort a round's solutions into kept and dropped, or explain the decision on one of them.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill curate runs/mine                              the same as `qstill stage curate runs/mine`
  qstill curate runs/mine --set curate.per_problem=2
  qstill curate runs/mine --explain 0123ab             every rule, what it measured, and the decision")]
pub struct Curate {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Which round; default: the first that is outstanding; with --explain all rounds are searched.
    #[arg(long)]
    round: Option<u32>,
    /// Explain what became of a solution: its id, or the beginning of it.
    #[arg(long, value_name = "SOLUTION_ID")]
    explain: Option<String>,
    /// Print the explanation as JSON.
    #[arg(long, requires = "explain")]
    json: bool,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    over: Overrides,
}

/// Curates or explains.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn run(args: Curate, console: &Console) -> Result<Exit> {
    if let Some(id) = &args.explain {
        let session = look(&args.run, &args.source, &args.over, console)?;
        explain::print(&session, args.round, id, args.json)?;
        return Ok(Exit::Done);
    }
    let session = open(&args.run, &args.source, &args.over, console)?;
    run::one(&session, Stage::Curate, args.round)
}
