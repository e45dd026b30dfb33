//! Trees worked out by hand: which states each algorithm looks into, in which order, and what becomes of
//! them.
//!
//! Policy and values are read from a small table. Steps are letters where no state is needed, and equations
//! where two ways lead to one.

mod properties;

use std::collections::HashMap;

use anyhow::Result;
use datasets::domains::Domains;
use datasets::types::{Problem, Step};

use super::budget::Unit;
use super::choose::votes;
use super::grow::run;
use super::single::{Plan, SearchOutcome};
use super::tests::{DRAWS, config, problem, tree};
use super::tree::{Status, Tree};
use super::value::Values;
use super::{Aggregate, Algorithm, Cost, Goal, TreeConfig};
use crate::events::{Events, Silent};
use crate::policy::{Ask, Horizon, Policy, Proposal, Sampling, ValueQuery};

/// A state, as its steps, and what is proposed there in turn, over and over: a step or an answer line, its
/// probability, and the value of what it leads to.
type Row = (&'static str, &'static [(&'static str, f32, f32)]);

/// A policy with a value head that reads both from a table. Where the table ends, paths end with the answer
/// 0.
struct Script {
    table: &'static [Row],
    /// Proposals made at each state so far.
    made: HashMap<String, usize>,
    /// The states it was asked about, in order.
    asked: Vec<String>,
}

const SEPARATOR: &str = " > ";

impl Script {
    fn new(table: &'static [Row]) -> Self {
        Self { table, made: HashMap::new(), asked: Vec::new() }
    }

    fn next(&mut self, steps: &[String]) -> (&'static str, f32) {
        let state = steps.join(SEPARATOR);
        let row = self
            .table
            .iter()
            .find(|(at, _)| *at == state)
            .map_or(&[("#### 0", 1.0, 0.0)][..], |(_, row)| row);
        let made = self.made.entry(state).or_default();
        *made += 1;
        let (line, probability, _) = row[(*made - 1) % row.len()];
        (line, probability)
    }

    fn propose_one(&mut self, steps: &[String], horizon: Horizon) -> Proposal {
        let mut steps = steps.to_vec();
        let mut proposal = Proposal::default();
        loop {
            let (line, probability) = self.next(&steps);
            proposal.tokens += 1;
            if let Some(answer) = line.strip_prefix("#### ") {
                proposal.final_answer = answer.into();
                return proposal;
            }
            steps.push(line.into());
            proposal.steps.push(Step {
                text: line.into(),
                logprob: probability.ln(),
                value: f32::NAN,
                q: f32::NAN,
                tokens: 1,
            });
            if horizon == Horizon::Step {
                return proposal;
            }
        }
    }
}

impl Policy for Script {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn fingerprint(&self) -> String {
        "script".into()
    }

    fn values(&mut self, places: &[ValueQuery<'_>], _: &dyn Events) -> Result<Vec<(f32, u64)>> {
        let value = |place: &ValueQuery<'_>| {
            let mut path = place.steps.to_vec();
            path.extend(place.answer.map(|answer| format!("#### {answer}")));
            let Some(last) = path.pop() else { return 1.0 };
            let state = path.join(SEPARATOR);
            let row = self.table.iter().find(|(at, _)| *at == state).map_or(&[][..], |(_, row)| row);
            row.iter().find(|(line, ..)| *line == last).map_or(0.0, |(_, _, value)| *value)
        };
        Ok(places.iter().map(|place| (value(place), 1)).collect())
    }

    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        _: &Sampling,
        _: &dyn Events,
    ) -> Result<Vec<Vec<Proposal>>> {
        let answer = |ask: &Ask<'_>| {
            self.asked.push(ask.steps.join(SEPARATOR));
            ask.seeds.iter().map(|_| self.propose_one(ask.steps, horizon)).collect()
        };
        Ok(asks.iter().map(answer).collect())
    }
}

fn plan(algorithm: Algorithm, tree: TreeConfig) -> Plan {
    Plan {
        algorithm,
        tree,
        samples: 500,
        aim: None,
        siblings: None,
        sampling: config().sampling(),
        name: algorithm.name(),
        draws: DRAWS,
        domains: Domains::default(),
    }
}

/// A problem whose answer is 7.
fn seven() -> Problem {
    problem("seven", "There are 2, 3 and 4.", "7")
}

/// Searches a table with the values in it: 60 calls, unless a test says otherwise.
fn search(table: &'static [Row], algorithm: Algorithm, tree: TreeConfig) -> (Script, SearchOutcome) {
    let mut script = Script::new(table);
    let outcome =
        run(&[seven()], &plan(algorithm, tree), &mut script, &mut Values::Own, &Silent).unwrap().remove(0);
    (script, outcome)
}

fn calls() -> TreeConfig {
    TreeConfig { unit: Unit::Calls, budget: 60, ..tree() }
}

/// A node as the lines that lead to it.
fn label(tree: &Tree, node: u32) -> String {
    tree.path(node).iter().map(|n| tree.get(*n).step.as_str()).collect::<Vec<_>>().join(SEPARATOR)
}

/// The node with these lines.
fn find(tree: &Tree, lines: &str) -> u32 {
    (0..tree.items.len() as u32)
        .find(|node| label(tree, *node) == lines)
        .unwrap_or_else(|| panic!("no node `{lines}`"))
}

/// All nodes but the root with what became of them, in the order in which they were looked at.
fn statuses(tree: &Tree) -> Vec<String> {
    (1..tree.items.len() as u32)
        .map(|node| format!("{}: {}", label(tree, node), tree.get(node).status.name()))
        .collect()
}

const GARDEN: &[Row] = &[
    ("", &[("a", 0.4, 0.2), ("b", 0.3, 0.6), ("c", 0.3, 0.5)]),
    ("a", &[("#### 5", 1.0, 0.0)]),
    ("b", &[("d", 0.6, 0.9), ("e", 0.4, 0.72)]),
    ("c", &[("f", 0.5, 0.8), ("g", 0.5, 0.3)]),
    ("b > d", &[("#### 9", 1.0, 0.0)]),
    ("b > e", &[("#### 8", 1.0, 0.0)]),
    ("c > f", &[("h", 1.0, 0.2)]),
    ("c > f > h", &[("#### 6", 1.0, 0.0)]),
    ("c > g", &[("#### 7", 1.0, 0.0)]),
];

#[test]
fn a_beam_keeps_the_best_states_and_starts_again_from_those_it_left_behind() {
    let (script, outcome) = search(GARDEN, Algorithm::Beam, TreeConfig { width: 3, ..calls() });
    // Of a .2, b .6, c .5 two are kept; of d .9, e .72, f .8, g .3 two. d ends, so h goes on alone. When it
    // has ended too, e .72 and g .3 are the best that were left, and a .2 is never looked into.
    assert_eq!(script.asked, ["", "b", "c", "b > d", "c > f", "c > f > h", "b > e", "c > g"]);
    assert_eq!(
        statuses(&outcome.tree),
        [
            "a: open",
            "b: expanded",
            "c: expanded",
            "b > d: expanded",
            "b > e: expanded",
            "c > f: expanded",
            "c > g: expanded",
            "b > d > #### 9: wrong",
            "c > f > h: expanded",
            "c > f > h > #### 6: wrong",
            "b > e > #### 8: wrong",
            "c > g > #### 7: solution",
        ]
    );
    assert_eq!(outcome.solutions, [12]);
}

#[test]
fn the_score_of_a_path_puts_its_step_values_together() {
    for (aggregate, second) in [
        // d .9, f .8, e .72
        (Aggregate::Last, "c > f"),
        // d and e min(.6, ..), f min(.5, .8)
        (Aggregate::Min, "b > e"),
        // d .54, e .432, f .4
        (Aggregate::Product, "b > e"),
        // d .75, e .66, f .65
        (Aggregate::Mean, "b > e"),
    ] {
        let (script, _) = search(GARDEN, Algorithm::Beam, TreeConfig { width: 3, aggregate, ..calls() });
        assert_eq!(script.asked[..5], ["", "b", "c", "b > d", second], "{aggregate:?}");
    }
}

#[test]
fn dvts_follows_the_best_step_of_each_subtree_and_replaces_one_that_has_ended() {
    let (script, outcome) =
        search(GARDEN, Algorithm::Dvts, TreeConfig { aggregate: Aggregate::Min, ..calls() });
    // Subtrees b and c go down side by side, d (.6, before e which is level) and f (.5). d ends: b goes on
    // with e, beside h. Both end: c goes on with g, and b, which has nothing left, gives way to a.
    assert_eq!(script.asked, ["", "b", "c", "b > d", "c > f", "b > e", "c > f > h", "c > g", "a"]);
    assert_eq!(label(&outcome.tree, outcome.solutions[0]), "c > g > #### 7");
    assert!(outcome.tree.items.iter().all(|item| item.status != Status::Open));
}

const WALKS: &[Row] = &[
    ("", &[("a", 0.5, 0.4), ("b", 0.3, 0.6), ("c", 0.2, 0.5)]),
    ("a", &[("g", 0.5, 0.5), ("#### 7", 0.5, 0.0)]),
    ("b", &[("d", 0.6, 0.9), ("e", 0.4, 0.1)]),
    ("b > d", &[("f", 1.0, 0.2)]),
];

#[test]
fn mcts_goes_where_puct_says_and_backs_up_the_best_child() {
    let (script, outcome) =
        search(WALKS, Algorithm::Mcts, TreeConfig { width: 3, widen_power: 0.0, ..calls() });
    // Q + 1.25 P sqrt(N) / (1 + n), where ln((1 + N + 19652) / 19652) is 0 to three places.
    // 1. The root, N = 1: a .4 + .625, b .6 + .375, c .5 + .25; .4 of a is backed up.
    // 2. N = 1: a .4 + .312, b .975, c .75. At b: d .9 + .75, e .1 + .5; .9 is backed up.
    // 3. N = 2: a .4 + .442, b .9 + .265, c .5 + .354; then d .9 + .375, e .1 + .5. At d: .2 of f is backed
    //    up.
    // 4. N = 3: a .4 + .541, b (.9 + .2) / 2 + .217, c .5 + .433. At a: the right answer, 1.
    assert_eq!(script.asked, ["", "b", "b > d", "a"]);
    let tree = &outcome.tree;
    let stands = |lines| {
        let item = tree.get(find(tree, lines));
        (item.visits, (item.q() * 1000.0).round() / 1000.0)
    };
    for (lines, visits, q) in [
        ("", 4, 0.625),
        ("a", 2, 0.7),
        ("b", 2, 0.55),
        ("c", 0, 0.5),
        ("b > d", 2, 0.55),
        ("b > e", 0, 0.1),
        ("b > d > f", 1, 0.2),
        ("a > g", 0, 0.5),
        ("a > #### 7", 1, 1.0),
    ] {
        assert_eq!(stands(lines), (visits, q), "{lines}");
    }
    assert_eq!(outcome.solutions, [find(tree, "a > #### 7")]);
    assert_eq!(outcome.first, Some(outcome.spent));
}

#[test]
fn mcts_widens_a_state_as_its_visits_grow() {
    let table: &[Row] = &[
        ("", &[("a", 0.5, 0.9), ("b", 0.5, 0.1)]),
        ("a", &[("c", 1.0, 0.9)]),
        ("a > c", &[("d", 1.0, 0.9)]),
    ];
    let (script, _) = search(table, Algorithm::Mcts, TreeConfig { width: 1, budget: 4, ..calls() });
    // The root may be asked ceil(sqrt(N)) times: once with N = 1, again with N = 2, not with N = 3.
    assert_eq!(script.asked[..3], ["", "a", ""]);
    assert_ne!(script.asked[3], "");
}

#[test]
fn mcts_samples_more_where_no_step_can_be_followed() {
    let table: &[Row] = &[("", &[("#### 5", 1.0, 0.0), ("1+1=3", 1.0, 0.0), ("#### 7", 1.0, 0.0)])];
    let (script, outcome) = search(table, Algorithm::Mcts, TreeConfig { width: 1, ..calls() });
    assert_eq!(script.asked.len(), 3);
    assert_eq!(outcome.solutions.len(), 1);
}

const WEIGHED: &[Row] = &[
    ("", &[("a", 0.5, 0.5), ("b", 0.5, 0.9)]),
    ("a", &[("d", 1.0, 0.8)]),
    ("b", &[("c", 1.0, 0.7)]),
    ("a > d", &[("#### 7", 1.0, 0.0)]),
];

#[test]
fn astar_expands_by_f_and_comes_back_to_a_state_at_half_its_value() {
    let config = TreeConfig { step_cost: 0.5, ..calls() };
    // f = g + h: a .5 + .693, b .5 + .105, the root again 0 + ln 2 = .693. After b: c 1 + .357, b again
    // 1.298. After the root: its third time 1.386. So a is next with 1.193, then d with 1 + .223.
    let (script, outcome) = search(WEIGHED, Algorithm::AStar, config.clone());
    assert_eq!(script.asked, ["", "b", "", "a", "a > d"]);
    assert_eq!(
        statuses(&outcome.tree),
        ["a: expanded", "b: expanded", "b > c: open", "a > d: expanded", "a > d > #### 7: solution"]
    );
    // w = 2: a .5 + 1.386, b .5 + .211, the root again 1.386, c 1 + .713: now c comes before a.
    let (script, _) = search(WEIGHED, Algorithm::AStar, TreeConfig { weights: vec![2.0], ..config });
    assert_eq!(script.asked, ["", "b", "", "b > c", "a", "a > d"]);
}

#[test]
fn a_state_that_found_no_room_in_the_budget_waits_for_what_comes_back() {
    // Two steps of at most 8 tokens cost 2. After the root 18 tokens are left: room for a with 16, none for b
    // at once.
    let table: &[Row] = &[("", &[("a", 0.5, 0.9), ("b", 0.5, 0.8)]), ("b", &[("#### 7", 1.0, 0.0)])];
    for algorithm in [Algorithm::Beam, Algorithm::Dvts, Algorithm::Mcts, Algorithm::AStar] {
        let config = TreeConfig {
            unit: Unit::Tokens,
            budget: 20,
            parallel: 2,
            step_cost: 0.1,
            widen_power: 0.0,
            ..tree()
        };
        let (_, outcome) = search(table, algorithm, config);
        assert_eq!(outcome.solutions.len(), 1, "{algorithm:?}");
    }
}

const SHORTCUT: &[Row] = &[
    ("", &[("2+3=5", 0.5, 0.95), ("2+3=5 and 5*4=20", 0.25, 1.0)]),
    ("2+3=5", &[("5*4=20", 0.75, 1.0)]),
    ("2+3=5 > 5*4=20", &[("20-1=19", 1.0, 1.0)]),
];

#[test]
fn a_state_reached_on_a_cheaper_way_is_reopened_with_all_below() {
    let config = TreeConfig { width: 1, step_cost: 0.1, budget: 6, ..calls() };
    let (script, outcome) = search(SHORTCUT, Algorithm::AStar, config);
    // In two steps 20 costs .2, in one .1. The root is asked again at f = .693, after all else was expanded
    // once. Then 20 has f = .1 + .693 and comes before 2+3=5 with .1 + .051 + .693; with its old g it would
    // come behind.
    let (old, new) = ("2+3=5 > 5*4=20", "2+3=5 and 5*4=20");
    assert_eq!(script.asked, ["", "2+3=5", old, "2+3=5 > 5*4=20 > 20-1=19", "", new]);
    let tree = &outcome.tree;
    let (state, duplicate, below) =
        (find(tree, new), find(tree, old), find(tree, "2+3=5 and 5*4=20 > 20-1=19"));
    assert_eq!((tree.get(state).depth, tree.get(duplicate).depth, tree.get(below).depth), (1, 2, 2));
    assert_eq!((tree.get(duplicate).status, tree.get(duplicate).same), (Status::Duplicate, state));
    // What is known of a step goes with it.
    assert_eq!((tree.get(state).logprob, tree.get(duplicate).logprob), (0.25_f32.ln(), 0.75_f32.ln()));
    assert!(
        (tree.get(state).prior - 1.0 / 3.0).abs() < 1e-6 && (tree.get(duplicate).prior - 1.0).abs() < 1e-6
    );
}

#[test]
fn a_reopened_state_is_the_cheaper_way_to_what_lies_below_it() {
    let table: &[Row] = &[
        ("", &[("4+2=6", 0.5, 1.0), ("2+3=5", 0.5, 1.0), ("2+3=5 and 3*4=12", 0.5, 1.0)]),
        ("4+2=6", &[("2+3=5", 1.0, 1.0)]),
        ("2+3=5", &[("3*4=12", 1.0, 1.0)]),
        ("4+2=6 > 2+3=5", &[("3*4=12", 1.0, 1.0)]),
        ("2+3=5 > 3*4=12", &[("4+2=6", 1.0, 1.0)]),
    ];
    let (_, outcome) = search(table, Algorithm::AStar, TreeConfig { step_cost: 0.1, budget: 14, ..calls() });
    // All three results cost .3, whether 6 is the first or the last of them: the latter is the duplicate.
    // When the root is asked again, at .693, 5 and 12 cost .1 in one step instead of .2, so all three cost .2
    // with 6 as the last.
    let tree = &outcome.tree;
    let (state, duplicate) = (find(tree, "2+3=5 and 3*4=12 > 4+2=6"), find(tree, "4+2=6 > 2+3=5 > 3*4=12"));
    assert_eq!((tree.get(state).status, tree.get(state).depth), (Status::Expanded, 2));
    assert_eq!((tree.get(duplicate).same, tree.get(duplicate).depth), (state, 3));
}

#[test]
fn a_cheaper_way_never_makes_a_path_longer_than_it_may_be() {
    // 20 costs -ln .1 in one step and three times -ln .9 in three: from there the two steps more to the
    // answer would be too many.
    let table: &[Row] = &[
        ("", &[("2+3=5 and 5*2=10 and 10*2=20", 0.1, 1.0), ("2+3=5", 0.9, 1.0)]),
        ("2+3=5", &[("5*2=10", 0.9, 1.0), ("x", 0.1, 0.01)]),
        ("2+3=5 > 5*2=10", &[("10*2=20", 0.9, 1.0), ("x", 0.1, 0.01)]),
        ("2+3=5 and 5*2=10 and 10*2=20", &[("20-1=19", 1.0, 1.0)]),
        ("2+3=5 and 5*2=10 and 10*2=20 > 20-1=19", &[("19-1=18", 1.0, 1.0)]),
        ("2+3=5 and 5*2=10 and 10*2=20 > 20-1=19 > 19-1=18", &[("#### 7", 1.0, 0.0)]),
    ];
    let (_, outcome) =
        search(table, Algorithm::AStar, TreeConfig { cost: Cost::Surprisal, budget: 400, ..calls() });
    assert_eq!(outcome.solutions.iter().map(|node| outcome.tree.length(*node)).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_shorter_path_is_found_after_the_first_and_comes_first() {
    let table: &[Row] = &[
        ("", &[("a", 0.5, 0.9), ("b", 0.5, 0.1)]),
        ("a", &[("c", 1.0, 0.9)]),
        ("a > c", &[("#### 7", 1.0, 0.0)]),
        ("b", &[("#### 7", 1.0, 0.0)]),
    ];
    let config = TreeConfig { shortest: true, weights: vec![3.0, 2.0, 1.0], step_cost: 0.1, ..calls() };
    let (script, outcome) = search(table, Algorithm::AStar, config);
    let at = |state| script.asked.iter().position(|asked| asked == state);
    assert!(at("a > c") < at("b"));
    assert_eq!(outcome.solutions.len(), 1);
    assert_eq!(label(&outcome.tree, outcome.solutions[0]), "b > #### 7");
}

const THICKET: &[Row] = &[
    ("", &[("a", 0.4, 0.4), ("b", 0.3, 0.05), ("1+1=3", 0.3, 0.9)]),
    ("a", &[("c", 1.0, 0.5), ("2+2=5", 1.0, 1.0), ("d", 1.0, 0.09)]),
    ("a > c", &[("#### 8", 1.0, 0.5)]),
];

#[test]
fn what_is_pruned_or_false_is_never_expanded() {
    for algorithm in [Algorithm::Beam, Algorithm::Dvts, Algorithm::Mcts, Algorithm::AStar] {
        for parallel in [1, 3] {
            for goal in [Goal::Verified, Goal::Chosen] {
                let config = TreeConfig { threshold: 0.1, width: 3, goal, parallel, ..calls() };
                let (script, outcome) = search(THICKET, algorithm, config);
                let states = ["", "a", "a > c"];
                assert!(
                    script.asked.iter().all(|asked| states.contains(&asked.as_str())),
                    "{algorithm:?}: {:?}",
                    script.asked
                );
                assert!(
                    states.iter().all(|state| script.asked.iter().any(|asked| asked == state)),
                    "{algorithm:?}"
                );
                for (lines, status) in [
                    ("b", Status::Pruned),
                    ("1+1=3", Status::False),
                    ("a > 2+2=5", Status::False),
                    ("a > d", Status::Pruned),
                ] {
                    assert_eq!(
                        outcome.tree.get(find(&outcome.tree, lines)).status,
                        status,
                        "{algorithm:?}: {lines}"
                    );
                }
            }
        }
    }
}

const BALLOTS: &[Row] = &[
    ("", &[("a", 0.6, 0.9), ("b", 0.4, 0.5)]),
    ("a", &[("#### 7", 1.0, 0.6)]),
    ("b", &[("#### 8", 1.0, 0.3), ("#### 7", 1.0, 0.2)]),
];

#[test]
fn a_path_in_a_tree_votes_once_and_a_sample_as_often_as_it_is_drawn() {
    let chosen = TreeConfig { goal: Goal::Chosen, budget: 40, ..calls() };
    let problem = seven();
    for algorithm in [Algorithm::Beam, Algorithm::Dvts, Algorithm::Mcts, Algorithm::AStar] {
        let (_, outcome) = search(BALLOTS, algorithm, chosen.clone());
        let seven = outcome.tree.get(find(&outcome.tree, "a > #### 7"));
        assert!(seven.samples > 1, "{algorithm:?} drew it {} times", seven.samples);
        let mut found: Vec<(String, f32)> =
            votes(&problem, &outcome, &chosen).into_iter().map(|vote| (vote.answer, vote.score)).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(
            found,
            [("7".to_owned(), 0.6), ("8".to_owned(), 0.3), ("7".to_owned(), 0.2)],
            "{algorithm:?}"
        );
    }
    // The table is walked in turn: a 7, b 8, a 7, b 7, a 7, b 8.
    let plan = Plan { samples: 6, ..plan(Algorithm::BestOfN, chosen.clone()) };
    let outcome =
        run(&[seven()], &plan, &mut Script::new(BALLOTS), &mut Values::Own, &Silent).unwrap().remove(0);
    let answers: Vec<String> =
        votes(&problem, &outcome, &chosen).into_iter().map(|vote| vote.answer).collect();
    assert_eq!(answers, ["7", "8", "7", "7", "7", "8"]);
    assert_eq!(outcome.tree.get(find(&outcome.tree, "a > #### 7")).samples, 3);
}
