//! `qstill export-gguf`, and GGUF files in place of model directories.

use std::fs;

use crate::kit::{World, names};

const SETS: &[&str] = &["evaluate.samples=0", "evaluate.teacher=false", "problems.train=8"];
const STUDENT: &str = "runs/first/round-1/student";

/// A world with a student and a file of questions.
fn world() -> World {
    let world = World::new();
    world.run("first", SETS).done();
    let rows: Vec<(String, String)> = (2..6).map(|n| (format!("What is {n} + {n}?"), "4".into())).collect();
    world.write_rows("questions.jsonl", &rows);
    world
}

fn answers(world: &World, model: &str) -> String {
    world.qstill(&["answer", model, "questions.jsonl", "--max-tokens", "12", "--device", "cpu"]).done().stdout
}

#[test]
fn a_student_in_one_file_answers_alike() {
    let world = world();
    let export = |more: &[&str]| world.qstill(&[&["export-gguf", STUDENT, "student.gguf"], more].concat());
    export(&["--type", "f32"]).done().says("wrote student.gguf");
    assert_eq!(answers(&world, "student.gguf"), answers(&world, STUDENT));

    // It replaces nothing unless it is told to, and leaves nothing beside the file.
    let bytes = fs::read(world.path("student.gguf")).unwrap();
    export(&[]).fails(64, &["student.gguf already exists", "--force"]);
    assert_eq!(fs::read(world.path("student.gguf")).unwrap(), bytes);
    export(&["--type", "q8_0", "--force"]).done();
    assert!(fs::read(world.path("student.gguf")).unwrap().len() < bytes.len() / 2);
    assert_eq!(answers(&world, "student.gguf").lines().count(), 4);
    let left = names(&world.path("."));
    assert!(!left.iter().any(|name| name.contains("tmp")), "{left:?}");

    // From one file to another.
    world
        .qstill(&["export-gguf", "student.gguf", "again.gguf", "--type", "q8_0", "--name", "student"])
        .done();
    let [one, two] = ["student.gguf", "again.gguf"].map(|name| fs::read(world.path(name)).unwrap());
    assert_eq!(one, two);

    world.write("cut.gguf", &bytes[..bytes.len() / 2]);
    let cut = ["answer", "cut.gguf", "questions.jsonl", "--device", "cpu"];
    world.qstill(&cut).fails(65, &["cut.gguf", "ends beyond the file", "download or copy it again"]);
    world.write("other.gguf", "not a model");
    world.qstill(&["export-gguf", "other.gguf", "x.gguf"]).fails(65, &["other.gguf", "is no GGUF file"]);
    world.qstill(&["export-gguf", "nowhere", "x.gguf"]).fails(65, &["nowhere"]);
    world.qstill(&["export-gguf", "nowhere.gguf", "x.gguf"]).fails(65, &["nowhere.gguf", "no such file"]);
    world.qstill(&["export-gguf", STUDENT, "no/such/folder.gguf"]).fails(74, &["no/such/folder.gguf"]);
    assert!(!world.path("x.gguf").exists());
}

#[test]
fn a_file_is_a_base_and_its_student_is_a_directory() {
    let world = world();
    world.qstill(&["export-gguf", STUDENT, "base.gguf", "--type", "q8_0"]).done();
    let sets = [SETS, &["model.path=base.gguf", "train.lora_rank=4"]].concat();
    world.run("second", &sets).done();
    let student = world.left("second").join("round-1/student");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        assert!(student.join(file).is_file(), "{file}");
    }
    answers(&world, "runs/second/round-1/student");
    // The file counts by what is in it.
    world.resume("second").done().says("round 1 train: complete, skipped");
    world.qstill(&["export-gguf", STUDENT, "base.gguf", "--type", "f32", "--force"]).done();
    let why = world.qstill(&["status", "runs/second", "--why", "search"]).done();
    assert!(why.stdout.contains("base.gguf"), "{}", why.stdout);
}
