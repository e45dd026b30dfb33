//! `qstill answer` and `qstill bench train|generate`: a model without its search, and how fast it is.

use serde_json::{Value, json};

use crate::kit::World;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A world with a student of a tiny run and a file of questions.
fn world() -> World {
    let world = World::new();
    world.run("tiny", &[]).done();
    let rows: Vec<(String, String)> =
        (2..8).map(|n| (format!("What is {n} + {n}?"), format!("{n}+{n}={0}\n#### {0}", 2 * n))).collect();
    world.write_rows("questions.jsonl", &rows);
    world
}

const STUDENT: &str = "runs/tiny/round-1/student";

#[test]
fn a_student_answers_a_file() {
    let world = world();
    let ask = |more: &[&str]| {
        let arguments =
            [&["answer", STUDENT, "questions.jsonl", "--max-tokens", "12", "--device", "cpu"], more].concat();
        world.qstill(&arguments).done().stdout
    };
    let greedy = ask(&["--gold", "answer"]);
    let rows = lines(&greedy);
    assert_eq!(rows.iter().map(|r| r["row"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    for row in &rows {
        assert!(
            (0..=12).contains(&row["tokens"].as_u64().unwrap()) && row["logprob"].as_f64().unwrap() <= 0.0,
            "{row}"
        );
        assert_eq!(row["finished"] == false, row["tokens"] == 12, "{row}");
    }
    assert_eq!(
        (&rows[3]["question"], &rows[3]["gold"]),
        (&json!("What is 5 + 5?"), &json!("5+5=10\n#### 10"))
    );
    // What the grader reads.
    world.write("answers.jsonl", &greedy);
    assert_eq!(world.qstill(&["grade", "answers.jsonl", "--json"]).done().json()["rows"], 6);

    // A sample is a function of the seed, its row and its number, whatever is asked beside it.
    let warm = ["--temperature", "1", "--samples", "3", "--seed", "5"];
    let all = lines(&ask(&warm));
    assert_eq!(all.len(), 18);
    assert_eq!(
        lines(&ask(&[&warm[..], &["--limit", "2", "--set", "model.batch_rows=1"]].concat())),
        all[..6]
    );
    assert_ne!(all[0]["prediction"], all[1]["prediction"]);
    assert_ne!(all[0]["prediction"], lines(&ask(&["--temperature", "1", "--seed", "6"]))[0]["prediction"]);
}

#[test]
fn what_cannot_be_answered_is_named() {
    let world = world();
    world.write("bad.jsonl", "{\"question\": \"Why?\"}\n{\"query\": \"Why?\"}\n");
    let long = "Why? ".repeat(2000);
    world.write_rows("long.jsonl", &[(long, "1".to_owned())]);
    let cases: [(&[&str], &[&str]); 6] = [
        (&[STUDENT, "none.jsonl"], &["none.jsonl"]),
        (&["runs", "questions.jsonl"], &["config.json"]),
        (&[STUDENT, "bad.jsonl"], &["bad.jsonl, line 2", "question"]),
        (&[STUDENT, "questions.jsonl", "--question", "problem"], &["questions.jsonl, line 1", "problem"]),
        (&[STUDENT, "long.jsonl"], &["rows 0 to 0", "context of 384"]),
        (&[STUDENT, "questions.jsonl", "--max-tokens", "9000"], &["context of 384"]),
    ];
    for (arguments, said) in cases {
        world.qstill(&[&["answer", "--device", "cpu"], arguments].concat()).fails(65, said);
    }
    for wrong in [&["--samples", "0"][..], &["--temperature", "-1"], &["--set", "model.cache_mib=0"]] {
        let arguments = [&["answer", STUDENT, "questions.jsonl"], wrong].concat();
        assert_eq!(world.qstill(&arguments).code, Some(64), "{wrong:?}");
    }
}

#[test]
fn the_speed_of_models() {
    let world = world();
    let measure = |what: &str, more: &[&str]| {
        let arguments = [
            &["bench", what, "--device", "cpu", "--seconds", "0", "--length", "8", "--model", STUDENT],
            more,
        ]
        .concat();
        world.qstill(&arguments).done().json()
    };
    let train = measure("train", &["--rows", "2", "--rows", "5"]);
    assert_eq!((train[0]["rows"].as_u64(), train[1]["rows"].as_u64()), (Some(2), Some(5)));
    let generate = measure("generate", &["--rows", "2", "--tokens", "6", "--sequences", "9"]);
    assert_eq!(generate[0]["sequences"], 4 * 9);
    for report in train.as_array().unwrap().iter().chain(generate.as_array().unwrap()) {
        assert!(report["tokens_per_second"].as_f64().unwrap() > 0.0, "{report}");
        assert_eq!((&report["model"], &report["device"]), (&json!(STUDENT), &json!("cpu")));
    }
    world
        .qstill(&["bench", "train", "--model", "nowhere", "--device", "cpu"])
        .fails(65, &["nowhere", "config.json"]);
    assert_eq!(world.qstill(&["bench", "generate", "--rows", "0"]).code, Some(64));
}
