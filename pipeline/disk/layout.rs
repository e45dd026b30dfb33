//! Where things are in a run directory.
//!
//! ```text
//! runs/NAME/run.toml             the resolved configuration
//!           lock                 who holds the run (see `lock`)
//!           run.log              all that was said, with times
//!           evaluation.json      the table of results
//!           report.html          the run as a page
//!           responses/           logs of the answers of an HTTP policy
//!           verifier/            logs of the answers of a verifier's command
//!           problems/            the problems stage: one for all rounds, so it stands above them
//!           round-K/STAGE/       search, verify, ..., evaluate (see `commit` for what is inside)
//!           round-K/value-LEVEL/ a value model and how good it is
//!           round-K/student/     a model directory
//!           ablation/ARM/        an arm of `qstill ablate`: its curation, and in seed-S/ its students
//! ```
//!
//! What cannot be trusted is moved into a `damaged/` folder beside it, never deleted and never read as data.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::durable::names;
use crate::terminal::exit::Failure;

/// The stages, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Problems,
    Search,
    Verify,
    Curate,
    Value,
    Score,
    Train,
    Gate,
    Evaluate,
    /// Searches compared, by a command of its own.
    Bakeoff,
    /// Answers chosen among samples, by the same command.
    Selection,
    /// Students compared, by a command of its own.
    Ablation,
}

impl Stage {
    /// Those of a run; the others belong to commands of their own.
    pub const ALL: [Stage; 9] = [
        Stage::Problems,
        Stage::Search,
        Stage::Verify,
        Stage::Curate,
        Stage::Value,
        Stage::Score,
        Stage::Train,
        Stage::Gate,
        Stage::Evaluate,
    ];

    /// Stages of commands of their own, that no other stage reads.
    pub const BESIDE: [Stage; 3] = [Stage::Bakeoff, Stage::Selection, Stage::Ablation];

    /// Whether several processes may do its shards at once. The others follow from all rows together, or are
    /// done in a moment.
    pub fn is_shared(self) -> bool {
        matches!(self, Stage::Search | Stage::Verify | Stage::Score | Stage::Gate | Stage::Evaluate)
    }

    pub fn name(self) -> &'static str {
        match self {
            Stage::Problems => "problems",
            Stage::Search => "search",
            Stage::Verify => "verify",
            Stage::Curate => "curate",
            Stage::Value => "value",
            Stage::Score => "score",
            Stage::Train => "train",
            Stage::Gate => "gate",
            Stage::Evaluate => "evaluate",
            Stage::Bakeoff => "bakeoff",
            Stage::Selection => "selection",
            Stage::Ablation => "ablation",
        }
    }

    /// Its name in a round, for people: `round 2 search`. All rounds share the problems.
    pub fn in_round(self, round: u32) -> String {
        if self == Stage::Problems {
            self.name().to_owned()
        } else {
            format!("round {round} {}", self.name())
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// The paths of one run. Knows names only: nothing is created or read here but in [`RunDir::rounds`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A run by what the user typed: a plain name means `runs/NAME`, unless a run of that name lies right
    /// here; anything with a separator is a path.
    ///
    /// # Errors
    /// An empty name, or one made of dots.
    pub fn named(text: &str) -> Result<Self, Failure> {
        let hint = "give a name such as `first`, or a path such as runs/first";
        if text.trim().is_empty() || text == "." || text == ".." {
            return Err(Failure::usage(format!("`{text}` is not the name of a run"), hint));
        }
        let plain = Path::new(text);
        if text.contains(['/', '\\']) || plain.join("run.toml").is_file() {
            return Ok(Self::at(plain));
        }
        Ok(Self::at(Path::new("runs").join(plain)))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Last part of the path, for messages.
    pub fn name(&self) -> String {
        self.root
            .file_name()
            .map_or_else(|| self.root.display().to_string(), |n| n.to_string_lossy().into_owned())
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("run.toml")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    pub fn evaluation(&self) -> PathBuf {
        self.root.join("evaluation.json")
    }

    /// The run as a page, see `qstill report`.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    pub fn responses(&self) -> PathBuf {
        self.root.join("responses")
    }

    /// Answers of a verifier's command.
    pub fn verifier(&self) -> PathBuf {
        self.root.join("verifier")
    }

    pub fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    pub fn round(&self, round: u32) -> PathBuf {
        self.root.join(format!("round-{round}"))
    }

    /// Directory of a stage. All rounds share one `problems` stage.
    pub fn stage(&self, round: u32, stage: Stage) -> PathBuf {
        match stage {
            Stage::Problems => self.root.join(stage.name()),
            _ => self.round(round).join(stage.name()),
        }
    }

    pub fn checkpoints(&self, round: u32) -> PathBuf {
        self.stage(round, Stage::Train).join("checkpoints")
    }

    /// A round's value model of a level, by name.
    pub fn value(&self, round: u32, level: &str) -> PathBuf {
        self.round(round).join(format!("value-{level}"))
    }

    pub fn student(&self, round: u32) -> PathBuf {
        self.round(round).join("student")
    }

    /// An arm of an ablation: laid out as a run that has its curation.
    pub fn arm(&self, name: &str) -> Self {
        Self::at(self.root.join(Stage::Ablation.name()).join(name))
    }

    /// A student of an arm: laid out as a run that has its training and its answers.
    pub fn seed(&self, seed: u64) -> Self {
        Self::at(self.root.join(format!("seed-{seed}")))
    }

    /// The arms of all ablations, and their students, each with its place in the run.
    ///
    /// # Errors
    /// Folders that cannot be listed.
    pub fn ablations(&self) -> io::Result<Vec<(String, Self)>> {
        let folder = Stage::Ablation.name();
        let mut found = Vec::new();
        for name in names(&self.root.join(folder))? {
            let arm = self.arm(&name);
            if !arm.root.is_dir() {
                continue;
            }
            for seed in names(&arm.root)?.iter().filter_map(|name| name.strip_prefix("seed-")?.parse().ok()) {
                found.push((format!("{folder}/{name}/seed-{seed}"), arm.seed(seed)));
            }
            found.push((format!("{folder}/{name}"), arm));
        }
        Ok(found)
    }

    /// Rounds that have a directory, in order.
    pub fn rounds(&self) -> io::Result<Vec<u32>> {
        let mut rounds: Vec<u32> =
            names(&self.root)?.iter().filter_map(|name| name.strip_prefix("round-")?.parse().ok()).collect();
        rounds.sort_unstable();
        Ok(rounds)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_and_paths() -> Result<(), Failure> {
        let run = RunDir::named("first")?;
        assert_eq!(run.root(), Path::new("runs/first"));
        assert_eq!(run.name(), "first");
        assert_eq!(run.stage(2, Stage::Search), Path::new("runs/first/round-2/search"));
        assert_eq!(run.stage(2, Stage::Problems), run.stage(1, Stage::Problems));
        assert_eq!(RunDir::named("/data/x")?.root(), Path::new("/data/x"));
        assert!(RunDir::named("").is_err() && RunDir::named("..").is_err());
        assert!(Stage::ALL.into_iter().all(|s| Stage::parse(s.name()) == Some(s)));
        Ok(())
    }

    #[test]
    fn rounds_are_found_in_order() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        for name in ["round-10", "round-2", "round-x", "problems"] {
            fs::create_dir(dir.path().join(name))?;
        }
        assert_eq!(RunDir::at(dir.path()).rounds()?, [2, 10]);
        assert!(RunDir::at(dir.path().join("none")).rounds()?.is_empty());
        Ok(())
    }
}
