//! Several questions after each other: statements end with `;`, lines that begin with a dot are commands.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::format::Format;
use super::output::write;
use super::{catalog, describe};
use crate::disk::layout::RunDir;
use crate::query::database::Database;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, exit_of, explain};
use crate::terminal::look::Look;
use crate::terminal::text::to_open_stdout;

const HELP: &str = "\
SELECT ...;     answer a statement; it ends with `;` and may have several lines
.tables         the tables with rows and columns
.schema TABLE   the columns of a table
.quit           leave (also Ctrl-D)
";

/// Reads statements and answers them until the end of the input. Each sees what is committed at its time.
///
/// # Errors
/// Input that cannot be read. A statement that fails is none: it is said.
pub fn run(run: &RunDir, format: Format, look: Look, console: &Console) -> Result<Exit> {
    let mut editor = DefaultEditor::new().context("failed to open the terminal")?;
    let history = std::io::stdin().is_terminal().then(history).flatten();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
        console.say(&format!("{}: .help says what there is, .quit leaves", run.root().display()));
    }
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() { "sql> " } else { "...> " };
        let line = match editor.readline(prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                statement.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("failed to read a line"),
        };
        if statement.is_empty() && line.trim().is_empty() {
            continue;
        }
        if statement.is_empty() && line.trim_start().starts_with('.') {
            let _ = editor.add_history_entry(line.trim());
            if ends(&line) {
                break;
            }
            if !shown(|out| command(run, line.trim(), look, out))? {
                break;
            }
            continue;
        }
        statement.push_str(&line);
        statement.push('\n');
        if !whole(&statement) {
            continue;
        }
        let sql = std::mem::take(&mut statement);
        let _ = editor.add_history_entry(sql.trim().replace('\n', " "));
        let answer =
            |out: &mut dyn Write| write(&Database::open(catalog::sources(run)?)?, &sql, format, look, out);
        if !shown(answer)? {
            break;
        }
    }
    if !statement.trim().is_empty() {
        console.warn("the last statement has no `;` at its end and was not run");
    }
    if let Some(path) = history {
        // What was asked is a comfort, and no work to lose.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(&path);
    }
    Ok(Exit::Done)
}

/// Writes to stdout what `body` has to say; a failure goes to stderr. False once nobody reads any more.
fn shown(body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<bool> {
    let mut failure = None;
    let open = to_open_stdout(|out| {
        failure = body(out).err();
        Ok(())
    })?;
    if let Some(failure) = failure.filter(|_| open) {
        if exit_of(&failure, &[]) == Exit::Interrupted {
            return Err(failure);
        }
        // Nothing is left to do if stderr is gone too.
        let _ = writeln!(std::io::stderr(), "error: {}", explain(&failure, &[]));
    }
    Ok(open)
}

fn ends(line: &str) -> bool {
    [".quit", ".exit", ".q"].contains(&line.trim().trim_end_matches(';'))
}

fn command(run: &RunDir, line: &str, look: Look, out: &mut dyn Write) -> Result<()> {
    let mut words = line.trim_end_matches(';').split_whitespace();
    let text = match (words.next(), words.next()) {
        (Some(".tables"), _) => describe::all(&catalog::sources(run)?, Format::Table, look)?,
        (Some(".schema"), Some(name)) => describe::one(&catalog::sources(run)?, name, Format::Table, look)?,
        (Some(".schema"), None) => "give the name of a table: .schema solutions\n".to_owned(),
        (Some(".help"), _) => HELP.to_owned(),
        _ => format!("`{}` is no command here\n{HELP}", crate::terminal::text::brief(line, 40)),
    };
    Ok(out.write_all(text.as_bytes())?)
}

/// Whether a text ends with the `;` of a statement, and not within a text or a comment.
fn whole(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    let mut ended = false;
    while let Some(char) = chars.next() {
        match char {
            '\'' | '"' | '`' => {
                ended = false;
                if !chars.by_ref().any(|next| next == char) {
                    return false;
                }
            }
            '-' if chars.peek() == Some(&'-') => {
                chars.by_ref().find(|next| *next == '\n');
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                if !chars.by_ref().any(|next| std::mem::replace(&mut last, next) == '*' && next == '/') {
                    return false;
                }
            }
            ';' => ended = true,
            char if char.is_whitespace() => {}
            _ => ended = false,
        }
    }
    ended
}

/// The file of what was asked before, by the XDG base directories.
fn history() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("qstill/sql-history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_with_a_semicolon_of_their_own() {
        for text in ["SELECT 1;", "SELECT ';' ;\n", "SELECT 1 -- not; this\n;", "/* ; */ SELECT 'it''s';  "] {
            assert!(whole(text), "{text}");
        }
        for text in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "/* ;", "SELECT 1; SELECT 2", "SELECT \";\""] {
            assert!(!whole(text), "{text}");
        }
    }
}
