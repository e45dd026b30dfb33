//! `qstill export`: what a run has made, for others: JSON lines for a trainer, or a directory for the Hugging
//! Face Hub.
//!
//! - `lines`: a table as JSON lines on stdout    - `folder`: the directory: what may be replaced, and how it
//!   appears all at once
//! - `finished`: what of a run is finished and undamaged    - `configs`: a table as a config of a dataset
//! - `shards`: the files of a split    - `facts`, `cards`: what the cards say; their templates are in
//!   `assets/`    - `tensorboard`: training curves as event files
//!
//! The directory is a function of the run's files and the arguments: no clock, host or path is written, so
//! the same run gives the same bytes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::command::arguments::existing;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;

mod cards;
mod configs;
mod facts;
mod finished;
mod folder;
mod lines;
mod shards;
mod tensorboard;

/// Write what a run kept as JSON lines for a trainer, or all of it as a directory for the Hugging Face Hub
#[derive(Args)]
#[command(after_help = "Examples:
  qstill export runs/demo > rows.jsonl
  qstill export runs/demo --form prompt-completion > rows.jsonl
  qstill export runs/demo --table preferences --round 2 > pairs.jsonl
  qstill export runs/demo hub/demo --license apache-2.0
  qstill export runs/demo hub/demo --tables kept,preferences --no-student --force
  qstill export runs/demo --tensorboard logs && tensorboard --logdir logs

Rows of `kept` are those that the last round trains on: of all rounds, less what was retired, each
text once. With DIR, each table is a config of a dataset, with a card made of the run's figures, and
the student stands in DIR/student with a card of its own; docs/publish.md says how to load both.")]
pub struct Export {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// A directory to write for the Hugging Face Hub; without it, JSON lines go to stdout.
    dir: Option<PathBuf>,
    /// Write training curves and the figures of rounds as TensorBoard event files into this directory; of a
    /// run that goes on, what is new since the last time.
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    tensorboard: Option<PathBuf>,
    #[command(flatten)]
    lines: lines::Lines,
    #[command(flatten)]
    folder: folder::Options,
}

/// Exports a run.
///
/// # Errors
/// Nothing is curated; a directory that may not be replaced; damaged files; failed reads and writes.
pub fn run(args: Export, console: &Console) -> Result<Exit> {
    if let Some(dir) = &args.tensorboard {
        return tensorboard::run(&existing(&args.run)?, dir, console);
    }
    match &args.dir {
        None => lines::run(&existing(&args.run)?, &args.lines, console),
        Some(dir) => folder::run(&args.run, dir, &args.folder, console),
    }
}
