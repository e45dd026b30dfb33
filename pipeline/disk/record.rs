//! Commit records: what one says, and whether it is true of the files it names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use datasets::key::{self, Part, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stages::fault;

use crate::disk::durable::names;

/// Version of the record itself.
const FORMAT: u32 = 1;

/// Highest number of a shard. A record from a stranger must not make us count to it.
const MOST_SHARDS: u32 = 10_000_000;

/// How closely files are compared with their record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// They are there, with the right length: finds torn files, at no cost.
    Length,
    /// Their bytes are the ones written: finds everything, and reads everything.
    Hash,
}

/// A committed shard. Holds no date, path or host. The same work gives the same bytes, but for the
/// time that a measurement took (`counts`, evaluate only).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    format: u32,
    /// Fingerprint of the stage, settings and inputs that made it.
    pub fingerprint: String,
    pub shard: u32,
    pub files: Vec<FileRecord>,
    /// Directories beside the stage that belong to it.
    pub dirs: Vec<DirRecord>,
    /// What the stage counted, for status and reports.
    pub counts: BTreeMap<String, i64>,
    /// SHA-256 of the record with this field empty: a flipped bit in a record is noticed too.
    seal: String,
}

/// A table's file in a committed shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    pub table: String,
    /// Name in `shards/`.
    pub name: String,
    pub length: u64,
    pub sha256: String,
    pub rows: u64,
}

/// A directory beside the stage that a commit vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirRecord {
    pub name: String,
    /// Bytes in all its files.
    pub length: u64,
    /// See [`digest_dir`].
    pub sha256: String,
}

impl Commit {
    pub(super) fn new(
        fingerprint: &str,
        shard: u32,
        mut files: Vec<FileRecord>,
        dirs: Vec<DirRecord>,
        counts: BTreeMap<String, i64>,
    ) -> Self {
        files.sort_by(|a, b| a.table.cmp(&b.table));
        let fingerprint = fingerprint.to_owned();
        Self { format: FORMAT, fingerprint, shard, files, dirs, counts, seal: String::new() }
    }

    /// The record of a table, if the commit has it.
    #[cfg(test)]
    pub fn table(&self, table: &str) -> Option<&FileRecord> {
        self.files.iter().find(|f| f.table == table)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let sealed = Self { seal: self.sealing()?, ..self.clone() };
        let mut bytes = serde_json::to_vec_pretty(&sealed)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn sealing(&self) -> serde_json::Result<String> {
        let open = Self { seal: String::new(), ..self.clone() };
        Ok(hex(&Sha256::digest(serde_json::to_vec(&open)?)))
    }

    /// Reads a record named `name`. The error says what is wrong with it.
    pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Self, String> {
        let say = |why: &str| format!("the commit record {name} {why}");
        let mut commit: Self =
            serde_json::from_slice(bytes).map_err(|err| say(&format!("cannot be read: {err}")))?;
        if commit.format != FORMAT {
            return Err(say(&format!("has format {} and not {FORMAT}", commit.format)));
        }
        if commit.sealing().ok().as_ref() != Some(&commit.seal) && !fault::is("seal-unchecked") {
            return Err(say("was changed after it was written"));
        }
        // The seal keeps out accidents, not strangers: names become paths, so they are held to what is
        // written here.
        let words = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let names_fit = commit.files.iter().all(|f| {
            table_name(&f.table) && words(&f.sha256) && f.name == part_name(commit.shard, &f.table, &f.sha256)
        });
        if shard_of_record(name) != Some(commit.shard) || !names_fit {
            return Err(say("is for another shard"));
        }
        if !words(&commit.fingerprint)
            || !commit.dirs.iter().all(|d| plain(&d.name))
            || commit.shard > MOST_SHARDS
        {
            return Err(say("names what no record names"));
        }
        commit.seal = String::new();
        // To the last byte: what says the same in other bytes was not written here.
        if commit.to_bytes().ok().as_deref() != Some(bytes) && !fault::is("seal-unchecked") {
            return Err(say("has other bytes than were written"));
        }
        Ok(commit)
    }

    /// What is wrong with the commit's files; `None` if nothing is.
    ///
    /// # Errors
    /// A file that is there but cannot be read: that is the disk's trouble, and no reason to throw work away.
    pub(super) fn fault(&self, stage: &Path, check: Check) -> Result<Option<String>> {
        let check = if fault::is("hash-unchecked") { Check::Length } else { check };
        for file in &self.files {
            let path = stage.join("shards").join(&file.name);
            // Not through links, which may lead out of the run, nor from pipes, which never end.
            let length = match fs::symlink_metadata(&path) {
                Ok(meta) if !meta.is_file() => return Ok(Some(format!("{} is not a plain file", file.name))),
                Ok(meta) => meta.len(),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    return Ok(Some(format!("{} is missing", file.name)));
                }
                Err(err) => return Err(err).with_context(|| format!("failed to look at {}", path.display())),
            };
            if length != file.length {
                return Ok(Some(format!("{} has {length} bytes and not {}", file.name, file.length)));
            }
            if check == Check::Hash && hash_file(&path)?.1 != file.sha256 {
                return Ok(Some(format!("{} has other bytes than were written", file.name)));
            }
        }
        for dir in &self.dirs {
            let path = dir.path(stage);
            let now = match check {
                Check::Length => (size_of_dir(&path)?, dir.sha256.clone()),
                Check::Hash => digest_dir(&path)?,
            };
            if now != (dir.length, dir.sha256.clone()) {
                return Ok(Some(format!("{} is not as it was written", path.display())));
            }
        }
        Ok(None)
    }
}

impl FileRecord {
    pub(super) fn new(shard: u32, table: &str, length: u64, sha: &[u8], rows: u64) -> Self {
        let sha256 = hex(sha);
        Self { table: table.to_owned(), name: part_name(shard, table, &sha256), length, sha256, rows }
    }
}

impl DirRecord {
    pub(super) fn of(stage: &Path, name: &str) -> Result<Self> {
        let (length, sha256) = digest_dir(&Self::place(stage, name)?)?;
        Ok(Self { name: name.to_owned(), length, sha256 })
    }

    /// Where a directory of this name is.
    pub(super) fn place(stage: &Path, name: &str) -> Result<PathBuf> {
        if !plain(name) {
            bail!("`{name}` is not the name of a directory beside the stage");
        }
        Ok(beside(stage, name))
    }

    pub(super) fn path(&self, stage: &Path) -> PathBuf {
        beside(stage, &self.name)
    }
}

fn beside(stage: &Path, name: &str) -> PathBuf {
    stage.parent().unwrap_or(Path::new(".")).join(name)
}

/// A record must not lead out of the run.
fn plain(name: &str) -> bool {
    let known = ["student", "adapter"].contains(&name) || name.starts_with("value-");
    known && !name.contains(['/', '\\', '.'])
}

/// A table's name is part of a file's name.
pub(super) fn table_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

pub(super) fn record_name(shard: u32) -> String {
    format!("{shard:05}.json")
}

pub(super) fn shard_of_record(name: &str) -> Option<u32> {
    let shard = name.strip_suffix(".json")?.parse().ok()?;
    (record_name(shard) == name).then_some(shard)
}

pub(super) fn part_prefix(shard: u32) -> String {
    format!("part-{shard:05}-")
}

fn part_name(shard: u32, table: &str, sha256: &str) -> String {
    format!("{}{table}-{}.parquet", part_prefix(shard), sha256.get(..16).unwrap_or(sha256))
}

/// Length and SHA-256 (hex) of a file.
///
/// # Errors
/// A failed read.
pub fn hash_file(path: &Path) -> Result<(u64, String)> {
    let read = || -> io::Result<(u64, String)> {
        let mut file = File::open(path)?;
        let (mut sha, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok((length, hex(&sha.finalize()))),
                Ok(n) => {
                    sha.update(&buffer[..n]);
                    length += n as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}

/// Bytes in all files of a directory, and one hash over their relative names, lengths and bytes. A missing
/// directory is an empty one. What is not a plain file is not read, and makes another hash than any file.
///
/// # Errors
/// A failed read.
pub fn digest_dir(dir: &Path) -> Result<(u64, String)> {
    let mut files = Vec::new();
    walk(dir, "", &mut files).with_context(|| format!("failed to list {}", dir.display()))?;
    let (mut total, mut hashes) = (0, Vec::new());
    for name in files {
        let path = dir.join(&name);
        let meta =
            fs::symlink_metadata(&path).with_context(|| format!("failed to look at {}", path.display()))?;
        let (length, sha256) =
            if meta.is_file() { hash_file(&path)? } else { (0, "not a plain file".to_owned()) };
        total += length;
        hashes.push((name, length, sha256));
    }
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (name, length, sha256) in &hashes {
        parts.extend([Part::from(name), Part::from(*length), Part::from(sha256)]);
    }
    Ok((total, hex(&key::digest(&parts))))
}

/// Bytes in all files of a directory.
///
/// # Errors
/// A failed look.
pub fn size_of_dir(dir: &Path) -> Result<u64> {
    let mut files = Vec::new();
    walk(dir, "", &mut files).with_context(|| format!("failed to list {}", dir.display()))?;
    let mut total = 0;
    for name in files {
        let path = dir.join(name);
        total += fs::symlink_metadata(&path)
            .with_context(|| format!("failed to look at {}", path.display()))?
            .len();
    }
    Ok(total)
}

/// Relative names of all files under a directory, with `/` between the parts, sorted within each folder.
fn walk(root: &Path, under: &str, files: &mut Vec<String>) -> io::Result<()> {
    for name in names(&root.join(under))? {
        let name = if under.is_empty() { name } else { format!("{under}/{name}") };
        let is_dir = fs::symlink_metadata(root.join(&name))?.is_dir();
        if is_dir { walk(root, &name, files)? } else { files.push(name) }
    }
    Ok(())
}

/// One hash of all that some commits hold: what the next stage takes as the hash of its input.
pub fn content_hash(commits: &[Commit]) -> String {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for commit in commits {
        parts.push(u64::from(commit.shard).into());
        for file in &commit.files {
            parts.extend([Part::from(&file.table), Part::from(&file.sha256)]);
        }
        for dir in &commit.dirs {
            parts.extend([Part::from(&dir.name), Part::from(&dir.sha256)]);
        }
    }
    hex(&key::digest(&parts))
}
