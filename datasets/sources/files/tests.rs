//! Good files of every form, and every fault that a row or a file can have.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, Decimal128Array, DictionaryArray, Float64Array, Int32Array, ListArray,
};
use arrow::array::{RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;

type ReadRow = Result<Raw, SourceError>;

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn lines(bytes: impl AsRef<[u8]>) -> Vec<ReadRow> {
    let folder = tempfile::tempdir().unwrap();
    open(&write(&folder, "in.jsonl", bytes.as_ref()), &Options::default()).unwrap().collect()
}

/// The message of the only row, without the file's path.
fn fault(line: impl AsRef<[u8]>) -> String {
    match &lines(line)[..] {
        [Err(error)] => message(error),
        other => format!("{other:?}"),
    }
}

fn message(error: &SourceError) -> String {
    let text = error.to_string();
    text.split_once("/in.").map_or(text.clone(), |(_, tail)| tail.to_owned())
}

fn pairs(rows: Vec<ReadRow>) -> Vec<(String, String)> {
    rows.into_iter().map(|row| row.map(|row| (row.question, row.answer)).unwrap()).collect()
}

fn pair(question: &str, answer: &str) -> (String, String) {
    (question.into(), answer.into())
}

#[test]
fn lines_are_rows() {
    let text = "\u{feff}{\"question\": \"a\", \"answer\": \" 1 \"}\r\n\n  \t\n\
                {\"x\": [{\"answer\": 9}], \"answer\": \"2\", \"question\": \"\\u00e9\"}";
    let rows = lines(text);
    assert_eq!(rows[1].as_ref().unwrap().meta, r#"{"file":"in.jsonl","line":4}"#);
    assert_eq!(pairs(rows), [pair("a", "1"), pair("é", "2")]);
}

#[test]
fn numbers_are_taken_as_written() {
    let answer =
        |number: &str| pairs(lines(format!(r#"{{"question":"q","answer":{number} }}"#)))[0].1.clone();
    for number in [
        "7",
        "-0",
        "72.50",
        "0.1000000000000000055511151231257827",
        "123456789012345678901234567890",
        "1e400",
    ] {
        assert_eq!(answer(number), number);
    }
}

#[test]
fn of_equal_names_the_last_counts() {
    assert_eq!(pairs(lines(r#"{"question":"q","answer":1,"answ\u0065r":2}"#)), [pair("q", "2")]);
}

#[test]
fn gsm8k_answers_are_taken_apart() {
    assert_eq!(take_apart("72"), (None, "72"));
    assert_eq!(take_apart("48/2 = 24\n48+24 = 72\n#### 72"), (Some("48/2 = 24\n48+24 = 72"), "72"));
    assert_eq!(take_apart("#### 1,000\n"), (None, "1,000"));
    assert_eq!(take_apart("a\n#### 1\nb\r\n  ####2"), (Some("a\n#### 1\nb"), "2"));
    assert_eq!(take_apart("not #### here"), (None, "not #### here"));
    assert_eq!(take_apart("a\n#### "), (Some("a"), ""));
    let row = lines(r#"{"question":"q","answer":"1+1=2\n#### 2"}"#).remove(0).unwrap();
    assert_eq!((row.answer.as_str(), row.worked.as_deref()), ("2", Some("1+1=2")));
}

#[test]
fn bad_lines_say_where_and_what_and_reading_goes_on() {
    let rows = lines("{\"question\":\"a\",\"answer\":1}\nnot json\n{\"question\":\"b\",\"answer\":2}\n");
    assert_eq!(rows.len(), 3);
    assert!(rows[0].is_ok() && rows[2].is_ok());
    let error = rows[1].as_ref().unwrap_err();
    assert!(error.is_row());
    assert_eq!(
        message(error),
        "jsonl, line 2: not JSON: expected ident at byte 2 (each line must be one whole JSON object)"
    );
}

#[test]
fn faults_of_lines() {
    assert_eq!(
        fault(b"\xEF\xBB\xBF\n{\"question\":\"\xFF\"}"),
        "jsonl, line 2: not UTF-8 at byte 13 of the row (byte 17 of the file)"
    );
    assert_eq!(
        fault(r#"{"question":"q","answer":NaN}"#),
        "jsonl, line 1: not JSON: NaN is not a JSON number; expected value at byte 26 (each line must be one \
         whole JSON object)"
    );
    assert!(fault(r#"{"question":"q","answer":-Infinity}"#).contains("Infinity is not a JSON number"));
    assert!(fault(r#"{"question":"q""#).contains("EOF while parsing an object"));
    assert!(fault(r#"{"question":"q","answer":"\ud800"}"#).contains("not JSON"));
    assert_eq!(fault("[1]"), "jsonl, line 1: expected a JSON object on each line, found an array");
    assert_eq!(
        fault(r#"{"questoin":"q","answer":1}"#),
        "jsonl, line 1: no column `question`; is `questoin` meant? (there are `questoin`, `answer`)"
    );
    assert_eq!(
        fault(r#"{"question":"q","id":1}"#),
        "jsonl, line 1: no column `answer` (there are `question`, `id`)"
    );
    assert_eq!(fault("{}"), "jsonl, line 1: no column `question` (there are none)");
    assert_eq!(
        fault(r#"{"question":"q","answer":null}"#),
        "jsonl, line 1: column `answer`: expected a value, found null"
    );
    for empty in [r#"" ""#, r#""worked\n#### ""#] {
        assert_eq!(
            fault(format!(r#"{{"question":"q","answer":{empty}}}"#)),
            "jsonl, line 1: column `answer`: expected a value, found only whitespace"
        );
    }
    assert!(fault(r#"{"question":"","answer":"1"}"#).contains("column `question`: expected a value"));
    assert_eq!(
        fault(r#"{"question":"q","answer":["1"]}"#),
        "jsonl, line 1: column `answer`: expected a string or a number, found an array"
    );
    assert!(fault(r#"{"question":"q","answer":true}"#).ends_with("found true or false"));
    assert!(
        fault(r#"{"question":1,"answer":1}"#)
            .ends_with("column `question`: expected a string, found a number")
    );
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(
        fault(format!(r#"{{"question":"{long}","answer":1}}"#)),
        "jsonl, line 1: column `question`: 65537 bytes, more than the limit of 65536"
    );
}

#[test]
fn deep_nesting_is_passed_over() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    assert_eq!(pairs(lines(format!(r#"{{"x":{deep},"question":"q","answer":1}}"#))), [pair("q", "1")]);
}

#[test]
fn a_line_that_never_ends_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.jsonl");
    let mut file = std::fs::File::create(&path).unwrap();
    for part in 0..3 {
        file.write_all(&vec![b'x'; MAX_LINE_BYTES / 2]).unwrap();
        if part == 2 {
            file.write_all(b"\n\xFF\n{\"question\":\"q\",\"answer\":1}").unwrap();
        }
    }
    let rows: Vec<_> = open(&path, &Options::default()).unwrap().collect();
    assert_eq!(
        message(rows[0].as_ref().unwrap_err()),
        "jsonl, line 1: the line is longer than 16777216 bytes"
    );
    let second = message(rows[1].as_ref().unwrap_err());
    assert_eq!(
        second,
        format!("jsonl, line 2: not UTF-8 at byte 0 of the row (byte {} of the file)", (24 << 20) + 1)
    );
    assert!(rows[2].is_ok());
    assert_eq!(rows.len(), 3);
}

#[test]
fn files_without_rows() {
    for text in ["", "\n \n"] {
        assert_eq!(fault(text), "jsonl: no rows");
    }
    let empty = RecordBatch::new_empty(Arc::new(Schema::new(vec![
        Field::new("question", DataType::Utf8, false),
        Field::new("answer", DataType::Utf8, false),
    ])));
    let (_folder, opened) = parquet(&empty, &Options::default());
    assert!(matches!(opened, Err(SourceError::NoRows { .. })));
}

#[test]
fn names_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { question_column: "q".into(), answer_column: "a".into(), ..Options::default() };
    assert!(matches!(open(folder.path(), &options), Err(SourceError::NoFiles { .. })));
    let csv = write(&folder, "in.csv", b"q,a\n");
    assert!(matches!(open(&csv, &options), Err(SourceError::Layout { .. })));
    assert!(matches!(open(&folder.path().join("no.jsonl"), &options), Err(SourceError::Io { .. })));

    write(&folder, "b.ndjson", br#"{"q":"2","a":2}"#);
    write(&folder, "a.JSONL", br#"{"q":"1","a":1}"#);
    write(&folder, "c.parquet", b"nothing of the kind");
    write(&folder, "d.json", br#"{"q":"3","a":3}"#);
    let mut rows: Vec<_> = open(folder.path(), &options).unwrap().collect();
    assert!(matches!(rows.remove(2), Err(SourceError::NotParquet { .. })));
    assert_eq!(pairs(rows), [pair("1", "1"), pair("2", "2"), pair("3", "3")]);
}

fn parquet(batch: &RecordBatch, options: &Options) -> (TempDir, Result<Reader, SourceError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.parquet");
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let opened = open(&path, options);
    (folder, opened)
}

fn batch(columns: Vec<(&str, Arc<dyn Array>)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn answers(answers: Arc<dyn Array>) -> Vec<ReadRow> {
    let questions: Arc<dyn Array> = Arc::new(StringViewArray::from(vec!["q"; answers.len()]));
    let other: Arc<dyn Array> = Arc::new(Int32Array::from(vec![0; answers.len()]));
    let batch = batch(vec![("answer", answers), ("other", other), ("question", questions)]);
    parquet(&batch, &Options::default()).1.unwrap().collect()
}

#[test]
fn parquet_rows_of_every_type() {
    let given =
        |array: Arc<dyn Array>| answers(array).into_iter().map(|row| row.unwrap().answer).collect::<Vec<_>>();
    assert_eq!(given(Arc::new(StringArray::from(vec!["1", "a\n#### 2"]))), ["1", "2"]);
    assert_eq!(given(Arc::new(Int32Array::from(vec![-7]))), ["-7"]);
    assert_eq!(
        given(Arc::new(Float64Array::from(vec![72.0, 0.1, 1e21]))),
        ["72", "0.1", "1000000000000000000000"]
    );
    let decimals = Decimal128Array::from(vec![12345, -5]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(given(Arc::new(decimals)), ["123.45", "-0.05"]);
    let names: DictionaryArray<Int32Type> = vec!["x", "y", "x"].into_iter().collect();
    assert_eq!(given(Arc::new(names)), ["x", "y", "x"]);
    let many = given(Arc::new(Int32Array::from_iter_values(0..3_000)));
    assert!(many.iter().enumerate().all(|(n, answer)| *answer == n.to_string()) && many.len() == 3_000);
}

#[test]
fn faults_of_parquet_rows() {
    let rows =
        answers(Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(f64::INFINITY)])));
    assert_eq!(rows[0].as_ref().unwrap().meta, r#"{"file":"in.parquet","row":0}"#);
    let messages: Vec<_> = rows[1..].iter().map(|row| message(row.as_ref().unwrap_err())).collect();
    assert_eq!(
        messages,
        [
            "parquet, row 1: column `answer`: expected a value, found null",
            "parquet, row 2: column `answer`: expected a finite number, found NaN",
            "parquet, row 3: column `answer`: expected a finite number, found inf",
        ]
    );
    let rows = answers(Arc::new(BinaryArray::from(vec![b"ok".as_slice(), b"a\xFF"])));
    assert!(rows[0].is_ok());
    assert_eq!(message(rows[1].as_ref().unwrap_err()), "parquet, row 1: not UTF-8 at byte 1 of the row");
}

#[test]
fn faults_of_parquet_columns() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]);
    let batch =
        batch(vec![("question", Arc::new(StringArray::from(vec!["q"]))), ("Answers", Arc::new(list))]);
    let (_folder, opened) = parquet(&batch, &Options::default());
    let Err(error) = opened else { panic!("the column is not there") };
    assert!(!error.is_row());
    assert_eq!(
        message(&error),
        "parquet: no column `answer`; is `Answers` meant? (there are `question`, `Answers`)"
    );
    let options = Options { answer_column: "Answers".into(), ..Options::default() };
    let (_folder, opened) = parquet(&batch, &options);
    let Err(error) = opened else { panic!("the column is a list") };
    let found = message(&error);
    assert!(
        found.starts_with("parquet: column `Answers`: expected text or numbers, found the type List"),
        "{found}"
    );
}

#[test]
fn a_torn_parquet_file_ends_with_one_error() {
    let texts: Vec<_> = (0..5_000).map(|n| format!("{n} {}", n * 7919 % 5003)).collect();
    let texts: Arc<dyn Array> = Arc::new(StringArray::from(texts));
    let (folder, opened) =
        parquet(&batch(vec![("question", texts.clone()), ("answer", texts)]), &Options::default());
    assert_eq!(pairs(opened.unwrap().collect()).len(), 5_000);
    let path = folder.path().join("in.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half / 2..half].fill(0xFF);
    std::fs::write(&path, &bytes).unwrap();
    let rows: Vec<_> = open(&path, &Options::default()).unwrap().collect();
    let errors: Vec<_> = rows.iter().filter_map(|row| row.as_ref().err()).collect();
    assert!(matches!(errors[..], [SourceError::Damaged { .. }]), "{errors:?}");
    std::fs::write(&path, &bytes[..half]).unwrap();
    assert!(matches!(open(&path, &Options::default()), Err(SourceError::NotParquet { .. })));
}

fn cells(rows: Cells) -> Vec<String> {
    rows.map(|row| {
        row.map_or_else(|error| message(&error), |row| format!("{}: {}", row.place, row.cells.join(" | ")))
    })
    .collect()
}

#[test]
fn any_columns_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"a":"1","b":2.50,"c":{"d":{"e.f":"3"},"g":null,"h":[4]},"c.x":"5"}"#;
    let path = write(&folder, "in.jsonl", text.as_bytes());
    let read = |columns: &[&str]| {
        let columns = columns.iter().map(|name| Column::text_or_number(*name)).collect();
        cells(open_columns(&path, columns).unwrap()).remove(0)
    };
    assert_eq!(read(&["b", "a", "b"]), "line 1: 2.50 | 1 | 2.50");
    assert_eq!(read(&["c.d.e.f", "c.x"]), "line 1: 3 | 5");
    assert_eq!(read(&["c.g"]), "jsonl, line 1: column `c.g`: expected a value, found null");
    assert_eq!(read(&["c.h"]), "jsonl, line 1: column `c.h`: expected a string or a number, found an array");
    assert_eq!(
        read(&["c.d.e"]),
        "jsonl, line 1: no column `c.d.e`; is `c.d.e.f` meant? (there are `c.d.e.f`)"
    );
    assert_eq!(
        read(&["a.b"]),
        "jsonl, line 1: no column `a.b`; is `a` meant? (there are `a`, `b`, `c`, `c.x`)"
    );
}

#[test]
fn columns_within_structs() {
    let inner: Arc<dyn Array> = Arc::new(StringArray::from(vec![Some("1"), None, Some("3")]));
    let fields = vec![Field::new("e", DataType::Utf8, true)];
    let present = arrow::buffer::NullBuffer::from(vec![true, true, false]);
    let outer: Arc<dyn Array> =
        Arc::new(arrow::array::StructArray::new(fields.into(), vec![inner], Some(present)));
    let number: Arc<dyn Array> = Arc::new(Int32Array::from(vec![7, 8, 9]));
    let (folder, _) =
        parquet(&batch(vec![("x", number.clone()), ("d", outer), ("n", number)]), &Options::default());
    let path = folder.path().join("in.parquet");
    let read = |columns: &[&str]| {
        open_columns(&path, columns.iter().map(|name| Column::text_or_number(*name)).collect())
    };
    let mut rows = read(&["n", "d.e", "n"]).unwrap();
    assert_eq!(rows.extent(), (0, 3));
    assert!(rows.next().is_some());
    assert_eq!(rows.extent(), (1, 3));
    let null = |row| format!("parquet, row {row}: column `d.e`: expected a value, found null");
    assert_eq!(cells(read(&["n", "d.e", "n"]).unwrap()), ["row 0: 7 | 1 | 7".to_owned(), null(1), null(2)]);
    let Err(error) = read(&["d.f"]) else { panic!("the column is not there") };
    assert_eq!(message(&error), "parquet: no column `d.f`; is `d.e` meant? (there are `d.e`)");
    let Err(error) = read(&["d"]) else { panic!("the column is a struct") };
    assert!(
        message(&error).starts_with("parquet: column `d`: expected text or numbers, found the type Struct"),
        "{error}"
    );
}
