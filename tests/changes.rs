//! A changed setting: what depends on it is done again, the rest is not, and the reason is told.

use std::collections::BTreeMap;

use datasets::types::Kept;

use crate::kit::{World, names};

#[test]
fn a_smaller_cap_redoes_what_follows_from_it() {
    let world = World::new();
    let old = world.run("a", &["curate.per_problem=2"]).done();
    let run = world.left("a");
    let (before, kept) = (run.product(), run.rows::<Kept>("round-1/curate").len());

    let outcome = world.qstill(&["resume", "runs/a", "--set", "curate.per_problem=1"]).done();
    for part in [
        "problems: complete, skipped",
        "round 1 search: complete, skipped",
        "round 1 verify: complete, skipped",
    ] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    for part in [
        "round 1 curate is outstanding again: curate.per_problem 2 -> 1",
        "round 1 train is outstanding again: kept.round 1",
        "round 1 evaluate is outstanding again: ",
    ] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    assert!(old.stdout.starts_with("round  model") && outcome.stdout.starts_with("round  model"));

    let mut of_problem: BTreeMap<String, usize> = BTreeMap::new();
    for row in run.rows::<Kept>("round-1/curate") {
        *of_problem.entry(row.problem_id).or_default() += 1;
    }
    assert!(of_problem.values().all(|count| *count == 1) && of_problem.len() < kept);
    let stale = run.join("round-1/curate/stale");
    let set_aside =
        names(&stale).iter().flat_map(|fingerprint| names(&stale.join(fingerprint))).collect::<Vec<_>>();
    assert!(
        before
            .keys()
            .filter(|path| path.starts_with("round-1/curate/"))
            .all(|path| set_aside.iter().any(|name| path.ends_with(name)))
    );

    // The same as a run that had the setting from the start.
    world.run("b", &["curate.per_problem=1"]).done();
    run.equals(&world.left("b"));
    // And it is remembered.
    world.resume("a").done().says("round 1 curate: complete, skipped");
}

#[test]
fn what_does_not_change_the_rows_is_no_reason_to_make_them_again() {
    let world = World::new();
    world.run("a", &[]).done();
    let sets = ["train.checkpoint_every=7", "endpoint.retries=1", "endpoint.timeout_s=3.5"];
    let arguments: Vec<&str> =
        ["resume", "runs/a"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    let outcome = world.qstill(&arguments).done();
    assert!(!outcome.stderr.contains("outstanding again"), "{}", outcome.stderr);
}

#[test]
fn one_stage_at_a_time() {
    let world = World::new();
    let order = ["problems", "search", "verify", "curate", "train", "evaluate"];
    let all = crate::kit::of_preset("demo", "stage problems", "a", &[]);
    world.qstill(&all).done();
    // Too early: it says what is missing.
    world
        .qstill(&["stage", "curate", "runs/a"])
        .fails(75, &["round 1 search is not complete", "qstill stage search runs/a"]);
    for stage in order {
        let outcome = world.qstill(&["stage", stage, "runs/a"]).done();
        assert_eq!(outcome.stdout.is_empty(), stage != "evaluate", "{}", outcome.stdout);
    }
    world.run("b", &[]).done();
    world.left("a").equals(&world.left("b"));
    world.qstill(&["stage", "search", "runs/a", "--round", "2"]).fails(64, &["there is no round 2"]);
}

#[test]
fn a_run_of_an_earlier_version_is_refused_in_one_line() {
    let world = World::new();
    world.run("a", &[]).done();
    let path = world.left("a").join("problems/fingerprint.json");
    let mut fields: BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(fields.remove("format").is_some());
    std::fs::write(&path, serde_json::to_vec(&fields).unwrap()).unwrap();
    let before = world.left("a").product();
    let said = ["runs/a was made by an earlier version", "qstill run --config runs/a/run.toml --run NAME"];
    world.resume("a").fails(64, &said);
    world.qstill(&["status", "runs/a"]).fails(64, &said);
    assert_eq!(world.left("a").product(), before, "nothing is touched");
}

/// Gate and evaluation go in shards of problems, and what they say does not depend on their size.
#[test]
fn models_are_measured_in_shards_of_problems() {
    let world = World::new();
    let found = ["3", "16"].map(|size| {
        let size = format!("run.shard_size={size}");
        let sets = [
            "run.rounds=2",
            "search.policy=model",
            "problems.validation=6",
            "problems.test=7",
            "gate.samples=1",
            size.as_str(),
        ];
        world.run(&size, &sets).done();
        let run = world.left(&size);
        let shards = ["gate", "evaluate"].map(|stage| run.commits(&format!("round-1/{stage}")).len());
        let mut rows = run.evaluation()["rows"].clone();
        for row in rows.as_array_mut().unwrap() {
            assert_eq!(row["problems"], 7, "{row}");
            assert!(row.as_object_mut().unwrap().remove("seconds").unwrap().as_f64().unwrap() > 0.0);
        }
        let models = rows.as_array().unwrap().iter().filter(|row| row["round"] == 1).count();
        assert!(models >= 2 && shards[1] % models == 0);
        let gate = std::fs::read_to_string(run.join("round-1/gate.json")).unwrap();
        (rows, gate, shards[0], shards[1] / models)
    });
    assert_eq!((&found[0].0, &found[0].1), (&found[1].0, &found[1].1));
    assert_eq!([found[0].2, found[0].3, found[1].2, found[1].3], [2, 3, 1, 1]);
}
