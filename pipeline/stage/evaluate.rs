//! The evaluate stage: what base, student and search solve of held-out problems.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use datasets::table::Evaluation;
use datasets::types::Problem;
use serde::Serialize;
use stages::evaluate::{self, EvaluateConfig, ModelRun, TeacherRun};
use stages::model::generate::Limits;
use stages::policy::model::ModelPolicy;
use stages::policy::{Policy, Prompt};
use stages::search::Draws;

use crate::run::inputs::Tables;
use crate::run::rows::{StageOutput, counts, problems_of, write};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::policy::{Base, PromptInputs, SamplingPolicy};
use crate::stage::searching::Searching;
use crate::stage::verifier::Verifier;
use crate::terminal::exit::Failure;

/// What the answers depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    evaluate: EvaluateConfig,
    verifier: Verifier,
    student: SamplingPolicy,
    /// In round 1: the base is the same in every round.
    base: Option<BaseAsked>,
    /// With `evaluate.teacher`: policy and search.
    searching: Option<Searching>,
}

/// The base as it is asked: one from scratch the question alone.
#[derive(Serialize)]
struct BaseAsked {
    base: Base,
    prompt: Option<PromptInputs>,
    #[serde(skip)]
    limits: Limits,
}

impl BaseAsked {
    fn policy(&self, workspace: &Workspace) -> Result<ModelPolicy> {
        let prompt = self.prompt.as_ref().map_or_else(|| Ok(Prompt::default()), PromptInputs::read)?;
        Ok(ModelPolicy::new(self.base.load(workspace)?, prompt, self.limits))
    }
}

impl Inputs {
    /// Names of what is measured, one for each shard.
    fn models(&self) -> Vec<&'static str> {
        let parts = [("base", self.base.is_some()), ("student", true), ("teacher", self.searching.is_some())];
        parts.into_iter().filter(|(_, measured)| *measured).map(|(name, _)| name).collect()
    }

    /// Number of shards.
    pub fn shards(&self) -> u32 {
        self.models().len() as u32
    }
}

/// # Errors
/// Model directories that cannot be read.
pub fn inputs(
    session: &Session,
    round: u32,
    problems: &StageOutput,
    student: &StageOutput,
    earlier: &EarlierRounds,
) -> Result<Inputs> {
    let c = &session.config;
    let base = if round == 1 {
        Some(BaseAsked {
            base: Base::of(session, problems, &earlier.kept)?,
            prompt: (!c.model.from_scratch()).then(|| PromptInputs::of(session, problems)),
            limits: c.model.limits(),
        })
    } else {
        None
    };
    let teacher = c.evaluate.teacher;
    Ok(Inputs {
        code: evaluate::VERSION,
        tables: Tables::default().with::<Evaluation>(),
        seed: c.run.seed,
        round,
        problems: problems.clone(),
        evaluate: c.evaluate.clone(),
        verifier: Verifier::of(session)?,
        student: SamplingPolicy::student(session, student),
        base,
        searching: if teacher { Some(Searching::of(session, problems, earlier)?) } else { None },
    })
}

/// Measures each model, a shard each.
///
/// # Errors
/// No problem to evaluate on; those of the models; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let (config, split, models) = (&inputs.evaluate, inputs.evaluate.split, inputs.models());
    let asked: Vec<Problem> = problems_of(&inputs.problems, split, config.problems)?;
    if asked.is_empty() {
        return Err(Failure::input(
            format!("there is no {} problem to evaluate on", split.name()),
            format!("raise problems.{0} or choose another evaluate.split", split.name()),
        )
        .into());
    }
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "evaluate" };
    let domains = inputs.verifier.open(workspace)?;
    let mut student = inputs.student.model(workspace)?.context("a student is a model in this process")?;
    let tokenizer = Arc::clone(student.model());
    let units = (asked.len() * models.len()) as u64;
    let size = Size { shards: inputs.shards(), unit: "problems", units };
    workspace.shards(opened, &size, |shard, attempt, progress| {
        let model = models[shard as usize];
        let clock = Instant::now();
        let measured = ModelRun { name: model, config, draws, domains: &domains };
        let rows = match (model, &inputs.base, &inputs.searching) {
            ("base", Some(base), _) => {
                let mut policy = base.policy(workspace)?;
                evaluate::model(&asked, measured, &mut policy, progress)?
            }
            ("teacher", _, Some(searching)) => {
                let mut open = searching.open(workspace)?;
                let tree = open.tree.clone();
                let (policy, mut values) = open.parts();
                let count = |step: &str| tokenizer.tokenizer.encode(step).len() as u32;
                let (config, tree) = (&searching.search, &tree);
                let run = TeacherRun { config, tree, draws, count: &count, domains: &domains };
                let mut policy = policy.map(|p| p as &mut dyn Policy);
                if let Some(policy) = &mut policy {
                    policy.belongs(&format!("evaluate-{}", inputs.round));
                }
                evaluate::teacher(&asked, run, policy, &mut values, progress)?
            }
            _ => evaluate::model(&asked, measured, &mut student, progress)?,
        };
        let solved = rows.iter().filter(|r| r.sample == 0 && r.correct).count();
        write(attempt, rows)?;
        let milliseconds = clock.elapsed().as_millis() as usize;
        Ok(counts(&[("units", asked.len()), ("solved", solved), ("milliseconds", milliseconds)]))
    })
}
