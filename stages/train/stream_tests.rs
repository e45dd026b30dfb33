//! Streams of search are read back as the paths that they tell, and tell what a search really tried.

use std::collections::HashSet;

use datasets::answer::{UNDO, read_completion, split_completion};
use datasets::domains::Domains;
use datasets::domains::domain;
use datasets::table::Node;
use datasets::types::{Kept, Problem};
use proptest::prelude::*;

use super::stream::tell;
use crate::events::Silent;
use crate::policy::rules::Rules;
use crate::policy::{Policy, completion};
use crate::search::tests::{clips, config, problem, tree};
use crate::search::value::Values;
use crate::search::{Draws, Scope, SearchConfig, Searching, search};

const DRAWS: Draws = Draws { seed: 1, round: 1, purpose: "search" };

fn puzzle(id: &str, question: &str, answer: &str) -> Problem {
    Problem { domain: "countdown".into(), ..problem(id, question, answer) }
}

fn kept(problem: &Problem, id: &str, steps: &[&str], answer: &str) -> Kept {
    Kept {
        prompt: problem.question.clone(),
        completion: completion(steps, answer),
        problem_id: problem.problem_id.clone(),
        solution_id: id.into(),
        round: 1,
        weight: 1.0,
        ..Kept::default()
    }
}

fn node(id: u32, parent: Option<u32>, step: &str, status: &str) -> Node {
    Node {
        problem_id: "p".into(),
        tree_id: "1-best-first".into(),
        node_id: id,
        parent_id: parent,
        step: step.into(),
        status: status.into(),
        expansion_order: (status == "expanded").then_some(id),
        ..Node::default()
    }
}

/// A row's text under an id that draws as many dead ends as there may be.
fn most(problem: &Problem, nodes: &[Node], steps: &[&str], answer: &str, most: usize) -> String {
    let rows: Vec<Kept> = (0..400).map(|id| kept(problem, &id.to_string(), steps, answer)).collect();
    let rows: Vec<&Kept> = rows.iter().collect();
    let told = tell(&Domains::default(), std::slice::from_ref(problem), nodes, &rows, most).unwrap();
    assert!(told.iter().all(|told| told.dead_ends <= most));
    assert!(most == 0 || told.iter().any(|told| told.dead_ends == 0), "some go straight");
    told.into_iter().max_by_key(|told| told.dead_ends).unwrap().completion
}

#[test]
fn dead_ends_stand_where_they_leave_the_path() {
    let problem = puzzle("p", "Use 2, 3, 5 and 1 to make 30.", "30");
    let mut nodes = vec![
        node(0, None, "", "expanded"),
        node(1, Some(0), "5-3=2", "expanded"),
        node(2, Some(0), "3*2=6", "expanded"),
        node(3, Some(1), "2+2=4", "expanded"),
        node(4, Some(2), "6*5=30", "expanded"),
        node(5, Some(2), "6-1=5", "expanded"),
        node(6, Some(4), "30*1=30", "solution"),
        // Merely looked at, false, the winning path's own step, the state of the winning path in another
        // order.
        node(7, Some(0), "5+1=6", "open"),
        node(8, Some(0), "5+1=7", "expanded"),
        node(9, Some(0), "30*1=30", "expanded"),
        node(10, Some(0), "5*3=15", "expanded"),
        node(11, Some(10), "15*2=30", "expanded"),
    ];
    let steps = ["3*2=6", "6*5=30", "30*1=30"];
    let whole = most(&problem, &nodes, &steps, "30", 8);
    // With the whole paths that were judged when 2+2=4 and 6*5=30 were expanded.
    let ends = "4+1=5\nundo\n4-1=3\nundo\n4*1=4\nundo\n";
    assert_eq!(
        whole,
        format!(
            "5-3=2\n2+2=4\n{ends}undo\nundo\n3*2=6\n6-1=5\nundo\n6*5=30\n30+1=31\nundo\n30-1=29\nundo\n30*1=30\n#### 30"
        )
    );
    // What was expanded first goes first, the child once its parent is there.
    assert_eq!(
        most(&problem, &nodes, &steps, "30", 2),
        "5-3=2\n2+2=4\nundo\nundo\n3*2=6\n6*5=30\n30*1=30\n#### 30"
    );
    nodes[5].value = Some(0.4);
    assert_eq!(most(&problem, &nodes, &steps, "30", 1), "3*2=6\n6-1=5\nundo\n6*5=30\n30*1=30\n#### 30");
    nodes[1].value = Some(0.6);
    assert_eq!(most(&problem, &nodes, &steps, "30", 1), "5-3=2\nundo\n3*2=6\n6*5=30\n30*1=30\n#### 30");
    assert_eq!(most(&problem, &nodes, &steps, "30", 0), completion(&steps, "30"));
}

#[test]
fn a_path_that_no_tree_has_stays_as_it_is() {
    let problem = puzzle("p", "Use 2, 3, 5 and 1 to make 30.", "30");
    let steps = ["3*2=6", "6*5=30", "30*1=30"];
    assert_eq!(most(&problem, &[], &steps, "30", 8), completion(&steps, "30"));
    let row = kept(&problem, "a", &steps, "30");
    let strange = Kept { completion: "no steps, no answer".into(), ..row.clone() };
    assert_eq!(
        tell(&Domains::default(), std::slice::from_ref(&problem), &[], &[&strange], 8).unwrap()[0].completion,
        strange.completion
    );
    assert!(tell(&Domains::default(), &[], &[], &[&row], 8).unwrap_err().to_string().contains("problem p"));
}

/// The steps that stand after each line.
fn states(lines: &[&str]) -> Vec<Vec<String>> {
    let mut steps: Vec<String> = Vec::new();
    let of = |line: &&str| {
        if *line == UNDO {
            steps.pop().unwrap();
        } else {
            steps.push((*line).to_owned());
        }
        steps.clone()
    };
    lines.iter().map(of).collect()
}

#[test]
fn streams_of_real_searches_tell_what_was_tried() {
    let problems = [
        clips(),
        puzzle("a", "Use 2, 3, 4 and 12 to make 24.", "24"),
        puzzle("b", "Use 3, 5, 7 and 9 to make 42.", "42"),
        puzzle("c", "Use 4, 6 and 25 to make 96.", "96"),
    ];
    let config = SearchConfig { samples: 20, rule_solutions: 4, rule_expansions: 300, ..config() };
    let mut drawn = Rules::default();
    let searched = search(
        &problems,
        &Searching {
            config: &config,
            tree: &tree(),
            scope: &Scope::ALL,
            draws: DRAWS,
            domains: &Domains::default(),
        },
        Some(&mut drawn as &mut dyn Policy),
        &mut Values::None,
        &Silent,
    )
    .unwrap();
    let found = searched.found;
    let correct: HashSet<Vec<String>> = found
        .solutions
        .iter()
        .filter(|s| {
            let problem = problems.iter().find(|p| p.problem_id == s.problem_id).unwrap();
            let steps: Vec<String> = s.steps.iter().map(|step| step.text.clone()).collect();
            crate::verify::judge(&Domains::default(), problem, &steps, &s.final_answer).verdict
                == datasets::types::Verdict::Correct
        })
        .map(|s| s.steps.iter().map(|step| step.text.clone()).collect())
        .collect();
    let rows: Vec<Kept> = found
        .solutions
        .iter()
        .filter(|s| correct.contains(&s.texts().iter().map(|t| (*t).to_owned()).collect::<Vec<_>>()))
        .map(|s| Kept {
            completion: completion(&s.texts(), &s.final_answer),
            problem_id: s.problem_id.clone(),
            solution_id: s.solution_id.clone(),
            ..Kept::default()
        })
        .collect();
    let of: Vec<&Kept> = rows.iter().collect();
    let told = tell(&Domains::default(), &problems, &found.nodes, &of, 6).unwrap();
    // Whatever the order of rows and the number of threads.
    let mut turned = of.clone();
    turned.reverse();
    let mut again = tell(&Domains::default(), &problems, &found.nodes, &turned, 6).unwrap();
    again.reverse();
    assert_eq!(told, again);

    for (row, told) in rows.iter().zip(&told) {
        assert_eq!(split_completion(&told.completion), split_completion(&row.completion));
        let problem = problems.iter().find(|p| p.problem_id == row.problem_id).unwrap();
        let domain = domain(&problem.domain).unwrap();
        let nodes: Vec<&Node> = found.nodes.iter().filter(|n| n.problem_id == row.problem_id).collect();
        let lines: Vec<&str> = told.completion.lines().filter(|line| !line.starts_with("####")).collect();
        let states = states(&lines);
        for at in (0..lines.len()).filter(|at| lines[*at] == UNDO) {
            let given_up = &states[at - 1];
            assert!(
                !correct.iter().any(|path| path.starts_with(given_up)),
                "{} is on a correct path",
                given_up.join(", ")
            );
            let followed =
                given_up.iter().try_fold(domain.start(problem), |state, step| domain.follow(&state, step));
            let ended = followed.unwrap_or_else(|| panic!("{given_up:?} is no path")).pool.len() < 2;
            let seen = nodes
                .iter()
                .any(|n| n.step == *given_up.last().unwrap() && n.depth as usize == given_up.len());
            assert!(seen || ended, "{given_up:?}");
        }
        assert_eq!(lines.iter().filter(|line| **line == UNDO).count(), told.dead_ends);
    }
    let some = told.iter().filter(|told| told.dead_ends > 0).count();
    let deep = told.iter().filter(|told| told.completion.contains("undo\nundo")).count();
    assert!(
        some * 2 > told.len() && deep > 0,
        "{some} of {} rows have dead ends, {deep} deeper than a step",
        told.len()
    );
}

proptest! {
    /// Trees of steps that mean to be misread.
    #[test]
    fn any_tree_is_read_back_as_its_path(
        shape in prop::collection::vec((0_usize..30, 0_usize..12, 0_usize..6, prop::option::of(0.0_f32..1.0)), 1..30),
        end in 0_usize..30,
        limit in 0_usize..10,
        id in "[a-z]{1,4}",
    ) {
        let steps = ["1+2=3", "3*2=6", "6-1=5", "undo", "", "#### 5", "so \\boxed{7}", "the answer is 4", "A: 3", "1+1=3", "prose", " 5-3=2"];
        let states = ["expanded", "solution", "wrong", "duplicate", "dead", "false"];
        let problem = problem("p", "Ann has 1 pen, 2 caps and 3 cups. How many?", "6");
        let mut nodes = vec![node(0, None, "", "expanded")];
        for (i, (parent, step, status, value)) in shape.iter().enumerate() {
            let parent = (parent % (i + 1)) as u32;
            nodes.push(Node { value: *value, ..node(i as u32 + 1, Some(parent), steps[*step], states[*status]) });
        }
        let mut at = Some((end % nodes.len()) as u32);
        let mut path: Vec<&str> = Vec::new();
        while let Some(id) = at {
            let node = &nodes[id as usize];
            if node.parent_id.is_some() && !node.step.is_empty() {
                path.push(steps.iter().find(|step| **step == node.step).unwrap());
            }
            at = node.parent_id;
        }
        path.reverse();
        let row = kept(&problem, &id, &path, "6");
        let told = tell(&Domains::default(), std::slice::from_ref(&problem), &nodes, &[&row], limit).unwrap().remove(0);
        prop_assert_eq!(split_completion(&told.completion), split_completion(&row.completion));
        prop_assert!(told.dead_ends <= limit);
        let undone = |text: &str| read_completion(text).lines.iter().filter(|line| *line == UNDO).count();
        prop_assert_eq!(undone(&told.completion), undone(&row.completion) + told.dead_ends);
        prop_assert_eq!(told.completion.lines().count(), row.completion.lines().count() + 2 * told.dead_ends);
    }
}
