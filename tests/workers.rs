//! A run by several processes: the rows are those of one.

use std::process::Stdio;

#[cfg(target_os = "linux")]
use crate::kit::Running;
use crate::kit::{Outcome, World, of_preset};

/// A run of several shards in each stage that workers share.
const SHARDS: &[&str] = &["run.shard_size=2", "problems.validation=4"];
/// Two rounds, with a gate between them.
const ROUNDS: &[&str] = &[
    "run.shard_size=2",
    "run.rounds=2",
    "search.policy=model",
    "problems.validation=4",
    "gate.samples=1",
    "gate.on_fail=rollback",
];

fn launch(name: &str, workers: &str, more: &[&str]) -> Vec<String> {
    let mut arguments = of_preset("demo", "launch local", name, SHARDS);
    arguments.extend(["-n", workers].map(str::to_owned));
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    arguments
}

#[test]
fn workers_write_what_one_process_writes() {
    let world = World::new();
    world.run("one", ROUNDS).done();
    let sets: Vec<&str> = ROUNDS.iter().flat_map(|set| ["--set", set]).collect();
    let told = world.qstill(&launch("three", "3", &sets)).done();
    for stage in ["round 1 search: 3 workers for 12 shards", "round 2 gate: 2 workers for 2 shards"] {
        told.clone().says(stage);
    }
    assert!(told.stdout.starts_with("round  model"), "{}", told.stdout);
    let (one, three) = (world.left("one"), world.left("three"));
    assert_eq!(one.product(), three.product());
    assert_eq!(one.count("round-1/search", "units"), three.count("round-1/search", "units"));
    assert!(told.stderr.contains("round 2 evaluate: 3 workers for"), "{}", told.stderr);
    assert!(three.join("report.html").exists());
    world.resume("three").done().says("round 2 evaluate: complete, skipped");
}

/// By hand: one process finishes what the workers leave, and each says what is next.
#[test]
fn workers_and_one_process_take_turns() {
    let world = World::new();
    world.run("one", SHARDS).done();
    let run = "runs/a";
    let next = |outcome: Outcome, line: &str| {
        assert_eq!(outcome.code, Some(75), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
        outcome.says(line)
    };
    let begun = world.qstill(&of_preset("demo", "finish", "a", SHARDS));
    next(begun, "next: 12 shards of round 1 search, for workers: `qstill work runs/a`");
    world.qstill(&["work", run, "--array", "1/2"]).done().says("round 1 curate is for one process");
    next(world.qstill(&["finish", run]), "next: 6 shards of round 1 evaluate");
    world.qstill(&["work", run]).done().says("all is committed");
    world.qstill(&["finish", run]).done();
    assert_eq!(world.left("one").product(), world.left("a").product());
    for bad in ["2/2", "1", "0/0", "x"] {
        let refused = world.qstill(&["work", run, "--array", bad]);
        assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    }

    // A worker neither sets aside nor redoes what other settings made.
    let file = world.left("a").join("run.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("rule_expansions = ", "rule_expansions = 1", 1)).unwrap();
    let before = world.left("a").files();
    world.qstill(&["work", run]).fails(75, &["was begun with other settings", "qstill finish"]);
    let mut after = world.left("a").files();
    after.insert("run.log".to_owned(), before["run.log"].clone());
    assert_eq!(before, after);
}

/// A launch of a second or two that has some shards, and the settings of it.
#[cfg(target_os = "linux")]
fn under_way(world: &World, name: &str) -> (Running, Vec<&'static str>) {
    let more = ["problems.train=400", "search.samples=0", "tree.budget=4000"];
    let sets: Vec<&str> = more.iter().flat_map(|set| ["--set", set]).collect();
    let mut running = world.start(&launch(name, "2", &sets));
    let commits = world.left(name).join("round-1/search/commits");
    running.until("some shards", |_| std::fs::read_dir(&commits).is_ok_and(|names| names.count() > 3));
    (running, SHARDS.iter().copied().chain(more).collect())
}

/// The id of one of the processes of a launch.
#[cfg(target_os = "linux")]
fn a_worker_of(running: &Running) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let children = std::fs::read_to_string(children).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
fn signal(name: &str, id: u32) {
    let status =
        std::process::Command::new("kill").args([name, &id.to_string()]).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_killed_is_replaced() {
    let world = World::new();
    let (running, sets) = under_way(&world, "b");
    signal("-9", a_worker_of(&running));
    // While workers are at work nobody else may have the run.
    world.resume("b").fails(75, &["is held by process"]);
    let (status, said) = running.wait();
    assert!(status.success(), "{said}");
    assert!(said.contains("was killed") && said.contains("and is replaced"), "{said}");
    world.run("one", &sets).done();
    assert_eq!(world.left("one").product(), world.left("b").product());
}

/// A worker that stands still keeps its shard: `status` says which one it is.
#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_stands_still_is_named() {
    let world = World::new();
    let (running, _) = under_way(&world, "b");
    let pid = a_worker_of(&running);
    signal("-STOP", pid);
    let status = world.qstill(&["status", "runs/b", "--json"]).json();
    let claims = status["claims"].as_array().unwrap();
    // It may have been between two shards.
    if let Some(claim) = claims.iter().find(|claim| claim["pid"] == pid) {
        let line = format!("worker: pid {pid} on ");
        assert_eq!((&claim["stage"], &claim["round"]), (&"search".into(), &1.into()));
        let text = world.qstill(&["status", "runs/b"]).stdout;
        assert!(text.contains(&line), "{text}");
    }
    signal("-CONT", pid);
    let (status, said) = running.wait();
    assert!(status.success(), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_launcher_that_is_killed_takes_its_workers_along() {
    let world = World::new();
    let (running, _) = under_way(&world, "b");
    running.kill();
    // Busy until the workers have seen it.
    let again = loop {
        let outcome = world.resume("b");
        if outcome.code != Some(75) {
            break outcome.done();
        }
        assert!(outcome.stderr.contains("workers are at work"), "{}", outcome.stderr);
    };
    again.says("shards are committed and skipped");
}

#[test]
fn what_workers_cannot_do_ends_the_launch() {
    let world = World::new();
    let sets = ["search.policy=endpoint", "endpoint.url=http://127.0.0.1:9/v1", "endpoint.retries=0"];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    world.qstill(&launch("c", "2", &sets)).fails(75, &["worker ", "127.0.0.1:9"]);
    assert!(world.left("c").commits("round-1/search").is_empty());
}

#[test]
fn gpus_are_looked_for_before_any_work() {
    let world = World::new();
    let none = |gpus: &str| -> Outcome {
        let mut command = world.command(&["launch", "local", "runs/d", "--preset", "demo", "--gpus", gpus]);
        command.env("VK_DRIVER_FILES", "/none").env("VK_ICD_FILENAMES", "/none").output().unwrap().into()
    };
    none("7,8").fails(65, &["--gpus: there is no GPU `7`"]);
    assert_eq!(none("0,").code, Some(64));
    assert!(!world.path("runs").exists());
}
