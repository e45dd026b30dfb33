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
use stages::train::losses::TokenLoss;
use stages::train::select::Select;
use stages::train::{ModelConfig, TrainConfig};
use stages::value::targets::Level;
use stages::value::{Estimator, ValueConfig};
use toml::Table;

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
        config.check()?;
        Ok((config, table))
    }

    fn check(&self) -> Result<(), Failure> {
        let shares = [
            ("problems.distractors", self.problems.distractors),
            ("problems.test_share", self.problems.test_share),
            ("problems.validation_share", self.problems.validation_share),
            ("value.holdout", self.value.holdout),
            ("value.lost", self.value.lost),
            ("gate.alpha", self.gate.alpha),
            ("gate.max_drop", self.gate.max_drop),
            ("gate.max_endless", self.gate.max_endless),
            ("train.validation_share", self.train.validation_share),
            ("train.warmup", self.train.warmup),
            ("train.floor", self.train.floor),
            ("train.face_floor", self.train.face_floor),
            ("train.golden_share", self.train.golden_share),
        ];
        for (key, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(Failure::usage(format!("{key} is {share}"), "give a share from 0 to 1"));
            }
        }
        let positive = [
            ("run.shard_size", self.run.shard_size),
            ("run.rounds", self.run.rounds as usize),
            ("value.epochs", self.value.epochs),
            ("value.batch_size", self.value.batch_size),
            ("value.levels (its length)", self.value.levels.len()),
            ("train.batch_size", self.train.batch_size),
            ("train.replay_times", self.train.replay_times),
            ("train.micro_batch", self.train.micro_batch),
            ("search.max_tokens", self.search.max_tokens),
            ("evaluate.max_tokens", self.evaluate.max_tokens),
            ("model.batch_rows", self.model.batch_rows),
            ("model.cache_mib", self.model.cache_mib),
        ];
        self.curate.check().map_err(|error| Failure::usage(error.to_string(), ""))?;
        for (key, number) in positive {
            if number == 0 {
                return Err(Failure::usage(format!("{key} is 0"), "give a number of 1 or more"));
            }
        }
        for (key, number) in [("search.temperature", self.search.temperature), ("evaluate.temperature", self.evaluate.temperature)] {
            if number < 0.0 {
                return Err(Failure::usage(format!("{key} is {number}"), "give 0 (greedy) or more"));
            }
        }
        self.check_losses()?;
        if !(self.search.top_p > 0.0 && self.search.top_p <= 1.0) {
            return Err(Failure::usage(format!("search.top_p is {}", self.search.top_p), "give a share above 0, up to 1"));
        }
        Ok(())
    }
}

impl Config {
    /// What the student's losses need of other sections.
    fn check_losses(&self) -> Result<(), Failure> {
        let train = &self.train;
        if train.loss == TokenLoss::Golden && train.reference.is_empty() && self.model.from_scratch() {
            return Err(Failure::usage(
                "train.loss is \"golden\", but a student from scratch has no trained reference in round 1",
                "set train.reference to the directory of a trained model with the same tokenizer, or model.path to a base",
            ));
        }
        if train.loss == TokenLoss::Value {
            if !self.has_value(1) {
                let (what, hint) = match self.value.model {
                    Estimator::None => ("value.model is \"none\"", "set value.model to \"features\" or \"decoder\""),
                    _ => {
                        ("value.model = \"trunk\" has no trunk in round 1", "set value.model to \"features\" or \"decoder\", or model.path")
                    }
                };
                return Err(Failure::usage(format!("train.loss is \"value\", but {what}"), hint));
            }
            if !self.value.levels.contains(&Level::Steps) {
                return Err(Failure::usage(
                    "train.loss is \"value\", but value.levels lacks \"steps\"",
                    "steps are weighed by the values of the states between them: add \"steps\"",
                ));
            }
        }
        if train.select == Select::Golden && train.value_weight > 0.0 {
            return Err(Failure::usage(
                "train.select is \"golden\", but with train.value_weight paths of the trees are learned beside the kept rows, in no such order",
                "set train.value_weight to 0, or train.select to \"replay\"",
            ));
        }
        for (key, number) in [("train.value_gain", train.value_gain), ("train.future_weight", train.future_weight)] {
            if !(number > 0.0 && number.is_finite()) {
                return Err(Failure::usage(format!("{key} is {number}"), "give a number above 0"));
            }
        }
        Ok(())
    }
}

/// The text of a shipped preset.
///
/// # Errors
/// If there is none of that name.
pub fn preset(name: &str) -> Result<&'static str, Failure> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        Failure::usage(format!("there is no preset `{name}`"), format!("shipped presets: {}", names.join(", ")))
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
    read.map_err(|e| Failure::input(format!("{}: {e}", path.display()), "give a configuration file; `qstill init` writes one"))?;
    Ok((path.display().to_string(), text))
}

/// The default configuration with its comments, and the values of a preset put in.
///
/// # Errors
/// If there is no such preset.
pub fn commented(name: Option<&str>) -> Result<String> {
    let over: Table = name.map(preset).transpose()?.unwrap_or_default().parse().context("a preset does not parse")?;
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
            let (config, _) = Config::resolve(&[((*name).to_owned(), (*text).to_owned())], &[]).unwrap();
            let (again, _) = Config::resolve(&[("commented".to_owned(), commented(Some(name)).unwrap())], &[]).unwrap();
            assert_eq!(config, again, "{name}");
        }
    }

    #[test]
    fn the_resolved_table_reads_back_as_the_same_configuration() {
        let (config, table) = Config::resolve(&[], &["search.samples=16".to_owned(), "train.learning_rate=0.5".to_owned()]).unwrap();
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
        let error = crate::exit::explain(&Config::resolve(&[], &["search.sample=16".to_owned()]).unwrap_err(), &[]);
        assert!(error.contains("search.samples"), "{error}");
    }
}
