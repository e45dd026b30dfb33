//! The Parquet tables: what each row is, and how it is written and read.
//!
//! A table is a type that implements [`Row`]: it has a name and a version, which stand in the key-value
//! metadata of every file (`qstill.table`, `qstill.version`), and a schema whose fields carry a
//! `description`. A reader takes a file only if name, version and columns are those of its row type, so
//! a file of another table or of an older layout is an error that says so, never a column of nulls.
//!
//! Equal rows in equal order give equal bytes: no clock, path or host is written, and batches and row
//! groups are cut by the rows alone. A version goes up when a column is added, removed or changes its
//! meaning; versions are part of the fingerprints of the stages that read and write the table.

mod ablation;
mod bakeoff;
mod batches;
mod cell;
mod column;
mod curated;
mod error;
mod evaluation;
mod grades;
mod nodes;
mod problems;
mod read;
mod select;
mod solutions;
mod targets;
#[cfg(test)]
mod tests;
mod training;
mod turns;
mod values;
mod verdicts;
mod write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::types::{Kept, Problem, Solution};
pub use ablation::Ablated;
pub use bakeoff::{Match, Selection};
pub use batches::{Batch, Batches, Key, Opened, open, open_any};
pub use curated::{Preference, StepLabels};
pub use error::{BadCell, TableError};
pub use evaluation::Evaluation;
pub use grades::GradeRow;
pub use nodes::{Node, NodeCost};
pub use problems::Example;
pub use read::{Heading, Rows, heading, read, read_all};
pub(crate) use read::{check_extents, guarded};
pub use select::{rows_where, texts};
pub use targets::TokenTargets;
pub use training::{Dropped, Loss, Retired};
pub use turns::{AssistantTurn, UserTurn};
pub use values::ValueRow;
pub use verdicts::VerdictRow;
pub use write::Writer;

/// Key of the table's name in the metadata of a file.
pub const TABLE_KEY: &str = "qstill.table";
/// Key of the table's version in the metadata of a file.
pub const VERSION_KEY: &str = "qstill.version";
/// Key of a column's description in the metadata of its Arrow field.
pub const DESCRIPTION_KEY: &str = "description";

/// A type whose values are the rows of a table.
pub trait Row: Sized {
    /// Name of the table.
    const TABLE: &'static str;
    /// Version of its columns and of their meaning.
    const VERSION: u32;
    /// What one row is, as a phrase.
    const DESCRIPTION: &'static str;

    /// The columns, in the order in which they are written.
    fn schema() -> SchemaRef;

    /// Rows to columns. Fails on a value that its column cannot hold.
    fn to_batch(rows: &[Self]) -> Result<RecordBatch, BadCell>;

    /// Columns to rows. The batch must hold the columns of [`Row::schema`], in any order; others are not
    /// read.
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, BadCell>;
}

/// What there is to say of a table without a file.
#[derive(Clone, Copy, Debug)]
pub struct TableInfo {
    pub name: &'static str,
    pub version: u32,
    /// What one row is, as a phrase.
    pub description: &'static str,
    /// The columns; each field's metadata holds its description.
    pub schema: fn() -> SchemaRef,
}

impl TableInfo {
    const fn of<R: Row>() -> Self {
        TableInfo { name: R::TABLE, version: R::VERSION, description: R::DESCRIPTION, schema: R::schema }
    }
}

/// Every table: those of a run in the order in which it writes them, then those of other commands.
pub const TABLES: &[TableInfo] = &[
    TableInfo::of::<Problem>(),
    TableInfo::of::<Example>(),
    TableInfo::of::<Node>(),
    TableInfo::of::<Solution>(),
    TableInfo::of::<VerdictRow>(),
    TableInfo::of::<Kept>(),
    TableInfo::of::<Dropped>(),
    TableInfo::of::<Retired>(),
    TableInfo::of::<StepLabels>(),
    TableInfo::of::<Preference>(),
    TableInfo::of::<ValueRow>(),
    TableInfo::of::<TokenTargets>(),
    TableInfo::of::<Loss>(),
    TableInfo::of::<Evaluation>(),
    TableInfo::of::<Match>(),
    TableInfo::of::<Selection>(),
    TableInfo::of::<Ablated>(),
    TableInfo::of::<GradeRow>(),
];

/// The table of that name.
pub fn info(name: &str) -> Option<&'static TableInfo> {
    TABLES.iter().find(|table| table.name == name)
}
