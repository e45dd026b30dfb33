//! stderr and `run.log`, shared by all who speak; and the wish to stop.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::terminal::clock::now_utc;
use crate::terminal::exit;

/// Says lines, above the bar if there is one. Clones speak through the same mouth.
///
/// A line that cannot be written, to a closed stderr or to a log on a full disk, is lost without an error:
/// the rows are what matters, and they report the same trouble in their own way.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    quiet: bool,
    terminal: bool,
    colour: bool,
    interval: Duration,
    out: Mutex<Box<dyn Write + Send>>,
    log: Mutex<Option<File>>,
    bar: Mutex<Option<ProgressBar>>,
    cancel: Arc<AtomicBool>,
}

impl Console {
    /// The console of the process. `quiet` keeps stderr to warnings; `interval` is the pause between plain
    /// lines.
    pub fn new(quiet: bool, interval: Duration) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        // https://no-color.org: present and not empty means no colour.
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self::over(quiet, terminal, colour, interval, Box::new(io::stderr()))
    }

    fn over(
        quiet: bool,
        terminal: bool,
        colour: bool,
        interval: Duration,
        out: Box<dyn Write + Send>,
    ) -> Self {
        let (out, log, bar, cancel) = (Mutex::new(out), Mutex::default(), Mutex::default(), Arc::default());
        Self(Arc::new(Inner { quiet, terminal, colour, interval, out, log, bar, cancel }))
    }

    /// Appends all that is said from now on to a log, each line with its time; panics and errors go there
    /// too.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn log_to(&self, path: &Path) -> io::Result<()> {
        *locked(&self.0.log) = Some(File::options().create(true).append(true).open(path)?);
        exit::set_log(path);
        Ok(())
    }

    /// A line of progress or explanation: not shown when quiet.
    pub fn say(&self, line: &str) {
        self.log(line);
        if !self.0.quiet {
            self.print(line);
        }
    }

    /// A line that is always shown.
    pub fn warn(&self, line: &str) {
        self.log(line);
        self.print(line);
    }

    /// A line of another process, which logs it itself.
    pub fn pass_on(&self, line: &str) {
        self.print(line);
    }

    /// A line for the log only.
    pub fn log(&self, line: &str) {
        if let Some(file) = locked(&self.0.log).as_mut() {
            // One write a line: appended whole, whoever else appends.
            let _ = file.write_all(format!("{} {line}\n", now_utc()).as_bytes());
        }
    }

    fn print(&self, line: &str) {
        let write = || {
            let _ = locked(&self.0.out).write_all(format!("{line}\n").as_bytes());
        };
        // Not within `match`: the guard would be held while the line is drawn.
        let bar = locked(&self.0.bar).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    pub(super) fn set_bar(&self, bar: Option<ProgressBar>) {
        *locked(&self.0.bar) = bar;
    }

    pub(super) fn shows_bars(&self) -> bool {
        self.0.terminal && !self.0.quiet
    }

    pub(super) fn interval(&self) -> Duration {
        self.0.interval
    }

    /// Whether lines are read by a person on a terminal.
    pub fn is_terminal(&self) -> bool {
        self.0.terminal
    }

    /// Whether colour is welcome on stderr.
    pub fn colour(&self) -> bool {
        self.0.colour
    }

    /// The flag that is set once the user asked to stop.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.cancel)
    }

    pub fn cancelled(&self) -> bool {
        self.0.cancel.load(Ordering::Relaxed)
    }

    /// Asks all work to stop after its current batch.
    pub fn cancel(&self) {
        self.0.cancel.store(true, Ordering::Relaxed);
    }

    /// From now on, the first Ctrl-C, SIGTERM, SIGUSR1 or SIGUSR2 asks to stop, and the second ends the
    /// process at once: the commit protocol makes even that safe. Call it once.
    ///
    /// # Errors
    /// The handlers or their thread cannot be set up.
    pub fn install_interrupt(&self) -> io::Result<Arc<AtomicBool>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let console = self.clone();
        // The handlers stand before this returns, and not only once the thread runs.
        let mut signals = {
            let _inside = runtime.enter();
            Signals::install()?
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                let person = signals.next().await;
                if !person {
                    exit::preempt();
                }
                console.cancel();
                let again = if person { "press again" } else { "a second signal" };
                console.warn(&format!("stopping after the current batch ({again} to stop at once)…"));
                signals.next().await;
                if let Some(bar) = locked(&console.0.bar).take() {
                    bar.finish_and_clear();
                }
                console.log("stopped at once");
                std::process::exit(i32::from(exit::stopped().code()));
            });
        })?;
        Ok(self.cancel_flag())
    }

    /// A console that writes to memory, as to a pipe.
    #[cfg(test)]
    pub(super) fn captured(quiet: bool, interval: Duration) -> (Self, Arc<Mutex<Vec<u8>>>) {
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                locked(&self.0).write(buf)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let said = Arc::new(Mutex::new(Vec::new()));
        (Self::over(quiet, false, false, interval, Box::new(Shared(Arc::clone(&said)))), said)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    /// What schedulers send before they kill.
    system: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let system = [SignalKind::terminate(), SignalKind::user_defined1(), SignalKind::user_defined2()];
        let [terminate, first, second] = system.map(signal);
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, system: [terminate?, first?, second?] })
    }

    /// Waits for the next; whether a person sent it.
    async fn next(&mut self) -> bool {
        let [terminate, first, second] = &mut self.system;
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = terminate.recv() => false,
            _ = first.recv() => false,
            _ = second.recv() => false,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "it can fail elsewhere")]
    fn install() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        if tokio::signal::ctrl_c().await.is_err() {
            // No handler, then nothing to wait for.
            std::future::pending::<()>().await;
        }
        true
    }
}
