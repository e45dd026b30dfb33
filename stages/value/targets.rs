//! What came of the states of search trees: the targets that step values are learned from.
//!
//! **Sampled trees** (a model or an endpoint proposed): every whole path below a state is a try at it, unless
//! the verifier could not judge it, and
//!
//! - `soft`: share of the tries that are correct (Monte Carlo; Math-Shepherd, arXiv 2312.08935)
//! - `hard`: whether any is
//! - `backup`: the largest target among the next states that were tried often enough, down to the ends: what
//!   a search that takes the best step would reach; `soft` where nothing below was tried often enough
//! - `td`: the largest value that the value model of the round before gave to a next state (the target of
//!   Q-learning with a frozen copy); `soft` where it gave none
//!
//! **Enumerated trees** (rules proposed): a state is 1 if a correct path through it was found, else 0. A 0 is
//! certain where all that follows was seen; elsewhere it means that the search looked at the state and left
//! it, and weighs `unexplored`. The siblings of states on correct paths are among those: what to choose
//! between is what a value is for. Where siblings tell paths that are right by chance ([`crate::siblings`]),
//! a path is correct if they confirm it, and a tree without such a path is left out.

use std::collections::HashMap;

use datasets::Domain;
use datasets::domain::State;
use datasets::key;
use datasets::table::Node;
use datasets::types::{Problem, Verdict};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::siblings::Siblings;

/// How targets are made of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Targets {
    Soft,
    Hard,
    Backup,
    Td,
}

/// What a value is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every state: a process reward model.
    Steps,
    /// Whole solutions, by their outcome alone: an outcome reward model.
    Outcome,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Steps => "steps",
            Level::Outcome => "outcome",
        }
    }
}

/// How a tree is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub targets: Targets,
    /// Fewest tries of a state below which it says nothing.
    pub min_tries: u32,
    /// Weight of enumerated states that were looked at and left.
    pub unexplored: f32,
    /// Most wrong states of an enumerated tree; those drawn stand for the others. 0: enumerated trees are not
    /// read.
    pub most: usize,
}

/// A state and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub steps: Vec<String>,
    /// If the path ends here.
    pub answer: Option<String>,
    pub target: f32,
    pub weight: f32,
    /// Whole paths that went through it.
    pub tries: u32,
    /// Whether it is a whole solution.
    pub whole: bool,
    /// States of one number lie on one path, the longest last.
    pub path: u32,
}

/// The rows of one tree, as a tree.
struct Rows<'a> {
    nodes: Vec<&'a Node>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
}

impl<'a> Rows<'a> {
    fn new(nodes: &[&'a Node]) -> Self {
        let at: HashMap<u32, usize> = nodes.iter().enumerate().map(|(i, node)| (node.node_id, i)).collect();
        let parents: Vec<Option<usize>> =
            nodes.iter().map(|node| node.parent_id.and_then(|id| at.get(&id).copied())).collect();
        let mut children = vec![Vec::new(); nodes.len()];
        for (i, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                children[*parent].push(i);
            }
        }
        Self { nodes: nodes.to_vec(), parents, children }
    }

    /// Nodes from the root's child down to a node.
    fn path(&self, node: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at.filter(|n| self.parents[*n].is_some()) {
            path.push(node);
            at = self.parents[node];
        }
        path.reverse();
        path
    }

    /// Nodes in an order in which children come before their parents.
    fn upwards(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.path_length(*i)));
        order
    }

    fn path_length(&self, node: usize) -> usize {
        std::iter::successors(Some(node), |n| self.parents[*n]).count()
    }

    fn steps(&self, path: &[usize]) -> Vec<String> {
        path.iter().filter(|n| !is_end(self.nodes[**n])).map(|n| self.nodes[*n].step.clone()).collect()
    }
}

/// Whether a row is the end of a sampled path: an answer line, or nothing.
pub fn is_end(node: &Node) -> bool {
    node.parent_id.is_some() && (node.step.is_empty() || node.step.starts_with("####"))
}

/// What tells paths that are right by chance, and how many siblings have to speak for one.
pub type Judge<'a> = (&'a Siblings, usize);

/// What came of the states of one tree.
pub fn observe(
    problem: &Problem,
    domain: &dyn Domain,
    nodes: &[&Node],
    reading: &Reading,
    judge: Option<Judge<'_>>,
) -> Vec<Observed> {
    let rows = Rows::new(nodes);
    if nodes.iter().any(|node| is_end(node)) {
        sampled((problem, domain), &rows, reading)
    } else if reading.most > 0 {
        enumerated(problem, domain, &rows, reading, judge)
    } else {
        Vec::new()
    }
}

/// Target and tries of every node of a sampled tree.
fn tried(of: (&Problem, &dyn Domain), rows: &Rows<'_>, reading: &Reading) -> Vec<(f32, u32)> {
    let count = rows.nodes.len();
    let (mut tries, mut correct) = (vec![0u32; count], vec![0u32; count]);
    // What the correct ones are worth: one each, unless the verifier says more than right or wrong.
    let mut worth = vec![0f32; count];
    let mut best: Vec<Option<f32>> = vec![None; count];
    let mut targets = vec![f32::NAN; count];
    for i in rows.upwards() {
        let node = rows.nodes[i];
        if is_end(node) {
            // A path that best-of-N drew twice is two tries; a tree search returns to an end at its own will.
            let times = if node.tree_id.ends_with("best-of-n") { node.visits.max(1) } else { 1 };
            tries[i] = if node.status == "undecided" { 0 } else { times };
            correct[i] = if node.status == "solution" { times } else { 0 };
            let score = if tries[i] > 0 { score(of, rows, i) } else { None };
            worth[i] = score.map_or(correct[i] as f32, |score| score * times as f32);
        } else if matches!(node.status.as_str(), "false" | "dead") && rows.children[i].is_empty() {
            tries[i] = 1;
        }
        let soft = worth[i] / tries[i].max(1) as f32;
        targets[i] = match reading.targets {
            _ if is_end(node) => soft,
            Targets::Soft => soft,
            Targets::Hard => f32::from(u8::from(correct[i] > 0)),
            Targets::Backup | Targets::Td => best[i].unwrap_or(soft),
        };
        let Some(parent) = rows.parents[i] else { continue };
        tries[parent] += tries[i];
        correct[parent] += correct[i];
        worth[parent] += worth[i];
        let said = match reading.targets {
            Targets::Backup => (tries[i] >= reading.min_tries.max(1)).then_some(targets[i]),
            Targets::Td if is_end(node) => (tries[i] > 0).then_some(soft),
            Targets::Td => node.value,
            Targets::Soft | Targets::Hard => None,
        };
        best[parent] = best[parent].into_iter().chain(said).reduce(f32::max);
    }
    targets.into_iter().zip(tries).collect()
}

/// What the verifier says a sampled path is worth, if it does.
fn score((problem, domain): (&Problem, &dyn Domain), rows: &Rows<'_>, end: usize) -> Option<f32> {
    let answer = rows.nodes[end].step.strip_prefix("####").unwrap_or_default().trim();
    domain.score(problem, &rows.steps(&rows.path(end)), answer)
}

fn sampled(of: (&Problem, &dyn Domain), rows: &Rows<'_>, reading: &Reading) -> Vec<Observed> {
    let found = tried(of, rows, reading);
    let mut covered = vec![false; rows.nodes.len()];
    let mut out = Vec::new();
    for leaf in (0..rows.nodes.len()).filter(|i| rows.children[*i].is_empty() && rows.parents[*i].is_some()) {
        let path = rows.path(leaf);
        for (k, node) in path.iter().enumerate() {
            let (target, tries) = found[*node];
            let end = is_end(rows.nodes[*node]);
            let enough = tries >= if end { 1 } else { reading.min_tries.max(1) };
            if std::mem::replace(&mut covered[*node], true) || !enough {
                continue;
            }
            let answer = rows.nodes[*node].step.strip_prefix("####").map(|text| text.trim().to_owned());
            out.push(Observed {
                steps: rows.steps(&path[..=k]),
                answer: answer.filter(|_| end),
                target,
                weight: 1.0,
                tries,
                whole: end,
                path: leaf as u32,
            });
        }
    }
    out
}

fn enumerated(
    problem: &Problem,
    domain: &dyn Domain,
    rows: &Rows<'_>,
    reading: &Reading,
    judge: Option<Judge<'_>>,
) -> Vec<Observed> {
    let count = rows.nodes.len();
    // Correct ends; a path that was found before in another order is as correct.
    let correct = |i: usize| {
        let status = rows.nodes[i].status.as_str();
        let steps = || rows.steps(&rows.path(i));
        (status == "solution" || status == "duplicate" && is_solution(problem, domain, &steps()))
            && judge.is_none_or(|(siblings, least)| siblings.try_on(problem, &steps()).confirmed(least))
    };
    let ends: Vec<bool> = (0..count).map(correct).collect();
    if judge.is_some() && !ends.contains(&true) {
        return Vec::new();
    }
    let mut good = ends.clone();
    for i in rows.upwards() {
        if let (true, Some(parent)) = (good[i], rows.parents[i]) {
            good[parent] = true;
        }
    }
    let mut tries = vec![0; count];
    for i in (0..count).filter(|i| ends[*i]) {
        std::iter::successors(Some(i), |n| rows.parents[*n]).for_each(|n| tries[n] += 1);
    }
    let mut walk = Walk { domain, rows, good: &good, reading, right: Vec::new(), wrong: Vec::new() };
    walk.down(0, &domain.start(problem));
    let (mut right, mut wrong) = (walk.right, walk.wrong);
    for (observed, i) in &mut right {
        observed.tries = tries[*i];
        observed.whole = ends[*i];
    }
    if wrong.len() > reading.most {
        let mut rng = key::rng(&["states".into(), (&problem.problem_id).into()]);
        let scale = wrong.len() as f32 / reading.most as f32;
        wrong.shuffle(&mut rng);
        wrong.truncate(reading.most);
        for observed in &mut wrong {
            observed.weight *= scale;
        }
    }
    right
        .into_iter()
        .map(|(observed, _)| observed)
        .chain(wrong)
        .enumerate()
        .map(|(i, o)| Observed { path: i as u32, ..o })
        .collect()
}

/// The walk over an enumerated tree, with the states that its rows leave out.
struct Walk<'a> {
    domain: &'a dyn Domain,
    rows: &'a Rows<'a>,
    good: &'a [bool],
    reading: &'a Reading,
    right: Vec<(Observed, usize)>,
    wrong: Vec<Observed>,
}

impl Walk<'_> {
    /// Takes up what follows a node; says whether it is certain that nothing correct follows.
    fn down(&mut self, node: usize, state: &State) -> bool {
        if self.rows.nodes[node].expansion_order.is_none() {
            return false;
        }
        let known: HashMap<&str, usize> =
            self.rows.children[node].iter().map(|i| (self.rows.nodes[*i].step.as_str(), *i)).collect();
        let mut hopeless = !self.good[node];
        for step in self.domain.moves(state).unwrap_or_default() {
            let child = known.get(step.text.as_str()).copied();
            let good = child.is_some_and(|i| self.good[i]);
            let certain = match child {
                Some(i) => self.down(i, &step.next) && !good,
                // Ends were judged when they were looked at.
                None => self.domain.ended(&step.next),
            };
            hopeless &= certain;
            let whole = self.domain.answer(&step.next).is_some();
            let observed = |target: f32, weight: f32| Observed {
                steps: step.next.steps.clone(),
                answer: None,
                target,
                weight,
                tries: 1,
                whole,
                path: 0,
            };
            match child.filter(|_| good) {
                Some(i) => self.right.push((observed(1.0, 1.0), i)),
                // Of the states that were merely looked at, those are of interest that had to be told from
                // good ones.
                None if child.is_some() || self.good[node] => {
                    let weight = if certain { 1.0 } else { self.reading.unexplored };
                    if weight > 0.0 {
                        self.wrong.push(observed(0.0, weight));
                    }
                }
                None => {}
            }
        }
        hopeless
    }
}

/// Whether the domain follows some steps to the correct answer.
pub fn is_solution(problem: &Problem, domain: &dyn Domain, steps: &[String]) -> bool {
    let mut state = domain.start(problem);
    for step in steps {
        match domain.follow(&state, step) {
            Some(next) => state = next,
            None => return false,
        }
    }
    domain
        .answer(&state)
        .is_some_and(|answer| domain.verify(problem, steps, &answer).verdict == Verdict::Correct)
}

#[cfg(test)]
mod tests;
