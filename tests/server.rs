//! An OpenAI-compatible server on the loopback address, with a script for its answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

/// What the server does with a request.
pub enum Answer {
    /// Status, further header lines (each with its line end), body.
    Http(u16, &'static str, String),
    /// Announces more than it sends, and hangs up.
    Torn(String),
    /// Keeps the connection open and says nothing.
    Never,
}

#[derive(Clone)]
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// Starts a server; `script` gets the body of each request. It serves until the test process ends.
    pub fn start(script: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            Self { url: format!("http://{}/v1", listener.local_addr().unwrap()), seen: Arc::default() };
        let (seen, script) = (server.seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, script) = (seen.clone(), script.clone());
                std::thread::spawn(move || serve(stream, &seen, &*script));
            }
        });
        server
    }

    /// A setting that leads to this server.
    pub fn setting(&self) -> String {
        format!("endpoint.url={}", self.url)
    }

    /// The bodies of all requests so far.
    pub fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Reads one request, answers it and closes the connection.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Value>>, script: &dyn Fn(&Value) -> Answer) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || body.is_empty() {
        return;
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(request.clone());
    let mut stream = reader.into_inner();
    // The client may have given up; that is its business.
    let mut send = |status: u16, headers: &str, length: usize, body: &str| {
        let _ = write!(
            stream,
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        );
    };
    match script(&request) {
        Answer::Http(status, headers, body) => send(status, headers, body.len(), &body),
        Answer::Torn(body) => send(200, "", body.len() + 100, &body),
        // Returns when the client closes the connection.
        Answer::Never => drop(stream.read(&mut [0])),
    }
}

/// A teacher that adds the first two numbers of the question.
pub fn sum(request: &Value) -> Answer {
    let question =
        request["messages"].as_array().unwrap().iter().rfind(|turn| turn["role"] == "user").unwrap();
    let question = question["content"].as_str().unwrap();
    let mut numbers =
        question.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
    let (a, b) = (numbers.next().unwrap(), numbers.next().unwrap());
    let text = format!("{a}+{b}={0}\n#### {0}", a + b);
    let count = request["n"].as_u64().unwrap_or(1);
    let choice = |index| json!({"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}});
    let choices: Vec<Value> = (0..count).map(choice).collect();
    Answer::Http(200, "", json!({"choices": choices, "usage": {"completion_tokens": 9 * count}}).to_string())
}

/// A door that all requests wait at until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn pass(&self) {
        let mut open = self.0.0.lock().unwrap();
        while !*open {
            open = self.0.1.wait(open).unwrap();
        }
    }
}

/// Questions that [`sum`] knows the answer of: `from` and `count` choose which.
pub fn sums(from: usize, count: usize) -> Vec<(String, String)> {
    let row = |n: usize| {
        let (a, b) = (11 + n, 3 + n * 7 % 29);
        (
            format!("A red box holds {a} pens and a blue box holds {b} pens. How many pens are there?"),
            (a + b).to_string(),
        )
    };
    (from..from + count).map(row).collect()
}

/// Settings of a run on such questions with the server as the only teacher.
pub const ENDPOINT: &[&str] = &[
    "problems.source=files",
    "problems.train_files=[\"train.jsonl\"]",
    "problems.test_files=[\"test.jsonl\"]",
    "problems.train=0",
    "problems.test=0",
    "problems.validation_share=0",
    "search.policy=endpoint",
    "search.rule_solutions=0",
    "endpoint.retries=1",
    "endpoint.backoff_ms=1",
];
