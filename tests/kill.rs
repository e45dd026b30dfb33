//! Killed at any point, resumed, and the same to the last byte; damage is found and mended.

use std::fs;

use crate::kit::{Left, World, names, run};

/// Small shards and many checkpoints, so that there is something to interrupt.
const SLOW: &[&str] = &[
    "run.shard_size=4",
    "problems.train=96",
    "search.rule_expansions=600",
    "train.batch_size=4",
    "train.checkpoint_every=1",
    "value.model=features",
];

fn shards(run: &Left) -> usize {
    names(&run.join("round-1/search/commits")).len()
}

#[test]
fn killed_twice_in_search_and_once_in_training() {
    let world = World::new();
    world.run("whole", SLOW).done();
    let cut = world.left("cut");

    let mut first = world.start(&run("cut", SLOW));
    first.until("a committed shard", |_| shards(&cut) > 0);
    first.kill();
    let done = shards(&cut);
    assert!((1..24).contains(&done), "{done} shards are committed");

    let mut second = world.start(&["resume", "runs/cut"]);
    second.until("another committed shard", |_| shards(&cut) > done);
    second.kill();
    assert!(shards(&cut) < 24);

    let mut third = world.start(&["resume", "runs/cut"]);
    third.until("a checkpoint", |_| {
        names(&cut.join("round-1/train/checkpoints")).iter().any(|name| name.starts_with("step-"))
    });
    third.kill();
    assert!(names(&cut.join("round-1/train/commits")).is_empty(), "training was over too soon");

    let last = world.resume("cut").done();
    last.says("problems: complete, skipped")
        .says("round 1 search: complete, skipped")
        .says("resumes from the checkpoint at step");
    cut.equals(&world.left("whole"));
    let rest: Vec<String> = cut
        .files()
        .into_keys()
        .filter(|path| path.contains("tmp") || path.contains("checkpoints/"))
        .collect();
    assert!(rest.is_empty(), "left behind: {rest:?}");
}

#[test]
fn what_a_killed_publication_of_a_student_left_is_cleared() {
    let world = World::new();
    world.run("a", &[]).done();
    // The names of such folders begin so; see `layout.rs`.
    let folder = world.left("a").join("round-1/tmp-student-1-2-3");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.safetensors"), "half").unwrap();
    world.resume("a").done();
    assert!(!folder.exists(), "half a student stays for ever");
}

#[test]
fn damage_is_found_set_aside_and_made_again() {
    let world = World::new();
    world.run("a", &[]).done();
    let run = world.left("a");
    let before = run.product();

    let shard = |stage: &str, table: &str| {
        let folder = run.join(stage).join("shards");
        let name = names(&folder)
            .into_iter()
            .find(|name| name.starts_with("part-00001-") && name.contains(table))
            .unwrap();
        folder.join(name)
    };
    // One flipped bit, one file cut short, one student with another byte in it.
    let flipped = shard("round-1/search", "solutions");
    let mut bytes = fs::read(&flipped).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&flipped, &bytes).unwrap();
    let cut = shard("round-1/curate", "kept");
    let half = fs::read(&cut).unwrap().len() / 2;
    fs::File::options().write(true).open(&cut).unwrap().set_len(half as u64).unwrap();
    let weights = run.join("round-1/student/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();

    let outcome = world.resume("a").done();
    for part in ["has other bytes than were written", "to be made again", "student is not as it was written"]
    {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
    assert!(before == run.product(), "made again, and the same");
    assert!(
        run.files().keys().any(|path| path.starts_with("round-1/search/damaged/")),
        "what was damaged is kept to look at"
    );
}
