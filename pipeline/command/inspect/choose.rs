//! Which rows of a table are looked at: those that a condition of SQL holds for, and a sample of them.

use anyhow::Result;
use datasets::key::{self, Part as KeyPart};
use rand::RngExt;
use rusqlite::types::ValueRef;

use super::options::Options;
use super::table::{Rows, Table};
use crate::query::database::{Database, Heading, Taker};
use crate::query::source::{Column, Part, Source, quoted};
use crate::terminal::exit::Failure;

/// Leaves the rows of a table that the options ask for.
///
/// # Errors
/// Those of [`filtered`].
pub fn choose(table: &mut Table, options: &Options) -> Result<()> {
    if let Some(condition) = &options.condition {
        table.matching = Some(filtered(table, condition)?);
        table.chosen.clone_from(&table.matching);
    }
    if let Some(count) = options.sample {
        table.chosen = Some(sampled(table, table.matching.as_ref(), count, options.seed));
    }
    Ok(())
}

/// The rows that a condition holds for, in the dialect of `qstill sql`.
///
/// # Errors
/// `Exit::Usage` for what is no condition; those of reading the files.
fn filtered(table: &Table, condition: &str) -> Result<Rows> {
    let name = table.name.clone().unwrap_or_else(|| "rows".to_owned());
    let parts = table.files.iter().zip(&table.file_rows);
    let source = Source {
        group: None,
        name: name.clone(),
        about: String::new(),
        columns: table.schema.fields().iter().map(|field| Column::of(field)).collect(),
        parts: parts
            .map(|(path, rows)| Part { path: path.clone(), rows: *rows, constants: Vec::new() })
            .collect(),
        info: None,
    };
    // SQLite's names for the place of a row, of which a file may have taken some.
    let free =
        |alias: &&&str| !table.schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(alias));
    let Some(place) = ["_rowid_", "rowid", "oid"].iter().find(free) else {
        let what = "--where: the table has columns of the names _rowid_, rowid and oid";
        return Err(Failure::usage(what, "one of them is needed for the number of a row").into());
    };
    // On a line of its own, so that the place of a mistake is that in the condition.
    let statement = format!("SELECT {place} FROM {} WHERE (\n{condition}\n)", quoted(&name));
    let mut places = Places(vec![Vec::new(); table.files.len()]);
    Database::open(vec![source])?.ask(&statement, &mut places).map_err(|error| said(error, condition))?;
    let mut rows = places.0;
    for rows in &mut rows {
        rows.sort_unstable();
    }
    Ok(rows)
}

/// An error of the statement as one of the condition.
fn said(error: anyhow::Error, condition: &str) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(mut failure) => {
            // The condition is the second line of the statement, if it is one.
            let place = |from: &str| failure.what.strip_prefix(from).filter(|_| !condition.contains('\n'));
            let what = match (place("SQL line 2, "), place("SQL line 3, column 1: ")) {
                (Some(rest), _) => rest.to_owned(),
                (_, Some(rest)) => format!("at its end: {rest}"),
                _ => failure.what.trim_start_matches("SQL").trim_start_matches(": ").to_owned(),
            };
            failure.what = format!("--where: {what}");
            failure.into()
        }
        Err(error) => error,
    }
}

/// Takes places of rows: the number of the file, and that of the row in the lower half.
struct Places(Rows);

impl Taker for Places {
    fn begin(&mut self, _: &[Heading]) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> Result<()> {
        if let [ValueRef::Integer(place)] = values
            && let Some(rows) = self.0.get_mut((*place >> 32) as usize)
        {
            rows.push(*place as u32);
        }
        Ok(())
    }
}

/// `count` rows of those given, or of all; each set of rows is as likely as any other. The same seed takes
/// the same ones.
fn sampled(table: &Table, of: Option<&Rows>, count: u64, seed: u64) -> Rows {
    let sizes: Vec<u64> = match of {
        Some(rows) => rows.iter().map(|rows| rows.len() as u64).collect(),
        None => table.file_rows.clone(),
    };
    let mut left: u64 = sizes.iter().sum();
    let mut wanted = count.min(left);
    let mut random = key::rng(&[KeyPart::from("inspect sample"), KeyPart::from(seed)]);
    let mut taken = Rows::new();
    for (file, size) in sizes.iter().enumerate() {
        let mut rows = Vec::new();
        for at in 0..*size {
            // Each row with the chance that those still wanted have among those still left.
            if wanted > 0 && random.random_range(0..left) < wanted {
                wanted -= 1;
                rows.push(of.map_or(at as u32, |of| of[file][at as usize]));
            }
            left -= 1;
        }
        taken.push(rows);
    }
    taken
}
