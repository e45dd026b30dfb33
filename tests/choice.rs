//! Multiple choice: files as the Hub has them, orders of options, and the example from `problems` to
//! `evaluate`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datasets::table::{Evaluation, VerdictRow};
use datasets::types::{Kept, Problem};
use serde_json::{Value, json};

use crate::kit::{World, of_preset};
use crate::server::{Answer, Server};

const FILES: &[&str] = &[
    "problems.source=files",
    "problems.train=0",
    "problems.test=0",
    "problems.validation=0",
    "problems.validation_share=0",
    "problems.test_share=0",
    "search.policy=endpoint",
];

/// Four questions: each with its options, the right one first.
fn rows() -> Vec<(String, [String; 4])> {
    let options = |n: i32| [n + 40, n + 41, n + 39, n + 50].map(|number| number.to_string());
    (0..4).map(|n| (format!("What is 40 and {n}?"), options(n))).collect()
}

/// The questions of a file with their options as a set, and the text of the right one.
fn read(world: &World, name: &str, file: &str, own: &[&str]) -> BTreeSet<(String, Vec<String>, String)> {
    let files = format!("problems.files=[\"{file}\"]");
    let sets = [FILES, &[files.as_str()], own].concat();
    world.qstill(&of_preset("demo", "stage problems", name, &sets)).done();
    world.left(name).rows::<Problem>("problems").iter().map(shown).collect()
}

/// A problem by its parts, as its text says them.
fn shown(problem: &Problem) -> (String, Vec<String>, String) {
    assert_eq!(problem.domain, "choice");
    let (question, lines) = problem.question.split_once("\n\n").unwrap();
    let mut options = BTreeMap::new();
    for (line, letter) in lines.lines().zip('A'..) {
        options.insert(letter, line.strip_prefix(&format!("{letter}. ")).unwrap().to_owned());
    }
    let right = options[&problem.answer.chars().next().unwrap()].clone();
    let mut texts: Vec<String> = options.into_values().collect();
    texts.sort();
    (question.to_owned(), texts, right)
}

#[test]
fn files_as_the_hub_has_them() {
    let world = World::new();
    let expected: BTreeSet<_> = rows()
        .into_iter()
        .map(|(question, options)| {
            let right = options[0].clone();
            let mut texts = options.to_vec();
            texts.sort();
            (question, texts, right)
        })
        .collect();
    let lines = |make: &dyn Fn(&str, &[String; 4]) -> Value| -> String {
        rows().iter().map(|(question, options)| make(question, options).to_string() + "\n").collect()
    };
    // As MMLU, ARC, GPQA and others have them.
    world.write(
        "list.jsonl",
        lines(&|q, o| json!({"question": q, "choices": [o[1], o[0], o[2], o[3]], "answer": 1})),
    );
    world.write(
        "labels.jsonl",
        lines(&|q, o| {
            let choices = json!({"text": [o[1], o[2], o[0], o[3]], "label": ["A", "B", "C", "D"]});
            json!({"question": q, "choices": choices, "answerKey": "C"})
        }),
    );
    world.write(
        "columns.jsonl",
        lines(
            &|q, o| json!({"question": q, "Right": o[0], "Wrong 1": o[1], "Wrong 2": o[2], "Wrong 3": o[3]}),
        ),
    );
    let columns =
        ["problems.options=[\"Right\", \"Wrong 1\", \"Wrong 2\", \"Wrong 3\"]", "problems.answer=Right"];
    assert_eq!(read(&world, "list", "list.jsonl", &["problems.options=[\"choices\"]"]), expected);
    let labels = ["problems.options=[\"choices\"]", "problems.answer=answerKey"];
    assert_eq!(read(&world, "labels", "labels.jsonl", &labels), expected);
    assert_eq!(read(&world, "columns", "columns.jsonl", &columns), expected);

    // And in Parquet.
    let texts: Vec<String> = rows().iter().map(|(question, _)| question.clone()).collect();
    let question: ArrayRef = Arc::new(StringArray::from_iter_values(&texts));
    let list = |values: Vec<String>| -> ArrayRef {
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(4, values.len() / 4));
        Arc::new(ListArray::new(item, offsets, Arc::new(StringArray::from(values)), None))
    };
    let options: Vec<String> = rows().into_iter().flat_map(|(_, options)| options).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("question", question.clone()),
        ("choices", list(options.clone())),
        ("answer", Arc::new(Int64Array::from_iter_values([0; 4]))),
    ];
    world.write_parquet("list.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    assert_eq!(read(&world, "rows", "list.parquet", &["problems.options=[\"choices\"]"]), expected);
    let names = (0..16).map(|n| ["A", "B", "C", "D"][n % 4].to_owned()).collect();
    let choices = StructArray::try_from(vec![("text", list(options)), ("label", list(names))]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("question", question),
        ("choices", Arc::new(choices.unwrap())),
        ("answerKey", Arc::new(StringArray::from_iter_values(["A"; 4]))),
    ];
    world.write_parquet("labels.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    assert_eq!(read(&world, "structs", "labels.parquet", &labels), expected);

    // Whatever the file, a question has one order, and is one problem.
    let ids = |name: &str| -> BTreeSet<String> {
        world.left(name).rows::<Problem>("problems").into_iter().map(|p| p.question).collect()
    };
    assert_eq!(ids("list"), ids("structs"));
}

#[test]
fn orders_put_each_option_once_at_each_letter() {
    let world = World::new();
    let row = |(question, options): &(String, [String; 4])| {
        json!({"question": question, "options": options, "answer": "A"}).to_string() + "\n"
    };
    let many: Vec<(String, [String; 4])> = (0..20)
        .map(|n| (format!("Which is {n}?"), [n, n + 1, n + 2, n + 3].map(|n: i32| n.to_string())))
        .collect();
    world.write("in.jsonl", many.iter().map(row).collect::<String>());
    // A question of the file above, with its options in another order, and one more.
    let mut test = [many[3].clone(), ("Which is 99?".into(), ["99", "98", "97", "96"].map(str::to_owned))];
    test[0].1.rotate_left(1);
    let test: Vec<String> = test.iter().map(row).collect();
    world.write("test.jsonl", test[0].replace("\"answer\":\"A\"", "\"answer\":\"D\"") + &test[1]);
    let own = ["problems.options=[\"options\"]", "problems.orders=4", "problems.train_files=[\"in.jsonl\"]"];
    let sets = [FILES, &own[..], &["problems.test_files=[\"test.jsonl\"]"]].concat();
    let outcome = world.qstill(&of_preset("demo", "stage problems", "four", &sets)).done();
    outcome.says("4 train rows left out because they are in test");
    let all: Vec<Problem> = world.left("four").rows("problems");
    assert_eq!(all.len(), 19 * 4 + 2 * 4);
    let mut letters: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for problem in &all {
        let (question, _, _) = shown(problem);
        letters.entry((question, problem.split.name())).or_default().push(problem.answer.clone());
    }
    for ((question, _), mut letters) in letters {
        letters.sort();
        assert_eq!(letters, ["A", "B", "C", "D"], "{question}");
    }
    // One order, each question at some letter.
    let sets = [FILES, &["problems.options=[\"options\"]", "problems.files=[\"in.jsonl\"]"]].concat();
    world.qstill(&of_preset("demo", "stage problems", "one", &sets)).done();
    let all: Vec<Problem> = world.left("one").rows("problems");
    let letters: BTreeSet<String> = all.iter().map(|problem| problem.answer.clone()).collect();
    assert_eq!((all.len(), letters.len()), (20, 4));
}

#[test]
fn bad_rows_and_settings_are_named() {
    let world = World::new();
    world.write("in.jsonl", "{\"question\":\"Which?\",\"options\":[\"red\",\"blue\"],\"answer\":\"C\"}\n");
    let fails = |own: &[&str], code: i32, said: &[&str]| {
        let sets = [FILES, &["problems.files=[\"in.jsonl\"]"], own].concat();
        world.qstill(&of_preset("demo", "run", "bad", &sets)).fails(code, said);
    };
    let options = "problems.options=[\"options\"]";
    fails(&[options], 65, &["in.jsonl, line 1: column `answer`: `C` is neither the letter nor the text"]);
    fails(&["problems.options=[\"choices\"]"], 65, &["in.jsonl, line 1: no column `choices`"]);
    fails(
        &["problems.options=[\"answer\"]"],
        65,
        &["column `answer`: expected the options: a list", "a text"],
    );
    fails(&[options, "search.policy=model"], 64, &["problems.options", "no rules", "search.policy"]);
    fails(&[options, "value.model=features"], 64, &["value.model", "no states"]);
    fails(&[options, "problems.orders=0"], 64, &["problems.orders is 0", "1 or more"]);
    fails(&["problems.options=[\"none\"]", "problems.source=words"], 64, &["problems.options", "files"]);
}

/// Says the right option of a question of the example, and in every third sample another one.
fn quiz(right: &BTreeMap<(String, Vec<String>), String>, request: &Value) -> Answer {
    let turns = request["messages"].as_array().unwrap();
    let asked = turns.last().unwrap()["content"].as_str().unwrap();
    let (question, lines) = asked.split_once("\n\n").unwrap();
    let options: Vec<&str> = lines.lines().map(|line| &line[3..]).collect();
    let mut sorted: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    sorted.sort();
    let text = &right[&(question.to_owned(), sorted)];
    let place = options.iter().position(|option| option == text).unwrap();
    let count = request["n"].as_u64().unwrap_or(1);
    let choice = |index: u64| {
        let place = if index % 3 == 2 { (place + 1) % options.len() } else { place };
        let letter = char::from(b'A' + place as u8);
        let said = format!("The right option is {}.\nThe answer is ({letter}).", options[place]);
        let message = json!({"role": "assistant", "content": said});
        json!({"index": index, "finish_reason": "stop", "message": message})
    };
    let choices: Vec<Value> = (0..count).map(choice).collect();
    Answer::Http(200, "", json!({"choices": choices, "usage": {"completion_tokens": 20 * count}}).to_string())
}

/// Starts the example's teacher; how it is run under a name.
fn example<'a>(world: &'a World, own: &'a [&str]) -> impl Fn(&str) -> Vec<String> + 'a {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/choice");
    let mut right = BTreeMap::new();
    for file in ["train.jsonl", "test.jsonl"] {
        for line in std::fs::read_to_string(folder.join(file)).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let mut options: Vec<String> = serde_json::from_value(row["options"].clone()).unwrap();
            let text = options[row["answer"].as_u64().unwrap() as usize].clone();
            options.sort();
            right.insert((row["question"].as_str().unwrap().to_owned(), options), text);
        }
    }
    let server = Server::start(move |request| quiz(&right, request));
    let setting = server.setting();
    let small = ["model.vocab_size=400", "model.context=256", "evaluate.max_tokens=24"];
    move |name| world.example("choice", name, &[&[setting.as_str()], &small[..], own].concat())
}

#[test]
fn the_example_runs_from_problems_to_evaluate() {
    let world = World::new();
    let small = ["search.samples=3", "evaluate.samples=2", "train.epochs=4.0"];
    let arguments = example(&world, &small);
    let said = world.qstill(&arguments("choice")).done().stdout;
    assert!(said.contains("round 1 student, solved by the right letter: A "), "{said}");
    assert!(said.contains("; chosen: A "), "{said}");
    let run = world.left("choice");
    let problems: Vec<Problem> = run.rows("problems");
    assert_eq!(problems.len(), 2 * (240 + 40));
    let verdicts: Vec<VerdictRow> = run.rows("round-1/verify");
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &verdicts {
        *reasons.entry(&row.judgement.reason).or_default() += 1;
    }
    assert_eq!(reasons, BTreeMap::from([("correct", 2 * 480), ("wrong_answer", 480)]));
    let kept: Vec<Kept> = run.rows("round-1/curate");
    assert!(kept.len() >= 400, "{}", kept.len());
    let asked =
        |row: &&Kept| row.prompt.contains("\n\nA. ") && row.completion.starts_with("The right option is ");
    assert_eq!(kept.iter().filter(asked).count(), kept.len());
    // Letters of the student, and the probability of each.
    let evaluation = run.evaluation();
    let student =
        evaluation["rows"].as_array().unwrap().iter().find(|row| row["model"] == "student").unwrap();
    let letters = student["choices"]["letters"].as_array().unwrap();
    let sum = |key: &str| letters.iter().map(|letter| letter[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((letters.len(), sum("right")), (4, 80));
    assert_eq!(sum("solved"), student["solved"].as_u64().unwrap());
    assert_eq!(sum("chosen") + student["choices"]["none"].as_u64().unwrap(), 80);
    let rows: Vec<Evaluation> = run.rows("round-1/evaluate");
    let of_student = rows.iter().filter(|row| row.model == "student" && row.sample == 0);
    for row in of_student {
        assert_eq!(row.answer_logprob.is_some(), !row.final_answer.is_empty(), "{row:?}");
        assert!(row.answer_logprob.is_none_or(|logprob| logprob <= 0.0), "{row:?}");
    }
    // A search has none.
    assert!(rows.iter().filter(|row| row.model == "teacher").all(|row| row.answer_logprob.is_none()));
    assert!(rows.iter().any(|row| row.model == "teacher" && row.correct));

    // One that was killed ends with the same bytes.
    let mut running = world.start(&arguments("killed"));
    running.until("some verdicts", |said| said.contains("round 1 verify: "));
    running.kill();
    world.resume("killed").done();
    world.left("killed").equals(&run);
}
