//! Stream of search (arXiv 2404.03683): a kept solution written as the search that found it, dead ends and
//! the way back included, for students that search in their own context.
//!
//! A text is a depth-first walk over the search tree of the row's problem and round: a line per step, and a
//! line [`undo`](datasets::answer::UNDO) that takes back the last step. The steps that stand at its end are
//! those of the kept solution, so [`datasets::answer::read_completion`] gives the verifier the same path. All
//! trees of the problem in that round count as one.
//!
//! A *dead end* is a state that the search went into (it was expanded, or is a whole path with another
//! answer) and below which nothing correct was found, nor a state that leads to a correct answer elsewhere in
//! the tree. A step that is false or cannot be read, one that the winning path still takes later, and one
//! that would read as an answer are none: they would teach what is wrong.
//!
//! Whole paths with another answer that rules led to are in no table; they are made again below each state
//! that was expanded, so that a Countdown student reads why a state is given up.
//!
//! Of the dead ends beside the winning path the best are told: those with the highest value, then the highest
//! prior, then those that were expanded first. A state below a dead end can be chosen once that is. How many
//! steps a row tells is drawn by the id of its solution, from none to the most allowed, all as often: a
//! student of texts that never go straight would not either. They stand before the good step of the state
//! where they branch off, in the order of their expansion.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use anyhow::Result;
use datasets::answer::{UNDO, read_marked, split_completion};
use datasets::domain::{Key, State};
use datasets::domains::Domains;
use datasets::table::Node;
use datasets::types::{Kept, Problem, StepCheck, Verdict};
use datasets::{Domain, key};
use rayon::prelude::*;

use crate::value::targets::{is_end, is_solution};

/// A row's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamText {
    pub completion: String,
    /// Steps of dead ends in it.
    pub dead_ends: usize,
}

/// Writes kept rows of one round with at most `most` steps of dead ends each; `nodes` are those of the round.
/// A row whose path no tree has, as that of a repaired sample, keeps its text from there on.
///
/// # Errors
/// A row of a problem that is not among those given, or of a domain that nobody knows.
pub fn tell(
    domains: &Domains,
    problems: &[Problem],
    nodes: &[Node],
    rows: &[&Kept],
    most: usize,
) -> Result<Vec<StreamText>> {
    let known: HashMap<&str, &Problem> = problems.iter().map(|p| (p.problem_id.as_str(), p)).collect();
    let mut trees: HashMap<&str, Vec<&Node>> = HashMap::new();
    for node in nodes {
        trees.entry(&node.problem_id).or_default().push(node);
    }
    let mut by_problem: HashMap<&str, Vec<usize>> = HashMap::new();
    for (i, row) in rows.iter().enumerate() {
        by_problem.entry(&row.problem_id).or_default().push(i);
    }
    let of = |(id, places): (&str, Vec<usize>)| -> Result<Vec<(usize, StreamText)>> {
        let Some(problem) = known.get(id) else {
            bail!("a kept row answers problem {id}, which is not in this run")
        };
        let explored = Explored::new(domains, problem, trees.get(id).map_or(&[], Vec::as_slice))?;
        Ok(places.into_iter().map(|i| (i, explored.tell(rows[i], most))).collect())
    };
    let told: Vec<Vec<(usize, StreamText)>> = by_problem.into_par_iter().map(of).collect::<Result<_>>()?;
    let mut told: Vec<(usize, StreamText)> = told.into_iter().flatten().collect();
    told.sort_by_key(|(i, _)| *i);
    Ok(told.into_iter().map(|(_, told)| told).collect())
}

/// A state of a problem's trees.
#[derive(Default)]
struct StreamState {
    step: String,
    parent: Option<usize>,
    children: Vec<usize>,
    /// Whether a correct path goes through it, or through the same state.
    good: bool,
    /// Whether the search went into it.
    tried: bool,
    /// Whether it saw all that may follow.
    enumerated: bool,
    value: Option<f32>,
    prior: Option<f32>,
    /// When it was expanded first.
    order: Option<u32>,
}

/// What a round's searches saw of a problem: their trees joined by the texts of steps. Place 0 is the start.
struct Explored<'a> {
    problem: &'a Problem,
    domain: &'a dyn Domain,
    places: Vec<StreamState>,
}

impl<'a> Explored<'a> {
    fn new(domains: &'a Domains, problem: &'a Problem, nodes: &[&Node]) -> Result<Self> {
        let Some(domain) = domains.of(problem) else {
            bail!("problem {}: no domain is named `{}`", problem.problem_id, problem.domain)
        };
        let mut explored = Self { problem, domain, places: vec![StreamState::default()] };
        // Parents come before their children: nodes are numbered as they were looked at.
        let mut of_node: HashMap<(&str, u32), usize> = HashMap::new();
        let mut of_step: HashMap<(usize, &str), usize> = HashMap::new();
        let sampled: HashSet<&str> =
            nodes.iter().filter(|node| is_end(node)).map(|node| node.tree_id.as_str()).collect();
        for node in nodes {
            let enumerated = node.expansion_order.is_some() && !sampled.contains(node.tree_id.as_str());
            let Some(parent) = node.parent_id else {
                of_node.insert((&node.tree_id, node.node_id), 0);
                explored.places[0].enumerated |= enumerated;
                continue;
            };
            let Some(&parent) = of_node.get(&(node.tree_id.as_str(), parent)) else { continue };
            let end = is_end(node);
            let at = if end {
                parent
            } else {
                *of_step.entry((parent, &node.step)).or_insert_with(|| explored.add(parent, &node.step))
            };
            if !end {
                of_node.insert((&node.tree_id, node.node_id), at);
            }
            let correct = match node.status.as_str() {
                "solution" => true,
                // A correct path that was found before, or a state that was.
                "duplicate" => end || is_solution(problem, domain, &explored.path(at)),
                _ => false,
            };
            let place = &mut explored.places[at];
            place.good |= correct;
            place.enumerated |= enumerated;
            place.tried |= node.expansion_order.is_some() || matches!(node.status.as_str(), "wrong" | "dead");
            place.value = place.value.or(node.value);
            place.prior = place.prior.or(node.prior);
            place.order = place.order.into_iter().chain(node.expansion_order).min();
        }
        let states = explored.states();
        explored.spread(&states);
        Ok(explored)
    }

    fn add(&mut self, parent: usize, step: &str) -> usize {
        let at = self.places.len();
        self.places.push(StreamState {
            step: step.to_owned(),
            parent: Some(parent),
            ..StreamState::default()
        });
        self.places[parent].children.push(at);
        at
    }

    /// The steps up to a place.
    fn path(&self, place: usize) -> Vec<String> {
        let back = std::iter::successors(Some(place), |at| self.places[*at].parent).filter(|at| *at > 0);
        let mut path: Vec<String> = back.map(|at| self.places[at].step.clone()).collect();
        path.reverse();
        path
    }

    /// Where the domain stands at each place. Adds the whole paths that rules led to: states that nothing can
    /// follow.
    fn states(&mut self) -> Vec<Option<State>> {
        let mut states: Vec<Option<State>> = vec![Some(self.domain.start(self.problem))];
        for place in &self.places[1..] {
            let before = place.parent.and_then(|parent| states[parent].as_ref());
            states.push(before.and_then(|state| self.domain.follow(state, &place.step)));
        }
        for at in (0..self.places.len()).filter(|at| self.places[*at].enumerated).collect::<Vec<_>>() {
            let moves = states[at].as_ref().and_then(|state| self.domain.moves(state)).unwrap_or_default();
            for step in moves.into_iter().filter(|step| self.domain.ended(&step.next)) {
                if self.next(at, &step.text).is_none() {
                    let leaf = self.add(at, &step.text);
                    let answer = self.domain.answer(&step.next).unwrap_or_default();
                    let correct = self.domain.verify(self.problem, &step.next.steps, &answer).verdict
                        == Verdict::Correct;
                    let order = self.places[at].order;
                    self.places[leaf] = StreamState {
                        good: correct,
                        tried: true,
                        order,
                        ..std::mem::take(&mut self.places[leaf])
                    };
                    states.push(Some(step.next));
                }
            }
        }
        states
    }

    /// What leads to a good state is good, and so is a state that equals a good one, whatever order its steps
    /// came in.
    fn spread(&mut self, states: &[Option<State>]) {
        let keys: Vec<Option<Key>> =
            states.iter().map(|state| state.as_ref().map(|state| self.domain.key(state))).collect();
        loop {
            for at in (1..self.places.len()).rev() {
                if let (true, Some(parent)) = (self.places[at].good, self.places[at].parent) {
                    self.places[parent].good = true;
                }
            }
            let good: HashSet<&Key> = keys
                .iter()
                .zip(&self.places)
                .filter(|(_, place)| place.good)
                .filter_map(|(k, _)| k.as_ref())
                .collect();
            let same = |at: &usize| {
                !self.places[*at].good && keys[*at].as_ref().is_some_and(|key| good.contains(key))
            };
            let new: Vec<usize> = (0..self.places.len()).filter(same).collect();
            if new.is_empty() {
                return;
            }
            for at in new {
                self.places[at].good = true;
            }
        }
    }

    /// A row as the search that found it.
    fn tell(&self, row: &Kept, most: usize) -> StreamText {
        let plain = StreamText { completion: row.completion.clone(), dead_ends: 0 };
        let (steps, answer) = split_completion(&row.completion);
        let path: String = steps.iter().map(|step| format!("{step}\n")).collect();
        let Some(end) = row.completion.strip_prefix(&path) else { return plain };
        let share = key::unit(&["dead ends".into(), (&row.solution_id).into()]);
        let chosen = self.choose(&steps, (share * (most + 1) as f64) as usize);
        let (mut lines, mut at) = (Vec::new(), Some(0));
        for step in &steps {
            if let Some(place) = at {
                self.walk(place, &chosen, &mut lines);
                at = self.next(place, step);
            }
            lines.push(step.as_str());
        }
        lines.push(end);
        let told = lines.join("\n");
        // No step of a dead end may change what is read.
        if split_completion(&told) == (steps, answer) {
            StreamText { completion: told, dead_ends: chosen.len() }
        } else {
            plain
        }
    }

    /// The place that a step leads to.
    fn next(&self, place: usize, step: &str) -> Option<usize> {
        self.places[place].children.iter().copied().find(|child| self.places[*child].step == step)
    }

    /// The dead ends that a path tells.
    fn choose(&self, steps: &[String], most: usize) -> HashSet<usize> {
        let mut chosen = HashSet::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut at = Some(0);
        for (depth, step) in steps.iter().enumerate() {
            let Some(place) = at else { break };
            open.extend(self.places[place].children.iter().map(|child| (*child, depth)));
            at = self.next(place, step);
        }
        // `depth`: how many steps of the winning path stand where a dead end leaves it.
        while chosen.len() < most {
            let best = (0..open.len()).min_by(|a, b| self.compare(open[*a].0, open[*b].0));
            let Some((place, depth)) = best.map(|best| open.swap_remove(best)) else { break };
            if self.is_dead_end(place, &steps[depth..]) {
                chosen.insert(place);
                open.extend(self.places[place].children.iter().map(|child| (*child, depth)));
            }
        }
        chosen
    }

    /// The better first.
    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (x, y) = (&self.places[a], &self.places[b]);
        let highest = |x: Option<f32>, y: Option<f32>| y.unwrap_or(0.0).total_cmp(&x.unwrap_or(0.0));
        highest(x.value, y.value).then(highest(x.prior, y.prior)).then(self.by_order(a, b))
    }

    /// What was expanded earlier first (a whole path with its parent), then what was not expanded.
    fn by_order(&self, a: usize, b: usize) -> Ordering {
        let key = |at: usize| (self.places[at].order.unwrap_or(u32::MAX), at);
        key(a).cmp(&key(b))
    }

    /// Whether a place, whose parent is told, may be told as a dead end of a path that goes on with `rest`.
    fn is_dead_end(&self, at: usize, rest: &[String]) -> bool {
        let place = &self.places[at];
        if place.good || !place.tried || rest.contains(&place.step) {
            return false;
        }
        let read = read_marked(&place.step);
        if read.lines != [place.step.as_str()] || read.steps.is_empty() || !read.answer.is_empty() {
            return false;
        }
        let earlier = self.path(place.parent.unwrap_or(0));
        matches!(
            self.domain.check_step(self.problem, &earlier, &place.step),
            StepCheck::True | StepCheck::Rounded | StepCheck::Prose
        )
    }

    /// Writes the chosen dead ends below a place, each with its way back.
    fn walk<'b>(&'b self, place: usize, chosen: &HashSet<usize>, lines: &mut Vec<&'b str>) {
        let mut children: Vec<usize> =
            self.places[place].children.iter().copied().filter(|child| chosen.contains(child)).collect();
        children.sort_by(|a, b| self.by_order(*a, *b));
        for child in children {
            lines.push(&self.places[child].step);
            self.walk(child, chosen, lines);
            lines.push(UNDO);
        }
    }
}
