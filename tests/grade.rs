//! `qstill grade` on files of every form and fault, and `qstill bench verify`.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datasets::Verdict;
use datasets::table::{self, GradeRow};
use serde_json::{Value, json};

use crate::kit::{Outcome, World, names};

/// One of each: equal, another value, no answer, and a gold that is no mathematics.
const ROWS: [(&str, &str); 4] = [
    ("48/2 = 24 clips in May.\n#### 72", r"So it is \boxed{72.00}."),
    ("1/3", "The answer is 0.33."),
    ("10", ""),
    ("a red house", "a blue house"),
];

fn lines(gold: &str, prediction: &str, rows: &[(&str, &str)]) -> String {
    rows.iter().map(|(g, p)| json!({"id": 1, gold: g, prediction: p}).to_string() + "\n").collect()
}

fn rows(world: &World, file: &str) -> Vec<Value> {
    fs::read_to_string(world.path(file))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn counts(outcome: Outcome) -> Vec<u64> {
    let summary = outcome.done().json();
    ["correct", "wrong", "undecidable", "rows", "skipped"]
        .iter()
        .map(|key| summary[key].as_u64().unwrap())
        .collect()
}

#[test]
fn a_summary_by_reason() {
    let world = World::new();
    world.write("in.jsonl", lines("gold", "prediction", &ROWS));
    let expected = "verdict      reason           rows   share\n\
                    correct      correct             1   25.0%\n\
                    wrong        no_answer           1   25.0%\n\
                    wrong        wrong_answer        1   25.0%\n\
                    undecidable  gold_unreadable     1   25.0%\n\
                    all                              4  100.0%\n\
                    1 correct (25.0%), 2 wrong (50.0%), 1 undecidable (25.0%)\n";
    assert_eq!(world.qstill(&["grade", "in.jsonl"]).done().says("grade: 4 rows").stdout, expected);
    let summary = world.qstill(&["grade", "in.jsonl", "--json", "--quiet"]).done();
    assert_eq!((summary.json()["rows"].as_u64(), summary.stderr.as_str()), (Some(4), ""));
    assert_eq!(
        summary.json()["reasons"][1],
        json!({"verdict": "wrong", "reason": "no_answer", "rows": 1, "share": 0.25})
    );
    assert_eq!(names(&world.path(".")), ["in.jsonl"], "without --output nothing is written");
}

#[test]
fn a_row_each_as_lines_and_as_parquet() {
    let world = World::new();
    world.write("in.jsonl", lines("gold", "prediction", &ROWS));
    world.qstill(&["grade", "in.jsonl", "--output", "out.jsonl"]).done().says("wrote out.jsonl");
    world.qstill(&["grade", "in.jsonl", "--output", "out.parquet"]).done();
    assert_eq!(names(&world.path(".")), ["in.jsonl", "out.jsonl", "out.parquet"], "temporary files are gone");

    let found = rows(&world, "out.jsonl");
    let first = json!({"row": 0, "verdict": "correct", "reason": "correct", "gold_read": "72", "prediction_read": "72", "read_by": "box"});
    assert_eq!((found.len(), &found[0]), (4, &first));
    let reasons: Vec<&str> = found.iter().map(|row| row["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["correct", "wrong_answer", "no_answer", "gold_unreadable"]);
    let of_table: Vec<GradeRow> = table::read_all(&world.path("out.parquet")).unwrap();
    for (row, line) in of_table.iter().zip(&found) {
        let GradeRow { row, verdict, reason, gold_read, prediction_read, read_by } = row;
        let verdict = verdict.name();
        let same = json!({"row": row, "verdict": verdict, "reason": reason, "gold_read": gold_read, "prediction_read": prediction_read, "read_by": read_by});
        assert_eq!(same, *line);
    }
    assert_eq!(of_table.len(), 4);
    assert_eq!(world.qstill(&["inspect", "out.parquet", "--json"]).done().json()["table"], "grades");
}

#[test]
fn columns_of_any_name_in_lines_and_parquet() {
    let world = World::new();
    let nested = json!({"meta": {"a.b": {"answer": "7"}}, "completion": "#### 7", "meta.x": 8});
    world.write("in.json", nested.to_string());
    world.qstill(&["grade", "in.json", "--gold", "meta.a.b.answer", "--prediction", "completion"]).done();
    assert_eq!(
        counts(world.qstill(&[
            "grade",
            "in.json",
            "--gold",
            "meta.x",
            "--prediction",
            "completion",
            "--json"
        ])),
        [0, 1, 0, 1, 0]
    );

    let columns: Vec<(&str, ArrayRef)> = vec![
        ("target", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("other", Arc::new(StringArray::from(vec!["1", "1", "1"]))),
        ("guess", Arc::new(Float64Array::from(vec![1.0, 2.5, 3.0]))),
    ];
    world.write_parquet("in.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    let named = ["grade", "in.parquet", "--gold", "target", "--prediction", "guess", "--json"];
    assert_eq!(counts(world.qstill(&named)), [2, 1, 0, 3, 0]);
}

#[test]
fn rows_stay_in_order_over_many_batches() {
    let world = World::new();
    let count = 20_000_u64;
    let text: String = (0..count)
        .map(|n| format!("{{\"gold\": {n}, \"prediction\": \"\\\\boxed{{{}}}\"}}\n", n + n % 2))
        .collect();
    world.write("in.jsonl", text);
    let outcome = world.qstill(&["grade", "in.jsonl", "--output", "out.jsonl", "--json"]);
    assert_eq!(counts(outcome), [count / 2, count / 2, 0, count, 0]);
    for (n, row) in rows(&world, "out.jsonl").iter().enumerate() {
        assert_eq!(
            (row["row"].as_u64(), row["gold_read"].as_str()),
            (Some(n as u64), Some(n.to_string().as_str()))
        );
    }
    world.qstill(&["grade", "in.jsonl", "--output", "out.parquet"]).done();
    let of_table: Vec<GradeRow> = table::read_all(&world.path("out.parquet")).unwrap();
    assert!(
        of_table
            .iter()
            .enumerate()
            .all(|(n, row)| row.row == n as u64 && (row.verdict == Verdict::Correct) == (n % 2 == 0))
    );
    assert_eq!(of_table.len(), count as usize);

    // The number of threads changes nothing.
    let mut single = world.command(&["grade", "in.jsonl", "--output", "single.parquet"]);
    Outcome::from(single.env("RAYON_NUM_THREADS", "1").output().unwrap()).done();
    assert!(fs::read(world.path("out.parquet")).unwrap() == fs::read(world.path("single.parquet")).unwrap());
}

#[test]
fn precision_and_steps_are_there_where_they_are_asked_for() {
    let world = World::new();
    world.write("third.jsonl", lines("gold", "prediction", &[("1/3", "0.33"), ("1/3", "0.34")]));
    assert_eq!(counts(world.qstill(&["grade", "third.jsonl", "--json"])), [0, 2, 0, 2, 0]);
    assert_eq!(
        counts(world.qstill(&["grade", "third.jsonl", "--json", "--precision", "2"])),
        [1, 1, 0, 2, 0]
    );

    let question = "Ann has 3 bags of 4 pens and finds 2 more. How many pens?";
    let row =
        |prediction| json!({"question": question, "gold": "14", "prediction": prediction}).to_string() + "\n";
    world.write("steps.jsonl", row("3*4=12\n12+2=14\n#### 14") + &row("3*4=11\n11+2=14\n#### 14"));
    assert_eq!(counts(world.qstill(&["grade", "steps.jsonl", "--json"])), [2, 0, 0, 2, 0]);
    for more in [&["--steps"][..], &["--steps", "--question", "question"]] {
        let arguments = [&["grade", "steps.jsonl", "--output", "out.jsonl", "--force"], more].concat();
        world.qstill(&arguments).done();
        let reasons: Vec<Value> = rows(&world, "out.jsonl").iter().map(|row| row["reason"].clone()).collect();
        assert_eq!(reasons[0], "correct");
        assert!(reasons[1] != "correct" && reasons[1] != "wrong_answer", "{reasons:?}");
    }
}

#[test]
fn an_output_is_left_alone_or_replaced_as_a_whole() {
    let world = World::new();
    world.write("in.jsonl", lines("gold", "prediction", &ROWS));
    world.write("bad.jsonl", lines("gold", "prediction", &ROWS) + "{}\n");
    world.write("out.jsonl", "mine");
    let mine = |world: &World| fs::read_to_string(world.path("out.jsonl")).unwrap();
    world
        .qstill(&["grade", "in.jsonl", "--output", "out.jsonl"])
        .fails(64, &["out.jsonl is there already", "--force"]);
    world
        .qstill(&["grade", "bad.jsonl", "--output", "out.jsonl", "--force"])
        .fails(65, &["bad.jsonl, line 5"]);
    assert_eq!(mine(&world), "mine", "a failure replaces nothing");
    world.qstill(&["grade", "in.jsonl", "--output", "out.jsonl", "--force"]).done();
    assert_eq!(rows(&world, "out.jsonl").len(), 4);

    world
        .qstill(&["grade", "in.jsonl", "--output", "./in.jsonl", "--force"])
        .fails(64, &["in.jsonl is the file to be judged"]);
    world.qstill(&["grade", "in.jsonl", "--output", "out.csv"]).fails(64, &["out.csv", ".jsonl or .parquet"]);
    world
        .qstill(&["grade", "in.jsonl", "--output", "none/out.jsonl"])
        .fails(74, &["cannot write none/out.jsonl"]);
    fs::create_dir(world.path("folder.jsonl")).unwrap();
    world
        .qstill(&["grade", "in.jsonl", "--output", "folder.jsonl", "--force"])
        .fails(64, &["folder.jsonl is there already"]);
    assert_eq!(
        names(&world.path(".")),
        ["bad.jsonl", "folder.jsonl", "in.jsonl", "out.jsonl"],
        "temporary files are gone"
    );
}

#[test]
fn bad_rows_are_named_or_skipped() {
    let world = World::new();
    let good = lines("gold", "prediction", &ROWS[..1]);
    let cases: &[(&[u8], &[&str])] = &[
        (b"{\"gold\": 1}", &["line 2", "no column `prediction`", "`gold`"]),
        (b"{\"gold\": 1, \"predicton\": 1}", &["line 2", "is `predicton` meant?"]),
        (b"{\"gold\": null, \"prediction\": 1}", &["line 2", "column `gold`", "found null"]),
        (b"{\"gold\": [1], \"prediction\": 1}", &["line 2", "expected a string or a number, found an array"]),
        (b"{\"gold\": 1, \"prediction\": true}", &["line 2", "found true or false"]),
        (b"{\"gold\": NaN, \"prediction\": 1}", &["line 2", "NaN is not a JSON number"]),
        (b"{\"gold\": 1, \"predict", &["line 2", "not JSON"]),
        (b"{\"gold\": \"\xff\", \"prediction\": 1}", &["line 2", "not UTF-8 at byte 10"]),
        (b"[1, 2]", &["line 2", "found an array"]),
    ];
    for (line, said) in cases {
        world.write("in.jsonl", [good.as_bytes(), line, b"\n", good.as_bytes()].concat());
        world.qstill(&["grade", "in.jsonl"]).fails(65, &[&["in.jsonl, "], *said].concat());
        let skipped =
            world.qstill(&["grade", "in.jsonl", "--skip-bad", "--json", "--output", "out.jsonl", "--force"]);
        assert_eq!(counts(skipped.says("skipped: ")), [2, 0, 0, 2, 1]);
        assert_eq!(rows(&world, "out.jsonl")[1]["row"], 2, "a skipped row keeps its number");
    }
    let text = world.qstill(&["grade", "in.jsonl", "--skip-bad"]).done().stdout;
    assert!(text.ends_with("; 1 bad row skipped\n"), "{text}");
    world
        .qstill(&["grade", "in.jsonl", "--gold", "glod", "--skip-bad"])
        .fails(65, &["no column `glod`", "is `gold` meant?"]);
}

#[test]
fn files_that_cannot_be_judged() {
    let world = World::new();
    world.write("empty.jsonl", "\n\n");
    world.write("data.csv", "gold,prediction\n1,1\n");
    world.write("fake.parquet", "{}");
    fs::create_dir(world.path("folder")).unwrap();
    let text = |values: &[Option<&str>]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("gold", text(&[Some("1"), None]), true),
        ("predicted", text(&[Some("1"), Some("1")]), true),
    ]);
    world.write_parquet("null.parquet", &batch.unwrap());
    let cases: &[(&[&str], &[&str])] = &[
        (&["none.jsonl"], &["none.jsonl does not exist"]),
        (&["folder"], &["folder is a folder"]),
        (&["empty.jsonl"], &["empty.jsonl: no rows"]),
        (&["empty.jsonl", "--skip-bad"], &["empty.jsonl: no rows"]),
        (&["data.csv"], &["data.csv", ".jsonl"]),
        (&["fake.parquet"], &["fake.parquet is not a whole Parquet file"]),
        (
            &["null.parquet"],
            &["no column `prediction`; is `predicted` meant? (there are `gold`, `predicted`)"],
        ),
        (
            &["null.parquet", "--prediction", "predicted"],
            &["null.parquet, row 1: column `gold`: expected a value, found null"],
        ),
    ];
    for (arguments, said) in cases {
        world.qstill(&[&["grade"], *arguments].concat()).fails(65, said);
    }
    let skipped =
        world.qstill(&["grade", "null.parquet", "--prediction", "predicted", "--skip-bad", "--json"]);
    assert_eq!(counts(skipped), [1, 0, 0, 1, 1]);
    for arguments in
        [&["--force"][..], &["--question", "q"], &["--precision", "-1"], &["--precision", "many"]]
    {
        assert_eq!(world.qstill(&[&["grade", "empty.jsonl"], arguments].concat()).code, Some(64));
    }
}

#[test]
fn the_speed_of_the_grader() {
    let world = World::new();
    let row = json!({"question": "Why?", "answer": "1+1=2\n#### 2"}).to_string();
    world.write("gsm8k.jsonl", &row);
    world.write("bad.jsonl", row + "\n{}\n");
    for (file, source, pairs) in [(None, "words", 2000), (Some("gsm8k.jsonl"), "file", 1)] {
        let arguments: Vec<&str> = ["bench", "verify", "--seconds", "0.01"].into_iter().chain(file).collect();
        let found = world.qstill(&arguments).done().json();
        assert_eq!(
            (&found["source"], &found["pairs"], &found["threads"]),
            (&json!(source), &json!(pairs), &json!(1))
        );
        assert!(
            ["answers_per_second", "solutions_per_second"]
                .iter()
                .all(|key| found[key].as_f64().unwrap() > 0.0),
            "{found}"
        );
    }
    world.qstill(&["bench", "verify", "bad.jsonl"]).fails(65, &["bad.jsonl, line 2"]);
    for wrong in [&["verify", "--rows", "4"][..], &[], &["verify", "--seconds", "-1"]] {
        assert_eq!(world.qstill(&[&["bench"], wrong].concat()).code, Some(64), "{wrong:?}");
    }
}
