//! What is left to do: pure functions over fingerprints and shard numbers, and how a stage stands.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Serialize, Serializer};

use crate::disk::layout::Stage;
use crate::run::fingerprint::{Change, Fingerprint};

/// Where a stage stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is there.
    Absent,
    /// These shards are missing; all others count.
    Partial {
        missing: Vec<u32>,
    },
    /// What is there was made under other settings or from other input, and does not count.
    Stale {
        changes: Vec<Change>,
    },
    Done,
}

impl State {
    pub fn is_done(&self) -> bool {
        *self == State::Done
    }
}

/// Shards of `0..total` that are not committed, in order.
pub fn outstanding(total: u32, committed: &BTreeSet<u32>) -> Vec<u32> {
    (0..total).filter(|shard| !committed.contains(shard)).collect()
}

/// Decides where a stage stands: `now` is what it should be made with, `stored` what it was last made with,
/// `good` the shards committed under `now`, and `foreign` says whether there are commits under another
/// fingerprint.
pub fn state(
    now: &Fingerprint,
    stored: Option<&Fingerprint>,
    total: u32,
    good: &BTreeSet<u32>,
    foreign: bool,
) -> State {
    let missing = outstanding(total, good);
    let started = missing.len() < total as usize;
    match stored {
        // A stage without shards is done once it was begun with these settings.
        _ if missing.is_empty() && (started || stored == Some(now)) => State::Done,
        _ if started => State::Partial { missing },
        Some(old) if old != now => State::Stale { changes: now.changes_from(old) },
        None if foreign => State::Stale { changes: Vec::new() },
        _ => State::Absent,
    }
}

/// How far a stage is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Done,
    /// Some shards are missing.
    Partial,
    /// Everything there was made with other settings or from other input.
    Stale,
    /// Nothing is there.
    Outstanding,
    /// An earlier stage is not done.
    Waiting,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Stale => "stale",
            Self::Outstanding => "outstanding",
            Self::Waiting => "waiting",
        }
    }
}

/// Where one stage of a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageLine {
    pub round: u32,
    #[serde(serialize_with = "stage_name")]
    pub stage: Stage,
    pub state: Standing,
    /// Shards that are committed.
    pub done: u32,
    /// Shards there will be; `None` while an earlier stage decides that.
    pub total: Option<u32>,
    /// Rows that are committed.
    pub rows: u64,
    /// Further remarks, one line each.
    pub detail: Vec<String>,
    /// Fields of the fingerprint that make it outstanding, with their whole values.
    pub changes: Vec<Change>,
    /// Shards that are to be made, while the rest counts.
    pub missing: Vec<u32>,
}

// Serde hands every field by reference.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn stage_name<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.name())
}

impl StageLine {
    /// A stage that an earlier one keeps from being looked at.
    pub fn waiting(round: u32, stage: Stage) -> Self {
        let (changes, missing, detail) = (Vec::new(), Vec::new(), Vec::new());
        let (state, done, total, rows) = (Standing::Waiting, 0, None, 0);
        Self { round, stage, state, done, total, rows, detail, changes, missing }
    }

    pub fn is_done(&self) -> bool {
        self.state == Standing::Done
    }

    /// The stage's name for people.
    pub fn name(&self) -> String {
        self.stage.in_round(self.round)
    }

    /// How many of its shards are missing; 0 if their number is not known.
    pub fn left(&self) -> u32 {
        self.total.unwrap_or(self.done) - self.done
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(samples: u32) -> Fingerprint {
        Fingerprint::of(Stage::Search, &json!({"samples": samples})).unwrap_or_default()
    }

    /// Every set of shards out of six, for every total up to five, for every kind of history.
    #[test]
    fn states_hold_for_all_small_cases() {
        let (now, old) = (made(16), made(8));
        for total in 0..=5u32 {
            for bits in 0..1u32 << 6 {
                let good: BTreeSet<u32> = (0..6).filter(|n| bits >> n & 1 == 1).collect();
                let missing = outstanding(total, &good);
                assert!(missing.iter().all(|n| *n < total && !good.contains(n)));
                assert!((0..total).all(|n| good.contains(&n) != missing.contains(&n)));
                assert!(missing.is_sorted());
                for stored in [None, Some(&old), Some(&now)] {
                    for foreign in [false, true] {
                        let got = state(&now, stored, total, &good, foreign);
                        let some = missing.len() < total as usize;
                        // Done means that nothing is missing, and partial names exactly what is.
                        if got.is_done() {
                            assert!(missing.is_empty());
                        }
                        assert_eq!(
                            got == State::Partial { missing: missing.clone() },
                            some && !missing.is_empty()
                        );
                        if some && missing.is_empty() {
                            assert_eq!(got, State::Done);
                        }
                        if !some && stored == Some(&old) {
                            assert_eq!(got, State::Stale { changes: now.changes_from(&old) });
                        }
                        if !some && stored.is_none() {
                            assert_eq!(got == State::Absent, !foreign);
                        }
                        if !some && stored == Some(&now) {
                            assert_eq!(got, if total == 0 { State::Done } else { State::Absent });
                        }
                    }
                }
            }
        }
    }
}
