//! What the evaluate stages of a run found: `evaluation.json`, and the table at the end of a run.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use datasets::table::Evaluation;
use datasets::types::{Problem, Split};
use serde::{Deserialize, Serialize};
use stages::evaluate::{Summary, paired, summarise};

use crate::disk::durable::write_atomic;
use crate::disk::layout::{RunDir, Stage};
use crate::run::bill::{Bill, bill};
use crate::run::rows::{StageOutput, committed, problems_of};
use crate::run::session::Session;
use crate::stage::break_even::BreakEven;
use crate::stage::measuring::Measuring;
use crate::terminal::exit::Failure;
use crate::terminal::text::{self, interval, p_value, percent};

/// `evaluation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Whether the calculator filled in results for base and student.
    pub calculator: bool,
    /// What was measured, by round.
    pub rows: Vec<Summary>,
    pub student_against_base: Vec<Paired>,
    /// When the last student has paid for itself; None unless a search was measured too.
    #[serde(default)]
    pub break_even: Option<BreakEven>,
    /// What an endpoint's answers cost, where the run counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Bill>,
}

/// A round's student and the base on the same problems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    pub round: u32,
    /// Problems that only the student solves, and that only the base does.
    pub won: usize,
    pub lost: usize,
    /// Exact, two-sided.
    pub mcnemar_p: f64,
}

impl Results {
    /// What a run has of it; None if nothing was evaluated yet.
    ///
    /// # Errors
    /// If the file is there but cannot be read.
    pub fn load(run: &RunDir) -> Result<Option<Self>> {
        let path = run.evaluation();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("failed to read {}", path.display())),
        };
        let results = serde_json::from_str(&text);
        results.map(Some).map_err(|error| {
            let what = format!("{} is not an evaluation: {error}", path.display());
            Failure::input(what, "`qstill resume` writes it anew").into()
        })
    }

    /// The last row of a model.
    pub fn last(&self, model: &str) -> Option<&Summary> {
        self.rows.iter().rev().find(|row| row.model == model)
    }
}

/// Writes `evaluation.json` from everything that is committed.
///
/// # Errors
/// Failed reads and writes.
pub fn publish(session: &Session, problems: &StageOutput) -> Result<()> {
    let (config, run) = (&session.config.evaluate, &session.workspace.run);
    let all = Measuring::of(problems, config.split, config.problems, &[]).asked();
    let asked = problems_of(problems, config.split, 0)?;
    let asked: HashMap<String, Problem> = asked.into_iter().map(|p| (p.problem_id.clone(), p)).collect();
    let mut rows: Vec<Summary> = Vec::new();
    let mut tests: Vec<Paired> = Vec::new();
    let (mut base, mut search) = (None, Vec::new());
    for round in run.rounds()? {
        let output = committed(run, round, Stage::Evaluate)?;
        let mut models: BTreeMap<String, (Vec<Evaluation>, i64)> = BTreeMap::new();
        for commit in &output.commits {
            let found: Vec<Evaluation> = output.shard(commit.shard)?;
            let Some(first) = found.first() else { continue };
            let (rows, milliseconds) = models.entry(first.model.clone()).or_default();
            *milliseconds += commit.counts.get("milliseconds").copied().unwrap_or(0);
            rows.extend(found);
        }
        for (model, (found, milliseconds)) in models {
            let summary = summarise(&found, &asked, milliseconds as f64 / 1000.0);
            // One that was stopped half-way is none.
            let Some(summary) = summary.filter(|summary| summary.problems == all) else { continue };
            match (model.as_str(), &base) {
                ("base", _) => base = Some(found),
                ("teacher", _) => search = found,
                ("student", Some(base)) => {
                    let (won, lost, p) = paired(base, &found);
                    tests.push(Paired { round, won, lost, mcnemar_p: p });
                }
                _ => {}
            }
            rows.push(summary);
        }
    }
    let calculator = config.calculator;
    let break_even = BreakEven::of(run, &rows, &search)?;
    let endpoint = bill(session)?;
    let results = Results { calculator, rows, student_against_base: tests, break_even, endpoint };
    let text = serde_json::to_string_pretty(&results)? + "\n";
    let path = run.evaluation();
    write_atomic(&path, text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))
}

/// The table of `evaluation.json`; None if nothing was evaluated yet.
///
/// # Errors
/// If the file is there but cannot be read.
pub fn table(run: &RunDir) -> Result<Option<String>> {
    let Some(results) = Results::load(run)? else { return Ok(None) };
    let rows = &results.rows;
    let maybe = |x: Option<f64>, f: &dyn Fn(f64) -> String| x.map_or("-".to_owned(), f);
    let number = |x: f64| if x < 100.0 { format!("{x:.1}") } else { format!("{x:.0}") };
    let headers = [
        "round",
        "model",
        "solved",
        "pass@1",
        "95% interval",
        "k",
        "pass@k",
        "maj@k",
        "tokens/problem",
        "tokens/solved",
        "of a model",
        "expansions",
        "seconds",
    ];
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            vec![
                r.round.to_string(),
                shown_name(&r.model).to_owned(),
                format!("{}/{}", r.solved, r.problems),
                percent(r.pass_at_1),
                interval(r.ci_low, r.ci_high),
                r.k.to_string(),
                maybe(r.pass_at_k, &percent),
                maybe(r.maj_at_k, &percent),
                number(r.tokens_per_problem),
                maybe(r.tokens_per_solved, &number),
                number(r.model_tokens as f64 / r.problems.max(1) as f64),
                number(r.expansions as f64 / r.problems.max(1) as f64),
                format!("{:.1}", r.seconds),
            ]
        })
        .collect();
    let mut out = text::table(&headers, &lines, &[0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]);
    let split = rows.first().map_or(Split::Test.name().to_owned(), |r| r.split.clone());
    out.push_str(&format!(
        "\nOn the {split} problems. base and student give one greedy answer without search, and k samples \
         beside it.\n\
         search*: policy and search with the gold answer as its goal: how training data is made, not what \
         search could do without\n\
         the answer. Its tokens include every step it tried; \"of a model\" and expansions are per \
         problem.\n"
    ));
    if results.calculator {
        out.push_str(
            "Results after `=` were filled in by the calculator, for base and student too \
             (evaluate.calculator).\n",
        );
    }
    for r in rows.iter().filter(|r| !r.by_difficulty.is_empty()) {
        let parts: Vec<String> = r.by_difficulty.iter().map(|(d, s, n)| format!("{d}: {s}/{n}")).collect();
        let (round, name) = (r.round, shown_name(&r.model));
        out.push_str(&format!(
            "solved by number of operations, round {round} {name}: {}\n",
            parts.join("  ")
        ));
    }
    for (r, choices) in rows.iter().filter_map(|r| Some((r, r.choices.as_ref()?))) {
        out.push_str(&format!("round {} {}, {choices}\n", r.round, shown_name(&r.model)));
    }
    for r in rows.iter().filter(|r| r.undecidable > 0) {
        let (round, name) = (r.round, shown_name(&r.model));
        out.push_str(&format!(
            "answers that could not be judged, counted as unsolved, round {round} {name}: {}\n",
            r.undecidable
        ));
    }
    for Paired { round, won, lost, mcnemar_p } in &results.student_against_base {
        out.push_str(&format!(
            "round {round}: the student solves {won} problems that the base does not, and loses {lost} \
             (exact McNemar p = {})\n",
            p_value(*mcnemar_p)
        ));
    }
    let last = |model: &str| results.last(model).and_then(|row| row.tokens_per_solved);
    if let (Some(search), Some(student)) = (last("teacher"), last("student")) {
        let times = search / student;
        out.push_str(&format!(
            "tokens per solved problem: the last search* spends {times:.1} times the student's\n"
        ));
    }
    if let Some(break_even) = &results.break_even {
        out.push_str(&(break_even.sentence() + "\n"));
    }
    if let Some(bill) = &results.endpoint {
        out.push_str(&format!("the run's endpoint: {bill}\n"));
    }
    Ok(Some(out))
}

/// What the table calls a model. `teacher`, as rows have it, would read as what a search can do where the
/// answer is unknown.
pub fn shown_name(model: &str) -> &str {
    if model == "teacher" { "search*" } else { model }
}
