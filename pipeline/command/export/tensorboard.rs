//! `qstill export RUN --tensorboard DIR`: training curves and the figures of rounds as event files, which
//! TensorBoard and trackers that import from it read.
//!
//! An event file is a chain of records (a length, its checksum, bytes, their checksum), each a protobuf
//! message `Event` with a step and named numbers
//! (<https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto>). No clock
//! is read: what stands for the time of an event is its step, in seconds. So a run that goes on gives files
//! that begin as before, and what is new is appended: a TensorBoard that is open sees it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use datasets::table::{self, Loss};

use crate::disk::durable::{create_dirs, names};
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::committed;
use crate::stage::checkpoints::step_of;
use crate::stage::evaluation::Results;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::plural;

/// TensorBoard looks for files with `tfevents` in their names.
const FILE: &str = "events.out.tfevents.0.qstill";

/// Named numbers at a step.
type Point = (u64, Vec<(String, f32)>);

/// Writes a folder for each training, and one for what rounds came to.
///
/// # Errors
/// Nothing is trained or measured; failed reads and writes.
pub fn run(run: &RunDir, dir: &Path, console: &Console) -> Result<Exit> {
    let mut files: Vec<(String, Vec<Point>)> = Vec::new();
    for round in run.rounds()? {
        let losses = losses(run, round)?;
        files.push((format!("round-{round}-train"), losses.iter().map(of_training).collect()));
    }
    files.push(("rounds".to_owned(), of_rounds(run)?));
    files.retain(|(_, points)| !points.is_empty());
    if files.is_empty() {
        let what = format!("{}: nothing is searched or trained yet", run.root().display());
        return Err(Failure::input(what, "`qstill resume` goes on with it").into());
    }
    let mut count = 0;
    for (name, points) in &files {
        let folder = dir.join(name);
        create_dirs(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let path = folder.join(FILE);
        put(&path, &encoded(points)).with_context(|| format!("failed to write {}", path.display()))?;
        count += points.len();
    }
    console.say(&format!(
        "export: {} in {}: tensorboard --logdir {}",
        plural(count as u64, "step"),
        plural(files.len() as u64, "event file"),
        dir.display()
    ));
    Ok(Exit::Done)
}

/// The curve of a round: what is committed, else that of the newest checkpoint of a training under way.
fn losses(run: &RunDir, round: u32) -> Result<Vec<Loss>> {
    let rows: Vec<Loss> = committed(run, round, Stage::Train)?.read()?;
    let folder = run.checkpoints(round);
    if !rows.is_empty() {
        return Ok(rows);
    }
    // A checkpoint may be replaced by the next one just now.
    let newest = names(&folder)?.into_iter().rev().filter(|name| step_of(name).is_some());
    let mut newest = newest.map(|name| folder.join(name).join("losses.parquet"));
    Ok(newest.find_map(|path| table::read_all(&path).ok()).unwrap_or_default())
}

fn of_training(row: &Loss) -> Point {
    let own = [
        ("train/loss", Some(row.loss)),
        ("train/value_loss", row.value_loss),
        ("train/learning_rate", Some(row.learning_rate)),
        ("train/grad_norm", Some(row.grad_norm)),
        ("train/epoch", Some(row.epoch)),
        ("train/tokens", Some(row.tokens as f32)),
        ("validation/loss", row.validation_loss),
        ("validation/value_loss", row.validation_value_loss),
        ("sampled/length", row.sampled_length),
        ("sampled/ended", row.sampled_ended),
    ];
    (u64::from(row.step), own.into_iter().filter_map(|(tag, value)| Some((tag.to_owned(), value?))).collect())
}

/// What each round came to; its number is the step.
fn of_rounds(run: &RunDir) -> Result<Vec<Point>> {
    let measured = Results::load(run)?.map_or(Vec::new(), |results| results.rows);
    let mut points = Vec::new();
    for round in run.rounds()? {
        let mut values: Vec<(String, f32)> = Vec::new();
        let (search, curate) = (committed(run, round, Stage::Search)?, committed(run, round, Stage::Curate)?);
        let looked_at = search.count("looked_at");
        if looked_at > 0 {
            values.push(("search/solved".to_owned(), search.count("solved") as f32 / looked_at as f32));
            values.push(("search/tokens".to_owned(), search.count("tokens") as f32));
        }
        if !curate.commits.is_empty() {
            values.push(("curate/kept".to_owned(), curate.count("kept") as f32));
        }
        for row in measured.iter().filter(|row| row.round == round) {
            let model = if row.model == "teacher" { "search" } else { &row.model };
            values.push((format!("solved/{model}"), row.pass_at_1 as f32));
            values.push((format!("tokens_per_problem/{model}"), row.tokens_per_problem as f32));
        }
        if !values.is_empty() {
            points.push((u64::from(round), values));
        }
    }
    Ok(points)
}

/// Appends what is new to a file that begins as `bytes` do, and writes any other one anew.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let old = fs::read(path).unwrap_or_default();
    if !old.is_empty() && bytes.starts_with(&old) {
        return File::options().append(true).open(path)?.write_all(&bytes[old.len()..]);
    }
    fs::write(path, bytes)
}

fn encoded(points: &[Point]) -> Vec<u8> {
    let mut out = Vec::new();
    record(&mut out, &event(0, &field(3, b"brain.Event:2")));
    for (step, values) in points {
        let summary: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let number = [&[2 << 3 | 5][..], &value.to_le_bytes()].concat();
                field(1, &[field(1, tag.as_bytes()), number].concat())
            })
            .collect();
        record(&mut out, &event(*step, &field(5, &summary)));
    }
    out
}

/// A message `Event`: a time, a step, and what it says.
fn event(step: u64, what: &[u8]) -> Vec<u8> {
    [&[1 << 3 | 1][..], &(step as f64).to_le_bytes(), &[2 << 3], &varint(step), what].concat()
}

/// A field of bytes: text or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn record(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    for part in [&length[..], &masked(&length).to_le_bytes(), bytes, &masked(bytes).to_le_bytes()] {
        out.extend_from_slice(part);
    }
}

/// CRC-32C, rotated and shifted, as records have it.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `tensorboard` 2.21 writes for the same events.
    #[test]
    fn records_are_as_tensorboard_has_them() {
        let out = encoded(&[(300, vec![("a".to_owned(), 1.5)])]);
        let first = 8 + 4 + 9 + 2 + 15 + 4;
        assert_eq!(out[..8], 26u64.to_le_bytes());
        assert_eq!(masked(&out[..8]).to_le_bytes(), out[8..12]);
        let body = [
            &[0x09][..],
            &300f64.to_le_bytes(),
            &[0x10, 0xac, 0x02, 0x2a, 0x0a, 0x0a, 0x08, 0x0a, 0x01, b'a', 0x15, 0, 0, 0xc0, 0x3f],
        ]
        .concat();
        assert_eq!(out[first + 12..first + 12 + body.len()], body);
        assert_eq!(masked(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn files_grow_and_others_are_written_anew() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join(FILE);
        let points = |n: u64| (0..n).map(|step| (step, vec![("x".to_owned(), step as f32)])).collect();
        let (some, more): (Vec<Point>, Vec<Point>) = (points(2), points(5));
        for (points, expected) in [(&some, &some), (&more, &more), (&some, &some)] {
            put(&path, &encoded(points))?;
            assert_eq!(fs::read(&path)?, encoded(expected));
        }
        Ok(())
    }
}
