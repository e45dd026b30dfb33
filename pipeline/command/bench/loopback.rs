//! The server of `qstill bench endpoint`: an OpenAI-compatible one on the loopback address that answers sums
//! after a fixed time, however many are asked at once. It is a process of its own, so that its CPU time is
//! not counted as qstill's, and ends with the one that started it.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::terminal::text::to_stdout;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub latency: Duration,
    /// Whether each token comes with its log-probability.
    pub logprobs: bool,
}

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub requests: u64,
    /// Most that were under way at a time.
    pub most: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
}

/// A server in a process of its own.
pub struct Server {
    process: Child,
    said: BufReader<ChildStdout>,
    pub url: String,
}

impl Server {
    /// Starts one.
    ///
    /// # Errors
    /// If this program cannot be started.
    pub fn start(manner: Manner) -> Result<Self> {
        let this = std::env::current_exe().context("failed to find this program")?;
        let mut command = Command::new(this);
        let latency = manner.latency.as_millis().to_string();
        command.args(["bench", "loopback", "--latency", latency.as_str()]);
        if manner.logprobs {
            command.arg("--logprobs");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the server")?;
        let mut said = BufReader::new(process.stdout.take().context("the server says nothing")?);
        let mut url = String::new();
        said.read_line(&mut url).context("failed to hear from the server")?;
        Ok(Self { process, said, url: url.trim_end().to_owned() })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it does not say what it has seen.
    pub fn end(mut self) -> Result<Seen> {
        drop(self.process.stdin.take());
        let mut said = String::new();
        self.said.read_to_string(&mut said).context("failed to hear from the server")?;
        self.process.wait().context("failed to wait for the server")?;
        serde_json::from_str(&said).context("failed to hear what the server has seen")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `end` there is nothing left to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Its own state: what it has seen, with instants.
#[derive(Default)]
struct State {
    seen: Seen,
    under_way: u64,
    first: Option<Instant>,
}

/// Serves until stdin ends, then prints what it has seen.
///
/// # Errors
/// If the loopback address cannot be listened on.
pub fn serve(manner: Manner) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        to_stdout(|out| Ok(writeln!(out, "http://{address}/v1")?))?;
        let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = BufReader::new(std::io::stdin()).read_line(&mut String::new());
            drop(end);
        });
        let state = Rc::new(RefCell::new(State::default()));
        let tasks = tokio::task::LocalSet::new();
        let accepting = Rc::clone(&state);
        tasks
            .run_until(async move {
                loop {
                    tokio::select! {
                        _ = &mut ended => break,
                        Ok((stream, _)) = listener.accept() => {
                            let state = Rc::clone(&accepting);
                            tokio::task::spawn_local(async move {
                                // A connection that breaks is the other side's affair.
                                let _ = connection(stream, manner, &state).await;
                            });
                        }
                    }
                }
            })
            .await;
        let seen = state.borrow().seen;
        anyhow::Ok(seen)
    })?;
    let told = serde_json::to_string(&seen)?;
    to_stdout(|out| Ok(writeln!(out, "{told}")?))
}

/// Answers one request after the other.
async fn connection(mut stream: TcpStream, manner: Manner, state: &RefCell<State>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read = Vec::new();
    loop {
        let Some(body) = request(&mut stream, &mut read).await? else { return Ok(()) };
        {
            let mut state = state.borrow_mut();
            state.first.get_or_insert_with(Instant::now);
            state.under_way += 1;
            state.seen.most = state.seen.most.max(state.under_way);
        }
        let until = tokio::time::Instant::now() + manner.latency;
        let answer = answer(&body, manner.logprobs).to_string();
        tokio::time::sleep_until(until).await;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).await?;
        let mut state = state.borrow_mut();
        state.under_way -= 1;
        state.seen.requests += 1;
        state.seen.seconds = state.first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    }
}

/// The body of the next request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<Option<Value>> {
    loop {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or_default();
            if read.len() >= end + 4 + length {
                let body = serde_json::from_slice(&read[end + 4..end + 4 + length]).unwrap_or_default();
                read.drain(..end + 4 + length);
                return Ok(Some(body));
            }
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

/// A question for the server, and its answer.
pub fn question(number: u64) -> (String, u64) {
    let (a, b, c) = (11 + number, 3 + number * 7 % 29, 2 + number * 5 % 11);
    let text = format!(
        "A red box holds {a} pens, a blue box holds {b} pens and a green box holds {c} pens. How many pens \
         are there?"
    );
    (text, a + b + c)
}

/// The sum of the numbers in the question; a sample of eight is wrong.
fn answer(request: &Value, logprobs: bool) -> Value {
    let turns = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let question = turns.last().and_then(|turn| turn["content"].as_str()).unwrap_or_default();
    let numbers: Vec<u64> =
        question.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [a, b, c] = numbers[..] else { return json!({"error": {"code": 400, "message": "no sum"}}) };
    let choice = |index: u64| {
        let (x, y, z) = [(a, b, c), (b, c, a), (c, a, b)][index as usize % 3];
        let end = x + y + z + u64::from(index % 8 == 7);
        let text = format!(
            "First the two boxes: {x}+{y}={}.\nWith the third one that makes {}+{z}={end} pens.\n#### {end}",
            x + y,
            x + y
        );
        let mut choice = json!({
            "index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text},
        });
        if logprobs {
            let bytes = text.as_bytes();
            let token = |part: &[u8]| {
                let token = String::from_utf8_lossy(part).into_owned();
                json!({"token": token, "logprob": -0.123_456_78, "bytes": part, "top_logprobs": []})
            };
            choice["logprobs"] = json!({"content": bytes.chunks(3).map(token).collect::<Vec<Value>>()});
        }
        choice
    };
    let count = request["n"].as_u64().unwrap_or(1);
    let choices: Vec<Value> = (0..count).map(choice).collect();
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": request["model"],
        "choices": choices,
        "usage": {"prompt_tokens": 90, "completion_tokens": 31 * count, "total_tokens": 90 + 31 * count},
    })
}
