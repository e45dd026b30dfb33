//! One process of a command: a line in, a line out, within limits.
//!
//! The process leads a group of its own, which is killed as a whole. Threads write and read its pipes, so
//! that neither a process that does not read nor one that says too much can hold anything up: of what it says
//! only a few lines wait, the rest stays in the pipe.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{CommandConfig, Host};
use crate::events::plain;

/// Bytes of a line of stderr that are kept, and lines for the explanation of a death.
const LONGEST_ERROR: u64 = 4096;
const LAST_WORDS: usize = 8;
/// Lines of stderr that a process may write to the log.
const MOST_LOGGED: usize = 40;
/// Pause between two looks at whether the user wants to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// How long the end of a process, and of what it says, is waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// Sets the limit of memory for data (in KiB; a lower one of the system stays) and becomes the command.
const LIMITED: &str = r#"ulimit -d "$0" 2>/dev/null || :; exec "$@""#;
/// How programs say that they got no more memory.
const NO_MEMORY: [&str; 7] = [
    "memoryerror",
    "out of memory",
    "cannot allocate memory",
    "memory exhausted",
    "bad_alloc",
    "allocation failed",
    "enomem",
];

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    TimedOut(Duration),
    Memory(String),
    Died(String),
    Unreadable(String),
    /// The user asked to stop: nothing is wrong.
    Stopped,
}

impl Failure {
    /// The reason code of a verdict.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "verifier_timeout",
            Self::Memory(_) => "verifier_memory",
            Self::Died(_) => "verifier_died",
            Self::Unreadable(_) => "verifier_unreadable",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "gave no answer within {} s", limit.as_secs_f64()),
            Self::Memory(how) => write!(f, "had no memory left ({how})"),
            Self::Died(how) => write!(f, "{how}"),
            Self::Unreadable(what) => write!(f, "gave a line that is no answer: {what}"),
            Self::Stopped => write!(f, "was stopped on request"),
        }
    }
}

/// What came of its output.
enum Said {
    Line(Vec<u8>),
    TooLong,
}

pub(super) struct Worker {
    /// Bytes of the longest answer.
    longest: u64,
    child: Child,
    questions: Sender<String>,
    said: Receiver<Said>,
    /// The last lines of its stderr, and the end of it.
    last_words: Arc<Mutex<VecDeque<String>>>,
    silent: Receiver<()>,
    /// Whether it has answered before.
    pub answered: bool,
}

impl Worker {
    /// Starts a process of the command of the key `what`.
    pub(super) fn start(
        words: &[String],
        (what, longest): (&'static str, u64),
        host: &Arc<Host>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for name in &host.secrets {
            command.env_remove(name);
        }
        // A script's `print` is then read at once, and its sets have one order.
        command.env("PYTHONUNBUFFERED", "1").env("PYTHONHASHSEED", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let died = |error| Failure::Died(format!("could not be started: {error}"));
        let mut child = command.spawn().map_err(died)?;
        let (questions, asked) = mpsc::channel();
        let (tell, said) = mpsc::sync_channel(1);
        let (alive, silent) = mpsc::channel();
        let last_words = Arc::default();
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        if let (Some(stdin), Some(stdout), Some(stderr)) = pipes {
            let (host, words) = (Arc::clone(host), Arc::clone(&last_words));
            std::thread::spawn(move || write(stdin, &asked));
            std::thread::spawn(move || read(stdout, longest, &tell));
            std::thread::spawn(move || listen(stderr, (what, &host), &words, &alive));
        }
        Ok(Self { longest, child, questions, said, last_words, silent, answered: false })
    }

    /// Asks for a line; `stop` says whether to give up. After a failure it is of no more use.
    pub(super) fn ask(
        &mut self,
        line: &str,
        limit: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, Failure> {
        match self.said.try_recv() {
            Ok(_) => return Err(Failure::Unreadable("it says something that nobody asked for".to_owned())),
            Err(TryRecvError::Disconnected) => return Err(self.death()),
            Err(TryRecvError::Empty) => {}
        }
        let start = Instant::now();
        // Where the thread has ended, so has the process, which the other pipe tells.
        let _ = self.questions.send(line.to_owned());
        loop {
            let left = limit.saturating_sub(start.elapsed());
            match self.said.recv_timeout(left.min(GLANCE)) {
                Ok(Said::Line(answer)) => return Ok(answer),
                Ok(Said::TooLong) => {
                    return Err(Failure::Unreadable(format!("it has more than {} KiB", self.longest >> 10)));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.death()),
                Err(RecvTimeoutError::Timeout) if stop() => return Err(Failure::Stopped),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Failure::TimedOut(limit)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// What its end was, once it says no more.
    fn death(&mut self) -> Failure {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if start.elapsed() < FAREWELL => std::thread::sleep(Duration::from_millis(2)),
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        self.kill();
        // What it said last may still be on its way.
        let _ = self.silent.recv_timeout(FAREWELL);
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let last = words.back().map_or(String::new(), |line| format!(": {line}"));
        let Some(status) = status else {
            return Failure::Died(format!("closed its output without an answer{last}"));
        };
        let lower: String = words.iter().flat_map(|line| [line.to_lowercase(), " ".to_owned()]).collect();
        if killed(status) || NO_MEMORY.iter().any(|word| lower.contains(word)) {
            return Failure::Memory(format!("{status}{last}"));
        }
        Failure::Died(format!("ended without an answer ({status}){last}"))
    }

    /// Kills the whole group.
    fn kill(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, killpg};
            // It fails where nobody is left.
            let _ = killpg(nix::unistd::Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Killed by somebody else than its own program: the system does that where memory is short.
fn killed(status: std::process::ExitStatus) -> bool {
    #[cfg(unix)]
    {
        std::os::unix::process::ExitStatusExt::signal(&status)
            == Some(nix::sys::signal::Signal::SIGKILL as i32)
    }
    #[cfg(not(unix))]
    {
        let _ = status;
        false
    }
}

/// The words of a command with its limit of memory.
pub(super) fn limited(config: &CommandConfig) -> Vec<String> {
    let limit = (config.memory_mb * 1024).to_string();
    let shell = ["sh", "-c", LIMITED, &limit].map(str::to_owned);
    let before = shell.into_iter().filter(|_| cfg!(unix) && config.memory_mb > 0);
    before.chain(config.words.iter().cloned()).collect()
}

fn write(mut stdin: ChildStdin, asked: &Receiver<String>) {
    for line in asked {
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read(stdout: impl Read, longest: u64, tell: &SyncSender<Said>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match (&mut stdout).take(longest + 1).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) if line.len() as u64 > longest => {
                let _ = tell.send(Said::TooLong);
                return;
            }
            Ok(_) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(_) => {
                if tell.send(Said::Line(line)).is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads its stderr to the end: some lines for the log, without what moves a cursor, and the last ones.
fn listen(
    stderr: impl Read,
    (what, host): (&str, &Host),
    last_words: &Mutex<VecDeque<String>>,
    _alive: &Sender<()>,
) {
    let mut stderr = BufReader::new(stderr);
    let mut count = 0;
    loop {
        let mut line = Vec::new();
        match (&mut stderr).take(LONGEST_ERROR).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = plain(&String::from_utf8_lossy(&line));
        if line.is_empty() {
            continue;
        }
        count += 1;
        if count <= MOST_LOGGED {
            (host.log)(&format!("{what} says: {line}"));
        } else if count == MOST_LOGGED + 1 {
            (host.log)(&format!("{what} says more, which is left out"));
        }
        let mut last_words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if last_words.len() == LAST_WORDS {
            last_words.pop_front();
        }
        last_words.push_back(line.chars().take(300).collect());
    }
}
