//! Pages of `docs/` that are generated from the code are current. `QSTILL_BLESS=1 just test docs` writes
//! them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use datasets::table::{DESCRIPTION_KEY, TABLES};
use pipeline::config::presets::{DEFAULT, PRESETS};

/// Compares a page with what is generated, or writes it.
#[track_caller]
fn current(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if std::env::var_os("QSTILL_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/{page} is not current: `QSTILL_BLESS=1 just test docs` writes it");
}

#[test]
fn the_page_of_every_key() {
    let mut out = String::from(
        "# Configuration\n\nEvery key with its default and its meaning, from\n\
         [default.toml](../pipeline/config/presets/default.toml). `qstill init` prints the same, and any key can be set\n\
         on the command line: `--set search.samples=16`. Unknown keys, wrong types and values outside of what is\n\
         permitted are refused before any work, with exit code 64.\n\nShipped presets: ",
    );
    out += &PRESETS.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    out.push_str(".\n");
    let mut comment: Vec<&str> = Vec::new();
    let mut begun = false;
    for line in DEFAULT.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(section) = line.strip_prefix('[') {
            let about = std::mem::take(&mut comment);
            write!(out, "\n## [{}]\n", section.trim_end_matches(']')).unwrap();
            if begun && !about.is_empty() {
                write!(out, "\n{}\n", about.join(" ")).unwrap();
            }
            begun = true;
            out.push_str("\n| key | default | meaning |\n|---|---|---|\n");
        } else if let Some((key, value)) = line.split_once(" = ") {
            let about = std::mem::take(&mut comment).join(" ").replace('|', "\\|");
            writeln!(out, "| `{key}` | `{value}` | {about} |").unwrap();
        } else {
            comment.clear();
        }
    }
    current("configuration.md", &out);
}

#[test]
fn the_page_of_every_table() {
    let mut out = String::from(
        "# Tables\n\nEvery Parquet table that qstill writes. Name and version stand in the metadata of each file\n\
         (`qstill.table`, `qstill.version`), the meaning of a column in that of its field.\n",
    );
    for table in TABLES {
        write!(out, "\n## {}\n\nVersion {}. A row is {}.\n\n", table.name, table.version, table.description)
            .unwrap();
        out.push_str("| column | type | meaning |\n|---|---|---|\n");
        for field in (table.schema)().fields() {
            let about =
                field.metadata().get(DESCRIPTION_KEY).cloned().unwrap_or_default().replace('|', "\\|");
            let null = if field.is_nullable() { ", may be null" } else { "" };
            let kind = kind(field.data_type());
            writeln!(out, "| `{}` | {kind}{null} | {about} |", field.name()).unwrap();
        }
    }
    current("tables.md", &out);
}

/// A type in few words.
fn kind(of: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType;
    match of {
        DataType::Utf8 | DataType::LargeUtf8 => "text".into(),
        DataType::List(item) => format!("list of {}", kind(item.data_type())),
        DataType::Struct(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|f| format!("{}: {}", f.name(), kind(f.data_type()))).collect();
            format!("struct ({})", parts.join(", "))
        }
        other => format!("{other}").to_lowercase(),
    }
}
