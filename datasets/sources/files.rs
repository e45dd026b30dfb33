//! Problems from the user's files: JSON lines and Parquet, row by row in bounded memory.
//!
//! Each row needs a question and an answer, in columns that the caller names. A bad row is an error that
//! says where it stands and what is wrong with it; reading goes on behind it, and the caller decides
//! whether it is fatal ([`SourceError::is_row`]).
//!
//! Answers of GSM8K hold the worked solution and, behind `####` on the last line, the gold. Where an
//! answer has such a line the two are taken apart; the last such line counts.

mod error;
mod json;
mod lines;
mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::vec;

use super::Raw;
pub use error::{Fault, Place, SourceError};

/// Longest line of a JSON lines file, in bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Rows of a Parquet file that are decoded at once.
const BATCH_ROWS: usize = 1_024;

/// How a file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub question_column: String,
    pub answer_column: String,
    /// A longer question is an error of its row.
    pub max_question_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { question_column: "question".into(), answer_column: "answer".into(), max_question_bytes: 64 << 10 }
    }
}

/// How a file is laid out, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Lines,
    Parquet,
}

impl Layout {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" | "json" => Some(Layout::Lines),
            "parquet" => Some(Layout::Parquet),
            _ => None,
        }
    }
}

/// Opens a file, or all `.jsonl`, `.ndjson`, `.json` and `.parquet` files of a folder in the order of their names.
pub fn open(path: &Path, options: &Options) -> Result<Reader, SourceError> {
    if path.is_dir() { open_all(list(path)?, options) } else { open_all(vec![path.to_owned()], options) }
}

/// Opens files, to be read one after the other. The first is opened now, the others when it is their turn.
pub fn open_all(paths: Vec<PathBuf>, options: &Options) -> Result<Reader, SourceError> {
    if let Some(path) = paths.iter().find(|path| Layout::of(path).is_none()) {
        return Err(SourceError::Layout { path: path.clone() });
    }
    let mut reader = Reader { waiting: paths.into_iter(), current: None, options: options.clone() };
    reader.advance()?;
    Ok(reader)
}

/// The files of a folder that can be read, by name; sub-folders are not entered.
fn list(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |source| SourceError::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if Layout::of(&path).is_some() && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(SourceError::NoFiles { path: folder.to_owned() }) } else { Ok(files) }
}

/// A file that is being read.
enum Open {
    Lines(lines::Lines),
    Parquet(Box<rows::Rows>),
}

/// The rows of one or more files. After an error of a row the next row follows; after an error of a file
/// the next file, if there is one.
pub struct Reader {
    waiting: vec::IntoIter<PathBuf>,
    current: Option<Open>,
    options: Options,
}

impl Reader {
    /// Opens the next file; false if there is none.
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.current = None;
        let Some(path) = self.waiting.next() else { return Ok(false) };
        self.current = Some(match Layout::of(&path) {
            Some(Layout::Lines) => Open::Lines(lines::Lines::open(path, &self.options)?),
            Some(Layout::Parquet) => Open::Parquet(Box::new(rows::Rows::open(path, &self.options)?)),
            None => return Err(SourceError::Layout { path }),
        });
        Ok(true)
    }
}

impl Iterator for Reader {
    type Item = Result<Raw, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match &mut self.current {
                Some(Open::Lines(lines)) => lines.next(),
                Some(Open::Parquet(rows)) => rows.next(),
                None => None,
            };
            if row.is_some() {
                return row;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The row of a question and an answer as they stand in the file.
fn raw(question: String, answer: &str, path: &Path, place: Place, options: &Options) -> Result<Raw, Fault> {
    if question.trim().is_empty() {
        return Err(Fault::Empty { column: options.question_column.clone() });
    }
    if question.len() > options.max_question_bytes {
        return Err(Fault::Long { column: options.question_column.clone(), bytes: question.len(), limit: options.max_question_bytes });
    }
    let (worked, gold) = take_apart(answer);
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

/// The worked solution, if there is one, and the gold: what stands behind `####` on the last line that begins so.
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
