//! What can go wrong with a table's file.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

/// A value that does not fit its column, while rows and columns are turned into each other.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}`, row {row}: {problem}")]
pub struct BadCell {
    pub column: &'static str,
    /// Row within the batch, from 0.
    pub row: usize,
    /// What was expected and what was there.
    pub problem: String,
}

/// Why a table cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The disk or the pipe failed. The [`io::Error`] is kept: a caller tells a full disk from others by its
    /// kind.
    #[error("cannot read or write {place}")]
    Io {
        /// The file, or the table if it is written to something that is no file.
        place: String,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a whole Parquet file", .path.display())]
    NotParquet {
        path: PathBuf,
        #[source]
        source: ParquetError,
    },
    #[error("{}: expected the table `{expected}`, found {found}", .path.display())]
    WrongTable { path: PathBuf, expected: &'static str, found: String },
    #[error("{}: expected version {expected} of the table `{table}`, found {found}", .path.display())]
    WrongVersion { path: PathBuf, table: &'static str, expected: u32, found: String },
    #[error(
        "{}: column `{column}` of the table `{table}`: expected {expected}, found {found}",
        .path.display()
    )]
    WrongColumn { path: PathBuf, table: &'static str, column: String, expected: String, found: String },
    #[error("{place}, row {row}, column `{column}`: {problem}")]
    BadValue {
        /// File and row group when reading, the table when writing.
        place: String,
        /// Row within the file, from 0.
        row: u64,
        column: &'static str,
        problem: String,
    },
    /// The file began as Parquet but its data cannot be decoded, or rows cannot be encoded.
    #[error("{place}: damaged or unwritable data")]
    Data {
        /// File and row group when reading, the table when writing.
        place: String,
        #[source]
        source: ParquetError,
    },
}

impl TableError {
    /// The operating system's error, if this is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            TableError::Io { source, .. } => Some(source),
            _ => None,
        }
    }

    /// An error of the Parquet library while encoding or decoding: the system's own error if that lies under
    /// it.
    pub(super) fn data(place: String, error: ParquetError) -> Self {
        match into_io(error) {
            Ok(source) => TableError::Io { place, source },
            Err(source) => TableError::Data { place, source },
        }
    }

    /// An error of the Parquet library while a file is opened.
    pub(super) fn opening(path: &Path, error: ParquetError) -> Self {
        match into_io(error) {
            Ok(source) => TableError::Io { place: path.display().to_string(), source },
            Err(source) => TableError::NotParquet { path: path.to_owned(), source },
        }
    }
}

/// The system's error within a Parquet error. An unexpected end of file is no such error: it says that
/// the file is short, not that the disk failed.
fn into_io(error: ParquetError) -> Result<io::Error, ParquetError> {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) if io.kind() == io::ErrorKind::UnexpectedEof => Err(ParquetError::EOF(io.to_string())),
            Ok(io) => Ok(*io),
            Err(inner) => Err(ParquetError::External(inner)),
        },
        other => Err(other),
    }
}

/// An Arrow error as a Parquet error, with the system's error kept within reach.
pub(super) fn from_arrow(error: ArrowError) -> ParquetError {
    match error {
        ArrowError::IoError(_, io) => ParquetError::from(io),
        ArrowError::ExternalError(inner) => ParquetError::External(inner),
        ArrowError::ParquetError(text) => ParquetError::General(text),
        other => ParquetError::ArrowError(other.to_string()),
    }
}
