//! `qstill bench endpoint`: how much of a server's rate a run uses, and what an answer costs in CPU time.
//!
//! A run of its own, with a server on the loopback address ([`super::loopback`]) as its only teacher, goes
//! through `search`, `verify` and `curate` as any run does. The server's rate is what it gives with so many
//! requests under way all the time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::command::bench::loopback::{Manner, Seen, Server, question};
use crate::command::bench::memory;
use crate::config::Config;
use crate::config::presets::preset;
use crate::disk::layout::{RunDir, Stage};
use crate::run::goal::Goal;
use crate::run::session::Session;
use crate::run::walk::walk;
use crate::terminal::console::Console;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub problems: u64,
    pub samples: u64,
    /// Problems of a shard.
    pub shard: u64,
    pub manner: Manner,
}

/// A folder that goes when it is no longer needed.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Measures a load with so many requests at a time, in a folder under `parent`, which is removed afterwards.
///
/// # Errors
/// Failed reads and writes; a server that cannot be started.
pub fn bench(load: Load, in_flight: u64, parent: Option<&Path>, console: &Console) -> Result<Value> {
    let folder = parent
        .map_or_else(std::env::temp_dir, Path::to_path_buf)
        .join(format!("qstill-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let folder = Folder(folder);
    let rows = |range: std::ops::Range<u64>| -> String {
        let line = |number| {
            let (question, answer) = question(number);
            json!({"question": question, "answer": answer.to_string()}).to_string() + "\n"
        };
        range.map(line).collect()
    };
    let (train, test) = (folder.0.join("train.jsonl"), folder.0.join("test.jsonl"));
    std::fs::write(&train, rows(0..load.problems)).context("failed to write the questions")?;
    std::fs::write(&test, rows(load.problems..load.problems + 1)).context("failed to write the questions")?;
    let server = Server::start(load.manner)?;
    let sets = [
        "problems.source=files".to_owned(),
        format!("problems.train_files={}", json!([train])),
        format!("problems.test_files={}", json!([test])),
        "problems.train=0".to_owned(),
        "problems.test=0".to_owned(),
        "problems.validation_share=0".to_owned(),
        "run.rounds=1".to_owned(),
        "run.device=cpu".to_owned(),
        format!("run.shard_size={}", load.shard),
        "search.policy=endpoint".to_owned(),
        "search.rule_solutions=0".to_owned(),
        "search.calculator=false".to_owned(),
        "search.max_tokens=64".to_owned(),
        format!("search.samples={}", load.samples),
        format!("endpoint.concurrency={in_flight}"),
        format!("endpoint.url={}", server.url),
        format!("endpoint.logprobs={}", load.manner.logprobs),
    ];
    let (config, table) = Config::resolve(&[("demo".to_owned(), preset("demo")?.to_owned())], &sets)?;
    let run = RunDir::named(&folder.0.join("run").display().to_string())?;
    let session = Session::open(run, (config, &table), console.clone(), "qstill bench endpoint", true)?;
    walk(&session, Goal::Until(Stage::Problems))?;

    let (clock, before) = (Instant::now(), cpu());
    walk(&session, Goal::Until(Stage::Search))?;
    let (searched, searching) = (clock.elapsed(), spent(before));
    walk(&session, Goal::Until(Stage::Curate))?;
    let (all, total) = (clock.elapsed(), spent(before));
    drop(session);
    let seen = server.end()?;
    Ok(report(load, in_flight, seen, [(searched, searching), (all, total)]))
}

/// `times`: of the search, and of all three stages; clock and CPU.
fn report(load: Load, in_flight: u64, seen: Seen, times: [(Duration, Option<Duration>); 2]) -> Value {
    let completions = load.problems * load.samples;
    let rate = in_flight as f64 / load.manner.latency.as_secs_f64();
    let share = |seconds: f64| load.problems as f64 / seconds / rate;
    let each = |cpu: Option<Duration>| cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / completions as f64);
    let [(searched, searching), (all, total)] = times;
    json!({
        "bench": "endpoint", "in_flight": in_flight, "latency_ms": load.manner.latency.as_millis() as u64,
        "problems": load.problems, "samples": load.samples, "shard_size": load.shard,
        "logprobs": load.manner.logprobs,
        "requests": seen.requests, "most_in_flight": seen.most,
        // From the first request to the last answer, and the whole stage with its start and its last commit.
        "asking_seconds": seen.seconds, "share_of_rate_while_asking": share(seen.seconds),
        "search_seconds": searched.as_secs_f64(), "share_of_rate": share(searched.as_secs_f64()),
        "until_curate_seconds": all.as_secs_f64(),
        "search_cpu_ms_per_completion": each(searching),
        "cpu_ms_per_completion": each(total),
        "peak_memory_bytes": memory::peak(),
    })
}

/// CPU time of this process and its threads so far, where the system tells; in steps of 10 ms.
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

fn spent(before: Option<Duration>) -> Option<Duration> {
    Some(cpu()?.saturating_sub(before?))
}
