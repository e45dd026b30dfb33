//! Rotary positions: by which angle each pair of dimensions turns for each position (arXiv 2104.09864), and
//! how models stretch that for longer contexts. The formulas are those of `transformers`'
//! `modeling_rope_utils`.

use std::f64::consts::TAU;

use serde_json::Value;

/// How positions turn queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    pub scaling: Scaling,
}

/// How frequencies are stretched for contexts longer than the one that a model was first trained on.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all. So is `dynamic` within `max_position_embeddings`, which is as far as qstill reads.
    None,
    /// All positions are divided by a factor (arXiv 2306.15595).
    Linear { factor: f64 },
    /// Llama 3.1: long wavelengths are divided by a factor, those in between partly.
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// YaRN (arXiv 2309.00071): interpolation of slow dimensions, and a factor for cosines and sines.
    Yarn { factor: f64, fast: f64, slow: f64, original: f64, truncate: bool, attention: f64 },
}

impl Rope {
    /// Unscaled, with a base.
    pub fn plain(theta: f64) -> Self {
        Self { theta, scaling: Scaling::None }
    }

    /// Reads `rope_parameters` (or `rope_scaling` as it was called) with the base beside or in it;
    /// `positions` is `max_position_embeddings`. The error says what is wrong.
    ///
    /// # Errors
    /// A scaling that is not read, and parameters that are missing or not positive.
    pub fn read(section: &Value, theta: f64, positions: usize) -> Result<Self, String> {
        let number = |key: &str| section[key].as_f64().filter(|n| n.is_finite() && *n > 0.0);
        let needed = |key: &str| {
            let found = &section[key];
            number(key).ok_or_else(|| format!("`{key}` of the rope must be a positive number, found {found}"))
        };
        let theta = number("rope_theta").unwrap_or(theta);
        let share = &section["partial_rotary_factor"];
        if !share.is_null() && share.as_f64() != Some(1.0) {
            return Err(format!("`partial_rotary_factor` is {share}; qstill reads whole rotary heads"));
        }
        let kind = section["rope_type"].as_str().or(section["type"].as_str()).unwrap_or("default");
        let original = || number("original_max_position_embeddings").unwrap_or(positions as f64);
        let scaling = match kind {
            "default" | "dynamic" => Scaling::None,
            "linear" => Scaling::Linear { factor: needed("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: needed("factor")?,
                low: needed("low_freq_factor")?,
                high: needed("high_freq_factor")?,
                original: original(),
            },
            "yarn" => {
                let factor = needed("factor")?;
                let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
                let attention = match (number("attention_factor"), number("mscale"), number("mscale_all_dim"))
                {
                    (Some(given), ..) => given,
                    (None, Some(one), Some(all)) => scale(one) / scale(all),
                    _ => scale(1.0),
                };
                Scaling::Yarn {
                    factor,
                    fast: number("beta_fast").unwrap_or(32.0),
                    slow: number("beta_slow").unwrap_or(1.0),
                    original: original(),
                    truncate: section["truncate"].as_bool().unwrap_or(true),
                    attention,
                }
            }
            other => {
                let known = "default, linear, dynamic, llama3 and yarn";
                return Err(format!("rope scaling `{other}` is not supported; qstill reads {known}"));
            }
        };
        Ok(Self { theta, scaling })
    }

    /// Angle by which each of `size / 2` pairs of dimensions turns per position, and the factor of cosines
    /// and sines.
    pub fn frequencies(&self, size: usize) -> (Vec<f64>, f64) {
        let plain = (0..size / 2).map(|i| self.theta.powf(-(2.0 * i as f64) / size as f64));
        match self.scaling {
            Scaling::None => (plain.collect(), 1.0),
            Scaling::Linear { factor } => (plain.map(|f| f / factor).collect(), 1.0),
            Scaling::Llama3 { factor, low, high, original } => {
                let stretched = |f: f64| {
                    let wavelength = TAU / f;
                    if wavelength < original / high {
                        f
                    } else if wavelength > original / low {
                        f / factor
                    } else {
                        let smooth = (original / wavelength - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                };
                (plain.map(stretched).collect(), 1.0)
            }
            Scaling::Yarn { factor, fast, slow, original, truncate, attention } => {
                // The dimension that turns so many times within the original context.
                let dimension =
                    |turns: f64| size as f64 * (original / (turns * TAU)).ln() / (2.0 * self.theta.ln());
                let (low, high) = (dimension(fast), dimension(slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(size as f64 - 1.0));
                let high = if high <= low { high + 0.001 } else { high };
                let stretched = |(i, f): (usize, f64)| {
                    let interpolated = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    interpolated * f / factor + (1.0 - interpolated) * f
                };
                (plain.enumerate().map(stretched).collect(), attention)
            }
        }
    }

    /// Cosines and sines `[positions, size / 2]` of some positions.
    pub fn table(&self, positions: impl Iterator<Item = usize>, size: usize) -> (Vec<f32>, Vec<f32>) {
        let (frequencies, factor) = self.frequencies(size);
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for frequency in &frequencies {
                let angle = position as f64 * frequency;
                cos.push((angle.cos() * factor) as f32);
                sin.push((angle.sin() * factor) as f32);
            }
        }
        (cos, sin)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frequencies_fall_and_scaling_stretches_the_slow_ones_alone() {
        let plain = Rope::plain(10_000.0).frequencies(8).0;
        assert!((plain[0] - 1.0).abs() < 1e-12 && (plain[1] - 0.1).abs() < 1e-12);
        let read = |section: Value| Rope::read(&section, 10_000.0, 1024).unwrap();
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 256});
        let stretched = read(llama3).frequencies(8).0;
        assert!((stretched[0] - plain[0]).abs() < 1e-12 && (stretched[3] - plain[3] / 8.0).abs() < 1e-12);
        let (yarn, factor) = read(json!({"type": "yarn", "factor": 4.0})).frequencies(8);
        assert!((yarn[0] - plain[0]).abs() < 1e-12 && yarn[3] < plain[3]);
        assert!((factor - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        assert_eq!(read(json!({"type": "dynamic", "factor": 4.0})), Rope::plain(10_000.0));
        assert!((read(json!({"rope_theta": 5e5})).theta - 5e5).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for (section, said) in [
            (json!({"rope_type": "longrope"}), "longrope"),
            (json!({"rope_type": "linear"}), "factor"),
            (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        ] {
            assert!(Rope::read(&section, 1e4, 64).unwrap_err().contains(said));
        }
    }
}
