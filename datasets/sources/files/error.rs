//! What can be wrong with a user's file, told so that the user finds the place and knows what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use parquet::errors::ParquetError;

/// Names that are listed in full before the rest is only counted.
const LISTED: usize = 20;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPosition {
    /// Line of a JSON lines file, from 1.
    Line(u64),
    /// Row of a Parquet file, from 0.
    Row(u64),
}

impl fmt::Display for RowPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowPosition::Line(line) => write!(out, "line {line}"),
            RowPosition::Row(row) => write!(out, "row {row}"),
        }
    }
}

/// Why a file, or a row of it, cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read {}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: expected a name that ends in .jsonl, .ndjson, .json or .parquet", .path.display())]
    Layout { path: PathBuf },
    #[error("{}: no .jsonl, .ndjson, .json or .parquet file in this folder", .path.display())]
    NoFiles { path: PathBuf },
    #[error("{}: no rows", .path.display())]
    NoRows { path: PathBuf },
    #[error("{} is not a whole Parquet file", .path.display())]
    NotParquet {
        path: PathBuf,
        #[source]
        source: ParquetError,
    },
    #[error("{}: damaged data at or after row {row}", .path.display())]
    Damaged {
        path: PathBuf,
        row: u64,
        #[source]
        source: ParquetError,
    },
    /// A Parquet file without one of the columns.
    #[error("{}: {}", .path.display(), missing(.column, .columns))]
    NoColumn { path: PathBuf, column: String, columns: Vec<String> },
    /// A Parquet file with a column of a type that is no text or number.
    #[error("{}: column `{column}`: expected {expected}, found the type {found}", .path.display())]
    ColumnType { path: PathBuf, column: String, expected: &'static str, found: String },
    #[error("{}, {place}: {fault}", .path.display())]
    Row { path: PathBuf, place: RowPosition, fault: RowFault },
}

impl SourceError {
    /// Whether it concerns one row only, so that reading can go on behind it.
    pub fn is_row(&self) -> bool {
        matches!(self, SourceError::Row { .. })
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    #[error("not UTF-8 at byte {in_row} of the row{}", of_file(.in_file.as_ref()))]
    Utf8 {
        /// Byte within the line or the cell, from 0.
        in_row: usize,
        /// Byte within the file, from 0, where that is known.
        in_file: Option<u64>,
    },
    #[error("not JSON: {message} (each line must be one whole JSON object)")]
    Json { message: String },
    #[error("expected a JSON object on each line, found {found}")]
    NotObject { found: &'static str },
    #[error("{}", missing(.column, .columns))]
    NoColumn { column: String, columns: Vec<String> },
    #[error("column `{column}`: expected a value, found null")]
    Null { column: String },
    #[error("column `{column}`: expected a value, found only whitespace")]
    Empty { column: String },
    #[error("column `{column}`: expected {expected}, found {found}")]
    Kind { column: String, expected: &'static str, found: &'static str },
    /// Options or the answer of a multiple choice question.
    #[error("column `{column}`: {what}")]
    Choice { column: String, what: String },
    #[error("column `{column}`: expected a finite number, found {found}")]
    NotFinite { column: String, found: String },
    #[error("column `{column}`: {bytes} bytes, more than the limit of {limit}")]
    Long { column: String, bytes: usize, limit: usize },
    #[error("the line is longer than {limit} bytes")]
    LongLine { limit: usize },
}

fn of_file(byte: Option<&u64>) -> String {
    byte.map_or_else(String::new, |byte| format!(" (byte {byte} of the file)"))
}

/// Says that a column is not there, which one may be meant, and which there are.
fn missing(column: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return format!("no column `{column}` (there are none)");
    }
    let hint = nearest(column, columns).map_or_else(String::new, |near| format!("; is `{near}` meant?"));
    let names: Vec<_> = columns.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = columns.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("no column `{column}`{hint} (there are {}{more})", names.join(", "))
}

/// The name that is so close to `column` that it may be meant.
fn nearest<'a>(column: &str, columns: &'a [String]) -> Option<&'a String> {
    let wanted = column.to_lowercase();
    let far = |name: &&String| {
        let name = name.to_lowercase();
        // `question_text` for `question` is far in letters and near in meaning.
        if name.contains(&wanted) || wanted.contains(&name) { 1 } else { distance(&wanted, &name) }
    };
    columns
        .iter()
        .filter(|name| !name.is_empty())
        .min_by_key(far)
        .filter(|name| far(name) <= wanted.len().div_ceil(3))
}

/// Levenshtein's distance, for short names.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, from) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
