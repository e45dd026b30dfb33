//! `qstill verify-run RUN`: every committed file against the hash in its record. Changes nothing.
//!
//! What is looked at: the records, shards and directories of all stages, checkpoints, stored answers, and the
//! settings. What no record names is no data, and is not looked at: unfinished files, `stale/`, `damaged/`,
//! the log.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::command::arguments::existing;
use crate::config::Config;
use crate::config::resolve::file;
use crate::disk::durable::names;
use crate::disk::layout::{RunDir, Stage};
use crate::disk::record::size_of_dir;
use crate::disk::scan;
use crate::stage::checkpoints::{sound, step_of};
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, plural, table};

/// What was found of one place.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Within the run, e.g. `round-1/search`.
    pub place: String,
    /// Records, checkpoints or answers.
    pub items: u64,
    pub files: u64,
    pub bytes: u64,
    /// What is wrong, one line each.
    pub damaged: Vec<String>,
}

/// Check every committed file of a run against the hash in its record. Changes nothing.
#[derive(Args)]
#[command(
    after_help = "Exit code 0 if all is as it was written, 65 if something is damaged: `qstill resume` sets \
                  it aside and makes it again."
)]
pub struct VerifyRun {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks a run.
///
/// # Errors
/// Those of [`print`].
pub fn run(args: VerifyRun) -> Result<Exit> {
    print(&existing(&args.run)?, args.json)?;
    Ok(Exit::Done)
}

/// Checks a run and prints what was found.
///
/// # Errors
/// `Exit::Input` if anything is damaged; failed reads.
fn print(run: &RunDir, json: bool) -> Result<()> {
    let lines = verify(run)?;
    let damaged = damaged(&lines);
    let text = if json {
        let value = serde_json::json!({ "run": run.name(), "sound": damaged.is_empty(), "places": lines });
        serde_json::to_string_pretty(&value)? + "\n"
    } else {
        let row = |line: &Line| {
            let cells = [
                line.items.to_string(),
                line.files.to_string(),
                text::size(line.bytes),
                line.damaged.len().to_string(),
            ];
            std::iter::once(line.place.clone()).chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        let mut text = table(&["place", "records", "files", "size", "damaged"], &rows, &[1, 2, 3, 4]);
        text.extend(damaged.iter().map(|why| format!("{}\n", text::brief(why, 1000))));
        text
    };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    match damaged.len() as u64 {
        0 => Ok(()),
        n => Err(Failure::input(
            format!(
                "{}: {} not as written",
                run.root().display(),
                if n == 1 { "1 item is".into() } else { plural(n, "item") + " are" }
            ),
            format!("`qstill resume {}` sets damaged work aside and makes it again", run.root().display()),
        )
        .into()),
    }
}

/// What is wrong, with its place.
pub fn damaged(lines: &[Line]) -> Vec<String> {
    let of =
        |line: &Line| line.damaged.iter().map(|why| format!("{}: {why}", line.place)).collect::<Vec<_>>();
    lines.iter().flat_map(of).collect()
}

/// Looks at all of a run.
///
/// # Errors
/// Failed reads.
pub fn verify(run: &RunDir) -> Result<Vec<Line>> {
    let mut lines = vec![settings(run)];
    let mut dirs: Vec<(String, PathBuf)> =
        vec![(Stage::Problems.name().to_owned(), run.stage(0, Stage::Problems))];
    let folder = || format!("failed to list {}", run.root().display());
    let mut homes = vec![(String::new(), run.clone())];
    homes.extend(run.ablations().with_context(folder)?.into_iter().map(|(name, home)| (name + "/", home)));
    for (within, home) in homes {
        for round in home.rounds()? {
            let root = home.round(round);
            for name in names(&root).with_context(|| format!("failed to list {}", root.display()))? {
                dirs.push((format!("{within}round-{round}/{name}"), root.join(name)));
            }
        }
    }
    for (place, dir) in dirs.into_iter().filter(|(_, dir)| dir.join("commits").is_dir()) {
        lines.push(stage(&place, &dir)?);
        checkpoints(&format!("{place}/checkpoints"), &dir.join("checkpoints"), &mut lines)?;
    }
    let folder = run.responses();
    let answers = stages::policy::endpoint::check_answers(&folder)
        .with_context(|| format!("failed to read {}", folder.display()))?;
    if answers.files > 0 {
        let damaged = answers.wrong.into_iter().map(|(name, why)| format!("{name} {why}")).collect();
        lines.push(Line {
            place: "responses".into(),
            items: answers.answers,
            files: answers.files,
            bytes: answers.bytes,
            damaged,
        });
    }
    Ok(lines)
}

/// The saved settings; they carry no hash, as the user may edit them, but they must be settings.
fn settings(run: &RunDir) -> Line {
    let bytes = std::fs::metadata(run.config()).map_or(0, |meta| meta.len());
    let read = file(&run.config()).and_then(|layer| Config::resolve(&[layer], &[]));
    let damaged = read.err().map(|error| format!("{error:#}")).into_iter().collect();
    Line { place: "run.toml".into(), items: 1, files: 1, bytes, damaged }
}

fn stage(place: &str, dir: &Path) -> Result<Line> {
    let scan = scan::examine(dir)?;
    let files = scan.good.iter().flat_map(|commit| commit.files.iter().map(|file| file.length));
    let beside = scan.good.iter().flat_map(|commit| commit.dirs.iter().map(|dir| dir.length));
    Ok(Line {
        place: place.to_owned(),
        items: (scan.good.len() + scan.damaged.len()) as u64,
        files: files.clone().chain(beside.clone()).count() as u64,
        bytes: files.chain(beside).fold(0, u64::saturating_add),
        damaged: scan.damaged.into_iter().map(|damaged| damaged.why).collect(),
    })
}

/// Checkpoints of a training under way, or of several (a folder each).
fn checkpoints(place: &str, folder: &Path, lines: &mut Vec<Line>) -> Result<()> {
    let all = names(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut line = Line { place: place.to_owned(), items: 0, files: 0, bytes: 0, damaged: Vec::new() };
    for name in all {
        let dir = folder.join(&name);
        match step_of(&name) {
            Some(step) => {
                line.items += 1;
                line.files += 1;
                line.bytes += size_of_dir(&dir)?;
                line.damaged.extend(sound(&dir, step).err().map(|why| format!("{name}: {why}")));
            }
            None if dir.is_dir() && !name.starts_with("tmp-") => {
                checkpoints(&format!("{place}/{name}"), &dir, lines)?;
            }
            None => {}
        }
    }
    if line.items > 0 {
        lines.push(line);
    }
    Ok(())
}
