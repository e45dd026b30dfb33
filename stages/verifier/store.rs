//! Answers of a command that were given, kept in the run so that a resume asks nothing twice.
//!
//! Each process appends to a log of its own, a line for each answer with a digest; lines that are not as they
//! were written (half of one, after a kill) do not count and are asked for again. Nothing here is paid for,
//! so nothing waits for the disk. Failures are kept in memory only: their cause may be gone next time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datasets::key;
use serde_json::Value;

use super::ask::Question;
use super::reply::Reply;

const ENDING: &str = "jsonl";
/// Bytes of the longest line that is read.
const LONGEST: u64 = 16 << 20;

pub(super) struct Store {
    /// None: answers are kept in memory only.
    folder: Option<PathBuf>,
    /// What the names of this command's logs begin with.
    command: String,
    known: Mutex<HashMap<[u8; 32], Arc<Reply>>>,
    log: Mutex<Option<File>>,
}

impl Store {
    /// Reads what is stored of a command, by its name.
    ///
    /// # Errors
    /// A folder or log that cannot be read.
    pub(super) fn open(folder: Option<&Path>, command: &str) -> io::Result<Self> {
        let store = Self {
            folder: folder.map(Path::to_owned),
            command: command[..16].to_owned(),
            known: Mutex::default(),
            log: Mutex::default(),
        };
        let Some(folder) = folder else { return Ok(store) };
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(store),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&store.command) && fs::symlink_metadata(&path)?.is_file() {
                store.read(&path)?;
            }
        }
        Ok(store)
    }

    fn read(&self, path: &Path) -> io::Result<()> {
        let (mut reader, mut known) = (BufReader::new(File::open(path)?), locked(&self.known));
        let mut line = Vec::new();
        while (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            if let Some((name, reply)) = parse(&line) {
                // The first answer stays the answer.
                known.entry(name).or_insert_with(|| Arc::new(reply));
            }
            line.clear();
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        locked(&self.known).is_empty()
    }

    pub(super) fn get(&self, question: &Question) -> Option<Arc<Reply>> {
        locked(&self.known).get(&question.name).cloned()
    }

    /// Keeps an answer; gives the one that counts, an earlier one if there is one.
    ///
    /// # Errors
    /// A failed write: the answer is then known to this process only.
    pub(super) fn put(&self, question: &Question, reply: Reply) -> (Arc<Reply>, io::Result<()>) {
        let mut known = locked(&self.known);
        if let Some(earlier) = known.get(&question.name) {
            return (Arc::clone(earlier), Ok(()));
        }
        let reply = Arc::new(reply);
        known.insert(question.name, Arc::clone(&reply));
        drop(known);
        let written = self.append(&line(&question.name, &reply));
        (reply, written)
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut log = locked(&self.log);
        if log.is_none() {
            fs::create_dir_all(folder)?;
            let unique = RandomState::new().hash_one(std::process::id());
            let path = folder.join(format!("{}-{unique:016x}.{ENDING}", self.command));
            *log = Some(File::options().append(true).create_new(true).open(path)?);
        }
        // One write for a line.
        log.as_mut().map_or(Ok(()), |log| log.write_all(line.as_bytes()))
    }
}

fn line(name: &[u8; 32], reply: &Reply) -> String {
    let (name, reply) = (key::hex(name), reply.stored());
    format!("{{\"asked\":\"{name}\",\"digest\":\"{}\",\"reply\":{reply}}}\n", digest(&name, &reply))
}

/// What a line of a log holds; None if it is not as it was written.
fn parse(line: &[u8]) -> Option<([u8; 32], Reply)> {
    let line: Value = serde_json::from_slice(line.strip_suffix(b"\n")?).ok()?;
    let (asked, reply) = (line["asked"].as_str()?, &line["reply"]);
    if line["digest"].as_str()? != digest(asked, reply) {
        return None;
    }
    let mut name = [0; 32];
    for (at, byte) in name.iter_mut().enumerate() {
        *byte = u8::from_str_radix(asked.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    let steps = reply["steps"].as_array()?.len();
    let reply = Reply::read(reply.to_string().as_bytes(), "", steps).ok()?;
    Some((name, reply))
}

fn digest(name: &str, reply: &Value) -> String {
    key::hex(&key::digest(&[name.into(), reply.to_string().as_str().into()])[..8])
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use datasets::types::{Problem, Verdict};

    use super::*;

    fn question(n: u32) -> Question {
        Question::of("c", &Problem { question: n.to_string(), ..Problem::default() }, &[], "1")
    }

    #[test]
    fn answers_outlive_their_process_and_damaged_lines_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("verifier");
        let command = "0123456789abcdef0123";
        let reply = |reason: &str| Reply {
            verdict: Verdict::Wrong,
            reason: reason.into(),
            steps: vec![Some(true), None, Some(false)],
            score: Some(0.3),
        };
        let store = Store::open(Some(&folder), command).unwrap();
        for n in 0..3 {
            store.put(&question(n), reply("first")).1.unwrap();
        }
        assert_eq!(store.put(&question(0), reply("second")).0.reason, "first");
        drop(store);
        let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        // A flipped letter within the second line, and half of the third.
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let at = second + bytes[second..].windows(5).position(|text| text == b"first").unwrap();
        bytes[at] = b'F';
        bytes.truncate(bytes.len() - 9);
        fs::write(&path, bytes).unwrap();
        let again = Store::open(Some(&folder), command).unwrap();
        assert_eq!(again.get(&question(0)).as_deref(), Some(&reply("first")));
        assert_eq!([1, 2].map(|n| again.get(&question(n))), [None, None]);
        assert!(Store::open(Some(&folder), "fedcba9876543210").unwrap().is_empty(), "another command");
    }
}
