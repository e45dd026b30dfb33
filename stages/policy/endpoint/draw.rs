//! The samples of one job: which requests they take.

use std::sync::Arc;

use datasets::key;
use datasets::types::End;
use serde_json::{Map, Value, json};

use super::client::EXCERPT;
use super::config::{EndpointConfig, Prefill};
use super::draft::Draft;
use super::errand::Errand;
use super::error::{Halt, Lost};
use super::field;
use super::said::plain;
use super::talk::{Note, Talk};
use super::wire::{Choice, Ended, Reply};
use crate::policy::{Horizon, Message, Prompt, Proposal, Sampling};

/// Samples that are drawn together.
pub(super) struct Job {
    /// What it belongs to: the name of a log.
    pub label: Arc<str>,
    /// Index of the ask, and of the first of these samples within it.
    pub ask: usize,
    pub first: usize,
    pub prompt: Arc<Prompt>,
    pub messages: Arc<Vec<Message>>,
    /// The given steps as text; empty, or ending in a newline.
    pub given: String,
    /// One per sample. Several share a request that carries `n` and the first seed.
    pub seeds: Vec<u64>,
    pub horizon: Horizon,
    pub sampling: Sampling,
}

impl Job {
    /// One proposal per seed, in order.
    pub(super) async fn draw(&self, errand: &mut Errand<'_>) -> Result<Vec<Proposal>, Halt> {
        let talk = errand.talk;
        let mut proposals = Vec::with_capacity(self.seeds.len());
        if self.seeds.len() > 1 && !errand.client.leaves_out(field::N) {
            let draft = self.draft();
            match self.ask(errand, &draft, (self.seeds[0], self.seeds.len())).await {
                Ok(reply) => {
                    if reply.choices.len() < self.seeds.len() {
                        talk.note(Note::once(
                            "endpoint: the server returns fewer samples than `n` asks for; the missing ones \
                             are requested one by one (set `use_n = false` to avoid the attempt)",
                        ));
                    }
                    for (place, seed) in self.seeds.iter().enumerate().take(reply.choices.len()) {
                        proposals.push(self.complete(errand, Some((&reply, place)), *seed).await?);
                    }
                }
                Err(Halt::OneByOne) => {}
                Err(Halt::Lost(lost)) => {
                    let end = lost.end;
                    talk.note(Note::Lost(lost));
                    return Ok(self.seeds.iter().map(|_| self.lost(end)).collect());
                }
                Err(halt) => return Err(halt),
            }
        }
        for seed in &self.seeds[proposals.len()..] {
            proposals.push(self.complete(errand, None, *seed).await?);
        }
        Ok(proposals)
    }

    /// The proposal of a sample that never began.
    fn lost(&self, end: End) -> Proposal {
        let mut draft = self.draft();
        draft.stop(end);
        draft.finish()
    }

    fn draft(&self) -> Draft {
        Draft::new(&self.given, self.horizon, &self.sampling, &self.prompt)
    }

    /// Asks until a sample is complete, beginning with one of the choices of `first` if given.
    async fn complete(
        &self,
        errand: &mut Errand<'_>,
        first: Option<(&Reply, usize)>,
        seed: u64,
    ) -> Result<Proposal, Halt> {
        let talk = errand.talk;
        let mut draft = self.draft();
        let (mut round, mut lost) = (0, false);
        let mut more = match first {
            Some((reply, place)) => {
                let (shares, estimated) = reply.shares(self.seeds.len());
                note_estimate(estimated, talk);
                round += 1;
                note_cut(&reply.choices[place], talk);
                draft.absorb(&reply.choices[place], shares[place])
            }
            None => true,
        };
        while more {
            // The same seed again would give the continuation the draws of the beginning.
            let seed = if round == 0 { seed } else { fresh(seed, round) };
            let reply = match self.ask(errand, &draft, (seed, 1)).await {
                // The context is full: the sample ends there, as it does at `max_tokens`.
                Err(Halt::Lost(Lost { full: true, .. })) if round > 0 => {
                    draft.stop(End::Truncated);
                    break;
                }
                Err(Halt::Lost(why)) => {
                    lost = true;
                    if !draft.so_far().is_empty() && why.end == End::Failed && !why.temporary {
                        talk.note(Note::once(
                            "endpoint: the server does not go on with an answer that was begun, as the \
                             calculator and searches of steps need: set search.calculator = false, or see \
                             endpoint.prefill",
                        ));
                    }
                    draft.stop(why.end);
                    talk.note(Note::Lost(why));
                    break;
                }
                reply => reply?,
            };
            let (shares, estimated) = reply.shares(1);
            note_estimate(estimated, talk);
            note_cut(&reply.choices[0], talk);
            more = draft.absorb(&reply.choices[0], shares[0]);
            round += 1;
        }
        let proposal = draft.finish();
        if proposal.end == End::Empty && !lost {
            let why = "an answer without text".to_owned();
            talk.note(Note::Lost(Lost { end: End::Empty, why, temporary: false, full: false }));
        }
        Ok(proposal)
    }

    /// Asks once for `n` choices under a seed.
    async fn ask(
        &self,
        errand: &mut Errand<'_>,
        draft: &Draft,
        (seed, n): (u64, usize),
    ) -> Result<Reply, Halt> {
        let stops = draft.stops();
        let request = self.request(&errand.client.config, draft, seed, n);
        errand.complete(&request, &stops).await
    }

    fn request(&self, config: &EndpointConfig, draft: &Draft, seed: u64, n: usize) -> Value {
        let stops = draft.stops();
        let mut messages: Vec<Value> = self.messages.iter().map(|message| json!(message)).collect();
        let so_far = draft.so_far();
        let mut body = Map::new();
        body.insert("model".into(), json!(config.model));
        if !so_far.is_empty() {
            messages.push(json!({"role": "assistant", "content": so_far}));
            if config.prefill == Prefill::Vllm {
                body.insert("continue_final_message".into(), json!(true));
                body.insert("add_generation_prompt".into(), json!(false));
            }
        }
        body.insert("messages".into(), json!(messages));
        body.insert("seed".into(), json!(seed31(seed)));
        body.insert("temperature".into(), decimal(self.sampling.temperature));
        body.insert("top_p".into(), decimal(self.sampling.top_p));
        if self.sampling.top_k > 0 {
            body.insert("top_k".into(), json!(self.sampling.top_k));
        }
        body.insert("max_tokens".into(), json!(draft.remaining()));
        if n > 1 {
            body.insert("n".into(), json!(n));
        }
        if !stops.is_empty() {
            body.insert("stop".into(), json!(stops));
        }
        if config.logprobs {
            body.insert("logprobs".into(), json!(true));
        }
        for (name, value) in &config.extra_body {
            body.insert(name.clone(), value.clone());
        }
        // Samples are told apart by their seed, even where it is not sent.
        body.retain(|name, _| name == "seed" || !config.omit.iter().any(|left| left == name));
        Value::Object(body)
    }
}

fn note_estimate(estimated: bool, talk: &Talk) {
    if estimated {
        talk.note(Note::once("endpoint: the server does not report `usage`; token counts are estimates"));
    }
}

/// Says why a text is not whole, where the server says it.
fn note_cut(choice: &Choice, talk: &Talk) {
    if choice.ended == Ended::Filtered {
        let said = plain(&choice.refusal).chars().take(EXCERPT).collect();
        let why = if choice.refusal.is_empty() { "the server's filter".to_owned() } else { said };
        talk.note(Note::Lost(Lost { end: End::Filtered, why, temporary: false, full: false }));
    } else if choice.ended == Ended::Length && choice.text.is_empty() {
        talk.note(Note::once(
            "endpoint: an answer was cut off at max_tokens before its first word, as happens to models that \
             think first: raise search.max_tokens",
        ));
    }
}

/// The part of a seed that every server takes: 31 bits. Folded, so that small seeds stay what they are.
pub(super) fn seed31(seed: u64) -> u64 {
    (seed ^ (seed >> 31) ^ (seed >> 62)) & 0x7fff_ffff
}

/// The seed of a later request for the same sample.
fn fresh(seed: u64, round: u64) -> u64 {
    let bytes = key::digest(&["endpoint continuation".into(), seed.into(), round.into()]);
    bytes[..8].iter().fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// An f32 as its shortest decimal: 0.8, not 0.800000011920929.
fn decimal(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, |number| json!(number))
}
