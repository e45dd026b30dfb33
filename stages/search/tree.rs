//! A search tree as one array of nodes, each with the index of its parent, its first child and its next
//! sibling.
//!
//! The root is node 0. Nodes are numbered in the order in which they were looked at and never removed, so a
//! tree is its own history, and rows of the table `nodes` are its entries.

use datasets::domain::State;

/// No node.
pub const NONE: u32 = u32::MAX;

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Looked at, and no more.
    Open,
    /// Its next steps were asked for.
    Expanded,
    /// A whole path that is correct.
    Solution,
    /// A whole path that is not.
    Wrong,
    /// A whole path of which the verifier cannot say whether it is.
    Undecided,
    /// Nothing can follow: no legal step, or the path is as long as it may be.
    Dead,
    /// A state or solution that was there already.
    Duplicate,
    /// Its value is below the threshold.
    Pruned,
    /// Its step is false.
    False,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Expanded => "expanded",
            Status::Solution => "solution",
            Status::Wrong => "wrong",
            Status::Undecided => "undecided",
            Status::Dead => "dead",
            Status::Duplicate => "duplicate",
            Status::Pruned => "pruned",
            Status::False => "false",
        }
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct Item {
    pub parent: u32,
    /// Steps from the root.
    pub depth: u32,
    pub first_child: u32,
    pub last_child: u32,
    pub next_sibling: u32,
    pub children: u32,
    /// The step from the parent; the answer line for the end of a sampled path.
    pub step: String,
    /// Natural log of the policy's probability of the step; NaN if it gave none.
    pub logprob: f32,
    /// The policy's probability of the step among its siblings.
    pub prior: f32,
    /// Estimated probability that the state leads to a correct answer; 1 and 0 where it is known.
    pub value: f32,
    pub visits: u32,
    /// Sum of what was backed up through it.
    pub total: f64,
    pub tokens: u32,
    /// How often the policy proposed it.
    pub samples: u32,
    pub status: Status,
    /// When it was expanded, from 0.
    pub order: u32,
    /// The node whose state it repeats.
    pub same: u32,
    /// Where the domain stands, if it follows the steps.
    pub state: Option<Box<State>>,
    /// What the path answers if it ends here.
    pub answer: Option<String>,
    /// Whether the path does end here.
    pub end: bool,
}

impl Item {
    /// The state before the first step.
    pub fn root(state: Option<State>) -> Self {
        Self {
            parent: NONE,
            depth: 0,
            first_child: NONE,
            last_child: NONE,
            next_sibling: NONE,
            children: 0,
            step: String::new(),
            logprob: f32::NAN,
            prior: 1.0,
            value: f32::NAN,
            visits: 0,
            total: 0.0,
            tokens: 0,
            samples: 1,
            status: Status::Open,
            order: NONE,
            same: NONE,
            state: state.map(Box::new),
            answer: None,
            end: false,
        }
    }

    /// A state one step further.
    pub fn child(parent: u32, depth: u32, step: String, state: Option<State>) -> Self {
        Self { parent, depth, step, ..Self::root(state) }
    }

    /// Whether its next steps may still be asked for the first time.
    pub fn is_open(&self) -> bool {
        self.status == Status::Open && !self.end
    }

    /// Mean of what was backed up through it; its own value before the first time.
    pub fn q(&self) -> f64 {
        if self.visits > 0 { self.total / f64::from(self.visits) } else { f64::from(self.value) }
    }
}

/// What an algorithm wants to see of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    pub node: u32,
    pub grow: Grow,
}

/// How a state is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grow {
    /// So many sampled next steps; all legal ones of a policy that enumerates.
    Steps(usize),
    /// So many sampled paths to the end.
    Paths(usize),
}

/// A tree of one problem.
#[derive(Clone, Debug)]
pub struct Tree {
    pub items: Vec<Item>,
    /// Nodes expanded so far.
    pub expanded: u32,
}

impl Tree {
    pub fn new(state: Option<State>) -> Self {
        Self { items: vec![Item::root(state)], expanded: 0 }
    }

    pub fn get(&self, node: u32) -> &Item {
        &self.items[node as usize]
    }

    pub fn at(&mut self, node: u32) -> &mut Item {
        &mut self.items[node as usize]
    }

    /// Adds a child behind its siblings.
    pub fn add(&mut self, item: Item) -> u32 {
        let (node, parent) = (self.items.len() as u32, item.parent);
        self.items.push(item);
        self.link(node, parent);
        node
    }

    /// Puts a node behind the children of its parent.
    fn link(&mut self, node: u32, parent: u32) {
        let owner = self.at(parent);
        let before = std::mem::replace(&mut owner.last_child, node);
        owner.children += 1;
        if before == NONE {
            owner.first_child = node;
        } else {
            self.at(before).next_sibling = node;
        }
    }

    /// Marks a node as expanded, and when, unless it is already.
    pub fn expand(&mut self, node: u32) {
        let item = &mut self.items[node as usize];
        if item.order == NONE {
            item.order = self.expanded;
            self.expanded += 1;
        }
        if item.status == Status::Open {
            item.status = Status::Expanded;
        }
    }

    pub fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.get(node).first_child;
        std::iter::from_fn(move || {
            let child = next;
            if child == NONE {
                return None;
            }
            next = self.get(child).next_sibling;
            Some(child)
        })
    }

    /// Nodes from the root's child down to a node.
    pub fn path(&self, node: u32) -> Vec<u32> {
        let mut path = Vec::with_capacity(self.get(node).depth as usize + 1);
        let mut at = node;
        while self.get(at).parent != NONE {
            path.push(at);
            at = self.get(at).parent;
        }
        path.reverse();
        path
    }

    /// The steps that lead to a node, without an answer line.
    pub fn steps(&self, node: u32) -> Vec<String> {
        self.path(node)
            .into_iter()
            .map(|n| self.get(n))
            .filter(|item| !item.end)
            .map(|item| item.step.clone())
            .collect()
    }

    /// Number of steps that lead to a node, without an answer line.
    pub fn length(&self, node: u32) -> u32 {
        self.get(node).depth - u32::from(self.get(node).end)
    }

    /// Gives a node another parent that lies on a cheaper way. What lies below keeps its place under it;
    /// depths follow.
    pub fn move_under(&mut self, node: u32, parent: u32, step: String) {
        self.unlink(node);
        let shift = i64::from(self.get(parent).depth) + 1 - i64::from(self.get(node).depth);
        let item = self.at(node);
        item.parent = parent;
        item.step = step;
        item.next_sibling = NONE;
        self.link(node, parent);
        for below in self.below(node) {
            let item = self.at(below);
            item.depth = (i64::from(item.depth) + shift).max(0) as u32;
        }
    }

    /// Exchanges the places of two nodes, with what is known of the steps that lead there. What lies below
    /// keeps its place under them.
    pub fn exchange(&mut self, a: u32, b: u32) {
        let ([at_a, at_b], [first, second]) =
            ([a, b].map(|n| self.get(n).parent), [a, b].map(|n| self.get(n).clone()));
        self.move_under(a, at_b, second.step.clone());
        self.move_under(b, at_a, first.step.clone());
        for (node, Item { logprob, prior, tokens, samples, .. }) in [(a, second), (b, first)] {
            let item = self.at(node);
            (item.logprob, item.prior, item.tokens, item.samples) = (logprob, prior, tokens, samples);
        }
    }

    /// A node and all nodes below it.
    pub fn below(&self, node: u32) -> Vec<u32> {
        let mut all = vec![node];
        let mut at = 0;
        while at < all.len() {
            let from = all[at];
            all.extend(self.children(from));
            at += 1;
        }
        all
    }

    fn unlink(&mut self, node: u32) {
        let (parent, next) = (self.get(node).parent, self.get(node).next_sibling);
        let before = self.children(parent).take_while(|child| *child != node).last();
        match before {
            Some(before) => self.at(before).next_sibling = next,
            None => self.at(parent).first_child = next,
        }
        if self.get(parent).last_child == node {
            self.at(parent).last_child = before.unwrap_or(NONE);
        }
        self.at(parent).children -= 1;
    }
}
