//! How a stage speaks while it works. The pipeline turns these into bars, lines and `run.log`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Receives what a stage has to say, and tells it when to stop.
pub trait Events: Sync {
    /// `done` more units (problems, rows or training steps) are finished; `solved` of them well;
    /// `tokens` more tokens were generated or trained on.
    fn advance(&self, done: u64, solved: u64, tokens: u64);

    /// Of the units under way, `done` are as good as finished: shown now, and counted by a later
    /// [`Events::advance`].
    fn partly(&self, _done: u64) {}

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

/// What a batch says, to those who listen to the whole.
pub struct Part<'a> {
    events: &'a dyn Events,
    /// Units that were finished before it, if those of the batch are units of the whole.
    before: Option<u64>,
    tokens: AtomicU64,
}

impl<'a> Part<'a> {
    pub fn new(events: &'a dyn Events, before: Option<u64>) -> Self {
        Self { events, before, tokens: AtomicU64::new(0) }
    }

    /// The tokens that it has told of.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }
}

impl Events for Part<'_> {
    fn advance(&self, done: u64, solved: u64, tokens: u64) {
        self.tokens.fetch_add(tokens, Relaxed);
        self.events.advance(done, solved, tokens);
    }

    fn partly(&self, done: u64) {
        if let Some(before) = self.before {
            self.events.partly(before + done);
        }
    }

    fn expect(&self, total: u64) {
        self.events.expect(total);
    }

    fn note(&self, text: &str) {
        self.events.note(text);
    }

    fn state(&self, text: &str) {
        self.events.state(text);
    }

    fn cancelled(&self) -> bool {
        self.events.cancelled()
    }
}

/// Whether a character changes the direction of writing: in what users are told it could hide something.
pub fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text for a terminal: one line without escape sequences, control characters, and marks that change the
/// direction of writing.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // A sequence with parameters, up to its letter.
                Some('[') => drop(chars.by_ref().find(|c| ('@'..='~').contains(c))),
                // A text for the terminal, up to a bell or an escape.
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    let end = chars.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}'));
                    let pair = end == Some('\u{1b}');
                    let _ = chars.next_if(|c| pair && *c == '\\');
                }
                _ => {}
            },
            c if c.is_whitespace() => plain.push(' '),
            c if c.is_control() || turns(c) => {}
            c => plain.push(c),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(
            plain("bad \u{1b}[31mred\u{1b}]0;title\u{7} \u{202e}model\r\n\u{9b}2J"),
            "bad red model 2J"
        );
        assert_eq!(plain("a\u{1b}]8;;http://x\u{1b}\\b\u{1b}"), "ab");
        assert_eq!(plain(" é\tü\u{0}\n"), "é ü");
    }
}
