//! Round trips of every table, and the errors that protect a reader.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::types::{End, Fault, FaultKind, Judgement, Split, Step, StepCheck, Verdict};

fn bytes<R: Row + Clone>(rows: &[R]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.extend(rows.iter().cloned()).unwrap();
    assert_eq!(writer.rows(), rows.len() as u64);
    let (count, bytes) = writer.finish().unwrap();
    assert_eq!(count, rows.len() as u64);
    bytes
}

fn saved(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.parquet");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn back<R: Row + Clone>(rows: &[R]) -> Vec<R> {
    let (_folder, path) = saved(&bytes(rows));
    read_all(&path).unwrap()
}

fn round_trip<R: Row + Clone + PartialEq + Debug>(rows: &[R]) {
    assert_eq!(back(rows), rows);
    assert_eq!(bytes(rows), bytes(rows), "equal rows give equal bytes");
    assert!(back::<R>(&[]).is_empty());
}

fn problem(n: u32) -> Problem {
    Problem {
        problem_id: format!("{n:016x}"),
        domain: "math".into(),
        source: "words".into(),
        split: [Split::Train, Split::Validation, Split::Test][n as usize % 3],
        question: format!("How many are {n} and 1? ⅓ \"quoted\"\n"),
        answer: (n + 1).to_string(),
        difficulty: n,
        meta: "{}".into(),
    }
}

fn node(n: u32) -> Node {
    Node {
        problem_id: "p".into(),
        tree_id: "t0".into(),
        node_id: n,
        parent_id: n.checked_sub(1),
        depth: n,
        step: format!("{n}+1={}", n + 1),
        logprob: n.is_multiple_of(2).then_some(-0.5),
        prior: Some(0.25),
        value: None,
        q: Some(1.0),
        visits: 3,
        status: "expanded".into(),
        tokens: 9,
        expansion_order: n.is_multiple_of(3).then_some(n),
    }
}

#[test]
fn plain_tables_come_back_as_they_were() {
    round_trip(&(0..10).map(problem).collect::<Vec<_>>());
    round_trip(&[Example { question: "1+1?".into(), completion: "1+1=2\n#### 2".into() }]);
    round_trip(&(0..10).map(node).collect::<Vec<_>>());
    round_trip(&[Dropped {
        solution_id: "s".into(),
        problem_id: "p".into(),
        round: 1,
        reason: "duplicate".into(),
        evidence: "s0".into(),
    }]);
    let labels = StepLabels {
        prompt: "1+1?".into(),
        completions: vec!["1+1=2".into(), String::new()],
        labels: vec![true, false],
        values: vec![0.5, 0.0],
        tries: vec![4, 1],
        ..StepLabels::default()
    };
    round_trip(&[labels, StepLabels::default()]);
    round_trip(&[Preference {
        chosen: "a".into(),
        rejected: "b".into(),
        margin: 0.5,
        ..Preference::default()
    }]);
    let loss = Loss {
        step: 1,
        epoch: 0.5,
        tokens: u64::MAX,
        loss: 2.5,
        value_loss: Some(0.5),
        validation_loss: Some(3.0),
        ..Loss::default()
    };
    round_trip(&[loss, Loss::default()]);
    round_trip(&[Evaluation {
        round: 0,
        model: "student".into(),
        split: Split::Test,
        problem_id: "p".into(),
        sample: 1,
        seed: u64::MAX,
        correct: false,
        verdict: Verdict::Undecidable,
        reason: "no_answer".into(),
        completion: String::new(),
        final_answer: String::new(),
        answer_logprob: Some(-0.5),
        tokens: 5,
        model_tokens: 4,
        expansions: 0,
    }]);
    round_trip(&[GradeRow {
        row: u64::MAX,
        verdict: Verdict::Wrong,
        reason: "no_answer".into(),
        gold_read: "72".into(),
        prediction_read: String::new(),
        read_by: "box".into(),
    }]);
}

#[test]
fn verdicts_come_back_as_they_were() {
    let faults = |first_wrong| match first_wrong {
        Some(_) => {
            FaultKind::ALL.map(|kind| Fault { kind, step: first_wrong, evidence: "1+1=3".into() }).to_vec()
        }
        None => vec![Fault { kind: FaultKind::Unsupported, step: None, evidence: String::new() }],
    };
    let row = |verdict, checks: Vec<StepCheck>, first_wrong: Option<u32>| VerdictRow {
        judge_yes: first_wrong,
        judge_votes: first_wrong.map(|n| n + 1),
        solution_id: "s".into(),
        problem_id: "p".into(),
        judgement: Judgement {
            verdict,
            reason: "r".into(),
            checks,
            first_wrong,
            faults: faults(first_wrong),
            score: first_wrong.map(|n| 1.0 / (n + 1) as f32),
        },
    };
    round_trip(&[
        row(Verdict::Correct, vec![StepCheck::True, StepCheck::Prose], None),
        row(Verdict::Wrong, vec![StepCheck::Unreadable, StepCheck::False], Some(1)),
        row(Verdict::Undecidable, vec![], None),
    ]);
}

#[test]
fn kept_rows_carry_messages() {
    let kept = |n: u32| Kept {
        prompt: format!("q{n}"),
        completion: format!("c{n}"),
        thought: format!("t{n}"),
        problem_id: "p".into(),
        solution_id: "s".into(),
        round: n,
        weight: 0.5,
        pass_rate: 0.25,
        origin: "model".into(),
    };
    let rows = [kept(0), kept(1)];
    round_trip(&rows);
    let batch = Kept::to_batch(&rows).unwrap();
    let second = batch.column_by_name("messages").unwrap().as_list::<i32>().value(1);
    let second = second.as_struct();
    let texts =
        |name| second.column_by_name(name).unwrap().as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    assert_eq!(texts("role"), ["user", "assistant"]);
    assert_eq!(texts("content"), ["q1", "c1"]);
}

#[test]
fn every_table_has_its_name_version_and_descriptions() {
    fn check(field: &Field) {
        let kind = field.data_type();
        if let DataType::List(inner) = kind {
            assert_eq!(inner.name(), "element");
            if let DataType::Struct(fields) = inner.data_type() {
                fields.iter().for_each(|field| check(field));
            }
        }
        assert!(
            field.metadata().get(DESCRIPTION_KEY).is_some_and(|text| !text.is_empty()),
            "{}",
            field.name()
        );
    }
    for table in TABLES {
        assert_eq!(info(table.name).map(|found| found.version), Some(table.version));
        (table.schema)().fields().iter().for_each(|field| check(field));
    }
    let (_folder, path) = saved(&bytes(&[node(0)]));
    let found = heading(&path).unwrap();
    assert_eq!((found.table.as_deref(), found.version.as_deref()), (Some("nodes"), Some("2")));
    assert_eq!((found.rows, found.row_groups), (1, 1));
    assert_eq!(found.schema.fields(), Node::schema().fields(), "descriptions survive the file");
}

#[test]
fn large_tables_are_cut_into_row_groups() {
    let rows: Vec<_> = (0..70_000).map(node).collect();
    let (_folder, path) = saved(&bytes(&rows));
    assert_eq!(heading(&path).unwrap().row_groups, 2);
    let mut read = read::<Node>(&path).unwrap();
    assert_eq!(read.total(), 70_000);
    assert!(rows.iter().all(|row| read.next().unwrap().unwrap() == *row));
    assert!(read.next().is_none());
}

#[test]
fn not_a_number_is_null() {
    let some_nan = Node { value: Some(f32::NAN), ..node(0) };
    assert_eq!(back(&[some_nan])[0].value, None);
}

/// Writes a file with this metadata and these columns.
fn foreign(metadata: &[(&str, &str)], columns: Vec<(&str, Arc<dyn Array>)>) -> (TempDir, PathBuf) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = batch.unwrap();
    let pairs = metadata.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs.collect())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    saved(&writer.into_inner().unwrap())
}

fn texts(texts: &[Option<&str>]) -> Arc<dyn Array> {
    Arc::new(StringArray::from(texts.to_vec()))
}

const EXAMPLES: [(&str, &str); 2] = [(TABLE_KEY, "examples"), (VERSION_KEY, "1")];

fn message<R: Row>(path: &std::path::Path) -> String {
    match read_all::<R>(path) {
        Ok(_) => "no error".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn another_table_or_version_is_refused() {
    let (_folder, path) = saved(&bytes(&[problem(0)]));
    assert!(matches!(read::<Node>(&path), Err(TableError::WrongTable { .. })));
    assert!(message::<Node>(&path).ends_with("part.parquet: expected the table `nodes`, found `problems`"));

    let (_folder, path) = foreign(&[], vec![("question", texts(&[Some("q")]))]);
    assert!(message::<Example>(&path).contains("found a file without `qstill.table`"));

    let (_folder, path) =
        foreign(&[(TABLE_KEY, "examples"), (VERSION_KEY, "7")], vec![("question", texts(&[Some("q")]))]);
    assert!(matches!(read::<Example>(&path), Err(TableError::WrongVersion { .. })));
    assert!(message::<Example>(&path).ends_with("expected version 1 of the table `examples`, found 7"));
}

#[test]
fn wrong_columns_are_named() {
    let (_folder, path) =
        foreign(&EXAMPLES, vec![("question", texts(&[Some("q")])), ("answer", texts(&[Some("a")]))]);
    let found = message::<Example>(&path);
    assert!(found.contains("column `completion`") && found.contains("among `question`, `answer`"), "{found}");

    let number: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1]));
    let (_folder, path) = foreign(&EXAMPLES, vec![("question", texts(&[Some("q")])), ("completion", number)]);
    assert!(message::<Example>(&path).ends_with("expected Utf8, found Int64"));
}

#[test]
fn other_columns_and_order_are_no_error_but_nulls_are() {
    let columns = |question| {
        vec![
            ("extra", texts(&[None, None])),
            ("completion", texts(&[Some("c"), Some("c")])),
            ("question", texts(&[Some("q"), question])),
        ]
    };
    let (_folder, path) = foreign(&EXAMPLES, columns(Some("q")));
    assert_eq!(read_all::<Example>(&path).unwrap().len(), 2);

    let (_folder, path) = foreign(&EXAMPLES, columns(None));
    let found = message::<Example>(&path);
    assert!(found.ends_with("row group 0, row 1, column `question`: expected text, found null"), "{found}");
}

#[test]
fn bad_names_are_named() {
    let batch = VerdictRow::to_batch(&[]).unwrap();
    assert_eq!(batch.num_rows(), 0);
    let schema = Schema::new(vec![Field::new("verdict", DataType::Utf8, false)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![texts(&[Some("maybe")])]).unwrap();
    let found = column::cell::<Verdict>(batch.column(0), "verdict", 0).unwrap_err().to_string();
    assert_eq!(found, "column `verdict`, row 0: expected `correct`, `wrong` or `undecidable`, found `maybe`");
}

#[test]
fn a_count_beyond_the_column_is_refused() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.push(node(0)).unwrap();
    writer.push(Node { visits: u32::MAX, ..node(1) }).unwrap();
    let found = writer.finish().unwrap_err();
    assert!(matches!(found, TableError::BadValue { row: 1, column: "visits", .. }), "{found}");
}

#[test]
fn a_misfit_in_a_list_names_its_row() {
    let with = |tokens| Solution {
        steps: vec![Step { tokens: 1, ..Step::default() }, Step { tokens, ..Step::default() }],
        ..solution(0)
    };
    let found = Solution::to_batch(&[with(1), solution(1), with(u32::MAX)]).unwrap_err();
    assert_eq!((found.column, found.row), ("steps", 2));
}

#[test]
fn a_file_that_is_short_or_no_parquet_is_refused() {
    let whole = bytes(&(0..2_000).map(problem).collect::<Vec<_>>());
    for length in [0, 3, 4, 100, whole.len() / 2, whole.len() - 1] {
        let (_folder, path) = saved(&whole[..length]);
        assert!(matches!(read::<Problem>(&path), Err(TableError::NotParquet { .. })), "{length} bytes");
    }
    let (_folder, path) = saved(b"{\"question\": \"no Parquet\"}\n");
    assert!(message::<Problem>(&path).ends_with("part.parquet is not a whole Parquet file"));

    // The footer is there, the data behind it is not what it was.
    let mut torn = whole.clone();
    torn[10..whole.len() / 3].fill(0);
    let (_folder, path) = saved(&torn);
    assert!(matches!(read_all::<Problem>(&path), Err(TableError::Data { .. })));
}

/// Some flips are read back unnoticed, which is why a run keeps hashes of its files; none may end the
/// program.
#[test]
fn no_flipped_bit_of_a_footer_ends_the_program() {
    let whole = bytes(&(0..50).map(problem).collect::<Vec<_>>());
    let footer = u32::from_le_bytes(whole[whole.len() - 8..whole.len() - 4].try_into().unwrap()) as usize + 8;
    let (_folder, path) = saved(&whole);
    for byte in (whole.len() - footer..whole.len()).step_by(3) {
        let mut torn = whole.clone();
        torn[byte] ^= 1 << (byte % 8);
        std::fs::write(&path, torn).unwrap();
        let _ = read_all::<Problem>(&path);
    }
}

#[test]
fn a_missing_file_is_an_error_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let Err(found) = read::<Problem>(&folder.path().join("none.parquet")) else { panic!("there is none") };
    assert_eq!(found.io().map(io::Error::kind), Some(io::ErrorKind::NotFound));
}

/// A sink that is full after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_can_be_told_apart() {
    let mut writer = Writer::new(Full(100)).unwrap();
    let pushed = writer.extend((0..1_000).map(problem));
    let found = pushed.and_then(|()| writer.finish().map(|_| ())).unwrap_err();
    assert_eq!(found.io().map(io::Error::kind), Some(io::ErrorKind::StorageFull));
    assert_eq!(found.to_string(), "cannot read or write the table `problems`");
}

#[test]
fn a_file_can_be_the_sink() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part.parquet");
    let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
    writer.push(problem(1)).unwrap();
    let (_, file) = writer.finish().unwrap();
    file.sync_all().unwrap();
    assert_eq!(read_all::<Problem>(&path).unwrap(), [problem(1)]);
}

fn solution(seed: u64) -> Solution {
    Solution {
        solution_id: "s".into(),
        problem_id: "p".into(),
        round: 0,
        algorithm: "best-first".into(),
        policy: "rules".into(),
        policy_fingerprint: "f".into(),
        seed,
        steps: vec![],
        final_answer: String::new(),
        end: End::Complete,
        thought: String::new(),
        thought_tokens: 0,
        tokens: 0,
        search_tokens: 1.5,
        search_expansions: 0.0,
    }
}

/// A number, or none as NaN says it.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![Just(f32::NAN), -1e6f32..1e6, Just(f32::NEG_INFINITY), Just(-0.0)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<String>(), number(), number(), number(), 0..=i32::MAX as u32);
    let step = step.prop_map(|(text, logprob, value, q, tokens)| Step { text, logprob, value, q, tokens });
    prop::collection::vec(step, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_problem_comes_back(rows in prop::collection::vec((any::<[String; 4]>(), 0..=i32::MAX as u32), 0..8)) {
        let rows: Vec<_> = rows.into_iter().map(|([problem_id, question, answer, meta], difficulty)| {
            Problem { problem_id, question, answer, difficulty, meta, ..problem(1) }
        }).collect();
        prop_assert_eq!(back(&rows), rows);
    }

    #[test]
    fn any_solution_comes_back(rows in prop::collection::vec((any::<u64>(), steps()), 0..8)) {
        let rows: Vec<_> = rows.into_iter().map(|(seed, steps)| Solution { steps, ..solution(seed) }).collect();
        // As text, because NaN is not equal to itself.
        prop_assert_eq!(format!("{:?}", back(&rows)), format!("{rows:?}"));
    }
}
