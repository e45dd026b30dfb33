//! The rows of files as the texts of some columns, whatever the files are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use super::column::{Column, Row};
use super::error::SourceError;
use super::{lines, rows};

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

/// Opens a file, or all `.jsonl`, `.ndjson`, `.json` and `.parquet` files of a folder in the order of their
/// names.
pub fn open_columns(path: &Path, columns: Vec<Column>) -> Result<Cells, SourceError> {
    if path.is_dir() {
        open_all_columns(list(path)?, columns)
    } else {
        open_all_columns(vec![path.to_owned()], columns)
    }
}

/// Opens files, to be read one after the other. The first is opened now, the others when it is their turn.
pub fn open_all_columns(paths: Vec<PathBuf>, columns: Vec<Column>) -> Result<Cells, SourceError> {
    if let Some(path) = paths.iter().find(|path| Layout::of(path).is_none()) {
        return Err(SourceError::Layout { path: path.clone() });
    }
    let mut cells = Cells { waiting: paths.into_iter(), current: None, columns: columns.into() };
    cells.advance()?;
    Ok(cells)
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
pub struct Cells {
    waiting: vec::IntoIter<PathBuf>,
    current: Option<Open>,
    columns: Arc<[Column]>,
}

impl Cells {
    /// How much of the file at hand has been read, and how much there is, in units of its own; (0, 0) behind
    /// the end.
    pub fn extent(&self) -> (u64, u64) {
        match &self.current {
            Some(Open::Lines(lines)) => lines.extent(),
            Some(Open::Parquet(rows)) => rows.extent(),
            None => (0, 0),
        }
    }

    /// Opens the next file; false if there is none.
    fn advance(&mut self) -> Result<bool, SourceError> {
        self.current = None;
        let Some(path) = self.waiting.next() else { return Ok(false) };
        let columns = Arc::clone(&self.columns);
        self.current = Some(match Layout::of(&path) {
            Some(Layout::Lines) => Open::Lines(lines::Lines::open(path, columns)?),
            Some(Layout::Parquet) => Open::Parquet(Box::new(rows::Rows::open(path, columns)?)),
            None => return Err(SourceError::Layout { path }),
        });
        Ok(true)
    }
}

impl Iterator for Cells {
    type Item = Result<Row, SourceError>;

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
