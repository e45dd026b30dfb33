//! The rows of one or more Parquet files with one schema, ours or anybody's.

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datasets::table::{self, DESCRIPTION_KEY, TableError, TableInfo};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::basic::Type;
use parquet::file::metadata::RowGroupMetaData;
use serde_json::{Map, Value, json};

use crate::query::value::{cell, fields_within, type_name};
use crate::terminal::exit::{Exit, Failure};

/// Some rows: for each file of a table the numbers of its rows, in order.
pub type Rows = Vec<Vec<u32>>;

type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 256;
/// The same where a column alone is read.
const COLUMN_ROWS: usize = 8192;

/// Parquet files that are looked at as one table.
#[derive(Debug)]
pub struct Table {
    /// Where it is, for people.
    pub place: String,
    pub files: Vec<PathBuf>,
    /// Whether the files are all the committed shards of a table in a stage.
    pub committed: bool,
    /// `qstill.table` and `qstill.version`, if the first file has them.
    pub name: Option<String>,
    pub version: Option<String>,
    pub schema: SchemaRef,
    pub rows: u64,
    /// Rows of each file.
    pub file_rows: Vec<u64>,
    /// The rows that meet a condition, and those of them that are shown; None for all.
    pub matching: Option<Rows>,
    pub chosen: Option<Rows>,
    pub bytes: u64,
    pub row_groups: usize,
    pub compression: BTreeSet<String>,
    pub notes: Vec<String>,
}

impl Table {
    /// Reads the footers of one file.
    ///
    /// # Errors
    /// `Exit::Input` if it is not a whole Parquet file.
    pub fn of_file(path: &Path) -> Result<Self> {
        let heading = guarded(path, || table::heading(path))?.map_err(|err| refused(path, err))?;
        let file = open(path)?;
        let bytes = file.metadata().map_err(|err| unreadable(path, err))?.len();
        let builder = builder(path, file)?;
        let chunks = builder.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
        let compression = chunks.map(|chunk| codec(&format!("{:?}", chunk.compression()))).collect();
        Ok(Self {
            place: path.display().to_string(),
            files: vec![path.to_owned()],
            committed: false,
            name: heading.table,
            version: heading.version,
            schema: heading.schema,
            rows: heading.rows,
            file_rows: vec![heading.rows],
            matching: None,
            chosen: None,
            bytes,
            row_groups: heading.row_groups,
            compression,
            notes: Vec::new(),
        })
    }

    /// The files as tables: those with the same columns, name and version become one.
    pub fn of_files(place: &Path, files: &[PathBuf]) -> Result<Vec<Self>> {
        let mut tables: Vec<Self> = Vec::new();
        for file in files {
            let mut next = Self::of_file(file)?;
            let same = |table: &&mut Self| {
                table.schema.fields() == next.schema.fields()
                    && table.name == next.name
                    && table.version == next.version
            };
            match tables.iter_mut().find(same) {
                Some(table) => {
                    table.files.append(&mut next.files);
                    table.rows += next.rows;
                    table.file_rows.append(&mut next.file_rows);
                    table.bytes += next.bytes;
                    table.row_groups += next.row_groups;
                    table.compression.append(&mut next.compression);
                    table.place = place.display().to_string();
                }
                None => tables.push(next),
            }
        }
        Ok(tables)
    }

    /// What qstill knows of the table, if it is one of its own.
    pub fn info(&self) -> Option<&'static TableInfo> {
        self.name.as_deref().and_then(table::info)
    }

    pub fn has(&self, column: &str) -> bool {
        self.schema.column_with_name(column).is_some()
    }

    /// The fields to show: those that are named, in that order, else all. A name that is no column is left
    /// out.
    pub fn shown(&self, columns: &[String]) -> Vec<FieldRef> {
        if columns.is_empty() {
            return self.schema.fields().to_vec();
        }
        let index = |name: &String| Some(self.schema.column_with_name(name)?.0);
        columns.iter().filter_map(index).map(|index| self.schema.fields()[index].clone()).collect()
    }

    /// How many rows meet the condition; all if there is none.
    pub fn matches(&self) -> u64 {
        self.matching.as_ref().map_or(self.rows, |rows| rows.iter().map(|rows| rows.len() as u64).sum())
    }

    /// Hands the first `limit` of the chosen rows to `each`, with the columns in the order of
    /// [`Table::shown`].
    ///
    /// # Errors
    /// Those of `each`; `Exit::Input` on rows that cannot be decoded.
    pub fn sample(
        &self,
        columns: &[String],
        limit: usize,
        each: &mut dyn FnMut(Map<String, Value>) -> Result<()>,
    ) -> Result<()> {
        let mut left = limit;
        for file in 0..self.files.len() {
            if left > 0 {
                left -= self.sample_file(file, columns, left, each)?;
            }
        }
        Ok(())
    }

    fn sample_file(
        &self,
        file: usize,
        columns: &[String],
        limit: usize,
        each: &mut dyn FnMut(Map<String, Value>) -> Result<()>,
    ) -> Result<usize> {
        let path = self.files[file].as_path();
        let chosen = self.chosen.as_ref().map(|rows| rows[file].as_slice());
        if chosen.is_some_and(<[u32]>::is_empty) {
            return Ok(0);
        }
        let names: Vec<String> = self.shown(columns).iter().map(|field| field.name().clone()).collect();
        let builder = builder(path, open(path)?)?;
        let roots = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> =
            roots.filter(|(_, field)| names.contains(field.name())).map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let builder = builder.with_projection(mask).with_batch_size(limit.min(BATCH_ROWS)).with_limit(limit);
        let builder = select(builder, chosen, self.file_rows[file]);
        let mut reader = guarded(path, || builder.build())?.map_err(|err| damaged(path, err))?;
        let mut seen = 0;
        loop {
            let next = guarded(path, || {
                let batch = reader.next()?;
                Some(batch.map(|batch| {
                    let columns = names
                        .iter()
                        .filter_map(|name| Some((name, batch.column_by_name(name)?)))
                        .collect::<Vec<_>>();
                    let row = |row| {
                        columns.iter().map(|(name, column)| ((*name).clone(), cell(column, row))).collect()
                    };
                    (0..batch.num_rows()).map(row).collect::<Vec<Map<String, Value>>>()
                }))
            })?;
            let Some(rows) = next else { return Ok(seen) };
            for row in rows.map_err(|err| damaged(path, err))? {
                seen += 1;
                each(row)?;
            }
        }
    }

    /// Hands the values of a column to `each`, batch by batch, of all rows that meet the condition. Of lists
    /// only one field is read, so that they have their lengths.
    ///
    /// # Errors
    /// Those of `each`; `Exit::Input` on rows that cannot be decoded.
    pub fn column(&self, name: &str, each: &mut dyn FnMut(&ArrayRef) -> Result<()>) -> Result<()> {
        for (file, path) in self.files.iter().enumerate() {
            let matching = self.matching.as_ref().map(|rows| rows[file].as_slice());
            if matching.is_some_and(<[u32]>::is_empty) {
                continue;
            }
            let builder = builder(path, open(path)?)?;
            let leaves = builder.parquet_schema().columns().iter().enumerate();
            let of_column = leaves.filter(|(_, leaf)| leaf.path().parts().first().is_some_and(|p| p == name));
            let mut of_column: Vec<(usize, bool)> =
                of_column.map(|(at, leaf)| (at, leaf.physical_type() == Type::BYTE_ARRAY)).collect();
            let kind = builder.schema().field_with_name(name).map(|field| field.data_type().clone());
            if !matches!(kind, Ok(DataType::Map(_, _))) {
                // One is enough, and numbers are read faster than texts.
                of_column.sort_by_key(|(_, text)| *text);
                of_column.truncate(1);
            }
            let leaves = of_column.into_iter().map(|(at, _)| at);
            let mask = ProjectionMask::leaves(builder.parquet_schema(), leaves);
            let builder = builder.with_projection(mask).with_batch_size(COLUMN_ROWS);
            let builder = select(builder, matching, self.file_rows[file]);
            let mut reader = guarded(path, || builder.build())?.map_err(|err| damaged(path, err))?;
            while let Some(batch) = guarded(path, || reader.next())? {
                each(batch.map_err(|err| damaged(path, err))?.column(0))?;
            }
        }
        Ok(())
    }

    /// All that is known, with sample rows, for programs.
    ///
    /// # Errors
    /// Rows that cannot be decoded.
    pub fn to_json(&self, columns: &[String], head: usize) -> Result<Value> {
        let mut sample = Vec::new();
        self.sample(columns, head, &mut |row| {
            sample.push(Value::Object(row));
            Ok(())
        })?;
        let mut all = json!({
            "path": self.place,
            "table": self.name,
            "version": self.version,
            "description": self.info().map(|info| info.description),
            "committed": self.committed,
            "files": self.files.len(),
            "rows": self.rows,
            "bytes": self.bytes,
            "row_groups": self.row_groups,
            "compression": self.compression,
            "notes": self.notes,
            "columns": self.shown(columns).iter().map(field_json).collect::<Value>(),
            "sample": sample,
        });
        if self.matching.is_some() {
            all["matching"] = self.matches().into();
        }
        Ok(all)
    }
}

/// Some rows of a file, by their numbers.
fn select(builder: Builder, rows: Option<&[u32]>, of: u64) -> Builder {
    match rows {
        None => builder,
        Some(rows) => {
            let ranges =
                rows.chunk_by(|a, b| a + 1 == *b).map(|run| run[0] as usize..run[0] as usize + run.len());
            builder.with_row_selection(RowSelection::from_consecutive_ranges(ranges, of as usize))
        }
    }
}

/// A field's description, if it carries one.
pub fn description(field: &FieldRef) -> Option<&str> {
    field.metadata().get(DESCRIPTION_KEY).map(String::as_str)
}

fn field_json(field: &FieldRef) -> Value {
    let mut object = json!({
        "name": field.name(),
        "type": type_name(field.data_type()),
        "nullable": field.is_nullable(),
        "description": description(field),
    });
    let within = fields_within(field);
    if !within.is_empty() {
        object["fields"] = within.iter().map(field_json).collect();
    }
    object
}

/// `zstd` for what Parquet writes as `ZSTD(ZstdLevel(3))`.
fn codec(debug: &str) -> String {
    debug.split('(').next().unwrap_or(debug).to_lowercase()
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|err| unreadable(path, err))
}

fn builder(path: &Path, file: File) -> Result<Builder, Failure> {
    guarded(path, || ParquetRecordBatchReaderBuilder::try_new(file))?.map_err(|err| damaged(path, err))
}

fn unreadable(path: &Path, err: std::io::Error) -> Failure {
    Failure::io(format!("cannot read {}", path.display()), "", err)
}

fn refused(path: &Path, err: TableError) -> Failure {
    match err {
        TableError::Io { source, .. } => unreadable(path, source),
        TableError::NotParquet { source, .. } => {
            let failure = Failure::input(format!("{} is not a whole Parquet file", path.display()), "");
            Failure { cause: Some(Box::new(source)), ..failure }
        }
        other => damaged(path, other),
    }
}

fn damaged(path: &Path, err: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure {
        exit: Exit::Input,
        what: format!("cannot read the rows of {}", path.display()),
        hint: String::new(),
        cause: Some(Box::new(err)),
    }
}

/// Calls the Parquet library, which panics on some damaged files: for a user that is a bad file, not a bug.
fn guarded<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| {
        Failure::input(
            format!("{} is damaged: it cannot be decoded", path.display()),
            "make it again, or give another file",
        )
    })
}
