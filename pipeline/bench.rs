//! `qstill bench`: tokens per second of training and generation, of a decoder from scratch or of a model directory; and
//! pairs per second of the grader.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use datasets::grade::pairs_per_second;
use datasets::sources::{Raw, files, words};
use serde_json::json;
use stages::events::Silent;
use stages::model::generate::{Request, Stop, generate};
use stages::model::{Choice, Model};
use stages::policy::Sampling;
use stages::train::batch::Example;
use stages::train::learner::{Adam, Learner};
use stages::train::lora::Tuned;
use stages::train::{ModelConfig, TrainConfig};

/// Measures one model on one device.
///
/// # Errors
/// Those of the model.
pub fn bench(config: &ModelConfig, train: &TrainConfig, device: &Choice, rows: usize, length: usize) -> Result<serde_json::Value> {
    let texts = || Ok(vec!["What is 1 + 2? 1+2=3".to_owned()]);
    let Model { llama, tokenizer, .. } = stages::train::base(config, texts, 1, device)?;
    let vocabulary = llama.config.vocab_size as u32;
    let token = |row: usize, column: usize| (row * 7 + column * 31) as u32 % vocabulary;
    let examples: Vec<Example> =
        (0..rows).map(|r| Example::new(&[token(r, 0)], &(1..length).map(|c| token(r, c)).collect::<Vec<_>>(), 0.0, 1.0)).collect();
    let batch: Vec<&Example> = examples.iter().collect();
    let mut learner = Learner::new(&llama, Tuned::of(train, &llama.config, 1)?, Adam::of(train), train.recompute, device);
    let mut seconds = Vec::new();
    for _ in 0..6 {
        let clock = Instant::now();
        learner.step(&batch, train.micro_batch, 1e-3)?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let per_step = median(&mut seconds[1..]);
    let train_rate = (rows * (length - 1)) as f64 / per_step;

    let requests: Vec<Request> = (0..rows)
        .map(|r| Request { prompt: (0..length / 2).map(|c| token(r, c)).collect(), seeds: vec![r as u64], begun: String::new() })
        .collect();
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, max_tokens: length / 2, calculator: false };
    let mut rates = Vec::new();
    for _ in 0..3 {
        let clock = Instant::now();
        let out = generate(&llama, &tokenizer, &requests, &sampling, Stop::AnswerLine, rows, &Silent)?;
        let tokens: usize = out.iter().flatten().map(|g| g.tokens.len()).sum();
        rates.push(tokens as f64 / clock.elapsed().as_secs_f64());
    }
    Ok(json!({
        "device": device.kind, "why": device.why, "dtype": "f32", "parameters": llama.config.parameters(), "rows": rows, "length": length,
        "train_tokens_per_second": train_rate, "generate_tokens_per_second": median(&mut rates),
    }))
}

/// Most pairs that the grader is measured on.
const PAIRS: usize = 10_000;

/// Measures the grader on one thread for about `time` with each kind of prediction: `The answer is X.`, and whole
/// solutions. The gold is a solution both times. They come from a file in GSM8K's form, or are those of generated problems.
///
/// # Errors
/// A file that cannot be read.
pub fn verify(file: Option<&Path>, time: Duration) -> Result<serde_json::Value> {
    let problems: Vec<Raw> = match file {
        Some(path) => files::open(path, &files::Options::default())?.take(PAIRS).collect::<Result<_, _>>()?,
        None => {
            let dial = words::Dial { min_operations: 1, max_operations: 4, distractors: 0.0 };
            (0..PAIRS as u64 / 5).map(|index| words::generate(0, index, &dial).into()).collect()
        }
    };
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for Raw { answer, worked, .. } in problems {
        let solution = worked.unwrap_or_default() + "\n#### " + &answer;
        short.push((solution.clone(), format!("The answer is {answer}.")));
        long.push((solution.clone(), solution));
    }
    Ok(json!({
        "source": if file.is_some() { "file" } else { "words" }, "pairs": short.len(), "threads": 1,
        "answers_per_second": pairs_per_second(&short, time).round(), "solutions_per_second": pairs_per_second(&long, time).round(),
    }))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
