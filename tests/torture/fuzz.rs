//! Every loader on files that a stranger made: an error, never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use datasets::table::{self, Dropped, Evaluation, Loss, Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution};
use stages::events::Silent;
use stages::model::{DecoderConfig, Tokenizer, hf};
use stages::problems::ProblemsConfig;
use stages::train::checkpoint;

use crate::trace::calls;
use crate::world::{Draw, Part, World, finish, strace};
use pipeline::disk::scan::examine;

/// A few changes at once: flips, cuts, copies of a piece elsewhere, digits made large, pieces of another
/// place.
fn change(good: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=draw.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = draw.below(bytes.len());
        match draw.below(7) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + draw.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = draw.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => {
                let end = (at + 1 + draw.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    let large =
                        [&b"18446744073709551615"[..], b"-1", b"1e999", b"4294967296", b"0"][draw.below(5)];
                    bytes.splice(at + digit..=at + digit, large.iter().copied());
                }
            }
            _ => {
                let word =
                    [&b"null"[..], b"[]", b"{}", b"\"\"", b"[[[[[[[[", b"../../../../x", b"\xff\xfe", b"\0"]
                        [draw.below(8)];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

/// Seconds for all loaders: `QSTILL_TORTURE_FUZZ`, else 3600 in full and 20 in a slice.
fn seconds(full: bool) -> u64 {
    std::env::var("QSTILL_TORTURE_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(if full {
        3600
    } else {
        20
    })
}

type Read<'a> = Box<dyn Fn(&Path) + 'a>;

pub fn mutated(world: &World, full: bool) -> Part {
    let (run, home) = (world.copy(), world.fresh());
    fs::create_dir_all(&home).expect("a folder");
    let cpu =
        stages::model::device::choose(&stages::model::DeviceSetting::Cpu).expect("there is a CPU").device;
    let shard = |stage: &str, table: &str| -> PathBuf {
        let dir = run.join(stage).join("shards");
        let mut all = fs::read_dir(dir).expect("shards").flatten().map(|entry| entry.path());
        all.find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().contains(&format!("-{table}-")))
        })
        .expect("a shard")
    };
    let questions = home.join("questions.jsonl");
    fs::write(
        &questions,
        "{\"question\": \"Two and 3 more?\", \"answer\": \"5\"}\n{\"question\": \"4 less 1?\", \"answer\": \"so <<4-1=3>>3\\n#### 3\"}\n",
    )
    .expect("a file");
    let saved = checkpoint(world);
    let rows = |path: &Path, table: &str| match table {
        "problems" => drop(table::read_all::<Problem>(path)),
        "solutions" => drop(table::read_all::<Solution>(path)),
        "nodes" => drop(table::read_all::<Node>(path)),
        "verdicts" => drop(table::read_all::<VerdictRow>(path)),
        "kept" => drop(table::read_all::<Kept>(path)),
        "dropped" => drop(table::read_all::<Dropped>(path)),
        "losses" => drop(table::read_all::<Loss>(path)),
        _ => drop(table::read_all::<Evaluation>(path)),
    };
    let tables = [
        ("problems", "problems"),
        ("round-1/search", "solutions"),
        ("round-1/search", "nodes"),
        ("round-1/verify", "verdicts"),
        ("round-1/curate", "kept"),
        ("round-1/curate", "dropped"),
        ("round-1/train", "losses"),
        ("round-1/evaluate", "evaluation"),
    ];
    let mut loaders: Vec<(String, PathBuf, Read<'_>)> = Vec::new();
    for (stage, name) in tables {
        loaders.push((format!("Parquet {name}"), shard(stage, name), Box::new(move |path| rows(path, name))));
    }
    let record = run.join("round-1/search/commits/00000.json");
    let stage = run.join("round-1/search");
    loaders.push(("commit record".into(), record, Box::new(move |_| drop(examine(&stage)))));
    let jsonl = |path: &Path| {
        let config = ProblemsConfig { train_files: vec![path.to_owned()], ..files_config() };
        drop(stages::problems::problems(&config, 1, &Silent, &mut |_| Ok(())));
    };
    loaders.push(("JSON lines".into(), questions, Box::new(jsonl)));
    let student = run.join("round-1/student");
    for (name, file) in [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("weights", "model.safetensors"),
        ("chat template", "tokenizer_config.json"),
    ] {
        let (dir, device) = (student.clone(), cpu.clone());
        let read = move |_: &Path| {
            drop(DecoderConfig::read(&dir));
            if let Ok(tokenizer) = Tokenizer::load(&dir) {
                let _ = tokenizer.encode("12+30=42");
            }
            drop(hf::load(&dir, &device));
        };
        loaders.push((name.into(), student.join(file), Box::new(read)));
    }
    for file in ["cursor.json", "state.safetensors"] {
        let dir = saved.clone();
        let read = move |_: &Path| {
            if let Ok(cursor) = checkpoint::cursor(&dir) {
                drop(checkpoint::state(&dir, &cursor));
            }
        };
        loaders.push((format!("checkpoint {file}"), saved.join(file), Box::new(read)));
    }
    let toml = {
        let run = run.clone();
        move |_: &Path| {
            let said = Command::new(env!("CARGO_BIN_EXE_qstill"))
                .args(["status", "--json"])
                .arg(&run)
                .output()
                .expect("it starts");
            assert!(
                said.status.code().is_some_and(|code| [0, 64, 65].contains(&code)),
                "{}",
                String::from_utf8_lossy(&said.stderr)
            );
        }
    };
    loaders.push(("run.toml".into(), run.join("run.toml"), Box::new(toml)));

    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let each = Duration::from_secs_f64(seconds(full) as f64 / loaders.len() as f64);
    let mut part = Part { asked: loaders.len(), ..Part::default() };
    let (mut draw, mut counts) = (Draw(11), BTreeMap::new());
    for (name, path, read) in &loaders {
        let good = fs::read(path).expect("it is readable");
        let start = Instant::now();
        while start.elapsed() < each {
            let bad = change(&good, &mut draw);
            fs::write(path, &bad).expect("a write");
            *counts.entry(name.clone()).or_insert(0usize) += 1;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(path))) {
                let text = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let kept = std::env::temp_dir().join(format!("torture-fuzz-{}", part.violations.len()));
                let _ = fs::write(&kept, &bad);
                part.violations.push(format!(
                    "{name} panics: {} (the file: {})",
                    text.unwrap_or_default(),
                    kept.display()
                ));
                if part.violations.len() > 20 {
                    break;
                }
            }
        }
        fs::write(path, good).expect("a write");
        part.done += 1;
    }
    std::panic::set_hook(hook);
    let told: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    part.notes.push(format!("files read: {}", told.join(", ")));
    let _ = fs::remove_dir_all(run);
    part
}

fn files_config() -> ProblemsConfig {
    let defaults: toml::Table = pipeline::config::presets::DEFAULT.parse().expect("the defaults parse");
    let config: ProblemsConfig =
        defaults["problems"].clone().try_into().expect("the defaults are a configuration");
    ProblemsConfig { source: stages::problems::Source::Files, train: 0, test: 0, validation: 0, ..config }
}

/// A checkpoint of a run that was killed in training.
fn checkpoint(world: &World) -> PathBuf {
    let sets = ["run.rounds=1", "value.model=none"];
    let traced = world.fresh();
    let last = calls(world, &traced, &sets)
        .into_iter()
        .rfind(|call| call.name == "rename" && call.line.contains("/checkpoints/step-"));
    let run = world.fresh();
    let inject = format!("inject=rename:signal=KILL:when={}", last.expect("checkpoints are made").nth);
    let _ = finish(&mut strace(&["-o", "/dev/null", "-e", "trace=rename", "-e", &inject], &run, &sets));
    let dir = run.join("round-1/train/checkpoints");
    let mut all = fs::read_dir(dir).expect("checkpoints").flatten().map(|entry| entry.path());
    all.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")))
        .expect("a checkpoint")
}
