//! Exit codes, and how an error becomes one line on stderr.
//!
//! A script that runs qstill overnight branches on the code, so it is a promise: 75 means "try again", 73
//! "make room first", 65 "fix the input", 70 "not your fault". The code is found by walking the error chain,
//! which keeps the stages free of exit codes: they return their own errors, and only the edge knows what each
//! one means.
//!
//! Panics are caught here too. The hook does not end the process, because kernel tuning catches panics of
//! candidate kernels on purpose; only a panic that reaches [`run`] is a bug to report.

use std::any::Any;
use std::error::Error as StdError;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use stages::events::Cancelled;

/// What the process tells its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// A file of the user's cannot be used as it is.
    Input = 65,
    /// A fault of the program.
    Bug = 70,
    /// The disk or the quota is full.
    Full = 73,
    /// Reading or writing failed.
    Io = 74,
    /// Somebody else holds the run, or a service is not there yet: try again.
    Busy = 75,
    /// The user asked to stop.
    Interrupted = 130,
}

impl Exit {
    pub const ALL: [Exit; 8] = [
        Exit::Done,
        Exit::Usage,
        Exit::Input,
        Exit::Bug,
        Exit::Full,
        Exit::Io,
        Exit::Busy,
        Exit::Interrupted,
    ];

    /// It in a few words.
    pub fn word(self) -> &'static str {
        self.meaning().split(':').next().unwrap_or_default()
    }

    /// It in a few words, and after a colon what it is about.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Usage => "usage: command line or configuration",
            Exit::Input => "bad input: a data file, a model directory, an endpoint that refuses",
            Exit::Bug => "a bug",
            Exit::Full => "disk full: the disk or a quota; free some space, then resume",
            Exit::Io => "I/O: reading or writing failed",
            Exit::Busy => {
                "busy or incomplete (try again): run held by another process, endpoint down, GPU lost, an \
                 earlier stage outstanding, stopped by the system (SIGTERM, SIGUSR1, SIGUSR2)"
            }
            Exit::Interrupted => "interrupted: Ctrl-C",
        }
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    /// What to do where no [`Failure`] says it better.
    fn hint(self) -> &'static str {
        match self {
            Exit::Full => "free some space and start it again; what is committed is kept",
            Exit::Bug => "this is a bug: please report it",
            _ => "",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// An error made for the user: what is wrong, what to do about it, and the exit code.
///
/// It may be returned as it is or used as `anyhow` context; both are found.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    pub exit: Exit,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do about it; may be empty.
    pub hint: String,
    #[source]
    pub cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: hint.into(), cause: None }
    }

    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, hint)
    }

    pub fn input(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Input, what, hint)
    }

    pub fn busy(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Busy, what, hint)
    }

    /// A failed read or write; the code tells a full disk from other trouble.
    pub fn io(what: impl Into<String>, hint: impl Into<String>, cause: io::Error) -> Self {
        let exit = of_io(&cause);
        Self { exit, what: what.into(), hint: hint.into(), cause: Some(Box::new(cause)) }
    }
}

/// Says which exit an error of some other type means; `None` if it is not of that type.
pub type Mapping = fn(&(dyn StdError + 'static)) -> Option<Exit>;

/// The exit of an error: [`Cancelled`] anywhere, then a [`Failure`] anywhere, then the outermost
/// error in the chain that `more` or the I/O rules know, else [`Exit::Bug`].
pub fn exit_of(err: &anyhow::Error, more: &[Mapping]) -> Exit {
    // `downcast_ref` also sees errors that were attached as context, which the chain hides.
    if err.downcast_ref::<Cancelled>().is_some() || err.chain().any(<dyn StdError>::is::<Cancelled>) {
        return Exit::Interrupted;
    }
    if let Some(failure) = failure_in(err) {
        return failure.exit;
    }
    err.chain().find_map(|e| of_cause(e, more)).unwrap_or(Exit::Bug)
}

fn failure_in(err: &anyhow::Error) -> Option<&Failure> {
    err.downcast_ref::<Failure>().or_else(|| err.chain().find_map(|e| e.downcast_ref::<Failure>()))
}

fn of_cause(err: &(dyn StdError + 'static), more: &[Mapping]) -> Option<Exit> {
    if let Some(exit) = more.iter().find_map(|map| map(err)) {
        return Some(exit);
    }
    if let Some(failure) = err.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if err.is::<Cancelled>() {
        return Some(Exit::Interrupted);
    }
    let io = err.downcast_ref::<io::Error>()?;
    // An I/O error may carry another error, and `source()` steps over that one.
    if let Some(inner) = io.get_ref() {
        let inner: &(dyn StdError + 'static) = inner;
        if let Some(exit) = of_cause(inner, more) {
            return Some(exit);
        }
    }
    Some(of_io(io))
}

fn of_io(err: &io::Error) -> Exit {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::Full,
        _ => Exit::Io,
    }
}

/// The error as one line: the chain from the outside in, then what to do.
pub fn explain(err: &anyhow::Error, more: &[Mapping]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in err.chain() {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.trim_start_matches("Parquet error: ").to_owned();
        // Many libraries repeat their source in their own text.
        if !parts.last().is_some_and(|last| last.contains(&text)) {
            parts.push(text);
        }
    }
    let mut line = parts.join(": ");
    let hint = failure_in(err).map(|f| f.hint.as_str()).filter(|h| !h.is_empty());
    let hint = hint.unwrap_or_else(|| exit_of(err, more).hint());
    if !hint.is_empty() {
        line.push_str(" (");
        line.push_str(hint);
        line.push(')');
    }
    line
}

/// Where a panic is written in full; set once the run directory is known.
static LOG: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Place of the latest panic, for the line that reports it.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Whether it was the system that asked to stop.
static PREEMPTED: AtomicBool = AtomicBool::new(false);

/// Notes that the system asked to stop, as schedulers do before a limit of time or a preemption.
pub fn preempt() {
    PREEMPTED.store(true, Ordering::Relaxed);
}

/// The exit of work that was stopped: a person's wish, or [`Exit::Busy`], for whoever starts it again.
pub fn stopped() -> Exit {
    if PREEMPTED.load(Ordering::Relaxed) { Exit::Busy } else { Exit::Interrupted }
}

/// Names the log that a report of a bug should come with, and to which panics are appended.
pub fn set_log(path: &Path) {
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_path_buf());
}

/// Runs the program: turns its error, or its panic, into one line on stderr and an exit code.
pub fn run(body: impl FnOnce() -> anyhow::Result<Exit>, more: &[Mapping]) -> ExitCode {
    std::panic::set_hook(Box::new(note_panic));
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(err)) => {
            let exit = exit_of(&err, more);
            // A stop that was asked for is no error.
            let kind = if exit == Exit::Interrupted { "" } else { "error: " };
            complain(&format!("{kind}{}", explain(&err, more)));
            if exit == Exit::Interrupted { stopped().into() } else { exit.into() }
        }
        Err(payload) => {
            let text = payload_text(payload.as_ref());
            // Whoever read our output has gone (`qstill inspect .. | head`): nobody is left to tell.
            if text.starts_with("failed printing to std") {
                return Exit::Io.into();
            }
            complain(&bug_line(&text));
            Exit::Bug.into()
        }
    }
}

/// One line on stderr and in the log. Both may be gone, and neither is worth another failure.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "qstill: {line}");
    append_log(line);
}

fn append_log(line: &str) {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(path) = log
        && let Ok(mut file) = std::fs::File::options().append(true).open(path)
    {
        let _ = file.write_all(format!("{} {line}\n", crate::terminal::clock::now_utc()).as_bytes());
    }
}

fn bug_line(text: &str) -> String {
    let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let place = place.map(|p| format!(" at {p}")).unwrap_or_default();
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = log.map(|p| format!("; log at {}", p.display())).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("this is a bug, please report it: {text}{place}{log}")
}

fn note_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string);
    append_log(&format!("panic: {} at {}", payload_text(info.payload()), place.as_deref().unwrap_or("?")));
    *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
        let _ = writeln!(io::stderr(), "{info}\n{}", std::backtrace::Backtrace::force_capture());
    }
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn full() -> io::Error {
        io::Error::from(io::ErrorKind::StorageFull)
    }

    #[test]
    fn each_error_has_its_code() {
        let code = |err: anyhow::Error| exit_of(&err, &[]).code();
        assert_eq!(code(Failure::usage("no such flag", "").into()), 64);
        assert_eq!(code(anyhow::Error::from(Failure::busy("held", "wait")).context("while opening")), 75);
        assert_eq!(
            code(anyhow::Error::from(io::Error::other("x")).context(Failure::input("bad row", ""))),
            65
        );
        assert_eq!(code(anyhow::Error::from(Cancelled).context("while searching")), 130);
        assert_eq!(code(anyhow::Error::from(full()).context("failed to write")), 73);
        assert_eq!(code(io::Error::from(io::ErrorKind::QuotaExceeded).into()), 73);
        assert_eq!(code(io::Error::from(io::ErrorKind::NotFound).into()), 74);
        assert_eq!(code(io::Error::other(Failure::input("bad", "")).into()), 65);
        assert_eq!(code(io::Error::other(io::Error::other(full())).into()), 73);
        assert_eq!(code(anyhow::anyhow!("what?")), 70);
        assert_eq!(Failure::io("failed to write x", "", full()).exit, Exit::Full);
    }

    #[test]
    fn other_errors_can_be_mapped() {
        #[derive(Debug, thiserror::Error)]
        #[error("endpoint is down")]
        struct Down;
        let map: Mapping = |err| err.is::<Down>().then_some(Exit::Busy);
        let err = anyhow::Error::from(Down).context("while asking");
        assert_eq!(exit_of(&err, &[map]), Exit::Busy);
        assert_eq!(exit_of(&err, &[]), Exit::Bug);
    }

    #[test]
    fn an_error_is_one_line_with_what_to_do() {
        let err = Err::<(), _>(Failure::input("row 3 has\nno answer", "give it one"))
            .context("failed to read a.jsonl");
        let line = explain(&err.expect_err("an error"), &[]);
        assert_eq!(line, "failed to read a.jsonl: row 3 has no answer (give it one)");
        let line = explain(&anyhow::Error::from(full()).context("failed to write x"), &[]);
        assert!(line.ends_with("(free some space and start it again; what is committed is kept)"), "{line}");
    }
}
