//! What a policy proposes, taken up into the tree of a problem: enumerated steps, sampled steps and sampled
//! paths, each judged where a search is told what is correct.

use anyhow::{Context, Result};
use datasets::types::{StepCheck, Verdict};

use super::super::tree::{Item, Status, Want};
use super::{Search, Searcher, ended, is_correct};
use crate::policy::Proposal;

impl Search<'_> {
    /// All legal next steps of a state.
    pub(in crate::search) fn enumerate(&mut self, want: Want) -> Result<Vec<u32>> {
        let parent = self.tree.get(want.node);
        let depth = parent.depth + 1;
        let name = self.domain.name();
        let state = parent.state.as_deref().with_context(|| format!("a state of `{name}` is lost"))?;
        let moves = self
            .domain
            .moves(state)
            .with_context(|| format!("the domain `{name}` has no rules to enumerate"))?;
        self.tree.expand(want.node);
        self.spent.expansions += 1;
        self.spent.calls += 1;
        let prior = 1.0 / moves.len().max(1) as f32;
        // Best-of-N sees the step that it draws, and no further.
        let ahead = !matches!(self.searcher, Searcher::BestOfN(_));
        let most = self.plan.tree.depth;
        let mut nodes = Vec::with_capacity(moves.len());
        for step in moves {
            let least = self.domain.least_steps(&step.next) as u32;
            if depth + least > most {
                continue;
            }
            let other = self.gold.zip(step.value).is_some_and(|(gold, value)| gold != value);
            let hopeless = ahead && self.verified() && other;
            let answer = if hopeless { None } else { self.domain.answer(&step.next) };
            let node = self.tree.add(Item {
                prior,
                logprob: prior.ln(),
                answer,
                ..Item::child(want.node, depth, step.text, Some(step.next))
            });
            self.spent.nodes += 1;
            if ahead {
                self.judge(node);
            }
            let ended = |state| self.domain.ended(state);
            let last = depth == most || self.tree.get(node).state.as_deref().is_some_and(ended);
            if last && self.tree.get(node).status == Status::Open {
                self.tree.at(node).status = Status::Dead;
            }
            self.admit(node);
            nodes.push(node);
        }
        if self.tree.get(want.node).children == 0 && !self.tree.get(want.node).end {
            self.tree.at(want.node).status = Status::Dead;
        }
        Ok(nodes)
    }

    /// Lets the algorithm recognise a state that is there already.
    fn admit(&mut self, node: u32) {
        if let Searcher::AStar(search) = &mut self.searcher
            && !search.admit(&mut self.tree, node, self.domain, &self.plan.tree)
        {
            self.spent.duplicates += 1;
        }
    }

    /// What the verifier says of a path that may end here; only where the search is told.
    fn judge(&mut self, node: u32) {
        let Some(answer) = self.tree.get(node).answer.as_ref().filter(|_| self.verified()) else { return };
        let steps = self.tree.steps(node);
        let verdict = self.domain.verify(self.problem, &steps, answer).verdict;
        let status = if verdict != Verdict::Correct {
            // A path of rules may go on.
            if self.tree.get(node).end { ended(verdict) } else { return }
        } else if self
            .plan
            .siblings
            .as_ref()
            .is_some_and(|(all, least)| !all.try_on(self.problem, &steps).confirmed(*least))
        {
            // Right by chance, as far as siblings tell; a longer path may be right.
            return;
        } else if self.paths.insert(self.domain.path(&steps)) {
            self.solutions.push(node);
            Status::Solution
        } else {
            Status::Duplicate
        };
        self.tree.at(node).status = status;
    }

    /// Next steps that a policy sampled at a node.
    pub(in crate::search) fn add_steps(&mut self, want: Want, proposals: Vec<Proposal>) -> Vec<u32> {
        self.tree.expand(want.node);
        self.spent.expansions += 1;
        let mut nodes = Vec::new();
        for proposal in proposals {
            let (node, new) = match proposal.steps.into_iter().next() {
                Some(step) => self.add_step(want.node, step.text, step.logprob, proposal.tokens),
                None => self.add_end(want.node, proposal.final_answer, proposal.tokens),
            };
            if new {
                nodes.push(node);
            } else {
                self.spent.duplicates += 1;
            }
        }
        self.weigh_siblings(want.node);
        for node in &nodes {
            self.admit(*node);
        }
        nodes
    }

    /// Whole paths that a policy sampled at the root.
    pub(in crate::search) fn add_paths(&mut self, proposals: Vec<Proposal>) -> Vec<u32> {
        let mut nodes = Vec::new();
        for proposal in proposals {
            let mut at = 0;
            self.tree.at(0).visits += 1;
            let stepped: u32 = proposal.steps.iter().map(|s| s.tokens).sum();
            for step in &proposal.steps {
                self.tree.expand(at);
                let (node, new) = self.add_step(at, step.text.clone(), step.logprob, step.tokens);
                if new {
                    nodes.push(node);
                } else {
                    self.spent.duplicates += 1;
                }
                self.weigh_siblings(at);
                self.spent.expansions += 1;
                self.tree.at(node).visits += 1;
                at = node;
            }
            self.tree.expand(at);
            let (end, new) =
                self.add_end(at, proposal.final_answer.clone(), proposal.tokens.saturating_sub(stepped));
            self.tree.at(end).visits += 1;
            if new {
                nodes.push(end);
            } else {
                self.spent.duplicates += 1;
            }
            if let Searcher::BestOfN(search) = &mut self.searcher {
                search.ends.push(end);
                if search.asks_verdicts() {
                    let steps = self.tree.steps(end);
                    if is_correct(self.problem, self.domain, &steps, &proposal.final_answer) {
                        search.correct(self.domain.path(&steps));
                    }
                }
            }
            self.samples.push(proposal);
        }
        nodes
    }

    /// A child with this step, and whether it is new.
    fn add_step(&mut self, parent: u32, text: String, logprob: f32, tokens: u32) -> (u32, bool) {
        self.spent.nodes += 1;
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        let key = squeezed(&text);
        let same = self
            .tree
            .children(parent)
            .find(|c| !self.tree.get(*c).end && squeezed(&self.tree.get(*c).step) == key);
        if let Some(node) = same {
            return (self.again(node, tokens), false);
        }
        let depth = self.tree.get(parent).depth + 1;
        let state = self.tree.get(parent).state.as_deref().and_then(|state| self.domain.follow(state, &text));
        let status = if matches!(self.searcher, Searcher::BestOfN(_)) {
            // Whole paths are judged as such.
            Status::Open
        } else if self.domain.check_step(self.problem, &self.tree.steps(parent), &text) == StepCheck::False {
            Status::False
        } else if depth >= self.plan.tree.depth {
            Status::Dead
        } else {
            Status::Open
        };
        let node = self.tree.add(Item { logprob, tokens, status, ..Item::child(parent, depth, text, state) });
        (node, true)
    }

    /// A child that ends the path, with its answer (empty for none), and whether it is new.
    fn add_end(&mut self, parent: u32, answer: String, tokens: u32) -> (u32, bool) {
        self.spent.nodes += 1;
        let same = self.tree.children(parent).find(|c| {
            let item = self.tree.get(*c);
            item.end && item.answer.as_deref().unwrap_or_default() == answer
        });
        if let Some(node) = same {
            return (self.again(node, tokens), false);
        }
        let depth = self.tree.get(parent).depth + 1;
        let line = if answer.is_empty() { String::new() } else { format!("#### {answer}") };
        let judged = !answer.is_empty() || !self.domain.needs_answer();
        let status = if judged { Status::Open } else { Status::Wrong };
        let answer = Some(answer).filter(|_| judged);
        let node = self.tree.add(Item {
            tokens,
            status,
            answer,
            end: true,
            ..Item::child(parent, depth, line, None)
        });
        self.judge(node);
        (node, true)
    }

    /// A child that was proposed once more.
    fn again(&mut self, node: u32, tokens: u32) -> u32 {
        let item = self.tree.at(node);
        item.samples += 1;
        item.tokens += tokens;
        node
    }

    /// Priors among siblings: their probabilities under the policy, or how often it proposed them where it
    /// gives none.
    fn weigh_siblings(&mut self, parent: u32) {
        let children: Vec<u32> = self.tree.children(parent).collect();
        let known = children.iter().all(|c| self.tree.get(*c).logprob.is_finite());
        let weight = |item: &Item| {
            if known { f64::from(item.logprob).exp().max(1e-30) } else { f64::from(item.samples) }
        };
        let sum: f64 = children.iter().map(|c| weight(self.tree.get(*c))).sum();
        for child in children {
            let item = self.tree.at(child);
            item.prior = (weight(item) / sum) as f32;
        }
    }
}
