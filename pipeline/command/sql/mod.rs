//! `qstill sql RUN "SELECT ..."`: questions to the tables of a run.
//!
//! - `catalog`: which tables there are    - `describe`: them and their columns, for people and programs
//! - `output`: where an answer goes    - `format`: tables, CSV and JSON    - `parquet`: the same as Parquet
//! - `shell`: several questions after each other    - `views`: the same tables for DuckDB
//!
//! Nothing is written to the run and no lock is taken: what is committed at the moment is what is read.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::command::arguments::existing;
use crate::query::database::Database;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::look::Look;
use crate::terminal::text::to_stdout;

mod catalog;
mod describe;
mod format;
mod output;
mod parquet;
mod shell;
mod views;

use format::Format;
use output::{Output, write};

/// Most bytes of a statement that is read from stdin.
const LONGEST: u64 = 1 << 20;

/// Ask the tables of a run in SQL.
#[derive(Args)]
#[command(
    override_usage = "qstill sql [OPTIONS] <RUN> <STATEMENT|-i|--tables|--schema <TABLE>|--views <ENGINE>>",
    group = clap::ArgGroup::new("what").required(true)
        .args(["statement", "interactive", "tables", "schema", "views"]),
    after_help = "Examples:
  qstill sql runs/demo --tables
  qstill sql runs/demo \"SELECT round, reason, count(*) n FROM dropped GROUP BY 1, 2 ORDER BY n DESC\"
  qstill sql runs/demo \"SELECT * FROM kept WHERE round = 2\" --output kept.parquet
  qstill sql runs/demo \"SELECT f.value->>'kind', count(*) FROM verdicts, json_each(faults) f GROUP BY 1\"
  qstill sql runs/demo -i                                 several questions; .tables, .schema TABLE, .quit
  qstill sql runs/demo --views duckdb > views.sql         the same tables for DuckDB

The dialect is SQLite's. Lists and structs are JSON, for json_each, -> and ->>. Column names that are words of
SQL stand in double quotes (\"values\"), texts in single ones. All rounds of a table are in one; only
committed rows count. As text, an answer is cut to the width of the terminal; other formats give all of it."
)]
pub struct Sql {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// A statement that reads: SELECT, WITH or VALUES; - takes it from stdin.
    statement: Option<String>,
    /// Ask for statements, each up to a `;`.
    #[arg(long, short)]
    interactive: bool,
    /// List the tables with rows and columns.
    #[arg(long)]
    tables: bool,
    /// Describe the columns of a table.
    #[arg(long, value_name = "TABLE")]
    schema: Option<String>,
    /// Print statements that make the same tables as views of another engine.
    #[arg(long, value_enum, value_name = "ENGINE")]
    views: Option<Engine>,
    /// How an answer is written; default: by the name of the output, else a table of text.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write the answer to a file.
    #[arg(long, visible_alias = "out", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite an existing output.
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Duckdb,
}

/// Answers a question about a run.
///
/// # Errors
/// No run of that name, a statement that cannot be run or would write, an output that is there already,
/// failed reads and writes.
pub fn run(args: Sql, console: &Console) -> Result<Exit> {
    let run = existing(&args.run)?;
    let look = Look::stdout();
    let format =
        args.format.or_else(|| args.output.as_deref().and_then(Format::of_name)).unwrap_or(Format::Table);
    let output = Output { path: args.output, force: args.force };
    if args.interactive {
        if output.path.is_some() {
            return Err(
                Failure::usage("-i does not go with --output", "give a statement with --output").into()
            );
        }
        return shell::run(&run, format, look, console);
    }
    let sources = catalog::sources(&run)?;
    if let Some(Engine::Duckdb) = args.views {
        let text = views::duckdb(&sources)?;
        to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
        return Ok(Exit::Done);
    }
    if args.tables || args.schema.is_some() {
        let text = match &args.schema {
            Some(name) => describe::one(&sources, name, format, look)?,
            None => describe::all(&sources, format, look)?,
        };
        output.write(|out| Ok(out.write_all(text.as_bytes())?))?;
        return Ok(Exit::Done);
    }
    let sql = match args.statement.as_deref() {
        Some("-") => stdin()?,
        statement => statement.unwrap_or_default().to_owned(),
    };
    let database = Database::open(sources)?;
    output.write(|out| write(&database, &sql, format, look, out))?;
    Ok(Exit::Done)
}

fn stdin() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| Failure::io("cannot read the statement from stdin", "", error))?;
    Ok(text)
}
