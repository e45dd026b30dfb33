//! The tables and their columns, for people and programs.

use anyhow::Result;
use serde_json::{Value, json};

use super::format::Format;
use crate::query::source::{Column, Source};
use crate::query::value::type_name;
use crate::terminal::exit::Failure;
use crate::terminal::look::Look;
use crate::terminal::text::{brief, likeness, plural, table};

/// All tables: rows and columns, or one JSON document.
///
/// # Errors
/// A format that lists cannot have.
pub fn all(sources: &[Source], format: Format, look: Look) -> Result<String> {
    match format {
        Format::Json => {
            let all: Vec<Value> = sources.iter().map(to_json).collect();
            Ok(serde_json::to_string_pretty(&all)? + "\n")
        }
        Format::Table => {
            let row = |source: &Source| {
                let columns = source.columns.iter().map(|column| format!("{} {}", column.name, kind(column)));
                vec![source.full_name(), source.rows().to_string(), columns.collect::<Vec<_>>().join(", ")]
            };
            let rows: Vec<Vec<String>> = sources.iter().map(row).collect();
            let label = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0);
            let count = rows.iter().map(|row| row[1].len()).max().unwrap_or(0).max(4);
            let mut text = format!("{:label$}  {:>count$}  columns\n", "table", "rows");
            for row in &rows {
                let lines = wrapped(&row[2], look.width.saturating_sub(label + count + 4).max(30));
                for (at, line) in lines.iter().enumerate() {
                    let (name, rows) = if at == 0 { (row[0].as_str(), row[1].as_str()) } else { ("", "") };
                    text.push_str(&format!("{name:label$}  {rows:>count$}  {line}\n"));
                }
            }
            Ok(text)
        }
        _ => Err(Failure::usage("tables are listed as table or json", "leave --format out").into()),
    }
}

/// One table: what a row is, and each column with its meaning.
///
/// # Errors
/// A table that is not there.
pub fn one(sources: &[Source], name: &str, format: Format, look: Look) -> Result<String> {
    let Some(source) = sources.iter().find(|source| source.full_name().eq_ignore_ascii_case(name)) else {
        let like = |source: &&Source| likeness(&source.full_name(), &name.to_lowercase());
        let best = sources.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let hint = best.map_or_else(String::new, |best| format!("did you mean `{}`?", best.full_name()));
        return Err(Failure::usage(format!("there is no table `{name}`"), hint).into());
    };
    if format == Format::Json {
        return Ok(serde_json::to_string_pretty(&to_json(source))? + "\n");
    }
    let row = |column: &Column| {
        let null = if column.nullable { "may be null" } else { "" };
        vec![column.name.clone(), kind(column), null.to_owned(), column.about.clone()]
    };
    let rows: Vec<Vec<String>> = source.columns.iter().map(row).collect();
    let head = format!("{}: {}", source.full_name(), plural(source.rows(), "row"));
    let about = if source.about.is_empty() { String::new() } else { format!("; a row is {}", source.about) };
    let mut text = brief(&(head + &about), look.width) + "\n";
    for line in table(&["column", "type", "null", "meaning"], &rows, &[]).lines() {
        text.push_str(&(brief(line, look.width) + "\n"));
    }
    Ok(text)
}

/// A column's type in SQL; of JSON, what it holds.
fn kind(column: &Column) -> String {
    let kind = column.kind.name().to_lowercase();
    match &column.field {
        Some(field) if kind == "json" => format!("json ({})", type_name(field.data_type())),
        _ => kind,
    }
}

fn to_json(source: &Source) -> Value {
    let column = |column: &Column| {
        json!({
            "name": column.name,
            "type": column.kind.name(),
            "holds": column.field.as_ref().map(|field| field.data_type().to_string()),
            "nullable": column.nullable,
            "description": column.about,
        })
    };
    json!({
        "table": source.full_name(),
        "rows": source.rows(),
        "files": source.parts.len(),
        "description": source.about,
        "columns": source.columns.iter().map(column).collect::<Vec<_>>(),
    })
}

/// A list in lines of at most `width` characters, broken after commas.
fn wrapped(list: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for item in list.split_inclusive(", ") {
        let line = lines.len() - 1;
        if !lines[line].is_empty() && lines[line].chars().count() + item.trim_end().chars().count() > width {
            lines.push(String::new());
        }
        let line = lines.len() - 1;
        lines[line].push_str(item);
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}
