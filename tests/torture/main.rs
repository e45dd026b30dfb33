//! `just torture [slice|full] [PART...]`: a tiny run is killed, starved, cut and flipped at every place, and
//! must come out the same.
//!
//! The parts and what they hold stand in `docs/crash-safety.md`. Everything is asked for by the environment,
//! so that `cargo test` and nextest leave it out: `QSTILL_TORTURE=slice` or `full`,
//! `QSTILL_TORTURE_ONLY=part,part`. Needs `strace`; says so where it is missing.

mod endpoint;
mod errors;
mod files;
mod fuzz;
mod kills;
mod same;
#[allow(dead_code)]
#[path = "../server.rs"]
mod server;
mod trace;
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use world::{Part, World};

/// A part of the torture: its name and what does it, in full or as a slice.
type Job = (&'static str, fn(&World, bool) -> Part);

const PARTS: [Job; 13] = [
    ("calls", kills::every_call),
    ("random", kills::at_random),
    ("three", kills::three_at_once),
    ("training", kills::in_training),
    ("errors", errors::injected),
    ("disk", errors::small_disks),
    ("order", trace::order),
    ("flips", files::damaged),
    ("threads", same::threads_and_orders),
    ("changes", same::changes),
    ("endpoint", endpoint::misbehaving),
    ("answers", endpoint::paid_once),
    ("fuzz", fuzz::mutated),
];

/// Deliberate faults, and the parts of which one must see it.
const FAULTS: [(&str, &[&str]); 15] = [
    ("record-in-place", &["calls"]),
    ("record-before-data", &["calls"]),
    ("no-fsync", &["order"]),
    ("no-dir-fsync", &["order"]),
    ("fsync-ignored", &["errors"]),
    ("hash-unchecked", &["flips"]),
    ("seal-unchecked", &["flips"]),
    ("sums-unchecked", &["flips"]),
    ("stale-counts", &["changes"]),
    ("lock-ignored", &["three"]),
    ("leftovers-kept", &["calls"]),
    ("cursor-ahead", &["training"]),
    ("rows-by-threads", &["threads"]),
    ("answers-unstored", &["answers"]),
    ("key-told", &["endpoint"]),
];

fn main() -> ExitCode {
    let Ok(mode) = std::env::var("QSTILL_TORTURE") else {
        // nextest asks for the names of tests, cargo test wants to run them: there are none here.
        if !std::env::args().any(|argument| argument == "--list") {
            println!("left out: `just torture` runs it");
        }
        return ExitCode::SUCCESS;
    };
    let full = match mode.as_str() {
        "full" => true,
        "slice" => false,
        other => {
            eprintln!("torture: `{other}` is neither `slice` nor `full`");
            return ExitCode::from(64);
        }
    };
    if !Command::new("strace")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!(
            "torture: strace is not installed, and without it nothing here is proven: install the package `strace`"
        );
        return ExitCode::FAILURE;
    }
    let only: Vec<String> = std::env::var("QSTILL_TORTURE_ONLY")
        .map_or(Vec::new(), |text| text.split(',').map(str::to_owned).collect());
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| part == name);
    let known = |name: &String| name == "faults" || PARTS.iter().any(|(part, _)| part == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        eprintln!("torture: there is no part `{unknown}`");
        return ExitCode::from(64);
    }
    // Each process of the deliberate faults inherits one, and is asked for one part.
    let world = match World::new() {
        Ok(world) => world,
        Err(why) => {
            eprintln!("torture: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut parts: Vec<(String, Part, f64)> = Vec::new();
    for (name, job) in PARTS.iter().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        let part = job(&world, full);
        eprintln!("{name}: {} of {}, {} violations", part.done, part.asked, part.violations.len());
        parts.push(((*name).to_owned(), part, start.elapsed().as_secs_f64()));
    }
    if wanted("faults") && std::env::var_os("QSTILL_FAULT").is_none() {
        let start = Instant::now();
        parts.push(("faults".to_owned(), faults(), start.elapsed().as_secs_f64()));
    }
    println!("{:<12} {:>8} {:>8} {:>10} {:>9}", "part", "asked", "done", "violations", "seconds");
    for (name, part, seconds) in &parts {
        println!(
            "{name:<12} {:>8} {:>8} {:>10} {seconds:>9.1}",
            part.asked,
            part.done,
            part.violations.len()
        );
    }
    let mut sound = true;
    for (name, part, _) in &parts {
        part.notes.iter().for_each(|note| println!("{name}: {note}"));
        part.violations.iter().take(10).for_each(|why| println!("{name}: VIOLATION: {why}"));
        sound &= part.violations.is_empty();
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each deliberate fault must be seen by a part of its own.
fn faults() -> Part {
    let mut all = Part { asked: FAULTS.len(), ..Part::default() };
    for (fault, parts) in FAULTS {
        let mut seen = None;
        for part in parts {
            let mut again = Command::new(std::env::current_exe().expect("this program"));
            again.env("QSTILL_FAULT", fault).env("QSTILL_TORTURE", "slice").env("QSTILL_TORTURE_ONLY", part);
            let said = again.output().expect("this program runs");
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            if said.status.code() == Some(1) && text.contains("VIOLATION") {
                let first = text.lines().find(|line| line.contains("VIOLATION")).unwrap_or_default();
                seen = Some(format!("{part} ({})", first.chars().take(160).collect::<String>()));
                break;
            }
        }
        match seen {
            Some(by) => {
                all.done += 1;
                all.notes.push(format!("{fault} is caught by {by}"));
            }
            None => all.violations.push(format!("{fault} is caught by none of {parts:?}")),
        }
    }
    all
}
