//! Ctrl-C: a clean stop, exit code 130, and how to go on. Signals of the system: the same with exit code 75.

use std::io::Write;
use std::process::Command;

use crate::kit::{Running, World, names, run};
use crate::server::{ENDPOINT, Gate, Server, sum, sums};

fn signal(running: &Running, name: &str) {
    // Part of every shell, while not every machine has a program of that name.
    let sent =
        Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &running.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[track_caller]
fn stopped(running: Running, run: &str, code: i32) -> String {
    let (status, said) = running.wait();
    assert_eq!(status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.contains(&format!("resume with `qstill resume {run}`")) && !said.contains("error"),
        "{said}"
    );
    said
}

#[test]
fn while_an_answer_is_awaited() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 24));
    world.write_rows("test.jsonl", &sums(50, 2));
    let gate = Gate::default();
    let door = gate.clone();
    let server = Server::start(move |request| {
        door.pass();
        sum(request)
    });
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting, "endpoint.concurrency=2"]].concat();
    let mut running = world.start(&run("a", &sets));
    running.until("a request", |_| server.count() > 0);
    signal(&running, "INT");
    running.until("the signal is heard", |said| said.contains("stopping after the current batch"));
    gate.open();
    stopped(running, "runs/a", 130);
    let (asked, stored) = (server.count(), world.left("a").answers().len());
    // Eight problems to a shard, two samples each.
    assert!(asked <= 16 && stored == asked, "{asked} were asked, {stored} are stored");

    world.resume("a").done();
    world.run("b", &sets).done();
    world.left("a").equals(&world.left("b"));
}

#[test]
fn while_a_verifier_is_at_work() {
    let world = World::new();
    world.write("check.sh", "read -r line; echo x > asked; exec sleep 10000");
    let sets = ["verify.command=[\"sh\", \"check.sh\"]", "verify.timeout_s=10000"];
    let mut running = world.start(&run("a", &sets));
    running.until("a question", |_| world.path("asked").exists());
    signal(&running, "USR1");
    let said = stopped(running, "runs/a", 75);
    assert!(!said.contains("verify.command"), "{said}");
    assert_eq!(names(&world.left("a").join("round-1/search/commits")), [""; 0]);
}

#[test]
fn while_a_model_is_trained() {
    let world = World::new();
    let sets = [
        "problems.train=60",
        "train.batch_size=4",
        "train.epochs=3",
        "train.checkpoint_every=0",
        "evaluate.teacher=false",
    ];
    let mut running = world.start(&run("a", &sets));
    running.until("training begins", |said| said.contains("round 1 train: ") && said.contains(" steps\n"));
    signal(&running, "TERM");
    stopped(running, "runs/a", 75);
    assert_eq!(
        names(&world.left("a").join("round-1/train/checkpoints")).len(),
        1,
        "a last checkpoint is made"
    );

    world.resume("a").done().says("resumes from the checkpoint at step");
    world.run("b", &sets).done();
    world.left("a").equals(&world.left("b"));
}

#[test]
fn while_a_file_is_judged() {
    let world = World::new();
    let pipe = world.path("endless.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let feeder = std::thread::spawn(move || {
        let mut pipe = std::fs::File::options().write(true).open(pipe).unwrap();
        while pipe.write_all(b"{\"gold\": 1, \"prediction\": 1}\n").is_ok() {}
    });
    let mut running = world.start(&["grade", "endless.jsonl", "--output", "out.jsonl"]);
    running.until("it begins", |said| said.contains("grade: started"));
    signal(&running, "INT");
    let (status, said) = running.wait();
    assert!(status.code() == Some(130) && said.contains("stopped; no output was written"), "{said}");
    feeder.join().unwrap();
    assert_eq!(names(&world.path(".")), ["endless.jsonl"], "nothing is left behind");
}
