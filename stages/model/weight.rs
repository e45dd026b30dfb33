//! A weight of a decoder: in memory, or in the files of its model until it is used.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use memmap2::Mmap;

use super::device::cpu;
use super::tensors::{self, Kind, Stored};

/// A matrix `[out, in]`, or a vector `[1, n]`.
#[derive(Clone, Debug)]
// There are some hundreds of them, and burn's tensors are what they are.
#[expect(clippy::large_enum_variant)]
pub enum Weight {
    Tensor(Tensor<2>),
    /// For the CPU, whose engines lay weights out in their own way.
    Filed(Arc<Filed>),
}

/// Where a weight stands in mapped files: some tensors, one below the other.
#[derive(Debug)]
pub struct Filed {
    shape: [usize; 2],
    pieces: Vec<Piece>,
    /// Added to each number.
    add: f32,
}

#[derive(Debug)]
struct Piece {
    map: Arc<Mmap>,
    place: Range<usize>,
    /// Without its data.
    form: Stored<'static>,
}

impl Piece {
    fn stored(&self) -> Stored<'_> {
        self.form.with_data(&self.map[self.place.clone()])
    }

    fn forget(&self) {
        tensors::forget(&self.map, self.place.clone());
    }
}

impl Filed {
    /// Takes it out of memory until it is read again.
    pub fn forget(&self) {
        self.pieces.iter().for_each(Piece::forget);
    }
}

impl From<Tensor<2>> for Weight {
    fn from(tensor: Tensor<2>) -> Self {
        Self::Tensor(tensor)
    }
}

impl Weight {
    /// A weight of tensors that stand in mapped files, each number with `add` added to it; `None` if one
    /// stands in none of them.
    pub fn filed(tensors: &[&Stored<'_>], maps: &[Arc<Mmap>], shape: [usize; 2], add: f32) -> Option<Self> {
        let piece = |stored: &&Stored<'_>| {
            let data = stored.data().as_ptr_range();
            let own = |map: &&Arc<Mmap>| {
                let whole = map.as_ptr_range();
                whole.start <= data.start && data.end <= whole.end
            };
            let map = maps.iter().find(own)?;
            let start = data.start.addr() - map.as_ptr().addr();
            let place = start..start + stored.data().len();
            Some(Piece { map: Arc::clone(map), place, form: stored.with_data(&[]) })
        };
        let pieces = tensors.iter().map(piece).collect::<Option<Vec<_>>>()?;
        Some(Self::Filed(Arc::new(Filed { shape, pieces, add })))
    }

    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Filed(filed) => filed.shape,
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Self::Tensor(tensor) => tensor.device(),
            Self::Filed(_) => cpu(),
        }
    }

    /// As a tensor; one that is filed is read anew each time.
    pub fn tensor(&self) -> Tensor<2> {
        match self {
            Self::Tensor(tensor) => tensor.clone(),
            Self::Filed(filed) => Tensor::from_data(TensorData::new(self.values(), filed.shape), &cpu()),
        }
    }

    /// All numbers, row by row.
    pub fn values(&self) -> Vec<f32> {
        let filed = match self {
            Self::Tensor(tensor) => return tensors::values(tensor),
            Self::Filed(filed) => filed,
        };
        let mut all = Vec::with_capacity(filed.shape[0] * filed.shape[1]);
        for piece in &filed.pieces {
            all.extend(piece.stored().floats_plus(filed.add));
            piece.forget();
        }
        all
    }

    /// What `read` makes of the rows of a weight that its files store as bf16 numbers alone.
    pub fn with_halves<T>(&self, read: impl FnOnce(&[&[u8]]) -> T) -> Option<T> {
        match self {
            Self::Tensor(_) => None,
            Self::Filed(filed) => {
                let half = |piece: &Piece| piece.form.kind == Kind::Bf16 && piece.form.add == 0.0;
                let halves = filed.add == 0.0 && filed.pieces.iter().all(half);
                if !halves {
                    return None;
                }
                let pieces: Vec<Stored<'_>> = filed.pieces.iter().map(Piece::stored).collect();
                let rows: Vec<&[u8]> = pieces.iter().flat_map(Stored::rows).collect();
                let made = read(&rows);
                filed.forget();
                Some(made)
            }
        }
    }
}
