//! train: fine-tunes the student on kept solutions.
//!
//! - [`batch`]: rows as tokens, and their order
//! - [`learner`]: a decoder in training; [`cpu`] and [`device`] are its two engines, [`optimizer`] is what
//!   they share
//! - [`select`]: which kept rows are learned, how often and when; [`stream`]: with the dead ends of their
//!   search
//! - [`lora`]: what is trained: all weights, some, or adapters
//! - [`losses`]: what a token counts in the loss; [`mod@reference`]: what a reference says of it
//! - [`future`]: heads that predict the tokens after the next
//! - [`value`]: targets and losses of a value head, trained with the decoder or on a frozen one
//! - [`checkpoint`]: state on disk
//!
//! Loss: weighted cross-entropy on completion tokens, L = −Σ m_t log p_t / Σ m_t, where m_t is the row's
//! weight (times `prompt_weight` on prompt tokens, and what [`losses`] says) and the sum runs over the whole
//! accumulated batch. With future heads: + their weight times the sum of their losses. With a value head: + λ
//! times the mean loss of value targets.

use std::path::Path;

use anyhow::{Context, Result};
use datasets::key;
use datasets::table::Loss;
use datasets::types::Kept;

use crate::events::Events;
use crate::model::fault::guard;
use crate::model::{Choice, Decoder, Model, ModelError, Tokenizer};
use crate::policy::{Message, Role};

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod cpu;
pub mod device;
pub mod future;
#[cfg(test)]
mod future_tests;
pub mod learner;
pub mod lora;
pub mod losses;
#[cfg(test)]
mod losses_tests;
pub mod optimizer;
pub mod reference;
pub mod select;
pub mod stream;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
pub(crate) mod tests;
pub mod value;
#[cfg(test)]
mod value_tests;

use batch::Example;
use checkpoint::Cursor;
use config::TokenLoss;
pub use config::{ModelConfig, Start, Thoughts, TrainConfig};
use learner::Learner;
use lora::{Setup, Tuned};
use losses::Objective;
use optimizer::{Adam, State, learning_rate};
use select::Share;
use value::{HeadConfig, ValueLoss};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 3;

/// Loads the base model, or makes an untrained one with a tokenizer trained on `texts`.
///
/// # Errors
/// Those of [`crate::model::hf::load`], a vocabulary that is too small, and a type that the device does not
/// compute in.
pub fn base(
    config: &ModelConfig,
    texts: impl FnOnce() -> Result<Vec<String>>,
    seed: u64,
    device: &Choice,
) -> Result<Model> {
    // Refused before the work of making it.
    device.dtype(config.dtype)?;
    let mut model = load(config, texts, seed, device)?;
    device.prepare(&mut model.decoder, config.dtype)?;
    Ok(model)
}

fn load(
    config: &ModelConfig,
    texts: impl FnOnce() -> Result<Vec<String>>,
    seed: u64,
    device: &Choice,
) -> Result<Model> {
    if !config.from_scratch() {
        return Ok(crate::model::hf::load(Path::new(&config.path), &device.device)?);
    }
    let tokenizer = Tokenizer::train(&texts()?, config.vocab_size)?;
    let shape = config.shape(tokenizer.vocab_size(), tokenizer.eos());
    let decoder = Decoder::random(&shape, seed, &device.device);
    let fingerprint =
        key::id(&[tokenizer.json().into(), shape.to_json().to_string().as_str().into(), seed.into()]);
    Ok(Model { decoder, tokenizer, value: None, future: None, fingerprint })
}

/// Why a model cannot be trained without a token that ends its texts.
pub const NO_END: &str = "has no end of text: neither `eos_token_id` in config.json or \
    generation_config.json nor `eos_token` in tokenizer_config.json names a token; name one, or a student \
    never learns to stop";

/// Kept rows as token rows: those that train and those that validate.
pub struct Rows {
    pub train: Vec<Example>,
    pub validation: Vec<Example>,
    /// Rows left out because they exceed `max_tokens` or the model's context.
    pub too_long: usize,
    /// Tokens whose weight no loss lowers ([`losses::exact_tokens`]); empty for plain cross-entropy.
    pub exact: Vec<bool>,
}

/// Tokens of a prompt as a student is asked it, and of what it learns to say: the completion and its end.
///
/// # Errors
/// If the chat template does not render.
pub fn row_tokens(
    tokenizer: &Tokenizer,
    end: u32,
    prompt: &str,
    completion: &str,
) -> Result<(Vec<u32>, Vec<u32>), ModelError> {
    let asked = tokenizer.prompt_tokens(&[Message { role: Role::User, content: prompt.to_owned() }])?;
    let mut said = tokenizer.encode(completion);
    said.push(end);
    Ok((asked, said))
}

/// Tokenises kept rows with the student's own chat template. `shares` say what each counts
/// ([`select::shares`]); rows that validate come once. With `values` (`train.loss = "value"`; a list for each
/// row) training rows have the weights of [`losses::by_value`].
///
/// # Errors
/// If the template does not render, or nothing is left to train on.
pub fn rows(
    kept: &[Kept],
    shares: &[Share],
    values: Option<&[Vec<f32>]>,
    model: &Model,
    config: &TrainConfig,
) -> Result<Rows> {
    let shape = &model.decoder.config;
    let limit = config.max_tokens.min(shape.max_position_embeddings);
    let Some(end) = shape.eos_token_ids.first().copied() else { bail!("the model {NO_END}") };
    let exact = match config.loss {
        TokenLoss::Face | TokenLoss::Golden => {
            losses::exact_tokens(&model.tokenizer, shape.vocab_size, &shape.eos_token_ids)
        }
        TokenLoss::Ce | TokenLoss::Value => Vec::new(),
    };
    let mut out = Rows { train: Vec::new(), validation: Vec::new(), too_long: 0, exact };
    for (i, (row, share)) in kept.iter().zip(shares).enumerate() {
        let (prompt, completion) = row_tokens(&model.tokenizer, end, &row.prompt, &row.completion)?;
        if prompt.is_empty() || prompt.len() + completion.len() > limit {
            out.too_long += 1;
            continue;
        }
        let mut example =
            Example::new(&prompt, &completion, config.prompt_weight as f32, row.weight * share.weight);
        example.turn = share.turn;
        // By problem, so that no problem is on both sides.
        let draw = key::unit(&["validation".into(), (&row.problem_id).into()]);
        if draw < config.validation_share {
            out.validation.push(example);
            continue;
        }
        if let Some(values) = values {
            let gains = losses::by_value(
                &values[i],
                &losses::lines(&model.tokenizer, &completion),
                config.value_gain,
            );
            example.weights[example.asked..].iter_mut().zip(gains).for_each(|(weight, gain)| *weight *= gain);
        }
        out.train.extend(std::iter::repeat_n(example, share.times));
    }
    ensure!(
        !out.train.is_empty(),
        "no kept row is left to train on ({} kept, {} too long): search longer (search.samples, \
         search.rule_expansions) or raise train.max_tokens",
        kept.len(),
        out.too_long
    );
    Ok(out)
}

/// Where training stands, handed to the caller at every checkpoint.
pub struct Moment<'a> {
    pub state: State,
    pub cursor: Cursor,
    /// Curve since the start or the last resume.
    pub losses: &'a [Loss],
}

/// Number of optimizer steps that a configuration asks for; `seed` is that of [`Training`].
pub fn total_steps(rows: &Rows, config: &TrainConfig, head: Option<&HeadConfig>, seed: u64) -> usize {
    steps(&rows.train, config, grouped(head), seed)
}

/// Whether rows that share a group must be in one batch: pairs reach over rows.
fn grouped(head: Option<&HeadConfig>) -> bool {
    head.is_some_and(|head| head.loss == ValueLoss::Pairwise)
}

fn steps_per_epoch(examples: &[Example], config: &TrainConfig, grouped: bool) -> usize {
    let size = config.batch_size.max(1);
    if grouped { batch::grouped_steps(examples, size) } else { batch::steps_per_epoch(examples.len(), size) }
}

fn steps(examples: &[Example], config: &TrainConfig, grouped: bool, seed: u64) -> usize {
    let per_epoch = steps_per_epoch(examples, config, grouped);
    let steps = ((per_epoch as f64 * config.epochs).ceil() as usize).max(1);
    let steps = if config.max_steps > 0 { steps.min(config.max_steps) } else { steps };
    if config.max_tokens_total == 0 {
        return steps;
    }
    let order = (0..).flat_map(|epoch| batches(examples, config.batch_size, grouped, (seed, epoch)));
    let spent = order.scan(0, |spent, batch: Vec<usize>| {
        *spent += tokens_of(batch.iter().map(|&i| &examples[i]));
        Some(*spent)
    });
    spent.take(steps).take_while(|spent| *spent <= config.max_tokens_total).count().max(1)
}

/// The batches of an epoch, by a seed and the number of the epoch.
fn batches(examples: &[Example], size: usize, grouped: bool, (seed, epoch): (u64, u64)) -> Vec<Vec<usize>> {
    if grouped {
        batch::grouped_epoch(examples, size, seed, epoch)
    } else {
        batch::epoch(examples, size, seed, epoch)
    }
}

/// Targets of some rows, those of their prompts included.
fn tokens_of<'a>(rows: impl Iterator<Item = &'a Example>) -> u64 {
    rows.map(|row| row.tokens.len() as u64 - 1).sum()
}

/// One training run, with what it starts from.
pub struct Training<'a> {
    pub model: &'a Decoder,
    /// Learns the rows' value targets ([`Example::with_values`]) beside their tokens.
    pub head: Option<HeadConfig>,
    pub rows: &'a Rows,
    pub config: &'a TrainConfig,
    /// Of the order of rows, and of weights that are drawn.
    pub seed: u64,
    /// What is being trained on what, for the checkpoints.
    pub fingerprint: &'a str,
    /// A checkpoint to go on from, and the curve up to it.
    pub resume: Option<(&'a Path, Vec<Loss>)>,
    pub device: &'a Choice,
}

/// Trains from a model, or goes on from a checkpoint. `keep` is called every `checkpoint_every` steps and at
/// a requested stop. Gives the curve, with that up to a resume.
///
/// Rows whose tokens weigh nothing teach values alone, and with all of the decoder frozen the value head
/// alone changes. The trained head is [`Learner::head`]. With pairs, rows that share a group are in one
/// batch.
///
/// # Errors
/// A loss that is not finite, errors of `keep`, [`crate::Cancelled`] after a last checkpoint; a head of
/// another size than the decoder's; value targets that are none, or none at all.
pub fn train(
    training: Training<'_>,
    events: &dyn Events,
    keep: &mut dyn FnMut(Moment<'_>) -> Result<()>,
) -> Result<(Learner, Vec<Loss>)> {
    let Training { model, head, rows, config, seed, fingerprint, resume, device } = training;
    let examples = &rows.train;
    let grouped = grouped(head.as_ref());
    let per_epoch = steps_per_epoch(examples, config, grouped);
    let steps = steps(examples, config, grouped, seed);
    if let Some(head) = &head {
        let (size, own) = (model.config.hidden_size, head.start.weight.len());
        ensure!(
            size == own,
            "the value head is for hidden states of size {own}, but the model's have size {size}"
        );
        let all: Vec<&Example> = examples.iter().collect();
        value::check(&all)?;
        let total = value::weight_sum(head.loss, &value::targets(&all));
        ensure!(
            total > 0.0,
            "no row has a value target with weight: there is nothing to train the value head on"
        );
    }
    let warmup = ((steps as f64 * config.warmup) as usize).max(1);
    let tuned = if head.is_some() { Tuned::beside_head } else { Tuned::of }(config, &model.config, seed)?;
    let objective = Objective::of(config, &rows.exact)?;
    let (known, vocabulary) = (rows.exact.len(), model.config.vocab_size);
    ensure!(
        objective == Objective::Plain || known == vocabulary,
        "the rows are for a vocabulary of {known} tokens, but the model has {vocabulary}"
    );
    let setup = Setup { tuned, adam: Adam::of(config), recompute: config.recompute, head };
    let mut learner = Learner::new(model, setup, device)
        .with_objective(objective)
        .with_future(future::start(config, &model.config, seed)?);
    let (mut first, mut tokens, mut losses) = (0, 0, Vec::new());
    if let Some((dir, curve)) = resume {
        let cursor = checkpoint::cursor(dir)?;
        learner.restore(checkpoint::state(dir, &cursor)?).with_context(|| format!("{}", dir.display()))?;
        (first, tokens, losses) = (cursor.step, cursor.tokens, curve);
        losses.retain(|l: &Loss| (l.step as usize) <= first);
    }
    let validation: Vec<&Example> = rows.validation.iter().collect();
    let mut order = (usize::MAX, Vec::new());
    for step in first..steps {
        let epoch = step / per_epoch;
        if order.0 != epoch {
            order = (epoch, batches(examples, config.batch_size, grouped, (seed, epoch as u64)));
        }
        let batch: Vec<&Example> = order.1[step % per_epoch].iter().map(|&i| &examples[i]).collect();
        let rate = learning_rate(config.learning_rate, step, steps, warmup, config.floor);
        let found = learner.step(&batch, config.micro_batch, rate).map_err(|error| {
            let hint = if error.is::<crate::BadInput>() { ": lower train.learning_rate" } else { "" };
            error.context(format!("training failed at step {step}{hint}"))
        })?;
        let done = step + 1;
        let new = tokens_of(batch.iter().copied());
        tokens += new;
        let measured = !validation.is_empty()
            && ((config.validate_every > 0 && done % config.validate_every == 0) || done == steps);
        let validated = measured.then(|| learner.mean_losses(&validation, config.micro_batch)).transpose()?;
        learner.notes().iter().for_each(|note| events.note(note));
        losses.push(Loss {
            step: done as u32,
            epoch: done as f32 / per_epoch as f32,
            tokens,
            learning_rate: rate as f32,
            loss: found.loss,
            value_loss: found.value_loss,
            grad_norm: found.norm,
            validation_loss: validated.map(|v| v.0),
            validation_value_loss: validated.and_then(|v| v.1),
        });
        events.advance(1, 0, new);
        if done % 10 == 0 || measured {
            events.state(&said(&losses, found.future_loss));
        }
        let stop = events.cancelled();
        if done < steps && (stop || (config.checkpoint_every > 0 && done % config.checkpoint_every == 0)) {
            let state = guard(|| Ok(learner.state())).map_err(ModelError::from)?;
            let cursor = Cursor {
                fingerprint: fingerprint.to_owned(),
                step: done,
                tokens,
                time: state.time,
                scale: state.scale,
            };
            keep(Moment { state, cursor, losses: &losses })?;
        }
        events.check()?;
    }
    Ok((learner, losses))
}

/// The state of a curve in words: means of the last ten steps, and what was measured last.
fn said(losses: &[Loss], future: Option<f32>) -> String {
    let recent = &losses[losses.len().saturating_sub(10)..];
    let last = |of: fn(&Loss) -> Option<f32>| losses.iter().rev().find_map(of);
    let mean = |of: fn(&Loss) -> Option<f32>| {
        let known: Vec<f32> = recent.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f32>() / known.len() as f32)
    };
    let part = |name: &str, value: Option<f32>| value.map_or_else(String::new, |v| format!("{name} {v:.3}"));
    let parts = [
        part("loss", mean(|l| Some(l.loss))),
        part("future", future),
        part("validation", last(|l| l.validation_loss)),
        part("values", mean(|l| l.value_loss)),
        part("values in validation", last(|l| l.validation_value_loss)),
    ];
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}
