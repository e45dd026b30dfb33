//! qstill: a self-play synthetic-data pipeline for distillation.
//!
//! This crate owns disk layout, time and terminal; what the stages do is in `stages`, what they reason about
//! in `datasets`. Imports go one way:
//!
//! ```text
//! cli -> command -> stage -> run -> config, disk -> terminal
//!        command -> query -> terminal
//! ```

mod cli;
pub mod command;
pub mod config;
pub mod disk;
pub mod query;
pub mod run;
pub mod stage;
pub mod terminal;

use std::process::ExitCode;

use datasets::sources::files::SourceError;
use datasets::table::TableError;
use stages::model::ModelError;
use stages::policy::endpoint::EndpointError;

use crate::terminal::exit::{self, Exit};

/// The program: parses the command line, does what it says, and ends with an exit code.
pub fn main() -> ExitCode {
    exit::run(
        cli::main,
        &[
            // A failed read or write speaks for itself further down the chain.
            |e| {
                let error = e
                    .downcast_ref::<EndpointError>()
                    .filter(|e| !matches!(e, EndpointError::Store { .. }))?;
                Some(if error.is_temporary() { Exit::Busy } else { Exit::Input })
            },
            |e| {
                let error = e.downcast_ref::<ModelError>().filter(|e| !matches!(e, ModelError::Io { .. }))?;
                Some(if matches!(error, ModelError::Lost(_)) { Exit::Busy } else { Exit::Input })
            },
            |e| {
                let error = e.downcast_ref::<SourceError>()?;
                (!matches!(error, SourceError::Io { .. })).then_some(Exit::Input)
            },
            |e| e.downcast_ref::<TableError>().filter(|e| e.io().is_none()).map(|_| Exit::Input),
            |e| e.is::<stages::BadInput>().then_some(Exit::Input),
        ],
    )
}
