//! Countdown: targets are held out, and what is kept is right by arithmetic that shares no code with the
//! program.

use std::collections::HashSet;

use datasets::types::{Kept, Problem, Split};

use crate::kit::{World, of_preset};

/// Numbers and target of `Use each of the numbers 3, 7 and 25 exactly once with + - * / to make 46.`
fn task(question: &str) -> (Vec<i64>, i64) {
    let mut numbers: Vec<i64> =
        question.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let target = numbers.pop().unwrap();
    (numbers, target)
}

/// Plays the steps of a completion; panics where one is illegal. Gives the numbers that are left.
fn play(mut numbers: Vec<i64>, steps: &[&str]) -> Vec<i64> {
    for step in steps {
        let (left, result) = step.split_once('=').unwrap_or_else(|| panic!("{step}"));
        let at = left.find(['+', '-', '*', '/']).unwrap_or_else(|| panic!("{step}"));
        let (a, b): (i64, i64) = (left[..at].parse().unwrap(), left[at + 1..].parse().unwrap());
        for used in [a, b] {
            let place = numbers
                .iter()
                .position(|n| *n == used)
                .unwrap_or_else(|| panic!("{used} is not there: {steps:?}"));
            numbers.swap_remove(place);
        }
        let value = match &left[at..=at] {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            _ => {
                assert!(b != 0 && a % b == 0, "{step}");
                a / b
            }
        };
        assert!(value >= 0 && value == result.parse::<i64>().unwrap(), "{step}");
        numbers.push(value);
    }
    numbers
}

#[test]
fn held_out_targets_and_true_steps() {
    let world = World::new();
    let sets = [
        "problems.train=40",
        "problems.validation=5",
        "problems.test=10",
        "search.rule_steps=3",
        "problems.numbers=3",
    ];
    world.qstill(&of_preset("countdown", "run", "a", &sets)).done();
    let run = world.left("a");
    world.qstill(&["audit", "runs/a"]).fails(65, &["no word problem was kept"]);

    let problems: Vec<Problem> = run.rows("problems");
    let targets = |of_train: bool| -> HashSet<i64> {
        problems
            .iter()
            .filter(|p| (p.split == Split::Train) == of_train)
            .map(|p| task(&p.question).1)
            .collect()
    };
    assert!(targets(true).is_disjoint(&targets(false)), "a held-out target is in train");
    assert_eq!(problems.iter().filter(|p| p.split == Split::Test).count(), 10);

    let kept: Vec<Kept> = run.rows("round-1/curate");
    assert!(kept.len() >= 40, "{} kept", kept.len());
    for row in &kept {
        let (numbers, target) = task(&row.prompt);
        assert_eq!(numbers.len(), 3);
        let lines: Vec<&str> = row.completion.lines().collect();
        let (answer, steps) = lines.split_last().unwrap();
        assert_eq!(*answer, format!("#### {target}"));
        assert_eq!(play(numbers, steps), [target], "{row:?}");
    }
    let teacher = run.evaluation()["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["model"] == "teacher")
        .cloned()
        .unwrap();
    assert!(teacher["solved"].as_u64().unwrap() >= 9, "{teacher}");
}
