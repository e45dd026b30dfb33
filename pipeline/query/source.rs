//! What a table is: its columns, and the files that hold its rows.

use std::path::PathBuf;

use arrow::datatypes::{DataType, Field};
use datasets::table::{self, Key, Opened, TableError, TableInfo};

/// A table to ask.
#[derive(Debug)]
pub struct Source {
    /// The group of tables that it belongs to, if not the main one: its name is then `GROUP.NAME`.
    pub group: Option<&'static str>,
    pub name: String,
    /// What a row is, as a phrase; may be empty.
    pub about: String,
    /// First those that the files lack and that say which part a row is from, then those of the files.
    pub columns: Vec<Column>,
    pub parts: Vec<Part>,
    /// The table that each file must be; None for files of any maker.
    pub info: Option<&'static TableInfo>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
    /// What it means; may be empty.
    pub about: String,
    /// The files' own field; None for a column that says which part a row is from.
    pub field: Option<Field>,
}

/// How SQL sees a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Real,
    /// 0 or 1.
    Boolean,
    /// A list or a struct, as the text of JSON.
    Json,
}

/// A file of a table.
#[derive(Clone, Debug)]
pub struct Part {
    pub path: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Values of the columns that the file lacks; None for null.
    pub constants: Vec<Option<Key>>,
}

impl Kind {
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Kind::Boolean,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Kind::Real,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(_, _)
            | DataType::Struct(_)
            | DataType::Map(_, _) => Kind::Json,
            other if other.is_integer() => Kind::Integer,
            _ => Kind::Text,
        }
    }

    /// Its name in SQL, and for people.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "TEXT",
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
            Kind::Boolean => "BOOLEAN",
            Kind::Json => "JSON",
        }
    }

    /// The kind of a name that [`Kind::name`] gave.
    pub fn parse(name: &str) -> Option<Self> {
        [Kind::Text, Kind::Integer, Kind::Real, Kind::Boolean, Kind::Json]
            .into_iter()
            .find(|k| k.name() == name)
    }
}

impl Column {
    /// A column of the files.
    pub fn of(field: &Field) -> Self {
        Self {
            name: field.name().clone(),
            kind: Kind::of(field.data_type()),
            nullable: field.is_nullable(),
            about: field.metadata().get(table::DESCRIPTION_KEY).cloned().unwrap_or_default(),
            field: Some(field.clone()),
        }
    }

    /// A column that says which part a row is from.
    pub fn constant(name: &str, kind: Kind, nullable: bool, about: &str) -> Self {
        Self { name: name.to_owned(), kind, nullable, about: about.to_owned(), field: None }
    }
}

impl Column {
    /// Whether rows can be looked up by its values.
    pub fn searchable(&self) -> bool {
        let known =
            |field: &Field| matches!(field.data_type(), DataType::Utf8 | DataType::Int32 | DataType::Int64);
        self.field.as_ref().is_none_or(known)
    }
}

impl Source {
    /// How statements name it.
    pub fn full_name(&self) -> String {
        self.group.map_or_else(|| self.name.clone(), |group| format!("{group}.{}", self.name))
    }

    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// How many columns the files lack.
    pub fn constants(&self) -> usize {
        self.columns.iter().filter(|column| column.field.is_none()).count()
    }

    /// Opens a part. Its columns are those of the files, in the order in which they stand in `columns`.
    ///
    /// # Errors
    /// A file that is no such table, or is damaged.
    pub fn open(&self, part: &Part) -> Result<Opened, TableError> {
        match self.info {
            Some(info) => table::open(&part.path, info),
            None => {
                let fields: Vec<Field> = self.columns.iter().filter_map(|c| c.field.clone()).collect();
                table::open_any(&part.path, &fields)
            }
        }
    }

    /// The table as SQL declares it.
    pub fn declaration(&self) -> String {
        let column = |column: &Column| {
            let null = if column.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}", quoted(&column.name), column.kind.name())
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        format!("CREATE TABLE {} (\n  {}\n)", quoted(&self.name), columns.join(",\n  "))
    }
}

/// A name in double quotes, as SQL takes any name.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
