//! A command's answers: from the store, or of its processes.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use anyhow::{Context, Result};
use datasets::domain::Unsound;
use datasets::types::Judgement;

use super::ask::Question;
use super::reply::Reply;
use super::store::Store;
use crate::command::{CommandInputs, Crew, Failure, Host, locked};

/// A command that has failed so often and never answered does not work.
const HOPELESS: usize = 8;
/// Failures that are shown; all of them are in the log.
const SHOWN: usize = 3;
/// Bytes of the longest answer.
const LONGEST: u64 = 1 << 20;

pub(super) struct Pool {
    crew: Crew,
    store: Store,
    /// Questions that failed, for as long as this process lives.
    failed: Mutex<HashMap<[u8; 32], &'static str>>,
    /// Whether the command has ever answered, in an earlier process too.
    works: AtomicBool,
    asked: AtomicUsize,
}

impl Pool {
    pub(super) fn new(inputs: &CommandInputs, folder: Option<&Path>, host: Host) -> Result<Self> {
        let place = || format!("failed to read the answers in {}", folder.unwrap_or(Path::new("")).display());
        let store = Store::open(folder, &inputs.name()).with_context(place)?;
        Ok(Self {
            crew: Crew::new(("verify.command", LONGEST), inputs, host)?,
            works: AtomicBool::new(!store.is_empty()),
            store,
            failed: Mutex::default(),
            asked: AtomicUsize::new(0),
        })
    }

    /// Names the command, its files and its limits.
    pub(super) fn name(&self) -> &str {
        self.crew.name()
    }

    /// # Errors
    /// The user asked to stop while a question was open, or the command does not work.
    pub(super) fn sound(&self) -> Result<(), Unsound> {
        self.crew.sound()
    }

    /// The verdict on a solution: from the store, or of a process.
    pub(super) fn judge(&self, question: &Question) -> Judgement {
        if let Some(reply) = self.store.get(question) {
            return reply.judgement();
        }
        if let Some(reason) = locked(&self.failed).get(&question.name) {
            return Judgement::undecidable(reason);
        }
        if self.sound().is_err() {
            return Judgement::undecidable("stopped");
        }
        self.asked.fetch_add(1, SeqCst);
        let read = |line: &[u8]| Reply::read(line, &question.id(), question.steps);
        match self.crew.ask(&question.line, read) {
            Ok(reply) => {
                self.works.store(true, SeqCst);
                let (reply, written) = self.store.put(question, reply);
                if let Err(error) = written {
                    (self.crew.host.log)(&format!(
                        "an answer of verify.command could not be stored: {error}"
                    ));
                }
                reply.judgement()
            }
            Err(Failure::Stopped) => Judgement::undecidable("stopped"),
            Err(failure) => self.fail(question, &failure),
        }
    }

    /// Takes note of a question that failed.
    fn fail(&self, question: &Question, failure: &Failure) -> Judgement {
        let mut failed = locked(&self.failed);
        failed.insert(question.name, failure.reason());
        let count = failed.len();
        drop(failed);
        let host = &self.crew.host;
        let line = format!("verify.command {failure} (problem {})", question.problem_id);
        if count <= SHOWN {
            (host.warn)(&line);
        } else {
            (host.log)(&line);
        }
        if count == SHOWN {
            (host.warn)("further failures of verify.command are in run.log only");
        }
        if count >= HOPELESS && !self.works.load(SeqCst) {
            self.crew.give_up(format!(
                "verify.command answered none of {count} questions; the last time it {failure}"
            ));
        }
        Judgement::undecidable(failure.reason())
    }

    /// Judges many solutions, as many at once as there are processes.
    pub(super) fn judge_all(&self, questions: Vec<Question>) {
        let mut seen = HashSet::new();
        let open: Vec<Question> = questions
            .into_iter()
            .filter(|question| self.store.get(question).is_none() && seen.insert(question.name))
            .collect();
        self.crew.each(&open, |question| {
            self.crew.glance();
            self.judge(question);
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (asked, failed) = (self.asked.load(SeqCst), locked(&self.failed).len());
        if asked > 0 {
            let line = format!("verify.command was asked {asked} questions, of which {failed} failed");
            let say = if asked == failed { &self.crew.host.warn } else { &self.crew.host.log };
            say(&line);
        }
    }
}
