//! bakeoff: searches of the same problems at equal budgets, and answers chosen among the same samples.

use anyhow::Result;

use datasets::domains::{self, Domains};
use datasets::table::{Match, Selection};
use datasets::types::{Problem, Verdict};
use rayon::prelude::*;

use crate::events::Events;
use crate::policy::{Ask, Horizon, Policy, Sampling};
use crate::search::budget::Unit;
use crate::search::choose::{Choice, Vote, choose, votes};
use crate::search::grow;
use crate::search::single::{Plan, SearchOutcome};
use crate::search::value::Values;
use crate::search::{Algorithm, Draws, Goal, TreeConfig};
use crate::value::{Trained, exact};
use crate::verify::case;

pub mod statistics;

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 1;

/// What guides a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guide {
    /// The run's value model.
    Learned,
    /// The domain's own guess of the steps that are left.
    Effort,
    /// Nothing.
    None,
}

/// A search that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entrant {
    pub algorithm: Algorithm,
    pub guide: Guide,
}

impl Entrant {
    /// Reads `astar`, `astar/effort` or `astar/none`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, guide) = text.split_once('/').map_or((text, Guide::Learned), |(name, guide)| {
            (
                name,
                if guide == "effort" {
                    Guide::Effort
                } else if guide == "none" {
                    Guide::None
                } else {
                    Guide::Learned
                },
            )
        });
        let known = matches!(
            text.split_once('/').map(|(_, guide)| guide),
            None | Some("effort" | "none" | "learned")
        );
        let algorithm = Algorithm::ALL.into_iter().find(|a| a.name() == name).filter(|_| known)?;
        Some(Self { algorithm, guide })
    }

    pub fn name(self) -> String {
        match self.guide {
            Guide::Learned => self.algorithm.name().to_owned(),
            Guide::Effort => format!("{}/effort", self.algorithm.name()),
            Guide::None => format!("{}/none", self.algorithm.name()),
        }
    }
}

/// One entrant at one budget.
#[derive(Clone, Debug)]
pub struct Contest {
    pub entrant: Entrant,
    /// `unit`, `budget` and `goal` of it are those of the contest.
    pub tree: TreeConfig,
    pub sampling: Sampling,
    pub draws: Draws,
    /// Who judges paths.
    pub domains: Domains,
}

/// Problems searched together.
const TOGETHER: usize = 256;
/// States that the search for the shortest path may expand for a problem.
const EXHAUSTION: usize = 20_000;

impl Contest {
    /// Searches some problems; a row for each.
    ///
    /// # Errors
    /// Those of the policy and of the value model; [`crate::Cancelled`].
    pub fn run(
        &self,
        problems: &[Problem],
        policy: &mut dyn Policy,
        values: &mut Values<'_>,
        events: &dyn Events,
    ) -> Result<Vec<Match>> {
        let algorithm = self.entrant.algorithm;
        let tree = self.tree.clone();
        // Best-of-N has no other end than its budget.
        let plan = Plan {
            algorithm,
            tree,
            samples: 1_000_000,
            aim: None,
            siblings: None,
            sampling: self.sampling.clone(),
            name: algorithm.name(),
            draws: self.draws,
            domains: self.domains.clone(),
        };
        let mut rows = Vec::with_capacity(problems.len());
        for some in problems.chunks(TOGETHER) {
            let outcomes = grow::run(some, &plan, policy, values, events)?;
            rows.extend(
                some.par_iter()
                    .zip(&outcomes)
                    .map(|(problem, outcome)| self.row(problem, outcome))
                    .collect::<Vec<_>>(),
            );
            let solved = outcomes.iter().filter(|outcome| !outcome.solutions.is_empty()).count();
            events.advance(some.len() as u64, solved as u64, 0);
        }
        Ok(rows)
    }

    fn row(&self, problem: &Problem, outcome: &SearchOutcome) -> Match {
        let spent = outcome.spent;
        let chosen = self.tree.goal == Goal::Chosen;
        let votes = if chosen { votes(problem, outcome, &self.tree) } else { Vec::new() };
        let right = domains::reading(problem, &problem.answer);
        let share = |choice| share(&votes, choice, &right);
        let name = |unit| match unit {
            Unit::Tokens => "tokens",
            Unit::Calls => "calls",
            Unit::Expansions => "expansions",
        };
        Match {
            problem_id: problem.problem_id.clone(),
            search: self.entrant.name(),
            goal: if chosen { "chosen" } else { "verified" }.into(),
            unit: name(self.tree.unit).into(),
            budget: self.tree.budget,
            solved: !outcome.solutions.is_empty(),
            solutions: outcome.solutions.len() as u32,
            shortest: outcome.solutions.iter().map(|node| outcome.tree.length(*node)).min(),
            optimum: shortest(&self.domains, problem, self.tree.depth as usize),
            majority: share(Choice::Majority),
            weighted: share(Choice::Weighted),
            best: share(Choice::Best),
            tokens: spent.tokens,
            calls: spent.calls,
            expansions: spent.expansions,
            nodes: spent.nodes,
            values: spent.values,
            policy_flops: spent.policy_flops,
            value_flops: spent.value_flops,
            first_tokens: outcome.first.map(|first| first.tokens as u32),
            first_expansions: outcome.first.map(|first| first.expansions as u32),
        }
    }
}

/// Steps of the shortest correct path, by exhaustion in ever longer paths.
fn shortest(domains: &Domains, problem: &Problem, most: usize) -> Option<u32> {
    let domain = domains.of(problem)?;
    // Where steps make numbers instead of using them up, exhaustion ends nowhere near.
    if domain.least_steps(&domain.start(problem)) == 0 {
        return None;
    }
    let start = domain.start(problem);
    let mut left = EXHAUSTION;
    for steps in 1..=most {
        if exact::solvable(problem, domain, &start, steps, &mut left)? {
            return Some(steps as u32);
        }
    }
    None
}

/// Share of the chosen answers that are right.
fn share(votes: &[Vote], choice: Choice, right: &str) -> f32 {
    let chosen = choose(votes, choice);
    chosen.iter().filter(|answer| *answer == right).count() as f32 / chosen.len().max(1) as f32
}

/// Which samples are drawn, and the value models that say what they are worth.
pub struct SampleScoring<'a> {
    /// Of a problem.
    pub samples: usize,
    pub sampling: &'a Sampling,
    pub draws: Draws,
    /// Who judges them.
    pub domains: &'a Domains,
    /// Values every step.
    pub steps: Option<&'a mut Trained>,
    /// Values the whole.
    pub outcome: Option<&'a mut Trained>,
}

/// Draws samples of some problems and has the value models say what they are worth.
///
/// # Errors
/// Those of the policy and of the value models; [`crate::Cancelled`].
pub fn select(
    problems: &[Problem],
    scoring: SampleScoring<'_>,
    policy: &mut dyn Policy,
    events: &dyn Events,
) -> Result<Vec<Selection>> {
    let SampleScoring { samples, sampling, draws, domains, mut steps, mut outcome } = scoring;
    let mut rows = Vec::new();
    for some in problems.chunks(TOGETHER / samples.clamp(1, TOGETHER)) {
        let seeds: Vec<Vec<u64>> =
            some.iter().map(|problem| (0..samples).map(|k| draws.sample(problem, k)).collect()).collect();
        let asks: Vec<Ask<'_>> =
            some.iter().zip(&seeds).map(|(problem, seeds)| Ask { problem, steps: &[], seeds }).collect();
        let proposals = policy.propose(&asks, Horizon::Path, sampling, events)?;
        domains.foresee(|| {
            let of = some.iter().zip(&proposals);
            of.flat_map(|(problem, drawn)| drawn.iter().map(|proposal| case(problem, &[], proposal)))
        });
        events.check()?;
        for (problem, proposals) in some.iter().zip(proposals) {
            let Some(domain) = domains.of(problem) else { bail!("no domain is named `{}`", problem.domain) };
            for (sample, proposal) in proposals.into_iter().enumerate() {
                let texts: Vec<String> = proposal.steps.iter().map(|step| step.text.clone()).collect();
                let end = Some(proposal.final_answer.as_str()).filter(|answer| !answer.is_empty());
                let of = |model: &mut Option<&mut Trained>, from: usize| -> Result<Vec<f32>> {
                    let Some(model) = model else { return Ok(Vec::new()) };
                    let mut states: Vec<(&[String], Option<&str>)> =
                        (from..=texts.len()).map(|k| (&texts[..k], None)).collect();
                    if end.is_some() {
                        states.push((&texts, end));
                    }
                    model.of(domains, problem, &states, events)
                };
                let values = of(&mut steps, texts.len().min(1))?;
                let whole = of(&mut outcome, texts.len())?.last().copied();
                let verdict = domain.verify(problem, &texts, &proposal.final_answer).verdict;
                rows.push(Selection {
                    problem_id: problem.problem_id.clone(),
                    sample: sample as u32,
                    answer: end.map(|answer| domains::reading(problem, answer)).unwrap_or_default(),
                    correct: verdict == Verdict::Correct,
                    steps: texts.len() as u32,
                    tokens: proposal.tokens,
                    values,
                    outcome: whole,
                });
            }
        }
        events.advance(some.len() as u64, 0, 0);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entrants_are_named_as_they_are_read() {
        for text in ["astar", "astar/effort", "mcts/none", "best-of-n", "dvts"] {
            assert_eq!(Entrant::parse(text).unwrap().name(), text);
        }
        assert_eq!(Entrant::parse("beam/learned").unwrap().name(), "beam");
        assert!(Entrant::parse("astar/luck").is_none() && Entrant::parse("dijkstra").is_none());
    }
}
