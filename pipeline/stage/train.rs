//! The train stage on disk: checkpoints while it runs, the student when it is done.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::table::{self, Loss};
use datasets::types::Kept;
use stages::Events;
use stages::model::{Model, ValueHead, hf};
use stages::policy::Prompt;
use stages::policy::model::ModelPolicy;
use stages::train::select::Share;
use stages::train::value::HeadConfig;
use stages::train::{self, Training, lora};
use stages::value::{self, Part, Trees};

use crate::disk::durable::{create_dirs, names};
use crate::disk::record::Commit;
use crate::run::rows::{Counts, Done, write};
use crate::run::session::{Opened, Session, name};
use crate::stage::checkpoints::{newest, publish, save};
use crate::terminal::exit::Failure;

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
        session.console.say(&format!("{label}: resumes from the checkpoint at step {already}"));
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
