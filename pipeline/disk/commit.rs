//! The commit protocol: how the rows of a shard become part of a run, all at once, at any time of death.
//!
//! A stage directory holds
//!
//! ```text
//! shards/part-00007-nodes-0123456789abcdef.parquet   number, table, start of the SHA-256 of its bytes
//! commits/00007.json                                 the record that makes them count
//! tmp/                                               attempts under way
//! stale/FINGERPRINT/  damaged/                       what no longer counts, kept to look at
//! ```
//!
//! An [`Attempt`] writes its tables to `tmp/`, fsyncs them, renames them to names that follow from their
//! content, fsyncs the directory, and then `link()`s one record into `commits/`. Linking fails if the name is
//! there, so of two attempts one wins, and a record is either absent or complete. Files without a record do
//! not count and are removed when the holder of the run opens the directory again.
//!
//! Records carry the hash of whole files because nothing weaker suffices: Parquet's page checksums leave most
//! bit flips unnoticed. A failed fsync is never tried again on the same file, as the kernel may have dropped
//! its pages: the attempt fails, and the next one writes new files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use stages::fault;

use crate::disk::durable::{
    create_dirs, link, names, publish_dir, read_small, remove_leftovers, set_aside, sync_dir, unique,
    write_dir, write_new,
};
use crate::disk::lock::{Holder, Lock, Share};
use crate::disk::pending::PendingFile;
use crate::disk::record::{
    Check, Commit, DirRecord, FileRecord, part_prefix, record_name, shard_of_record, table_name,
};
use crate::disk::scan::{read_record, scan};
use crate::terminal::text::plural;

/// What the names of files begin with that say who has a shard in hand.
const CLAIM: &str = "claim-";

fn claim_path(stage: &Path, shard: u32) -> PathBuf {
    stage.join("tmp").join(format!("{CLAIM}{shard:05}"))
}

/// A stage directory in the hands of the one process that may write to it. Clones name the same directory.
#[derive(Clone, Debug)]
pub struct StageDir {
    path: PathBuf,
}

impl StageDir {
    /// Opens a stage directory for writing, creating it if need be, and clears away what dead attempts left.
    /// Open a stage once, before its first attempt.
    ///
    /// # Errors
    /// Failed reads and writes.
    pub fn open(path: &Path, _held: &Lock) -> Result<Self> {
        let dir = Self::create(path)?;
        if fault::is("leftovers-kept") {
            return Ok(dir);
        }
        remove_leftovers(path)
            .and_then(|()| dir.clear())
            .with_context(|| format!("failed to clear leftovers in {}", path.display()))?;
        Ok(dir)
    }

    /// Joins others that write to a stage directory: nothing is cleared away.
    ///
    /// # Errors
    /// Folders that cannot be made.
    pub fn join(path: &Path, _share: &Share) -> Result<Self> {
        Self::create(path)
    }

    fn create(path: &Path) -> Result<Self> {
        for part in ["shards", "commits", "tmp"] {
            let dir = path.join(part);
            create_dirs(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        }
        Ok(Self { path: path.to_path_buf() })
    }

    /// Shards that have a record, by the names alone.
    ///
    /// # Errors
    /// Failed reads.
    pub fn recorded(&self) -> Result<BTreeSet<u32>> {
        let dir = self.path.join("commits");
        let names = names(&dir).with_context(|| format!("failed to list {}", dir.display()))?;
        Ok(names.iter().filter_map(|name| shard_of_record(name)).collect())
    }

    /// Takes a shard in hand, if no living process has it: another worker then takes another one. This saves
    /// work; what counts is decided by the record. None also if the shard has a record by now.
    ///
    /// # Errors
    /// Failed writes.
    pub fn claim(&self, shard: u32) -> Result<Option<File>> {
        let path = claim_path(&self.path, shard);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(|| format!("failed to create {}", path.display()))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            // Without locks of files, work is done twice at worst.
            Ok(()) | Err(TryLockError::Error(_)) if self.record_path(shard).exists() => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => {
                // Only for people: whoever finds it taken says by whom.
                let _ = Holder::own("qstill work").write(&file);
                Ok(Some(file))
            }
        }
    }

    /// Who has a shard in hand, as far as that is known.
    pub fn claimed(&self, shard: u32) -> Option<Holder> {
        Holder::read(&claim_path(&self.path, shard))
    }

    /// The shards of a stage directory that workers have in hand now, and who they are.
    pub fn claims(path: &Path) -> Vec<(u32, Holder)> {
        let taken = |shard: &u32| {
            let file = File::open(claim_path(path, *shard)).ok();
            file.is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
        };
        let shards = names(&path.join("tmp")).unwrap_or_default();
        let shards = shards.iter().filter_map(|name| name.strip_prefix(CLAIM)?.parse().ok()).filter(taken);
        shards.filter_map(|shard| Some((shard, Holder::read(&claim_path(path, shard))?))).collect()
    }

    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The commits that count under `fingerprint`, in order of their shards. Those with another fingerprint
    /// are moved to `stale/`, damaged ones to `damaged/`; `say` gets a line about each kind. Never while an
    /// attempt is under way.
    ///
    /// # Errors
    /// Failed reads and moves.
    pub fn committed(&self, fingerprint: &str, check: Check, say: &dyn Fn(&str)) -> Result<Vec<Commit>> {
        let scan = scan(&self.path, fingerprint, check)?;
        for commit in &scan.stale {
            let into = self.path.join("stale").join(short(&commit.fingerprint));
            self.put_away(commit, &self.record_path(commit.shard), &into)?;
        }
        if !scan.stale.is_empty() {
            let at = self.path.join("stale");
            say(&format!(
                "set aside {} made with other settings in {}",
                plural(scan.stale.len() as u64, "shard"),
                at.display()
            ));
        }
        for damaged in &scan.damaged {
            let into = self.path.join("damaged");
            match &damaged.commit {
                Some(commit) => self.put_away(commit, &damaged.record, &into)?,
                None => self.put_away_unreadable(&damaged.record, &into)?,
            }
            say(&format!("set aside in {}, to be made again: {}", into.display(), damaged.why));
        }
        Ok(scan.good)
    }

    /// Starts to write a shard. Several attempts may be under way at once, in any threads.
    pub fn begin(&self, shard: u32) -> Attempt {
        Attempt { dir: self.clone(), shard, files: Vec::new(), dirs: Vec::new() }
    }

    fn record_path(&self, shard: u32) -> PathBuf {
        self.path.join("commits").join(record_name(shard))
    }

    /// Moves the files of a commit, and its record last: should this be cut short, the record still says what
    /// the commit was, and the rest moves next time.
    fn put_away(&self, commit: &Commit, record: &Path, into: &Path) -> Result<()> {
        for file in &commit.files {
            move_to(&self.path.join("shards").join(&file.name), into)?;
        }
        for dir in &commit.dirs {
            move_to(&dir.path(&self.path), into)?;
        }
        move_to(record, into)
    }

    /// A record that cannot be read still says by its name which shard it was for.
    fn put_away_unreadable(&self, record: &Path, into: &Path) -> Result<()> {
        let shards = self.path.join("shards");
        if let Some(shard) = record.file_name().and_then(|n| shard_of_record(&n.to_string_lossy())) {
            let prefix = part_prefix(shard);
            for name in names(&shards)?.iter().filter(|n| n.starts_with(&prefix)) {
                move_to(&shards.join(name), into)?;
            }
        }
        move_to(record, into)
    }

    /// Removes temporary files, and shards which no record names. The shards of an unreadable record stay, to
    /// be moved with it.
    fn clear(&self) -> io::Result<()> {
        self.clear_tmp()?;
        let commits = self.path.join("commits");
        let read =
            |name: String| match read_small(&commits.join(&name)).map(|bytes| Commit::parse(&name, &bytes)) {
                Ok(Ok(commit)) => Ok((commit.files.into_iter().map(|f| f.name).collect::<Vec<_>>(), None)),
                Err(err) if err.kind() != io::ErrorKind::InvalidData => Err(err),
                _ => Ok((Vec::new(), shard_of_record(&name).map(part_prefix))),
            };
        let records: Vec<_> = names(&commits)?.into_par_iter().map(read).collect::<io::Result<_>>()?;
        let named: BTreeSet<&String> = records.iter().flat_map(|(files, _)| files).collect();
        let unreadable: Vec<&String> = records.iter().filter_map(|(_, prefix)| prefix.as_ref()).collect();
        for name in names(&self.path.join("shards"))? {
            if !named.contains(&name) && !unreadable.iter().any(|prefix| name.starts_with(*prefix)) {
                fs::remove_file(self.path.join("shards").join(name))?;
            }
        }
        Ok(())
    }
}

impl StageDir {
    fn clear_tmp(&self) -> io::Result<()> {
        for name in names(&self.path.join("tmp"))? {
            let path = self.path.join("tmp").join(name);
            if fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn move_to(from: &Path, into: &Path) -> Result<()> {
    set_aside(from, into)
        .with_context(|| format!("failed to move {} to {}", from.display(), into.display()))?;
    Ok(())
}

fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// One try at one shard. Dropped without [`Attempt::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct Attempt {
    dir: StageDir,
    shard: u32,
    files: Vec<(PathBuf, FileRecord)>,
    dirs: Vec<DirRecord>,
}

impl Attempt {
    /// A new file for the rows of a table; hand it back to [`Attempt::finish_file`] once all is written.
    ///
    /// # Errors
    /// The file cannot be created, or the table already has one.
    pub fn file(&mut self, table: &str) -> Result<PendingFile> {
        if !table_name(table) {
            bail!("`{table}` is not a table name");
        }
        if self.files.iter().any(|(_, f)| f.table == table) {
            bail!("shard {} already has the table {table}", self.shard);
        }
        let path = self.dir.path.join("tmp").join(format!("{table}-{}", unique()));
        let file = File::create_new(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(PendingFile::over(table, path, file))
    }

    /// Flushes and fsyncs a finished file. `rows` goes into the record.
    ///
    /// # Errors
    /// What could not be written; the file is then given up.
    pub fn finish_file(&mut self, file: PendingFile, rows: u64) -> Result<()> {
        let path = file.path().to_path_buf();
        let finished = file.finish(self.shard, rows);
        self.files.push(finished.with_context(|| format!("failed to write {}", path.display()))?);
        Ok(())
    }

    /// Puts a directory beside the stage, e.g. `student`, and makes it part of the commit: with it, it is
    /// checked and set aside as stale or damaged. What a killed attempt left in its place goes to `aside`;
    /// what a record vouches for by now stays, as another attempt at the shard was first.
    ///
    /// # Errors
    /// Failed writes; a name that is not one beside the stage.
    pub fn publish(&mut self, beside: &str, files: &[(String, Vec<u8>)], aside: &Path) -> Result<()> {
        let target = DirRecord::place(&self.dir.path, beside)?;
        if !self.dir.record_path(self.shard).exists() {
            write_dir(&target, files)
                .and_then(|staged| set_aside(&target, aside).map(|_| staged))
                .and_then(|staged| publish_dir(&staged, &target))
                .with_context(|| format!("failed to write {}", target.display()))?;
        }
        self.dirs.push(DirRecord::of(&self.dir.path, beside)?);
        Ok(())
    }

    /// Makes all of the attempt's tables count, at once. If another attempt at the shard was first, that one
    /// is returned and this one is dropped.
    ///
    /// # Errors
    /// A step that failed: nothing counts then. Also if the shard is committed with another fingerprint,
    /// which [`StageDir::committed`] would have moved away.
    pub fn commit(mut self, fingerprint: &str, counts: BTreeMap<String, i64>) -> Result<Commit> {
        let (shards, commits) = (self.dir.path.join("shards"), self.dir.path.join("commits"));
        let mut files = Vec::new();
        if fault::is("record-before-data") {
            let records = self.files.iter().map(|(_, file)| file.clone()).collect();
            self.record(&Commit::new(fingerprint, self.shard, records, self.dirs.clone(), counts.clone()))?;
        }
        for (tmp, file) in std::mem::take(&mut self.files) {
            // The name holds the hash: what may lie there has the same bytes.
            let path = shards.join(&file.name);
            let renamed = fs::rename(&tmp, &path);
            files.push(file);
            if let Err(err) = renamed {
                let _ = fs::remove_file(&tmp);
                return Err(err).with_context(|| format!("failed to rename to {}", path.display()));
            }
        }
        sync_dir(&shards).with_context(|| format!("failed to fsync {}", shards.display()))?;

        let dirs = std::mem::take(&mut self.dirs);
        let commit = Commit::new(fingerprint, self.shard, files, dirs, counts);
        let path = self.dir.record_path(self.shard);
        match self.record(&commit) {
            Ok(()) => {
                sync_dir(&commits).with_context(|| format!("failed to fsync {}", commits.display()))?;
                Ok(commit)
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => self.yield_to(&path, &commit),
            Err(err) => Err(err).with_context(|| format!("failed to write {}", path.display())),
        }
    }

    /// Puts the record of a commit in its place, unless one is there.
    fn record(&self, commit: &Commit) -> io::Result<()> {
        let path = self.dir.record_path(self.shard);
        let bytes = commit.to_bytes().map_err(io::Error::other)?;
        if fault::is("record-in-place") {
            let (begin, end) = bytes.split_at(bytes.len() / 2);
            let mut file = File::create(&path)?;
            return file.write_all(begin).and_then(|()| file.write_all(end)).and_then(|()| file.sync_all());
        }
        let tmp = self.dir.path.join("tmp").join(format!("record-{}", unique()));
        let linked = write_new(&tmp, &bytes).and_then(|()| link(&tmp, &path));
        let _ = fs::remove_file(&tmp);
        linked
    }

    /// Another attempt won: its commit stands, and files that only this one made are removed.
    fn yield_to(&self, path: &Path, ours: &Commit) -> Result<Commit> {
        let name = record_name(self.shard);
        let theirs = match read_record(path, &name)? {
            Ok(theirs) => theirs,
            Err(why) => bail!("shard {} is committed, but {why}", self.shard),
        };
        for file in &ours.files {
            if !theirs.files.iter().any(|f| f.name == file.name) {
                fs::remove_file(self.dir.path.join("shards").join(&file.name))?;
            }
        }
        if theirs.fingerprint != ours.fingerprint {
            bail!("shard {} is already committed with other settings", self.shard);
        }
        Ok(theirs)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        for (tmp, _) in &self.files {
            let _ = fs::remove_file(tmp);
        }
    }
}
