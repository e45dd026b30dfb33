//! `qstill show`: one problem through all tables, of whole runs and of unfinished ones.

use std::collections::BTreeMap;

use datasets::table::{Dropped, Evaluation, Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Split};
use serde_json::Value;

use crate::kit::{Outcome, World, of_preset};

/// Right and wrong samples beside the enumeration.
const SETS: &[&str] = &[
    "search.policy=rules",
    "search.samples=6",
    "search.rule_solutions=3",
    "curate.per_problem=2",
    "evaluate.samples=2",
];

fn show(world: &World, arguments: &[&str]) -> Outcome {
    world.qstill(&[&["show", "runs/a"], arguments].concat())
}

#[test]
fn all_that_the_tables_say_of_a_problem() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let problems: Vec<Problem> = left.rows("problems");
    let solutions: Vec<Solution> = left.rows("round-1/search");
    let (kept, dropped): (Vec<Kept>, Vec<Dropped>) =
        (left.rows("round-1/curate"), left.rows("round-1/curate"));
    let verdicts: Vec<VerdictRow> = left.rows("round-1/verify");
    let nodes: Vec<Node> = left.rows("round-1/search");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, problem) in problems.iter().enumerate().filter(|(_, p)| p.split == Split::Train) {
        let id = problem.problem_id.as_str();
        let sheet = show(&world, &[id, "--json"]).done().json();
        assert_eq!(sheet["number"].as_u64(), Some(number as u64 + 1));
        assert_eq!(sheet["question"].as_str(), Some(problem.question.as_str()));
        let round = &sheet["rounds"][0];
        let shown =
            round["trees"].as_array().unwrap().iter().map(|tree| tree["nodes"].as_array().unwrap().len());
        assert_eq!(shown.sum::<usize>(), nodes.iter().filter(|node| node.problem_id == id).count(), "{id}");
        let of_problem: Vec<&Solution> = solutions.iter().filter(|s| s.problem_id == id).collect();
        let shown = round["solutions"].as_array().unwrap();
        assert_eq!(shown.len(), of_problem.len());
        for (shown, solution) in shown.iter().zip(of_problem) {
            let id = solution.solution_id.as_str();
            assert_eq!(shown["solution_id"].as_str(), Some(id));
            assert_eq!(shown["steps"].as_array().unwrap().len(), solution.steps.len());
            let verdict = verdicts.iter().find(|row| row.solution_id == id).unwrap();
            assert_eq!(shown["verdict"].as_str(), Some(verdict.judgement.verdict.name()));
            let fate = match dropped.iter().find(|row| row.solution_id == id) {
                Some(row) => {
                    assert_eq!(shown["reason"].as_str(), Some(row.reason.as_str()), "{shown}");
                    assert_eq!(shown["evidence"].as_str(), Some(row.evidence.as_str()));
                    "dropped"
                }
                None => {
                    assert!(kept.iter().any(|row| row.solution_id == id));
                    "kept"
                }
            };
            assert_eq!(shown["fate"].as_str(), Some(fate));
            *ends.entry(fate).or_default() += 1;
        }
    }
    assert_eq!((ends["kept"], ends["dropped"]), (kept.len(), dropped.len()));

    // The same for people: the path that was kept, and why the others were not.
    let id = &kept[0].problem_id;
    let text = show(&world, &[id]).done().stdout;
    let question: String = kept[0].prompt.chars().take(20).collect();
    for part in [&*question, "tree ", "visits", "(start)", "solution  *", "kept, weight", "for training"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    for step in kept[0].completion.lines().filter(|line| !line.starts_with('#')) {
        assert!(text.contains(step), "`{step}` is not in:\n{text}");
    }
    let whole = show(&world, &[id, "--solutions", "0", "--nodes", "0"]).done().stdout;
    for row in dropped.iter().filter(|row| row.problem_id == *id) {
        assert!(whole.contains(&format!("dropped as {}", row.reason)), "{whole}");
    }
    let few = show(&world, &[id, "--solutions", "1", "--nodes", "3"]).done().stdout;
    assert!(few.contains("more solutions: ") && few.len() < whole.len(), "{few}");
    assert!(few.contains(" more: ") && !few.contains('\u{1b}'), "no colour in a pipe: {few}");

    // One solution alone, by its own id.
    let (one, other) = (&dropped[0], &kept[0]);
    let text = show(&world, &[&one.solution_id[..12]]).done().stdout;
    for part in [&*one.problem_id, &one.solution_id, &format!("dropped as {}", one.reason), "round 1"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(!text.contains("tree ") && !text.contains(&other.solution_id), "{text}");
    assert_eq!(text.matches("solution  *").count() + text.matches("  solution ").count(), 1, "{text}");
}

#[test]
fn a_held_out_problem_has_the_answers_of_models() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let answers: Vec<Evaluation> = left.rows("round-1/evaluate");
    let test: Vec<Problem> =
        left.rows::<Problem>("problems").into_iter().filter(|p| p.split == Split::Test).collect();
    let id = test[0].problem_id.as_str();
    // By the shortest beginning that is its own.
    let all: Vec<Problem> = left.rows("problems");
    let own = |n: &usize| all.iter().filter(|p| p.problem_id.starts_with(&id[..*n])).count() == 1;
    let prefix = &id[..(1..=16).find(own).unwrap().max(8)];
    let sheet = show(&world, &[prefix, "--json"]).done().json();
    assert_eq!((sheet["problem_id"].as_str(), sheet["split"].as_str()), (Some(id), Some("test")));
    assert_eq!(sheet["rounds"].as_array().unwrap().len(), 0, "it was never searched for training");
    let of_problem: Vec<&Evaluation> = answers.iter().filter(|row| row.problem_id == id).collect();
    let shown = sheet["answers"].as_array().unwrap();
    assert_eq!(shown.len(), of_problem.len());
    for (shown, row) in shown.iter().zip(of_problem) {
        assert_eq!(
            (shown["model"].as_str(), shown["correct"].as_bool()),
            (Some(&*row.model), Some(row.correct))
        );
        assert_eq!(shown["completion"].as_str(), Some(row.completion.as_str()));
    }
    let text = show(&world, &[prefix]).done().stdout;
    for part in ["round 1 evaluate, base: ", "round 1 evaluate, student: ", "search*: ", "of 2 samples right"]
    {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn unfinished_runs_are_shown_as_far_as_they_are() {
    let world = World::new();
    let said = |part: &str| {
        let text = show(&world, &["1"]).done().stdout;
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    };
    world.qstill(&of_preset("demo", "stage problems", "a", SETS)).done();
    said("problem ");
    for (stage, part) in
        [("search", "not verified yet"), ("verify", "not curated yet"), ("curate", "kept, weight")]
    {
        world.qstill(&["stage", stage, "runs/a"]).done();
        let kept: Vec<Kept> = world.left("a").rows("round-1/curate");
        match kept.first() {
            None => said(part),
            Some(row) => assert!(show(&world, &[&row.problem_id]).done().stdout.contains(part)),
        }
    }

    // A shard that is not there yet.
    let sheet = |number: &str| -> Value { show(&world, &[number, "--json"]).done().json() };
    let commits = world.left("a").join("round-1/search/commits");
    std::fs::remove_file(commits.join("00000.json")).unwrap();
    assert_eq!(sheet("1")["rounds"][0]["searched"].as_bool(), Some(false));
    said("round 1: not searched yet");
    assert_eq!(sheet("9")["rounds"][0]["searched"].as_bool(), Some(true), "eight problems are a shard");

    show(&world, &["zz"])
        .fails(65, &["no problem and no solution whose id begins with `zz`", "a number up to 30"]);
    show(&world, &[""]).fails(65, &["no problem"]);
    show(&world, &["1", "--round", "7"]).fails(64, &["there is no round 7", "rounds 1 to 1"]);
    world.qstill(&["show", "runs/none", "1"]).fails(65, &["runs/none is not a run"]);
    let ids: Vec<Problem> = world.left("a").rows("problems");
    let mut seen = BTreeMap::new();
    for problem in &ids {
        *seen.entry(&problem.problem_id[..1]).or_insert(0) += 1;
    }
    let many = seen.iter().find(|(first, count)| **count > 1 && first.parse::<u8>().is_err());
    let (first, count) = many.expect("30 ids begin with 16 characters");
    show(&world, &[first])
        .fails(65, &[&format!("{count} problems have an id that begins with"), "more of the id"]);
}
