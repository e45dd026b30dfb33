//! Commands of the user's that answer lines of JSON: verifiers ([`crate::verifier`]) and rules
//! ([`crate::rules`]).
//!
//! [`Crew`] has several processes that answer at once, each started within its limits and its [`sandbox`]
//! ([`worker`]). An answer is a function of the question alone: what fails is asked once more of a process
//! that has seen no other question.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use datasets::key;
use serde::Serialize;

use crate::problems::content_hash;

mod crew;
mod sandbox;
mod worker;

pub use crew::{Crew, locked};
pub use sandbox::Sandbox;
pub use worker::Failure;

/// A command and its limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandConfig {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Processes at once; 0 for one for each core. Changes no answer.
    #[serde(skip)]
    pub workers: usize,
    /// Longest time for an answer, in seconds.
    pub timeout_s: f64,
    /// Most memory of a process for its data, in MiB; 0 for no limit.
    pub memory_mb: u64,
    pub sandbox: Sandbox,
}

/// How many processes a number of workers stands for.
pub fn processes(workers: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if workers > 0 { workers } else { cores() }
}

/// All that the answers of a command depend on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandInputs {
    /// Version of what it is asked and how its answers are read.
    code: u32,
    #[serde(flatten)]
    pub config: CommandConfig,
    /// SHA-256 of the files among its words.
    files: BTreeMap<String, String>,
}

impl CommandInputs {
    /// # Errors
    /// A file among the words that cannot be read.
    pub fn of(config: CommandConfig, code: u32) -> Result<Self> {
        let mut files = BTreeMap::new();
        for (at, word) in config.words.iter().enumerate() {
            let path = Path::new(word);
            // A first word without a slash is looked for on PATH.
            if (at > 0 || word.contains('/')) && path.is_file() {
                files.insert(word.clone(), content_hash(&[path])?);
            }
        }
        Ok(Self { code, config, files })
    }

    /// Names the command, its files and its limits.
    pub fn name(&self) -> String {
        key::hex(&key::digest(&[serde_json::json!(self).to_string().as_str().into()]))
    }
}

/// Where a program is that a command begins with: the word itself if it has a slash, else the first file of
/// that name that can be run on PATH.
pub fn program(word: &str) -> Option<PathBuf> {
    if word.contains('/') {
        return Some(PathBuf::from(word)).filter(|path| runs(path));
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(word)).find(|path| runs(path))
}

fn runs(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    path.is_file()
}

/// What a command's processes need of the program around them.
pub struct Host {
    /// Takes a line for the log; and one that the user should see.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
    pub warn: Box<dyn Fn(&str) + Send + Sync>,
    /// Whether the user asked to stop.
    pub cancelled: Box<dyn Fn() -> bool + Send + Sync>,
    /// Variables of the environment that the command does not get: keys of servers.
    pub secrets: Vec<String>,
}
