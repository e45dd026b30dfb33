//! `qstill bakeoff`: searches of the same problems at equal budgets, or answers chosen among the same
//! samples, as shards of a stage.

use anyhow::Result;

use crate::command::arguments::{interrupted, open_as_is};
use crate::run::session::Session;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;

mod arguments;
mod comparison;
mod contest;
mod selection;
mod table;

pub use arguments::Bakeoff;
use comparison::Comparison;

/// Runs the comparison.
///
/// # Errors
/// A run without what is asked for; those of the searches; failed reads and writes.
pub fn run(args: Bakeoff, console: &Console) -> Result<Exit> {
    // What is compared is no business of the run's stages: its configuration stays as it is.
    let session = open_as_is(&args.run, &args.over, console)?;
    compare(&session, &args).map_err(|error| interrupted(error, "give the same command again"))?;
    Ok(Exit::Done)
}

fn compare(session: &Session, args: &Bakeoff) -> Result<()> {
    let comparison = Comparison::of(session, args)?;
    if args.select.is_empty() { contest::run(&comparison, args) } else { selection::run(&comparison, args) }
}
