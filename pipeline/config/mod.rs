//! The configuration of a run: defaults, a preset or the user's file, and `--set`, merged in this order.
//!
//! `presets/default.toml` is the list of every key with its default and its meaning; `qstill init` prints it
//! with a preset's values put in, and the schema that unknown keys and wrong types are checked against is
//! read from it too.

pub mod check;
pub mod presets;
pub mod resolve;
pub mod schema;
pub mod settings;
#[cfg(test)]
mod settings_tests;
pub mod types;

pub use types::Config;
