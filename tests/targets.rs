//! What students learn from: whole searches, shortest solutions, and rows by what samples showed.

use std::collections::BTreeMap;

use datasets::answer::{UNDO, read_completion};
use datasets::table::{Evaluation, Loss};
use datasets::types::{Kept, Problem};

use crate::kit::{World, of_preset};

/// Puzzles of three numbers, for students that soon write what they read.
const SETS: &[&str] = &[
    "problems.numbers=3",
    "problems.max_number=9",
    "problems.max_target=40",
    "search.rule_steps=3",
    "search.rule_solutions=1",
    "search.policy=rules",
    "search.samples=6",
    "evaluate.teacher=false",
    "model.context=256",
    "train.max_tokens=240",
    "train.epochs=200",
    "train.learning_rate=0.006",
    "evaluate.max_tokens=120",
    "evaluate.samples=2",
];

fn run(world: &World, name: &str, sets: &[&str]) -> crate::kit::Outcome {
    world.qstill(&of_preset("countdown", "run", name, &[SETS, sets].concat()))
}

fn student(world: &World, name: &str) -> Vec<u8> {
    std::fs::read(world.left(name).join("round-1/student/model.safetensors")).unwrap()
}

#[test]
fn a_student_of_whole_searches_steps_back() {
    let world = World::new();
    let search = ["train.targets=search", "train.dead_ends=4"];
    let outcome = run(&world, "search", &search).done();
    let told = outcome.stderr.lines().find(|line| line.contains("steps of dead ends")).unwrap().to_owned();
    let numbers: Vec<usize> =
        told.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let [_, with, of, steps] = numbers[numbers.len() - 4..] else { panic!("{told}") };
    assert!(with * 2 > of && steps > with, "{told}");

    // Kept rows are what they are without it; what was trained on is not.
    run(&world, "all", &[]).done();
    let kept = |name: &str| -> Vec<Kept> { world.left(name).rows("round-1/curate") };
    assert_eq!(kept("search"), kept("all"));
    assert!(kept("search").iter().all(|row| !row.completion.contains(UNDO)));
    assert_ne!(student(&world, "search"), student(&world, "all"));
    let tokens = |name: &str| world.left(name).rows::<Loss>("round-1/train").last().unwrap().tokens;
    assert!(tokens("search") > tokens("all") * 5 / 4, "{} {}", tokens("search"), tokens("all"));

    // The student writes searches. What stands at their end is what was measured.
    let left = world.left("search");
    let problems: BTreeMap<String, Problem> =
        left.rows::<Problem>("problems").into_iter().map(|p| (p.problem_id.clone(), p)).collect();
    let rows: Vec<Evaluation> =
        left.rows::<Evaluation>("round-1/evaluate").into_iter().filter(|r| r.model == "student").collect();
    assert!(rows.iter().all(|row| !row.completion.lines().any(|line| line == UNDO)), "{rows:?}");
    let questions: Vec<(String, String)> = rows
        .iter()
        .filter(|row| row.sample == 0)
        .map(|row| (problems[&row.problem_id].question.clone(), problems[&row.problem_id].answer.clone()))
        .collect();
    world.write_rows("questions.jsonl", &questions);
    let path = left.join("round-1/student").display().to_string();
    let arguments = [
        "answer",
        &path,
        "questions.jsonl",
        "--device",
        "cpu",
        "--max-tokens",
        "120",
        "--temperature",
        "0.7",
        "--samples",
        "8",
    ];
    let answers = world.qstill(&arguments).done().stdout;
    let texts: Vec<serde_json::Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut back = 0;
    for answer in &texts {
        let read = read_completion(answer["prediction"].as_str().unwrap());
        assert_eq!(answer["answer"], read.answer.as_str());
        back += usize::from(read.lines.iter().any(|line| line == UNDO));
    }
    assert!(back * 4 > texts.len(), "{back} of {} answers step back", texts.len());

    // The same again, and under another number of threads.
    let threads = world
        .command(&of_preset("countdown", "run", "again", &[SETS, &search].concat()))
        .env("RAYON_NUM_THREADS", "1")
        .output();
    assert!(threads.unwrap().status.success());
    assert_eq!(student(&world, "search"), student(&world, "again"));
}

#[test]
fn students_of_some_rows_and_refusals() {
    let world = World::new();
    let few = ["train.epochs=2", "search.rule_solutions=4"];
    let with = |sets: &[&'static str]| [&few[..], sets].concat();
    run(&world, "a", &with(&[])).done();
    let mut students = vec![student(&world, "a")];
    for (set, said) in [
        ("train.targets=shortest", "the shortest of each problem's solutions, "),
        ("train.select=learnability", "rows have a lower weight, by learnability"),
        ("train.select=golden", "rows are golden: their problems were never solved by a sample"),
        ("train.select=replay", "rows are repeated, 2 times per epoch"),
    ] {
        // All but training is the same: it is not done again.
        run(&world, "a", &with(&[set])).done().says(said).says("round 1 curate: complete, skipped");
        students.push(student(&world, "a"));
    }
    students.sort();
    students.dedup();
    assert_eq!(students.len(), 5, "each selection trains a student of its own");
    let nobody = run(&world, "b", &["train.epochs=1", "search.samples=0", "train.select=replay"]).done();
    assert!(nobody.stderr.contains("nothing was sampled yet"), "{}", nobody.stderr);
    run(&world, "x", &["train.select=hard"]).fails(64, &["train.select", "hard"]);
    run(&world, "x", &["train.replay_times=0"]).fails(64, &["train.replay_times is 0"]);
    run(&world, "x", &["train.select=golden", "train.value_weight=0.1"])
        .fails(64, &["train.select is \"golden\"", "train.value_weight"]);
    run(&world, "x", &["curate.weight=learnability"]).fails(64, &["curate.weight"]);
}
