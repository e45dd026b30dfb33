//! Answers of earlier runs: one file per request, `NAME.json`. They are read, and no others are written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use datasets::key;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::log::{Name, name_of};
use crate::policy::endpoint::decode;
use crate::policy::endpoint::spent::Spent;
use crate::policy::endpoint::wire::Reply;

/// Version of the file layout.
const FORMAT: u32 = 2;
/// Bytes of the largest one that is read.
const LARGEST: u64 = 512 << 20;

#[derive(Deserialize)]
struct Record {
    format: u32,
    request: Value,
    /// SHA-256 of the body.
    sha256: String,
    body: String,
}

/// Where the answer to a request may be.
pub(super) fn path(folder: &Path, name: &Name) -> PathBuf {
    folder.join(format!("{}.json", key::hex(name)))
}

/// The name of a file that looks like one.
pub(super) fn name(path: &Path) -> Option<Name> {
    let named = path.extension() == Some("json".as_ref());
    name_of(path.file_stem()?.to_str()?).filter(|_| named)
}

/// Reads one. The inner error says what is wrong with it, the outer one is a failed read.
fn read(path: &Path) -> io::Result<Result<Record, String>> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() || meta.len() > LARGEST {
        return Ok(Err("is not a regular file of the size of a stored answer".to_owned()));
    }
    let bytes = fs::read(path)?;
    let read: Result<Record, _> = serde_json::from_slice(&bytes);
    Ok(match read {
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(record) if record.format != FORMAT || record.sha256 != sha256(&record.body) => {
            Err("has other bytes than were written".to_owned())
        }
        Ok(record) => Ok(record),
    })
}

/// Its body, if it answers this request (as canonical JSON): a file under a wrong name must not answer for
/// another.
pub(super) fn body(path: &Path, request: &str) -> io::Result<Result<String, String>> {
    let record = read(path)?;
    Ok(record.and_then(|record| {
        let own = super::canonical(&record.request) == request;
        if own { Ok(record.body) } else { Err("answers another request".to_owned()) }
    }))
}

/// What is wrong with one.
pub(super) fn check(path: &Path) -> io::Result<Result<(), String>> {
    Ok(read(path)?.map(|_| ()))
}

/// What one has cost; `None` if it cannot be read.
pub(super) fn spent(path: &Path) -> Option<Spent> {
    let record = read(path).ok()?.ok()?;
    let reply = Reply::read(&decode::json(&record.body).ok()?, &[]).ok()?;
    Some(Spent::of(&record.request, &reply))
}

fn sha256(text: &str) -> String {
    key::hex(&Sha256::digest(text.as_bytes()))
}
