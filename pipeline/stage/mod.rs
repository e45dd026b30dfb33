//! The stages of a run on disk. Each is a file with its `Inputs`, which its fingerprint is made from, and its
//! `work`, which receives them and nothing else of the configuration.

pub mod break_even;
pub mod checkpoints;
pub mod curate;
pub mod earlier;
pub mod evaluate;
pub mod evaluation;
mod fit;
pub mod gate;
mod lessons;
pub mod measuring;
pub mod policy;
pub mod problems;
pub mod score;
pub mod search;
pub mod searching;
pub mod teacher;
pub mod train;
mod trees;
pub mod value;
pub mod verifier;
pub mod verify;
