//! Pages of `docs/` that are generated from the code are current. `QSTILL_BLESS=1 just test docs` writes
//! them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use pipeline::command::context::reference::{Key, sections, tables};
use pipeline::config::presets::PRESETS;
use pipeline::terminal::exit::Exit;

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
    for section in sections() {
        write!(out, "\n## [{}]\n", section.name).unwrap();
        if !section.about.is_empty() {
            write!(out, "\n{}\n", section.about).unwrap();
        }
        out.push_str("\n| key | default | meaning |\n|---|---|---|\n");
        for Key { key, default, meaning } in section.keys {
            writeln!(out, "| `{key}` | `{default}` | {} |", meaning.replace('|', "\\|")).unwrap();
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
    for table in tables() {
        write!(out, "\n## {}\n\nVersion {}. A row is {}.\n\n", table.name, table.version, table.about)
            .unwrap();
        out.push_str("| column | type | meaning |\n|---|---|---|\n");
        for column in table.columns {
            let about = column.meaning.replace('|', "\\|");
            let null = if column.nullable { ", may be null" } else { "" };
            writeln!(out, "| `{}` | {}{null} | {about} |", column.name, column.kind).unwrap();
        }
    }
    current("tables.md", &out);
}

/// The exit codes of a page are those of the program.
#[test]
fn the_exit_codes_of_running() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/running.md");
    let text = fs::read_to_string(path).unwrap();
    for exit in Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(text.contains(&row), "docs/running.md lacks the row {row}");
    }
}
