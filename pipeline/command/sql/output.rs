//! Where an answer goes: to stdout, or to a file that appears when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::format::{Csv, Format, Json, Lines, Text};
use super::parquet::Parquet;
use crate::disk::durable::{beside, link, sync_parent};
use crate::query::database::Database;
use crate::terminal::exit::Failure;
use crate::terminal::look::Look;
use crate::terminal::text::to_stdout;

/// A file, or stdout.
pub struct Output {
    pub path: Option<PathBuf>,
    /// Whether a file that is there already is replaced.
    pub force: bool,
}

/// Runs a statement and writes its answer.
///
/// # Errors
/// Those of [`Database::ask`], and failed writes.
pub fn write(database: &Database, sql: &str, format: Format, look: Look, out: &mut dyn Write) -> Result<()> {
    match format {
        Format::Table => {
            let mut text = Text::new(out, look);
            database.ask(sql, &mut text)?;
            text.finish()
        }
        Format::Csv => database.ask(sql, &mut Csv(out)),
        Format::Jsonl => database.ask(sql, &mut Lines::new(out)),
        Format::Json => {
            let mut json = Json::new(out);
            database.ask(sql, &mut json)?;
            json.finish()
        }
        Format::Parquet => {
            let mut parquet = Parquet::default();
            database.ask(sql, &mut parquet)?;
            Ok(out.write_all(&parquet.finish()?)?)
        }
    }
}

impl Output {
    /// Hands what is to be written to, to `body`.
    ///
    /// # Errors
    /// Those of `body`, a file that is there already, and failed writes.
    pub fn write(&self, body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let Some(path) = &self.path else { return to_stdout(body) };
        if path.is_dir() || (!self.force && path.symlink_metadata().is_ok()) {
            return Err(taken(path));
        }
        let failed = |error| anyhow::Error::from(unwritable(path, error));
        let tmp = Temporary(beside(path).map_err(failed)?);
        let mut out = BufWriter::with_capacity(1 << 18, File::create_new(&tmp.0).map_err(failed)?);
        body(&mut out).with_context(|| format!("no {} was written", path.display()))?;
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(failed)?;
        let named = if self.force { fs::rename(&tmp.0, path) } else { link(&tmp.0, path) };
        named.map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { taken(path) } else { failed(error) }
        })?;
        sync_parent(path).map_err(failed)
    }
}

/// A file that goes unless it was given another name.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn taken(path: &Path) -> anyhow::Error {
    let what = format!("{} is there already", path.display());
    Failure::usage(what, "choose another name, or give --force to replace it").into()
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::io(format!("cannot write {}", path.display()), "", error)
}
