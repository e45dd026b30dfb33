//! What both kinds of comparison stand on: a round's policy and values, and problems of a split.

use anyhow::{Context, Result};
use datasets::types::{Problem, Split};
use serde_json::Value;
use stages::policy::Policy;
use stages::search::Sampler;
use stages::value::targets::Level;
use stages::value::{Estimator, Trained};

use super::arguments::{Bakeoff, Proposer};
use crate::disk::durable::write_atomic;
use crate::disk::layout::Stage;
use crate::run::rows::{StageOutput, committed, problems_of};
use crate::run::session::Session;
use crate::run::workspace::Opened;
use crate::stage::gate::policy_before;
use crate::stage::policy::SamplingPolicy;
use crate::stage::searching::ValueModel;
use crate::terminal::exit::Failure;
use crate::terminal::text::to_stdout;

/// A round's policy and values, and the problems that they are compared on.
pub struct Comparison<'a> {
    pub session: &'a Session,
    pub round: u32,
    pub problems: StageOutput,
    pub asked: Vec<Problem>,
    pub split: Split,
    /// Who proposes steps.
    pub policy: SamplingPolicy,
    /// The policy of the round, on whose trunk a value model may stand.
    of_round: SamplingPolicy,
    learned: Option<StageOutput>,
}

impl<'a> Comparison<'a> {
    /// # Errors
    /// A split that does not exist or has no problem; failed reads.
    pub fn of(session: &'a Session, args: &Bakeoff) -> Result<Self> {
        let run = &session.workspace.run;
        let problems = committed(run, 0, Stage::Problems)?;
        let unknown =
            || Failure::usage(format!("there is no split `{}`", args.split), "train, validation or test");
        let split = Split::parse(&args.split).ok_or_else(unknown)?;
        let asked = problems_of(&problems, split, args.problems)?;
        if asked.is_empty() {
            let what = format!("the run has no {} problem", split.name());
            return Err(Failure::input(what, "choose another --split").into());
        }
        let learned_in = |round: u32| -> Result<Option<StageOutput>> {
            Ok(Some(committed(run, round, Stage::Value)?).filter(|output| !output.commits.is_empty()))
        };
        let round = match args.round {
            Some(round) => round,
            None => {
                let mut last = 1;
                for round in run.rounds()? {
                    last = if learned_in(round)?.is_some() { round } else { last };
                }
                last
            }
        };
        let learned = if round == 0 { None } else { learned_in(round)? };
        let of_round = SamplingPolicy::of(session, &problems, policy_before(session, round)?.as_ref())?;
        let rules = || SamplingPolicy::rules(session);
        let policy = match args.policy {
            Proposer::Policy if !of_round.is_none() => of_round.clone(),
            Proposer::Policy => {
                let why = "has no sampling policy: the domain's rules propose steps";
                session.workspace.console.say(&format!("round {round} {why}"));
                rules()?
            }
            Proposer::Rules => rules()?,
        };
        Ok(Self { session, round, problems, asked, split, policy, of_round, learned })
    }

    /// The round's value model of a level, if it has one.
    pub fn values(&self, level: Level) -> Option<ValueModel> {
        let learned = self.learned.as_ref()?;
        let has = self.session.config.value.levels.contains(&level);
        has.then(|| ValueModel::of(self.session, learned, level, &self.of_round))
    }

    /// The policy, and whether it says values itself.
    ///
    /// # Errors
    /// Models that cannot be read.
    pub fn open(&self) -> Result<(Box<dyn Policy>, bool)> {
        let (c, workspace) = (&self.session.config, &self.session.workspace);
        if matches!(c.search.policy, Sampler::Model | Sampler::Teacher) && !self.policy.is_rules() {
            // A head on the policy's own trunk goes with it: nothing is read twice.
            let policy = match (c.value.model, self.values(c.value.levels[0])) {
                (Estimator::Trunk, Some(values)) => match values.load(workspace)?.0 {
                    Trained::Reader(reader) => Some(*reader),
                    Trained::Network(_) => None,
                },
                (Estimator::None, _) => self.policy.model(workspace)?,
                _ => None,
            };
            if let Some(policy) = policy.filter(|policy| policy.has_head()) {
                return Ok((Box::new(policy), true));
            }
        }
        Ok((self.policy.build(workspace)?.context("a comparison has a policy")?, false))
    }

    /// Writes the plot data, and prints it or the table.
    ///
    /// # Errors
    /// Failed writes.
    pub fn publish(
        &self,
        opened: &Opened,
        plot: &Value,
        json: bool,
        table: impl FnOnce() -> String,
    ) -> Result<()> {
        let text = serde_json::to_string_pretty(plot)? + "\n";
        let file = opened.path().join("plot.json");
        write_atomic(&file, text.as_bytes())
            .with_context(|| format!("failed to write {}", file.display()))?;
        let shown = if json { text } else { table() };
        to_stdout(|out| Ok(write!(out, "{shown}")?))?;
        let (file, rows) = (file.display(), opened.path().display());
        self.session.workspace.console.say(&format!("plot data: {file}; rows: `qstill inspect {rows}`"));
        Ok(())
    }
}
