//! A run in hand: its lock, configuration and device, what is committed of it, and what is left to do.

pub mod bill;
pub mod commanded;
pub mod fingerprint;
pub mod goal;
pub mod inputs;
pub mod plan;
pub mod rows;
pub mod session;
pub mod turn;
pub mod walk;
pub mod workspace;
