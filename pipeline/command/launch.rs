//! `qstill launch`: starts the workers of a run, and finishes what they leave.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use stages::Events;
use stages::model::device;

use crate::command::arguments::{Overrides, Source, interrupted, open};
use crate::command::work::finished;
use crate::disk::durable::names;
use crate::run::plan::StageLine;
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::plural;

/// Pause between two looks at the workers.
const PAUSE: Duration = Duration::from_millis(100);
/// So many times in a row the workers of a stage are started without a shard to show for it, and so many
/// times one is replaced.
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
  qstill launch local runs/mine --gpus 0,1,2,3,4,5,6,7        a worker for each GPU
  qstill launch local runs/words --preset words -n 2          a new run
Rows are the same as those of one process. Ctrl-C stops all; the same command, or `qstill resume`, goes on.")]
pub struct Local {
    /// The run's directory, or its name under runs/.
    run: String,
    /// Number of workers. Default: one for each of --gpus, else 2.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: Option<u32>,
    /// GPUs by number or PCI address, as `qstill doctor` lists them: workers take them in turn.
    #[arg(
        long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["gpu", "device"],
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
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

impl Local {
    fn workers(&self) -> u32 {
        self.workers.unwrap_or(if self.gpus.is_empty() { 2 } else { self.gpus.len() as u32 })
    }

    /// How to go on after a stop.
    fn again(&self, workspace: &Workspace) -> String {
        let gpus =
            if self.gpus.is_empty() { String::new() } else { format!(" --gpus {}", self.gpus.join(",")) };
        let root = workspace.run.root().display();
        format!("`qstill launch local {root} -n {}{gpus}` goes on", self.workers())
    }
}

/// Works on a run until it is done.
///
/// # Errors
/// Everything that ends in an exit code.
pub fn run(args: Launch, console: &Console) -> Result<Exit> {
    let Place::Local(local) = args.place;
    for gpu in &local.gpus {
        device::find(gpu).context("--gpus")?;
    }
    let session = open(&local.run, &local.source, &local.over, console)?;
    let workspace = &session.workspace;
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
                    format!("{}: workers were killed {TRIES} times before they had a shard", line.name());
                let hint = format!("`qstill resume {}` does it without them", workspace.run.root().display());
                return Err(Failure::busy(what, hint).into());
            }
            _ => {}
        }
        let crew = Crew::start(&session, &local, &line)?;
        failed = crew.wait().map_err(|error| interrupted(error, &local.again(workspace)))?;
        before = Some(line);
    }
    Ok(Exit::Done)
}

/// The workers of a stage.
struct Crew<'a> {
    session: &'a Session,
    args: &'a Local,
    line: &'a StageLine,
    /// How many of them.
    count: u32,
    workers: Vec<Worker>,
}

struct Worker {
    number: u32,
    /// While its stdin is open it works.
    child: Child,
    /// Says on stderr what it says, and gives its last line.
    said: JoinHandle<String>,
}

impl<'a> Crew<'a> {
    fn start(session: &'a Session, args: &'a Local, line: &'a StageLine) -> Result<Self> {
        let count = args.workers().min(line.left()).max(1);
        let (crew, missing) = (plural(u64::from(count), "worker"), plural(u64::from(line.left()), "shard"));
        session.workspace.console.say(&format!("{}: {crew} for {missing}", line.name()));
        session.workspace.lend()?;
        let mut crew = Self { session, args, line, count, workers: Vec::new() };
        for number in 0..count {
            // Those that are started end with their stdin, should another not start.
            crew.workers.push(crew.worker(number)?);
        }
        Ok(crew)
    }

    fn worker(&self, number: u32) -> Result<Worker> {
        let (workspace, count) = (&self.session.workspace, self.count);
        let program = std::env::current_exe().context("failed to find this program")?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let mut command = Command::new(program);
        command.arg("work").arg(workspace.run.root()).arg("--quiet");
        command.arg(format!("--array={number}/{count}"));
        command.arg(format!("--tied={}:{}", self.line.stage.name(), self.line.round));
        if !self.args.gpus.is_empty() {
            command.arg(format!("--gpu={}", self.args.gpus[number as usize % self.args.gpus.len()]));
        }
        if std::env::var_os("RAYON_NUM_THREADS").is_none() {
            command.env("RAYON_NUM_THREADS", (cores / count).max(1).to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
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
                // Of its stop this process speaks itself.
                if !console.cancelled() {
                    console.pass_on(&format!("worker {number}: {last}"));
                }
            }
            last
        });
        Ok(Worker { number, child, said })
    }

    /// Waits for all of them while it shows how far the stage is. One that is killed is replaced. The most
    /// serious failure of one, if there is any.
    ///
    /// # Errors
    /// The wish to stop; failed reads.
    fn wait(mut self) -> Result<Option<Failure>> {
        let workspace = &self.session.workspace;
        let commits = workspace.run.stage(self.line.round, self.line.stage).join("commits");
        let (total, mut shown) = (self.line.total.map_or(0, u64::from), u64::from(self.line.done));
        let progress = workspace.console.stage(&self.line.name(), "shards", total, shown);
        let (mut failure, mut replaced): (Option<Failure>, u32) = (None, 0);
        while !self.workers.is_empty() {
            std::thread::sleep(PAUSE);
            if workspace.console.cancelled() {
                self.stop();
            }
            for worker in std::mem::take(&mut self.workers) {
                let (worker, ended) = worker.ended();
                let Some(status) = ended else {
                    self.workers.push(worker);
                    continue;
                };
                let number = worker.number;
                if status.code().is_some() {
                    let new = worker.failure(status);
                    // A wrong setting before a full disk before a server that does not answer.
                    failure = failure.into_iter().chain(new).min_by_key(|failure| failure.exit.code());
                } else if !workspace.console.cancelled() && replaced < TRIES {
                    replaced += 1;
                    workspace
                        .console
                        .warn(&format!("worker {number} was killed ({status}), and is replaced"));
                    self.workers.push(self.worker(number)?);
                } else {
                    workspace.console.warn(&format!("worker {number} was killed ({status})"));
                }
            }
            let there = names(&commits)?.len() as u64;
            progress.advance(there.saturating_sub(shown), 0, 0);
            shown = shown.max(there);
        }
        workspace.reclaim()?;
        progress.check()?;
        progress.finish();
        Ok(failure)
    }

    /// Asks all of them to stop: they do when their stdin ends.
    fn stop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.child.stdin.take());
        }
    }
}

impl Worker {
    fn ended(mut self) -> (Self, Option<ExitStatus>) {
        let ended = self.child.try_wait().ok().flatten();
        (self, ended)
    }

    /// Why it has not done its part; None if it has.
    fn failure(self, status: ExitStatus) -> Option<Failure> {
        let (number, last) = (self.number, self.said.join().unwrap_or_default());
        let code = status.code().unwrap_or(0);
        let exit = Exit::ALL.into_iter().find(|exit| i32::from(exit.code()) == code).unwrap_or(Exit::Bug);
        (exit != Exit::Done).then(|| Failure::new(exit, format!("worker {number}: {last}"), ""))
    }
}
