//! The default configuration and the shipped presets.

use anyhow::{Context, Result};
use toml::Table;

use crate::terminal::exit::Failure;

/// Every key with its default.
pub const DEFAULT: &str = include_str!("presets/default.toml");

/// Shipped presets: name and text.
pub const PRESETS: &[(&str, &str)] = &[
    ("demo", include_str!("presets/demo.toml")),
    ("countdown", include_str!("presets/countdown.toml")),
    ("selfplay", include_str!("presets/selfplay.toml")),
    ("words", include_str!("presets/words.toml")),
    ("countdown4", include_str!("presets/countdown4.toml")),
    ("gsm-symbolic", include_str!("presets/gsm-symbolic.toml")),
    ("gsm8k", include_str!("presets/gsm8k.toml")),
    ("gsm8k-endpoint", include_str!("presets/gsm8k-endpoint.toml")),
    ("gsm8k-base", include_str!("presets/gsm8k-base.toml")),
    ("gsm8k-base-endpoint", include_str!("presets/gsm8k-base-endpoint.toml")),
];

/// The text of a shipped preset.
///
/// # Errors
/// If there is none of that name.
pub fn preset(name: &str) -> Result<&'static str, Failure> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        Failure::usage(
            format!("there is no preset `{name}`"),
            format!("shipped presets: {}", names.join(", ")),
        )
    })
}

/// The default configuration with its comments, and the values of a preset put in.
///
/// # Errors
/// If there is no such preset.
pub fn commented(name: Option<&str>) -> Result<String> {
    let over: Table =
        name.map(preset).transpose()?.unwrap_or_default().parse().context("a preset does not parse")?;
    let mut section = String::new();
    let mut out = String::new();
    for line in DEFAULT.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        let key = line.split(" = ").next().unwrap_or_default();
        match over.get(&section).and_then(|t| t.get(key)) {
            Some(value) => out.push_str(&format!("{key} = {value}\n")),
            None => out.push_str(&format!("{line}\n")),
        }
    }
    Ok(out)
}
