//! Batched sampling with a key/value cache, and hidden states of texts from the same cache.
//!
//! - [`request`]: what is asked, and what is given
//! - [`row`]: one answer in the making: drawing tokens, the calculator, where it ends
//! - [`cpu`]: continuous batching over [`super::cpu`]
//! - [`device`]: the same on burn's tensors, for a GPU; [`draw`] draws there
//!
//! A row's random numbers depend on its seed alone, and its tokens on its own prompt and seed.

use super::FutureHeads;
use super::decoder::Decoder;
use crate::events::Events;

mod cpu;
pub(crate) mod device;
#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod draft_tests;
mod draw;
mod request;
mod row;

pub use request::{Generated, Generation, Limits, Request, Stop, Token};

/// A decoder made ready to generate; keeps what it has computed of prompts for the next call.
pub struct Generator {
    context: usize,
    engine: Engine,
}

enum Engine {
    Cpu(Box<cpu::Cpu>),
    Device(Box<device::OnDevice>),
}

impl Generator {
    pub fn new(decoder: &Decoder, limits: Limits) -> Self {
        Self::with_heads(decoder, None, limits)
    }

    /// The same with heads that draft the tokens after the next, on the CPU: fewer passes while few rows are
    /// at work, and the same answers.
    pub fn with_heads(decoder: &Decoder, future: Option<&FutureHeads>, limits: Limits) -> Self {
        let engine = if decoder.device() == super::device::cpu() {
            Engine::Cpu(Box::new(cpu::Cpu::new(decoder, future, limits)))
        } else {
            Engine::Device(Box::new(device::OnDevice::new(decoder, limits)))
        };
        Self { context: decoder.config.max_position_embeddings, engine }
    }

    /// Samples every request; one result per seed, in order.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between passes, or a message if a prompt and `max_tokens` exceed the context or
    /// the memory.
    pub fn generate(
        &mut self,
        generation: &Generation<'_>,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<Vec<Generated>>> {
        let Generation { requests, sampling, .. } = *generation;
        for request in requests {
            let need = request.prompt.len() + sampling.max_tokens;
            ensure!(
                need <= self.context,
                "a prompt of {} tokens and max_tokens {} exceed the model's context of {}: use fewer worked \
                 examples, a lower max_tokens or shorter questions",
                request.prompt.len(),
                sampling.max_tokens,
                self.context
            );
            ensure!(!request.prompt.is_empty(), "a prompt has no tokens");
        }
        let finished = match &mut self.engine {
            Engine::Cpu(cpu) => cpu.run(generation, events)?,
            Engine::Device(device) => device.run(generation, events)?,
        };
        let mut results: Vec<Vec<Generated>> =
            requests.iter().map(|r| vec![Generated::default(); r.seeds.len()]).collect();
        for (home, out) in finished {
            results[home.0][home.1] = out;
        }
        Ok(results)
    }

    /// Final normalised hidden state `[D]` after the last token of each sequence, in order: what a
    /// [`crate::model::ValueHead`] reads. On the CPU, keys and values of what sequences begin with are taken
    /// from the cache and stay there, so that nothing is computed twice; the same bits whatever else is
    /// asked, and on any number of threads.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between passes, or a message if a sequence is empty or exceeds the context or the
    /// memory.
    pub fn hidden(&mut self, sequences: &[Vec<u32>], events: &dyn Events) -> anyhow::Result<Vec<Vec<f32>>> {
        for sequence in sequences {
            ensure!(
                sequence.len() <= self.context,
                "a text of {} tokens exceeds the model's context of {}: use fewer worked examples or shorter \
                 steps",
                sequence.len(),
                self.context
            );
            ensure!(!sequence.is_empty(), "a text has no tokens");
        }
        match &mut self.engine {
            Engine::Cpu(cpu) => cpu.hidden(sequences, events),
            Engine::Device(device) => device.hidden(sequences, events),
        }
    }

    /// How many tokens have been run through the decoder since it was made: of prompts and of
    /// [`Generator::hidden`] those that were not in the cache, and generated ones, drafts that did not stand
    /// too. Padding does not count.
    pub fn computed(&self) -> u64 {
        match &self.engine {
            Engine::Cpu(cpu) => cpu.computed(),
            Engine::Device(device) => device.computed(),
        }
    }

    /// How many passes rows at work have taken since it was made, prompts apart, where the engine counts
    /// them.
    pub fn steps(&self) -> Option<u64> {
        match &self.engine {
            Engine::Cpu(cpu) => Some(cpu.steps()),
            Engine::Device(_) => None,
        }
    }

    /// Bytes of keys and values held, where the engine knows.
    pub fn cache_bytes(&self) -> Option<usize> {
        match &self.engine {
            Engine::Cpu(cpu) => Some(cpu.cache_bytes()),
            Engine::Device(device) => Some(device.cache_bytes()),
        }
    }
}
