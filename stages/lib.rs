//! What qstill does: each stage is a function from inputs to rows, with events on the side.
//!
//! problems -> search -> verify -> curate -> train -> evaluate, over [`policy`] (who proposes steps) and
//! [`model`] (the decoder). Nothing here knows of terminals, run directories or the command line.

pub mod curate;
pub mod evaluate;
pub mod events;
pub mod model;
pub mod policy;
pub mod problems;
pub mod search;
pub mod train;
pub mod verify;

pub use events::{Cancelled, Events};
