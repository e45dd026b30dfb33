//! qstill: a self-play synthetic-data pipeline for distillation. `qstill --help` lists the commands.
//!
//! This crate owns disk layout, time and terminal; what the stages do is in `stages`, what they reason about
//! in `datasets`.

mod answer;
mod audit;
mod bakeoff;
mod bench;
mod cli;
mod commit;
mod config;
mod doctor;
mod evaluation;
mod exit;
mod explain;
mod gate;
mod grade;
mod inspect;
mod layout;
mod lessons;
mod lock;
mod plan;
mod progress;
mod session;
mod settings;
mod status;
mod text;
mod training;
mod value;
mod verify_run;
mod work;

use std::process::ExitCode;

use datasets::sources::files::SourceError;
use datasets::table::TableError;
use exit::Exit;
use stages::model::ModelError;
use stages::policy::endpoint::EndpointError;

fn main() -> ExitCode {
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
                e.downcast_ref::<SourceError>()
                    .filter(|e| !matches!(e, SourceError::Io { .. }))
                    .map(|_| Exit::Input)
            },
            |e| e.downcast_ref::<TableError>().filter(|e| e.io().is_none()).map(|_| Exit::Input),
            |e| e.is::<stages::BadInput>().then_some(Exit::Input),
        ],
    )
}
