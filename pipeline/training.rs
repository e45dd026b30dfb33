//! The train stage on disk: checkpoints while it runs, the student when it is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::key::hex;
use datasets::table::{self, Loss, Writer};
use datasets::types::Kept;
use sha2::{Digest, Sha256};
use stages::Events;
use stages::fault;
use stages::model::{Model, ValueHead, hf};
use stages::policy::Prompt;
use stages::policy::model::ModelPolicy;
use stages::train::checkpoint::Cursor;
use stages::train::select::Share;
use stages::train::value::HeadConfig;
use stages::train::{self, Moment, Training, checkpoint, lora};
use stages::value::{self, Part, Trees};

use crate::commit::{Commit, hash_file};
use crate::exit::Failure;
use crate::layout::{create_dirs, names, publish_dir, read_small, remove_leftovers, set_aside, write_dir};
use crate::session::{Counts, Done, Opened, Session, name, write};

/// Checkpoints kept at a time: the newest, and one before it should the newest be damaged.
const KEPT: usize = 2;
/// The files of a checkpoint, beside the list of their hashes.
const CHECKPOINT: [&str; 3] = ["state.safetensors", "cursor.json", "losses.parquet"];

/// What a round's student learns from.
pub struct Lessons<'a> {
    pub start: &'a Model,
    /// Whose student that is; None for the base.
    pub from: Option<&'a Done>,
    pub kept: &'a [Kept],
    /// What each of them counts.
    pub shares: &'a [Share],
    /// Values along each kept row (train.loss = "value").
    pub values: Option<&'a [Vec<f32>]>,
    /// The reference and its name (train.loss = "golden").
    pub reference: Option<(&'a Model, &'a str)>,
    /// They teach the value head (train.value_weight).
    pub trees: &'a [Trees],
}

/// Trains a round's student, from its newest sound checkpoint if there is one, and commits it.
///
/// # Errors
/// Those of training; failed writes; a reference with another tokenizer.
pub fn train(session: &Session, opened: Opened, round: u32, lessons: &Lessons<'_>) -> Result<Vec<Commit>> {
    let config = &session.config.train;
    let Lessons { start, from, kept, shares, values, reference, trees } = *lessons;
    let mut rows = train::rows(kept, shares, values, start, config)?;
    if let Some((reference, named)) = reference {
        if reference.tokenizer.json() != start.tokenizer.json()
            || reference.llama.config.vocab_size != start.llama.config.vocab_size
        {
            return Err(Failure::input(
                format!("the reference {named} has another tokenizer than the student"),
                "set train.reference to a model with the student's tokenizer: one that was trained from the same base, or on the same rows from scratch",
            )
            .into());
        }
        session.console.say(&format!(
            "{}: {named} reads {} rows as the reference",
            name(opened.stage, round),
            rows.train.len()
        ));
        stages::train::reference::refer(&reference.llama, &mut rows.train, session.device()?)?;
    }
    let mut head = None;
    if config.value_weight > 0.0 {
        let reader =
            ModelPolicy::new(Arc::new(start.clone()), Prompt::default(), session.config.model.limits());
        let most = config.max_tokens.min(start.llama.config.max_position_embeddings);
        let (paths, long) = value::rows(trees, Part::Train, &reader, most)?;
        rows.train.extend(paths);
        rows.too_long += long;
        rows.validation.extend(value::rows(trees, Part::Choose, &reader, most)?.0);
        let new = || ValueHead::new(start.llama.config.hidden_size);
        let started = start.value.clone().unwrap_or_else(new);
        head = Some(HeadConfig {
            loss: session.config.value.loss,
            weight: config.value_weight as f32,
            start: started,
        });
    }
    let steps = train::total_steps(&rows, config, head.as_ref());
    let label = name(opened.stage, round);
    session.console.say(&format!(
        "{label}: {} rows ({} more to validate, {} too long) for {steps} steps, {} parameters",
        rows.train.len(),
        rows.validation.len(),
        rows.too_long,
        start.llama.config.parameters()
    ));
    let folder = session.run.checkpoints(round);
    create_dirs(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let resume = newest(session, &folder, &opened.fingerprint)?;
    let already = resume.as_ref().map_or(0, |(step, _)| *step);
    if already > 0 {
        session.console.say(&format!("{label}: goes on from the checkpoint at step {already}"));
    }
    let resume = resume
        .map(|(_, dir)| Ok::<_, anyhow::Error>((table::read_all::<Loss>(&dir.join("losses.parquet"))?, dir)))
        .transpose()?;
    let progress = session.console.stage(&label, "steps", steps as u64, already as u64);
    let device = session.device()?;
    let fingerprint = opened.fingerprint.clone();
    let (learner, losses) = train::train(
        Training {
            model: &start.llama,
            head,
            rows: &rows,
            config,
            seed: session.config.run.seed ^ u64::from(round) << 32,
            fingerprint: &fingerprint,
            resume: resume.as_ref().map(|(losses, dir)| (dir.as_path(), losses.clone())),
            device,
        },
        &progress,
        &mut |moment| save(&folder, &moment),
    )?;
    progress.check()?;

    let target = session.run.student(round);
    let mut files = hf::files(&learner.llama(), &start.tokenizer)?;
    if let Some(head) = learner.head() {
        files.push(head.file()?);
    }
    if let Some(heads) = learner.future().filter(|_| config.future_keep) {
        files.push(heads.file(&start.llama.config)?);
    }
    publish(session, &target, &files)?;
    let adapters = learner.adapters();
    if !adapters.is_empty() {
        let base = from.map_or_else(
            || session.config.model.path.clone(),
            |student| format!("../../{}/student", student.round_name()),
        );
        publish(session, &session.run.adapter(round), &lora::peft_files(&adapters, config, &base)?)?;
    }
    let mut attempt = opened.dir()?.begin(0);
    let last = losses.iter().rev().find_map(|l| l.validation_loss);
    let mut counts =
        Counts::from([("units".to_owned(), steps as i64), ("rows".to_owned(), rows.train.len() as i64)]);
    counts.insert("tokens".to_owned(), losses.last().map_or(0, |l| l.tokens) as i64);
    write(&mut attempt, losses)?;
    attempt.attach("student")?;
    if !adapters.is_empty() {
        attempt.attach("adapter")?;
    }
    let commit = attempt.commit(&fingerprint, counts)?;
    progress.finish();
    for old in names(&folder)? {
        fs::remove_dir_all(folder.join(&old)).with_context(|| format!("failed to remove {old}"))?;
    }
    session.console.say(&format!(
        "{label}: student in {}{}",
        target.display(),
        last.map_or(String::new(), |v| format!(", validation loss {v:.3}"))
    ));
    Ok(vec![commit])
}

/// Puts a directory in its place. One without a commit record is what a killed process left, and is set
/// aside.
///
/// # Errors
/// Failed writes.
pub fn publish(session: &Session, target: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let staged = write_dir(target, files).with_context(|| format!("failed to write {}", target.display()))?;
    if target.exists() {
        set_aside(target, &session.run.damaged())?;
    }
    publish_dir(&staged, target).with_context(|| format!("failed to publish {}", target.display()))
}

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
pub fn newest(session: &Session, folder: &Path, fingerprint: &str) -> Result<Option<(usize, PathBuf)>> {
    remove_leftovers(folder).with_context(|| format!("failed to clear {}", folder.display()))?;
    for name in names(folder)?.into_iter().rev() {
        let dir = folder.join(&name);
        let Some(step) = step_of(&name) else { continue };
        match sound(&dir, step) {
            Ok(cursor) if cursor.fingerprint == fingerprint => return Ok(Some((step, dir))),
            Ok(_) => {
                session
                    .console
                    .say(&format!("checkpoint {name} belongs to another configuration: set aside"));
                set_aside(&dir, &session.run.damaged())?;
            }
            Err(why) => {
                session.console.warn(&format!("checkpoint {name} is damaged ({why}): set aside"));
                set_aside(&dir, &session.run.damaged())?;
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
