//! Blocks of quantised numbers, as ggml lays them out: a scale (and an offset) for 32 numbers, or scales of
//! scales for 256. The formulas and their order of operations are those of ggml's reference code.

use burn::tensor::f16;

/// A kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl Blocks {
    /// Numbers of a block.
    pub fn numbers(self) -> usize {
        match self {
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            _ => 32,
        }
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Appends the numbers of whole blocks.
    pub fn read(self, bytes: &[u8], out: &mut Vec<f32>) {
        for block in bytes.chunks_exact(self.bytes()) {
            match self {
                Self::Q4_0 => halves(block, out, 2, |d, _, q| (f32::from(q) - 8.0) * d),
                Self::Q4_1 => halves(block, out, 4, |d, m, q| f32::from(q) * d + m),
                Self::Q5_0 => halves(block, out, 6, |d, _, q| (f32::from(q) - 16.0) * d),
                Self::Q5_1 => halves(block, out, 8, |d, m, q| f32::from(q) * d + m),
                Self::Q8_0 => {
                    let d = half(block, 0);
                    out.extend(block[2..].iter().map(|q| f32::from(q.cast_signed()) * d));
                }
                Self::Q4K | Self::Q5K => scaled_twice(block, out, self == Self::Q5K),
                Self::Q6K => six_bits(block, out),
            }
        }
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Blocks of 32: the low halves of 16 bytes, then their high halves, and a fifth bit of each in the four
/// bytes before them where there is room for it. `begin` is where the halves begin.
fn halves(block: &[u8], out: &mut Vec<f32>, begin: usize, number: impl Fn(f32, f32, u8) -> f32) {
    let offset = begin == 4 || begin == 8;
    let (d, m) = (half(block, 0), if offset { half(block, 2) } else { 0.0 });
    let high = match begin {
        6 | 8 => u32::from_le_bytes([block[begin - 4], block[begin - 3], block[begin - 2], block[begin - 1]]),
        _ => 0,
    };
    let fifth = |at: usize| ((high >> at & 1) << 4) as u8;
    let quants = &block[begin..];
    out.extend(quants.iter().enumerate().map(|(at, q)| number(d, m, q & 15 | fifth(at))));
    out.extend(quants.iter().enumerate().map(|(at, q)| number(d, m, q >> 4 | fifth(at + 16))));
}

/// Q4_K and Q5_K: eight groups of 32, each with a scale and an offset of six bits.
fn scaled_twice(block: &[u8], out: &mut Vec<f32>, five: bool) {
    let (d, least) = (half(block, 0), half(block, 2));
    let packed = &block[4..16];
    let scales = |group: usize| {
        let (scale, offset) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let both = packed[group + 4];
            (both & 15 | packed[group - 4] >> 6 << 4, both >> 4 | packed[group] >> 6 << 4)
        };
        (d * f32::from(scale), least * f32::from(offset))
    };
    let (high, quants) = if five { block[16..].split_at(32) } else { (&[][..], &block[16..]) };
    for group in 0..8 {
        let (d, m) = scales(group);
        for at in 0..32 {
            let byte = quants[group / 2 * 32 + at];
            let low = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            let fifth = high.get(at).map_or(0, |byte| (byte >> group & 1) << 4);
            out.push(d * f32::from(low | fifth) - m);
        }
    }
}

/// Q6_K: sixteen groups of 16 with scales of eight bits.
fn six_bits(block: &[u8], out: &mut Vec<f32>) {
    let d = half(block, 208);
    for part in 0..2 {
        let low = &block[part * 64..];
        let high = &block[128 + part * 32..];
        let scales = &block[192 + part * 8..];
        for quarter in 0..4 {
            for at in 0..32 {
                let byte = low[quarter % 2 * 32 + at];
                let four = if quarter < 2 { byte & 15 } else { byte >> 4 };
                let two = (high[at] >> (2 * quarter) & 3) << 4;
                let scale = scales[quarter * 2 + at / 16].cast_signed();
                out.push(d * f32::from(scale) * (f32::from(four | two) - 32.0));
            }
        }
    }
}

/// Appends numbers as Q8_0 blocks. Their count must be a multiple of 32.
pub fn write_q8_0(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.chunks_exact(32) {
        let d = block.iter().fold(0f32, |most, number| most.max(number.abs())) / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        out.extend(f16::from_f32(d).to_le_bytes());
        out.extend(block.iter().map(|number| ((number * inverse).round() as i8).cast_unsigned()));
    }
}
