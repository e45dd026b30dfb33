//! The curate stage: which solutions become training rows.

use anyhow::Result;
use datasets::table::{Dropped, Preference, Retired, StepLabels, VerdictRow};
use datasets::types::{Kept, Problem, Solution, Split};
use serde::Serialize;
use stages::Events;
use stages::curate::{self, Contamination, CurateConfig, CurationContext, Retire, Survey};

use crate::run::inputs::Tables;
use crate::run::rows::{Rounds, StageOutput, counts, pool, problems_of, train_shards, write_some};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};

/// What kept and dropped rows depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    curate: CurateConfig,
    problems: StageOutput,
    solutions: StageOutput,
    verdicts: StageOutput,
    /// Of the held-out files, and how their questions are read.
    held_out_files: String,
    held_out_column: String,
    max_question_bytes: usize,
    /// Rows that may be retired.
    earlier: Option<Rounds>,
}

impl Inputs {
    /// Number of shards.
    pub fn shards(&self) -> u32 {
        train_shards(&self.problems).len() as u32
    }
}

/// What is curated.
pub struct Judged<'a> {
    pub problems: &'a StageOutput,
    pub solutions: &'a StageOutput,
    pub verdicts: &'a StageOutput,
}

/// # Errors
/// Held-out files that cannot be read.
pub fn inputs(session: &Session, judged: &Judged<'_>, earlier: &Rounds) -> Result<Inputs> {
    let c = &session.config;
    Ok(Inputs {
        code: curate::VERSION,
        tables: Tables::default()
            .with::<Kept>()
            .with::<Dropped>()
            .with::<Retired>()
            .with::<StepLabels>()
            .with::<Preference>(),
        curate: c.curate.clone(),
        problems: judged.problems.clone(),
        solutions: judged.solutions.clone(),
        verdicts: judged.verdicts.clone(),
        held_out_files: curate::held_out_hash(&c.curate)?,
        held_out_column: c.problems.question.clone(),
        max_question_bytes: c.problems.max_question_bytes,
        earlier: (c.curate.retire != Retire::Off).then(|| earlier.clone()),
    })
}

/// What curation knows beside a shard: the questions that are held out, and what is usual over all shards.
///
/// # Errors
/// Unreadable held-out files; failed reads; [`stages::Cancelled`].
pub fn survey(inputs: &Inputs, events: &dyn Events) -> Result<CurationContext> {
    let mut survey = Survey::new(&inputs.curate);
    if inputs.curate.contamination != Contamination::Off {
        for problem in problems_of(&inputs.problems, Split::Test, 0)? {
            survey.hold(format!("test problem {}", problem.problem_id), &problem.question);
        }
        survey.hold_files(&inputs.held_out_column, inputs.max_question_bytes)?;
    }
    let (any, all) = survey.needs();
    for (shard, of_problems) in (0..).zip(train_shards(&inputs.problems)).filter(|_| any) {
        let rows: Vec<Problem> = inputs.problems.shard(of_problems)?;
        let (solutions, verdicts) = if all {
            (inputs.solutions.shard(shard)?, inputs.verdicts.shard(shard)?)
        } else {
            (Vec::new(), Vec::new())
        };
        survey.shard(&rows, &solutions, &verdicts)?;
        events.advance(1, 0, 0);
        events.check()?;
    }
    Ok(survey.finish())
}

/// Sorts every solution into kept and dropped.
///
/// # Errors
/// Failed reads and writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let shards = train_shards(&inputs.problems);
    let units = inputs.solutions.count("solutions") as u64;
    let label = opened.name();
    let surveyed = workspace.console.stage(&format!("{label} survey"), "shards", shards.len() as u64, 0);
    let context = survey(inputs, &surveyed)?;
    surveyed.finish();
    let none = Rounds::default();
    let earlier = inputs.earlier.as_ref().unwrap_or(&none);
    let size = Size { shards: inputs.shards(), unit: "solutions", units };
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let rows: Vec<Problem> = inputs.problems.shard(shards[shard as usize])?;
        let solutions: Vec<Solution> = inputs.solutions.shard(shard)?;
        let verdicts: Vec<VerdictRow> = inputs.verdicts.shard(shard)?;
        let curated = curate::curate(&rows, &solutions, &verdicts, &context, progress)?;
        let old = pool(earlier, Some(shard))?;
        let retired = curate::retire::retire(&rows, &old, &solutions, &verdicts, &inputs.curate)?;
        let mut counts = counts(&[
            ("units", solutions.len()),
            ("kept", curated.kept.len()),
            ("dropped", curated.dropped.len()),
            ("step_labels", curated.step_labels.len()),
            ("preferences", curated.preferences.len()),
        ]);
        let mut count = |key: String| *counts.entry(key).or_default() += 1;
        for row in &curated.kept {
            count(format!("kept {}", row.origin));
        }
        for row in &retired {
            count(format!("retired {}", row.reason));
        }
        for row in &curated.dropped {
            count(format!("dropped {}", row.reason));
        }
        for solution in &solutions {
            count(format!("found {}", solution.policy));
        }
        write_some(attempt, curated.kept)?;
        write_some(attempt, curated.dropped)?;
        write_some(attempt, retired)?;
        write_some(attempt, curated.step_labels)?;
        write_some(attempt, curated.preferences)?;
        Ok(counts)
    })?;
    workspace.console.say(&format!(
        "{label}: {} kept ({}) of {} solutions ({}); dropped: {}",
        output.count("kept"),
        output.reasons("kept "),
        output.count("units"),
        output.reasons("found "),
        output.reasons("dropped ")
    ));
    if !earlier.0.is_empty() {
        let retired = output.reasons("retired ");
        workspace.console.say(&format!("{label}: of the rows of earlier rounds retired: {retired}"));
    }
    Ok(output)
}
