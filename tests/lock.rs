//! One process at a time: the second is told who holds the run.

use crate::kit::{World, run};
use crate::server::{Answer, ENDPOINT, Server, sums};

#[test]
fn the_second_process_is_told_who_holds_the_run() {
    let world = World::new();
    world.write_rows("train.jsonl", &sums(0, 4));
    world.write_rows("test.jsonl", &sums(50, 2));
    let server = Server::start(|_| Answer::Never);
    let setting = server.setting();
    let sets = [ENDPOINT, &[&setting]].concat();
    let mut holder = world.start(&run("a", &sets));
    holder.until("a request", |_| server.count() > 0);

    let pid = format!("process {}", holder.id());
    world.run("a", &sets).fails(75, &["runs/a is held by", &pid, "wait until it is done"]);
    world.resume("a").fails(75, &[&pid]);
    world.qstill(&["stage", "problems", "runs/a"]).fails(75, &[&pid]);

    // Looking is allowed.
    let status = world.qstill(&["status", "runs/a"]).done();
    assert!(status.stdout.contains(&format!("running: pid {}", holder.id())), "{}", status.stdout);
    assert_eq!(world.qstill(&["status", "runs/a", "--json"]).done().json()["holder"]["pid"], holder.id());

    // A killed holder holds nothing.
    holder.kill();
    assert!(world.qstill(&["status", "runs/a", "--json"]).done().json()["holder"].is_null());
    world.qstill(&["stage", "problems", "runs/a"]).done().says("problems: complete, skipped");
}
