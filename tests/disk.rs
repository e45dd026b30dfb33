//! Places that cannot be written, and disks that fill up: exit codes 74 and 73, and a resume that completes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::kit::{Outcome, World, names};
use crate::server::{Answer, ENDPOINT, Server, sum, sums};

#[test]
fn run_directories_that_cannot_be_written() {
    let world = World::new();
    world.write("file", "");
    for run in ["file/run", "/proc/none/run"] {
        world
            .qstill(&["run", "--preset", "demo", "--run", run])
            .fails(74, &["cannot write to the run directory", run]);
    }
    // A superuser writes where others may not.
    let locked = world.path("locked");
    fs::create_dir(&locked).unwrap();
    let mut rights = fs::metadata(&locked).unwrap().permissions();
    rights.set_readonly(true);
    fs::set_permissions(&locked, rights).unwrap();
    if fs::write(locked.join("probe"), "").is_err() {
        world
            .qstill(&["run", "--preset", "demo", "--run", "locked/run"])
            .fails(74, &["cannot write", "read-only for you"]);
    }
}

/// A small file system of its own, where the test may mount one.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path, kilobytes: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = mount(at, &["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]);
        if !mounted {
            println!("left out: a file system cannot be mounted here");
        }
        mounted.then_some(Disk(at))
    }

    fn resize(&self, kilobytes: usize) {
        assert!(mount(self.0, &["-o", &format!("remount,size={kilobytes}k")]));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn mount(at: &Path, arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).arg(at).output().is_ok_and(|output| output.status.success())
}

/// Gives the disk a little more each time it is full; every stop must be a clean one. How many there were.
fn fill(
    disk: &Disk<'_>,
    mut size: usize,
    step: usize,
    mut outcome: Outcome,
    again: impl Fn() -> Outcome,
) -> usize {
    let mut stops = 0;
    while outcome.code != Some(0) {
        outcome.fails(73, &["free some space"]);
        stops += 1;
        size += step;
        disk.resize(size);
        outcome = again();
    }
    stops
}

#[test]
fn a_full_disk() {
    let world = World::new();
    let runs = world.path("runs");
    let Some(disk) = Disk::mount(&runs, 48) else { return };
    let sets = ["train.checkpoint_every=1"];
    let stops = fill(&disk, 48, 48, world.run("a", &sets), || world.run("a", &sets));
    assert!(stops >= 4, "{stops} stops: the disk was large enough");

    let other = World::new();
    other.run("a", &sets).done();
    world.left("a").equals(&other.left("a"));
}

#[test]
fn a_full_disk_while_answers_are_stored() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 8));
    world.write_rows("test.jsonl", &sums(50, 1));
    let server = Server::start(|request| match sum(request) {
        Answer::Http(status, headers, body) => Answer::Http(status, headers, body + &" ".repeat(40_000)),
        other => other,
    });
    let runs = world.path("runs");
    let Some(disk) = Disk::mount(&runs, 200) else { return };
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting]].concat();
    let stops = fill(&disk, 200, 400, world.run("a", &sets), || world.run("a", &sets));
    assert!(stops >= 1);
}

#[test]
fn a_full_disk_under_the_output_of_grade() {
    let world = World::new();
    // Rows that differ, so that no compression makes them fit.
    let line =
        |n: u64| format!("{{\"gold\": {n}, \"prediction\": {}}}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    world.write("in.jsonl", (0..40_000).map(line).collect::<String>());
    let place = world.path("place");
    let Some(disk) = Disk::mount(&place, 64) else { return };
    for output in ["place/out.jsonl", "place/out.parquet"] {
        world
            .qstill(&["grade", "in.jsonl", "--output", output])
            .fails(73, &["cannot write", "free some space"]);
        assert!(names(&place).is_empty(), "{:?}", names(&place));
    }
    disk.resize(16_384);
    world.qstill(&["grade", "in.jsonl", "--output", "place/out.jsonl"]).done();
}
