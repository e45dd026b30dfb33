//! Reading only the rows of a file that are asked for: the other rows' columns are not decoded.

use std::collections::HashSet;
use std::path::Path;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};

use super::batches::Plain;
use super::column;
use super::read::{builder, check_columns, check_name, heading_of};
use super::{BadCell, Row, TableError, TableInfo};

/// The values of one column of text, in order.
///
/// # Errors
/// A file that is no such table, or is damaged.
pub fn texts<R: Row>(path: &Path, column: &'static str) -> Result<Vec<String>, TableError> {
    let builder = checked::<R>(path)?.0;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let mut texts = Vec::new();
    batches(path, builder.with_projection(mask), |batch| {
        let array = column::array(batch, column)?;
        for row in 0..array.len() {
            texts.push(column::cell(array, column, row)?);
        }
        Ok(())
    })?;
    Ok(texts)
}

/// The rows whose column of text has one of these values, in order.
///
/// # Errors
/// A file that is no such table, or is damaged.
pub fn rows_where<R: Row>(
    path: &Path,
    column: &'static str,
    wanted: &HashSet<String>,
) -> Result<Vec<R>, TableError> {
    let (builder, columns) = checked::<R>(path)?;
    let schema = builder.parquet_schema();
    let (all, one) = (ProjectionMask::roots(schema, columns), ProjectionMask::columns(schema, [column]));
    let wanted = wanted.clone();
    let is = move |batch: RecordBatch| {
        let texts = batch.column(0).as_string_opt::<i32>();
        let hits = (0..batch.num_rows())
            .map(|row| texts.is_some_and(|texts| texts.is_valid(row) && wanted.contains(texts.value(row))));
        Ok(BooleanArray::from(hits.collect::<Vec<_>>()))
    };
    let filter = RowFilter::new(vec![Box::new(ArrowPredicateFn::new(one, is))]);
    let mut rows = Vec::new();
    batches(path, builder.with_projection(all).with_row_filter(filter), |batch| {
        rows.extend(R::from_batch(batch)?);
        Ok(())
    })?;
    Ok(rows)
}

type Builder = ParquetRecordBatchReaderBuilder<std::fs::File>;

/// A file of the table, and the places of its columns.
fn checked<R: Row>(path: &Path) -> Result<(Builder, Vec<usize>), TableError> {
    let builder = builder(path)?;
    let heading = heading_of(&builder);
    check_name(path, &heading, &TableInfo::of::<R>())?;
    let columns = check_columns(path, &heading.schema, &TableInfo::of::<R>())?;
    Ok((builder, columns))
}

fn batches(
    path: &Path,
    builder: Builder,
    mut take: impl FnMut(&RecordBatch) -> Result<(), BadCell>,
) -> Result<(), TableError> {
    for batch in Plain::of(path, builder)? {
        take(&batch?).map_err(|bad| TableError::BadValue {
            place: path.display().to_string(),
            row: bad.row as u64,
            column: bad.column,
            problem: bad.problem,
        })?;
    }
    Ok(())
}
