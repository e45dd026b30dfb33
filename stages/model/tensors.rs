//! Tensors on the host, and safetensors files of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Tensor, bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, View};

use super::ModelError;
use super::gguf::blocks::Blocks;

/// A tensor read from a file: shape and f32 values.
pub type Raw = (Vec<usize>, Vec<f32>);

/// How the numbers of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F16,
    Bf16,
    /// Blocks of a GGUF file.
    Blocks(Blocks),
}

impl Kind {
    /// Bytes of so many numbers; of whole blocks.
    pub fn bytes(self, numbers: usize) -> usize {
        match self {
            Self::F32 => numbers * 4,
            Self::F16 | Self::Bf16 => numbers * 2,
            Self::Blocks(blocks) => numbers / blocks.numbers() * blocks.bytes(),
        }
    }

    /// Whether all numbers of some bytes are finite, as far as their bits say so at a glance.
    fn all_finite(self, bytes: &[u8]) -> bool {
        // Without its sign, a number grows with its bits. As signed integers, which every machine compares.
        let halves = |infinity: i16| {
            let numbers = bytes.as_chunks::<2>().0.iter().map(|b| i16::from_le_bytes(*b) & i16::MAX);
            numbers.fold(0, i16::max) < infinity
        };
        match self {
            Self::F32 => {
                let numbers = bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b) & i32::MAX);
                numbers.fold(0, i32::max) < 0x7f80_0000
            }
            Self::F16 => halves(0x7c00),
            Self::Bf16 => halves(0x7f80),
            Self::Blocks(_) => false,
        }
    }

    /// Appends the numbers of some bytes.
    pub fn read(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F32 => {
                out.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
            Self::F16 => {
                out.extend(bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Self::Bf16 => {
                out.extend(bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()));
            }
            Self::Blocks(blocks) => blocks.read(bytes, out),
        }
    }
}

/// A tensor as it stands in a file, with what makes it the tensor of a Hugging Face directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<'a> {
    pub kind: Kind,
    pub shape: Vec<usize>,
    data: &'a [u8],
    /// Heads whose rows stand in pairs of what turns together, as llama.cpp has them: 0, n/2, 1, n/2 + 1 ...
    paired: Option<usize>,
    /// What is to be added to each number.
    pub add: f32,
}

impl<'a> Stored<'a> {
    /// All bytes.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The same with other bytes.
    pub fn with_data<'b>(&self, data: &'b [u8]) -> Stored<'b> {
        Stored { kind: self.kind, shape: self.shape.clone(), data, paired: self.paired, add: self.add }
    }

    /// A tensor whose bytes are those of a Hugging Face directory, as many as its shape needs.
    pub fn plain(kind: Kind, shape: Vec<usize>, data: &'a [u8]) -> Self {
        Self { kind, shape, data, paired: None, add: 0.0 }
    }

    /// The same as so many heads whose rows stand in pairs. Does nothing if they do not divide the rows.
    #[must_use]
    pub fn paired(self, heads: usize) -> Self {
        let rows = self.shape.first().copied().unwrap_or(0);
        Self { paired: Some(heads).filter(|heads| *heads > 0 && rows % (2 * heads) == 0), ..self }
    }

    /// The bytes of each row in order. A vector is one row, or one for each number if it is of paired heads.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let (data, paired) = (self.data, self.paired);
        let width = match self.shape[..] {
            [_, width] => width,
            [_] if paired.is_some() => 1,
            _ => self.shape.iter().product(),
        };
        let bytes = self.kind.bytes(width).max(1);
        let rows = data.len() / bytes;
        let head = paired.map_or(0, |heads| rows / heads);
        (0..rows).map(move |row| {
            let row = match paired {
                Some(_) => row - row % head + row % head % (head / 2) * 2 + row % head / (head / 2),
                None => row,
            };
            &data[row * bytes..(row + 1) * bytes]
        })
    }

    /// All numbers, row by row.
    pub fn floats(&self) -> Vec<f32> {
        self.floats_plus(0.0)
    }

    /// All numbers, row by row, with something added to each, once: what is stored one more than it should be
    /// loses nothing when one is added.
    pub fn floats_plus(&self, more: f32) -> Vec<f32> {
        /// Rows that are read in one go.
        const TOGETHER: usize = 16;
        let rows: Vec<&[u8]> = self.rows().collect();
        let mut out = vec![0f32; self.shape.iter().product()];
        let Some(width) = out.len().checked_div(rows.len()).filter(|width| *width > 0) else { return out };
        let add = self.add + more;
        out.par_chunks_mut(width * TOGETHER).zip(rows.par_chunks(TOGETHER)).for_each(|(out, rows)| {
            let mut numbers = Vec::with_capacity(out.len());
            for row in rows {
                self.kind.read(row, &mut numbers);
            }
            if add != 0.0 {
                for number in &mut numbers {
                    *number += add;
                }
            }
            out.copy_from_slice(&numbers);
        });
        out
    }

    /// The first number that is none or infinite, and its place.
    pub fn infinite(&self) -> Option<(usize, f32)> {
        let row = |(at, row): (usize, &'a [u8])| {
            if self.kind.all_finite(row) {
                return None;
            }
            let mut numbers = Vec::new();
            self.kind.read(row, &mut numbers);
            let place = numbers.iter().position(|number| !number.is_finite())?;
            Some((at * numbers.len() + place, numbers[place]))
        };
        let rows: Vec<(usize, &[u8])> = self.rows().enumerate().collect();
        rows.into_par_iter().find_map_first(row)
    }
}

/// Tensors that some programs write beside the weights, in any type; they follow from `config.json`.
const DERIVED: [&str; 5] =
    ["rotary_emb.inv_freq", "attn.bias", "attn.masked_bias", "causal_mask", "position_ids"];

/// A file in memory without a copy of it.
///
/// # Errors
/// If it cannot be opened or mapped, or is a Git LFS pointer.
#[expect(unsafe_code)]
pub fn map(path: &Path) -> Result<Arc<Mmap>, ModelError> {
    let file = File::open(path).map_err(|e| ModelError::io(path, e))?;
    // SAFETY: nothing here changes the files of a model, which are published whole. A program that shortens
    // one while it is read ends this one by SIGBUS.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| ModelError::io(path, e))?;
    ModelError::no_pointer(path, &map)?;
    Ok(Arc::new(map))
}

/// Takes a part of a mapped file out of this process's memory; it comes back from the system's cache when it
/// is read again.
#[expect(unsafe_code)]
pub fn forget(map: &Mmap, place: Range<usize>) {
    // Only to save memory, where the system can do it.
    #[cfg(unix)]
    // SAFETY: a mapping that nobody writes to reads the same bytes of its file again.
    let _ =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, place.start, place.len()) };
}

/// All tensors of a safetensors file, by name, but those that follow from others; `path` is named in errors.
///
/// # Errors
/// If the file is damaged or holds a type that is not read.
pub fn views<'a>(path: &Path, bytes: &'a [u8]) -> Result<BTreeMap<String, Stored<'a>>, ModelError> {
    let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| bad(format!("not a whole safetensors file ({e}); download or copy it again")))?;
    let mut all = BTreeMap::new();
    for (name, view) in file.tensors() {
        if DERIVED.iter().any(|derived| name.ends_with(derived)) {
            continue;
        }
        let kind = match view.dtype() {
            Dtype::F32 => Kind::F32,
            Dtype::BF16 => Kind::Bf16,
            Dtype::F16 => Kind::F16,
            kind => return Err(bad(format!("tensor `{name}` is {kind:?}; qstill reads F32, BF16 and F16"))),
        };
        all.insert(name, Stored::plain(kind, view.shape().to_vec(), view.data()));
    }
    Ok(all)
}

/// As [`views`], read.
///
/// # Errors
/// As [`views`].
pub fn read(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Raw>, ModelError> {
    let all = views(path, bytes)?;
    Ok(all.into_iter().map(|(name, view)| (name, (view.shape.clone(), view.floats()))).collect())
}

/// An f32 tensor to be written.
struct Written<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// A safetensors file of f32 tensors.
pub fn write(tensors: &[(&str, &[usize], &[f32])]) -> Result<Vec<u8>, ModelError> {
    let views = tensors.iter().map(|&(name, shape, values)| (name, Written { shape, values }));
    let info = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(info)).map_err(|e| ModelError::Weights {
        path: "model.safetensors".into(),
        what: format!("failed to encode: {e}"),
    })
}

/// All values of a tensor on the host.
pub fn values(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
