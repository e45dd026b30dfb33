//! `qstill bench train` and `qstill bench generate`: tokens per second of a model, and the memory that it
//! takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use stages::events::Silent;
use stages::model::generate::{Generation, Generator, Request, Stop};
use stages::model::{Choice, Model};
use stages::policy::Sampling;
use stages::train::batch::Example;
use stages::train::learner::{Adam, Learner, Setup};
use stages::train::lora::Tuned;
use stages::train::losses::{self, Objective, TokenLoss};
use stages::train::{ModelConfig, TrainConfig, future};

use super::memory::{forget_peak, peak, resident};
use crate::config::Config;
use crate::config::presets::preset;

/// Shapes of decoders that have no directory: name, and keys of `[model]`.
const SIZES: [(&str, &str); 2] = [
    ("demo", ""),
    (
        "50m",
        "[model]\n\
         vocab_size = 16384\n\
         hidden_size = 512\n\
         intermediate_size = 1408\n\
         layers = 14\n\
         heads = 8\n\
         kv_heads = 4\n\
         context = 2048\n",
    ),
];

/// What is measured.
#[derive(Clone, Copy)]
pub struct Load {
    /// Rows together.
    pub rows: usize,
    /// Tokens of a row (of a prompt, if it is generated to).
    pub length: usize,
    /// Tokens generated to each prompt.
    pub tokens: usize,
    /// Sequences generated in a call; at least `rows`.
    pub sequences: usize,
    /// For how long, at least.
    pub time: Duration,
}

/// The `[model]` that a name or a directory stands for, and `[train]`.
fn configs(model: &str, sets: &[String]) -> Result<(ModelConfig, TrainConfig)> {
    let mut layers = vec![("demo".to_owned(), preset("demo")?.to_owned())];
    let mut sets = sets.to_vec();
    match SIZES.iter().find(|(name, _)| *name == model) {
        Some((name, keys)) => layers.push(((*name).to_owned(), (*keys).to_owned())),
        None => sets.push(format!("model.path={}", toml::Value::from(model))),
    }
    let (config, _) = Config::resolve(&layers, &sets)?;
    Ok((config.model, config.train))
}

/// An untrained decoder with all the vocabulary that its configuration asks for, or one read from its
/// directory.
fn load(config: &ModelConfig, device: &Choice) -> Result<Model> {
    let texts = || {
        Ok((0..config.vocab_size * 4).map(|i| format!("{:x}", i * 2_654_435_761 % 4_294_967_291)).collect())
    };
    stages::train::base(config, texts, 1, device)
}

fn token(row: usize, column: usize, vocabulary: usize) -> u32 {
    ((row * 7 + column * 31) % vocabulary) as u32
}

fn report((what, name): (&str, &str), model: &Model, device: &Choice, load: Load, own: Value) -> Value {
    let mut out = json!({
        "bench": what, "model": name, "parameters": model.decoder.config.parameters(), "device": device.kind,
        "why": device.why,
        "threads": rayon::current_num_threads(), "rows": load.rows, "length": load.length,
        "peak_bytes": peak(),
    });
    if let (Value::Object(out), Value::Object(own)) = (&mut out, own) {
        out.extend(own);
    }
    out
}

/// Tokens per second of optimizer steps on rows that are all of one length, every token a target.
///
/// # Errors
/// Those of the model.
pub fn train(name: &str, sets: &[String], device: &Choice, load_of: Load) -> Result<Value> {
    forget_peak();
    let (config, train) = configs(name, sets)?;
    let model = load(&config, device)?;
    let Load { rows, length, time, .. } = load_of;
    let vocabulary = model.decoder.config.vocab_size;
    let mut examples: Vec<Example> = (0..rows)
        .map(|r| {
            Example::new(
                &[token(r, 0, vocabulary)],
                &(1..=length).map(|c| token(r, c, vocabulary)).collect::<Vec<_>>(),
                0.0,
                1.0,
            )
        })
        .collect();
    if train.loss == TokenLoss::Golden {
        stages::train::reference::refer(&model.decoder, &mut examples, device)?;
    }
    let batch: Vec<&Example> = examples.iter().collect();
    let shape = &model.decoder.config;
    let exact = losses::exact_tokens(&model.tokenizer, vocabulary, &shape.eos_token_ids);
    let mut learner = Learner::new(
        &model.decoder,
        Setup {
            tuned: Tuned::of(&train, shape, 1)?,
            adam: Adam::of(&train),
            recompute: train.recompute,
            head: None,
        },
        device,
    )
    .with_objective(Objective::of(&train, &exact)?)
    .with_future(future::start(&train, shape, 1)?);
    // The first step makes room, and on a GPU tries out kernels.
    let mut seconds = Vec::new();
    let mut loss = 0.0;
    let mut start = Instant::now();
    let mut warm = None;
    while warm.is_none() || start.elapsed() < time || seconds.len() < 3 {
        let clock = Instant::now();
        loss = learner.step(&batch, train.micro_batch.max(rows), 1e-4)?.loss;
        let step = clock.elapsed().as_secs_f64();
        if warm.is_some() {
            seconds.push(step);
        } else {
            (warm, start) = (Some(step), Instant::now());
        }
    }
    let own = json!({
        "tokens_per_second": (rows * length) as f64 / median(&mut seconds), "steps": seconds.len(),
        "first_step_seconds": warm, "loss": loss,
    });
    Ok(report(("train", name), &model, device, load_of, own))
}

/// Tokens generated per second, prompts included in the time.
///
/// # Errors
/// Those of the model.
pub fn generate(name: &str, sets: &[String], device: &Choice, load_of: Load) -> Result<Value> {
    forget_peak();
    let (config, _) = configs(name, sets)?;
    let model = load(&config, device)?;
    let Load { rows, length, tokens, sequences, time } = load_of;
    let vocabulary = model.decoder.config.vocab_size;
    let mut generator = Generator::with_heads(
        &model.decoder,
        model.future.as_ref(),
        stages::model::generate::Limits { rows, ..config.limits() },
    );
    let sampling = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, max_tokens: tokens, calculator: false };
    let (mut rates, mut memory, mut count) = (Vec::new(), Vec::new(), 0);
    let mut start = Instant::now();
    let mut warm = None;
    while warm.is_none() || start.elapsed() < time || rates.len() < 3 {
        // Other prompts in each call, so that nothing but their beginning is known.
        let requests: Vec<Request> = (0..sequences.max(rows))
            .map(|r| Request {
                prompt: (0..length).map(|c| token(r + count, c * (r + count + 1), vocabulary)).collect(),
                seeds: vec![(r + count) as u64],
                begun: String::new(),
            })
            .collect();
        let clock = Instant::now();
        let out = generator.generate(
            &Generation {
                tokenizer: &model.tokenizer,
                requests: &requests,
                sampling: &sampling,
                stop: Stop::Limit,
                stops: &[],
            },
            &Silent,
        )?;
        let seconds = clock.elapsed().as_secs_f64();
        let made: usize = out.iter().flatten().map(|g| g.tokens.len()).sum();
        count += requests.len();
        memory.extend(resident());
        if warm.is_some() {
            rates.push(made as f64 / seconds);
        } else {
            (warm, start) = (Some(seconds), Instant::now());
        }
    }
    let own = json!({
        "tokens": tokens, "tokens_per_second": median(&mut rates), "sequences": count,
        "first_call_seconds": warm,
        "resident_bytes_after_first_call": memory.first(), "resident_bytes_at_the_end": memory.last(),
        "cache_bytes": generator.cache_bytes(),
    });
    Ok(report(("generate", name), &model, device, load_of, own))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
