//! `nodes`: what a search explored.

use super::column::table;

/// A node of a search tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub problem_id: String,
    /// Name of the tree; a problem may be searched more than once.
    pub tree_id: String,
    /// Number within the tree; the root is 0.
    pub node_id: u32,
    /// None for the root.
    pub parent_id: Option<u32>,
    /// Steps from the root.
    pub depth: u32,
    /// The step that leads here from the parent; empty for the root.
    pub step: String,
    /// Natural log of the policy's probability of the step.
    pub logprob: Option<f32>,
    /// The policy's probability of the step among its siblings.
    pub prior: Option<f32>,
    /// Estimated probability that the state leads to a correct answer, when it was first seen.
    pub value: Option<f32>,
    /// The same after the search, backed up from below.
    pub q: Option<f32>,
    /// How often the search went through the node.
    pub visits: u32,
    /// `open` (not looked into), `expanded`, `solution`, `wrong` (a whole path that is not correct),
    /// `undecided` (one that cannot be judged), `dead` (nothing can follow), `duplicate` (of a state or
    /// solution that was there), `pruned` (its value is below the threshold) or `false` (its step is).
    pub status: String,
    /// Tokens generated for the step.
    pub tokens: u32,
    /// When it was expanded, counted from 0; none if it never was.
    pub expansion_order: Option<u32>,
}

table! {
    Node, "nodes", version 2, "a node of a search tree",
    {
        problem_id: "the problem that was searched",
        tree_id: "name of the tree; a problem may have several",
        node_id: "number within the tree; the root is 0",
        parent_id: "node_id of the parent; null for the root",
        depth: "steps from the root",
        step: "the step that leads here from the parent; empty for the root",
        logprob: "natural log of the policy's probability of the step; null if it gave none",
        prior: "the policy's probability of the step among its siblings; null if it gave none",
        value: "estimated probability that the state leads to a correct answer, when first seen",
        q: "the same after the search, backed up from the nodes below; null if not estimated",
        visits: "number of visits by the search",
        status: "open, expanded, solution, wrong, undecided, dead, duplicate, pruned or false",
        tokens: "tokens generated for the step",
        expansion_order: "order of expansion, from 0; null if never expanded",
    }
}

/// What a node says of the cost of its search: the same table, read by few of its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeCost {
    pub problem_id: String,
    pub status: String,
    /// Tokens generated for the step.
    pub tokens: u32,
    /// When it was expanded; none if it never was.
    pub expansion_order: Option<u32>,
}

table! {
    NodeCost, "nodes", version 2, "what a node of a search tree says of the cost of its search",
    {
        problem_id: "the problem that was searched",
        status: "open, expanded, solution, wrong, undecided, dead, duplicate, pruned or false",
        tokens: "tokens generated for the step",
        expansion_order: "order of expansion, from 0; null if never expanded",
    }
}
