//! How far a stage is: a bar on a terminal, a line now and then elsewhere, and `run.log` always.
//!
//! Stages only count, through [`Events`]; one thread per stage looks at the counters and draws. So a stage
//! that reports a thousand times a second costs a thousand additions, a batch that takes a minute still shows
//! a clock that moves, and nothing is drawn from the inside of a stage. Results go to stdout elsewhere; all
//! here is stderr.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stages::events::Events;

use crate::terminal::console::Console;

/// Bars are for things that take longer than this.
const DELAY: Duration = Duration::from_secs(2);
const REDRAW: Duration = Duration::from_millis(200);

/// The counters of one stage at work. Ends with [`Progress::finish`]; dropped before that, it says where it
/// stopped.
pub struct Progress {
    shared: Arc<Shared>,
    /// Dropping the sender ends the drawing thread.
    stop: Option<Sender<()>>,
    drawing: Option<JoinHandle<()>>,
}

struct Shared {
    console: Console,
    name: String,
    unit: String,
    /// Units in all, perhaps by estimate; 0 if not known.
    total: AtomicU64,
    /// Units that were there at the start, and so say nothing of the speed.
    already: u64,
    done: AtomicU64,
    /// Units that are as good as done.
    partly: AtomicU64,
    solved: AtomicU64,
    tokens: AtomicU64,
    state: Mutex<String>,
    started: Instant,
}

impl Console {
    /// Begins to show a stage: `unit` names what is counted (`problems`, `steps`), `total` is 0 if not known,
    /// `already` of them were done before.
    pub fn stage(&self, name: &str, unit: &str, total: u64, already: u64) -> Progress {
        let shared = Arc::new(Shared {
            console: self.clone(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            total: AtomicU64::new(total),
            already,
            done: AtomicU64::new(0),
            partly: AtomicU64::new(0),
            solved: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            state: Mutex::default(),
            started: Instant::now(),
        });
        let first = if already > 0 { format!(", {already} of them done before") } else { String::new() };
        let first = match total {
            0 => format!("{name}: started{first}"),
            _ => format!("{name}: {total} {unit}{first}"),
        };
        // On a terminal the bar and the last line say as much.
        if self.is_terminal() {
            self.log(&first);
        } else {
            self.say(&first);
        }
        let (stop, stopped) = channel();
        let drawing = Arc::clone(&shared);
        let drawing =
            std::thread::Builder::new().name("progress".to_owned()).spawn(move || drawing.draw(&stopped));
        Progress { shared, stop: Some(stop), drawing: drawing.ok() }
    }
}

impl Progress {
    /// Takes the bar away and says in one line what was done.
    pub fn finish(mut self) {
        self.end();
        let shared = &self.shared;
        shared.console.say(&shared.line(&format!(" in {}", duration(shared.started.elapsed())), true));
    }

    /// Ends the drawing; true if it had not ended before.
    fn end(&mut self) -> bool {
        let running = self.stop.take().is_some();
        if let Some(thread) = self.drawing.take() {
            let _ = thread.join();
        }
        running
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.end() {
            self.shared.console.say(&self.shared.line(" when it stopped", true));
        }
    }
}

impl Events for Progress {
    fn advance(&self, done: u64, solved: u64, tokens: u64) {
        let rest = |partly: u64| Some(partly.saturating_sub(done));
        let _ = self.shared.partly.fetch_update(Relaxed, Relaxed, rest);
        self.shared.done.fetch_add(done, Relaxed);
        self.shared.solved.fetch_add(solved, Relaxed);
        self.shared.tokens.fetch_add(tokens, Relaxed);
    }

    fn partly(&self, done: u64) {
        self.shared.partly.store(done, Relaxed);
    }

    fn expect(&self, total: u64) {
        self.shared.total.store(total, Relaxed);
    }

    fn note(&self, text: &str) {
        self.shared.console.say(&format!("{}: {text}", self.shared.name));
    }

    fn state(&self, text: &str) {
        text.clone_into(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn cancelled(&self) -> bool {
        self.shared.console.cancelled()
    }
}

impl Shared {
    /// The body of the drawing thread.
    fn draw(&self, stopped: &Receiver<()>) {
        let bars = self.console.shows_bars();
        let pause = if bars { REDRAW } else { self.console.interval() };
        let (mut bar, mut line_at, mut last) = (None, Instant::now(), String::new());
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            if bars && self.started.elapsed() >= DELAY {
                let bar = bar.get_or_insert_with(|| self.new_bar());
                bar.set_length(self.total.load(Relaxed));
                bar.set_position(self.position());
                bar.set_message(self.details(false));
                bar.tick();
            }
            if line_at.elapsed() + REDRAW >= self.console.interval() {
                line_at = Instant::now();
                let line = self.line("", false);
                // What has not moved needs no second line.
                if line != last {
                    if bars {
                        self.console.log(&line);
                    } else {
                        self.console.say(&line);
                    }
                    last = line;
                }
            }
        }
        self.console.set_bar(None);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }

    fn new_bar(&self) -> ProgressBar {
        let shape = match (self.total.load(Relaxed), self.console.colour()) {
            (0, _) => "{prefix} {spinner} {pos} {wide_msg}",
            (_, true) => "{prefix:.bold} {bar:24.cyan/dim} {pos}/{len} {wide_msg}",
            (_, false) => "{prefix} {bar:24} {pos}/{len} {wide_msg}",
        };
        let bar = ProgressBar::with_draw_target(Some(self.total.load(Relaxed)), ProgressDrawTarget::stderr());
        // The templates are constants; should one be wrong, the default style is no reason to fail.
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(self.name.clone());
        self.console.set_bar(Some(bar.clone()));
        bar
    }

    fn position(&self) -> u64 {
        let at = self.already + self.done();
        match self.total.load(Relaxed) {
            0 => at,
            total => at.min(total.max(self.already + self.done.load(Relaxed))),
        }
    }

    /// Units since the start, with those that are as good as done.
    fn done(&self) -> u64 {
        self.done.load(Relaxed) + self.partly.load(Relaxed)
    }

    /// E.g. `search: 120/640 problems, 3.1/s, 33 solved, 120k tokens, 900 tok/s, 2m40s left, loss 1.2`.
    fn line(&self, ending: &str, over: bool) -> String {
        let (at, total) = (self.position(), self.total.load(Relaxed));
        let of = if total == 0 || (over && at == total) { String::new() } else { format!("/{total}") };
        let details = self.details(over);
        let comma = if details.is_empty() { "" } else { ", " };
        format!("{}: {at}{of} {}{ending}{comma}{details}", self.name, self.unit)
    }

    fn details(&self, over: bool) -> String {
        let (done, solved, tokens) = (self.done(), self.solved.load(Relaxed), self.tokens.load(Relaxed));
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let mut parts = Vec::new();
        if done > 0 {
            parts.push(rate(done as f64 / seconds));
        }
        if solved > 0 {
            parts.push(format!("{} solved", count(solved)));
        }
        if tokens > 0 {
            parts.push(format!("{} tokens", count(tokens)));
            parts.push(format!("{} tok/s", count((tokens as f64 / seconds) as u64)));
        }
        let left = self.total.load(Relaxed).saturating_sub(self.position());
        if !over && done > 0 && left > 0 {
            let left =
                Duration::try_from_secs_f64(seconds * left as f64 / done as f64).unwrap_or(Duration::MAX);
            parts.push(format!("{} left", duration(left)));
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_empty() {
            parts.push(state.clone());
        }
        parts.join(", ")
    }
}

/// A count for people: `950`, `12.3k`, `4.5M`.
pub fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", n as f64 / 1e6),
        _ => format!("{:.1}G", n as f64 / 1e9),
    }
}

/// A time span for people: `0.4s`, `42s`, `3m20s`, `1h05m`.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", span.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 100.0 => format!("{}/s", count(r as u64)),
        r if r >= 1.0 => format!("{r:.1}/s"),
        r if r * 60.0 >= 1.0 => format!("{:.1}/min", r * 60.0),
        r => format!("{:.1}/h", r * 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// What is written to "stderr" and to the log while `body` runs.
    fn talk(quiet: bool, body: impl FnOnce(&Console)) -> io::Result<(Vec<String>, Vec<String>)> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("run.log");
        let (console, said) = Console::captured(quiet, Duration::from_millis(300));
        console.log_to(&log)?;
        body(&console);
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        let said = lines(&String::from_utf8_lossy(&said.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok((said, lines(&std::fs::read_to_string(log)?)))
    }

    #[test]
    fn plain_lines_come_first_last_and_in_between() -> io::Result<()> {
        let (said, log) = talk(false, |console| {
            let progress = console.stage("search", "problems", 640, 100);
            progress.advance(20, 5, 30_000);
            progress.state("loss 1.2");
            progress.note("one row was odd");
            // As good as done, of which some are done a moment later.
            progress.partly(30);
            progress.advance(20, 0, 0);
            std::thread::sleep(Duration::from_millis(450));
            progress.advance(500, 0, 0);
            progress.finish();
        })?;
        assert_eq!(said[0], "search: 640 problems, 100 of them done before");
        assert_eq!(said[1], "search: one row was odd");
        assert!(said[2].starts_with("search: 150/640 problems, "), "{said:?}");
        assert!(
            said[2].contains("5 solved, 30.0k tokens, ") && said[2].ends_with(" left, loss 1.2"),
            "{said:?}"
        );
        assert!(said[3].starts_with("search: 640 problems in 0."), "{said:?}");
        assert_eq!((said.len(), log.len()), (4, 4));
        assert!(log[0].ends_with(&format!("Z {}", said[0])), "{log:?}");
        Ok(())
    }

    #[test]
    fn what_is_dropped_says_where_it_stopped() -> io::Result<()> {
        let (said, _) = talk(false, |console| {
            let progress = console.stage("train", "steps", 10, 0);
            progress.advance(4, 0, 0);
            assert!(!progress.cancelled());
            console.cancel();
            assert!(progress.check().is_err());
        })?;
        assert!(said[1].starts_with("train: 4/10 steps when it stopped, "), "{said:?}");
        Ok(())
    }

    #[test]
    fn quiet_says_warnings_only_and_logs_all() -> io::Result<()> {
        let (said, log) = talk(true, |console| {
            console.stage("curate", "rows", 0, 0).finish();
            console.warn("look here");
        })?;
        assert_eq!(said, ["look here"]);
        assert_eq!(log.len(), 3);
        Ok(())
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([count(950), count(12_345), count(4_500_000)], ["950", "12.3k", "4.5M"]);
        let spans = [0.42, 42.0, 200.0, 3900.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(spans, ["0.4s", "42s", "3m20s", "1h05m"]);
        assert_eq!(
            [rate(250.0), rate(3.12), rate(0.5), rate(0.001)],
            ["250/s", "3.1/s", "30.0/min", "3.6/h"]
        );
    }
}
