//! What a run has found, which all arms learn from, and what an arm keeps of it.

use anyhow::Result;
use serde::Serialize;

use super::arguments::Ablate;
use crate::config::Config;
use crate::disk::layout::{RunDir, Stage};
use crate::run::fingerprint::Fingerprint;
use crate::run::rows::{Rounds, StageOutput, committed, train_shards};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::curate::{self, Judged};
use crate::stage::earlier::EarlierRounds;
use crate::stage::gate::policy_before;
use crate::terminal::exit::Failure;

/// Passes that no limit of steps or tokens needs.
const ENDLESS: f64 = 1e9;

/// What a run has found in rounds 1 to `round`.
pub struct Data {
    run: RunDir,
    pub round: u32,
    pub problems: StageOutput,
    searches: Rounds,
    verdicts: Rounds,
    /// As the run curated them.
    curated: Rounds,
    /// The value models of the round, if it has any.
    pub value: Option<StageOutput>,
    /// The policy of the round, if it is a trained student.
    student: Option<StageOutput>,
}

/// How long every student trains.
pub enum Length {
    Steps(u64),
    Tokens(u64),
}

impl Length {
    /// Lets a configuration train so long and no longer.
    pub fn apply(&self, config: &mut Config) {
        let train = &mut config.train;
        train.epochs = ENDLESS;
        (train.max_steps, train.max_tokens_total) = match self {
            Self::Steps(steps) => (*steps as usize, 0),
            Self::Tokens(tokens) => (0, *tokens),
        };
    }
}

impl Data {
    /// # Errors
    /// Rounds that are not there or not complete; failed reads.
    pub fn of(session: &Session, round: Option<u32>) -> Result<Self> {
        let run = &session.workspace.run;
        let problems = committed(run, 0, Stage::Problems)?;
        let shards = train_shards(&problems).len();
        let mut last = None;
        for round in run.rounds()? {
            last = Some(round).filter(|round| !is_empty(run, *round, Stage::Curate)).or(last);
        }
        let round = round.or(last).unwrap_or(1);
        let (mut searches, mut verdicts, mut curated) =
            (Rounds::default(), Rounds::default(), Rounds::default());
        let rounds =
            [(Stage::Search, &mut searches), (Stage::Verify, &mut verdicts), (Stage::Curate, &mut curated)];
        for (stage, outputs) in rounds {
            for of_round in 1..=round {
                outputs.0.push(complete(run, of_round, stage, shards)?);
            }
        }
        let value = session.config.has_value(round);
        let levels = session.config.value.levels.len();
        let value = value.then(|| complete(run, round, Stage::Value, levels)).transpose()?;
        let student = policy_before(session, round)?;
        Ok(Self { run: run.clone(), round, problems, searches, verdicts, curated, value, student })
    }

    /// How long the students train.
    ///
    /// # Errors
    /// If the command line does not say it and the run has no student to go by.
    pub fn length(&self, args: &Ablate) -> Result<Length> {
        if let Some(tokens) = args.tokens {
            return Ok(Length::Tokens(tokens));
        }
        let steps = match args.steps {
            Some(steps) => steps,
            None => committed(&self.run, self.round, Stage::Train)?.count("units") as u64,
        };
        if steps == 0 {
            let what = format!("round {} of the run has no student whose steps could be taken", self.round);
            return Err(Failure::usage(what, "give --steps or --tokens").into());
        }
        Ok(Length::Steps(steps))
    }

    /// What an arm keeps of each round: the run's own rows where it curates as the run did, else its own.
    ///
    /// # Errors
    /// Failed reads and writes.
    pub fn curate(&self, arm: &Session) -> Result<Rounds> {
        let mut kept = Rounds::default();
        let rounds = self.searches.0.iter().zip(&self.verdicts.0).zip(&self.curated.0);
        for (((solutions, verdicts), own), round) in rounds.zip(1..) {
            let judged = Judged { problems: &self.problems, solutions, verdicts };
            let inputs = curate::inputs(arm, &judged, &kept)?;
            let made = Fingerprint::load(&self.run.stage(round, Stage::Curate))?;
            let output = if made == Some(Fingerprint::of(Stage::Curate, &inputs)?) {
                own.clone()
            } else {
                step(&arm.workspace, (Stage::Curate, round), &inputs, inputs.shards(), curate::work)?
            };
            kept.0.push(output);
        }
        Ok(kept)
    }

    /// What a student of an arm learns from.
    pub fn earlier(&self, kept: &Rounds) -> EarlierRounds {
        EarlierRounds {
            searches: self.searches.clone(),
            verdicts: self.verdicts.clone(),
            kept: kept.clone(),
            student: self.student.clone(),
            ..EarlierRounds::default()
        }
    }
}

/// A stage of an arm: what is committed of it, or its work now.
///
/// # Errors
/// Those of the work; failed reads.
pub fn step<I: Serialize>(
    workspace: &Workspace,
    at: (Stage, u32),
    inputs: &I,
    shards: u32,
    work: impl FnOnce(&Workspace, &Opened, &I) -> Result<StageOutput>,
) -> Result<StageOutput> {
    let opened = workspace.open(at, &Fingerprint::of(at.0, inputs)?, Some(shards))?;
    if opened.state.is_done() {
        return Ok(opened.output(opened.commits.clone()));
    }
    work(workspace, &opened, inputs)
}

fn is_empty(run: &RunDir, round: u32, stage: Stage) -> bool {
    committed(run, round, stage).is_ok_and(|output| output.commits.is_empty())
}

/// What all shards of a stage have given.
fn complete(run: &RunDir, round: u32, stage: Stage, shards: usize) -> Result<StageOutput> {
    let output = committed(run, round, stage)?;
    if shards > 0 && output.commits.len() == shards {
        return Ok(output);
    }
    let (name, root) = (stage.in_round(round), run.root().display());
    let what = format!("{name} is not complete, and an ablation needs what it found");
    Err(Failure::busy(what, format!("`qstill resume {root}` runs what is outstanding")).into())
}
