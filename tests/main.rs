//! Whole-program tests: each drives the `qstill` binary in a directory of its own, on problems and models
//! small enough for a few seconds of CPU.
//!
//! - [`kit`]: a world to run in, and what a run left behind
//! - [`server`]: an OpenAI-compatible server on the loopback address, with a script for its answers
//!
//! Nothing leaves the machine. The test on wgpu takes a real GPU where there is one; with
//! `QSTILL_TEST_WGPU=1` it takes any adapter, and fails if there is none.

mod kit;
mod server;

mod ablate;
mod answer;
mod bad_endpoints;
mod bad_files;
mod bad_models;
mod bad_usage;
mod changes;
#[cfg(unix)]
mod check_verifier;
mod choice;
mod countdown;
mod curate;
mod diff;
mod disk;
mod docs;
mod endpoint;
mod export;
mod files;
mod flips;
mod gguf;
mod grade;
mod house;
mod inspect;
#[cfg(unix)]
mod interrupt;
mod kill;
mod learning;
mod lock;
mod look;
mod losses;
mod manual;
mod model;
mod report;
mod rounds;
mod rules;
mod show;
mod sql;
mod targets;
mod value;
#[cfg(unix)]
mod verifier;
mod watch;
mod wgpu;
mod words;
mod workers;
