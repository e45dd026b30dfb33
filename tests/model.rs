//! A model directory as the base: the model teaches itself with worked examples in its prompt, and what comes
//! out loads again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use datasets::table::Evaluation;
use datasets::types::{Kept, Solution};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::files::worked;
use crate::kit::{World, of_preset, run};

const FILES: &[&str] = &[
    "problems.source=files",
    "problems.train_files=[\"train.jsonl\"]",
    "problems.test_files=[\"test.jsonl\"]",
    "problems.train=0",
    "problems.test=0",
    "problems.validation_share=0",
    "model.context=1024",
    "search.rule_steps=2",
];

#[test]
fn a_model_directory_as_teacher_and_base() {
    let world = World::new();
    world.write_rows("train.jsonl", &worked(0, 18));
    world.write_rows("test.jsonl", &worked(40, 3));
    world.run("first", &[FILES, &["search.policy=none"]].concat()).done();
    let first = world.left("first").join("round-1/student");

    let path = format!("model.path={}", first.display());
    let sets = [
        FILES,
        &[&path, "problems.examples=2", "prompt.instruction=Write equations.", "train.learning_rate=0.01"],
    ]
    .concat();
    world.run("second", &sets).done();
    let run_dir = world.left("second");
    let solutions: Vec<Solution> = run_dir.rows("round-1/search");
    let policies: BTreeSet<&str> = solutions.iter().map(|s| s.policy.as_str()).collect();
    assert_eq!(policies.into_iter().collect::<Vec<_>>(), ["model", "rules"]);
    let sampled: Vec<&Solution> = solutions.iter().filter(|s| s.policy == "model").collect();
    assert_eq!(sampled.len(), 16 * 2);
    assert!(sampled.iter().all(|s| (1..=24).contains(&s.tokens) && s.algorithm == "best-of-n"));
    assert_eq!(sampled.iter().map(|s| s.seed).collect::<BTreeSet<_>>().len(), sampled.len());
    assert_eq!(run_dir.count("problems", "examples"), 2);

    let second = run_dir.join("round-1/student");
    let [old, new] = [&first, &second].map(|dir| fs::read(dir.join("model.safetensors")).unwrap());
    let (old, new) = (SafeTensors::deserialize(&old).unwrap(), SafeTensors::deserialize(&new).unwrap());
    let shape = |file: &SafeTensors<'_>| {
        file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect::<BTreeSet<_>>()
    };
    assert_eq!(shape(&old), shape(&new));
    for name in [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.norm.weight",
    ] {
        assert!(old.tensor(name).unwrap().data() != new.tensor(name).unwrap().data(), "{name} was trained");
    }
    let config: Value = serde_json::from_slice(&fs::read(second.join("config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["architectures"][0], &config["model_type"]),
        (&"LlamaForCausalLM".into(), &"llama".into())
    );
    assert_eq!(
        fs::read(first.join("tokenizer.json")).unwrap(),
        fs::read(second.join("tokenizer.json")).unwrap()
    );

    // Rows as the student learned them: its prompt, then what it is to say, and its end.
    let kept: Vec<Kept> = run_dir.rows("round-1/curate");
    let table = "runs/second/round-1/curate/kept";
    let shown = world.qstill(&["inspect", table, "--tokens", "--head", "1", "--json"]).done().json();
    let tokens = shown["rows"][0].as_array().unwrap();
    let text = |of: &[Value]| of.iter().map(|token| token["text"].as_str().unwrap()).collect::<String>();
    let asked = tokens.iter().position(|token| token["loss"] == 1.0).unwrap();
    assert_eq!(text(&tokens[..asked]), format!("<|user|>{}<|assistant|>", kept[0].prompt));
    assert_eq!(text(&tokens[asked..]), format!("{}<|end|>", kept[0].completion));
    assert_eq!(tokens[0]["loss"], 0.0);
    assert!(tokens[1..asked].iter().all(|token| token["loss"].as_f64() < Some(1.0)));
    assert!(tokens[asked..].iter().all(|token| token["loss"] == 1.0));
    let named = world.qstill(&["inspect", table, "--tokens", "--model", "runs/first/round-1/student"]).done();
    assert!(named.stdout.contains("runs/first/round-1/student reads it"), "{}", named.stdout);
    world.qstill(&["inspect", "runs/second", "--tokens"]).fails(64, &["needs a table of training rows"]);
    let verdicts = "runs/second/round-1/verify/verdicts";
    world.qstill(&["inspect", verdicts, "--tokens"]).fails(64, &["has no column `messages`"]);

    // Its student is a base like any other.
    let path = format!("model.path={}", second.display());
    let again = [FILES, &[&path]].concat();
    world.qstill(&of_preset("demo", "stage problems", "third", &again)).done();
    world.qstill(&["stage", "search", "runs/third"]).done();
    assert!(world.left("third").rows::<Solution>("round-1/search").iter().any(|s| s.policy == "model"));

    // What is in the directory counts, not its name: a copy elsewhere is the same base.
    let copy = world.path("copy");
    crate::kit::copy_folder(&first, &copy);
    let moved = [
        FILES,
        &[
            "model.path=copy",
            "problems.examples=2",
            "prompt.instruction=Write equations.",
            "train.learning_rate=0.01",
        ],
    ]
    .concat();
    let outcome = world.qstill(&run("second", &moved)).done();
    assert!(!outcome.stderr.contains("outstanding again"), "{}", outcome.stderr);
}

/// The policy of round 1 is the base with instruction and examples: that is whom the first student has to
/// match.
#[test]
fn the_gate_asks_the_base_as_the_search_does() {
    let world = World::new();
    world.write_rows("train.jsonl", &worked(0, 40));
    world.write_rows("test.jsonl", &worked(90, 3));
    world
        .run(
            "first",
            &[FILES, &["search.policy=none", "train.epochs=60", "train.learning_rate=0.005"]].concat(),
        )
        .done();
    let path = format!("model.path={}", world.left("first").join("round-1/student").display());
    let sets = [
        &path,
        "run.rounds=2",
        "problems.validation=12",
        "problems.validation_share=0.4",
        "evaluate.split=validation",
        "evaluate.teacher=false",
        "gate.samples=1",
    ];
    let answers = |run: &str, stage: &str| -> BTreeMap<String, String> {
        let rows: Vec<Evaluation> = world.left(run).rows(stage);
        let greedy = rows.into_iter().filter(|row| row.model == "base" && row.sample == 0);
        greedy.map(|row| (row.problem_id, row.completion)).collect()
    };
    world.run("bare", &[FILES, &sets].concat()).done();
    let prompt = ["problems.examples=2", "prompt.instruction=Write equations."];
    world.run("second", &[FILES, &sets, &prompt].concat()).done();
    let (gate, evaluate) = (answers("second", "round-1/gate"), answers("second", "round-1/evaluate"));
    let bare = answers("bare", "round-1/gate");
    assert!(
        gate.len() == 12 && gate.iter().any(|(id, answer)| bare.get(id) != Some(answer)),
        "the prompt tells: {gate:?}"
    );
    assert_eq!(gate, evaluate);
}
