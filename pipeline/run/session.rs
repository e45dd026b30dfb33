//! A run in hand: its lock, configuration and what it has, and the one loop over shards that every stage goes
//! through.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::key;
use stages::fault;
use stages::model::{Choice, Model, device, hf};
use toml::Table;

use crate::config::Config;
use crate::disk::commit::{Attempt, StageDir};
use crate::disk::durable::{remove_leftovers, write_atomic};
use crate::disk::layout::{RunDir, Stage};
use crate::disk::lock::Lock;
use crate::disk::record::{Check, Commit};
use crate::disk::scan::scan;
use crate::run::plan::{self, Fingerprint, StageLine, Standing, State};
use crate::run::rows::{Counts, Done};
use crate::run::work::Goal;
use crate::terminal::console::Console;
use crate::terminal::progress::Progress;

/// A run that this process holds.
pub struct Session {
    pub run: RunDir,
    pub config: Config,
    pub table: Table,
    pub console: Console,
    /// None when only looking: nothing is written then.
    lock: Option<Lock>,
    /// What a walk saw of each stage.
    lines: RefCell<Vec<StageLine>>,
    device: OnceCell<Choice>,
    base: OnceCell<Arc<Model>>,
}

/// A stage of a round whose shards are known.
pub struct Opened {
    pub path: PathBuf,
    /// None when only looking.
    dir: Option<StageDir>,
    pub stage: Stage,
    pub round: u32,
    pub fingerprint: String,
    pub state: State,
    pub commits: Vec<Commit>,
}

impl Opened {
    /// The directory, to write to.
    ///
    /// # Errors
    /// If the run is only looked at.
    pub fn dir(&self) -> Result<StageDir> {
        self.dir.clone().context("the run is not held by this process")
    }
}

impl Session {
    /// Takes the run's lock and, if it is to be `kept`, saves the resolved configuration in it.
    ///
    /// # Errors
    /// Busy if another process holds the run; failed writes.
    pub fn open(
        run: RunDir,
        config: Config,
        table: Table,
        console: Console,
        command: &str,
        kept: bool,
    ) -> Result<Self> {
        let lock = Lock::acquire(run.root(), command)?;
        console.log_to(&run.log()).with_context(|| format!("failed to open {}", run.log().display()))?;
        let text = table.to_string();
        let saved = std::fs::read_to_string(run.config()).ok();
        if kept && saved.as_deref() != Some(text.as_str()) {
            if saved.is_some() {
                console.say(&format!("{}: replaced by the configuration given now", run.config().display()));
            }
            write_atomic(&run.config(), text.as_bytes())
                .with_context(|| format!("failed to write {}", run.config().display()))?;
        }
        stages::policy::endpoint::clear_answers(&run.responses())
            .with_context(|| format!("failed to clear {}", run.responses().display()))?;
        for round in run.rounds()? {
            remove_leftovers(&run.round(round))
                .with_context(|| format!("failed to clear {}", run.round(round).display()))?;
        }
        Ok(Self { lock: Some(lock), ..Self::look(run, config, table, console) })
    }

    /// A run to look at, without taking its lock: another process may be working on it.
    pub fn look(run: RunDir, config: Config, table: Table, console: Console) -> Self {
        Self {
            run,
            config,
            table,
            console,
            lock: None,
            lines: RefCell::default(),
            device: OnceCell::new(),
            base: OnceCell::new(),
        }
    }

    /// Every stage of every round and how far it is.
    ///
    /// # Errors
    /// Failed reads; inputs that are gone.
    pub fn lines(&self) -> Result<Vec<StageLine>> {
        self.lines.borrow_mut().clear();
        self.advance(Goal::Look)?;
        let mut lines = self.lines.take();
        let expected = std::iter::once((0, Stage::Problems)).chain(
            (1..=self.config.run.rounds)
                .flat_map(|round| Stage::ALL.into_iter().map(move |s| (round, s)))
                .filter(|(round, s)| match s {
                    Stage::Problems => false,
                    Stage::Value => self.config.has_value(*round),
                    Stage::Gate => self.config.has_gate(),
                    _ => true,
                }),
        );
        for (round, stage) in expected {
            if !lines.iter().any(|l| l.round == round && l.stage == stage) {
                let (changes, missing) = (Vec::new(), Vec::new());
                lines.push(StageLine {
                    round,
                    stage,
                    state: Standing::Waiting,
                    done: 0,
                    total: None,
                    rows: 0,
                    detail: Vec::new(),
                    changes,
                    missing,
                });
            }
        }
        Ok(lines)
    }

    /// The device, chosen once and said once.
    ///
    /// # Errors
    /// If the one asked for cannot be used.
    pub fn device(&self) -> Result<&Choice> {
        if let Some(choice) = self.device.get() {
            return Ok(choice);
        }
        let choice = device::choose(self.config.run.device)?;
        choice.dtype(self.config.model.dtype)?;
        self.console.say(&choice.why);
        Ok(self.device.get_or_init(|| choice))
    }

    /// A section of the resolved configuration.
    pub fn section(&self, name: &str) -> Table {
        self.table.get(name).and_then(|v| v.as_table()).cloned().unwrap_or_default()
    }

    /// A section less the keys that do not change what is computed.
    pub fn section_without(&self, name: &str, keys: &[&str]) -> Table {
        let mut section = self.section(name);
        section.retain(|key, _| !keys.contains(&key));
        section
    }

    /// The model that a run starts from: read from its directory, or untrained with a tokenizer of the run's
    /// own texts.
    ///
    /// # Errors
    /// An unreadable model directory; sizes that do not fit.
    pub fn base(&self, texts: impl FnOnce() -> Result<Vec<String>>) -> Result<Arc<Model>> {
        if let Some(model) = self.base.get() {
            return Ok(Arc::clone(model));
        }
        let model =
            Arc::new(stages::train::base(&self.config.model, texts, self.config.run.seed, self.device()?)?);
        Ok(Arc::clone(self.base.get_or_init(|| model)))
    }

    /// The student that a train stage gave.
    ///
    /// # Errors
    /// If its directory is missing or damaged.
    pub fn student_of(&self, trained: &Done) -> Result<Arc<Model>> {
        let round = trained.path.parent().context("a train stage is in the directory of its round")?;
        self.load(&round.join("student"))
    }

    /// A round's student.
    ///
    /// # Errors
    /// If its directory is missing or damaged.
    pub fn student(&self, round: u32) -> Result<Arc<Model>> {
        self.load(&self.run.student(round))
    }

    fn load(&self, directory: &Path) -> Result<Arc<Model>> {
        let device = self.device()?;
        let mut model = hf::load(directory, &device.device)?;
        model.llama.dtype = device.dtype(self.config.model.dtype)?;
        Ok(Arc::new(model))
    }

    /// Opens a stage: what is committed under this fingerprint counts, the rest is set aside and said.
    /// `total` is the number of shards; `None` if only the stage itself finds out (its last commit says so).
    ///
    /// # Errors
    /// Failed reads and moves.
    pub fn stage(
        &self,
        stage: Stage,
        round: u32,
        fingerprint: &Fingerprint,
        total: Option<u32>,
    ) -> Result<Opened> {
        let path = self.run.stage(round, stage);
        let stored = Fingerprint::load(&path)?;
        let hash = fingerprint.hash();
        let mut detail = Vec::new();
        let (dir, commits, foreign) = match &self.lock {
            Some(lock) => {
                let dir = StageDir::open(&path, lock)?;
                let commits = dir.committed(&hash, Check::Hash, &|line| self.console.warn(line))?;
                (Some(dir), commits, false)
            }
            None => {
                let found = scan(&path, &hash, Check::Length)?;
                detail.extend(found.damaged.iter().map(|d| format!("damaged: {}", d.why)));
                (None, found.good, !found.stale.is_empty())
            }
        };
        // Only the last shard says how many there are, so a number that it is not the last of is none.
        let says = |c: &Commit| {
            c.counts.get("shards").filter(|n| **n == i64::from(c.shard) + 1).map(|_| c.shard + 1)
        };
        let known = total.or_else(|| commits.iter().find_map(says));
        let good: BTreeSet<u32> = commits.iter().map(|c| c.shard).collect();
        // Without a total at least one more shard is to come: the one that will say how many there are.
        let expected = known.unwrap_or_else(|| good.last().map_or(1, |last| last + 2));
        let state = plan::state(fingerprint, stored.as_ref(), expected, &good, foreign);
        let standing = match &state {
            State::Absent => Standing::Outstanding,
            State::Partial { .. } => Standing::Partial,
            State::Stale { changes } => {
                detail.extend(changes.iter().map(ToString::to_string));
                Standing::Stale
            }
            State::Done => Standing::Done,
        };
        if let (State::Stale { changes }, Some(_)) = (&state, &dir) {
            let what: Vec<String> = changes.iter().map(ToString::to_string).collect();
            self.console.say(&format!("{} is outstanding again: {}", name(stage, round), what.join("; ")));
        }
        let rows = commits.iter().flat_map(|c| &c.files).map(|f| f.rows).sum();
        let (changes, missing) = match &state {
            State::Stale { changes } => (changes.clone(), Vec::new()),
            State::Partial { missing } => (Vec::new(), missing.clone()),
            _ => (Vec::new(), Vec::new()),
        };
        let done = good.len() as u32;
        let line =
            StageLine { round, stage, state: standing, done, total: known, rows, detail, changes, missing };
        self.lines.borrow_mut().push(line);
        if state.is_done() && dir.is_some() {
            // A kill between the commit and their removal leaves the checkpoints.
            let checkpoints = path.join("checkpoints");
            if checkpoints.exists() {
                std::fs::remove_dir_all(&checkpoints)
                    .with_context(|| format!("failed to remove {}", checkpoints.display()))?;
            }
        }
        if dir.is_some() {
            fingerprint.save(&path)?;
        }
        Ok(Opened { path, dir, stage, round, fingerprint: hash, state, commits })
    }

    /// Runs the missing shards of a stage. `unit` and `size` describe what the bar counts.
    ///
    /// # Errors
    /// The first error of `work`; committed shards stay.
    pub fn shards(
        &self,
        opened: Opened,
        total: u32,
        unit: &str,
        size: u64,
        mut work: impl FnMut(u32, &mut Attempt, &Progress) -> Result<Counts>,
    ) -> Result<Vec<Commit>> {
        let dir = opened.dir()?;
        let Opened { stage, round, fingerprint, commits, .. } = opened;
        let done: BTreeSet<u32> = commits.iter().map(|c| c.shard).collect();
        let mut missing = plan::outstanding(total, &done);
        if let Some(seed) = fault::number("shard-order") {
            missing.sort_by_key(|shard| key::digest(&[seed.into(), u64::from(*shard).into()]));
        }
        let label = name(stage, round);
        if missing.is_empty() {
            self.console.say(&format!("{label}: {total} of {total} shards are committed, nothing to do"));
            return Ok(commits);
        }
        if !done.is_empty() {
            self.console.say(&format!("{label}: {} of {total} shards are committed and skipped", done.len()));
        }
        let already = commits.iter().filter_map(|c| c.counts.get("units")).sum::<i64>() as u64;
        let progress = self.console.stage(&label, unit, size, already);
        let mut all = commits;
        for shard in missing {
            stages::Events::check(&progress)?;
            let mut attempt = dir.begin(shard);
            let counts = work(shard, &mut attempt, &progress)?;
            all.push(attempt.commit(&fingerprint, counts)?);
        }
        progress.finish();
        all.sort_by_key(|c| c.shard);
        Ok(all)
    }
}

/// A stage's name for people.
pub fn name(stage: Stage, round: u32) -> String {
    if stage == Stage::Problems { stage.name().to_owned() } else { format!("round {round} {}", stage.name()) }
}
