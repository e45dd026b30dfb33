//! What to show of tables.

use std::path::PathBuf;

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    /// One JSON document.
    Json,
    /// Rows alone.
    Csv,
}

/// What to show, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of each table that are shown; runs and rounds show none.
    pub head: usize,
    /// A condition of SQL that rows must meet.
    pub condition: Option<String>,
    /// Rows drawn at random instead of the first ones, and the seed of the draw.
    pub sample: Option<u64>,
    pub seed: u64,
    /// What the columns hold, in numbers.
    pub summary: bool,
    /// Columns to show, in this order; all if empty.
    pub columns: Vec<String>,
    pub form: Form,
    /// Training rows as tokens.
    pub tokens: bool,
    /// The model directory that reads them so; the run's own if none is given.
    pub model: Option<PathBuf>,
    /// Whether escape codes for colour are welcome on stdout.
    pub colour: bool,
}

impl Options {
    /// Whether only some rows of a table count, or all are given as one answer: that needs one table.
    pub fn of_one_table(&self) -> Option<&'static str> {
        let named = [("--where", self.condition.is_some()), ("--csv", self.form == Form::Csv)];
        named.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            head: 3,
            condition: None,
            sample: None,
            seed: 0,
            summary: false,
            columns: Vec::new(),
            form: Form::Text,
            tokens: false,
            model: None,
            colour: false,
        }
    }
}
