//! SQL over Parquet tables. The engine is SQLite; the tables are virtual ones that read only the columns and
//! row groups that a statement needs.
//!
//! - [`source`]: what a table is: its columns, and the files that hold its rows
//! - [`database`]: tables to ask, and the rows of an answer    - [`value`]: cells as JSON values
//! - `scan`: a table as SQLite reads it    - `plan`: what of a statement is left to the files
//! - `pass`: rows file by file    - `index`: rows by the values of some columns, for joins
//! - `cells`: cells as SQLite's values
//! - `said`: what SQLite says of a statement that it cannot run, with its place and what may have been meant
//!
//! Nothing here knows what a run is: `command/sql` says which tables there are.

mod cells;
pub mod database;
mod index;
mod pass;
mod plan;
mod said;
mod scan;
pub mod source;
pub mod value;
