//! What SQLite says of a statement that it cannot run, with its place and what may have been meant.

use rusqlite::Error;

use super::source::{Source, quoted};
use crate::terminal::exit::Failure;
use crate::terminal::text::{brief, likeness};

/// Names of a list that are shown.
const SHOWN: usize = 24;
/// How alike a name must be to be what was meant.
const ALIKE: f64 = 0.6;

/// The failure of a statement.
pub fn failure<'a>(
    error: Error,
    sql: &str,
    sources: impl Iterator<Item = &'a Source> + Clone,
    functions: &[String],
) -> Failure {
    match error {
        Error::SqlInputError { msg, offset, .. } => {
            // Without the text that SQLite repeats.
            let place = place(sql, usize::try_from(offset).unwrap_or(0));
            let hint = hint(&msg, sql, sources, functions);
            Failure::usage(format!("{place}: {}", brief(&msg, 200)), hint)
        }
        Error::SqliteFailure(_, Some(message)) if message.ends_with("may not be modified") => read_only(),
        Error::SqliteFailure(_, Some(message)) => {
            let hint = hint(&message, sql, sources, functions);
            Failure::usage(format!("SQL: {}", brief(&message, 300)), hint)
        }
        Error::MultipleStatement => {
            Failure::usage("SQL: there is more than one statement", "give them one at a time, or use -i")
        }
        Error::Empty => {
            Failure::usage("SQL: there is no statement", "such as SELECT count(*) FROM solutions")
        }
        Error::NulError(_) => Failure::usage("SQL: there is a NUL character in the statement", ""),
        other => Failure::usage(format!("SQL: {}", brief(&other.to_string(), 300)), ""),
    }
}

/// What is said to a statement that would change something.
pub fn read_only() -> Failure {
    Failure::usage(
        "SQL: only reading is possible, nothing of a run is changed here",
        "use SELECT, WITH or VALUES",
    )
}

/// Line and column, from 1, in characters.
fn place(sql: &str, offset: usize) -> String {
    let before = sql.get(..offset).unwrap_or(sql);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("SQL line {line}, column {column}")
}

fn hint<'a>(
    message: &str,
    sql: &str,
    sources: impl Iterator<Item = &'a Source> + Clone,
    functions: &[String],
) -> String {
    if let Some(name) = message.strip_prefix("no such table: ") {
        let names: Vec<String> = sources.map(Source::full_name).collect();
        return meant(name, &names).unwrap_or_else(|| format!("there are {}", names.join(", ")));
    }
    if let Some(name) = message.strip_prefix("no such column: ") {
        let (name, quoted) =
            name.split_once(" - should this be a string").map_or((name, false), |(n, _)| (n, true));
        if quoted {
            return format!("a text stands in single quotes: '{}'", name.trim_matches('"'));
        }
        let name = name.rsplit('.').next().unwrap_or(name);
        let words: Vec<String> =
            sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_lowercase).collect();
        let here = sources.clone().filter(|source| words.contains(&source.name.to_lowercase()));
        let columns = |sources: &mut dyn Iterator<Item = &'a Source>| {
            let mut names: Vec<String> = Vec::new();
            for column in sources.flat_map(|source| &source.columns) {
                if !names.contains(&column.name) {
                    names.push(column.name.clone());
                }
            }
            names
        };
        let near = columns(&mut here.clone());
        if let Some(hint) = meant(name, &near) {
            return hint;
        }
        // It may be a column of a table that the statement does not read.
        let other = sources.clone().find(|source| source.columns.iter().any(|column| column.name == name));
        return match other {
            Some(source) if !near.is_empty() => format!("`{name}` is a column of `{}`", source.full_name()),
            _ if near.is_empty() => String::new(),
            _ => format!("there are {}", listed(&near)),
        };
    }
    if let Some(name) = message.strip_prefix("no such function: ") {
        return meant(name, functions).unwrap_or_default();
    }
    if let Some(word) = message.strip_prefix("near \"").and_then(|rest| rest.strip_suffix("\": syntax error"))
    {
        let is = |source: &Source| source.columns.iter().any(|c| c.name.eq_ignore_ascii_case(word));
        if sources.clone().any(is) {
            let lower = word.to_lowercase();
            return format!(
                "`{lower}` is a word of SQL: as a column it stands in double quotes, {}",
                quoted(&lower)
            );
        }
    }
    String::new()
}

/// The name of a list that was probably meant.
fn meant(name: &str, names: &[String]) -> Option<String> {
    let name = name.to_lowercase();
    let best = names.iter().map(|known| (likeness(&name, &known.to_lowercase()), known));
    let (alike, best) = best.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (alike >= ALIKE).then(|| format!("did you mean `{best}`?"))
}

fn listed(names: &[String]) -> String {
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names[..names.len().min(SHOWN)].join(", ") + more
}
