//! From files, presets and `--set` to a checked configuration.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};
use toml::Table;

use crate::config::check;
use crate::config::presets::DEFAULT;
use crate::config::schema::{Origin, Schema, line_of};
use crate::config::settings;
use crate::config::types::Config;
use crate::terminal::exit::Failure;

impl Config {
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
        let whence = |failure: Failure| located(failure, layers, sets);
        let config: Config = settings::read(table.clone(), "the configuration").map_err(whence)?;
        check::check(&config).map_err(whence)?;
        Ok((config, table))
    }
}

/// Says where the setting that a failure names was given: in a file with its line, or on the command line.
fn located(failure: Failure, layers: &[(String, String)], sets: &[String]) -> Failure {
    let keys = |text: &str| -> Vec<Vec<String>> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let dotted = words.filter(|word| word.split('.').count() == 2 && !word.starts_with(char::is_numeric));
        dotted.map(|word| word.split('.').map(str::to_owned).collect()).collect()
    };
    let Some(key) = keys(&failure.what).into_iter().next() else { return failure };
    let name = key.join(".");
    let place = if sets.iter().any(|set| set.split('=').next().is_some_and(|k| k.trim() == name)) {
        format!("--set {name}")
    } else {
        let line = |(file, text): &(String, String)| Some(format!("{file} line {}", line_of(text, &key)?));
        match layers.iter().rev().find_map(line) {
            Some(place) => place,
            None => return failure,
        }
    };
    Failure {
        what: format!("{place}: {}", failure.what.trim_start_matches("the configuration: ")),
        ..failure
    }
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
        let hint = "give a configuration file; `qstill init` writes one";
        match e.kind() {
            ErrorKind::NotFound => Failure::input(format!("{}: no such file", path.display()), hint),
            _ => Failure::input(format!("{}: {e}", path.display()), hint),
        }
    })?;
    Ok((path.display().to_string(), text))
}

#[cfg(test)]
mod tests {
    use stages::curate::CurateConfig;
    use stages::policy::PromptConfig;

    use super::*;
    use crate::config::presets::{PRESETS, commented};

    #[test]
    fn every_preset_resolves_and_its_commented_form_says_the_same() {
        for (name, text) in PRESETS {
            // Some want files of the user's, and some a model.
            let mut sets = Vec::new();
            if text.contains("files") {
                sets.push("problems.train_files=[\"train.jsonl\"]".to_owned());
            }
            if text.contains("model.path") {
                sets.push("model.path=model".to_owned());
            }
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
    fn sections_have_the_same_defaults_in_code() {
        let config = Config::resolve(&[], &[]).unwrap().0;
        assert_eq!(config.curate, CurateConfig::default());
        assert_eq!(config.prompt, PromptConfig::default());
    }

    #[test]
    fn a_wrong_key_is_named_with_the_nearest() {
        let error = crate::terminal::exit::explain(
            &Config::resolve(&[], &["search.sample=16".to_owned()]).unwrap_err(),
            &[],
        );
        assert!(error.contains("search.samples"), "{error}");
    }
}
