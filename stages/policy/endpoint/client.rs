//! One try of a request over HTTP: what the server answers, or what is wrong with it.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Response, Url};

use super::config::EndpointConfig;
use super::date;
use super::decode::{self, Undecoded};
use super::document::Document;
use super::error::EndpointError;
use super::field::LeftOut;
use super::said::{Kind, Said, plain};
use super::servers::{Server, Servers};
use super::spent::Spent;
use super::store::Store;
use super::traffic::Traffic;
use super::wire::{Lacking, Reply};
use crate::fault;

/// Largest body taken from a server, in MiB.
const BODY_LIMIT: usize = 64;
/// Characters of a server's message that are passed on.
pub(super) const EXCERPT: usize = 300;
/// Keys shorter than this are placeholders, and would garble the messages that they are cut out of.
const SHORTEST_SECRET: usize = 8;

pub(super) struct Client {
    pub config: EndpointConfig,
    http: reqwest::Client,
    pub servers: Servers,
    key: Option<String>,
    pub store: Store,
    pub traffic: Arc<Traffic>,
    timeout: Duration,
    pub left_out: Mutex<LeftOut>,
    pub health: Health,
    pub spent: Mutex<Spent>,
}

/// Whether the server is well: a request that fails again and again may be the only one that does.
#[derive(Default)]
pub(super) struct Health {
    /// Answers that came, and those that were on disk.
    pub answered: AtomicU64,
    pub stored: AtomicU64,
    /// The last request that failed, until another one is answered.
    pub suspect: Mutex<Option<EndpointError>>,
}

impl Client {
    /// A client of one service of the servers.
    pub(super) fn new(
        config: EndpointConfig,
        service: &str,
        key: Option<String>,
        store: Store,
    ) -> Result<Self, EndpointError> {
        let (urls, timeout) = (config.addresses(service)?, config.timeout()?);
        // One process-wide provider; an earlier one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A redirect could carry the key to another host, or turn the POST into a GET.
        let mut builder =
            reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        if urls.iter().all(|url| url.scheme() == "http") {
            // Plain HTTP must work on machines without root certificates.
            builder = builder.tls_certs_only([]);
        }
        let local = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if urls.iter().all(local) {
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
        let (servers, traffic) = (Servers::new(urls), Traffic::new(config.at_a_time()));
        let (left_out, health) = (Mutex::default(), Health::default());
        let spent = Mutex::new(if config.counts_spending() { store.spent()? } else { Spent::default() });
        Ok(Self { config, http, servers, key, store, traffic, timeout, left_out, health, spent })
    }

    /// What this run's answers have cost; only what this process asked for if nothing depends on it.
    pub(super) fn spent(&self) -> Spent {
        *locked(&self.spent)
    }

    /// Whether requests go without a field.
    pub(super) fn leaves_out(&self, field: &str) -> bool {
        locked(&self.left_out).has(field)
    }

    /// The failed request that speaks against the server, if nothing speaks for it.
    pub(super) fn verdict(&self) -> Option<EndpointError> {
        let known = self.health.answered.load(Relaxed) + self.health.stored.load(Relaxed) > 0;
        locked(&self.health.suspect).take().filter(|_| !known)
    }

    /// One try on a server.
    pub(super) async fn send(
        &self,
        server: &Server,
        text: String,
        stops: &[&str],
        tries: u32,
    ) -> Result<Received, Trouble> {
        let sent = self
            .http
            .post(server.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(text)
            .send()
            .await;
        let response = sent.map_err(|error| self.transport(server, &error, tries))?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let pause = header(RETRY_AFTER).and_then(|value| date::pause(value, SystemTime::now()));
        let location = header(LOCATION).unwrap_or("?").to_owned();
        let encodings = header(CONTENT_ENCODING).unwrap_or_default().to_owned();
        let body = self.body(server, response, tries).await;
        let body = body.and_then(|body| unpack(server, body, (&encodings, tries)));
        let url = server.shown.clone();
        if (300..400).contains(&status) {
            return Err(EndpointError::Redirected { url, location: self.excerpt(&location), status }.into());
        }
        if !(200..300).contains(&status) {
            // A status says enough even if the body broke off.
            let (body, _) = decode::text(&body.unwrap_or_default());
            return Err(Trouble { pause, ..self.refused(server, (status, &body), tries) });
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
        let json = Document::read(&body).map_err(|error| {
            let cause = format!("incomplete JSON: {error}");
            Trouble { pause, ..EndpointError::Broken { url: url.clone(), cause, tries }.into() }
        })?;
        // Some gateways report an upstream's failure with status 200.
        match Reply::of(json, stops) {
            Ok(reply) => Ok(Received { status, body, reply }),
            Err((_, json)) if Said::error(&json).is_some() => {
                Err(Trouble { pause, ..self.refused(server, (status, &body), tries) })
            }
            Err((Lacking::Choices, _)) => Err(self.no_choices(server, &body).into()),
            Err((Lacking::Any, _)) => Err(Trouble { pause, ..EndpointError::Empty { url, tries }.into() }),
            Err((Lacking::Sound, _)) => {
                let message = "an error instead of an answer".to_owned();
                Err(Trouble { pause, ..EndpointError::Busy { url, status, message, tries }.into() })
            }
        }
    }

    async fn body(
        &self,
        server: &Server,
        mut response: Response,
        tries: u32,
    ) -> Result<Vec<u8>, EndpointError> {
        let limit = BODY_LIMIT << 20;
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.transport(server, &error, tries))?
        {
            if body.len() + chunk.len() > limit {
                return Err(EndpointError::TooLarge { url: server.shown.clone(), limit: BODY_LIMIT });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn transport(&self, server: &Server, error: &reqwest::Error, tries: u32) -> EndpointError {
        let (url, cause) = (server.shown.clone(), self.excerpt(&root(error)));
        if error.is_connect() {
            EndpointError::Unreachable { url, cause, tries }
        } else if error.is_timeout() {
            EndpointError::TimedOut { url, seconds: self.timeout.as_secs_f64(), tries }
        } else {
            EndpointError::Broken { url, cause, tries }
        }
    }

    fn refused(&self, server: &Server, (status, body): (u16, &str), tries: u32) -> Trouble {
        let (url, said) = (server.shown.clone(), Said::read(status, body));
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

    fn no_choices(&self, server: &Server, body: &str) -> EndpointError {
        EndpointError::NoChoices { url: server.shown.clone(), excerpt: self.excerpt(body) }
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

fn unpack(server: &Server, body: Vec<u8>, (encodings, tries): (&str, u32)) -> Result<Vec<u8>, EndpointError> {
    let url = server.shown.clone();
    decode::unpack(body, encodings, BODY_LIMIT << 20).map_err(|error| match error {
        Undecoded::TooLarge => EndpointError::TooLarge { url, limit: BODY_LIMIT },
        Undecoded::Unknown(encoding) => EndpointError::Encoding { url, encoding },
        Undecoded::Damaged(cause) => EndpointError::Broken { url, cause, tries },
    })
}

/// A completion as it came.
pub(super) struct Received {
    pub status: u16,
    pub body: String,
    pub reply: Reply,
}

/// A try that brought no completion.
pub(super) struct Trouble {
    pub error: EndpointError,
    /// How long the server wants to be left alone.
    pub pause: Option<Duration>,
    pub said: Option<Said>,
}

impl From<EndpointError> for Trouble {
    fn from(error: EndpointError) -> Self {
        Self { error, pause: None, said: None }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
