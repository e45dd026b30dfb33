//! `qstill status --watch`: beside a process at work, and on runs that nobody works on.

use std::fs;

use crate::kit::{World, run};

#[test]
fn a_run_at_work_is_watched_to_its_end() {
    let world = World::new();
    let mut working = world.start(&run("a", &["problems.train=64", "train.epochs=2"]));
    let id = working.id();
    working.until("the lock is taken", |said| said.contains("search: "));
    let watched = world.qstill(&["status", "runs/a", "--watch=0"]);
    let (status, said) = working.wait();
    assert!(status.success(), "{said}");
    let watched = watched.done();
    let blocks: Vec<&str> = watched.stdout.split("run a (runs/a)\n").skip(1).collect();
    assert!(blocks.len() > 1, "{}", watched.stdout);
    assert!(blocks[0].starts_with(&format!("running: pid {id} on ")), "{}", blocks[0]);
    assert!(blocks[0].contains("\nnow: ") && blocks[0].contains("it is at work"), "{}", blocks[0]);
    let last = blocks[blocks.len() - 1];
    assert!(!last.contains("running:") && last.contains("all is done"), "{last}");
    assert!(blocks.windows(2).all(|two| two[0].trim_end() != two[1].trim_end()), "only what has changed");
    assert!(!watched.stdout.contains('\u{1b}'), "no colour and no cursor in a pipe");
}

#[test]
fn a_dead_run_says_what_went_wrong_and_what_is_next() {
    let world = World::new();
    world.qstill(&crate::kit::of_preset("demo", "stage problems", "a", &[])).done();
    let watched = world.qstill(&["status", "runs/a", "--watch"]);
    assert_eq!(watched.code, Some(75), "{}", watched.stderr);
    assert!(
        watched.stdout.contains("next: search of round 1; resume with `qstill resume runs/a`"),
        "{watched:?}"
    );
    assert_eq!(watched.stdout.matches("run a (").count(), 1);
    let log = world.path("runs/a/run.log");
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str("2026-03-09T11:05:00Z error: the endpoint is gone\n2026-03-09T11:05:01Z bye\n");
    fs::write(&log, text).unwrap();
    let status = world.qstill(&["status", "runs/a"]).done().stdout;
    assert!(status.contains("trouble: 2026-03-09T11:05:00Z error: the endpoint is gone\n"), "{status}");
    assert!(status.contains("last: 2026-03-09T11:05:01Z bye\n") && status.contains("disk: "), "{status}");
    let json = world.qstill(&["status", "runs/a", "--json"]).done().json();
    assert_eq!(json["log"]["last"]["text"], "bye");
    let bytes: usize = world.left("a").files().values().map(Vec::len).sum();
    assert_eq!(json["disk"]["bytes"].as_u64(), Some(bytes as u64));
    // Within 40 columns where the reader has no more.
    let narrow = world.command(&["status", "runs/a"]).env("COLUMNS", "60").output().unwrap();
    let text = String::from_utf8(narrow.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    for wrong in ["x", "-1"] {
        assert_eq!(world.qstill(&["status", "runs/a", &format!("--watch={wrong}")]).code, Some(64));
    }
}
