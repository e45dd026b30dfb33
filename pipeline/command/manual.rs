//! `qstill completions` and `qstill man`: what shells and `man` want to know of the command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::to_stdout;

/// Print a script that completes commands and options in a shell.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill completions bash > ~/.local/share/bash-completion/completions/qstill
  qstill completions zsh > ~/.zfunc/_qstill
  qstill completions fish > ~/.config/fish/completions/qstill.fish")]
pub struct Completions {
    shell: Shell,
}

/// Write a manual page for each command.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill man ~/.local/share/man/man1 && man qstill-run")]
pub struct Man {
    /// A folder, which is made if it is not there. Pages of an earlier version are replaced.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the script.
///
/// # Errors
/// A stdout that cannot be written.
pub fn completions(args: Completions, mut program: Command) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "qstill", &mut script);
    to_stdout(|out| Ok(out.write_all(&script)?))?;
    Ok(Exit::Done)
}

/// Writes the pages.
///
/// # Errors
/// A folder that cannot be written.
pub fn man(args: Man, program: Command) -> Result<Exit> {
    let folder = &args.folder;
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
    written.map_err(|error| Failure::io(format!("cannot write to {}", folder.display()), "", error))?;
    Ok(Exit::Done)
}
