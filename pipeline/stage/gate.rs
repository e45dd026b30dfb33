//! The gate: the answers of a round's student to validation problems, and what was decided.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use datasets::table::Evaluation;
use datasets::types::{Problem, Split};
use serde::Serialize;
use stages::evaluate::{self, EvaluateConfig, ModelRun};
use stages::gate::{self, Decision, OnFail};
use stages::search::Draws;

use crate::disk::durable::{read_small, write_atomic};
use crate::disk::layout::{RunDir, Stage};
use crate::run::goal::Goal;
use crate::run::inputs::{self, Tables};
use crate::run::rows::{StageOutput, committed, problems_of};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Workspace};
use crate::stage::earlier::EarlierRounds;
use crate::stage::measuring::{Measuring, once};
use crate::stage::policy::SamplingPolicy;
use crate::stage::verifier::Verifier;
use crate::terminal::exit::Failure;

/// What the gate's rows depend on. The decision is made anew from them.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    answers: u32,
    tables: Tables,
    seed: u64,
    round: u32,
    problems: StageOutput,
    /// How many of them; 0 for all.
    count: usize,
    #[serde(serialize_with = "inputs::answering")]
    evaluate: EvaluateConfig,
    verifier: Verifier,
    student: SamplingPolicy,
    /// The policy that the first student would replace, if there is a trained one: asked as it searches, with
    /// instruction and examples.
    base: Option<SamplingPolicy>,
    /// The student, and the base.
    #[serde(skip)]
    measuring: Measuring,
}

impl Inputs {
    /// Number of shards; 0 without validation problems.
    pub fn shards(&self) -> u32 {
        self.measuring.shards()
    }
}

/// # Errors
/// A model directory that cannot be read; failed reads.
pub fn inputs(
    session: &Session,
    round: u32,
    problems: &StageOutput,
    student: &StageOutput,
) -> Result<Inputs> {
    let c = &session.config;
    let first = round == 1 && !c.model.from_scratch();
    let models: &[_] = if first { &["student", "base"] } else { &["student"] };
    Ok(Inputs {
        code: gate::VERSION,
        answers: evaluate::VERSION,
        tables: Tables::default().with::<Evaluation>(),
        seed: c.run.seed,
        round,
        problems: problems.clone(),
        count: c.gate.problems,
        evaluate: c.gate.as_evaluate(&c.evaluate),
        verifier: Verifier::of(session)?,
        student: SamplingPolicy::student(session, student),
        base: if first { Some(SamplingPolicy::base(session, problems)?) } else { None },
        measuring: Measuring::of(problems, Split::Validation, c.gate.problems, models),
    })
}

/// Measures a round's student, and in round 1 the base.
///
/// # Errors
/// Those of the models; failed writes.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let draws = Draws { seed: inputs.seed, round: inputs.round, purpose: "gate" };
    let domains = inputs.verifier.open(workspace)?;
    let (mut student, mut base) = (None, None);
    inputs.measuring.work(workspace, opened, |name, asked, progress| {
        let (slot, of) = match (name, &inputs.base) {
            ("base", Some(of)) => (&mut base, of),
            _ => (&mut student, &inputs.student),
        };
        let policy = once(slot, || of.measured(workspace))?;
        let measured = ModelRun { name, config: &inputs.evaluate, draws, domains: &domains };
        evaluate::model(asked, measured, policy, progress)
    })
}

/// What the gate decides on a round's student, by its rows and those of the policy that it would replace.
///
/// # Errors
/// Failed reads; a rejection, if that is to halt the run.
pub fn decide(
    session: &Session,
    goal: Goal,
    inputs: &Inputs,
    measured: &StageOutput,
    earlier: &EarlierRounds,
) -> Result<bool> {
    let (config, round, workspace) = (&session.config.gate, inputs.round, &session.workspace);
    let label = Stage::Gate.in_round(round);
    let rows: Vec<Evaluation> = measured.read()?;
    if rows.is_empty() {
        if goal.decides() {
            let why = "there are no validation problems, so every student is accepted";
            workspace.console.say(&format!("{label}: {why}"));
        }
        return Ok(true);
    }
    let (student, base): (Vec<Evaluation>, Vec<Evaluation>) =
        rows.into_iter().partition(|row| row.model == "student");
    let before: Option<Vec<Evaluation>> = match &earlier.gate {
        Some(gated) => {
            let rows = gated.rows.read::<Evaluation>()?;
            Some(rows.into_iter().filter(|row| row.model == gated.model).collect())
        }
        None => Some(base).filter(|rows| !rows.is_empty()),
    };
    let all = problems_of(&inputs.problems, Split::Validation, 0)?;
    let asked: HashMap<String, Problem> = all.into_iter().map(|p| (p.problem_id.clone(), p)).collect();
    let decision = gate::decide(&student, before.as_deref(), &asked, config);
    if !goal.decides() {
        return Ok(decision.accepted);
    }
    let path = file(&workspace.run, round);
    let text = serde_json::to_string_pretty(&decision)? + "\n";
    if read_small(&path).ok().as_deref() != Some(text.as_bytes()) {
        write_atomic(&path, text.as_bytes())
            .with_context(|| format!("failed to write {}", path.display()))?;
        workspace.console.say(&told(round, &decision));
    }
    if !decision.accepted && config.on_fail == OnFail::Halt {
        let (path, root) = (path.display(), workspace.run.root().display());
        return Err(Failure::busy(
            format!("{label}: the student is rejected: {}", decision.reasons.join("; ")),
            format!(
                "look at {path}; `qstill resume {root} --set gate.on_fail=rollback` keeps the current policy"
            ),
        )
        .into());
    }
    Ok(decision.accepted)
}

/// Where the decision on a round's student stands.
fn file(run: &RunDir, round: u32) -> PathBuf {
    run.round(round).join("gate.json")
}

/// What was decided on a round's student, as it is written in the run: for commands that decide nothing.
fn decided(run: &RunDir, round: u32) -> Result<bool> {
    let path = file(run, round);
    let text = read_small(&path).unwrap_or_default();
    let json = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let accepted = json.and_then(|gate| gate["accepted"].as_bool());
    let missing = || {
        let what =
            format!("{} does not say whether the gate accepts the student of round {round}", path.display());
        Failure::busy(what, format!("`qstill resume {}` decides it", run.root().display()))
    };
    Ok(accepted.ok_or_else(missing)?)
}

/// The student that searches in a round: the last one before it that the gate accepted.
///
/// # Errors
/// Failed reads; a gate that has not decided.
pub fn policy_before(session: &Session, round: u32) -> Result<Option<StageOutput>> {
    let run = &session.workspace.run;
    for earlier in (1..round).rev() {
        let student = committed(run, earlier, Stage::Train)?;
        if student.commits.is_empty() || (session.config.has_gate() && !decided(run, earlier)?) {
            continue;
        }
        return Ok(Some(student));
    }
    Ok(None)
}

/// A decision in a line.
fn told(round: u32, decision: &Decision) -> String {
    let new = &decision.student;
    let against = decision.current.as_ref().map_or("no policy before it".into(), |old| {
        format!("{} before ({} won, {} lost)", old.solved, decision.won, decision.lost)
    });
    let entropy = new.entropy.map_or("-".into(), |bits| format!("{bits:.2}"));
    let verdict = if decision.accepted {
        "accepted".into()
    } else {
        format!("rejected: {}", decision.reasons.join("; "))
    };
    format!(
        "round {round} gate: {verdict}; {} of {} validation problems solved, {against}; {:.2} distinct \
         calculations a problem, {entropy} bits a token, median {} tokens, pass@{} {:.1}%",
        new.solved,
        new.problems,
        new.distinct,
        new.lengths[1],
        new.k,
        100.0 * new.pass_at_k
    )
}
