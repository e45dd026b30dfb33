//! The evaluate stage: what base, student and search solve of held-out problems.

use std::sync::Arc;

use anyhow::Result;
use datasets::table::Evaluation;
use serde::Serialize;
use stages::evaluate::{self, EvaluateConfig, ModelRun, TeacherRun};
use stages::model::generate::Limits;
use stages::policy::model::ModelPolicy;
use stages::policy::{Policy, Prompt};
use stages::search::Draws;

use crate::run::inputs::Tables;
use crate::run::rows::StageOutput;
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::measuring::{Measuring, once};
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
    #[serde(skip)]
    measuring: Measuring,
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
    /// Number of shards; one without problems, whose work says that there are none.
    pub fn shards(&self) -> u32 {
        self.measuring.shards().max(1)
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
    let searching = if c.evaluate.teacher { Some(Searching::of(session, problems, earlier)?) } else { None };
    let parts = [("base", base.is_some()), ("student", true), ("teacher", searching.is_some())];
    let models: Vec<_> = parts.iter().filter(|(_, measured)| *measured).map(|(name, _)| *name).collect();
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
        searching,
        measuring: Measuring::of(problems, c.evaluate.split, c.evaluate.problems, &models),
    })
}

/// Measures each model.
///
/// # Errors
/// No problem to evaluate on; those of the models; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let (config, split) = (&inputs.evaluate, inputs.evaluate.split);
    if inputs.measuring.asked() == 0 {
        return Err(Failure::input(
            format!("there is no {} problem to evaluate on", split.name()),
            format!("raise problems.{0} or choose another evaluate.split", split.name()),
        )
        .into());
    }
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "evaluate" };
    let domains = inputs.verifier.open(workspace)?;
    let load = || inputs.student.measured(workspace);
    let (mut base, mut student, mut search) = (None, None, None);
    inputs.measuring.work(workspace, opened, |name, asked, progress| {
        let measured = ModelRun { name, config, draws, domains: &domains };
        match (name, &inputs.base, &inputs.searching) {
            ("base", Some(of), _) => {
                evaluate::model(asked, measured, once(&mut base, || of.policy(workspace))?, progress)
            }
            ("teacher", _, Some(searching)) => {
                let tokenizer = Arc::clone(once(&mut student, load)?.model());
                let open = once(&mut search, || searching.open(workspace))?;
                let tree = open.tree.clone();
                let (mut policy, mut values) = open.parts();
                let count = |step: &str| tokenizer.tokenizer.encode(step).len() as u32;
                let (config, tree) = (&searching.search, &tree);
                let run = TeacherRun { config, tree, draws, count: &count, domains: &domains };
                if let Some(policy) = &mut policy {
                    policy.belongs(&format!("evaluate-{}", inputs.round));
                }
                let policy = policy.map(|p| p as &mut dyn Policy);
                evaluate::teacher(asked, run, policy, &mut values, progress)
            }
            _ => evaluate::model(asked, measured, once(&mut student, load)?, progress),
        }
    })
}
