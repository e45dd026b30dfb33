//! Parquet files of any maker: two columns are read, a batch at a time.

use std::fs::File;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::error::{Fault, Place, SourceError};
use super::{BATCH_ROWS, Options, Raw, raw};
use crate::table::check_extents;

/// The rows of a Parquet file.
pub struct Rows {
    path: PathBuf,
    options: Options,
    /// None after the end or an error of the file.
    reader: Option<ParquetRecordBatchReader>,
    /// Questions and answers of the batch.
    columns: Option<[ArrayRef; 2]>,
    /// Next row within the batch.
    next: usize,
    /// Rows of the file before the batch.
    before: u64,
}

impl Rows {
    pub fn open(path: PathBuf, options: &Options) -> Result<Self, SourceError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            Err(source) => return Err(SourceError::Io { path, source }),
        };
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| check_extents(builder.metadata(), length).map(|()| builder));
        let builder = match builder {
            Ok(builder) => builder,
            Err(source) => return Err(SourceError::NotParquet { path, source }),
        };
        let schema = builder.schema().clone();
        let question = find(&path, &schema, &options.question_column, "text", is_text)?;
        let answer = find(&path, &schema, &options.answer_column, "text or numbers", |kind| is_text(kind) || is_number(kind))?;
        if builder.metadata().file_metadata().num_rows() == 0 {
            return Err(SourceError::NoRows { path });
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), [question, answer]);
        let reader = match builder.with_projection(mask).with_batch_size(BATCH_ROWS).build() {
            Ok(reader) => reader,
            Err(source) => return Err(SourceError::NotParquet { path, source }),
        };
        Ok(Rows { path, options: options.clone(), reader: Some(reader), columns: None, next: 0, before: 0 })
    }

    /// Decodes the next batch; false at the end of the file.
    fn refill(&mut self) -> Result<bool, SourceError> {
        if let Some([questions, _]) = self.columns.take() {
            self.before += questions.len() as u64;
            self.next = 0;
        }
        let Some(mut reader) = self.reader.take() else { return Ok(false) };
        let Some(batch) = reader.next() else { return Ok(false) };
        let damaged = |error: ArrowError| SourceError::Damaged {
            path: self.path.clone(),
            row: self.before,
            source: ParquetError::ArrowError(error.to_string()),
        };
        let batch = batch.map_err(damaged)?;
        let column = |name: &str| {
            let array = batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no `{name}`")))?;
            match array.data_type() {
                DataType::Dictionary(_, values) => cast(array, values),
                _ => Ok(array.clone()),
            }
        };
        let questions = column(&self.options.question_column).map_err(damaged)?;
        let answers = column(&self.options.answer_column).map_err(damaged)?;
        self.columns = Some([questions, answers]);
        self.reader = Some(reader);
        Ok(true)
    }

    fn row(&self, questions: &dyn Array, answers: &dyn Array) -> Result<Raw, Fault> {
        let question = text(&self.options.question_column, questions, self.next)?;
        let answer = text(&self.options.answer_column, answers, self.next)?;
        raw(question, &answer, &self.path, self.place(), &self.options)
    }

    fn place(&self) -> Place {
        Place::Row(self.before + self.next as u64)
    }
}

impl Iterator for Rows {
    type Item = Result<Raw, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some([questions, answers]) = &self.columns
                && self.next < questions.len()
            {
                let place = self.place();
                let row = self.row(questions, answers);
                self.next += 1;
                return Some(row.map_err(|fault| SourceError::Row { path: self.path.clone(), place, fault }));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The position of a column, if it is there and of a type that can be read.
fn find(
    path: &std::path::Path,
    schema: &Schema,
    column: &str,
    expected: &'static str,
    fits: impl Fn(&DataType) -> bool,
) -> Result<usize, SourceError> {
    let Some((index, field)) = schema.column_with_name(column) else {
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        return Err(SourceError::NoColumn { path: path.to_owned(), column: column.to_owned(), columns });
    };
    let kind = match field.data_type() {
        DataType::Dictionary(_, values) => values,
        kind => kind,
    };
    if fits(kind) {
        return Ok(index);
    }
    let found = field.data_type().to_string();
    Err(SourceError::ColumnType { path: path.to_owned(), column: column.to_owned(), expected, found })
}

/// Texts, and bytes too: some programs write texts without saying that they are.
fn is_text(kind: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    matches!(kind, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView)
}

fn is_number(kind: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    kind.is_integer() || kind.is_floating() || matches!(kind, Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..))
}

/// A cell as text. Numbers are written exactly: floats with the fewest digits that give the same float again.
fn text(column: &str, array: &dyn Array, row: usize) -> Result<String, Fault> {
    if array.is_null(row) {
        return Err(Fault::Null { column: column.to_owned() });
    }
    let utf8 = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(Fault::Utf8 { in_row: error.valid_up_to(), in_file: None }),
    };
    let finite = |written: String, finite: bool| {
        if finite { Ok(written) } else { Err(Fault::NotFinite { column: column.to_owned(), found: written }) }
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
        _ => array_value_to_string(array, row).map_err(|_| Fault::Kind {
            column: column.to_owned(),
            expected: "text or a number",
            found: "a value that cannot be written",
        }),
    }
}
