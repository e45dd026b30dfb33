//! One request to the server: from disk if it was answered before, else over HTTP with retries.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use datasets::key;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};

use super::config::EndpointConfig;
use super::date;
use super::error::{EndpointError, Halt};
use super::store::{Store, Stored, canonical};
use super::wire::Reply;
use crate::fault;

/// Largest body taken from a server, in MiB.
const BODY_LIMIT: usize = 64;
/// Longest pause between tries that qstill chooses itself.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// Longest pause between tries that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);
/// Characters of a server's message that are passed on.
const EXCERPT: usize = 300;
/// Keys shorter than this are placeholders, and would garble the messages that they are cut out of.
const SHORTEST_SECRET: usize = 8;

/// What a job may say while it works.
pub(super) enum Note {
    /// Said once in the life of the endpoint.
    Once(&'static str),
    /// A request is repeated; said now and then.
    Retry(String),
}

/// A job's line to the caller.
#[derive(Clone)]
pub(super) struct Talk {
    pub notes: mpsc::UnboundedSender<Note>,
    /// Set once the user asked to stop, or a request failed for good.
    pub stop: watch::Sender<bool>,
}

impl Talk {
    pub(super) fn note(&self, note: Note) {
        // The listener outlives the jobs; if it is gone, nobody wants to know.
        let _ = self.notes.send(note);
    }
}

pub(super) struct Client {
    pub config: EndpointConfig,
    http: reqwest::Client,
    /// `.../chat/completions`
    url: Url,
    /// The address for messages, without its query.
    shown: String,
    key: Option<String>,
    store: Store,
    permits: Semaphore,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(
        config: EndpointConfig,
        key: Option<String>,
        store: Store,
    ) -> Result<Self, EndpointError> {
        let (url, timeout) = (config.address()?, config.timeout()?);
        // One process-wide provider; an earlier one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect could carry the key to another host, or turn the POST into a GET.
        let mut builder =
            reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "http" {
            // Plain HTTP must work on machines without root certificates.
            builder = builder.tls_certs_only([]);
        }
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        if let Some(key) = &key {
            let unusable = |_| {
                EndpointError::Config(format!(
                    "the key in ${} has characters that cannot be sent in a header",
                    config.api_key_env
                ))
            };
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(unusable)?;
            value.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let http = builder.build().map_err(|error| {
            EndpointError::Config(format!(
                "cannot set up HTTPS ({}); are root certificates installed?",
                root(&error)
            ))
        })?;
        let mut shown = url.clone();
        shown.set_query(None);
        let permits = Semaphore::new(config.concurrency);
        Ok(Self { config, http, shown: shown.into(), url, key, store, permits, timeout })
    }

    /// Leave to send requests, one at a time. A sample holds it for all of its requests, so that each
    /// continuation finds the beginning still in the server's prompt cache; and during the pauses between
    /// tries too: the server asked for less traffic, not for other requests.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, Halt> {
        self.permits.acquire().await.map_err(|_| Halt::Stopped)
    }

    /// The reply to a request. It is stored before this returns; a stored one does not touch the network.
    pub(super) async fn complete(&self, request: &Value, stops: &[&str], talk: &Talk) -> Result<Reply, Halt> {
        if *talk.stop.borrow() {
            return Err(Halt::Stopped);
        }
        let name = Store::name(self.url.as_str(), request);
        let read = |body: &str| serde_json::from_str(body).ok().and_then(|body| Reply::read(&body, stops));
        let stored = tokio::task::block_in_place(|| self.store.get(&name, request))?;
        if let Stored::Body(body) = &stored
            && let Some(reply) = read(body)
        {
            return Ok(reply);
        }
        if stored != Stored::Nothing {
            tokio::task::block_in_place(|| self.store.set_aside(&name))?;
            talk.note(Note::Once(
                "a stored answer is damaged; it is set aside as responses/damaged-… and asked for again",
            ));
        }
        let text = canonical(request);
        let mut tries = 0;
        loop {
            if *talk.stop.borrow() {
                return Err(Halt::Stopped);
            }
            tries += 1;
            match self.send(text.clone(), tries).await {
                Ok((status, body)) => {
                    let body = tokio::task::block_in_place(|| self.store.put(&name, request, status, body))?;
                    return read(&body).ok_or_else(|| Halt::Failed(self.no_choices(&body)));
                }
                Err((error, _)) if !error.is_temporary() || tries > self.config.retries => {
                    // Said before the permit goes to the next job. A request that is too long may be one of
                    // many steps.
                    if !matches!(error, EndpointError::TooLong { .. }) {
                        talk.stop.send_replace(true);
                    }
                    return Err(error.into());
                }
                Err((error, asked)) => {
                    let wait =
                        self.backoff(&name, tries).max(asked.unwrap_or_default()).min(LONGEST_RETRY_AFTER);
                    let of = self.config.retries + 1;
                    talk.note(Note::Retry(format!(
                        "{}: {}; try {} of {of} in {:.1} s",
                        self.shown,
                        error.fault(),
                        tries + 1,
                        wait.as_secs_f64()
                    )));
                    let mut stop = talk.stop.subscribe();
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = stop.wait_for(|stop| *stop) => return Err(Halt::Stopped),
                    }
                }
            }
        }
    }

    /// Doubles with every try, give or take a quarter: jobs that failed together do not return together.
    fn backoff(&self, name: &str, tries: u32) -> Duration {
        let doubled = Duration::from_millis(self.config.backoff_ms).saturating_mul(1 << (tries - 1).min(20));
        let jitter = 0.75 + 0.5 * key::unit(&["backoff".into(), name.into(), u64::from(tries).into()]);
        doubled.min(LONGEST_BACKOFF).mul_f64(jitter).min(LONGEST_BACKOFF)
    }

    /// One try. An error comes with the pause that the server asked for.
    async fn send(
        &self,
        text: String,
        tries: u32,
    ) -> Result<(u16, String), (EndpointError, Option<Duration>)> {
        let sent =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(text).send().await;
        let response = sent.map_err(|error| (self.transport(&error, tries), None))?;
        let status = response.status().as_u16();
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| date::pause(value, SystemTime::now()));
        let location =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("?").to_owned();
        let body = self.body(response, tries).await;
        let url = self.shown.clone();
        if (300..400).contains(&status) {
            return Err((EndpointError::Redirected { url, location: self.excerpt(&location), status }, None));
        }
        if !(200..300).contains(&status) {
            // A status says enough even if the body broke off.
            let body = body.unwrap_or_default();
            return Err((self.refused(status, &String::from_utf8_lossy(&body), tries), asked));
        }
        let body = String::from_utf8_lossy(&body.map_err(|error| (error, None))?).into_owned();
        // A server that repeats the key must not bring it into the run.
        let body = match &self.key {
            Some(key) if key.len() >= SHORTEST_SECRET && body.contains(key.as_str()) => {
                body.replace(key.as_str(), "(key)")
            }
            _ => body,
        };
        if body.trim_start().starts_with('<') {
            return Err((EndpointError::WebPage { url }, None));
        }
        let json: Value = match serde_json::from_str(&body) {
            Ok(json) => json,
            Err(error) => {
                return Err((
                    EndpointError::Broken { url, cause: format!("no complete JSON: {error}"), tries },
                    asked,
                ));
            }
        };
        if Reply::read(&json, &[]).is_none() {
            // Some gateways report an upstream's failure with status 200.
            let inner =
                json.pointer("/error/code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            let inner = inner.filter(|code| (400..600).contains(code));
            return Err((
                inner.map_or_else(|| self.no_choices(&body), |code| self.refused(code, &body, tries)),
                asked,
            ));
        }
        Ok((status, body))
    }

    async fn body(&self, mut response: Response, tries: u32) -> Result<Vec<u8>, EndpointError> {
        let limit = BODY_LIMIT << 20;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(&error, tries))? {
            if body.len() + chunk.len() > limit {
                return Err(EndpointError::TooLarge { url: self.shown.clone(), limit: BODY_LIMIT });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn transport(&self, error: &reqwest::Error, tries: u32) -> EndpointError {
        let (url, cause) = (self.shown.clone(), self.excerpt(&root(error)));
        if error.is_connect() {
            EndpointError::Unreachable { url, cause, tries }
        } else if error.is_timeout() {
            EndpointError::TimedOut { url, seconds: self.timeout.as_secs_f64(), tries }
        } else {
            EndpointError::Broken { url, cause, tries }
        }
    }

    fn refused(&self, status: u16, body: &str, tries: u32) -> EndpointError {
        let url = self.shown.clone();
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let said = ["/error/message", "/error", "/message", "/detail"]
            .iter()
            .find_map(|place| json.pointer(place).and_then(Value::as_str));
        let message = self.excerpt(said.unwrap_or(body));
        let kind = |field: &str| {
            json.pointer(&format!("/error/{field}")).and_then(Value::as_str).unwrap_or_default()
        };
        let variable = &self.config.api_key_env;
        match status {
            401 | 403 => {
                let advice = match &self.key {
                    Some(_) => format!("check the key in the environment variable {variable}"),
                    None => format!(
                        "no key was sent; set the environment variable {variable}, or name another one in `api_key_env`"
                    ),
                };
                EndpointError::Denied { url, status, message, advice }
            }
            404 => EndpointError::NotFound { url, message },
            // Waiting does not fill an empty account.
            429 if kind("code") == "insufficient_quota" => EndpointError::Rejected { url, status, message },
            408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
                EndpointError::Busy { url, status, message, tries }
            }
            // OpenAI's code, llama.cpp's type, vLLM's words.
            400 | 413 | 422
                if kind("code") == "context_length_exceeded"
                    || kind("type") == "exceed_context_size_error"
                    || message.contains("context length") =>
            {
                EndpointError::TooLong { url, message }
            }
            _ => EndpointError::Rejected { url, status, message },
        }
    }

    fn no_choices(&self, body: &str) -> EndpointError {
        EndpointError::NoChoices { url: self.shown.clone(), excerpt: self.excerpt(body) }
    }

    /// The first characters of what a server said, on one line and without the key: some servers
    /// repeat it when they refuse it.
    fn excerpt(&self, text: &str) -> String {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let safe = match &self.key {
            Some(key) if key.len() >= SHORTEST_SECRET && !fault::is("key-told") => {
                line.replace(key.as_str(), "(key)")
            }
            _ => line,
        };
        if safe.is_empty() { "nothing".to_owned() } else { safe.chars().take(EXCERPT).collect() }
    }
}

/// The innermost cause, e.g. `Connection refused (os error 111)`.
fn root(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| "unknown cause".to_owned(), ToString::to_string)
}
