//! A tiny HTTP/1.1 server on the loopback address, with a script for its answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Request line and headers, header names in lower case.
    pub head: String,
    pub body: Value,
}

/// What the server does with a request.
pub enum Answer {
    /// Status, extra header lines, body.
    Http(u16, &'static str, String),
    /// The same with a body of bytes.
    Bytes(u16, &'static str, Vec<u8>),
    /// Announces more than it sends, and hangs up.
    Torn(String),
    /// Keeps the connection open and says nothing.
    Never,
}

#[derive(Clone)]
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Starts a server; `script` gets the number of the request, from 0, and the request. It serves
    /// until the test process ends.
    pub fn start(script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
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

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Reads one request, answers it and closes the connection.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>, script: &dyn Fn(usize, &Seen) -> Answer) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            let name = name.to_lowercase();
            if name == "content-length" {
                length = value.trim().parse().unwrap();
            }
            line = format!("{name}:{value}");
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || body.is_empty() {
        return;
    }
    let request = Seen { head, body: serde_json::from_slice(&body).unwrap() };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let mut stream = reader.into_inner();
    let mut send = |status: u16, headers: &str, length: usize, body: &[u8]| {
        // The client may have given up; that is its business.
        let _ = write!(
            stream,
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n"
        )
        .and_then(|()| stream.write_all(body));
    };
    match script(number, &request) {
        Answer::Http(status, headers, body) => send(status, headers, body.len(), body.as_bytes()),
        Answer::Bytes(status, headers, body) => send(status, headers, body.len(), &body),
        Answer::Torn(body) => send(200, "", body.len() + 100, body.as_bytes()),
        // Returns when the client closes the connection.
        Answer::Never => drop(stream.read(&mut [0])),
    }
}

/// A completion with these texts, which ended by themselves.
pub fn completion(texts: &[&str], tokens: u32) -> Answer {
    let choices: Vec<_> = texts.iter().enumerate().map(|(index, text)| choice(index, text)).collect();
    Answer::Http(200, "", json!({"choices": choices, "usage": {"completion_tokens": tokens}}).to_string())
}

pub fn choice(index: usize, text: &str) -> Value {
    json!({"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}})
}

/// A completion of one choice with more fields in it.
pub fn special(text: &str, tokens: u32, fields: &Value) -> Answer {
    let mut choice = choice(0, text);
    for (name, value) in fields.as_object().unwrap() {
        choice[name.as_str()] = value.clone();
    }
    Answer::Http(200, "", json!({"choices": [choice], "usage": {"completion_tokens": tokens}}).to_string())
}
