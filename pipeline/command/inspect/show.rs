//! Tables and their rows laid out for reading: one block a row, one line a column, and a line for each item
//! of a list of structs, so that the steps of a solution stand below each other.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Result;
use arrow::datatypes::FieldRef;
use serde_json::{Map, Value};

use super::options::Options;
use super::summary::{ColumnSummary, summaries};
use super::table::{Table, description};
use crate::query::value::{fields_within, type_name};
use crate::terminal::look::Look;
use crate::terminal::text;

/// Items of a list of structs that are shown.
const ITEMS: usize = 50;
/// Room for the names of columns.
const LABEL: usize = 32;

/// What a table is, its columns, and its first rows.
pub fn table(out: &mut dyn Write, table: &Table, options: &Options, look: Look) -> Result<()> {
    writeln!(out, "{}", look.bold(&text::brief(&table.place, usize::MAX)))?;
    if let Some(name) = &table.name {
        let version = table.version.as_deref().unwrap_or("unknown");
        let about = table.info().map_or_else(String::new, |info| format!("; a row is {}", info.description));
        writeln!(out, "{}", text::brief(&format!("table {name}, version {version}{about}"), look.width))?;
    }
    writeln!(out, "{}", totals(table))?;
    for note in &table.notes {
        writeln!(out, "note: {}", text::brief(note, look.width))?;
    }
    writeln!(out)?;
    if options.summary {
        write!(out, "{}", in_numbers(&summaries(table, &options.columns)?, look.width))?;
    } else {
        write!(out, "{}", columns(&table.shown(&options.columns), look.width))?;
    }
    if table.matching.is_some() {
        writeln!(out, "\n{} of {} meet the condition", table.matches(), text::plural(table.rows, "row"))?;
    }
    let mut number = 0u64;
    let word = if options.sample.is_some() { "sampled row" } else { "row" };
    table.sample(&options.columns, options.head, &mut |row| {
        number += 1;
        writeln!(out, "\n{}", look.bold(&format!("{word} {number} of {}", table.matches())))?;
        Ok(block(out, &row, look)?)
    })
}

/// The chosen rows as CSV, with a line of names; null is empty, lists and structs are JSON.
///
/// # Errors
/// Failed writes; rows that cannot be decoded.
pub fn csv(out: &mut dyn Write, table: &Table, options: &Options) -> Result<()> {
    let names: Vec<String> =
        table.shown(&options.columns).iter().map(|field| text::csv(field.name())).collect();
    writeln!(out, "{}", names.join(","))?;
    table.sample(&options.columns, options.head, &mut |row| {
        let cell = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text::csv(text),
            other => text::csv(&other.to_string()),
        };
        let cells: Vec<String> = row.values().map(cell).collect();
        Ok(writeln!(out, "{}", cells.join(","))?)
    })
}

/// Summaries of columns, one a line.
fn in_numbers(columns: &[ColumnSummary], width: usize) -> String {
    let headers = [
        "column",
        "type",
        "nulls",
        "distinct",
        "min",
        "25%",
        "median",
        "75%",
        "max",
        "mean",
        "most frequent",
    ];
    let row = |column: &ColumnSummary| {
        let distinct = column.distinct.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let mut cells =
            vec![text::brief(&column.name, 40), column.kind.clone(), column.nulls.to_string(), distinct];
        match (&column.numbers, &column.range) {
            (Some(n), _) => {
                cells.extend([n.min, n.p25, n.median, n.p75, n.max, n.mean].map(short));
            }
            (None, Some((first, last))) => {
                let dash = || "-".to_owned();
                cells.extend([text::brief(first, 24), dash(), dash(), dash(), text::brief(last, 24), dash()]);
            }
            (None, None) => cells.extend(["-"; 6].map(str::to_owned)),
        }
        // What is there once in a thousand rows is not frequent.
        let frequent = column.top.iter().filter(|(_, count)| count * 1000 >= column.rows);
        let top = frequent.map(|(value, count)| {
            let mut shown = String::new();
            match value.as_f64() {
                Some(number) if value.is_f64() => shown = short(number),
                _ => inline(value, false, 40, &mut shown),
            }
            let shown = if shown.is_empty() { "(empty)".to_owned() } else { text::brief(&shown, 24) };
            format!("{shown} {}", text::percent(*count as f64 / column.rows.max(1) as f64))
        });
        cells.push(top.collect::<Vec<_>>().join(", "));
        cells
    };
    let rows: Vec<Vec<String>> = columns.iter().map(row).collect();
    let lists = columns.iter().any(|column| column.kind.starts_with("list") || column.kind == "map");
    let table = text::table(&headers, &rows, &[2, 3, 4, 5, 6, 7, 8, 9]);
    let mut said: String = table.lines().map(|line| text::brief(line, width) + "\n").collect();
    if lists {
        said.push_str("of lists: their lengths\n");
    }
    said
}

/// A number with the digits that say something.
fn short(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let size = number.abs().log10().floor();
    if !number.is_finite() || !(-4.0..9.0).contains(&size) {
        return format!("{number:.3e}");
    }
    let text = format!("{number:.*}", (3.0 - size).clamp(0.0, 7.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// E.g. `120 rows in 2 committed shards, 12.3 kB, zstd, 2 row groups`.
fn totals(table: &Table) -> String {
    let files =
        text::plural(table.files.len() as u64, if table.committed { "committed shard" } else { "file" });
    let compression: Vec<&str> = table.compression.iter().map(String::as_str).collect();
    let mut parts = vec![format!("{} in {files}", text::plural(table.rows, "row")), text::size(table.bytes)];
    if !compression.is_empty() {
        parts.push(compression.join(" and "));
    }
    parts.push(text::plural(table.row_groups as u64, "row group"));
    parts.join(", ")
}

/// The fields with type and meaning; fields within structs are indented below their column.
fn columns(fields: &[FieldRef], width: usize) -> String {
    let mut rows = Vec::new();
    for field in fields {
        lines_of(field, 0, &mut rows);
    }
    let meant = rows.iter().any(|row| !row[2].is_empty());
    let table =
        text::table(if meant { &["column", "type", "meaning"] } else { &["column", "type"] }, &rows, &[]);
    table.lines().fold(String::new(), |mut cut, line| {
        cut.push_str(&text::brief(line, width));
        cut.push('\n');
        cut
    })
}

fn lines_of(field: &FieldRef, depth: usize, rows: &mut Vec<Vec<String>>) {
    let name = format!("{}{}", "  ".repeat(depth), text::brief(field.name(), 60));
    let kind = text::brief(&type_name(field.data_type()), 60);
    rows.push(vec![name, kind, text::brief(description(field).unwrap_or_default(), 200)]);
    for inner in fields_within(field) {
        lines_of(inner, depth + 1, rows);
    }
}

/// One row: `name  value`, with further lines of a value below its first.
fn block(out: &mut dyn Write, row: &Map<String, Value>, look: Look) -> std::io::Result<()> {
    let label = row.keys().map(|name| name.chars().count()).max().unwrap_or(0).min(LABEL);
    let width = look.width.saturating_sub(label + 4).max(20);
    for (name, value) in row {
        let short = text::brief(name, label);
        let padding = " ".repeat(label - short.chars().count());
        let lines = lines(value, width);
        for (at, line) in lines.iter().enumerate() {
            match at {
                0 => writeln!(out, "  {}{padding}  {line}", look.dim(&short))?,
                _ => writeln!(out, "  {:label$}  {line}", "")?,
            }
        }
    }
    Ok(())
}

fn lines(value: &Value, width: usize) -> Vec<String> {
    if let Value::Array(items) = value
        && !items.is_empty()
        && items.iter().all(Value::is_object)
    {
        let shown = items.iter().take(ITEMS).filter_map(Value::as_object).enumerate();
        let mut lines: Vec<String> = shown.map(|(at, fields)| item(at + 1, fields, width)).collect();
        if items.len() > ITEMS {
            lines.push(format!("… and {} more", items.len() - ITEMS));
        }
        return lines;
    }
    let mut text = String::new();
    inline(value, false, width, &mut text);
    vec![text::brief(&text, width)]
}

/// An item of a list of structs. One with a `text`, such as a step, begins with that, and ends with what else
/// is known.
fn item(number: usize, fields: &Map<String, Value>, width: usize) -> String {
    let number = format!("{number}. ");
    if let Some(Value::String(step)) = fields.get("text") {
        let known = fields.iter().filter(|(name, value)| *name != "text" && !value.is_null());
        let known: Vec<String> = known.map(|(name, value)| format!("{name} {}", detail(value))).collect();
        let known = if known.is_empty() {
            String::new()
        } else {
            format!("  [{}]", text::brief(&known.join(", "), width / 2))
        };
        let room = width.saturating_sub(number.chars().count() + known.chars().count());
        return format!("{number}{}{known}", text::brief(step, room));
    }
    let mut line = number;
    named(fields, width, &mut line);
    text::brief(&line, width)
}

/// A value beside a step: floats with the digits that say something.
fn detail(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => format!("{number:.4}"),
        _ => {
            let mut text = String::new();
            inline(value, false, 60, &mut text);
            text
        }
    }
}

/// A value in one line; stops soon after `limit` bytes more, as the rest would be cut off anyway.
fn inline(value: &Value, quoted: bool, limit: usize, line: &mut String) {
    match value {
        Value::Null => line.push('-'),
        // A character has at most four bytes: what is shown cannot reach beyond.
        Value::String(text) if !quoted => line.extend(text.chars().take(limit + 1)),
        Value::Array(items) => {
            line.push('[');
            let end = line.len() + 4 * limit;
            for (at, item) in items.iter().enumerate().take_while(|(at, _)| *at <= limit) {
                if line.len() > end {
                    break;
                }
                line.push_str(if at > 0 { ", " } else { "" });
                inline(item, true, limit, line);
            }
            line.push(']');
        }
        Value::Object(fields) => {
            line.push('{');
            named(fields, limit, line);
            line.push('}');
        }
        // Writing to a string cannot fail.
        other => {
            let _ = write!(line, "{other}");
        }
    }
}

fn named(fields: &Map<String, Value>, limit: usize, line: &mut String) {
    let end = line.len() + 4 * limit;
    for (at, (name, value)) in fields.iter().enumerate() {
        if line.len() > end {
            break;
        }
        line.push_str(if at > 0 { ", " } else { "" });
        line.push_str(name);
        line.push_str(": ");
        inline(value, false, limit, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps_stand_below_each_other_with_what_is_known() {
        let steps = json!([
            {"text": "3 + 4 = 7", "logprob": -0.123456, "value": null, "q": null, "tokens": 6},
            {"text": "x".repeat(90), "logprob": null, "value": null, "q": null, "tokens": 1},
        ]);
        let lines = lines(&steps, 60);
        assert_eq!(lines[0], "1. 3 + 4 = 7  [logprob -0.1235, tokens 6]");
        assert!(lines[1].starts_with("2. xxx") && lines[1].ends_with("…  [tokens 1]"), "{lines:?}");
        assert_eq!(lines[1].chars().count(), 60);
    }

    #[test]
    fn other_values_are_one_line() {
        let one = |value: Value| lines(&value, 30).join("|");
        assert_eq!(one(json!(null)), "-");
        assert_eq!(one(json!("a\nb")), "a\\nb");
        assert_eq!(one(json!([1, null, "x"])), "[1, -, \"x\"]");
        assert_eq!(one(json!([])), "[]");
        assert_eq!(one(json!({"a": 1, "b": {"c": "d"}})), "{a: 1, b: {c: d}}");
        let turns = json!([{"role": "user", "content": "hi"}, {"role": "bot", "content": "y".repeat(50)}]);
        assert_eq!(one(turns), "1. role: user, content: hi|2. role: bot, content: yyyyyy…");
        assert_eq!(one(json!("z".repeat(1_000_000))).chars().count(), 30);
        assert_eq!(one(json!(vec![1.5; 1_000_000])).chars().count(), 30);
        assert_eq!(lines(&json!(vec![json!({"a": 1}); 60]), 30).len(), ITEMS + 1);
    }

    #[test]
    fn a_row_is_a_block() -> std::io::Result<()> {
        let row = json!({"id": "p1", "question": "Why?", "steps": [{"text": "a"}, {"text": "b"}]});
        let mut out = Vec::new();
        let plain = Look { width: 80, colour: false };
        block(&mut out, row.as_object().unwrap_or(&Map::new()), plain)?;
        assert_eq!(
            String::from_utf8_lossy(&out),
            "  id        p1\n  question  Why?\n  steps     1. a\n            2. b\n"
        );
        Ok(())
    }
}
