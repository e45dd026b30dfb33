//! `problems.rules`: worlds whose rules a program tells.

use std::collections::BTreeSet;

use datasets::table::{Evaluation, Node, VerdictRow};
use datasets::types::{Kept, Solution, StepCheck};
use serde_json::{Value, json};

use crate::kit::{World, no_python, of_preset};
use crate::server::{Answer, Server};

/// How `examples/sudoku` is run with few of its problems and few steps of training.
fn sudoku(world: &World, name: &str, workers: &str) -> Vec<String> {
    let sets = [
        "model.vocab_size=300",
        "model.context=384",
        "train.max_steps=3",
        "evaluate.samples=0",
        "problems.train=40",
        "problems.test=8",
        "run.shard_size=16",
        workers,
    ];
    world.example("sudoku", name, &sets)
}

#[test]
fn the_example_of_rules_runs_from_problems_to_evaluate() {
    if no_python() {
        return;
    }
    let world = World::new();
    world.qstill(&sudoku(&world, "a", "verify.workers=1")).done();
    let run = world.left("a");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    let found: Vec<&Solution> = solutions.iter().filter(|row| row.algorithm == "best-first").collect();
    assert_eq!(found.len(), 40, "the search solves all");
    assert!(found.iter().all(|row| row.steps.len() == row.final_answer.split(' ').count()));
    assert!(found.iter().all(|row| row.policy_fingerprint.starts_with("rules:rules:")));
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    let reasons: BTreeSet<&str> = verdicts.iter().map(|row| row.judgement.reason.as_str()).collect();
    assert!(reasons.contains("correct") && reasons.contains("unfinished"), "{reasons:?}");
    assert!(verdicts.iter().flat_map(|row| &row.judgement.checks).all(|check| *check == StepCheck::True));
    // Digits that fit and lead nowhere: what step values are learned from.
    let nodes: Vec<Node> = run.rows("round-1/search");
    assert!(nodes.iter().any(|node| node.status == "expanded") && run.join("round-1/value-steps").exists());
    let evaluated: Vec<Evaluation> = run.rows("round-1/evaluate");
    assert!(evaluated.iter().filter(|row| row.model == "student").all(|row| row.reason != "rules_failed"));
    // Many at a time, or few: the same rows.
    world.qstill(&sudoku(&world, "b", "verify.workers=3")).done();
    assert_eq!(run.product(), world.left("b").product());
    world.qstill(&["resume", "runs/a"]).done().says("round 1 search: complete, skipped");
    // Other searches, guided by what was learned of the steps.
    let compared = world
        .qstill(&["bakeoff", "runs/a", "--policy", "rules", "--budgets", "20", "--problems", "6", "--json"])
        .done();
    assert!(
        compared.stdout.contains("\"mcts\"") && compared.stdout.contains("\"astar\""),
        "{}",
        compared.stdout
    );
}

/// Counting up to the number that a question names, by ones and twos.
const COUNTING: &str = r#"
import json, os, sys
def told(n, to):
    return {"state": {"to": to, "n": n}, "left": (to - n + 1) // 2, **({"answer": n} if n == to else {})}
def moves(s):
    return [{"step": f"add {k}", **told(s["n"] + k, s["to"])} for k in (1, 2) if s["n"] + k <= s["to"]]
def follow(s, step):
    return next((told(m["state"]["n"], s["to"]) for m in moves(s) if m["step"] == step), None)
for line in sys.stdin:
    ask = json.loads(line)
    if "start" in ask:
        said = {"states": [told(0, int(p["problem"].split()[-1])) for p in ask["start"]]}
    elif "moves" in ask:
        said = {"moves": [moves(s) for s in ask["moves"]]}
    else:
        said = {"states": [follow(s, step) for s, step in ask["follow"]]}
    BAD
    print(json.dumps({"id": ask["id"], **said}))
"#;

/// A world with such rules and what they do wrong, and the settings that ask them.
fn counting(bad: &str) -> (World, Vec<&'static str>) {
    let world = World::new();
    world.write("rules.py", COUNTING.replace("BAD", if bad.is_empty() { "pass" } else { bad }));
    let row = |n: usize| (format!("Count to {n}"), n.to_string());
    world.write_rows("train.jsonl", &(2..10).map(row).collect::<Vec<_>>());
    world.write_rows("test.jsonl", &(10..12).map(row).collect::<Vec<_>>());
    let sets = vec![
        "problems.source=files",
        "problems.train_files=[\"train.jsonl\"]",
        "problems.test_files=[\"test.jsonl\"]",
        "problems.train=0",
        "problems.test=0",
        "problems.validation=0",
        "problems.validation_share=0",
        "problems.rules=[\"python3\", \"rules.py\"]",
        "search.calculator=false",
        "evaluate.calculator=false",
    ];
    (world, sets)
}

#[test]
fn a_text_is_right_if_each_of_its_steps_is_legal() {
    if no_python() {
        return;
    }
    let says = |request: &Value| {
        let asked = request["messages"].to_string();
        // As it should be; a step that no rule permits; not far enough; another answer than its steps.
        let texts = ["add 2\\n#### 2", "add 3\\n#### 3", "add 2\\n#### 2", "add 1\\nadd  2\\nadd 2\\n#### 7"];
        let kind = (2..10).find(|n| asked.contains(&format!("Count to {n}\""))).unwrap_or(2) - 2;
        let text = texts.get(kind).copied().unwrap_or(texts[1]).replace("\\n", "\n");
        let choice =
            json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}});
        Answer::Http(200, "", json!({"choices": [choice], "usage": {"completion_tokens": 9}}).to_string())
    };
    let server = Server::start(says);
    let setting = server.setting();
    for (name, moves) in [("listed", "problems.rules_moves=true"), ("followed", "problems.rules_moves=false")]
    {
        let (world, mut sets) = counting("");
        let one = ["search.policy=endpoint", "search.samples=1", "search.rule_solutions=0", &setting, moves];
        sets.extend(one);
        world
            .qstill(
                &[of_preset("demo", "run", name, &sets), vec!["--until".into(), "verify".into()]].concat(),
            )
            .done();
        let verdicts: Vec<VerdictRow> = world.left(name).rows("round-1/verify");
        let reasons: Vec<&str> = verdicts.iter().map(|row| row.judgement.reason.as_str()).collect();
        let sorted: BTreeSet<&str> = reasons.iter().copied().collect();
        let expected = ["correct", "illegal_step", "other_answer", "unfinished"];
        assert_eq!(sorted.into_iter().collect::<Vec<_>>(), expected, "{name}: {reasons:?}");
        let illegal = verdicts.iter().find(|row| row.judgement.reason == "illegal_step").unwrap();
        assert_eq!((illegal.judgement.first_wrong, illegal.judgement.faults.len()), (Some(0), 1));
    }
}

/// Whatever is wrong with rules, the run ends with a line that says so, and nothing of it is committed.
#[test]
fn rules_that_do_not_work_stop_the_run() {
    if no_python() {
        return;
    }
    let cases = [
        ("if 'moves' in ask: sys.exit(3)", "ended without an answer (exit status: 3)"),
        ("if 'moves' in ask: import time; time.sleep(60)", "gave no answer within 1 s"),
        ("if 'moves' in said: said['moves'].pop()", "`moves` has 0 items for 1"),
        ("if 'moves' in said: said['moves'][0] *= 2", "the step `add 1` is there twice"),
        ("if 'moves' in said: said = {'moves': 'none'}", "not as described"),
        ("if 'start' in ask: said = {}", "no `states`"),
        ("if 'start' in ask: said['states'][0] = None", "has no start (null) for {\"problem\":\"Count to"),
        ("ask['id'] = 'x'", "the answer to another question"),
        ("if 'moves' in ask: print('hello')", "it begins with `hello`"),
    ];
    for (bad, line) in cases {
        let (world, mut sets) = counting(bad);
        sets.extend(["verify.timeout_s=1", "verify.workers=1"]);
        let told = world.run("a", &sets);
        let asked = if bad.contains("start") || bad.contains("'x'") { "\"start\"" } else { "\"moves\"" };
        let asked = if line.contains("null") { "problems.rules" } else { asked };
        told.fails(65, &["problems.rules", line, asked]);
        assert!(world.left("a").commits("round-1/search").is_empty(), "{bad}");
    }
}

/// A bound of 0 is no end, states that come round are one place, and the order of steps makes a solution.
#[test]
fn worlds_that_go_in_circles_are_searched() {
    if no_python() {
        return;
    }
    let (world, mut sets) = counting("");
    // Steps back as well, no bound, and both orders of 1 and 2.
    let text = COUNTING
        .replace("BAD", "pass")
        .replace("(to - n + 1) // 2", "0")
        .replace("for k in (1, 2) if s[\"n\"] + k <= s[\"to\"]", "for k in (-1, 1, 2, -2)");
    world.write("rules.py", text);
    sets.extend(["search.rule_solutions=4", "search.rule_expansions=60", "search.rule_steps=6"]);
    sets.extend(["curate.contamination=off", "curate.max_repetition=0", "curate.per_problem=4"]);
    let all = [of_preset("demo", "run", "a", &sets), vec!["--until".into(), "curate".into()]].concat();
    world.qstill(&all).done();
    let run = world.left("a");
    let solutions: Vec<Solution> = run.rows("round-1/search");
    let solved: BTreeSet<&str> = solutions.iter().map(|row| row.problem_id.as_str()).collect();
    assert_eq!(solved.len(), 8, "the enumeration reaches each number");
    let three: BTreeSet<Vec<&str>> =
        solutions.iter().filter(|row| row.final_answer == "3").map(Solution::texts).collect();
    assert!(three.contains(&vec!["add 1", "add 2"]) && three.contains(&vec!["add 2", "add 1"]), "{three:?}");
    let kept: Vec<Kept> = run.rows("round-1/curate");
    let rows: BTreeSet<&str> = kept.iter().map(|row| row.completion.as_str()).collect();
    assert!(rows.contains("add 1\nadd 2\n#### 3") && rows.contains("add 2\nadd 1\n#### 3"), "{rows:?}");
}

#[test]
fn a_change_of_the_rules_while_a_run_uses_them_ends_it() {
    if no_python() {
        return;
    }
    // They change themselves once the search has begun.
    let (world, sets) = counting("if 'moves' in ask: open('rules.py', 'a').write('#')");
    world.run("a", &sets).fails(65, &["has changed while the run used it", "qstill resume"]);
    assert!(world.left("a").commits("round-1/verify").is_empty());
}

#[test]
fn settings_that_do_not_fit_rules_are_refused() {
    let (world, sets) = counting("");
    let refused = |more: &[&str], code: i32, said: &[&str]| {
        world.run("a", &[&sets[..], more].concat()).fails(code, said);
    };
    refused(&["problems.options=[\"o\"]"], 64, &["problems.rules and problems.options are both given"]);
    refused(&["problems.rules_moves=false"], 64, &["problems.rules_moves is false", "search.policy"]);
    refused(&["curate.answer_line={answer}"], 64, &["curate.answer_line", "read as a step"]);
    refused(&["problems.source=words", "problems.train=2"], 64, &["problems.rules is for files"]);
    refused(&["problems.rules=[\"python3\", \"none.py\"]"], 65, &["problems.rules: none.py: no such file"]);
    refused(
        &["problems.rules=[\"no-such-program\"]"],
        65,
        &["no program `no-such-program`", "docs/rules.md"],
    );
}

/// Gold answers have no steps, so the check of rules needs solutions.
#[test]
fn rules_are_checked_with_solutions() {
    if no_python() {
        return;
    }
    let (world, sets) = counting("");
    let rows: Vec<String> = (2..9)
        .map(|n| {
            let steps = "add 1\n".repeat(n);
            json!({"question": format!("Count to {n}"), "answer": n, "how": format!("{steps}#### {n}")})
                .to_string()
        })
        .collect();
    world.write("train.jsonl", rows.join("\n"));
    let check = |more: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", *set]);
        let head = ["check-verifier", "--preset", "demo"];
        world.qstill(&head.into_iter().chain(more.iter().copied()).chain(sets).collect::<Vec<_>>())
    };
    check(&[]).fails(64, &["problems.rules judges steps", "--good"]);
    let report = check(&["--good", "how", "--json"]).done().json();
    assert_eq!(report["kinds"][0]["accepted"], json!(7), "{report}");
}
