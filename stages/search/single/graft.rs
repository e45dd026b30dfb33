//! Solutions that transpositions hold: a path to a state that was there already goes on as the paths from
//! there.

use std::collections::{HashMap, VecDeque};

use super::super::tree::{Item, NONE, Status};
use super::{Search, is_correct};

/// Paths over duplicates that are looked at for each solution that is wanted.
const WAYS: usize = 64;

impl Search<'_> {
    /// Further solutions that transpositions hold: a path to a duplicate goes on as the path from the state
    /// that it repeats. Of every path that ends right, states are replaced by their duplicates from the end
    /// to the beginning, so no way comes twice.
    pub(super) fn other_ways(&mut self) -> Vec<u32> {
        let wanted = self.plan.tree.solutions;
        let nodes = 0..self.tree.items.len() as u32;
        let mut ways: HashMap<u32, Vec<u32>> = HashMap::new();
        for node in nodes.clone().filter(|node| self.tree.get(*node).same != NONE) {
            ways.entry(self.tree.get(node).same).or_default().push(node);
        }
        let mut right = std::mem::take(&mut self.solutions);
        right.extend(nodes.filter(|node| {
            self.tree.get(*node).status == Status::Duplicate && self.tree.get(*node).same == NONE
        }));
        // Below a state that was re-opened paths are no longer what they were when they were found.
        self.paths.clear();
        for node in &right {
            let new = self.paths.insert(self.domain.path(&self.tree.steps(*node)));
            self.tree.at(*node).status = if new { Status::Solution } else { Status::Duplicate };
            self.solutions.extend(Some(*node).filter(|_| new));
        }
        let mut grafted = Vec::new();
        let mut left = wanted.saturating_mul(WAYS);
        // Paths, and how many of their first states may be replaced.
        let mut paths: VecDeque<(Vec<u32>, usize)> =
            right.iter().map(|node| self.tree.path(*node)).map(|path| (path.clone(), path.len())).collect();
        while let Some((path, free)) = paths.pop_front() {
            for (at, state) in path[..free].iter().enumerate() {
                for other in ways.get(state).into_iter().flatten() {
                    if self.solutions.len() >= wanted || left == 0 {
                        return grafted;
                    }
                    left -= 1;
                    grafted.extend(self.graft(*other, &path[at + 1..]));
                    let mut way = self.tree.path(*other);
                    let free = way.len() - 1;
                    way.extend(&path[at + 1..]);
                    paths.push_back((way, free));
                }
            }
        }
        grafted
    }

    /// Copies the rest of a solution below a duplicate state, if that is a solution that is not known.
    fn graft(&mut self, from: u32, rest: &[u32]) -> Option<u32> {
        let mut steps = self.tree.steps(from);
        steps.extend(
            rest.iter().map(|n| self.tree.get(*n)).filter(|item| !item.end).map(|item| item.step.clone()),
        );
        let last = rest.last().copied();
        let answer = last.and_then(|n| self.tree.get(n).answer.clone())?;
        let good = steps.len() <= self.plan.tree.depth as usize
            && is_correct(self.problem, self.domain, &steps, &answer);
        if !good || !self.paths.insert(self.domain.path(&steps)) {
            return None;
        }
        let mut at = from;
        for node in rest {
            let like = self.tree.get(*node).clone();
            let depth = self.tree.get(at).depth + 1;
            let (status, same) = match like.same {
                _ if Some(*node) == last => (Status::Solution, NONE),
                NONE => (Status::Duplicate, *node),
                same => (Status::Duplicate, same),
            };
            at = self.tree.add(Item {
                status,
                same,
                logprob: like.logprob,
                prior: like.prior,
                value: like.value,
                answer: like.answer,
                end: like.end,
                ..Item::child(at, depth, like.step, like.state.map(|state| *state))
            });
        }
        self.solutions.push(at);
        Some(at)
    }
}
