//! What stages work with, and nothing of the configuration: the run's directory, its lock, the console, and
//! the device; and the one loop over shards that every stage goes through.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datasets::domains::Domains;
use datasets::key;
use stages::fault;
use stages::model::{Choice, DeviceSetting, Model, Precision, device, hf};

use crate::disk::commit::{Attempt, StageDir};
use crate::disk::durable::names;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::lock::{Lock, Share};
use crate::disk::record::{Check, Commit};
use crate::disk::scan::scan;
use crate::run::commanded::{CHANGED, unsound};
use crate::run::fingerprint::Fingerprint;
use crate::run::plan::{self, StageLine, Standing, State};
use crate::run::rows::{Counts, StageOutput};
use crate::run::turn::Turn;
use crate::terminal::console::Console;
use crate::terminal::exit::Failure;
use crate::terminal::progress::Progress;

/// SHA-256 of each file of a model directory, by name.
pub type FileHashes = BTreeMap<String, String>;

/// What this process may do with a run.
#[derive(Debug)]
pub enum Rights {
    /// Nothing: it looks.
    Look,
    /// Add shards, beside others that do.
    Share(Share, Turn),
    /// Everything.
    All(Lock),
}

/// A run in the hands of this process.
pub struct Workspace {
    pub run: RunDir,
    pub console: Console,
    rights: Arc<Rights>,
    setting: DeviceSetting,
    device: OnceCell<Choice>,
    /// What a walk saw of each stage.
    lines: RefCell<Vec<StageLine>>,
    /// Of model directories: their files are hashed once.
    hashes: Rc<RefCell<HashMap<PathBuf, FileHashes>>>,
    base: OnceCell<Arc<Model>>,
    /// Stages whose files this process has compared with their records; what came since is of its workers.
    compared: RefCell<BTreeSet<PathBuf>>,
    /// Domains that commands have a part in, by their settings, with a name that says what the commands are:
    /// processes and answers are shared.
    commanded: Rc<RefCell<HashMap<String, (String, Domains)>>>,
}

/// A stage of a round whose shards are known.
pub struct Opened {
    path: PathBuf,
    /// None when only looking.
    dir: Option<StageDir>,
    pub stage: Stage,
    pub round: u32,
    /// Hash of the stage's inputs.
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

    /// The stage's name for people.
    pub fn name(&self) -> String {
        self.stage.in_round(self.round)
    }

    /// Folder for checkpoints of its work.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The stage's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the stage has given, with these commits.
    pub fn output(&self, commits: Vec<Commit>) -> StageOutput {
        StageOutput::new(self.path.clone(), commits)
    }
}

impl Workspace {
    pub fn new(run: RunDir, console: Console, rights: Rights, setting: DeviceSetting) -> Self {
        Self {
            run,
            console,
            rights: Arc::new(rights),
            setting,
            device: OnceCell::new(),
            lines: RefCell::default(),
            hashes: Rc::default(),
            base: OnceCell::new(),
            compared: RefCell::default(),
            commanded: Rc::default(),
        }
    }

    /// The same process at work on a part of the run that is laid out as a run of its own.
    #[must_use]
    pub fn within(&self, part: RunDir) -> Self {
        Self {
            run: part,
            console: self.console.clone(),
            rights: Arc::clone(&self.rights),
            setting: self.setting.clone(),
            device: self.device.clone(),
            lines: RefCell::default(),
            hashes: Rc::clone(&self.hashes),
            base: OnceCell::new(),
            compared: RefCell::default(),
            commanded: Rc::clone(&self.commanded),
        }
    }

    /// Takes what a walk saw of each stage.
    pub fn take_lines(&self) -> Vec<StageLine> {
        self.lines.take()
    }

    /// The device, chosen once and said once.
    ///
    /// # Errors
    /// If the one asked for cannot be used.
    pub fn device(&self) -> Result<&Choice> {
        if let Some(choice) = self.device.get() {
            return Ok(choice);
        }
        let choice = device::choose(&self.setting)?;
        self.console.say(&choice.why);
        Ok(self.device.get_or_init(|| choice))
    }

    /// Reads a model directory.
    ///
    /// # Errors
    /// If it is missing or damaged; a type that the device does not compute in.
    pub fn load(&self, directory: &Path, dtype: Precision) -> Result<Arc<Model>> {
        let device = self.device()?;
        let mut model = hf::load(directory, &device.device)?;
        device.prepare(&mut model.decoder, dtype)?;
        Ok(Arc::new(model))
    }

    /// The model that the run starts from, made once.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn base(&self, make: impl FnOnce() -> Result<Arc<Model>>) -> Result<Arc<Model>> {
        if let Some(model) = self.base.get() {
            return Ok(Arc::clone(model));
        }
        let model = make()?;
        Ok(Arc::clone(self.base.get_or_init(|| model)))
    }

    /// Hashes of the files of a model directory, computed once.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn file_hashes(&self, directory: &Path) -> Result<FileHashes> {
        if let Some(known) = self.hashes.borrow().get(directory) {
            return Ok(known.clone());
        }
        let found = hf::file_hashes(directory)?;
        self.hashes.borrow_mut().insert(directory.to_path_buf(), found.clone());
        Ok(found)
    }

    /// Domains that commands have a part in, made once for each setting. The name says what the files of the
    /// commands are, too.
    ///
    /// # Errors
    /// Those of `make`; files that have changed since they were made.
    pub fn commanded(
        &self,
        (setting, name): (String, String),
        make: impl FnOnce() -> Result<Domains>,
    ) -> Result<Domains> {
        if let Some((known, domains)) = self.commanded.borrow().get(&setting) {
            let changed = "a file of verify.command or problems.rules has changed while the run used it";
            return if *known == name {
                Ok(domains.clone())
            } else {
                Err(Failure::input(changed, CHANGED).into())
            };
        }
        let made = make()?;
        self.commanded.borrow_mut().insert(setting, (name, made.clone()));
        Ok(made)
    }

    /// Whether what commands have said so far may be committed.
    ///
    /// # Errors
    /// The user asked to stop; a command that does not work.
    pub fn sound(&self) -> Result<()> {
        for (_, domains) in self.commanded.borrow().values() {
            domains.sound().map_err(unsound)?;
        }
        Ok(())
    }

    /// Opens a stage: what is committed under this fingerprint counts, the rest is set aside and said.
    /// `total` is the number of shards; `None` if only the stage itself finds out (its last commit says so).
    ///
    /// # Errors
    /// Failed reads and moves; a stage of another format.
    pub fn open(&self, at: (Stage, u32), fingerprint: &Fingerprint, total: Option<u32>) -> Result<Opened> {
        let (stage, round) = at;
        let path = self.run.stage(round, stage);
        let stored = Fingerprint::load(&path)?;
        if stored.as_ref().is_some_and(|stored| !stored.is_current()) {
            return Err(self.of_another_format());
        }
        let hash = fingerprint.hash();
        let mut detail = Vec::new();
        let (dir, commits, foreign) = match &*self.rights {
            Rights::All(lock) => {
                let dir = StageDir::open(&path, lock)?;
                let first = self.compared.borrow_mut().insert(path.clone());
                let check = if first { Check::Hash } else { Check::Length };
                let commits = dir.committed(&hash, check, &|line| self.console.warn(line))?;
                (Some(dir), commits, false)
            }
            Rights::Share(share, _) if stage.is_shared() => {
                let found = scan(&path, &hash, Check::Length)?;
                let other = stored.as_ref().is_some_and(|stored| stored.hash() != hash);
                if other || !found.stale.is_empty() || !found.damaged.is_empty() {
                    return Err(self.to_be_cleared(&stage.in_round(round)));
                }
                (Some(StageDir::join(&path, share)?), found.good, false)
            }
            Rights::Look | Rights::Share(..) => {
                let found = scan(&path, &hash, Check::Length)?;
                detail.extend(found.damaged.iter().map(|d| format!("damaged: {}", d.why)));
                (None, found.good, !found.stale.is_empty())
            }
        };
        let known = total.or_else(|| commits.iter().find_map(says_how_many));
        let good: BTreeSet<u32> = commits.iter().map(|c| c.shard).collect();
        // Without a total at least one more shard is to come: the one that will say how many there are.
        let expected = known.unwrap_or_else(|| good.last().map_or(1, |last| last + 2));
        let state = plan::state(fingerprint, stored.as_ref(), expected, &good, foreign);
        let opened = Opened { path, dir, stage, round, fingerprint: hash, state, commits };
        self.note(&opened, known, detail)?;
        if opened.dir.is_some() {
            if opened.state.is_done() && matches!(*self.rights, Rights::All(_)) {
                // A kill between the commit and their removal leaves the checkpoints.
                let checkpoints = opened.checkpoints();
                if checkpoints.exists() {
                    std::fs::remove_dir_all(&checkpoints)
                        .with_context(|| format!("failed to remove {}", checkpoints.display()))?;
                }
            }
            fingerprint.save(&opened.path)?;
        }
        Ok(opened)
    }

    /// What workers leave to a process that has the whole run.
    fn to_be_cleared(&self, stage: &str) -> anyhow::Error {
        let root = self.run.root().display();
        Failure::busy(
            format!("{stage} was begun with other settings, or has damaged shards"),
            format!("`qstill finish {root}` sets aside what does not count"),
        )
        .into()
    }

    /// Lets workers add shards.
    ///
    /// # Errors
    /// A run that this process has not to itself; the file system.
    pub fn lend(&self) -> Result<()> {
        match &*self.rights {
            Rights::All(lock) => lock.lend().context("failed to unlock the run"),
            _ => bail!("the run is not held by this process"),
        }
    }

    /// Keeps them out again.
    ///
    /// # Errors
    /// Workers that are still at work.
    pub fn reclaim(&self) -> Result<()> {
        match &*self.rights {
            Rights::All(lock) => Ok(lock.reclaim()?),
            _ => bail!("the run is not held by this process"),
        }
    }

    /// Whether this process is the one to do a shard, unless it is left over.
    pub fn owns(&self, shard: u32) -> bool {
        match &*self.rights {
            Rights::Share(_, turn) => turn.owns(shard),
            _ => true,
        }
    }

    fn of_another_format(&self) -> anyhow::Error {
        let root = self.run.root().display();
        Failure::usage(
            format!(
                "{root} was made by an earlier version of qstill, which recorded its inputs in another \
                     form"
            ),
            format!(
                "finish it with that version, or start anew: `qstill run --config {root}/run.toml --run \
                 NAME`; inspect, audit and verify-run read it as it is"
            ),
        )
        .into()
    }

    /// Notes how a stage stands for `status`, and says why it is outstanding again.
    fn note(&self, opened: &Opened, total: Option<u32>, mut detail: Vec<String>) -> Result<()> {
        let (mut changes, mut missing) = (Vec::new(), Vec::new());
        let standing = match &opened.state {
            State::Absent => Standing::Outstanding,
            State::Partial { missing: shards } => {
                missing.clone_from(shards);
                Standing::Partial
            }
            State::Stale { changes: fields } => {
                changes.clone_from(fields);
                detail.extend(fields.iter().map(ToString::to_string));
                Standing::Stale
            }
            State::Done => Standing::Done,
        };
        if standing == Standing::Stale && opened.dir.is_some() {
            let what: Vec<String> = changes.iter().map(ToString::to_string).collect();
            self.console.say(&format!("{} is outstanding again: {}", opened.name(), what.join("; ")));
        }
        if standing != Standing::Done
            && let Some(last) = names(&opened.checkpoints())?.last()
        {
            detail.push(format!("checkpoint {last}"));
        }
        let rows = opened.commits.iter().flat_map(|c| &c.files).map(|f| f.rows).sum();
        self.lines.borrow_mut().push(StageLine {
            round: opened.round,
            stage: opened.stage,
            state: standing,
            done: opened.commits.len() as u32,
            total,
            rows,
            detail,
            changes,
            missing,
        });
        Ok(())
    }

    /// Runs the missing shards of a stage.
    ///
    /// # Errors
    /// The first error of `work`; committed shards stay.
    pub fn shards(
        &self,
        opened: &Opened,
        size: &Size<'_>,
        mut work: impl FnMut(u32, &mut Attempt, &Progress) -> Result<Counts>,
    ) -> Result<StageOutput> {
        let (dir, label, total) = (opened.dir()?, opened.name(), size.shards);
        let done: BTreeSet<u32> = opened.commits.iter().map(|c| c.shard).collect();
        let mut missing = plan::outstanding(total, &done);
        if let Some(seed) = fault::number("shard-order") {
            missing.sort_by_key(|shard| key::digest(&[seed.into(), u64::from(*shard).into()]));
        }
        if missing.is_empty() {
            self.console.say(&format!("{label}: {total} of {total} shards are committed, nothing to do"));
            return Ok(opened.output(opened.commits.clone()));
        }
        if !done.is_empty() {
            self.console.say(&format!("{label}: {} of {total} shards are committed and skipped", done.len()));
        }
        let already = opened.commits.iter().filter_map(|c| c.counts.get("units")).sum::<i64>() as u64;
        let progress = self.console.stage(&label, size.unit, size.units, already);
        let mut all = opened.commits.clone();
        let mut one = |shard: u32| -> Result<Commit> {
            stages::Events::check(&progress)?;
            let mut attempt = dir.begin(shard);
            let counts = work(shard, &mut attempt, &progress)?;
            self.sound()?;
            attempt.commit(&opened.fingerprint, counts)
        };
        if let Rights::Share(_, turn) = &*self.rights {
            while let Some((shard, _in_hand)) = turn.next(&dir, total, &progress)? {
                one(shard)?;
            }
            all = scan(opened.path(), &opened.fingerprint, Check::Length)?.good;
        } else {
            for shard in missing {
                all.push(one(shard)?);
            }
            all.sort_by_key(|c| c.shard);
        }
        progress.finish();
        Ok(opened.output(all))
    }
}

/// How much there is to do of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Size<'a> {
    pub shards: u32,
    /// What the bar counts, and how many of them there are; 0 if that is not known.
    pub unit: &'a str,
    pub units: u64,
}

/// Only the last shard says how many there are, so a number that it is not the last of is none.
fn says_how_many(commit: &Commit) -> Option<u32> {
    let all = commit.counts.get("shards").filter(|n| **n == i64::from(commit.shard) + 1);
    all.map(|_| commit.shard + 1)
}
