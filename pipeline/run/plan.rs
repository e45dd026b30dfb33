//! What is left to do: pure functions over fingerprints and shard numbers.
//!
//! A stage's [`Fingerprint`] names all that its rows depend on. It is stored as readable fields beside the
//! stage, so that `status` can say *why* something is to be done again, and its hash is in every commit
//! record, so that a shard made under other settings is never taken for this one's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use datasets::key::{self, Part, hex};
use serde::{Serialize, Serializer};

use crate::disk::durable::{create_dirs, read_small, write_atomic};
use crate::disk::layout::Stage;

const FILE: &str = "fingerprint.json";

/// All that decides the rows of a stage: named values in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    fields: BTreeMap<String, String>,
}

/// One field of a fingerprint that is not what it was. `None`: it was not there, or is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{} {} -> {}", self.field, brief(from), brief(to)),
            (None, Some(to)) => write!(f, "{} is new: {}", self.field, brief(to)),
            (Some(from), None) => write!(f, "{} is gone: {}", self.field, brief(from)),
            (None, None) => write!(f, "{}", self.field),
        }
    }
}

/// A value short enough for a line: hashes and long texts are cut.
fn brief(value: &str) -> String {
    let cut: String = value.chars().take(40).collect();
    let hash = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    if hash {
        value.chars().take(12).collect()
    } else if cut.len() < value.len() {
        format!("{cut}…")
    } else {
        cut
    }
}

impl Fingerprint {
    /// Starts with the stage's name and the version of its code, which goes up when the same input gives
    /// other rows.
    pub fn new(stage: &str, code: u32) -> Self {
        Self::default().with("stage", stage).with("code", code)
    }

    /// Adds one value, e.g. `input.problems` with a hash, or `schema.nodes` with a version.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Display) -> Self {
        self.fields.insert(field.to_owned(), value.to_string());
        self
    }

    /// Adds every key of a table as `PREFIX.KEY`, tables within it included; order in the file does not
    /// matter.
    #[must_use]
    pub fn with_table(mut self, prefix: &str, table: &toml::Table) -> Self {
        for (key, value) in table {
            let field = format!("{prefix}.{key}");
            self = match value {
                toml::Value::Table(inner) => self.with_table(&field, inner),
                // Bare, so that a line about a change reads as the user wrote it.
                toml::Value::String(text) => self.with(&field, text),
                other => self.with(&field, other),
            };
        }
        self
    }

    /// SHA-256 over all fields, in hex.
    pub fn hash(&self) -> String {
        let parts: Vec<Part<'_>> =
            self.fields.iter().flat_map(|(k, v)| [Part::from(k), Part::from(v)]).collect();
        hex(&key::digest(&parts))
    }

    /// The fields that differ, in order of their names.
    pub fn changes_from(&self, old: &Self) -> Vec<Change> {
        let fields: BTreeSet<&String> = old.fields.keys().chain(self.fields.keys()).collect();
        let change = |field: &String| {
            let (from, to) = (old.fields.get(field).cloned(), self.fields.get(field).cloned());
            (from != to).then(|| Change { field: field.clone(), from, to })
        };
        fields.into_iter().filter_map(change).collect()
    }

    /// Stores the fields in a stage's directory. An earlier fingerprint goes to `stale/` with the shards made
    /// under it.
    ///
    /// # Errors
    /// Failed writes.
    pub fn save(&self, stage: &Path) -> Result<()> {
        let old = Self::load(stage)?;
        if old.as_ref() == Some(self) {
            return Ok(());
        }
        let write = |dir: &Path, fingerprint: &Self| -> Result<()> {
            create_dirs(dir)?;
            let mut bytes = serde_json::to_vec_pretty(&fingerprint.fields)?;
            bytes.push(b'\n');
            Ok(write_atomic(&dir.join(FILE), &bytes)?)
        };
        if let Some(old) = old {
            let hash = old.hash();
            write(&stage.join("stale").join(&hash[..16]), &old)?;
        }
        write(stage, self).with_context(|| format!("failed to write {}", stage.join(FILE).display()))
    }

    /// The fingerprint that a stage's directory was last used with. One that cannot be understood counts as
    /// none: it only serves to explain, while the commits carry their own hash.
    ///
    /// # Errors
    /// A failed read.
    pub fn load(stage: &Path) -> Result<Option<Self>> {
        let path = stage.join(FILE);
        match read_small(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|fields| Self { fields })),
            Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Ok(None)
            }
            Err(err) => Err(err).with_context(|| format!("failed to read {}", path.display())),
        }
    }
}

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
    pub fn is_done(&self) -> bool {
        self.state == Standing::Done
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn settings(text: &str) -> Fingerprint {
        Fingerprint::new("search", 1).with_table("search", &text.parse().unwrap_or_default()).with("seed", 7)
    }

    #[test]
    fn the_hash_depends_on_values_and_not_on_order() {
        let base = settings("samples = 8\n[limits]\ndepth = 4");
        assert_eq!(base.hash(), settings("limits = { depth = 4 }\nsamples = 8").hash());
        assert_eq!(base.hash().len(), 64);
        for other in
            ["samples = 9\n[limits]\ndepth = 4", "samples = 8", "samples = 8\n[limits]\ndepth = 4\nx = 1"]
        {
            assert_ne!(base.hash(), settings(other).hash());
        }
        // Neither a shifted boundary nor a moved value may collide.
        let pair = |k: &str, v: &str| Fingerprint::default().with(k, v).hash();
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
        assert_ne!(base.hash(), Fingerprint { fields: BTreeMap::new() }.hash());
    }

    #[test]
    fn a_change_says_what_it_was() {
        let (old, new) = (settings("samples = 8\npath = 'a'"), settings("samples = 16\nwidth = 2"));
        let changes: Vec<String> = new.changes_from(&old).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["search.path is gone: a", "search.samples 8 -> 16", "search.width is new: 2"]);
        assert!(new.changes_from(&new).is_empty());
        assert_eq!(brief(&"a".repeat(64)).len(), 12);
        assert_eq!(brief(&"é".repeat(60)).chars().count(), 41);
    }

    #[test]
    fn a_fingerprint_is_stored_and_its_forerunner_kept() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (old, new) = (settings("samples = 8"), settings("samples = 16"));
        assert_eq!(Fingerprint::load(dir.path())?, None);
        old.save(dir.path())?;
        new.save(dir.path())?;
        new.save(dir.path())?;
        assert_eq!(Fingerprint::load(dir.path())?, Some(new));
        assert_eq!(Fingerprint::load(&dir.path().join("stale").join(&old.hash()[..16]))?, Some(old));
        fs::write(dir.path().join(FILE), "{ half")?;
        assert_eq!(Fingerprint::load(dir.path())?, None);
        Ok(())
    }

    /// Every set of shards out of six, for every total up to five, for every kind of history.
    #[test]
    fn states_hold_for_all_small_cases() {
        let (now, old) = (settings("samples = 16"), settings("samples = 8"));
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
