//! Loops over slices, compiled for each instruction set and chosen at run time (`pulp`: AVX-512, AVX2 with
//! FMA, NEON).
//!
//! Sums run in sixteen lanes whatever the machine's vectors hold, so a result depends on its operands alone.

// What is dispatched to an instruction set must be inlined into it.
#![allow(clippy::inline_always)]

use pulp::Arch;

use crate::model::decoder::GELU;
use crate::model::parts::Activation;

const LANES: usize = 16;

/// A function whose body is compiled for each instruction set. (A closure would not be inlined into the
/// dispatch, and so would miss its instructions.)
macro_rules! wide {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name<'a>($($arg: $type),*) $(-> $out)? {
            struct Kernel<'a>($($type,)* std::marker::PhantomData<&'a ()>);
            impl<'a> pulp::NullaryFnOnce for Kernel<'a> {
                type Output = wide!(@out $($out)?);
                #[inline(always)]
                fn call(self) -> Self::Output {
                    let Kernel($($arg,)* _) = self;
                    $body
                }
            }
            Arch::new().dispatch(Kernel($($arg,)* std::marker::PhantomData))
        }
    };
    (@out $out:ty) => { $out };
    (@out) => { () };
}

/// e^x for |x| <= 87 to within 2 units in the last place; beyond, that of the nearer end.
/// Range reduction by ln 2 in two parts, then a polynomial of degree 6 (Cephes' `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = r.mul_add(1.987_569_2e-4, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5.000_000_3e-1);
    let p = p.mul_add(r * r, r) + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Adds up the lanes, halves first.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn dot_lanes(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] = a[i].mul_add(b[i], sums[i]);
        }
    }
    a_rest.iter().zip(b_rest).fold(fold(sums), |sum, (a, b)| a.mul_add(*b, sum))
}

#[inline(always)]
fn max_lanes(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut tops = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            tops[i] = if chunk[i] > tops[i] { chunk[i] } else { tops[i] };
        }
    }
    tops.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces each x by e^((x - top) * scale) and gives their sum.
#[inline(always)]
fn exp_sum_lanes(values: &mut [f32], top: f32, scale: f32) -> f32 {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            chunk[i] = exp((chunk[i] - top) * scale);
            sums[i] += chunk[i];
        }
    }
    let mut sum = fold(sums);
    for value in rest {
        *value = exp((*value - top) * scale);
        sum += *value;
    }
    sum
}

wide! {
    /// Σ a_i b_i.
    pub fn dot(a: &'a [f32], b: &'a [f32]) -> f32 {
        dot_lanes(a, b)
    }
}

wide! {
    /// a_i += b_i.
    pub fn add(a: &'a mut [f32], b: &'a [f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += *b;
        }
    }
}

wide! {
    /// Adds a row to each row.
    pub fn add_row(rows: &'a mut [f32], row: &'a [f32]) {
        for out in rows.chunks_exact_mut(row.len().max(1)) {
            for (out, value) in out.iter_mut().zip(row) {
                *out += *value;
            }
        }
    }
}

wide! {
    /// Adds all rows to one.
    pub fn add_rows(sum: &'a mut [f32], rows: &'a [f32]) {
        for row in rows.chunks_exact(sum.len()) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += *value;
            }
        }
    }
}

wide! {
    /// a_i *= factor.
    pub fn scale(a: &'a mut [f32], factor: f32) {
        for a in a {
            *a *= factor;
        }
    }
}

wide! {
    pub fn max(values: &'a [f32]) -> f32 {
        max_lanes(values)
    }
}

wide! {
    /// Replaces each x by e^((x - top) * scale) and gives their sum.
    pub fn exp_sum(values: &'a mut [f32], top: f32, scale: f32) -> f32 {
        exp_sum_lanes(values, top, scale)
    }
}

wide! {
    /// Σ e^((x_i - top) * scale).
    pub fn sum_exp(values: &'a [f32], top: f32, scale: f32) -> f32 {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for chunk in chunks {
            for i in 0..LANES {
                sums[i] += exp((chunk[i] - top) * scale);
            }
        }
        rest.iter().fold(fold(sums), |sum, value| sum + exp((value - top) * scale))
    }
}

wide! {
    /// Softmax of `scale` x, in place; gives log Σ e^(scale x).
    pub fn softmax(values: &'a mut [f32], scale: f32) -> f32 {
        let top = max_lanes(values);
        let sum = exp_sum_lanes(values, top, scale);
        let inverse = 1.0 / sum;
        for value in &mut *values {
            *value *= inverse;
        }
        sum.ln() + top * scale
    }
}

wide! {
    /// Scores of a query `[d]` against sixteen keys `[d, 16]`.
    pub fn scores(query: &'a [f32], keys: &'a [f32], out: &'a mut [f32; 16]) {
        let mut sums = [0.0; LANES];
        for (q, keys) in query.iter().zip(keys.as_chunks::<LANES>().0) {
            for i in 0..LANES {
                sums[i] = q.mul_add(keys[i], sums[i]);
            }
        }
        *out = sums;
    }
}

wide! {
    /// out += Σ weights_t values_t, for values `[t, d]`.
    pub fn weighted_sum(weights: &'a [f32], values: &'a [f32], out: &'a mut [f32]) {
        for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
            for (o, v) in out.iter_mut().zip(value) {
                *o = weight.mul_add(*v, *o);
            }
        }
    }
}

wide! {
    /// Rows of `out` become x / rms(x) * weight; gives 1 / rms of each row. Rows have the length of `weight`.
    pub fn rms_norm(
        x: &'a [f32],
        weight: &'a [f32],
        epsilon: f32,
        out: &'a mut [f32],
        inverses: &'a mut [f32],
    ) {
        let size = weight.len();
        for ((x, out), inverse) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)).zip(inverses) {
            *inverse = 1.0 / (dot_lanes(x, x) / size as f32 + epsilon).sqrt();
            for ((o, x), w) in out.iter_mut().zip(x).zip(weight) {
                *o = *x * *inverse * *w;
            }
        }
    }
}

wide! {
    /// Rows become x / rms(x) * weight, as by [`rms_norm`].
    pub fn normalize(rows: &'a mut [f32], weight: &'a [f32], epsilon: f32) {
        let size = weight.len();
        for row in rows.chunks_exact_mut(size) {
            let inverse = 1.0 / (dot_lanes(row, row) / size as f32 + epsilon).sqrt();
            for (x, w) in row.iter_mut().zip(weight) {
                *x = *x * inverse * *w;
            }
        }
    }
}

/// What [`rms_norm`] read and gave.
#[derive(Clone, Copy)]
pub struct Normed<'a> {
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub inverses: &'a [f32],
}

wide! {
    /// Gradient of [`rms_norm`]: adds to `dx` what `dy` means for x, and to `dweight` what it means for the
    /// weight.
    pub fn rms_norm_backward(dy: &'a [f32], normed: Normed<'a>, dx: &'a mut [f32], dweight: &'a mut [f32]) {
        let Normed { x, weight, inverses } = normed;
        let size = weight.len();
        let rows = dy.chunks_exact(size).zip(x.chunks_exact(size)).zip(dx.chunks_exact_mut(size));
        for (((dy, x), dx), inverse) in rows.zip(inverses) {
            let mut sums = [0.0; LANES];
            let (d, d_rest) = dy.as_chunks::<LANES>();
            let (v, v_rest) = x.as_chunks::<LANES>();
            let (w, w_rest) = weight.as_chunks::<LANES>();
            for ((d, v), w) in d.iter().zip(v).zip(w) {
                for i in 0..LANES {
                    sums[i] = (d[i] * w[i]).mul_add(v[i], sums[i]);
                }
            }
            let rest = d_rest.iter().zip(v_rest).zip(w_rest);
            let sum = rest.fold(fold(sums), |sum, ((d, v), w)| sum + d * v * w);
            let share = sum * inverse * inverse * inverse / size as f32;
            for ((((dx, dw), d), v), w) in dx.iter_mut().zip(&mut *dweight).zip(dy).zip(x).zip(weight) {
                *dx += d * w * inverse - v * share;
                *dw += d * v * inverse;
            }
        }
    }
}

/// Gated activation `out = activation(gate) * up`, for rows `[gate, up]`.
pub fn gated(activation: Activation, gate_up: &[f32], out: &mut [f32], size: usize) {
    match activation {
        Activation::Silu => swiglu(gate_up, out, size),
        Activation::Gelu => geglu(gate_up, out, size),
    }
}

/// Gradient of [`gated`]: `gate_up` becomes its own gradient, `dout` becomes what [`gated`] gave.
pub fn gated_backward(activation: Activation, gate_up: &mut [f32], dout: &mut [f32], size: usize) {
    match activation {
        Activation::Silu => swiglu_backward(gate_up, dout, size),
        Activation::Gelu => geglu_backward(gate_up, dout, size),
    }
}

wide! {
    /// Gated by x sigmoid(2 √(2/π) (x + 0.044715 x³)), which is GELU by its tanh approximation
    /// (arXiv 1606.08415).
    pub fn geglu(gate_up: &'a [f32], out: &'a mut [f32], size: usize) {
        for (row, out) in gate_up.chunks_exact(2 * size).zip(out.chunks_exact_mut(size)) {
            let (gate, up) = row.split_at(size);
            for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                let inner = GELU * (0.044_715 * *g * *g).mul_add(*g, *g);
                *o = *g / (1.0 + exp(-inner)) * *u;
            }
        }
    }
}

wide! {
    /// Gradient of [`geglu`].
    pub fn geglu_backward(gate_up: &'a mut [f32], dout: &'a mut [f32], size: usize) {
        for (row, dout) in gate_up.chunks_exact_mut(2 * size).zip(dout.chunks_exact_mut(size)) {
            let (gate, up) = row.split_at_mut(size);
            for ((d, g), u) in dout.iter_mut().zip(gate).zip(up) {
                let squared = 0.044_715 * *g * *g;
                let sigmoid = 1.0 / (1.0 + exp(-GELU * squared.mul_add(*g, *g)));
                let gelu = *g * sigmoid;
                let slope = sigmoid + gelu * (1.0 - sigmoid) * GELU * squared.mul_add(3.0, 1.0);
                let (dg, du, out) = (*d * *u * slope, *d * gelu, gelu * *u);
                (*g, *u, *d) = (dg, du, out);
            }
        }
    }
}

wide! {
    /// Gated by silu.
    pub fn swiglu(gate_up: &'a [f32], out: &'a mut [f32], size: usize) {
        for (row, out) in gate_up.chunks_exact(2 * size).zip(out.chunks_exact_mut(size)) {
            let (gate, up) = row.split_at(size);
            for ((o, g), u) in out.iter_mut().zip(gate).zip(up) {
                *o = *g / (1.0 + exp(-*g)) * *u;
            }
        }
    }
}

wide! {
    /// Gradient of [`swiglu`].
    pub fn swiglu_backward(gate_up: &'a mut [f32], dout: &'a mut [f32], size: usize) {
        for (row, dout) in gate_up.chunks_exact_mut(2 * size).zip(dout.chunks_exact_mut(size)) {
            let (gate, up) = row.split_at_mut(size);
            for ((d, g), u) in dout.iter_mut().zip(gate).zip(up) {
                let sigmoid = 1.0 / (1.0 + exp(-*g));
                let silu = *g * sigmoid;
                let slope = sigmoid * (1.0 - silu) + silu;
                let (dg, du, out) = (*d * *u * slope, *d * silu, silu * *u);
                (*g, *u, *d) = (dg, du, out);
            }
        }
    }
}

wide! {
    /// Turns heads by their position's angles, in the half-split order of `transformers`; `-1` turns back.
    pub fn rotate(heads: &'a mut [f32], cos: &'a [f32], sin: &'a [f32], direction: f32) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                let s = *s * direction;
                (*a, *b) = (*a * *c - *b * s, *b * *c + *a * s);
            }
        }
    }
}

wide! {
    /// Rows of scores become probabilities under a known log-sum, then `(p * (dp - delta)) * scale` in `dp`.
    pub fn softmax_backward(scores: &'a mut [f32], dp: &'a mut [f32], scale: f32, log_sum: f32, delta: f32) {
        for (p, d) in scores.iter_mut().zip(dp) {
            *p = exp(p.mul_add(scale, -log_sum));
            *d = *p * (*d - delta) * scale;
        }
    }
}

/// One AdamW update (arXiv 1711.05101): moments, then the weight.
#[derive(Clone, Copy)]
pub struct AdamW {
    pub rate: f32,
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    pub decay: f32,
    /// 1 / (1 - beta^t) for both moments.
    pub correct_1: f32,
    pub correct_2: f32,
    /// What gradients are multiplied by: clipping.
    pub scale: f32,
}

wide! {
    /// Updates weights and their moments.
    pub fn adamw(
        a: AdamW,
        weight: &'a mut [f32],
        gradient: &'a [f32],
        first: &'a mut [f32],
        second: &'a mut [f32],
    ) {
        for (((w, g), m), v) in weight.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = *g * a.scale;
            *m = a.beta_1 * *m + (1.0 - a.beta_1) * g;
            *v = a.beta_2 * *v + (1.0 - a.beta_2) * g * g;
            let step = *m * a.correct_1 / ((*v * a.correct_2).sqrt() + a.epsilon);
            *w = *w * (1.0 - a.rate * a.decay) - a.rate * step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|i| ((i as f32 + seed) * 12.9898).sin() * 3.0).collect()
    }

    #[test]
    fn exp_is_that_of_the_standard_library() {
        for i in -8700..=8700 {
            let x = i as f32 / 100.0;
            let error = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(-1000.0) < 1e-37);
    }

    #[test]
    fn sums_and_softmax_of_any_length() {
        for len in [1, 2, 15, 16, 17, 31, 33, 100] {
            let (a, b) = (values(len, 0.3), values(len, 7.1));
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-4);
            assert_eq!(max(&a).to_bits(), a.iter().copied().fold(f32::NEG_INFINITY, f32::max).to_bits());
            let mut p = a.clone();
            let log_sum = softmax(&mut p, 0.5);
            let total: f64 = a.iter().map(|v| (0.5 * f64::from(*v)).exp()).sum();
            assert!((f64::from(log_sum) - total.ln()).abs() < 1e-5);
            for (p, a) in p.iter().zip(&a) {
                assert!((f64::from(*p) - (0.5 * f64::from(*a)).exp() / total).abs() < 1e-6);
            }
        }
    }

    /// The slope of `loss` along each input against the gradient that is claimed.
    fn check(mut loss: impl FnMut(&[f32]) -> f32, at: &[f32], claimed: &[f32]) {
        for i in 0..at.len() {
            let mut moved = at.to_vec();
            moved[i] = at[i] + 1e-2;
            let up = loss(&moved);
            moved[i] = at[i] - 1e-2;
            let slope = (up - loss(&moved)) / 2e-2;
            assert!(
                (slope - claimed[i]).abs() < 2e-3 * (1.0 + slope.abs()),
                "element {i}: slope {slope}, gradient {}",
                claimed[i]
            );
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let (size, rows) = (19, 2);
        let (x, weight, dy) = (values(size * rows, 0.1), values(size, 4.0), values(size * rows, 2.0));
        let norm = |x: &[f32], w: &[f32]| {
            let (mut out, mut inverses) = (vec![0.0; x.len()], vec![0.0; rows]);
            rms_norm(x, w, 1e-5, &mut out, &mut inverses);
            (dot(&out, &dy), inverses)
        };
        let (_, inverses) = norm(&x, &weight);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; size]);
        rms_norm_backward(&dy, Normed { x: &x, weight: &weight, inverses: &inverses }, &mut dx, &mut dw);
        check(|x| norm(x, &weight).0, &x, &dx);
        check(|w| norm(&x, w).0, &weight, &dw);

        let gate_up = values(2 * size * rows, 0.7);
        for activation in [Activation::Silu, Activation::Gelu] {
            let activated = |gate_up: &[f32]| {
                let mut out = vec![0.0; size * rows];
                gated(activation, gate_up, &mut out, size);
                out
            };
            let (mut gradient, mut dout) = (gate_up.clone(), dy.clone());
            gated_backward(activation, &mut gradient, &mut dout, size);
            check(|v| dot(&activated(v), &dy), &gate_up, &gradient);
            assert!(dout.iter().zip(activated(&gate_up)).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}
