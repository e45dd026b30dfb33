//! The verify stage: the verifier's judgement of every solution, and a judge's where one is asked for.

use anyhow::Result;
use datasets::domains::Domains;
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution};
use serde::Serialize;
use stages::judge::{self, Judge, VerifyConfig};
use stages::policy::Policy;
use stages::policy::endpoint::{Endpoint, EndpointConfig};
use stages::{Events, verify};

use crate::run::inputs::{self, Tables};
use crate::run::rows::{StageOutput, counts, train_shards, write};
use crate::run::session::Session;
use crate::run::workspace::{Opened, Size, Workspace};
use crate::stage::verifier::Verifier;

/// What verdicts depend on.
#[derive(Serialize)]
pub struct Inputs {
    code: u32,
    tables: Tables,
    problems: StageOutput,
    solutions: StageOutput,
    verifier: Verifier,
    judge: Option<JudgeInputs>,
}

impl Inputs {
    /// Number of shards.
    pub fn shards(&self) -> u32 {
        train_shards(&self.problems).len() as u32
    }
}

/// The model that judges what the verifier leaves open.
#[derive(Serialize)]
pub struct JudgeInputs {
    code: u32,
    #[serde(serialize_with = "inputs::judge")]
    verify: VerifyConfig,
    #[serde(serialize_with = "inputs::endpoint")]
    settings: EndpointConfig,
    seed: u64,
}

impl JudgeInputs {
    /// The judge of a session, if one is asked for.
    pub fn of(session: &Session) -> Option<Self> {
        let c = &session.config;
        let mut settings = c.endpoint.clone();
        if !c.verify.judge_model.is_empty() {
            settings.model.clone_from(&c.verify.judge_model);
        }
        let (verify, seed) = (c.verify.clone(), c.run.seed);
        (verify.judge == Judge::Endpoint).then_some(Self { code: judge::VERSION, verify, settings, seed })
    }

    /// Builds it; its answers are stored as those of any endpoint.
    ///
    /// # Errors
    /// An endpoint that cannot work.
    pub fn build(&self, workspace: &Workspace) -> Result<Endpoint> {
        Endpoint::new(self.settings.clone(), VerifyConfig::prompt(), workspace.run.responses())
    }
}

/// # Errors
/// A file of a verifier's command that cannot be read.
pub fn inputs(session: &Session, problems: &StageOutput, solutions: &StageOutput) -> Result<Inputs> {
    Ok(Inputs {
        code: verify::VERSION,
        tables: Tables::default().with::<VerdictRow>(),
        problems: problems.clone(),
        solutions: solutions.clone(),
        verifier: Verifier::of(session)?,
        judge: JudgeInputs::of(session),
    })
}

/// Judges the solutions of some problems. How many rows rest on the judge.
///
/// # Errors
/// A solution without a problem; those of the judge's endpoint.
pub fn verdicts(
    domains: &Domains,
    (problems, solutions): (&[Problem], &[Solution]),
    judge: Option<(&JudgeInputs, &mut Endpoint)>,
    events: &dyn Events,
) -> Result<(Vec<VerdictRow>, usize)> {
    let mut rows = verify::verify(domains, problems, solutions, events)?;
    events.check()?;
    let judged = match judge {
        None => 0,
        Some((inputs, endpoint)) => {
            let how = (&inputs.verify, inputs.seed);
            judge::judge(&mut rows, (problems, solutions), endpoint, how, events)?
        }
    };
    Ok((rows, judged))
}

/// A verdict as it is counted: with its reason, where that says more.
pub fn named(row: &VerdictRow) -> String {
    let (verdict, reason) = (row.judgement.verdict.name(), row.judgement.reason.as_str());
    if verdict == reason { verdict.to_owned() } else { format!("{verdict} ({reason})") }
}

/// Judges every solution.
///
/// # Errors
/// Failed reads and writes; those of the judge's endpoint.
pub fn work(workspace: &Workspace, opened: &Opened, inputs: &Inputs) -> Result<StageOutput> {
    let shards = train_shards(&inputs.problems);
    let units = inputs.solutions.count("solutions") as u64;
    let size = Size { shards: inputs.shards(), unit: "solutions", units };
    let domains = inputs.verifier.open(workspace)?;
    let mut endpoint = inputs.judge.as_ref().map(|judge| judge.build(workspace)).transpose()?;
    let output = workspace.shards(opened, &size, |shard, attempt, progress| {
        let rows: Vec<Problem> = inputs.problems.shard(shards[shard as usize])?;
        let solutions: Vec<Solution> = inputs.solutions.shard(shard)?;
        if let Some(endpoint) = &mut endpoint {
            endpoint.belongs(&format!("verify-{}-{shard:05}", opened.round));
        }
        let judge = inputs.judge.as_ref().zip(endpoint.as_mut());
        let (verdicts, judged) = verdicts(&domains, (&rows, &solutions), judge, progress)?;
        let mut counts = counts(&[("units", verdicts.len()), ("judged", judged)]);
        for row in &verdicts {
            *counts.entry(format!("verdict {}", named(row))).or_default() += 1;
        }
        write(attempt, verdicts)?;
        Ok(counts)
    })?;
    workspace.console.say(&format!("{}: {}", opened.name(), output.reasons("verdict ")));
    if inputs.judge.is_some() {
        workspace.console.say(&format!(
            "{}: {} of {} verdicts rest on the judge",
            opened.name(),
            output.count("judged"),
            output.count("units")
        ));
    }
    Ok(output)
}
