//! Training works: a small student learns an easy kind of problem from nothing, and solves ones it has never
//! seen.

use crate::kit::World;

#[test]
fn a_student_learns_to_add_and_subtract() {
    let world = World::new();
    let mut rows = Vec::new();
    for a in 1..=20 {
        for b in 1..=20 {
            rows.push((format!("Ann has {a} pens and gets {b}. How many?"), (a + b).to_string()));
            if a > b {
                rows.push((format!("Ann has {a} pens and loses {b}. How many?"), (a - b).to_string()));
            }
        }
    }
    world.write_rows("pens.jsonl", &rows);
    let sets = [
        "problems.source=files",
        "problems.files=[\"pens.jsonl\"]",
        "problems.train=0",
        "problems.test=60",
        "problems.test_share=0.2",
        "problems.validation_share=0",
        "run.shard_size=500",
        "search.policy=none",
        "search.rule_steps=1",
        "curate.per_problem=1",
        "model.hidden_size=64",
        "model.intermediate_size=176",
        "model.layers=2",
        "model.heads=4",
        "model.kv_heads=2",
        "model.context=64",
        "train.max_tokens=64",
        "train.learning_rate=0.004",
        "train.epochs=25",
        "train.validation_share=0",
        "evaluate.samples=0",
        "evaluate.max_tokens=12",
    ];
    world.run("a", &sets).done();
    let rows = world.left("a").evaluation()["rows"].clone();
    let solved = |place: usize| rows[place]["pass_at_1"].as_f64().unwrap();
    let (base, student, teacher) = (solved(0), solved(1), solved(2));
    assert!(student >= base + 0.25 && teacher >= 0.95, "base {base}, student {student}, teacher {teacher}");
}
