//! GGUF files, the one-file models of llama.cpp: read as if they were the Hugging Face directory of the same
//! model, and written.
//!
//! - [`reader`]: the header of a file; [`blocks`]: quantised numbers
//! - [`names`]: what tensors are called, and how they differ
//! - [`shape`]: metadata as `config.json`; [`vocabulary`], [`splits`]: metadata as `tokenizer.json`
//! - [`export`], [`pieces`], [`writer`]: a model as a file
//!
//! The format is that of ggml's `docs/gguf.md`; names, keys and layouts are those of llama.cpp's converter.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::tensors::{self, Kind, Stored};
use super::{DecoderConfig, ModelError, families};

pub mod blocks;
pub mod export;
pub mod names;
pub mod pieces;
pub mod reader;
pub mod shape;
pub mod splits;
#[cfg(test)]
mod tests;
pub mod vocabulary;
pub mod writer;

use names::ROPE_FACTORS;
use reader::Contents;

/// Whether a model is a GGUF file, and no directory.
pub fn is(path: &Path) -> bool {
    path.is_file() || path.extension().is_some_and(|extension| extension == "gguf") && !path.is_dir()
}

/// The `config.json` of a file, with the ends of texts.
///
/// # Errors
/// Names the file and the key when something is missing, malformed or not read.
pub fn config(path: &Path) -> Result<Value, ModelError> {
    let map = tensors::map(path)?;
    let bad = |what| ModelError::Config { path: path.to_owned(), what };
    let contents = reader::read(&map).map_err(bad)?;
    let mut config = shape::config(&contents).map_err(bad)?;
    if contents.metadata.contains_key("tokenizer.ggml.tokens") {
        let ends = vocabulary::ends(&contents).map_err(bad)?;
        if !ends.is_empty() {
            config["eos_token_id"] = json!(ends);
        }
    }
    Ok(config)
}

/// `tokenizer.json` and `tokenizer_config.json` of a file.
///
/// # Errors
/// Names the file and the key when something is missing, malformed or not read.
pub fn tokenizer(path: &Path) -> Result<(String, Value), ModelError> {
    let map = tensors::map(path)?;
    let bad = |what| ModelError::Tokenizer { path: path.to_owned(), what };
    let contents = reader::read(&map).map_err(bad)?;
    let (json, settings) = vocabulary::tokenizer(&contents).map_err(bad)?;
    Ok((json.to_string(), settings))
}

/// All tensors of a file by their names in a Hugging Face directory.
///
/// # Errors
/// If the file is damaged, holds a type that is not read, lacks a tensor that its metadata implies, or has
/// one that a model of its family does not have.
pub fn views<'a>(path: &Path, bytes: &'a [u8]) -> Result<BTreeMap<String, Stored<'a>>, ModelError> {
    let bad = |what| ModelError::Weights { path: path.to_owned(), what };
    let contents = reader::read(bytes).map_err(bad)?;
    let config = shape::config(&contents).and_then(|config| families::read(&config)).map_err(bad)?;
    named(contents, &config).map_err(bad)
}

fn named<'a>(contents: Contents<'a>, config: &DecoderConfig) -> Result<BTreeMap<String, Stored<'a>>, String> {
    let family = config.family;
    let heads = [config.num_attention_heads, config.num_key_value_heads];
    let mut all = BTreeMap::new();
    for (name, tensor) in contents.tensors {
        if name == ROPE_FACTORS {
            continue;
        }
        let Some(other) = names::of_directory(name, family) else {
            return Err(format!(
                "has a tensor `{name}`, which a {} model does not have; qstill would compute something else \
                 without it",
                names::architecture(family)
            ));
        };
        if let (Kind::Blocks(_), [_]) = (tensor.kind, &tensor.shape[..]) {
            return Err(format!(
                "tensor `{name}` is a vector of a quantised type; qstill reads F32, F16 and BF16"
            ));
        }
        let mut tensor = tensor;
        if let Some(heads) = names::paired_heads(&other, family, heads) {
            tensor = tensor.paired(heads);
        }
        if config.switches.norm_less_1 && other.ends_with("norm.weight") {
            tensor.add = -1.0;
        }
        all.insert(other, tensor);
    }
    for (name, expected) in families::all_tensors(config) {
        let own = names::of_file(&name, family).unwrap_or_else(|| name.clone());
        let Some(found) = all.get(&name) else { return Err(format!("lacks tensor `{own}`")) };
        if found.shape != expected {
            return Err(format!(
                "tensor `{own}` has shape {:?}, the metadata implies {expected:?}",
                found.shape
            ));
        }
    }
    Ok(all)
}
