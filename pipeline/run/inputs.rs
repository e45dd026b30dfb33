//! What stages have in common in their inputs: versions of tables and domains, and sections of the
//! configuration without the keys that change no row.

use std::collections::BTreeMap;

use anyhow::Result;
use datasets::table::Row;
use serde::{Serialize, Serializer};
use serde_json::Value;
use stages::model::Precision;

/// Name and version of the tables that a stage reads or writes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tables(BTreeMap<&'static str, u32>);

impl Tables {
    #[must_use]
    pub fn with<R: Row>(mut self) -> Self {
        self.0.insert(R::TABLE, R::VERSION);
        self
    }
}

/// The type that is computed in, unless it is left to the device.
pub fn explicit(dtype: &Precision) -> Option<&'static str> {
    match dtype {
        Precision::Auto => None,
        Precision::F32 => Some("f32"),
        Precision::Bf16 => Some("bf16"),
        Precision::F16 => Some("f16"),
        Precision::Int8 => Some("int8"),
    }
}

/// Serialises a type only where it is explicit.
///
/// # Errors
/// Those of the serialiser.
pub fn dtype<S: Serializer>(dtype: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
    explicit(dtype).serialize(serializer)
}

/// `[train]` without what changes neither rows nor weights: how often a checkpoint is made, what is refused;
/// and the path of the reference, whose files are hashed where it is read.
///
/// # Errors
/// Those of the serialiser.
pub fn train<S: Serializer>(section: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    less(section, &["checkpoint_every", "allow_leaks", "reference"], serializer)
}

/// `[endpoint]` without where and how it is asked: that changes no answer.
///
/// # Errors
/// Those of the serialiser.
pub fn endpoint<S: Serializer>(section: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    let how = ["concurrency", "timeout_s", "retries", "backoff_ms", "max_failed", "max_tokens_field"];
    let money = ["price_prompt", "price_completion", "max_cost", "max_tokens_total"];
    less(section, &[&["url", "urls", "api_key_env"], &how[..], &money[..]].concat(), serializer)
}

/// `[model]` for a decoder from scratch: without what bounds generation. The type is left to the device, if
/// the user does.
///
/// # Errors
/// Those of the serialiser.
pub fn model<S: Serializer>(section: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    less(section, &["path", "teacher", "batch_rows", "cache_mib", "dtype"], serializer)
}

/// `[verify]` of a judge, without the command, which is an input of its own.
///
/// # Errors
/// Those of the serialiser.
pub fn judge<S: Serializer>(section: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    less(section, &["command", "compare", "workers", "timeout_s", "memory_mb", "sandbox"], serializer)
}

/// `[evaluate]` where only the way of answering counts.
///
/// # Errors
/// Those of the serialiser.
pub fn answering<S: Serializer>(section: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    less(section, &["split", "problems", "teacher"], serializer)
}

/// A section without some keys, which change nothing that depends on it.
///
/// # Errors
/// Those of the serialiser.
pub fn less<S: Serializer>(
    section: &impl Serialize,
    keys: &[&str],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(section).map_err(serde::ser::Error::custom)?;
    if let Value::Object(fields) = &mut value {
        fields.retain(|key, _| !keys.contains(&key.as_str()));
    }
    value.serialize(serializer)
}
