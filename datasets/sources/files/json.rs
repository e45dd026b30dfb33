//! The fields of one line of JSON, as raw text: a number is taken as it is written, to the last digit.

use serde::de::IgnoredAny;

use super::column::{Column, Wants};
use super::error::RowFault;

/// A field's name and the JSON text of its value.
type Field<'a> = (String, &'a str);

/// The texts of the columns on a line.
pub fn cells(line: &str, columns: &[Column]) -> Result<Vec<String>, RowFault> {
    let fields = fields(line)?;
    columns.iter().map(|column| text(column, value(&fields, "", &column.name)?)).collect()
}

/// The value at `path` below `under`: a field of just that name, else one of the object that a part of it
/// names.
fn value<'a>(fields: &[Field<'a>], under: &str, path: &str) -> Result<&'a str, RowFault> {
    // Of equal names the last counts, as in most programs.
    let named = |name: &str| fields.iter().rev().find(|(field, _)| field == name).map(|(_, value)| *value);
    if let Some(value) = named(path) {
        return Ok(value);
    }
    for (dot, _) in path.match_indices('.') {
        if let Some(object) = named(&path[..dot]).filter(|value| kind(value) == "an object") {
            return value(&self::fields(object)?, &format!("{under}{}.", &path[..dot]), &path[dot + 1..]);
        }
    }
    let columns = fields.iter().map(|(name, _)| format!("{under}{name}")).collect();
    Err(RowFault::NoColumn { column: format!("{under}{path}"), columns })
}

/// A value as text.
fn text(column: &Column, value: &str) -> Result<String, RowFault> {
    if column.wants == Wants::Json {
        return Ok(value.to_owned());
    }
    let name = || column.name.clone();
    let expected = if column.wants.numbers() { "a string or a number" } else { "a string" };
    match kind(value) {
        "a string" => string(value),
        "a number" if column.wants.numbers() => Ok(value.to_owned()),
        "null" => Err(RowFault::Null { column: name() }),
        found => Err(RowFault::Kind { column: name(), expected, found }),
    }
}

/// What a JSON text is, by its first byte.
fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}

fn string(json: &str) -> Result<String, RowFault> {
    serde_json::from_str(json).map_err(|error| RowFault::Json { message: error.to_string() })
}

/// The fields of an object, in order.
fn fields(line: &str) -> Result<Vec<Field<'_>>, RowFault> {
    serde_json::from_str::<IgnoredAny>(line).map_err(|error| invalid(line, &error))?;
    let line = line.trim_ascii();
    let Some(mut rest) = line.strip_prefix('{') else {
        return Err(RowFault::NotObject { found: kind(line) });
    };
    // The line is whole JSON, so names, colons, values and commas take turns up to the closing brace.
    let mut fields = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        if rest.starts_with('}') {
            return Ok(fields);
        }
        let name = first(&mut rest)?;
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ':');
        let value = first(&mut rest)?;
        fields.push((string(name)?, value));
    }
}

/// Takes the first value off a JSON text that begins with one.
fn first<'a>(rest: &mut &'a str) -> Result<&'a str, RowFault> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(IgnoredAny)) => {
            let (value, behind) = rest.split_at(values.byte_offset());
            *rest = behind;
            Ok(value)
        }
        Some(Err(error)) => Err(invalid(rest, &error)),
        None => Err(RowFault::Json { message: "the line ends too early".into() }),
    }
}

/// What is wrong with a line. `NaN` and `Infinity`, which some programs write, are named.
fn invalid(line: &str, error: &serde_json::Error) -> RowFault {
    let at = line.get(error.column().saturating_sub(1)..).unwrap_or("");
    let at = at.strip_prefix('-').unwrap_or(at);
    let number =
        ["NaN", "Infinity"].into_iter().find(|name| at.starts_with(name) || at.starts_with(&name[1..]));
    let text = error.to_string();
    // The line within a line is always the first.
    let message = text.replace(" at line 1 column ", " at byte ");
    RowFault::Json {
        message: number.map_or(message.clone(), |name| format!("{name} is not a JSON number; {message}")),
    }
}
