//! Reading a table batch by batch, after its name, version and columns were checked.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::vec;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::error::from_arrow;
use super::{Row, TABLE_KEY, TableError, TableInfo, VERSION_KEY};

/// Rows that are decoded at once.
pub(super) const BATCH_ROWS: usize = 8_192;

/// What a file says of itself, whichever table it is.
#[derive(Clone, Debug)]
pub struct Heading {
    /// `qstill.table`, if the file has it.
    pub table: Option<String>,
    /// `qstill.version`, if the file has it.
    pub version: Option<String>,
    pub rows: u64,
    pub row_groups: usize,
    pub schema: SchemaRef,
}

/// Reads a file's footer only.
pub fn heading(path: &Path) -> Result<Heading, TableError> {
    Ok(heading_of(&builder(path)?))
}

/// The rows of a file in order, decoded as they are asked for. Name, version and columns are checked first.
pub fn read<R: Row>(path: &Path) -> Result<Rows<R>, TableError> {
    let builder = builder(path)?;
    let heading = heading_of(&builder);
    check_name(path, &heading, &TableInfo::of::<R>())?;
    let wanted = check_columns(path, &heading.schema, &TableInfo::of::<R>())?;
    let group_ends = builder
        .metadata()
        .row_groups()
        .iter()
        .scan(0, |end, group| {
            *end += group.num_rows().max(0) as u64;
            Some(*end)
        })
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = guarded(|| builder.with_projection(mask).with_batch_size(BATCH_ROWS).build());
    Ok(Rows {
        path: path.to_owned(),
        reader: Some(reader.map_err(|error| TableError::opening(path, error))?),
        batch: Vec::new().into_iter(),
        decoded: 0,
        total: heading.rows,
        group_ends,
    })
}

/// All rows of a file, for tables that fit in memory.
pub fn read_all<R: Row>(path: &Path) -> Result<Vec<R>, TableError> {
    read(path)?.collect()
}

/// The rows of a file: see [`read`]. Ends after its first error.
pub struct Rows<R> {
    path: PathBuf,
    /// None after the end or an error.
    reader: Option<ParquetRecordBatchReader>,
    batch: vec::IntoIter<R>,
    /// Rows decoded so far.
    decoded: u64,
    total: u64,
    /// For each row group, how many rows the file has up to its end.
    group_ends: Vec<u64>,
}

impl<R: Row> Rows<R> {
    /// Rows in the file, as its footer says.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The file and the row group of a row, for messages.
    fn place(&self, row: u64) -> String {
        let group = self.group_ends.partition_point(|end| *end <= row);
        format!("{}, row group {group}", self.path.display())
    }

    /// The next batch; false at the end of the file.
    fn refill(&mut self) -> Result<bool, TableError> {
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        let next = guarded(|| Ok(reader.next()))
            .map_err(|error| TableError::data(self.place(self.decoded), error))?;
        let Some(next) = next else {
            if self.decoded == self.total {
                return Ok(false);
            }
            let short = format!("the footer says {} rows, but there are {}", self.total, self.decoded);
            return Err(TableError::Data {
                place: self.place(self.decoded),
                source: ParquetError::EOF(short),
            });
        };
        let batch = next.map_err(|error| TableError::data(self.place(self.decoded), from_arrow(error)))?;
        let rows = R::from_batch(&batch).map_err(|bad| {
            let row = self.decoded + bad.row as u64;
            TableError::BadValue { place: self.place(row), row, column: bad.column, problem: bad.problem }
        })?;
        self.decoded += rows.len() as u64;
        self.batch = rows.into_iter();
        self.reader = Some(reader);
        Ok(true)
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<R, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(Ok(row));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

pub(super) fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, TableError> {
    let file =
        File::open(path).map_err(|source| TableError::Io { place: path.display().to_string(), source })?;
    let length = file.metadata().map(|file| file.len());
    let length = length.map_err(|source| TableError::Io { place: path.display().to_string(), source })?;
    let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))
        .map_err(|error| TableError::opening(path, error))?;
    check_extents(builder.metadata(), length).map_err(|error| TableError::opening(path, error))?;
    Ok(builder)
}

/// Runs a call of the Parquet library, which panics on some files that were tampered with; that is an error
/// of the file.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(ParquetError::General(format!("it cannot be decoded ({})", text.unwrap_or_default())))
    })
}

/// Whether the footer's column chunks lie within the file. The Parquet library takes this for granted and
/// panics on a negative length, which a single flipped bit can make.
pub(crate) fn check_extents(file: &ParquetMetaData, length: u64) -> Result<(), ParquetError> {
    for (index, group) in file.row_groups().iter().enumerate() {
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            let within = start >= 0
                && column.compressed_size() >= 0
                && column.num_values() >= 0
                && end.is_some_and(|end| end.unsigned_abs() <= length);
            if !within {
                let column = column.column_path().string();
                let text = format!("row group {index}: column `{column}` extends beyond the file");
                return Err(ParquetError::General(text));
            }
        }
    }
    Ok(())
}

pub(super) fn heading_of(builder: &ParquetRecordBatchReaderBuilder<File>) -> Heading {
    let file = builder.metadata().file_metadata();
    let value = |key: &str| {
        let pairs = file.key_value_metadata()?;
        pairs.iter().find(|pair| pair.key == key)?.value.clone()
    };
    Heading {
        table: value(TABLE_KEY),
        version: value(VERSION_KEY),
        rows: file.num_rows().max(0) as u64,
        row_groups: builder.metadata().num_row_groups(),
        schema: builder.schema().clone(),
    }
}

pub(super) fn check_name(path: &Path, heading: &Heading, info: &TableInfo) -> Result<(), TableError> {
    let found = heading.table.as_deref();
    if found != Some(info.name) {
        let found = found.map_or_else(|| format!("a file without `{TABLE_KEY}`"), |name| format!("`{name}`"));
        return Err(TableError::WrongTable { path: path.to_owned(), expected: info.name, found });
    }
    let found = heading.version.as_deref();
    if found != Some(info.version.to_string().as_str()) {
        let found = found.map_or_else(|| "no version".to_owned(), str::to_owned);
        return Err(TableError::WrongVersion {
            path: path.to_owned(),
            table: info.name,
            expected: info.version,
            found,
        });
    }
    Ok(())
}

/// The positions of the table's columns in the file. Other columns and another order are no error:
/// a file may have passed through another program.
pub(super) fn check_columns(path: &Path, found: &Schema, info: &TableInfo) -> Result<Vec<usize>, TableError> {
    let position = |expected: &arrow::datatypes::FieldRef| {
        let wrong = |found: String| TableError::WrongColumn {
            path: path.to_owned(),
            table: info.name,
            column: expected.name().clone(),
            expected: expected.data_type().to_string(),
            found,
        };
        let Some((index, field)) = found.column_with_name(expected.name()) else {
            let names: Vec<_> = found.fields().iter().map(|field| format!("`{}`", field.name())).collect();
            return Err(wrong(format!("no such column among {}", names.join(", "))));
        };
        if same_type(expected.data_type(), field.data_type()) {
            Ok(index)
        } else {
            Err(wrong(field.data_type().to_string()))
        }
    };
    (info.schema)().fields().iter().map(position).collect()
}

/// Whether values of `found` can be read as `expected`: nullability, the name of a list's element and
/// further fields of a struct do not matter, a null where none may be is found with its row.
pub(super) fn same_type(expected: &DataType, found: &DataType) -> bool {
    match (expected, found) {
        (DataType::List(expected), DataType::List(found)) => {
            same_type(expected.data_type(), found.data_type())
        }
        (DataType::Struct(expected), DataType::Struct(found)) => expected.iter().all(|field| {
            found.find(field.name()).is_some_and(|(_, other)| same_type(field.data_type(), other.data_type()))
        }),
        _ => expected == found,
    }
}
