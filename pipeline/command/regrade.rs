//! `qstill regrade`: the solutions of a run, judged anew without sampling, and what that changes.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use clap::Args;
use datasets::table::VerdictRow;
use datasets::types::{Problem, Solution};
use serde::Serialize;
use serde_json::json;
use stages::Events;

use crate::command::arguments::{Overrides, open_as_is};
use crate::disk::layout::Stage;
use crate::run::rows::{committed, train_shards};
use crate::run::session::Session;
use crate::stage::verifier::Verifier;
use crate::stage::verify::{JudgeInputs, named, verdicts};
use crate::terminal::console::Console;
use crate::terminal::exit::{Exit, Failure};
use crate::terminal::text::{self, plural};

/// Judge the stored solutions of a run anew, without sampling, and show what changes.
#[derive(Args)]
#[command(after_help = "Examples:
  qstill regrade runs/mine                                by the grader of this version
  qstill regrade runs/mine --set verify.judge=endpoint    and what a judge says of what it leaves open
  qstill regrade runs/mine --set verify.command=./check       by a program of your own

Nothing of the run is changed, but for the stored answers of a judge or command. `qstill stage verify RUN`
writes verdicts.")]
pub struct Regrade {
    /// The run's directory, or its name under runs/.
    pub run: String,
    /// Only this round.
    #[arg(long)]
    round: Option<u32>,
    /// Changed verdicts to show.
    #[arg(long, default_value_t = 10)]
    head: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    over: Overrides,
}

/// A verdict that changed.
#[derive(Serialize)]
struct Change {
    round: u32,
    solution_id: String,
    before: String,
    after: String,
    gold: String,
    answer: String,
    question: String,
}

/// What came of judging anew.
#[derive(Default, Serialize)]
struct Report {
    solutions: usize,
    judged: usize,
    /// How many verdicts changed, by what they were and are.
    changed: BTreeMap<String, usize>,
    changes: Vec<Change>,
}

/// Judges a run anew.
///
/// # Errors
/// Nothing is verified; failed reads; those of a judge's endpoint.
pub fn run(args: Regrade, console: &Console) -> Result<Exit> {
    let session = open_as_is(&args.run, &args.over, console)?;
    let report = args.report(&session, console)?;
    let text = if args.json { serde_json::to_string_pretty(&json!(report))? + "\n" } else { report.text() };
    text::to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(Exit::Done)
}

impl Regrade {
    fn report(&self, session: &Session, console: &Console) -> Result<Report> {
        let run = &session.workspace.run;
        let problems = committed(run, 0, Stage::Problems)?;
        let domains = Verifier::of(session)?.open(&session.workspace)?;
        let judge = JudgeInputs::of(session);
        let mut endpoint = judge.as_ref().map(|judge| judge.build(&session.workspace)).transpose()?;
        let mut report = Report::default();
        let rounds: Vec<u32> = run
            .rounds()?
            .into_iter()
            .filter(|round| self.round.is_none_or(|wanted| wanted == *round))
            .collect();
        let progress = console.stage("regrade", "solutions", 0, 0);
        for round in rounds {
            let (search, verify) =
                (committed(run, round, Stage::Search)?, committed(run, round, Stage::Verify)?);
            let done = |shard: u32| verify.commits.iter().any(|commit| commit.shard == shard);
            for (shard, of_problems) in (0..).zip(train_shards(&problems)).filter(|(shard, _)| done(*shard)) {
                progress.check()?;
                let rows: Vec<Problem> = problems.shard(of_problems)?;
                let solutions: Vec<Solution> = search.shard(shard)?;
                let before: Vec<VerdictRow> = verify.shard(shard)?;
                let judge = judge.as_ref().zip(endpoint.as_mut());
                let (after, judged) = verdicts(&domains, (&rows, &solutions), judge, &progress)?;
                session.workspace.sound()?;
                report.judged += judged;
                report.compare(round, (&rows, &solutions), &before, &after);
            }
        }
        progress.finish();
        if report.solutions == 0 {
            let what = format!("{}: nothing is verified yet", run.root().display());
            return Err(
                Failure::input(what, "resume it with `qstill resume`, or choose another --round").into()
            );
        }
        // Another verdict first, then another reason for the same.
        let verdict = |text: &str| text.split(' ').next().map(str::to_owned);
        report.changes.sort_by_key(|change| verdict(&change.before) == verdict(&change.after));
        report.changes.truncate(self.head);
        Ok(report)
    }
}

impl Report {
    fn compare(
        &mut self,
        round: u32,
        (problems, solutions): (&[Problem], &[Solution]),
        before: &[VerdictRow],
        after: &[VerdictRow],
    ) {
        let problems: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
        let answers: HashMap<&str, &str> =
            solutions.iter().map(|s| (s.solution_id.as_str(), s.final_answer.as_str())).collect();
        let old: HashMap<&str, &VerdictRow> =
            before.iter().map(|row| (row.solution_id.as_str(), row)).collect();
        self.solutions += after.len();
        for row in after {
            let Some(was) = old.get(row.solution_id.as_str()) else { continue };
            let (was, is) = (named(was), named(row));
            if was == is {
                continue;
            }
            *self.changed.entry(format!("{was} -> {is}")).or_default() += 1;
            let problem = problems.get(row.problem_id.as_str());
            self.changes.push(Change {
                round,
                solution_id: row.solution_id.clone(),
                before: was,
                after: is,
                gold: problem.map_or_else(String::new, |problem| problem.answer.clone()),
                answer: answers.get(row.solution_id.as_str()).copied().unwrap_or_default().to_owned(),
                question: problem.map_or_else(String::new, |problem| problem.question.clone()),
            });
        }
    }

    fn text(&self) -> String {
        let all: usize = self.changed.values().sum();
        let mut out =
            format!("{} judged anew, {all} verdicts change", plural(self.solutions as u64, "solution"));
        if self.judged > 0 {
            out += &format!(", {} rest on the judge", self.judged);
        }
        out.push('\n');
        if all == 0 {
            return out;
        }
        let rows: Vec<Vec<String>> =
            self.changed.iter().map(|(change, count)| vec![count.to_string(), change.clone()]).collect();
        out += &text::table(&["verdicts", "change"], &rows, &[0]);
        out += "\n";
        let rows: Vec<Vec<String>> = self
            .changes
            .iter()
            .map(|c| {
                vec![
                    c.solution_id.clone(),
                    c.gold.clone(),
                    c.answer.clone(),
                    c.before.clone(),
                    c.after.clone(),
                ]
            })
            .collect();
        out += &text::table(&["solution", "gold", "answer", "before", "after"], &rows, &[]);
        out + "`qstill stage verify` writes them to the run; `qstill resume` does what follows from that.\n"
    }
}
