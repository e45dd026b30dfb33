//! A teacher behind an OpenAI-compatible server (chat completions): vLLM, llama.cpp, a hosted API.
//!
//! - Every answer is stored before it is used ([`store`]): a resumed run asks only what is missing.
//! - Temporary faults are retried with pauses, all others end at once with advice ([`EndpointError`]).
//! - With the calculator a sample takes several requests, each of which continues the text so far as
//!   a trailing assistant message ([`draft`]). llama.cpp and many hosted APIs continue such a message
//!   by themselves; vLLM starts a new turn unless `prefill = "vllm"` adds its switches.
//!
//! ```toml
//! url = "http://127.0.0.1:8080/v1"
//! model = "default"
//! extra_body = { min_p = 0.05 }
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use datasets::key::{self, Part};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::client::{Client, Note, Talk};
use self::draw::Job;
use self::error::Halt;
use self::store::{Store, canonical};
use super::{Ask, Horizon, Policy, Prompt, Proposal, Sampling};
use crate::events::{Cancelled, Events};

mod client;
mod date;
mod draft;
mod draw;
mod error;
mod store;
mod wire;

#[cfg(test)]
mod tests;

pub use error::EndpointError;
pub use store::{Answers, check as check_answers, clear as clear_answers};

/// Version of how text, stop strings and the calculator are put together. Part of the fingerprint.
const SEMANTICS: u64 = 1;
/// How often [`Events::cancelled`] is looked at while requests are under way.
const POLL: Duration = Duration::from_millis(50);
/// Least time between two notes about repeated requests.
const QUIET: Duration = Duration::from_secs(30);
/// Fields of the request that have their own settings or must not change.
const RESERVED: [&str; 10] =
    ["model", "messages", "seed", "temperature", "top_p", "top_k", "max_tokens", "n", "stop", "stream"];

/// How a server is told to continue what the assistant has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefill {
    /// A trailing assistant message, nothing else.
    #[default]
    Assistant,
    /// In addition `continue_final_message = true` and `add_generation_prompt = false`, as vLLM and SGLang
    /// need.
    Vllm,
}

/// Where the server is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointConfig {
    /// Base of the API, e.g. `http://127.0.0.1:8080/v1`.
    pub url: String,
    /// The name of the model that is sent.
    pub model: String,
    /// Environment variable with the key; without such a variable none is sent.
    pub api_key_env: String,
    /// Most requests under way at a time.
    pub concurrency: usize,
    /// Limit for one try of a request, in seconds.
    pub timeout_s: f64,
    /// Repetitions after the first try.
    pub retries: u32,
    /// First pause before a repetition, in milliseconds; doubled each time, at most a minute.
    pub backoff_ms: u64,
    /// Ask for all samples of a state in one request, where the calculator allows it. Turn it off for
    /// servers that refuse `n`.
    pub use_n: bool,
    /// Further fields of the request, e.g. `min_p`.
    pub extra_body: Map<String, Value>,
    /// Ask for log-probabilities.
    pub logprobs: bool,
    pub prefill: Prefill,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080/v1".to_owned(),
            model: "default".to_owned(),
            api_key_env: "OPENAI_API_KEY".to_owned(),
            concurrency: 8,
            timeout_s: 120.0,
            retries: 5,
            backoff_ms: 500,
            use_n: true,
            extra_body: Map::new(),
            logprobs: true,
            prefill: Prefill::default(),
        }
    }
}

impl EndpointConfig {
    /// Checks the settings without asking the server.
    ///
    /// # Errors
    /// The first that cannot work.
    pub fn check(&self) -> Result<(), EndpointError> {
        self.address()?;
        self.timeout().map(|_| ())
    }

    /// The address that requests go to; checks the other settings as well.
    fn address(&self) -> Result<Url, EndpointError> {
        let wrong = |text: String| Err(EndpointError::Config(text));
        if self.concurrency == 0 {
            return wrong("`concurrency` must be at least 1".to_owned());
        }
        if let Some(name) = RESERVED.iter().find(|name| self.extra_body.contains_key(**name)) {
            return wrong(format!("`{name}` in `extra_body` is set by qstill itself; remove it there"));
        }
        let mut url = match Url::parse(&self.url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => return wrong("`url` should look like http://127.0.0.1:8080/v1".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return wrong(
                "`url` holds a user name or password; put the key into an environment variable and name it in `api_key_env`".to_owned(),
            );
        }
        let base = url.path().trim_end_matches('/');
        let path = format!("{}/chat/completions", base.strip_suffix("/chat/completions").unwrap_or(base));
        url.set_path(&path);
        url.set_fragment(None);
        Ok(url)
    }

    fn timeout(&self) -> Result<Duration, EndpointError> {
        let timeout = Duration::try_from_secs_f64(self.timeout_s).ok().filter(|timeout| !timeout.is_zero());
        timeout.ok_or_else(|| {
            EndpointError::Config("`timeout_s` must be a number of seconds above 0".to_owned())
        })
    }

    /// The key, if its variable is set.
    fn key(&self) -> Result<Option<String>, EndpointError> {
        match std::env::var_os(&self.api_key_env).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(key)) => Ok(Some(key.trim().to_owned()).filter(|key| !key.is_empty())),
            Some(Err(_)) => {
                Err(EndpointError::Config(format!("the key in ${} is no UTF-8", self.api_key_env)))
            }
        }
    }
}

/// A language model behind HTTP. It owns its threads: use it outside of asynchronous code.
pub struct Endpoint {
    runtime: Runtime,
    client: Arc<Client>,
    prompt: Prompt,
    fingerprint: String,
    /// What was said once and is not said again.
    said: HashSet<&'static str>,
    /// When a repeated request was last spoken of, and how many were not since.
    retries: (Option<Instant>, u32),
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
        let client = Arc::new(Client::new(config, key, Store::open(cache_dir)?)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("endpoint")
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the endpoint's threads")?;
        Ok(Self { runtime, client, prompt, fingerprint, said: HashSet::new(), retries: (None, 0) })
    }

    /// The independent pieces of work: one per ask where `n` can be used, else one per sample.
    fn jobs(&self, asks: &[Ask<'_>], horizon: Horizon, sampling: &Sampling) -> Vec<Job> {
        // With greedy sampling all `n` would be equal, and vLLM refuses it.
        let together = self.client.config.use_n && !sampling.calculator && sampling.temperature > 0.0;
        let mut jobs = Vec::new();
        for (place, ask) in asks.iter().enumerate() {
            let messages = Arc::new(self.prompt.messages(&ask.problem.question));
            let given: String = ask.steps.iter().flat_map(|step| [step.as_str(), "\n"]).collect();
            let size = if together { ask.seeds.len().max(1) } else { 1 };
            for (chunk, seeds) in ask.seeds.chunks(size).enumerate() {
                let (messages, given, seeds, sampling) =
                    (messages.clone(), given.clone(), seeds.to_vec(), sampling.clone());
                jobs.push(Job { ask: place, first: chunk * size, messages, given, seeds, horizon, sampling });
            }
        }
        jobs
    }

    fn say(&mut self, note: Note, events: &dyn Events) {
        match note {
            Note::Once(text) => {
                if self.said.insert(text) {
                    events.note(text);
                }
            }
            Note::Retry(text) => match self.retries {
                (Some(last), unsaid) if last.elapsed() < QUIET => self.retries = (Some(last), unsaid + 1),
                (_, unsaid) => {
                    let others = if unsaid > 0 {
                        format!(" (and {unsaid} more since the last note)")
                    } else {
                        String::new()
                    };
                    events.note(&format!("{text}{others}"));
                    self.retries = (Some(Instant::now()), 0);
                }
            },
        }
    }
}

impl Policy for Endpoint {
    fn kind(&self) -> &'static str {
        "endpoint"
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
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
        let jobs = self.jobs(asks, horizon, sampling);
        let mut proposals: Vec<Vec<Proposal>> =
            asks.iter().map(|ask| vec![Proposal::default(); ask.seeds.len()]).collect();
        let (stop, _) = watch::channel(false);
        let (notes, mut heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for job in jobs {
            let (client, talk) = (self.client.clone(), Talk { notes: notes.clone(), stop: stop.clone() });
            let work = async move { job.draw(&client, &talk).await.map(|drawn| (job.ask, job.first, drawn)) };
            tasks.spawn_on(work, self.runtime.handle());
        }
        let handle = self.runtime.handle().clone();
        let (mut failure, mut cancelled, mut incomplete) = (None, false, false);
        handle.block_on(async {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => if events.cancelled() {
                        cancelled = true;
                        stop.send_replace(true);
                    },
                    Some(note) = heard.recv() => self.say(note, events),
                    done = tasks.join_next() => match done {
                        None => break,
                        Some(Ok(Ok((ask, first, drawn)))) => {
                            for (place, proposal) in drawn.into_iter().enumerate() {
                                proposals[ask][first + place] = proposal;
                            }
                        }
                        Some(Ok(Err(Halt::Stopped))) => incomplete = true,
                        Some(Ok(Err(Halt::Failed(error)))) => {
                            stop.send_replace(true);
                            failure.get_or_insert(error);
                        }
                        // Nothing aborts a job, so this is a bug in one: pass the panic on.
                        Some(Err(crash)) => std::panic::resume_unwind(crash.into_panic()),
                    },
                }
            }
        });
        while let Ok(note) = heard.try_recv() {
            self.say(note, events);
        }
        match failure {
            // What fails after the user asked to stop is not worth an error.
            Some(error) if !cancelled => Err(error.into()),
            Some(_) => Err(Cancelled.into()),
            None if incomplete => Err(Cancelled.into()),
            None => Ok(proposals),
        }
    }
}

/// Hash of everything that proposals depend on; not of how patiently or how often the server is asked.
fn fingerprint(config: &EndpointConfig, prompt: &Prompt) -> Result<String, EndpointError> {
    let address = config.address()?;
    let extra = canonical(&Value::Object(config.extra_body.clone()));
    let prefill = match config.prefill {
        Prefill::Assistant => "assistant",
        Prefill::Vllm => "vllm",
    };
    let mut parts: Vec<Part<'_>> = vec![
        "endpoint".into(),
        SEMANTICS.into(),
        address.as_str().into(),
        (&config.model).into(),
        (&extra).into(),
        prefill.into(),
    ];
    parts.extend([
        Part::from(u64::from(config.use_n)),
        u64::from(config.logprobs).into(),
        (&prompt.instruction).into(),
    ]);
    for (question, completion) in &prompt.examples {
        parts.extend([question.into(), Part::from(completion)]);
    }
    Ok(key::id(&parts))
}
