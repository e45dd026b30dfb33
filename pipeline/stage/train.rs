//! The train stage: a round's student, fine-tuned on what all rounds kept.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::table::{Loss, Node};
use datasets::types::{Kept, Problem, Solution, Split};
use serde::Serialize;
use stages::curate::contamination::normalised;
use stages::fault;
use stages::model::generate::Limits;
use stages::model::{Model, Precision, ValueHead, hf};
use stages::policy::Prompt;
use stages::policy::model::ModelPolicy;
use stages::train::losses::TokenLoss;
use stages::train::on_policy::OnPolicy;
use stages::train::select::Targets;
use stages::train::value::HeadConfig;
use stages::train::{self, Known, Rows, Start, TrainConfig, lora};
use stages::value::targets::Level;
use stages::value::{self, Part, ValueConfig, gains};

use crate::disk::durable::names;
use crate::run::inputs::{self, Tables};
use crate::run::rows::{Counts, Rounds, StageOutput, pool, problems_of, write};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::fit::Fit;
use crate::stage::lessons::Material;
use crate::stage::policy::{Base, ModelFiles, SamplingPolicy};
use crate::stage::searching::ValueModel;
use crate::stage::teacher::{OwnRows, taught};
use crate::stage::trees::TreeInputs;
use crate::stage::verifier::{self, Verifier};
use crate::terminal::exit::Failure;

/// What a student depends on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    #[serde(serialize_with = "inputs::train")]
    train: TrainConfig,
    seed: u64,
    round: u32,
    problems: StageOutput,
    kept: Rounds,
    start: StartFrom,
    #[serde(serialize_with = "inputs::dtype")]
    dtype: Precision,
    /// With `train.loss = "golden"`.
    reference: Option<Reference>,
    /// With `train.loss = "value"`.
    values: Option<ValueModel>,
    /// With `train.loss = "distil"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Rounds>,
    /// With `train.on_policy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    own: Option<OwnRows>,
    /// With `train.value_weight`.
    head: Option<HeadInputs>,
    /// With targets or a selection that read them.
    searches: Option<Rounds>,
    verdicts: Option<Rounds>,
    /// Where paths of searches are judged.
    #[serde(serialize_with = "verifier::command")]
    verifier: Verifier,
    /// A fault for tests: `QSTILL_FAULT=shuffle-labels:2` gives the training rows of round 2 each other's
    /// completions.
    fault: Option<&'static str>,
    #[serde(skip)]
    limits: Limits,
}

/// What training starts from.
#[derive(Serialize)]
#[serde(untagged)]
enum StartFrom {
    Base(Base),
    Student(StageOutput),
}

/// The model whose losses say which tokens are golden.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Reference {
    Directory { files: ModelFiles },
    Student { student: StageOutput },
    Base { base: Base },
}

/// What a value head beside the tokens learns.
#[derive(Serialize)]
struct HeadInputs {
    #[serde(flatten)]
    trees: TreeInputs,
    searches: Rounds,
}

/// # Errors
/// Model directories that cannot be read.
pub fn inputs(
    session: &Session,
    round: u32,
    problems: &StageOutput,
    earlier: &EarlierRounds,
    value: Option<&StageOutput>,
) -> Result<Inputs> {
    let c = &session.config;
    let student = earlier.student.as_ref();
    let start = match student.filter(|_| c.train.start == Start::Previous) {
        Some(student) => StartFrom::Student(student.clone()),
        None => StartFrom::Base(Base::of(session, problems, &earlier.kept)?),
    };
    let reference = match c.train.loss {
        TokenLoss::Golden => Some(reference(session, problems, earlier)?),
        _ => None,
    };
    let values = match (c.train.loss, value) {
        (TokenLoss::Value, Some(learned)) => {
            let trunk = SamplingPolicy::of(session, problems, student)?;
            Some(ValueModel::of(session, learned, Level::Steps, &trunk))
        }
        _ => None,
    };
    let head = (c.train.value_weight > 0.0)
        .then(|| HeadInputs { trees: TreeInputs::of(session), searches: earlier.searches.clone() });
    let samples = c.train.select.asks_samples();
    let searches = samples || c.train.targets == Targets::Search;
    Ok(Inputs {
        code: train::VERSION,
        tables: Tables::default().with::<Kept>().with::<Node>().with::<Solution>().with::<Loss>(),
        train: c.train.clone(),
        seed: c.run.seed,
        round,
        problems: problems.clone(),
        kept: earlier.kept.clone(),
        start,
        dtype: c.model.dtype,
        reference,
        values,
        targets: c.has_score().then(|| earlier.targets.clone()),
        own: OwnRows::of(session)?,
        head,
        searches: searches.then(|| earlier.searches.clone()),
        verdicts: samples.then(|| earlier.verdicts.clone()),
        verifier: Verifier::of(session)?,
        fault: poisoned(round).then_some("labels are shuffled"),
        limits: c.model.limits(),
    })
}

fn reference(session: &Session, problems: &StageOutput, earlier: &EarlierRounds) -> Result<Reference> {
    let path = &session.config.train.reference;
    if !path.is_empty() {
        return Ok(Reference::Directory { files: ModelFiles::of(session, path)? });
    }
    Ok(match &earlier.student {
        Some(student) => Reference::Student { student: student.clone() },
        // A base from scratch was refused with the configuration.
        None => Reference::Base { base: Base::of(session, problems, &earlier.kept)? },
    })
}

fn poisoned(round: u32) -> bool {
    fault::number("shuffle-labels") == Some(u64::from(round))
}

/// Trains a round's student, from its newest sound checkpoint if there is one.
///
/// # Errors
/// Nothing to train on; rows that leak the test split; those of training; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let label = opened.name();
    let kept = learned_from(workspace, opened, inputs)?;
    let start = match &inputs.start {
        StartFrom::Student(student) => workspace.load(&student.beside("student"), inputs.dtype)?,
        StartFrom::Base(base) => base.load(workspace)?,
    };
    let mut rows = token_rows(workspace, opened, inputs, kept, &start)?;
    let head = head_rows(workspace, opened, inputs, &mut rows, &start)?;
    let own = inputs.own.as_ref().map(|own| own.load(workspace, inputs.dtype, &start)).transpose()?;
    let prompts = match &inputs.own {
        Some(_) => OwnRows::prompts(&inputs.problems, &inputs.train, &start)?,
        None => Vec::new(),
    };
    let own = match &own {
        Some(teacher) => Some(OnPolicy {
            teacher: teacher.teacher(workspace, &start.tokenizer)?,
            tokenizer: &start.tokenizer,
            prompts: &prompts,
            limits: inputs.limits,
            dtype: inputs.dtype,
            device: workspace.device()?,
        }),
        None => None,
    };
    let fit = Fit {
        start: &start.decoder,
        own,
        head,
        rows: &rows,
        config: &inputs.train,
        seed: inputs.seed ^ u64::from(inputs.round) << 32,
        fingerprint: &opened.fingerprint,
        folder: opened.checkpoints(),
    };
    let steps = fit.steps();
    workspace.console.say(&format!(
        "{label}: {} rows ({} more to validate, {} too long) for {steps} steps, {} parameters",
        rows.train.len(),
        rows.validation.len(),
        rows.too_long,
        start.decoder.config.parameters()
    ));
    let checkpoint = fit.newest(workspace)?;
    let already = checkpoint.as_ref().map_or(0, |(step, _)| *step);
    if already > 0 {
        workspace.console.say(&format!("{label}: resumes from the checkpoint at step {already}"));
    }
    let progress = workspace.console.stage(&label, "steps", steps as u64, already as u64);
    let folder = fit.folder.clone();
    let (learner, losses) = fit.run(workspace, checkpoint.map(|(_, dir)| dir), &progress)?;

    let mut files = hf::files(&learner.decoder(), &start.tokenizer)?;
    if let Some(head) = learner.head() {
        files.push(head.file()?);
    }
    if let Some(heads) = learner.future().filter(|_| inputs.train.future_keep) {
        files.push(heads.file(&start.decoder.config)?);
    }
    let (mut attempt, aside) = (opened.dir()?.begin(0), workspace.run.damaged());
    attempt.publish("student", &files, &aside)?;
    let adapters = learner.adapters();
    if !adapters.is_empty() {
        let files = lora::peft_files(&adapters, &inputs.train, &inputs.start.as_base(workspace))?;
        attempt.publish("adapter", &files, &aside)?;
    }
    let last = losses.iter().rev().find_map(|l| l.validation_loss);
    let mut counts =
        Counts::from([("units".to_owned(), steps as i64), ("rows".to_owned(), rows.train.len() as i64)]);
    counts.insert("tokens".to_owned(), losses.last().map_or(0, |l| l.tokens) as i64);
    if let Some(last) = losses.last().filter(|_| inputs.own.is_some()) {
        counts.insert("sampled_tokens".to_owned(), last.sampled_tokens as i64);
        counts.insert("teacher_tokens".to_owned(), last.teacher_tokens as i64);
    }
    write(&mut attempt, losses)?;
    workspace.sound()?;
    let commit = attempt.commit(&opened.fingerprint, counts)?;
    progress.finish();
    for old in names(&folder)? {
        fs::remove_dir_all(folder.join(&old)).with_context(|| format!("failed to remove {old}"))?;
    }
    let validated = last.map_or(String::new(), |v| format!(", validation loss {v:.3}"));
    workspace
        .console
        .say(&format!("{label}: student in {}{validated}", workspace.run.student(inputs.round).display()));
    Ok(opened.output(vec![commit]))
}

impl StartFrom {
    /// What adapters name as their base: a student as it stands beside them, or the directory of the base.
    fn as_base(&self, workspace: &Workspace) -> String {
        match self {
            Self::Student(student) if student.beside("student").starts_with(workspace.run.root()) => {
                format!("../../{}/student", student.round_name())
            }
            Self::Student(student) => student.beside("student").display().to_string(),
            Self::Base(Base::Directory { path, .. }) => path.display().to_string(),
            Self::Base(Base::FromScratch { .. }) => String::new(),
        }
    }
}

/// The kept rows that the round's student learns from.
fn learned_from(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<Vec<Kept>> {
    let (config, round) = (&inputs.train, inputs.round);
    let mut rows = pool(&inputs.kept, None)?;
    let late = config.rules_until > 0 && round > config.rules_until;
    if late && rows.iter().any(|row| row.origin != "rules") {
        rows.retain(|row| row.origin != "rules");
    }
    if inputs.fault.is_some() {
        workspace.console.warn(&format!("{}: QSTILL_FAULT shuffles the labels", opened.name()));
        let mut completions: Vec<String> = rows.iter().map(|row| row.completion.clone()).collect();
        completions.rotate_right(rows.len() / 2);
        rows.iter_mut().zip(completions).for_each(|(row, completion)| row.completion = completion);
    }
    if rows.is_empty() {
        return Err(Failure::input(
            "nothing was kept: there is nothing to train on",
            "search longer (search.samples, search.rule_expansions), or look at the `dropped` table for the \
             reasons",
        )
        .into());
    }
    if !config.allow_leaks {
        refuse_leaks(&rows, &inputs.problems)?;
    }
    Ok(rows)
}

/// Refuses to train on rows that ask a test question, up to case, blanks and punctuation.
fn refuse_leaks(rows: &[Kept], problems: &StageOutput) -> Result<()> {
    let test = problems_of(problems, Split::Test, 0)?;
    let held: HashMap<String, &str> =
        test.iter().map(|p| (normalised(&p.question), p.problem_id.as_str())).collect();
    let leak = |row: &Kept| {
        let test = held.get(&normalised(&row.prompt))?;
        let (solution, problem) = (&row.solution_id, &row.problem_id);
        Some(format!("solution {solution} of problem {problem} asks what test problem {test} asks"))
    };
    let leaks: Vec<String> = rows.iter().filter_map(leak).collect();
    if leaks.is_empty() {
        return Ok(());
    }
    let more = if leaks.len() > 3 { format!("; and {} more", leaks.len() - 3) } else { String::new() };
    let shown = leaks[..leaks.len().min(3)].join("; ");
    Err(Failure::input(
        format!("{} of {} kept rows leak the test split: {shown}{more}", leaks.len(), rows.len()),
        "drop them with curate.contamination = \"same_numbers\", or take them out of the files; \
         train.allow_leaks = true trains anyway",
    )
    .into())
}

/// Kept rows as tokens, each with its weights.
fn token_rows(
    workspace: &Workspace,
    opened: &Opened,
    inputs: &Inputs,
    kept: Vec<Kept>,
    start: &Arc<Model>,
) -> Result<Rows> {
    let (config, label) = (&inputs.train, opened.name());
    let none = Rounds::default();
    let material = Material {
        console: &workspace.console,
        label: &label,
        problems: &inputs.problems,
        searches: inputs.searches.as_ref().unwrap_or(&none),
        verdicts: inputs.verdicts.as_ref().unwrap_or(&none),
        domains: &inputs.verifier.open(workspace)?,
    };
    let mut kept = material.targets(config, kept, start)?;
    let shares = material.shares(config, &kept)?;
    let values = match &inputs.values {
        None => None,
        Some(model) => {
            let events = workspace.console.stage(&format!("{label} values"), "rows", kept.len() as u64, 0);
            let (mut model, _) = model.load(workspace)?;
            let problems = inputs.problems.read::<Problem>()?;
            let values = gains::of_kept(material.domains, &kept, (&problems, &mut model), &events)?;
            events.finish();
            Some(values)
        }
    };
    for row in &mut kept {
        row.completion = config.thoughts.spoken(&row.thought, std::mem::take(&mut row.completion));
    }
    let teacher = inputs.targets.as_ref().map(|rounds| taught(rounds, &kept, config)).transpose()?;
    if let Some(teacher) = &teacher {
        let read = teacher.iter().filter(|row| row.is_some()).count();
        workspace.console.say(&format!("{label}: a teacher has read {read} of {} rows", kept.len()));
    }
    let known = Known { values: values.as_deref(), teacher: teacher.as_deref() };
    let mut rows = train::rows(&kept, &shares, known, start, config)?;
    if let Some(reference) = &inputs.reference {
        let (reference, named) = reference.load(workspace, inputs.dtype)?;
        let same = reference.tokenizer.json() == start.tokenizer.json()
            && reference.decoder.config.vocab_size == start.decoder.config.vocab_size;
        if !same {
            return Err(Failure::input(
                format!("the reference {named} has another tokenizer than the student"),
                "set train.reference to a model with the student's tokenizer: one that was trained from the \
                 same base, or on the same rows from scratch",
            )
            .into());
        }
        let count = rows.train.len();
        workspace.console.say(&format!("{label}: {named} reads {count} rows as the reference"));
        train::reference::refer(&reference.decoder, &mut rows.train, workspace.device()?)?;
    }
    Ok(rows)
}

impl Reference {
    /// The model and its name.
    fn load(&self, workspace: &Workspace, dtype: Precision) -> Result<(Arc<Model>, String)> {
        Ok(match self {
            Self::Directory { files } => (files.load(workspace, dtype)?, files.path.display().to_string()),
            Self::Student { student } => {
                let named = format!("student of {}", student.round_name().replace('-', " "));
                (workspace.load(&student.beside("student"), dtype)?, named)
            }
            Self::Base { base } => (base.load(workspace)?, "base".into()),
        })
    }
}

/// Adds the paths of the search trees that teach a value head, and the head that they start from.
fn head_rows(
    workspace: &Workspace,
    opened: &Opened,
    inputs: &Inputs,
    rows: &mut Rows,
    start: &Arc<Model>,
) -> Result<Option<HeadConfig>> {
    let Some(head) = &inputs.head else { return Ok(None) };
    let events = workspace.console.stage(&format!("{} trees", opened.name()), "shards", 0, 0);
    let domains = inputs.verifier.open(workspace)?;
    let trees = head.trees.read(&domains, (&inputs.problems, &head.searches), Level::Steps, &events)?;
    drop(events);
    let reader = ModelPolicy::new(Arc::clone(start), Prompt::default(), inputs.limits);
    let most = inputs.train.max_tokens.min(start.decoder.config.max_position_embeddings);
    let (paths, long) = value::rows(&trees, Part::Train, &reader, most)?;
    rows.train.extend(paths);
    rows.too_long += long;
    rows.validation.extend(value::rows(&trees, Part::Choose, &reader, most)?.0);
    let new = || ValueHead::new(start.decoder.config.hidden_size);
    let ValueConfig { loss, .. } = head.trees.value;
    let start = start.value.clone().unwrap_or_else(new);
    Ok(Some(HeadConfig { loss, weight: inputs.train.value_weight as f32, start }))
}
