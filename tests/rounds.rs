//! Rounds: the gate between a student and the next round, what is retired, and where samples go.

use std::collections::HashSet;

use datasets::table::{Evaluation, Retired};
use datasets::types::{Kept, Solution};
use serde_json::Value;

use crate::kit::{World, run};

/// Three rounds on sums and differences, which a small student learns.
const PENS: &[&str] = &[
    "run.rounds=3",
    "run.shard_size=500",
    "problems.source=files",
    "problems.files=[\"pens.jsonl\"]",
    "problems.train=0",
    "problems.validation=0",
    "problems.test=40",
    "problems.test_share=0.1",
    "problems.validation_share=0.2",
    "search.policy=model",
    "search.samples=2",
    "search.max_samples=6",
    "search.enough=2",
    "search.give_up=4",
    "search.max_tokens=12",
    "search.rule_steps=1",
    "search.slices=3",
    "curate.per_problem=1",
    "curate.retire=outvoted",
    "model.hidden_size=64",
    "model.intermediate_size=176",
    "model.layers=2",
    "model.heads=4",
    "model.kv_heads=2",
    "model.context=64",
    "train.max_tokens=64",
    "train.learning_rate=0.004",
    "train.epochs=100",
    "train.max_steps=150",
    "train.validation_share=0",
    "gate.samples=2",
    "evaluate.samples=0",
    "evaluate.teacher=false",
    "evaluate.max_tokens=12",
];

fn world() -> World {
    let world = World::new();
    let mut rows = Vec::new();
    for a in 1..=20 {
        for b in 1..=20 {
            rows.push((format!("Ann has {a} pens and gets {b}. How many?"), (a + b).to_string()));
            if a > b {
                rows.push((format!("Ann has {a} pens and loses {b}. How many?"), (a - b).to_string()));
            }
        }
    }
    world.write_rows("pens.jsonl", &rows);
    world
}

fn gate(world: &World, round: u32) -> Value {
    serde_json::from_slice(&std::fs::read(world.left("a").join(&format!("round-{round}/gate.json"))).unwrap())
        .unwrap()
}

/// Who was sampled in a round.
fn searchers(world: &World, round: u32) -> HashSet<String> {
    let solutions: Vec<Solution> = world.left("a").rows(&format!("round-{round}/search"));
    solutions.into_iter().filter(|s| s.policy == "model").map(|s| s.policy_fingerprint).collect()
}

#[test]
fn a_poisoned_round_is_rejected_and_the_next_goes_on_with_the_policy_before() {
    let world = world();
    let sets = [PENS, &["search.slices=0", "train.max_steps=350", "search.max_samples=0"]].concat();
    let faulty = |arguments: &[String]| world.faulty("a", "shuffle-labels:2", arguments);
    let said = faulty(&run("a", &sets)).done().stderr;
    assert!(
        said.contains("round 1 gate: accepted")
            && said.contains("round 2 gate: rejected: it is significantly worse"),
        "{said}"
    );
    let (first, second) = (gate(&world, 1), gate(&world, 2));
    assert_eq!((first["accepted"].as_bool(), second["accepted"].as_bool()), (Some(true), Some(false)));
    assert!(second["lost"].as_u64() > second["won"].as_u64(), "{second}");
    assert_eq!(searchers(&world, 2), searchers(&world, 3), "round 3 is searched by the student of round 1");
    let answers: Vec<Evaluation> = world.left("a").rows("round-2/gate");
    assert!(answers.iter().all(|row| row.split.name() == "validation") && !answers.is_empty());
    let said = world.qstill(&["status", "runs/a"]).done().stdout;
    assert!(said.contains("gate"), "{said}");

    // Told to halt, the run stops at the gate with what it has, and can go on.
    let halted = faulty(&["resume", "runs/a", "--set", "gate.on_fail=halt"].map(str::to_owned));
    assert_eq!(halted.code, Some(75), "{}", halted.stderr);
    assert!(halted.stderr.contains("gate.on_fail=rollback"), "{}", halted.stderr);
}

#[test]
fn samples_stop_when_enough_is_found_and_each_round_sees_its_own_problems() {
    let world = world();
    world.run("a", PENS).done();
    let left = world.left("a");
    let mut seen: Vec<HashSet<String>> = Vec::new();
    for round in 1..=3 {
        let solutions: Vec<Solution> = left.rows(&format!("round-{round}/search"));
        seen.push(solutions.iter().map(|s| s.problem_id.clone()).collect());
        let mut counts: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        solutions.iter().filter(|s| s.sampled()).for_each(|s| *counts.entry(&s.problem_id).or_default() += 1);
        assert!(counts.values().all(|n| [2, 4, 6].contains(n)), "{counts:?}");
        if round == 3 {
            assert!(counts.values().any(|n| *n == 2) && counts.values().any(|n| *n > 2), "{counts:?}");
        }
    }
    assert!(seen[0].is_disjoint(&seen[1]) && seen[1].is_disjoint(&seen[2]) && seen[0].is_disjoint(&seen[2]));
    // What is retired was kept before, and by a round before.
    let mut kept: HashSet<String> = HashSet::new();
    for round in 1..=3 {
        let retired: Vec<Retired> = left.rows(&format!("round-{round}/curate"));
        assert!(retired.iter().all(|row| kept.contains(&row.solution_id) && row.round == round));
        kept.extend(
            left.rows::<Kept>(&format!("round-{round}/curate")).into_iter().map(|row| row.solution_id),
        );
    }
}

/// Whoever is rejected is no base of adapters either.
#[test]
fn adapters_name_the_student_that_they_stand_on() {
    let world = world();
    let sets = [
        "gate.require=better",
        "train.start=previous",
        "train.lora_rank=2",
        "train.max_steps=1",
        "train.learning_rate=0.000001",
        "search.max_samples=0",
        "search.slices=0",
        "search.samples=1",
        "gate.samples=1",
    ];
    let said = world.run("a", &[PENS, &sets].concat()).done().stderr;
    assert!(said.contains("round 1 gate: accepted") && said.contains("round 2 gate: rejected"), "{said}");
    let base = |round: u32| {
        let file = world.left("a").join(&format!("round-{round}/adapter/adapter_config.json"));
        let config: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        config["base_model_name_or_path"].as_str().unwrap().to_owned()
    };
    assert_eq!([base(1), base(2), base(3)], ["", "../../round-1/student", "../../round-1/student"]);
}
