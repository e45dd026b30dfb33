//! Folders of answers as a whole: what they hold, what it has cost, and what dead processes left in them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::log::{self, Name};
use super::{DRAFT, old};
use crate::policy::endpoint::spent::Spent;

/// What a folder of stored answers holds.
#[derive(Debug, Default)]
pub struct Answers {
    pub answers: u64,
    pub files: u64,
    pub bytes: u64,
    /// What cannot be trusted, by the name of its file, and what is wrong with each.
    pub wrong: Vec<(String, String)>,
}

/// Everything in a folder; nothing if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// What is in a log: the names of its sound answers, and those that are not, by place and name.
struct Log {
    file: String,
    bytes: u64,
    sound: BTreeSet<Name>,
    damaged: Vec<(Option<Name>, String)>,
}

fn examine(path: &Path) -> io::Result<Log> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scan = log::scan(path)?;
    let mut reader = File::open(path)?;
    let (mut sound, mut damaged) = (BTreeSet::new(), Vec::new());
    for line in &scan.lines {
        match log::body(&mut reader, line)? {
            Ok(_) => drop(sound.insert(line.name)),
            Err(why) => damaged.push((Some(line.name), format!("at byte {} {why}", line.start))),
        }
    }
    let none = |range: &std::ops::Range<u64>| {
        (None, format!("from byte {} to {} holds no answers that can be read", range.start, range.end))
    };
    damaged.extend(scan.unreadable.iter().map(none));
    Ok(Log { file, bytes: scan.bytes, sound, damaged })
}

/// Reads every stored answer of a folder. A damaged one counts unless it was asked for again; the last line
/// of a log that a process was writing when it died is none.
///
/// # Errors
/// A folder that cannot be listed. One that is not there holds nothing.
pub fn check(folder: &Path) -> io::Result<Answers> {
    let mut found = Answers::default();
    let mut logs = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_log = path.extension() == Some(log::ENDING.as_ref());
        let regular = fs::symlink_metadata(&path)?.is_file();
        if is_log && regular {
            logs.push(path);
        } else if is_log {
            found.files += 1;
            found.wrong.push((name, "is not a regular file".to_owned()));
        } else if path.extension() == Some("json".as_ref()) {
            (found.answers, found.files) = (found.answers + 1, found.files + 1);
            found.bytes += fs::symlink_metadata(&path)?.len();
            if let Err(why) = old::check(&path)? {
                found.wrong.push((name, why));
            }
        }
    }
    let logs: Vec<Log> = logs.par_iter().map(|path| examine(path)).collect::<io::Result<_>>()?;
    let sound: BTreeSet<Name> = logs.iter().flat_map(|log| &log.sound).copied().collect();
    found.answers += sound.len() as u64;
    for log in &logs {
        (found.files, found.bytes) = (found.files + 1, found.bytes + log.bytes);
        let lost = log.damaged.iter().filter(|(name, _)| name.is_none_or(|name| !sound.contains(&name)));
        found.wrong.extend(lost.map(|(_, why)| (log.file.clone(), why.clone())));
    }
    found.wrong.sort();
    Ok(found)
}

/// What the answers of a folder have cost. Those that cannot be read cost nothing.
///
/// # Errors
/// A folder that cannot be listed. One that is not there holds nothing.
pub(in super::super) fn spent(folder: &Path) -> io::Result<Spent> {
    let paths = entries(folder)?;
    let of = |path: &PathBuf| -> io::Result<Spent> {
        if path.extension() == Some(log::ENDING.as_ref()) && fs::symlink_metadata(path)?.is_file() {
            let lines = log::scan(path)?.lines;
            return Ok(lines.iter().map(|line| line.spent).fold(Spent::default(), Spent::plus));
        }
        Ok(old::name(path).and_then(|_| old::spent(path)).unwrap_or_default())
    };
    paths.par_iter().map(of).try_reduce(Spent::default, |a, b| Ok(a.plus(b)))
}

/// Removes what dead processes left of answers that they were about to store. For the holder of the run only.
///
/// # Errors
/// Failed reads, writes and removals.
pub fn clear(folder: &Path) -> io::Result<()> {
    for path in entries(folder)? {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT)) {
            fs::remove_file(path)?;
        }
    }
    match log::all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        logs => logs?.par_iter().try_for_each(|path| log::mend(path)),
    }
}
