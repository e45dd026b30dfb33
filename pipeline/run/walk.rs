//! The order of stages: what a run does, as a table of contents.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use stages::gate::OnFail;
use stages::model::{DecoderConfig, hf};
use stages::search::Sampler;
use stages::train::losses::TokenLoss;
use stages::train::teacher::Tokens;
use stages::train::{NO_END, TeacherAt};

use crate::config::Config;
use crate::config::check::tuned;
use crate::disk::layout::Stage;
use crate::run::fingerprint::Fingerprint;
use crate::run::goal::Goal;
use crate::run::plan::StageLine;
use crate::run::rows::StageOutput;
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::curate::Judged;
use crate::stage::earlier::{EarlierRounds, Gated};
use crate::stage::teacher::refuse_other_tokens;
use crate::stage::{curate, evaluate, evaluation, gate, problems, score, search, train, value, verify};
use crate::terminal::exit::Failure;

/// Walks over rounds and stages up to the goal.
///
/// # Errors
/// Those of the stages; [`Failure::busy`] if a stage before the goal is not complete.
pub fn walk(session: &Session, goal: Goal) -> Result<()> {
    if goal != Goal::Look {
        preflight(session, goal)?;
    }
    let at = Walk { session, goal };
    let config = &session.config;
    let inputs = problems::inputs(session)?;
    let Some(problems) = at.step((Stage::Problems, 0), &inputs, None, problems::work)? else { return Ok(()) };
    if goal == Goal::Until(Stage::Problems) {
        return Ok(());
    }
    let mut earlier = EarlierRounds::default();
    for round in 1..=config.run.rounds {
        let enough = |stage| round == config.run.rounds && goal == Goal::Until(stage);

        let inputs = search::inputs(session, round, &problems, &earlier)?;
        let shards = Some(inputs.shards());
        let Some(searched) = at.step((Stage::Search, round), &inputs, shards, search::work)? else { break };
        if enough(Stage::Search) {
            break;
        }

        let inputs = verify::inputs(session, &problems, &searched)?;
        let Some(verified) = at.step((Stage::Verify, round), &inputs, shards, verify::work)? else { break };
        if enough(Stage::Verify) {
            break;
        }

        let judged = Judged { problems: &problems, solutions: &searched, verdicts: &verified };
        let inputs = curate::inputs(session, &judged, &earlier.kept)?;
        let Some(curated) = at.step((Stage::Curate, round), &inputs, shards, curate::work)? else { break };
        if enough(Stage::Curate) {
            break;
        }
        earlier.kept.0.push(curated);
        earlier.searches.0.push(searched);
        earlier.verdicts.0.push(verified);

        let mut values = None;
        if config.has_value(round) {
            let inputs = value::inputs(session, round, &problems, &earlier)?;
            let shards = Some(inputs.shards());
            let Some(learned) = at.step((Stage::Value, round), &inputs, shards, value::work)? else { break };
            values = Some(learned);
        }
        if enough(Stage::Value) {
            break;
        }

        if config.has_score() {
            let kept = earlier.kept.0.last().context("a round without a curate stage")?;
            let inputs = score::inputs(session, &problems, kept, &earlier)?;
            let Some(targets) = at.step((Stage::Score, round), &inputs, shards, score::work)? else { break };
            earlier.targets.0.push(targets);
        }
        if enough(Stage::Score) {
            break;
        }

        let inputs = train::inputs(session, round, &problems, &earlier, values.as_ref())?;
        let Some(student) = at.step((Stage::Train, round), &inputs, Some(1), train::work)? else { break };
        if enough(Stage::Train) {
            break;
        }

        let (mut accepted, mut gated) = (true, None);
        if config.has_gate() {
            let inputs = gate::inputs(session, round, &problems, &student)?;
            let shards = Some(inputs.shards());
            let Some(rows) = at.step((Stage::Gate, round), &inputs, shards, gate::work)? else { break };
            accepted = gate::decide(session, goal, &inputs, &rows, &earlier)?;
            gated = Some(rows);
            if matches!(goal, Goal::Share(_)) && !accepted && config.gate.on_fail == OnFail::Halt {
                break;
            }
        }
        if enough(Stage::Gate) {
            break;
        }

        let inputs = evaluate::inputs(session, round, &problems, &student, &earlier)?;
        let shards = Some(inputs.shards());
        let measured = at.step((Stage::Evaluate, round), &inputs, shards, evaluate::work)?;
        if goal.decides() && (measured.is_some() || goal.is(Stage::Evaluate, round)) {
            evaluation::publish(session, &problems)?;
        }
        if measured.is_none() {
            break;
        }

        earlier.searcher.clone_from(&earlier.student);
        earlier.value = values;
        if accepted {
            earlier.student = Some(student);
            earlier.gate = gated.map(|rows| Gated { rows, model: "student" });
        } else if round == 1 && !config.model.from_scratch() {
            earlier.gate = gated.map(|rows| Gated { rows, model: "base" });
        }
    }
    Ok(())
}

/// Where every stage of every round stands.
///
/// # Errors
/// Failed reads; inputs that are missing.
pub fn lines(session: &Session) -> Result<Vec<StageLine>> {
    let (config, workspace) = (&session.config, &session.workspace);
    workspace.take_lines();
    walk(session, Goal::Look)?;
    let mut lines = workspace.take_lines();
    let in_rounds = (1..=config.run.rounds).flat_map(|round| Stage::ALL.map(|stage| (round, stage)));
    let expected = in_rounds.filter(|(round, stage)| match stage {
        Stage::Problems => false,
        Stage::Value => config.has_value(*round),
        Stage::Score => config.has_score(),
        Stage::Gate => config.has_gate(),
        _ => true,
    });
    for (round, stage) in std::iter::once((0, Stage::Problems)).chain(expected) {
        if !lines.iter().any(|l| l.round == round && l.stage == stage) {
            lines.push(StageLine::waiting(round, stage));
        }
    }
    Ok(lines)
}

/// What cannot work is said before any work, and not after hours of search.
///
/// # Errors
/// A device, base or reference that training cannot use.
pub fn preflight(session: &Session, goal: Goal) -> Result<()> {
    let (model, train) = (&session.config.model, &session.config.train);
    if computes(&session.config, goal) {
        session.workspace.device()?.dtype(model.dtype)?;
    }
    if !model.from_scratch() {
        let (shape, _) = hf::shape(Path::new(&model.path))?;
        if shape.eos_token_ids.is_empty() {
            return Err(Failure::input(format!("{}: {NO_END}", model.path), "").into());
        }
        tuned(train, &shape)?;
    }
    let path = Path::new(&model.teacher);
    if session.config.search.policy == Sampler::Teacher {
        DecoderConfig::read(path)?;
    }
    if train.loss == TokenLoss::Distil && train.teacher == TeacherAt::Model {
        let (shape, tokenizer) = hf::shape(path)?;
        let teacher = Tokens { tokenizer: &tokenizer, ends: &shape.eos_token_ids };
        if !model.from_scratch() {
            let (shape, tokenizer) = hf::shape(Path::new(&model.path))?;
            let student = Tokens { tokenizer: &tokenizer, ends: &shape.eos_token_ids };
            refuse_other_tokens(path, teacher, student)?;
        }
    }
    if train.loss == TokenLoss::Golden && !train.reference.is_empty() {
        DecoderConfig::read(Path::new(&train.reference))?;
    }
    Ok(())
}

/// Whether a goal comes to a stage that computes with a model in this process, and so needs the device.
fn computes(config: &Config, goal: Goal) -> bool {
    let sampled = matches!(config.search.policy, Sampler::Model | Sampler::Teacher);
    let of = |stage| match stage {
        Stage::Problems | Stage::Verify | Stage::Curate => false,
        Stage::Search => sampled,
        _ => true,
    };
    match goal {
        // Whose stages open it when they come to it, on machines that may differ.
        Goal::Finish | Goal::Share(_) | Goal::Look => false,
        Goal::One(stage, _) => of(stage),
        Goal::Until(last) if config.run.rounds == 1 => {
            Stage::ALL.into_iter().take_while(|stage| *stage != last).chain([last]).any(of)
        }
        Goal::All | Goal::Until(_) => true,
    }
}

/// A walk over the stages of a session.
struct Walk<'a> {
    session: &'a Session,
    goal: Goal,
}

impl Walk<'_> {
    /// A stage of a round: done already, done now, or not to be done. None ends the walk: the goal is
    /// reached, or nothing is to be run.
    fn step<I: Serialize>(
        &self,
        at: (Stage, u32),
        inputs: &I,
        shards: Option<u32>,
        work: fn(&Workspace, &Opened, &I) -> Result<StageOutput>,
    ) -> Result<Option<StageOutput>> {
        let (workspace, goal) = (&self.session.workspace, self.goal);
        let (stage, round) = at;
        let reached = goal.is(stage, round);
        let opened = workspace.open(at, &Fingerprint::of(stage, inputs)?, shards)?;
        if opened.state.is_done() {
            // One that takes turns with workers comes by often.
            if goal.decides() && goal != Goal::Finish {
                workspace.console.say(&format!("{}: complete, skipped", opened.name()));
            }
            return Ok((!reached).then(|| opened.output(opened.commits.clone())));
        }
        match goal {
            _ if goal.leaves(stage, round) => Ok(None),
            Goal::One(wanted, of) if !reached => Err(self.not_complete(&opened, &wanted.in_round(of))),
            _ => {
                let output = work(workspace, &opened, inputs)?;
                Ok((!reached).then_some(output))
            }
        }
    }

    fn not_complete(&self, opened: &Opened, wanted: &str) -> anyhow::Error {
        let (name, root) = (opened.name(), self.session.workspace.run.root().display());
        Failure::busy(
            format!("{name} is not complete, and {wanted} needs it"),
            format!(
                "`qstill stage {} {root}` runs it; `qstill resume {root}` runs everything",
                opened.stage.name()
            ),
        )
        .into()
    }
}
