//! What holds for every search: budgets, threads, transpositions, and what an exhaustive enumeration says.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use datasets::domain::{Key, State};
use datasets::domains::Domains;
use datasets::types::{Problem, Step, Verdict};
use datasets::{Domain, domains, expr, key};
use rand::RngExt;

use super::plan;
use crate::events::{Events, Silent};
use crate::policy::rules::Rules;
use crate::policy::{Ask, Horizon, Policy, Proposal, Sampling, ValueQuery};
use crate::search::budget::{Spent, Unit};
use crate::search::grow::run;
use crate::search::single::{Plan, SearchOutcome};
use crate::search::tests::{DRAWS, clips, config, problem, tree};
use crate::search::tree::{NONE, Status};
use crate::search::value::{Scorer, StateValue, Values};
use crate::search::{Algorithm, Cost, Draws, Goal, Scope, SearchConfig, Searching, TreeConfig, search};
use crate::verify::judge;

/// A step that is false in every domain.
const FALSE: &str = "1+1=3";

/// A sampled policy of random legal steps, one in eight of them false, each of a random number of tokens. All
/// of it is a function of the seed. Its values are random too, by the steps.
#[derive(Default)]
struct Dice {
    /// Proposals and tokens given, by problem.
    given: HashMap<String, (u64, u64)>,
}

impl Dice {
    fn draw(ask: &Ask<'_>, horizon: Horizon, most: u64, seed: u64) -> Proposal {
        let domain = domains::domain(&ask.problem.domain).unwrap();
        let follow = |state: State, step: &String| {
            domain.follow(&state, step).unwrap_or_else(|| panic!("`{step}` leads nowhere"))
        };
        let mut state = ask.steps.iter().fold(domain.start(ask.problem), follow);
        let mut rng = key::rng(&["dice".into(), seed.into()]);
        let mut proposal = Proposal::default();
        loop {
            let moves = domain.moves(&state).unwrap();
            let answer = domain.answer(&state);
            let choices = moves.len() + usize::from(answer.is_some());
            let chosen = rng.random_range(0..choices.max(1));
            let room = if horizon == Horizon::Step { most } else { (most - u64::from(proposal.tokens)) / 2 };
            let tokens = rng.random_range(1..=room.max(1)) as u32;
            proposal.tokens += tokens;
            let Some(step) = moves.into_iter().nth(chosen).filter(|_| room > 1) else {
                proposal.final_answer = answer.unwrap_or_default();
                return proposal;
            };
            let text = if rng.random_ratio(1, 8) { FALSE.to_owned() } else { step.text };
            proposal.steps.push(Step {
                text,
                logprob: -(choices as f32).ln(),
                value: f32::NAN,
                q: f32::NAN,
                tokens,
            });
            state = step.next;
            if horizon == Horizon::Step {
                return proposal;
            }
        }
    }
}

impl Policy for Dice {
    fn kind(&self) -> &'static str {
        "model"
    }

    fn fingerprint(&self) -> String {
        "dice".into()
    }

    fn values(&mut self, places: &[ValueQuery<'_>], _: &dyn Events) -> Result<Vec<(f32, u64)>> {
        let value = |place: &ValueQuery<'_>| {
            key::unit(&["value".into(), (&place.steps.join(";")).into(), place.answer.unwrap_or("").into()])
        };
        Ok(places.iter().map(|place| (value(place) as f32, 1)).collect())
    }

    fn propose(
        &mut self,
        asks: &[Ask<'_>],
        horizon: Horizon,
        sampling: &Sampling,
        _: &dyn Events,
    ) -> Result<Vec<Vec<Proposal>>> {
        let mut answers = Vec::new();
        for ask in asks {
            assert!(ask.steps.iter().all(|step| step != FALSE), "a false step is context: {:?}", ask.steps);
            let drawn: Vec<Proposal> = ask
                .seeds
                .iter()
                .map(|seed| Self::draw(ask, horizon, sampling.max_tokens as u64, *seed))
                .collect();
            assert!(drawn.iter().all(|proposal| proposal.tokens as usize <= sampling.max_tokens));
            let given = self.given.entry(ask.problem.problem_id.clone()).or_default();
            given.0 += drawn.len() as u64;
            given.1 += drawn.iter().map(|proposal| u64::from(proposal.tokens)).sum::<u64>();
            answers.push(drawn);
        }
        Ok(answers)
    }
}

/// Values that mislead: random, by the numbers that are left.
struct Whim;

fn whim(state: &State) -> f32 {
    let mut numbers: Vec<String> = state.pool.iter().map(|quantity| quantity.value.to_string()).collect();
    numbers.sort_unstable();
    0.01 + 0.98 * key::unit(&[(&numbers.join(",")).into()]) as f32
}

impl StateValue for Whim {
    fn scorer<'a>(&'a self, _: &'a Problem, _: &dyn Domain) -> Scorer<'a> {
        Box::new(whim)
    }

    fn flops(&self) -> u64 {
        0
    }
}

fn puzzle(numbers: &[u64], target: u64) -> Problem {
    let numbers = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let question = format!("Use {numbers} to make {target}.");
    Problem { domain: "countdown".into(), ..problem(&question, &question, &target.to_string()) }
}

/// Puzzles of four small numbers: some have a solution.
fn puzzles() -> Vec<Problem> {
    let draw = |seed: u64| {
        let mut rng = key::rng(&["puzzle".into(), seed.into()]);
        let numbers: Vec<u64> = (0..4).map(|_| rng.random_range(1..=9)).collect();
        puzzle(&numbers, rng.random_range(20..=60))
    };
    (0..12).map(draw).collect()
}

fn rules(problems: &[Problem], plan: &Plan) -> Vec<SearchOutcome> {
    run(problems, plan, &mut Rules::default(), &mut Values::State(&Whim), &Silent).unwrap()
}

/// All correct paths of at most so many steps.
fn solutions(problem: &Problem, most: usize) -> Vec<Vec<String>> {
    fn below(
        problem: &Problem,
        domain: &dyn Domain,
        state: &State,
        most: usize,
        found: &mut Vec<Vec<String>>,
    ) {
        let answer = domain.answer(state).filter(|answer| *answer == problem.answer);
        if answer
            .is_some_and(|answer| domain.verify(problem, &state.steps, &answer).verdict == Verdict::Correct)
        {
            found.push(state.steps.clone());
        }
        if state.steps.len() < most {
            domain
                .moves(state)
                .unwrap()
                .iter()
                .for_each(|step| below(problem, domain, &step.next, most, found));
        }
    }
    let domain = domains::domain(&problem.domain).unwrap();
    let mut found = Vec::new();
    below(problem, domain, &domain.start(problem), most, &mut found);
    found
}

/// Every solution is correct, no longer than it may be, and no other's path in another order.
fn assert_sound(problem: &Problem, outcome: &SearchOutcome, config: &TreeConfig) {
    let mut paths = HashSet::new();
    for node in &outcome.solutions {
        let steps = outcome.tree.steps(*node);
        assert_eq!(
            judge(&Domains::default(), problem, &steps, outcome.tree.get(*node).answer.as_ref().unwrap())
                .verdict,
            Verdict::Correct
        );
        assert!(steps.len() <= config.depth as usize);
        assert!(paths.insert(expr::canonical_path(&steps)), "{steps:?} is there twice");
    }
}

#[test]
fn budgets_hold_for_sampled_steps_of_any_length() {
    let problems = [clips(), puzzle(&[2, 3, 4, 12], 24)];
    let parts = |spent: &Spent| {
        [spent.tokens, spent.calls, spent.expansions, spent.nodes, spent.duplicates, spent.values]
    };
    for algorithm in Algorithm::ALL {
        for (unit, budget) in
            [(Unit::Tokens, 7), (Unit::Tokens, 90), (Unit::Tokens, 600), (Unit::Calls, 1), (Unit::Calls, 40)]
        {
            for seed in 0..12 {
                let goal = if seed % 2 == 0 { Goal::Verified } else { Goal::Chosen };
                let config = TreeConfig {
                    unit,
                    budget,
                    goal,
                    parallel: 1 + seed as usize % 3,
                    width: 3,
                    solutions: 2,
                    ..tree()
                };
                let mut dice = Dice::default();
                let plan = Plan { draws: Draws { seed, ..DRAWS }, ..plan(algorithm, config.clone()) };
                let outcomes = run(&problems, &plan, &mut dice, &mut Values::Own, &Silent).unwrap();
                for (problem, outcome) in problems.iter().zip(&outcomes) {
                    let spent = &outcome.spent;
                    assert!(spent.of(unit) <= budget, "{algorithm:?} spent {spent:?} of {budget}");
                    let given = dice.given.get(&problem.problem_id).copied().unwrap_or_default();
                    assert_eq!((spent.calls, spent.tokens), given, "{algorithm:?}");
                    if let Some(first) = &outcome.first {
                        assert!(
                            parts(first).iter().zip(parts(spent)).all(|(first, all)| *first <= all),
                            "{first:?} of {spent:?}"
                        );
                    }
                    // The length of a whole sample is the policy's own affair.
                    let depth = if algorithm == Algorithm::BestOfN { u32::MAX } else { config.depth };
                    assert_sound(problem, outcome, &TreeConfig { depth, ..config.clone() });
                    if algorithm != Algorithm::AStar {
                        assert_eq!(
                            outcome.tree.items.len() as u64,
                            1 + spent.nodes - spent.duplicates,
                            "{algorithm:?}"
                        );
                    }
                }
            }
        }
    }
}

type Search<'a> = dyn Fn(&[Problem]) -> Vec<String> + Sync + 'a;

#[test]
fn neither_threads_nor_other_problems_change_a_search() {
    let problems = [clips(), puzzle(&[2, 3, 4, 12], 24), puzzle(&[1, 5, 5, 9], 31)];
    // As text: of values that are not estimated nothing else can be compared.
    let shown = |outcomes: Vec<SearchOutcome>| {
        outcomes.iter().map(|outcome| format!("{outcome:?}")).collect::<Vec<_>>()
    };
    let noisy = TreeConfig { noise_share: 0.25, parallel: 2, solutions: 2, ..tree() };
    for algorithm in Algorithm::ALL {
        let alone = plan(algorithm, TreeConfig { budget: 30, ..noisy.clone() });
        let sampled = plan(
            algorithm,
            TreeConfig { unit: Unit::Tokens, budget: 300, cost: Cost::Surprisal, ..noisy.clone() },
        );
        let enumerated = |problems: &[Problem]| shown(rules(problems, &alone));
        // Rules with the values of a model: in step with other problems.
        let together = |problems: &[Problem]| {
            shown(
                run(
                    problems,
                    &alone,
                    &mut Rules::default(),
                    &mut Values::Model(&mut Dice::default()),
                    &Silent,
                )
                .unwrap(),
            )
        };
        let drawn = |problems: &[Problem]| {
            shown(run(problems, &sampled, &mut Dice::default(), &mut Values::Own, &Silent).unwrap())
        };
        for search in [&enumerated as &Search<'_>, &together, &drawn] {
            let on = |threads| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap()
                    .install(|| search(&problems))
            };
            let all = on(1);
            assert!(all == on(4), "{algorithm:?} depends on the number of threads");
            let one_by_one: Vec<String> =
                problems.iter().flat_map(|problem| search(std::slice::from_ref(problem))).collect();
            assert!(all == one_by_one, "{algorithm:?} depends on other problems");
        }
    }
}

/// A search of all that can be reached.
fn exhaustive(algorithm: Algorithm) -> Plan {
    plan(algorithm, TreeConfig { budget: 1_000_000, solutions: 1000, ..tree() })
}

#[test]
fn states_reached_in_several_ways_are_expanded_once_and_their_other_ways_are_solutions() {
    let puzzle = puzzle(&[1, 2, 3, 4], 24);
    let domain = domains::domain("countdown").unwrap();
    let merged = exhaustive(Algorithm::AStar);
    let separate =
        Plan { tree: TreeConfig { transpositions: false, ..merged.tree.clone() }, ..merged.clone() };
    let [merged, separate] = [&merged, &separate].map(|plan| {
        let outcome = rules(std::slice::from_ref(&puzzle), plan).remove(0);
        assert_sound(&puzzle, &outcome, &plan.tree);
        outcome
    });
    let key = |outcome: &SearchOutcome, node: u32| domain.key(outcome.tree.get(node).state.as_ref().unwrap());
    let expanded = |outcome: &SearchOutcome| -> Vec<Key> {
        let nodes = (0..outcome.tree.items.len() as u32).filter(|node| outcome.tree.get(*node).order != NONE);
        nodes.map(|node| key(outcome, node)).collect()
    };
    let distinct = |outcome: &SearchOutcome| expanded(outcome).into_iter().collect::<HashSet<Key>>();
    assert_eq!(expanded(&merged).len(), distinct(&merged).len());
    assert!(expanded(&separate).len() > distinct(&separate).len());
    assert_eq!(distinct(&merged), distinct(&separate));
    assert!(merged.spent.expansions < separate.spent.expansions);
    let mut remembered = 0;
    for (node, item) in merged.tree.items.iter().enumerate().filter(|(_, item)| item.same != NONE) {
        assert_eq!(key(&merged, node as u32), key(&merged, item.same));
        assert_eq!((item.status, item.order), (Status::Duplicate, NONE));
        remembered += 1;
    }
    assert!(remembered > 0);
    // By the other ways to their states, all distinct solutions are found although each state was expanded
    // once.
    let paths = |outcome: &SearchOutcome| -> HashSet<String> {
        outcome.solutions.iter().map(|node| expr::canonical_path(&outcome.tree.steps(*node))).collect()
    };
    let all: HashSet<String> =
        solutions(&puzzle, 3).iter().map(|steps| expr::canonical_path(steps)).collect();
    assert_eq!(paths(&separate), all);
    assert_eq!(paths(&merged), all);
    assert!(
        merged.solutions.iter().any(|node| merged
            .tree
            .path(*node)
            .iter()
            .any(|n| merged.tree.get(*n).same != NONE))
    );
}

/// Cost of the cheapest way to each state, if a step costs the log of the number of steps beside it.
fn cheapest(problem: &Problem) -> BTreeMap<Key, f64> {
    let domain = domains::domain(&problem.domain).unwrap();
    let mut costs = BTreeMap::new();
    let mut layer: BTreeMap<Key, (f64, State)> =
        BTreeMap::from([(Key::Numbers(Vec::new()), (0.0, domain.start(problem)))]);
    while !layer.is_empty() {
        let mut next: BTreeMap<Key, (f64, State)> = BTreeMap::new();
        for (cost, state) in layer.into_values() {
            let moves = domain.moves(&state).unwrap();
            let cost = cost + (moves.len() as f64).ln();
            for step in moves {
                let entry = next.entry(domain.key(&step.next)).or_insert_with(|| (cost, step.next));
                entry.0 = entry.0.min(cost);
            }
        }
        costs.extend(next.iter().map(|(key, (cost, _))| (key.clone(), *cost)));
        layer = next;
    }
    costs
}

#[test]
fn every_state_ends_up_on_its_cheapest_way_whatever_the_values_say() {
    let domain = domains::domain("countdown").unwrap();
    let mut plan = exhaustive(Algorithm::AStar);
    plan.tree = TreeConfig { cost: Cost::Surprisal, ..plan.tree };
    for numbers in [[1, 2, 3, 5, 7], [2, 2, 4, 6, 8], [1, 1, 2, 3, 4], [3, 4, 5, 6, 9]] {
        let puzzle = puzzle(&numbers, 9999);
        let outcome = rules(std::slice::from_ref(&puzzle), &plan).remove(0);
        let (tree, least) = (&outcome.tree, cheapest(&puzzle));
        let mut moved = 0;
        for node in (1..tree.items.len() as u32).filter(|node| tree.get(*node).order != NONE) {
            let item = tree.get(node);
            let cost: f64 = tree.path(node).iter().map(|n| -f64::from(tree.get(*n).prior).ln()).sum();
            let least = least[&domain.key(item.state.as_ref().unwrap())];
            assert!((cost - least).abs() < 1e-4, "{:?} costs {cost} and not {least}", tree.steps(node));
            assert_eq!(item.depth as usize, tree.path(node).len());
            // One that came from elsewhere stands behind siblings that are younger.
            moved += usize::from(item.next_sibling < node);
        }
        assert!(moved > 0, "no state of {numbers:?} was re-opened");
    }
}

#[test]
fn solutions_stay_distinct_where_states_are_reopened() {
    for problem in [puzzle(&[1, 2, 3, 4, 5], 30), puzzle(&[2, 2, 3, 4, 6], 24), puzzle(&[1, 1, 2, 3, 8], 25)]
    {
        let mut plan = exhaustive(Algorithm::AStar);
        plan.tree = TreeConfig { cost: Cost::Surprisal, ..plan.tree };
        let outcome = rules(std::slice::from_ref(&problem), &plan).remove(0);
        assert!(outcome.solutions.len() > 10);
        assert_sound(&problem, &outcome, &plan.tree);
    }
}

#[test]
fn the_shortest_path_is_the_shortest_there_is() {
    // Answers that two or three random steps give.
    let draw = |seed: u64| {
        let mut rng = key::rng(&["shortest".into(), seed.into()]);
        let numbers: Vec<u64> = (0..3 + seed % 2).map(|_| rng.random_range(2..=12)).collect();
        let given = numbers.iter().map(|n| format!("a box of {n} pens")).collect::<Vec<_>>().join(", ");
        let mut problem = problem(&format!("shortest-{seed}"), &format!("There is {given}. How many?"), "");
        let domain = domains::domain("math").unwrap();
        let mut state = domain.start(&problem);
        for _ in 0..2 + seed % 2 {
            let moves = domain.moves(&state).unwrap();
            state = moves[rng.random_range(0..moves.len())].next.clone();
        }
        problem.answer = state.pool.last().unwrap().value.to_string();
        problem
    };
    let problems: Vec<Problem> = (0..16).map(draw).chain([clips()]).collect();
    for parallel in [1, 3] {
        let config = TreeConfig {
            shortest: true,
            weights: vec![3.0, 2.0, 1.0],
            depth: 3,
            parallel,
            budget: 1_000_000,
            ..tree()
        };
        for (problem, outcome) in
            problems.iter().zip(rules(&problems, &plan(Algorithm::AStar, config.clone())))
        {
            let least = solutions(problem, 3).iter().map(Vec::len).min();
            let found = outcome.solutions.iter().map(|node| outcome.tree.length(*node) as usize).min();
            assert_eq!(found, least, "{}: {}", problem.question, problem.answer);
            assert_sound(problem, &outcome, &config);
        }
    }
}

#[test]
fn every_algorithm_solves_what_can_be_solved_however_many_states_it_expands_at_once() {
    let problems = puzzles();
    let solvable: Vec<bool> = problems.iter().map(|problem| !solutions(problem, 3).is_empty()).collect();
    assert!(solvable.contains(&true) && solvable.contains(&false));
    for algorithm in Algorithm::ALL {
        for parallel in [1, 4] {
            let config = TreeConfig { budget: 1_000_000, parallel, ..tree() };
            let plan = Plan { samples: 100_000, ..plan(algorithm, config.clone()) };
            let outcomes = rules(&problems, &plan);
            let solved: Vec<bool> = outcomes.iter().map(|outcome| !outcome.solutions.is_empty()).collect();
            assert_eq!(solved, solvable, "{algorithm:?} {parallel}");
            problems
                .iter()
                .zip(&outcomes)
                .for_each(|(problem, outcome)| assert_sound(problem, outcome, &config));
            let small = Plan { tree: TreeConfig { budget: 6, ..config }, ..plan };
            assert!(
                rules(&problems, &small).iter().all(|outcome| outcome.spent.expansions <= 6),
                "{algorithm:?} {parallel}"
            );
        }
    }
}

#[test]
fn every_row_has_its_parent_in_the_table() {
    // 2+2 and 2*2 lead to one state, from which there are two steps to a solution.
    let problems: Vec<Problem> = puzzles().into_iter().chain([puzzle(&[2, 2, 3, 5], 23)]).collect();
    for algorithm in Algorithm::ALL {
        for cost in [Cost::Steps, Cost::Surprisal] {
            let config = SearchConfig { algorithm, samples: 20, rule_solutions: 0, ..config() };
            let tree = TreeConfig { solutions: 20, cost, ..tree() };
            let found = search(
                &problems,
                &Searching {
                    config: &config,
                    tree: &tree,
                    scope: &Scope::ALL,
                    draws: DRAWS,
                    domains: &Domains::default(),
                },
                Some(&mut Rules::default()),
                &mut Values::State(&Whim),
                &Silent,
            )
            .unwrap()
            .found;
            let ids: HashSet<(&str, u32)> =
                found.nodes.iter().map(|node| (node.problem_id.as_str(), node.node_id)).collect();
            for node in &found.nodes {
                assert!(
                    node.parent_id.is_none_or(|parent| ids.contains(&(&node.problem_id, parent))),
                    "{algorithm:?}: {node:?}"
                );
            }
        }
    }
}
