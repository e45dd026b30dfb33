//! `[problems]` of a configuration.

use std::path::{Path, PathBuf};

use datasets::Domain;
use datasets::domains::choice::Choice;
use datasets::domains::countdown::Countdown;
use datasets::domains::math::Math;
use datasets::sources::words;
use serde::{Deserialize, Serialize};

use crate::rules;

/// The closed set of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Generated grade-school word problems.
    Words,
    /// Generated Countdown puzzles.
    Countdown,
    /// JSON lines or Parquet files of the user's.
    Files,
}

/// What to do with a row that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRow {
    Fail,
    /// Leave it out, say so, count it.
    Skip,
}

/// `[problems]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemsConfig {
    pub source: Source,
    /// How many problems of each split; 0 for all that a file has.
    pub train: usize,
    pub validation: usize,
    pub test: usize,
    /// words: operations in the latent solution.
    pub min_operations: u32,
    pub max_operations: u32,
    /// words: share of problems with a quantity that is not needed.
    pub distractors: f64,
    /// countdown: how many numbers, and ranges of numbers and target.
    pub numbers: u32,
    pub min_number: u32,
    pub max_number: u32,
    pub min_target: u32,
    pub max_target: u32,
    /// countdown: share of targets that only test and validation have.
    pub holdout: f64,
    /// files: files or folders whose rows are divided by content.
    pub files: Vec<PathBuf>,
    /// files: shares of `files` that go to test and validation.
    pub test_share: f64,
    pub validation_share: f64,
    /// files: files whose rows are all of one split; train gives its share to validation.
    pub train_files: Vec<PathBuf>,
    pub test_files: Vec<PathBuf>,
    pub question: String,
    pub answer: String,
    /// files: further columns that a problem's `meta` has, for `verify.command`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<String>,
    /// files: the columns of the options of multiple choice, and in how many orders they are shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    #[serde(skip_serializing_if = "is_one")]
    pub orders: usize,
    /// files: the program that tells the rules, and its arguments; and whether it lists all legal steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    #[serde(skip_serializing_if = "is_true")]
    pub rules_moves: bool,
    pub max_question_bytes: usize,
    pub bad_rows: BadRow,
    /// files: worked train rows set aside as examples for the prompt.
    pub examples: usize,
}

/// Whether options are shown in one order.
// Serde passes references.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_one(orders: &usize) -> bool {
    *orders == 1
}

// Serde passes references.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_true(setting: &bool) -> bool {
    *setting
}

impl ProblemsConfig {
    /// The compiled domain that judges this source, unless a command tells its rules.
    pub fn compiled(&self) -> Option<&'static dyn Domain> {
        match self.source {
            Source::Countdown => Some(&Countdown),
            Source::Files if !self.rules.is_empty() => None,
            Source::Files if !self.options.is_empty() => Some(&Choice),
            Source::Files | Source::Words => Some(&Math),
        }
    }

    /// Name of the domain that judges this source.
    pub fn domain(&self) -> &'static str {
        self.compiled().map_or(rules::NAME, Domain::name)
    }

    /// Whether its rules list legal steps, so that they can be searched.
    pub fn enumerates(&self) -> bool {
        self.compiled().map_or(self.rules_moves, Domain::enumerates)
    }

    /// Version of the source's own code; files have none.
    pub fn source_version(&self) -> u32 {
        match self.source {
            Source::Words => words::VERSION,
            Source::Countdown => Countdown.version(),
            Source::Files => 0,
        }
    }

    /// Every file that is read.
    pub fn paths(&self) -> Vec<&Path> {
        if self.source == Source::Files {
            self.files.iter().chain(&self.train_files).chain(&self.test_files).map(PathBuf::as_path).collect()
        } else {
            Vec::new()
        }
    }
}
