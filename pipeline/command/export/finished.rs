//! What of a run is finished and can be given away: whole rounds, with every byte compared with its record.

use anyhow::Result;
use stages::Events;

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
        let numbers = run.rounds()?;
        let stages = 1 + 5 * numbers.len() + usize::from(with_student);
        let events = session.workspace.console.stage("export check", "stages", stages as u64, 0);
        let intact = |round, stage| -> Result<StageOutput> {
            events.check()?;
            let output = intact(run, round, stage)?;
            events.advance(1, 0, 0);
            Ok(output)
        };
        let problems = intact(0, Stage::Problems)?;
        let shards = train_shards(&problems).len();
        let (mut rounds, mut unfinished) = (Vec::new(), None);
        for round in numbers {
            let curate = intact(round, Stage::Curate)?;
            if shards == 0 || curate.commits.len() != shards {
                unfinished = Some(round);
                break;
            }
            let (search, verify) = (intact(round, Stage::Search)?, intact(round, Stage::Verify)?);
            let outputs = Outputs { round, search, verify, curate };
            agree(run, &outputs)?;
            let (value, evaluate) = (intact(round, Stage::Value)?, intact(round, Stage::Evaluate)?);
            rounds.push(Round { outputs, value, evaluate });
        }
        let Some(last) = rounds.last() else {
            let what = format!("{}: no round is curated in whole yet", run.root().display());
            let hint = format!("finish it with `qstill resume {}`", run.root().display());
            return Err(Failure::input(what, hint).into());
        };
        let last = last.outputs.round;
        let found = if with_student { policy_before(session, last + 1)? } else { None };
        let student = match found {
            Some(found) => student(&found.round_name(), &intact)?,
            None => None,
        };
        events.finish();
        Ok(Self { problems, rounds, unfinished, student })
    }

    /// Number of the last whole round.
    pub fn last(&self) -> u32 {
        self.rounds.last().map_or(0, |round| round.outputs.round)
    }
}

/// Round of a student, by the name of its folder.
fn student(folder: &str, intact: &dyn Fn(u32, Stage) -> Result<StageOutput>) -> Result<Option<u32>> {
    let Some(round) = folder.strip_prefix("round-").and_then(|round| round.parse().ok()) else {
        return Ok(None);
    };
    Ok((!intact(round, Stage::Train)?.commits.is_empty()).then_some(round))
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
