//! The rows of a run's tables: the one door between stages and files.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use datasets::table::{self, Retired, Row, Writer};
use datasets::types::{Kept, Problem, Split};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stages::fault;
use stages::siblings::Siblings;

use crate::disk::commit::Attempt;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::record::{Check, Commit, content_hash};
use crate::disk::scan::{scan, table_paths};
use crate::run::fingerprint::Fingerprint;
use crate::terminal::exit::Failure;

/// Counts that go into a commit record.
pub type Counts = BTreeMap<String, i64>;

/// Counts of some names.
pub fn counts(pairs: &[(&str, usize)]) -> Counts {
    pairs.iter().map(|(key, n)| ((*key).to_owned(), *n as i64)).collect()
}

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

/// What a stage gave, as the next stages' input. Serialised as the hash of its content.
#[derive(Clone, Debug)]
pub struct StageOutput {
    path: PathBuf,
    pub commits: Vec<Commit>,
}

impl Serialize for StageOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hash())
    }
}

impl StageOutput {
    pub fn new(path: PathBuf, commits: Vec<Commit>) -> Self {
        Self { path, commits }
    }

    /// Name of the directory that the stage is in: `round-2`.
    pub fn round_name(&self) -> String {
        let name = self.path.parent().and_then(Path::file_name);
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// A directory beside the stage that its commit vouches for.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// Hash over all committed content.
    pub fn hash(&self) -> String {
        content_hash(&self.commits)
    }

    /// All rows of a table.
    ///
    /// # Errors
    /// Failed reads.
    pub fn read<R: Row>(&self) -> Result<Vec<R>> {
        read(&self.path, &self.commits)
    }

    /// Rows of one shard.
    ///
    /// # Errors
    /// If the shard is not there or cannot be read.
    pub fn shard<R: Row>(&self, shard: u32) -> Result<Vec<R>> {
        read(&self.path, &self.commits_of(Some(shard)))
    }

    /// Rows of some problems, of one shard or of all; rows of other problems are not decoded.
    ///
    /// # Errors
    /// Failed reads.
    pub fn of_problems<R: Row>(&self, shard: Option<u32>, ids: &HashSet<String>) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        for path in table_paths(&self.path, &self.commits_of(shard), R::TABLE) {
            rows.extend(table::rows_where(&path, "problem_id", ids)?);
        }
        Ok(rows)
    }

    /// A column of text of one shard.
    ///
    /// # Errors
    /// Failed reads.
    pub fn column<R: Row>(&self, shard: u32, column: &'static str) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for path in table_paths(&self.path, &self.commits_of(Some(shard)), R::TABLE) {
            texts.extend(table::texts::<R>(&path, column)?);
        }
        Ok(texts)
    }

    /// The files of a table with the numbers of their rows, in order of the shards.
    pub fn files(&self, table: &str) -> Vec<(PathBuf, u64)> {
        let records = self.commits.iter().flat_map(|commit| &commit.files).filter(|file| file.table == table);
        records.map(|file| (self.path.join("shards").join(&file.name), file.rows)).collect()
    }

    /// The records of one shard, or of all.
    fn commits_of(&self, shard: Option<u32>) -> Vec<Commit> {
        self.commits.iter().filter(|c| shard.is_none_or(|shard| shard == c.shard)).cloned().collect()
    }

    /// Whether a shard is committed.
    pub fn has(&self, shard: u32) -> bool {
        self.commits.iter().any(|commit| commit.shard == shard)
    }

    /// Sum of one count over all shards.
    pub fn count(&self, key: &str) -> i64 {
        self.commits.iter().filter_map(|c| c.counts.get(key)).sum()
    }

    /// Sums of the counts with a prefix, by the rest of their names, largest first.
    pub fn counted(&self, prefix: &str) -> Vec<(String, i64)> {
        let mut sums: Counts = Counts::new();
        for (key, n) in self.commits.iter().flat_map(|c| &c.counts) {
            if let Some(rest) = key.strip_prefix(prefix) {
                *sums.entry(rest.to_owned()).or_default() += n;
            }
        }
        let mut all: Vec<(String, i64)> = sums.into_iter().collect();
        all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        all
    }

    /// Counts with a prefix, largest first: `12 correct, 3 wrong_answer`.
    pub fn reasons(&self, prefix: &str) -> String {
        let shown: Vec<String> = self.counted(prefix).iter().map(|(key, n)| format!("{n} {key}")).collect();
        if shown.is_empty() { "none".into() } else { shown.join(", ") }
    }
}

fn read<R: Row>(stage: &Path, commits: &[Commit]) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for path in table_paths(stage, commits, R::TABLE) {
        rows.extend(table::read_all(&path)?);
    }
    Ok(rows)
}

/// What the same stage gave in rounds 1 to K. Serialised as `round 1`, `round 2`, ... and the hash of each.
#[derive(Clone, Debug, Default)]
pub struct Rounds(pub Vec<StageOutput>);

impl Serialize for Rounds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (output, round) in self.0.iter().zip(1..) {
            map.serialize_entry(&format!("round {round}"), output)?;
        }
        map.end()
    }
}

/// What is committed of a stage, whatever the configuration is now.
///
/// # Errors
/// Failed reads.
pub fn committed(run: &RunDir, round: u32, stage: Stage) -> Result<StageOutput> {
    let path = run.stage(round, stage);
    let commits = match Fingerprint::load(&path)? {
        Some(fingerprint) => scan(&path, &fingerprint.hash(), Check::Length)?.good,
        None => Vec::new(),
    };
    Ok(StageOutput::new(path, commits))
}

/// The same with every byte compared with its record, for what is to leave the run.
///
/// # Errors
/// Damaged files; failed reads.
pub fn intact(run: &RunDir, round: u32, stage: Stage) -> Result<StageOutput> {
    let path = run.stage(round, stage);
    let Some(fingerprint) = Fingerprint::load(&path)? else { return Ok(StageOutput::new(path, Vec::new())) };
    let found = scan(&path, &fingerprint.hash(), Check::Hash)?;
    match found.damaged.first() {
        None => Ok(StageOutput::new(path, found.good)),
        Some(damaged) => {
            let what = format!("{} is damaged: {}", stage.in_round(round), damaged.why);
            Err(Failure::input(what, format!("`qstill resume {}` mends it", run.root().display())).into())
        }
    }
}

/// The shards of train problems, in order.
pub fn train_shards(problems: &StageOutput) -> Vec<u32> {
    let train = problems.commits.iter().filter(|c| c.counts.contains_key(Split::Train.name()));
    train.map(|c| c.shard).collect()
}

/// The problems of a split, at most so many; 0 for all. Test problems are read to evaluate on them, and to
/// keep them out of training.
///
/// # Errors
/// Failed reads.
pub fn problems_of(problems: &StageOutput, split: Split, most: usize) -> Result<Vec<Problem>> {
    let mut rows = Vec::new();
    for commit in problems.commits.iter().filter(|c| c.counts.contains_key(split.name())) {
        rows.extend(problems.shard::<Problem>(commit.shard)?);
    }
    if most > 0 {
        rows.truncate(most);
    }
    Ok(rows)
}

/// All train problems by what their questions say beside numbers and names.
///
/// # Errors
/// Failed reads.
pub fn siblings(problems: &StageOutput) -> Result<Siblings> {
    let mut siblings = Siblings::default();
    for shard in train_shards(problems) {
        problems.shard(shard)?.iter().for_each(|problem| siblings.add(problem));
    }
    Ok(siblings)
}

/// What some rounds have kept, less what their later ones retired; of one shard of train problems or of all.
/// What an earlier round kept word for word is one row, not two.
///
/// # Errors
/// Failed reads.
pub fn pool(curates: &Rounds, shard: Option<u32>) -> Result<Vec<Kept>> {
    let mut rows: Vec<Kept> = Vec::new();
    let mut seen = HashSet::new();
    for output in &curates.0 {
        let (kept, retired): (Vec<Kept>, Vec<Retired>) = match shard {
            Some(shard) => (output.shard(shard)?, output.shard(shard)?),
            None => (output.read()?, output.read()?),
        };
        let retired: HashSet<String> = retired.into_iter().map(|row| row.solution_id).collect();
        rows.retain(|row| {
            let stays = !retired.contains(&row.solution_id);
            if !stays {
                // It may be kept again.
                seen.remove(&(row.problem_id.clone(), row.completion.clone()));
            }
            stays
        });
        let new =
            kept.into_iter().filter(|row| seen.insert((row.problem_id.clone(), row.completion.clone())));
        rows.extend(new);
    }
    Ok(rows)
}
