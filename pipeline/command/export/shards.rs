//! The files of one split: `kept/train-00000-of-00002.parquet`, each of a size that downloads well.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use datasets::table::{Row, Writer};
use serde::Serialize;

use crate::disk::durable::create_dirs;

/// Bytes after which a file is closed. Row groups reach a file whole, so it may be larger by one.
pub const FILE_BYTES: u64 = 256 << 20;

/// A split that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Split {
    pub name: &'static str,
    pub rows: u64,
    pub files: u64,
    /// Of the files.
    pub bytes: u64,
    /// Of the rows as Arrow columns, which is what `datasets` calls the size of a split.
    pub columns_bytes: u64,
}

/// Writes the rows of a split, file by file.
pub struct Shards<R: Row> {
    folder: PathBuf,
    split: &'static str,
    limit: u64,
    open: Option<Open<R>>,
    /// Files that are complete.
    done: Vec<PathBuf>,
    rows: u64,
    /// Of the columns of complete files.
    bytes: u64,
}

struct Open<R: Row> {
    path: PathBuf,
    writer: Writer<R, Counted<File>>,
    bytes: Arc<AtomicU64>,
}

/// A sink that tells from outside how much went into it.
struct Counted<W> {
    inner: W,
    bytes: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes.fetch_add(written as u64, Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Row> Shards<R> {
    /// Files of about `limit` bytes in a folder, which is made with the first of them.
    pub fn new(folder: &Path, split: &'static str, limit: u64) -> Self {
        Self { folder: folder.to_owned(), split, limit, open: None, done: Vec::new(), rows: 0, bytes: 0 }
    }

    /// # Errors
    /// A row that its columns cannot hold; failed writes.
    pub fn push(&mut self, row: R) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.bytes.load(Relaxed) >= self.limit) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                create_dirs(&self.folder).with_context(|| failed(&self.folder))?;
                // How many there will be is known at the end only.
                let path = self.folder.join(format!("{}-{:05}", self.split, self.done.len()));
                let file = File::create_new(&path).with_context(|| failed(&path))?;
                let bytes = Arc::<AtomicU64>::default();
                let writer = Writer::new(Counted { inner: file, bytes: Arc::clone(&bytes) })?;
                self.open.insert(Open { path, writer, bytes })
            }
        };
        self.rows += 1;
        Ok(open.writer.push(row)?)
    }

    fn close(&mut self) -> Result<()> {
        if let Some(mut open) = self.open.take() {
            self.bytes += open.writer.columns_bytes()?;
            open.writer.finish()?;
            self.done.push(open.path);
        }
        Ok(())
    }

    /// Gives the files their names; None without any row: an empty file is one that `load_dataset` refuses.
    ///
    /// # Errors
    /// Failed writes.
    pub fn finish(mut self) -> Result<Option<Split>> {
        self.close()?;
        let all = self.done.len();
        let mut bytes = 0;
        for (at, path) in self.done.iter().enumerate() {
            let name = self.folder.join(format!("{}-{at:05}-of-{all:05}.parquet", self.split));
            fs::rename(path, &name).with_context(|| failed(&name))?;
            bytes += fs::metadata(&name).with_context(|| failed(&name))?.len();
        }
        let (rows, columns_bytes) = (self.rows, self.bytes);
        let split = Split { name: self.split, rows, files: all as u64, bytes, columns_bytes };
        Ok((all > 0).then_some(split))
    }
}

fn failed(path: &Path) -> String {
    format!("failed to write {}", path.display())
}

#[cfg(test)]
mod tests {
    use datasets::table::{Dropped, read_all};

    use super::*;
    use crate::disk::durable::names;

    /// Rows that do not compress: row groups of 64 MiB would take too long, so files are cut at 65,536 rows.
    fn row(number: u64) -> Dropped {
        let id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (solution_id, problem_id) = (id.clone(), id);
        Dropped { solution_id, problem_id, round: 1, reason: "over_cap".into(), evidence: String::new() }
    }

    #[test]
    fn files_are_cut_by_size_and_keep_every_row_in_order() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("data/dropped");
        let mut shards = Shards::new(&folder, "train", 1 << 10);
        let total = 150_000;
        (0..total).try_for_each(|number| shards.push(row(number)))?;
        let split = shards.finish()?.expect("there are rows");
        let found = names(&folder)?;
        assert_eq!(found.len() as u64, split.files);
        assert!(split.files > 1, "{split:?}");
        assert_eq!(found[0], format!("train-00000-of-{:05}.parquet", split.files));
        let mut rows: Vec<Dropped> = Vec::new();
        for name in &found {
            rows.extend(read_all(&folder.join(name))?);
        }
        assert_eq!((rows.len() as u64, split.rows), (total, total));
        assert!((0..total).zip(&rows).all(|(number, found)| row(number) == *found));
        Ok(())
    }

    #[test]
    fn nothing_is_written_for_no_rows() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let folder = dir.path().join("kept");
        assert!(Shards::<Dropped>::new(&folder, "train", FILE_BYTES).finish()?.is_none());
        assert!(!folder.exists());
        Ok(())
    }
}
