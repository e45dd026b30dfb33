//! What the cards say of a run: from its records, fingerprints and `evaluation.json`, and from nothing else.
//! What a run does not know is not there.

use std::fs;
use std::path::Path;

use anyhow::Result;
use datasets::domains::compared::Compare;
use datasets::table::{Evaluation, Row};
use serde::Serialize;
use serde_json::Value;
use stages::audit::Line;
use stages::evaluate::Summary;
use stages::judge::Judge;
use stages::search::Sampler;
use stages::train::TeacherAt;
use stages::train::losses::TokenLoss;

use super::configs::Config;
use super::finished::Finished;
use crate::command::audit;
use crate::command::context::reference::{TablePage, tables};
use crate::command::report::rounds::RoundFacts;
use crate::config::Config as Settings;
use crate::disk::durable::{names, read_small};
use crate::disk::layout::{RunDir, Stage};
use crate::run::fingerprint::Fingerprint;
use crate::run::session::Session;
use crate::stage::evaluation::{Paired, Results};
use crate::terminal::console::Console;

/// All that the cards say.
#[derive(Serialize)]
pub struct Facts {
    pub title: String,
    pub version: &'static str,
    pub license: String,
    pub base_model: Option<String>,
    /// Rows of all configs, as the Hub sorts datasets.
    pub size: &'static str,
    pub configs: Vec<Config>,
    pub tables: Vec<TablePage>,
    /// Problems of each split.
    pub problems: Vec<(&'static str, i64)>,
    pub domain: &'static str,
    /// Who gave the verdicts.
    pub verifier: Option<String>,
    pub settings: Vec<Setting>,
    pub models: Vec<Named>,
    pub rounds: Vec<RoundFacts>,
    /// By round, who found what was kept.
    pub origins: Vec<(u32, String)>,
    /// `curate.contamination`.
    pub contamination: Option<String>,
    /// By round, how many solutions of problems like held-out ones were dropped.
    pub contaminated: Vec<(u32, i64)>,
    /// What was kept and is right for the right reason, where problems know how they were made.
    pub audit: Vec<Line>,
    pub measured: Option<Measured>,
    pub student: Option<Student>,
    /// Whether test problems, and whether answers to them, are in the dataset.
    pub has_test: bool,
    pub has_evaluation: bool,
}

/// A setting that rows were made with, as the fingerprint of their stage has it.
#[derive(Serialize)]
pub struct Setting {
    pub key: &'static str,
    pub value: String,
}

/// A model, what it did, and what its own files say of its licence.
#[derive(Serialize)]
pub struct Named {
    pub role: &'static str,
    pub name: String,
    pub terms: Option<String>,
}

/// Answers to held-out problems.
#[derive(Serialize)]
pub struct Measured {
    pub calculator: bool,
    pub rows: Vec<Summary>,
    /// The row of the student that is given away.
    pub student: Option<Summary>,
    pub against_base: Option<Paired>,
}

#[derive(Serialize)]
pub struct Student {
    pub round: u32,
    pub from_scratch: bool,
    /// Of its training.
    pub settings: Vec<Setting>,
    /// Tokens of its context.
    pub context: Option<u64>,
    pub facts: Option<RoundFacts>,
}

impl Facts {
    /// Of a run, with what the user calls it: title, licence, base model.
    ///
    /// # Errors
    /// Failed reads.
    pub fn of(
        session: &Session,
        finished: &Finished,
        configs: &[Config],
        (title, license, base_model): (&str, &str, Option<&str>),
        console: &Console,
    ) -> Result<Self> {
        let (run, config) = (&session.workspace.run, &session.config);
        let last = finished.last();
        let rounds = finished.rounds.iter().map(|round| RoundFacts::of(run, &round.outputs));
        let rounds = rounds.collect::<Result<Vec<RoundFacts>>>()?;
        let curated = || finished.rounds.iter().map(|round| (round.outputs.round, &round.outputs.curate));
        let (lines, _, _) = audit::found(run, console)?;
        let kept = |line: &Line| {
            line.of == "kept" && line.algorithm == "all" && line.operations.is_none() && line.round <= last
        };
        let splits = ["train", "validation", "test"].map(|split| (split, finished.problems.count(split)));
        let settings = settings(run, last)?;
        let contamination = settings.iter().find(|setting| setting.key == "curate.contamination");
        let mut pages = tables();
        pages.sort_by_key(|page| configs.iter().position(|config| config.name == page.name));
        pages.retain(|page| configs.iter().any(|config| config.name == page.name));
        Ok(Self {
            title: title.to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            license: license.to_owned(),
            base_model: base_model.map(str::to_owned),
            size: size_of(configs.iter().map(Config::rows).sum()),
            configs: configs.to_vec(),
            tables: pages,
            problems: splits.into_iter().filter(|(_, count)| *count > 0).collect(),
            domain: config.problems.domain(),
            verifier: verifier(run, last, config)?,
            models: models(config),
            origins: curated().map(|(round, curate)| (round, curate.reasons("kept "))).collect(),
            contamination: contamination.map(|setting| setting.value.clone()),
            settings,
            contaminated: curated().map(|(round, of)| (round, of.count("dropped contaminated"))).collect(),
            audit: lines.into_iter().filter(kept).collect(),
            measured: measured(run, finished)?,
            student: student(session, finished, &rounds)?,
            rounds,
            has_test: configs.iter().any(|config| config.splits.iter().any(|split| split.name == "test")),
            has_evaluation: configs.iter().any(|config| config.name == Evaluation::TABLE),
        })
    }
}

/// The Hub's classes of sizes.
fn size_of(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        _ => "n>1B",
    }
}

/// Settings that say most about a stage's rows.
const SHOWN: [(Stage, &[&str]); 4] = [
    (Stage::Problems, &["problems.source", "problems.max_operations", "problems.numbers", "seed"]),
    (
        Stage::Search,
        &[
            "search.policy",
            "search.algorithm",
            "search.samples",
            "search.temperature",
            "search.max_tokens",
            "search.calculator",
            "search.rules_on",
            "search.rule_solutions",
            "search.rule_expansions",
            "tree.unit",
            "tree.budget",
            "tree.goal",
        ],
    ),
    (
        Stage::Curate,
        &[
            "curate.faults",
            "curate.contamination",
            "curate.contamination_n",
            "curate.min_pass_rate",
            "curate.max_pass_rate",
            "curate.min_agreement",
            "curate.min_siblings",
            "curate.retire",
            "curate.duplicates",
            "curate.per_problem",
            "curate.choose",
        ],
    ),
    (
        Stage::Train,
        &[
            "train.loss",
            "train.targets",
            "train.select",
            "train.start",
            "train.epochs",
            "train.learning_rate",
            "train.batch_size",
            "train.max_tokens",
            "train.lora_rank",
            "train.validation_share",
        ],
    ),
];

/// Those of a round.
fn settings(run: &RunDir, round: u32) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    for (stage, keys) in SHOWN {
        let Some(fingerprint) = Fingerprint::load(&run.stage(round, stage))? else { continue };
        let source = fingerprint.get("problems.source").unwrap_or_default();
        let samples = fingerprint.get("search.algorithm") == Some("best-of-n");
        let idle = |key: &str| match key {
            "problems.max_operations" => source != "words",
            "problems.numbers" => source != "countdown",
            _ => samples && key.starts_with("tree."),
        };
        for key in keys.iter().filter(|key| !idle(key)) {
            let value = fingerprint.get(key).filter(|value| value.len() <= 200);
            all.extend(value.map(|value| Setting { key, value: value.to_owned() }));
        }
    }
    Ok(all)
}

/// Name and version of the verifier; None if nothing says who gave the verdicts.
fn verifier(run: &RunDir, round: u32, config: &Settings) -> Result<Option<String>> {
    let Some(made) = Fingerprint::load(&run.stage(round, Stage::Verify))? else { return Ok(None) };
    let domain = config.problems.domain();
    Ok(match (made.get("verifier"), made.get("verifier.domain")) {
        (Some(version), _) => Some(format!("the exact verifier of the domain `{domain}`, version {version}")),
        (None, Some(version)) if config.verify.compare != Compare::Exact => Some(format!(
            "a comparison of texts (`verify.compare = \"{}\"`), with the rules of the domain `{domain}`, \
             version {version}",
            config.verify.compare.name()
        )),
        (None, Some(version)) => Some(format!(
            "a program of the run's author (`verify.command`), with the rules of the domain `{domain}`, \
             version {version}"
        )),
        (None, None) => None,
    })
}

/// The models that took part, by the last part of their paths: where they lay is nobody's business.
fn models(config: &Settings) -> Vec<Named> {
    let mut all = Vec::new();
    let of_path = |role: &'static str, path: &str| {
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        Named { role, name: name.unwrap_or_default(), terms: terms(Path::new(path)) }
    };
    if !config.model.from_scratch() {
        all.push(of_path("the student was made from it", &config.model.path));
    }
    let distils = config.train.loss == TokenLoss::Distil;
    let served_teacher = distils && config.train.teacher == TeacherAt::Endpoint;
    let local = distils && !served_teacher;
    if (local || config.search.policy == Sampler::Teacher) && !config.model.teacher.is_empty() {
        let role = if local { "teacher of the student's tokens" } else { "sampled solutions" };
        all.push(of_path(role, &config.model.teacher));
    }
    let served = |role: &'static str, name: &str| Named { role, name: name.to_owned(), terms: None };
    if served_teacher {
        all.push(served("teacher of the student's tokens, behind an endpoint", &config.endpoint.model));
    }
    if config.search.policy == Sampler::Endpoint {
        all.push(served("sampled solutions, behind an endpoint", &config.endpoint.model));
    }
    if config.verify.judge != Judge::None {
        let own = &config.verify.judge_model;
        let name = if own.is_empty() { &config.endpoint.model } else { own };
        all.push(served("judge of answers that the verifier could not decide", name));
    }
    all
}

/// What a model directory says of its licence: its card, or else the first line of a licence.
fn terms(dir: &Path) -> Option<String> {
    let text = |name: &str| String::from_utf8(read_small(&dir.join(name)).ok()?).ok();
    let card = text("README.md").unwrap_or_default();
    let head = card.strip_prefix("---\n").and_then(|rest| rest.split("\n---").next()).unwrap_or_default();
    let said = head.lines().find_map(|line| line.strip_prefix("license:"));
    if let Some(license) = said.map(str::trim).filter(|license| !license.is_empty()) {
        return Some(format!("its card says `{}`", license.trim_matches(['"', '\''])));
    }
    let file = names(dir).ok()?.into_iter().find(|name| name.to_ascii_uppercase().starts_with("LICENSE"))?;
    let first = text(&file)?.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned();
    Some(format!("its file {file} begins with \u{201c}{first}\u{201d}"))
}

/// The base, the student that is given away, and the search that it does without.
fn measured(run: &RunDir, finished: &Finished) -> Result<Option<Measured>> {
    let Some(results) = Results::load(run)? else { return Ok(None) };
    let round = finished.student.unwrap_or(finished.last());
    let fits = |row: &&Summary| row.model == "base" || row.round == round;
    let rows: Vec<Summary> = results.rows.iter().filter(fits).cloned().collect();
    let student = rows.iter().find(|row| row.model == "student").cloned();
    let against_base = results.student_against_base.into_iter().find(|of| of.round == round);
    Ok((!rows.is_empty()).then_some(Measured { calculator: results.calculator, rows, student, against_base }))
}

fn student(session: &Session, finished: &Finished, rounds: &[RoundFacts]) -> Result<Option<Student>> {
    let Some(round) = finished.student else { return Ok(None) };
    let run = &session.workspace.run;
    let path = run.student(round).join("config.json");
    let config: Option<Value> = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let context = config.and_then(|config| config["max_position_embeddings"].as_u64());
    let facts = rounds.iter().find(|facts| facts.round == round).cloned();
    let mut settings = settings(run, round)?;
    settings.retain(|setting| setting.key.starts_with("train."));
    let from_scratch = session.config.model.from_scratch();
    Ok(Some(Student { round, from_scratch, settings, context, facts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_what_the_model_says_itself() -> Result<()> {
        let dir = tempfile::tempdir()?;
        assert_eq!(terms(dir.path()), None);
        fs::write(dir.path().join("LICENSE.txt"), "\n  MIT License\n\nCopyright")?;
        assert_eq!(
            terms(dir.path()).as_deref(),
            Some("its file LICENSE.txt begins with \u{201c}MIT License\u{201d}")
        );
        fs::write(dir.path().join("README.md"), "---\ntags: []\nlicense: \"apache-2.0\"\n---\nlicense: x\n")?;
        assert_eq!(terms(dir.path()).as_deref(), Some("its card says `apache-2.0`"));
        fs::write(dir.path().join("README.md"), "license: none of the head's\n")?;
        assert!(terms(dir.path()).is_some_and(|terms| terms.contains("MIT")));
        Ok(())
    }

    #[test]
    fn sizes_are_the_hubs_classes() {
        assert_eq!(
            [999, 1_000, 99_999, 100_000].map(size_of),
            ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M"]
        );
    }
}
