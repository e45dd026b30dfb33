//! On-policy distillation (GKD, arXiv 2306.13649): in each step a share of a batch's rows gives way to
//! answers that the student itself has just sampled. The teacher reads them, and the student learns what the
//! teacher would have written at each of its own tokens: it is corrected where it goes, not where the teacher
//! goes.
//!
//! No gradient goes through the sampling. Which rows give way, their prompts and their random numbers are
//! functions of seed and step, so that a resumed run samples the same.

use std::sync::Arc;

use anyhow::Result;
use datasets::key;
use rand::seq::SliceRandom;

use super::batch::Example;
use super::config::TrainConfig;
use super::teacher::Teacher;
use crate::events::Events;
use crate::model::generate::{Generation, Generator, Limits, Request, Stop};
use crate::model::{Choice, Decoder, DecoderConfig, Precision, Tokenizer};
use crate::policy::Sampling;

/// Steps whose answers say how long they are at first, and how long they are now.
const WINDOW: usize = 10;

/// A student that writes rows of its own, and a teacher that reads them.
pub struct OnPolicy<'a> {
    pub teacher: Teacher<'a>,
    pub tokenizer: &'a Tokenizer,
    /// Of train problems, as tokens.
    pub prompts: &'a [Vec<u32>],
    pub limits: Limits,
    /// What the student generates in.
    pub dtype: Precision,
    pub device: &'a Choice,
}

/// Rows of a step that the student has written.
pub struct Written {
    /// Of the batch, and what stands there instead.
    pub rows: Vec<(usize, Example)>,
    /// Tokens that were sampled, the ends with them.
    pub sampled: usize,
    /// Tokens that the teacher has read, prompts with them.
    pub read: usize,
    /// Answers that ended before the limit.
    pub ended: usize,
}

/// Where a step stands.
#[derive(Clone, Copy)]
pub struct At {
    pub seed: u64,
    pub step: usize,
    /// Rows of the batch.
    pub rows: usize,
}

impl OnPolicy<'_> {
    /// Prompts that leave room for an answer of `train.on_policy_tokens`.
    pub fn fits(prompt: &[u32], config: &TrainConfig, shape: &DecoderConfig) -> bool {
        !prompt.is_empty() && prompt.len() + config.on_policy_tokens < shape.max_position_embeddings
    }

    /// The rows of a step that the student writes, as it stands.
    ///
    /// # Errors
    /// Those of sampling and of the teacher; [`crate::Cancelled`].
    pub fn write(
        &mut self,
        student: Decoder,
        config: &TrainConfig,
        at: At,
        events: &dyn Events,
    ) -> Result<Written> {
        let draw = |row: usize| {
            key::unit(&["own row".into(), at.seed.into(), (at.step as u64).into(), (row as u64).into()])
        };
        let places: Vec<usize> = (0..at.rows).filter(|row| draw(*row) < config.on_policy).collect();
        let mut out = Written { rows: Vec::new(), sampled: 0, read: 0, ended: 0 };
        if places.is_empty() {
            return Ok(out);
        }
        let seed = |row: usize| {
            key::seed(&["own answer".into(), at.seed.into(), (at.step as u64).into(), (row as u64).into()])
        };
        let requests: Vec<Request> = places
            .iter()
            .map(|row| Request {
                prompt: self.prompt(at.seed, at.step * config.batch_size + row).to_vec(),
                seeds: vec![seed(*row)],
                begun: String::new(),
            })
            .collect();
        let sampling = Sampling {
            temperature: config.on_policy_temperature as f32,
            top_p: 1.0,
            top_k: 0,
            max_tokens: config.on_policy_tokens,
            calculator: false,
        };
        let (vocabulary, end) = (student.config.vocab_size, student.config.eos_token_ids.first().copied());
        let Some(end) = end else { bail!("the model {}", super::NO_END) };
        let mut student = student;
        self.device.prepare(&mut student, self.dtype)?;
        let mut generator = Generator::new(&student, self.limits);
        let tokenizer = self.tokenizer;
        let work =
            Generation { tokenizer, requests: &requests, sampling: &sampling, stop: Stop::Limit, stops: &[] };
        let answers = generator.generate(&work, events)?;
        for ((place, request), answer) in places.into_iter().zip(&requests).zip(answers) {
            let Some(answer) = answer.into_iter().next() else { continue };
            let mut said: Vec<u32> = answer.tokens.iter().map(|token| token.id).collect();
            if answer.finished {
                said.push(end);
                out.ended += 1;
            }
            out.sampled += said.len();
            out.rows.push((place, Example::new(&request.prompt, &said, 0.0, 1.0)));
        }
        let examples: Vec<&Example> = out.rows.iter().map(|(_, row)| row).collect();
        out.read = examples.iter().map(|row| row.tokens.len() - 1).sum();
        let read = self.teacher.each(&examples, (config.top_k, vocabulary), events)?;
        for ((_, row), top) in out.rows.iter_mut().zip(read) {
            row.teacher = Some(Arc::new(top));
        }
        Ok(out)
    }

    /// The prompt at a place of the whole training run: all come once before any comes again.
    fn prompt(&self, seed: u64, place: usize) -> &[u32] {
        let count = self.prompts.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut key::rng(&["own prompts".into(), seed.into(), ((place / count) as u64).into()]));
        &self.prompts[order[place % count]]
    }
}

/// Says once if the student's own answers become much shorter or longer than they were, or stop ending: what
/// on-policy training is known to fail by.
#[derive(Default)]
pub struct Monitor {
    lengths: Vec<f32>,
    ended: Vec<f32>,
    said: bool,
}

impl Monitor {
    /// Mean length of a step's own answers, and the share that ended.
    pub fn see(&mut self, length: f32, ended: f32) -> Option<String> {
        self.lengths.push(length);
        self.ended.push(ended);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        if self.said || self.lengths.len() < 2 * WINDOW {
            return None;
        }
        let first = mean(&self.lengths[..WINDOW]);
        let now = mean(&self.lengths[self.lengths.len() - WINDOW..]);
        let (begun, end) = (mean(&self.ended[..WINDOW]), mean(&self.ended[self.ended.len() - WINDOW..]));
        let problem = if now < first / 3.0 || now > first * 3.0 {
            format!("the student's own answers have {now:.0} tokens, at first {first:.0}")
        } else if end < begun / 2.0 {
            format!("{:.0}% of the student's own answers end, at first {:.0}%", end * 100.0, begun * 100.0)
        } else {
            return None;
        };
        self.said = true;
        Some(format!("{problem}: lengths collapse; lower train.learning_rate or train.on_policy"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapsing_lengths_are_said_once() {
        let mut monitor = Monitor::default();
        let of = |lengths: &[f32], ended: f32, monitor: &mut Monitor| {
            lengths.iter().filter_map(|length| monitor.see(*length, ended)).collect::<Vec<String>>()
        };
        assert!(of(&[100.0; 30], 0.9, &mut monitor).is_empty());
        assert!(of(&[60.0; 30], 0.6, &mut monitor).is_empty());
        let said = of(&[20.0; 30], 0.6, &mut monitor);
        assert!(said.len() == 1 && said[0].contains("at first 100"), "{said:?}");
        let mut endless = Monitor::default();
        of(&[100.0; 12], 0.9, &mut endless);
        let said = of(&[120.0; 30], 0.1, &mut endless);
        assert!(said.len() == 1 && said[0].contains("at first 90%"), "{said:?}");
    }
}
