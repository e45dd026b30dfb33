//! Which of several servers of a model a request goes to.
//!
//! Requests of a problem prefer the same one (rendezvous hashing), whose prompt cache has their beginning.
//! If it has more than twice the mean under way, the least loaded is taken. A server that does not answer is
//! set aside for a while, longer each time, and its requests go to the others.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datasets::domain::mix;
use datasets::key;
use reqwest::Url;
use serde_json::Value;

/// How long a server is set aside, the first time and at most.
const ASIDE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

pub(super) struct Server {
    pub url: Url,
    /// The address for messages, without its query.
    pub shown: String,
    hash: u64,
    under_way: AtomicUsize,
    aside: Mutex<Aside>,
}

/// Since when a server does not answer.
#[derive(Clone, Copy, Default)]
struct Aside {
    until: Option<Instant>,
    times: u32,
}

pub(super) struct Servers(Vec<Server>);

/// A request on its way to a server, until it is dropped.
pub(super) struct Visit<'a> {
    pub server: &'a Server,
    all: &'a Servers,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.server.under_way.fetch_sub(1, Relaxed);
    }
}

impl Servers {
    /// At least one address.
    pub(super) fn new(urls: Vec<Url>) -> Self {
        let server = |url: Url| {
            let mut shown = url.clone();
            shown.set_query(None);
            let shown = String::from(shown);
            Server { hash: hash(&shown), shown, url, under_way: AtomicUsize::new(0), aside: Mutex::default() }
        };
        Self(urls.into_iter().map(server).collect())
    }

    /// The address of the first, for messages about all.
    pub(super) fn shown(&self) -> &str {
        self.0.first().map_or("", |server| &server.shown)
    }

    /// Takes a request with this key to a server.
    pub(super) fn visit(&self, key: u64) -> Visit<'_> {
        let now = Instant::now();
        let well: Vec<&Server> = self.0.iter().filter(|server| server.is_well(now)).collect();
        let load = |server: &Server| server.under_way.load(Relaxed);
        let server = if well.is_empty() {
            // None is known to answer: the one that was left alone longest.
            self.0.iter().min_by_key(|server| server.aside().until)
        } else {
            let mean = well.iter().map(|server| load(server)).sum::<usize>() / well.len();
            let preferred = well.iter().max_by_key(|server| mix(key, server.hash));
            let least = || well.iter().min_by_key(|server| load(server));
            preferred.filter(|server| load(server) <= 2 * mean + 1).or_else(least).copied()
        };
        let server = server.unwrap_or(&self.0[0]);
        server.under_way.fetch_add(1, Relaxed);
        Visit { server, all: self }
    }
}

impl Server {
    fn is_well(&self, now: Instant) -> bool {
        self.aside().until.is_none_or(|until| until <= now)
    }

    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit<'_> {
    /// The server has answered.
    pub(super) fn answered(&self) {
        *self.server.aside() = Aside::default();
    }

    /// The server has not answered, and is set aside. Whether another one is well.
    pub(super) fn set_aside(&self) -> bool {
        let now = Instant::now();
        if self.server.is_well(now) {
            let mut aside = self.server.aside();
            let pause = ASIDE.0.saturating_mul(1 << aside.times.min(8)).min(ASIDE.1);
            *aside = Aside { until: Some(now + pause), times: aside.times + 1 };
        }
        self.all.0.iter().any(|server| server.is_well(now))
    }
}

/// Tokens of a prompt of ids that are its beginning.
const BEGINNING: usize = 128;

/// What requests with the same beginning have in common: all that was said before the assistant speaks.
pub(super) fn key_of(request: &Value) -> u64 {
    if let Some(ids) = request["prompt"].as_array() {
        let ids = ids.iter().take(BEGINNING).filter_map(Value::as_u64);
        return ids.fold(0, mix);
    }
    let turns = request["messages"].as_array();
    let asked = turns.into_iter().flatten().filter(|turn| turn["role"] != "assistant");
    asked.fold(0, |key, turn| mix(key, hash(turn["content"].as_str().unwrap_or_default())))
}

fn hash(text: &str) -> u64 {
    key::digest(&[text.into()]).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: usize) -> Servers {
        let url = |i: usize| Url::parse(&format!("http://10.0.0.{i}:8000/v1/chat/completions")).ok();
        Servers::new((0..count).filter_map(url).collect())
    }

    #[test]
    fn a_problem_keeps_its_server_until_that_has_too_much() {
        let (all, fewer) = (servers(4), servers(3));
        let mut counts = [0; 4];
        let mut moved = 0;
        for key in (0..400).map(|n| mix(n, 7)) {
            let chosen = all.visit(key).server;
            assert_eq!(all.visit(key).server.shown, chosen.shown);
            let place = all.0.iter().position(|server| server.shown == chosen.shown).unwrap();
            counts[place] += 1;
            moved += usize::from(place < 3 && fewer.visit(key).server.shown != chosen.shown);
        }
        assert!(counts.iter().all(|count| (70..130).contains(count)), "{counts:?}");
        assert_eq!(moved, 0, "only what the fourth had moves when it goes");

        // Many requests of one problem.
        let visits: Vec<Visit<'_>> = (0..40).map(|_| all.visit(3)).collect();
        let most = visits.iter().filter(|visit| visit.server.shown == visits[0].server.shown).count();
        assert!((10..25).contains(&most), "{most}");
        drop(visits);
        assert!(all.0.iter().all(|server| server.under_way.load(Relaxed) == 0));
    }

    #[test]
    fn a_server_that_does_not_answer_is_left_alone_for_a_while() {
        let all = servers(2);
        let first = all.visit(1);
        assert!(first.set_aside(), "the other one is well");
        let second = all.visit(1);
        assert_ne!(first.server.shown, second.server.shown);
        assert!(!second.set_aside());
        // Requests under way on it say nothing new.
        first.set_aside();
        assert_eq!(first.server.aside().times, 1);
        assert_eq!(all.visit(1).server.shown, first.server.shown, "it was left alone longest");
        second.answered();
        assert_eq!(all.visit(1).server.shown, second.server.shown);
        let one = servers(1);
        assert!(!one.visit(1).set_aside());
        assert_eq!(one.visit(1).server.shown, one.shown());
    }

    #[test]
    fn a_continuation_goes_where_its_beginning_went() {
        let turn = |role: &str, text: &str| serde_json::json!({"role": role, "content": text});
        let request = |turns: &[Value]| key_of(&serde_json::json!({"messages": turns, "seed": turns.len()}));
        let asked = [turn("system", "Solve."), turn("user", "1+1?")];
        let begun = [asked.to_vec(), vec![turn("assistant", "1+1=2")]].concat();
        assert_eq!(request(&asked), request(&begun));
        assert_ne!(request(&asked), request(&[turn("system", "Solve."), turn("user", "1+2?")]));
        let ids = |ids: &[u64]| key_of(&serde_json::json!({"prompt": ids}));
        assert_ne!(ids(&[1, 2]), ids(&[1, 3]));
    }
}
