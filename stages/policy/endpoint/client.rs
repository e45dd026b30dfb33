//! One request to the server: from disk if it was answered before, else over HTTP with retries.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use datasets::key;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Response, Url};
use serde_json::Value;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::config::EndpointConfig;
use super::date;
use super::decode::{self, Undecoded};
use super::error::{EndpointError, Halt, Lost};
use super::field::{self, LeftOut};
use super::said::{Kind, Said, plain};
use super::spent::Spent;
use super::store::{Store, Stored, canonical};
use super::talk::{Note, Talk};
use super::wire::{Lacking, Reply};
use crate::fault;

/// Largest body taken from a server, in MiB.
const BODY_LIMIT: usize = 64;
/// Longest pause between tries that qstill chooses itself.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// Longest pause between tries that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);
/// Characters of a server's message that are passed on.
pub(super) const EXCERPT: usize = 300;
/// Keys shorter than this are placeholders, and would garble the messages that they are cut out of.
const SHORTEST_SECRET: usize = 8;

pub(super) struct Client {
    pub config: EndpointConfig,
    http: reqwest::Client,
    /// `.../chat/completions`
    url: Url,
    /// The address for messages, without its query.
    shown: String,
    key: Option<String>,
    store: Store,
    permits: Arc<Semaphore>,
    timeout: Duration,
    left_out: Mutex<LeftOut>,
    health: Health,
    spent: Mutex<Spent>,
}

/// Whether the server is well: a request that fails again and again may be the only one that does.
#[derive(Default)]
struct Health {
    /// Answers that came, and those that were on disk.
    answered: AtomicU64,
    stored: AtomicU64,
    /// The last request that failed, until another one is answered.
    suspect: Mutex<Option<EndpointError>>,
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
        let permits = Arc::new(Semaphore::new(config.concurrency));
        let (left_out, health) = (Mutex::default(), Health::default());
        let spent = Mutex::new(if config.counts_spending() { store.spent()? } else { Spent::default() });
        let shown = shown.into();
        Ok(Self { config, http, url, shown, key, store, permits, timeout, left_out, health, spent })
    }

    /// Leave to send requests, one at a time. A sample holds it for all of its requests, so that each
    /// continuation finds the beginning still in the server's prompt cache; and during the pauses between
    /// tries too: the server asked for less traffic, not for other requests.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_owned().await
    }

    /// The reply to a request. It is stored before this returns; a stored one does not touch the network.
    pub(super) async fn complete(&self, request: &Value, stops: &[&str], talk: &Talk) -> Result<Reply, Halt> {
        if *talk.stop.borrow() {
            return Err(Halt::Stopped);
        }
        let name = Store::name(&self.config.revision, request);
        let read = |body: &str| decode::json(body).ok().and_then(|body| Reply::read(&body, stops).ok());
        let stored = tokio::task::block_in_place(|| self.store.get(&name, request))?;
        if let Stored::Body(body) = &stored
            && let Some(reply) = read(body)
        {
            self.health.stored.fetch_add(1, Relaxed);
            return Ok(reply);
        }
        if stored != Stored::Nothing {
            tokio::task::block_in_place(|| self.store.set_aside(&name))?;
            talk.note(Note::once(
                "a stored answer is damaged; it is set aside as responses/damaged-… and requested again",
            ));
        }
        let began = self.health.answered.load(Relaxed);
        let mut tries = 0;
        loop {
            if *talk.stop.borrow() {
                return Err(Halt::Stopped);
            }
            if let Err(error) = self.spent().check(&self.config) {
                talk.stop.send_replace(true);
                return Err(error.into());
            }
            tries += 1;
            let sent = locked(&self.left_out).apply(request, &self.config.omit, self.config.max_tokens_field);
            let trouble = match self.send(canonical(&sent), tries).await {
                Ok((status, body)) => {
                    let body = tokio::task::block_in_place(|| self.store.put(&name, request, status, body))?;
                    self.health.answered.fetch_add(1, Relaxed);
                    locked(&self.health.suspect).take();
                    let reply = read(&body).ok_or_else(|| Halt::Failed(self.no_choices(&body)))?;
                    let mut spent = locked(&self.spent);
                    *spent = spent.plus(Spent::of(request, &reply));
                    return Ok(reply);
                }
                Err(trouble) => trouble,
            };
            if let Some(field) = trouble.said.as_ref().and_then(|said| field::refused(&sent, said)) {
                // Another request may have left it out since; either way the next try is without it.
                if let Some(note) = locked(&self.left_out).add(field) {
                    talk.note(Note::Once(note.into()));
                }
                if field == field::N {
                    return Err(Halt::OneByOne);
                }
                tries -= 1;
                continue;
            }
            if !trouble.error.is_temporary() || tries > self.config.retries {
                return Err(self.give_up(trouble.error, began, talk));
            }
            let wait =
                self.backoff(&name, tries).max(trouble.pause.unwrap_or_default()).min(LONGEST_RETRY_AFTER);
            talk.note(Note::Retry(format!(
                "{}: {}; try {} of {} in {:.1} s",
                self.shown,
                trouble.error.fault(),
                tries + 1,
                self.config.retries + 1,
                wait.as_secs_f64()
            )));
            let mut stop = talk.stop.subscribe();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(Halt::Stopped),
            }
        }
    }

    /// What this run's answers have cost; only what this process asked for if nothing depends on it.
    pub(super) fn spent(&self) -> Spent {
        *locked(&self.spent)
    }

    /// Whether requests go without a field.
    pub(super) fn leaves_out(&self, field: &str) -> bool {
        locked(&self.left_out).has(field)
    }

    /// What the error of a request means: the end of its sample, or of the run where the server is not well.
    ///
    /// A server counts as down once two requests fail on all tries and none is answered in between; and as
    /// unusable once it rejects two before it answers any.
    fn give_up(&self, error: EndpointError, began: u64, talk: &Talk) -> Halt {
        let (answered, stored) = (self.health.answered.load(Relaxed), self.health.stored.load(Relaxed));
        let suspicious = match &error {
            EndpointError::TimedOut { .. } | EndpointError::Busy { .. } | EndpointError::Broken { .. } => {
                answered == began
            }
            EndpointError::Rejected { .. } => answered + stored == 0,
            _ => false,
        };
        let mut suspect = locked(&self.health.suspect);
        match error.end() {
            Some(end) if !(suspicious && suspect.is_some()) => {
                let (why, temporary) = (error.fault(), error.is_temporary());
                let full = matches!(error, EndpointError::TooLong { .. });
                if suspicious {
                    *suspect = Some(error);
                }
                Halt::Lost(Lost { end, why, temporary, full })
            }
            _ => {
                // Said before the permit goes to the next job.
                talk.stop.send_replace(true);
                Halt::Failed(error)
            }
        }
    }

    /// The failed request that speaks against the server, if nothing speaks for it.
    pub(super) fn verdict(&self) -> Option<EndpointError> {
        let known = self.health.answered.load(Relaxed) + self.health.stored.load(Relaxed) > 0;
        locked(&self.health.suspect).take().filter(|_| !known)
    }

    /// Doubles with every try, give or take a quarter: jobs that failed together do not return together.
    fn backoff(&self, name: &str, tries: u32) -> Duration {
        let doubled = Duration::from_millis(self.config.backoff_ms).saturating_mul(1 << (tries - 1).min(20));
        let jitter = 0.75 + 0.5 * key::unit(&["backoff".into(), name.into(), u64::from(tries).into()]);
        doubled.min(LONGEST_BACKOFF).mul_f64(jitter).min(LONGEST_BACKOFF)
    }

    /// One try.
    async fn send(&self, text: String, tries: u32) -> Result<(u16, String), Trouble> {
        let sent =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(text).send().await;
        let response = sent.map_err(|error| self.transport(&error, tries))?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let pause = header(RETRY_AFTER).and_then(|value| date::pause(value, SystemTime::now()));
        let location = header(LOCATION).unwrap_or("?").to_owned();
        let encodings = header(CONTENT_ENCODING).unwrap_or_default().to_owned();
        let body = self.body(response, tries).await.and_then(|body| self.unpack(body, &encodings, tries));
        let url = self.shown.clone();
        if (300..400).contains(&status) {
            return Err(EndpointError::Redirected { url, location: self.excerpt(&location), status }.into());
        }
        if !(200..300).contains(&status) {
            // A status says enough even if the body broke off.
            let (body, _) = decode::text(&body.unwrap_or_default());
            return Err(Trouble { pause, ..self.refused(status, &body, tries) });
        }
        let (body, _) = decode::text(&body?);
        // A server that repeats the key must not bring it into the run.
        let body = match &self.key {
            Some(key) if key.len() >= SHORTEST_SECRET && body.contains(key.as_str()) => {
                body.replace(key.as_str(), "(key)")
            }
            _ => body,
        };
        if body.trim_start().starts_with('<') {
            return Err(EndpointError::WebPage { url }.into());
        }
        if decode::is_stream(&body) {
            return Err(EndpointError::Stream { url }.into());
        }
        let json = decode::json(&body).map_err(|error| {
            let cause = format!("incomplete JSON: {error}");
            Trouble { pause, ..EndpointError::Broken { url: url.clone(), cause, tries }.into() }
        })?;
        // Some gateways report an upstream's failure with status 200.
        let lacking = Reply::read(&json, &[]).err();
        match lacking {
            None => Ok((status, body)),
            Some(Lacking::Any) if Said::error(&json).is_none() => {
                Err(Trouble { pause, ..EndpointError::Empty { url, tries }.into() })
            }
            Some(Lacking::Choices) if Said::error(&json).is_none() => Err(self.no_choices(&body).into()),
            Some(Lacking::Sound) if Said::error(&json).is_none() => {
                let message = "an error instead of an answer".to_owned();
                Err(Trouble { pause, ..EndpointError::Busy { url, status, message, tries }.into() })
            }
            Some(_) => Err(Trouble { pause, ..self.refused(status, &body, tries) }),
        }
    }

    fn unpack(&self, body: Vec<u8>, encodings: &str, tries: u32) -> Result<Vec<u8>, EndpointError> {
        let url = self.shown.clone();
        decode::unpack(body, encodings, BODY_LIMIT << 20).map_err(|error| match error {
            Undecoded::TooLarge => EndpointError::TooLarge { url, limit: BODY_LIMIT },
            Undecoded::Unknown(encoding) => EndpointError::Encoding { url, encoding },
            Undecoded::Damaged(cause) => EndpointError::Broken { url, cause, tries },
        })
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

    fn refused(&self, status: u16, body: &str, tries: u32) -> Trouble {
        let (url, said) = (self.shown.clone(), Said::read(status, body));
        let (status, message) = (said.status, self.excerpt(&said.message));
        let variable = &self.config.api_key_env;
        let error = match said.kind {
            Kind::Denied => {
                let advice = match &self.key {
                    Some(_) => format!("check the key in the environment variable {variable}"),
                    None => format!(
                        "no key was sent; set the environment variable {variable}, or name another one in \
                         `api_key_env`"
                    ),
                };
                EndpointError::Denied { url, status, message, advice }
            }
            Kind::NotFound => EndpointError::NotFound { url, message },
            Kind::Unpaid => EndpointError::Unpaid { url, status, message },
            Kind::Passing => EndpointError::Busy { url, status, message, tries },
            Kind::TooLong => EndpointError::TooLong { url, message },
            Kind::Filtered => EndpointError::Filtered { url, message },
            Kind::Rejected => EndpointError::Rejected { url, status, message },
        };
        Trouble { error, pause: None, said: Some(said) }
    }

    fn no_choices(&self, body: &str) -> EndpointError {
        EndpointError::NoChoices { url: self.shown.clone(), excerpt: self.excerpt(body) }
    }

    /// The first characters of what a server said, on one line and without the key: some servers
    /// repeat it when they refuse it.
    fn excerpt(&self, text: &str) -> String {
        let line = plain(text);
        let safe = match &self.key {
            Some(key) if key.len() >= SHORTEST_SECRET && !fault::is("key-told") => {
                line.replace(key.as_str(), "(key)")
            }
            _ => line,
        };
        if safe.is_empty() { "nothing".to_owned() } else { safe.chars().take(EXCERPT).collect() }
    }
}

/// A try that brought no completion.
struct Trouble {
    error: EndpointError,
    /// How long the server wants to be left alone.
    pause: Option<Duration>,
    said: Option<Said>,
}

impl From<EndpointError> for Trouble {
    fn from(error: EndpointError) -> Self {
        Self { error, pause: None, said: None }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The innermost cause, e.g. `Connection refused (os error 111)`.
fn root(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| "unknown cause".to_owned(), ToString::to_string)
}
