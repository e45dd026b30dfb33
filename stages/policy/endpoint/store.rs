//! Answers on disk. An answer is stored before it is used, so a resumed run never pays twice.
//!
//! One file per request, named by the SHA-256 of the canonical request (with the model's name in it) and the
//! model's revision, wherever the server is: written
//! under a temporary name, flushed, then linked to its final name, so a file with a final name is
//! complete unless the disk damaged it. A digest of the body inside tells that too; what cannot be
//! read back is set aside and asked again. The first answer stored for a request stays the answer.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use datasets::key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::EndpointError;
use super::spent::Spent;
use crate::fault;

/// Version of the file layout.
const FORMAT: u32 = 2;
/// What the names of unfinished files begin with.
const DRAFT: &str = "tmp-";
/// Bytes of the largest stored answer that is read: a body of the largest size taken, escaped as JSON, and
/// its request.
const LARGEST: u64 = 512 << 20;

/// Makes temporary names unique within the process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

pub(super) struct Store {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    request: Value,
    status: u16,
    /// SHA-256 of the body.
    sha256: String,
    /// The answer as the server sent it.
    body: String,
}

/// What is stored for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Nothing,
    Body(String),
    /// Something that cannot be trusted.
    Damaged,
}

impl Store {
    /// Opens a folder of answers; makes it if needed.
    pub(super) fn open(folder: PathBuf) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError::Store { path: folder.clone(), source };
        if !folder.is_dir() {
            fs::create_dir_all(&folder).map_err(failed)?;
            if let Some(parent) = folder.parent().filter(|_| cfg!(unix)) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
            }
        }
        Ok(Self { folder })
    }

    /// What the answers have cost so far.
    pub(super) fn spent(&self) -> Result<Spent, EndpointError> {
        let failed = |source| EndpointError::Store { path: self.folder.clone(), source };
        Spent::of_folder(&self.folder).map_err(failed)
    }

    /// The name of a request: 64 hex digits.
    pub(super) fn name(revision: &str, request: &Value) -> String {
        sha256(&format!("{revision}\n{}", canonical(request)))
    }

    /// What is stored for a request. A failed read is an error and no reason to pay again.
    pub(super) fn get(&self, name: &str, request: &Value) -> Result<Stored, EndpointError> {
        let path = self.path(name);
        match Record::read(&path) {
            // The request is compared too: a record under a wrong name must not answer for another.
            Ok(Ok(record)) if canonical(&record.request) == canonical(request) => {
                Ok(Stored::Body(record.body))
            }
            Ok(_) => Ok(Stored::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Stored::Nothing),
            Err(source) => Err(EndpointError::Store { path, source }),
        }
    }

    /// Renames what is stored under the name of a request and cannot be used.
    pub(super) fn set_aside(&self, name: &str) -> Result<(), EndpointError> {
        let path = self.path(name);
        fs::rename(&path, self.folder.join(format!("damaged-{name}")))
            .map_err(|source| EndpointError::Store { path, source })
    }

    /// Stores a body and returns the one to use, which is an earlier one if another attempt was first.
    pub(super) fn put(
        &self,
        name: &str,
        request: &Value,
        status: u16,
        body: String,
    ) -> Result<String, EndpointError> {
        if fault::is("answers-unstored") {
            return Ok(body);
        }
        let path = self.path(name);
        let failed = |source| EndpointError::Store { path: path.clone(), source };
        let record = Record { format: FORMAT, request: request.clone(), status, sha256: sha256(&body), body };
        let bytes = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join(format!("{DRAFT}{}-{unique}-{}", std::process::id(), &name[..16]));
        let written = write(&draft, &bytes).and_then(|()| match fs::hard_link(&draft, &path) {
            Ok(()) => fs::remove_file(&draft).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.get(name, request) {
                Ok(Stored::Body(earlier)) => fs::remove_file(&draft).map(|()| Some(earlier)),
                _ => fs::rename(&draft, &path).map(|()| None),
            },
            // A file system without hard links.
            Err(_) => fs::rename(&draft, &path).map(|()| None),
        });
        match written.and_then(|earlier| File::open(&self.folder)?.sync_all().map(|()| earlier)) {
            Ok(earlier) => Ok(earlier.unwrap_or(record.body)),
            Err(source) => {
                // Best effort: the error to report is the first one.
                let _ = fs::remove_file(&draft);
                Err(failed(source))
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

impl Record {
    /// Reads a stored answer. The inner error says what is wrong with it, the outer one is a failed read.
    fn read(path: &Path) -> io::Result<Result<Self, String>> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() || meta.len() > LARGEST {
            return Ok(Err("is not a regular file of the size of a stored answer".to_owned()));
        }
        let bytes = fs::read(path)?;
        let read: Result<Self, _> = serde_json::from_slice(&bytes);
        Ok(match read {
            Err(error) => Err(format!("cannot be read: {error}")),
            Ok(record) if record.format != FORMAT || record.sha256 != sha256(&record.body) => {
                Err("has other bytes than were written".to_owned())
            }
            Ok(record) => Ok(record),
        })
    }
}

/// Request and body of a stored answer; `None` if it is none, or damaged.
pub(super) fn stored(path: &Path) -> Option<(Value, String)> {
    let named = path.extension() == Some("json".as_ref());
    let record = Record::read(path).ok().filter(|_| named)?.ok()?;
    Some((record.request, record.body))
}

/// What a folder of stored answers holds.
#[derive(Debug, Default)]
pub struct Answers {
    pub files: u64,
    pub bytes: u64,
    /// Those that cannot be trusted, by name, and what is wrong with each.
    pub wrong: Vec<(String, String)>,
}

/// Reads every stored answer of a folder.
///
/// # Errors
/// A folder that cannot be listed. One that is not there holds nothing.
pub fn check(folder: &Path) -> io::Result<Answers> {
    let mut found = Answers::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension() != Some("json".as_ref()) {
            continue;
        }
        found.files += 1;
        found.bytes += entry.metadata()?.len();
        if let Err(why) = Record::read(&entry.path())? {
            found.wrong.push((name, why));
        }
    }
    found.wrong.sort();
    Ok(found)
}

/// Removes what dead processes left of answers that they were about to store. For the holder of the run only.
///
/// # Errors
/// Failed reads and removals.
pub fn clear(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sha256(text: &str) -> String {
    key::hex(&Sha256::digest(text.as_bytes()))
}

/// JSON text with the keys of every object in order, so that equal values have equal text.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let parts: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
