//! The rows of an answer as text: an aligned table, CSV, JSON, or lines of JSON.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use rusqlite::types::ValueRef;

use crate::query::database::{Heading, Taker};
use crate::query::source::Kind;
use crate::terminal::look::Look;
use crate::terminal::text::{brief, csv};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns; long texts are cut.
    Table,
    /// Values separated by commas, with a line of names.
    Csv,
    /// A list of objects.
    Json,
    /// An object a line.
    Jsonl,
    Parquet,
}

/// Rows by which the widths of a table's columns are chosen.
const MEASURED: usize = 1000;
/// What no column is made narrower than.
const NARROWEST: usize = 8;

impl Format {
    /// The format that the end of a file's name says.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// An aligned table. Its widths come from the first rows; later ones are cut to them.
pub struct Text<'a> {
    out: &'a mut dyn Write,
    look: Look,
    headings: Vec<String>,
    /// Columns of numbers so far.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
    /// Widths, once they are chosen.
    widths: Vec<usize>,
}

impl<'a> Text<'a> {
    pub fn new(out: &'a mut dyn Write, look: Look) -> Self {
        Self { out, look, headings: Vec::new(), right: Vec::new(), rows: Vec::new(), widths: Vec::new() }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Failed writes.
    pub fn finish(mut self) -> Result<()> {
        if self.widths.is_empty() { self.begin_table() } else { Ok(()) }
    }

    fn begin_table(&mut self) -> Result<()> {
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| &row[at]).chain([&self.headings[at]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let all: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let room = self.look.width.saturating_sub(2 * all.len().saturating_sub(1));
        let fits = |cap: &usize| all.iter().map(|width| (*width).min(*cap)).sum::<usize>() <= room;
        let cap = (NARROWEST..=self.look.width).rev().find(fits).unwrap_or(NARROWEST);
        self.widths = all.into_iter().map(|width| width.min(cap)).collect();
        let heading = self.line(&self.headings);
        writeln!(self.out, "{}", self.look.bold(&heading))?;
        for row in std::mem::take(&mut self.rows) {
            let line = self.line(&row);
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    fn line(&self, cells: &[String]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in cells.iter().zip(&self.widths).enumerate() {
            line.push_str(if at > 0 { "  " } else { "" });
            let cell = brief(cell, *width);
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if self.right[at] { (padding.as_str(), "") } else { ("", padding.as_str()) };
            line.push_str(&(before.to_owned() + &cell + after));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Taker for Text<'_> {
    fn begin(&mut self, columns: &[Heading]) -> Result<()> {
        self.headings = columns.iter().map(|column| brief(&column.name, 200)).collect();
        self.right = vec![true; columns.len()];
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        // More than the widest line is never shown.
        let most = self.look.width + 1;
        let cells: Vec<String> = values.iter().map(|value| brief(&shown(*value), most)).collect();
        if !self.widths.is_empty() {
            let line = self.line(&cells);
            return Ok(writeln!(self.out, "{line}")?);
        }
        for (right, value) in self.right.iter_mut().zip(values) {
            *right &= matches!(value, ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_));
        }
        self.rows.push(cells);
        if self.rows.len() == MEASURED { self.begin_table() } else { Ok(()) }
    }
}

/// A value for people: ten significant digits.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(int) => int.to_string(),
        ValueRef::Real(real) => number(real),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => hex(bytes),
    }
}

fn number(real: f64) -> String {
    if real == 0.0 || !real.is_finite() {
        return real.to_string();
    }
    let size = real.abs().log10().floor();
    if !(-5.0..15.0).contains(&size) {
        return format!("{real:.5e}");
    }
    let text = format!("{real:.*}", (9.0 - size).clamp(0.0, 14.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values separated by commas (RFC 4180, with `\n` between lines); null is empty.
pub struct Csv<'a>(pub &'a mut dyn Write);

impl Csv<'_> {
    fn cell(&mut self, at: usize, text: &str) -> Result<()> {
        self.0.write_all(if at > 0 { b"," } else { b"" })?;
        Ok(self.0.write_all(csv(text).as_bytes())?)
    }
}

impl Taker for Csv<'_> {
    fn begin(&mut self, columns: &[Heading]) -> Result<()> {
        columns.iter().enumerate().try_for_each(|(at, column)| self.cell(at, &column.name))?;
        Ok(writeln!(self.0)?)
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        for (at, value) in values.iter().enumerate() {
            match value {
                ValueRef::Null => self.cell(at, "")?,
                ValueRef::Integer(int) => self.cell(at, &int.to_string())?,
                ValueRef::Real(real) => self.cell(at, &real.to_string())?,
                ValueRef::Text(bytes) => self.cell(at, &String::from_utf8_lossy(bytes))?,
                ValueRef::Blob(bytes) => self.cell(at, &hex(bytes))?,
            }
        }
        Ok(writeln!(self.0)?)
    }
}

/// An object a line. Columns of a table that are lists, structs or truth values are so here too.
pub struct Lines<'a> {
    out: &'a mut dyn Write,
    /// For each column, its name as JSON, and what it is.
    columns: Vec<(String, Option<Kind>)>,
}

impl<'a> Lines<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, columns: Vec::new() }
    }

    fn object(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        let mut text = String::from("{");
        for (at, ((name, kind), value)) in self.columns.iter().zip(values).enumerate() {
            text.push_str(if at > 0 { "," } else { "" });
            text.push_str(name);
            text.push(':');
            match (kind, value) {
                (_, ValueRef::Null) => text.push_str("null"),
                (Some(Kind::Boolean), ValueRef::Integer(int)) => {
                    text.push_str(if *int == 0 { "false" } else { "true" });
                }
                (Some(Kind::Json), ValueRef::Text(json)) => text.push_str(&String::from_utf8_lossy(json)),
                (_, ValueRef::Integer(int)) => text.push_str(&int.to_string()),
                // JSON has no infinity.
                (_, ValueRef::Real(real)) if real.is_finite() => text.push_str(&serde_json::to_string(real)?),
                (_, ValueRef::Real(real)) => text.push_str(&serde_json::to_string(&real.to_string())?),
                (_, ValueRef::Text(bytes)) => {
                    text.push_str(&serde_json::to_string(&String::from_utf8_lossy(bytes))?);
                }
                (_, ValueRef::Blob(bytes)) => text.push_str(&serde_json::to_string(&hex(bytes))?),
            }
        }
        text.push('}');
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

impl Taker for Lines<'_> {
    fn begin(&mut self, columns: &[Heading]) -> Result<()> {
        for column in columns {
            self.columns.push((serde_json::to_string(&column.name)?, column.kind));
        }
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        self.object(values)?;
        Ok(writeln!(self.out)?)
    }
}

/// A list of the same objects.
pub struct Json<'a> {
    lines: Lines<'a>,
    rows: u64,
}

impl<'a> Json<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { lines: Lines::new(out), rows: 0 }
    }

    /// Ends the list.
    ///
    /// # Errors
    /// Failed writes.
    pub fn finish(self) -> Result<()> {
        Ok(writeln!(self.lines.out, "{}", if self.rows == 0 { "[]" } else { "\n]" })?)
    }
}

impl Taker for Json<'_> {
    fn begin(&mut self, columns: &[Heading]) -> Result<()> {
        self.lines.begin(columns)
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        self.lines.out.write_all(if self.rows == 0 { b"[\n" } else { b",\n" })?;
        self.rows += 1;
        self.lines.object(values)
    }
}
