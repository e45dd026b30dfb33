//! What paths mean: a run, a round, a stage, or tables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::paths;
use super::stage::{Summary, is_stage, round_number};
use super::table::Table;
use crate::disk::durable::names;
use crate::disk::layout::RunDir;
use crate::terminal::exit::Failure;
use crate::terminal::text;

/// What a path means.
#[derive(Debug)]
pub enum Target {
    Run(RunDir, Option<u32>),
    Stage(Summary),
    /// One or more, each with its files.
    Tables(Vec<Table>),
}

/// What one or more paths mean. Several, or a pattern, mean the tables of all of them.
pub fn of_paths(all: &[PathBuf]) -> Result<Target> {
    if let [path] = all
        && (path.exists() || !paths::is_pattern(path))
    {
        return target(path);
    }
    let mut files = Vec::new();
    for path in all {
        let pattern = paths::is_pattern(path) && !path.exists();
        let meant = if pattern {
            paths::matching(path)
                .map_err(|err| Failure::io(format!("cannot list {}", path.display()), "", err))?
        } else {
            vec![path.clone()]
        };
        if meant.is_empty() {
            let what = format!("nothing matches {}", path.display());
            return Err(Failure::input(what, "* and ? stand for what has no / in it").into());
        }
        for path in meant {
            if path.is_dir() && !is_stage(&path) && !is_run(&path) {
                files.extend(parquet_files(&path)?);
            } else if path.is_file() {
                files.push(path);
            } else {
                match target(&path)? {
                    Target::Tables(tables) => files.extend(tables.into_iter().flat_map(|table| table.files)),
                    _ => {
                        let what = format!("{} is no table: several paths are tables", path.display());
                        return Err(Failure::usage(what, "look at runs and stages one at a time").into());
                    }
                }
            }
        }
    }
    if files.is_empty() {
        return Err(Failure::input("there are no Parquet files", "").into());
    }
    let place = match all {
        [pattern] => pattern.clone(),
        _ => PathBuf::from(text::plural(files.len() as u64, "file")),
    };
    let mut tables = Table::of_files(&place, &files)?;
    for table in &mut tables {
        let uncommitted = table.files.iter().map(|path| uncommitted(path)).collect::<Result<Vec<bool>>>()?;
        let count = uncommitted.into_iter().filter(|uncommitted| *uncommitted).count();
        if count > 0 {
            table
                .notes
                .push(format!("{} not committed: they do not count", text::plural(count as u64, "shard")));
        }
    }
    Ok(Target::Tables(tables))
}

/// The one table of what was named.
pub fn one_table(target: Target, option: &str) -> Result<Table> {
    let mut tables = match target {
        Target::Tables(tables) => tables,
        Target::Stage(stage) => stage.all_tables()?,
        Target::Run(run, _) => {
            let hint = format!("such as {}/round-1/search/solutions", run.root().display());
            return Err(Failure::usage(format!("{option} needs a table"), hint).into());
        }
    };
    if tables.len() == 1 {
        return Ok(tables.remove(0));
    }
    let places: Vec<&str> = tables.iter().map(|table| table.place.as_str()).collect();
    let hint = text::brief(&format!("choose one of {}", places.join(", ")), 400);
    Err(Failure::usage(format!("{option} is for one table, and here are {}", tables.len()), hint).into())
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
    if uncommitted(path)? {
        table.notes.push("this shard is not committed: it does not count".to_owned());
    }
    Ok(table)
}

/// Whether a file is a shard that no commit names.
fn uncommitted(path: &Path) -> Result<bool> {
    let shards = path.parent().filter(|dir| dir.ends_with("shards"));
    let stage = shards.and_then(Path::parent).filter(|dir| is_stage(dir));
    match (stage, path.file_name().and_then(|name| name.to_str())) {
        (Some(stage), Some(name)) => Ok(!Summary::of(stage)?.holds(name)),
        _ => Ok(false),
    }
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
