//! The endpoint against servers that behave, misbehave, or are not there.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datasets::types::{End, Problem, Split};
use serde_json::{Value, json};

use self::server::{Answer, Server, completion};
use super::*;
use crate::events::Silent;
use crate::policy::PromptConfig;

mod crowds;
mod ends;
mod logs;
mod money;
mod samples;
mod server;
mod servers;
mod several;
mod thoughts;

fn problem(question: &str) -> Problem {
    Problem {
        problem_id: "0123456789abcdef".to_owned(),
        domain: "math".to_owned(),
        source: "test".to_owned(),
        split: Split::Train,
        question: question.to_owned(),
        answer: "24".to_owned(),
        difficulty: 0,
        meta: String::new(),
    }
}

fn config(url: &str) -> EndpointConfig {
    EndpointConfig {
        url: url.to_owned(),
        retries: 2,
        backoff_ms: 1,
        timeout_s: 60.0,
        ..EndpointConfig::default()
    }
}

fn sampling() -> Sampling {
    Sampling { temperature: 0.8, top_p: 0.95, top_k: 0, max_tokens: 64, calculator: false }
}

fn endpoint(config: EndpointConfig, folder: &Path) -> Endpoint {
    let prompt = Prompt {
        config: PromptConfig { instruction: "Solve.".to_owned(), ..PromptConfig::default() },
        examples: vec![("1+1?".to_owned(), "1+1=2\n#### 2".to_owned())],
    };
    Endpoint::with_key(config, prompt, folder.to_owned(), None).unwrap()
}

/// One ask for whole paths.
fn paths(endpoint: &mut Endpoint, seeds: &[u64]) -> anyhow::Result<Vec<Proposal>> {
    let problem = problem("48/2?");
    let asks = [Ask { problem: &problem, steps: &[], seeds }];
    Ok(endpoint.propose(&asks, Horizon::Path, &sampling(), &Silent)?.remove(0))
}

/// One path from a server with this script, and the server.
fn try_path(
    script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    change: impl Fn(&mut EndpointConfig),
) -> (anyhow::Result<Proposal>, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(move |number, _| script(number));
    let mut config = config(&server.url);
    change(&mut config);
    let result = paths(&mut endpoint(config, folder.path()), &[7]).map(|mut paths| paths.remove(0));
    (result, server)
}

fn good() -> Answer {
    completion(&["48/2=24\n#### 24"], 9)
}

fn fault(result: anyhow::Result<Proposal>) -> EndpointError {
    result.unwrap_err().downcast().unwrap()
}

/// Remembers notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Events for Notes {
    fn advance(&self, _: u64, _: u64, _: u64) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn state(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn retries_what_may_pass() {
    let status = |code, headers| {
        move |number| if number == 0 { Answer::Http(code, headers, String::new()) } else { good() }
    };
    for (result, server) in [
        try_path(status(500, ""), |_| ()),
        try_path(status(503, ""), |_| ()),
        try_path(status(429, "retry-after: 0\r\n"), |_| ()),
        try_path(status(429, "Retry-After: 1\r\n"), |_| ()),
        try_path(status(429, "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), |_| ()),
        try_path(
            |number| {
                if number == 0 { Answer::Http(200, "", "{\"choices\": [{\"mess".to_owned()) } else { good() }
            },
            |_| (),
        ),
        try_path(
            |number| if number == 0 { Answer::Torn("{\"choices\": [".to_owned()) } else { good() },
            |_| (),
        ),
        try_path(
            |number| {
                if number == 0 {
                    Answer::Http(200, "", json!({"error": {"code": 502, "message": "upstream"}}).to_string())
                } else {
                    good()
                }
            },
            |_| (),
        ),
    ] {
        assert_eq!(result.unwrap().final_answer, "24");
        assert_eq!(server.count(), 2);
    }
}

#[test]
fn gives_up_on_a_broken_server() {
    let (result, server) = try_path(
        |_| Answer::Http(500, "", json!({"error": {"message": "out of memory"}}).to_string()),
        |_| (),
    );
    let error = fault(result);
    assert!(error.is_temporary());
    assert!(
        matches!(&error, EndpointError::Busy { status: 500, tries: 3, message, .. } if message == "out of memory"),
        "{error}"
    );
    assert_eq!(server.count(), 3);
}

#[test]
fn gives_up_on_a_silent_server() {
    let (result, _) = try_path(|_| Answer::Never, |config| (config.timeout_s, config.retries) = (0.2, 1));
    let error = fault(result);
    assert!(matches!(error, EndpointError::TimedOut { tries: 2, .. }), "{error}");
    assert!(error.is_temporary());
}

#[test]
fn says_that_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let (result, _) = try_path(|_| good(), |config| config.url.clone_from(&url));
    let error = fault(result);
    assert!(matches!(error, EndpointError::Unreachable { tries: 3, .. }), "{error}");
    assert!(
        error.is_temporary()
            && error.to_string().contains("is the server running?")
            && error.to_string().contains("refused"),
        "{error}"
    );
}

#[test]
fn ends_at_once_where_something_must_be_changed() {
    type Check = fn(&EndpointError) -> bool;
    let cases: [(u16, &'static str, &'static str, Check); 10] = [
        (200, "", "<!DOCTYPE html><html></html>", |e| matches!(e, EndpointError::WebPage { .. })),
        (200, "", "{\"object\": \"list\"}", |e| matches!(e, EndpointError::NoChoices { .. })),
        (200, "", "data: {\"choices\": []}\n\n", |e| matches!(e, EndpointError::Stream { .. })),
        (200, "content-encoding: br\r\n", "?", |e| matches!(e, EndpointError::Encoding { .. })),
        (
            401,
            "",
            "{\"error\": {\"message\": \"bad key\"}}",
            |e| matches!(e, EndpointError::Denied { message, advice, .. } if message == "bad key" && advice.contains("OPENAI_API_KEY")),
        ),
        (403, "", "", |e| matches!(e, EndpointError::Denied { .. })),
        (404, "", "not found", |e| {
            matches!(e, EndpointError::NotFound { .. }) && e.to_string().contains("/v1")
        }),
        (
            307,
            "location: http://other.example/v1\r\n",
            "",
            |e| matches!(e, EndpointError::Redirected { location, .. } if location.contains("other")),
        ),
        (
            400,
            "",
            "{\"error\": {\"message\": \"bad \\u001b[31mred\\u001b]0;title\\u0007 \\u202e model\"}}",
            |e| matches!(e, EndpointError::Rejected { message, .. } if message == "bad red model"),
        ),
        (429, "", "{\"error\": {\"code\": \"insufficient_quota\"}}", |e| {
            matches!(e, EndpointError::Unpaid { .. })
        }),
    ];
    for (status, headers, body, check) in cases {
        let (result, server) = try_path(move |_| Answer::Http(status, headers, body.to_owned()), |_| ());
        let error = fault(result);
        assert!(check(&error) && !error.is_temporary(), "{status} {body}: {error:?}");
        assert_eq!(server.count(), 1, "{status} {body}");
    }
}

#[test]
fn a_flood_is_not_taken() {
    let (result, _) = try_path(|_| Answer::Http(200, "", " ".repeat((64 << 20) + 1)), |_| ());
    assert_eq!(result.unwrap().end, End::Failed);
}

#[test]
fn a_retry_storm_is_one_note() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::start(|number, _| if number < 12 { Answer::Http(503, "", String::new()) } else { good() });
    let config = EndpointConfig { retries: 20, use_n: false, ..config(&server.url) };
    let (problem, notes) = (problem("48/2?"), Notes::default());
    let asks = [Ask { problem: &problem, steps: &[], seeds: &[1, 2, 3, 4] }];
    endpoint(config, folder.path()).propose(&asks, Horizon::Path, &sampling(), &notes).unwrap();
    let notes = notes.0.into_inner().unwrap();
    let said = notes.iter().filter(|note| note.contains("status 503")).count();
    assert!((1..12).contains(&said), "{notes:?}");
}

#[test]
fn answers_are_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|number, _| completion(&[&format!("{number}+1=2\n#### {number}")], 8));
    let config = EndpointConfig { use_n: false, ..config(&server.url) };
    let first = paths(&mut endpoint(config.clone(), folder.path()), &[1, 2, 3]).unwrap();
    assert_eq!(server.count(), 3);
    let patient = EndpointConfig { concurrency: 1, retries: 0, ..config.clone() };
    assert_eq!(
        format!("{first:?}"),
        format!("{:?}", paths(&mut endpoint(patient, folder.path()), &[1, 2, 3]).unwrap())
    );
    assert_eq!(server.count(), 3);
    // Another seed, or another model, is another request.
    paths(&mut endpoint(config.clone(), folder.path()), &[3, 4]).unwrap();
    assert_eq!(server.count(), 4);
    let other = EndpointConfig { model: "other".to_owned(), ..config.clone() };
    paths(&mut endpoint(other, folder.path()), &[1]).unwrap();
    assert_eq!(server.count(), 5);
    let newer = EndpointConfig { revision: "2".to_owned(), ..config.clone() };
    paths(&mut endpoint(newer, folder.path()), &[1]).unwrap();
    assert_eq!(server.count(), 6);
    // The server has moved; its answers are what they were.
    let moved = EndpointConfig { url: "http://127.0.0.1:1/v1".to_owned(), ..config };
    assert_eq!(
        format!("{first:?}"),
        format!("{:?}", paths(&mut endpoint(moved, folder.path()), &[1, 2, 3]).unwrap())
    );
    assert_eq!(server.count(), 6);
}

#[test]
fn the_key_is_sent_and_nothing_else() {
    const KEY: &str = "sk-secret-0123456789";
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|number, _| {
        if number == 0 {
            good()
        } else {
            Answer::Http(401, "", json!({"error": {"message": format!("bad key {KEY}")}}).to_string())
        }
    });
    let mut endpoint = Endpoint::with_key(
        config(&server.url),
        Prompt::default(),
        folder.path().to_owned(),
        Some(KEY.to_owned()),
    )
    .unwrap();
    paths(&mut endpoint, &[7]).unwrap();
    assert!(server.seen()[0].head.contains(&format!("authorization: Bearer {KEY}\r\n")));
    assert!(server.seen()[0].head.starts_with("POST /v1/chat/completions HTTP/1.1"));
    for entry in fs::read_dir(folder.path()).unwrap() {
        assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains(KEY));
    }
    let error = paths(&mut endpoint, &[8]).unwrap_err();
    assert!(!format!("{error:?}").contains(KEY) && error.to_string().contains("bad key (key)"), "{error}");
    let keyless =
        Endpoint::with_key(config(&server.url), Prompt::default(), folder.path().to_owned(), None).unwrap();
    assert_eq!(endpoint.fingerprint(), keyless.fingerprint());
    // Any variable that is surely set will do.
    let named = EndpointConfig { api_key_env: "PATH".to_owned(), ..EndpointConfig::default() };
    assert_eq!(named.key().unwrap(), std::env::var("PATH").ok());
    assert_eq!(
        EndpointConfig { api_key_env: "QSTILL_NO_SUCH_VARIABLE".to_owned(), ..named }.key().unwrap(),
        None
    );
}

/// Cancels as soon as the server has a request, and lets the server answer once that took effect.
struct Cancel<'a> {
    server: &'a Server,
    asked: &'a AtomicUsize,
}

impl Events for Cancel<'_> {
    fn advance(&self, _: u64, _: u64, _: u64) {}
    fn note(&self, _: &str) {}
    fn state(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        let cancelled = self.server.count() > 0;
        self.asked.fetch_add(usize::from(cancelled), Ordering::SeqCst);
        cancelled
    }
}

#[test]
fn cancelling_finishes_what_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let polled = asked.clone();
    let server = Server::start(move |_, _| {
        // At the second look the first one has been acted on.
        while polled.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        good()
    });
    let config = EndpointConfig { concurrency: 1, use_n: false, ..config(&server.url) };
    let problem = problem("48/2?");
    let asks = [Ask { problem: &problem, steps: &[], seeds: &[1, 2, 3] }];
    let mut endpoint = endpoint(config, folder.path());
    let error = endpoint
        .propose(&asks, Horizon::Path, &sampling(), &Cancel { server: &server, asked: &asked })
        .unwrap_err();
    assert!(error.root_cause().is::<Cancelled>(), "{error:?}");
    assert_eq!((server.count(), check_answers(folder.path()).unwrap().answers), (1, 1));
    // The resumed run pays for the other two only.
    assert_eq!(paths(&mut endpoint, &[1, 2, 3]).unwrap().len(), 3);
    assert_eq!(server.count(), 3);
}

#[test]
fn impossible_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut EndpointConfig), word: &str| {
        let mut config = EndpointConfig::default();
        change(&mut config);
        let error =
            Endpoint::with_key(config, Prompt::default(), folder.path().to_owned(), None).err().unwrap();
        assert!(
            matches!(error.downcast_ref(), Some(EndpointError::Config(text)) if text.contains(word)),
            "{error}"
        );
    };
    refused(|config| config.url = "127.0.0.1:8080".to_owned(), "url");
    refused(|config| config.url = "http://me:secret@127.0.0.1/v1".to_owned(), "api_key_env");
    refused(|config| config.concurrency = 0, "concurrency");
    refused(|config| config.timeout_s = f64::NAN, "timeout_s");
    refused(|config| drop(config.extra_body.insert("stream".to_owned(), json!(true))), "stream");
    assert!(serde_json::from_value::<EndpointConfig>(json!({"urk": "x"})).is_err());
    let read: EndpointConfig =
        serde_json::from_value(json!({"timeout_s": 30, "prefill": "vllm", "extra_body": {"min_p": 0.1}}))
            .unwrap();
    assert_eq!((read.timeout_s, read.prefill, &read.extra_body["min_p"]), (30.0, Prefill::Vllm, &json!(0.1)));
}

#[test]
fn the_fingerprint_covers_what_matters() {
    let prompt = Prompt::default();
    let base = fingerprint(&EndpointConfig::default(), &prompt).unwrap();
    let changed = |change: fn(&mut EndpointConfig)| {
        let mut config = EndpointConfig::default();
        change(&mut config);
        fingerprint(&config, &prompt).unwrap() != base
    };
    assert!(!changed(|config| config.url = "http://other.example/v1".to_owned()));
    assert!(changed(|config| config.revision.push('x')));
    assert!(changed(|config| config.omit.push("seed".to_owned())));
    assert!(changed(|config| config.model.push('x')));
    assert!(changed(|config| drop(config.extra_body.insert("min_p".to_owned(), Value::from(1)))));
    assert!(changed(|config| config.prefill = Prefill::Vllm));
    assert!(changed(|config| config.use_n = false));
    assert!(!changed(
        |config| (config.concurrency, config.timeout_s, config.retries, config.backoff_ms) = (1, 1.0, 1, 1)
    ));
    let config = PromptConfig { instruction: "Solve.".to_owned(), ..PromptConfig::default() };
    let other = Prompt { config, ..Prompt::default() };
    assert_ne!(fingerprint(&EndpointConfig::default(), &other).unwrap(), base);
}
