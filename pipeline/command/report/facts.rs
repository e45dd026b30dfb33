//! All that the page says of a run, from its files alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context, Result};
use datasets::types::{Problem, Split};
use serde::Serialize;

use super::accounts::{Accounts, KEPT};
use super::curves::{self, LossCurve};
use super::economy::{Dear, dearest};
use super::headline::Headline;
use super::measures::{self, Ablation, Bakeoff, Calibration, Selection};
use super::rounds::{Bar, Proportion, RoundFacts, meaning};
use super::samples::{Questions, Samples, samples};
use super::trees::{Explorer, PROBLEMS};
use crate::command::show::sheet::{Outputs, RoundSheet, round_sheets};
use crate::disk::layout::{RunDir, Stage};
use crate::disk::record::content_hash;
use crate::run::fingerprint::Fingerprint;
use crate::run::rows::{StageOutput, committed, train_shards};
use crate::stage::break_even::BreakEven;
use crate::stage::evaluation::{Results, shown_name};

/// Rows that are shown of each kind.
const SAMPLES: usize = 6;

/// The whole page.
#[derive(Serialize)]
pub struct Facts {
    /// Name of the run's directory.
    pub name: String,
    pub version: &'static str,
    pub headline: Headline,
    /// Problems of each split.
    pub splits: Vec<(&'static str, i64)>,
    pub rounds: Vec<RoundFacts>,
    pub measured: Vec<Measured>,
    /// Whether the calculator filled in results for base and student.
    pub calculator: bool,
    pub break_even: Option<BreakEven>,
    pub dearest: Vec<Dear>,
    /// By round, how many problems have so many distinct correct solutions.
    pub distinct: Vec<(u32, Vec<(u32, u32)>)>,
    /// Dropped solutions whose final answer is right, by the reasons that speak against them; shares are of
    /// all solutions with the right answer.
    pub right_answers: Vec<Bar>,
    pub losses: Vec<LossCurve>,
    pub calibrations: Vec<Calibration>,
    pub bakeoffs: Vec<Bakeoff>,
    pub selections: Vec<Selection>,
    pub ablations: Vec<Ablation>,
    pub explorer: Explorer,
    pub samples: Vec<Samples>,
    pub provenance: Vec<Provenance>,
    /// `run.toml`.
    pub config: String,
}

/// A row of the results.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub round: u32,
    pub model: String,
    pub split: String,
    pub solved: Proportion,
    pub k: usize,
    pub pass_at_k: Option<f64>,
    pub maj_at_k: Option<f64>,
    pub tokens_per_problem: f64,
    pub tokens_per_solved: Option<f64>,
    pub expansions_per_problem: f64,
    pub seconds: f64,
    pub by_difficulty: Vec<(u32, Proportion)>,
}

/// What a stage's rows were made from, and what they are.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    pub stage: String,
    pub shards: usize,
    /// Rows by table.
    pub rows: String,
    /// Hash of settings, code and inputs, and hash of the content.
    pub fingerprint: String,
    pub content: String,
}

impl Facts {
    /// # Errors
    /// Failed reads.
    pub fn of(run: &RunDir) -> Result<Self> {
        let outputs = Outputs::all(run)?;
        let rounds = outputs.iter().map(|output| RoundFacts::of(run, output)).collect::<Result<Vec<_>>>()?;
        let results = Results::load(run)?;
        let problems = committed(run, 0, Stage::Problems)?;
        let accounts = Accounts::of(&outputs, SAMPLES)?;
        let explored = accounts.explored(PROBLEMS);
        let looked_at = LookedAt::of((&accounts, &explored[..]), &problems, &outputs)?;
        let config = run.config();
        Ok(Self {
            name: run.name(),
            version: env!("CARGO_PKG_VERSION"),
            headline: Headline::of(&rounds, results.as_ref()),
            splits: splits(&problems),
            rounds,
            measured: results.as_ref().map(measured).unwrap_or_default(),
            calculator: results.as_ref().is_some_and(|results| results.calculator),
            break_even: results.as_ref().and_then(|results| results.break_even.clone()),
            dearest: dearest(&accounts, &looked_at.questions),
            distinct: distinct(&accounts),
            right_answers: right_answers(&accounts),
            losses: curves::losses(run)?,
            calibrations: measures::calibrations(run)?,
            bakeoffs: measures::comparisons(run, Stage::Bakeoff)?,
            selections: measures::comparisons(run, Stage::Selection)?,
            ablations: measures::comparisons(run, Stage::Ablation)?,
            explorer: looked_at.explorer(&accounts, &explored)?,
            samples: looked_at.samples(&accounts),
            provenance: provenance(run)?,
            config: std::fs::read_to_string(&config)
                .with_context(|| format!("failed to read {}", config.display()))?,
        })
    }
}

/// The problems that the page looks at, with all that the tables say of them.
struct LookedAt {
    questions: Questions,
    sheets: HashMap<String, Vec<RoundSheet>>,
}

impl LookedAt {
    fn of(
        (accounts, explored): (&Accounts, &[&String]),
        problems: &StageOutput,
        outputs: &[Outputs],
    ) -> Result<Self> {
        let mut shards: BTreeMap<u32, HashSet<String>> = BTreeMap::new();
        for place in accounts.samples.values().flatten() {
            shards.entry(place.shard).or_default().insert(place.problem_id.clone());
        }
        for id in explored {
            shards.entry(accounts.problems[*id].shard).or_default().insert((*id).clone());
        }
        let wanted: Vec<u32> = outputs.iter().map(|output| output.round).collect();
        let of_train = train_shards(problems);
        let (mut questions, mut sheets) = (Questions::new(), HashMap::new());
        for (shard, ids) in shards {
            sheets.extend(round_sheets(outputs, &wanted, shard, &ids)?);
            let Some(shard) = of_train.get(shard as usize) else { continue };
            for problem in problems.of_problems::<Problem>(Some(*shard), &ids)? {
                let Problem { problem_id, question, answer, difficulty, .. } = problem;
                questions.insert(problem_id, (question, answer, difficulty));
            }
        }
        Ok(Self { questions, sheets })
    }

    /// The trees of the explored problems.
    fn explorer(&self, accounts: &Accounts, explored: &[&String]) -> Result<Explorer> {
        let all_nodes = accounts.problems.values().map(|account| u64::from(account.nodes)).sum();
        let mut explorer = Explorer { searched: accounts.problems.len(), all_nodes, ..Explorer::default() };
        for id in explored {
            if let (Some(rounds), Some(asked)) = (self.sheets.get(*id), self.questions.get(*id)) {
                explorer.add(id, &accounts.problems[*id], asked, rounds)?;
            }
        }
        Ok(explorer)
    }

    /// Kept ones first, then by reason.
    fn samples(&self, accounts: &Accounts) -> Vec<Samples> {
        let mut kinds: Vec<&String> = accounts.samples.keys().collect();
        kinds.sort_by_key(|kind| (*kind != KEPT, (*kind).clone()));
        let of = |kind: &String| samples(kind, accounts.samples[kind].iter(), &self.questions, &self.sheets);
        kinds.into_iter().map(of).collect()
    }
}

fn distinct(accounts: &Accounts) -> Vec<(u32, Vec<(u32, u32)>)> {
    let of = accounts.distinct.iter();
    of.map(|(round, counts)| (*round, counts.iter().map(|(n, problems)| (*n, *problems)).collect())).collect()
}

/// Most frequent first.
fn right_answers(accounts: &Accounts) -> Vec<Bar> {
    let all: u32 = accounts.problems.values().map(|account| account.correct).sum();
    let of = |(reason, count): (&String, &u32)| {
        let (meaning, fault) = meaning(reason);
        let (count, share) = (i64::from(*count), f64::from(*count) / f64::from(all.max(1)));
        Bar { name: reason.clone(), meaning, count, share, fault }
    };
    let mut rows: Vec<Bar> = accounts.right_answers.iter().map(of).filter(|row| row.fault).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

fn splits(problems: &StageOutput) -> Vec<(&'static str, i64)> {
    let splits = [Split::Train, Split::Validation, Split::Test];
    splits.map(|split| (split.name(), problems.count(split.name()))).to_vec()
}

fn measured(results: &Results) -> Vec<Measured> {
    let row = |row: &stages::evaluate::Summary| {
        let difficulties = row.by_difficulty.iter();
        Some(Measured {
            round: row.round,
            model: shown_name(&row.model).to_owned(),
            split: row.split.clone(),
            solved: Proportion::new(row.solved, row.problems)?,
            k: row.k,
            pass_at_k: row.pass_at_k,
            maj_at_k: row.maj_at_k,
            tokens_per_problem: row.tokens_per_problem,
            tokens_per_solved: row.tokens_per_solved,
            expansions_per_problem: row.expansions as f64 / row.problems.max(1) as f64,
            seconds: row.seconds,
            by_difficulty: difficulties
                .filter_map(|(difficulty, solved, of)| Some((*difficulty, Proportion::new(*solved, *of)?)))
                .collect(),
        })
    };
    results.rows.iter().filter_map(row).collect()
}

fn provenance(run: &RunDir) -> Result<Vec<Provenance>> {
    let mut all = Vec::new();
    let rounds = run.rounds()?;
    let stages = Stage::ALL.into_iter().chain(Stage::BESIDE).filter(|stage| *stage != Stage::Problems);
    let of_rounds = rounds.iter().flat_map(|round| stages.clone().map(move |stage| (*round, stage)));
    for (round, stage) in [(0, Stage::Problems)].into_iter().chain(of_rounds) {
        let output = committed(run, round, stage)?;
        if output.commits.is_empty() {
            continue;
        }
        let Some(fingerprint) = Fingerprint::load(&run.stage(round, stage))? else { continue };
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        for file in output.commits.iter().flat_map(|commit| &commit.files) {
            *rows.entry(&file.table).or_default() += file.rows;
        }
        let rows: Vec<String> = rows.iter().map(|(table, rows)| format!("{rows} {table}")).collect();
        let short = |hash: String| hash.chars().take(16).collect();
        all.push(Provenance {
            stage: stage.in_round(round),
            shards: output.commits.len(),
            rows: rows.join(", "),
            fingerprint: short(fingerprint.hash()),
            content: short(content_hash(&output.commits)),
        });
    }
    Ok(all)
}
