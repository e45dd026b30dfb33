//! Some columns of a file of any table, batch by batch: what a query needs, and nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::error::from_arrow;
use super::read::{builder, check_columns, check_name, guarded, heading_of, same_type};
use super::{TableError, TableInfo};

/// A value to look for in a column of text or of signed integers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Text(String),
    Int(i64),
}

/// A Parquet file that was opened and checked, and the places of the columns that were asked for.
pub struct Opened {
    path: PathBuf,
    builder: Builder,
    /// For each column, its position among the file's.
    columns: Vec<usize>,
}

type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Opens a file of one of our tables; its columns are those of the table.
///
/// # Errors
/// A file that is no such table, or is damaged.
pub fn open(path: &Path, info: &TableInfo) -> Result<Opened, TableError> {
    let builder = builder(path)?;
    let heading = heading_of(&builder);
    check_name(path, &heading, info)?;
    let columns = check_columns(path, &heading.schema, info)?;
    Ok(Opened { path: path.to_owned(), builder, columns })
}

/// Opens a file of any maker that has these columns.
///
/// # Errors
/// A file without them, or a damaged one.
pub fn open_any(path: &Path, fields: &[Field]) -> Result<Opened, TableError> {
    let builder = builder(path)?;
    let schema = builder.schema().clone();
    let place = |field: &Field| {
        let found = schema.column_with_name(field.name());
        let wrong = |found: String| TableError::WrongColumn {
            path: path.to_owned(),
            table: "the first file",
            column: field.name().clone(),
            expected: field.data_type().to_string(),
            found,
        };
        match found {
            Some((index, found)) if same_type(field.data_type(), found.data_type()) => Ok(index),
            Some((_, found)) => Err(wrong(found.data_type().to_string())),
            None => Err(wrong("no such column".to_owned())),
        }
    };
    let columns = fields.iter().map(place).collect::<Result<_, _>>()?;
    Ok(Opened { path: path.to_owned(), builder, columns })
}

impl Opened {
    /// Batches of some columns, by their place in the table, of all rows or of those that have some values.
    /// A batch has its columns in the order of the file.
    ///
    /// # Errors
    /// Damaged data.
    pub fn batches(self, wanted: &[usize], equal: &[(usize, Key)]) -> Result<Batches, TableError> {
        let Self { path, builder, columns } = self;
        let mut places: Vec<usize> = wanted.iter().map(|column| columns[*column]).collect();
        places.sort_unstable();
        places.dedup();
        let found = match equal {
            [] => None,
            _ => {
                let equal: Vec<(usize, &Key)> = equal.iter().map(|(at, key)| (columns[*at], key)).collect();
                Some(find(&path, &builder, &equal)?)
            }
        };
        let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
        let mut builder = builder.with_projection(mask);
        if let Some(found) = &found {
            builder = builder.with_row_selection(selection(found));
        }
        let plain = Plain::of(&path, builder)?;
        let slots = columns.iter().map(|place| places.binary_search(place).ok()).collect();
        Ok(Batches { plain, slots, found, given: 0 })
    }
}

/// Batches of the wanted columns with the numbers of their rows.
pub struct Batches {
    plain: Plain,
    /// For each column of the table, its place in a batch.
    slots: Vec<Option<usize>>,
    /// The rows that were selected, if not all.
    found: Option<Vec<u32>>,
    /// Rows given so far.
    given: usize,
}

/// Some rows of a file.
pub struct Batch {
    pub columns: RecordBatch,
    /// Numbers of the rows within the file; they follow each other where there are none.
    pub numbers: Option<Vec<u32>>,
    /// Number of the first row.
    pub first: u32,
}

impl Batches {
    /// The place of a column of the table in each batch, if it was asked for.
    pub fn slot(&self, column: usize) -> Option<usize> {
        self.slots.get(column).copied().flatten()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let columns = match self.plain.next()? {
            Ok(columns) => columns,
            Err(error) => return Some(Err(error)),
        };
        let (start, count) = (self.given, columns.num_rows());
        self.given += count;
        let numbers =
            self.found.as_ref().map(|found| found[start..(start + count).min(found.len())].to_vec());
        let first = numbers.as_ref().map_or(start as u32, |numbers| numbers.first().copied().unwrap_or(0));
        Some(Ok(Batch { columns, numbers, first }))
    }
}

/// Batches as the Parquet library gives them, with its errors as ours. Ends after its first error.
pub(super) struct Plain {
    path: PathBuf,
    reader: Option<ParquetRecordBatchReader>,
}

impl Plain {
    pub(super) fn of(path: &Path, builder: Builder) -> Result<Self, TableError> {
        let reader = guarded(|| builder.with_batch_size(super::read::BATCH_ROWS).build());
        let reader = reader.map_err(|error| TableError::opening(path, error))?;
        Ok(Self { path: path.to_owned(), reader: Some(reader) })
    }
}

impl Iterator for Plain {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let place = || self.path.display().to_string();
        match guarded(|| Ok(reader.next())) {
            Err(error) => Some(Err(TableError::data(place(), error))),
            Ok(None) => None,
            Ok(Some(Err(error))) => Some(Err(TableError::data(place(), from_arrow(error)))),
            Ok(Some(Ok(batch))) => {
                self.reader = Some(reader);
                Some(Ok(batch))
            }
        }
    }
}

/// Numbers of the rows of a file that have all these values. Row groups whose statistics rule a value out
/// are not decoded.
fn find(path: &Path, builder: &Builder, equal: &[(usize, &Key)]) -> Result<Vec<u32>, TableError> {
    let groups = builder.metadata().row_groups();
    let schema = builder.parquet_schema();
    let leaf = |root: usize| (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
    let may = |group: &RowGroupMetaData| {
        equal.iter().all(|(root, key)| {
            let column = leaf(*root).and_then(|leaf| group.columns().get(leaf));
            column.and_then(|column| column.statistics()).is_none_or(|known| possible(known, key))
        })
    };
    let mut starts = Vec::new();
    let mut start = 0;
    for (at, group) in groups.iter().enumerate() {
        if may(group) {
            starts.push((at, start, group.num_rows().max(0) as u32));
        }
        start += group.num_rows().max(0) as u32;
    }
    let mut found = Vec::new();
    if starts.is_empty() {
        return Ok(found);
    }
    let mut reader = self::builder(path)?;
    let mut roots: Vec<usize> = equal.iter().map(|(root, _)| *root).collect();
    roots.sort_unstable();
    roots.dedup();
    let mask = ProjectionMask::roots(reader.parquet_schema(), roots.iter().copied());
    reader = reader.with_projection(mask).with_row_groups(starts.iter().map(|(at, _, _)| *at).collect());
    // Numbers of the rows in the order in which they are read.
    let mut numbers = starts.iter().flat_map(|(_, start, rows)| *start..*start + *rows);
    for batch in Plain::of(path, reader)? {
        let batch = batch?;
        let checks: Vec<Check<'_>> = equal
            .iter()
            .map(|(root, key)| Check::of(batch.column(roots.partition_point(|r| r < root)), key))
            .collect();
        for row in 0..batch.num_rows() {
            let number = numbers.next();
            if checks.iter().all(|check| check.holds(row)) {
                found.extend(number);
            }
        }
    }
    Ok(found)
}

/// Whether a column with these statistics may hold the value.
fn possible(known: &Statistics, key: &Key) -> bool {
    match (known, key) {
        // Old writers compared signed bytes.
        _ if known.is_min_max_deprecated() => true,
        (Statistics::ByteArray(_), Key::Text(text)) => {
            let text = text.as_bytes();
            known.min_bytes_opt().is_none_or(|min| min <= text)
                && known.max_bytes_opt().is_none_or(|max| max >= text)
        }
        (Statistics::Int32(known), Key::Int(int)) => {
            known.min_opt().is_none_or(|min| i64::from(*min) <= *int)
                && known.max_opt().is_none_or(|max| i64::from(*max) >= *int)
        }
        _ => true,
    }
}

/// A comparison of a column's cells with a value.
enum Check<'a> {
    Text(&'a arrow::array::StringArray, &'a str),
    Int32(&'a arrow::array::Int32Array, i64),
    Int64(&'a arrow::array::Int64Array, i64),
    Never,
}

impl<'a> Check<'a> {
    fn of(array: &'a dyn Array, key: &'a Key) -> Self {
        let check = match (array.data_type(), key) {
            (DataType::Utf8, Key::Text(text)) => array.as_string_opt().map(|a| Check::Text(a, text)),
            (DataType::Int32, Key::Int(int)) => {
                array.as_primitive_opt::<Int32Type>().map(|a| Check::Int32(a, *int))
            }
            (DataType::Int64, Key::Int(int)) => {
                array.as_primitive_opt::<Int64Type>().map(|a| Check::Int64(a, *int))
            }
            _ => None,
        };
        check.unwrap_or(Check::Never)
    }

    fn holds(&self, row: usize) -> bool {
        match self {
            Check::Text(array, text) => array.is_valid(row) && array.value(row) == *text,
            Check::Int32(array, int) => array.is_valid(row) && i64::from(array.value(row)) == *int,
            Check::Int64(array, int) => array.is_valid(row) && array.value(row) == *int,
            Check::Never => false,
        }
    }
}

/// The rows of these numbers, which ascend.
fn selection(numbers: &[u32]) -> RowSelection {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for number in numbers {
        if *number > next {
            selectors.push(RowSelector::skip((*number - next) as usize));
        }
        match selectors.last_mut() {
            Some(last) if !last.skip => last.row_count += 1,
            _ => selectors.push(RowSelector::select(1)),
        }
        next = *number + 1;
    }
    selectors.into()
}
