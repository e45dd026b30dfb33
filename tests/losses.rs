//! Students of each loss, and of future heads that draft their answers.

use std::collections::BTreeMap;
use std::fs;

use datasets::table::Loss;
use serde_json::Value;

use crate::kit::{World, copy_folder};

const SETS: &[&str] = &[
    "train.max_steps=12",
    "train.epochs=20",
    "train.batch_size=6",
    "train.validation_share=0.2",
    "train.validate_every=6",
    "evaluate.teacher=false",
];

fn with<'a>(sets: &[&'a str]) -> Vec<&'a str> {
    [SETS, sets].concat()
}

fn weights(world: &World, run: &str) -> Vec<u8> {
    fs::read(world.left(run).join("round-1/student/model.safetensors")).unwrap()
}

#[test]
fn each_loss_trains_a_student_of_its_own() {
    let world = World::new();
    world.run("ce", &with(&[])).done();
    world.run("face", &with(&["train.loss=face"])).done();
    // The same rows give the same tokenizer, so that another run's student can be the reference.
    let golden =
        with(&["train.loss=golden", "train.golden_share=0.5", "train.reference=runs/ce/round-1/student"]);
    world.run("golden", &golden).done().says("runs/ce/round-1/student reads");
    let value = ["value.model=features", "value.epochs=2", "value.holdout=0.5", "train.loss=value"];
    world.run("value", &with(&value)).done();
    world.run("future", &with(&["train.future=2"])).done();

    let students: BTreeMap<Vec<u8>, &str> = ["ce", "face", "golden", "value", "future"]
        .map(|run| (weights(&world, run), run))
        .into_iter()
        .collect();
    assert_eq!(students.len(), 5, "{:?}", students.values());
    for run in students.values() {
        let losses: Vec<Loss> = world.left(run).rows("round-1/train");
        let (first, last) = (losses[5].validation_loss.unwrap(), losses[11].validation_loss.unwrap());
        assert!(last < first, "{run}: {first} {last}");
    }
    // Heads are dropped unless they are to be kept.
    assert!(!world.left("future").join("round-1/student/future_heads.safetensors").exists());

    // What is compared with is what counts, not where it is; and what it reads must be the student's tokens.
    copy_folder(&world.left("ce").join("round-1/student"), &world.path("copy"));
    let moved = with(&["train.loss=golden", "train.golden_share=0.5", "train.reference=copy"]);
    world.run("golden", &moved).done().says("round 1 train: complete, skipped");
    let other = with(&["train.loss=golden", "train.reference=copy", "model.vocab_size=290"]);
    world.run("other", &other).fails(65, &["copy", "another tokenizer", "train.reference"]);
    let gone = with(&["train.loss=golden", "train.reference=nowhere"]);
    world.run("gone", &gone).fails(65, &["nowhere"]);
}

#[test]
fn the_next_round_compares_itself_with_the_student_before() {
    let world = World::new();
    world.run("first", SETS).done();
    let path = format!("model.path={}", world.left("first").join("round-1/student").display());
    let sets = [SETS, &["train.loss=golden", "run.rounds=2", "train.start=previous", &path]].concat();
    world
        .run("second", &sets)
        .done()
        .says("round 1 train: base reads")
        .says("round 2 train: student of round 1 reads");
}

#[test]
fn kept_heads_draft_and_change_no_answer() {
    let world = World::new();
    world.write_rows("questions.jsonl", &[("Tom has 3 pens and gets 4. How many?".into(), "7".into())]);
    let sets = [SETS, &["train.future=2", "train.future_keep=true", "train.max_steps=40"]].concat();
    world.run("kept", &sets).done();
    world.run("dropped", &[&sets[..], &["train.future_keep=false"]].concat()).done();
    let (kept, dropped) =
        (world.left("kept").join("round-1/student"), world.left("dropped").join("round-1/student"));
    let heads = kept.join("future_heads.safetensors");
    assert!(heads.exists() && !dropped.join("future_heads.safetensors").exists());
    assert!(weights(&world, "kept") == weights(&world, "dropped"));
    assert_eq!(without_times(&world, "kept"), without_times(&world, "dropped"));

    let ask = |model: &std::path::Path, temperature: &str| {
        let model = model.display().to_string();
        let arguments = [
            "answer",
            &model,
            "questions.jsonl",
            "--device",
            "cpu",
            "--max-tokens",
            "40",
            "--temperature",
            temperature,
        ];
        let outcome = world.qstill(&arguments).done();
        assert_eq!(
            outcome.stderr.contains("passes after the prompts"),
            model.contains("kept"),
            "{}",
            outcome.stderr
        );
        outcome.stdout
    };
    for temperature in ["0", "1"] {
        assert_eq!(ask(&kept, temperature), ask(&dropped, temperature));
    }
    // A damaged file of heads is said, not passed over.
    fs::write(&heads, b"short").unwrap();
    let arguments = ["answer", &kept.display().to_string(), "questions.jsonl", "--device", "cpu"];
    world.qstill(&arguments).fails(65, &["future_heads.safetensors", "safetensors"]);
}

/// What a run measured, less what took how long.
fn without_times(world: &World, run: &str) -> Value {
    let mut report = world.left(run).evaluation();
    for row in report["rows"].as_array_mut().unwrap() {
        if let Value::Object(row) = row {
            row.retain(|key, _| !key.contains("seconds"));
        }
    }
    report["rows"].take()
}
