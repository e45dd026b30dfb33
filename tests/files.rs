//! Problems from the user's files: JSON lines in GSM8K's form, other columns, Parquet.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datasets::table::Example;
use datasets::types::{Problem, Split};

use crate::kit::{Left, World, of_preset};

/// Two-step problems with worked answers, as GSM8K has them.
pub fn worked(from: usize, count: usize) -> Vec<(String, String)> {
    let row = |n: usize| {
        let (boxes, each, gone) = (2 + n % 7, 5 + n, 1 + n % 4);
        let (all, left) = (boxes * each, boxes * each - gone);
        let question = format!(
            "A shop gets {boxes} boxes with {each} lamps in each. {gone} of the lamps are broken. How many lamps work?"
        );
        let first = format!("There are {boxes}*{each}=<<{boxes}*{each}={all}>>{all} lamps.");
        let second = format!("{all}-{gone}=<<{all}-{gone}={left}>>{left} of them work.");
        (question, format!("{first}\n{second}\n#### {left}"))
    };
    (from..from + count).map(row).collect()
}

const FILES: &[&str] = &[
    "problems.source=files",
    "problems.train_files=[\"train.jsonl\"]",
    "problems.test_files=[\"test.jsonl\"]",
    "problems.train=0",
    "problems.test=0",
    "problems.validation=0",
    "problems.validation_share=0.1",
    "problems.examples=2",
    "search.policy=none",
];

fn questions(run: &Left, split: Split) -> Vec<(String, String)> {
    let mut rows: Vec<_> = run
        .rows::<Problem>("problems")
        .into_iter()
        .filter(|p| p.split == split)
        .map(|p| (p.question, p.answer))
        .collect();
    rows.sort();
    rows
}

#[test]
fn duplicates_leaks_and_examples() {
    let world = World::new();
    let (mut train, test) = (worked(0, 30), worked(40, 5));
    // Three copies of one row, and two questions that the test file asks, one of them wrapped anew.
    train.extend([train[20].clone(), train[20].clone(), test[0].clone()]);
    train.push((test[1].0.replace(". ", ".\n  "), test[1].1.clone()));
    world.write_rows("train.jsonl", &train);
    world.write_rows("test.jsonl", &test);

    let outcome = world.run("whole", FILES).done();
    outcome.says(
        "2 duplicates (kept, each with an id of its own), 2 train rows left out because they are in test, 0 unreadable rows skipped, 2 worked examples",
    );
    let run = world.left("whole");
    assert_eq!([run.count("problems", "duplicates"), run.count("problems", "leaked")], [2, 2]);

    let problems: Vec<Problem> = run.rows("problems");
    let ids: HashSet<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
    assert_eq!(ids.len(), problems.len(), "copies have ids of their own");
    let copies: BTreeSet<_> =
        problems.iter().filter(|p| p.question == train[20].0).map(|p| p.split.name()).collect();
    assert_eq!(problems.iter().filter(|p| p.question == train[20].0).count(), 3);
    assert_eq!(copies.len(), 1, "copies are in one split");

    let examples: Vec<Example> = run.rows("problems");
    assert_eq!(examples.len(), 2);
    for example in &examples {
        assert!(problems.iter().all(|p| p.question != example.question), "an example is no problem");
        let (_, answer) = train.iter().find(|(question, _)| *question == example.question).unwrap();
        assert_eq!(example.completion.lines().count(), 3, "{example:?}");
        assert_eq!(example.completion.lines().last(), answer.lines().last());
    }
    let gold = |answer: &str| answer.rsplit_once("#### ").unwrap().1.to_owned();
    let mut golds: Vec<_> = test.iter().map(|(question, answer)| (question.clone(), gold(answer))).collect();
    golds.sort();
    assert_eq!(questions(&run, Split::Test), golds);
    assert_eq!(problems.len() + examples.len(), 32 + 5);

    // The same in two goes.
    world.qstill(&of_preset("demo", "stage problems", "parts", FILES)).done();
    world.resume("parts").done().says("problems: complete, skipped");
    world.left("parts").equals(&run);
}

#[test]
fn columns_of_any_name_and_parquet() {
    let world = World::new();
    let rows: Vec<(String, i64)> = (0..20)
        .map(|n| (format!("A jar has {n} sweets and gets 30 more. How many sweets?"), n + 30))
        .collect();
    let lines: String = rows
        .iter()
        .map(|(q, a)| serde_json::json!({"id": 7, "prompt": q, "target": a}).to_string() + "\n")
        .collect();
    world.write("in.jsonl", lines);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("target", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, a)| *a)))),
        ("prompt", Arc::new(StringArray::from_iter_values(rows.iter().map(|(q, _)| q)))),
    ];
    world.write_parquet("in.parquet", &RecordBatch::try_from_iter(columns).unwrap());

    let sets = [
        "problems.source=files",
        "problems.train=0",
        "problems.test=0",
        "problems.test_share=0.3",
        "problems.validation_share=0",
    ];
    let mut found = Vec::new();
    for file in ["in.jsonl", "in.parquet"] {
        let files = format!("problems.files={file}");
        let own = [&sets[..], &[&files, "problems.question=prompt", "problems.answer=target"]].concat();
        world.qstill(&of_preset("demo", "stage problems", file, &own)).done();
        found.push((questions(&world.left(file), Split::Train), questions(&world.left(file), Split::Test)));
    }
    assert_eq!(found[0], found[1], "splits follow from the content");
    // A copy under another name is a copy, and `--set` of one file needs no brackets.
    let both = [
        &sets[..],
        &[
            "problems.files=[\"in.jsonl\", \"in.parquet\"]",
            "problems.question=prompt",
            "problems.answer=target",
        ],
    ]
    .concat();
    world.qstill(&of_preset("demo", "stage problems", "both", &both)).done().says("20 duplicates");
    let (train, test) = &found[0];
    assert!(!train.is_empty() && !test.is_empty() && train.len() + test.len() == 20);
    assert!(
        train
            .iter()
            .all(|(q, a)| rows.iter().any(|(question, answer)| question == q && answer.to_string() == *a))
    );
}
