//! JSON lines, one line in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use super::error::{Fault, Place, SourceError};
use super::{MAX_LINE_BYTES, Options, Raw, json, raw};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The rows of a JSON lines file.
pub struct Lines {
    path: PathBuf,
    options: Options,
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
    pub fn open(path: PathBuf, options: &Options) -> Result<Self, SourceError> {
        let file = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(1 << 16, file),
            Err(source) => return Err(SourceError::Io { path, source }),
        };
        let options = options.clone();
        Ok(Lines { path, options, file: Some(file), buffer: Vec::new(), line: 0, read: 0, any: false })
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

    /// The row of the line in the buffer; none if the line is blank.
    fn row(&self) -> Result<Option<Raw>, Fault> {
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
        let (question, answer) = json::question_and_answer(text, &self.options)?;
        raw(question, &answer, &self.path, Place::Line(self.line), &self.options).map(Some)
    }
}

impl Iterator for Lines {
    type Item = Result<Raw, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match self.fill() {
                Ok(Next::Line) => self.row(),
                Ok(Next::LongLine) => Err(Fault::LongLine { limit: MAX_LINE_BYTES }),
                Ok(Next::End) => {
                    let ended = self.file.take().is_some();
                    return (ended && !self.any).then(|| Err(SourceError::NoRows { path: self.path.clone() }));
                }
                Err(source) => {
                    self.file = None;
                    return Some(Err(SourceError::Io { path: self.path.clone(), source }));
                }
            };
            match row {
                Ok(None) => {}
                Ok(Some(row)) => {
                    self.any = true;
                    return Some(Ok(row));
                }
                Err(fault) => {
                    self.any = true;
                    let place = Place::Line(self.line);
                    return Some(Err(SourceError::Row { path: self.path.clone(), place, fault }));
                }
            }
        }
    }
}
