//! The same run on the CPU and through wgpu: losses, weights and answers agree.
//!
//! A software adapter takes a minute, nearly all of it to compile and try out kernels, so it is used only
//! with `QSTILL_TEST_WGPU=1`. All rows are of one length: fewer shapes, fewer kernels.

use std::fs;

use datasets::table::{Evaluation, Loss};
use safetensors::SafeTensors;

use crate::kit::{Left, World, run};

const SETS: &[&str] = &[
    "problems.source=files",
    "problems.files=[\"pens.jsonl\"]",
    "problems.train=32",
    "problems.test=4",
    "problems.test_share=0.2",
    "problems.validation_share=0",
    "run.shard_size=100",
    "search.policy=none",
    "search.rule_steps=1",
    "curate.per_problem=1",
    "model.vocab_size=280",
    "model.context=96",
    "train.learning_rate=0.004",
    "train.batch_size=8",
    "train.epochs=10",
    "train.max_steps=10",
    "train.validation_share=0",
    "evaluate.samples=0",
    "evaluate.teacher=false",
    "evaluate.max_tokens=6",
];

/// Whether there is an adapter to test on. With `QSTILL_TEST_WGPU=1` there must be one, and any will do.
fn adapter(world: &World) -> bool {
    let wanted = std::env::var("QSTILL_TEST_WGPU").is_ok_and(|value| value == "1");
    let report = world.qstill(&["doctor", "--json"]).json();
    let devices = report["devices"].as_array().unwrap();
    let found: Vec<_> = devices
        .iter()
        .filter(|device| device["backend"].is_string() && (wanted || device["gpu"] == true))
        .collect();
    assert!(!wanted || !found.is_empty(), "QSTILL_TEST_WGPU=1, but there is no adapter: {report}");
    for device in &found {
        assert!(device["check"].as_str().unwrap().starts_with("works"), "{device}");
    }
    if found.is_empty() {
        println!("left out: no GPU, and QSTILL_TEST_WGPU=1 is not set");
    }
    !found.is_empty()
}

fn weights(run: &Left) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(run.join("round-1/student/model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let mut all: Vec<_> =
        file.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn wgpu_computes_what_the_cpu_does() {
    let world = World::new();
    if !adapter(&world) {
        return;
    }
    let rows: Vec<(String, String)> = (11..41)
        .flat_map(|a| (11..41).map(move |b| (format!("{a} pens and {b} pens?"), (a + b).to_string())))
        .collect();
    world.write_rows("pens.jsonl", &rows);
    world.run("cpu", SETS).done().says("device: CPU");
    let arguments: Vec<String> = run("wgpu", SETS)
        .into_iter()
        .map(|word| if word == "cpu" { "wgpu".to_owned() } else { word })
        .collect();
    world.qstill(&arguments).done().says("device: wgpu on ");

    let (cpu, wgpu) = (world.left("cpu"), world.left("wgpu"));
    let [expected, got] = [&cpu, &wgpu].map(|run| run.rows::<Loss>("round-1/train"));
    assert_eq!((expected.len(), got.len()), (10, 10));
    for (a, b) in expected.iter().zip(&got) {
        assert!(
            (a.loss - b.loss).abs() <= 1e-3 * a.loss.abs(),
            "step {}: {} on the CPU, {} through wgpu",
            a.step,
            a.loss,
            b.loss
        );
    }
    assert!(expected[9].loss < expected[0].loss, "it learns");
    for ((name, a), (other, b)) in weights(&cpu).iter().zip(&weights(&wgpu)) {
        assert_eq!((name, a.len()), (other, b.len()));
        let difference = a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-2, "{name} differs by {difference}");
    }
    let [expected, got] = [&cpu, &wgpu].map(|run| run.rows::<Evaluation>("round-1/evaluate"));
    let texts = |rows: &[Evaluation]| {
        rows.iter()
            .map(|row| (row.model.clone(), row.problem_id.clone(), row.completion.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&expected), texts(&got), "greedy answers are the same");
}
