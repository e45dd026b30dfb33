//! Checkpoints of training.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datasets::key::hex;
use datasets::table::Writer;
use sha2::{Digest, Sha256};
use stages::fault;
use stages::train::checkpoint::Cursor;
use stages::train::{Moment, checkpoint};

use crate::disk::durable::{names, publish_dir, read_small, remove_leftovers, set_aside, write_dir};
use crate::disk::record::hash_file;
use crate::run::workspace::Workspace;

/// Checkpoints kept at a time: the newest, and one before it should the newest be damaged.
const KEPT: usize = 2;
/// The files of a checkpoint, beside the list of their hashes.
const CHECKPOINT: [&str; 3] = ["state.safetensors", "cursor.json", "losses.parquet"];

pub fn step_of(name: &str) -> Option<usize> {
    name.strip_prefix("step-")?.parse().ok()
}

/// Publishes a checkpoint and removes all but the newest ones.
///
/// # Errors
/// Failed writes.
pub fn save(folder: &Path, moment: &Moment<'_>) -> Result<()> {
    let mut cursor = moment.cursor.clone();
    cursor.step += usize::from(fault::is("cursor-ahead"));
    let mut files = checkpoint::files(&moment.state, &cursor)?;
    let mut writer = Writer::new(Vec::new())?;
    writer.extend(moment.losses.iter().cloned())?;
    files.push(("losses.parquet".to_owned(), writer.finish()?.1));
    let sums: String =
        files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex(&Sha256::digest(bytes)))).collect();
    files.push(("SHA256SUMS".to_owned(), sums.into_bytes()));
    let target = folder.join(format!("step-{:08}", cursor.step));
    let staged =
        write_dir(&target, &files).with_context(|| format!("failed to write {}", target.display()))?;
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("failed to replace {}", target.display()))?;
    }
    publish_dir(&staged, &target).with_context(|| format!("failed to publish {}", target.display()))?;
    let mut steps: Vec<String> = names(folder)?.into_iter().filter(|n| step_of(n).is_some()).collect();
    steps.sort();
    for old in steps.iter().rev().skip(KEPT) {
        fs::remove_dir_all(folder.join(old)).with_context(|| format!("failed to remove {old}"))?;
    }
    Ok(())
}

/// The newest checkpoint of this fingerprint whose files are as they were written. Damaged ones are set aside
/// and said.
///
/// # Errors
/// Failed reads and moves.
pub fn newest(workspace: &Workspace, folder: &Path, fingerprint: &str) -> Result<Option<(usize, PathBuf)>> {
    remove_leftovers(folder).with_context(|| format!("failed to clear {}", folder.display()))?;
    for name in names(folder)?.into_iter().rev() {
        let dir = folder.join(&name);
        let Some(step) = step_of(&name) else { continue };
        match sound(&dir, step) {
            Ok(cursor) if cursor.fingerprint == fingerprint => return Ok(Some((step, dir))),
            Ok(_) => {
                workspace
                    .console
                    .say(&format!("checkpoint {name} belongs to another configuration: set aside"));
                set_aside(&dir, &workspace.run.damaged())?;
            }
            Err(why) => {
                workspace.console.warn(&format!("checkpoint {name} is damaged ({why}): set aside"));
                set_aside(&dir, &workspace.run.damaged())?;
            }
        }
    }
    Ok(None)
}

/// Checks every file of a checkpoint against its hash, and that it is the checkpoint of its name. The error
/// says what is wrong.
pub fn sound(dir: &Path, step: usize) -> std::result::Result<Cursor, String> {
    let sums = read_small(&dir.join("SHA256SUMS")).map_err(|e| format!("SHA256SUMS: {e}"))?;
    let sums = String::from_utf8(sums).map_err(|_| "SHA256SUMS is malformed")?;
    let mut seen = Vec::new();
    for line in sums.lines() {
        // Only what `save` writes: a list from a stranger must not lead elsewhere.
        let known =
            line.split_once("  ").filter(|(_, name)| CHECKPOINT.contains(name) && !seen.contains(name));
        let (sum, name) = known.ok_or("SHA256SUMS is malformed")?;
        let path = dir.join(name);
        if !fs::symlink_metadata(&path).map_err(|e| format!("{name}: {e}"))?.is_file() {
            return Err(format!("{name} is not a plain file"));
        }
        let (_, now) = hash_file(&path).map_err(|e| format!("{e:#}"))?;
        if now != sum && !fault::is("sums-unchecked") {
            return Err(format!("{name} is not what was written"));
        }
        seen.push(name);
    }
    if seen.len() < CHECKPOINT.len() {
        return Err("SHA256SUMS is cut short".into());
    }
    let cursor = checkpoint::cursor(dir).map_err(|e| format!("{e:#}"))?;
    if cursor.step == step { Ok(cursor) } else { Err(format!("it is of step {}", cursor.step)) }
}
