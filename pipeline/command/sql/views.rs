//! The same tables as views of DuckDB: statements to run there.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use datasets::table::Key;

use crate::query::source::{Kind, Source, quoted};

/// One `CREATE VIEW` for each table, with the absolute paths of its files. Lists and structs stay what they
/// are.
///
/// # Errors
/// A working directory that is gone.
pub fn duckdb(sources: &[Source]) -> Result<String> {
    let mut text = String::new();
    for group in sources.iter().filter_map(|source| source.group).take(1) {
        writeln!(text, "CREATE SCHEMA IF NOT EXISTS {group};")?;
    }
    for source in sources {
        let name = match source.group {
            Some(group) => format!("{group}.{}", quoted(&source.name)),
            None => quoted(&source.name),
        };
        writeln!(text, "CREATE OR REPLACE VIEW {name} AS{};", body(source)?)?;
    }
    Ok(text)
}

fn body(source: &Source) -> Result<String> {
    // Files with equal constants follow each other.
    let mut selects: Vec<String> = Vec::new();
    for parts in source.parts.chunk_by(|a, b| a.constants == b.constants) {
        let files = parts.iter().map(|part| absolute(&part.path)).collect::<Result<Vec<_>>>()?;
        let own = source.columns.iter().zip(&parts[0].constants);
        let constants: String = own
            .map(|(column, value)| format!("{} AS {}, ", literal(value.as_ref()), quoted(&column.name)))
            .collect();
        let files = files.join(",\n    ");
        selects.push(format!("\n  SELECT {constants}* FROM read_parquet([\n    {files}])"));
    }
    if selects.is_empty() {
        let column = |name: &str, kind: Kind| {
            let kind = match kind {
                Kind::Text => "VARCHAR",
                Kind::Integer => "BIGINT",
                Kind::Real => "DOUBLE",
                Kind::Boolean => "BOOLEAN",
                Kind::Json => "JSON",
            };
            format!("NULL::{kind} AS {}", quoted(name))
        };
        let columns: Vec<String> = source.columns.iter().map(|c| column(&c.name, c.kind)).collect();
        return Ok(format!(" SELECT {} WHERE false", columns.join(", ")));
    }
    Ok(selects.join("\n  UNION ALL"))
}

/// A path in quotes, with what DuckDB would take for a pattern in brackets.
fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("failed to find {}", path.display()))?;
    let mut text = String::from("'");
    for char in path.to_string_lossy().chars() {
        match char {
            '*' | '?' | '[' => text.extend(['[', char, ']']),
            '\'' => text.push_str("''"),
            char => text.push(char),
        }
    }
    Ok(text + "'")
}

fn literal(value: Option<&Key>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(Key::Int(int)) => int.to_string(),
        Some(Key::Text(text)) => format!("'{}'", text.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::source::Part;

    #[test]
    fn paths_and_texts_are_quoted() -> Result<()> {
        assert_eq!(absolute(Path::new("/a b/it's[1]*.parquet"))?, "'/a b/it''s[[]1][*].parquet'");
        assert_eq!(literal(Some(&Key::Text("it's".to_owned()))), "'it''s'");
        let part =
            |round| Part { path: "/x.parquet".into(), rows: 1, constants: vec![Some(Key::Int(round))] };
        let columns = vec![crate::query::source::Column::constant("round", Kind::Integer, false, "")];
        let source = Source {
            group: None,
            name: "nodes".to_owned(),
            about: String::new(),
            columns,
            parts: vec![part(1), part(1), part(2)],
            info: None,
        };
        let text = duckdb(&[source])?;
        assert_eq!(text.matches("SELECT 1 AS \"round\", *").count(), 1, "{text}");
        assert_eq!(text.matches("UNION ALL").count(), 1, "{text}");
        Ok(())
    }
}
