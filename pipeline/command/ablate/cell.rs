//! A student of one arm and seed: trained as the train stage trains, then asked.

use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::table::Evaluation;
use datasets::types::{Problem, Split};
use serde::Serialize;
use stages::evaluate::{self, EvaluateConfig, ModelRun};
use stages::search::Draws;

use super::arguments::Ablate;
use super::arms::Arm;
use super::data::{Data, step};
use crate::disk::layout::Stage;
use crate::run::inputs::{self, Tables};
use crate::run::rows::{Rounds, StageOutput, committed, problems_of};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::measuring::{Measuring, once};
use crate::stage::policy::SamplingPolicy;
use crate::stage::verifier::Verifier;
use crate::stage::{score, train};
use crate::terminal::exit::Failure;

/// What all students are asked.
pub struct Exam {
    pub split: Split,
    pub asked: Vec<Problem>,
    evaluate: EvaluateConfig,
}

impl Exam {
    /// # Errors
    /// A split that may not be asked or has no problem; failed reads.
    pub fn of(session: &Session, args: &Ablate) -> Result<Self> {
        let unknown = || {
            let what = format!("there are no held-out problems in a split `{}`", args.split);
            Failure::usage(what, "validation or test")
        };
        let split = Split::parse(&args.split).filter(|split| *split != Split::Train).ok_or_else(unknown)?;
        let problems = committed(&session.workspace.run, 0, Stage::Problems)?;
        let asked = problems_of(&problems, split, args.problems)?;
        if asked.is_empty() {
            let what = format!("the run has no {} problem", split.name());
            return Err(Failure::input(what, "choose another --split").into());
        }
        let evaluate = EvaluateConfig { samples: 0, ..session.config.evaluate.clone() };
        Ok(Self { split, asked, evaluate })
    }
}

/// One student, and what it learns from.
pub struct Cell<'a> {
    pub data: &'a Data,
    pub arm: &'a Arm,
    /// The arm, laid out as a run.
    pub part: &'a Session,
    pub kept: &'a Rounds,
    pub seed: u64,
}

/// What a student has answered.
pub struct Answered<'a> {
    pub arm: &'a Arm,
    pub seed: u64,
    /// Rows that it learned from, optimizer steps and tokens.
    pub rows: i64,
    pub steps: i64,
    pub trained: i64,
    pub answers: StageOutput,
}

/// What the answers depend on.
#[derive(Serialize)]
struct Inputs {
    code: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    split: &'static str,
    count: usize,
    #[serde(serialize_with = "inputs::answering")]
    evaluate: EvaluateConfig,
    verifier: Verifier,
    student: SamplingPolicy,
    #[serde(skip)]
    measuring: Measuring,
}

impl<'a> Cell<'a> {
    /// Trains and asks the student, or takes what is committed of both.
    ///
    /// # Errors
    /// Those of training and of the model; failed writes.
    pub fn answered(&self, exam: &Exam) -> Result<Answered<'a>> {
        let Self { data, arm, kept, seed, .. } = *self;
        let mut config = arm.config.clone();
        config.run.seed = seed;
        let part = self.part.within(self.part.workspace.run.seed(seed), config)?;
        let (round, workspace) = (data.round, &part.workspace);
        let mut earlier = data.earlier(kept);
        if part.config.has_score() {
            // A teacher reads an arm's rows once, for all seeds.
            for (own, of) in kept.0.iter().zip(1..) {
                let inputs = score::inputs(self.part, &data.problems, own, &earlier)?;
                let at = (Stage::Score, of);
                let read = step(&self.part.workspace, at, &inputs, inputs.shards(), score::work)?;
                earlier.targets.0.push(read);
            }
        }
        let inputs = train::inputs(&part, round, &data.problems, &earlier, data.value.as_ref())?;
        let student = step(workspace, (Stage::Train, round), &inputs, 1, train::work)?;
        let inputs = Inputs {
            code: evaluate::VERSION,
            tables: Tables::default().with::<Evaluation>(),
            seed,
            round,
            problems: data.problems.clone(),
            split: exam.split.name(),
            count: exam.asked.len(),
            evaluate: exam.evaluate.clone(),
            verifier: Verifier::of(&part)?,
            student: SamplingPolicy::student(&part, &student),
            measuring: Measuring::of(&data.problems, exam.split, exam.asked.len(), &["student"]),
        };
        let shards = inputs.measuring.shards();
        let answers = step(workspace, (Stage::Evaluate, round), &inputs, shards, ask)?;
        let (rows, steps) = (student.count("rows"), student.count("units"));
        Ok(Answered { arm, seed, rows, steps, trained: student.count("tokens"), answers })
    }
}

fn ask(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "ablation" };
    let domains = inputs.verifier.open(workspace)?;
    let mut student = None;
    let load = || inputs.student.measured(workspace);
    inputs.measuring.work(workspace, opened, |name, asked, progress| {
        let run = ModelRun { name, config: &inputs.evaluate, draws, domains: &domains };
        evaluate::model(asked, run, once(&mut student, load)?, progress)
    })
}

impl Answered<'_> {
    /// The answers, in the order of the problems.
    ///
    /// # Errors
    /// Failed reads; a problem without an answer.
    pub fn in_order(&self, asked: &[Problem]) -> Result<Vec<Evaluation>> {
        let rows: Vec<Evaluation> = self.answers.read()?;
        let mut of: HashMap<String, Evaluation> =
            rows.into_iter().map(|row| (row.problem_id.clone(), row)).collect();
        let missing =
            |id: &str| format!("{}, seed {}: no answer to problem {id}", self.arm.called(), self.seed);
        asked.iter().map(|p| of.remove(&p.problem_id).with_context(|| missing(&p.problem_id))).collect()
    }
}
