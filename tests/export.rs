//! `qstill export RUN DIR`: the directory for the Hub has what the run has, all at once or not at all.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use datasets::table::{Dropped, Loss, Preference, Row, StepLabels, VerdictRow, read_all};
use datasets::types::{Kept, Problem, Solution};
use serde_json::Value;

use crate::kit::{Left, Outcome, World, names};

/// A run of one round, with right and wrong solutions without a model that samples.
const SETS: [&str; 5] = [
    "search.policy=rules",
    "search.samples=12",
    "search.rule_solutions=3",
    "train.validation_share=0.3",
    "evaluate.teacher=false",
];

fn made() -> (World, Left) {
    let world = World::new();
    world.run("a", &SETS).done();
    let run = world.left("a");
    (world, run)
}

fn export(world: &World, dir: &str, more: &[&str]) -> Outcome {
    world.qstill(&[&["export", "runs/a", dir], more].concat())
}

/// Head and body of a card.
fn card(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap();
    let (head, body) = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The YAML of the cards, which is lists and maps by indentation with one value a line. Anything else is a
/// fault of the card.
fn yaml(lines: &[(usize, &str)]) -> Value {
    let Some((indent, first)) = lines.first().copied() else { return Value::Null };
    let mut parts: Vec<Vec<(usize, &str)>> = Vec::new();
    for (at, line) in lines {
        // A list within a map may stand at the map's own indentation.
        let begins = *at == indent && (line.starts_with("- ") || !first.starts_with("- "));
        let inner = *at == indent && line.starts_with("- ") && !first.starts_with("- ");
        if begins && !inner {
            parts.push(vec![(*at, line)]);
        } else {
            parts.last_mut().unwrap().push((*at, line));
        }
    }
    if first.starts_with("- ") {
        let item = |part: Vec<(usize, &str)>| {
            let head = &part[0].1[2..];
            if part.len() == 1 && !head.contains(": ") && !head.ends_with(':') {
                return scalar(head);
            }
            let mut inner = vec![(indent + 2, head)];
            inner.extend_from_slice(&part[1..]);
            yaml(&inner)
        };
        return parts.into_iter().map(item).collect();
    }
    let mut map = serde_json::Map::new();
    for part in parts {
        let (key, value) = part[0].1.split_once(':').unwrap_or_else(|| panic!("no key: {}", part[0].1));
        let value = value.trim();
        let value = if value.is_empty() { yaml(&part[1..]) } else { scalar(value) };
        assert!(!value.is_null() && map.insert(key.to_owned(), value).is_none(), "`{key}` is empty or twice");
    }
    map.into()
}

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn head(path: &Path) -> Value {
    let (head, _) = card(path);
    let lines: Vec<(usize, &str)> = head
        .lines()
        .map(|line| (line.len() - line.trim_start().len(), line.trim_start()))
        .inspect(|(_, line)| assert!(!line.is_empty(), "an empty line in the head:\n{head}"))
        .collect();
    yaml(&lines)
}

/// All rows of a config, by split, as the card's patterns name their files.
fn rows<R: Row>(dir: &Path, head: &Value) -> BTreeMap<String, Vec<R>> {
    let configs = head["configs"].as_array().unwrap();
    let config = configs.iter().find(|config| config["config_name"] == R::TABLE).unwrap();
    let mut all = BTreeMap::new();
    for files in config["data_files"].as_array().unwrap() {
        let (folder, begin) = files["path"].as_str().unwrap().rsplit_once('/').unwrap();
        let begin = begin.strip_suffix("*.parquet").unwrap();
        let found: Vec<String> =
            names(&dir.join(folder)).into_iter().filter(|name| name.starts_with(begin)).collect();
        assert_eq!(found, [format!("{begin}00000-of-00001.parquet")]);
        let read = found.iter().flat_map(|name| read_all::<R>(&dir.join(folder).join(name)).unwrap());
        all.insert(files["split"].as_str().unwrap().to_owned(), read.collect());
    }
    all
}

#[test]
fn a_run_becomes_a_dataset_and_a_model() {
    let (world, run) = made();
    let before = run.files();
    let out = export(&world, "hub/one", &["--license", "apache-2.0"]).done();
    assert!(
        out.stdout.contains("preferences") && out.stdout.contains("student of round 1"),
        "{}",
        out.stdout
    );
    assert_eq!(run.files(), before, "the run is only read");
    let dir = world.path("hub/one");
    assert_eq!(names(&world.path("hub")), ["one"]);
    assert_eq!(names(&dir), ["README.md", "data", "student"]);

    // The head names every config, each with its files, its columns and its rows.
    let head = head(&dir.join("README.md"));
    assert_eq!((&head["license"], &head["pretty_name"]), (&"apache-2.0".into(), &"a".into()));
    let configs: Vec<&str> =
        head["configs"].as_array().unwrap().iter().map(|c| c["config_name"].as_str().unwrap()).collect();
    let mut sorted = configs.clone();
    sorted.sort_unstable();
    assert_eq!(names(&dir.join("data")), sorted);
    assert_eq!(configs[0], "kept");
    let kept = check::<Kept>(&dir, &head, &["round-1/curate"], &run);
    check::<Preference>(&dir, &head, &["round-1/curate"], &run);
    check::<StepLabels>(&dir, &head, &["round-1/curate"], &run);
    check::<Solution>(&dir, &head, &["round-1/search"], &run);
    check::<VerdictRow>(&dir, &head, &["round-1/verify"], &run);
    let dropped = check::<Dropped>(&dir, &head, &["round-1/curate"], &run);
    let (_, body) = card(&dir.join("README.md"));
    assert!(!body.contains(&world.path("").display().to_string()), "paths are nobody's business");
    assert!(body.contains(&format!("| kept | {kept} |")), "{body}");
    assert!(dropped > 0 && body.contains("the exact verifier of the domain `math`, version"), "{body}");
    assert!(!body.contains("{{") && !body.contains("{%"), "{body}");

    // A problem's rows stand on one side: those that train, or those that validate.
    let kept: BTreeMap<String, Vec<Kept>> = rows(&dir, &head);
    let pairs: BTreeMap<String, Vec<Preference>> = rows(&dir, &head);
    assert_eq!(kept["train"].len() as i64, run.count("round-1/train", "rows"));
    assert!(!kept["validation"].is_empty());
    let validates = |id: &str| kept["validation"].iter().any(|row| row.problem_id == id);
    assert!(!kept["train"].iter().any(|row| validates(&row.problem_id)));
    for row in pairs.get("train").into_iter().flatten() {
        assert!(!validates(&row.problem_id));
    }

    // Problems have their own splits; test problems stay at home unless they are asked for.
    let problems: Vec<Problem> = run.rows("problems");
    let of = |split: &str| problems.iter().filter(|row| row.split.name() == split).count();
    let found: BTreeMap<String, Vec<Problem>> = rows(&dir, &head);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["train", "validation"]);
    assert_eq!((found["train"].len(), found["validation"].len()), (of("train"), of("validation")));

    // The student is the run's, with a card.
    let (mine, theirs) = (dir.join("student"), run.join("round-1/student"));
    let mut expected = names(&theirs);
    expected.push("README.md".to_owned());
    expected.sort();
    assert_eq!(names(&mine), expected);
    assert_eq!(
        fs::read(mine.join("model.safetensors")).unwrap(),
        fs::read(theirs.join("model.safetensors")).unwrap()
    );
    let model = self::head(&mine.join("README.md"));
    assert_eq!(model["library_name"], "transformers");
    let measured = run.evaluation();
    let measured = measured["rows"].as_array().unwrap().iter().find(|row| row["model"] == "student").unwrap();
    let said = &model["model-index"][0]["results"][0]["metrics"][0]["value"];
    assert_eq!(said.as_f64(), measured["pass_at_1"].as_f64());

    // The same run gives the same bytes, under another name too.
    export(&world, "two", &["--license", "apache-2.0"]).done();
    let (one, two) = (Left(dir).files(), Left(world.path("two")).files());
    assert!(one == two && one.len() > 15, "{:?}", one.keys());
}

/// A config has the rows of its table, in their order within a split, and the card says how many. Returns
/// their number.
#[track_caller]
fn check<R: Row + Debug>(dir: &Path, head: &Value, stages: &[&str], run: &Left) -> usize {
    let found: BTreeMap<String, Vec<R>> = rows(dir, head);
    let infos = head["dataset_info"].as_array().unwrap();
    let info = infos.iter().find(|info| info["config_name"] == R::TABLE).unwrap();
    for split in info["splits"].as_array().unwrap() {
        let name = split["name"].as_str().unwrap();
        assert!(split["num_bytes"].as_u64().unwrap() > 0 && info["download_size"].as_u64().unwrap() > 0);
        assert_eq!(split["num_examples"].as_u64().unwrap(), found[name].len() as u64, "{} {name}", R::TABLE);
    }
    let columns: Vec<&str> =
        info["features"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let schema = R::schema();
    assert_eq!(columns, schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>());
    let all: Vec<R> = stages.iter().flat_map(|stage| run.rows(stage)).collect();
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), all.len(), "{}", R::TABLE);
    // As text, because NaN is not equal to itself.
    let told = |row: &R| format!("{row:?}");
    for rows in found.values() {
        let mut rest = all.iter().map(told);
        assert!(rows.iter().map(told).all(|row| rest.any(|other| other == row)), "{} are in order", R::TABLE);
    }
    all.len()
}

/// Of a run that goes on, whole rounds are taken, and a student on whom the gate has yet to decide is none.
#[test]
fn a_round_at_work_is_left_out() {
    let world = World::new();
    let two = ["run.rounds=2", "train.validation_share=0.3", "gate.problems=2"];
    world.run("a", &two).done();
    let run = world.left("a");
    let records = run.join("round-2/curate/commits");
    fs::remove_file(records.join(&names(&records)[0])).unwrap();
    fs::remove_file(run.join("round-1/gate.json")).unwrap();
    export(&world, "one", &[]).fails(75, &["gate.json", "qstill resume"]);
    assert!(!world.path("one").exists());
    let tables = ["--no-student", "--json"];
    let out = export(&world, "one", &tables).done().says("round 2 is not curated in whole");
    assert_eq!(out.json()["student"], Value::Null);
    let head = head(&world.path("one/README.md"));
    check::<Solution>(&world.path("one"), &head, &["round-1/search"], &run);
    check::<Dropped>(&world.path("one"), &head, &["round-1/curate"], &run);
    // Without its records, round 2 is no round at all.
    let (_, body) = card(&world.path("one/README.md"));
    assert!(body.contains("Round 1") && !body.contains("Round 2"), "{body}");

    // Verdicts that are not those of the curated solutions do not stand beside them.
    let records = run.join("round-1/verify/commits");
    fs::remove_file(records.join(&names(&records)[0])).unwrap();
    export(&world, "two", &["--no-student"])
        .fails(65, &["round 1 verify has", "verdicts, but", "were curated"]);
}

#[test]
fn what_is_written_can_be_chosen_and_replaced() {
    let (world, run) = made();
    let chosen = ["--tables", "evaluation,problems", "--no-student", "--test-problems", "--json"];
    let said = export(&world, "out", &chosen).done().json();
    assert_eq!(said["student"], Value::Null);
    let head = head(&world.path("out/README.md"));
    let of = |at: usize| said["configs"][at]["name"].as_str().unwrap();
    assert_eq!((of(0), of(1)), ("evaluation", "problems"));
    assert_eq!(names(&world.path("out")), ["README.md", "data"]);
    let problems: BTreeMap<String, Vec<Problem>> = rows(&world.path("out"), &head);
    assert_eq!(problems["test"].len(), 4);
    assert!(card(&world.path("out/README.md")).1.contains("Test problems are in this dataset"));
    assert_eq!(head["license"], "unknown");

    // What is there is replaced on request only, and only if it was written by this command.
    export(&world, "out", &[]).fails(64, &["out is not empty", "--force"]);
    export(&world, "out", &["--force", "--tables", "kept", "--title", "A \"title\": # [1]"]).done();
    assert_eq!(names(&world.path("out")), ["README.md", "data", "student"]);
    assert_eq!(names(&world.path("out/data")), ["kept"]);
    assert_eq!(self::head(&world.path("out/README.md"))["pretty_name"], "A \"title\": # [1]");
    world.write("mine.txt", "mine");
    fs::create_dir(world.path("notes")).unwrap();
    world.write("notes/README.md", "- qstill\n");
    export(&world, "notes", &["--force"]).fails(64, &["notes is not empty", "no earlier export"]);
    export(&world, "mine.txt", &["--force"]).fails(64, &["mine.txt is a file"]);
    assert_eq!(fs::read_to_string(world.path("notes/README.md")).unwrap(), "- qstill\n");

    // What cannot be is refused before anything is written.
    export(&world, "new", &["--tables", "retired"]).fails(65, &["no rows of `retired`"]);
    export(&world, "new", &["--license", "my own\nlicence"]).fails(64, &["--license"]);
    for wrong in [&["--tables", "nodes"][..], &["--form", "messages"], &["--round", "1"]] {
        assert_eq!(export(&world, "new", wrong).code, Some(64), "{wrong:?}");
    }
    assert_eq!(world.qstill(&["export", "runs/a", "--json"]).code, Some(64));

    // Damage and half a round do not leave the run.
    let shards = run.join("round-1/curate/shards");
    let name = names(&shards).into_iter().find(|name| name.contains("-kept-")).unwrap();
    let mut bytes = fs::read(shards.join(&name)).unwrap();
    bytes[10] ^= 1;
    fs::write(shards.join(&name), bytes).unwrap();
    export(&world, "new", &[]).fails(65, &["round 1 curate is damaged", &name]);
    let records = run.join("round-1/curate/commits");
    fs::remove_file(records.join(&names(&records)[0])).unwrap();
    export(&world, "new", &[]).fails(65, &["no round is curated in whole"]);
    assert_eq!(names(&world.path("")), ["mine.txt", "notes", "out", "runs"]);
}

/// Training curves and the figures of rounds, for TensorBoard. What is there grows with the run.
#[test]
fn event_files_have_the_curves() {
    let (world, run) = made();
    let export = || world.qstill(&["export", "runs/a", "--tensorboard", "logs"]);
    export().done().says("tensorboard --logdir logs");
    let file =
        |name: &str| fs::read(world.path(&format!("logs/{name}/events.out.tfevents.0.qstill"))).unwrap();
    let count = |bytes: &[u8], tag: &str| bytes.windows(tag.len()).filter(|at| *at == tag.as_bytes()).count();
    let losses: Vec<Loss> = run.rows("round-1/train");
    let (training, rounds) = (file("round-1-train"), file("rounds"));
    assert_eq!(count(&training, "train/loss"), losses.len());
    let validated = losses.iter().filter(|row| row.validation_loss.is_some()).count();
    assert_eq!(count(&training, "validation/loss"), validated);
    for tag in ["search/solved", "curate/kept", "solved/base", "solved/student"] {
        assert_eq!(count(&rounds, tag), 1, "{tag}");
    }
    // Again: nothing is new.
    export().done();
    assert_eq!((file("round-1-train"), file("rounds")), (training, rounds));
    world.qstill(&["export", "runs/none", "--tensorboard", "logs"]).fails(65, &["runs/none is not a run"]);
}

#[test]
fn a_packed_run_arrives_whole_or_not_at_all() {
    let (world, run) = made();
    world.qstill(&["pack", "runs/a", "a.tar"]).done().says("pack: ");
    world.qstill(&["pack", "runs/a", "a.tar"]).fails(64, &["a.tar is there already", "--force"]);
    let packed = fs::read(world.path("a.tar")).unwrap();
    world.qstill(&["pack", "a", "a.tar", "--force"]).done();
    assert_eq!(fs::read(world.path("a.tar")).unwrap(), packed, "the same run gives the same bytes");
    world.qstill(&["unpack", "a.tar"]).fails(64, &["runs/a is there already"]);
    world.qstill(&["unpack", "a.tar", "b"]).done().says("all as they were written");
    assert_eq!(run.product(), world.left("b").product());
    world.resume("b").done().says("round 1 evaluate: complete, skipped");
    world.qstill(&["pack", "runs/a", "light.tar", "--light"]).done();

    // Cut off anywhere, with other bytes, with a way out, or something else: nothing stays.
    let runs = || names(&world.path("runs"));
    let before = runs();
    let bad = |bytes: &[u8]| {
        world.write("bad.tar", bytes);
        world.qstill(&["unpack", "bad.tar", "c"]).fails(65, &["bad.tar is no packed run"]);
        assert_eq!(runs(), before);
    };
    for part in [0, 100, packed.len() / 3, packed.len() / 2, packed.len() * 9 / 10] {
        bad(&packed[..part]);
    }
    let at = packed.windows(4).position(|part| part == b"PAR1").unwrap();
    let mut other = packed.clone();
    other[at + 40] ^= 1;
    bad(&other);
    let mut outside = packed.clone();
    // The first name of all, with its checksum.
    let name = packed[..100].iter().position(|byte| *byte == 0).unwrap();
    outside[..name]
        .copy_from_slice(format!("{:.>name$}", "/x").replace('.', "./").as_bytes()[..name].as_ref());
    outside[..2].copy_from_slice(b"..");
    let sum: u32 =
        (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(outside[at]) }).sum();
    outside[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bad(&outside);
    bad(b"PAR1, but no archive at all");
}
