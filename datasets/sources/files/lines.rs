//! JSON lines, one line in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::column::{Column, Row};
use super::error::{Fault, Place, SourceError};
use super::{MAX_LINE_BYTES, json};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The rows of a JSON lines file.
pub struct Lines {
    path: Arc<Path>,
    columns: Arc<[Column]>,
    /// Bytes of the whole file, 0 if it is none of a known size.
    length: u64,
    /// None after the end or an error of the disk.
    file: Option<BufReader<File>>,
    buffer: Vec<u8>,
    /// Number of the line in the buffer, from 1.
    line: u64,
    /// Bytes of the file up to and with the line in the buffer.
    read: u64,
    /// Whether there was a line that is not blank.
    any: bool,
}

/// What reading a line came to.
enum Next {
    Line,
    LongLine,
    End,
}

impl Lines {
    pub fn open(path: PathBuf, columns: Arc<[Column]>) -> Result<Self, SourceError> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = match opened {
            Ok((length, file)) => (length, BufReader::with_capacity(1 << 16, file)),
            Err(source) => return Err(SourceError::Io { path, source }),
        };
        Ok(Lines {
            path: path.into(),
            columns,
            length,
            file: Some(file),
            buffer: Vec::new(),
            line: 0,
            read: 0,
            any: false,
        })
    }

    /// Bytes that were read, and bytes in all.
    pub fn extent(&self) -> (u64, u64) {
        (self.read, self.length)
    }

    /// Reads the next line into the buffer. Of a line that is too long the rest is passed over, not kept.
    fn fill(&mut self) -> io::Result<Next> {
        let Some(file) = &mut self.file else { return Ok(Next::End) };
        self.buffer.clear();
        let taken = file.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut self.buffer)?;
        if taken == 0 {
            return Ok(Next::End);
        }
        self.line += 1;
        self.read += taken as u64;
        if taken > MAX_LINE_BYTES && self.buffer.last() != Some(&b'\n') {
            self.buffer.clear();
            self.read += file.skip_until(b'\n')? as u64;
            return Ok(Next::LongLine);
        }
        Ok(Next::Line)
    }

    /// The cells of the line in the buffer; none if the line is blank.
    fn cells(&self) -> Result<Option<Vec<String>>, Fault> {
        let bytes = &self.buffer[..];
        let (skipped, bytes) = match bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.line == 1 => (BYTE_ORDER_MARK.len(), rest),
            _ => (0, bytes),
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let in_row = skipped + error.valid_up_to();
            Fault::Utf8 { in_row, in_file: Some(self.read - self.buffer.len() as u64 + in_row as u64) }
        })?;
        json::cells(text, &self.columns).map(Some)
    }
}

impl Iterator for Lines {
    type Item = Result<Row, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let cells = match self.fill() {
                Ok(Next::Line) => self.cells(),
                Ok(Next::LongLine) => Err(Fault::LongLine { limit: MAX_LINE_BYTES }),
                Ok(Next::End) => {
                    let ended = self.file.take().is_some();
                    return (ended && !self.any)
                        .then(|| Err(SourceError::NoRows { path: self.path.to_path_buf() }));
                }
                Err(source) => {
                    self.file = None;
                    return Some(Err(SourceError::Io { path: self.path.to_path_buf(), source }));
                }
            };
            let place = Place::Line(self.line);
            let row = match cells {
                Ok(None) => continue,
                Ok(Some(cells)) => Ok(Row { path: Arc::clone(&self.path), place, cells }),
                Err(fault) => Err(SourceError::Row { path: self.path.to_path_buf(), place, fault }),
            };
            self.any = true;
            return Some(row);
        }
    }
}
