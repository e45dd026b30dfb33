//! Curation as the user sees it: the story of a solution, what is held out, the gate before training, the
//! further tables.

use std::collections::{BTreeMap, BTreeSet};

use datasets::table::{Dropped, Preference, StepLabels};
use datasets::types::{Kept, Problem, Solution};
use serde_json::Value;

use crate::kit::{Left, World, of_preset};

/// Problems with 1-step rules, searched and sampled at random: right and wrong solutions without a model.
const SAMPLED: &[&str] = &["search.policy=rules", "search.samples=12", "search.rule_solutions=3"];

/// Runs the stages up to curate.
fn curated(world: &World, name: &str, sets: &[&str]) -> Left {
    let sets: Vec<&str> = SAMPLED.iter().chain(sets).copied().collect();
    world.qstill(&of_preset("demo", "stage problems", name, &sets)).done();
    for stage in ["search", "verify", "curate"] {
        world.qstill(&["stage", stage, &format!("runs/{name}")]).done();
    }
    world.left(name)
}

fn reasons(run: &Left) -> BTreeMap<String, i64> {
    let mut reasons = BTreeMap::new();
    for row in run.rows::<Dropped>("round-1/curate") {
        *reasons.entry(row.reason).or_default() += 1;
    }
    reasons
}

#[test]
fn the_tables_agree_with_the_commit_records_and_with_every_story() {
    let world = World::new();
    let run = curated(&world, "a", &["curate.per_problem=1", "curate.drop_ambiguous=false"]);
    let solutions: Vec<Solution> = run.rows("round-1/search");
    let (kept, dropped): (Vec<Kept>, Vec<Dropped>) = (run.rows("round-1/curate"), run.rows("round-1/curate"));
    let count = |key: &str| run.count("round-1/curate", key);
    assert_eq!((count("kept"), count("dropped")), (kept.len() as i64, dropped.len() as i64));
    assert_eq!(count("units"), solutions.len() as i64);
    assert_eq!(kept.len() + dropped.len(), solutions.len());
    for (reason, n) in reasons(&run) {
        assert_eq!(count(&format!("dropped {reason}")), n, "{reason}");
    }
    let seen: BTreeSet<String> = reasons(&run).into_keys().collect();
    for reason in ["not_correct", "duplicate", "over_cap"] {
        assert!(seen.contains(reason), "{seen:?}");
    }

    // One story for each end.
    let mut ends: BTreeMap<String, String> =
        dropped.iter().map(|d| (d.reason.clone(), d.solution_id.clone())).collect();
    ends.insert("kept".into(), kept[0].solution_id.clone());
    for (end, id) in ends {
        let story = world.qstill(&["curate", "runs/a", "--explain", &id, "--json"]).done().json();
        assert_eq!(
            (&story["end"], &story["recorded"]),
            (&Value::from(end.clone()), &Value::from(end.clone())),
            "{story}"
        );
        let rules = story["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 15);
        let drops = rules.iter().find(|rule| rule["outcome"] == "drops");
        assert_eq!(drops.map_or("kept", |rule| rule["rule"].as_str().unwrap()), end);
        if end == "duplicate" || end == "over_cap" {
            let other = story["other"].as_str().unwrap();
            assert!(
                solutions.iter().any(|s| s.solution_id == other && s.problem_id == story["problem_id"]),
                "{story}"
            );
        }
        let text = world.qstill(&["curate", "runs/a", "--explain", &id[..12]]).done().stdout;
        for part in [
            id.as_str(),
            "question",
            "gold",
            "verdict",
            "rule",
            if end == "kept" { "with weight" } else { end.as_str() },
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        assert!(!text.contains("note"), "{text}");
    }
    // Another setting, only to see what it would do.
    let id = &kept[0].solution_id;
    let other =
        world.qstill(&["curate", "runs/a", "--explain", id, "--set", "curate.duplicates=off"]).done().stdout;
    assert!(other.contains("skips"), "{other}");
}

#[test]
fn stories_that_cannot_be_told() {
    let world = World::new();
    curated(&world, "a", &[]);
    world
        .qstill(&["curate", "runs/a", "--explain", "zz"])
        .fails(65, &["no solution whose id begins with `zz`", "qstill inspect"]);
    world
        .qstill(&["curate", "runs/a", "--explain", ""])
        .fails(65, &["solutions have an id that begins with ``", "give more of the id"]);
    world.qstill(&["curate", "runs/none", "--explain", "aa"]).fails(65, &["runs/none is not a run"]);
    let round = world.qstill(&["curate", "runs/a", "--round", "7"]);
    round.fails(64, &["there is no round 7"]);
    assert_eq!(world.qstill(&["curate", "runs/a", "--json"]).code, Some(64), "it is for stories");
    world
        .qstill(&["curate", "runs/a", "--set", "curate.faults=[\"sloppy\"]"])
        .fails(64, &["sloppy", "false_equation, contradiction"]);
    world
        .qstill(&["curate", "runs/a", "--set", "curate.max_repetition=2"])
        .fails(64, &["curate.max_repetition is 2"]);
    world
        .qstill(&["curate", "runs/a", "--set", "curate.choose=likelihood"])
        .fails(64, &["likelihood", "diverse"]);
}

#[test]
fn the_command_is_the_stage() {
    let world = World::new();
    let run = curated(&world, "a", &["curate.per_problem=2"]);
    let before = run.product();
    world.qstill(&["curate", "runs/a"]).done().says("round 1 curate: complete, skipped");
    assert!(before == run.product());
    world
        .qstill(&["curate", "runs/a", "--set", "curate.per_problem=1"])
        .done()
        .says("curate.per_problem 2 -> 1");
    assert!(
        run.rows::<Kept>("round-1/curate").len() < before.len() * 1000
            && reasons(&run).contains_key("over_cap")
    );
}

#[test]
fn labels_and_pairs() {
    let world = World::new();
    let run = curated(&world, "a", &["curate.preferences=3"]);
    let solutions: BTreeMap<String, Solution> =
        run.rows::<Solution>("round-1/search").into_iter().map(|s| (s.solution_id.clone(), s)).collect();
    let kept: BTreeSet<String> =
        run.rows::<Kept>("round-1/curate").into_iter().map(|k| k.solution_id).collect();
    let labels: Vec<StepLabels> = run.rows("round-1/curate");
    let pairs: Vec<Preference> = run.rows("round-1/curate");
    assert!(
        labels.iter().any(|row| row.labels.contains(&false))
            && labels.iter().any(|row| !row.labels.contains(&false))
    );
    for row in &labels {
        let steps: Vec<&str> = solutions[&row.solution_id].steps.iter().map(|s| s.text.as_str()).collect();
        assert!(steps.iter().zip(&row.completions).all(|(a, b)| a == b), "{row:?}");
        assert!(row.labels[..row.labels.len() - 1].iter().all(|label| *label));
    }
    assert!(!pairs.is_empty());
    let mut of_problem: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in &pairs {
        assert!(kept.contains(&pair.chosen_id) && !kept.contains(&pair.rejected_id));
        assert!(pair.chosen != pair.rejected && pair.margin > 0.0);
        assert_eq!(solutions[&pair.chosen_id].problem_id, solutions[&pair.rejected_id].problem_id);
        *of_problem.entry(&pair.problem_id).or_default() += 1;
    }
    assert!(of_problem.values().all(|n| *n <= 3));
    assert_eq!(run.count("round-1/curate", "step_labels"), labels.len() as i64);
    assert_eq!(run.count("round-1/curate", "preferences"), pairs.len() as i64);

    // Switched off, a table without rows is not written.
    world
        .qstill(&["curate", "runs/a", "--set", "curate.step_labels=false", "--set", "curate.preferences=0"])
        .done();
    assert!(
        run.rows::<StepLabels>("round-1/curate").is_empty()
            && run.rows::<Preference>("round-1/curate").is_empty()
    );
    assert!(
        crate::kit::names(&run.join("round-1/curate/shards"))
            .iter()
            .all(|name| !name.contains("labels") && !name.contains("pref"))
    );
}

#[test]
fn files_can_be_held_out() {
    let world = World::new();
    let run = curated(&world, "a", &[]);
    assert!(!reasons(&run).contains_key("contaminated"));
    let kept: Vec<Kept> = run.rows("round-1/curate");
    let question = kept[0].prompt.clone();
    let problem = kept[0].problem_id.clone();
    // One row, of another hand: no answer, other case and punctuation.
    world.write(
        "held.jsonl",
        serde_json::json!({"question": question.to_uppercase().replace('.', " !")}).to_string() + "\n",
    );
    world
        .qstill(&["curate", "runs/a", "--set", "curate.held_out_files=held.jsonl"])
        .done()
        .says("held_out_files");
    assert!(run.rows::<Kept>("round-1/curate").iter().all(|k| k.problem_id != problem));
    let dropped: Vec<Dropped> = run.rows("round-1/curate");
    let evidence = dropped
        .iter()
        .find(|d| d.problem_id == problem && d.reason == "contaminated")
        .unwrap()
        .evidence
        .clone();
    assert!(evidence.contains("held.jsonl row 1"), "{evidence}");
    assert!(
        dropped.iter().filter(|d| d.reason == "contaminated").all(|d| d.problem_id == problem),
        "and nothing else"
    );

    world.write("held.jsonl", "no json\n");
    world.qstill(&["curate", "runs/a"]).fails(65, &["held.jsonl"]);
    world
        .qstill(&["curate", "runs/a", "--set", "curate.held_out_files=none.jsonl"])
        .fails(65, &["none.jsonl"]);
}

#[test]
fn training_refuses_what_the_test_split_asks() {
    let world = World::new();
    let rows = crate::files::worked(0, 20);
    let test = crate::files::worked(40, 3);
    // Not word for word, so that problems lets it pass.
    let mut train = rows.clone();
    train.push((test[1].0.to_uppercase(), test[1].1.clone()));
    world.write_rows("train.jsonl", &train);
    world.write_rows("test.jsonl", &test);
    let sets = [
        "problems.source=files",
        "problems.train_files=[\"train.jsonl\"]",
        "problems.test_files=[\"test.jsonl\"]",
        "problems.train=0",
        "problems.test=0",
        "problems.validation=0",
        "problems.validation_share=0",
        "search.policy=none",
        "curate.faults=[]",
    ];
    let off = [&sets[..], &["curate.contamination=off"]].concat();
    let said = [
        "1 of ",
        "leak the test split",
        "asks what test problem",
        "curate.contamination",
        "train.allow_leaks",
    ];
    world.run("off", &off).fails(65, &said);
    let leaked = |run: &Left| {
        let problems: Vec<Problem> = run.rows("problems");
        problems.iter().find(|p| p.question == test[1].0.to_uppercase()).unwrap().problem_id.clone()
    };
    let run = world.left("off");
    assert!(run.rows::<Kept>("round-1/curate").iter().any(|k| k.problem_id == leaked(&run)));
    // The rule takes it out, and training goes on.
    world.qstill(&["resume", "runs/off", "--set", "curate.contamination=same_numbers"]).done();
    assert!(run.rows::<Kept>("round-1/curate").iter().all(|k| k.problem_id != leaked(&run)));
    assert!(reasons(&run).contains_key("contaminated"));
    world.run("allowed", &[&off[..], &["train.allow_leaks=true"]].concat()).done();
}

#[test]
fn the_benchmark_accounts_for_what_it_made_and_leaves_nothing() {
    let world = World::new();
    std::fs::create_dir(world.path("here")).unwrap();
    let report = world.qstill(&["bench", "curate", "--solutions", "320", "--dir", "here"]).done().json();
    let count = |key: &str| report[key].as_u64().unwrap();
    assert_eq!((count("solutions"), count("problems"), count("kept") + count("dropped")), (320, 20, 320));
    assert!(
        count("kept") > 0
            && count("step_labels") > 0
            && report["solutions_per_second"].as_f64().unwrap() > 0.0,
        "{report}"
    );
    assert!(crate::kit::names(&world.path("here")).is_empty());
}

#[test]
fn siblings_tell_what_is_right_by_chance() {
    let world = World::new();
    let words = [
        "problems.train=1200",
        "problems.max_operations=3",
        "search.policy=none",
        "search.rule_steps=3",
        "curate.drop_ambiguous=false",
        "curate.use_all_numbers=false",
    ];
    let right = |name: &str, sets: &[&str]| {
        let sets: Vec<&str> = words.iter().chain(sets).copied().collect();
        let run = curated(&world, name, &sets);
        let report = world.qstill(&["audit", &format!("runs/{name}"), "--json"]).done().json();
        let line = report["rows"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["of"] == "kept" && row["algorithm"] == "all" && row["operations"].is_null());
        (run, line.unwrap()["share"].as_f64().unwrap())
    };
    let (plain, share) = right("plain", &["curate.per_problem=1"]);
    let (judged, confirmed) = right("judged", &["curate.per_problem=1", "curate.min_siblings=1"]);
    assert!(share < 0.9 && confirmed > 0.95, "{share} of all, {confirmed} of what siblings confirm");
    let (seen, rows) = (reasons(&judged), judged.rows::<Kept>("round-1/curate").len());
    assert!(seen["refuted"] > 20 && seen["unconfirmed"] > 50 && rows > 100, "{seen:?}, {rows} kept");
    assert!(!reasons(&plain).contains_key("refuted"));
    let dropped: Vec<Dropped> = judged.rows("round-1/curate");
    for reason in ["refuted", "unconfirmed"] {
        let row = dropped.iter().find(|row| row.reason == reason).unwrap();
        let story =
            world.qstill(&["curate", "runs/judged", "--explain", &row.solution_id, "--json"]).done().json();
        assert_eq!(
            (&story["end"], &story["evidence"]),
            (&Value::from(reason), &Value::from(row.evidence.clone())),
            "{story}"
        );
    }

    // With that as the goal of the enumeration fewer states are looked at, for more rows.
    let (aimed, share) =
        right("aimed", &["curate.min_siblings=1", "search.rules_on=siblings", "search.rule_solutions=1"]);
    assert!(share > 0.95, "{share}");
    assert!(aimed.rows::<Kept>("round-1/curate").len() >= rows);
    assert!(aimed.count("round-1/search", "looked_at") < 1200);
    assert!(aimed.count("round-1/search", "expansions") < judged.count("round-1/search", "expansions") / 2);
}

#[test]
fn exports_have_one_form_each() {
    let world = World::new();
    let run = curated(&world, "a", &["curate.preferences=3"]);
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let all = [&["export", "runs/a"], arguments].concat();
        let out = world.qstill(&all).done().stdout;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let kept: Vec<Kept> = run.rows("round-1/curate");
    let turn = |role: &str, content: &str| serde_json::json!({"role": role, "content": content});
    let (messages, apart) = (lines(&[]), lines(&["--form", "prompt-completion"]));
    // Within a round a text may come from several solutions; it is learned once.
    let distinct: BTreeSet<(&str, &str)> =
        kept.iter().map(|row| (row.problem_id.as_str(), row.completion.as_str())).collect();
    assert_eq!((messages.len(), apart.len()), (distinct.len(), distinct.len()));
    let first = &kept[0];
    let (asked, said) = (turn("user", &first.prompt), turn("assistant", &first.completion));
    assert_eq!(messages[0]["messages"], serde_json::json!([asked, said]));
    assert!(messages.iter().all(|row| row.get("prompt").is_none() && row.get("completion").is_none()));
    assert_eq!(
        (&apart[0]["prompt"], &apart[0]["completion"]),
        (&serde_json::json!([asked]), &serde_json::json!([said]))
    );
    assert!(apart.iter().all(|row| row.get("messages").is_none() && row["weight"].as_f64().unwrap() > 0.0));
    let pairs = lines(&["--table", "preferences"]);
    assert_eq!(pairs.len() as i64, run.count("round-1/curate", "preferences"));
    assert!(
        pairs.iter().all(|row| row["chosen"][0]["role"] == "assistant" && row["prompt"][0]["role"] == "user")
    );
    let labels = lines(&["--table", "step-labels", "--round", "1"]);
    assert_eq!(labels.len() as i64, run.count("round-1/curate", "step_labels"));
    assert!(labels[0]["prompt"].is_string() && labels[0]["labels"].is_array());
    world
        .qstill(&["export", "runs/a", "--round", "2", "--table", "preferences"])
        .fails(65, &["nothing is curated"]);
    assert_eq!(world.qstill(&["export", "runs/a", "--table", "solutions"]).code, Some(64));
}
