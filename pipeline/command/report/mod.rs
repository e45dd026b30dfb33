//! `qstill report RUN`: a run as one page of HTML, that opens from disk and fetches nothing.
//!
//! - `facts`: all that the page says, gathered from the run's files    - `rounds`: what the records of the
//!   stages count    - `accounts`: what every problem cost and came to, and which ones are shown
//! - `samples`: rows of each kind    - `trees`: search trees for the explorer    - `curves`: of training
//! - `measures`: values, bake-offs, ablations    - `economy`: costs    - `headline`: the run in a few words
//! - `page`: facts to HTML; its template, style and scripts are in `assets/`
//!
//! The page is a function of the run's files and its name: no clock and no host is written, so equal runs
//! give equal pages. No lock is taken: another process may be at work.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::command::arguments::existing;
use crate::disk::durable::write_atomic;
use crate::disk::layout::RunDir;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{size, to_stdout};

mod accounts;
mod curves;
mod economy;
mod facts;
mod headline;
mod measures;
mod page;
pub mod rounds;
mod samples;
mod trees;

/// Write a run as one page of HTML: results, curation, curves, and samples of its rows.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill report runs/mine                      writes runs/mine/report.html
  qstill report runs/mine --open               and opens it in a browser
  qstill report runs/mine --out /tmp/mine.html
`qstill run` and `resume` write the page too when they are done. It is a single file that loads
nothing from elsewhere: copy it, mail it, or print it.")]
pub struct Report {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Where to write it; default: report.html in the run.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Open it in the browser of this machine.
    #[arg(long)]
    open: bool,
}

/// Writes the page.
///
/// # Errors
/// No run of that name, failed reads and writes, no browser.
pub fn run(args: Report, console: &Console) -> Result<Exit> {
    let run = existing(&args.run)?;
    let path = args.out.unwrap_or_else(|| run.report());
    let length = write(&run, &path)?;
    to_stdout(|out| Ok(writeln!(out, "{}", path.display())?))?;
    console.say(&format!("{}: {}", path.display(), size(length)));
    if args.open {
        open(&path)?;
    }
    Ok(Exit::Done)
}

/// Writes the page of a run, unless the file has it already; its length in bytes.
///
/// # Errors
/// Failed reads and writes.
pub fn write(run: &RunDir, path: &Path) -> Result<u64> {
    let html = page::html(&facts::Facts::of(run)?)?;
    let same = match std::fs::read(path) {
        Ok(bytes) => bytes == html.as_bytes(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    if !same {
        write_atomic(path, html.as_bytes()).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(html.len() as u64)
}

/// Writes the page into the run after its work. That it cannot be written is no failure of the run.
pub fn write_after(run: &RunDir, console: &Console) {
    let path = run.report();
    match write(run, &path) {
        Ok(_) => console.say(&format!("report: {}", path.display())),
        Err(error) => console.warn(&format!("note: the run is done, but has no report: {error:#}")),
    }
}

/// Opens a file with the program that this machine has for it.
fn open(path: &Path) -> Result<()> {
    let path = std::path::absolute(path).with_context(|| format!("failed to locate {}", path.display()))?;
    let mut command = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        Command::new("explorer")
    } else {
        Command::new("xdg-open")
    };
    let program = command.get_program().to_string_lossy().into_owned();
    let started =
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // The one of Windows ends with 1 when all went well.
    let opened = started.is_ok_and(|status| status.success() || cfg!(windows));
    if opened {
        return Ok(());
    }
    let what = format!("`{program}` could not open {}", path.display());
    Err(Failure::usage(what, "the page is written: open the file in a browser").into())
}
