//! A run by several processes: the rows are those of one.

use std::process::Stdio;

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
    assert!(three.join("report.html").exists());
    world.resume("three").done().says("round 2 evaluate: complete, skipped");
}

/// By hand: one process finishes what the workers leave, and each says what is next.
#[test]
fn workers_and_one_process_take_turns() {
    let world = World::new();
    world.run("one", SHARDS).done();
    let run = "runs/a";
    world
        .qstill(&of_preset("demo", "finish", "a", SHARDS))
        .fails(75, &["round 1 search is for workers: 12 shards are missing", "qstill work"]);
    world.qstill(&["work", run, "--array", "1/2"]).done().says("round 1 curate is for one process");
    world.qstill(&["finish", run]).fails(75, &["round 1 evaluate is for workers"]);
    world.qstill(&["work", run]).done().says("all is committed");
    world.qstill(&["finish", run]).done();
    assert_eq!(world.left("one").product(), world.left("a").product());

    // A worker neither sets aside nor redoes what other settings made.
    let other = ["work", run, "--set", "search.samples=1"];
    let before = world.left("a").files();
    world.qstill(&other).fails(75, &["has shards of other settings", "qstill finish"]);
    let mut after = world.left("a").files();
    after.insert("run.log".to_owned(), before["run.log"].clone());
    assert_eq!(before, after);
    for bad in ["2/2", "1", "0/0", "x"] {
        let refused = world.qstill(&["work", run, "--array", bad]);
        assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_is_killed_is_replaced() {
    let world = World::new();
    let more = &["--set", "problems.train=400", "--set", "search.samples=0", "--set", "tree.budget=4000"];
    let arguments = launch("b", "2", more);
    let mut running = world.start(&arguments);
    let children = |id: u32| -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    };
    let commits = world.left("b").join("round-1/search/commits");
    let some = || std::fs::read_dir(&commits).is_ok_and(|names| names.count() > 3);
    running.until("some shards", |_| some());
    let id = running.id();
    let victim = children(id)[0];
    let kill = |id: u32| {
        std::process::Command::new("kill")
            .args(["-9", &id.to_string()])
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert!(kill(victim).success());
    // While workers are at work nobody else may have the run.
    world.resume("b").fails(75, &["is held by process"]);
    let (status, said) = running.wait();
    assert!(status.success(), "{said}");
    assert!(said.contains("was killed"), "{said}");
    let sets: Vec<&str> = SHARDS.iter().chain(more).copied().filter(|word| *word != "--set").collect();
    world.run("one", &sets).done();
    assert_eq!(world.left("one").product(), world.left("b").product());
}

#[test]
fn what_workers_cannot_do_ends_the_launch() {
    let world = World::new();
    let arguments: Vec<String> = launch("c", "2", &["--gpus", "7,8"])
        .into_iter()
        .filter(|word| !["--device", "cpu"].contains(&word.as_str()))
        .collect();
    let mut command = world.command(&arguments);
    command.env("VK_DRIVER_FILES", "/none").env("VK_ICD_FILENAMES", "/none");
    let outcome: Outcome = command.output().unwrap().into();
    outcome.fails(65, &["worker ", "there is no GPU `"]);
    assert_eq!(world.left("c").commits("round-1/train").len(), 1, "what one process does is done");
}
