//! The bytes of a GGUF file, version 3.

use std::io::{self, Write};

use super::blocks::write_q8_0;
use super::reader::{ALIGNMENT, number_of};
use crate::model::tensors::Kind;
use burn::tensor::{bf16, f16};

/// A value of the metadata, of the type that llama.cpp asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    U32(u32),
    F32(f32),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// A tensor that is to be written; `shape` as in a Hugging Face directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: Kind,
}

impl Planned {
    fn bytes(&self) -> usize {
        self.kind.bytes(self.shape.iter().product())
    }
}

/// Writes all that stands before the tensors.
///
/// # Errors
/// Failed writes.
pub fn header(out: &mut dyn Write, metadata: &[(String, Put)], tensors: &[Planned]) -> io::Result<()> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut bytes, key);
        put(&mut bytes, value);
    }
    let mut offset = 0u64;
    for tensor in tensors {
        text(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        for size in tensor.shape.iter().rev() {
            bytes.extend((*size as u64).to_le_bytes());
        }
        bytes.extend(number_of(tensor.kind).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += tensor.bytes().next_multiple_of(ALIGNMENT) as u64;
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    out.write_all(&bytes)
}

/// Writes what stands between the end of a tensor and the begin of the next.
///
/// # Errors
/// Failed writes.
pub fn padding(out: &mut dyn Write, tensor: &Planned) -> io::Result<()> {
    let bytes = tensor.bytes();
    out.write_all(&[0; ALIGNMENT][..bytes.next_multiple_of(ALIGNMENT) - bytes])
}

/// Numbers as bytes of a kind, of those that are written.
pub fn encode(kind: Kind, numbers: &[f32], out: &mut Vec<u8>) {
    match kind {
        Kind::F32 => out.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
        Kind::F16 => out.extend(numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes())),
        Kind::Bf16 => out.extend(numbers.iter().flat_map(|number| bf16::from_f32(*number).to_le_bytes())),
        Kind::Blocks(_) => write_q8_0(numbers, out),
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn put(bytes: &mut Vec<u8>, value: &Put) {
    let list = |bytes: &mut Vec<u8>, kind: u32, count: usize| {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend((count as u64).to_le_bytes());
    };
    match value {
        Put::U32(number) => {
            bytes.extend(4u32.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        Put::F32(number) => {
            bytes.extend(6u32.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        Put::Flag(flag) => {
            bytes.extend(7u32.to_le_bytes());
            bytes.push(u8::from(*flag));
        }
        Put::Text(one) => {
            bytes.extend(8u32.to_le_bytes());
            text(bytes, one);
        }
        Put::Texts(all) => {
            list(bytes, 8, all.len());
            for one in all {
                text(bytes, one);
            }
        }
        Put::I32s(all) => {
            list(bytes, 5, all.len());
            bytes.extend(all.iter().flat_map(|number| number.to_le_bytes()));
        }
        Put::F32s(all) => {
            list(bytes, 6, all.len());
            bytes.extend(all.iter().flat_map(|number| number.to_le_bytes()));
        }
    }
}
