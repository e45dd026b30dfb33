//! A log of answers: lines of JSON that are only ever appended.
//!
//! ```text
//! {"answer":NAME,"bytes":N,"prompt_tokens":50,"completion_tokens":72,"status":200,"sha256":"…","head":"…",
//!  "request":{…},"body":"…"}
//! ```
//!
//! (on one line). The head says how many bytes follow and has their digest and one of itself, so a log is
//! looked through without reading its answers. A kill or a lost disk may leave half a line at the end: it is
//! no answer, and [`mend`] cuts it off. Where a line in the middle cannot be read, those behind it still can.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use datasets::key;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::DRAFT;
use crate::policy::endpoint::spent::Spent;

/// What the names of logs end with.
pub(super) const ENDING: &str = "jsonl";
/// Bytes that hold every head.
const HEAD: usize = 512;
/// How a line begins, and how it goes on behind the head.
const BEGIN: &[u8] = b"{\"answer\":\"";
const REST: &[u8] = b",\"request\":";
/// What stands before the digest of the head.
const OWN: &[u8] = b",\"head\":\"";
/// Bytes of the largest line that is read: a body of the largest size taken, escaped, and its request.
const LARGEST: u64 = 512 << 20;

/// SHA-256 of a request and what goes with it.
pub(in super::super) type Name = [u8; 32];

/// An answer as it is stored.
pub(in super::super) struct Answer<'a> {
    pub name: Name,
    /// The request as canonical JSON.
    pub request: &'a str,
    pub status: u16,
    /// As the server sent it.
    pub body: &'a str,
    pub spent: Spent,
}

/// The head of a line.
#[derive(Debug, Deserialize)]
struct Head {
    answer: String,
    /// Bytes of the line behind the head.
    bytes: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// SHA-256 of those.
    sha256: String,
    /// Beginning of the SHA-256 of what stands before it.
    #[serde(rename = "head")]
    own: String,
}

/// What is read of the rest.
#[derive(Deserialize)]
struct Rest {
    body: String,
}

/// A line of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub name: Name,
    pub start: u64,
    /// Bytes, line end included.
    pub bytes: u64,
    pub spent: Spent,
}

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub lines: Vec<Line>,
    /// Bytes between lines that are none.
    pub unreadable: Vec<Range<u64>>,
    /// Where the last line ends.
    pub whole: u64,
    pub bytes: u64,
}

impl Answer<'_> {
    /// The line of an answer.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::with_capacity(self.request.len() + self.body.len() * 9 / 8 + 64);
        rest.extend_from_slice(REST);
        rest.extend_from_slice(self.request.as_bytes());
        rest.extend_from_slice(b",\"body\":");
        serde_json::to_writer(&mut rest, self.body)?;
        rest.extend_from_slice(b"}\n");
        let mut line = BEGIN.to_vec();
        write!(
            line,
            "{}\",\"bytes\":{},\"prompt_tokens\":{},\"completion_tokens\":{},\"status\":{},\"sha256\":\"{}\"",
            key::hex(&self.name),
            rest.len(),
            self.spent.prompt_tokens,
            self.spent.completion_tokens,
            self.status,
            key::hex(&Sha256::digest(&rest))
        )?;
        let check = check_of(&line);
        line.extend_from_slice(OWN);
        line.extend_from_slice(check.as_bytes());
        line.push(b'"');
        line.append(&mut rest);
        Ok(line)
    }
}

/// Reads the head that text begins with, and where it ends.
fn head(text: &[u8]) -> Option<(Head, usize)> {
    let end = position(text, REST)?;
    let mut whole = text[..end].to_vec();
    whole.push(b'}');
    let head: Head = serde_json::from_slice(&whole).ok()?;
    let own = position(text, OWN)?;
    (head.own == check_of(&text[..own])).then_some((head, end))
}

fn check_of(text: &[u8]) -> String {
    key::hex(&Sha256::digest(text)[..8])
}

/// The body in a line; the inner error says what is wrong with it, the outer one is a failed read.
pub(super) fn body(file: &mut File, at: &Line) -> io::Result<Result<String, String>> {
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(at.start))?;
    file.take(at.bytes).read_to_end(&mut line)?;
    let read = head(&line).and_then(|(head, end)| {
        let sound = key::hex(&Sha256::digest(&line[end..])) == head.sha256;
        // With the head cut off, an object begins where the comma stands.
        line[end] = b'{';
        serde_json::from_slice::<Rest>(&line[end..]).ok().filter(|_| sound)
    });
    Ok(read.map(|rest| rest.body).ok_or_else(|| "has other bytes than were written".to_owned()))
}

/// Looks through a log; its answers are not read.
pub(super) fn scan(path: &Path) -> io::Result<Scan> {
    let mut file = BufReader::with_capacity(16 << 10, File::open(path)?);
    let mut scan = Scan { bytes: file.get_ref().metadata()?.len(), ..Scan::default() };
    let (mut at, mut gap) = (0, None);
    while at < scan.bytes {
        if let Some(line) = line_at(&mut file, at, scan.bytes)? {
            scan.unreadable.extend(gap.take().map(|from| from..at));
            at += line.bytes;
            scan.lines.push(line);
            scan.whole = at;
            continue;
        }
        let Some(next) = next_line(&mut file, at)? else { break };
        gap.get_or_insert(at);
        at = next;
    }
    Ok(scan)
}

/// The line that begins at a place, if one does and is there to its end.
fn line_at(file: &mut BufReader<File>, start: u64, length: u64) -> io::Result<Option<Line>> {
    seek(file, start)?;
    let mut front = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut front)?;
    let Some((head, end)) = head(&front) else { return Ok(None) };
    let Some(name) = name_of(&head.answer) else { return Ok(None) };
    let bytes = end as u64 + head.bytes.min(LARGEST);
    let (prompt_tokens, completion_tokens) = (head.prompt_tokens, head.completion_tokens);
    let spent = Spent { answers: 1, prompt_tokens, completion_tokens };
    Ok((start + bytes <= length).then_some(Line { name, start, bytes, spent }))
}

/// Where the next line begins behind what is none.
fn next_line(file: &mut BufReader<File>, from: u64) -> io::Result<Option<u64>> {
    // In texts the quotes are escaped, so this is nearly always the beginning of a line.
    let from = from + 1;
    seek(file, from)?;
    let (mut window, mut start) = (Vec::new(), from);
    loop {
        let more = file.by_ref().take(1 << 20).read_to_end(&mut window)?;
        if let Some(found) = position(&window, BEGIN) {
            return Ok(Some(start + found as u64));
        }
        if more == 0 {
            return Ok(None);
        }
        let done = window.len().saturating_sub(BEGIN.len());
        window.drain(..done);
        start += done as u64;
    }
}

/// Goes to a place; what is in the buffer is not read again.
fn seek(file: &mut BufReader<File>, to: u64) -> io::Result<()> {
    let at = file.stream_position()?;
    file.seek_relative(to as i64 - at as i64)
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A name from its 64 hex digits.
pub(super) fn name_of(hex: &str) -> Option<Name> {
    let mut name = Name::default();
    if hex.len() != 2 * name.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (place, byte) in name.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(name)
}

/// The logs of a folder, in the order of their names.
pub(super) fn all(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension() == Some(ENDING.as_ref()) && entry.file_type()?.is_file() {
            logs.push(path);
        }
    }
    logs.sort_unstable();
    Ok(logs)
}

/// Cuts off what a kill left of a last line, and takes out what is no line between others: a log with such is
/// set aside as `damaged-NAME` first. For the holder of the run only.
pub(super) fn mend(path: &Path) -> io::Result<()> {
    let scan = scan(path)?;
    if scan.unreadable.is_empty() {
        if scan.whole < scan.bytes {
            let file = File::options().write(true).open(path)?;
            file.set_len(scan.whole)?;
            file.sync_all()?;
        }
        return Ok(());
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().map(|name| name.to_string_lossy()))
    else {
        return Ok(());
    };
    let draft = folder.join(format!("{DRAFT}{name}"));
    let (mut from, mut to) = (File::open(path)?, File::create(&draft)?);
    for line in &scan.lines {
        from.seek(SeekFrom::Start(line.start))?;
        io::copy(&mut (&from).take(line.bytes), &mut to)?;
    }
    to.sync_all()?;
    // Without its ending nobody reads it as a log.
    let mut copy = 0;
    while folder.join(format!("damaged-{name}.{copy}")).exists() {
        copy += 1;
    }
    fs::copy(path, folder.join(format!("damaged-{name}.{copy}")))?;
    fs::rename(&draft, path)?;
    super::sync_folder(folder)
}
