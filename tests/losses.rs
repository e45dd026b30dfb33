//! Students of each loss, and of future heads that draft their answers.

use std::collections::BTreeMap;
use std::fs;

use datasets::table::{Loss, TokenTargets};
use datasets::types::{Kept, Solution};
use serde_json::{Value, json};
use stages::model::Tokenizer;

use crate::kit::{World, copy_folder};
use crate::server::{Answer, Server};

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
fn a_teacher_reads_what_is_kept_once_and_the_student_learns_from_that() {
    let world = World::new();
    world.run("ce", &with(&[])).done();
    let distil = |more: &[&'static str]| {
        with(
            &[&["train.loss=distil", "model.teacher=runs/ce/round-1/student", "train.top_k=4"], more]
                .concat(),
        )
    };
    world.run("distil", &distil(&[])).done().says("round 1 score:").says("a teacher has read");
    assert!(weights(&world, "distil") != weights(&world, "ce"));
    let kept: Vec<Kept> = world.left("distil").rows("round-1/curate");
    let targets: Vec<TokenTargets> = world.left("distil").rows("round-1/score");
    assert_eq!(targets.len(), kept.len());
    for (row, kept) in targets.iter().zip(&kept) {
        let n = row.tokens.len();
        assert_eq!((&row.solution_id, row.round), (&kept.solution_id, 1));
        assert_eq!((row.top_ids.len(), row.top_logprobs.len(), row.tail_logprobs.len()), (4 * n, 4 * n, n));
        for (top, tail) in row.top_logprobs.chunks(4).zip(&row.tail_logprobs) {
            assert!(top.is_sorted_by(|a, b| a >= b), "{top:?}");
            let sum: f32 = top.iter().chain([tail]).map(|log| log.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }
    // A teacher that was trained on these very rows for a few steps likes them more than chance.
    let likeliest = targets.iter().flat_map(|row| row.tokens.iter().zip(row.top_ids.chunks(4)));
    let (all, hit) = (likeliest.clone().count(), likeliest.filter(|(token, top)| top[0] == **token).count());
    assert!(hit * 20 > all, "{hit} of {all}");

    // What the loss makes of it is no business of the teacher's; where it stands is none of anybody's.
    copy_folder(&world.left("ce").join("round-1/student"), &world.path("copy"));
    let softer = distil(&["model.teacher=copy", "train.distil_temperature=2", "train.distil_share=0.5"]);
    world.run("distil", &softer).done().says("round 1 score: complete, skipped");
    let moved = distil(&["model.teacher=runs/ce/round-1/student", "train.distil_temperature=2"]);
    world
        .run("distil", &[&moved[..], &["train.distil_share=0.5"]].concat())
        .done()
        .says("train: complete, skipped");
    world.run("distil", &distil(&["train.divergence=reverse"])).done().says("train is outstanding again");

    // Another vocabulary is refused: after the rows are known, or at once where the student is given.
    let other = distil(&["model.vocab_size=290", "model.teacher=copy"]);
    world.run("other", &other).fails(65, &["copy", "cannot be the teacher", "tokens", "train.loss"]);
    world.run("other", &with(&["model.vocab_size=290"])).done();
    let given = [distil(&[]), vec!["model.path=runs/other/round-1/student"]].concat();
    world.run("given", &given).fails(65, &["cannot be the teacher"]);
    assert!(!world.left("given").join("problems/commits").exists());
}

/// A server with vLLM's `prompt_logprobs` that says of rows what is written in `targets`; `name` writes tokens.
fn scorer(targets: Vec<TokenTargets>, name: impl Fn(u32) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let given: Vec<u32> = serde_json::from_value(request["prompt"].clone()).unwrap();
        assert_eq!((&request["prompt_logprobs"], &request["max_tokens"]), (&json!(4), &json!(1)));
        let row = targets.iter().find(|row| given.ends_with(&row.tokens)).unwrap();
        let from = given.len() - row.tokens.len();
        let entry = |id: u32, log: f32| (id.to_string(), json!({"logprob": log, "decoded_token": name(id)}));
        let logs = given.iter().enumerate().map(|(at, id)| {
            let Some(at) = at.checked_sub(from) else {
                return (at > 0).then(|| json!({"5": {"logprob": -1}}));
            };
            let (ids, logs) = (&row.top_ids[4 * at..4 * at + 4], &row.top_logprobs[4 * at..4 * at + 4]);
            let own = (!ids.contains(id)).then(|| entry(*id, -25.0));
            let top = ids.iter().zip(logs).map(|(id, log)| entry(*id, *log));
            Some(Value::Object(own.into_iter().chain(top).collect()))
        });
        let logs: Vec<Option<Value>> = logs.collect();
        let choice = json!({"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": logs});
        let usage = json!({"prompt_tokens": given.len(), "completion_tokens": 1});
        Answer::Http(200, "", json!({"choices": [choice], "usage": usage}).to_string())
    })
}

#[test]
fn a_teacher_behind_a_server_says_the_same_as_one_in_the_process() {
    let world = World::new();
    world.run("ce", &with(&[])).done();
    let folder = world.left("ce").join("round-1/student");
    let path = format!("model.path={}", folder.display());
    let sets = ["train.loss=distil", "train.top_k=4", &path];
    let own = ["model.teacher=runs/ce/round-1/student"];
    world.run("own", &with(&[&sets[..], &own].concat())).done();
    let targets: Vec<TokenTargets> = world.left("own").rows("round-1/score");

    let tokenizer = Tokenizer::load(&folder).unwrap();
    let server = scorer(targets.clone(), move |id| tokenizer.decode(&[id]));
    let served = |url: String| {
        let more = ["train.teacher=endpoint".to_owned(), url];
        with(&sets).into_iter().map(str::to_owned).chain(more).collect::<Vec<_>>()
    };
    let run = |name: &str, url: String| {
        let sets = served(url);
        world.run(name, &sets.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run("served", server.setting()).done().says("behind the endpoint read");
    let read: Vec<TokenTargets> = world.left("served").rows("round-1/score");
    assert_eq!((read.len(), server.count()), (targets.len(), targets.len()));
    for (read, own) in read.iter().zip(&targets) {
        assert_eq!((&read.tokens, &read.top_logprobs), (&own.tokens, &own.top_logprobs));
        assert!(
            read.tail_logprobs.iter().zip(&own.tail_logprobs).all(|(a, b)| (a.exp() - b.exp()).abs() < 1e-4)
        );
    }
    let losses = |run: &str| world.left(run).rows::<Loss>("round-1/train").last().unwrap().loss;
    assert!((losses("served") - losses("own")).abs() < 1e-3);
    // Scored rows are not asked for again.
    run("served", server.setting()).done();
    assert_eq!(server.count(), targets.len());

    let other = scorer(targets, |id| format!("<{id}>"));
    run("other", other.setting()).fails(65, &["cannot be the teacher", "for the student", "endpoint.model"]);
    let plain = Server::start(|_| {
        let body = json!({"choices": [{"text": "x", "finish_reason": "stop"}]});
        Answer::Http(200, "", body.to_string())
    });
    run("plain", plain.setting()).fails(65, &["no `prompt_logprobs`", "vLLM", "model.teacher"]);
    let scratch = ["train.loss=distil", "train.teacher=endpoint"];
    world.run("scratch", &with(&scratch)).fails(64, &["from scratch", "model.path"]);
}

#[test]
fn a_student_that_writes_its_own_rows_is_taught_on_them() {
    let world = World::new();
    world.run("ce", &with(&[])).done();
    let sets = ["train.loss=distil", "model.teacher=runs/ce/round-1/student", "train.on_policy_tokens=12"];
    let own = |share: &'static str| with(&[&sets[..], &["train.top_k=4", share]].concat());
    world.run("half", &own("train.on_policy=0.5")).done().says("round 1 score:").says("tokens a sample");
    // Without kept rows to learn from, the teacher need not read them.
    world.run("all", &own("train.on_policy=1")).done().says("tokens a sample");
    assert!(!world.left("all").join("round-1/score").exists());
    assert!(weights(&world, "half") != weights(&world, "all"));
    for run in ["half", "all"] {
        let losses: Vec<Loss> = world.left(run).rows("round-1/train");
        assert!(losses.windows(2).all(|pair| pair[1].sampled_tokens >= pair[0].sampled_tokens));
        let last = losses.last().unwrap();
        assert!(last.sampled_tokens > 0 && last.teacher_tokens > last.sampled_tokens, "{run}: {last:?}");
        assert!(losses.iter().filter_map(|l| l.sampled_length).all(|n| n <= 12.0), "{run}");
    }
    world
        .run("none", &with(&["train.on_policy=0.5"]))
        .fails(64, &["train.on_policy", "train.loss", "distil"]);
}

#[test]
fn a_teacher_is_searched_in_every_round_and_small_students_learn_from_it() {
    let world = World::new();
    world.run("ce", &with(&[])).done();
    let teacher = ["search.policy=teacher", "model.teacher=runs/ce/round-1/student", "model.hidden_size=16"];
    let sets = with(&[&teacher[..], &["model.heads=2", "run.rounds=2", "search.samples=4"]].concat());
    world.run("small", &sets).done().says("round 2 search:");
    for round in 1..=2 {
        let found: Vec<Solution> = world.left("small").rows(&format!("round-{round}/search"));
        assert!(found.iter().filter(|row| row.policy == "model").count() >= 4, "round {round}");
    }
    // It is its files that count, not where they are.
    copy_folder(&world.left("ce").join("round-1/student"), &world.path("copy"));
    let moved = [&sets[..], &["model.teacher=copy"]].concat();
    world.run("small", &moved).done().says("round 1 search: complete, skipped");
    world.run("gone", &with(&["search.policy=teacher", "model.teacher=nowhere"])).fails(65, &["nowhere"]);
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
