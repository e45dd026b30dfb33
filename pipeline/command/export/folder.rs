//! The directory for the Hub: written under another name beside its place, and put there all at once.
//!
//! ```text
//! DIR/README.md                                   the dataset's card
//!     data/CONFIG/SPLIT-00000-of-00001.parquet    a config for each table (see `configs`)
//!     student/                                    the model directory, with a card of its own
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::cards;
use super::configs::{Config, Table, Tables};
use super::facts::Facts;
use super::finished::{Finished, rows};
use crate::command::arguments::{Overrides, Source, look};
use crate::disk::durable::{beside, create_dirs, names, publish_dir, sync_parent, write_new};
use crate::run::session::Session;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, size, thousands};

/// What a card of ours has among its tags, by which an earlier export is known.
const MARK: &str = "- qstill";

/// What stands in the directory.
#[derive(Args)]
#[command(next_help_heading = "With DIR")]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct Options {
    /// Tables to write, separated by commas. Default: all that the run has rows of, but `evaluation`.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TABLE", requires = "dir")]
    tables: Vec<Table>,
    /// Leave the student out.
    #[arg(long, requires = "dir")]
    no_student: bool,
    /// Write test problems too, with their answers: whoever trains on them can no longer be measured by them.
    #[arg(long, requires = "dir")]
    test_problems: bool,
    /// Name of the dataset and the model in their cards. Default: the run's name.
    #[arg(long, value_name = "NAME", requires = "dir")]
    title: Option<String>,
    /// Licence of both, as the Hub names it, e.g. apache-2.0. Default: unknown.
    #[arg(long, value_name = "ID", requires = "dir")]
    license: Option<String>,
    /// What the Hub calls the model that the student was made from.
    #[arg(long, value_name = "OWNER/NAME", requires = "dir")]
    base_model: Option<String>,
    /// Replace DIR if it is an earlier export.
    #[arg(long, requires = "dir")]
    force: bool,
    /// Print what was written as JSON.
    #[arg(long, requires = "dir")]
    json: bool,
}

/// What was written.
struct Made {
    configs: Vec<Config>,
    /// Round and bytes.
    student: Option<(u32, u64)>,
}

/// Writes the directory.
///
/// # Errors
/// A directory that may not be replaced; nothing finished; those of the tables; failed writes; a stop on
/// request. Then nothing has changed at `dir`.
pub fn run(name: &str, dir: &Path, options: &Options, console: &Console) -> Result<Exit> {
    named("--license", options.license.as_deref(), ".-+")?;
    named("--base-model", options.base_model.as_deref(), "._-/")?;
    vacant(dir, options.force)?;
    let session = look(name, &Source::default(), &Overrides::default(), console)?;
    console.install_interrupt().context("failed to listen for signals")?;
    let staged = beside(dir).with_context(|| failed(dir))?;
    let made = build(&session, &staged, options, console);
    let made = made.and_then(|made| publish(&staged, dir, options.force).map(|()| made));
    if made.is_err() {
        let _ = fs::remove_dir_all(&staged);
    }
    let made = made?;
    let text = if options.json { made.json(dir)? } else { made.table() };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    console.say(&format!("export: {}", dir.display()));
    Ok(Exit::Done)
}

/// Refuses names that cannot be any on the Hub, and that would be other YAML than a text.
fn named(argument: &str, name: Option<&str>, more: &str) -> Result<(), Failure> {
    let fits = |name: &str| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        begins && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    match name.filter(|name| !fits(name)) {
        None => Ok(()),
        Some(name) => {
            let what = format!("{argument} {name}: the Hub has no such name");
            Err(Failure::usage(what, format!("it has letters, digits and `{more}`")))
        }
    }
}

/// Whether the directory may be written: it is not there, or empty, or an earlier export to be replaced.
fn vacant(dir: &Path, force: bool) -> Result<()> {
    let shown = dir.display();
    if dir.file_name().is_none() {
        return Err(Failure::usage(format!("{shown} has no name"), "name a new directory").into());
    }
    let empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Failure::usage(format!("{shown} is a file"), "name a new directory").into());
        }
        Err(error) => return Err(error).with_context(|| format!("failed to list {shown}")),
    };
    if empty {
        return Ok(());
    }
    let card = fs::read_to_string(dir.join("README.md")).unwrap_or_default();
    let hint = if !force {
        "choose another name, or replace an earlier export with --force"
    } else if card.starts_with("---\n") && card.lines().any(|line| line == MARK) {
        return Ok(());
    } else {
        "it is no earlier export, so --force does not replace it: choose another name"
    };
    Err(Failure::usage(format!("{shown} is not empty"), hint).into())
}

/// Puts what was written in its place. What was there goes when that is done.
fn publish(staged: &Path, dir: &Path, force: bool) -> Result<()> {
    let old = if force && dir.is_dir() { Some(beside(dir).with_context(|| failed(dir))?) } else { None };
    if let Some(old) = &old {
        fs::rename(dir, old).with_context(|| failed(dir))?;
    }
    let published = publish_dir(staged, dir).with_context(|| failed(dir));
    if let Some(old) = &old {
        if published.is_ok() {
            fs::remove_dir_all(old).with_context(|| format!("failed to remove {}", old.display()))?;
        } else {
            fs::rename(old, dir).and_then(|()| sync_parent(dir)).with_context(|| failed(dir))?;
        }
    }
    published
}

fn build(session: &Session, staged: &Path, options: &Options, console: &Console) -> Result<Made> {
    let finished = Finished::of(session, !options.no_student)?;
    if let Some(round) = finished.unfinished {
        console.say(&format!("export: round {round} is not curated in whole, and is left out"));
    }
    create_dirs(staged).with_context(|| failed(staged))?;
    let wanted = if options.tables.is_empty() { Table::USUAL.to_vec() } else { options.tables.clone() };
    let events = console.stage("export", "rows", total(&finished, &wanted), 0);
    let tables = Tables {
        finished: &finished,
        train: &session.config.train,
        test: options.test_problems,
        data: staged.join("data"),
        events: &events,
    };
    let mut configs: Vec<Config> = Vec::new();
    for table in wanted {
        match tables.write(table)? {
            Some(config) if configs.iter().all(|other| other.name != config.name) => configs.push(config),
            None if !options.tables.is_empty() => {
                let what = format!("the run has no rows of `{}`", table.name());
                let hint = "leave it out of --tables; `qstill inspect` says which tables it has";
                return Err(Failure::input(what, hint).into());
            }
            _ => {}
        }
    }
    events.finish();
    let run = &session.workspace.run;
    let bytes = match finished.student {
        Some(round) => Some((round, copy(&run.student(round), &staged.join("student"))?)),
        None => None,
    };
    if bytes.is_none() && !options.no_student {
        console.say("export: the run has no student yet");
    }
    let title = options.title.clone().unwrap_or_else(|| run.name());
    let license = options.license.as_deref().unwrap_or("unknown");
    let names = (title.as_str(), license, options.base_model.as_deref());
    let facts = Facts::of(session, &finished, &configs, names, console)?;
    write_card(&staged.join("README.md"), &cards::dataset(&facts)?)?;
    if bytes.is_some() {
        write_card(&staged.join("student/README.md"), &cards::model(&facts)?)?;
    }
    Ok(Made { configs, student: bytes })
}

/// Rows that will be read.
fn total(finished: &Finished, wanted: &[Table]) -> u64 {
    let of_round = |name: &str| {
        let stages = finished
            .rounds
            .iter()
            .flat_map(|r| [&r.outputs.search, &r.outputs.verify, &r.outputs.curate, &r.value, &r.evaluate]);
        stages.map(|output| rows(output, name)).sum::<u64>()
    };
    wanted.iter().map(|table| of_round(table.name()) + rows(&finished.problems, table.name())).sum()
}

/// Copies the plain files of a folder, and says how many bytes they are.
fn copy(from: &Path, to: &Path) -> Result<u64> {
    create_dirs(to).with_context(|| failed(to))?;
    let mut bytes = 0;
    for name in names(from).with_context(|| format!("failed to list {}", from.display()))? {
        bytes += fs::copy(from.join(&name), to.join(&name)).with_context(|| failed(&to.join(&name)))?;
    }
    Ok(bytes)
}

fn write_card(path: &Path, text: &str) -> Result<()> {
    write_new(path, text.as_bytes()).with_context(|| failed(path))
}

fn failed(path: &Path) -> String {
    format!("failed to write {}", path.display())
}

impl Made {
    fn table(&self) -> String {
        let line = |config: &str, split: &str, rows: u64, files: u64, bytes: u64| {
            let rows = thousands(rows as i64);
            vec![config.to_owned(), split.to_owned(), rows, files.to_string(), size(bytes)]
        };
        let mut lines = Vec::new();
        for config in &self.configs {
            let of = config.splits.iter();
            lines.extend(of.map(|split| line(config.name, split.name, split.rows, split.files, split.bytes)));
        }
        let tables = text::table(&["config", "split", "rows", "files", "size"], &lines, &[2, 3, 4]);
        let student =
            self.student.map(|(round, bytes)| format!("student of round {round}, {}\n", size(bytes)));
        tables + &student.unwrap_or_default()
    }

    fn json(&self, dir: &Path) -> Result<String> {
        let configs = self.configs.iter().map(|config| json!({"name": config.name, "splits": config.splits}));
        let student = self.student.map(|(round, bytes)| json!({"round": round, "bytes": bytes}));
        let configs: Vec<_> = configs.collect();
        let made = json!({"directory": dir, "configs": configs, "student": student});
        Ok(serde_json::to_string_pretty(&made)? + "\n")
    }
}
