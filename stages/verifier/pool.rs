//! Several processes that answer, and what they have answered.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use datasets::domain::Unsound;
use datasets::types::Judgement;

use super::ask::Question;
use super::reply::Reply;
use super::store::Store;
use super::worker::{Failure, Worker, limited};
use super::{CommandInputs, Host, limit};

/// A command that has failed so often and never answered does not work.
const HOPELESS: usize = 8;
/// Failures that are shown; all of them are in the log.
const SHOWN: usize = 3;

pub(super) struct Pool {
    name: String,
    inputs: CommandInputs,
    /// What is started: the command within its limits and sandbox.
    words: Vec<String>,
    /// Processes at once.
    workers: usize,
    host: Arc<Host>,
    store: Store,
    /// Questions that failed, for as long as this process lives.
    failed: Mutex<HashMap<[u8; 32], &'static str>>,
    idle: Mutex<Idle>,
    free: Condvar,
    /// Whether the command has ever answered, in an earlier process too.
    works: AtomicBool,
    /// What a command did that never answered.
    broken: Mutex<Option<String>>,
    stopped: AtomicBool,
    asked: AtomicUsize,
}

/// Processes that wait for a question.
#[derive(Default)]
struct Idle {
    workers: Vec<Worker>,
    /// How many are at work.
    busy: usize,
}

impl Pool {
    pub(super) fn new(inputs: &CommandInputs, folder: Option<&Path>, host: Host) -> Result<Self> {
        let name = inputs.name();
        let place = || format!("failed to read the answers in {}", folder.unwrap_or(Path::new("")).display());
        let store = Store::open(folder, &name).with_context(place)?;
        let (mut words, line) = inputs.config.sandbox.words(&inputs.config.words)?;
        words.extend(limited(&inputs.config));
        if !line.is_empty() {
            (host.warn)(&line);
        }
        let workers = super::processes(inputs.config.workers);
        Ok(Self {
            name,
            inputs: inputs.clone(),
            words,
            workers,
            host: Arc::new(host),
            works: AtomicBool::new(!store.is_empty()),
            store,
            failed: Mutex::default(),
            idle: Mutex::default(),
            free: Condvar::new(),
            broken: Mutex::default(),
            stopped: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        })
    }

    /// Names the command, its files and its limits.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// The user asked to stop while a question was open, or the command does not work.
    pub(super) fn sound(&self) -> Result<(), Unsound> {
        if self.stopped.load(SeqCst) {
            return Err(Unsound::Stopped);
        }
        locked(&self.broken).as_ref().map_or(Ok(()), |what| Err(Unsound::Broken(what.clone())))
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
        match self.answer(question) {
            Ok(reply) => {
                self.works.store(true, SeqCst);
                let (reply, written) = self.store.put(question, reply);
                if let Err(error) = written {
                    (self.host.log)(&format!("an answer of verify.command could not be stored: {error}"));
                }
                reply.judgement()
            }
            Err(Failure::Stopped) => {
                self.stopped.store(true, SeqCst);
                Judgement::undecidable("stopped")
            }
            Err(failure) => self.fail(question, &failure),
        }
    }

    /// Takes note of a question that failed.
    fn fail(&self, question: &Question, failure: &Failure) -> Judgement {
        let mut failed = locked(&self.failed);
        failed.insert(question.name, failure.reason());
        let count = failed.len();
        drop(failed);
        let line = format!("verify.command {failure} (problem {})", question.problem_id);
        if count <= SHOWN {
            (self.host.warn)(&line);
        } else {
            (self.host.log)(&line);
        }
        if count == SHOWN {
            (self.host.warn)("further failures of verify.command are in run.log only");
        }
        if count >= HOPELESS && !self.works.load(SeqCst) {
            locked(&self.broken).get_or_insert_with(|| {
                format!("verify.command answered none of {count} questions; the last time it {failure}")
            });
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
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.workers.min(open.len()) {
                scope.spawn(|| {
                    while let Some(question) = open.get(next.fetch_add(1, SeqCst)) {
                        if (self.host.cancelled)() {
                            self.stopped.store(true, SeqCst);
                        }
                        self.judge(question);
                    }
                });
            }
        });
    }

    /// Has a question answered. What fails is asked again of a process that has seen no other question, so
    /// that a failure, too, depends on the question alone.
    fn answer(&self, question: &Question) -> Result<Reply, Failure> {
        let limit = limit(&self.inputs.config);
        let stop = || (self.host.cancelled)() || self.stopped.load(SeqCst);
        let mut place = self.place();
        loop {
            let mut worker = match place.worker.take() {
                Some(worker) => worker,
                None => self.start()?,
            };
            let read = |line: Vec<u8>| {
                Reply::read(&line, &question.id(), question.steps).map_err(Failure::Unreadable)
            };
            match worker.ask(&question.line, limit, &stop).and_then(read) {
                Ok(reply) => {
                    worker.answered = true;
                    place.worker = Some(worker);
                    return Ok(reply);
                }
                Err(failure) if !worker.answered || failure == Failure::Stopped => return Err(failure),
                Err(failure) => {
                    (self.host.log)(&format!("verify.command {failure}; it is started anew and asked again"));
                }
            }
        }
    }

    /// Starts a process, of the command as it was when the run began to use it.
    fn start(&self) -> Result<Worker, Failure> {
        let now = CommandInputs::of(self.inputs.config.clone()).map(|inputs| inputs.name());
        if now.is_ok_and(|now| now == self.name) {
            return Worker::start(&self.words, &self.host);
        }
        let what = "a file of verify.command has changed while the run used it: resume with the new one";
        locked(&self.broken).get_or_insert_with(|| what.to_owned());
        Err(Failure::Died("is not what it was".to_owned()))
    }

    /// Waits for a place among those that may be at work.
    fn place(&self) -> Place<'_> {
        let mut idle = locked(&self.idle);
        while idle.busy >= self.workers {
            let waited = self.free.wait_timeout(idle, Duration::from_secs(1));
            idle = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        idle.busy += 1;
        Place { pool: self, worker: idle.workers.pop() }
    }
}

/// A place among the processes at work, with the process if there is one. It goes back when it is dropped.
struct Place<'a> {
    pool: &'a Pool,
    worker: Option<Worker>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut idle = locked(&self.pool.idle);
        idle.busy -= 1;
        idle.workers.extend(self.worker.take());
        drop(idle);
        self.pool.free.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (asked, failed) = (self.asked.load(SeqCst), locked(&self.failed).len());
        if asked > 0 {
            (self.host.log)(&format!("verify.command was asked {asked} questions, of which {failed} failed"));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
