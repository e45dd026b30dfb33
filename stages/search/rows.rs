//! Outcomes of searches as rows of `nodes` and `solutions`.

use anyhow::{Context, Result};
use datasets::key;
use datasets::table::Node;
use datasets::types::{End, Problem, REPAIR, Solution, Step};
use rayon::prelude::*;

use super::config::{Algorithm, Goal};
use super::draws::Draws;
use super::repair::repairs;
use super::single::{Plan, SearchOutcome};
use super::tree::{NONE, Status};
use crate::policy::{Policy, rules};

/// What one search of some problems gave.
#[derive(Debug, Default)]
pub struct SearchRows {
    pub nodes: Vec<Node>,
    pub solutions: Vec<Solution>,
}

/// Writes what a policy's searches came to.
pub struct Writer<'a> {
    pub plan: &'a Plan,
    pub policy: &'a dyn Policy,
    /// Whether values are estimates, and not an order that the search needed.
    pub valued: bool,
}

impl Writer<'_> {
    /// Whether values were backed up through the tree.
    fn backed(&self) -> bool {
        self.plan.algorithm == Algorithm::Mcts
    }

    /// Adds the rows of all problems. Of a policy that enumerates, nodes that were merely looked at are no
    /// rows: they are many and can be made again. Solutions are all whole paths of a policy that samples, and
    /// the correct ones of rules.
    pub fn collect(&self, problems: &[Problem], outcomes: &[SearchOutcome], found: &mut SearchRows) {
        let Self { plan, policy, valued } = *self;
        for (problem, outcome) in problems.iter().zip(outcomes) {
            // Rules are named by the problem's own domain.
            let domain = plan.domains.of(problem).filter(|_| policy.enumerates());
            let fingerprint = domain.map_or_else(|| policy.fingerprint(), rules::fingerprint);
            let looked = |status| {
                policy.enumerates() && matches!(status, Status::Open | Status::Dead | Status::Pruned)
            };
            let tree_id = format!("{}-{}", plan.draws.round, plan.name);
            let known = |x: f32| Some(x).filter(|x| x.is_finite());
            for (id, item) in outcome.tree.items.iter().enumerate() {
                let root = item.parent == NONE;
                if looked(item.status) && item.order == NONE && !root {
                    continue;
                }
                found.nodes.push(Node {
                    problem_id: problem.problem_id.clone(),
                    tree_id: tree_id.clone(),
                    node_id: id as u32,
                    parent_id: (!root).then_some(item.parent),
                    depth: item.depth,
                    step: item.step.clone(),
                    logprob: known(item.logprob),
                    prior: if root { None } else { known(item.prior) },
                    value: known(item.value).filter(|_| valued),
                    q: if self.backed() && item.visits > 0 { known(item.q() as f32) } else { None },
                    visits: item.visits.max(1),
                    status: item.status.name().into(),
                    tokens: item.tokens,
                    expansion_order: Some(item.order).filter(|order| *order != NONE),
                });
            }
            self.solutions(problem, outcome, &fingerprint, found);
        }
    }

    fn solutions(
        &self,
        problem: &Problem,
        outcome: &SearchOutcome,
        fingerprint: &str,
        found: &mut SearchRows,
    ) {
        let Self { plan, policy, valued } = *self;
        let draws = plan.draws;
        let tree = &outcome.tree;
        let ends = if policy.enumerates() && plan.tree.goal == Goal::Verified {
            &outcome.solutions
        } else {
            &outcome.ends
        };
        let share = ends.len().max(1) as f32;
        for (ordinal, end) in ends.iter().enumerate() {
            let items = tree.path(*end).into_iter().map(|node| tree.get(node));
            let mut steps: Vec<Step> = items
                .filter(|item| !item.end)
                .map(|item| Step {
                    text: item.step.clone(),
                    logprob: item.logprob,
                    value: if valued { item.value } else { f32::NAN },
                    q: if self.backed() && item.visits > 0 { item.q() as f32 } else { f32::NAN },
                    tokens: item.tokens,
                })
                .collect();
            let mut tokens = tree.path(*end).into_iter().map(|node| tree.get(node).tokens).sum();
            let (mut ended, mut thought) = (End::Complete, (String::new(), 0));
            if let Some(sample) = outcome.samples.get(ordinal) {
                (tokens, ended) = (sample.tokens, sample.end);
                thought = (sample.thought.clone(), sample.thought_tokens);
                for (step, drawn) in steps.iter_mut().zip(&sample.steps) {
                    *step = Step { value: step.value, q: step.q, ..drawn.clone() };
                }
            }
            found.solutions.push(Solution {
                solution_id: solution_id(problem, plan.name, fingerprint, draws, ordinal),
                problem_id: problem.problem_id.clone(),
                round: draws.round,
                algorithm: plan.name.into(),
                policy: policy.kind().into(),
                policy_fingerprint: fingerprint.to_owned(),
                seed: if policy.enumerates() { ordinal as u64 } else { draws.sample(problem, ordinal) },
                steps,
                final_answer: tree.get(*end).answer.clone().unwrap_or_default(),
                end: ended,
                tokens,
                thought: thought.0,
                thought_tokens: thought.1,
                search_tokens: outcome.spent.tokens as f32 / share,
                search_expansions: outcome.spent.expansions as f32 / share,
            });
        }
    }
}

/// Adds what wrong samples become with one legal step behind their own.
///
/// # Errors
/// A problem of an unknown domain.
pub fn repaired(
    problems: &[Problem],
    outcomes: &[SearchOutcome],
    policy: &dyn Policy,
    plan: &Plan,
    found: &mut SearchRows,
) -> Result<()> {
    let draws = plan.draws;
    let (kind, fingerprint) = (policy.kind(), policy.fingerprint());
    let pairs: Vec<(&Problem, &SearchOutcome)> = problems.iter().zip(outcomes).collect();
    let rows: Vec<Vec<Solution>> = pairs
        .into_par_iter()
        .map(|(problem, outcome)| {
            let domain = plan
                .domains
                .of(problem)
                .with_context(|| format!("no domain is named `{}`", problem.domain))?;
            let repairs = repairs(problem, domain, &outcome.samples);
            Ok(repairs
                .into_iter()
                .enumerate()
                .map(|(ordinal, (sample, steps, final_answer))| Solution {
                    solution_id: solution_id(problem, REPAIR, &fingerprint, draws, ordinal),
                    problem_id: problem.problem_id.clone(),
                    round: draws.round,
                    algorithm: REPAIR.into(),
                    policy: kind.into(),
                    policy_fingerprint: fingerprint.clone(),
                    seed: draws.sample(problem, sample),
                    tokens: steps.iter().map(|step| step.tokens).sum(),
                    steps,
                    final_answer,
                    end: End::Complete,
                    thought: String::new(),
                    thought_tokens: 0,
                    // The samples have paid.
                    search_tokens: 0.0,
                    search_expansions: 0.0,
                })
                .collect())
        })
        .collect::<Result<_>>()?;
    found.solutions.extend(rows.into_iter().flatten());
    Ok(())
}

/// Id of a solution: the same path drawn twice is two solutions.
fn solution_id(problem: &Problem, algorithm: &str, policy: &str, draws: Draws, ordinal: usize) -> String {
    key::id(&[
        (&problem.problem_id).into(),
        draws.purpose.into(),
        u64::from(draws.round).into(),
        draws.seed.into(),
        algorithm.into(),
        policy.into(),
        (ordinal as u64).into(),
    ])
}
