//! A teacher behind an OpenAI-compatible server (chat completions): vLLM, llama.cpp, a hosted API.
//!
//! - Every answer is stored before it is used ([`store`]): a resumed run asks only what is missing.
//! - Temporary faults are retried with pauses ([`errand`]), and a server that asks for less traffic gets less
//!   ([`traffic`]). What ends a single sample is recorded with it
//!   ([`datasets::types::End`]); what all requests would meet ends the run with advice ([`EndpointError`]).
//! - Requests are sent in the order in which they are asked for, and those of the next shards while the last
//!   ones of a shard are pending ([`queue`]).
//! - With the calculator a sample takes several requests, each of which continues the text so far as
//!   a trailing assistant message ([`draft`]). llama.cpp and many hosted APIs continue such a message
//!   by themselves; vLLM starts a new turn unless `prefill = "vllm"` adds its switches.
//!
//! ```toml
//! url = "http://127.0.0.1:8080/v1"
//! model = "default"
//! extra_body = { min_p = 0.05 }
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use datasets::key::{self, Part};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::client::Client;
use self::config::CHAT;
use self::draw::Job;
use self::error::Halt;
use self::queue::Queue;
use self::store::{Store, canonical};
use self::talk::Tally;
use super::{Ask, Horizon, Policy, Prompt, Proposal, Sampling};
use crate::events::{Cancelled, Events};

mod client;
mod config;
mod date;
mod decode;
mod document;
mod draft;
mod draw;
mod errand;
mod error;
mod field;
mod given;
mod queue;
mod said;
mod servers;
mod spent;
mod store;
mod talk;
mod traffic;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{EndpointConfig, Prefill};
pub use error::EndpointError;
pub use field::{MaxTokens, OMITTABLE};
pub use given::{Given, Place, Scorer};
pub use spent::{Spent, dollars};
pub use store::{Answers, check as check_answers, clear as clear_answers};

/// Version of how text, stop strings and the calculator are put together. Part of the fingerprint.
const SEMANTICS: u64 = 3;
/// How often [`Events::cancelled`] is looked at while requests are under way.
const POLL: Duration = Duration::from_millis(50);
/// Problems that are begun ahead, for each request that may be under way.
const AHEAD: usize = 4;

/// A language model behind HTTP. It owns its threads: use it outside of asynchronous code.
pub struct Endpoint {
    runtime: Runtime,
    client: Arc<Client>,
    prompt: Arc<Prompt>,
    /// What the next jobs belong to.
    label: Arc<str>,
    fingerprint: String,
    queue: Queue,
    tally: Tally,
}

impl Drop for Endpoint {
    /// Requests under way finish: their answers are paid for.
    fn drop(&mut self) {
        self.runtime.block_on(self.queue.settle());
    }
}

impl Endpoint {
    /// Prepares an endpoint whose answers are stored in `cache_dir`. Nothing is sent yet.
    pub fn new(config: EndpointConfig, prompt: Prompt, cache_dir: PathBuf) -> anyhow::Result<Self> {
        let key = config.key()?;
        Self::with_key(config, prompt, cache_dir, key)
    }

    fn with_key(
        config: EndpointConfig,
        prompt: Prompt,
        cache_dir: PathBuf,
        key: Option<String>,
    ) -> anyhow::Result<Self> {
        let fingerprint = fingerprint(&config, &prompt)?;
        let client = Arc::new(Client::new(config, CHAT, key, Store::open(cache_dir)?)?);
        let runtime = threads("endpoint", 2)?;
        let queue = Queue::new(&client, runtime.handle());
        let prompt = Arc::new(prompt);
        let label = Arc::from("answers");
        Ok(Self { runtime, client, prompt, label, fingerprint, queue, tally: Tally::default() })
    }

    /// The independent pieces of work: one per ask where `n` can be used, else one per sample.
    fn jobs(&self, asks: &[Ask<'_>], horizon: Horizon, sampling: &Sampling) -> anyhow::Result<Vec<Job>> {
        // With greedy sampling all `n` would be equal, and vLLM refuses it.
        let together = self.client.config.use_n && !sampling.calculator && sampling.temperature > 0.0;
        let mut jobs = Vec::new();
        for (place, ask) in asks.iter().enumerate() {
            let messages = Arc::new(self.prompt.messages(&ask.problem.question)?);
            let given: String = ask.steps.iter().flat_map(|step| [step.as_str(), "\n"]).collect();
            let size = if together { ask.seeds.len().max(1) } else { 1 };
            for (chunk, seeds) in ask.seeds.chunks(size).enumerate() {
                jobs.push(Job {
                    label: self.label.clone(),
                    ask: place,
                    first: chunk * size,
                    prompt: self.prompt.clone(),
                    messages: messages.clone(),
                    given: given.clone(),
                    seeds: seeds.to_vec(),
                    horizon,
                    sampling: sampling.clone(),
                });
            }
        }
        Ok(jobs)
    }
}

impl Policy for Endpoint {
    fn kind(&self) -> &'static str {
        "endpoint"
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn belongs(&mut self, label: &str) {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.label = label.chars().map(plain).collect::<String>().into();
    }

    fn ahead(&self) -> usize {
        AHEAD * self.client.config.at_a_time()
    }

    fn expect(&mut self, asks: &[Ask<'_>], horizon: Horizon, sampling: &Sampling) {
        // What is wrong with a prompt is said when it is asked for.
        for job in self.jobs(asks, horizon, sampling).unwrap_or_default() {
            self.queue.begin(job);
        }
    }

    /// Asks the server, many requests at a time.
    ///
    /// When it is cancelled or a request fails for good, requests under way finish and are stored, and
    /// no others are started. Errors: [`Cancelled`], [`EndpointError`].
    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        sampling: &Sampling,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<Vec<Proposal>>> {
        events.check()?;
        let mut proposals: Vec<Vec<Proposal>> =
            asks.iter().map(|ask| vec![Proposal::default(); ask.seeds.len()]).collect();
        // Samples of each ask that are still to come.
        let mut open: Vec<usize> = asks.iter().map(|ask| ask.seeds.len()).collect();
        let mut answered = open.iter().filter(|open| **open == 0).count() as u64;
        let mut tasks = JoinSet::new();
        for job in self.jobs(asks, horizon, sampling)? {
            let (ask, first) = (job.ask, job.first);
            let drawn = self.queue.take(job);
            tasks.spawn_on(async move { (ask, first, drawn.await) }, self.runtime.handle());
        }
        let stop = self.queue.stop.clone();
        let handle = self.runtime.handle().clone();
        let limit = self.client.config.max_failed;
        let (mut failure, mut cancelled, mut incomplete, mut crashed) = (None, false, false, false);
        handle.block_on(async {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                if events.cancelled() {
                    cancelled = true;
                    stop.send_replace(true);
                }
                tokio::select! {
                    _ = tick.tick() => {}
                    Some(note) = self.queue.heard.recv() => self.tally.hear(note, events),
                    done = tasks.join_next() => match done {
                        None => break,
                        Some(Ok((ask, first, Ok(Ok(drawn))))) => {
                            open[ask] -= drawn.len();
                            answered += u64::from(open[ask] == 0);
                            events.advance(0, 0, drawn.iter().map(|drawn| u64::from(drawn.tokens)).sum());
                            events.partly(answered);
                            for (place, proposal) in drawn.into_iter().enumerate() {
                                self.tally.count(proposal.end);
                                proposals[ask][first + place] = proposal;
                            }
                            if let Some(cost) = self.client.spent().cost(&self.client.config) {
                                events.state(&dollars(cost));
                            }
                            while let Ok(note) = self.queue.heard.try_recv() {
                                self.tally.hear(note, events);
                            }
                            if let Err(error) = self.tally.check(limit, tasks.is_empty(), events) {
                                stop.send_replace(true);
                                failure.get_or_insert(error);
                            }
                        }
                        // The other reasons are settled within the job.
                        Some(Ok((_, _, Ok(Err(Halt::Stopped | Halt::Lost(_) | Halt::OneByOne))))) => {
                            incomplete = true;
                        }
                        Some(Ok((_, _, Ok(Err(Halt::Failed(error)))))) => {
                            stop.send_replace(true);
                            failure.get_or_insert(error);
                        }
                        // Nothing aborts a job, so this is a bug in one: the panic is said already.
                        Some(Ok((_, _, Err(_))) | Err(_)) => {
                            stop.send_replace(true);
                            crashed = true;
                        }
                    },
                }
            }
        });
        while let Ok(note) = self.queue.heard.try_recv() {
            self.tally.hear(note, events);
        }
        if crashed || incomplete || failure.is_some() {
            // What was begun ahead of its time may be the reason.
            failure = failure.or(self.runtime.block_on(self.queue.settle()));
        }
        ensure!(!crashed, "a request to the endpoint ended in a panic");
        match failure.or_else(|| self.client.verdict()) {
            // What fails after the user asked to stop is not worth an error.
            Some(error) if !cancelled => Err(error.into()),
            Some(_) => Err(Cancelled.into()),
            None if incomplete => Err(Cancelled.into()),
            None => Ok(proposals),
        }
    }
}

/// Threads that requests are sent from.
fn threads(name: &str, count: usize) -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(count).thread_name(name).enable_all().build();
    runtime.context("cannot start the endpoint's threads")
}

/// Hash of everything that proposals depend on; not of where the server is, and how patiently or how often it
/// is asked.
fn fingerprint(config: &EndpointConfig, prompt: &Prompt) -> Result<String, EndpointError> {
    config.addresses(CHAT)?;
    let extra = canonical(&Value::Object(config.extra_body.clone()));
    let prefill = match config.prefill {
        Prefill::Assistant => "assistant",
        Prefill::Vllm => "vllm",
    };
    let mut parts: Vec<Part<'_>> = vec![
        "endpoint".into(),
        SEMANTICS.into(),
        (&config.model).into(),
        (&config.revision).into(),
        (&extra).into(),
        prefill.into(),
    ];
    parts.extend([Part::from(u64::from(config.use_n)), u64::from(config.logprobs).into()]);
    parts.extend(config.omit.iter().map(Part::from));
    parts.extend(prompt.parts());
    Ok(key::id(&parts))
}
