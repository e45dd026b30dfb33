//! How a stage speaks while it works. The pipeline turns these into bars, lines and `run.log`.

/// Receives what a stage has to say, and tells it when to stop.
pub trait Events: Sync {
    /// `done` more units (problems, rows or training steps) are finished; `solved` of them well;
    /// `tokens` more tokens were generated or trained on.
    fn advance(&self, done: u64, solved: u64, tokens: u64);

    /// How many units there will be in all, where that is not known at the start or changes.
    fn expect(&self, _total: u64) {}

    /// Something worth a line in the log and on stderr.
    fn note(&self, text: &str);

    /// A short state shown beside the bar, e.g. `loss 1.234`.
    fn state(&self, text: &str);

    /// True once the user asked to stop: finish the current batch, then return [`Cancelled`].
    fn cancelled(&self) -> bool;

    /// `Err(Cancelled)` once the user asked to stop.
    fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// The user asked to stop. Found at the root of an error chain, it means exit code 130 and a hint how to
/// resume.
#[derive(Debug, thiserror::Error)]
#[error("stopped on request")]
pub struct Cancelled;

/// Says nothing and never stops: for tests and small internal calls.
pub struct Silent;

impl Events for Silent {
    fn advance(&self, _: u64, _: u64, _: u64) {}
    fn note(&self, _: &str) {}
    fn state(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// Whether a character changes the direction of writing: in what users are told it could hide something.
pub fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
