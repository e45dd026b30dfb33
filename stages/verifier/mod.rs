//! A command of the user's as the verifier of a run (`verify.command`).
//!
//! [`Commanded`] judges in the place of a domain, which keeps its rules: what solutions are worth, the
//! command says. So everything that asks a domain for a verdict asks the command: search, verify, gate,
//! evaluate, value targets. Several processes answer at once ([`pool`], [`worker`]), each line of JSON
//! ([`ask`]) with a line ([`reply`]), and what was answered is kept in the run ([`store`]).
//!
//! An answer is a function of the question alone. What fails is asked once more of a process that has seen
//! no other question, and only if that fails too, the solution is undecidable:
//!
//! | reason | when |
//! |---|---|
//! | `verifier_timeout` | no answer within the time limit |
//! | `verifier_memory` | the process ended over its memory limit |
//! | `verifier_died` | the process ended, or could not be started |
//! | `verifier_unreadable` | the line is no answer |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use datasets::domain::{Case, Unsound, Verifier};
use datasets::domains::Domains;
use datasets::key;
use datasets::types::{Judgement, Problem};
use serde::Serialize;

use crate::problems::content_hash;

mod ask;
mod pool;
mod reply;
mod sandbox;
mod store;
mod worker;

use ask::Question;
use pool::Pool;
pub use sandbox::Sandbox;

/// Version of what a command is asked and how its answers are read, part of fingerprints.
pub const VERSION: u32 = 1;

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

/// How many processes `verify.workers` stands for.
pub fn processes(workers: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if workers > 0 { workers } else { cores() }
}

/// All that the answers of a command depend on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandInputs {
    code: u32,
    #[serde(flatten)]
    pub config: CommandConfig,
    /// SHA-256 of the files among its words.
    files: BTreeMap<String, String>,
}

impl CommandInputs {
    /// # Errors
    /// A file among the words that cannot be read.
    pub fn of(config: CommandConfig) -> Result<Self> {
        let mut files = BTreeMap::new();
        for (at, word) in config.words.iter().enumerate() {
            let path = Path::new(word);
            // A first word without a slash is looked for on PATH.
            if (at > 0 || word.contains('/')) && path.is_file() {
                files.insert(word.clone(), content_hash(&[path])?);
            }
        }
        Ok(Self { code: VERSION, config, files })
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

/// The domains of a run whose verdicts a command gives; `folder` keeps its answers, else this process alone
/// does.
///
/// # Errors
/// Answers that cannot be read or stored.
pub fn domains(inputs: &CommandInputs, folder: Option<&Path>, host: Host) -> Result<Domains> {
    let pool = Arc::new(Pool::new(inputs, folder, host)?);
    Ok(Domains::judged(|| Commanded(Arc::clone(&pool))))
}

/// What a command says of solutions.
struct Commanded(Arc<Pool>);

impl Verifier for Commanded {
    /// The steps may be all that counts.
    fn needs_answer(&self) -> bool {
        false
    }

    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        self.0.judge(&Question::of(self.0.name(), problem, steps, final_answer))
    }

    fn foresee(&self, cases: &mut dyn Iterator<Item = Case<'_>>) {
        let question = |case: Case<'_>| Question::of(self.0.name(), case.problem, &case.steps, &case.answer);
        self.0.judge_all(cases.map(question).collect());
    }

    fn score(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Option<f32> {
        self.verify(problem, steps, final_answer).score
    }

    fn sound(&self) -> Result<(), Unsound> {
        self.0.sound()
    }
}

/// The time limit of a configuration.
fn limit(config: &CommandConfig) -> Duration {
    Duration::from_secs_f64(config.timeout_s)
}

#[cfg(all(test, unix))]
mod tests;
