//! Search trees for the explorer: some problems, each a block of columns that a browser reads when it is
//! asked for. All texts of a problem stand once, in a list; nodes, steps and answers say their places in it.

use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::to_string;

use super::accounts::{Account, KEPT};
use super::samples::{Asked, shortened};
use crate::command::show::sheet::{FateSheet, NodeSheet, RoundSheet, SolutionSheet, TreeSheet};
use crate::command::show::tree::chosen;
use crate::terminal::text::brief;

/// Most problems in the explorer.
pub const PROBLEMS: usize = 150;
/// Most nodes of a tree.
const NODES: usize = 50_000;
/// Most bytes of all blocks together: the rest of the page is far smaller, and it has to stay below 10 MB.
const BYTES: usize = 6_000_000;

/// What there is to explore.
#[derive(Default, Serialize)]
pub struct Explorer {
    pub problems: Vec<Entry>,
    /// Train problems that were searched.
    pub searched: usize,
    /// Nodes in the page, and of all trees.
    pub nodes: usize,
    pub all_nodes: u64,
    /// By problem; not in the page's facts.
    #[serde(skip)]
    pub blocks: Vec<(String, String)>,
}

/// A problem in the list.
#[derive(Serialize)]
pub struct Entry {
    pub id: String,
    pub question: String,
    pub difficulty: u32,
    pub solved: bool,
    /// `kept`, and the reasons for which solutions of it were dropped.
    pub kinds: Vec<String>,
    pub solutions: u32,
    pub expansions: u32,
    pub tokens: u64,
}

impl Explorer {
    /// Adds a problem, unless the page would be too large.
    ///
    /// # Errors
    /// None that is known: numbers and texts always are JSON.
    pub fn add(&mut self, id: &str, of: &Account, asked: &Asked, rounds: &[RoundSheet]) -> Result<()> {
        let (question, answer, difficulty) = asked;
        let mut texts = Texts::default();
        let rounds: Vec<Searched> = rounds.iter().map(|round| texts.round(round)).collect();
        let nodes: usize = rounds.iter().flat_map(|round| &round.trees).map(|tree| tree.parent.len()).sum();
        let (question, answer) = (shortened(question), shortened(answer));
        let short = brief(&question, 140);
        let block = to_string(&Block { question, answer, rounds, texts: texts.list })?;
        let spent: usize = self.blocks.iter().map(|(_, block)| block.len()).sum();
        if nodes == 0 || spent + block.len() > BYTES {
            return Ok(());
        }
        self.nodes += nodes;
        self.blocks.push((id.to_owned(), block));
        self.problems.push(Entry {
            id: id.to_owned(),
            question: short,
            difficulty: *difficulty,
            solved: of.correct > 0,
            kinds: of.kinds.iter().cloned().collect(),
            solutions: of.solutions,
            expansions: of.expansions,
            tokens: of.tokens,
        });
        Ok(())
    }
}

#[derive(Serialize)]
struct Block {
    question: String,
    answer: String,
    rounds: Vec<Searched>,
    texts: Vec<String>,
}

#[derive(Serialize)]
struct Searched {
    round: u32,
    trees: Vec<Tree>,
    solutions: Vec<Path>,
}

/// A column for each figure, a cell for each node; columns in which no node says anything are left out.
#[derive(Serialize)]
struct Tree {
    name: String,
    /// Nodes that the search made; fewer may be here.
    total: usize,
    /// Place of the parent in these columns, which is before its own; -1 for a root.
    parent: Vec<i64>,
    /// Places of step and status among the texts.
    step: Vec<usize>,
    status: Vec<usize>,
    visits: Vec<u32>,
    #[serde(skip_serializing_if = "silent")]
    value: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "silent")]
    q: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "silent")]
    prior: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "silent")]
    order: Vec<Option<u32>>,
    #[serde(skip_serializing_if = "silent")]
    tokens: Vec<Option<u32>>,
}

/// A solution.
#[derive(Serialize)]
struct Path {
    id: String,
    steps: Vec<usize>,
    answer: usize,
    found_by: usize,
    /// `kept`, a reason, or empty while it is not curated.
    fate: usize,
    /// Evidence and faults.
    why: Vec<usize>,
}

fn silent<T>(column: &[Option<T>]) -> bool {
    column.iter().all(Option::is_none)
}

/// Three decimals: what is shown.
fn known(x: Option<f32>) -> Option<f64> {
    x.filter(|x| x.is_finite()).map(|x| (f64::from(x) * 1000.0).round() / 1000.0)
}

/// Texts, each once.
#[derive(Default)]
struct Texts {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        self.list.push(shortened(text));
        self.places.insert(text.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn round(&mut self, sheet: &RoundSheet) -> Searched {
        let trees = sheet.trees.iter().map(|tree| self.tree(tree)).collect();
        let solutions = sheet.solutions.iter().map(|solution| self.path(solution)).collect();
        Searched { round: sheet.round, trees, solutions }
    }

    fn tree(&mut self, sheet: &TreeSheet) -> Tree {
        let shown = chosen(&sheet.nodes, NODES);
        let places: HashMap<u32, i64> =
            shown.iter().zip(0..).map(|(at, place)| (sheet.nodes[*at].node_id, place)).collect();
        let nodes: Vec<&NodeSheet> = shown.iter().map(|at| &sheet.nodes[*at]).collect();
        let parent = |node: &&NodeSheet| node.parent_id.and_then(|id| places.get(&id)).copied().unwrap_or(-1);
        let column = |of: &dyn Fn(&NodeSheet) -> Option<f64>| nodes.iter().map(|node| of(node)).collect();
        Tree {
            name: sheet.tree_id.clone(),
            total: sheet.nodes.len(),
            parent: nodes.iter().map(parent).collect(),
            step: nodes.iter().map(|node| self.place(&node.step)).collect(),
            status: nodes.iter().map(|node| self.place(&node.status)).collect(),
            visits: nodes.iter().map(|node| node.visits).collect(),
            value: column(&|node| known(node.value)),
            q: column(&|node| known(node.q)),
            prior: column(&|node| known(node.prior)),
            order: nodes.iter().map(|node| node.expansion_order).collect(),
            tokens: nodes.iter().map(|node| Some(node.tokens).filter(|tokens| *tokens > 0)).collect(),
        }
    }

    fn path(&mut self, sheet: &SolutionSheet) -> Path {
        let (fate, evidence) = match &sheet.fate {
            FateSheet::Kept { .. } => (KEPT, ""),
            FateSheet::Dropped { reason, evidence } => (reason.as_str(), evidence.as_str()),
            FateSheet::NotCurated => ("", ""),
        };
        let faults = sheet.steps.iter().flat_map(|step| &step.faults).chain(&sheet.faults);
        let why = faults.map(String::as_str).chain([evidence]).filter(|text| !text.is_empty());
        Path {
            id: sheet.solution_id.clone(),
            steps: sheet.steps.iter().map(|step| self.place(&step.text)).collect(),
            answer: self.place(&sheet.final_answer),
            found_by: self.place(&format!("{}, {}", sheet.policy, sheet.algorithm)),
            fate: self.place(fate),
            why: why.map(|text| self.place(text)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, parent: Option<u32>, step: &str) -> NodeSheet {
        NodeSheet {
            node_id: id,
            parent_id: parent,
            step: step.into(),
            logprob: None,
            prior: None,
            value: (id == 2).then_some(0.123_456),
            q: None,
            visits: 1,
            status: if id == 2 { "solution" } else { "expanded" }.into(),
            why: "",
            tokens: 0,
            expansion_order: Some(id),
        }
    }

    #[test]
    fn parents_stand_before_their_children() {
        let nodes =
            vec![node(0, None, ""), node(1, Some(0), "a"), node(2, Some(1), "a"), node(7, Some(9), "b")];
        let mut texts = Texts::default();
        let tree = texts.tree(&TreeSheet { tree_id: "t".into(), nodes });
        assert_eq!(tree.parent, [-1, 0, 1], "a node without a parent is left out");
        assert_eq!(tree.total, 4);
        let steps: Vec<&str> = tree.step.iter().map(|place| texts.list[*place].as_str()).collect();
        assert_eq!(steps, ["", "a", "a"]);
        assert_eq!(tree.value, [None, None, Some(0.123)]);
        let json = to_string(&tree).expect("it is JSON");
        assert!(json.contains("\"order\":[0,1,2]") && !json.contains("\"q\""), "{json}");
    }

    #[test]
    fn the_blocks_stay_small() -> Result<()> {
        let long = "x".repeat(3_000);
        let nodes: Vec<NodeSheet> =
            (0..400).map(|n| node(n, n.checked_sub(1), &format!("{n}{long}"))).collect();
        let trees = vec![TreeSheet { tree_id: "t".into(), nodes }];
        let round =
            RoundSheet { round: 1, searched: true, verified: true, curated: true, trees, solutions: vec![] };
        let rounds = [round];
        let mut explorer = Explorer::default();
        for id in 0..9 {
            explorer.add(&id.to_string(), &Account::default(), &Asked::default(), &rounds)?;
        }
        let bytes: usize = explorer.blocks.iter().map(|(_, block)| block.len()).sum();
        assert!((1..9).contains(&explorer.problems.len()) && bytes <= BYTES, "{bytes}");
        Ok(())
    }
}
