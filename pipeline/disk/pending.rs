//! A table's file on its way into a shard: written to `tmp/`, hashed as it is written.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::disk::durable::sync_file;
use crate::disk::record::FileRecord;

/// A file being written: buffered, and hashed on the way, so that it need not be read again.
/// Dropped unfinished, it is removed.
#[derive(Debug)]
pub struct PendingFile {
    table: String,
    path: PathBuf,
    /// `None` once finished.
    out: Option<BufWriter<Hashing>>,
}

impl PendingFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn over(table: &str, path: PathBuf, file: File) -> Self {
        let hashing = Hashing { file, sha: Sha256::new(), length: 0 };
        Self { table: table.to_owned(), path, out: Some(BufWriter::with_capacity(1 << 18, hashing)) }
    }

    pub(super) fn finish(mut self, shard: u32, rows: u64) -> io::Result<(PathBuf, FileRecord)> {
        let out = self.out.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        out.flush()?;
        sync_file(&out.get_ref().file)?;
        let (sha, length) = (out.get_ref().sha.clone(), out.get_ref().length);
        self.out = None;
        Ok((self.path.clone(), FileRecord::new(shard, &self.table, length, &sha.finalize(), rows)))
    }
}

impl Write for PendingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.as_mut().ok_or(io::ErrorKind::InvalidInput)?.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().ok_or(io::ErrorKind::InvalidInput)?.flush()
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Without the buffer's own drop, which would write on to a file that is given up.
            drop(out.into_parts());
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug)]
struct Hashing {
    file: File,
    sha: Sha256,
    length: u64,
}

impl Write for Hashing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buf)?;
        self.sha.update(&buf[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
