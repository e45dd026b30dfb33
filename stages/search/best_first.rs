//! Best-first enumeration over the domain's rules: finds up to K distinct correct paths within a budget of expansions.
//!
//! The order is f = steps so far + a bound on the steps still needed. Every step joins two quantities into
//! one, so a path that leaves nothing unused needs at least (unused results − 1) + (unused given numbers) more
//! steps. Results must be used, so they count in full; a given number may be a distractor, so it counts a
//! little less than a step. Without that bound the search would find the shortest coincidences first:
//! paths that ignore half of the question.
//!
//! The goal test is the verifier, which knows the answer: this is the win signal of self-play, and why what
//! the search finds for measured problems is called the teacher's and not a model's.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use anyhow::{Context, Result};
use datasets::domain::{Origin, State};
use datasets::number::Number;
use datasets::table::Node;
use datasets::types::{Problem, Solution, Step, Verdict};
use datasets::{Domain, domains, expr};
use rayon::prelude::*;

use super::{Draws, Found, SearchConfig, solution_id};
use crate::events::Events;
use crate::policy::rules;

/// What a given number left unused costs, in steps.
const UNUSED_GIVEN: f64 = 0.9;

/// Searches each problem; problems run in parallel, results are in their order.
///
/// # Errors
/// If a domain has no rules; [`crate::Cancelled`].
pub fn search(problems: &[Problem], config: &SearchConfig, draws: Draws, events: &dyn Events) -> Result<Found> {
    let parts: Vec<Found> = problems
        .par_iter()
        .map(|problem| {
            events.check()?;
            let name = &problem.domain;
            let domain = domains::domain(name).with_context(|| format!("no domain is named `{name}`"))?;
            enumerate(problem, domain, config, draws)
        })
        .collect::<Result<_>>()?;
    let mut found = Found::default();
    for part in parts {
        found.nodes.extend(part.nodes);
        found.solutions.extend(part.solutions);
    }
    Ok(found)
}

/// A state that waits to be expanded.
struct Open {
    /// f, in thousandths, so that order is total.
    cost: u64,
    /// Index of its node; earlier ones first among equals.
    node: u32,
    state: State,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Open {}
impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest item: the cheapest, then the oldest.
        (other.cost, other.node).cmp(&(self.cost, self.node))
    }
}

/// f of a state, in thousandths of a step.
fn cost(state: &State) -> u64 {
    let unused = |is: fn(&Origin) -> bool| state.pool.iter().filter(|q| q.uses == 0 && is(&q.origin)).count() as f64;
    let results = unused(|o| matches!(o, Origin::Result(_)));
    let given = unused(|o| matches!(o, Origin::Given));
    let steps = state.steps.len() as f64;
    ((steps + (results - 1.0).max(0.0) + UNUSED_GIVEN * given) * 1000.0) as u64
}

/// Least number of steps a path through this state can have.
fn least_steps(state: &State) -> usize {
    let results = state.pool.iter().filter(|q| q.uses == 0 && matches!(q.origin, Origin::Result(_))).count();
    state.steps.len() + results.saturating_sub(1)
}

fn enumerate(problem: &Problem, domain: &dyn Domain, config: &SearchConfig, draws: Draws) -> Result<Found> {
    let root = domain.start(problem);
    // A gold that is a plain number rules out almost every state without asking the verifier.
    let gold = Number::parse(problem.answer.trim());
    let wins = |value: Number, state: &State| -> Option<String> {
        if gold.is_some_and(|gold| gold != value) {
            return None;
        }
        domain.answer(state).filter(|answer| domain.verify(problem, &state.steps, answer).verdict == Verdict::Correct)
    };
    let tree_id = format!("{}-rules", draws.round);
    let new_node = |node_id: u32, parent_id: Option<u32>, depth: usize, step: String, prior: f32| Node {
        problem_id: problem.problem_id.clone(),
        tree_id: tree_id.clone(),
        node_id,
        parent_id,
        depth: depth as u32,
        step,
        logprob: parent_id.map(|_| prior.ln()),
        prior: parent_id.map(|_| prior),
        status: "open".into(),
        ..Node::default()
    };
    // Nodes that were only generated stay out of the table: `made` numbers all, `nodes` keeps those looked into.
    let mut made: Vec<(Option<u32>, usize, String, f32)> = vec![(None, 0, String::new(), 1.0)];
    let mut status: Vec<(u32, &'static str, Option<u32>)> = Vec::new();
    let mut heap = BinaryHeap::from([Open { cost: cost(&root), node: 0, state: root }]);
    let mut paths = HashSet::new();
    let mut complete: Vec<(u64, u32, State, String)> = Vec::new();
    let mut expansions = 0;
    while let Some(open) = heap.pop() {
        // A solution that was found earlier but costs more than what is still open waits its turn here.
        if expansions >= config.rule_expansions || complete.len() >= config.rule_solutions {
            break;
        }
        let moves = domain.moves(&open.state).with_context(|| format!("the domain `{}` has no rules to enumerate", domain.name()))?;
        status.push((open.node, "expanded", Some(expansions as u32)));
        expansions += 1;
        let prior = 1.0 / moves.len().max(1) as f32;
        for step in moves {
            if least_steps(&step.next) > config.rule_steps {
                continue;
            }
            let node = made.len() as u32;
            made.push((Some(open.node), step.next.steps.len(), step.text, prior));
            let won = wins(step.value, &step.next);
            if let Some(answer) = won {
                if paths.insert(expr::canonical_path(&step.next.steps)) {
                    status.push((node, "solution", None));
                    complete.push((cost(&step.next), node, step.next, answer));
                } else {
                    status.push((node, "duplicate", None));
                }
            } else if step.next.steps.len() < config.rule_steps {
                heap.push(Open { cost: cost(&step.next), node, state: step.next });
            }
        }
    }
    complete.sort_by_key(|(cost, node, ..)| (*cost, *node));
    complete.truncate(config.rule_solutions);

    // Looked into: expanded, solutions and duplicates, with a parent each (parents were expanded before).
    let mut nodes: Vec<Node> = Vec::with_capacity(status.len());
    status.sort_unstable_by_key(|(node, ..)| *node);
    for (node, name, order) in status {
        let (parent, depth, step, prior) = made[node as usize].clone();
        nodes.push(Node { status: name.into(), visits: 1, expansion_order: order, ..new_node(node, parent, depth, step, prior) });
    }
    let count = complete.len().max(1) as f32;
    let fingerprint = rules::fingerprint(domain.name());
    let solutions = complete
        .into_iter()
        .enumerate()
        .map(|(ordinal, (_, node, state, answer))| {
            let mut priors = Vec::new();
            let mut at = Some(node);
            while let Some(node) = at {
                let (parent, _, _, prior) = &made[node as usize];
                priors.push(prior.ln());
                at = *parent;
            }
            priors.reverse();
            let steps = state.steps.into_iter().zip(priors.into_iter().skip(1)).map(|(text, logprob)| Step {
                text,
                logprob,
                value: f32::NAN,
                q: f32::NAN,
                tokens: 0,
            });
            Solution {
                solution_id: solution_id(problem, "best-first", &fingerprint, draws, ordinal),
                problem_id: problem.problem_id.clone(),
                round: draws.round,
                algorithm: "best-first".into(),
                policy: "rules".into(),
                policy_fingerprint: fingerprint.clone(),
                seed: ordinal as u64,
                steps: steps.collect(),
                final_answer: answer,
                tokens: 0,
                search_tokens: 0.0,
                search_expansions: expansions as f32 / count,
            }
        })
        .collect();
    Ok(Found { nodes, solutions })
}
