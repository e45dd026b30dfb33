//! Weights laid out for generation, and products with few or many rows whose every row has the same bits
//! whatever rows stand beside it: each output is a sum over the inputs in their order, [`CHAIN`] of them at a
//! time, each a chain of fused multiply-adds (shorter chains round less).
//!
//! A weight `[out, in]` is cut into panels of [`PANEL`] outputs, each stored input by input, so that one
//! vector load feeds as many outputs as a register holds. Weights that are bf16 numbers (published models
//! are) are kept as such: half the memory traffic, the same results. Two share a word: columns c and c + 32
//! of a panel. If it is asked for, weights are rounded to 8-bit integers ([`super::int8`]).

// What is dispatched to an instruction set must be inlined into it.
#![allow(clippy::inline_always)]

use bytemuck::Pod;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::int8::{Inputs, Int8};
use super::pages::Pages;
use crate::model::weight::Weight;

/// Outputs in a panel.
pub(super) const PANEL: usize = 64;
/// Rows of inputs that share a pass over a panel.
const TILE: usize = 4;
/// Inputs that are summed up before they are added to the others.
const CHAIN: usize = 128;
/// Multiply-adds from which a product with few rows is worth more than one thread.
const WORTH: usize = 1 << 18;
/// Tasks of a product for each thread, at most.
const TASKS: usize = 16;

/// A weight `[out, in]` in panels; the last one is filled up with zeros.
pub struct Packed {
    outputs: usize,
    inputs: usize,
    panels: Panels,
}

enum Panels {
    F32(Pages<f32>),
    Bf16(Pages<u32>),
    Int8(Int8),
}

impl Packed {
    /// Packs a row-major weight.
    pub fn new(weight: &[f32], inputs: usize) -> Self {
        let outputs = weight.len() / inputs;
        let row = |output: usize| weight.get(output * inputs..(output + 1) * inputs).unwrap_or_default();
        let panels = if weight.iter().all(|w| w.to_bits().trailing_zeros() >= 16) {
            let pairs = |output: usize, from: usize, into: &mut [u32]| {
                for (shift, row) in [(16, row(output)), (0, row(output + PANEL / 2))] {
                    for (word, w) in into.iter_mut().zip(row.get(from..).unwrap_or_default()) {
                        *word |= w.to_bits() >> shift;
                    }
                }
            };
            Panels::Bf16(panels((outputs, inputs), PANEL / 2, pairs))
        } else {
            Panels::F32(panels((outputs, inputs), PANEL, |output, from, into| {
                if let Some(row) = row(output).get(from..from + into.len()) {
                    into.copy_from_slice(row);
                }
            }))
        };
        Self { outputs, inputs, panels }
    }

    /// Packs a weight of a decoder. One that is stored as bf16 is never widened.
    pub fn of(weight: &Weight) -> Self {
        let [outputs, inputs] = weight.dims();
        let halves = weight.with_halves(|rows| {
            let pairs = |output: usize, from: usize, into: &mut [u32]| {
                for (shift, output) in [(0, output), (16, output + PANEL / 2)] {
                    let row = rows.get(output).copied().unwrap_or_default();
                    let halves = row.get(2 * from..).unwrap_or_default().as_chunks::<2>().0;
                    for (word, half) in into.iter_mut().zip(halves) {
                        *word |= u32::from(u16::from_le_bytes(*half)) << shift;
                    }
                }
            };
            panels((outputs, inputs), PANEL / 2, pairs)
        });
        match halves {
            Some(words) => Self { outputs, inputs, panels: Panels::Bf16(words) },
            None => Self::new(&weight.values(), inputs),
        }
    }

    /// Packs a weight of a decoder as 8-bit integers.
    pub fn rounded(weight: &Weight) -> Self {
        let [outputs, inputs] = weight.dims();
        let halves = weight.with_halves(|rows| {
            Int8::new(outputs, inputs, |output, i| {
                let bits = u16::from_le_bytes([rows[output][2 * i], rows[output][2 * i + 1]]);
                f32::from_bits(u32::from(bits) << 16)
            })
        });
        let panels = halves.unwrap_or_else(|| {
            let values = weight.values();
            Int8::new(outputs, inputs, |output, i| values[output * inputs + i])
        });
        Self { outputs, inputs, panels: Panels::Int8(panels) }
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(p) => p.len() * 4,
            Panels::Bf16(p) => p.len() * 4,
            Panels::Int8(p) => p.bytes(),
        }
    }

    /// Copies one row of the weight, `[in]`: an embedding.
    pub fn row(&self, output: usize, into: &mut [f32]) {
        let (panel, column) = (output / PANEL, output % PANEL);
        if let Panels::Int8(panels) = &self.panels {
            return panels.row(output, into);
        }
        for (input, value) in into.iter_mut().enumerate() {
            let at = panel * self.inputs + input;
            *value = match &self.panels {
                Panels::Int8(_) => 0.0,
                Panels::F32(p) => p[at * PANEL + column],
                Panels::Bf16(p) => {
                    let word = p[at * (PANEL / 2) + column % (PANEL / 2)];
                    f32::from_bits(if column < PANEL / 2 { word << 16 } else { word & 0xffff_0000 })
                }
            };
        }
    }

    /// `out [rows, out] = x [rows, in] Wᵀ`, or added to it. With [`Work::spread`], on all threads.
    pub fn product(&self, x: &[f32], out: &mut [f32], accumulate: bool, work: &mut Work) {
        let rows = x.len() / self.inputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "matrices that do not fit"
        );
        match &self.panels {
            Panels::Int8(_) => work.rounded.round(x, self.inputs),
            _ => work.interleave(x, self.inputs),
        }
        let (tiles, rounded) = (&work.tiles, &work.rounded);
        let panels = self.outputs.div_ceil(PANEL);
        let run = |panel: usize, out: &mut [f32], stride: usize| {
            let width = PANEL.min(self.outputs - panel * PANEL);
            if let Panels::Int8(panels) = &self.panels {
                let put = &mut |row: usize, sums: &[f32; PANEL]| {
                    put(&mut out[row * stride..row * stride + width], sums, accumulate);
                };
                return panels.strip(panel, rounded, put);
            }
            Arch::new().dispatch(Strip { weight: self, panel, tiles, rows, out, stride, width, accumulate });
        };
        if !work.spread || rows * self.outputs * self.inputs < WORTH {
            for panel in 0..panels {
                run(panel, &mut out[panel * PANEL..], self.outputs);
            }
            return;
        }
        // Tasks of some panels; short ones, so that no thread waits long for the last.
        let each = panels.div_ceil(TASKS * rayon::current_num_threads());
        if rows == 1 {
            out.par_chunks_mut(each * PANEL).with_max_len(1).enumerate().for_each(|(task, out)| {
                for (i, out) in out.chunks_mut(PANEL).enumerate() {
                    run(task * each + i, out, PANEL);
                }
            });
            return;
        }
        // Each panel's strip of columns on its own, then put in place.
        work.strips.clear();
        work.strips.resize(panels * rows * PANEL, 0.0);
        if accumulate {
            for (panel, strip) in work.strips.chunks_exact_mut(rows * PANEL).enumerate() {
                let at = panel * PANEL..self.outputs.min((panel + 1) * PANEL);
                for (strip, out) in strip.chunks_exact_mut(PANEL).zip(out.chunks_exact(self.outputs)) {
                    strip[..at.len()].copy_from_slice(&out[at.clone()]);
                }
            }
        }
        let strips = work.strips.par_chunks_mut(each * rows * PANEL).with_max_len(1);
        strips.enumerate().for_each(|(task, strips)| {
            for (i, strip) in strips.chunks_exact_mut(rows * PANEL).enumerate() {
                run(task * each + i, strip, PANEL);
            }
        });
        for (panel, strip) in work.strips.chunks_exact(rows * PANEL).enumerate() {
            let at = panel * PANEL..self.outputs.min((panel + 1) * PANEL);
            for (strip, out) in strip.chunks_exact(PANEL).zip(out.chunks_exact_mut(self.outputs)) {
                out[at.clone()].copy_from_slice(&strip[..at.len()]);
            }
        }
    }
}

/// Panels of so many numbers to an input. `read` writes some of an output's numbers (of a pair of outputs,
/// where two share a number), from an input on; those of outputs that are not there it leaves zero.
fn panels<T: Pod + Send>(
    (outputs, inputs): (usize, usize),
    width: usize,
    read: impl Fn(usize, usize, &mut [T]) + Sync,
) -> Pages<T> {
    /// Inputs that are read at once.
    const ALONG: usize = 16;
    let mut all = Pages::zeroed(outputs.div_ceil(PANEL) * width * inputs);
    all.par_chunks_mut(width * inputs).enumerate().for_each(|(panel, numbers)| {
        let mut columns = [[T::zeroed(); ALONG]; PANEL];
        for (block, numbers) in numbers.chunks_mut(width * ALONG).enumerate() {
            let inputs = numbers.len() / width;
            for (column, into) in columns[..width].iter_mut().enumerate() {
                into.fill(T::zeroed());
                read(panel * PANEL + column, block * ALONG, &mut into[..inputs]);
            }
            for (i, row) in numbers.chunks_exact_mut(width).enumerate() {
                for (number, column) in row.iter_mut().zip(&columns) {
                    *number = column[i];
                }
            }
        }
    });
    all
}

/// Buffers of a product, kept between calls.
#[derive(Default)]
pub struct Work {
    /// Whether products are shared among all threads.
    pub spread: bool,
    /// Inputs in tiles of [`TILE`] rows, each stored input by input; missing rows are zero.
    tiles: Vec<f32>,
    /// Inputs of a weight of integers.
    rounded: Inputs,
    strips: Vec<f32>,
}

impl Work {
    fn interleave(&mut self, x: &[f32], inputs: usize) {
        let rows = x.len() / inputs;
        self.tiles.clear();
        self.tiles.resize(rows.div_ceil(TILE) * TILE * inputs, 0.0);
        for (tile, rows) in self.tiles.chunks_exact_mut(TILE * inputs).zip(x.chunks(TILE * inputs)) {
            let height = rows.len() / inputs;
            if height < TILE {
                // A tile of fewer rows is as wide as they are many.
                for (r, row) in rows.chunks_exact(inputs).enumerate() {
                    for (i, value) in row.iter().enumerate() {
                        tile[i * height + r] = *value;
                    }
                }
                continue;
            }
            for (r, row) in rows.chunks_exact(inputs).enumerate() {
                for (place, value) in tile.as_chunks_mut::<TILE>().0.iter_mut().zip(row) {
                    place[r] = *value;
                }
            }
        }
    }
}

/// One panel's outputs for all rows.
struct Strip<'a> {
    weight: &'a Packed,
    panel: usize,
    tiles: &'a [f32],
    rows: usize,
    /// First column of the strip in a row-major matrix.
    out: &'a mut [f32],
    stride: usize,
    width: usize,
    accumulate: bool,
}

impl WithSimd for Strip<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Four vectors a row where there are 32 registers, else two.
        if S::F32_LANES == 16 { self.vectors::<S, 4>(simd) } else { self.vectors::<S, 2>(simd) }
    }
}

impl Strip<'_> {
    #[inline(always)]
    fn vectors<S: Simd, const V: usize>(mut self, simd: S) {
        let inputs = self.weight.inputs;
        for first in (0..self.rows).step_by(TILE) {
            let tile = &self.tiles[first * inputs..];
            match self.rows - first {
                1 => self.tile::<S, V, 1>(simd, tile, first),
                2 => self.tile::<S, V, 2>(simd, tile, first),
                3 => self.tile::<S, V, 3>(simd, tile, first),
                _ => self.tile::<S, V, TILE>(simd, tile, first),
            }
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const V: usize, const R: usize>(&mut self, simd: S, tile: &[f32], first: usize) {
        let inputs = self.weight.inputs;
        let lanes = S::F32_LANES;
        let tile = &tile.as_chunks::<R>().0[..inputs];
        let mut done = [[0.0; PANEL]; R];
        for part in 0..PANEL / (V * lanes) {
            for (chain, tile) in tile.chunks(CHAIN).enumerate() {
                let from = self.panel * inputs + chain * CHAIN;
                let mut sums = [[simd.splat_f32s(0.0); V]; R];
                match &self.weight.panels {
                    Panels::Int8(_) => {}
                    Panels::F32(panels) => {
                        let panel = S::as_simd_f32s(&panels[from * PANEL..(from + tile.len()) * PANEL]).0;
                        for (x, w) in tile.iter().zip(panel.chunks_exact(PANEL / lanes)) {
                            let Some(w) = w[part * V..].first_chunk::<V>() else { break };
                            for r in 0..R {
                                let x = simd.splat_f32s(x[r]);
                                for v in 0..V {
                                    sums[r][v] = simd.mul_add_e_f32s(x, w[v], sums[r][v]);
                                }
                            }
                        }
                        for (done, sums) in done.iter_mut().zip(&sums) {
                            add_all(simd, &mut S::as_mut_simd_f32s(done).0[part * V..(part + 1) * V], sums);
                        }
                    }
                    Panels::Bf16(panels) => {
                        let half = PANEL / 2;
                        let panel = S::as_simd_u32s(&panels[from * half..(from + tile.len()) * half]).0;
                        let (shift, mask) = (simd.splat_u32s(16), simd.splat_u32s(0xffff_0000));
                        for (x, words) in tile.iter().zip(panel.chunks_exact(half / lanes)) {
                            let words = &words[part * V / 2..(part + 1) * V / 2];
                            let mut w = [simd.splat_f32s(0.0); V];
                            for (i, word) in words.iter().enumerate() {
                                w[i] = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(*word, shift));
                                w[i + V / 2] = simd.transmute_f32s_u32s(simd.and_u32s(*word, mask));
                            }
                            for r in 0..R {
                                let x = simd.splat_f32s(x[r]);
                                for v in 0..V {
                                    sums[r][v] = simd.mul_add_e_f32s(x, w[v], sums[r][v]);
                                }
                            }
                        }
                        for (done, sums) in done.iter_mut().zip(&sums) {
                            let done = S::as_mut_simd_f32s(done).0;
                            add_all(simd, &mut done[part * V / 2..(part + 1) * V / 2], &sums[..V / 2]);
                            let upper = half / lanes + part * V / 2;
                            add_all(simd, &mut done[upper..upper + V / 2], &sums[V / 2..]);
                        }
                    }
                }
            }
        }
        for (r, done) in done.iter().enumerate() {
            let at = (first + r) * self.stride;
            put(&mut self.out[at..at + self.width], done, self.accumulate);
        }
    }
}

/// Writes or adds a row's outputs in a panel, or the first of them.
fn put(out: &mut [f32], done: &[f32; PANEL], accumulate: bool) {
    if accumulate {
        out.iter_mut().zip(done).for_each(|(out, done)| *out += *done);
    } else {
        out.copy_from_slice(&done[..out.len()]);
    }
}

#[inline(always)]
fn add_all<S: Simd>(simd: S, to: &mut [S::f32s], sums: &[S::f32s]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to = simd.add_f32s(*to, *sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: f32, bf16: bool) -> Vec<f32> {
        let value = |i: usize| ((i as f32 + seed) * 12.9898).sin();
        (0..count)
            .map(|i| f32::from_bits(value(i).to_bits() & if bf16 { 0xffff_0000 } else { u32::MAX }))
            .collect()
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        for (outputs, inputs) in [(1, 3), (64, 16), (100, 33), (300, 70)] {
            for bf16 in [false, true] {
                let weight = values(outputs * inputs, 0.5, bf16);
                let packed = Packed::new(&weight, inputs);
                assert_eq!(matches!(packed.panels, Panels::Bf16(_)), bf16);
                let x = values(1024 * inputs, 3.0, false);
                let run = |rows: std::ops::Range<usize>, spread: bool| {
                    let mut out = vec![1.0; rows.len() * outputs];
                    packed.product(
                        &x[rows.start * inputs..rows.end * inputs],
                        &mut out,
                        true,
                        &mut Work { spread, ..Work::default() },
                    );
                    out
                };
                let whole = run(0..1024, true);
                for rows in [0..1, 5..7, 8..11, 20..37] {
                    assert_eq!(run(rows.clone(), false), whole[rows.start * outputs..rows.end * outputs]);
                }
                for (row, out) in whole.chunks_exact(outputs).enumerate().step_by(97) {
                    for (o, out) in out.iter().enumerate() {
                        let sum: f32 =
                            (0..inputs).map(|i| x[row * inputs + i] * weight[o * inputs + i]).sum();
                        assert!((out - 1.0 - sum).abs() < 1e-4);
                    }
                }
                let mut row = vec![0.0; inputs];
                packed.row(outputs - 1, &mut row);
                assert_eq!(row, weight[(outputs - 1) * inputs..]);
            }
        }
    }
}
