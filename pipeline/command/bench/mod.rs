//! `qstill bench`: how fast this machine does what a run consists of. Every part prints JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::command::arguments::Overrides;
use crate::config::Config;
use crate::terminal::console::Console;
use crate::terminal::exit::Exit;
use crate::terminal::text::to_stdout;

mod curate;
mod endpoint;
mod loopback;
mod memory;
mod models;
mod search;
mod solutions;
mod sql;
mod verify;

/// Measure the speed of training, generation, search, the grader, curation, SQL or the way to a server on
/// this machine; prints JSON.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill bench train
  qstill bench train --model path/to/smollm2 --rows 4 --length 256
  qstill bench generate --model demo --model path/to/smollm2 --rows 1 --rows 8 --rows 64
  qstill bench verify gsm8k/test.jsonl
  qstill bench curate --solutions 10000000
  qstill bench sql --solutions 1000000
  qstill bench endpoint --in-flight 64 --in-flight 256")]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Tokens per second of training.
    #[command(after_help = "Examples:
  qstill bench train                                        the demo's model and one of 50 million parameters
  qstill bench train --model path/to/smollm2 --rows 4 --length 256 --set train.lora_rank=16
  qstill bench train --model 50m --device wgpu")]
    Train {
        #[command(flatten)]
        load: Measured,
        /// Tokens of a row.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        length: u32,
        #[command(flatten)]
        over: Overrides,
    },
    /// Tokens per second of generation.
    #[command(after_help = "Examples:
  qstill bench generate --rows 1 --rows 8 --rows 64
  qstill bench generate --model path/to/smollm2 --rows 8 --length 128 --tokens 128
  qstill bench generate --model demo --sequences 10000      many more sequences than rows")]
    Generate {
        #[command(flatten)]
        load: Measured,
        /// Tokens of a prompt.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        length: u32,
        /// Tokens to generate to each prompt.
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        tokens: u32,
        /// Sequences in a call; default: as many as rows.
        #[arg(long, default_value_t = 0)]
        sequences: usize,
        #[command(flatten)]
        over: Overrides,
    },
    /// Solutions curated per second, and the memory that it takes.
    Curate {
        /// How many; they are made first, and written to disk.
        #[arg(long, default_value_t = 1_000_000)]
        solutions: u64,
        /// Folder to write to, about 100 bytes a solution; what is written goes afterwards. Default: the
        /// system's.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// How much of a server's rate a run uses, and the CPU time of an answer: search, verify and curate with
    /// a server on the loopback address.
    #[command(after_help = "Examples:
  qstill bench endpoint                                     64 and 256 requests at a time
  qstill bench endpoint --in-flight 64 --logprobs
  qstill bench endpoint --problems 400 --in-flight 16 --latency 50")]
    Endpoint {
        /// Questions, one request each.
        #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
        problems: u64,
        /// Answers to each.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..))]
        samples: u64,
        /// Questions of a shard.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
        shard: u64,
        /// Most requests at a time. May be given several times.
        #[arg(long, default_values_t = [64, 256], value_parser = clap::value_parser!(u64).range(1..=1000))]
        in_flight: Vec<u64>,
        #[command(flatten)]
        manner: Served,
        /// Folder to write to; what is written goes afterwards. Default: the system's.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// The server of `endpoint`, until stdin ends.
    #[command(hide = true)]
    Loopback {
        #[command(flatten)]
        manner: Served,
    },
    /// Seconds that questions in SQL take: a pass, groups, joins and nested columns.
    Sql {
        /// Solutions to ask; they are made first, and written to disk.
        #[arg(long, default_value_t = 1_000_000)]
        solutions: u64,
        /// Folder to write to, about 100 bytes a solution; what is written goes afterwards. Default: the
        /// system's.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// States per second of every search: over rules on one thread (no model, no values), and with the demo's
    /// decoder, untrained.
    Search {
        /// How long to measure each.
        #[arg(long, default_value_t = 2.0, value_parser = seconds)]
        seconds: f64,
    },
    /// Measure the pairs per second that the grader judges on one thread.
    Verify {
        /// A file in GSM8K's form (columns `question` and `answer`); default: generated word problems.
        file: Option<PathBuf>,
        /// How long to measure each kind of prediction.
        #[arg(long, default_value_t = 3.0, value_parser = seconds)]
        seconds: f64,
    },
}

/// How the server on the loopback address answers.
#[derive(Args)]
struct Served {
    /// Time that it takes to answer, in milliseconds, however many requests there are.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    latency: u64,
    /// It gives the log-probability of each token.
    #[arg(long)]
    logprobs: bool,
}

impl From<Served> for loopback::Manner {
    fn from(served: Served) -> Self {
        Self { latency: Duration::from_millis(served.latency), logprobs: served.logprobs }
    }
}

#[derive(Args)]
struct Measured {
    /// `demo` (the demo's student), `50m` (50 million parameters), or a Hugging Face directory. May be given
    /// several times.
    #[arg(long, value_name = "NAME|FOLDER", default_values = ["demo", "50m"])]
    model: Vec<String>,
    /// Rows together. May be given several times.
    #[arg(long, default_values_t = [32], value_parser = clap::value_parser!(u32).range(1..))]
    rows: Vec<u32>,
    /// How long to measure each.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
}

impl Measured {
    /// Measures every model with every number of rows, and prints a list.
    fn measure(
        &self,
        over: &Overrides,
        like: models::Load,
        measure: impl Fn(&str, &[String], &stages::model::Choice, models::Load) -> Result<serde_json::Value>,
        console: &Console,
    ) -> Result<Exit> {
        let sets = over.all();
        let (config, _) = Config::resolve(&[], &sets)?;
        let device = stages::model::device::choose(&config.run.device)?;
        console.say(&device.why);
        let mut all = Vec::new();
        for model in &self.model {
            for rows in &self.rows {
                let load = models::Load {
                    rows: *rows as usize,
                    time: Duration::from_secs_f64(self.seconds),
                    ..like
                };
                all.push(measure(model, &sets, &device, load)?);
            }
        }
        print_json(&all)
    }
}

/// Measures what was asked for.
///
/// # Errors
/// Those of what is measured.
pub fn run(args: Bench, console: &Console) -> Result<Exit> {
    let none = models::Load { rows: 0, length: 0, tokens: 0, sequences: 0, time: Duration::ZERO };
    match args.what {
        What::Train { load, length, over } => {
            load.measure(&over, models::Load { length: length as usize, ..none }, models::train, console)
        }
        What::Generate { load, length, tokens, sequences, over } => {
            let like = models::Load { length: length as usize, tokens: tokens as usize, sequences, ..none };
            load.measure(&over, like, models::generate, console)
        }
        What::Curate { solutions, dir } => print_json(&curate::bench(solutions, dir.as_deref(), console)?),
        What::Endpoint { problems, samples, shard, in_flight, manner, dir } => {
            let load = endpoint::Load { problems, samples, shard, manner: manner.into() };
            let all: Result<Vec<_>> = in_flight
                .into_iter()
                .map(|in_flight| endpoint::bench(load, in_flight, dir.as_deref(), console))
                .collect();
            print_json(&all?)
        }
        What::Loopback { manner } => loopback::serve(manner.into()).map(|()| Exit::Done),
        What::Search { seconds } => print_json(&search::search(Duration::from_secs_f64(seconds))?),
        What::Sql { solutions, dir } => print_json(&sql::bench(solutions, dir.as_deref(), console)?),
        What::Verify { file, seconds } => {
            print_json(&verify::bench(file.as_deref(), Duration::from_secs_f64(seconds))?)
        }
    }
}

/// Prints a benchmark's result.
fn print_json(value: &impl serde::Serialize) -> Result<Exit> {
    let text = serde_json::to_string_pretty(value)?;
    to_stdout(|out| Ok(writeln!(out, "{text}")?))?;
    Ok(Exit::Done)
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.0..=3600.0).contains(seconds))
        .ok_or_else(|| "expected a number from 0 to 3600".to_owned())
}
