//! train: fine-tunes the student on kept solutions.
//!
//! - [`batch`]: rows as tokens, and their order
//! - [`learner`]: a decoder in training; [`cpu`] and [`device`] are its two engines, [`optimizer`] is what
//!   they share
//! - [`select`]: which kept rows are learned, how often and when; [`stream`]: with the dead ends of their
//!   search
//! - [`lora`]: what is trained: all weights, some, or adapters
//! - [`losses`]: what a token counts in the loss; [`mod@reference`]: what a reference says of it;
//!   [`teacher`]: what a teacher would have written in its place
//! - [`on_policy`]: rows that the student writes itself while it is trained
//! - [`future`]: heads that predict the tokens after the next
//! - [`value`]: targets and losses of a value head, trained with the decoder or on a frozen one
//! - [`checkpoint`]: state on disk
//!
//! Loss: weighted cross-entropy on completion tokens, L = −Σ m_t log p_t / Σ m_t, where m_t is the row's
//! weight (times `prompt_weight` on prompt tokens, and what [`losses`] says) and the sum runs over the whole
//! accumulated batch. With future heads: + their weight times the sum of their losses. With a value head: + λ
//! times the mean loss of value targets.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::key;
use datasets::table::Loss;
use datasets::types::Kept;

use crate::events::Events;
use crate::model::fault::guard;
use crate::model::soft::TopK;
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
pub mod on_policy;
#[cfg(test)]
mod on_policy_tests;
pub mod optimizer;
pub mod reference;
pub mod select;
pub mod stream;
#[cfg(test)]
mod stream_tests;
pub mod teacher;
#[cfg(test)]
pub(crate) mod tests;
pub mod value;
#[cfg(test)]
mod value_tests;

use batch::Example;
use checkpoint::Cursor;
use config::TokenLoss;
pub use config::{ModelConfig, Start, TeacherAt, Thoughts, TrainConfig};
use learner::Learner;
use lora::{Setup, Tuned};
use losses::Objective;
use on_policy::{At, Monitor, OnPolicy};
use optimizer::{Adam, State, learning_rate};
use select::Share;
use value::{HeadConfig, ValueLoss};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 4;

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
    Ok(Model { decoder, tokenizer, value: None, future: None, fingerprint: fingerprint.into() })
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

/// What is known of kept rows beside them, for losses that ask; each has an entry for each row.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// With `train.loss = "value"`: values along the row, for [`losses::by_value`].
    pub values: Option<&'a [Vec<f32>]>,
    /// With `train.loss = "distil"`: what the teacher says, if it has read the row.
    pub teacher: Option<&'a [Option<Arc<TopK>>]>,
}

/// Whether a problem's rows validate and do not train: by problem, so that none is on both sides.
pub fn validates(problem_id: &str, config: &TrainConfig) -> bool {
    key::unit(&["validation".into(), problem_id.into()]) < config.validation_share
}

/// Tokenises kept rows with the student's own chat template. `shares` say what each counts
/// ([`select::shares`]); rows that validate come once.
///
/// # Errors
/// If the template does not render, nothing is left to train on, or a teacher has read other tokens.
pub fn rows(
    kept: &[Kept],
    shares: &[Share],
    known: Known<'_>,
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
        TokenLoss::Ce | TokenLoss::Value | TokenLoss::Distil => Vec::new(),
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
        if validates(&row.problem_id, config) {
            out.validation.push(example);
            continue;
        }
        if let Some(teacher) = known.teacher.and_then(|teacher| teacher[i].clone()) {
            ensure!(
                teacher.len() == completion.len(),
                "the teacher has read {} tokens of solution {}, but the student reads {}",
                teacher.len(),
                row.solution_id,
                completion.len()
            );
            example.teacher = Some(teacher);
        }
        if let Some(values) = known.values {
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
    /// With `train.on_policy`: who writes rows, and who reads them.
    pub own: Option<OnPolicy<'a>>,
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
    let Training { model, head, rows, config, seed, fingerprint, resume, mut own, device } = training;
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
        matches!(objective, Objective::Plain | Objective::Distil(..)) || known == vocabulary,
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
    let (mut monitor, mut sampled, mut read) = (Monitor::default(), 0, 0);
    for row in &losses {
        (sampled, read) = (row.sampled_tokens, row.teacher_tokens);
        row.sampled_length.zip(row.sampled_ended).map(|(length, ended)| monitor.see(length, ended));
    }
    let validation: Vec<&Example> = rows.validation.iter().collect();
    let mut order = (usize::MAX, Vec::new());
    for step in first..steps {
        let epoch = step / per_epoch;
        if order.0 != epoch {
            order = (epoch, batches(examples, config.batch_size, grouped, (seed, epoch as u64)));
        }
        let mut batch: Vec<&Example> = order.1[step % per_epoch].iter().map(|&i| &examples[i]).collect();
        let written = match &mut own {
            Some(own) => {
                let at = At { seed, step, rows: batch.len() };
                Some(own.write(learner.decoder(), config, at, events)?).filter(|own| !own.rows.is_empty())
            }
            None => None,
        };
        let mut of_own = None;
        if let Some(own) = &written {
            own.rows.iter().for_each(|(place, row)| batch[*place] = row);
            (sampled, read) = (sampled + own.sampled as u64, read + own.read as u64);
            let count = own.rows.len() as f32;
            let (length, ended) = (own.sampled as f32 / count, own.ended as f32 / count);
            if let Some(problem) = monitor.see(length, ended) {
                events.note(&problem);
            }
            of_own = Some((length, ended));
        }
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
            sampled_tokens: sampled,
            teacher_tokens: read,
            sampled_length: of_own.map(|own| own.0),
            sampled_ended: of_own.map(|own| own.1),
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
        part("tokens a sample", mean(|l| l.sampled_length)),
        part("values", mean(|l| l.value_loss)),
        part("values in validation", last(|l| l.validation_value_loss)),
    ];
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(", ")
}
