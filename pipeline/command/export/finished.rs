//! What of a run is finished and can be given away: whole rounds, with every byte compared with its record.

use anyhow::Result;

use crate::command::show::sheet::Outputs;
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::{StageOutput, intact, train_shards};
use crate::run::session::Session;
use crate::stage::gate::policy_before;
use crate::terminal::exit::Failure;

/// The rounds of a run that are curated in whole, and the student that came of them.
pub struct Finished {
    pub problems: StageOutput,
    pub rounds: Vec<Round>,
    /// The first round that is not curated in whole, if one was begun.
    pub unfinished: Option<u32>,
    /// Round of the last student that the gate accepted, if that is wanted and there is one.
    pub student: Option<u32>,
}

/// A round that is curated in whole.
pub struct Round {
    pub outputs: Outputs,
    pub value: StageOutput,
    pub evaluate: StageOutput,
}

impl Finished {
    /// # Errors
    /// Nothing is curated in whole; solutions that are not those that were curated; a gate that has not
    /// decided on the student, if that is wanted; damaged files; failed reads.
    pub fn of(session: &Session, with_student: bool) -> Result<Self> {
        let run = &session.workspace.run;
        let problems = intact(run, 0, Stage::Problems)?;
        let shards = train_shards(&problems).len();
        let (mut rounds, mut unfinished) = (Vec::new(), None);
        for round in run.rounds()? {
            let curate = intact(run, round, Stage::Curate)?;
            if shards == 0 || curate.commits.len() != shards {
                unfinished = Some(round);
                break;
            }
            let (search, verify) = (intact(run, round, Stage::Search)?, intact(run, round, Stage::Verify)?);
            let outputs = Outputs { round, search, verify, curate };
            agree(run, &outputs)?;
            let (value, evaluate) = (intact(run, round, Stage::Value)?, intact(run, round, Stage::Evaluate)?);
            rounds.push(Round { outputs, value, evaluate });
        }
        let Some(last) = rounds.last() else {
            let what = format!("{}: no round is curated in whole yet", run.root().display());
            let hint = format!("finish it with `qstill resume {}`", run.root().display());
            return Err(Failure::input(what, hint).into());
        };
        let last = last.outputs.round;
        let student = if with_student { student(session, last)? } else { None };
        Ok(Self { problems, rounds, unfinished, student })
    }

    /// Number of the last whole round.
    pub fn last(&self) -> u32 {
        self.rounds.last().map_or(0, |round| round.outputs.round)
    }
}

/// Round of the student that would search after a round.
fn student(session: &Session, last: u32) -> Result<Option<u32>> {
    let Some(found) = policy_before(session, last + 1)? else { return Ok(None) };
    let name = found.round_name();
    let round = name.strip_prefix("round-").and_then(|round| round.parse().ok()).unwrap_or(last);
    let train = intact(&session.workspace.run, round, Stage::Train)?;
    Ok((!train.commits.is_empty()).then_some(round))
}

/// A round's solutions, verdicts and what became of them are of the same search. What was deleted of a round
/// cannot contradict.
fn agree(run: &RunDir, outputs: &Outputs) -> Result<()> {
    let Outputs { round, search, verify, curate } = outputs;
    let curated = rows(curate, "kept") + rows(curate, "dropped");
    for (stage, table, found) in [(Stage::Search, "solutions", search), (Stage::Verify, "verdicts", verify)] {
        let found = if found.commits.is_empty() { curated } else { rows(found, table) };
        if found != curated {
            let what = format!("{} has {found} {table}, but {curated} were curated", stage.in_round(*round));
            let hint = format!("`qstill resume {}` curates what is there", run.root().display());
            return Err(Failure::input(what, hint).into());
        }
    }
    Ok(())
}

/// Rows of a table, as the records say.
pub fn rows(output: &StageOutput, table: &str) -> u64 {
    output.files(table).iter().map(|(_, rows)| rows).sum()
}
