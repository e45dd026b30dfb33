//! Tests of inspection over real files and stage directories.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datasets::table::Writer;
use datasets::types::End;
use datasets::{Solution, Step};
use parquet::arrow::ArrowWriter;

use serde_json::json;

use super::*;
use crate::disk::commit::StageDir;
use crate::disk::durable::names;
use crate::disk::layout::Stage;
use crate::run::fingerprint::Fingerprint;
use crate::terminal::exit::{Exit, exit_of, explain};

const PLAIN: Look = Look { width: 100, colour: false };

fn text_of(path: &Path, options: &Options) -> Result<String> {
    let mut out = Vec::new();
    inspect_to(&mut out, &[path.to_owned()], options, PLAIN)?;
    Ok(String::from_utf8(out)?)
}

fn json_of(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&text_of(path, &Options { form: Form::Json, ..Options::default() })?)?)
}

/// The exit code and the line of an inspection that fails.
fn refused(path: &Path, options: &Options) -> (Exit, String) {
    match text_of(path, options) {
        Ok(text) => (Exit::Done, text),
        Err(err) => (exit_of(&err, &[]), explain(&err, &[])),
    }
}

fn solution(number: u64) -> Solution {
    let step =
        Step { text: format!("{number} + 4 = 7"), logprob: -0.5, value: f32::NAN, q: f32::NAN, tokens: 6 };
    Solution {
        solution_id: format!("{number:016x}"),
        problem_id: "p".to_owned(),
        round: 1,
        algorithm: "best-of-n".to_owned(),
        policy: "rules".to_owned(),
        policy_fingerprint: "f".to_owned(),
        seed: number,
        steps: vec![step.clone(), step],
        final_answer: "7".to_owned(),
        end: End::Complete,
        thought: String::new(),
        thought_tokens: 0,
        tokens: 12,
        search_tokens: 12.5,
        search_expansions: 0.0,
    }
}

/// A run with two committed shards of solutions in its search stage.
fn a_run() -> Result<(tempfile::TempDir, StageDir, Lock)> {
    let home = tempfile::tempdir()?;
    fs::write(home.path().join("run.toml"), "")?;
    let lock = Lock::acquire(home.path(), "test")?;
    let stage = StageDir::open(&home.path().join("round-1/search"), &lock)?;
    let fingerprint = Fingerprint::of(Stage::Search, &json!({"code": 1}))?;
    fingerprint.save(stage.path())?;
    for shard in 0..2u32 {
        let mut attempt = stage.begin(shard);
        let mut file = attempt.file("solutions")?;
        let mut writer = Writer::new(&mut file)?;
        writer.extend((0..3).map(|row| solution(u64::from(3 * shard) + row)))?;
        let (rows, _) = writer.finish()?;
        attempt.finish_file(file, rows)?;
        attempt.commit(&fingerprint.hash(), BTreeMap::from([("solved".to_owned(), 2)]))?;
    }
    Ok((home, stage, lock))
}

fn foreign(path: &Path) -> Result<()> {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("day", Arc::new(Date32Array::from(vec![0, 1]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]).with_timezone("UTC"))),
        ("raw", Arc::new(BinaryArray::from(vec![&[1u8][..], &[2]]))),
        ("text", Arc::new(StringArray::from(vec!["a\u{1b}[2Jb", "c"]))),
    ];
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

#[test]
fn a_run_shows_what_is_committed_and_names_the_rest() -> Result<()> {
    let (home, stage, _lock) = a_run()?;
    fs::write(stage.path().join("shards/part-00009-nodes-0000.parquet"), "x")?;
    let text = text_of(home.path(), &Options::default())?;
    assert!(text.contains("running: process "), "{text}");
    let line = text.lines().find(|line| line.contains("search  solutions")).unwrap_or_default();
    assert_eq!(
        line.split_whitespace().take(6).collect::<Vec<_>>(),
        ["1", "search", "solutions", "3", "2", "6"]
    );
    assert!(text.contains("round 1 search: 1 file in shards/ without a commit, not counted"), "{text}");
    assert_eq!(text_of(&home.path().join("round-1"), &Options::default())?, text);

    let shard = names(&stage.path().join("shards"))?
        .into_iter()
        .find(|name| name.contains("00001"))
        .unwrap_or_default();
    fs::write(stage.path().join("shards").join(shard), "torn")?;
    let value = json_of(home.path())?;
    assert_eq!(value["stages"][0]["tables"][0]["rows"], 3);
    assert_eq!(value["stages"][0]["counts"]["solved"], 2);
    let note = value["stages"][0]["notes"][0].as_str().unwrap_or_default();
    assert!(note.starts_with("does not count: part-00001") && note.contains("has 4 bytes"), "{note}");
    Ok(())
}

#[test]
fn shards_of_other_settings_do_not_count() -> Result<()> {
    let (home, stage, _lock) = a_run()?;
    Fingerprint::of(Stage::Search, &json!({"code": 2}))?.save(stage.path())?;
    let value = json_of(home.path())?;
    assert_eq!(value["stages"][0]["tables"], json!([]));
    assert_eq!(value["stages"][0]["notes"][0], "2 shards made with other settings, not counted");
    // Without the stored fingerprint, the first commit says what counts.
    fs::remove_file(stage.path().join("fingerprint.json"))?;
    assert_eq!(json_of(home.path())?["stages"][0]["tables"][0]["shards"], 2);
    Ok(())
}

#[test]
fn a_stage_and_its_table_show_rows_over_all_shards() -> Result<()> {
    let (_home, stage, _lock) = a_run()?;
    let options =
        Options { head: 5, columns: vec!["steps".to_owned(), "seed".to_owned()], ..Options::default() };
    let text = text_of(&stage.path().join("solutions"), &options)?;
    assert!(
        text.contains("table solutions, version 3; a row is a complete path of steps with a final answer"),
        "{text}"
    );
    assert!(
        text.contains("6 rows in 2 committed shards, ") && text.contains(", zstd, 2 row groups"),
        "{text}"
    );
    assert!(text.contains("  logprob  float32         natural log of"), "{text}");
    let block = concat!(
        "row 5 of 6\n",
        "  steps  1. 4 + 4 = 7  [logprob -0.5000, tokens 6]\n",
        "         2. 4 + 4 = 7  [logprob -0.5000, tokens 6]\n",
        "  seed   4\n"
    );
    assert!(text.ends_with(block), "{text}");

    let whole = text_of(stage.path(), &Options::default())?;
    assert!(whole.contains("solved: 4\n") && whole.contains("row 3 of 6\n"), "{whole}");
    let value = json_of(&stage.path().join("solutions"))?;
    assert_eq!((&value["rows"], &value["committed"]), (&json!(6), &json!(true)));
    assert_eq!(
        value["sample"][1]["steps"][0],
        json!({"text": "1 + 4 = 7", "logprob": -0.5, "value": null, "q": null, "tokens": 6})
    );
    assert_eq!(
        value["columns"][7]["fields"][1]["description"],
        "natural log of the policy's probability of the step; null if it gave none"
    );

    let (exit, line) = refused(&stage.path().join("nodes"), &Options::default());
    assert_eq!(exit, Exit::Input);
    assert_eq!(line, "round 1 search has no rows in the table `nodes` (it has solutions)");
    Ok(())
}

#[test]
fn files_of_other_makers() -> Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("theirs.parquet");
    foreign(&path)?;
    let text = text_of(&path, &Options::default())?;
    let block = concat!(
        "\nrow 1 of 2\n  n     1\n  day   1970-01-01\n",
        "  at    1970-01-01T00:00:00Z\n  raw   01\n  text  a\\u{1b}[2Jb\n"
    );
    assert!(text.contains(block), "{text}");
    assert!(text.contains("row 2 of 2\n  n     -\n"), "{text}");
    foreign(&home.path().join("more.parquet"))?;
    let value = json_of(home.path())?;
    assert_eq!(
        (&value["files"], &value["rows"], &value["sample"][2]["n"]),
        (&json!(2), &json!(4), &json!(1))
    );
    let none = Options { head: 0, columns: vec!["nope".to_owned()], ..Options::default() };
    let (exit, line) = refused(&path, &none);
    assert_eq!(
        (exit, line.as_str()),
        (Exit::Usage, "there is no column `nope` (there are n, day, at, raw, text)")
    );
    Ok(())
}

#[test]
fn bad_files_are_the_users_to_mend() -> Result<()> {
    let home = tempfile::tempdir()?;
    let at = |name: &str| home.path().join(name);
    assert_eq!(refused(&at("none"), &Options::default()).0, Exit::Input);
    assert_eq!(refused(home.path(), &Options::default()).0, Exit::Input);
    fs::write(at("empty.parquet"), "")?;
    fs::write(at("text.parquet"), "id,question\n1,why\n")?;
    for name in ["empty.parquet", "text.parquet"] {
        let (exit, line) = refused(&at(name), &Options::default());
        assert_eq!(exit, Exit::Input);
        assert!(line.contains(&format!("{name} is not a whole Parquet file: ")), "{line}");
    }
    Ok(())
}

/// Any single wrong byte gives rows or one error about the file, and never a panic.
#[test]
fn damaged_files_never_panic() -> Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("theirs.parquet");
    foreign(&path)?;
    let good = fs::read(&path)?;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= [0x01, 0x80, 0xff][at % 3];
        fs::write(&path, &bad)?;
        let (exit, line) = refused(&path, &Options::default());
        assert!(matches!(exit, Exit::Done | Exit::Input), "byte {at}: {exit:?} {line}");
    }
    Ok(())
}
