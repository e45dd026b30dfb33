//! `qstill answer MODEL FILE`: a model directory answers the questions of a file, without any search: what a
//! student does once it is deployed. A line of JSON for each answer, in the order of the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use datasets::answer::split_completion;
use datasets::key;
use datasets::sources::files::{Column, open_columns};
use serde_json::json;
use stages::events::Events;
use stages::model::device::Precision;
use stages::model::generate::{Generation, Generator, Limits, Request, Stop};
use stages::model::{Choice, Model, hf};
use stages::policy::PromptConfig;
use stages::policy::{Prompt, Sampling};

use crate::command::arguments::Overrides;
use crate::config::Config;
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::to_open_stdout;

/// Rows read, answered and printed together.
const TOGETHER: usize = 1024;

/// Answer the questions of a file with a model directory, without any search: a student deployed.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill answer runs/demo/round-2/student questions.jsonl > answers.jsonl
  qstill answer path/to/model gsm8k/test.jsonl --gold answer --limit 50 --max-tokens 256 > answers.jsonl
  qstill grade answers.jsonl
  qstill answer path/to/model questions.parquet --question problem --samples 8 --temperature 0.8

One line of JSON for each answer, in the order of the file, with row, sample, question, prediction (its \
whole text), answer, tokens, logprob (the sum over its tokens, at temperature 1), finished (false if \
--max-tokens cut it off) and, with --gold, gold.")]
pub struct Answer {
    /// A Hugging Face directory of a model, or a GGUF file; docs/models.md lists the families.
    model: PathBuf,
    /// The file: .jsonl, .ndjson or .json (one object per line), or .parquet.
    file: PathBuf,
    /// Column of the questions.
    #[arg(long, value_name = "COL", default_value = "question")]
    question: String,
    /// Column that is passed on as `gold`.
    #[arg(long, value_name = "COL")]
    gold: Option<String>,
    /// Answer only the first N rows.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: usize,
    /// Answers to each question.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// Most tokens of an answer.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// Fill in the result once the model has written `48/2=`.
    #[arg(long)]
    calculator: bool,
    /// A system turn before each question.
    #[arg(long, default_value = "", hide_default_value = true)]
    instruction: String,
    /// Each sample is a function of this seed, its row and its number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    over: Overrides,
}

fn temperature(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|t| (0.0..=100.0).contains(t));
    number.ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

/// Answers a file.
///
/// # Errors
/// Those of [`answer_file`].
pub fn run(args: Answer, console: &Console) -> Result<Exit> {
    let (config, _) = Config::resolve(&[], &args.over.all())?;
    let device = stages::model::device::choose(&config.run.device)?;
    console.say(&device.why);
    console.install_interrupt().context("failed to listen for signals")?;
    let (max_tokens, calculator) = (args.max_tokens as usize, args.calculator);
    let options = Options {
        model: args.model,
        question: args.question,
        gold: args.gold,
        limit: args.limit,
        samples: args.samples as usize,
        seed: args.seed,
        instruction: args.instruction,
        sampling: Sampling { temperature: args.temperature, top_p: 1.0, top_k: 0, max_tokens, calculator },
        limits: config.model.limits(),
        dtype: config.model.dtype,
    };
    answer_file(&args.file, &options, &device, console)?;
    Ok(Exit::Done)
}

/// How questions are answered.
struct Options {
    /// A Hugging Face directory.
    model: PathBuf,
    /// Columns of the file.
    question: String,
    gold: Option<String>,
    /// Most rows of the file; 0 for all.
    limit: usize,
    samples: usize,
    seed: u64,
    /// A system turn; empty for none.
    instruction: String,
    sampling: Sampling,
    limits: Limits,
    /// What a GPU computes in.
    dtype: Precision,
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
fn answer_file(file: &Path, options: &Options, device: &Choice, console: &Console) -> Result<()> {
    if !file.is_file() {
        return Err(Failure::input(
            format!("{} is not a file", file.display()),
            "give a .jsonl or .parquet file",
        )
        .into());
    }
    let mut columns = vec![Column::text(&options.question)];
    columns.extend(options.gold.as_deref().map(Column::text_or_number));
    let mut model = hf::load(&options.model, &device.device)?;
    device.prepare(&mut model.decoder, options.dtype)?;
    let mut generator = Generator::with_heads(&model.decoder, model.future.as_ref(), options.limits);
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
    let config = PromptConfig { instruction: options.instruction.clone(), ..PromptConfig::default() };
    let prompt = Prompt { config, examples: Vec::new() };
    let requests = asked
        .iter()
        .map(|a| {
            let seeds = (0..options.samples as u64)
                .map(|s| key::seed(&["answer".into(), options.seed.into(), a.row.into(), s.into()]));
            let prompt = model.tokenizer.prompt_tokens(&prompt.messages(&a.question)?)?;
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
                stops: &[],
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
