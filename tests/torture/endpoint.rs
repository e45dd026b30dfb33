//! A server that misbehaves in every way it can, and what is paid for once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Answer, ENDPOINT, Server, sum, sums};
use crate::world::{Draw, Part, World, differs, files, product, qstill, told};

const KEY: &str = "sk-a-secret-that-must-stay-one";

/// A folder with the questions that [`sum`] answers, and the settings to ask a server about them.
fn asks(world: &World, server: &Server, more: &[&str]) -> (PathBuf, Vec<String>) {
    let home = world.fresh();
    fs::create_dir_all(&home).expect("a folder");
    let line = |(question, answer): &(String, String)| {
        serde_json::json!({"question": question, "answer": answer}).to_string() + "\n"
    };
    for (name, rows) in [("train.jsonl", sums(0, 12)), ("test.jsonl", sums(50, 2))] {
        fs::write(home.join(name), rows.iter().map(line).collect::<String>()).expect("a file");
    }
    // One shard, so that its answers are worth more than what may be under way at a kill.
    let own = [
        "run.shard_size=12",
        "run.rounds=1",
        "problems.validation=0",
        "value.model=none",
        "search.samples=2",
        "endpoint.concurrency=2",
    ];
    let sets = ENDPOINT
        .iter()
        .chain(&own)
        .chain(more)
        .map(|set| (*set).to_owned())
        .chain([server.setting()])
        .collect();
    (home, sets)
}

fn command(home: &Path, sets: &[String]) -> Command {
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let mut command = qstill(&home.join("run"), &sets);
    command.current_dir(home).env("OPENAI_API_KEY", KEY);
    command
}

type Kind = (&'static str, &'static [i32], fn(&Value) -> Answer);

fn http(status: u16, headers: &'static str, body: &str) -> Answer {
    Answer::Http(status, headers, body.to_owned())
}

fn with(request: &Value, change: impl Fn(&mut Value)) -> Answer {
    let Answer::Http(status, headers, body) = sum(request) else { return Answer::Never };
    let mut body: Value = serde_json::from_str(&body).expect("our own JSON");
    change(&mut body);
    Answer::Http(status, headers, body.to_string())
}

/// What it does, how a run may end that meets it again and again, and how it does it.
const KINDS: &[Kind] = &[
    ("500", &[75], |_| {
        http(500, "", "{\"error\": {\"message\": \"sk-a-secret-that-must-stay-one is no good\"}}")
    }),
    ("429", &[75], |_| http(429, "retry-after: 0\r\n", "slow down")),
    ("hangs", &[75], |_| Answer::Never),
    ("reset", &[75], |_| Answer::Torn("{\"choices\"".to_owned())),
    ("half a JSON", &[75], |_| http(200, "", "{\"choices\": [{\"mess")),
    ("another model", &[0], |request| with(request, |body| body["model"] = "somebody-else".into())),
    ("no choices", &[75], |request| with(request, |body| body["choices"] = Value::Array(Vec::new()))),
    ("10 MB", &[0], |request| with(request, |body| body["padding"] = "x".repeat(10 << 20).into())),
    ("denied, with the key", &[65], |_| {
        http(401, "", "{\"error\": {\"message\": \"who is sk-a-secret-that-must-stay-one\"}}")
    }),
];

/// Each kind of trouble: the run ends in time with its reason, and goes on once the server is well.
pub fn misbehaving(world: &World, _full: bool) -> Part {
    let mut part = Part { asked: KINDS.len(), ..Part::default() };
    let sound = Server::start(sum);
    let (home, sets) = asks(world, &sound, &[]);
    let said = command(&home, &sets).output().expect("it starts");
    if !said.status.success() {
        part.violations.push(told(&said));
        return part;
    }
    let reference = product(&home.join("run"));
    for (name, codes, kind) in KINDS {
        // Three answers are good, then the trouble begins.
        let (count, well) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let healthy = Arc::clone(&well);
        let server = Server::start(move |request| {
            if count.fetch_add(1, SeqCst) < 3 || healthy.load(SeqCst) == 1 {
                sum(request)
            } else {
                kind(request)
            }
        });
        let limit = if *name == "hangs" { "endpoint.timeout_s=0.3" } else { "endpoint.timeout_s=30" };
        let (home, sets) = asks(world, &server, &[limit]);
        let start = Instant::now();
        let said = command(&home, &sets).output().expect("it starts");
        let took = start.elapsed();
        if !said.status.code().is_some_and(|code| codes.contains(&code)) || took > Duration::from_secs(30) {
            part.violations.push(format!("{name}: after {took:?}: {}", told(&said)));
        }
        well.store(1, SeqCst);
        let again = command(&home, &sets).output().expect("it starts");
        if !again.status.success() {
            part.violations.push(format!("{name}: it does not go on: {}", told(&again)));
        }
        if let Some(difference) = differs(&reference, &product(&home.join("run"))) {
            part.violations.push(format!("{name}: it ends with other rows: {difference}"));
        }
        let everything = files(&home);
        let heard = [&said.stderr, &again.stderr].into_iter().chain(everything.values());
        if heard.into_iter().any(|bytes| bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes())) {
            part.violations.push(format!("{name}: the key is in what was said or written"));
        }
        part.done += 1;
        let _ = fs::remove_dir_all(home);
    }
    part
}

/// Cuts some bytes off the log that was written last, as a power cut may: one answer less.
fn tear(folder: &Path, bytes: u64) {
    let logs = fs::read_dir(folder).into_iter().flatten().flatten();
    let written = |entry: &fs::DirEntry| entry.metadata().and_then(|meta| meta.modified()).ok();
    if let Some(last) = logs.max_by_key(written) {
        let log = fs::File::options().write(true).open(last.path()).expect("a log");
        let length = log.metadata().expect("its length").len();
        log.set_len(length.saturating_sub(bytes)).expect("a shorter log");
    }
}

/// Killed again and again while it asks, with a log that is torn now and then: what was answered and stored
/// is not asked again, and the rest is all there.
pub fn paid_once(world: &World, full: bool) -> Part {
    let server = Server::start(|request| {
        std::thread::sleep(Duration::from_millis(15));
        sum(request)
    });
    let mut part = Part { asked: if full { 200 } else { 10 }, ..Part::default() };
    let (sound, sets) = asks(world, &server, &[]);
    let said = command(&sound, &sets).output().expect("it starts");
    if !said.status.success() {
        part.violations.push(told(&said));
        return part;
    }
    let (reference, mut draw) = (product(&sound.join("run")), Draw(5));
    while part.done < part.asked {
        let (home, sets) = asks(world, &server, &[]);
        let before = server.count();
        let mut kills = 0;
        for _ in 0..4 {
            let until = server.count() + 6 + draw.below(14);
            let mut child = command(&home, &sets).stderr(Stdio::null()).spawn().expect("it starts");
            while server.count() < until && child.try_wait().is_ok_and(|ended| ended.is_none()) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let _ = child.kill();
            let _ = child.wait();
            kills += 1;
            if draw.below(2) == 1 {
                tear(&home.join("run/responses"), 1 + draw.below(40) as u64);
            }
        }
        let said = command(&home, &sets).output().expect("it starts");
        let wrong = if said.status.success() {
            differs(&reference, &product(&home.join("run")))
        } else {
            Some(told(&said))
        };
        part.violations.extend(wrong);
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for request in &server.seen()[before..] {
            *times.entry(request.to_string()).or_default() += 1;
        }
        // Only what was under way at a kill, two at a time, may be asked for again, and what was torn. (An
        // answer is written as soon as it comes, so those that wait for a flush survive a kill.)
        let twice: usize = times.values().map(|n| n - 1).sum();
        if twice > 3 * kills {
            part.violations.push(format!("{twice} answers were paid for again after {kills} kills"));
        }
        let left: BTreeSet<String> = files(&home.join("run/responses"))
            .into_keys()
            .filter(|name| Path::new(name).extension() != Some("jsonl".as_ref()))
            .collect();
        if !left.is_empty() {
            part.violations.push(format!("left behind: {left:?}"));
        }
        part.done += kills;
        let _ = fs::remove_dir_all(home);
    }
    part
}
