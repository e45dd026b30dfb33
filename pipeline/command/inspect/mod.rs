//! `qstill inspect PATH`: what is in a run, a stage, a table, or any Parquet file.
//!
//! PATH may be a run (or its name), one of its rounds, a stage, one table of a stage
//! (`runs/x/round-1/search/nodes`, which means all its committed shards), a Parquet file of any maker, a
//! folder of such files, or a pattern. Nothing is written, and the numbers of a run come from its commit
//! records: what is not committed is named but never counted.
//!
//! - `target`, `paths`: what a path means    - `table`: the rows of files    - `stage`: what is committed
//! - `choose`: which rows are looked at
//! - `summary`: columns in numbers    - `show`: tables as text    - `tokens`: rows as a student reads them

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::disk::lock::Lock;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::look::Look;
use crate::terminal::text;

mod choose;
mod options;
mod paths;
mod show;
mod stage;
mod summary;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod tokens;

use choose::choose;
use options::{Form, Options};
use summary::summaries;
use table::Table;
use target::{Target, of_paths, one_table};
use tokens::Reader;

/// Look into a run, a stage, or any Parquet file.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill inspect runs/demo
  qstill inspect runs/demo/round-1/curate --head 5
  qstill inspect runs/demo/round-2/verify/verdicts --summary
  qstill inspect runs/demo/round-2/search/solutions --where \"policy = 'model' AND tokens > 40\" --sample 3
  qstill inspect runs/demo/round-1/curate/kept --tokens --head 1
  qstill inspect 'data/*.parquet' --columns question,answer --csv > all.csv
Conditions are SQL, as in `qstill sql`. One problem through all tables: `qstill show`.")]
pub struct Inspect {
    /// A run, a round, a stage, a table of a stage, Parquet files of any maker, folders of them, or a pattern
    /// such as 'data/*.parquet'.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Rows of each table to show, the first ones [default: 3; all as CSV, none with --summary].
    #[arg(long)]
    head: Option<usize>,
    /// Only these columns.
    #[arg(long, value_delimiter = ',')]
    columns: Vec<String>,
    /// Only rows that meet a condition of SQL, such as "round = 2 AND tokens > 40"; of one table.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Show rows drawn at random, in their order, instead of the first ones.
    #[arg(long, value_name = "N", conflicts_with = "head")]
    sample: Option<u64>,
    /// Seed of the draw: the same seed draws the same rows.
    #[arg(long, default_value_t = 0, requires = "sample")]
    seed: u64,
    /// Say of each column how many nulls and distinct values it has, its quantiles, its most frequent values.
    #[arg(long)]
    summary: bool,
    /// Show training rows as tokens: id, weight in the loss, text. The tokenizer is that of the round's
    /// student, or of the model that the run starts from.
    #[arg(long)]
    tokens: bool,
    /// The model directory whose tokenizer --tokens asks.
    #[arg(long, value_name = "DIR", requires = "tokens")]
    model: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Args)]
struct FormArgs {
    /// Print the rows of one table as CSV.
    #[arg(long, conflicts_with_all = ["json", "tokens", "summary"])]
    csv: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows what is at a path.
///
/// # Errors
/// Those of [`inspect`].
pub fn run(args: Inspect, console: &Console) -> Result<Exit> {
    let Inspect { paths, head, columns, condition, sample, seed, summary, tokens, model, form } = args;
    let form = match form {
        FormArgs { csv: true, .. } => Form::Csv,
        FormArgs { json: true, .. } => Form::Json,
        FormArgs { .. } => Form::Text,
    };
    // A sample is shown whole.
    let most = if form == Form::Csv || sample.is_some() {
        usize::MAX
    } else if summary {
        0
    } else {
        3
    };
    let head = head.unwrap_or(most);
    let colour = console.colour();
    let options = Options { head, condition, sample, seed, summary, columns, form, tokens, model, colour };
    // Colour that was allowed with the other stream in mind must not get into a file or a pipe.
    let look = Look { width: text::width(), colour: options.colour && std::io::stdout().is_terminal() };
    text::to_stdout(|out| inspect_to(out, &paths, &options, look))?;
    Ok(Exit::Done)
}

/// Writes what is at some paths.
///
/// # Errors
/// `Exit::Input` if nothing is there, or if it is no whole Parquet file; `Exit::Usage` for a column that is
/// not there; `Exit::Io` for failed reads.
fn inspect_to(out: &mut dyn Write, paths: &[PathBuf], options: &Options, look: Look) -> Result<()> {
    let mut target = of_paths(paths)?;
    if let Some(option) = options.of_one_table() {
        target = Target::Tables(vec![one_table(target, option)?]);
    }
    if let Target::Tables(tables) = &mut target {
        tables.iter_mut().try_for_each(|table| choose(table, options))?;
    }
    if options.tokens {
        let Target::Tables(tables) = target else {
            let hint = "such as RUN/round-1/curate/kept, or a Parquet file";
            return Err(Failure::usage("--tokens needs a table of training rows", hint).into());
        };
        let reader = Reader::of(&paths[0], options.model.as_deref())?;
        if options.form == Form::Json {
            let all = tables.iter().map(|table| reader.to_json(table, options.head));
            let mut all = all.collect::<Result<Vec<_>>>()?;
            return print(out, &if all.len() == 1 { all.remove(0) } else { json!({"tables": all}) });
        }
        return tables.iter().try_for_each(|table| reader.show(out, table, options.head, look));
    }
    match target {
        Target::Run(run, round) => {
            let stages = stage::summaries(&run, round)?;
            if options.form == Form::Json {
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
            let mut tables = stage.all_tables()?;
            tables.iter_mut().try_for_each(|table| choose(table, options))?;
            if !tables.is_empty() {
                check_columns(&tables, options)?;
            }
            if options.form == Form::Json {
                let samples = tables.iter().map(|table| to_json(table, options));
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
            if options.form == Form::Csv {
                return tables.iter().try_for_each(|table| show::csv(out, table, options));
            }
            if options.form == Form::Json {
                let mut samples =
                    tables.iter().map(|table| to_json(table, options)).collect::<Result<Vec<_>>>()?;
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

/// A table for programs.
fn to_json(table: &Table, options: &Options) -> Result<Value> {
    let mut all = table.to_json(&options.columns, options.head)?;
    if options.summary {
        all["summary"] = serde_json::to_value(summaries(table, &options.columns)?)?;
    }
    Ok(all)
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
