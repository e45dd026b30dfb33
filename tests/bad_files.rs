//! Files that cannot be used as they are: exit code 65 and the place.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

use crate::kit::{Outcome, World, of_preset};
use crate::server::sums;

const GOOD: &str = "{\"question\": \"Two and 3 more?\", \"answer\": \"5\"}\n";

fn read(world: &World, name: &str, file: &str, more: &[&str]) -> Outcome {
    let files = format!("problems.train_files=[\"{file}\"]");
    let own = ["problems.source=files", "problems.train=0", "problems.validation_share=0", &files];
    world.qstill(&of_preset("demo", "stage problems", name, &[&own, more].concat()))
}

#[test]
fn rows_that_cannot_be_read() {
    let world = World::new();
    let line = |text: &str| [GOOD.as_bytes(), text.as_bytes(), b"\n"].concat();
    let long = format!("{{\"question\": \"{}\", \"answer\": \"1\"}}", "why? ".repeat(200_000));
    let broken = [GOOD.as_bytes(), b"{\"question\": \"caf\xff\", \"answer\": \"1\"}\n"].concat();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", Vec::new(), &["empty.jsonl: no rows"]),
        ("blank", b"\n\n  \n".to_vec(), &["blank.jsonl: no rows"]),
        ("unanswered", line("{\"question\": \"Why?\"}"), &["unanswered.jsonl, line 2", "no column `answer`"]),
        ("null", line("{\"question\": \"Why?\", \"answer\": null}"), &["null.jsonl, line 2", "found null"]),
        (
            "unmarked",
            line("{\"question\": \"Why?\", \"answer\": \"because\\n#### \"}"),
            &["unmarked.jsonl, line 2", "column `answer`"],
        ),
        ("bytes", broken, &["bytes.jsonl, line 2", "not UTF-8 at byte 17"]),
        ("long", line(&long), &["long.jsonl, line 2", "1000000 bytes, more than the limit of 65536"]),
        (
            "nan",
            line("{\"question\": \"Why?\", \"answer\": NaN}"),
            &["nan.jsonl, line 2", "NaN is not a JSON number"],
        ),
        ("torn", line("{\"question\": \"Why?\", \"ans"), &["torn.jsonl, line 2", "not JSON"]),
        ("list", line("[1, 2]"), &["list.jsonl, line 2", "found an array"]),
    ];
    for (name, bytes, said) in cases {
        let file = format!("{name}.jsonl");
        world.write(&file, bytes);
        read(&world, name, &file, &[]).fails(65, said);
        if !["empty", "blank"].contains(&name) {
            let skipped = read(&world, name, &file, &["problems.bad_rows=skip"]).done();
            skipped.says("1 train, 0 validation").says("1 unreadable rows skipped");
        }
    }
}

#[test]
fn files_that_cannot_be_read() {
    let world = World::new();
    read(&world, "a", "none.jsonl", &[]).fails(65, &["none.jsonl: no such file"]);
    fs::create_dir(world.path("folder")).unwrap();
    read(&world, "b", "folder", &[]).fails(65, &["folder", "no .jsonl"]);
    world.write("data.csv", "question,answer\n");
    read(&world, "c", "data.csv", &[]).fails(65, &["data.csv", ".jsonl"]);
    world.write("fake.parquet", GOOD);
    read(&world, "d", "fake.parquet", &[]).fails(65, &["fake.parquet is not a whole Parquet file"]);

    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let others = RecordBatch::try_from_iter([("text", text(&["Why?"])), ("label", text(&["1"]))]).unwrap();
    world.write_parquet("others.parquet", &others);
    read(&world, "e", "others.parquet", &[])
        .fails(65, &["others.parquet", "no column `question`", "`text`, `label`"]);

    let answers = Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef;
    let nan =
        RecordBatch::try_from_iter([("question", text(&["Why?", "How?"])), ("answer", answers)]).unwrap();
    world.write_parquet("nan.parquet", &nan);
    read(&world, "f", "nan.parquet", &[])
        .fails(65, &["nan.parquet, row 1", "expected a finite number, found NaN"]);

    let whole = fs::read(world.path("nan.parquet")).unwrap();
    world.write("torn.parquet", &whole[..whole.len() / 2]);
    read(&world, "g", "torn.parquet", &[]).fails(65, &["torn.parquet is not a whole Parquet file"]);
    read(&world, "h", "nan.parquet", &["problems.question=answer"]).fails(65, &["nan.parquet", "answer"]);
}

#[test]
fn a_file_that_went_bad_costs_nothing_that_was_committed() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 16));
    world.write_rows("test.jsonl", &sums(50, 2));
    let own = [
        "problems.source=files",
        "problems.train_files=[\"train.jsonl\"]",
        "problems.test_files=[\"test.jsonl\"]",
        "problems.train=0",
        "problems.validation_share=0",
        "search.policy=none",
    ];
    world.run("a", &own).done();
    let run = world.left("a");
    let (before, good) = (run.product(), fs::read(world.path("train.jsonl")).unwrap());

    world.write("train.jsonl", [&good[..], b"{\"question\": 1}\n"].concat());
    world.resume("a").fails(65, &["train.jsonl, line 17"]);
    fs::remove_file(world.path("train.jsonl")).unwrap();
    world.resume("a").fails(65, &["train.jsonl: no such file"]);
    // Everything is still there, in its place or set aside.
    let left = run.files();
    assert!(
        before.values().all(|bytes| left.values().any(|other| other == bytes)),
        "something committed is gone"
    );

    world.write("train.jsonl", good);
    world.resume("a").done();
    assert!(before == run.product());
}
