//! Ablations: arms on the same data, equally long, with the same seeds; resumed, extended, refused.

use std::collections::BTreeMap;
use std::fs;

use datasets::table::{Ablated, Loss, TokenTargets};
use datasets::types::Kept;
use serde_json::Value;

use crate::kit::{Left, Outcome, World, copy_tree, names, run};

/// Right and wrong solutions without a model, and enough problems to answer.
const SETS: &[&str] = &[
    "search.policy=rules",
    "search.samples=6",
    "search.rule_solutions=3",
    "curate.per_problem=9",
    "problems.validation=6",
    "train.batch_size=6",
    "evaluate.teacher=false",
];

fn ablate(world: &World, arguments: &[&str]) -> Outcome {
    world.qstill(&[&["ablate", "runs/a"], arguments].concat())
}

fn arm<'a>(plot: &'a Value, name: &str) -> &'a Value {
    plot["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == name).unwrap()
}

/// A student of an arm, laid out as a run.
fn student(world: &World, arm: &str, seed: u64) -> Left {
    Left(world.left("a").join(&format!("ablation/{arm}/seed-{seed}")))
}

fn seeds(plot: &Value) -> Vec<u64> {
    plot["seeds"].as_array().unwrap().iter().map(|seed| seed.as_u64().unwrap()).collect()
}

/// Lines that say that a student was trained.
fn trained(said: &Outcome) -> usize {
    said.stderr.lines().filter(|line| line.contains("round 1 train: student in")).count()
}

#[test]
fn arms_differ_in_what_they_change_and_in_nothing_else() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let (before, settings) = (left.product(), fs::read(left.join("run.toml")).unwrap());
    let arms = [
        ["--arm", "checked", "--arm", "right:curate.faults=[]"],
        ["--arm", "all:curate.keep=all, curate.faults=[]", "--arm", "face:train.loss=face"],
    ]
    .concat();
    let first = ablate(&world, &[&arms[..], &["--seeds", "2", "--json"]].concat()).done();
    assert_eq!(trained(&first), 8, "{}", first.stderr);
    let plot = first.json();
    let seeds = seeds(&plot);
    assert_eq!((seeds.len(), seeds[1]), (2, seeds[0] + 1));
    assert_eq!((plot["problems"].as_u64(), plot["split"].as_str()), (Some(6), Some("validation")), "{plot}");

    // As many steps as the run's own student, and the same student where nothing differs.
    let steps = left.count("round-1/train", "units");
    for name in ["checked", "right", "all", "face"] {
        let line = arm(&plot, name);
        assert_eq!(line["steps"].as_f64(), Some(steps as f64), "{line}");
        assert_eq!(line["solved_by_seed"].as_array().unwrap().len(), 2, "{line}");
        assert_eq!(line["against_first"].is_object(), name != "checked", "{line}");
    }
    let weights = "round-1/student/model.safetensors";
    let own = fs::read(left.join(weights)).unwrap();
    let of = |arm: &str, seed: u64| fs::read(student(&world, arm, seed).join(weights)).unwrap();
    assert!(of("checked", seeds[0]) == own, "the run's own student");
    assert!(of("checked", seeds[1]) != own && of("face", seeds[0]) != own && of("all", seeds[0]) != own);

    // What is kept: with wrong answers, with any right ones, and as the run did, which is curated once.
    let rows = |name: &str| arm(&plot, name)["rows"].as_f64().unwrap();
    assert!(rows("all") > rows("right") && rows("right") >= rows("checked"), "{plot}");
    assert!(rows("face").total_cmp(&rows("checked")).is_eq(), "{plot}");
    let curated = |name: &str| left.join(&format!("ablation/{name}/round-1/curate")).exists();
    assert!(curated("all") && curated("right") && !curated("checked") && !curated("face"));
    let kept = |stage: &str| left.rows::<Kept>(stage).len();
    assert!(kept("ablation/all/round-1/curate") > kept("round-1/curate"));

    let answers: Vec<Ablated> = left.rows("round-1/ablation");
    assert_eq!(answers.len(), 4 * 2 * 6);
    let mut by_arm: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for row in &answers {
        *by_arm.entry((&row.arm, row.seed)).or_default() += usize::from(row.correct);
        assert_eq!(row.settings == "train.loss=face", row.arm == "face");
    }
    for name in ["checked", "right", "all", "face"] {
        let solved = arm(&plot, name)["solved_by_seed"].clone();
        let counted = seeds.iter().map(|seed| by_arm[&(name, *seed)]).collect::<Vec<_>>();
        assert_eq!(solved, serde_json::json!(counted), "{name}");
    }

    // The run is as it was, and shows the table.
    let after: BTreeMap<String, Vec<u8>> =
        left.product().into_iter().filter(|(path, _)| !path.starts_with("round-1/ablation/")).collect();
    assert!(before == after && settings == fs::read(left.join("run.toml")).unwrap());
    assert!(world.qstill(&["inspect", "runs/a"]).done().stdout.contains("ablation"));
    let sound = world.qstill(&["verify-run", "runs/a"]).done();
    assert!(sound.stdout.contains(&format!("ablation/face/seed-{}/round-1/train", seeds[0])), "{sound:?}");

    // Again: nothing is trained. One more arm and one more seed: only what is new.
    let again = ablate(&world, &[&arms[..], &["--seeds", "2", "--json"]].concat()).done();
    assert_eq!((trained(&again), &again.stdout), (0, &first.stdout));
    let more = [&arms[..], &["--arm", "short:train.targets=shortest", "--seeds", "2"]].concat();
    let more = ablate(&world, &more).done();
    assert_eq!(trained(&more), 2, "{}", more.stderr);
    for part in ["short", "not different from checked", "6 validation problems", "students of 2 seeds"] {
        assert!(more.stdout.contains(part), "`{part}` is not in:\n{}", more.stdout);
    }
    let more = ablate(&world, &[&arms[..], &["--seeds", "3", "--json"]].concat()).done();
    assert_eq!(trained(&more), 4, "{}", more.stderr);
    assert_eq!(left.rows::<Ablated>("round-1/ablation").len(), 4 * 3 * 6);

    // An arm of the same name that changes something else is made again, and says why.
    let other = ["--arm", "checked", "--arm", "face:train.loss=face,train.face_floor=0.7", "--seeds", "1"];
    let other = ablate(&world, &other).done();
    assert_eq!(trained(&other), 1, "{}", other.stderr);
    other.says("round 1 train is outstanding again: train.face_floor 0.2 -> 0.7");
}

#[test]
fn equal_tokens_are_not_exceeded() {
    let world = World::new();
    world.run("a", SETS).done();
    let most = 4000;
    let arms = ["--arm", "six", "--arm", "two:train.batch_size=2", "--seeds", "1"];
    let plot = ablate(&world, &[&arms[..], &["--tokens", "4000", "--json"]].concat()).done().json();
    let mut steps = Vec::new();
    for name in ["six", "two"] {
        let losses: Vec<Loss> = student(&world, name, seeds(&plot)[0]).rows("round-1/train");
        let last = losses.last().unwrap();
        let largest = losses.windows(2).map(|pair| pair[1].tokens - pair[0].tokens).max().unwrap();
        assert!(last.tokens <= most && last.tokens + 2 * largest > most, "{name}: {last:?}, {largest}");
        assert_eq!(arm(&plot, name)["tokens"].as_f64(), Some(last.tokens as f64));
        steps.push(last.step);
    }
    assert!(steps[1] > 2 * steps[0], "{steps:?}");
}

#[test]
fn a_later_round_learns_from_all_rounds_and_starts_where_the_run_did() {
    let world = World::new();
    let sets = ["run.rounds=2", "train.start=previous", "gate.require=none", "problems.validation=4"];
    world.run("a", &sets).done();
    let arms = ["--arm", "as-it-is", "--arm", "base:train.start=base", "--arm", "other:curate.per_problem=3"];
    let plot = ablate(&world, &[&arms[..], &["--seeds", "1", "--split", "test", "--json"]].concat()).done();
    let plot = plot.json();
    assert_eq!((plot["round"].as_u64(), plot["problems"].as_u64()), (Some(2), Some(4)), "{plot}");
    let seed = seeds(&plot)[0];
    let weights =
        |arm: &str| fs::read(student(&world, arm, seed).join("round-2/student/model.safetensors")).unwrap();
    let own = fs::read(world.left("a").join("round-2/student/model.safetensors")).unwrap();
    assert!(weights("as-it-is") == own && weights("base") != own);
    for round in [1, 2] {
        let curated = world.left("a").join(&format!("ablation/other/round-{round}/curate"));
        assert!(curated.exists(), "rows of every round are curated by the arm");
    }
    let one = ablate(&world, &["--arm", "as-it-is", "--seeds", "1", "--round", "1", "--json"]).done().json();
    assert_eq!(one["round"].as_u64(), Some(1));
}

#[test]
fn a_killed_ablation_goes_on_to_the_same_bytes() {
    let world = World::new();
    world.run("a", &[SETS, &["train.checkpoint_every=1"]].concat()).done();
    copy_tree(&world.left("a").0, &world.left("whole").0);
    let rest = ["--arm", "ce", "--arm", "face:train.loss=face", "--seeds", "2", "--steps", "20", "--json"];
    let whole = world.qstill(&[&["ablate", "runs/whole"], &rest[..]].concat()).done();

    let folders = |left: &Left| -> Vec<String> {
        let seeds = |arm: &String| {
            let inner = names(&left.join(&format!("ablation/{arm}")));
            inner.into_iter().map(|seed| format!("ablation/{arm}/{seed}")).collect::<Vec<_>>()
        };
        names(&left.join("ablation")).iter().flat_map(seeds).collect()
    };
    let cut = world.left("a");
    let arguments = [&["ablate", "runs/a"], &rest[..]].concat();
    for students in [1, 3] {
        let mut running = world.start(&arguments);
        running.until("a checkpoint", |_| {
            let all = folders(&cut);
            let checkpoints =
                |folder: &String| names(&cut.join(&format!("{folder}/round-1/train/checkpoints")));
            all.len() >= students && all.iter().flat_map(checkpoints).any(|name| name.starts_with("step-000"))
        });
        running.kill();
    }
    let last = world.qstill(&arguments).done();
    assert!(last.stderr.contains("resumes from the checkpoint at step"), "{}", last.stderr);
    assert!(trained(&last) < 4, "students that were done are not trained again");
    assert_eq!(last.stdout, whole.stdout);
    let other = world.left("whole");
    assert_eq!(folders(&cut), folders(&other));
    for folder in folders(&cut) {
        Left(cut.join(&folder)).equals(&Left(other.join(&folder)));
    }
    cut.equals(&other);
}

#[test]
fn what_arms_share_may_not_differ() {
    let world = World::new();
    world.qstill(&run("a", SETS)[..]).done();
    let refused = |arguments: &[&str], said: &[&str]| {
        ablate(&world, arguments).fails(64, said);
    };
    refused(
        &["--arm", "a:search.samples=2"],
        &["arm a", "cannot change search.samples", "[curate], [train]"],
    );
    refused(&["--arm", "a:train.epochs=2"], &["train.epochs", "equally long", "--steps or --tokens"]);
    refused(&["--arm", "a:train.los=face"], &["arm a", "unknown key `train.los`", "train.loss"]);
    refused(&["--arm", "a:train.batch_size=0"], &["arm a", "train.batch_size is 0"]);
    refused(&["--arm", "a:curate.keep=most"], &["arm a", "most", "correct"]);
    refused(&["--arm", "a", "--arm", "a:train.loss=face"], &["two arms are named `a`"]);
    refused(&["--arm", "../a"], &["`../a` is not a name"]);
    refused(&["--arm", "a:train.loss"], &["`train.loss` has no value", "NAME:KEY=VALUE"]);
    refused(&["--arm", "a", "--split", "train"], &["no held-out problems", "validation or test"]);
    refused(&["--arm", "a", "--set", "search.samples=2"], &["cannot change search.samples"]);
    for arguments in [&["--steps", "2"][..], &["--arm", "a", "--steps", "2", "--tokens", "9"]] {
        assert_eq!(ablate(&world, arguments).code, Some(64));
    }
    assert!(!world.left("a").join("ablation").exists(), "a refusal leaves nothing behind");

    // A run that is not so far.
    let unfinished = |steps: &[&str]| {
        let known = ["ablate", "runs/b", "--arm", "a", "--seeds", "1"];
        world.qstill(&[&known[..], steps].concat())
    };
    world.qstill(&[run("b", SETS), vec!["--until".into(), "verify".into()]].concat()).done();
    unfinished(&[]).fails(75, &["round 1 curate is not complete", "qstill resume runs/b"]);
    world.qstill(&["stage", "curate", "runs/b"]).done();
    unfinished(&[]).fails(64, &["no student whose steps", "--steps or --tokens"]);
    unfinished(&["--steps", "2"]).done();
}

#[test]
fn arms_may_learn_from_a_teacher_which_reads_their_rows_once() {
    let world = World::new();
    world.run("a", SETS).done();
    let distil = "train.loss=distil,train.top_k=4,model.teacher=runs/a/round-1/student";
    let arms = [
        "ce".to_owned(),
        format!("distil:{distil}"),
        format!("own:{distil},train.on_policy=1,train.on_policy_tokens=8"),
    ];
    let given: Vec<&str> = arms.iter().flat_map(|arm| ["--arm", arm]).collect();
    let said = ablate(&world, &[&given[..], &["--seeds", "2", "--json"]].concat()).done();
    assert_eq!(trained(&said), 6, "{}", said.stderr);
    let scored = said.stderr.lines().filter(|line| line.contains("likeliest of each are kept")).count();
    assert_eq!(scored, 1, "{}", said.stderr);
    let left = world.left("a");
    let (kept, read) = (left.rows::<Kept>("round-1/curate"), "ablation/distil/round-1/score");
    assert_eq!(left.rows::<TokenTargets>(read).len(), kept.len());
    let plot = said.json();
    for name in ["distil", "own"] {
        assert!(arm(&plot, name)["against_first"].is_object(), "{plot}");
    }
    let own: Vec<Loss> = student(&world, "own", seeds(&plot)[1]).rows("round-1/train");
    assert!(own.last().unwrap().sampled_tokens > 0);
}
