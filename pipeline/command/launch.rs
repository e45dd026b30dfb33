//! `qstill launch`: starts the workers of a run, and finishes what they leave.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use stages::Events;

use crate::command::arguments::{Overrides, Source, interrupted, open};
use crate::command::work::{finished, left, name};
use crate::disk::durable::names;
use crate::run::plan::StageLine;
use crate::run::session::Session;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::plural;

/// Pause between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(100);
/// So many times in a row workers are started without a shard to show for it.
const TRIES: u32 = 3;

/// Start the workers of a run, and finish what they leave.
#[derive(Args)]
pub struct Launch {
    #[command(subcommand)]
    place: Place,
}

#[derive(Subcommand)]
enum Place {
    Local(Local),
}

/// On this machine, as processes.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill launch local runs/mine -n 8 --gpus 0,1,2,3,4,5,6,7    a worker for each GPU
  qstill launch local runs/words --preset words -n 2           a new run
Rows are the same as those of one process. Ctrl-C stops all; the same command, or `qstill resume`, goes on.")]
pub struct Local {
    /// The run's directory, or its name under runs/.
    run: String,
    /// Number of workers.
    #[arg(
        short = 'n', long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    workers: u32,
    /// GPUs by number or PCI address, as `qstill doctor` lists them: workers take them in turn.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["gpu", "device"])]
    gpus: Vec<String>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    over: Overrides,
}

impl Launch {
    /// The run that is worked on.
    pub fn run(&self) -> &str {
        let Place::Local(local) = &self.place;
        &local.run
    }
}

/// Works on a run until it is done.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn run(args: Launch, console: &Console) -> Result<Exit> {
    let Place::Local(local) = args.place;
    let session = open(&local.run, &local.source, &local.over, console)?;
    let root = session.workspace.run.root().display().to_string();
    let (mut before, mut failed, mut tries): (Option<StageLine>, Option<Failure>, u32) = (None, None, 0);
    while let Some(line) = finished(&session)? {
        let at = |line: &StageLine| (line.stage, line.round);
        let same = before.as_ref().is_some_and(|old| at(old) == at(&line));
        tries = if same && before.is_some_and(|old| old.done == line.done) { tries + 1 } else { 0 };
        // A worker that failed is no matter if the others have done the stage.
        match failed.take().filter(|_| same) {
            Some(failure) if failure.exit != Exit::Busy || tries == TRIES => return Err(failure.into()),
            None if tries == TRIES => {
                let what =
                    format!("{}: workers were killed {TRIES} times before they had a shard", name(&line));
                return Err(
                    Failure::busy(what, format!("`qstill resume {root}` does it without them")).into()
                );
            }
            _ => {}
        }
        let crew = Crew::start(&session, &local, &line)?;
        let waited = crew.wait(&session, &line);
        failed =
            waited.map_err(|error| interrupted(error, &format!("`qstill launch local {root}` goes on")))?;
        before = Some(line);
    }
    Ok(Exit::Done)
}

/// Workers that were started.
struct Crew(Vec<Worker>);

struct Worker {
    number: usize,
    child: Child,
    /// Says on stderr what it says, and gives its last line.
    said: JoinHandle<String>,
    ended: Option<ExitStatus>,
}

impl Crew {
    fn start(session: &Session, args: &Local, line: &StageLine) -> Result<Self> {
        let workspace = &session.workspace;
        let workers = args.workers.min(left(line)).max(1);
        let missing = plural(u64::from(left(line)), "shard");
        let crew = plural(u64::from(workers), "worker");
        workspace.console.say(&format!("{}: {crew} for {missing}", name(line)));
        workspace.lend()?;
        let program = std::env::current_exe().context("failed to find this program")?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let one = |number: u32| -> Result<Worker> {
            let mut command = Command::new(&program);
            command
                .arg("work")
                .arg(workspace.run.root())
                .arg(format!("--array={number}/{workers}"))
                .arg("--quiet");
            if !args.gpus.is_empty() {
                command.arg(format!("--gpu={}", args.gpus[number as usize % args.gpus.len()]));
            }
            if std::env::var_os("RAYON_NUM_THREADS").is_none() {
                command.env("RAYON_NUM_THREADS", (cores / workers).max(1).to_string());
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            // Ctrl-C is for this process, which passes it on.
            #[cfg(unix)]
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            let mut child = command.spawn().context("failed to start a worker")?;
            let lines = child.stderr.take().map(BufReader::new);
            let console = workspace.console.clone();
            let said = std::thread::spawn(move || {
                let mut last = String::new();
                for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                    last = line.trim_start_matches("qstill: ").trim_start_matches("error: ").to_owned();
                    console.pass_on(&format!("worker {number}: {last}"));
                }
                last
            });
            Ok(Worker { number: number as usize, child, said, ended: None })
        };
        let mut crew = Self(Vec::new());
        for number in 0..workers {
            match one(number) {
                Ok(worker) => crew.0.push(worker),
                Err(error) => {
                    crew.stop();
                    return Err(error);
                }
            }
        }
        Ok(crew)
    }

    /// Waits for all of them while it shows how far the stage is.
    ///
    /// # Errors
    /// The wish to stop; failed reads.
    fn wait(mut self, session: &Session, line: &StageLine) -> Result<Option<Failure>> {
        let workspace = &session.workspace;
        let path = workspace.run.stage(line.round, line.stage);
        let total = line.total.map_or(0, u64::from);
        let progress = workspace.console.stage(&name(line), "shards", total, u64::from(line.done));
        let (mut shown, mut told) = (u64::from(line.done), false);
        while self.0.iter_mut().any(Worker::lives) {
            let there = names(&path.join("commits"))?.len() as u64;
            progress.advance(there.saturating_sub(shown), 0, 0);
            shown = shown.max(there);
            if workspace.console.cancelled() && !told {
                self.stop();
                told = true;
            }
            std::thread::sleep(PAUSE);
        }
        let failures = self.0.into_iter().filter_map(|worker| worker.failure(&workspace.console));
        // The most serious: a wrong setting before a full disk before a server that does not answer.
        let failure = failures.min_by_key(|failure| failure.exit.code());
        workspace.reclaim()?;
        progress.check()?;
        progress.finish();
        Ok(failure)
    }

    /// Asks all of them to stop.
    fn stop(&mut self) {
        for worker in &mut self.0 {
            #[cfg(unix)]
            {
                use nix::sys::signal::{Signal, kill};
                // One that has ended by itself has nothing to stop.
                let _ = kill(nix::unistd::Pid::from_raw(worker.child.id() as i32), Signal::SIGTERM);
            }
            #[cfg(not(unix))]
            {
                let _ = worker.child.kill();
            }
        }
    }
}

impl Worker {
    fn lives(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// Why it has not done its part; None if it has, or was killed: others do it then.
    fn failure(self, console: &Console) -> Option<Failure> {
        let (number, last) = (self.number, self.said.join().unwrap_or_default());
        let ended = self.ended?;
        let Some(code) = ended.code() else {
            console.warn(&format!("worker {number} was killed ({ended}); its shards are done again"));
            return None;
        };
        let exit = Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code).unwrap_or(Exit::Bug);
        (exit != Exit::Done).then(|| Failure::new(exit, format!("worker {number}: {last}"), ""))
    }
}
