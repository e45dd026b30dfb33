//! Looking at a stage directory without changing it: which commits count.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use stages::fault;

use crate::disk::durable::{names, read_small};
use crate::disk::record::{Check, Commit};

/// What is in a stage directory, judged by what a stage with some fingerprint would accept.
#[derive(Debug, Default)]
pub struct Scan {
    /// Sound commits with the fingerprint asked for, in order of their shards.
    pub good: Vec<Commit>,
    /// Commits with another fingerprint; their files are not looked at.
    pub stale: Vec<Commit>,
    pub damaged: Vec<Damaged>,
}

/// A commit that cannot be trusted.
#[derive(Debug)]
pub struct Damaged {
    /// Path of the commit record.
    pub record: PathBuf,
    /// The record, if that is readable and the fault is in its files.
    pub commit: Option<Commit>,
    /// What is wrong, e.g. `part-00003-nodes-… has 10 bytes and not 20`.
    pub why: String,
}

/// Looks at a stage directory without changing it, for `status` and other readers.
///
/// # Errors
/// Failed reads. A missing directory is an empty one.
pub fn scan(stage: &Path, fingerprint: &str, check: Check) -> Result<Scan> {
    scan_for(stage, Some(fingerprint).filter(|_| !fault::is("stale-counts")), check)
}

/// Compares every committed file of a stage directory with its record, whatever the settings it was made
/// with.
///
/// # Errors
/// Failed reads. A missing directory is an empty one.
pub fn examine(stage: &Path) -> Result<Scan> {
    scan_for(stage, None, Check::Hash)
}

fn scan_for(stage: &Path, fingerprint: Option<&str>, check: Check) -> Result<Scan> {
    let dir = stage.join("commits");
    let names = names(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
    let look = |name: &String| -> Result<(PathBuf, std::result::Result<Commit, String>, Option<String>)> {
        let record = dir.join(name);
        let commit = read_record(&record, name)?;
        let why = match &commit {
            Ok(commit) if fingerprint.is_none_or(|f| f == commit.fingerprint) => {
                commit.fault(stage, check)?
            }
            _ => None,
        };
        Ok((record, commit, why))
    };
    let looked: Vec<_> = names.par_iter().map(look).collect::<Result<_>>()?;
    let mut scan = Scan::default();
    for (record, commit, why) in looked {
        match (commit, why) {
            (Err(why), _) => scan.damaged.push(Damaged { record, commit: None, why }),
            (Ok(commit), Some(why)) => scan.damaged.push(Damaged { record, commit: Some(commit), why }),
            (Ok(commit), None) if fingerprint.is_some_and(|f| f != commit.fingerprint) => {
                scan.stale.push(commit);
            }
            (Ok(commit), None) => scan.good.push(commit),
        }
    }
    scan.good.sort_by_key(|c| c.shard);
    Ok(scan)
}

/// Reads a commit record; the inner error says what is wrong with it.
pub(super) fn read_record(path: &Path, name: &str) -> Result<std::result::Result<Commit, String>> {
    match read_small(path) {
        Ok(bytes) => Ok(Commit::parse(name, &bytes)),
        Err(err) if err.kind() == io::ErrorKind::InvalidData => Ok(Err(format!("the commit record {err}"))),
        Err(err) => Err(err).with_context(|| format!("failed to read {}", path.display())),
    }
}

/// Paths of one table of some commits, in order of the commits.
pub fn table_paths(stage: &Path, commits: &[Commit], table: &str) -> Vec<PathBuf> {
    let files = commits.iter().flat_map(|c| &c.files).filter(|f| f.table == table);
    files.map(|f| stage.join("shards").join(&f.name)).collect()
}
