//! The header of a GGUF file, versions 2 and 3: metadata by key, and where each tensor is. Every count and
//! offset is checked against the bytes there are; nothing is copied.

use std::collections::BTreeMap;

use super::blocks::Blocks;
use crate::model::tensors::{Kind, Stored};

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum Meta<'a> {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(&'a str),
    List(Vec<Meta<'a>>),
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub struct Contents<'a> {
    pub metadata: BTreeMap<&'a str, Meta<'a>>,
    pub tensors: BTreeMap<&'a str, Stored<'a>>,
}

/// Types of tensors by their number in a file; those without a kind are not read.
const TYPES: [(u32, &str, Option<Kind>); 33] = [
    (0, "F32", Some(Kind::F32)),
    (1, "F16", Some(Kind::F16)),
    (2, "Q4_0", Some(Kind::Blocks(Blocks::Q4_0))),
    (3, "Q4_1", Some(Kind::Blocks(Blocks::Q4_1))),
    (6, "Q5_0", Some(Kind::Blocks(Blocks::Q5_0))),
    (7, "Q5_1", Some(Kind::Blocks(Blocks::Q5_1))),
    (8, "Q8_0", Some(Kind::Blocks(Blocks::Q8_0))),
    (9, "Q8_1", None),
    (10, "Q2_K", None),
    (11, "Q3_K", None),
    (12, "Q4_K", Some(Kind::Blocks(Blocks::Q4K))),
    (13, "Q5_K", Some(Kind::Blocks(Blocks::Q5K))),
    (14, "Q6_K", Some(Kind::Blocks(Blocks::Q6K))),
    (15, "Q8_K", None),
    (16, "IQ2_XXS", None),
    (17, "IQ2_XS", None),
    (18, "IQ3_XXS", None),
    (19, "IQ1_S", None),
    (20, "IQ4_NL", None),
    (21, "IQ3_S", None),
    (22, "IQ2_S", None),
    (23, "IQ4_XS", None),
    (24, "I8", None),
    (25, "I16", None),
    (26, "I32", None),
    (27, "I64", None),
    (28, "F64", None),
    (29, "IQ1_M", None),
    (30, "BF16", Some(Kind::Bf16)),
    (34, "TQ1_0", None),
    (35, "TQ2_0", None),
    (39, "MXFP4", None),
    (40, "NVFP4", None),
];

/// The number of a kind of tensor in a file.
pub fn number_of(kind: Kind) -> u32 {
    TYPES.iter().find(|(_, _, known)| *known == Some(kind)).map_or(0, |(number, ..)| *number)
}

/// Where tensors begin unless a file says otherwise: at multiples of so many bytes.
pub const ALIGNMENT: usize = 32;

/// Reads a file. The error says what is wrong with it.
///
/// # Errors
/// Another format or version, big-endian numbers, a file that is cut off or in several parts, and types of
/// tensors that are not read.
pub fn read(bytes: &[u8]) -> Result<Contents<'_>, String> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4, "its magic number").ok() != Some(b"GGUF") {
        return Err("is no GGUF file: it does not begin with `GGUF`".to_owned());
    }
    match cursor.u32("its version")? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => {
            return Err("is a big-endian GGUF file; qstill reads little-endian ones".to_owned());
        }
        version => return Err(format!("has GGUF version {version}; qstill reads versions 2 and 3")),
    }
    let (tensors, keys) = (cursor.u64("the number of tensors")?, cursor.u64("the number of keys")?);
    let mut contents = Contents::default();
    for _ in 0..keys {
        let key = cursor.text("a key")?;
        let kind = cursor.u32(key)?;
        let value = cursor.value(kind, key, 0)?;
        if contents.metadata.insert(key, value).is_some() {
            return Err(format!("has the key `{key}` twice"));
        }
    }
    if let Some(parts) = contents.integer("split.count")?.filter(|parts| *parts > 1) {
        return Err(format!("is one of {parts} parts; join them with `llama-gguf-split --merge`"));
    }
    let alignment = contents.integer("general.alignment")?.unwrap_or(ALIGNMENT as u64);
    if !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(format!("`general.alignment` is {alignment}, which is no power of two up to a mebibyte"));
    }
    let mut places = Vec::new();
    for _ in 0..tensors {
        places.push(cursor.place()?);
    }
    let begin = (cursor.at as u64).next_multiple_of(alignment);
    for place in places {
        let name = place.name;
        if place.offset % alignment != 0 {
            return Err(format!(
                "tensor `{name}` begins at {}, which is no multiple of {alignment} (`general.alignment`)",
                place.offset
            ));
        }
        let end =
            begin.checked_add(place.offset).and_then(|from| Some((from, from.checked_add(place.bytes)?)));
        let data =
            end.and_then(|(from, to)| bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?));
        let Some(data) = data else {
            return Err(format!(
                "tensor `{name}` ends beyond the file, which has {} bytes; download or copy it again",
                bytes.len()
            ));
        };
        if contents.tensors.insert(name, Stored::plain(place.kind, place.shape, data)).is_some() {
            return Err(format!("has the tensor `{name}` twice"));
        }
    }
    Ok(contents)
}

impl<'a> Contents<'a> {
    /// An integer that is not negative, if there is one.
    ///
    /// # Errors
    /// If it is something else.
    pub fn integer(&self, key: &str) -> Result<Option<u64>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Meta::Integer(number)) if u64::try_from(*number).is_ok() => Ok(Some(*number as u64)),
            Some(_) => Err(format!("`{key}` must be an integer of at least 0")),
        }
    }

    /// A number, if there is one.
    ///
    /// # Errors
    /// If it is something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Meta::Integer(number)) => Ok(Some(*number as f64)),
            Some(Meta::Float(number)) => Ok(Some(*number)),
            Some(_) => Err(format!("`{key}` must be a number")),
        }
    }

    /// A text, if there is one.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Meta::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("`{key}` must be a text")),
        }
    }

    /// A flag, if there is one.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Meta::Flag(flag)) => Ok(Some(*flag)),
            Some(_) => Err(format!("`{key}` must be true or false")),
        }
    }

    /// A list, each of its values by `of`.
    ///
    /// # Errors
    /// If it is missing, or a value is of another kind.
    pub fn list<T>(&self, key: &str, of: impl Fn(&Meta<'a>) -> Option<T>) -> Result<Vec<T>, String> {
        let Some(Meta::List(all)) = self.metadata.get(key) else {
            return Err(format!("`{key}` is missing, or no list"));
        };
        let all: Option<Vec<T>> = all.iter().map(of).collect();
        all.ok_or_else(|| format!("`{key}` has a value of another kind than expected"))
    }
}

/// Where a tensor is, from the begin of the data on.
struct Place<'a> {
    name: &'a str,
    kind: Kind,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], String> {
        let found = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let found = found.ok_or_else(|| {
            let at = self.at;
            format!("is cut off: {what} at byte {at} is not there; download or copy it again")
        })?;
        self.at += count;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn text(&mut self, what: &str) -> Result<&'a str, String> {
        let length = usize::try_from(self.u64(what)?).unwrap_or(usize::MAX);
        let at = self.at;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes).map_err(|_| format!("the text of {what} at byte {at} is not UTF-8"))
    }

    /// A value of a type; lists may hold lists, but not without end.
    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Meta<'a>, String> {
        Ok(match kind {
            0 => Meta::Integer(u8::from_le_bytes(self.array(key)?).into()),
            1 => Meta::Integer(i8::from_le_bytes(self.array(key)?).into()),
            2 => Meta::Integer(u16::from_le_bytes(self.array(key)?).into()),
            3 => Meta::Integer(i16::from_le_bytes(self.array(key)?).into()),
            4 => Meta::Integer(u32::from_le_bytes(self.array(key)?).into()),
            5 => Meta::Integer(i32::from_le_bytes(self.array(key)?).into()),
            // As short as it says the same: 1e-6, not 9.99999997e-7.
            6 => {
                let number = f32::from_le_bytes(self.array(key)?);
                Meta::Float(number.to_string().parse().unwrap_or(f64::NAN))
            }
            7 => Meta::Flag(self.array::<1>(key)? != [0]),
            8 => Meta::Text(self.text(key)?),
            9 if depth < 4 => {
                let kind = self.u32(key)?;
                let count = self.u64(key)?;
                let mut all = Vec::new();
                for _ in 0..count {
                    all.push(self.value(kind, key, depth + 1)?);
                }
                Meta::List(all)
            }
            10 => Meta::Integer(self.u64(key)?.into()),
            11 => Meta::Integer(i64::from_le_bytes(self.array(key)?).into()),
            12 => Meta::Float(f64::from_le_bytes(self.array(key)?)),
            other => {
                return Err(format!("the value of `{key}` is of type {other}, which GGUF does not know"));
            }
        })
    }

    fn place(&mut self) -> Result<Place<'a>, String> {
        let name = self.text("the name of a tensor")?;
        let dimensions = self.u32(name)?;
        if !(1..=4).contains(&dimensions) {
            return Err(format!("tensor `{name}` has {dimensions} dimensions; GGUF allows 1 to 4"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.u64(name)?);
        }
        let number = self.u32(name)?;
        let offset = self.u64(name)?;
        let kind = match TYPES.iter().find(|(known, ..)| *known == number) {
            Some((.., Some(kind))) => *kind,
            found => {
                let label =
                    found.map_or_else(|| format!("type {number}"), |(_, label, _)| (*label).to_owned());
                let known: Vec<&str> = TYPES.iter().filter(|t| t.2.is_some()).map(|t| t.1).collect();
                return Err(format!("tensor `{name}` is {label}; qstill reads {}", known.join(", ")));
            }
        };
        let wide =
            |number: u64| format!("tensor `{name}` has {number} numbers a row, which are no whole blocks");
        let block = if let Kind::Blocks(blocks) = kind { blocks.numbers() as u64 } else { 1 };
        if shape[0] % block != 0 {
            return Err(wide(shape[0]));
        }
        let numbers = shape.iter().try_fold(1u64, |all, size| all.checked_mul(*size));
        let numbers = numbers.filter(|numbers| *numbers < 1 << 48);
        let numbers = numbers.ok_or_else(|| format!("tensor `{name}` has an absurd shape: {shape:?}"))?;
        let bytes = kind.bytes(numbers as usize) as u64;
        // The first dimension is the innermost.
        let shape = shape.iter().rev().map(|size| *size as usize).collect();
        Ok(Place { name, kind, shape, offset, bytes })
    }
}
