//! `inspect --tokens`: rows as a student learns them, token by token.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};
use stages::model::{Tokenizer, hf};
use stages::train::{NO_END, Thoughts, row_tokens};

use super::stage::round_number;
use super::table::Table;
use crate::config::resolve;
use crate::config::types::Config;
use crate::disk::layout::RunDir;
use crate::terminal::exit::Failure;
use crate::terminal::look::Look;
use crate::terminal::text;

/// The column that makes a training row, and the one of what is learned before it where a run says so.
const COLUMNS: [&str; 2] = ["messages", "thought"];

/// A token of a row, as text, and its weight in the loss.
#[derive(Serialize)]
struct Token {
    id: u32,
    text: String,
    loss: f64,
}

/// Reads rows as a student does.
pub struct Reader {
    directory: PathBuf,
    tokenizer: Tokenizer,
    end: u32,
    prompt_weight: f64,
    thoughts: Thoughts,
}

impl Reader {
    /// The tokenizer of a model directory; without one, that of the student of the round that a path is in,
    /// or of the model that its run starts from. How much prompts count in the loss is the run's to say.
    ///
    /// # Errors
    /// `Exit::Usage` if no model is known; those of reading a model directory.
    pub fn of(path: &Path, model: Option<&Path>) -> Result<Self> {
        let run = path.ancestors().find(|dir| dir.join("run.toml").is_file()).map(RunDir::at);
        let config = run.as_ref().map(|run| -> Result<Config> {
            let (config, _) = Config::resolve(&[resolve::file(&run.config())?], &[])?;
            Ok(config)
        });
        let config = config.transpose()?;
        let student = || {
            let round = path.ancestors().find_map(round_number)?;
            let student = run.as_ref()?.student(round);
            student.join("config.json").is_file().then_some(student)
        };
        let start =
            || config.as_ref().map(|c| PathBuf::from(&c.model.path)).filter(|p| !p.as_os_str().is_empty());
        let Some(directory) = model.map(Path::to_owned).or_else(student).or_else(start) else {
            let what = "--tokens: the run has no student yet whose tokenizer could be asked";
            return Err(Failure::usage(what, "name a model directory: --model DIR").into());
        };
        let (shape, tokenizer) = hf::shape(&directory)?;
        let Some(end) = shape.eos_token_ids.first().copied() else {
            return Err(Failure::input(format!("{}: {NO_END}", directory.display()), "").into());
        };
        let (prompt_weight, thoughts) = config
            .map_or((0.0, Thoughts::Drop), |config| (config.train.prompt_weight, config.train.thoughts));
        Ok(Self { directory, tokenizer, end, prompt_weight, thoughts })
    }

    fn tokens(&self, row: &Map<String, Value>) -> Result<Vec<Token>> {
        let turns = row.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let of = |role: &str| {
            let turn = turns.iter().find(|turn| turn["role"] == role);
            turn.and_then(|turn| turn["content"].as_str()).unwrap_or("")
        };
        let thought = row.get("thought").and_then(Value::as_str).unwrap_or("");
        let completion = self.thoughts.spoken(thought, of("assistant").to_owned());
        let (prompt, completion) = row_tokens(&self.tokenizer, self.end, of("user"), &completion)?;
        let weight = |at: usize| match at {
            // Nothing asks for the first token.
            0 => 0.0,
            at if at < prompt.len() => self.prompt_weight,
            _ => 1.0,
        };
        let all = prompt.iter().chain(&completion).enumerate();
        Ok(all.map(|(at, id)| Token { id: *id, text: self.tokenizer.piece(*id), loss: weight(at) }).collect())
    }

    /// The first rows of a table, one token a line.
    ///
    /// # Errors
    /// `Exit::Usage` for a table without messages; those of reading it.
    pub fn show(&self, out: &mut dyn Write, table: &Table, head: usize, look: Look) -> Result<()> {
        let model = self.directory.display();
        let mut number = 0;
        self.each(table, head, &mut |tokens| {
            number += 1;
            let learned = tokens.iter().filter(|token| token.loss > 0.0).count();
            let title = format!(
                "row {number} of {}: {} as {model} reads it, {learned} in the loss",
                table.rows,
                text::plural(tokens.len() as u64, "token")
            );
            writeln!(out, "{}", look.bold(&title))?;
            let rows: Vec<Vec<String>> = tokens
                .iter()
                .map(|Token { id, text, loss }| vec![id.to_string(), loss.to_string(), format!("{text:?}")])
                .collect();
            writeln!(out, "{}", text::table(&["id", "loss", "text"], &rows, &[0, 1]))?;
            Ok(())
        })
    }

    /// The same for programs.
    ///
    /// # Errors
    /// As [`Reader::show`].
    pub fn to_json(&self, table: &Table, head: usize) -> Result<Value> {
        let mut rows = Vec::new();
        self.each(table, head, &mut |tokens| {
            rows.push(serde_json::to_value(tokens)?);
            Ok(())
        })?;
        Ok(json!({"path": table.place, "model": self.directory, "rows": rows}))
    }

    fn each(&self, table: &Table, head: usize, each: &mut dyn FnMut(&[Token]) -> Result<()>) -> Result<()> {
        if let Some(lacks) = COLUMNS.iter().find(|column| !table.has(column)) {
            let what = format!("--tokens: {} has no column `{lacks}`", table.place);
            return Err(Failure::usage(
                what,
                "give a table of training rows, such as RUN/round-1/curate/kept",
            )
            .into());
        }
        table.sample(&COLUMNS.map(str::to_owned), head, &mut |row| each(&self.tokens(&row)?))
    }
}
