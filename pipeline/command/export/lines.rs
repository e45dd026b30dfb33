//! `qstill export RUN`: what a run kept as JSON lines for other trainers, in the form of their choice.

use anyhow::Result;
use clap::{Args, ValueEnum};
use datasets::table::{Preference, StepLabels};
use serde_json::{Map, Value, json};
use stages::train::Thoughts;

use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::{Rounds, StageOutput, committed, pool};
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{plural, to_stdout};

/// What is written as JSON lines, and how.
#[derive(Args)]
#[command(next_help_heading = "JSON lines")]
pub struct Lines {
    #[arg(long, value_enum, default_value_t = Exported::Kept, conflicts_with = "dir")]
    table: Exported,
    /// How a row of `kept` is written.
    #[arg(long, value_enum, default_value_t = Form::Messages, conflicts_with = "dir")]
    form: Form,
    /// Rows up to and with this round; of other tables than `kept`, rows of this round alone. Default: all.
    #[arg(long, conflicts_with = "dir")]
    round: Option<u32>,
    /// Put what the model thought before its answer, between <think> and </think>.
    #[arg(long, conflicts_with = "dir")]
    thoughts: bool,
}

/// What can be exported.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Exported {
    Kept,
    Preferences,
    StepLabels,
}

/// The form of a training row.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// `messages`: the turns of the conversation.
    Messages,
    /// `prompt` and `completion`: the same turns, apart.
    PromptCompletion,
}

/// Writes a table of a run to stdout.
///
/// # Errors
/// Nothing is curated; failed reads and writes.
pub fn run(run: &RunDir, args: &Lines, console: &Console) -> Result<Exit> {
    let rows = args.rows(run)?;
    let count = rows.len() as u64;
    to_stdout(|out| rows.iter().try_for_each(|row| Ok(writeln!(out, "{}", Value::Object(row.clone()))?)))?;
    console.say(&format!("export: {}", plural(count, "row")));
    Ok(Exit::Done)
}

impl Lines {
    fn rows(&self, run: &RunDir) -> Result<Vec<Map<String, Value>>> {
        let mut rounds: Vec<StageOutput> = Vec::new();
        for round in run.rounds()? {
            let wanted = self.round.is_none_or(|last| match self.table {
                Exported::Kept => round <= last,
                _ => round == last,
            });
            let curated = committed(run, round, Stage::Curate)?;
            if wanted && !curated.commits.is_empty() {
                rounds.push(curated);
            }
        }
        if rounds.is_empty() {
            let what = format!("{}: nothing is curated yet", run.root().display());
            return Err(
                Failure::input(what, "resume it with `qstill resume`, or choose another --round").into()
            );
        }
        Ok(match self.table {
            Exported::Kept => self.kept(Rounds(rounds))?,
            Exported::Preferences => {
                let rows = read(&rounds, StageOutput::read::<Preference>)?;
                rows.into_iter().map(preference).collect()
            }
            Exported::StepLabels => {
                let rows = read(&rounds, StageOutput::read::<StepLabels>)?;
                rows.into_iter().map(step_labels).collect()
            }
        })
    }

    fn kept(&self, rounds: Rounds) -> Result<Vec<Map<String, Value>>> {
        let thoughts = if self.thoughts { Thoughts::Keep } else { Thoughts::Drop };
        let rows = pool(&rounds, None)?.into_iter().map(|row| {
            let said = thoughts.spoken(&row.thought, row.completion);
            let (asked, said) = (turn("user", &row.prompt), turn("assistant", &said));
            let mut fields = Map::new();
            match self.form {
                Form::Messages => drop(fields.insert("messages".into(), json!([asked, said]))),
                Form::PromptCompletion => {
                    fields.insert("prompt".into(), json!([asked]));
                    fields.insert("completion".into(), json!([said]));
                }
            }
            fields.insert("weight".into(), json!(row.weight));
            fields.insert("round".into(), json!(row.round));
            fields.insert("problem_id".into(), json!(row.problem_id));
            fields.insert("solution_id".into(), json!(row.solution_id));
            fields
        });
        Ok(rows.collect())
    }
}

fn read<R>(rounds: &[StageOutput], of: fn(&StageOutput) -> Result<Vec<R>>) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for round in rounds {
        rows.extend(of(round)?);
    }
    Ok(rows)
}

fn turn(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

fn preference(row: Preference) -> Map<String, Value> {
    let fields = [
        ("prompt", json!([turn("user", &row.prompt)])),
        ("chosen", json!([turn("assistant", &row.chosen)])),
        ("rejected", json!([turn("assistant", &row.rejected)])),
        ("margin", json!(row.margin)),
        ("round", json!(row.round)),
        ("problem_id", json!(row.problem_id)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The form of TRL's stepwise supervision, which has no other than texts.
fn step_labels(row: StepLabels) -> Map<String, Value> {
    let fields = [
        ("prompt", json!(row.prompt)),
        ("completions", json!(row.completions)),
        ("labels", json!(row.labels)),
        ("values", json!(row.values)),
        ("tries", json!(row.tries)),
        ("round", json!(row.round)),
        ("problem_id", json!(row.problem_id)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
