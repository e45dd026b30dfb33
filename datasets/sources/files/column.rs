//! What is asked of a file, and what one of its rows gives.

use std::path::Path;
use std::sync::Arc;

use super::error::RowPosition;

/// A column that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, or the way to it through objects (structs): `meta.answer`. A column of just that name comes
    /// first.
    pub name: String,
    pub wants: Wants,
}

/// What the cells of a column may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Text,
    TextOrNumber,
    /// Whatever there is, as the text of its JSON; null too.
    Json,
}

impl Wants {
    pub(super) fn numbers(self) -> bool {
        self == Wants::TextOrNumber
    }
}

impl Column {
    pub fn text(name: impl Into<String>) -> Self {
        Column { name: name.into(), wants: Wants::Text }
    }

    pub fn text_or_number(name: impl Into<String>) -> Self {
        Column { name: name.into(), wants: Wants::TextOrNumber }
    }

    pub fn json(name: impl Into<String>) -> Self {
        Column { name: name.into(), wants: Wants::Json }
    }
}

/// A row of a file.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: Arc<Path>,
    pub place: RowPosition,
    /// The texts of the columns, in the order in which they were asked for.
    pub cells: Vec<String>,
}
