//! Kills: before every call, at any time, of three at once, at every step of training.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::trace::calls;
use crate::world::{Draw, Part, World, deliberate, differs, each, finish, product, qstill, strace, told};

/// In every slice, each so many-eth call.
const STRIDE: usize = 17;

/// Killed before each call that touches the run's files, then resumed.
pub fn every_call(world: &World, full: bool) -> Part {
    let traced = world.fresh();
    let sites: BTreeSet<(String, usize)> =
        calls(world, &traced, &[]).into_iter().map(|call| (call.name, call.nth)).collect();
    // The deliberate faults are in how shards and records come to their places.
    let wanted = |(name, _): &(String, usize)| !deliberate() || name == "rename" || name == "write";
    let stride = if full {
        1
    } else if deliberate() {
        2
    } else {
        STRIDE
    };
    let sites: Vec<(String, usize)> = sites.into_iter().filter(wanted).step_by(stride).collect();
    each(&sites, |_, (name, nth)| {
        let run = world.fresh();
        let inject = format!("inject={name}:signal=KILL:when={nth}");
        let killed = finish(&mut strace(
            &["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject],
            &run,
            &[],
        ));
        let wrong = world.heals(&run, &[]).map(|why| format!("killed before {name} {nth}: {why}"));
        (!killed.status.success(), wrong)
    })
}

/// Killed at any time, up to four times in a row, so in recovery too.
pub fn at_random(world: &World, full: bool) -> Part {
    let start = Instant::now();
    let probe = world.fresh();
    let _ = world.heals(&probe, &[]);
    let whole = start.elapsed();
    let runs: Vec<u64> = (0..if full { 500 } else { 12 }).collect();
    let mut part = each(&runs, |at, seed| {
        let (run, mut draw) = (world.fresh(), Draw(*seed));
        for _ in 0..4 {
            let mut child = qstill(&run, &[]).stderr(Stdio::null()).spawn().expect("it starts");
            std::thread::sleep(whole.mul_f64(draw.below(1000) as f64 / 1000.0));
            let _ = child.kill();
            let _ = child.wait();
        }
        (true, world.heals(&run, &[]).map(|why| format!("random run {at}: {why}")))
    });
    // Each run stands for four kills.
    part.asked *= 4;
    part.done *= 4;
    part
}

/// Three processes at once, half of them killed: one works, the others leave with 75 and name it, and no dead
/// one is in the way. Before that, one that comes while this process holds the run.
pub fn three_at_once(world: &World, full: bool) -> Part {
    let runs: Vec<u64> = (0..if full { 500 } else { 12 }).collect();
    let mut part = Part { asked: 1, done: 1, ..Part::default() };
    part.violations.extend(held(world));
    // Of a deliberate fault one sign is enough; which of three comes first is up to the system.
    if deliberate() && !part.violations.is_empty() {
        return part;
    }
    let three = each(&runs, |at, seed| {
        let (run, mut draw) = (world.fresh(), Draw(1_000_000 + *seed));
        let mut children: Vec<_> = (0..3).map(|_| qstill(&run, &[]).spawn().expect("it starts")).collect();
        let mut killed = Vec::new();
        for (n, child) in children.iter_mut().enumerate() {
            if draw.below(2) == 0 {
                std::thread::sleep(Duration::from_millis(draw.below(150) as u64));
                let _ = child.kill();
                killed.push(n);
            }
        }
        let mut wrong = None;
        let said: Vec<_> =
            children.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
        for (n, said) in said.iter().enumerate().filter(|(n, _)| !killed.contains(n)) {
            let text = String::from_utf8_lossy(&said.stderr);
            let busy = said.status.code() == Some(75) && text.contains("is held by process");
            if !said.status.success() && !busy {
                wrong = Some(format!("three at once, run {at}, process {n}: {}", told(said)));
            }
        }
        if killed.is_empty() && !said.iter().any(|said| said.status.success()) {
            wrong = Some(format!("three at once, run {at}: nobody did the work"));
        }
        let healed = world.heals(&run, &[]).map(|why| format!("three at once, run {at}: {why}"));
        (true, wrong.or(healed))
    });
    part.asked += three.asked;
    part.done += three.done;
    part.violations.extend(three.violations);
    part
}

/// A run that another process holds is left alone.
fn held(world: &World) -> Option<String> {
    let run = world.fresh();
    std::fs::create_dir_all(&run).expect("a folder");
    let lock = File::create(run.join("lock")).expect("a file in the temporary folder");
    lock.lock().expect("a file system with locks");
    let holder = format!(r#"{{"pid":{},"command":"torture","started":"now"}}"#, std::process::id());
    std::fs::write(run.join("lock"), holder).expect("a file in the temporary folder");
    let said = finish(&mut qstill(&run, &[]));
    let busy = said.status.code() == Some(75) && told(&said).contains("is held by process");
    let untouched = !run.join("run.toml").exists();
    (!busy || !untouched).then(|| format!("while the run is held: {}", told(&said)))
}

/// One run of many steps, killed before the second checkpoint of each process: it goes on by a step at a
/// time.
pub fn in_training(world: &World, full: bool) -> Part {
    let steps = if full { 200 } else { 30 };
    let most = format!("train.max_steps={steps}");
    let sets = ["run.rounds=1", "train.epochs=1000", "value.model=none", &most];
    let mut part = Part { asked: steps - 1, ..Part::default() };
    let whole = world.fresh();
    let said = finish(&mut qstill(&whole, &sets));
    if !said.status.success() {
        part.violations.push(told(&said));
        return part;
    }
    let run = world.fresh();
    let _ = finish(qstill(&run, &sets).args(["--until", "curate"]));
    loop {
        // Each rename of a process is the publication of a checkpoint, but for the first of the first
        // process.
        let inject = ["-o", "/dev/null", "-e", "trace=rename", "-e", "inject=rename:signal=KILL:when=2"];
        let killed = finish(&mut strace(&inject, &run, &sets));
        // At the last step it is the student that is published first.
        if killed.status.success() || run.join("round-1/student").exists() || part.done > 3 * steps {
            break;
        }
        part.done += 1;
    }
    let said = finish(&mut qstill(&run, &sets));
    if !said.status.success() {
        part.violations.push(told(&said));
    }
    part.violations.extend(
        differs(&product(&whole), &product(&run)).map(|why| format!("after {} kills: {why}", part.done)),
    );
    if part.done < part.asked / 3 {
        part.violations.push(format!("only {} kills", part.done));
    }
    part
}
