//! `qstill answer MODEL FILE`: a model directory answers the questions of a file, without any search: what a
//! student does once it is deployed. A line of JSON for each answer, in the order of the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datasets::answer::split_completion;
use datasets::key;
use datasets::sources::files::{Column, open_columns};
use serde_json::json;
use stages::events::Events;
use stages::model::device::Precision;
use stages::model::generate::{Generation, Generator, Limits, Request, Stop};
use stages::model::{Choice, Model, hf};
use stages::policy::{Prompt, Sampling};

use crate::exit::Failure;
use crate::progress::Console;
use crate::text::to_open_stdout;

/// Rows read, answered and printed together.
const TOGETHER: usize = 1024;

/// How questions are answered.
pub struct Options {
    /// A Hugging Face directory.
    pub model: PathBuf,
    /// Columns of the file.
    pub question: String,
    pub gold: Option<String>,
    /// Most rows of the file; 0 for all.
    pub limit: usize,
    pub samples: usize,
    pub seed: u64,
    /// A system turn; empty for none.
    pub instruction: String,
    pub sampling: Sampling,
    pub limits: Limits,
    /// What a GPU computes in.
    pub dtype: Precision,
}

/// A question as it stands in the file.
struct Asked {
    row: u64,
    question: String,
    gold: Option<String>,
}

/// Answers the questions of a file.
///
/// # Errors
/// A model or a file that cannot be read, a row without a question, a prompt that is too long, and a stop on
/// request: what was printed until then is whole lines.
pub fn run(file: &Path, options: &Options, device: &Choice, console: &Console) -> Result<()> {
    if !file.is_file() {
        return Err(Failure::input(
            format!("{} is no file", file.display()),
            "give a .jsonl or .parquet file",
        )
        .into());
    }
    let mut columns = vec![Column::text(&options.question)];
    columns.extend(options.gold.as_deref().map(Column::text_or_number));
    let mut model = hf::load(&options.model, &device.device)?;
    model.llama.dtype = device.dtype(options.dtype)?;
    let mut generator = Generator::with_heads(&model.llama, model.future.as_ref(), options.limits);
    let progress = console.stage("answer", "questions", 0, 0);
    let mut rows = open_columns(file, columns)?.enumerate();
    let mut left = if options.limit == 0 { usize::MAX } else { options.limit };
    loop {
        let mut asked = Vec::new();
        for (row, cells) in rows.by_ref().take(TOGETHER.min(left)) {
            let mut cells = cells?.cells.into_iter();
            asked.push(Asked {
                row: row as u64,
                question: cells.next().unwrap_or_default(),
                gold: cells.next(),
            });
        }
        if asked.is_empty() {
            break;
        }
        left -= asked.len();
        if !answer(&asked, options, &model, &mut generator, &progress)? {
            break;
        }
    }
    if let (Some(_), Some(passes)) = (&model.future, generator.steps()) {
        progress.note(&format!("{passes} passes after the prompts, with drafts by the model's future heads"));
    }
    progress.finish();
    Ok(())
}

/// False once nobody reads.
fn answer(
    asked: &[Asked],
    options: &Options,
    model: &Model,
    generator: &mut Generator,
    events: &dyn Events,
) -> Result<bool> {
    let prompt = Prompt { instruction: options.instruction.clone(), examples: Vec::new() };
    let requests = asked
        .iter()
        .map(|a| {
            let seeds = (0..options.samples as u64)
                .map(|s| key::seed(&["answer".into(), options.seed.into(), a.row.into(), s.into()]));
            let prompt = model.tokenizer.prompt_tokens(&prompt.messages(&a.question))?;
            Ok(Request { prompt, seeds: seeds.collect(), begun: String::new() })
        })
        .collect::<Result<Vec<_>>>()?;
    let answers = generator
        .generate(
            &Generation {
                tokenizer: &model.tokenizer,
                requests: &requests,
                sampling: &options.sampling,
                stop: Stop::AnswerLine,
            },
            events,
        )
        .with_context(|| format!("rows {} to {}", asked[0].row, asked[asked.len() - 1].row))?;
    let mut tokens = 0;
    let open = to_open_stdout(|out| {
        for (a, answers) in asked.iter().zip(&answers) {
            for (sample, made) in answers.iter().enumerate() {
                tokens += made.tokens.len();
                let mut line = json!({ "row": a.row, "sample": sample, "question": a.question });
                if let Some(gold) = &a.gold {
                    line["gold"] = json!(gold);
                }
                line["prediction"] = json!(made.text);
                line["answer"] = json!(split_completion(&made.text).1);
                line["tokens"] = json!(made.tokens.len());
                line["logprob"] = json!(made.tokens.iter().map(|t| f64::from(t.logprob)).sum::<f64>());
                line["finished"] = json!(made.finished);
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    })?;
    events.advance(asked.len() as u64, 0, tokens as u64);
    Ok(open)
}
