//! Values: learned from search trees, better than a constant, used by the next search; and bakeoffs that
//! compare searches by them.

use datasets::table::{Match, Node, Selection, ValueRow};
use datasets::types::Solution;
use serde_json::Value;

use crate::kit::{World, of_preset, run};

/// A run on puzzles of three numbers whose rules are searched twice, the second time by the values of the
/// first.
const PUZZLES: &[&str] = &[
    "run.rounds=2",
    "run.shard_size=100",
    "problems.train=400",
    "problems.validation=40",
    "problems.numbers=3",
    "search.rule_steps=3",
    "search.rule_solutions=64",
    "train.max_steps=2",
    "value.model=features",
    "tree.weights=[3.0]",
];

fn metrics(world: &World, path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(world.left("a").join(path)).unwrap()).unwrap()
}

/// Values are better than always saying the base rate, and know a good state from a bad one.
fn informed(measured: &Value, auroc: f64) {
    let report = &measured["report"];
    let number = |key: &str| report[key].as_f64().unwrap_or_else(|| panic!("{key} of {measured}"));
    assert!(number("brier") < 0.9 * number("brier_constant"), "{measured}");
    assert!(number("auroc") > auroc && number("auroc_within") > 0.5, "{measured}");
    assert!(number("ece") < 0.2 && measured["threshold"].as_f64().unwrap() < 1.0, "{measured}");
}

#[test]
fn values_of_rules_guide_the_next_search_and_win_the_bakeoff() {
    let world = World::new();
    world
        .qstill(&of_preset("countdown", "run", "a", PUZZLES))
        .done()
        .says("round 1 value: level steps")
        .says("admissibility gap");
    let left = world.left("a");
    let measured = metrics(&world, "round-1/value-steps/metrics.json");
    informed(&measured, 0.8);
    assert!(measured["exact"]["error"].as_f64().unwrap() < 0.3, "{measured}");
    let rows: Vec<ValueRow> = left.rows("round-1/value");
    assert!(rows.len() > 100 && rows.iter().all(|r| (0.0..=1.0).contains(&r.value) && r.level == "steps"));

    // The second search saw values, and needed fewer expansions for as many solved problems.
    let valued =
        |round: u32| left.rows::<Node>(&format!("round-{round}/search")).iter().any(|n| n.value.is_some());
    assert!(!valued(1) && valued(2));
    assert_eq!(left.count("round-1/search", "solved"), left.count("round-2/search", "solved"));

    // Settings of values leave the search alone, and what stands on them is done again.
    let status = |set: &str| {
        let sets: Vec<&str> = PUZZLES.iter().copied().chain([set]).collect();
        world
            .qstill(&of_preset("countdown", "run", "a", &[&sets[..], &["run.rounds=1"]].concat()))
            .done()
            .stderr
    };
    let said = status("value.loss=mse");
    assert!(
        said.contains("round 1 curate: complete, skipped") && said.contains("value.loss bce -> mse"),
        "{said}"
    );
    informed(&metrics(&world, "round-1/value-steps/metrics.json"), 0.8);

    let bakeoff = |more: &[&str]| {
        let fixed = [
            "bakeoff",
            "runs/a",
            "--round",
            "1",
            "--policy",
            "rules",
            "--search",
            "astar,astar/none,mcts",
            "--budgets",
            "3,6,60",
        ];
        world.qstill(&[&fixed[..], more].concat())
    };
    let plot = bakeoff(&["--json"]).done().json();
    let line = |search: &str, budget: u64| {
        plot["rows"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["search"] == search && r["budget"] == budget)
            .cloned()
            .unwrap()
    };
    let (learned, uniform) = (line("astar", 60), line("astar/none", 60));
    assert_eq!((learned["solved"].as_u64(), uniform["solved"].as_u64()), (Some(40), Some(40)), "{plot}");
    assert_eq!(learned["optimal"].as_f64(), Some(1.0), "{learned}");
    let cost = |line: &Value| line["cost_per_solved"].as_f64().unwrap();
    assert!(cost(&learned) < 0.6 * cost(&uniform), "{} and {}", cost(&learned), cost(&uniform));
    assert!(line("best-of-n", 3)["solved"].as_u64() < line("astar", 3)["solved"].as_u64(), "{plot}");
    let matches: Vec<Match> = world.left("a").rows("round-1/bakeoff");
    assert_eq!(matches.len(), 4 * 3 * 40, "best-of-n takes part unasked");
    assert!(matches.iter().all(|m| m.expansions <= m.budget && m.solved == m.shortest.is_some()));
    let said = bakeoff(&[]).done();
    assert!(said.stderr.contains("12 of 12 shards are committed"), "{}", said.stderr);
    assert!(
        said.stdout.contains("beats best-of-n") || said.stdout.contains("does not differ"),
        "{}",
        said.stdout
    );

    // What searches depend on makes their rows anew, and looking at the run shows them.
    let spent = |sets: &[&str]| {
        let said = bakeoff(&[&["--search", "beam,dvts", "--budgets", "12"][..], sets].concat()).done().stderr;
        let rows: Vec<Match> = world.left("a").rows("round-1/bakeoff");
        (rows.iter().map(|m| m.expansions).sum::<u64>(), said)
    };
    let (whole, _) = spent(&[]);
    let (pruned, said) = spent(&["--set", "value.prune=true"]);
    assert!(said.contains("round 1 bakeoff is outstanding again: value.prune false -> true"), "{said}");
    assert!(pruned < whole, "{pruned} and {whole}");
    // No model takes part: its type is nothing to these rows.
    let (_, said) = spent(&["--set", "value.prune=true", "--set", "model.dtype=f32"]);
    assert!(said.contains("shards are committed, nothing to do"), "{said}");
    assert!(
        world.qstill(&["inspect", "runs/a"]).done().stdout.contains("bakeoff"),
        "the run's tables are all shown"
    );

    bakeoff(&["--search", "luck"])
        .fails(64, &["there is no search `luck`", "best-of-n, beam, dvts, mcts or astar"]);
    bakeoff(&["--unit", "tokens"]).fails(65, &["rules generate no tokens"]);
    bakeoff(&["--select", "4"]).fails(64, &["rules draw no samples"]);
}

/// The same results where a bakeoff or the value stage was killed at any shard: what counts is what is
/// committed.
#[test]
fn a_bakeoff_that_was_cut_off_goes_on_where_it_was() {
    let world = World::new();
    world.qstill(&of_preset("countdown", "run", "a", &[PUZZLES, &["run.rounds=1"]].concat())).done();
    let arguments =
        ["bakeoff", "runs/a", "--policy", "rules", "--search", "astar", "--budgets", "4,8", "--json"];
    let shares = |plot: Value| -> Vec<Value> {
        plot["rows"].as_array().unwrap().iter().map(|r| r["solved"].clone()).collect()
    };
    let whole = shares(world.qstill(&arguments).done().json());
    let commits = world.left("a").join("round-1/bakeoff/commits");
    std::fs::remove_file(commits.join("00002.json")).unwrap();
    let again = world.qstill(&arguments).done();
    assert!(again.stderr.contains("3 of 4 shards are committed"), "{}", again.stderr);
    assert_eq!(shares(again.json()), whole);
}

#[test]
fn heads_on_the_policy_judge_samples_and_searches_of_models() {
    let world = World::new();
    let sets = [
        "run.rounds=2",
        "run.shard_size=50",
        "problems.train=150",
        "problems.validation=12",
        "problems.max_operations=1",
        "search.samples=4",
        "train.epochs=12",
        "train.learning_rate=0.005",
        "value.model=trunk",
        "value.levels=[\"steps\", \"outcome\"]",
        "value.epochs=60",
        "value.learning_rate=0.05",
        "value.holdout=0.4",
        "value.bisect=2",
        "value.rollouts=2",
    ];
    world
        .qstill(&[run("a", &sets), vec!["--until".into(), "value".into()]].concat())
        .done()
        .says("round 2 value: the first wrong step of");
    let left = world.left("a");
    assert!(!left.join("round-1/value").exists(), "no trunk has searched in the first round");
    assert!(!left.join("round-2/train").exists(), "and the run ended with values");
    for level in ["steps", "outcome"] {
        let measured = metrics(&world, &format!("round-2/value-{level}/metrics.json"));
        assert!(measured["report"]["places"].as_u64().unwrap() > 20, "{measured}");
        assert!(left.join(&format!("round-2/value-{level}/value_head.safetensors")).exists());
    }
    let plot = world.qstill(&["bakeoff", "runs/a", "--budgets", "48,96", "--json"]).done().json();
    let rows = plot["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 5 * 2, "{plot}");
    let matches: Vec<Match> = left.rows("round-2/bakeoff");
    assert!(matches.iter().all(|m| m.tokens <= m.budget && m.policy_flops > 0));
    assert!(matches.iter().any(|m| m.search == "astar" && m.value_flops > 0), "values were asked");
    let chosen = world
        .qstill(&["bakeoff", "runs/a", "--goal", "chosen", "--budgets", "96", "--search", "beam", "--json"])
        .done()
        .json();
    assert!(
        chosen["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| r["majority"].is_number() && r["weighted"].is_number()),
        "{chosen}"
    );

    let plot = world.qstill(&["bakeoff", "runs/a", "--select", "2,4", "--json"]).done().json();
    let of = |judge: &str, n: u64| {
        let rows = plot["rows"].as_array().unwrap();
        rows.iter().find(|r| r["judge"] == judge && r["n"] == n).unwrap()["accuracy"].as_f64().unwrap()
    };
    for n in [2, 4] {
        assert!(
            ["majority", "PRM last, best", "ORM, weighted vote"]
                .iter()
                .all(|judge| of(judge, n) <= of("oracle", n) + 1e-9),
            "{plot}"
        );
    }
    let drawn: Vec<Selection> = left.rows("round-2/selection");
    assert_eq!(drawn.len(), 12 * 4);
    assert!(drawn.iter().all(|s| s.outcome.is_some() && s.values.len() >= s.steps as usize));
    let shown = world.qstill(&["inspect", "runs/a", "--json"]).done().json();
    let stages: Vec<&str> =
        shown["stages"].as_array().unwrap().iter().filter_map(|stage| stage["stage"].as_str()).collect();
    assert!(stages.contains(&"bakeoff") && stages.contains(&"selection"), "{stages:?}");
}

#[test]
fn a_student_can_learn_values_beside_its_tokens_and_a_decoder_values_alone() {
    let world = World::new();
    let sets = [
        "value.model=decoder",
        "value.epochs=2",
        "value.states=4",
        "value.holdout=0.5",
        "train.value_weight=0.5",
        "problems.train=32",
    ];
    world.run("a", &sets).done();
    let left = world.left("a");
    assert!(left.join("round-1/value-steps/model.safetensors").exists());
    for head in ["round-1/value-steps/value_head.safetensors", "round-1/student/value_head.safetensors"] {
        assert!(left.join(head).exists(), "{head}");
    }
    // The next round asks the decoder.
    world.run("a", &[&sets[..], &["run.rounds=2"]].concat()).done();
    let solutions: Vec<Solution> = left.rows("round-2/search");
    assert!(
        solutions
            .iter()
            .filter(|s| s.policy == "model")
            .flat_map(|s| &s.steps)
            .any(|step| step.value.is_finite())
    );
    world
        .qstill(&["stage", "value", "runs/a", "--set", "value.model=none"])
        .fails(64, &["the run has no value stage"]);
}
