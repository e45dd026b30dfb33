//! How one solution went through the rules: for `qstill curate --explain`.

use std::collections::HashMap;

use anyhow::{Context, Result};
use datasets::table::VerdictRow;
use datasets::types::{Judgement, Problem, Solution};
use serde::Serialize;

use super::Settled;
use super::judged::judged;
use super::rules::RULES;
use super::subject::{Fate, Finding, Subject};
use super::survey::Ground;

/// One rule, and what it says.
#[derive(Debug, Serialize)]
pub struct Ruling {
    /// Reason code of what it drops.
    pub rule: &'static str,
    /// `passes`, `drops`, `skips` (switched off, or nothing to measure) or `not reached`.
    pub outcome: &'static str,
    /// What was measured.
    pub measured: String,
}

/// One step as the verifier saw it.
#[derive(Debug, Serialize)]
pub struct Told {
    pub text: String,
    pub check: &'static str,
    pub faults: Vec<String>,
}

/// The story of a solution.
#[derive(Debug, Serialize)]
pub struct Story {
    pub solution_id: String,
    pub problem_id: String,
    pub round: u32,
    pub algorithm: String,
    pub policy: String,
    pub question: String,
    pub gold: String,
    pub steps: Vec<Told>,
    pub final_answer: String,
    pub verdict: &'static str,
    pub verdict_reason: String,
    /// Faults of the path as a whole.
    pub faults: Vec<String>,
    /// Every rule in order. Those on one solution are all measured, also behind the one that dropped it.
    pub rules: Vec<Ruling>,
    /// `kept`, or the reason for which it is dropped.
    pub end: String,
    /// What shows the reason.
    pub evidence: String,
    /// The solution that stands for it, ranks before it, or is its equal.
    pub other: Option<String>,
    /// Weight of its row, if it is kept.
    pub weight: Option<f32>,
}

/// Tells the story of one of a problem's solutions; `solutions` and `verdicts` may hold more than the
/// problem's.
///
/// # Errors
/// If there is no such solution among them, or a solution has no verdict.
pub fn story(
    problem: &Problem,
    solutions: &[Solution],
    verdicts: &[VerdictRow],
    id: &str,
    ground: &Ground,
) -> Result<Story> {
    let by_problem: HashMap<&str, Vec<(&Solution, &Judgement)>> = judged(solutions, verdicts)?;
    let rows = by_problem.get(problem.problem_id.as_str()).context("the problem has no solution")?;
    let at = rows
        .iter()
        .position(|(solution, _)| solution.solution_id == id)
        .context("the problem has no such solution")?;
    let settled = Settled::of(problem, rows, ground);
    let (solution, judgement) = rows[at];
    let fault = |at: Option<u32>| {
        let of = judgement.faults.iter().filter(move |fault| fault.step == at);
        of.map(|fault| format!("{}: {}", fault.kind.name(), fault.evidence)).collect::<Vec<_>>()
    };
    let steps = solution.steps.iter().enumerate().map(|(i, step)| Told {
        text: step.text.clone(),
        check: judgement.checks.get(i).map_or("", |check| check.name()),
        faults: fault(Some(i as u32)),
    });
    let subject = Subject::of(rows[at], &settled.scope);
    let one = RULES.iter().map(|(name, rule)| {
        let (outcome, measured) = match rule(&subject) {
            Finding::Skips(why) => ("skips", why.to_owned()),
            Finding::Passes(measured) => ("passes", measured.to_string()),
            Finding::Drops(measured) => ("drops", measured.to_string()),
        };
        Ruling { rule: name, outcome, measured }
    });
    let fate = &settled.fates[at];
    let (end, evidence) = match fate {
        Fate::Kept => ("kept".to_owned(), String::new()),
        Fate::Dropped { reason, evidence } => ((*reason).to_owned(), evidence.clone()),
    };
    let rules: Vec<Ruling> = one.chain(settled.group(at)).collect();
    Ok(Story {
        solution_id: solution.solution_id.clone(),
        problem_id: problem.problem_id.clone(),
        round: solution.round,
        algorithm: solution.algorithm.clone(),
        policy: solution.policy.clone(),
        question: problem.question.clone(),
        gold: problem.answer.clone(),
        steps: steps.collect(),
        final_answer: solution.final_answer.clone(),
        verdict: judgement.verdict.name(),
        verdict_reason: judgement.reason.clone(),
        faults: fault(None),
        rules,
        other: rows
            .iter()
            .map(|(s, _)| &s.solution_id)
            .find(|other| *other != id && evidence.contains(*other))
            .cloned(),
        end,
        evidence,
        weight: (*fate == Fate::Kept).then(|| settled.weight()),
    })
}

impl Settled<'_> {
    /// What the rules on all of a problem's solutions say of one.
    fn group(&self, at: usize) -> Vec<Ruling> {
        let config = &self.scope.ground.config;
        let reason = match &self.fates[at] {
            Fate::Kept => "",
            Fate::Dropped { reason, .. } => reason,
        };
        let evidence = match &self.fates[at] {
            Fate::Dropped { evidence, .. } => evidence.clone(),
            Fate::Kept => String::new(),
        };
        let path = self.paths.iter().position(|path| path.standing == at);
        let place = self.order.iter().position(|i| Some(*i) == path);
        let chosen = |cap: usize| format!("{} chosen before it, cap {cap}", place.unwrap_or(0));
        let votes = path.map_or(String::new(), |i| {
            format!("stands for {} of the problem's solutions", self.paths[i].votes)
        });
        let off = |is_off: bool| if is_off { "skips" } else { "passes" };
        let skipped = !self.scope.asks_agreement();
        let confirmed = if skipped {
            "off, or nobody was sampled".into()
        } else {
            format!("limit {}", config.min_agreement)
        };
        let states = [
            ("unconfirmed", off(skipped), confirmed),
            ("duplicate", off(config.duplicates == super::Duplicates::Off), votes),
            (
                "ambiguous",
                off(!config.drop_ambiguous),
                if config.drop_ambiguous { "no other path ranks equal".into() } else { "off".into() },
            ),
            ("over_cap", "passes", chosen(config.per_problem)),
        ];
        let mut reached = path.is_some() || ["unconfirmed", "duplicate"].contains(&reason);
        let mut rulings = Vec::new();
        for (rule, outcome, measured) in states {
            rulings.push(match (reached, rule == reason) {
                (false, _) => Ruling { rule, outcome: "not reached", measured: String::new() },
                (true, true) => Ruling { rule, outcome: "drops", measured: evidence.clone() },
                (true, false) => Ruling { rule, outcome, measured },
            });
            reached &= rule != reason;
        }
        rulings
    }
}
