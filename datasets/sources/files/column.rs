//! What is asked of a file, and what one of its rows gives.

use std::path::Path;
use std::sync::Arc;

use super::error::Place;

/// A column that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, or the way to it through objects (structs): `meta.answer`. A column of just that name comes
    /// first.
    pub name: String,
    /// Whether numbers are welcome; texts always are.
    pub numbers: bool,
}

impl Column {
    pub fn text(name: impl Into<String>) -> Self {
        Column { name: name.into(), numbers: false }
    }

    pub fn text_or_number(name: impl Into<String>) -> Self {
        Column { name: name.into(), numbers: true }
    }
}

/// A row of a file.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: Arc<Path>,
    pub place: Place,
    /// The texts of the columns, in the order in which they were asked for.
    pub cells: Vec<String>,
}
