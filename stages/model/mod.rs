//! One decoder, written once in burn and used for everything: a student from scratch, or the Hugging Face
//! directory of any family that is read.
//!
//! - [`config`], [`parts`], [`rope`]: the shape of a decoder; [`families`]: what each `config.json` means
//! - [`decoder`]: weights and forward pass
//! - [`value_head`]: estimates whether a text leads to a correct answer
//! - [`future_heads`]: layers that predict the tokens after the next
//! - [`hf`]: model directories in, model directories out; [`tensors`]: their tensors
//! - [`gguf`]: models in one file, as llama.cpp has them
//! - [`tokenizer`]: loading, training, chat template
//! - [`generate`]: batched sampling with a key/value cache
//! - [`soft`]: a teacher's likeliest tokens, and a student's distance from them
//! - [`cache`]: keys and values on a device
//! - [`fault`]: what a device does when it fails
//! - [`cpu`]: the same decoder on the CPU, without a tensor library
//! - [`device`]: which device, and why

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

pub mod cache;
pub mod config;
pub mod cpu;
pub mod decoder;
pub mod device;
pub mod families;
pub mod fault;
pub mod future_heads;
pub mod generate;
pub mod gguf;
pub mod hf;
pub mod parts;
pub mod rope;
pub mod soft;
pub mod tensors;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokenizer;
pub mod value_head;
pub mod weight;

pub use config::DecoderConfig;
pub use decoder::Decoder;
pub use device::{Choice, DeviceSetting, Precision};
pub use future_heads::FutureHeads;
pub use tokenizer::Tokenizer;
pub use value_head::ValueHead;

/// What can be wrong with a model directory or a device.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: no such file; a model directory holds config.json, tokenizer.json and model.safetensors (or \
        its shards with model.safetensors.index.json)", path.display())]
    Missing { path: PathBuf },
    #[error("{}: a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned, or download \
        the file", path.display())]
    Pointer { path: PathBuf },
    #[error("{}: {what}", path.display())]
    Config { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    Weights { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    Tokenizer { path: PathBuf, what: String },
    #[error("{0}")]
    Device(String),
    /// The same may work later: a driver that was reset, a GPU that is gone.
    #[error(
        "the GPU stopped working: {0}; committed work is safe, so try again, or continue with --device cpu"
    )]
    Lost(String),
}

impl ModelError {
    /// Refuses what Git leaves in the place of a large file.
    pub(crate) fn no_pointer(path: &Path, bytes: &[u8]) -> Result<(), Self> {
        if bytes.starts_with(b"version https://git-lfs") {
            return Err(Self::Pointer { path: path.to_owned() });
        }
        Ok(())
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Io { path, source }
        }
    }
}

/// A decoder with its tokenizer: what a model directory holds.
#[derive(Clone)]
pub struct Model {
    pub decoder: Decoder,
    pub tokenizer: Tokenizer,
    /// Estimates of values, where the directory has a head for them.
    pub value: Option<ValueHead>,
    /// They draft answers, where the directory has some.
    pub future: Option<FutureHeads>,
    /// SHA-256 over config, weights, tokenizer, and the value head if there is one: which policy this is.
    pub fingerprint: Fingerprint,
}

/// A hash that takes a while: it is computed beside other work, from the moment that it is known of what.
#[derive(Clone)]
pub struct Fingerprint(Arc<LazyLock<String, Work>>);

type Work = Box<dyn FnOnce() -> String + Send>;

impl Fingerprint {
    pub fn new(work: impl FnOnce() -> String + Send + 'static) -> Self {
        let hash: Arc<LazyLock<String, Work>> = Arc::new(LazyLock::new(Box::new(work)));
        let early = Arc::clone(&hash);
        // Without a thread for it, whoever asks computes it.
        let _ = std::thread::Builder::new().spawn(move || {
            LazyLock::force(&early);
        });
        Self(hash)
    }
}

/// One that is known.
impl From<String> for Fingerprint {
    fn from(hash: String) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(|| hash))))
    }
}

impl Deref for Fingerprint {
    type Target = str;

    /// Waits until it is known.
    fn deref(&self) -> &str {
        &self.0
    }
}
