//! The top-level fields of one line of JSON, as raw text: a number is taken as it is written, to the last digit.

use serde::de::IgnoredAny;

use super::Options;
use super::error::Fault;

/// A field's name and the JSON text of its value.
type Field<'a> = (String, &'a str);

/// The question and the answer on a line.
pub fn question_and_answer(line: &str, options: &Options) -> Result<(String, String), Fault> {
    let fields = fields(line)?;
    let value = |column: &str| {
        // Of equal names the last counts, as in most programs.
        let found = fields.iter().rev().find(|(name, _)| name == column).map(|(_, value)| *value);
        found.ok_or_else(|| Fault::NoColumn { column: column.to_owned(), columns: fields.iter().map(|(name, _)| name.clone()).collect() })
    };
    let question = text(&options.question_column, value(&options.question_column)?, "a string", false)?;
    let answer = text(&options.answer_column, value(&options.answer_column)?, "a string or a number", true)?;
    Ok((question, answer))
}

/// A value as text.
fn text(column: &str, value: &str, expected: &'static str, number: bool) -> Result<String, Fault> {
    match kind(value) {
        "a string" => string(value),
        "a number" if number => Ok(value.to_owned()),
        "null" => Err(Fault::Null { column: column.to_owned() }),
        found => Err(Fault::Kind { column: column.to_owned(), expected, found }),
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

fn string(json: &str) -> Result<String, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::Json { message: error.to_string() })
}

/// The fields of an object, in order.
fn fields(line: &str) -> Result<Vec<Field<'_>>, Fault> {
    serde_json::from_str::<IgnoredAny>(line).map_err(|error| invalid(line, &error))?;
    let line = line.trim_ascii();
    let Some(mut rest) = line.strip_prefix('{') else { return Err(Fault::NotObject { found: kind(line) }) };
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
fn first<'a>(rest: &mut &'a str) -> Result<&'a str, Fault> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(IgnoredAny)) => {
            let (value, behind) = rest.split_at(values.byte_offset());
            *rest = behind;
            Ok(value)
        }
        Some(Err(error)) => Err(invalid(rest, &error)),
        None => Err(Fault::Json { message: "the line ends too early".into() }),
    }
}

/// What is wrong with a line. `NaN` and `Infinity`, which some programs write, are named.
fn invalid(line: &str, error: &serde_json::Error) -> Fault {
    let at = line.get(error.column().saturating_sub(1)..).unwrap_or("");
    let at = at.strip_prefix('-').unwrap_or(at);
    let number = ["NaN", "Infinity"].into_iter().find(|name| at.starts_with(name) || at.starts_with(&name[1..]));
    let text = error.to_string();
    // The line within a line is always the first.
    let message = text.replace(" at line 1 column ", " at byte ");
    Fault::Json { message: number.map_or(message.clone(), |name| format!("{name} is no JSON number; {message}")) }
}
