//! Files with a wrong byte, or too few: none is read as data.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::trace::calls;
use crate::world::{Draw, Part, World, files, finish, qstill, strace};
use pipeline::disk::record::Check;
use pipeline::disk::scan::{examine, scan};

/// Every byte of every committed file flipped, every length cut: seen by the protocol's own reader.
/// Checkpoints by `verify-run`.
pub fn damaged(world: &World, full: bool) -> Part {
    let run = world.copy();
    let mut part = Part::default();
    let mut stages: Vec<PathBuf> = vec![run.join("problems")];
    for round in ["round-1", "round-2"] {
        let dirs = fs::read_dir(run.join(round)).expect("a round").flatten().map(|entry| entry.path());
        stages.extend(dirs.filter(|dir| dir.join("commits").is_dir()));
    }
    for stage in &stages {
        let whole = examine(stage).expect("it is readable");
        assert!(
            whole.damaged.is_empty() && !whole.good.is_empty(),
            "{}: {:?}",
            stage.display(),
            whole.damaged
        );
        // By the stage's own eyes: under the fingerprint that it has.
        let fingerprint = whole.good[0].fingerprint.clone();
        let mut all: Vec<PathBuf> =
            ["shards", "commits"].iter().flat_map(|part| under(&stage.join(part))).collect();
        let beside = whole.good.iter().flat_map(|commit| &commit.dirs);
        all.extend(beside.flat_map(|dir| under(&stage.with_file_name(&dir.name))));
        for path in all {
            let good = fs::read(&path).expect("it is readable");
            let stride = if full { 1 } else { (good.len() / 12).max(1) };
            for at in (0..good.len()).step_by(stride) {
                for cut in [false, true] {
                    part.asked += 1;
                    mistreat(&path, &good, at, cut);
                    let found = scan(stage, &fingerprint, Check::Hash).expect("it is readable");
                    if found.good.len() == whole.good.len() {
                        let what = if cut { "cut at" } else { "flipped at" };
                        part.violations
                            .push(format!("{} {what} byte {at} is taken for data", path.display()));
                    }
                    part.done += 1;
                }
            }
            fs::write(&path, &good).expect("a write");
        }
    }
    checkpoints(world, full, &mut part);
    let _ = fs::remove_dir_all(run);
    part
}

fn under(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_keys().map(|path| dir.join(path)).collect()
}

/// Makes one byte of a file another, or ends the file before it.
fn mistreat(path: &Path, good: &[u8], at: usize, cut: bool) {
    if cut {
        File::create(path).and_then(|mut file| file.write_all(&good[..at])).expect("a write");
    } else {
        fs::write(path, good).expect("a write");
        let file = File::options().write(true).open(path).expect("an open");
        file.write_all_at(&[good[at] ^ (1 << (at % 8))], at as u64).expect("a write");
    }
}

/// A run that was killed in training has checkpoints; `verify-run` must see each change of them.
fn checkpoints(world: &World, full: bool, part: &mut Part) {
    let sets = ["run.rounds=1", "value.model=none"];
    let traced = world.fresh();
    let last = calls(world, &traced, &sets)
        .into_iter()
        .rfind(|call| call.name == "rename" && call.line.contains("/checkpoints/step-"));
    let run = world.fresh();
    let inject = format!("inject=rename:signal=KILL:when={}", last.expect("checkpoints are made").nth);
    let _ = finish(&mut strace(&["-o", "/dev/null", "-e", "trace=rename", "-e", &inject], &run, &sets));
    let all: Vec<PathBuf> = under(&run.join("round-1/train/checkpoints"))
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("tmp-"))
        .collect();
    if all.is_empty() {
        part.violations.push("a run that was killed in training has no checkpoint".to_owned());
    }
    let verify = || {
        Command::new(env!("CARGO_BIN_EXE_qstill"))
            .arg("verify-run")
            .arg(&run)
            .output()
            .expect("it starts")
            .status
            .code()
    };
    if verify() != Some(0) {
        part.violations.push("verify-run finds fault with a killed run".to_owned());
    }
    let (mut draw, tries) = (Draw(3), if full { 400 } else { 12 });
    for path in all {
        let good = fs::read(&path).expect("it is readable");
        for _ in 0..tries {
            part.asked += 1;
            let (at, cut) = (draw.below(good.len()), draw.below(2) == 0);
            mistreat(&path, &good, at, cut);
            if verify() != Some(65) {
                part.violations.push(format!("{} damaged at byte {at} is taken for data", path.display()));
            }
            part.done += 1;
        }
        fs::write(&path, &good).expect("a write");
    }
    // And with a damaged newest checkpoint training goes on from the one before.
    let newest = under(&run.join("round-1/train/checkpoints"))
        .into_iter()
        .filter(|path| path.ends_with("state.safetensors") && !path.to_string_lossy().contains("/tmp-"))
        .max();
    if let Some(path) = newest {
        let good = fs::read(&path).expect("it is readable");
        mistreat(&path, &good, good.len() / 2, false);
        let said = finish(&mut qstill(&run, &sets));
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        part.asked += 1;
        part.done += 1;
        if !said.status.success() || !text.contains("set aside") {
            part.violations.push(format!("a damaged checkpoint is not set aside: {text}"));
        }
    }
    let _ = fs::remove_dir_all(run);
    let _ = fs::remove_dir_all(traced);
}
