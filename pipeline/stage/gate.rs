//! The gate on disk: the answers of a round's student to validation problems, and what was decided.

use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::table::Evaluation;
use datasets::types::{Problem, Split};
use datasets::{Domain, domains};
use stages::evaluate::{self, ModelRun};
use stages::gate::{self, Decision, OnFail};
use stages::policy::Prompt;
use stages::policy::model::ModelPolicy;
use stages::search::Draws;

use crate::disk::durable::{read_small, write_atomic};
use crate::disk::layout::Stage;
use crate::run::plan::Fingerprint;
use crate::run::rows::{Counts, Done, write};
use crate::run::session::{Session, name};
use crate::run::work::{Goal, Past, Walk};
use crate::terminal::exit::Failure;

impl Session {
    /// Measures a round's student for the gate: shard 0; and in round 1 the base, if there is a trained one:
    /// shard 1.
    pub(crate) fn gate(&self, goal: Goal, round: u32, problems: &Done, student: &Done) -> Result<Walk> {
        let c = &self.config;
        let settings: toml::Table = self
            .section("gate")
            .into_iter()
            .filter(|(key, _)| ["problems", "samples"].contains(&key.as_str()))
            .collect();
        let fingerprint = Fingerprint::new("gate", gate::VERSION)
            .with("evaluate", evaluate::VERSION)
            .with_table("gate", &settings)
            .with_table(
                "evaluate",
                &self.section_without("evaluate", &["split", "problems", "samples", "teacher"]),
            )
            .with("run.seed", c.run.seed)
            .with("round", round)
            .with("problems", problems.hash())
            .with("student", student.hash())
            .with("verifier", domains::domain(c.problems.domain()).map_or(0, Domain::version));
        let base = round == 1 && !c.model.from_scratch();
        // The base is asked as the policy that it stands for, with instruction and examples; students are
        // asked the question alone.
        let fingerprint =
            if base { fingerprint.with_table("prompt", &self.section("prompt")) } else { fingerprint };
        let fingerprint = self.with_dtype(fingerprint);
        let asked = Self::asked(problems, Split::Validation, c.gate.problems)?;
        let shards = if asked.is_empty() { 0 } else { 1 + u32::from(base) };
        let opened = self.stage(Stage::Gate, round, &fingerprint, Some(shards))?;
        if let Some(walk) = self.without_work(goal, &opened)? {
            return Ok(walk);
        }
        let path = opened.path.clone();
        let draws = Draws { seed: c.run.seed, round, purpose: "gate" };
        let config = c.gate.as_evaluate(&c.evaluate);
        let commits = self.shards(
            opened,
            shards,
            "problems",
            asked.len() as u64 * u64::from(shards),
            |shard, attempt, progress| {
                let (named, model, prompt) = match shard {
                    0 => ("student", self.student(round)?, Prompt::default()),
                    _ => ("base", self.base(|| Ok(Vec::new()))?, self.prompt(problems)?),
                };
                let mut policy = ModelPolicy::new(model, prompt, c.model.limits());
                let rows = evaluate::model(
                    &asked,
                    ModelRun { name: named, config: &config, draws },
                    &mut policy,
                    progress,
                )?;
                let solved = rows.iter().filter(|row| row.sample == 0 && row.correct).count();
                write(attempt, rows)?;
                Ok(Counts::from([
                    ("units".to_owned(), asked.len() as i64),
                    ("solved".to_owned(), solved as i64),
                ]))
            },
        )?;
        let done = Done::new(path, commits);
        Ok(if matches!(goal, Goal::One(Stage::Gate, r) if r == round) {
            Walk::Reached
        } else {
            Walk::Done(done)
        })
    }

    /// What the gate decides on a round's student. `current` are the measurements of the policy that it would
    /// replace.
    ///
    /// # Errors
    /// Failed reads; a rejection, if that is to halt the run.
    pub(crate) fn decide(
        &self,
        goal: Goal,
        round: u32,
        problems: &Done,
        measured: &Done,
        past: &Past,
    ) -> Result<bool> {
        let config = &self.config.gate;
        let rows: Vec<Evaluation> = measured.read()?;
        if rows.is_empty() {
            if goal != Goal::Look {
                self.console.say(&format!(
                    "round {round} gate: there are no validation problems, so every student is accepted"
                ));
            }
            return Ok(true);
        }
        let (student, base): (Vec<Evaluation>, Vec<Evaluation>) =
            rows.into_iter().partition(|row| row.model == "student");
        let before: Option<Vec<Evaluation>> = match &past.gate {
            Some((done, named)) => {
                Some(done.read::<Evaluation>()?.into_iter().filter(|row| row.model == *named).collect())
            }
            None => Some(base).filter(|rows| !rows.is_empty()),
        };
        let asked: HashMap<String, Problem> = Self::asked(problems, Split::Validation, 0)?
            .into_iter()
            .map(|p| (p.problem_id.clone(), p))
            .collect();
        let decision = gate::decide(&student, before.as_deref(), &asked, config);
        if goal == Goal::Look {
            return Ok(decision.accepted);
        }
        let path = self.run.round(round).join("gate.json");
        let text = serde_json::to_string_pretty(&decision)? + "\n";
        if read_small(&path).ok().as_deref() != Some(text.as_bytes()) {
            write_atomic(&path, text.as_bytes())
                .with_context(|| format!("failed to write {}", path.display()))?;
            self.console.say(&told(round, &decision));
        }
        if !decision.accepted && config.on_fail == OnFail::Halt {
            return Err(Failure::busy(
                format!(
                    "{}: the student is rejected: {}",
                    name(Stage::Gate, round),
                    decision.reasons.join("; ")
                ),
                format!(
                    "look at {}; `qstill resume {} --set gate.on_fail=rollback` keeps the current policy",
                    path.display(),
                    self.run.root().display()
                ),
            )
            .into());
        }
        Ok(decision.accepted)
    }

    /// What the gate decided on a round's student, as it is written in the round: for commands that decide
    /// nothing.
    ///
    /// # Errors
    /// Busy if that is not there or cannot be understood: a run writes it anew.
    pub(crate) fn decided(&self, round: u32) -> Result<bool> {
        let path = self.run.round(round).join("gate.json");
        let text = read_small(&path).unwrap_or_default();
        let told = serde_json::from_slice::<serde_json::Value>(&text)
            .ok()
            .and_then(|gate| gate["accepted"].as_bool());
        Ok(told.ok_or_else(|| {
            Failure::busy(
                format!(
                    "{} does not say whether the gate accepts the student of round {round}",
                    path.display()
                ),
                format!("`qstill resume {}` decides it", self.run.root().display()),
            )
        })?)
    }
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
        "round {round} gate: {verdict}; {} of {} validation problems solved, {against}; {:.2} distinct calculations a problem, {entropy} bits a token, median {} tokens, pass@{} {:.1}%",
        new.solved,
        new.problems,
        new.distinct,
        new.lengths[1],
        new.k,
        100.0 * new.pass_at_k
    )
}
