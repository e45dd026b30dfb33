//! All that the rows of a stage depend on.
//!
//! A [`Fingerprint`] is made from a stage's inputs: the very struct that its work receives, so that what is
//! used is what is compared. It is stored as readable fields beside the stage, so that `status` can say *why*
//! something is to be done again, and its hash is in every commit record, so that a shard made under other
//! settings is never taken for this one's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use datasets::key::{self, Part, hex};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::disk::durable::{create_dirs, read_small, write_atomic};
use crate::disk::layout::Stage;

const FILE: &str = "fingerprint.json";
/// Format of the fields: those of another are read, but not compared.
const FORMAT: &str = "2";

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
    /// All that a stage's inputs say, and the stage's name.
    ///
    /// # Errors
    /// Inputs that do not serialise to an object.
    pub fn of(stage: Stage, inputs: &impl Serialize) -> Result<Self> {
        let mut made = Self::default();
        made.put("format", FORMAT);
        made.put("stage", stage.name());
        let Value::Object(fields) = serde_json::to_value(inputs)? else { bail!("inputs that are no object") };
        made.lay("", &fields);
        Ok(made)
    }

    fn put(&mut self, field: &str, value: impl Display) {
        self.fields.insert(field.to_owned(), value.to_string());
    }

    /// Every field as `SECTION.KEY`, objects within it included. What is null is not there.
    fn lay(&mut self, prefix: &str, fields: &Map<String, Value>) {
        for (key, value) in fields {
            let field = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Null => {}
                Value::Object(inner) => self.lay(&field, inner),
                // Bare, so that a line about a change reads as the user wrote it.
                Value::String(text) => self.put(&field, text),
                other => self.put(&field, other),
            }
        }
    }

    /// Whether fingerprints of this format can be compared with those made now.
    pub fn is_current(&self) -> bool {
        self.fields.get("format").map(String::as_str) == Some(FORMAT)
    }

    /// A field by its name: `search.samples`.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn made(inputs: Value) -> Result<Fingerprint> {
        Fingerprint::of(Stage::Search, &inputs)
    }

    #[test]
    fn the_hash_depends_on_values_and_not_on_order() -> Result<()> {
        let base = made(json!({"samples": 8, "limits": {"depth": 4}}))?;
        assert_eq!(base.hash(), made(json!({"limits": {"depth": 4}, "samples": 8, "none": null}))?.hash());
        assert_eq!(base.hash().len(), 64);
        for other in [
            json!({"samples": 9, "limits": {"depth": 4}}),
            json!({"samples": 8}),
            json!({"samples": 8, "limits": {"depth": 4, "x": 1}}),
        ] {
            assert_ne!(base.hash(), made(other)?.hash());
        }
        // Neither a shifted boundary nor a moved value may collide.
        assert_ne!(made(json!({"ab": "c"}))?.hash(), made(json!({"a": "bc"}))?.hash());
        assert_ne!(base.hash(), Fingerprint::default().hash());
        assert_ne!(
            base.hash(),
            Fingerprint::of(Stage::Verify, &json!({"samples": 8, "limits": {"depth": 4}}))?.hash()
        );
        assert!(base.is_current() && !Fingerprint::default().is_current());
        assert!(made(json!([1])).is_err());
        Ok(())
    }

    #[test]
    fn a_change_says_what_it_was() -> Result<()> {
        let old = made(json!({"search": {"samples": 8, "path": "a"}}))?;
        let new = made(json!({"search": {"samples": 16, "width": 2}}))?;
        let changes: Vec<String> = new.changes_from(&old).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["search.path is gone: a", "search.samples 8 -> 16", "search.width is new: 2"]);
        assert!(new.changes_from(&new).is_empty());
        assert_eq!(brief(&"a".repeat(64)).len(), 12);
        assert_eq!(brief(&"é".repeat(60)).chars().count(), 41);
        Ok(())
    }

    #[test]
    fn a_fingerprint_is_stored_and_its_forerunner_kept() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (old, new) = (made(json!({"samples": 8}))?, made(json!({"samples": 16}))?);
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
}
