//! The rows of a run's tables: the one door between stages and files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use datasets::table::{self, Row, Writer};
use stages::fault;

use crate::disk::commit::Attempt;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::record::{Check, Commit, content_hash};
use crate::disk::scan::{scan, table_paths};
use crate::run::plan::Fingerprint;

/// Counts that go into a commit record.
pub type Counts = BTreeMap<String, i64>;

/// Writes the rows of one table of a shard.
///
/// # Errors
/// Failed writes.
pub fn write<R: Row>(attempt: &mut Attempt, mut rows: Vec<R>) -> Result<i64> {
    if fault::is("rows-by-threads") && !rows.is_empty() {
        let by = rayon::current_num_threads() % rows.len();
        rows.rotate_left(by);
    }
    let mut file = attempt.file(R::TABLE)?;
    let mut writer = Writer::new(&mut file)?;
    writer.extend(rows)?;
    let (count, _) = writer.finish()?;
    attempt.finish_file(file, count)?;
    Ok(count as i64)
}

/// Writes the rows of one table of a shard, if there are any: a table without rows is a file that
/// `datasets.load_dataset` refuses.
///
/// # Errors
/// Failed writes.
pub fn write_some<R: Row>(attempt: &mut Attempt, rows: Vec<R>) -> Result<()> {
    if !rows.is_empty() {
        write(attempt, rows)?;
    }
    Ok(())
}

/// Reads one table of some commits.
///
/// # Errors
/// Failed reads.
pub fn read<R: Row>(stage: &Path, commits: &[Commit]) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for path in table_paths(stage, commits, R::TABLE) {
        rows.extend(table::read_all(&path)?);
    }
    Ok(rows)
}

/// What a stage gave, as the next stages' input.
#[derive(Clone)]
pub struct Done {
    pub path: PathBuf,
    pub commits: Vec<Commit>,
}

impl Done {
    pub fn new(path: PathBuf, commits: Vec<Commit>) -> Self {
        Self { path, commits }
    }

    /// Name of the directory that the stage is in: `round-2`.
    pub fn round_name(&self) -> String {
        self.path
            .parent()
            .and_then(Path::file_name)
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Hash over all committed content.
    pub fn hash(&self) -> String {
        content_hash(&self.commits)
    }

    pub fn read<R: Row>(&self) -> Result<Vec<R>> {
        read(&self.path, &self.commits)
    }

    /// Rows of one shard.
    ///
    /// # Errors
    /// If the shard is not there or cannot be read.
    pub fn shard<R: Row>(&self, shard: u32) -> Result<Vec<R>> {
        let commits: Vec<Commit> = self.commits.iter().filter(|c| c.shard == shard).cloned().collect();
        read(&self.path, &commits)
    }

    /// Sum of one count over all shards.
    pub fn count(&self, key: &str) -> i64 {
        self.commits.iter().filter_map(|c| c.counts.get(key)).sum()
    }
}

/// What is committed of a stage, whatever the configuration is now.
///
/// # Errors
/// Failed reads.
pub fn committed(run: &RunDir, round: u32, stage: Stage) -> Result<Done> {
    let path = run.stage(round, stage);
    let commits = match Fingerprint::load(&path)? {
        Some(fingerprint) => scan(&path, &fingerprint.hash(), Check::Length)?.good,
        None => Vec::new(),
    };
    Ok(Done::new(path, commits))
}
