//! `qstill sql`: what it answers is what the tables say, and it changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Write;
use std::process::Stdio;

use datasets::table::{Dropped, Evaluation, Node, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Verdict};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::kit::{Left, Outcome, World, names, run};

/// Two rounds with right and wrong samples beside the enumeration.
const SETS: &[&str] =
    &["run.rounds=2", "search.samples=4", "search.rule_solutions=3", "curate.per_problem=2"];

fn sql(world: &World, arguments: &[&str]) -> Outcome {
    world.qstill(&[&["sql", "runs/a"], arguments].concat())
}

/// The rows of an answer.
#[track_caller]
fn rows(world: &World, statement: &str) -> Vec<Value> {
    let answer = sql(world, &[statement, "--format", "json"]).done();
    assert_eq!(answer.stderr, "", "{statement}");
    answer.json().as_array().unwrap().clone()
}

/// The one value of an answer.
#[track_caller]
fn value(world: &World, statement: &str) -> Value {
    let rows = rows(world, statement);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].as_object().unwrap().values().next().unwrap().clone()
}

fn of_rounds<R: datasets::table::Row>(left: &Left, stage: &str) -> Vec<(u64, R)> {
    (1..=2)
        .flat_map(|round| {
            left.rows(&format!("round-{round}/{stage}")).into_iter().map(move |row| (round, row))
        })
        .collect()
}

#[test]
fn questions_to_the_tables_of_two_rounds() {
    let world = World::new();
    world.run("a", SETS).done();
    let left = world.left("a");
    let before = left.files();
    let problems: Vec<Problem> = left.rows("problems");
    let solutions: Vec<(u64, Solution)> = of_rounds(&left, "search");
    let verdicts: Vec<(u64, VerdictRow)> = of_rounds(&left, "verify");
    let nodes: Vec<(u64, Node)> = of_rounds(&left, "search");
    let kept: Vec<(u64, Kept)> = of_rounds(&left, "curate");
    let dropped: Vec<(u64, Dropped)> = of_rounds(&left, "curate");

    // Every table is there, with all its rows.
    for (table, count) in [
        ("problems", problems.len()),
        ("solutions", solutions.len()),
        ("verdicts", verdicts.len()),
        ("nodes", nodes.len()),
        ("kept", kept.len()),
        ("dropped", dropped.len()),
        ("bakeoff", 0),
    ] {
        assert_eq!(value(&world, &format!("SELECT count(*) FROM {table}")), json!(count), "{table}");
    }

    // Rounds: a column of the file, or one that is added.
    for table in ["nodes", "verdicts", "solutions"] {
        let counted =
            rows(&world, &format!("SELECT round, count(*) n FROM {table} GROUP BY round ORDER BY round"));
        let count = |round: u64| match table {
            "nodes" => nodes.iter().filter(|(of, _)| *of == round).count(),
            "verdicts" => verdicts.iter().filter(|(of, _)| *of == round).count(),
            _ => solutions.iter().filter(|(_, s)| u64::from(s.round) == round).count(),
        };
        let expected = [1, 2].map(|round| json!({"round": round, "n": count(round)}));
        assert_eq!(counted, expected, "{table}");
        let second = value(&world, &format!("SELECT count(*) FROM {table} WHERE round = 2"));
        assert_eq!(second, json!(count(2)));
        assert_eq!(
            value(&world, &format!("SELECT count(*) FROM {table} WHERE round IN (1, 2, 3)")),
            json!(count(1) + count(2))
        );
        assert_eq!(
            value(&world, &format!("SELECT count(*) FROM {table} WHERE round = '2'")),
            json!(count(2))
        );
        assert_eq!(value(&world, &format!("SELECT count(*) FROM {table} WHERE round = 9")), json!(0));
    }

    // Equality on an id, whatever the way to it.
    let busy = &solutions[solutions.len() / 2].1.problem_id;
    let own = solutions.iter().filter(|(_, s)| s.problem_id == *busy).count();
    for condition in [
        format!("problem_id = '{busy}'"),
        format!("problem_id IN ('{busy}', 'none', '{busy}')"),
        format!("problem_id = (SELECT problem_id FROM problems WHERE problem_id = '{busy}')"),
        format!("problem_id = '{busy}' AND round IN (1, 2)"),
        format!("problem_id = '{busy}' OR solution_id = 'none'"),
        format!("problem_id LIKE '{busy}'"),
        format!("problem_id = upper('{busy}') COLLATE NOCASE"),
    ] {
        assert_eq!(
            value(&world, &format!("SELECT count(*) FROM solutions WHERE {condition}")),
            json!(own),
            "{condition}"
        );
    }

    // Joins, by an index after the first looks.
    let right: BTreeSet<&str> = verdicts
        .iter()
        .filter(|(_, v)| v.judgement.verdict == Verdict::Correct)
        .map(|(_, v)| v.solution_id.as_str())
        .collect();
    let mut expected: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for (_, solution) in solutions.iter().filter(|(_, s)| right.contains(s.solution_id.as_str())) {
        *expected.entry((&solution.algorithm, solution.round.into())).or_default() += 1;
    }
    let joined = rows(
        &world,
        "SELECT s.algorithm, s.round, count(*) n FROM solutions s JOIN verdicts v USING (solution_id)
         WHERE v.verdict = 'correct' GROUP BY 1, 2 ORDER BY 1, 2",
    );
    let expected: Vec<Value> = expected
        .into_iter()
        .map(|((algorithm, round), n)| json!({"algorithm": algorithm, "round": round, "n": n}))
        .collect();
    assert_eq!(joined, expected);
    let unsolved = value(
        &world,
        "SELECT count(*) FROM problems p WHERE split = 'train' AND NOT EXISTS
         (SELECT 1 FROM kept k WHERE k.problem_id = p.problem_id)",
    );
    let with: BTreeSet<&str> = kept.iter().map(|(_, k)| k.problem_id.as_str()).collect();
    let train = problems.iter().filter(|p| p.split.name() == "train");
    assert_eq!(unsolved, json!(train.filter(|p| !with.contains(p.problem_id.as_str())).count()));
    let all = "SELECT count(*) n, count(d.reason) d, count(k.weight) k FROM solutions s
         LEFT JOIN dropped d USING (solution_id) LEFT JOIN kept k USING (solution_id)";
    let n = solutions.len();
    assert_eq!(rows(&world, all), [json!({"n": n, "d": dropped.len(), "k": n - dropped.len()})]);
    let outer = "SELECT count(*) FROM dropped d FULL JOIN kept k ON d.solution_id = k.solution_id";
    assert_eq!(value(&world, outer), json!(dropped.len() + kept.len()));

    // Parents of nodes: a join of a table with itself, on several columns.
    let key = |round: u64, node: &Node, id: u32| (round, node.problem_id.clone(), node.tree_id.clone(), id);
    let ids: HashMap<_, u32> =
        nodes.iter().map(|(round, node)| (key(*round, node, node.node_id), node.visits)).collect();
    let parents = nodes.iter().filter_map(|(round, node)| ids.get(&key(*round, node, node.parent_id?)));
    let visits: u64 = parents.map(|visits| u64::from(*visits)).sum();
    let summed = "SELECT sum(p.visits) FROM nodes n JOIN nodes p ON p.round = n.round
         AND p.problem_id = n.problem_id AND p.tree_id = n.tree_id AND p.node_id = n.parent_id";
    assert_eq!(value(&world, summed), json!(visits));

    // Nested columns.
    let steps: usize = solutions.iter().map(|(_, s)| s.steps.len()).sum();
    assert_eq!(value(&world, "SELECT count(*) FROM solutions, json_each(steps)"), json!(steps));
    let (_, one) = solutions.iter().find(|(_, s)| s.steps.len() > 1).unwrap();
    let row = &rows(&world, &format!("SELECT * FROM solutions WHERE solution_id = '{}'", one.solution_id))[0];
    assert_eq!(row["steps"][1]["text"].as_str(), Some(one.steps[1].text.as_str()));
    for (shown, step) in row["steps"].as_array().unwrap().iter().zip(&one.steps) {
        assert_eq!(shown["tokens"], json!(step.tokens));
        for (name, number) in [("logprob", step.logprob), ("value", step.value), ("q", step.q)] {
            let shown = shown[name].as_f64().map(|shown| shown as f32);
            assert_eq!(shown, Some(number).filter(|number| !number.is_nan()), "{name}");
        }
    }
    assert_eq!(
        (row["end"].as_str(), row["tokens"].as_u64()),
        (Some(one.end.name()), Some(one.tokens.into()))
    );
    let last = format!("SELECT steps->-1->>'text' FROM solutions WHERE solution_id = '{}'", one.solution_id);
    assert_eq!(value(&world, &last), json!(one.steps.last().unwrap().text));

    // Two stages write `evaluation`; truth values are 0 and 1 in SQL.
    for (stage, model) in [("gate", "student"), ("evaluate", "student"), ("evaluate", "teacher")] {
        let answers: Vec<(u64, Evaluation)> = of_rounds(&left, stage);
        let correct = answers.iter().filter(|(_, a)| a.model == model && a.correct).count();
        let of_model = answers.iter().filter(|(_, a)| a.model == model).count();
        let counted = format!(
            "SELECT count(*) n, coalesce(sum(correct), 0) c FROM evaluation WHERE stage = '{stage}' AND model = '{model}'"
        );
        assert_eq!(rows(&world, &counted), [json!({"n": of_model, "c": correct})], "{stage} {model}");
    }
    assert!(rows(&world, "SELECT correct FROM evaluation LIMIT 1")[0]["correct"].is_boolean());

    assert_eq!(left.files(), before, "nothing of the run was changed");
}

#[test]
fn only_what_commit_records_name_is_read() {
    let world = World::new();
    world.run("a", &["run.rounds=1"]).done();
    let left = world.left("a");
    let all: Vec<Solution> = left.rows("round-1/search");
    let count = || value(&world, "SELECT count(*) FROM solutions");
    assert_eq!(count(), json!(all.len()));
    let first = |table: &str| {
        let shards = left.join("round-1/search/shards");
        let name = names(&shards).into_iter().find(|name| name.contains(table)).unwrap();
        shards.join(name)
    };
    let of_first = datasets::table::read_all::<Solution>(&first("-solutions-")).unwrap().len();

    // A file without a record; one that is shorter than its record says.
    fs::copy(
        first("-solutions-"),
        left.join("round-1/search/shards/part-00099-solutions-0123456789abcdef.parquet"),
    )
    .unwrap();
    assert_eq!(count(), json!(all.len()));
    let nodes = first("-nodes-");
    let bytes = fs::read(&nodes).unwrap();
    fs::write(&nodes, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(count(), json!(all.len() - of_first), "a shard counts as a whole or not at all");
    fs::write(&nodes, &bytes).unwrap();

    // Damage that leaves the length: the file is named, and there is no wrong answer.
    let solutions = first("-solutions-");
    let mut bytes = fs::read(&solutions).unwrap();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&[0xff; 4]);
    fs::write(&solutions, &bytes).unwrap();
    sql(&world, &["SELECT count(DISTINCT seed) FROM solutions"])
        .fails(65, &["-solutions-", "not a whole Parquet file"]);

    // What other settings made is stale.
    let mut other = world.command(&["stage", "search", "runs/a", "--set", "search.samples=3"]);
    assert!(other.output().unwrap().status.success());
    let now: Vec<Value> = rows(&world, "SELECT DISTINCT solution_id FROM solutions");
    let committed: BTreeSet<String> = left
        .commits("round-1/search")
        .iter()
        .flat_map(|commit| commit["files"].as_array().unwrap().clone())
        .filter(|file| file["table"] == "solutions")
        .flat_map(|file| {
            let path = left.join("round-1/search/shards").join(file["name"].as_str().unwrap());
            datasets::table::read_all::<Solution>(&path).unwrap()
        })
        .map(|solution| solution.solution_id)
        .collect();
    assert_eq!(now.len(), committed.len());
    assert!(now.iter().all(|row| committed.contains(row["solution_id"].as_str().unwrap())));
}

#[test]
fn nothing_can_be_written_and_mistakes_are_named() {
    let world = World::new();
    world.qstill(&crate::kit::of_preset("demo", "stage problems", "a", &[])).done();
    let left = world.left("a");
    let before = left.files();
    for statement in [
        "DELETE FROM problems",
        "INSERT INTO problems SELECT * FROM problems",
        "UPDATE problems SET split = 'train'",
        "CREATE TABLE x (y)",
        "CREATE VIEW x AS SELECT 1",
        "DROP TABLE problems",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "PRAGMA query_only = OFF",
        "BEGIN",
    ] {
        sql(&world, &[statement]).fails(64, &["only reading is possible", "SELECT"]);
    }
    assert_eq!(left.files(), before);
    assert_eq!(names(&world.path(".")), ["runs"], "no file was made");

    for (statement, said) in [
        ("SELECT * FROM problem", &["no such table: problem", "did you mean `problems`?"][..]),
        ("SELECT * FROM xyzzy", &["no such table: xyzzy", "there are problems, examples, nodes"]),
        ("SELECT questoin FROM problems", &["SQL line 1, column 8", "questoin", "did you mean `question`?"]),
        ("SELECT 1,\n  p.anser\nFROM problems p", &["SQL line 2, column 3", "did you mean `answer`?"]),
        ("SELECT visits FROM problems", &["`visits` is a column of `nodes`"]),
        ("SELECT values FROM step_labels", &["line 1, column 8", "syntax error", "quotes, \"values\""]),
        ("SELECT \"train\" FROM problems", &["no such column", "in single quotes: 'train'"]),
        ("SELECT lenght(question) FROM problems", &["no such function: lenght", "did you mean `length`?"]),
        ("SELECT 1; SELECT 2", &["more than one statement"]),
        ("SELECT", &["incomplete input"]),
        ("", &["there is no statement"]),
        ("SELECT json_extract(question, '$.x') FROM problems", &["malformed JSON"]),
    ] {
        sql(&world, &[statement]).fails(64, said);
    }
    sql(&world, &["--schema", "solution"]).fails(64, &["no table `solution`", "did you mean `solutions`?"]);
    world.qstill(&["sql", "runs/none", "SELECT 1"]).fails(65, &["runs/none is not a run"]);
    assert_eq!(sql(&world, &[]).code, Some(64), "a statement, or what to do instead");
}

#[test]
fn every_format_says_the_same() {
    let world = World::new();
    world.qstill(&crate::kit::of_preset("demo", "stage problems", "a", &[])).done();
    let problems: Vec<Problem> = world.left("a").rows("problems");
    let statement =
        "SELECT problem_id, question, difficulty, difficulty / 4.0 share, nullif(split, 'test') other,
         json_array(difficulty, 'a,\"b\"') list FROM problems ORDER BY problem_id LIMIT 5";
    let expected = rows(&world, statement);
    assert_eq!(expected.len(), 5);
    let mut ids: Vec<&str> = problems.iter().map(|p| p.problem_id.as_str()).collect();
    ids.sort_unstable();
    assert!(expected.iter().zip(&ids).all(|(row, id)| row["problem_id"] == **id));

    let lines = sql(&world, &[statement, "--format", "jsonl"]).done().stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, expected);

    let csv = sql(&world, &[statement, "--format", "csv"]).done().stdout;
    assert!(csv.starts_with("problem_id,question,difficulty,share,other,list\n"), "{csv}");
    let quoted = expected[0]["list"].as_str().unwrap().replace('"', "\"\"");
    assert!(csv.contains(&format!(",\"{quoted}\"\n")), "{csv}");

    let table = sql(&world, &[statement]).done().stdout;
    let (head, first) = (table.lines().next().unwrap(), table.lines().nth(1).unwrap());
    assert!(head.starts_with("problem_id") && first.starts_with(ids[0]), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 200) && table.contains('…'), "{table}");

    // By the name of the output; a file that is there stays.
    let parquet = |name: &str| {
        let file = fs::File::open(world.path(name)).unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        batches.map(Result::unwrap).collect::<Vec<_>>()
    };
    sql(&world, &[statement, "--output", "x.parquet"]).done();
    let batch = &parquet("x.parquet")[0];
    let kinds: Vec<String> = batch.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
    assert_eq!(kinds, ["Utf8", "Utf8", "Int64", "Float64", "Utf8", "Utf8"]);
    assert_eq!(batch.num_rows(), 5);
    sql(&world, &["SELECT 1", "--output", "x.parquet"]).fails(64, &["x.parquet is there already", "--force"]);
    sql(&world, &["SELECT 1 one WHERE false", "--out", "x.parquet", "--force"]).done();
    assert_eq!(parquet("x.parquet").iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 0);
    sql(&world, &["SELECT 1 one", "--output", "y.csv"]).done();
    assert_eq!(fs::read_to_string(world.path("y.csv")).unwrap(), "one\n1\n");
    sql(&world, &["SELECT nothing", "--output", "z.csv"]).fails(64, &["no z.csv was written", "nothing"]);
    assert_eq!(names(&world.path(".")), ["runs", "x.parquet", "y.csv"], "nothing half-made is left");
    assert_eq!(sql(&world, &["SELECT 1 WHERE false", "--format", "json"]).done().stdout, "[]\n");
    assert_eq!(sql(&world, &["SELECT 1.0 x, null y, 0.1 + 0.2 z"]).done().stdout, "x  y    z\n1  -  0.3\n");

    let mut command = world.command(&["sql", "runs/a", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 6 * 7 x -- from a file\n;").unwrap();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), " x\n42\n");
}

#[test]
fn tables_are_listed_and_given_to_other_engines() {
    let world = World::new();
    world.run("a", &[]).done();
    let left = world.left("a");
    let listed = sql(&world, &["--tables", "--format", "json"]).done().json();
    let solutions = listed.as_array().unwrap().iter().find(|table| table["table"] == "solutions").unwrap();
    assert_eq!(solutions["rows"], json!(left.rows::<Solution>("round-1/search").len()));
    let types: Vec<(&str, &str)> = solutions["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["type"].as_str().unwrap()))
        .collect();
    for column in
        [("solution_id", "TEXT"), ("round", "INTEGER"), ("steps", "JSON"), ("search_tokens", "REAL")]
    {
        assert!(types.contains(&column), "{types:?}");
    }
    let text = sql(&world, &["--tables"]).done().stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
    for part in ["kept", "round integer", "steps json (list of struct)", "stage text"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let schema = sql(&world, &["--schema", "Nodes"]).done().stdout;
    assert!(schema.contains("a node of a search tree") && schema.contains("round of the run"), "{schema}");

    let views = sql(&world, &["--views", "duckdb"]).done().stdout;
    for file in left.files().keys().filter(|path| path.ends_with(".parquet")) {
        let path = left.join(file).canonicalize().unwrap();
        assert!(views.contains(&format!("'{}'", path.display())), "{file} is not in:\n{views}");
    }
    assert!(views.contains("'evaluate' AS \"stage\""));
    assert!(views.contains("NULL::BIGINT AS \"round\"") && views.contains("WHERE false"), "{views}");
}

#[test]
fn several_questions_after_each_other() {
    let world = World::new();
    world.qstill(&crate::kit::of_preset("demo", "stage problems", "a", &[])).done();
    let mut command = world.command(&["sql", "runs/a", "-i"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let input = "SELECT count(*) n\nFROM problems;\nSELECT nope FROM problems;\n.schema examples\n\n.what\n\
                 SELECT ';' semicolon;\n.quit\nSELECT 'after';\n";
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let said: Outcome = child.wait_with_output().unwrap().into();
    let said = said.done();
    for part in [" n\n30\n", "a worked example", "`.what` is no command", "semicolon\n;\n"] {
        assert!(said.stdout.contains(part), "`{part}` is not in:\n{}", said.stdout);
    }
    assert!(said.stderr.contains("error: SQL line 1, column 8: no such column: nope"), "{}", said.stderr);
    assert!(!said.stdout.contains("after"), "{}", said.stdout);
    sql(&world, &["-i", "--output", "x.csv"]).fails(64, &["--output"]);
}

#[test]
fn a_run_at_work_can_be_asked() {
    let world = World::new();
    let mut running = world.start(&run("a", &["run.rounds=3", "run.shard_size=4"]));
    let commits = world.left("a").join("round-1/search/commits");
    running.until("a shard of the search", |_| !names(&commits).is_empty());
    let counted = rows(&world, "SELECT count(*) n, count(DISTINCT problem_id) p FROM solutions");
    assert!(counted[0]["n"].as_u64() > Some(0) && counted[0]["p"].as_u64() > Some(0), "{counted:?}");
    running.kill();
    assert!(rows(&world, "SELECT count(*) n FROM solutions")[0]["n"].as_u64() >= counted[0]["n"].as_u64());
}
