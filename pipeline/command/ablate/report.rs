//! All answers of an ablation as one table of the run, and what they say of the arms.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use datasets::table::{Ablated, Evaluation};
use serde::Serialize;
use serde_json::{Value, json};
use stages::ablation::{self, Estimate, difference, share};

use super::arguments::Ablate;
use super::cell::{Answered, Exam};
use super::data::Length;
use crate::disk::durable::write_atomic;
use crate::disk::layout::Stage;
use crate::run::fingerprint::Fingerprint;
use crate::run::inputs::Tables;
use crate::run::rows::{StageOutput, counts, write};
use crate::run::session::Session;
use crate::run::workspace::Size;
use crate::terminal::text::{interval, p_value, percent, plural, table, to_stdout};

/// What is reported.
pub struct Report<'a> {
    pub session: &'a Session,
    pub args: &'a Ablate,
    pub exam: &'a Exam,
    pub length: &'a Length,
    pub round: u32,
    pub seeds: Vec<u64>,
    /// Seed by seed, the arms in their order.
    pub answered: Vec<Answered<'a>>,
}

/// What the table depends on.
#[derive(Serialize)]
struct Inputs {
    code: u32,
    tables: Tables,
    settings: BTreeMap<String, String>,
    /// By arm and seed; their order is that of the shards.
    answers: BTreeMap<String, StageOutput>,
}

/// An arm and its students, in the order of the seeds.
struct Line<'a> {
    students: Vec<&'a Answered<'a>>,
    answers: Vec<Vec<Evaluation>>,
}

impl Line<'_> {
    fn solved(&self) -> Vec<Vec<bool>> {
        self.answers.iter().map(|rows| rows.iter().map(|row| row.correct).collect()).collect()
    }

    fn mean(&self, of: impl Fn(&Answered<'_>) -> i64) -> f64 {
        self.students.iter().map(|student| of(student) as f64).sum::<f64>()
            / self.students.len().max(1) as f64
    }
}

/// Writes the table and the plot data, and prints them.
///
/// # Errors
/// Failed reads and writes.
pub fn publish(report: &Report<'_>) -> Result<()> {
    let asked = &report.exam.asked;
    let arms = report.answered.len() / report.seeds.len().max(1);
    let mut lines: Vec<Line<'_>> =
        (0..arms).map(|_| Line { students: Vec::new(), answers: Vec::new() }).collect();
    for (at, student) in report.answered.iter().enumerate() {
        let line = &mut lines[at % arms];
        line.answers.push(student.in_order(asked)?);
        line.students.push(student);
    }
    let folder = collect(report, &lines)?;
    let plot = plot(report, &lines);
    let text = serde_json::to_string_pretty(&plot)? + "\n";
    let path = folder.join("plot.json");
    write_atomic(&path, text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))?;
    let shown = if report.args.json { text } else { shown(report, &plot) };
    to_stdout(|out| Ok(write!(out, "{shown}")?))?;
    let (path, rows) = (path.display(), folder.display());
    report.session.workspace.console.say(&format!("plot data: {path}; rows: `qstill inspect {rows}`"));
    Ok(())
}

/// Commits all answers as a table of the round; its folder.
fn collect(report: &Report<'_>, lines: &[Line<'_>]) -> Result<std::path::PathBuf> {
    let workspace = &report.session.workspace;
    let mut rows: BTreeMap<String, Vec<Ablated>> = BTreeMap::new();
    let mut inputs = Inputs {
        code: ablation::VERSION,
        tables: Tables::default().with::<Ablated>(),
        settings: BTreeMap::new(),
        answers: BTreeMap::new(),
    };
    for (student, answers) in lines.iter().flat_map(|line| line.students.iter().zip(&line.answers)) {
        let (arm, settings) = (&student.arm.name, student.arm.sets.join(","));
        let name = format!("{arm} seed {}", student.seed);
        let row = |answer: &Evaluation| Ablated {
            arm: arm.clone(),
            settings: settings.clone(),
            seed: student.seed,
            problem_id: answer.problem_id.clone(),
            correct: answer.correct,
            reason: answer.reason.clone(),
            completion: answer.completion.clone(),
            final_answer: answer.final_answer.clone(),
            tokens: answer.tokens,
        };
        rows.insert(name.clone(), answers.iter().map(row).collect());
        inputs.answers.insert(name, student.answers.clone());
        inputs.settings.insert(arm.clone(), settings);
    }
    let at = (Stage::Ablation, report.round);
    let opened = workspace.open(at, &Fingerprint::of(at.0, &inputs)?, Some(rows.len() as u32))?;
    let rows: Vec<Vec<Ablated>> = rows.into_values().collect();
    let units = (rows.len() * report.exam.asked.len()) as u64;
    let size = Size { shards: rows.len() as u32, unit: "answers", units };
    workspace.shards(&opened, &size, |shard, attempt, _| {
        let rows = rows[shard as usize].clone();
        let counts = counts(&[("units", rows.len()), ("solved", rows.iter().filter(|r| r.correct).count())]);
        write(attempt, rows)?;
        Ok(counts)
    })?;
    Ok(opened.path().to_path_buf())
}

/// All that the table says, as data.
fn plot(report: &Report<'_>, lines: &[Line<'_>]) -> Value {
    let estimate = |of: &Estimate| json!({"mean": of.mean, "low": of.low, "high": of.high});
    let first = lines.first().map(Line::solved).unwrap_or_default();
    let arm = |(at, line): (usize, &Line<'_>)| {
        let solved = line.solved();
        let right = |row: &Vec<bool>| row.iter().filter(|right| **right).count();
        let tokens: u64 = line.answers.iter().flatten().map(|row| u64::from(row.tokens)).sum();
        let answers = solved.iter().map(Vec::len).sum::<usize>();
        let mut value = json!({
            "arm": line.students[0].arm.name,
            "settings": line.students[0].arm.sets,
            "rows": line.mean(|s| s.rows),
            "steps": line.mean(|s| s.steps),
            "tokens": line.mean(|s| s.trained),
            "solved_by_seed": solved.iter().map(right).collect::<Vec<_>>(),
            "share": estimate(&share(&solved)),
            "tokens_per_answer": tokens as f64 / answers.max(1) as f64,
        });
        if at > 0 {
            let found = difference(&solved, &first);
            value["against_first"] = json!({
                "share": estimate(&found.share), "by_seed": found.by_seed, "won": found.won,
                "lost": found.lost, "sign_flip_p": found.p, "verdict": found.verdict(),
            });
        }
        value
    };
    let (steps, tokens) = match report.length {
        Length::Steps(steps) => (Some(steps), None),
        Length::Tokens(tokens) => (None, Some(tokens)),
    };
    json!({
        "round": report.round, "split": report.exam.split.name(), "problems": report.exam.asked.len(),
        "seeds": report.seeds, "steps": steps, "tokens": tokens,
        "arms": lines.iter().enumerate().map(arm).collect::<Vec<_>>(),
    })
}

/// The same as text.
fn shown(report: &Report<'_>, plot: &Value) -> String {
    let arms: &[Value] = plot["arms"].as_array().map_or(&[], Vec::as_slice);
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let range = |of: &Value| interval(number(&of["low"]), number(&of["high"]));
    let signed = |value: &Value| format!("{:+.1}", 100.0 * number(value));
    let list = |value: &Value, text: &dyn Fn(&Value) -> String| {
        value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ")
    };
    let mut cells = Vec::new();
    for arm in arms {
        let mut row = vec![
            arm["arm"].as_str().unwrap_or_default().to_owned(),
            format!("{:.0}", number(&arm["rows"])),
            format!("{:.0}", number(&arm["steps"])),
            format!("{:.0}", number(&arm["tokens"])),
            list(&arm["solved_by_seed"], &Value::to_string),
            percent(number(&arm["share"]["mean"])),
            range(&arm["share"]),
            format!("{:.1}", number(&arm["tokens_per_answer"])),
        ];
        let against = &arm["against_first"];
        if against.is_object() {
            let of = &against["share"];
            row.extend([
                signed(&of["mean"]),
                format!("{} to {}", signed(&of["low"]), signed(&of["high"])),
                list(&against["by_seed"], &signed),
                against["won"].to_string(),
                against["lost"].to_string(),
                p_value(number(&against["sign_flip_p"])),
            ]);
        }
        cells.push(row);
    }
    let headers = [
        "arm",
        "rows",
        "steps",
        "tokens",
        "solved",
        "share",
        "95% interval",
        "tokens/answer",
        "points",
        "95% interval",
        "by seed",
        "won",
        "lost",
        "p",
    ];
    let mut out = table(&headers, &cells, &(1..headers.len()).collect::<Vec<_>>());
    let first = arms.first().and_then(|arm| arm["arm"].as_str()).unwrap_or_default();
    let (count, split, seeds) =
        (report.exam.asked.len(), report.exam.split.name(), plural(report.seeds.len() as u64, "seed"));
    out.push_str(&format!(
        "\n{count} {split} problems, answered greedily by the students of {seeds}. points: the share solved, \
         less that of {first},\n\
         with intervals by resampling problems and seeds; won, lost: answers, over all seeds; p: exact \
         sign-flip test over\n\
         problems, for these seeds alone.\n"
    ));
    for arm in arms.iter().filter(|arm| arm["against_first"].is_object()) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, verdict) = (word(&arm["arm"]), word(&arm["against_first"]["verdict"]));
        out.push_str(&format!("{name} is {verdict} {first}\n"));
    }
    out
}
