//! Looking: help, init, doctor, status and inspect.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

use crate::kit::{World, names};
use crate::server::sums;

#[test]
fn help_for_every_command() {
    let world = World::new();
    let top = world.qstill(&["--help"]).done();
    for command in [
        "run", "resume", "stage", "status", "inspect", "audit", "export", "regrade", "curate", "ablate",
        "show", "sql", "diff", "grade", "answer", "init", "doctor", "bench",
    ] {
        assert!(top.stdout.contains(&format!("\n  {command} ")), "{}", top.stdout);
        let help = world.qstill(&[command, "--help"]).done();
        assert!(help.stdout.contains("Usage: qstill") && help.stderr.is_empty(), "{help:?}");
    }
    assert!(top.stdout.contains("Exit codes"), "{}", top.stdout);
    assert!(world.qstill(&["--version"]).done().stdout.starts_with("qstill "));
}

#[test]
fn every_preset_can_be_written_edited_and_used() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 8));
    world.write_rows("test.jsonl", &sums(50, 2));
    let small = [
        "search.rule_solutions=4",
        "problems.train=4",
        "problems.validation=0",
        "problems.test=2",
        "problems.examples=0",
    ];
    let files = ["problems.train_files=[\"train.jsonl\"]", "problems.test_files=[\"test.jsonl\"]"];
    for preset in [
        "demo",
        "countdown",
        "words",
        "countdown4",
        "gsm-symbolic",
        "gsm8k",
        "gsm8k-endpoint",
        "gsm8k-base",
        "gsm8k-base-endpoint",
    ] {
        let file = format!("{preset}.toml");
        world
            .qstill(&["init", "--preset", preset, &file])
            .done()
            .says(&format!("qstill run --config {file}"));
        let text = fs::read_to_string(world.path(&file)).unwrap();
        assert!(
            text.lines().filter(|line| line.starts_with('#')).count() > 20,
            "comments say what the keys mean:\n{text}"
        );
        assert_eq!(world.qstill(&["init", "--preset", preset]).done().stdout, text);
        world.qstill(&["init", &file]).fails(64, &[&file, "choose another name"]);
        assert_eq!(fs::read_to_string(world.path(&file)).unwrap(), text, "an existing file is left alone");

        let run = format!("runs/{preset}");
        let sets = small.iter().chain(if preset.starts_with("gsm") { &files[..] } else { &[] });
        let arguments: Vec<&str> = ["stage", "problems", &run, "--config", &file]
            .into_iter()
            .chain(sets.flat_map(|set| ["--set", set]))
            .collect();
        world.qstill(&arguments).done().says("4 train");
    }
}

#[test]
fn doctor_checks_the_cpu() {
    let world = World::new();
    let mut command = world.command(&["doctor", "--json"]);
    // No driver: another test looks at adapters.
    let outcome: crate::kit::Outcome =
        command.env("VK_DRIVER_FILES", "/none").env("VK_ICD_FILENAMES", "/none").output().unwrap().into();
    let report = outcome.done().json();
    assert!(report["auto"].is_string() && report["why"].is_string());
    assert!(
        report["devices"][0]["device"] == "cpu"
            && report["devices"][0]["check"].as_str().unwrap().starts_with("works"),
        "{report}"
    );
}

/// Stages without a model run where there is no device, and those with one say what is missing.
#[test]
fn a_device_is_opened_by_stages_that_need_one() {
    let world = World::new();
    world.run("a", &["problems.train=8"]).done();
    let run = world.left("a");
    let without_driver = |arguments: &[&str]| -> crate::kit::Outcome {
        let mut command = world.command(&[&["stage"], arguments].concat());
        command.env("VK_DRIVER_FILES", "/none").env("VK_ICD_FILENAMES", "/none").output().unwrap().into()
    };
    let run = run.0.to_str().unwrap();
    let changed = ["--set", "curate.per_problem=1", "--device", "wgpu"];
    let curated = without_driver(&[&["curate", run], &changed[..]].concat()).done().says("curate");
    assert!(!curated.stderr.contains("device:"), "{}", curated.stderr);
    without_driver(&["train", run]).fails(65, &["no GPU adapter found"]);
    without_driver(&["train", run, "--gpu", "3"]).fails(65, &["there is no GPU `3`", "none"]);
    without_driver(&["train", run, "--device", "cuda"]).fails(64, &["`wgpu:N`"]);
}

#[test]
fn a_run_its_stages_and_its_tables() {
    let world = World::new();
    world.run("a", &["problems.train=8"]).done();
    let run = world.left("a");

    let status = world.qstill(&["status", "runs/a", "--json"]).done().json();
    assert_eq!((&status["done"], status["stages"].as_array().unwrap().len()), (&true.into(), 6), "{status}");
    let text = world.qstill(&["status", "a"]).done().stdout;
    assert!(text.contains("evaluate") && text.contains("all is done"), "{text}");
    let whole = world.qstill(&["inspect", "a", "--json"]).done().json();
    assert!(whole.to_string().contains("solutions"), "{whole}");
    for path in [
        "runs/a",
        "runs/a/round-1",
        "runs/a/problems",
        "runs/a/round-1/search",
        "runs/a/round-1/search/nodes",
    ] {
        assert!(!world.qstill(&["inspect", path]).done().stdout.trim().is_empty());
        world.qstill(&["inspect", path, "--json"]).done().json();
    }
    let shard = names(&run.join("problems/shards")).remove(0);
    let shown = world.qstill(&[
        "inspect",
        &format!("runs/a/problems/shards/{shard}"),
        "--head",
        "2",
        "--columns",
        "question,answer",
        "--json",
    ]);
    let shown = shown.done().json();
    assert_eq!(shown["table"], "problems");
    let sample = shown["sample"].as_array().unwrap();
    assert_eq!(sample.len(), 2);
    assert!(
        sample.iter().all(|row| row["question"].is_string() && row.as_object().unwrap().len() == 2),
        "{shown}"
    );
    world
        .qstill(&["inspect", "runs/a/problems", "--columns", "colour"])
        .fails(64, &["there is no column `colour`", "question"]);

    // A half-finished run says what is next.
    fs::remove_dir_all(run.join("round-1/evaluate")).unwrap();
    let text = world.qstill(&["status", "a"]).done().stdout;
    assert!(text.contains("next: evaluate of round 1") && text.contains("qstill resume runs/a"), "{text}");
}

#[test]
fn files_of_other_makers() {
    let world = World::new();
    let names = Arc::new(StringArray::from(vec![Some("x"), None, Some("z")])) as ArrayRef;
    let sizes = Arc::new(Float64Array::from(vec![0.5, f64::NAN, 2.0])) as ArrayRef;
    world.write_parquet(
        "foreign.parquet",
        &RecordBatch::try_from_iter_with_nullable([("name", names, true), ("size", sizes, true)]).unwrap(),
    );
    let shown = world.qstill(&["inspect", "foreign.parquet", "--json"]).done().json();
    assert_eq!((shown["rows"].as_u64(), &shown["table"]), (Some(3), &serde_json::Value::Null), "{shown}");
    assert_eq!(shown["sample"][0], serde_json::json!({"name": "x", "size": 0.5}));
    assert!(world.qstill(&["inspect", "foreign.parquet"]).done().stdout.contains("size"));

    world.write("text.parquet", "no parquet");
    world.qstill(&["inspect", "text.parquet"]).fails(65, &["text.parquet is not a whole Parquet file"]);
    world.qstill(&["inspect", "none.parquet"]).fails(65, &["none.parquet does not exist"]);
    fs::create_dir(world.path("empty")).unwrap();
    world.qstill(&["inspect", "empty"]).fails(65, &["empty has no Parquet files"]);
}
