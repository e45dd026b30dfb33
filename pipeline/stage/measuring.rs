//! Models that are measured on the same problems: one after another, each in the shards of the problems
//! stage.

use std::time::Instant;

use anyhow::Result;
use datasets::table::Evaluation;
use datasets::types::{Problem, Split};

use crate::run::rows::{StageOutput, counts, write};
use crate::run::workspace::{Opened, Size, Workspace};
use crate::terminal::progress::Progress;

/// Which models, on which problems. A shard has one model's answers to the problems of one of their shards.
pub struct Measuring {
    problems: StageOutput,
    models: Vec<&'static str>,
    /// Shards of problems, and how many of each are asked.
    parts: Vec<(u32, usize)>,
}

impl Measuring {
    /// Models by name, on the first `most` problems of a split; 0 for all.
    pub fn of(problems: &StageOutput, split: Split, most: usize, models: &[&'static str]) -> Self {
        let mut left = if most == 0 { usize::MAX } else { most };
        let mut parts = Vec::new();
        for commit in &problems.commits {
            let Some(has) = commit.counts.get(split.name()) else { continue };
            let asked = left.min(*has as usize);
            left -= asked;
            if asked > 0 {
                parts.push((commit.shard, asked));
            }
        }
        Self { problems: problems.clone(), models: models.to_vec(), parts }
    }

    /// Number of shards: those of the first model, those of the second, ...
    pub fn shards(&self) -> u32 {
        (self.models.len() * self.parts.len()) as u32
    }

    /// Number of problems that each model is asked.
    pub fn asked(&self) -> usize {
        self.parts.iter().map(|(_, asked)| asked).sum()
    }

    /// Asks for the rows of each shard that is missing: those of a model's answers to some problems.
    ///
    /// # Errors
    /// Those of `answers`; failed reads and writes.
    pub fn work(
        &self,
        workspace: &Workspace,
        opened: &Opened,
        mut answers: impl FnMut(&'static str, &[Problem], &Progress) -> Result<Vec<Evaluation>>,
    ) -> Result<StageOutput> {
        let units = (self.asked() * self.models.len()) as u64;
        let size = Size { shards: self.shards(), unit: "problems", units };
        workspace.shards(opened, &size, |shard, attempt, progress| {
            let (model, part) = (shard as usize / self.parts.len(), shard as usize % self.parts.len());
            let (of, most) = self.parts[part];
            let mut asked: Vec<Problem> = self.problems.shard(of)?;
            asked.truncate(most);
            let clock = Instant::now();
            let rows = answers(self.models[model], &asked, progress)?;
            let solved = rows.iter().filter(|row| row.sample == 0 && row.correct).count();
            write(attempt, rows)?;
            let milliseconds = clock.elapsed().as_millis() as usize;
            Ok(counts(&[("units", asked.len()), ("solved", solved), ("milliseconds", milliseconds)]))
        })
    }
}

/// What is made when it is first needed.
///
/// # Errors
/// Those of `make`.
pub fn once<T>(slot: &mut Option<T>, make: impl FnOnce() -> Result<T>) -> Result<&mut T> {
    let made = match slot.take() {
        Some(made) => made,
        None => make()?,
    };
    Ok(slot.insert(made))
}
