//! Parquet files of any maker: only the columns asked for are read, a batch at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Fields, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde_json::Value;

use super::BATCH_ROWS;
use super::column::{Column, Row, Wants};
use super::error::{RowFault, RowPosition, SourceError};
use crate::table::{check_extents, guarded};

/// The rows of a Parquet file.
pub struct Rows {
    path: Arc<Path>,
    columns: Arc<[Column]>,
    /// For each column, its place among the columns that are read, then within one struct after the other.
    ways: Vec<Vec<usize>>,
    /// None after the end or an error of the file.
    reader: Option<ParquetRecordBatchReader>,
    /// For each column, the cells of the batch; none before the first.
    batch: Vec<Cells>,
    /// Rows of the batch.
    length: usize,
    /// Next row within the batch.
    next: usize,
    /// Rows of the file before the batch.
    before: u64,
    /// Rows of the file.
    total: u64,
}

/// Cells of a column, with the structs around them, whose nulls are its own.
struct Cells {
    around: Vec<ArrayRef>,
    array: ArrayRef,
}

impl Rows {
    pub fn open(path: PathBuf, columns: Arc<[Column]>) -> Result<Self, SourceError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            Err(source) => return Err(SourceError::Io { path, source }),
        };
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new(file))
            .and_then(|builder| check_extents(builder.metadata(), length).map(|()| builder));
        let builder = match builder {
            Ok(builder) => builder,
            Err(source) => return Err(SourceError::NotParquet { path, source }),
        };
        let schema = builder.schema().clone();
        let mut ways = columns
            .iter()
            .map(|column| find(&path, schema.fields(), column))
            .collect::<Result<Vec<_>, _>>()?;
        let total = builder.metadata().file_metadata().num_rows().max(0) as u64;
        if total == 0 {
            return Err(SourceError::NoRows { path });
        }
        let mut roots: Vec<usize> = ways.iter().map(|way| way[0]).collect();
        roots.sort_unstable();
        roots.dedup();
        for way in &mut ways {
            way[0] = roots.partition_point(|root| *root < way[0]);
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = match guarded(|| builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()) {
            Ok(reader) => reader,
            Err(source) => return Err(SourceError::NotParquet { path, source }),
        };
        Ok(Rows {
            path: path.into(),
            columns,
            ways,
            reader: Some(reader),
            batch: Vec::new(),
            length: 0,
            next: 0,
            before: 0,
            total,
        })
    }

    /// Rows that were read, and rows in all.
    pub fn extent(&self) -> (u64, u64) {
        (self.before + self.next as u64, self.total)
    }

    /// Decodes the next batch; false at the end of the file.
    fn refill(&mut self) -> Result<bool, SourceError> {
        self.batch.clear();
        self.before += self.length as u64;
        (self.length, self.next) = (0, 0);
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        let next = guarded(|| Ok(reader.next()));
        let next = next.map_err(|source| SourceError::Damaged {
            path: self.path.to_path_buf(),
            row: self.before,
            source,
        })?;
        let Some(batch) = next else { return Ok(false) };
        let read = batch.and_then(|batch| {
            let columns = self.ways.iter().map(|way| follow(&batch, way)).collect::<Result<Vec<_>, _>>()?;
            Ok((batch.num_rows(), columns))
        });
        (self.length, self.batch) = read.map_err(|error| SourceError::Damaged {
            path: self.path.to_path_buf(),
            row: self.before,
            source: ParquetError::ArrowError(error.to_string()),
        })?;
        self.reader = Some(reader);
        Ok(true)
    }

    fn cells(&self) -> Result<Vec<String>, RowFault> {
        self.columns
            .iter()
            .zip(&self.batch)
            .map(|(column, cells)| match column.wants {
                Wants::Json => {
                    let mut out = String::new();
                    json(&column.name, cells, self.next, &mut out)?;
                    Ok(out)
                }
                _ => text(&column.name, cells, self.next),
            })
            .collect()
    }
}

impl Iterator for Rows {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next < self.length {
                let place = RowPosition::Row(self.before + self.next as u64);
                let cells = self.cells();
                self.next += 1;
                return Some(match cells {
                    Ok(cells) => Ok(Row { path: Arc::clone(&self.path), place, cells }),
                    Err(fault) => Err(SourceError::Row { path: self.path.to_path_buf(), place, fault }),
                });
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The way to a column, if it is there and of a type that can be read.
fn find(path: &Path, fields: &Fields, column: &Column) -> Result<Vec<usize>, SourceError> {
    let (way, field) = match way(fields, "", &column.name) {
        Ok(found) => found,
        Err(columns) => {
            return Err(SourceError::NoColumn {
                path: path.to_owned(),
                column: column.name.clone(),
                columns,
            });
        }
    };
    let kind = match field.data_type() {
        DataType::Dictionary(_, values) => values,
        kind => kind,
    };
    if column.wants == Wants::Json || is_text(kind) || (column.wants.numbers() && is_number(kind)) {
        return Ok(way);
    }
    let (expected, found) =
        (if column.wants.numbers() { "text or numbers" } else { "text" }, field.data_type().to_string());
    Err(SourceError::ColumnType { path: path.to_owned(), column: column.name.clone(), expected, found })
}

/// The place of a name: a field of just that name, else one of the struct that a part of it names.
/// The error holds the names that there are.
fn way<'a>(fields: &'a Fields, under: &str, name: &str) -> Result<(Vec<usize>, &'a FieldRef), Vec<String>> {
    if let Some((at, field)) = fields.find(name) {
        return Ok((vec![at], field));
    }
    for (dot, _) in name.match_indices('.') {
        if let Some((at, field)) = fields.find(&name[..dot])
            && let DataType::Struct(within) = field.data_type()
        {
            let (mut rest, field) = way(within, &format!("{under}{}.", &name[..dot]), &name[dot + 1..])?;
            rest.insert(0, at);
            return Ok((rest, field));
        }
    }
    Err(fields.iter().map(|field| format!("{under}{}", field.name())).collect())
}

/// The cells at the end of a way. Dictionaries are looked up.
fn follow(batch: &RecordBatch, way: &[usize]) -> Result<Cells, ArrowError> {
    let lost = || ArrowError::SchemaError("a column is not there".into());
    let (mut columns, mut around) = (batch.columns(), Vec::new());
    let mut array = None;
    for (depth, at) in way.iter().enumerate() {
        let found = columns.get(*at).ok_or_else(lost)?;
        if depth + 1 < way.len() {
            columns = found.as_struct_opt().ok_or_else(lost)?.columns();
            around.push(found.clone());
        } else {
            array = Some(found);
        }
    }
    let array = array.ok_or_else(lost)?;
    let array = match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values)?,
        _ => array.clone(),
    };
    Ok(Cells { around, array })
}

/// Texts, and bytes too: some programs write texts without saying that they are.
fn is_text(kind: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(kind, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

fn is_number(kind: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    kind.is_integer()
        || kind.is_floating()
        || matches!(kind, Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..))
}

/// A cell as text. Numbers are written exactly: floats with the fewest digits that give the same float again.
fn text(column: &str, cells: &Cells, row: usize) -> Result<String, RowFault> {
    let array = &*cells.array;
    if array.is_null(row) || cells.around.iter().any(|array| array.is_null(row)) {
        return Err(RowFault::Null { column: column.to_owned() });
    }
    let utf8 = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(RowFault::Utf8 { in_row: error.valid_up_to(), in_file: None }),
    };
    let finite = |written: String, finite: bool| {
        if finite {
            Ok(written)
        } else {
            Err(RowFault::NotFinite { column: column.to_owned(), found: written })
        }
    };
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Ok(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Ok(array.as_string_view().value(row).to_owned()),
        DataType::Binary => utf8(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => utf8(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => utf8(array.as_binary_view().value(row)),
        DataType::Float16 => {
            let number = array.as_primitive::<Float16Type>().value(row).to_f32();
            finite(number.to_string(), number.is_finite())
        }
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            finite(number.to_string(), number.is_finite())
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            finite(number.to_string(), number.is_finite())
        }
        // Integers and decimals.
        _ => array_value_to_string(array, row).map_err(|_| RowFault::Kind {
            column: column.to_owned(),
            expected: "text or a number",
            found: "a value that cannot be written",
        }),
    }
}

/// A cell as JSON: lists and structs in full, what JSON has no form for as text.
fn json(column: &str, cells: &Cells, row: usize, out: &mut String) -> Result<(), RowFault> {
    let array = &*cells.array;
    if array.is_null(row) || cells.around.iter().any(|array| array.is_null(row)) {
        out.push_str("null");
        return Ok(());
    }
    let within = |array: ArrayRef| Cells { around: Vec::new(), array };
    let mut list = |items: ArrayRef| {
        let items = within(items);
        out.push('[');
        for item in 0..items.array.len() {
            out.push_str(if item > 0 { "," } else { "" });
            json(column, &items, item, out)?;
        }
        out.push(']');
        Ok(())
    };
    match array.data_type() {
        DataType::List(_) => return list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => return list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => return list(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            out.push('{');
            for (at, (field, values)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&Value::from(field.name().as_str()).to_string());
                out.push(':');
                json(column, &within(values.clone()), row, out)?;
            }
            out.push('}');
        }
        DataType::Dictionary(_, values) => {
            let plain = cast(&array.slice(row, 1), values);
            let unwritten = |_| RowFault::Kind {
                column: column.to_owned(),
                expected: "a value that can be written",
                found: "another",
            };
            return json(column, &within(plain.map_err(unwritten)?), 0, out);
        }
        DataType::Boolean => out.push_str(&array.as_boolean().value(row).to_string()),
        kind if is_number(kind) => out.push_str(&text(column, cells, row)?),
        _ => out.push_str(&Value::from(text(column, cells, row)?).to_string()),
    }
    Ok(())
}
