//! Bytes on disk: where they are, how they get there, and whether they are what was written. Knows no stage's
//! content.

pub mod commit;
#[cfg(test)]
mod commit_tests;
pub mod durable;
pub mod layout;
pub mod lock;
mod pending;
pub mod record;
pub mod scan;
pub mod space;
