//! The user's files: JSON lines and Parquet, row by row in bounded memory.
//!
//! [`open_columns`] reads any columns as texts ([`cells`]); [`open`] reads problems, a question and an answer
//! each, in columns that the caller names. A bad row is an error that says where it stands and what is wrong
//! with it; reading goes on behind it, and the caller decides whether it is fatal ([`SourceError::is_row`]).
//!
//! Answers of GSM8K hold the worked solution and, behind `####` on the last line, the gold. Where an
//! answer has such a line the two are taken apart; the last such line counts. Where columns of options are
//! named, a row is a question of multiple choice (`choices`), and a problem for each order they are shown
//! in.

mod cells;
mod choices;
mod column;
mod error;
mod json;
mod lines;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Raw;
use crate::domains::choice;
pub use cells::{Cells, open_all_columns, open_columns};
use choices::Choices;
pub use column::{Column, Row, Wants};
pub use error::{RowFault, RowPosition, SourceError};
use serde_json::Value;

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
    /// Further columns, of any kind, that problems carry in their `meta` under these names.
    pub meta: Vec<String>,
    /// Columns of the options of multiple choice; none for other questions.
    pub options: Vec<String>,
    /// In how many orders the options of a row are shown, each a problem; at most as many as it has options.
    pub orders: usize,
}

impl Options {
    fn columns(&self) -> Vec<Column> {
        let answer = &self.answer_column;
        let answer =
            if self.options.is_empty() { Column::text_or_number(answer) } else { Column::json(answer) };
        let further = self.options.iter().chain(&self.meta).map(Column::json);
        [Column::text(&self.question_column), answer].into_iter().chain(further).collect()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            question_column: "question".into(),
            answer_column: "answer".into(),
            max_question_bytes: 64 << 10,
            meta: Vec::new(),
            options: Vec::new(),
            orders: 1,
        }
    }
}

/// Opens a file, or all files of a folder, see [`open_columns`].
pub fn open(path: &Path, options: &Options) -> Result<Reader, SourceError> {
    let rows = open_columns(path, options.columns())?;
    Ok(Reader { rows, options: options.clone(), waiting: VecDeque::new() })
}

/// Opens files, see [`open_all_columns`].
pub fn open_all(paths: Vec<PathBuf>, options: &Options) -> Result<Reader, SourceError> {
    let rows = open_all_columns(paths, options.columns())?;
    Ok(Reader { rows, options: options.clone(), waiting: VecDeque::new() })
}

/// The problems of one or more files, in the order of [`Cells`].
pub struct Reader {
    rows: Cells,
    options: Options,
    /// Further orders of the row before.
    waiting: VecDeque<Raw>,
}

impl Iterator for Reader {
    type Item = Result<Raw, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(raw) = self.waiting.pop_front() {
            return Some(Ok(raw));
        }
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let (path, place) = (Arc::clone(&row.path), row.place);
        let read = raw(row, &self.options, &mut self.waiting);
        Some(read.map_err(|fault| SourceError::Row { path: path.to_path_buf(), place, fault }))
    }
}

/// The problem of a question and an answer as they stand in the file; `further` gets those of further orders.
fn raw(row: Row, options: &Options, further: &mut VecDeque<Raw>) -> Result<Raw, RowFault> {
    let Row { path, place, cells } = row;
    let mut cells = cells.into_iter();
    let (question, answer) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    if question.trim().is_empty() {
        return Err(RowFault::Empty { column: options.question_column.clone() });
    }
    let (column, limit) = (&options.question_column, options.max_question_bytes);
    let fits = |text: &str| {
        let (column, bytes) = (column.clone(), text.len());
        if bytes > limit { Err(RowFault::Long { column, bytes, limit }) } else { Ok(()) }
    };
    fits(&question)?;
    // The name without its folders: where a run's input lay is no part of its data.
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (unit, number) = match place {
        RowPosition::Line(line) => ("line", line),
        RowPosition::Row(row) => ("row", row),
    };
    let mut meta = serde_json::json!({ "file": file, unit: number });
    let own: Vec<String> = cells.by_ref().take(options.options.len()).collect();
    for (name, cell) in options.meta.iter().zip(cells) {
        meta[name] = serde_json::from_str(&cell).unwrap_or_default();
    }
    if !own.is_empty() {
        let choices = Choices::read(&options.options, &own, (&options.answer_column, &answer))?;
        let all = shown(&question, &choices, &meta, options.orders);
        all.iter().try_for_each(|raw| fits(&raw.question))?;
        further.extend(all);
        return further.pop_front().ok_or_else(|| RowFault::Empty { column: options.options[0].clone() });
    }
    let (worked, gold) = take_apart(&answer);
    if gold.is_empty() {
        return Err(RowFault::Empty { column: options.answer_column.clone() });
    }
    let (answer, worked) = (gold.to_owned(), worked.map(str::to_owned));
    Ok(Raw { question, answer, difficulty: 0, meta: meta.to_string(), worked, asked: None })
}

/// A question of multiple choice in some orders of its options, a problem each.
fn shown(question: &str, choices: &Choices, meta: &Value, orders: usize) -> Vec<Raw> {
    let texts = &choices.texts;
    let mut sorted = texts.clone();
    sorted.sort();
    let one = |turn: usize| {
        let order = choice::order(question, texts, turn);
        let shown: Vec<&str> = order.iter().map(|at| texts[*at].as_str()).collect();
        let gold = order.iter().position(|at| *at == choices.gold).unwrap_or_default();
        let mut meta = meta.clone();
        meta["options"] = Value::from(shown.clone());
        Raw {
            question: choice::asked(question, &shown),
            answer: choice::letter(gold).to_string(),
            difficulty: 0,
            meta: meta.to_string(),
            worked: None,
            asked: Some(choice::asked(question, &sorted)),
        }
    };
    (0..orders.clamp(1, texts.len())).map(one).collect()
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
