//! Answers on disk. An answer is stored before it is used, so a resumed run never pays twice.
//!
//! Each attempt at a piece of work, such as a shard, appends its answers to a [`log`] of its own. An answer
//! is found by the SHA-256 of the canonical request (with the model's name in it) and the model's revision,
//! wherever the server is and whichever log it is in. It is written as soon as it comes, and counts once a
//! [`flush`] has made it durable; many share one. A digest in each line tells what the disk damaged: that is
//! asked for again. The first answer stored for a request stays the answer. Earlier runs have a file for each
//! answer ([`old`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datasets::key;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::error::EndpointError;
use super::spent::Spent;
use crate::fault;

mod check;
mod flush;
mod log;
mod old;

pub(super) use check::spent;
pub use check::{Answers, check, clear};
use flush::{Flushed, Waiting};
use log::Line;
pub(super) use log::{Answer, Name};

/// What the names of unfinished files begin with.
const DRAFT: &str = "tmp-";
/// Most logs that are open at a time; the one used longest ago is closed.
const OPEN: usize = 8;

pub(super) struct Store {
    folder: PathBuf,
    index: Mutex<Index>,
    writing: Mutex<Vec<Writing>>,
    flusher: Sender<Waiting>,
}

/// A log that this process appends to.
struct Writing {
    label: String,
    /// Its place among the logs of the index.
    log: u32,
    end: u64,
    flushed: Arc<Flushed>,
}

/// Where answers are.
#[derive(Default)]
struct Index {
    logs: Vec<PathBuf>,
    first: HashMap<Name, Place>,
    /// Further answers to the same requests: of a request that was asked again as the first was damaged.
    more: HashMap<Name, Vec<Place>>,
}

#[derive(Clone, Copy)]
enum Place {
    Old,
    Log(u32, Line),
}

/// What is stored for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Nothing,
    Body(String),
    /// Something that could not be trusted, and is not looked at again.
    Damaged,
}

impl Store {
    /// Opens a folder of answers; makes it if needed.
    pub(super) fn open(folder: PathBuf) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError::Store { path: folder.clone(), source };
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(failed)?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent).map_err(failed)?;
            }
        }
        let index = Mutex::new(Index::of(&folder).map_err(failed)?);
        let flusher = flush::start(folder.clone()).map_err(failed)?;
        Ok(Self { folder, index, writing: Mutex::default(), flusher })
    }

    /// What the answers have cost so far.
    pub(super) fn spent(&self) -> Result<Spent, EndpointError> {
        spent(&self.folder).map_err(|source| EndpointError::Store { path: self.folder.clone(), source })
    }

    /// The name of a request, given as canonical JSON.
    pub(super) fn name(revision: &str, request: &str) -> Name {
        Sha256::new().chain_update(revision).chain_update("\n").chain_update(request).finalize().into()
    }

    /// What is stored for a request. A failed read is an error and no reason to pay again.
    pub(super) fn get(&self, name: &Name, request: &str) -> Result<Stored, EndpointError> {
        let places = locked(&self.index).places(name);
        let there = !places.is_empty();
        for (path, place) in places {
            let path = path.unwrap_or_else(|| old::path(&self.folder, name));
            let body = match place {
                Place::Old => old::body(&path, request),
                Place::Log(_, line) => File::open(&path).and_then(|mut file| log::body(&mut file, &line)),
            };
            match body {
                Ok(Ok(body)) => return Ok(Stored::Body(body)),
                Ok(Err(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(EndpointError::Store { path, source }),
            }
        }
        if there {
            self.forget(name)?;
        }
        Ok(if there { Stored::Damaged } else { Stored::Nothing })
    }

    /// Looks no more at what is stored for a request and cannot be used. A file of its own is renamed.
    pub(super) fn forget(&self, name: &Name) -> Result<(), EndpointError> {
        for (_, place) in locked(&self.index).remove(name) {
            let path = old::path(&self.folder, name);
            if matches!(place, Place::Old) && path.exists() {
                let aside = self.folder.join(format!("damaged-{}", key::hex(name)));
                fs::rename(&path, aside).map_err(|source| EndpointError::Store { path, source })?;
            }
        }
        Ok(())
    }

    /// Stores an answer in the log of `label`. Gives the body of an earlier one, which stays the answer.
    pub(super) async fn put(
        &self,
        label: &str,
        answer: &Answer<'_>,
    ) -> Result<Option<String>, EndpointError> {
        if fault::is("answers-unstored") {
            return Ok(None);
        }
        if let Stored::Body(earlier) = self.get(&answer.name, answer.request)? {
            return Ok(Some(earlier));
        }
        let failed = |source| EndpointError::Store { path: self.folder.clone(), source };
        let told = self.append(label, answer).map_err(failed)?;
        let gone = |_| Err(io::Error::other("the thread that stores answers has ended"));
        told.await.unwrap_or_else(gone).map_err(failed)?;
        Ok(None)
    }

    /// Writes an answer; it is durable once that is told.
    fn append(&self, label: &str, answer: &Answer<'_>) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let line = answer.line()?;
        let (tell, told) = oneshot::channel();
        let mut writing = locked(&self.writing);
        let mut log = self.log(&mut writing, label)?;
        let written = (&log.flushed.file).write_all(&line);
        if let Err(error) = written {
            // Half a line is cut off; where that fails, too, it stays the last one of its log.
            let _ = log.flushed.file.set_len(log.end);
            return Err(error);
        }
        let place = Line { name: answer.name, start: log.end, bytes: line.len() as u64, spent: answer.spent };
        log.end += place.bytes;
        locked(&self.index).add(Place::Log(log.log, place), answer.name);
        let waiting = Waiting { log: Arc::clone(&log.flushed), tell };
        writing.push(log);
        // Without the thread nobody tells, which is an error, too.
        let _ = self.flusher.send(waiting);
        Ok(told)
    }

    /// Takes the log of a label out of those that are written, or begins one.
    fn log(&self, writing: &mut Vec<Writing>, label: &str) -> io::Result<Writing> {
        let usable = |log: &Writing| log.label == label && !log.flushed.failed.load(SeqCst);
        if let Some(at) = writing.iter().position(usable) {
            return Ok(writing.remove(at));
        }
        if writing.len() >= OPEN {
            writing.remove(0);
        }
        loop {
            let unique = RandomState::new().hash_one(std::process::id());
            let path = self.folder.join(format!("{label}-{unique:016x}.{}", log::ENDING));
            match File::options().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    let log = locked(&self.index).log(path);
                    let flushed = Arc::new(Flushed::new(file));
                    return Ok(Writing { label: label.to_owned(), log, end: 0, flushed });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Index {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut index = Self::default();
        for entry in fs::read_dir(folder)? {
            if let Some(name) = old::name(&entry?.path()) {
                index.add(Place::Old, name);
            }
        }
        for path in log::all(folder)? {
            let lines = log::scan(&path)?.lines;
            let log = index.log(path);
            for line in lines {
                index.add(Place::Log(log, line), line.name);
            }
        }
        Ok(index)
    }

    fn log(&mut self, path: PathBuf) -> u32 {
        self.logs.push(path);
        self.logs.len() as u32 - 1
    }

    fn add(&mut self, place: Place, name: Name) {
        match self.first.entry(name) {
            Entry::Occupied(_) => self.more.entry(name).or_default().push(place),
            Entry::Vacant(free) => {
                free.insert(place);
            }
        }
    }

    /// The places of a name, the first one first, with their logs.
    fn places(&self, name: &Name) -> Vec<(Option<PathBuf>, Place)> {
        let more = self.more.get(name).into_iter().flatten();
        let log = |place: &Place| match place {
            Place::Old => None,
            Place::Log(log, _) => Some(self.logs[*log as usize].clone()),
        };
        self.first.get(name).into_iter().chain(more).map(|place| (log(place), *place)).collect()
    }

    fn remove(&mut self, name: &Name) -> Vec<(Option<PathBuf>, Place)> {
        let places = self.places(name);
        self.first.remove(name);
        self.more.remove(name);
        places
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems cannot open a folder as a file, and journal names themselves.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// JSON text with the keys of every object in order, so that equal values have equal text.
pub(super) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (place, (key, value)) in entries.into_iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                write_canonical(item, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}
