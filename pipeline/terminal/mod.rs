//! What a person sees: stderr with progress and errors, plain text on stdout, and exit codes.

pub mod clock;
pub mod console;
pub mod exit;
pub mod look;
pub mod progress;
pub mod text;
