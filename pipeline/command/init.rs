//! `qstill init`: a commented configuration to edit.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::config::presets::commented;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::to_stdout;

/// Print a commented configuration: every key with its meaning and value.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill init > my.toml
  qstill init --preset gsm8k my.toml")]
pub struct Init {
    /// demo, countdown, selfplay, words, countdown4, gsm-symbolic, gsm8k, gsm8k-endpoint, gsm8k-base or
    /// gsm8k-base-endpoint.
    #[arg(long)]
    preset: Option<String>,
    /// Write here instead of stdout; an existing file is not overwritten.
    file: Option<PathBuf>,
}

/// Prints or writes it.
///
/// # Errors
/// No such preset, a file that is there already, failed writes.
pub fn run(args: Init, console: &Console) -> Result<Exit> {
    let text = commented(args.preset.as_deref())?;
    let Some(path) = args.file else {
        to_stdout(|out| Ok(write!(out, "{text}")?))?;
        return Ok(Exit::Done);
    };
    let shown = path.display();
    let new = std::fs::File::options().write(true).create_new(true).open(&path);
    let mut new = new.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!("{shown} already exists"), "choose another name"),
        _ => Failure::io(format!("cannot write {shown}"), "", error),
    })?;
    new.write_all(text.as_bytes()).with_context(|| format!("failed to write {shown}"))?;
    console.say(&format!("wrote {shown}; start with `qstill run --config {shown}`"));
    Ok(Exit::Done)
}
