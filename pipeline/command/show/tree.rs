//! A search tree as indented lines, its figures in columns before them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::sheet::NodeSheet;
use crate::terminal::look::Look;
use crate::terminal::text;

/// Least room for the text of a step, however deep it stands.
const ROOM: usize = 16;

/// The tree with at most `most` nodes (0 for all), a line each, with a header.
pub fn lines(nodes: &[NodeSheet], most: usize, look: Look) -> Vec<String> {
    let tree = Tree::of(nodes);
    let shown = tree.chosen(most);
    let columns = Columns::of(nodes);
    let mut lines = vec![look.dim(&format!("{}status      step", columns.header()))];
    // Depth first, children in the order of their numbers; each with the bars of its ancestors.
    let mut open: Vec<(usize, String, &str, &str)> =
        tree.roots.iter().rev().map(|root| (*root, String::new(), "", "")).collect();
    while let Some((at, bars, branch, below)) = open.pop() {
        let node = &nodes[at];
        let room =
            look.width.saturating_sub(columns.header().len() + 12 + bars.chars().count() + 2).max(ROOM);
        let step = if node.parent_id.is_none() { "(start)" } else { node.step.as_str() };
        let why = if node.why.is_empty() || node.status == "open" {
            String::new()
        } else {
            look.dim(&format!(" ({})", node.why))
        };
        let on_path = tree.good.contains(&at);
        let step = text::brief(step, room);
        let step = if on_path { look.bold(&step) } else { step };
        let status = format!("{:<10}", node.status);
        let status = match node.status.as_str() {
            "solution" => look.green(&status),
            "wrong" | "false" | "pruned" => look.red(&status),
            _ => status,
        };
        let mark = if on_path { "*" } else { " " };
        lines.push(format!("{}{status}{mark} {bars}{branch}{step}{why}", columns.row(node)));
        let inner = format!("{bars}{below}");
        let children = tree.children.get(&node.node_id).map_or(&[][..], Vec::as_slice);
        let seen: Vec<usize> = children.iter().copied().filter(|child| shown.contains(child)).collect();
        let rest = tree.hidden_below(at, &shown);
        // What is left out stands above the children that are shown, as it needs no place in the stack.
        let branch = if seen.is_empty() { "└" } else { "├" };
        lines.extend(
            rest.map(|rest| look.dim(&format!("{}{:12}{inner}{branch} … {rest}", columns.blank(), ""))),
        );
        let last = seen.len();
        for (place, child) in seen.into_iter().enumerate().rev() {
            let (branch, below) = if place + 1 == last { ("└ ", "  ") } else { ("├ ", "│ ") };
            open.push((child, inner.clone(), branch, below));
        }
    }
    if tree.loose > 0 {
        lines.push(
            look.dim(&format!("{} have no parent in the table", text::plural(tree.loose as u64, "node"))),
        );
    }
    lines
}

/// The places of at most `most` nodes (0 for all) that say most of a tree, in order: paths to solutions
/// first, then what was visited most, each with its ancestors. Nodes that no root leads to are left out.
pub fn chosen(nodes: &[NodeSheet], most: usize) -> Vec<usize> {
    let tree = Tree::of(nodes);
    let shown = tree.chosen(most);
    let mut open = tree.roots.clone();
    let mut places = Vec::new();
    while let Some(at) = open.pop() {
        places.push(at);
        let children = tree.children.get(&nodes[at].node_id);
        open.extend(children.into_iter().flatten().filter(|child| shown.contains(child)));
    }
    places.sort_unstable();
    places
}

/// Nodes by their parents.
struct Tree<'a> {
    nodes: &'a [NodeSheet],
    /// Places of nodes by their number.
    places: HashMap<u32, usize>,
    roots: Vec<usize>,
    children: HashMap<u32, Vec<usize>>,
    /// Places on a path to a solution.
    good: HashSet<usize>,
    /// Nodes that no root leads to.
    loose: usize,
}

impl<'a> Tree<'a> {
    fn of(nodes: &'a [NodeSheet]) -> Self {
        let places: HashMap<u32, usize> = nodes.iter().enumerate().map(|(at, n)| (n.node_id, at)).collect();
        let mut tree = Self {
            nodes,
            places,
            roots: Vec::new(),
            children: HashMap::new(),
            good: HashSet::new(),
            loose: 0,
        };
        for (at, node) in nodes.iter().enumerate() {
            match node.parent_id {
                None => tree.roots.push(at),
                // Nodes are numbered as they were looked at, so a child has a higher number than its parent.
                Some(parent) if parent < node.node_id && tree.places.contains_key(&parent) => {
                    tree.children.entry(parent).or_default().push(at);
                }
                Some(_) => tree.loose += 1,
            }
        }
        for (at, _) in nodes.iter().enumerate().filter(|(_, node)| node.status == "solution") {
            tree.good.extend(tree.path(at));
        }
        tree
    }

    /// A place and those above it.
    fn path(&self, at: usize) -> Vec<usize> {
        let mut path = vec![at];
        let mut node = &self.nodes[at];
        while let Some(parent) = node.parent_id.filter(|parent| *parent < node.node_id) {
            let Some(place) = self.places.get(&parent) else { break };
            path.push(*place);
            node = &self.nodes[*place];
        }
        path
    }

    /// The places to show: paths to solutions first, then what was visited most, each with its ancestors.
    fn chosen(&self, most: usize) -> HashSet<usize> {
        if most == 0 || most >= self.nodes.len() {
            return (0..self.nodes.len()).collect();
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|at| {
            let node = &self.nodes[*at];
            let solution = node.status == "solution";
            (
                !solution,
                std::cmp::Reverse(node.visits),
                node.expansion_order.unwrap_or(u32::MAX),
                node.node_id,
            )
        });
        let mut shown: HashSet<usize> = self.roots.iter().copied().collect();
        for at in order {
            let new: Vec<usize> = self.path(at).into_iter().filter(|place| !shown.contains(place)).collect();
            if shown.len() + new.len() <= most {
                shown.extend(new);
            }
        }
        shown
    }

    /// How many nodes below a shown one are not shown, nearer to it than to any other that is, by status.
    fn hidden_below(&self, at: usize, shown: &HashSet<usize>) -> Option<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut open = vec![at];
        while let Some(place) = open.pop() {
            let children = self.children.get(&self.nodes[place].node_id);
            for child in children.into_iter().flatten().filter(|child| !shown.contains(child)) {
                *counts.entry(&self.nodes[*child].status).or_default() += 1;
                open.push(*child);
            }
        }
        if counts.is_empty() {
            return None;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let total: usize = counts.iter().map(|(_, count)| count).sum();
        let parts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
        Some(format!("{total} more: {}", parts.join(", ")))
    }
}

/// The figures of nodes by name, with their widths; the first is always there.
const FIGURES: [(&str, usize); 6] =
    [("visits", 6), ("Q", 5), ("value", 5), ("prior", 5), ("order", 5), ("tokens", 6)];

/// Which figures a tree has: a column that no node fills is left out.
struct Columns([bool; 6]);

impl Columns {
    fn of(nodes: &[NodeSheet]) -> Self {
        let any = |has: fn(&NodeSheet) -> bool| nodes.iter().any(has);
        Self([
            true,
            any(|node| node.q.is_some()),
            any(|node| node.value.is_some()),
            any(|node| node.prior.is_some()),
            any(|node| node.expansion_order.is_some()),
            any(|node| node.tokens > 0),
        ])
    }

    fn cells(&self, cells: [String; 6]) -> String {
        let has = cells.into_iter().zip(FIGURES).zip(self.0).filter(|(_, has)| *has);
        has.map(|((cell, (_, width)), _)| format!("{cell:>width$}  ")).collect()
    }

    fn header(&self) -> String {
        self.cells(FIGURES.map(|(name, _)| name.to_owned()))
    }

    fn blank(&self) -> String {
        " ".repeat(self.header().len())
    }

    fn row(&self, node: &NodeSheet) -> String {
        let share = |number: Option<f32>| number.map_or_else(|| "-".to_owned(), |x| format!("{x:.2}"));
        let order = node.expansion_order.map_or_else(|| "-".to_owned(), |order| order.to_string());
        let (visits, tokens) = (node.visits.to_string(), node.tokens.to_string());
        self.cells([visits, share(node.q), share(node.value), share(node.prior), order, tokens])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { width: 100, colour: false };

    fn node(id: u32, parent: Option<u32>, status: &str, visits: u32) -> NodeSheet {
        NodeSheet {
            node_id: id,
            parent_id: parent,
            step: format!("step {id}"),
            logprob: None,
            prior: None,
            value: (id == 1).then_some(0.25),
            q: None,
            visits,
            status: status.into(),
            why: if status == "pruned" { "its value is below the threshold" } else { "" },
            tokens: 0,
            expansion_order: None,
        }
    }

    fn sample() -> Vec<NodeSheet> {
        vec![
            node(0, None, "expanded", 9),
            node(1, Some(0), "pruned", 1),
            node(2, Some(0), "expanded", 5),
            node(3, Some(2), "wrong", 1),
            node(4, Some(2), "solution", 1),
            node(5, Some(0), "open", 0),
        ]
    }

    #[test]
    fn a_tree_is_indented_and_its_winning_path_marked() {
        let lines = lines(&sample(), 0, PLAIN);
        let expected = [
            "visits  value  status      step",
            "     9      -  expanded  * (start)",
            "     1   0.25  pruned      ├ step 1 (its value is below the threshold)",
            "     5      -  expanded  * ├ step 2",
            "     1      -  wrong       │ ├ step 3",
            "     1      -  solution  * │ └ step 4",
            "     0      -  open        └ step 5",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let lines = lines(&sample(), 4, PLAIN);
        assert_eq!(lines.len(), 1 + 4 + 2, "{lines:#?}");
        assert!(lines.iter().any(|line| line.ends_with("└ step 4")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.ends_with("├ … 1 more: 1 open")), "{lines:#?}");
        let total = |line: &String| {
            line.split_once("… ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok())
        };
        assert_eq!(lines.iter().filter_map(total).sum::<usize>(), 2, "{lines:#?}");
    }

    #[test]
    fn a_damaged_tree_ends() {
        let nodes =
            vec![node(0, None, "expanded", 1), node(1, Some(1), "open", 0), node(2, Some(7), "open", 0)];
        let lines = lines(&nodes, 0, PLAIN);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[2].contains("2 nodes have no parent"));
        assert_eq!(super::lines(&[], 0, PLAIN).len(), 1);
    }
}
