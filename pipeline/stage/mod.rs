//! The stages of a run on disk: what each depends on, its shards, and what it says.

pub mod checkpoints;
pub mod evaluation;
pub mod gate;
pub mod lessons;
pub mod train;
pub mod value;
