//! The decoder written down once more.

use rayon::prelude::*;

use crate::model::cpu::{Shape, Weights};
use crate::model::parts::{Activation, Part};

/// The decoder written down once more, in f64 and as plainly as can be: logits after each token.
pub fn exact(weights: &Weights, tokens: &[u32]) -> Vec<Vec<f64>> {
    let (c, s) = (&weights.config, Shape::of(&weights.config));
    let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let times = |matrix: &[f32], x: &[f64]| -> Vec<f64> {
        matrix
            .par_chunks(x.len())
            .map(|row| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum())
            .collect()
    };
    let norm = |x: &[f64], weight: &[f32]| -> Vec<f64> {
        let rms = (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + c.rms_norm_eps).sqrt();
        x.iter().zip(weight).map(|(x, w)| x / rms * f64::from(*w)).collect()
    };
    let add = |x: &mut Vec<f64>, more: Vec<f64>| x.iter_mut().zip(more).for_each(|(x, m)| *x += m);
    let mut seen: Vec<Vec<Vec<f64>>> = vec![Vec::new(); c.num_hidden_layers];
    let mut all = Vec::new();
    for (position, token) in tokens.iter().enumerate() {
        let mut x = wide(&weights.all[0][*token as usize * s.hidden..][..s.hidden]);
        for x in &mut x {
            *x *= c.switches.embed_scale.map_or(1.0, f64::from);
        }
        for (l, seen) in seen.iter_mut().enumerate() {
            let attention = c.attention[l];
            let get = |part| weights.layer(l, part);
            // A product with its bias, and its norm, if there are any.
            let whole = |part, bias, after, x: &[f64]| {
                let mut out = times(get(part), x);
                out.iter_mut().zip(get(bias)).for_each(|(out, bias)| *out += f64::from(*bias));
                if get(after).is_empty() { out } else { norm(&out, get(after)) }
            };
            let mut qkv = times(get(Part::Qkv), &norm(&x, get(Part::AttentionNorm)));
            qkv.iter_mut().zip(get(Part::QkvBias)).for_each(|(out, bias)| *out += f64::from(*bias));
            let local = c.local_rope.as_ref().filter(|_| attention.window.is_some());
            let (frequencies, factor) = local.unwrap_or(&c.rope).frequencies(s.size);
            for (h, head) in qkv.chunks_exact_mut(s.size).take(s.heads + s.shared).enumerate() {
                let weight = get(if h < s.heads { Part::QNorm } else { Part::KNorm });
                if !weight.is_empty() {
                    head.copy_from_slice(&norm(head, weight));
                }
                for (i, frequency) in frequencies.iter().enumerate().filter(|_| attention.rotary) {
                    let angle = position as f64 * frequency;
                    let (cos, sin) = (angle.cos() * factor, angle.sin() * factor);
                    let (a, b) = (head[i], head[i + s.size / 2]);
                    (head[i], head[i + s.size / 2]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
            seen.push(qkv.clone());
            let first = attention.window.map_or(0, |window| (position + 1).saturating_sub(window));
            let seen = &seen[first..];
            let mut attended = Vec::new();
            for head in 0..s.heads {
                let part = |row: &[f64], head: usize| row[head * s.size..(head + 1) * s.size].to_vec();
                let (query, key) = (part(&qkv, head), s.heads + head / (s.heads / s.shared));
                let dots =
                    seen.iter().map(|row| part(row, key).iter().zip(&query).map(|(k, q)| k * q).sum::<f64>());
                let mut scores: Vec<f64> = dots.map(|dot| dot * f64::from(s.scale)).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                for score in &mut scores {
                    *score = (*score - top).exp();
                }
                let sum: f64 = scores.iter().sum();
                let mut out = vec![0.0; s.size];
                for (score, row) in scores.iter().zip(seen.iter()) {
                    out.iter_mut()
                        .zip(part(row, key + s.shared))
                        .for_each(|(out, v)| *out += score / sum * v);
                }
                attended.extend(out);
            }
            add(&mut x, whole(Part::Output, Part::OutputBias, Part::PostAttentionNorm, &attended));
            let mut gate_up = times(get(Part::GateUp), &norm(&x, get(Part::MlpNorm)));
            gate_up.iter_mut().zip(get(Part::GateUpBias)).for_each(|(out, bias)| *out += f64::from(*bias));
            let (gate, up) = gate_up.split_at(s.inner);
            let activated = |g: f64| match s.activation {
                Activation::Silu => g / (1.0 + (-g).exp()),
                Activation::Gelu => {
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (g + 0.044_715 * g.powi(3));
                    0.5 * g * (1.0 + inner.tanh())
                }
            };
            let inner: Vec<f64> = gate.iter().zip(up).map(|(g, u)| activated(*g) * u).collect();
            add(&mut x, whole(Part::Down, Part::DownBias, Part::PostMlpNorm, &inner));
        }
        all.push(times(&weights.all[weights.head_index()], &norm(&x, &weights.all[weights.norm_index()])));
    }
    all
}
