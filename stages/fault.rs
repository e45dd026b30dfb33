//! Deliberate faults, so that the tests which should catch them can be shown to (`just torture`,
//! `tests/rounds.rs`).
//!
//! `QSTILL_FAULT` holds names, separated by commas, some with a number: `no-fsync,shuffle-labels:2`. Nothing
//! else sets them. The program checks them with [`wanted`] before it does anything, and accepts them only for
//! a run that carries [`MARKER`].

use std::sync::OnceLock;

/// A file in the directory of a run that may be damaged on purpose.
pub const MARKER: &str = "faults-allowed";

/// Every fault there is, so that a misspelt one does not pass as caught.
pub const ALL: [&str; 17] = [
    // Not a fault: shards are worked on in an order drawn from this number, which must change nothing.
    "shard-order",
    "shuffle-labels",
    "record-in-place",
    "record-before-data",
    "no-fsync",
    "no-dir-fsync",
    "fsync-ignored",
    "hash-unchecked",
    "seal-unchecked",
    "sums-unchecked",
    "stale-counts",
    "lock-ignored",
    "leftovers-kept",
    "cursor-ahead",
    "answers-unstored",
    "rows-by-threads",
    "key-told",
];

/// The faults that the environment asks for, with what stands behind the colon of each.
///
/// # Errors
/// The first name that is none of [`ALL`].
pub fn wanted() -> Result<Vec<(String, String)>, String> {
    let text = std::env::var("QSTILL_FAULT").unwrap_or_default();
    let one = |part: &str| {
        let (name, number) = part.split_once(':').unwrap_or((part, ""));
        if ALL.contains(&name) { Ok((name.to_owned(), number.to_owned())) } else { Err(name.to_owned()) }
    };
    text.split(',').filter(|part| !part.is_empty()).map(one).collect()
}

/// Whether a fault is wanted.
pub fn is(name: &str) -> bool {
    of(name).is_some()
}

/// The number that a fault comes with.
pub fn number(name: &str) -> Option<u64> {
    of(name).and_then(|text| text.parse().ok())
}

/// What stands behind the colon of a fault that is wanted.
fn of(name: &str) -> Option<&'static str> {
    static WANTED: OnceLock<Vec<(String, String)>> = OnceLock::new();
    debug_assert!(ALL.contains(&name), "{name}");
    // An unknown name has ended the program before.
    let all = WANTED.get_or_init(|| wanted().unwrap_or_default());
    all.iter().find(|(known, _)| known == name).map(|(_, number)| number.as_str())
}
