//! What requests tell the caller while they work, and how their samples end: counted, and said in time.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use datasets::types::End;
use tokio::sync::{mpsc, watch};

use super::error::{EndpointError, Lost};
use crate::events::Events;

/// Least time between two notes about repeated requests.
const QUIET: Duration = Duration::from_secs(30);
/// Fewest lost samples that end a run.
const LEAST_LOST: u64 = 4;
/// Fewest samples that are judged before all that are asked for are there.
const ENOUGH: u64 = 32;

/// What a job may say while it works.
pub(super) enum Note {
    /// Said once in the life of the endpoint.
    Once(Cow<'static, str>),
    /// A request is repeated; said now and then.
    Retry(String),
    /// A sample has no answer; the first of a kind is said, and all are counted once they are there.
    Lost(Lost),
}

impl Note {
    pub(super) fn once(text: &'static str) -> Self {
        Self::Once(Cow::Borrowed(text))
    }
}

/// A job's line to the caller.
#[derive(Clone)]
pub(super) struct Talk {
    pub notes: mpsc::UnboundedSender<Note>,
    /// Set once the user asked to stop, or a request failed for good.
    pub stop: watch::Sender<bool>,
}

impl Talk {
    pub(super) fn note(&self, note: Note) {
        // The listener outlives the jobs; if it is gone, nobody wants to know.
        let _ = self.notes.send(note);
    }
}

/// Passes notes on, and counts how samples end.
#[derive(Default)]
pub(super) struct Tally {
    /// What was said once and is not said again.
    said: HashSet<Cow<'static, str>>,
    /// When a repeated request was last spoken of, and how many were not since.
    retries: (Option<Instant>, u32),
    counts: [u64; End::ALL.len()],
    /// Why the last one was lost, and whether it may have an answer later.
    why: String,
    temporary: bool,
}

impl Tally {
    pub(super) fn hear(&mut self, note: Note, events: &dyn Events) {
        match note {
            Note::Once(text) => {
                if !self.said.contains(&text) {
                    events.note(&text);
                    self.said.insert(text);
                }
            }
            Note::Retry(text) => match self.retries {
                (Some(last), unsaid) if last.elapsed() < QUIET => self.retries = (Some(last), unsaid + 1),
                (_, unsaid) => {
                    let others = if unsaid > 0 {
                        format!(" (and {unsaid} more since the last note)")
                    } else {
                        String::new()
                    };
                    events.note(&format!("{text}{others}"));
                    self.retries = (Some(Instant::now()), 0);
                }
            },
            Note::Lost(lost) => {
                let name = lost.end.name();
                if self.said.insert(Cow::Borrowed(name)) {
                    events.note(&format!(
                        "endpoint: a sample has no answer ({name}: {}); others like it are only counted",
                        lost.why
                    ));
                }
                (self.why, self.temporary) = (lost.why, lost.temporary);
            }
        }
    }

    /// Counts a sample.
    pub(super) fn count(&mut self, end: End) {
        self.counts[end as usize] += 1;
    }

    /// An error if too many samples were lost; `all` if no others are under way.
    pub(super) fn check(&mut self, limit: f64, all: bool, events: &dyn Events) -> Result<(), EndpointError> {
        let total: u64 = self.counts.iter().sum();
        let of = |end: End| self.counts[end as usize];
        let lost = End::ALL.into_iter().filter(|end| end.is_lost()).map(of).sum::<u64>();
        let judged = all || total >= ENOUGH;
        if judged && lost >= LEAST_LOST && lost as f64 > limit * total as f64 {
            let named = End::ALL.into_iter().filter(|end| end.is_lost() && of(*end) > 0);
            let counts: Vec<String> = named.map(|end| format!("{} {}", of(end), end.name())).collect();
            return Err(EndpointError::TooManyLost {
                lost,
                total,
                counts: counts.join(", "),
                limit,
                why: self.why.clone(),
                temporary: self.temporary,
            });
        }
        let cut = of(End::Truncated) + of(End::Thinking);
        if judged && cut >= LEAST_LOST && cut * 2 > total && self.said.insert(Cow::Borrowed("cut")) {
            events.note(&format!(
                "endpoint: {cut} of {total} samples were cut off at their limit of tokens: raise \
                 search.max_tokens"
            ));
        }
        Ok(())
    }
}
