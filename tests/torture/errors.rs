//! Calls that fail, and disks that are too small: exit code 73 or 74, then success once the cause is gone.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::trace::{Call, calls};
use crate::world::{Part, World, deliberate, each, finish, qstill, strace, told};

/// Calls whose failure need not end a run: lines of the log, the removal of what is not needed any more,
/// reads of what is only compared with what would be written, the name in a lock that is given back (a lock
/// is held by its process, whatever it says), and calls outside the run.
fn may_fail(name: &str, line: &str, run: &str) -> bool {
    let only_read = name == "openat" && !line.contains("O_CREAT");
    !line.contains(run)
        || line.contains("/run.log")
        || matches!(name, "unlink" | "unlinkat" | "rmdir")
        || (name == "ftruncate" && line.contains("/lock>"))
        || (only_read && ["/run.toml\"", "/gate.json\"", "/lock\""].iter().any(|file| line.contains(file)))
}

pub fn injected(world: &World, full: bool) -> Part {
    let traced = world.fresh();
    let mut work: Vec<(Call, &str)> = Vec::new();
    for (at, call) in calls(world, &traced, &[]).into_iter().enumerate() {
        // What fails anyway need not be made to.
        if call.line.contains(") = -1") {
            continue;
        }
        let errors: &[&str] =
            if full { &["ENOSPC", "EIO", "EDQUOT"] } else { &["ENOSPC", "EIO", "EDQUOT"][at % 3..=at % 3] };
        if full || at % 19 == 0 || (call.name == "fsync" && at % 9 == 0) {
            work.extend(errors.iter().map(|error| (call.clone(), *error)));
        }
    }
    let hits = AtomicUsize::new(0);
    let mut part = each(&work, |_, (call, error)| {
        let run = world.fresh();
        let (name, nth) = (&call.name, call.nth);
        let inject = format!("inject={name}:error={error}:when={nth}");
        let log = world.path(&format!("{}.inject", run.file_name().unwrap_or_default().to_string_lossy()));
        let to = log.display().to_string();
        let said =
            finish(&mut strace(&["-y", "-o", &to, "-e", &format!("trace={name}"), "-e", &inject], &run, &[]));
        // Threads share the work anew each time, so another call may be hit, or none.
        let trace = fs::read(&log).expect("strace writes its log");
        let hit: Vec<String> = String::from_utf8_lossy(&trace)
            .lines()
            .filter(|line| line.contains("(INJECTED)"))
            .map(str::to_owned)
            .collect();
        let _ = fs::remove_file(&log);
        if !hit.is_empty() {
            hits.fetch_add(1, Relaxed);
        }
        let harmless = hit.iter().all(|line| may_fail(name, line, &run.display().to_string()));
        let wanted = if *error == "EIO" { 74 } else { 73 };
        let place = format!("{error} at {name} {nth} ({})", call.line.chars().take(160).collect::<String>());
        // A page that could not be made is said, and costs no run.
        let unreported = told(&said).contains("the run is done, but has no report: ");
        let wrong = match said.status.code() {
            Some(0) if harmless || unreported => None,
            Some(code) if code == wanted => None,
            _ => Some(format!("{place}, met {hit:?}: {}", told(&said))),
        };
        let healed = world.heals(&run, &[]).map(|why| format!("{place}: {why}"));
        (true, wrong.or(healed))
    });
    let hits = hits.into_inner();
    part.notes.push(format!("{hits} of {} errors met a call", work.len()));
    if hits * 10 < work.len() * 9 && !deliberate() {
        part.violations.push(format!("only {hits} of {} errors met a call", work.len()));
    }
    part
}

/// File systems of forty sizes, each of them too small or nearly so.
pub fn small_disks(world: &World, full: bool) -> Part {
    let sizes: Vec<usize> = (1..=40).map(|n| n * 40).step_by(if full { 1 } else { 8 }).collect();
    let mut part = Part { asked: sizes.len(), ..Part::default() };
    for kilobytes in sizes {
        let disk = world.fresh();
        fs::create_dir_all(&disk).expect("a folder");
        let mounted = |options: &str| {
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk);
            mount.output().is_ok_and(|output| output.status.success())
        };
        if !mounted(&format!("size={kilobytes}k")) {
            let why = "a file system cannot be mounted here: it needs root".to_owned();
            if full {
                part.violations.push(why);
            } else {
                part.notes.push(format!("left out: {why}"));
            }
            break;
        }
        let run = disk.join("run");
        let said = finish(&mut qstill(&run, &[]));
        if !matches!(said.status.code(), Some(0 | 73 | 74)) {
            part.violations.push(format!("{kilobytes} kB: {}", told(&said)));
        }
        if !mounted("remount,size=64m") {
            part.violations.push("the file system cannot be made larger".to_owned());
        }
        part.violations.extend(world.heals(&run, &[]).map(|why| format!("{kilobytes} kB: {why}")));
        let _ = Command::new("umount").arg(&disk).status();
        part.done += 1;
    }
    part
}
