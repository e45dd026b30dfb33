//! A whole run on generated word problems: what comes out, that nothing is lost or mixed, and that running it
//! again does nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::time::SystemTime;

use datasets::table::{self, Dropped, Evaluation, Loss, Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Split, Verdict};
use serde_json::Value;

use crate::kit::{Left, World};

#[test]
fn two_rounds_from_nothing() {
    let world = World::new();
    let sets = ["run.rounds=2", "train.start=previous"];
    let first = world.run("a", &sets).done();
    assert!(first.stdout.starts_with("round  model"), "{}", first.stdout);
    assert!(
        first.stderr.lines().all(|line| !first.stdout.contains(line)),
        "stdout holds more than results:\n{}",
        first.stdout
    );

    let run = world.left("a");
    evaluation(&run.evaluation());
    let ids = splits(&run);
    for round in 1..=2 {
        accounts(&run, round, &ids);
    }
    headings(&run);
    audit(&world);
    again(&world, &run, &first.stdout);
}

/// What is right for the right reason: all of one operation, and never more than there is.
fn audit(world: &World) {
    let report = world.qstill(&["audit", "runs/a", "--json"]).done().json();
    let rows = report["rows"].as_array().unwrap();
    let count = |row: &Value, key: &str| row[key].as_u64().unwrap();
    for row in rows {
        let share = row["share"].as_f64().unwrap();
        assert!(count(row, "right") <= count(row, "solutions"), "{row}");
        assert!(
            row["ci_low"].as_f64().unwrap() <= share && share <= row["ci_high"].as_f64().unwrap(),
            "{row}"
        );
    }
    for round in 1..=2 {
        let all = |of: &str| {
            rows.iter().find(|r| r["round"] == round && r["of"] == of && r["algorithm"] == "all").unwrap()
        };
        let [answered, verified, kept] =
            ["right-answer", "verified", "kept"].map(|of| count(all(of), "solutions"));
        assert!(answered >= verified && verified >= kept && kept > 0, "{report}");
        let easy = rows.iter().find(|r| r["round"] == round && r["operations"] == 1).unwrap();
        assert_eq!(easy["right"], easy["solutions"], "{easy}");
    }
    let estimates = report["estimates"].as_array().unwrap();
    for row in estimates {
        let shares = ["share", "ci_low", "ci_high", "right_of_passed", "right_of_failed"]
            .map(|key| row[key].as_f64().unwrap_or(0.0));
        assert!(
            count(row, "passed") <= count(row, "tested")
                && shares.iter().all(|share| (0.0..=1.0).contains(share)),
            "{row}"
        );
    }
    let all_used: u64 =
        estimates.iter().filter(|row| row["sign"] == "uses_all").map(|row| count(row, "tested")).sum();
    let kept: u64 = rows
        .iter()
        .filter(|r| r["of"] == "kept" && r["algorithm"] == "all" && r["operations"].is_null())
        .map(|r| count(r, "solutions"))
        .sum();
    assert_eq!(all_used, kept, "{report}");
    let table = world.qstill(&["audit", "runs/a"]).done().stdout;
    assert!(
        table.starts_with("round  solutions") && table.lines().count() > rows.len() + estimates.len(),
        "{table}"
    );
}

/// `evaluation.json` has the shape that was promised, and its numbers agree with each other.
fn evaluation(report: &Value) {
    let rows = report["rows"].as_array().unwrap();
    let measured: Vec<_> =
        rows.iter().map(|row| (row["round"].as_u64().unwrap(), row["model"].as_str().unwrap())).collect();
    assert_eq!(measured, [(1, "base"), (1, "student"), (1, "teacher"), (2, "student"), (2, "teacher")]);
    for row in rows {
        assert_eq!((row["split"].as_str(), row["problems"].as_u64()), (Some("test"), Some(4)), "{row}");
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} of {row}"));
        let (solved, pass) = (number("solved"), number("pass_at_1"));
        assert!(
            (pass - solved / 4.0).abs() < 1e-12 && number("ci_low") <= pass && pass <= number("ci_high"),
            "{row}"
        );
        assert!(number("ci_low") >= 0.0 && number("ci_high") <= 1.0 && number("seconds") >= 0.0, "{row}");
        assert!(row["tokens"].is_u64() && row["expansions"].is_u64(), "{row}");
        match row["tokens_per_solved"].as_f64() {
            Some(cost) => assert!((cost - number("tokens") / solved).abs() < 1e-6, "{row}"),
            None => assert!(row["tokens_per_solved"].is_null() && solved < 0.5, "{row}"),
        }
        if row["model"] == "teacher" {
            assert!(solved > 3.5 && number("expansions") > 0.0, "the rules solve all of these: {row}");
        }
    }
    let paid = &report["break_even"];
    let number = |key: &str| paid[key].as_f64().unwrap_or_else(|| panic!("{key} of {paid}"));
    assert_eq!((&paid["round"], &paid["student_accuracy"]), (&rows[3]["round"], &rows[3]["pass_at_1"]));
    assert!(number("search_accuracy") >= number("student_accuracy"), "the rules solve all: {paid}");
    let (spent, saved) =
        (number("searching") + number("training"), number("search_tokens") - number("student_tokens"));
    assert!(number("searching") > 0.0 && number("training") > 0.0, "{paid}");
    match paid["questions"].as_f64() {
        Some(questions) => assert!((questions * saved / spent - 1.0).abs() < 1e-9, "{paid}"),
        None => assert!(saved <= 0.0, "{paid}"),
    }
}

/// Ids of the problems by their split, none in two.
fn splits(run: &Left) -> BTreeMap<&'static str, BTreeSet<String>> {
    let problems: Vec<Problem> = run.rows("problems");
    let mut ids: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for problem in &problems {
        ids.entry(problem.split.name()).or_default().insert(problem.problem_id.clone());
    }
    assert_eq!(
        ids.values().map(BTreeSet::len).collect::<Vec<_>>(),
        [4, 24, 2],
        "test, train and validation: {ids:?}"
    );
    let questions: HashSet<(&str, &str)> =
        problems.iter().map(|p| (p.question.as_str(), p.split.name())).collect();
    let distinct: HashSet<&str> = questions.iter().map(|(question, _)| *question).collect();
    assert_eq!(questions.len(), distinct.len(), "a question is in one split");
    ids
}

/// Every solution has one verdict and is kept or dropped, and only train problems were searched.
fn accounts(run: &Left, round: u32, ids: &BTreeMap<&'static str, BTreeSet<String>>) {
    let stage = |name: &str| format!("round-{round}/{name}");
    let solutions: Vec<Solution> = run.rows(&stage("search"));
    let nodes: Vec<Node> = run.rows(&stage("search"));
    let verdicts: Vec<VerdictRow> = run.rows(&stage("verify"));
    let kept: Vec<Kept> = run.rows(&stage("curate"));
    let dropped: Vec<Dropped> = run.rows(&stage("curate"));
    assert!(!kept.is_empty() && !dropped.is_empty());

    let sorted = |ids: Vec<&String>| {
        let mut ids: Vec<String> = ids.into_iter().cloned().collect();
        ids.sort();
        ids
    };
    let found = sorted(solutions.iter().map(|s| &s.solution_id).collect());
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "ids are unique");
    let judged =
        sorted(kept.iter().map(|k| &k.solution_id).chain(dropped.iter().map(|d| &d.solution_id)).collect());
    assert_eq!(found, judged, "solutions = kept + dropped");
    assert_eq!(found, sorted(verdicts.iter().map(|v| &v.solution_id).collect()));
    let correct: HashSet<&str> = verdicts
        .iter()
        .filter(|v| v.judgement.verdict == Verdict::Correct)
        .map(|v| v.solution_id.as_str())
        .collect();
    assert!(kept.iter().all(|k| correct.contains(k.solution_id.as_str())));
    assert!(dropped.iter().all(|d| !d.reason.is_empty()));

    let train = &ids["train"];
    let searched = solutions
        .iter()
        .map(|s| &s.problem_id)
        .chain(nodes.iter().map(|n| &n.problem_id))
        .chain(kept.iter().map(|k| &k.problem_id));
    assert!(searched.into_iter().all(|id| train.contains(id)), "only train problems are searched");
    assert_eq!(
        nodes.iter().map(|n| &n.problem_id).collect::<BTreeSet<_>>(),
        train.iter().collect(),
        "and all of them"
    );
    let policies: BTreeSet<&str> = solutions.iter().map(|s| s.policy.as_str()).collect();
    assert_eq!(
        policies.into_iter().collect::<Vec<_>>(),
        if round == 1 { vec!["rules"] } else { vec!["model", "rules"] }
    );
    assert!(solutions.iter().all(|s| s.round == round));

    let answers: Vec<Evaluation> = run.rows(&stage("evaluate"));
    assert!(answers.iter().all(|a| a.split == Split::Test && ids["test"].contains(&a.problem_id)));
    let losses: Vec<Loss> = run.rows(&stage("train"));
    assert!(!losses.is_empty() && losses.iter().all(|l| l.loss.is_finite()));
    assert!(losses.iter().map(|l| l.step as usize).eq(1..=losses.len()));
}

/// Every file says which table it is, in which version.
fn headings(run: &Left) {
    let mut seen = BTreeSet::new();
    for path in run.files().keys().filter(|path| path.ends_with(".parquet")) {
        let heading = table::heading(&run.join(path)).unwrap();
        let info = table::info(heading.table.as_deref().unwrap()).unwrap();
        assert_eq!(heading.version, Some(info.version.to_string()), "{path}");
        assert!(path.contains(&format!("-{}-", info.name)), "{path}");
        seen.insert(info.name);
    }
    // Generated problems come without worked examples, a table without rows is not written; others are of
    // stages and commands not asked for.
    let others =
        ["examples", "retired", "values", "token_targets", "bakeoff", "selection", "ablation", "grades"];
    let all: BTreeSet<&str> =
        table::TABLES.iter().map(|table| table.name).filter(|name| !others.contains(name)).collect();
    assert_eq!(seen, all, "a run has every table");
}

/// A second run skips all, says so, and gives the same table.
fn again(world: &World, run: &Left, table: &str) {
    let times = |run: &Left| -> BTreeMap<String, SystemTime> {
        run.product()
            .into_keys()
            .map(|path| (path.clone(), fs::metadata(run.join(&path)).unwrap().modified().unwrap()))
            .collect()
    };
    let without_talk = |run: &Left| {
        run.files().into_iter().filter(|(path, _)| path != "run.log").collect::<BTreeMap<_, _>>()
    };
    let (before, written) = (without_talk(run), times(run));
    for outcome in
        [world.run("a", &["run.rounds=2", "train.start=previous"]).done(), world.resume("a").done()]
    {
        assert_eq!(outcome.stdout, table);
        for stage in ["problems", "round 1 search", "round 1 train", "round 2 curate", "round 2 evaluate"] {
            assert!(outcome.stderr.contains(&format!("{stage}: complete, skipped")), "{}", outcome.stderr);
        }
        assert!(before == without_talk(run), "nothing is new");
        assert_eq!(written, times(run), "and nothing was written again");
    }
}
