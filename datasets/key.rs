//! Content hashes and counter-based random numbers: every id and every random draw in a run is a
//! function of its key (run seed, round, problem id, sample, step), never of time, order or threads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// One part of a key. Parts are hashed with their kind and length, so `("a", "bc")` and `("ab", "c")` differ.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Text(&'a str),
    Int(u64),
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(text: &'a str) -> Self {
        Part::Text(text)
    }
}

impl<'a> From<&'a String> for Part<'a> {
    fn from(text: &'a String) -> Self {
        Part::Text(text)
    }
}

impl From<u64> for Part<'_> {
    fn from(int: u64) -> Self {
        Part::Int(int)
    }
}

/// SHA-256 over the parts of a key.
pub fn digest(parts: &[Part<'_>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        match part {
            Part::Text(text) => {
                hash.update([b't']);
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            Part::Int(int) => {
                hash.update([b'i']);
                hash.update(int.to_le_bytes());
            }
        }
    }
    hash.finalize().into()
}

/// Sixteen hex digits that name content, for `problem_id` and `solution_id`.
pub fn id(parts: &[Part<'_>]) -> String {
    hex(&digest(parts)[..8])
}

/// Lower-case hex of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A random stream.
pub type Rng = ChaCha8Rng;

/// The random stream of a key.
pub fn rng(parts: &[Part<'_>]) -> Rng {
    ChaCha8Rng::from_seed(digest(parts))
}

/// A whole number below n from a stream; n must not be 0.
pub fn below(rng: &mut Rng, n: usize) -> usize {
    rng.random_range(0..n)
}

/// The seed that a key stands for.
pub fn seed(parts: &[Part<'_>]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = digest(parts);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A number in [0, 1) from a key, for splits and other draws that need one number only.
pub fn unit(parts: &[Part<'_>]) -> f64 {
    (seed(parts) >> 11) as f64 / (1u64 << 53) as f64
}
