//! A table as a list of its columns: each is a name, a description and a way to get at the cell.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};

use super::BadCell;
use super::cell::{Cell, described};

/// The field for the cells that `_get` reads: it only tells the type.
pub fn field<R, C: Cell>(name: &str, description: &str, _get: fn(&R) -> &C) -> Field {
    described::<C>(name, description)
}

/// The cells of a column as an array.
pub fn pack<R, C: Cell>(column: &'static str, rows: &[R], get: fn(&R) -> &C) -> Result<ArrayRef, BadCell> {
    C::pack(rows.iter().map(get)).map_err(|(row, problem)| BadCell { column, row, problem })
}

/// A batch of these columns.
pub fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, BadCell> {
    RecordBatch::try_new(schema, columns).map_err(|error| BadCell {
        column: "(all)",
        row: 0,
        problem: format!("expected columns of the schema: {error}"),
    })
}

/// The array of a column.
pub fn array<'a>(batch: &'a RecordBatch, column: &'static str) -> Result<&'a dyn Array, BadCell> {
    let found = batch.column_by_name(column).map(|array| &**array as &dyn Array);
    found.ok_or_else(|| BadCell {
        column,
        row: 0,
        problem: "expected the column, found none of that name".into(),
    })
}

/// One cell of a column.
pub fn cell<C: Cell>(array: &dyn Array, column: &'static str, row: usize) -> Result<C, BadCell> {
    C::unpack(array, row).map_err(|problem| BadCell { column, row, problem })
}

/// Implements [`super::Row`] for a struct whose fields are the columns: the order written here is the order
/// in the file.
macro_rules! table {
    (
        $row:ident, $table:literal, version $version:literal, $about:literal,
        { $($field:ident: $description:literal,)* }
    ) => {
        impl $crate::table::Row for $row {
            const TABLE: &'static str = $table;
            const VERSION: u32 = $version;
            const DESCRIPTION: &'static str = $about;

            fn schema() -> arrow::datatypes::SchemaRef {
                use $crate::table::column;
                std::sync::Arc::new(arrow::datatypes::Schema::new(vec![
                    $(column::field(stringify!($field), $description, |row: &$row| &row.$field),)*
                ]))
            }

            fn to_batch(rows: &[Self]) -> Result<arrow::array::RecordBatch, $crate::table::BadCell> {
                use $crate::table::column;
                let columns = vec![$(column::pack(stringify!($field), rows, |row: &$row| &row.$field)?,)*];
                column::batch(Self::schema(), columns)
            }

            fn from_batch(batch: &arrow::array::RecordBatch) -> Result<Vec<Self>, $crate::table::BadCell> {
                use $crate::table::column;
                $(let $field = column::array(batch, stringify!($field))?;)*
                (0..batch.num_rows())
                    .map(|row| Ok($row { $($field: column::cell($field, stringify!($field), row)?,)* }))
                    .collect()
            }
        }
    };
}
pub(super) use table;
