//! Several processes of one command.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use datasets::domain::Unsound;

use super::worker::{Failure, Worker, limited};
use super::{CommandInputs, Host};
use crate::events::plain;

/// Characters of a line that are shown.
const SHOWN: usize = 80;

/// The processes of a command, which are started when they are needed and kept.
pub struct Crew {
    /// The key of the command, for lines that the user reads.
    what: &'static str,
    /// Bytes of the longest answer.
    longest: u64,
    name: String,
    inputs: CommandInputs,
    /// What is started: the command within its limits and sandbox.
    words: Vec<String>,
    /// Processes at once.
    pub workers: usize,
    pub host: Arc<Host>,
    idle: Mutex<Idle>,
    free: Condvar,
    /// Why the command is of no use.
    broken: Mutex<Option<Unsound>>,
    stopped: AtomicBool,
}

/// Processes that wait for a question.
#[derive(Default)]
struct Idle {
    workers: Vec<Worker>,
    /// How many are at work.
    busy: usize,
}

impl Crew {
    /// The command of the key `what`, whose answers have `longest` bytes at most.
    ///
    /// # Errors
    /// A sandbox that is required and not there.
    pub fn new((what, longest): (&'static str, u64), inputs: &CommandInputs, host: Host) -> Result<Self> {
        let (mut words, line) = inputs.config.sandbox.words(what, &inputs.config.words)?;
        words.extend(limited(&inputs.config));
        if !line.is_empty() {
            (host.warn)(&line);
        }
        Ok(Self {
            what,
            longest,
            name: inputs.name(),
            inputs: inputs.clone(),
            words,
            workers: super::processes(inputs.config.workers),
            host: Arc::new(host),
            idle: Mutex::default(),
            free: Condvar::new(),
            broken: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Names the command, its files and its limits.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// # Errors
    /// The user asked to stop while a question was open, or the command does not work.
    pub fn sound(&self) -> Result<(), Unsound> {
        if self.stopped.load(SeqCst) {
            return Err(Unsound::Stopped);
        }
        locked(&self.broken).clone().map_or(Ok(()), Err)
    }

    /// Says that the command does not work. The first reason stays.
    pub fn give_up(&self, why: String) {
        locked(&self.broken).get_or_insert(Unsound::Broken(why));
    }

    /// Whether the user asked to stop, which then counts for all that is asked.
    pub fn glance(&self) -> bool {
        if (self.host.cancelled)() {
            self.stopped.store(true, SeqCst);
        }
        self.stopped.load(SeqCst)
    }

    /// Has a line answered. What fails is asked again of a process that has seen no other question, so that a
    /// failure, too, depends on the question alone.
    ///
    /// # Errors
    /// No answer that `read` takes.
    pub fn ask<T>(&self, line: &str, read: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, Failure> {
        let limit = Duration::from_secs_f64(self.inputs.config.timeout_s);
        let mut place = self.place();
        loop {
            let mut worker = match place.worker.take() {
                Some(worker) => worker,
                None => self.start()?,
            };
            let answer = worker.ask(line, limit, &|| self.glance());
            let unreadable =
                |line: &[u8], why| Failure::Unreadable(format!("{why}; it begins with `{}`", brief(line)));
            match answer.and_then(|line| read(&line).map_err(|why| unreadable(&line, why))) {
                Ok(answer) => {
                    worker.answered = true;
                    place.worker = Some(worker);
                    return Ok(answer);
                }
                Err(Failure::Stopped) => {
                    self.stopped.store(true, SeqCst);
                    return Err(Failure::Stopped);
                }
                Err(failure) if !worker.answered => return Err(failure),
                Err(failure) => {
                    let again = "it is started anew and asked again";
                    (self.host.log)(&format!("{} {failure}; {again}", self.what));
                }
            }
        }
    }

    /// Starts a process, of the command as it was when the run began to use it.
    fn start(&self) -> Result<Worker, Failure> {
        let now = CommandInputs::of(self.inputs.config.clone(), self.inputs.code).map(|inputs| inputs.name());
        if now.is_ok_and(|now| now == self.name) {
            return Worker::start(&self.words, (self.what, self.longest), &self.host);
        }
        let changed = "has changed while the run used it";
        let changed = Unsound::Changed(format!("a file of {} {changed}", self.what));
        locked(&self.broken).get_or_insert(changed);
        Err(Failure::Died("is not what it was".to_owned()))
    }

    /// Does some work for each item, as many at once as there are processes.
    pub fn each<T: Sync>(&self, items: &[T], work: impl Fn(&T) + Sync) {
        let next = AtomicUsize::new(0);
        let run = || {
            while let Some(item) = items.get(next.fetch_add(1, SeqCst)) {
                work(item);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.workers.min(items.len()) {
                scope.spawn(run);
            }
        });
    }

    /// Waits for a place among those that may be at work.
    fn place(&self) -> Place<'_> {
        let mut idle = locked(&self.idle);
        while idle.busy >= self.workers {
            let waited = self.free.wait_timeout(idle, Duration::from_secs(1));
            idle = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        idle.busy += 1;
        Place { crew: self, worker: idle.workers.pop() }
    }
}

/// A place among the processes at work, with the process if there is one. It goes back when it is dropped.
struct Place<'a> {
    crew: &'a Crew,
    worker: Option<Worker>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut idle = locked(&self.crew.idle);
        idle.busy -= 1;
        idle.workers.extend(self.worker.take());
        drop(idle);
        self.crew.free.notify_one();
    }
}

/// The beginning of a line, without what moves a cursor.
fn brief(line: &[u8]) -> String {
    plain(&String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)])).chars().take(SHOWN).collect()
}

/// A lock, whatever became of others that had it.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
