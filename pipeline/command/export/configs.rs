//! A table of all rounds as a config of a dataset: files by split, and the types of its columns as a card
//! names them.
//!
//! Rows of a problem stand on one side in every config: those that measured the validation loss of training
//! (`train.validation_share`) are the split `validation`. Problems and answers have the split of their
//! problem.

use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow::datatypes::{DataType, Fields};
use clap::ValueEnum;
use datasets::table::{self, Dropped, Evaluation, Preference, Retired, Row, StepLabels, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Split};
use serde::Serialize;
use stages::Events;
use stages::train::{TrainConfig, validates};

use super::finished::{Finished, Round};
use super::shards::{self, FILE_BYTES, Shards};
use crate::run::rows::{Rounds, StageOutput, pool};
use crate::terminal::exit::Failure;

/// A table that can be a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Table {
    Kept,
    Preferences,
    #[value(alias = "step-labels")]
    StepLabels,
    Problems,
    Solutions,
    Verdicts,
    Dropped,
    Retired,
    Evaluation,
}

impl Table {
    /// What is written if nothing is named. Answers to held-out problems are not.
    pub const USUAL: [Table; 8] = [
        Table::Kept,
        Table::Preferences,
        Table::StepLabels,
        Table::Problems,
        Table::Solutions,
        Table::Verdicts,
        Table::Dropped,
        Table::Retired,
    ];

    /// Name of the table, which is that of the config.
    pub fn name(self) -> &'static str {
        match self {
            Table::Kept => Kept::TABLE,
            Table::Preferences => Preference::TABLE,
            Table::StepLabels => StepLabels::TABLE,
            Table::Problems => Problem::TABLE,
            Table::Solutions => Solution::TABLE,
            Table::Verdicts => VerdictRow::TABLE,
            Table::Dropped => Dropped::TABLE,
            Table::Retired => Retired::TABLE,
            Table::Evaluation => Evaluation::TABLE,
        }
    }
}

/// A config that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    pub splits: Vec<shards::Split>,
    /// Its columns in the YAML of a card.
    pub features: String,
}

impl Config {
    pub fn rows(&self) -> u64 {
        self.splits.iter().map(|split| split.rows).sum()
    }
}

/// Writes tables into a folder.
pub struct Tables<'a> {
    pub finished: &'a Finished,
    pub train: &'a TrainConfig,
    /// Whether test problems are among the problems.
    pub test: bool,
    /// The folder of the configs' folders.
    pub data: PathBuf,
    pub events: &'a dyn Events,
}

impl Tables<'_> {
    /// Writes a table; None if the run has no row of it.
    ///
    /// # Errors
    /// Files that do not have the rows that their records name; failed reads and writes.
    pub fn write(&self, table: Table) -> Result<Option<Config>> {
        let side = |id: &str| if validates(id, self.train) { Split::Validation } else { Split::Train };
        match table {
            Table::Kept => self.kept(),
            Table::Preferences => {
                self.copy(|r| [&r.outputs.curate], |row: &Preference| side(&row.problem_id))
            }
            Table::StepLabels => {
                self.copy(|r| [&r.outputs.curate, &r.value], |row: &StepLabels| side(&row.problem_id))
            }
            Table::Problems => self.problems(),
            Table::Solutions => self.copy(|r| [&r.outputs.search], |row: &Solution| side(&row.problem_id)),
            Table::Verdicts => self.copy(|r| [&r.outputs.verify], |row: &VerdictRow| side(&row.problem_id)),
            Table::Dropped => self.copy(|r| [&r.outputs.curate], |row: &Dropped| side(&row.problem_id)),
            Table::Retired => self.copy(|r| [&r.outputs.curate], |row: &Retired| side(&row.problem_id)),
            Table::Evaluation => self.copy(|r| [&r.evaluate], |row: &Evaluation| row.split),
        }
    }

    /// What the last round trains on: of all rounds, less what was retired, each text once.
    fn kept(&self) -> Result<Option<Config>> {
        let rounds = self.finished.rounds.iter().map(|round| round.outputs.curate.clone());
        let mut splits = Splits::new(&self.data);
        for row in pool(&Rounds(rounds.collect()), None)? {
            let validation = validates(&row.problem_id, self.train);
            splits.push(if validation { Split::Validation } else { Split::Train }, row)?;
        }
        self.events.check()?;
        let read =
            self.finished.rounds.iter().map(|round| super::finished::rows(&round.outputs.curate, "kept"));
        self.events.advance(read.sum(), 0, 0);
        splits.finish()
    }

    fn problems(&self) -> Result<Option<Config>> {
        let mut splits = Splits::<Problem>::new(&self.data);
        self.read(&self.finished.problems, |row: Problem| {
            if row.split == Split::Test && !self.test { Ok(()) } else { splits.push(row.split, row) }
        })?;
        splits.finish()
    }

    /// A table of all rounds, from some of their stages.
    fn copy<'s, R: Row, const N: usize>(
        &'s self,
        of: impl Fn(&'s Round) -> [&'s StageOutput; N],
        side: impl Fn(&R) -> Split,
    ) -> Result<Option<Config>> {
        let mut splits = Splits::new(&self.data);
        for output in self.finished.rounds.iter().flat_map(of) {
            self.read(output, |row: R| splits.push(side(&row), row))?;
        }
        splits.finish()
    }

    /// All rows of a table of a stage, which are as many as its records say.
    fn read<R: Row>(&self, output: &StageOutput, mut each: impl FnMut(R) -> Result<()>) -> Result<()> {
        for (path, recorded) in output.files(R::TABLE) {
            let mut found = 0;
            for row in table::read(&path)? {
                each(row?)?;
                found += 1;
            }
            if found != recorded {
                let what = format!("{} has {found} rows, and its record says {recorded}", path.display());
                return Err(Failure::input(what, "`qstill verify-run` says what else is damaged").into());
            }
            self.events.check()?;
            self.events.advance(found, 0, 0);
        }
        Ok(())
    }
}

/// The splits of a config, each begun with its first row.
struct Splits<R: Row> {
    train: Shards<R>,
    validation: Shards<R>,
    test: Shards<R>,
}

impl<R: Row> Splits<R> {
    fn new(data: &Path) -> Self {
        let of = |split: Split| Shards::new(&data.join(R::TABLE), split.name(), FILE_BYTES);
        Self { train: of(Split::Train), validation: of(Split::Validation), test: of(Split::Test) }
    }

    fn push(&mut self, split: Split, row: R) -> Result<()> {
        match split {
            Split::Train => self.train.push(row),
            Split::Validation => self.validation.push(row),
            Split::Test => self.test.push(row),
        }
    }

    fn finish(self) -> Result<Option<Config>> {
        let mut splits = Vec::new();
        for shards in [self.train, self.validation, self.test] {
            splits.extend(shards.finish()?);
        }
        let schema = R::schema();
        let config = Config {
            name: R::TABLE,
            about: R::DESCRIPTION,
            splits,
            features: features(schema.fields(), 2).trim_end().to_owned(),
        };
        Ok((!config.splits.is_empty()).then_some(config))
    }
}

/// Columns as `datasets` names their types in the YAML of a card.
fn features(fields: &Fields, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let field = |field: &arrow::datatypes::FieldRef| {
        format!("{pad}- name: {}\n{}", field.name(), feature(field.data_type(), indent + 2))
    };
    fields.iter().map(field).collect()
}

fn feature(kind: &DataType, indent: usize) -> String {
    let pad = " ".repeat(indent);
    match kind {
        DataType::List(item) => match item.data_type() {
            DataType::Struct(fields) => format!("{pad}list:\n{}", features(fields, indent)),
            item => format!("{pad}list: {}\n", plain(item)),
        },
        DataType::Struct(fields) => format!("{pad}struct:\n{}", features(fields, indent)),
        kind => format!("{pad}dtype: {}\n", plain(kind)),
    }
}

/// Name of a type without parts.
fn plain(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".into(),
        DataType::Boolean => "bool".into(),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_config_has_the_name_of_its_table() {
        for config in Table::value_variants() {
            let argument = config.to_possible_value().expect("it can be given");
            assert_eq!(argument.get_name(), config.name());
        }
    }

    #[test]
    fn types_are_named_as_the_card_wants_them() {
        let lines = features(StepLabels::schema().fields(), 2);
        assert!(lines.contains("  - name: labels\n    list: bool\n"), "{lines}");
        assert!(lines.contains("  - name: round\n    dtype: int32\n"), "{lines}");
        let lines = features(Kept::schema().fields(), 2);
        let turns = "  - name: messages\n    list:\n    - name: role\n      dtype: string\n";
        assert!(lines.starts_with(turns), "{lines}");
    }
}
