//! Duplicates and choice: which of a problem's correct solutions are the same, and which of the distinct ones
//! stay.
//!
//! Likelihood has no part in it: choosing by it entrenches what a policy does anyway. More votes come first,
//! because of several ways to an answer the one that was found again and again is the least likely to be
//! right by chance.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use datasets::agreement::classes;
use datasets::expr::{canonical_path, equations};
use datasets::types::{Problem, Solution};

use super::config::{Choose, CurateConfig, Duplicates};

/// A distinct solution of a problem.
#[derive(Clone, Debug)]
pub struct Path {
    /// Index of the first solution that took it, which stands for all.
    pub standing: usize,
    /// How many solutions took it.
    pub votes: usize,
    /// Of how many siblings it gives the answer, if they confirm it.
    pub siblings: usize,
    /// Whether a policy drew one of them.
    pub sampled: bool,
    /// What is calculated, as text.
    pub graph: String,
}

/// The calculation of a solution; of one without steps its answer.
pub fn graph(solution: &Solution) -> String {
    let steps = solution.texts();
    if steps.is_empty() { format!("answer {}", solution.final_answer) } else { canonical_path(&steps) }
}

/// The equations of a step as they are written, without spaces; a step without one is its words in lower
/// case.
pub fn step_text(step: &str) -> String {
    let mut found = equations(step);
    // `48/2 = <<48/2=24>>24` says the same twice.
    if found.iter().any(|e| e.annotated) {
        found.retain(|e| e.annotated);
    }
    if found.is_empty() {
        return step.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ");
    }
    let side = |text: &str| text.split_whitespace().collect::<String>();
    found.iter().map(|e| format!("{}={}", side(&e.lhs), side(&e.rhs))).collect::<Vec<_>>().join(",")
}

/// The equations of a solution in their order, the key of RFT; prose between them is left out.
fn text(solution: &Solution) -> String {
    let equations: Vec<String> =
        solution.steps.iter().filter(|s| s.text.contains('=')).map(|s| step_text(&s.text)).collect();
    if equations.is_empty() {
        solution.steps.iter().map(|s| step_text(&s.text)).collect::<Vec<_>>().join("|")
    } else {
        equations.join("|")
    }
}

/// For each of some solutions of a problem how many samples, or repairs of different samples, among them
/// compute the same function of the given numbers, the solution itself included if it is one.
pub fn agreement(problem: &Problem, solutions: &[&Solution], among: &[usize]) -> Vec<usize> {
    let paths: Vec<Vec<&str>> = among.iter().map(|at| solutions[*at].texts()).collect();
    let classes = classes(problem, &paths.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let among: Vec<&Solution> = among.iter().map(|at| solutions[*at]).collect();
    let voices = voices(&among, &classes);
    classes.iter().map(|class| voices.get(class).copied().unwrap_or(0)).collect()
}

/// How many samples, or repairs of different samples, are of each class.
pub fn voices(solutions: &[&Solution], classes: &[usize]) -> HashMap<usize, usize> {
    let mut voters: HashMap<usize, HashSet<(u64, &str)>> = HashMap::new();
    for (solution, class) in solutions.iter().zip(classes) {
        if solution.sampled() {
            voters.entry(*class).or_default().insert((0, &solution.solution_id));
        } else if solution.votes() {
            // Several repairs of one sample are one voice.
            voters.entry(*class).or_default().insert((solution.seed, ""));
        }
    }
    voters.into_iter().map(|(class, voters)| (class, voters.len())).collect()
}

/// The distinct ones among some of a problem's solutions, in the order in which they were found, and for each
/// solution the place of its path.
pub fn paths(solutions: &[&Solution], among: &[usize], duplicates: Duplicates) -> (Vec<Path>, Vec<usize>) {
    let mut paths: Vec<Path> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    // Samples repeat each other word for word, and reading equations is what takes time.
    let mut read: HashMap<(Vec<&str>, &str), String> = HashMap::new();
    let mut places = Vec::with_capacity(among.len());
    for &at in among {
        let solution = solutions[at];
        let words = (solution.texts(), solution.final_answer.as_str());
        let graph = read.entry(words).or_insert_with(|| graph(solution)).clone();
        let key = match duplicates {
            Duplicates::Graph => Some(graph.clone()),
            Duplicates::Text => Some(text(solution)),
            Duplicates::Off => None,
        };
        let new = paths.len();
        let place = key.map_or(new, |key| *known.entry(key).or_insert(new));
        if place == new {
            paths.push(Path { standing: at, votes: 0, siblings: 0, sampled: false, graph });
        }
        paths[place].votes += 1;
        paths[place].sampled |= solution.sampled();
        places.push(place);
    }
    (paths, places)
}

/// What decides between paths: most siblings that confirm it; most votes; then those that a policy drew
/// before those of the enumeration, which fits numbers without reading the question; then, where ambiguity
/// counts, fewest steps.
pub fn merit(
    path: &Path,
    solutions: &[&Solution],
    config: &CurateConfig,
) -> (Reverse<usize>, Reverse<usize>, bool, usize) {
    let solution = solutions[path.standing];
    (
        Reverse(path.siblings),
        Reverse(path.votes),
        !solution.sampled(),
        if config.drop_ambiguous { solution.steps.len() } else { 0 },
    )
}

/// The paths in the order in which they are chosen, best first: places in `paths`.
pub fn order(paths: &[Path], solutions: &[&Solution], config: &CurateConfig) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..paths.len()).collect();
    ranked.sort_by_key(|&i| (merit(&paths[i], solutions, config), i));
    match config.choose {
        Choose::Diverse if config.per_problem > 1 && paths.len() > config.per_problem => {
            farthest(paths, &ranked, config.per_problem)
        }
        _ => ranked,
    }
}

/// The two best paths, if nothing ranks one before the other and that is a reason to drop the problem.
pub fn twin(paths: &[Path], solutions: &[&Solution], config: &CurateConfig) -> Option<(usize, usize)> {
    let mut ranked: Vec<usize> = (0..paths.len()).collect();
    ranked.sort_by_key(|&i| (merit(&paths[i], solutions, config), i));
    match ranked[..] {
        [first, second, ..] if config.drop_ambiguous => {
            let equal = merit(&paths[first], solutions, config) == merit(&paths[second], solutions, config);
            equal.then_some((first, second))
        }
        _ => None,
    }
}

/// Farthest first: the best of `ranked`, then each time the one whose nearest chosen one is farthest away, up
/// to `most`, then the rest as it was. Paths that a policy drew come before those that only the enumeration
/// found, or the oddest coincidences of numbers would be what stays. Of equally far ones the better ranked is
/// chosen.
fn farthest(paths: &[Path], ranked: &[usize], most: usize) -> Vec<usize> {
    let shapes: Vec<Shape> = paths.iter().map(|path| Shape::of(&path.graph)).collect();
    let mut waiting: Vec<(usize, f64)> = ranked.iter().map(|&i| (i, f64::INFINITY)).collect();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < most && !waiting.is_empty() {
        let mut best = 0;
        for at in 1..waiting.len() {
            let ((i, far), (j, farther)) = (waiting[best], waiting[at]);
            if !chosen.is_empty() && (paths[j].sampled, farther) > (paths[i].sampled, far) {
                best = at;
            }
        }
        let (next, _) = waiting.remove(best);
        for (i, far) in &mut waiting {
            *far = far.min(shapes[*i].distance(&shapes[next]));
        }
        chosen.push(next);
    }
    chosen.extend(waiting.into_iter().map(|(i, _)| i));
    chosen
}

/// A calculation as its parts: every expression in it, and how often it adds, subtracts, multiplies and
/// divides.
struct Shape {
    nodes: BTreeMap<String, usize>,
    operations: BTreeMap<String, usize>,
}

impl Shape {
    /// Of a canonical path, in which each operation stands in parentheses.
    fn of(graph: &str) -> Self {
        let (mut nodes, mut operations) = (BTreeMap::new(), BTreeMap::new());
        let mut open = Vec::new();
        for (at, c) in graph.char_indices() {
            match c {
                '(' => open.push(at),
                ')' => {
                    if let Some(start) = open.pop() {
                        *nodes.entry(graph[start..=at].to_owned()).or_default() += 1;
                    }
                }
                '+' | '-' | '*' | '/' => *operations.entry(c.to_string()).or_default() += 1,
                _ => {}
            }
        }
        if nodes.is_empty() {
            nodes.insert(graph.to_owned(), 1);
        }
        Self { nodes, operations }
    }

    /// From 0, the same, to 1, nothing in common: the mean over expressions and operations.
    fn distance(&self, other: &Self) -> f64 {
        f64::midpoint(jaccard(&self.nodes, &other.nodes), jaccard(&self.operations, &other.operations))
    }
}

/// Jaccard distance of multisets.
fn jaccard(a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>) -> f64 {
    let count = |of: &BTreeMap<String, usize>| of.values().sum::<usize>();
    let common: usize = a.iter().map(|(key, n)| b.get(key).map_or(0, |m| *n.min(m))).sum();
    let all = count(a) + count(b) - common;
    if all == 0 { 0.0 } else { 1.0 - common as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(graph: &str, votes: usize) -> Path {
        Path { standing: 0, votes, siblings: 0, sampled: true, graph: graph.into() }
    }

    #[test]
    fn the_farthest_comes_next() {
        let paths = [path("((1+2)+3)", 9), path("((1+2)+4)", 8), path("((7*8)/2)", 1), path("((1+2)*3)", 2)];
        assert_eq!(farthest(&paths, &[0, 1, 3, 2], 2), [0, 2, 1, 3]);
        assert_eq!(farthest(&paths, &[0, 1, 3, 2], 3), [0, 2, 3, 1]);
        assert_eq!(farthest(&paths, &[0, 1, 3, 2], 9).len(), 4);
        let mut enumerated = paths.clone();
        enumerated[2].sampled = false;
        assert_eq!(farthest(&enumerated, &[0, 1, 3, 2], 2), [0, 3, 1, 2]);
    }

    #[test]
    fn distances() {
        let distance = |a: &str, b: &str| Shape::of(a).distance(&Shape::of(b));
        assert!(distance("((48/2)+48)", "((48/2)+48)") < 1e-12);
        assert!((distance("(1+2)", "(3*4)") - 1.0).abs() < 1e-12);
        assert!(distance("((48/2)+48)", "((48/2)+47)") < distance("((48/2)+48)", "((48/3)+47)"));
        assert!((distance("(1+2)", "(1+3)") - 0.5).abs() < 1e-12, "other numbers, the same operation");
        // Prose may hold anything.
        assert!(distance("\"a) b (\"", "\"c\"") > 0.0);
    }

    #[test]
    fn texts_of_steps() {
        assert_eq!(step_text("So 48 / 2 = <<48/2=24>>24 clips"), "48/2=24");
        assert_eq!(step_text("48 / 2 = 24"), "48/2=24");
        assert_eq!(step_text(" Let us  Think "), "let us think");
        assert_ne!(step_text("48/2=24"), step_text("48/2=25"));
    }
}
