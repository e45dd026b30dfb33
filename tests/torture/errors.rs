//! Calls that fail, and disks that are too small: exit code 73 or 74, then success once the cause is gone.

use std::fs;
use std::process::Command;

use crate::trace::{Call, calls};
use crate::world::{Part, World, each, finish, qstill, strace, told};

/// Calls whose failure need not end a run: lines of the log, the removal of what is not needed any more, and
/// reads of what is only compared with what would be written.
fn may_fail(call: &Call) -> bool {
    let only_read = call.name == "openat" && !call.line.contains("O_CREAT");
    call.line.contains("/run.log")
        || matches!(call.name.as_str(), "unlink" | "unlinkat" | "rmdir")
        || (only_read
            && ["/run.toml\"", "/gate.json\"", "/lock\""].iter().any(|name| call.line.contains(name)))
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
    each(&work, |_, (call, error)| {
        let run = world.fresh();
        let (name, nth) = (&call.name, call.nth);
        let inject = format!("inject={name}:error={error}:when={nth}");
        let said = finish(&mut strace(
            &["-o", "/dev/null", "-e", &format!("trace={name}"), "-e", &inject],
            &run,
            &[],
        ));
        let wanted = if *error == "EIO" { 74 } else { 73 };
        let place = format!("{error} at {name} {nth} ({})", call.line.chars().take(160).collect::<String>());
        let wrong = match said.status.code() {
            Some(0) if may_fail(call) => None,
            Some(code) if code == wanted => None,
            _ => Some(format!("{place}: {}", told(&said))),
        };
        let healed = world.heals(&run, &[]).map(|why| format!("{place}: {why}"));
        (true, wrong.or(healed))
    })
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
