//! The configuration of a run: defaults, a preset or the user's file, and `--set`, merged in this order.
//!
//! `presets/default.toml` is the list of every key with its default and its meaning; `qstill init` prints it
//! with a preset's values put in, and the schema that unknown keys and wrong types are checked against is
//! read from it too.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use stages::curate::CurateConfig;
use stages::evaluate::EvaluateConfig;
use stages::gate::{GateConfig, Require};
use stages::model::DeviceSetting;
use stages::policy::endpoint::EndpointConfig;
use stages::problems::{ProblemsConfig, PromptConfig};
use stages::search::{Sampler, SearchConfig, TreeConfig};
use stages::train::{ModelConfig, TrainConfig};
use stages::value::ValueConfig;
use toml::Table;

pub mod check;

use crate::exit::Failure;
use crate::settings::{self, Origin, Schema};

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
];

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    pub seed: u64,
    pub rounds: u32,
    pub shard_size: usize,
    pub device: DeviceSetting,
}

/// A resolved configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub run: RunConfig,
    pub problems: ProblemsConfig,
    pub prompt: PromptConfig,
    pub search: SearchConfig,
    pub tree: TreeConfig,
    pub curate: CurateConfig,
    pub value: ValueConfig,
    pub model: ModelConfig,
    pub train: TrainConfig,
    pub gate: GateConfig,
    pub evaluate: EvaluateConfig,
    pub endpoint: EndpointConfig,
}

impl Config {
    /// Whether a round has a value stage: a student from scratch has no trunk before it was trained.
    pub fn has_value(&self, round: u32) -> bool {
        let model = self.search.policy == Sampler::Model && (round > 1 || !self.model.from_scratch());
        self.value.is_on_in(model)
    }

    /// Whether rounds have a gate: a student that is no policy afterwards needs none.
    pub fn has_gate(&self) -> bool {
        self.gate.require != Require::None && self.run.rounds > 1 && self.search.policy == Sampler::Model
    }

    /// Reads the layers: a preset or file (or the saved `run.toml`), then overrides.
    ///
    /// # Errors
    /// Unknown keys and wrong types, named with file, line and the nearest valid key; values out of range.
    pub fn resolve(layers: &[(String, String)], sets: &[String]) -> Result<(Self, Table)> {
        let defaults: Table = DEFAULT.parse().context("the default configuration does not parse")?;
        let schema = Schema { defaults: defaults.clone(), optional: &[], free: &["endpoint.extra_body"] };
        let mut table = defaults;
        for (name, text) in layers {
            let given = settings::parse(text, name)?;
            schema.check(&given, &Origin { name, text: Some(text) })?;
            settings::merge(&mut table, given);
        }
        for set in sets {
            settings::apply_set(&mut table, &settings::parse_set(set)?, &schema)?;
        }
        let config: Config = settings::read(table.clone(), "the configuration")?;
        check::check(&config)?;
        Ok((config, table))
    }
}

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

/// Bytes of a configuration that are read.
const LARGEST: u64 = 16 << 20;

/// Reads a configuration file.
///
/// # Errors
/// If it cannot be read.
pub fn file(path: &Path) -> Result<(String, String)> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    read.map_err(|e| {
        Failure::input(
            format!("{}: {e}", path.display()),
            "give a configuration file; `qstill init` writes one",
        )
    })?;
    Ok((path.display().to_string(), text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_resolves_and_its_commented_form_says_the_same() {
        for (name, text) in PRESETS {
            // Some want files of the user's.
            let sets = if text.contains("files") {
                vec!["problems.train_files=[\"train.jsonl\"]".to_owned()]
            } else {
                Vec::new()
            };
            let (config, _) = Config::resolve(&[((*name).to_owned(), (*text).to_owned())], &sets).unwrap();
            let (again, _) =
                Config::resolve(&[("commented".to_owned(), commented(Some(name)).unwrap())], &sets).unwrap();
            assert_eq!(config, again, "{name}");
        }
    }

    #[test]
    fn the_resolved_table_reads_back_as_the_same_configuration() {
        let (config, table) =
            Config::resolve(&[], &["search.samples=16".to_owned(), "train.learning_rate=0.5".to_owned()])
                .unwrap();
        let (again, _) = Config::resolve(&[("run.toml".to_owned(), table.to_string())], &[]).unwrap();
        assert_eq!(config, again);
        assert_eq!(config.search.samples, 16);
    }

    #[test]
    fn curation_has_the_same_defaults_in_code() {
        assert_eq!(Config::resolve(&[], &[]).unwrap().0.curate, CurateConfig::default());
    }

    #[test]
    fn a_wrong_key_is_named_with_the_nearest() {
        let error =
            crate::exit::explain(&Config::resolve(&[], &["search.sample=16".to_owned()]).unwrap_err(), &[]);
        assert!(error.contains("search.samples"), "{error}");
    }
}
