//! Writing a table row by row in bounded memory.

use std::io::Write;

use arrow::array::Array;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::error::from_arrow;
use super::{Row, TABLE_KEY, TableError, VERSION_KEY};

/// Rows that are turned into columns at once.
const BATCH_ROWS: usize = 8_192;
/// Rows after which a row group is closed.
const GROUP_ROWS: usize = 65_536;
/// Encoded bytes after which a row group is closed, for tables of long texts.
const GROUP_BYTES: usize = 64 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Writes the rows of one table to a sink as one Parquet file.
///
/// Nothing is a table until [`Writer::finish`] has written the footer. After an error the writer and
/// what it wrote are to be thrown away.
pub struct Writer<R: Row, W: Write + Send> {
    inner: ArrowWriter<W>,
    pending: Vec<R>,
    /// Rows that have left `pending`.
    written: u64,
    /// Bytes of their columns.
    bytes: u64,
}

impl<R: Row, W: Write + Send> Writer<R, W> {
    pub fn new(sink: W) -> Result<Self, TableError> {
        let inner =
            ArrowWriter::try_new(sink, R::schema(), Some(properties::<R>()?)).map_err(failure::<R>)?;
        Ok(Writer { inner, pending: Vec::new(), written: 0, bytes: 0 })
    }

    /// Adds a row. Memory stays bounded: full batches are encoded and full row groups go to the sink.
    pub fn push(&mut self, row: R) -> Result<(), TableError> {
        self.pending.push(row);
        if self.pending.len() >= BATCH_ROWS { self.encode() } else { Ok(()) }
    }

    /// Adds rows.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = R>) -> Result<(), TableError> {
        rows.into_iter().try_for_each(|row| self.push(row))
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Bytes of all rows added so far as Arrow columns, uncompressed. Encodes those that wait.
    pub fn columns_bytes(&mut self) -> Result<u64, TableError> {
        self.encode()?;
        Ok(self.bytes)
    }

    /// Writes what is left and the footer; gives back the number of rows and the sink, which is flushed but
    /// not synced.
    pub fn finish(mut self) -> Result<(u64, W), TableError> {
        self.encode()?;
        let mut sink = self.inner.into_inner().map_err(failure::<R>)?;
        sink.flush().map_err(|error| failure::<R>(error.into()))?;
        Ok((self.written, sink))
    }

    fn encode(&mut self) -> Result<(), TableError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch = R::to_batch(&self.pending).map_err(|bad| TableError::BadValue {
            place: place::<R>(),
            row: self.written + bad.row as u64,
            column: bad.column,
            problem: bad.problem,
        })?;
        self.inner.write(&batch).map_err(failure::<R>)?;
        for column in batch.columns() {
            let bytes = column.to_data().get_slice_memory_size();
            self.bytes += bytes.map_err(|error| failure::<R>(from_arrow(error)))? as u64;
        }
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

fn place<R: Row>() -> String {
    format!("the table `{}`", R::TABLE)
}

fn failure<R: Row>(error: parquet::errors::ParquetError) -> TableError {
    TableError::data(place::<R>(), error)
}

/// Everything that decides the bytes beside the rows. `created_by` is constant, so that two builds
/// with the same encoder agree.
fn properties<R: Row>() -> Result<WriterProperties, TableError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failure::<R>)?;
    Ok(WriterProperties::builder()
        .set_created_by("qstill".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_key_value_metadata(Some(vec![
            KeyValue::new(TABLE_KEY.to_owned(), R::TABLE.to_owned()),
            KeyValue::new(VERSION_KEY.to_owned(), R::VERSION.to_string()),
        ]))
        .build())
}
