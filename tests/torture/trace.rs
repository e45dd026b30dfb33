//! What calls a run makes, and whether their order would survive a power cut: no kill can show a missing
//! fsync.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::world::{Part, World, finish, strace};

/// Calls that change files, or open them.
pub const CALLS: &str = "?open,openat,?creat,write,?pwrite64,fsync,?fdatasync,?rename,?renameat,?renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,ftruncate";

/// A call within the run's folder.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// The how many-eth of its name in its thread, from 1: what strace's `when` counts.
    pub nth: usize,
    pub line: String,
}

/// The calls of a run in its folder, as strace tells them.
pub fn calls(world: &World, run: &Path, sets: &[&str]) -> Vec<Call> {
    let log = world.path(&format!("{}.trace", run.file_name().unwrap_or_default().to_string_lossy()));
    let said = finish(&mut strace(
        &["-y", "-s", "4096", "-e", &format!("trace={CALLS}"), "-o", &log.display().to_string()],
        run,
        sets,
    ));
    assert!(said.status.success(), "a traced run fails: {}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8_lossy(&fs::read(&log).expect("strace writes its log")).into_owned();
    let _ = fs::remove_file(&log);
    let (within, mut counts, mut found) = (run.display().to_string(), BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let Some((name, _)) = rest.split_once('(') else { continue };
        if rest.starts_with('<') || name.contains(' ') {
            continue;
        }
        let nth =
            counts.entry((thread.to_owned(), name.to_owned())).and_modify(|n| *n += 1).or_insert(1usize);
        if rest.contains(&within) {
            found.push(Call { name: name.to_owned(), nth: *nth, line: rest.to_owned() });
        }
    }
    found
}

/// The paths in a call: of descriptors, and of arguments.
fn paths(call: &Call) -> Vec<String> {
    if matches!(call.name.as_str(), "write" | "pwrite64" | "fsync" | "fdatasync" | "ftruncate") {
        return call
            .line
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map(|(path, _)| path.to_owned())
            .into_iter()
            .collect();
    }
    call.line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn above(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned())
}

/// Data is fsynced before it gets its name, and names are before a record makes them count, and at the end.
pub fn order(world: &World, _full: bool) -> Part {
    let run = world.fresh();
    let root = run.display().to_string();
    let all = calls(world, &run, &[]);
    let mut part = Part { asked: all.len(), ..Part::default() };
    // Files with bytes, and folders with names, that a power cut would take.
    let (mut bytes, mut names): (BTreeSet<String>, BTreeSet<String>) = (BTreeSet::new(), BTreeSet::new());
    // Leftovers are removed, and the log and the lock are no data.
    let passing = |path: &str| {
        path.split('/').any(|p| p == "tmp") || path.ends_with("/run.log") || path.ends_with("/lock")
    };
    for call in &all {
        part.done += 1;
        let failed = call.line.contains(") = -1");
        let paths = paths(call);
        match (call.name.as_str(), &paths[..]) {
            _ if failed => {}
            ("write" | "pwrite64", [path, ..]) if !path.ends_with("/run.log") && !path.ends_with("/lock") => {
                bytes.insert(path.clone());
            }
            ("rename" | "renameat" | "renameat2" | "link" | "linkat", [from, to]) => {
                let inside = format!("{from}/");
                if let Some(path) = bytes.iter().find(|path| *path == from || path.starts_with(&inside)) {
                    part.violations.push(format!("{path} gets the name {to} before its bytes are durable"));
                }
                if let Some(path) = names.iter().find(|path| *path == from || path.starts_with(&inside)) {
                    part.violations
                        .push(format!("{path} gets the name {to} before the names in it are durable"));
                }
                if above(to).ends_with("/commits")
                    && let Some(path) = names.iter().find(|path| !passing(path))
                {
                    part.violations.push(format!("{to} is recorded before the names in {path} are durable"));
                }
                bytes.retain(|path| path != from && !path.starts_with(&inside));
                names.retain(|path| path != from && !path.starts_with(&inside));
                names.insert(above(to));
            }
            ("mkdir" | "mkdirat", [path]) if *path != root => {
                names.insert(above(path));
            }
            ("open" | "openat", [path]) if call.line.contains("O_CREAT") && call.line.contains("O_EXCL") => {
                names.insert(above(path));
            }
            // Durable, or gone.
            ("fsync" | "fdatasync" | "unlink" | "unlinkat" | "rmdir", [path, ..]) => {
                bytes.remove(path);
                names.remove(path);
            }
            _ => {}
        }
    }
    part.violations.extend(
        bytes.iter().filter(|path| !passing(path)).map(|path| format!("{path} is not durable at the end")),
    );
    part.violations.extend(
        names
            .iter()
            .filter(|path| !passing(path))
            .map(|path| format!("names in {path} are not durable at the end")),
    );
    let _ = fs::remove_dir_all(run);
    part
}
