//! Weights and inputs as 8-bit integers, in blocks of [`BLOCK`] inputs that share a scale: a quarter of the
//! memory traffic of f32, and four multiply-adds an instruction where the machine has VNNI. Sums inside of a
//! block are exact, and blocks are added in their order, so every machine computes the same bits, and each
//! row has the same bits whatever rows stand beside it.

// What is dispatched to an instruction set must be inlined into it.
#![allow(clippy::inline_always)]

use bytemuck::{Pod, Zeroable};
use pulp::Arch;
use rayon::prelude::*;

use super::packed::PANEL;
use super::pages::Pages;

/// Inputs that share a scale.
const BLOCK: usize = 64;
/// Inputs that stand together: an instruction multiplies so many at once.
const GROUP: usize = 4;
/// Groups of a block.
const GROUPS: usize = BLOCK / GROUP;
/// Rows of inputs that share a pass over a panel.
const TILE: usize = 6;
/// Bytes from what is read to what is fetched meanwhile: about a block.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// A weight `[out, in]` in panels of [`PANEL`] outputs; panels and blocks are filled up with zeros.
pub struct Int8 {
    /// Of each panel its blocks of inputs.
    weights: Pages<Block>,
    blocks: usize,
}

/// The weights between [`PANEL`] outputs and [`BLOCK`] inputs.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Block {
    /// Of each group of inputs for each output the group's weights, 128 higher.
    weights: [[[u8; GROUP]; PANEL]; GROUPS],
    /// For each output the value of one unit.
    scales: [f32; PANEL],
}

/// Rows of inputs as integers.
#[derive(Default)]
pub struct Inputs {
    /// Of each row for each group its inputs: bytes of signed numbers.
    values: Vec<[u8; GROUP]>,
    /// Of each row its blocks.
    blocks: Vec<Scale>,
}

/// A block of inputs.
#[derive(Clone, Copy)]
struct Scale {
    /// The value of one unit.
    unit: f32,
    /// -128 times the sum of the inputs: weights are stored 128 higher.
    offset: i32,
}

impl Inputs {
    /// Rounds rows `[rows, in]`.
    pub fn round(&mut self, x: &[f32], inputs: usize) {
        let blocks = inputs.div_ceil(BLOCK) * (x.len() / inputs);
        self.values.resize(blocks * GROUPS, [0; GROUP]);
        self.blocks.resize(blocks, Scale { unit: 0.0, offset: 0 });
        Arch::new().dispatch(|| {
            let places = self.values.as_chunks_mut::<GROUPS>().0.iter_mut().zip(&mut self.blocks);
            let numbers = x.chunks_exact(inputs).flat_map(|row| row.chunks(BLOCK));
            for (numbers, (values, block)) in numbers.zip(places) {
                let mut filled = [0.0; BLOCK];
                filled[..numbers.len()].copy_from_slice(numbers);
                *block = round(&filled, values.as_flattened_mut());
            }
        });
    }

    fn row(&self, row: usize, blocks: usize) -> Row<'_> {
        let place = row * blocks..(row + 1) * blocks;
        Row { values: &self.values.as_chunks().0[place.clone()], blocks: &self.blocks[place] }
    }
}

/// Rounds a block of inputs into bytes.
#[inline(always)]
fn round(numbers: &[f32; BLOCK], values: &mut [u8]) -> Scale {
    let (unit, inverse) = unit(numbers);
    let mut sum = 0;
    for (value, number) in values.iter_mut().zip(numbers) {
        let whole = whole(*number, inverse);
        sum += whole;
        *value = whole as u8;
    }
    Scale { unit, offset: -128 * sum }
}

/// The value of one unit, and its inverse, such that the largest of some numbers is 127 units.
#[inline(always)]
fn unit(numbers: &[f32; BLOCK]) -> (f32, f32) {
    // Sixteen at a time: the largest is the same in any order.
    let mut most = [0.0_f32; 16];
    for numbers in numbers.as_chunks::<16>().0 {
        for (most, number) in most.iter_mut().zip(numbers) {
            *most = most.max(number.abs());
        }
    }
    let most = most.into_iter().fold(0.0, f32::max);
    if most > 0.0 { (most / 127.0, 127.0 / most) } else { (0.0, 0.0) }
}

/// The nearest whole number of units, the even one of two. The sum has no room for fractions: its last bits
/// are the number.
#[inline(always)]
fn whole(number: f32, inverse: f32) -> i32 {
    const ROOM: f32 = 12_582_912.0;
    (number * inverse + ROOM).to_bits().wrapping_sub(ROOM.to_bits()) as i32
}

impl Int8 {
    /// Rounds a weight whose numbers `at` gives by output and input.
    pub fn new(outputs: usize, inputs: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let (panels, blocks) = (outputs.div_ceil(PANEL), inputs.div_ceil(BLOCK));
        let mut weights = Pages::<Block>::zeroed(panels * blocks);
        weights.par_chunks_mut(blocks).enumerate().for_each(|(panel, all)| {
            for (block, into) in all.iter_mut().enumerate() {
                into.weights = [[[128; GROUP]; PANEL]; GROUPS];
                for output in panel * PANEL..outputs.min((panel + 1) * PANEL) {
                    let column = output % PANEL;
                    let mut numbers = [0.0; BLOCK];
                    for (number, input) in numbers.iter_mut().zip(block * BLOCK..inputs) {
                        *number = at(output, input);
                    }
                    let (scale, inverse) = unit(&numbers);
                    into.scales[column] = scale;
                    let values = numbers.map(|number| (whole(number, inverse) + 128) as u8);
                    for (group, values) in into.weights.iter_mut().zip(values.as_chunks::<GROUP>().0) {
                        group[column] = *values;
                    }
                }
            }
        });
        Self { weights, blocks }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.weights)
    }

    /// Copies one row of the weight.
    pub fn row(&self, output: usize, into: &mut [f32]) {
        let (panel, column) = (output / PANEL, output % PANEL);
        let blocks = &self.weights[panel * self.blocks..(panel + 1) * self.blocks];
        for (into, block) in into.chunks_mut(BLOCK).zip(blocks) {
            for (input, value) in into.iter_mut().enumerate() {
                let whole = i32::from(block.weights[input / GROUP][column][input % GROUP]) - 128;
                *value = whole as f32 * block.scales[column];
            }
        }
    }

    /// Gives `put` of each row of inputs its index and a panel's outputs.
    pub fn strip(&self, panel: usize, inputs: &Inputs, put: &mut dyn FnMut(usize, &[f32; PANEL])) {
        let rows = inputs.blocks.len() / self.blocks;
        for first in (0..rows).step_by(TILE) {
            match rows - first {
                1 => self.tile::<1>(panel, inputs, first, put),
                2 => self.tile::<2>(panel, inputs, first, put),
                3 => self.tile::<3>(panel, inputs, first, put),
                4 => self.tile::<4>(panel, inputs, first, put),
                5 => self.tile::<5>(panel, inputs, first, put),
                _ => self.tile::<TILE>(panel, inputs, first, put),
            }
        }
    }

    fn tile<const R: usize>(
        &self,
        panel: usize,
        inputs: &Inputs,
        first: usize,
        put: &mut dyn FnMut(usize, &[f32; PANEL]),
    ) {
        let tile = Tile::<R> {
            weights: &self.weights[panel * self.blocks..(panel + 1) * self.blocks],
            rows: std::array::from_fn(|r| inputs.row(first + r, self.blocks)),
        };
        let mut done = [[0.0; PANEL]; R];
        tile.sum(&mut done);
        for (r, done) in done.iter().enumerate() {
            put(first + r, done);
        }
    }
}

/// Some rows' inputs and a panel.
struct Tile<'a, const R: usize> {
    weights: &'a [Block],
    rows: [Row<'a>; R],
}

/// A row of inputs, block by block.
#[derive(Clone, Copy)]
struct Row<'a> {
    values: &'a [[[u8; GROUP]; GROUPS]],
    blocks: &'a [Scale],
}

impl<const R: usize> Tile<'_, R> {
    fn sum(&self, done: &mut [[f32; PANEL]; R]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the machine has both.
            #[expect(unsafe_code)]
            unsafe {
                self.sum_vnni(done);
            }
            return;
        }
        Arch::new().dispatch(|| self.sum_plain(done));
    }

    #[inline]
    fn sum_plain(&self, done: &mut [[f32; PANEL]; R]) {
        for (at, block) in self.weights.iter().enumerate() {
            for (row, done) in self.rows.iter().zip(done.iter_mut()) {
                let Scale { unit, offset } = row.blocks[at];
                let mut sums = [offset; PANEL];
                for (value, weights) in row.values[at].iter().zip(&block.weights) {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        for k in 0..GROUP {
                            *sum += i32::from(value[k].cast_signed()) * i32::from(weight[k]);
                        }
                    }
                }
                for ((done, sum), scale) in done.iter_mut().zip(sums).zip(&block.scales) {
                    *done = (sum as f32).mul_add(scale * unit, *done);
                }
            }
        }
    }

    /// As [`Tile::sum_plain`], to the last bit.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vnni")]
    #[expect(unsafe_code)]
    fn sum_vnni(&self, done: &mut [[f32; PANEL]; R]) {
        use std::arch::x86_64::{
            __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
            _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        };
        use std::mem::transmute;
        /// Four vectors of an array of 64 numbers of four bytes. (The intrinsics that load and store check
        /// their pointers where assertions are on, which costs more than the loads.)
        macro_rules! load {
            ($from:ty, $to:ty, $numbers:expr) => {{
                let numbers: &[$from; PANEL] = $numbers;
                let [a, b, c, d] = numbers.as_chunks::<16>().0 else { unreachable!() };
                // SAFETY: 16 numbers of four bytes are a vector.
                let vector = |numbers: &[$from; 16]| unsafe { transmute::<[$from; 16], $to>(*numbers) };
                [vector(a), vector(b), vector(c), vector(d)]
            }};
        }
        /// For each row: what is written out stays in registers, where a loop would keep it in memory.
        macro_rules! rows {
            ($each:ident) => {
                $each!(0);
                $each!(1);
                $each!(2);
                $each!(3);
                $each!(4);
                $each!(5);
            };
        }
        for (at, block) in self.weights.iter().enumerate() {
            let scales: [Scale; R] = self.rows.map(|row| row.blocks[at]);
            let mut sums: [[__m512i; 4]; R] = scales.map(|scale| [_mm512_set1_epi32(scale.offset); 4]);
            let values: [&[[u8; GROUP]; GROUPS]; R] = self.rows.map(|row| &row.values[at]);
            for (g, weights) in block.weights.iter().enumerate() {
                for line in weights.as_chunks::<16>().0 {
                    let ahead = line.as_ptr().wrapping_byte_add(AHEAD);
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                }
                let [a, b, c, d]: [__m512i; 4] = load!([u8; GROUP], __m512i, weights);
                macro_rules! multiply {
                    ($r:literal) => {
                        if R > $r {
                            let x = _mm512_set1_epi32(i32::from_le_bytes(values[$r][g]));
                            let [p, q, r, s] = sums[$r];
                            sums[$r] = [
                                _mm512_dpbusd_epi32(p, a, x),
                                _mm512_dpbusd_epi32(q, b, x),
                                _mm512_dpbusd_epi32(r, c, x),
                                _mm512_dpbusd_epi32(s, d, x),
                            ];
                        }
                    };
                }
                rows!(multiply);
            }
            let [a, b, c, d]: [__m512; 4] = load!(f32, __m512, &block.scales);
            macro_rules! add {
                ($r:literal) => {
                    if R > $r {
                        let unit = _mm512_set1_ps(scales[$r].unit);
                        let [e, f, g, h]: [__m512; 4] = load!(f32, __m512, &done[$r]);
                        let [p, q, r, s] = sums[$r];
                        let all = [
                            _mm512_fmadd_ps(_mm512_cvtepi32_ps(p), _mm512_mul_ps(a, unit), e),
                            _mm512_fmadd_ps(_mm512_cvtepi32_ps(q), _mm512_mul_ps(b, unit), f),
                            _mm512_fmadd_ps(_mm512_cvtepi32_ps(r), _mm512_mul_ps(c, unit), g),
                            _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), _mm512_mul_ps(d, unit), h),
                        ];
                        // SAFETY: as above.
                        done[$r] = unsafe { transmute::<[__m512; 4], [f32; PANEL]>(all) };
                    }
                };
            }
            rows!(add);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(sums: &[f32; PANEL]) -> [u32; PANEL] {
        sums.map(f32::to_bits)
    }

    #[test]
    fn sums_are_near_and_the_same_on_every_machine_and_in_any_company() {
        for (outputs, inputs) in [(1, 3), (64, 64), (100, 130), (300, 71)] {
            let at = |output: usize, input: usize| ((output * 31 + input * 7) as f32 * 0.73).sin();
            let packed = Int8::new(outputs, inputs, at);
            let x: Vec<f32> = (0..9 * inputs).map(|i| (i as f32 * 1.37).cos() * (i % 5) as f32).collect();
            let mut rounded = Inputs::default();
            rounded.round(&x, inputs);
            let mut alone = Inputs::default();
            for panel in 0..outputs.div_ceil(PANEL) {
                packed.strip(panel, &rounded, &mut |row, sums| {
                    let x = &x[row * inputs..(row + 1) * inputs];
                    alone.round(x, inputs);
                    packed.strip(panel, &alone, &mut |_, own| assert_eq!(bits(own), bits(sums)));
                    let mut plain = [[0.0; PANEL]; 1];
                    let weights = &packed.weights[panel * packed.blocks..(panel + 1) * packed.blocks];
                    let tile = Tile::<1> { weights, rows: [alone.row(0, packed.blocks)] };
                    tile.sum_plain(&mut plain);
                    assert_eq!(bits(&plain[0]), bits(sums));
                    let length = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>().sqrt();
                    for output in panel * PANEL..outputs.min((panel + 1) * PANEL) {
                        let weight: Vec<f32> = (0..inputs).map(|input| at(output, input)).collect();
                        let exact: f32 = weight.iter().zip(x).map(|(w, x)| w * x).sum();
                        let room = 0.01 * length(&weight) * length(x) + 1e-6;
                        assert!((sums[output - panel * PANEL] - exact).abs() < room);
                        let mut row = vec![0.0; inputs];
                        packed.row(output, &mut row);
                        assert!(row.iter().zip(&weight).all(|(a, b)| (a - b).abs() < 0.5 / 127.0 + 1e-6));
                    }
                });
            }
        }
    }
}
