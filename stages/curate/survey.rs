//! The first pass: what the rules have to know beside the problem at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datasets::sources::files;
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution};

use super::config::{Contamination, CurateConfig};
use super::contamination::HeldOut;
use super::judged::judged;
use super::outliers::{Lengths, Like, Usual};
use crate::siblings::Siblings;

/// What a first pass over all shards finds out. What is held out is told first, then come the shards, in any
/// order.
#[derive(Debug)]
pub struct Survey {
    config: CurateConfig,
    lengths: Lengths,
    held_out: HeldOut,
    siblings: Siblings,
}

/// What the rules know beside the problem at hand.
#[derive(Debug)]
pub struct CurationContext {
    pub config: CurateConfig,
    pub(super) usual: BTreeMap<Like, Usual>,
    pub(super) held_out: HeldOut,
    pub(super) siblings: Siblings,
}

impl Survey {
    pub fn new(config: &CurateConfig) -> Self {
        Self {
            config: config.clone(),
            lengths: Lengths::default(),
            held_out: HeldOut::new(config),
            siblings: Siblings::default(),
        }
    }

    /// Holds out a question; `place` says where it is from.
    pub fn hold(&mut self, place: String, question: &str) {
        self.held_out.hold(place, question);
    }

    /// Holds out the questions of `held_out_files`, whose column has this name.
    ///
    /// # Errors
    /// Files and rows that cannot be read.
    pub fn hold_files(&mut self, column: &str, max_bytes: usize) -> Result<()> {
        // Questions are all that is read of them: the answers' column may be missing.
        let options = files::Options {
            question_column: column.into(),
            answer_column: column.into(),
            max_question_bytes: max_bytes,
            ..files::Options::default()
        };
        for path in &self.config.held_out_files.clone() {
            let name = path
                .file_name()
                .map_or_else(|| "a held-out file".into(), |n| n.to_string_lossy().into_owned());
            let rows = files::open(path, &options)
                .with_context(|| format!("curate.held_out_files: {}", path.display()))?;
            for (row, raw) in rows.enumerate() {
                let raw = raw.with_context(|| format!("curate.held_out_files: {}", path.display()))?;
                self.hold(format!("{name} row {}", row + 1), &raw.question);
            }
        }
        Ok(())
    }

    /// Whether the rules need the shards at all, and whether more of them than the problems.
    pub fn needs(&self) -> (bool, bool) {
        let lengths = self.config.length_outliers > 0.0;
        (lengths || !self.held_out.is_empty() || self.config.min_siblings > 0, lengths)
    }

    /// Takes in one shard. Solutions and verdicts may be left out where they are not needed.
    ///
    /// # Errors
    /// If a solution has no verdict.
    pub fn shard(
        &mut self,
        problems: &[Problem],
        solutions: &[Solution],
        verdicts: &[VerdictRow],
    ) -> Result<()> {
        for problem in problems {
            self.held_out.count(&problem.question);
            if self.config.min_siblings > 0 {
                self.siblings.add(problem);
            }
        }
        if self.config.length_outliers > 0.0 {
            let by_problem = judged(solutions, verdicts)?;
            for problem in problems {
                if let Some(rows) = by_problem.get(problem.problem_id.as_str()) {
                    self.lengths.add(problem, rows);
                }
            }
        }
        Ok(())
    }

    pub fn finish(self) -> CurationContext {
        CurationContext {
            usual: self.lengths.usual(),
            held_out: self.held_out,
            siblings: self.siblings,
            config: self.config,
        }
    }
}

/// Hash over the content of the held-out files, for fingerprints.
///
/// # Errors
/// Files that cannot be read.
pub fn held_out_hash(config: &CurateConfig) -> Result<String> {
    let paths: Vec<&Path> = config.held_out_files.iter().map(PathBuf::as_path).collect();
    if config.contamination == Contamination::Off {
        Ok("off".into())
    } else {
        crate::problems::content_hash(&paths)
    }
}
