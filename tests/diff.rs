//! `qstill diff`: what it says of two runs, and of two rounds of one, is what their tables say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use datasets::table::{Dropped, Evaluation, Node, VerdictRow};
use datasets::types::{Kept, Problem, Verdict};
use serde_json::Value;

use crate::kit::{Left, World};

const SETS: &[&str] = &["run.rounds=2", "search.samples=2", "search.rule_solutions=3"];
/// A poorer search.
const POOR: &[&str] =
    &["run.rounds=2", "search.samples=2", "search.rule_solutions=3", "search.rule_expansions=4"];

/// The one arm of a model and rounds.
#[track_caller]
fn arm<'a>(found: &'a Value, model: &str, rounds: [u64; 2]) -> &'a Value {
    let is = |arm: &&Value| arm["model"] == model && arm["rounds"] == serde_json::json!(rounds);
    let arms: Vec<&Value> = found["arms"].as_array().unwrap().iter().filter(is).collect();
    assert_eq!(arms.len(), 1, "{model} {rounds:?}: {found:#}");
    arms[0]
}

fn ids(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|moved| moved["problem_id"].as_str().unwrap().to_owned()).collect()
}

/// By problem, whether a measured model solves it.
fn solved(left: &Left, round: u32, model: &str) -> BTreeMap<String, bool> {
    let rows: Vec<Evaluation> = left.rows(&format!("round-{round}/evaluate"));
    rows.into_iter()
        .filter(|r| r.model == model && r.sample == 0)
        .map(|r| (r.problem_id, r.correct))
        .collect()
}

/// By searched problem, whether a right solution was found.
fn found(left: &Left, round: u32) -> BTreeMap<String, bool> {
    let nodes: Vec<Node> = left.rows(&format!("round-{round}/search"));
    let mut all: BTreeMap<String, bool> = nodes.into_iter().map(|node| (node.problem_id, false)).collect();
    for row in left.rows::<VerdictRow>(&format!("round-{round}/verify")) {
        *all.entry(row.problem_id).or_default() |= row.judgement.verdict == Verdict::Correct;
    }
    all
}

/// Expects of an arm what these say.
#[track_caller]
fn agrees(arm: &Value, a: &BTreeMap<String, bool>, b: &BTreeMap<String, bool>) -> (usize, usize) {
    let both: Vec<&String> = a.keys().filter(|id| b.contains_key(*id)).collect();
    let only = |x: &BTreeMap<String, bool>, y: &BTreeMap<String, bool>| -> BTreeSet<String> {
        both.iter().filter(|id| x[**id] && !y[**id]).map(|id| (*id).clone()).collect()
    };
    let count = |x: &BTreeMap<String, bool>| both.iter().filter(|id| x[**id]).count() as u64;
    assert_eq!(arm["problems"], serde_json::json!([a.len(), b.len(), both.len()]));
    assert_eq!(arm["a"]["solved"]["count"].as_u64(), Some(count(a)));
    assert_eq!(arm["b"]["solved"]["count"].as_u64(), Some(count(b)));
    let (won, lost) = (only(b, a), only(a, b));
    assert_eq!((ids(&arm["won"]), ids(&arm["lost"])), (won.clone(), lost.clone()));
    assert_eq!(arm["won_count"].as_u64(), Some(won.len() as u64));
    (won.len(), lost.len())
}

#[test]
fn two_runs_on_the_same_problems() {
    let world = World::new();
    world.run("a", SETS).done();
    world.run("b", POOR).done();
    let (a, b) = (world.left("a"), world.left("b"));
    let before = (a.files(), b.files());
    let diff = world.qstill(&["diff", "runs/a", "runs/b", "--json", "--limit", "0"]).done().json();
    assert_eq!((a.files(), b.files()), before, "nothing is written");

    let settings = diff["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 1, "{settings:?}");
    assert_eq!(settings[0]["key"], "search.rule_expansions");
    assert_eq!(settings[0]["b"], "4");
    assert!(diff["notes"].as_array().unwrap().is_empty(), "{}", diff["notes"]);

    for round in [1u32, 2] {
        for model in ["student", "search*"] {
            let stored = if model == "search*" { "teacher" } else { model };
            let rounds = [u64::from(round); 2];
            agrees(arm(&diff, model, rounds), &solved(&a, round, stored), &solved(&b, round, stored));
        }
        let of = |left: &Left| found(left, round);
        let (_, lost) = agrees(arm(&diff, "search", [u64::from(round); 2]), &of(&a), &of(&b));
        assert!(lost > 0 || round > 1, "a search of 4 expansions misses some");
        let rows: Vec<Kept> = a.rows(&format!("round-{round}/curate"));
        let kept: BTreeSet<String> = rows.into_iter().map(|row| row.problem_id).collect();
        let kept_arm = arm(&diff, "curate", [u64::from(round); 2]);
        assert_eq!(kept_arm["a"]["solved"]["count"].as_u64(), Some(kept.len() as u64));
    }
    // Where nothing is won, McNemar's p is that of as many heads in a row, or tails.
    let search = arm(&diff, "search", [1, 1]);
    assert_eq!(search["won_count"], 0);
    let p = 2.0 * 0.5f64.powi(search["lost_count"].as_i64().unwrap() as i32);
    assert!((search["mcnemar_p"].as_f64().unwrap() - p).abs() < 1e-12, "{search}");
    let moved = &arm(&diff, "search", [1, 1])["lost"][0];
    let problems: Vec<Problem> = a.rows("problems");
    let problem = problems.iter().find(|problem| moved["problem_id"] == *problem.problem_id).unwrap();
    assert_eq!(moved["question"], *problem.question);

    // Counts are those of the records, and rows those of the tables.
    let count = |stage: &str, what: &str, round: u64, side: &str| {
        let all = diff["counts"].as_array().unwrap();
        let is = |c: &&Value| c["stage"] == stage && c["what"] == what && c["rounds"][0] == round;
        all.iter().find(is).map_or(0, |count| count[side].as_i64().unwrap())
    };
    for (left, side) in [(&a, "a"), (&b, "b")] {
        let dropped: Vec<Dropped> = left.rows("round-1/curate");
        assert_eq!(count("curate", "dropped", 1, side), dropped.len() as i64);
        let over = dropped.iter().filter(|row| row.reason == "over_cap").count() as i64;
        assert_eq!(count("curate", "dropped over_cap", 1, side), over);
        assert_eq!(count("search", "nodes", 2, side), left.rows::<Node>("round-2/search").len() as i64);
    }

    let text = world.qstill(&["diff", "runs/a", "runs/b", "--limit", "1"]).done().stdout;
    for part in ["A  runs/a, rounds 1 to 2", "search.rule_expansions", "found by search", "1 shown", "won"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour in a pipe");
    // A run beside itself differs in nothing.
    fs::rename(world.path("runs/b"), world.path("runs/c")).unwrap();
    crate::kit::copy_tree(&a.0, &world.path("runs/b"));
    let same = world.qstill(&["diff", "runs/a", "runs/b"]).done().stdout;
    assert!(same.contains("the same\n") && !same.contains(" won,"), "{same}");
    assert!(!same.contains("B - A"), "{same}");
}

#[test]
fn two_rounds_of_one_run() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let diff = world.qstill(&["diff", "runs/a", "--json", "--limit", "0"]).done().json();
    agrees(arm(&diff, "base to student", [1, 2]), &solved(&left, 1, "base"), &solved(&left, 2, "student"));
    agrees(arm(&diff, "student", [1, 2]), &solved(&left, 1, "student"), &solved(&left, 2, "student"));
    agrees(arm(&diff, "search", [1, 2]), &found(&left, 1), &found(&left, 2));
    assert_eq!(world.qstill(&["diff", "a", "--rounds", "1,2", "--json", "--limit", "0"]).done().json(), diff);
    // The other way round, what was won is lost.
    let back = world.qstill(&["diff", "a", "a", "--rounds", "2,1", "--json", "--limit", "0"]).done().json();
    assert_eq!(arm(&back, "search", [2, 1])["lost"], {
        let mut won = arm(&diff, "search", [1, 2])["won"].clone();
        for moved in won.as_array_mut().unwrap() {
            let (a, b) = (moved["a"].clone(), moved["b"].clone());
            (moved["a"], moved["b"]) = (b, a);
        }
        won
    });
    let text = world.qstill(&["diff", "runs/a"]).done().stdout;
    assert!(text.contains("base to student") && text.contains("1, 2"), "{text}");
    assert!(!text.contains("settings"), "one run has one configuration: {text}");

    world.qstill(&["diff", "runs/a", "--rounds", "1,3"]).fails(64, &["no round 3", "rounds 1 to 2"]);
    world.qstill(&["diff", "runs/a", "--rounds", "2,2"]).fails(64, &["compared with itself"]);
    world.qstill(&["diff", "runs/a", "runs/none"]).fails(65, &["runs/none is not a run"]);
}

#[test]
fn other_problems_and_other_verifiers_are_said() {
    let world = World::new();
    let one = ["search.samples=2", "search.rule_solutions=3"];
    world.run("a", &one).done();
    world
        .run("b", &[&one[..], &["problems.test=6", "evaluate.teacher=false", "evaluate.samples=2"]].concat())
        .done();
    let fingerprint = world.path("runs/b/round-1/verify/fingerprint.json");
    let text = fs::read_to_string(&fingerprint).unwrap();
    let mut fields: Value = serde_json::from_str(&text).unwrap();
    fields["verifier"] = Value::from("999");
    fs::write(&fingerprint, fields.to_string()).unwrap();
    let diff = world.qstill(&["diff", "runs/a", "runs/b", "--json"]).done().json();
    let notes: Vec<&str> = diff["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    let said = |part: &str| assert!(notes.iter().any(|n| n.contains(part)), "`{part}` is not in {notes:#?}");
    said("the test problems are not the same: 4 in A, 6 in B, ");
    said("in B: verdicts may differ for that alone");
    said("evaluate: evaluate.samples is 1 in A and 2 in B: answers were asked for in another way");
    said("B has no answers of search* in round 1");
    let student = arm(&diff, "student", [1, 1]);
    let (a, b) = (solved(&world.left("a"), 1, "student"), solved(&world.left("b"), 1, "student"));
    agrees(student, &a, &b);
    let shared = a.keys().filter(|id| b.contains_key(*id)).count();
    let text = world.qstill(&["diff", "runs/a", "runs/b"]).done().stdout;
    assert!(text.contains(&format!("A has 4 problems, B 6, both {shared}")), "{text}");
}
