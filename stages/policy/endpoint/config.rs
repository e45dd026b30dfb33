//! `[endpoint]` of a configuration.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::EndpointError;
use super::field::MaxTokens;

/// Fields of the request that have their own settings or must not change.
const RESERVED: [&str; 10] =
    ["model", "messages", "seed", "temperature", "top_p", "top_k", "max_tokens", "n", "stop", "stream"];

/// The service that answers chats.
pub(super) const CHAT: &str = "chat/completions";

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
    /// Several servers of the same model, in place of `url`.
    pub urls: Vec<String>,
    /// The name of the model that is sent.
    pub model: String,
    /// Whatever tells models of the same name apart.
    pub revision: String,
    /// Environment variable with the key; without such a variable none is sent.
    pub api_key_env: String,
    /// Most requests under way at a time, on each server.
    pub concurrency: usize,
    /// Limit for one try of a request, in seconds.
    pub timeout_s: f64,
    /// Repetitions after the first try.
    pub retries: u32,
    /// First pause before a repetition, in milliseconds; doubled each time, at most a minute.
    pub backoff_ms: u64,
    /// Largest share of samples without an answer that a run goes on with.
    pub max_failed: f64,
    /// Dollars per million tokens of prompts; 0 if it is not known.
    pub price_prompt: f64,
    /// Dollars per million tokens of answers.
    pub price_completion: f64,
    /// Dollars that a run may spend; 0 for no limit.
    pub max_cost: f64,
    /// Tokens of prompts and answers that a run may spend; 0 for no limit.
    pub max_tokens_total: u64,
    /// Ask for all samples of a state in one request, where the calculator allows it. Turn it off for
    /// servers that refuse `n`.
    pub use_n: bool,
    /// Further fields of the request, e.g. `min_p`.
    pub extra_body: Map<String, Value>,
    /// Ask for log-probabilities.
    pub logprobs: bool,
    pub prefill: Prefill,
    /// Fields that are not sent.
    pub omit: Vec<String>,
    pub max_tokens_field: MaxTokens,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080/v1".to_owned(),
            urls: Vec::new(),
            model: "default".to_owned(),
            revision: String::new(),
            api_key_env: "OPENAI_API_KEY".to_owned(),
            concurrency: 8,
            timeout_s: 600.0,
            retries: 5,
            backoff_ms: 500,
            max_failed: 0.5,
            price_prompt: 0.0,
            price_completion: 0.0,
            max_cost: 0.0,
            max_tokens_total: 0,
            use_n: true,
            extra_body: Map::new(),
            logprobs: true,
            prefill: Prefill::default(),
            omit: Vec::new(),
            max_tokens_field: MaxTokens::default(),
        }
    }
}

impl EndpointConfig {
    /// Checks the settings without asking the server.
    ///
    /// # Errors
    /// The first that cannot work.
    pub fn check(&self) -> Result<(), EndpointError> {
        self.addresses(CHAT)?;
        self.timeout().map(|_| ())
    }

    /// Whether tokens have a price.
    pub fn has_prices(&self) -> bool {
        self.price_prompt > 0.0 || self.price_completion > 0.0
    }

    /// Whether it matters what a run has spent.
    pub fn counts_spending(&self) -> bool {
        self.has_prices() || self.max_tokens_total > 0
    }

    /// Number of servers.
    pub(super) fn servers(&self) -> usize {
        self.urls.len().max(1)
    }

    /// Most requests under way on all servers together.
    pub(super) fn at_a_time(&self) -> usize {
        self.concurrency.saturating_mul(self.servers())
    }

    /// The addresses of a service of the servers; checks the other settings as well.
    pub(super) fn addresses(&self, service: &str) -> Result<Vec<Url>, EndpointError> {
        let wrong = |text: String| Err(EndpointError::Config(text));
        if self.concurrency == 0 {
            return wrong("`concurrency` must be at least 1".to_owned());
        }
        if let Some(name) = RESERVED.iter().find(|name| self.extra_body.contains_key(**name)) {
            return wrong(format!("`{name}` in `extra_body` is set by qstill itself; remove it there"));
        }
        if self.urls.is_empty() {
            return Ok(vec![address("`url`", &self.url, service)?]);
        }
        let mut all = Vec::new();
        for url in &self.urls {
            let found = address(&format!("`{url}` in `urls`"), url, service)?;
            if all.contains(&found) {
                return wrong(format!("`urls` names {url} twice"));
            }
            all.push(found);
        }
        Ok(all)
    }

    pub(super) fn timeout(&self) -> Result<Duration, EndpointError> {
        let timeout = Duration::try_from_secs_f64(self.timeout_s).ok().filter(|timeout| !timeout.is_zero());
        timeout.ok_or_else(|| {
            EndpointError::Config("`timeout_s` must be a number of seconds above 0".to_owned())
        })
    }

    /// The key, if its variable is set.
    pub(super) fn key(&self) -> Result<Option<String>, EndpointError> {
        match std::env::var_os(&self.api_key_env).map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(key)) => Ok(Some(key.trim().to_owned()).filter(|key| !key.is_empty())),
            Some(Err(_)) => {
                Err(EndpointError::Config(format!("the key in ${} is not UTF-8", self.api_key_env)))
            }
        }
    }
}

/// The address of a service of the server at `url`, which messages call `name`.
fn address(name: &str, url: &str, service: &str) -> Result<Url, EndpointError> {
    let wrong = |text: &str| Err(EndpointError::Config(format!("{name} {text}")));
    let mut url = match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => return wrong("should look like http://127.0.0.1:8080/v1"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong(
            "holds a user name or password; put the key into an environment variable and name it in \
             `api_key_env`",
        );
    }
    let base = url.path().trim_end_matches('/');
    let base = base.strip_suffix(CHAT).map_or(base, |base| base.trim_end_matches('/'));
    let path = format!("{base}/{service}");
    url.set_path(&path);
    url.set_fragment(None);
    Ok(url)
}
