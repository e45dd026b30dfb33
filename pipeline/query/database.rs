//! Tables to ask, and the rows of an answer.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::vtab::Module;

use super::said;
use super::scan::{Fault, Table, Tables};
use super::source::{Kind, Source, quoted};

/// The name by which SQLite knows our tables.
const MODULE: &str = "qstill";
const READ_ONLY: Module<'_, Table> = Module::read_only_module();

/// Tables that SQL can ask. Nothing can be changed through it.
pub struct Database {
    connection: Connection,
    sources: Vec<Arc<Source>>,
    fault: Fault,
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub struct Heading {
    pub name: String,
    /// If it is a table's column as it stands there.
    pub kind: Option<Kind>,
}

/// Takes the rows of an answer.
pub trait Taker {
    /// The columns, before the rows.
    ///
    /// # Errors
    /// Failed writes.
    fn begin(&mut self, columns: &[Heading]) -> Result<()>;

    /// A row, with a value for each column.
    ///
    /// # Errors
    /// Failed writes.
    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()>;
}

impl Database {
    /// # Errors
    /// A fault of SQLite.
    pub fn open(sources: Vec<Source>) -> Result<Self> {
        let sources: Vec<Arc<Source>> = sources.into_iter().map(Arc::new).collect();
        let fault = Fault::default();
        let connection = Connection::open_in_memory().context("failed to start SQLite")?;
        let set = || -> rusqlite::Result<()> {
            // A name in double quotes that is no column is an error, and not a text.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            // Sorting needs room, and leaves no files.
            connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -262144;")?;
            let tables = Tables { sources: sources.clone(), fault: fault.clone() };
            connection.create_module(MODULE, &READ_ONLY, Some(tables))?;
            let mut groups = Vec::new();
            for (number, source) in sources.iter().enumerate() {
                if let Some(group) = source.group.filter(|group| !groups.contains(group)) {
                    connection.execute_batch(&format!("ATTACH ':memory:' AS {group}"))?;
                    groups.push(group);
                }
                let (group, name) = (source.group.unwrap_or("main"), quoted(&source.name));
                let create = format!("CREATE VIRTUAL TABLE {group}.{name} USING {MODULE}({number})");
                connection.execute_batch(&create)?;
            }
            connection.execute_batch("PRAGMA query_only = ON")
        };
        set().context("failed to lay out the tables for SQLite")?;
        Ok(Self { connection, sources, fault })
    }

    pub fn sources(&self) -> impl Iterator<Item = &Source> + Clone {
        self.sources.iter().map(|source| &**source)
    }

    /// Runs a statement that reads.
    ///
    /// # Errors
    /// `Exit::Usage` for a statement that cannot be run or would write, errors of files that are read, and
    /// those of the taker.
    pub fn ask(&self, sql: &str, taker: &mut dyn Taker) -> Result<()> {
        let sql = sql.trim_end_matches(|char: char| char.is_whitespace() || char == ';');
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut statement = self.connection.prepare(sql).map_err(|error| self.failed(error, sql))?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(said::read_only().into());
        }
        let headings: Vec<Heading> = statement
            .columns()
            .map(|column| Heading {
                name: column.name().to_owned(),
                kind: column.decl_type().and_then(Kind::parse),
            })
            .collect();
        taker.begin(&headings)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| self.failed(error, sql))? {
            let mut values = Vec::with_capacity(headings.len());
            for column in 0..headings.len() {
                values.push(row.get_ref(column).context("failed to read an answer of SQLite")?);
            }
            taker.row(&values)?;
        }
        Ok(())
    }

    /// The error of a file if there was one, else what SQLite says.
    fn failed(&self, error: rusqlite::Error, sql: &str) -> anyhow::Error {
        if let Some(fault) = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return fault.into();
        }
        let functions = self.functions().unwrap_or_default();
        said::failure(error, sql, self.sources(), &functions).into()
    }

    fn functions(&self) -> rusqlite::Result<Vec<String>> {
        let mut names =
            self.connection.prepare("SELECT DISTINCT name FROM pragma_function_list ORDER BY 1")?;
        names.query_map([], |row| row.get(0))?.collect()
    }
}
