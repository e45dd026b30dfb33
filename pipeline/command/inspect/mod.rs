//! `qstill inspect PATH`: what is in a run, a stage, a table, or any Parquet file.
//!
//! PATH may be a run (or its name), one of its rounds, a stage, one table of a stage
//! (`runs/x/round-1/search/nodes`, which means all its committed shards), a Parquet file of any maker, or a
//! folder of such files. Nothing is written, and the numbers of a run come from its commit records: what is
//! not committed is named but never counted.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::disk::durable::names;
use crate::disk::layout::RunDir;
use crate::disk::lock::Lock;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::look::Look;
use crate::terminal::text;

mod options;
mod show;
mod stage;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

use options::Options;
use stage::{Summary, is_stage, round_number};
use table::Table;
use tokens::Reader;

/// Look into a run, a stage, or any Parquet file.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill inspect runs/demo
  qstill inspect runs/demo/round-1/curate --head 5
  qstill inspect runs/demo/round-1/curate/kept --tokens --head 1
  qstill inspect any.parquet --columns question,answer --json")]
pub struct Inspect {
    /// A run, a round, a stage, a table of a stage, a Parquet file, or a folder of them.
    path: PathBuf,
    /// Sample rows to show.
    #[arg(long, default_value_t = 3)]
    head: usize,
    /// Only these columns.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Show training rows as tokens: id, weight in the loss, text. The tokenizer is that of the round's
    /// student, or of the model that the run starts from.
    #[arg(long)]
    tokens: bool,
    /// The model directory whose tokenizer --tokens asks.
    #[arg(long, value_name = "DIR", requires = "tokens")]
    model: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what is at a path.
///
/// # Errors
/// Those of [`inspect`].
pub fn run(args: Inspect, console: &Console) -> Result<Exit> {
    let Inspect { path, head, columns, tokens, model, json } = args;
    inspect(&path, &Options { head, columns, json, tokens, model, colour: console.colour() })?;
    Ok(Exit::Done)
}

/// Prints what is at `path` to stdout.
///
/// # Errors
/// `Exit::Input` if nothing is there, or if it is no whole Parquet file; `Exit::Usage` for a column that is
/// not there; `Exit::Io` for failed reads.
fn inspect(path: &Path, options: &Options) -> Result<()> {
    // Colour that was allowed with the other stream in mind must not get into a file or a pipe.
    let look = Look { width: text::width(), colour: options.colour && std::io::stdout().is_terminal() };
    text::to_stdout(|out| inspect_to(out, path, options, look))
}

fn inspect_to(out: &mut dyn Write, path: &Path, options: &Options, look: Look) -> Result<()> {
    let target = target(path)?;
    if options.tokens {
        let Target::Tables(tables) = target else {
            let hint = "such as RUN/round-1/curate/kept, or a Parquet file";
            return Err(Failure::usage("--tokens needs a table of training rows", hint).into());
        };
        let reader = Reader::of(path, options.model.as_deref())?;
        if options.json {
            let all = tables.iter().map(|table| reader.to_json(table, options.head));
            let mut all = all.collect::<Result<Vec<_>>>()?;
            return print(out, &if all.len() == 1 { all.remove(0) } else { json!({"tables": all}) });
        }
        return tables.iter().try_for_each(|table| reader.show(out, table, options.head, look));
    }
    match target {
        Target::Run(run, round) => {
            let stages = stage::summaries(&run, round)?;
            if options.json {
                return print(out, &stage::to_json(&run, &stages));
            }
            writeln!(out, "{}", look.bold(&format!("run {} ({})", run.name(), run.root().display())))?;
            if let Some(holder) = Lock::holder(run.root()) {
                writeln!(out, "running: {holder}; more may come")?;
            }
            if stages.is_empty() {
                writeln!(out, "nothing is committed yet")?;
            } else {
                write!(out, "{}", stage::to_text(&stages))?;
            }
            Ok(())
        }
        Target::Stage(stage) => {
            let tables = stage.all_tables()?;
            if !tables.is_empty() {
                check_columns(&tables, options)?;
            }
            if options.json {
                let samples = tables.iter().map(|table| table.to_json(&options.columns, options.head));
                return print(out, &json!({"stage": stage, "tables": samples.collect::<Result<Vec<_>>>()?}));
            }
            write!(out, "{}", stage::to_text(std::slice::from_ref(&stage)))?;
            for (what, count) in &stage.counts {
                writeln!(out, "{}: {count}", text::brief(what, 80))?;
            }
            for table in tables
                .iter()
                .filter(|table| options.columns.is_empty() || !table.shown(&options.columns).is_empty())
            {
                writeln!(out)?;
                show::table(out, table, options, look)?;
            }
            Ok(())
        }
        Target::Tables(tables) => {
            check_columns(&tables, options)?;
            if options.json {
                let mut samples = tables
                    .iter()
                    .map(|table| table.to_json(&options.columns, options.head))
                    .collect::<Result<Vec<_>>>()?;
                // One table is an object, so that a file's rows are always at `.sample`.
                return print(
                    out,
                    &if samples.len() == 1 { samples.remove(0) } else { json!({"tables": samples}) },
                );
            }
            for (at, table) in tables.iter().enumerate() {
                if at > 0 {
                    writeln!(out)?;
                }
                show::table(out, table, options, look)?;
            }
            Ok(())
        }
    }
}

/// What a path means.
#[derive(Debug)]
enum Target {
    Run(RunDir, Option<u32>),
    Stage(Summary),
    /// One or more, each with its files.
    Tables(Vec<Table>),
}

fn target(path: &Path) -> Result<Target> {
    let Ok(meta) = fs::metadata(path) else { return missing(path) };
    if !meta.is_dir() {
        return Ok(Target::Tables(vec![file(path)?]));
    }
    // `runs/x/.` and `round-1/..` should say their names too.
    let path = &fs::canonicalize(path)
        .ok()
        .filter(|_| path.file_name().is_none())
        .unwrap_or_else(|| path.to_owned());
    if is_stage(path) {
        return Ok(Target::Stage(Summary::of(path)?));
    }
    if is_run(path) {
        return Ok(Target::Run(RunDir::at(path), None));
    }
    if let (Some(round), Some(run)) = (round_number(path), path.parent())
        && is_run(run)
    {
        return Ok(Target::Run(RunDir::at(run), Some(round)));
    }
    let files = parquet_files(path)?;
    if files.is_empty() {
        let hint = "give a run, a stage, a table of a stage, a Parquet file, or a folder with some";
        return Err(Failure::input(format!("{} has no Parquet files", path.display()), hint).into());
    }
    Ok(Target::Tables(Table::of_files(path, &files)?))
}

fn is_run(dir: &Path) -> bool {
    dir.join("run.toml").is_file() || is_stage(&dir.join("problems"))
}

/// A path with nothing at it may still be the name of a run, or a table of a stage.
fn missing(path: &Path) -> Result<Target> {
    if let Some(stage) = path.parent().filter(|parent| is_stage(parent))
        && let Some(name) = path.file_name().and_then(|name| name.to_str())
    {
        let stage = Summary::of(stage)?;
        if let Some(table) = stage.table(name)? {
            return Ok(Target::Tables(vec![table]));
        }
        let tables: Vec<&str> = stage.tables.iter().map(|line| line.table.as_str()).collect();
        let hint = if tables.is_empty() {
            "nothing is committed there yet".to_owned()
        } else {
            format!("it has {}", tables.join(", "))
        };
        let known = datasets::table::info(name).is_some() && !tables.is_empty();
        let lacks = if known { "has no rows in the table" } else { "has no committed table" };
        return Err(Failure::input(format!("{} {lacks} `{name}`", stage.name()), hint).into());
    }
    if let Some(run) =
        path.to_str().and_then(|text| RunDir::named(text).ok()).filter(|run| is_run(run.root()))
    {
        return Ok(Target::Run(run, None));
    }
    // The system knows whether it is not there or may not be seen.
    match fs::metadata(path) {
        Err(err) if err.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Failure::io(format!("cannot read {}", path.display()), "", err).into())
        }
        _ => Err(Failure::input(
            format!("{} does not exist", path.display()),
            "give a run, a stage, or a Parquet file",
        )
        .into()),
    }
}

/// One file; a shard of a stage says so if it does not count.
fn file(path: &Path) -> Result<Table> {
    let mut table = Table::of_file(path)?;
    let stage = path
        .parent()
        .filter(|dir| dir.ends_with("shards"))
        .and_then(Path::parent)
        .filter(|dir| is_stage(dir));
    if let (Some(stage), Some(name)) = (stage, path.file_name().and_then(|name| name.to_str()))
        && !Summary::of(stage)?.holds(name)
    {
        table.notes.push("this shard is not committed: it does not count".to_owned());
    }
    Ok(table)
}

/// Files right in a folder whose names say that they are Parquet, sorted.
fn parquet_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let listed = names(dir).map_err(|err| Failure::io(format!("cannot list {}", dir.display()), "", err))?;
    let parquet = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["parquet", "parq", "pq"].iter().any(|known| extension.eq_ignore_ascii_case(known)) && path.is_file()
    };
    Ok(listed.into_iter().map(|name| dir.join(name)).filter(parquet).collect())
}

/// Every column that was asked for must be in one of the tables.
fn check_columns(tables: &[Table], options: &Options) -> Result<()> {
    for column in &options.columns {
        if !tables.iter().any(|table| table.has(column)) {
            let mut known: Vec<&str> = Vec::new();
            for field in tables.iter().flat_map(|table| table.schema.fields()) {
                if !known.contains(&field.name().as_str()) {
                    known.push(field.name());
                }
            }
            let hint = text::brief(&format!("there are {}", known.join(", ")), 400);
            return Err(Failure::usage(format!("there is no column `{column}`"), hint).into());
        }
    }
    Ok(())
}

fn print(out: &mut dyn Write, value: &Value) -> Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string_pretty(value)?)?)
}
