//! Answers on disk. An answer is stored before it is used, so a resumed run never pays twice.
//!
//! One file per request, named by the SHA-256 of the address and the canonical request: written
//! under a temporary name, flushed, then linked to its final name, so a file with a final name is
//! complete unless the disk damaged it. A digest of the body inside tells that too; what cannot be
//! read back is asked again and replaced. The first answer stored for a request stays the answer.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use datasets::key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::EndpointError;

/// Version of the file layout.
const FORMAT: u32 = 1;

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

impl Store {
    /// Opens a folder of answers; makes it if needed.
    pub(super) fn open(folder: PathBuf) -> Result<Self, EndpointError> {
        fs::create_dir_all(&folder).map_err(|source| EndpointError::Store { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    /// The name of a request: 64 hex digits.
    pub(super) fn name(url: &str, request: &Value) -> String {
        sha256(&format!("{url}\n{}", canonical(request)))
    }

    /// The stored body for a request, if there is a sound one.
    pub(super) fn get(&self, name: &str, request: &Value) -> Option<String> {
        let bytes = fs::read(self.path(name)).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        // The request is compared too: a record under a wrong name must not answer for another.
        let sound = record.format == FORMAT && record.sha256 == sha256(&record.body) && canonical(&record.request) == canonical(request);
        sound.then_some(record.body)
    }

    /// Stores a body and returns the one to use, which is an earlier one if another attempt was first.
    pub(super) fn put(&self, name: &str, request: &Value, status: u16, body: String) -> Result<String, EndpointError> {
        let path = self.path(name);
        let failed = |source| EndpointError::Store { path: path.clone(), source };
        let record = Record { format: FORMAT, request: request.clone(), status, sha256: sha256(&body), body };
        let bytes = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join(format!("tmp-{}-{unique}-{}", std::process::id(), &name[..16]));
        let written = write(&draft, &bytes).and_then(|()| match fs::hard_link(&draft, &path) {
            Ok(()) => fs::remove_file(&draft).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.get(name, request) {
                Some(earlier) => fs::remove_file(&draft).map(|()| Some(earlier)),
                None => fs::rename(&draft, &path).map(|()| None),
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
            let parts: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value))).collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
