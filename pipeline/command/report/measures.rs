//! What other files of a run hold: how good its values are, and the comparisons of `bakeoff` and `ablate`.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::curves::rounded;
use crate::disk::durable::{names, read_small};
use crate::disk::layout::{RunDir, Stage};
use crate::stage::searching::METRICS;
use crate::terminal::exit::Failure;

/// A file of JSON; None if it is not there.
///
/// # Errors
/// Failed reads, and a file that says something else.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match read_small(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let what = format!("{} cannot be read: {error}", path.display());
        Failure::input(what, "the command or stage that wrote it writes it anew").into()
    })
}

/// How good a value model is on problems that it was not trained on.
#[derive(Clone, Debug, Serialize)]
pub struct Calibration {
    pub round: u32,
    pub level: String,
    pub places: usize,
    pub problems: usize,
    pub auroc: Option<f64>,
    pub brier: f64,
    pub brier_constant: f64,
    pub ece: f64,
    /// Mean value and mean target of states of similar value.
    pub bins: Vec<(f64, f64)>,
    /// Steps taken, and the probability that a good state is given more than a bad one.
    pub by_depth: Vec<(u32, f64)>,
}

#[derive(Deserialize)]
struct Metrics {
    report: stages::value::metrics::Report,
}

/// Those of all rounds and levels.
///
/// # Errors
/// Failed reads.
pub fn calibrations(run: &RunDir) -> Result<Vec<Calibration>> {
    let mut all = Vec::new();
    for round in run.rounds()? {
        for name in names(&run.round(round))? {
            let Some(level) = name.strip_prefix("value-") else { continue };
            let Some(metrics) = json::<Metrics>(&run.value(round, level).join(METRICS))? else { continue };
            let report = metrics.report;
            let bins = report.reliability.iter().map(|bin| (rounded(bin.value), rounded(bin.target)));
            let by_depth = report.by_depth.iter().filter_map(|of| Some((of.depth, of.auroc?)));
            all.push(Calibration {
                round,
                level: level.to_owned(),
                places: report.places,
                problems: report.problems,
                auroc: report.auroc,
                brier: report.brier,
                brier_constant: report.brier_constant,
                ece: report.ece,
                bins: bins.collect(),
                by_depth: by_depth.collect(),
            });
        }
    }
    Ok(all)
}

/// `plot.json` of `bakeoff`: searches at budgets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bakeoff {
    pub round: u32,
    pub split: String,
    pub problems: u64,
    pub unit: String,
    pub goal: String,
    pub rows: Vec<Contest>,
    #[serde(default)]
    pub against_best_of_n: Vec<Against>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contest {
    pub search: String,
    pub budget: u64,
    pub problems: u64,
    pub solved: u64,
    pub share: f64,
    pub low: f64,
    pub high: f64,
    /// Shares whose chosen answer is right, where the search does not know it.
    pub majority: Option<f64>,
    pub weighted: Option<f64>,
    pub cost_per_solved: Option<f64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Against {
    pub search: String,
    pub budget: u64,
    pub won: u64,
    pub lost: u64,
    pub mcnemar_p: f64,
    pub verdict: String,
}

/// `plot.json` of answers chosen among samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Selection {
    pub round: u32,
    pub split: String,
    pub problems: u64,
    pub rows: Vec<Choice>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Choice {
    pub n: u64,
    pub judge: String,
    pub accuracy: f64,
    pub low: f64,
    pub high: f64,
}

/// `plot.json` of `ablate`: students of arms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ablation {
    pub round: u32,
    pub split: String,
    pub problems: u64,
    pub seeds: Vec<u64>,
    pub arms: Vec<Student>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Student {
    pub arm: String,
    pub settings: Vec<String>,
    /// Means over seeds: rows and tokens of training.
    pub rows: f64,
    pub tokens: f64,
    pub solved_by_seed: Vec<u64>,
    pub share: Interval,
    pub tokens_per_answer: f64,
    /// None for the first arm.
    pub against_first: Option<Difference>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    pub share: Interval,
    pub sign_flip_p: f64,
    pub verdict: String,
}

/// The plot data of a comparison, of every round that has it.
///
/// # Errors
/// Failed reads.
pub fn comparisons<T: DeserializeOwned>(run: &RunDir, stage: Stage) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for round in run.rounds()? {
        all.extend(json(&run.stage(round, stage).join("plot.json"))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_and_readable_or_not() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("x.json");
        assert!(json::<Interval>(&path)?.is_none());
        std::fs::write(&path, r#"{"mean": 1, "low": 0, "high": 2, "more": 3}"#)?;
        assert_eq!(json::<Interval>(&path)?.map(|found| found.high), Some(2.0));
        std::fs::write(&path, "{}")?;
        let error = json::<Interval>(&path).err().map(|error| format!("{error:#}"));
        assert!(error.is_some_and(|text| text.contains("x.json cannot be read")));
        Ok(())
    }
}
