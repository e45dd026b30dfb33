//! `qstill check-verifier`: verifiers that tell right from wrong, and those that do not.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use datasets::types::Problem;
use serde_json::{Value, json};

use crate::kit::{Outcome, World, copy_folder, no_python, of_preset};

const FILES: &[&str] = &[
    "problems.source=files",
    "problems.files=[\"in.jsonl\"]",
    "problems.train=0",
    "problems.test=0",
    "problems.validation=0",
    "problems.validation_share=0",
    "problems.test_share=0",
];

/// Says `correct` where the answer is the gold, and something of its own in other cases.
const EXACT: &str = r#"
while read -r line; do
    id=${line#*'"id":"'}; id=${id%%'"'*}
    gold=${line#*'"gold":"'}; gold=${gold%%'"'*}
    said=${line##*'"final_answer":"'}; said=${said%%'"'*}
    verdict=wrong
    if [ "$gold" = "$said" ]; then verdict=correct; fi
    OWN
    echo '{"id": "'$id'", "verdict": "'$verdict'"}'
done
"#;

fn world(own: &str) -> World {
    let world = World::new();
    let rows: Vec<(String, String)> =
        (0..12).map(|n| (format!("What is 40 and {n}?"), (40 + n).to_string())).collect();
    world.write_rows("in.jsonl", &rows);
    world.write("check.sh", EXACT.replace("OWN", own));
    world
}

fn check(world: &World, sets: &[&str], own: &[&str]) -> Outcome {
    let mut arguments = vec!["check-verifier"];
    arguments.extend(FILES.iter().chain(sets).flat_map(|set| ["--set", *set]));
    arguments.extend(own);
    world.qstill(&arguments)
}

const COMMAND: &str = "verify.command=[\"sh\", \"check.sh\"]";

/// Asked, accepted, rejected and undecidable of a kind.
fn counts(report: &Value, kind: &str) -> [u64; 4] {
    let kinds = report["kinds"].as_array().unwrap();
    let line = kinds.iter().find(|line| line["kind"] == kind).unwrap();
    ["asked", "accepted", "rejected", "undecidable"].map(|key| line[key].as_u64().unwrap())
}

#[test]
fn a_verifier_that_tells_them_apart() {
    let world = world("");
    let text = check(&world, &[COMMAND], &[]).done().stdout;
    for part in ["check.sh", "12 problems", "good", "other", "altered", "empty", "100.0%", "same verdicts"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let report = check(&world, &[COMMAND], &["--json"]).done().json();
    assert_eq!(counts(&report, "good"), [12, 12, 0, 0]);
    for kind in ["other", "altered", "empty"] {
        assert_eq!(counts(&report, kind), [12, 0, 12, 0], "{kind}");
    }
    assert_eq!([&report["complaints"], &report["surprises"]], [&json!([]), &json!([])]);
    assert!(report["per_second"].as_f64() > Some(0.0) && report["ms_95"].as_f64() > Some(0.0));
    // The exact one, on some of the problems.
    let report = check(&world, &[], &["--json", "--problems", "5"]).done().json();
    assert_eq!(counts(&report, "good"), [5, 5, 0, 0]);
    assert_eq!((&report["command"], report["domain"].as_str()), (&json!([]), Some("math")));
    assert!(!world.path("runs").exists(), "it makes no run");
}

/// Expects to be refused with these words, and shows the table all the same.
#[track_caller]
fn refused(outcome: &Outcome, said: &[&str]) {
    assert_eq!(outcome.code, Some(65), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("accepted"), "{}", outcome.stdout);
    let line = outcome.stderr.lines().last().unwrap_or_default();
    assert!(line.starts_with("qstill: error: "), "{}", outcome.stderr);
    for part in said {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
}

#[test]
fn verifiers_that_do_not() {
    let blind = world("verdict=correct");
    refused(
        &check(&blind, &[COMMAND], &[]),
        &["accepts 12 of 12 good solutions of other problems", "accepts 12 of 12 solutions without any text"],
    );
    let deaf = world("verdict=wrong");
    let outcome = check(&deaf, &[COMMAND], &[]);
    refused(&outcome, &["accepts only 0 of 12", "--good"]);
    assert!(outcome.stdout.contains("in.jsonl, line 1"), "{}", outcome.stdout);
    // What it is good for may be less.
    check(&deaf, &[COMMAND], &["--least-good", "0"]).done();
    // One whose mood is that of its process: it has forgotten what it said.
    let moody = world("if [ -e asked ]; then verdict=wrong; fi; sleep 0.01; [ $gold = 51 ] && : > asked");
    refused(&check(&moody, &[COMMAND, "verify.workers=1"], &[]), &["the second time"]);
    let dead = world("exit 3");
    check(&dead, &[COMMAND], &[]).fails(65, &["verify.command answered none of"]);
    check(&dead, &["verify.command=[\"sh\", \"none.sh\"]"], &[]).fails(65, &["none.sh: no such file"]);
    check(&dead, &[COMMAND], &["--good", "none"]).fails(65, &["in.jsonl, line 1", "no column `none`"]);
    check(&dead, &[COMMAND], &["--least-good", "2"]).fails_as_usage("share from 0 to 1");
    world("").qstill(&["check-verifier", "--preset", "countdown"]).fails(64, &["Countdown"]);
}

impl Outcome {
    /// Expects that the command line is refused with these words.
    #[track_caller]
    fn fails_as_usage(self, part: &str) {
        assert_eq!(self.code, Some(64), "{}", self.stderr);
        assert!(self.stderr.contains(part), "{}", self.stderr);
    }
}

#[test]
fn good_solutions_of_a_column() {
    if no_python() {
        return;
    }
    let world = World::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/code");
    copy_folder(&examples, &world.path("examples/code"));
    let row = |n: u64| {
        json!({
            "question": format!("Write `plus{n}(k)` that returns k plus {n}."),
            "tests": format!("assert plus{n}(2) == {}\nassert plus{n}(-7) == {}", n + 2, n as i64 - 7),
            "solution": format!("def plus{n}(k):\n    return k + {n}"),
        })
    };
    world.write("in.jsonl", (1..7).map(|n| row(n).to_string() + "\n").collect::<String>());
    let run = |own: &[&str]| {
        let sets = ["problems.train_files=[\"in.jsonl\"]", "problems.test_files=[]", "problems.test_share=0"];
        let mut arguments = vec!["check-verifier", "--config", "examples/code/run.toml", "--json"];
        arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
        arguments.extend(own);
        world.qstill(&arguments)
    };
    let report = run(&["--good", "solution"]).done().json();
    assert_eq!(counts(&report, "good"), [6, 6, 0, 0]);
    for kind in ["other", "cut", "empty"] {
        assert_eq!(counts(&report, kind), [6, 0, 6, 0], "{kind}: {report}");
    }
    // The example's own.
    let own = ["check-verifier", "--config", "examples/code/run.toml", "--good", "solution", "--json"];
    let report = world.qstill(&own).done().json();
    assert_eq!(counts(&report, "good"), [24, 24, 0, 0], "{report}");
    // Tests are no solutions.
    let outcome = run(&[]);
    assert_eq!(outcome.code, Some(65));
    assert!(outcome.stderr.contains("--good"), "{}", outcome.stderr);
}

#[test]
fn further_columns_reach_the_verifier() {
    let world = World::new();
    let texts: Vec<String> = (0..4).map(|n| format!("What is 40 and {n}?")).collect();
    let lists: Vec<Option<Vec<Option<i32>>>> = (0..4).map(|n| Some(vec![Some(n), None])).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("question", Arc::new(StringArray::from_iter_values(&texts))),
        ("answer", Arc::new(Int64Array::from_iter_values(40..44))),
        (
            "unit",
            Arc::new(StringArray::from(vec![Some("m"), None, Some("a\"b"), Some("")])) as Arc<dyn Array>,
        ),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    world.write_parquet("in.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    let lines: Vec<String> = (0..4)
        .map(|n| {
            let unit = [json!("m"), json!(null), json!("a\"b"), json!("")][n].clone();
            let list = json!([n, null]);
            json!({"question": texts[n], "answer": 40 + n, "unit": unit, "list": list}).to_string() + "\n"
        })
        .collect();
    world.write("in.jsonl", lines.concat());
    let meta = |file: &str, unit: &str| {
        let files = format!("problems.files=[\"{file}\"]");
        let sets = [FILES, &[files.as_str(), "problems.meta=[\"unit\", \"list\"]"]].concat();
        world.qstill(&of_preset("demo", "stage problems", file, &sets)).done();
        let mut rows: Vec<Problem> = world.left(file).rows("problems");
        rows.sort_by(|a, b| a.answer.cmp(&b.answer));
        rows.iter()
            .map(|row| {
                let mut meta: Value = serde_json::from_str(&row.meta).unwrap();
                assert!(meta[unit].is_u64() && meta["file"] == file, "{meta}");
                meta.as_object_mut().unwrap().retain(|key, _| key == "unit" || key == "list");
                meta
            })
            .collect::<Vec<Value>>()
    };
    let found = meta("in.parquet", "row");
    assert_eq!(found, meta("in.jsonl", "line"));
    assert_eq!(found[2], json!({"unit": "a\"b", "list": [2, null]}));
    assert_eq!(found[1]["unit"], Value::Null);
    let named = [FILES, &["problems.meta=[\"line\"]"]].concat();
    world.qstill(&of_preset("demo", "run", "named", &named)).fails(64, &["problems.meta names `line`"]);
}

#[test]
fn answers_compared_as_texts_and_sets() {
    let world = World::new();
    let rows: Vec<(String, String)> = (0..8)
        .map(|n| (format!("Which are near {n}?"), format!("item {n}, Item {}, other", n + 1)))
        .collect();
    world.write_rows("in.jsonl", &rows);
    for how in ["set", "words", "text"] {
        let report = check(&world, &[&format!("verify.compare={how}")], &["--json"]).done().json();
        assert_eq!(counts(&report, "good"), [8, 8, 0, 0], "{how}");
        for kind in ["other", "altered", "empty"] {
            assert_eq!(counts(&report, kind), [8, 0, 8, 0], "{how}: {kind}");
        }
    }
    // Which of them takes another order, and another case.
    let good: String = (0..8)
        .map(|n| {
            let (question, answer) = &rows[n];
            let said = format!("#### other, ITEM {}, item {n}", n + 1);
            json!({"question": question, "answer": answer, "said": said}).to_string() + "\n"
        })
        .collect();
    world.write("in.jsonl", good);
    let accepted = |how: &str| {
        let own = ["--json", "--good", "said", "--least-good", "0"];
        let report = check(&world, &[&format!("verify.compare={how}")], &own).done().json();
        counts(&report, "good")[1]
    };
    assert_eq!(["set", "words", "text"].map(accepted), [8, 0, 0]);
    check(&world, &["verify.compare=set", COMMAND], &[])
        .fails(64, &["verify.compare is \"set\"", "leave one"]);
    let options = ["verify.compare=set", "problems.options=[\"o\"]", "search.policy=endpoint"];
    check(&world, &options, &[]).fails(64, &["verify.compare is \"set\"", "letters"]);
    check(&world, &["verify.compare=fuzzy"], &[]).fails(64, &["fuzzy", "words"]);
}
