//! `verify.command`: a verifier of the user's own, from `problems` to `evaluate`.

use std::collections::{BTreeMap, BTreeSet};

use datasets::table::{Evaluation, ValueRow, VerdictRow};
use datasets::types::{Kept, Solution, Verdict};
use serde_json::{Value, json};

use crate::kit::{Outcome, World, names, no_python, run};
use crate::server::{Answer, ENDPOINT, Server, sum, sums};

/// Judges answers by their last digit: correct if it is that of the gold. Writes down that it was asked.
const LAST_DIGIT: &str = r#"
while read -r line; do
    echo x >> asked
    id=${line#*'"id":"'}; id=${id%%'"'*}
    gold=${line#*'"gold":"'}; gold=${gold%%'"'*}
    said=${line##*'"final_answer":"'}; said=${said%%'"'*}
    if [ -z "$said" ]; then verdict=wrong
    elif [ "${gold#"${gold%?}"}" = "${said#"${said%?}"}" ]; then verdict=correct
    else verdict=wrong; fi
    echo '{"id": "'$id'", "verdict": "'$verdict'", "reason": "last_digit"}'
done
"#;

const SETS: &[&str] =
    &["verify.command=[\"sh\", \"check.sh\"]", "search.rule_solutions=2", "verify.workers=2"];

fn world() -> World {
    let world = World::new();
    world.write("check.sh", LAST_DIGIT);
    world
}

fn asked(world: &World) -> usize {
    std::fs::read_to_string(world.path("asked")).map_or(0, |text| text.lines().count())
}

#[test]
fn every_verdict_of_a_run_is_the_commands() {
    let world = world();
    world.run("own", SETS).done();
    let run = world.left("own");
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    assert!(!verdicts.is_empty() && verdicts.iter().all(|row| row.judgement.reason == "last_digit"));
    let solutions: BTreeMap<String, Solution> =
        run.rows::<Solution>("round-1/search").into_iter().map(|s| (s.solution_id.clone(), s)).collect();
    let kept: Vec<Kept> = run.rows("round-1/curate");
    assert!(!kept.is_empty());
    for row in &verdicts {
        let found = &solutions[&row.solution_id];
        if found.policy == "rules" {
            assert_eq!(row.judgement.verdict, Verdict::Correct, "a search asks the same verifier");
        }
    }
    let evaluated: Vec<Evaluation> = run.rows("round-1/evaluate");
    assert!(evaluated.iter().all(|row| row.reason == "last_digit"), "{evaluated:#?}");

    // Nothing of it is asked again, by stages made anew either.
    let count = asked(&world);
    std::fs::remove_dir_all(run.join("round-1/verify")).unwrap();
    world.resume("own").done();
    assert_eq!(asked(&world), count);
    // The number of processes is no input.
    world.qstill(&["resume", "runs/own", "--set", "verify.workers=1"]).done();
    assert_eq!(asked(&world), count);
    run.equals(&world.left("own"));
}

#[test]
fn what_the_command_says_is_an_input() {
    let world = world();
    world.run("own", SETS).done();
    let status = |world: &World| world.qstill(&["status", "runs/own"]).done().stdout;
    assert!(!status(&world).contains("stale"), "{}", status(&world));
    // Words of the script that change no verdict.
    world.write("check.sh", format!("{LAST_DIGIT}# once more\n"));
    let said = status(&world);
    assert!(said.contains("stale") && said.contains("verifier.files.check.sh"), "{said}");
    let why = world.qstill(&["status", "runs/own", "--why", "search"]).done().stdout;
    assert!(why.contains("check.sh"), "{why}");
    world.resume("own").done();
    assert!(!status(&world).contains("stale"));
}

#[test]
fn regrade_shows_what_a_command_would_change() {
    let world = world();
    world.run("exact", &["search.rule_solutions=2"]).done();
    let before = world.left("exact").product();
    let outcome =
        world.qstill(&["regrade", "runs/exact", "--json", "--set", "verify.command=[\"sh\", \"check.sh\"]"]);
    let report = outcome.done().json();
    assert!(report["solutions"].as_u64() > Some(0));
    let changed = report["changed"].as_object().unwrap();
    assert!(changed.keys().any(|change| change.ends_with("correct (last_digit)")), "{changed:?}");
    assert!(world.left("exact").product() == before);
}

#[test]
fn a_killed_run_ends_with_the_rows_of_another() {
    let world = world();
    world.run("whole", SETS).done();
    let count = asked(&world);
    // A second process dies in the middle of its verdicts, and the next goes on.
    std::fs::remove_file(world.path("asked")).unwrap();
    let mut running = world.start(&run("killed", SETS));
    let path = world.path("asked");
    running.until("some questions", |_| {
        std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() >= count / 3)
    });
    running.kill();
    world.resume("killed").done();
    world.left("killed").equals(&world.left("whole"));
    // Those on the way at the kill, one for each process, are asked again.
    assert!(asked(&world) <= count + 2, "{} and {count}", asked(&world));
    assert!(names(&world.left("killed").join("verifier")).len() >= 2);
}

#[test]
fn a_command_that_is_not_there_is_refused_before_any_work() {
    let world = world();
    let fails = |sets: &[&str], said: &[&str]| {
        let outcome: Outcome = world.run("none", sets);
        outcome.fails(65, said);
        assert!(!world.left("none").0.exists(), "nothing was begun");
    };
    fails(&["verify.command=no-such-program"], &["verify.command", "no program `no-such-program`"]);
    fails(&["verify.command=[\"sh\", \"none.sh\"]"], &["none.sh: no such file", "working directory"]);
    fails(&["verify.command=sh check.sh"], &["list of words"]);
    world.run("none", &["verify.timeout_s=0"]).fails(64, &["verify.timeout_s is 0", "0.01 to 86400"]);
}

#[test]
fn a_command_that_never_answers_ends_the_run_with_one_line() {
    let world = World::new();
    world.write("check.sh", "echo 'no module named rules' >&2; exit 3");
    let sets = ["verify.command=[\"sh\", \"check.sh\"]"];
    let outcome = world.run("broken", &sets);
    outcome.fails(65, &["answered none of", "no module named rules", "docs/verifiers.md"]);
    let log = std::fs::read_to_string(world.left("broken").join("run.log")).unwrap();
    assert!(log.contains("verify.command says: no module named rules"), "{log}");
    // It works once the command does.
    world.write("check.sh", LAST_DIGIT);
    world.resume("broken").done();
}

#[test]
fn a_score_is_the_target_of_values() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 24));
    world.write_rows("test.jsonl", &sums(50, 2));
    world
        .write("check.sh", "while read -r line; do echo '{\"verdict\": \"correct\", \"score\": 0.25}'; done");
    let server = Server::start(sum);
    let setting = server.setting();
    let own = [
        &setting,
        "verify.command=[\"sh\", \"check.sh\"]",
        "value.model=decoder",
        "value.epochs=1",
        "value.holdout=0.5",
    ];
    let mut arguments = run("scored", &[ENDPOINT, &own].concat());
    arguments.extend(["--until".to_owned(), "value".to_owned()]);
    world.qstill(&arguments).done();
    let run = world.left("scored");
    let values: Vec<ValueRow> = run.rows("round-1/value");
    assert!(!values.is_empty() && values.iter().all(|row| (row.target - 0.25).abs() < 1e-6), "{values:?}");
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    assert!(verdicts.iter().all(|row| row.judgement.score == Some(0.25)));
}

/// Solves a few of the example's problems; of two samples, one has a fault.
fn programmer(request: &Value) -> Answer {
    let turns = request["messages"].as_array().unwrap();
    let question = turns.last().unwrap()["content"].as_str().unwrap();
    let known = [
        ("double(n)", "2 * n", "n + 4"),
        ("half(n)", "n // 2", "n / 2"),
        ("largest(numbers)", "max(numbers)", "numbers[1]"),
        ("triple(n)", "3 * n", "n"),
    ];
    let body = |index: u64| {
        let head = question.split('`').nth(1).unwrap();
        let of = known.iter().find(|(name, ..)| *name == head);
        let value =
            of.map_or("None", |(_, right, wrong)| if index.is_multiple_of(2) { right } else { wrong });
        format!(
            "This is how.\n\n```python\ndef {head}:\n    # It returns at once.\n    return {value}\n```\nDone."
        )
    };
    let count = request["n"].as_u64().unwrap_or(1);
    let choice = |index| {
        let message = json!({"role": "assistant", "content": body(index)});
        json!({"index": index, "finish_reason": "stop", "message": message})
    };
    let choices: Vec<Value> = (0..count).map(choice).collect();
    Answer::Http(200, "", json!({"choices": choices, "usage": {"completion_tokens": 20 * count}}).to_string())
}

#[test]
fn the_example_of_code_runs_from_problems_to_evaluate() {
    if no_python() {
        return;
    }
    let world = World::new();
    let server = Server::start(programmer);
    let sets = [
        &server.setting(),
        "search.samples=2",
        "model.vocab_size=400",
        "model.context=384",
        "train.max_steps=3",
        "evaluate.max_tokens=16",
        "evaluate.samples=0",
    ];
    world.qstill(&world.example("code", "code", &sets)).done();
    let run = world.left("code");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    assert_eq!(solutions.len(), 48);
    for solution in &solutions {
        assert!(solution.final_answer.starts_with("```python\ndef "), "{}", solution.final_answer);
        assert_eq!(solution.texts(), ["This is how."]);
    }
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    let reasons: BTreeSet<&str> = verdicts.iter().map(|row| row.judgement.reason.as_str()).collect();
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), ["passed", "tests_failed"]);
    assert!(verdicts.iter().any(|row| row.judgement.score.is_some_and(|score| score > 0.3 && score < 0.4)));
    let kept: Vec<Kept> = run.rows("round-1/curate");
    let texts: BTreeSet<&str> = kept.iter().map(|row| row.completion.as_str()).collect();
    let double =
        "This is how.\n#### ```python\ndef double(n):\n    # It returns at once.\n    return 2 * n\n```";
    assert!(texts.contains(double) && texts.len() == 3, "{texts:#?}");
    let evaluated: Vec<Evaluation> = run.rows("round-1/evaluate");
    assert!(evaluated.iter().any(|row| row.model == "teacher" && row.correct && row.reason == "passed"));
}
