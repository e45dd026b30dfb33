//! The score stage: what a teacher says of kept rows, token by token.

use anyhow::Result;
use datasets::table::TokenTargets;
use datasets::types::Kept;
use serde::Serialize;
use stages::model::Precision;
use stages::train::Thoughts;
use stages::train::teacher::{self, Lesson};

use crate::run::inputs::{self, Tables};
use crate::run::rows::{StageOutput, counts, train_shards, write_some};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::policy::Base;
use crate::stage::teacher::TeacherInputs;

/// What a teacher's targets depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    teacher: TeacherInputs,
    #[serde(serialize_with = "inputs::dtype")]
    dtype: Precision,
    /// Whose tokens the rows are.
    student: Base,
    problems: StageOutput,
    kept: StageOutput,
    top_k: usize,
    max_tokens: usize,
    thoughts: Thoughts,
}

impl Inputs {
    /// Number of shards.
    pub fn shards(&self) -> u32 {
        train_shards(&self.problems).len() as u32
    }
}

/// What the newest of the rounds so far has kept is scored.
///
/// # Errors
/// Model directories that cannot be read.
pub fn inputs(
    session: &Session,
    problems: &StageOutput,
    kept: &StageOutput,
    earlier: &EarlierRounds,
) -> Result<Inputs> {
    let (train, model) = (&session.config.train, &session.config.model);
    Ok(Inputs {
        code: teacher::VERSION,
        tables: Tables::default().with::<Kept>().with::<TokenTargets>(),
        teacher: TeacherInputs::of(session)?,
        dtype: model.dtype,
        student: Base::of(session, problems, &earlier.kept)?,
        problems: problems.clone(),
        kept: kept.clone(),
        top_k: train.top_k,
        max_tokens: train.max_tokens,
        thoughts: train.thoughts,
    })
}

/// Reads every kept row of the round with the teacher.
///
/// # Errors
/// A teacher of other tokens than the student's; failed reads and writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let student = inputs.student.load(workspace)?;
    let loaded = inputs.teacher.load(workspace, inputs.dtype, &student)?;
    let lesson = Lesson {
        tokenizer: &student.tokenizer,
        student: &student.decoder.config,
        max_tokens: inputs.max_tokens.min(loaded.context()),
        top_k: inputs.top_k,
        thoughts: inputs.thoughts,
    };
    let mut teacher = loaded.teacher(workspace, &student.tokenizer)?;
    let units = inputs.kept.count("kept") as u64;
    let size = Size { shards: inputs.shards(), unit: "rows", units };
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let kept: Vec<Kept> = inputs.kept.shard(shard)?;
        let (targets, tokens) = teacher::score(&kept, &lesson, &mut teacher, progress)?;
        let counts = counts(&[
            ("units", kept.len()),
            ("scored", targets.len()),
            ("too_long", kept.len() - targets.len()),
            ("teacher_tokens", tokens),
        ]);
        write_some(attempt, targets)?;
        Ok(counts)
    })?;
    workspace.console.say(&format!(
        "{}: {} read {} rows ({} too long), {} tokens; {} likeliest of each are kept",
        opened.name(),
        inputs.teacher.name(),
        output.count("scored"),
        output.count("too_long"),
        output.count("teacher_tokens"),
        inputs.top_k
    ));
    Ok(output)
}
