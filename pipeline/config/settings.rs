//! Configuration in TOML, before it is a struct: files merged over defaults, `--set KEY=VALUE` over both, and
//! every key checked against the default configuration, which serves as the schema.
//!
//! Checked here and not by serde, because a wrong key in an overnight run must be told before it starts, with
//! the file, the line and the key that was probably meant; and serde knows none of the three.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::schema::{Kind, Origin, Schema, one_line};
use crate::terminal::exit::Failure;

/// Reads a table from the text of a file.
///
/// # Errors
/// The text is not TOML: says the line and why.
pub fn parse(text: &str, file: &str) -> Result<Table, Failure> {
    text.parse::<Table>().map_err(|err| {
        let line = err.span().map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
        let at = line.map(|n| format!(" line {n}")).unwrap_or_default();
        Failure::usage(format!("{file}{at}: {}", one_line(err.message())), "")
    })
}

/// Lays one table over another: tables are merged key by key, all else is replaced.
pub fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (Some(under), value) => *under = value,
            (None, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// One `--set KEY=VALUE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// `search.samples` as `["search", "samples"]`.
    pub path: Vec<String>,
    pub value: Value,
    /// The value as typed.
    pub raw: String,
}

/// Reads `search.samples=16`. The value is TOML where it can be read as such, else text, so that
/// `model.path=some/dir` needs no quotes.
///
/// # Errors
/// There is no `=`, or no key before it.
pub fn parse_set(text: &str) -> Result<Override, Failure> {
    let hint = "write it as KEY=VALUE, e.g. --set search.samples=16";
    let wrong = || Failure::usage(format!("--set {text}: cannot be read"), hint);
    let (key, raw) = text.split_once('=').ok_or_else(wrong)?;
    // The key is read as TOML too, so that parts with dots can be quoted.
    let mut path = Vec::new();
    let mut under = single(&format!("{key} = 0")).ok_or_else(wrong)?;
    loop {
        let (part, value) = under;
        path.push(part);
        match value {
            Value::Table(inner) => under = sole(inner).ok_or_else(wrong)?,
            _ => break,
        }
    }
    let raw = raw.trim().to_owned();
    let value = match single(&format!("value = {raw}")) {
        // No setting is a date, while names may look like one.
        Some((_, Value::Datetime(_))) | None => Value::String(raw.clone()),
        Some((_, value)) => value,
    };
    Ok(Override { path, value, raw })
}

/// The only entry of a TOML text that has just one.
fn single(text: &str) -> Option<(String, Value)> {
    sole(text.parse().ok()?)
}

fn sole(table: Table) -> Option<(String, Value)> {
    let mut entries = table.into_iter();
    entries.next().filter(|_| entries.next().is_none())
}

/// Checks an override against the schema, then puts its value in place, making the tables on the way.
///
/// # Errors
/// As [`Schema::check`]; the table is then as it was.
pub fn apply_set(config: &mut Table, set: &Override, schema: &Schema) -> Result<(), Failure> {
    let mut value = set.value.clone();
    let scalar = matches!(value, Value::Integer(_) | Value::Float(_) | Value::Boolean(_));
    // `--set name=16` means the text `16` where text is wanted: on a command line quotes are the shell's.
    if scalar && schema.kind(&set.path) == Some(Kind::Text) {
        value = Value::String(set.raw.clone());
    }
    // One entry needs no brackets.
    if matches!(value, Value::String(_)) && schema.kind(&set.path) == Some(Kind::List) {
        value = Value::Array(vec![value]);
    }
    for part in set.path.iter().rev() {
        let mut table = Table::new();
        table.insert(part.clone(), value);
        value = Value::Table(table);
    }
    let Value::Table(over) = value else { return Ok(()) };
    let name = format!("--set {}={}", set.path.join("."), set.raw);
    schema.check(&over, &Origin { name: &name, text: None })?;
    merge(config, over);
    Ok(())
}

/// Makes the typed configuration of a checked table.
///
/// # Errors
/// A value that is of the right type but not allowed, e.g. an unknown algorithm: names the key and what is
/// allowed.
pub fn read<T: DeserializeOwned>(config: Table, name: &str) -> Result<T, Failure> {
    config
        .try_into()
        .map_err(|err: toml::de::Error| Failure::usage(format!("{name}: {}", one_line(&err.to_string())), ""))
}
