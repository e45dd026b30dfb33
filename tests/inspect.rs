//! `qstill inspect` of tables of any maker: columns in numbers, conditions, samples, patterns, CSV.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use datasets::types::Solution;
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::kit::{Outcome, World, names};

/// Rows 0 to 99, and one of nulls.
fn table() -> RecordBatch {
    let of = |n: i64| (n < 100).then_some(n);
    let numbers: Vec<i64> = (0..=100).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(numbers.iter().map(|n| of(*n)).collect::<Int64Array>())),
        (
            "tenth",
            Arc::new(numbers.iter().map(|n| of(*n).map(|n| n as f32 / 10.0)).collect::<Float32Array>()),
        ),
        ("kind", {
            let kind = |n: i64| if n % 4 == 0 { "rare, \"so\"" } else { "usual" };
            Arc::new(numbers.iter().map(|n| of(*n).map(kind)).collect::<StringArray>())
        }),
        ("odd", Arc::new(numbers.iter().map(|n| of(*n).map(|n| n % 2 == 1)).collect::<BooleanArray>())),
        ("parts", {
            let parts = |n: i64| of(n).map(|n| (0..n % 3).map(|part| Some(part as i32)).collect::<Vec<_>>());
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers.iter().map(|n| parts(*n))))
        }),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn inspect(world: &World, arguments: &[&str]) -> Outcome {
    world.qstill(&[&["inspect"], arguments].concat())
}

fn world() -> World {
    let world = World::new();
    world.write_parquet("rows.parquet", &table());
    world
}

/// Whatever others compress with.
#[test]
fn files_of_every_usual_compression_are_read() {
    let world = World::new();
    let all = [
        Compression::BROTLI(BrotliLevel::default()),
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::SNAPPY,
    ];
    for compression in all {
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = fs::File::create(world.path("rows.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, table().schema(), Some(properties)).unwrap();
        writer.write(&table()).unwrap();
        writer.close().unwrap();
        let found = inspect(&world, &["rows.parquet", "--summary", "--json"]).done().json();
        assert_eq!(found["summary"][0]["numbers"]["mean"], json!(49.5), "{compression:?}");
    }
}

#[test]
fn columns_in_numbers() {
    let world = world();
    let found = inspect(&world, &["rows.parquet", "--summary", "--json"]).done().json();
    let column = |name: &str| -> &Value {
        found["summary"].as_array().unwrap().iter().find(|column| column["name"] == name).unwrap()
    };
    for name in ["n", "tenth", "kind", "odd", "parts"] {
        assert_eq!((&column(name)["rows"], &column(name)["nulls"]), (&json!(101), &json!(1)), "{name}");
    }
    let n = column("n");
    assert_eq!((&n["distinct"], &n["top"]), (&json!(100), &json!([])), "each is there once");
    let spread = json!({"min": 0.0, "p5": 5.0, "p25": 25.0, "median": 50.0, "p75": 74.0, "p95": 94.0,
        "max": 99.0, "mean": 49.5, "nan": 0});
    assert_eq!(n["numbers"], spread);
    assert_eq!(column("tenth")["numbers"]["max"], 9.9, "a float is its shortest digits");
    assert_eq!(column("kind")["top"], json!([["usual", 75], ["rare, \"so\"", 25]]));
    assert_eq!(column("odd")["top"], json!([[false, 50], [true, 50]]));
    assert!(column("kind")["numbers"].is_null());
    let parts = &column("parts")["numbers"];
    assert_eq!((&parts["min"], &parts["max"], &parts["mean"]), (&json!(0.0), &json!(2.0), &json!(0.99)));
    assert_eq!(found["sample"], json!([]), "rows are for --head to ask for");

    let text = inspect(&world, &["rows.parquet", "--summary", "--where", "odd AND n < 10"]).done().stdout;
    assert!(text.contains("5 of 101 rows meet the condition"), "{text}");
    let line = text.lines().find(|line| line.starts_with("n ")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[1..], ["int64", "0", "5", "1", "3", "5", "7", "9", "5"], "{text}");
}

#[test]
fn conditions_and_samples() {
    let world = world();
    let ask = |arguments: &[&str]| {
        inspect(&world, &[&["rows.parquet", "--json"], arguments].concat()).done().json()
    };
    let numbers = |found: &Value| -> Vec<i64> {
        found["sample"].as_array().unwrap().iter().map(|row| row["n"].as_i64().unwrap()).collect()
    };
    let found = ask(&["--where", "kind LIKE 'rare%' AND n > 50 -- of the later ones", "--head", "2"]);
    assert_eq!((numbers(&found), &found["matching"]), (vec![52, 56], &json!(12)));
    assert_eq!(ask(&["--where", "n IS NULL"])["matching"], 1);
    assert_eq!(ask(&["--where", "n > 1000"])["sample"], json!([]));

    let some = numbers(&ask(&["--sample", "10", "--where", "n IS NOT NULL"]));
    assert_eq!(some, numbers(&ask(&["--sample", "10", "--where", "n IS NOT NULL"])));
    assert!(some.len() == 10 && some.is_sorted_by(|a, b| a < b), "{some:?}");
    assert_ne!(some, numbers(&ask(&["--sample", "10", "--seed", "1", "--where", "n IS NOT NULL"])));
    assert_eq!(numbers(&ask(&["--sample", "500", "--where", "n < 20"])), (0..20).collect::<Vec<_>>());

    let refused = |condition: &str, said: &[&str]| {
        inspect(&world, &["rows.parquet", "--where", condition]).fails(64, said);
    };
    refused("n < 5 AND tent > 3", &["--where: column 11: no such column: tent", "did you mean `tenth`?"]);
    refused("kind = \"usual\"", &["single quotes"]);
    refused("n >", &["--where: at its end: "]);
    let clash = inspect(&world, &["rows.parquet", "--sample", "3", "--head", "2"]);
    assert_eq!(clash.code, Some(64), "{}", clash.stderr);
}

#[test]
fn csv_and_patterns() {
    let world = world();
    let all = inspect(&world, &["rows.parquet", "--csv"]).done().stdout;
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 102);
    assert_eq!(
        lines[..3],
        ["n,tenth,kind,odd,parts", "0,0.0,\"rare, \"\"so\"\"\",false,[]", "1,0.1,usual,true,[0]"]
    );
    assert_eq!(lines[101], ",,,,");
    let few = inspect(&world, &["rows.parquet", "--csv", "--columns", "odd,n", "--where", "n > 97"]).done();
    assert_eq!(few.stdout, "odd,n\nfalse,98\ntrue,99\n");

    fs::create_dir(world.path("more")).unwrap();
    for name in ["a", "b"] {
        world.write_parquet(&format!("more/{name}.parquet"), &table());
    }
    world.write("more/a.txt", "no rows");
    let one = inspect(&world, &["more/*.parquet", "--json", "--where", "n = 7"]).done().json();
    assert_eq!((&one["files"], &one["rows"], &one["matching"]), (&json!(2), &json!(202), &json!(2)));
    let several = inspect(&world, &["more/a.parquet", "rows.parquet", "more", "--json"]).done().json();
    assert_eq!((&several["files"], &several["rows"]), (&json!(4), &json!(404)));
    inspect(&world, &["more/*.csv"]).fails(65, &["nothing matches more/*.csv"]);
    inspect(&world, &["more/*.txt"]).fails(65, &["a.txt is not a whole Parquet file"]);
}

#[test]
fn tables_of_a_run() {
    let world = World::new();
    world.run("a", &["search.samples=2"]).done();
    let solutions: Vec<Solution> = world.left("a").rows("round-1/search");
    let long = solutions.iter().filter(|solution| solution.policy == "rules").count() as u64;
    let place = "runs/a/round-1/search/solutions";
    let found = inspect(&world, &[place, "--where", "policy = 'rules'", "--summary", "--json"]).done().json();
    assert_eq!((found["matching"].as_u64(), found["committed"].as_bool()), (Some(long), Some(true)));
    let steps = found["summary"].as_array().unwrap().iter().find(|column| column["name"] == "steps").unwrap();
    let most = solutions.iter().filter(|s| s.policy == "rules").map(|s| s.steps.len()).max().unwrap_or(0);
    assert_eq!(steps["numbers"]["max"].as_f64(), Some(most as f64));
    let stage = inspect(&world, &["runs/a/round-1/search", "--where", "policy = 'rules'"]);
    stage.fails(64, &["--where is for one table, and here are 2", "search/nodes"]);
    inspect(&world, &["runs/a", "--csv"]).fails(64, &["--csv needs a table"]);
    let gate = inspect(&world, &["runs/a/problems", "--summary"]).done().stdout;
    assert!(gate.contains("most frequent") && gate.contains("problem_id"), "{gate}");

    // A pattern sees files, and says of which it is not known that they count.
    let shards = "runs/a/round-1/search/shards";
    let shard = names(&world.path(shards)).into_iter().find(|name| name.contains("solutions")).unwrap();
    let copy = world.path(shards).join("part-00099-solutions-0.parquet");
    fs::copy(world.path(shards).join(shard), copy).unwrap();
    let text = inspect(&world, &[&format!("{shards}/*-solutions-*")]).done().stdout;
    assert!(text.contains("note: 1 shard not committed"), "{text}");
}
