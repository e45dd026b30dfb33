//! The rows of an answer as a Parquet file. SQLite's values have types, its columns have none: a column is
//! whole numbers, numbers, truth values or texts by all that stands in it, so the answer is held in memory.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rusqlite::types::ValueRef;

use crate::query::database::{Heading, Taker};
use crate::query::source::Kind;

/// An answer in memory, column by column.
#[derive(Default)]
pub struct Parquet {
    headings: Vec<Heading>,
    columns: Vec<Values>,
    rows: usize,
}

/// The values of a column; nulls alone have no type yet.
enum Values {
    Nulls,
    Ints(Vec<Option<i64>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl Values {
    fn push(&mut self, value: ValueRef<'_>, rows: usize) {
        if matches!(self, Values::Nulls) {
            *self = match value {
                ValueRef::Null => return,
                ValueRef::Integer(_) => Values::Ints(vec![None; rows]),
                ValueRef::Real(_) => Values::Reals(vec![None; rows]),
                ValueRef::Text(_) | ValueRef::Blob(_) => Values::Texts(vec![None; rows]),
            };
        }
        match (&*self, value) {
            (Values::Ints(ints), ValueRef::Real(_)) => {
                *self = Values::Reals(ints.iter().map(|int| int.map(|int| int as f64)).collect());
            }
            (Values::Ints(ints), ValueRef::Text(_) | ValueRef::Blob(_)) => {
                *self = Values::Texts(ints.iter().map(|int| int.map(|int| int.to_string())).collect());
            }
            (Values::Reals(reals), ValueRef::Text(_) | ValueRef::Blob(_)) => {
                *self = Values::Texts(reals.iter().map(|real| real.map(|real| real.to_string())).collect());
            }
            _ => {}
        }
        match self {
            Values::Nulls => {}
            Values::Ints(ints) => {
                ints.push(if let ValueRef::Integer(int) = value { Some(int) } else { None });
            }
            Values::Reals(reals) => reals.push(match value {
                ValueRef::Integer(int) => Some(int as f64),
                ValueRef::Real(real) => Some(real),
                _ => None,
            }),
            Values::Texts(texts) => texts.push(match value {
                ValueRef::Null => None,
                ValueRef::Integer(int) => Some(int.to_string()),
                ValueRef::Real(real) => Some(real.to_string()),
                ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
            }),
        }
    }

    fn array(self, kind: Option<Kind>, rows: usize) -> ArrayRef {
        match self {
            Values::Nulls if kind.is_some_and(|kind| matches!(kind, Kind::Text | Kind::Json)) => {
                Arc::new(StringArray::new_null(rows))
            }
            Values::Nulls if kind == Some(Kind::Integer) => Arc::new(Int64Array::new_null(rows)),
            Values::Nulls if kind == Some(Kind::Real) => Arc::new(Float64Array::new_null(rows)),
            Values::Nulls if kind == Some(Kind::Boolean) => Arc::new(BooleanArray::new_null(rows)),
            Values::Nulls => Arc::new(NullArray::new(rows)),
            Values::Ints(ints) if kind == Some(Kind::Boolean) => {
                Arc::new(ints.into_iter().map(|int| int.map(|int| int != 0)).collect::<BooleanArray>())
            }
            Values::Ints(ints) => Arc::new(Int64Array::from(ints)),
            Values::Reals(reals) => Arc::new(Float64Array::from(reals)),
            Values::Texts(texts) => Arc::new(StringArray::from(texts)),
        }
    }
}

impl Taker for Parquet {
    fn begin(&mut self, columns: &[Heading]) -> Result<()> {
        self.headings = columns.to_vec();
        self.columns = columns.iter().map(|_| Values::Nulls).collect();
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value, self.rows);
        }
        self.rows += 1;
        Ok(())
    }
}

impl Parquet {
    /// The bytes of the file.
    ///
    /// # Errors
    /// Rows that cannot be encoded.
    pub fn finish(self) -> Result<Vec<u8>> {
        let rows = self.rows;
        let arrays: Vec<ArrayRef> = self
            .columns
            .into_iter()
            .zip(&self.headings)
            .map(|(c, heading)| c.array(heading.kind, rows))
            .collect();
        let fields = self.headings.iter().zip(&arrays);
        let fields: Vec<Field> = fields
            .map(|(heading, array)| Field::new(&heading.name, array.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        let encode = |batch: RecordBatch| -> parquet::errors::Result<Vec<u8>> {
            let properties = WriterProperties::builder()
                .set_created_by("qstill".to_owned())
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .build();
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
            writer.write(&batch)?;
            writer.into_inner()
        };
        encode(batch.context("failed to lay out the answer")?).context("failed to encode the answer")
    }
}
