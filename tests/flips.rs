//! Every key of the default configuration is changed in turn on a finished run: each stage either gives what
//! a new run with that setting gives, or is outstanding and made again. So no input can be forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pipeline::config::presets::DEFAULT;
use toml::{Table, Value};

use crate::kit::{Left, World, copy_tree};

/// Two rounds of every stage in half a second: samples of a model, values of a decoder, a gate.
const SAMPLES: &[&str] = &[
    "run.rounds=2",
    "run.shard_size=2",
    "problems.train=6",
    "problems.validation=2",
    "problems.test=2",
    "problems.max_operations=2",
    "search.samples=2",
    "search.max_tokens=8",
    "search.rule_expansions=60",
    "model.vocab_size=280",
    "model.hidden_size=8",
    "model.intermediate_size=8",
    "model.layers=1",
    "model.heads=1",
    "model.kv_heads=1",
    "model.context=256",
    "train.epochs=1",
    "train.max_steps=4",
    "train.batch_size=2",
    "evaluate.samples=1",
    "evaluate.max_tokens=4",
    "gate.samples=1",
    "value.model=decoder",
    "value.epochs=1",
];

/// The same with a tree search of rules guided by values over features, on puzzles.
const TREES: &[&str] = &[
    "problems.source=countdown",
    "problems.numbers=3",
    "problems.train=24",
    "run.shard_size=12",
    "search.policy=rules",
    "search.algorithm=mcts",
    "tree.unit=expansions",
    "tree.budget=6",
    "value.model=features",
    "value.holdout=0.5",
    "value.states=4",
    "train.targets=search",
    "train.value_weight=0.1",
];

/// What keys of text and lists, and those whose next number is not permitted, are changed to.
const OTHERS: &[(&str, &str)] = &[
    ("run.device", ""),
    ("run.rounds", ""),
    ("problems.source", "countdown"),
    ("problems.source", "words"),
    ("problems.files", ""),
    ("problems.train_files", ""),
    ("problems.test_files", ""),
    ("problems.question", "asked"),
    ("problems.answer", "told"),
    ("problems.meta", ""),
    ("problems.options", ""),
    ("problems.rules", ""),
    ("problems.bad_rows", "skip"),
    ("problems.min_operations", "2"),
    ("problems.distractors", "0.9"),
    ("problems.validation_share", "0.5"),
    ("problems.test_share", "0.5"),
    ("problems.holdout", "0.5"),
    ("problems.examples", ""),
    ("prompt.instruction", "Add."),
    ("prompt.question", "Add: {{question}}"),
    ("prompt.answer", "code"),
    ("prompt.answer_markers", "[\"=>\"]"),
    ("prompt.stop", "[\"Q:\"]"),
    ("search.policy", "none"),
    ("search.algorithm", "beam"),
    ("search.top_p", "0.5"),
    ("search.rules_on", "siblings"),
    ("search.rule_decay", "0.5"),
    ("search.slices", "2"),
    ("tree.unit", "calls"),
    ("tree.goal", "chosen"),
    ("tree.aggregate", "min"),
    ("tree.cost", "surprisal"),
    ("tree.weights", "[2.0]"),
    ("tree.threshold", "0.5"),
    ("tree.noise_share", "0.9"),
    ("tree.widen_power", "0.9"),
    ("verify.compare", "text"),
    ("verify.sandbox", "auto"),
    ("verify.judge", "endpoint"),
    ("verify.judge_shown", "rejected"),
    ("verify.judge_model", "other"),
    ("curate.keep", "all"),
    ("curate.answer_line", "The answer is {answer}."),
    ("curate.faults", "[\"orphan_step\"]"),
    ("curate.contamination", "masked"),
    ("curate.held_out_files", ""),
    ("curate.max_repetition", "0.1"),
    ("curate.min_pass_rate", "0.6"),
    ("curate.max_pass_rate", "0.4"),
    ("curate.min_agreement_share", "0.9"),
    ("curate.retire", "unconfirmed"),
    ("curate.duplicates", "off"),
    ("curate.choose", "votes"),
    ("value.model", "none"),
    ("value.levels", "[\"outcome\"]"),
    ("value.targets", "hard"),
    ("value.loss", "mse"),
    ("value.holdout", "0.6"),
    ("value.lost", "0.9"),
    ("model.path", ""),
    ("model.dtype", "f32"),
    ("model.hidden_size", "16"),
    ("model.heads", "2"),
    ("model.kv_heads", ""),
    ("train.start", "previous"),
    ("train.targets", "shortest"),
    ("train.thoughts", "keep"),
    ("train.select", "replay"),
    ("train.loss", "face"),
    ("train.reference", ""),
    ("model.teacher", ""),
    ("train.divergence", "reverse"),
    ("train.distil_share", "0.5"),
    ("train.on_policy", ""),
    ("train.warmup", "0.9"),
    ("train.floor", "0.9"),
    ("train.beta_1", "0.5"),
    ("train.beta_2", "0.5"),
    ("train.prompt_weight", "0.9"),
    ("train.face_floor", "0.9"),
    ("train.golden_share", "0.1"),
    ("train.validation_share", "0.5"),
    ("train.lora_targets", "[\"q_proj\"]"),
    ("train.freeze", "[\"norms\"]"),
    ("train.freeze_layers", ""),
    ("gate.require", "better"),
    ("gate.on_fail", "halt"),
    ("gate.alpha", "0.9"),
    ("gate.max_drop", "0.9"),
    ("gate.max_endless", "0.9"),
    ("evaluate.split", "validation"),
    ("endpoint.url", "http://127.0.0.1:1/v1"),
    ("endpoint.urls", "[\"http://127.0.0.1:1/v1\"]"),
    ("endpoint.model", "other"),
    ("endpoint.revision", "2"),
    ("endpoint.max_failed", "0.9"),
    ("endpoint.omit", "[\"seed\"]"),
    ("endpoint.max_tokens_field", "max_completion_tokens"),
    ("endpoint.api_key_env", "OTHER_KEY"),
    ("endpoint.prefill", "vllm"),
];

/// Keys that are left as they are, and why.
fn left_out(key: &str) -> bool {
    let reasons = [
        ("run.device", "the device is no input on purpose"),
        ("run.rounds", "more rounds are more stages, not other rows"),
        ("problems.files", "needs files: tests/files.rs"),
        ("problems.train_files", "needs files: tests/files.rs"),
        ("problems.test_files", "needs files: tests/files.rs"),
        ("problems.examples", "needs files: tests/files.rs"),
        ("problems.orders", "needs options: tests/choice.rs"),
        ("problems.meta", "needs files: tests/check_verifier.rs"),
        ("problems.options", "needs files: tests/choice.rs"),
        ("problems.rules", "needs a program: tests/rules.rs"),
        ("problems.rules_moves", "needs a program: tests/rules.rs"),
        ("curate.held_out_files", "needs files: tests/curate.rs"),
        ("model.path", "needs a model: tests/model.rs"),
        ("model.kv_heads", "one head has one key head"),
        ("train.reference", "needs a model: tests/losses.rs"),
        ("model.teacher", "needs a model: tests/losses.rs"),
        ("train.on_policy", "needs a teacher: tests/losses.rs"),
        ("train.teacher", "needs a server: tests/losses.rs"),
        ("endpoint.max_cost", "needs a price: tests/endpoint.rs"),
        ("train.freeze_layers", "one layer is all there is"),
        ("verify.command", "needs a command: tests/verifier.rs"),
        ("prompt.answer_pattern", "needs prompt.answer: tests/bad_usage.rs"),
    ];
    reasons.iter().any(|(known, _)| *known == key)
}

/// Every key with another value than it has.
fn flips(base: &[&str]) -> Vec<String> {
    let defaults: Table = DEFAULT.parse().unwrap();
    let set: BTreeMap<&str, &str> = base.iter().filter_map(|text| text.split_once('=')).collect();
    let mut all = Vec::new();
    for (section, keys) in &defaults {
        for (key, value) in keys.as_table().unwrap() {
            let full = format!("{section}.{key}");
            if left_out(&full) || matches!(value, Value::Table(_)) {
                continue;
            }
            let now = set.get(full.as_str()).map_or_else(|| value.to_string(), |text| (*text).to_owned());
            let unlike = |(known, other): &&(&str, &str)| *known == full && *other != now.trim_matches('"');
            let other = OTHERS.iter().find(unlike).map(|(_, other)| (*other).to_owned());
            let next = || match value {
                Value::Boolean(_) => (now != "true").to_string(),
                Value::Integer(_) => (now.parse::<i64>().unwrap() + 1).to_string(),
                Value::Float(_) => (now.parse::<f64>().unwrap() * 1.5 + 0.5).to_string(),
                _ => panic!("say what {full} is changed to"),
            };
            all.push(format!("{full}={}", other.unwrap_or_else(next)));
        }
    }
    all
}

/// Shards and directories of each stage of a run.
fn stages(left: &Left) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    let mut all: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for (path, bytes) in left.product() {
        let stage = path.split("/shards/").next().unwrap_or_default().to_owned();
        // Evaluate's shards say how long they took in their record alone, so their bytes are equal too.
        all.entry(stage).or_default().insert(path, bytes);
    }
    all
}

/// Runs the world with every flip; what is wrong with it, in a line each.
fn wrong(base: &[&str]) -> Vec<String> {
    let world = World::new();
    world.run("base", base).done();
    let flips = flips(base);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let refused = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(flip) = flips.get(next.fetch_add(1, SeqCst)) {
                    let name = flip.split('=').next().unwrap_or_default();
                    let (old, new) = (format!("old-{name}"), format!("new-{name}"));
                    copy_tree(&world.left("base").0, &world.left(&old).0);
                    let sets: Vec<&str> = base.iter().copied().chain([flip.as_str()]).collect();
                    let [changed, fresh] = [&old, &new].map(|run| world.run(run, &sets));
                    if changed.code == Some(64) {
                        refused.lock().unwrap().insert(format!("{flip}: {}", changed.stderr));
                    } else if changed.code != fresh.code {
                        let (was, is) = (&changed.stderr, &fresh.stderr);
                        found.lock().unwrap().push(format!("{flip}: ends otherwise: {was} and {is}"));
                    } else {
                        let (was, is) = (stages(&world.left(&old)), stages(&world.left(&new)));
                        for (stage, rows) in &is {
                            if was.get(stage) != Some(rows) {
                                found
                                    .lock()
                                    .unwrap()
                                    .push(format!("{flip}: {stage} has rows of other settings"));
                            }
                        }
                    }
                    for run in [old, new] {
                        let _ = std::fs::remove_dir_all(world.left(&run).0);
                    }
                }
            });
        }
    });
    let refused = refused.into_inner().unwrap();
    assert!(refused.is_empty(), "say what these keys are changed to: {refused:#?}");
    found.into_inner().unwrap()
}

#[test]
fn no_key_of_a_run_of_samples_is_forgotten() {
    let wrong = wrong(SAMPLES);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_key_of_a_run_of_trees_is_forgotten() {
    let base: Vec<&str> = SAMPLES
        .iter()
        .filter(|set| !TREES.iter().any(|other| other.split('=').next() == set.split('=').next()))
        .chain(TREES)
        .copied()
        .collect();
    let wrong = wrong(&base);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
