//! What qstill does: each stage is a function from inputs to rows, with events on the side.
//!
//! problems -> search -> verify -> curate -> value -> train -> evaluate, over [`policy`] (who proposes steps)
//! and [`model`] (the decoder). Nothing here knows of terminals, run directories or the command line.

/// The configuration, a file or a model of the user's cannot be used as it is. Says what and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Returns [`BadInput`] with a formatted message.
macro_rules! bail {
    ($($arg:tt)*) => { return Err($crate::BadInput(format!($($arg)*)).into()) };
}

/// Returns [`BadInput`] with a formatted message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($arg:tt)*) => { if $condition {} else { bail!($($arg)*) } };
}

pub mod ablation;
pub mod audit;
pub mod bakeoff;
pub mod command;
pub mod curate;
pub mod evaluate;
pub mod events;
pub mod fault;
pub mod gate;
pub mod grade;
pub mod judge;
pub mod model;
pub mod policy;
pub mod probe;
pub mod problems;
pub mod rules;
pub mod search;
pub mod siblings;
pub mod train;
pub mod value;
pub mod verifier;
pub mod verify;

pub use events::{Cancelled, Events};

/// Whether a setting is left as it is: then it stands in no fingerprint from before it was there.
fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}
