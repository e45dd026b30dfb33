//! What to show of tables.

use std::path::PathBuf;

/// What to show, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sample rows of each table; runs and rounds show none.
    pub head: usize,
    /// Columns to show, in this order; all if empty.
    pub columns: Vec<String>,
    /// One JSON document instead of text.
    pub json: bool,
    /// Training rows as tokens.
    pub tokens: bool,
    /// The model directory that reads them so; the run's own if none is given.
    pub model: Option<PathBuf>,
    /// Whether escape codes for colour are welcome on stdout.
    pub colour: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { head: 3, columns: Vec::new(), json: false, tokens: false, model: None, colour: false }
    }
}
