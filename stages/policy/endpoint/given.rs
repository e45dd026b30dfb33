//! What a server says of given tokens: its likeliest tokens in place of each, for distillation. vLLM answers
//! this where completions are asked for with `prompt_logprobs` (a field of its own; other servers ignore it).
//!
//! Answers are not stored, as samples are: they are large, cost no more than reading a prompt, and their
//! reader writes what it needs of them into a table.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::client::Client;
use super::config::EndpointConfig;
use super::errand::Errand;
use super::error::{EndpointError, Halt};
use super::field::MaxTokens;
use super::store::Store;
use super::talk::{Talk, Tally};
use super::{POLL, threads};
use crate::events::{Cancelled, Events};

/// The service that reads tokens.
const COMPLETIONS: &str = "completions";

/// Tokens, of which those from a place on are of interest.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub tokens: &'a [u32],
    /// 1 or more: nothing is said of the first token.
    pub from: usize,
}

/// What a server says in place of a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Tokens and their log-probabilities in nats, likeliest first.
    pub likely: Vec<(u32, f32)>,
    /// The given token as the server writes it, where it says so.
    pub text: Option<String>,
}

/// A server that reads given tokens. It owns its threads: use it outside of asynchronous code.
pub struct Scorer {
    runtime: Runtime,
    client: Arc<Client>,
    tally: Tally,
}

impl Scorer {
    /// Prepares a server of `[endpoint]`; `folder` is that of its stored answers. Nothing is sent yet.
    ///
    /// # Errors
    /// Settings that cannot work; threads that cannot be started.
    pub fn new(config: &EndpointConfig, folder: PathBuf) -> anyhow::Result<Self> {
        let key = config.key()?;
        // What a chat leaves out or calls by another name has its old name here.
        let config =
            EndpointConfig { omit: Vec::new(), max_tokens_field: MaxTokens::MaxTokens, ..config.clone() };
        let client = Arc::new(Client::new(config, COMPLETIONS, key, Store::open(folder)?)?);
        let runtime = threads("scorer", 1)?;
        Ok(Self { runtime, client, tally: Tally::default() })
    }

    /// That a token is another one for the server than for its reader.
    pub fn other_tokens(&self, id: u32, served: String, own: String) -> EndpointError {
        EndpointError::OtherTokens { url: self.client.servers.shown().to_owned(), id, served, own }
    }

    /// The `k` likeliest tokens in place of each given one that is of interest, row by row.
    ///
    /// # Errors
    /// [`Cancelled`], [`EndpointError`]; a row that the server refuses.
    pub fn read(
        &mut self,
        rows: &[Given<'_>],
        k: usize,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<Vec<Place>>> {
        events.check()?;
        let (notes, mut heard) = mpsc::unbounded_channel();
        let talk = Talk { notes, stop: watch::channel(false).0 };
        let mut tasks = JoinSet::new();
        for (row, given) in rows.iter().enumerate() {
            let (client, talk) = (Arc::clone(&self.client), talk.clone());
            let (tokens, from) = (given.tokens.to_vec(), given.from);
            let request = request(&client.config.model, &tokens, k);
            let read = async move {
                let permit = client.traffic.permit().await;
                let body = Errand::new(&client, &talk, "scores", permit).fetch(&request).await;
                (row, body.map(|body| places(&body, &tokens, from, k)))
            };
            tasks.spawn_on(read, self.runtime.handle());
        }
        let mut out: Vec<Vec<Place>> = vec![Vec::new(); rows.len()];
        let mut failure: Option<anyhow::Error> = None;
        let handle = self.runtime.handle().clone();
        handle.block_on(async {
            let mut tick = tokio::time::interval(POLL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                if events.cancelled() {
                    talk.stop.send_replace(true);
                }
                let error = tokio::select! {
                    _ = tick.tick() => continue,
                    Some(note) = heard.recv() => {
                        self.tally.hear(note, events);
                        continue;
                    }
                    done = tasks.join_next() => match done {
                        None => break,
                        Some(Ok((row, Ok(Ok(places))))) => {
                            out[row] = places;
                            continue;
                        }
                        Some(Ok((_, Ok(Err(what))))) => {
                            EndpointError::Silent { url: self.client.servers.shown().to_owned(), what }.into()
                        }
                        Some(Ok((_, Err(Halt::Stopped)))) => Cancelled.into(),
                        Some(Ok((_, Err(Halt::Failed(error))))) => error.into(),
                        Some(Ok((row, Err(Halt::Lost(lost))))) => EndpointError::Unread {
                            url: self.client.servers.shown().to_owned(),
                            tokens: rows[row].tokens.len(),
                            why: lost.why,
                            temporary: lost.temporary,
                        }
                        .into(),
                        Some(Ok((_, Err(Halt::OneByOne))) | Err(_)) => {
                            anyhow!("a request to the endpoint ended in a panic")
                        }
                    },
                };
                talk.stop.send_replace(true);
                // The first is the reason; the others were stopped.
                failure.get_or_insert(error);
            }
        });
        while let Ok(note) = heard.try_recv() {
            self.tally.hear(note, events);
        }
        events.check()?;
        failure.map_or(Ok(out), Err)
    }
}

fn request(model: &str, tokens: &[u32], k: usize) -> Value {
    // One token has to be generated; none is wanted.
    json!({ "model": model, "prompt": tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": k })
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    choices: Vec<Logs>,
    #[serde(flatten)]
    all: Logs,
}

#[derive(Deserialize)]
struct Logs {
    /// Of each token; null for the first.
    #[serde(default)]
    prompt_logprobs: Option<Vec<Option<HashMap<String, Entry>>>>,
}

#[derive(Deserialize)]
struct Entry {
    logprob: f32,
    #[serde(default)]
    decoded_token: Option<String>,
}

/// What a body says in place of given tokens, from a place on.
fn places(body: &str, given: &[u32], from: usize, k: usize) -> Result<Vec<Place>, String> {
    let Body { choices, all } = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let logs = choices.into_iter().find_map(|choice| choice.prompt_logprobs).or(all.prompt_logprobs);
    let logs = logs.ok_or("there are no `prompt_logprobs` in it")?;
    if logs.len() != given.len() {
        return Err(format!(
            "it has `prompt_logprobs` of {} tokens, where {} were given",
            logs.len(),
            given.len()
        ));
    }
    let place = |(entries, given): (Option<HashMap<String, Entry>>, &u32)| {
        let mut place = Place::default();
        for (name, entry) in entries.ok_or("a token has no `prompt_logprobs`")? {
            let id = name.parse().map_err(|_| format!("`{name}` is not the number of a token"))?;
            if !entry.logprob.is_finite() {
                return Err(format!("token {id} has the log-probability {}", entry.logprob));
            }
            place.likely.push((id, entry.logprob));
            if id == *given {
                place.text = entry.decoded_token;
            }
        }
        place.likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        // The given token comes with the likeliest, even where it is none of them.
        place.likely.truncate(k);
        Ok(place)
    };
    logs.into_iter().zip(given).skip(from).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_tokens_is_read_or_refused() {
        let token = |id: u32, log: f64, text: &str| {
            format!(r#""{id}": {{"logprob": {log}, "rank": 1, "decoded_token": "{text}"}}"#)
        };
        let second =
            format!("{{{}, {}, {}}}", token(9, -3.0, "so"), token(7, -0.5, "the"), token(8, -0.5, "a"));
        let third = format!("{{{}, {}}}", token(3, -0.25, "."), token(4, -2.0, ","));
        let body = |logs: &str| format!(r#"{{"choices": [{{"text": "x", "prompt_logprobs": {logs}}}]}}"#);
        let all = body(&format!("[null, {second}, {third}]"));
        let read = places(&all, &[1, 9, 3], 1, 2).unwrap();
        assert_eq!(read[0], Place { likely: vec![(7, -0.5), (8, -0.5)], text: Some("so".into()) });
        assert_eq!(read[1], Place { likely: vec![(3, -0.25), (4, -2.0)], text: Some(".".into()) });
        assert_eq!(places(&all, &[1, 9, 3], 2, 2).unwrap(), read[1..]);
        let chat = format!(r#"{{"choices": [], "prompt_logprobs": [null, {second}]}}"#);
        assert_eq!(places(&chat, &[1, 9], 1, 2).unwrap(), read[..1]);
        for (body, said) in [
            (r#"{"choices": [{"text": "x"}]}"#.to_owned(), "no `prompt_logprobs`"),
            (body(&format!("[null, {second}]")), "of 2 tokens, where 3 were given"),
            (body("[null, null, null]"), "a token has no"),
            (body(r#"[null, {"x": {"logprob": -1}}, {}]"#), "`x` is not the number"),
        ] {
            let refused = places(&body, &[1, 9, 3], 1, 2).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
