//! The user's files: JSON lines and Parquet, row by row in bounded memory.
//!
//! [`open_columns`] reads any columns as texts ([`cells`]); [`open`] reads problems, a question and an answer
//! each, in columns that the caller names. A bad row is an error that says where it stands and what is wrong
//! with it; reading goes on behind it, and the caller decides whether it is fatal ([`SourceError::is_row`]).
//!
//! Answers of GSM8K hold the worked solution and, behind `####` on the last line, the gold. Where an
//! answer has such a line the two are taken apart; the last such line counts.

mod cells;
mod column;
mod error;
mod json;
mod lines;
mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Raw;
pub use cells::{Cells, open_all_columns, open_columns};
pub use column::{Column, Row};
pub use error::{Fault, Place, SourceError};

/// Longest line of a JSON lines file, in bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Rows of a Parquet file that are decoded at once.
const BATCH_ROWS: usize = 1_024;

/// How problems are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub question_column: String,
    pub answer_column: String,
    /// A longer question is an error of its row.
    pub max_question_bytes: usize,
}

impl Options {
    fn columns(&self) -> Vec<Column> {
        vec![Column::text(&self.question_column), Column::text_or_number(&self.answer_column)]
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            question_column: "question".into(),
            answer_column: "answer".into(),
            max_question_bytes: 64 << 10,
        }
    }
}

/// Opens a file, or all files of a folder, see [`open_columns`].
pub fn open(path: &Path, options: &Options) -> Result<Reader, SourceError> {
    Ok(Reader { rows: open_columns(path, options.columns())?, options: options.clone() })
}

/// Opens files, see [`open_all_columns`].
pub fn open_all(paths: Vec<PathBuf>, options: &Options) -> Result<Reader, SourceError> {
    Ok(Reader { rows: open_all_columns(paths, options.columns())?, options: options.clone() })
}

/// The problems of one or more files, in the order of [`Cells`].
pub struct Reader {
    rows: Cells,
    options: Options,
}

impl Iterator for Reader {
    type Item = Result<Raw, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let (path, place) = (Arc::clone(&row.path), row.place);
        Some(raw(row, &self.options).map_err(|fault| SourceError::Row {
            path: path.to_path_buf(),
            place,
            fault,
        }))
    }
}

/// The problem of a question and an answer as they stand in the file.
fn raw(row: Row, options: &Options) -> Result<Raw, Fault> {
    let Row { path, place, cells } = row;
    let mut cells = cells.into_iter();
    let (question, answer) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    if question.trim().is_empty() {
        return Err(Fault::Empty { column: options.question_column.clone() });
    }
    if question.len() > options.max_question_bytes {
        return Err(Fault::Long {
            column: options.question_column.clone(),
            bytes: question.len(),
            limit: options.max_question_bytes,
        });
    }
    let (worked, gold) = take_apart(&answer);
    if gold.is_empty() {
        return Err(Fault::Empty { column: options.answer_column.clone() });
    }
    // The name without its folders: where a run's input lay is no part of its data.
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (unit, number) = match place {
        Place::Line(line) => ("line", line),
        Place::Row(row) => ("row", row),
    };
    let meta = serde_json::json!({ "file": file, unit: number }).to_string();
    Ok(Raw { question, answer: gold.to_owned(), difficulty: 0, meta, worked: worked.map(str::to_owned) })
}

/// The worked solution, if there is one, and the gold: what stands behind `####` on the last line that begins
/// so.
fn take_apart(answer: &str) -> (Option<&str>, &str) {
    let mut start = 0;
    let mut marked = None;
    for line in answer.split_inclusive('\n') {
        if let Some(gold) = line.trim_start().strip_prefix("####") {
            marked = Some((start, gold));
        }
        start += line.len();
    }
    match marked {
        None => (None, answer.trim()),
        Some((start, gold)) => {
            let worked = answer[..start].trim_end();
            (Some(worked).filter(|text| !text.is_empty()), gold.trim())
        }
    }
}
