//! What is committed in a stage directory: counted from its commit records, so that only what counts is
//! counted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::table::Table;
use crate::disk::durable::names;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::record::{Check, Commit};
use crate::disk::scan::{Scan, scan, table_paths};
use crate::run::fingerprint::Fingerprint;
use crate::terminal::text::{plural, size, table};

/// A stage of a run, and the tables committed in it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// None for the stage that all rounds share.
    pub round: Option<u32>,
    pub stage: String,
    pub tables: Vec<Line>,
    pub directories: Vec<Directory>,
    /// What the stage counted, over all shards.
    pub counts: BTreeMap<String, i64>,
    /// What is there and does not count.
    pub notes: Vec<String>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    commits: Vec<Commit>,
}

/// The committed shards of one table.
#[derive(Debug, Serialize)]
pub struct Line {
    pub table: String,
    /// None if the first shard does not say, or cannot be read.
    pub version: Option<String>,
    pub shards: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// A directory beside the stage that its commits vouch for.
#[derive(Debug, Serialize)]
pub struct Directory {
    pub name: String,
    pub bytes: u64,
}

/// Whether a directory is a stage's: it has a place for commits.
pub fn is_stage(dir: &Path) -> bool {
    dir.join("commits").is_dir()
}

impl Summary {
    /// Reads the commit records of a stage directory and the first footer of each table.
    ///
    /// # Errors
    /// Failed reads. A damaged commit is none: it is noted.
    pub fn of(path: &Path) -> Result<Self> {
        let scan = scan_stored(path)?;
        let mut notes: Vec<String> =
            scan.damaged.iter().map(|damaged| format!("does not count: {}", damaged.why)).collect();
        if !scan.stale.is_empty() {
            notes.push(format!(
                "{} made with other settings, not counted",
                plural(scan.stale.len() as u64, "shard")
            ));
        }
        notes.extend(leftovers(path, &scan)?);

        let mut tables: BTreeMap<&str, Line> = BTreeMap::new();
        let (mut directories, mut counts) = (BTreeMap::new(), BTreeMap::new());
        for commit in &scan.good {
            for file in &commit.files {
                let new = || Line { table: file.table.clone(), version: None, shards: 0, rows: 0, bytes: 0 };
                let line = tables.entry(&file.table).or_insert_with(new);
                line.shards += 1;
                line.rows += file.rows;
                line.bytes += file.length;
            }
            for dir in &commit.dirs {
                directories.insert(dir.name.clone(), dir.length);
            }
            for (what, count) in &commit.counts {
                let sum = counts.entry(what.clone()).or_insert(0i64);
                *sum = sum.saturating_add(*count);
            }
        }
        for line in tables.values_mut() {
            let Some(first) = table_paths(path, &scan.good, &line.table).into_iter().next() else {
                continue;
            };
            match Table::of_file(&first) {
                Ok(table) => line.version = table.version,
                Err(err) => notes.push(format!("cannot be read: {err}")),
            }
        }
        Ok(Self {
            round: round_of(path),
            stage: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            tables: tables.into_values().collect(),
            directories: directories.into_iter().map(|(name, bytes)| Directory { name, bytes }).collect(),
            counts,
            notes,
            path: path.to_owned(),
            commits: scan.good,
        })
    }

    /// One table of the stage, if anything of it is committed.
    pub fn table(&self, name: &str) -> Result<Option<Table>> {
        let files = table_paths(&self.path, &self.commits, name);
        let place = self.path.join(name);
        let Some(mut table) = Table::of_files(&place, &files)?.into_iter().next() else { return Ok(None) };
        if table.files.len() < files.len() {
            table
                .notes
                .push("its shards differ in their columns: only those like the first are shown".to_owned());
        }
        table.place = place.display().to_string();
        table.committed = true;
        table.notes.extend(self.notes.iter().cloned());
        Ok(Some(table))
    }

    /// All tables of the stage.
    pub fn all_tables(&self) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        for line in &self.tables {
            // What the stage has to say is said once, by the stage.
            tables.extend(self.table(&line.table)?.map(|table| Table { notes: Vec::new(), ..table }));
        }
        Ok(tables)
    }

    /// Whether a file in `shards/` is committed.
    pub fn holds(&self, file: &str) -> bool {
        self.commits.iter().flat_map(|commit| &commit.files).any(|record| record.name == file)
    }

    /// The stage by the words of the user: `round 2 search`.
    pub fn name(&self) -> String {
        self.round.map_or_else(|| self.stage.clone(), |round| format!("round {round} {}", self.stage))
    }
}

/// The commits under the settings that the stage was last made with; if it does not say, those of its first
/// commit.
fn scan_stored(path: &Path) -> Result<Scan> {
    let mut fingerprint = Fingerprint::load(path)?.map(|stored| stored.hash());
    if fingerprint.is_none() {
        fingerprint = scan(path, "", Check::Length)?.stale.first().map(|commit| commit.fingerprint.clone());
    }
    scan(path, &fingerprint.unwrap_or_default(), Check::Length)
}

/// Notes on files that no commit names.
fn leftovers(path: &Path, scan: &Scan) -> Result<Vec<String>> {
    let damaged = scan.damaged.iter().filter_map(|damaged| damaged.commit.as_ref());
    let commits = scan.good.iter().chain(&scan.stale).chain(damaged);
    let named: BTreeSet<&str> =
        commits.flat_map(|commit| &commit.files).map(|file| file.name.as_str()).collect();
    let unnamed = names(&path.join("shards"))?.iter().filter(|name| !named.contains(name.as_str())).count();
    let mut notes = Vec::new();
    if unnamed > 0 {
        notes.push(format!("{} in shards/ without a commit, not counted", plural(unnamed as u64, "file")));
    }
    let unfinished = names(&path.join("tmp"))?.len();
    if unfinished > 0 {
        notes.push(format!("{} in tmp/, not counted", plural(unfinished as u64, "unfinished file")));
    }
    for aside in ["stale", "damaged"] {
        if !names(&path.join(aside))?.is_empty() {
            notes.push(format!("earlier work that does not count is kept in {aside}/"));
        }
    }
    Ok(notes)
}

/// The round of a stage directory, from the name of the directory it is in.
fn round_of(stage: &Path) -> Option<u32> {
    round_number(stage.parent()?)
}

/// The round that a directory is of.
pub fn round_number(dir: &Path) -> Option<u32> {
    dir.file_name()?.to_str()?.strip_prefix("round-")?.parse().ok()
}

/// The stages of a run that have a directory, in order; of one round only if it is given.
pub fn summaries(run: &RunDir, only: Option<u32>) -> Result<Vec<Summary>> {
    let rounds = only.map_or_else(|| run.rounds(), |round| Ok(vec![round]))?;
    let mut dirs: Vec<PathBuf> = only.is_none().then(|| run.stage(1, Stage::Problems)).into_iter().collect();
    for round in rounds {
        let stages = Stage::ALL.into_iter().chain(Stage::BESIDE).filter(|stage| *stage != Stage::Problems);
        dirs.extend(stages.map(|stage| run.stage(round, stage)));
    }
    dirs.iter().filter(|dir| is_stage(dir)).map(|dir| Summary::of(dir)).collect()
}

/// Stages as a table of their tables, then the notes.
pub fn to_text(stages: &[Summary]) -> String {
    let mut rows = Vec::new();
    for stage in stages {
        let place =
            [stage.round.map_or_else(|| "-".to_owned(), |round| round.to_string()), stage.stage.clone()];
        let mut row = |cells: [String; 5]| rows.push(place.iter().cloned().chain(cells).collect::<Vec<_>>());
        for line in &stage.tables {
            let version = line.version.clone().unwrap_or_else(|| "-".to_owned());
            row([
                line.table.clone(),
                version,
                line.shards.to_string(),
                line.rows.to_string(),
                size(line.bytes),
            ]);
        }
        for dir in &stage.directories {
            row([format!("{}/", dir.name), "-".to_owned(), "-".to_owned(), "-".to_owned(), size(dir.bytes)]);
        }
        if stage.tables.is_empty() && stage.directories.is_empty() {
            row(["-".to_owned(), "-".to_owned(), "0".to_owned(), "0".to_owned(), size(0)]);
        }
    }
    let mut text =
        table(&["round", "stage", "table", "version", "shards", "rows", "size"], &rows, &[0, 3, 4, 5, 6]);
    for stage in stages {
        text.extend(stage.notes.iter().map(|note| format!("{}: {note}\n", stage.name())));
    }
    text
}

/// A run's stages for programs.
pub fn to_json(run: &RunDir, stages: &[Summary]) -> Value {
    json!({
        "run": run.name(),
        "path": run.root().display().to_string(),
        "holder": crate::disk::lock::Lock::holder(run.root()),
        "stages": stages,
    })
}
