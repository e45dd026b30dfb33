//! One request after the other for a job: from disk if it was answered before, else sent, and repeated where
//! it may still succeed.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use datasets::key;
use serde_json::Value;

use super::client::{Client, Received, Trouble, locked};
use super::document::Document;
use super::error::{EndpointError, Halt, Lost};
use super::field;
use super::said::Said;
use super::servers::{self, Server};
use super::spent::Spent;
use super::store::{Answer, Name, Store, Stored, canonical};
use super::talk::{Note, Talk};
use super::traffic::Permit;
use super::wire::Reply;

/// Longest pause between tries that qstill chooses itself.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// Longest pause between tries that a server may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);

/// A job's way to the server.
pub(super) struct Errand<'a> {
    pub client: &'a Client,
    pub talk: &'a Talk,
    /// The log of its answers.
    label: &'a str,
    /// Leave to send requests, one at a time. A job goes on with it, so that a continuation finds the
    /// beginning still in the server's prompt cache, and keeps it during the pauses between tries. It is
    /// given back while an answer goes to the disk, and when the server says that there are too many.
    permit: Option<Permit>,
}

impl<'a> Errand<'a> {
    pub(super) fn new(client: &'a Client, talk: &'a Talk, label: &'a str, permit: Permit) -> Self {
        Self { client, talk, label, permit: Some(permit) }
    }

    /// The reply to a request. It is stored before this returns; a stored one does not touch the network.
    pub(super) async fn complete(&mut self, request: &Value, stops: &[&str]) -> Result<Reply, Halt> {
        let (client, talk) = (self.client, self.talk);
        if *talk.stop.borrow() {
            return Err(Halt::Stopped);
        }
        let text = canonical(request);
        let name = Store::name(&client.config.revision, &text);
        let read = |body: &str| Document::read(body).ok().and_then(|body| Reply::of(body, stops).ok());
        let stored = client.store.get(&name, &text)?;
        if let Stored::Body(body) = &stored {
            if let Some(reply) = read(body) {
                client.health.stored.fetch_add(1, Relaxed);
                return Ok(reply);
            }
            client.store.forget(&name)?;
        }
        if stored != Stored::Nothing {
            talk.note(Note::once("a stored answer in responses/ is damaged; it is requested again"));
        }
        let received = self.ask(request, (&name, &text), stops).await?;
        let Received { status, body, reply } = received;
        let cost = self.account(request, &reply);
        // The next request need not wait for the disk.
        self.permit = None;
        let answer = Answer { name, request: &text, status, body: &body, spent: cost };
        let earlier = client.store.put(self.label, &answer).await?;
        Ok(earlier.as_deref().and_then(read).unwrap_or(reply))
    }

    /// The body of the answer to a request, which is not stored: the caller keeps what it needs of it.
    pub(super) async fn fetch(&mut self, request: &Value) -> Result<String, Halt> {
        if *self.talk.stop.borrow() {
            return Err(Halt::Stopped);
        }
        let text = canonical(request);
        let name = Store::name(&self.client.config.revision, &text);
        let received = self.ask(request, (&name, &text), &[]).await?;
        self.account(request, &received.reply);
        Ok(received.body)
    }

    /// Counts an answer and what it costs.
    fn account(&self, request: &Value, reply: &Reply) -> Spent {
        self.client.health.answered.fetch_add(1, Relaxed);
        locked(&self.client.health.suspect).take();
        let cost = Spent::of(request, reply);
        let mut spent = locked(&self.client.spent);
        *spent = spent.plus(cost);
        cost
    }

    /// Sends a request until it is answered.
    async fn ask(
        &mut self,
        request: &Value,
        (name, text): (&Name, &str),
        stops: &[&str],
    ) -> Result<Received, Halt> {
        let (client, talk) = (self.client, self.talk);
        let began = client.health.answered.load(Relaxed);
        let key = servers::key_of(request);
        let (mut tries, mut pauses) = (0, 0);
        loop {
            let era = self.admitted().await?;
            if let Err(error) = client.spent().check(&client.config) {
                talk.stop.send_replace(true);
                return Err(error.into());
            }
            tries += 1;
            let sent =
                locked(&client.left_out).apply(request, &client.config.omit, client.config.max_tokens_field);
            let body = sent.as_ref().map_or_else(|| text.to_owned(), canonical);
            let visit = client.servers.visit(key);
            let trouble = match client.send(visit.server, body, stops, tries).await {
                Ok(received) => {
                    visit.answered();
                    client.traffic.answered(era);
                    return Ok(received);
                }
                Err(trouble) => trouble,
            };
            let refused = |said: &Said| field::refused(sent.as_ref().unwrap_or(request), said);
            if let Some(field) = trouble.said.as_ref().and_then(refused) {
                // Another request may have left it out since; either way the next try is without it.
                if let Some(note) = locked(&client.left_out).add(field) {
                    talk.note(Note::Once(note.into()));
                }
                if field == field::N {
                    return Err(Halt::OneByOne);
                }
                tries -= 1;
                continue;
            }
            let crowd = trouble.said.as_ref().is_some_and(|said| said.crowded);
            let less = crowd && client.traffic.crowded(era);
            if less {
                // That there are too many is not the fault of this one.
                tries -= 1;
                talk.note(Note::once(
                    "endpoint: the server asks for less traffic: fewer requests are sent at a time, and more \
                     again while it takes them (at most endpoint.concurrency)",
                ));
            }
            if !crowd && trouble.error.is_of_server() && visit.set_aside() {
                // Another one may answer at once.
                tries -= 1;
                talk.note(Note::Once(Cow::Owned(format!(
                    "endpoint: {} does not answer: its requests go to the other servers until it does ({})",
                    visit.server.shown,
                    trouble.error.fault()
                ))));
                continue;
            }
            if !trouble.error.is_temporary() || tries > client.config.retries {
                return Err(self.give_up(trouble.error, began));
            }
            pauses += 1;
            if crowd {
                let asked = trouble.pause.unwrap_or_default().min(LONGEST_RETRY_AFTER);
                client.traffic.hush(Instant::now() + asked);
            }
            if less {
                self.permit = None;
            }
            let server = visit.server;
            drop(visit);
            self.pause(server, (name, tries, pauses), &trouble).await?;
        }
    }

    /// Waits for leave to send, and for the end of a pause that the server asked all requests to make. Which
    /// era of traffic it is.
    async fn admitted(&mut self) -> Result<u64, Halt> {
        let mut stop = self.talk.stop.subscribe();
        let traffic = &self.client.traffic;
        let admit = async {
            let permit = match self.permit.take() {
                Some(permit) => permit,
                None => traffic.permit().await,
            };
            while let Some(until) = traffic.quiet() {
                tokio::time::sleep_until(until.into()).await;
            }
            permit
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(Halt::Stopped),
            permit = admit => {
                self.permit = Some(permit);
                Ok(traffic.era())
            }
        }
    }

    /// Waits before the next try.
    async fn pause(
        &mut self,
        server: &Server,
        (name, tries, pauses): (&Name, u32, u32),
        trouble: &Trouble,
    ) -> Result<(), Halt> {
        let (client, talk) = (self.client, self.talk);
        let asked = trouble.pause.unwrap_or_default();
        let wait = self.backoff(name, pauses).max(asked).min(LONGEST_RETRY_AFTER);
        talk.note(Note::Retry(format!(
            "{}: {}; try {} of {} in {:.1} s",
            server.shown,
            trouble.error.fault(),
            tries + 1,
            client.config.retries + 1,
            wait.as_secs_f64()
        )));
        let mut stop = talk.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(Halt::Stopped),
        }
    }

    /// What the error of a request means: the end of its sample, or of the run where the server is not well.
    ///
    /// A server counts as down once two requests fail on all tries and none is answered in between; and as
    /// unusable once it rejects two before it answers any.
    fn give_up(&self, error: EndpointError, began: u64) -> Halt {
        let health = &self.client.health;
        let (answered, stored) = (health.answered.load(Relaxed), health.stored.load(Relaxed));
        let suspicious = match &error {
            EndpointError::TimedOut { .. } | EndpointError::Busy { .. } | EndpointError::Broken { .. } => {
                answered == began
            }
            EndpointError::Rejected { .. } => answered + stored == 0,
            _ => false,
        };
        let mut suspect = locked(&health.suspect);
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
                self.talk.stop.send_replace(true);
                Halt::Failed(error)
            }
        }
    }

    /// Doubles with every pause, give or take a quarter: jobs that failed together do not return together.
    fn backoff(&self, name: &Name, pauses: u32) -> Duration {
        let first = Duration::from_millis(self.client.config.backoff_ms);
        let doubled = first.saturating_mul(1 << (pauses - 1).min(20));
        let name = key::hex(name);
        let jitter = 0.75 + 0.5 * key::unit(&["backoff".into(), (&name).into(), u64::from(pauses).into()]);
        doubled.min(LONGEST_BACKOFF).mul_f64(jitter).min(LONGEST_BACKOFF)
    }
}
