//! Searches over known problems.

use std::collections::HashSet;

use datasets::domains::Domains;
use datasets::types::{Problem, Solution, Split, Verdict};

use super::budget::Unit;
use super::value::Values;
use super::{
    Aggregate, Algorithm, Cost, Draws, Goal, RulesOn, Sampler, Scope, SearchConfig, SearchRows, Searching,
    TreeConfig, search,
};
use crate::events::Silent;
use crate::policy::Policy;
use crate::policy::rules::Rules;
use crate::verify::verify;

pub fn problem(id: &str, question: &str, answer: &str) -> Problem {
    Problem {
        problem_id: id.into(),
        domain: "math".into(),
        source: "test".into(),
        split: Split::Train,
        question: question.into(),
        answer: answer.into(),
        difficulty: 0,
        meta: "{}".into(),
    }
}

pub fn clips() -> Problem {
    problem(
        "clips",
        "Ann sold 48 clips in April and half as many in May. How many clips did she sell in both months?",
        "72",
    )
}

pub fn config() -> SearchConfig {
    SearchConfig {
        policy: Sampler::Rules,
        algorithm: Algorithm::BestOfN,
        samples: 0,
        max_samples: 0,
        wanted: 4,
        enough: 4,
        give_up: 16,
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_tokens: 64,
        calculator: true,
        rule_solutions: 3,
        rule_expansions: 200,
        rule_steps: 4,
        rules_on: RulesOn::All,
        rule_decay: 1.0,
        repair: false,
        slices: 0,
    }
}

/// What a tree search does unless a test says otherwise.
pub fn tree() -> TreeConfig {
    TreeConfig {
        unit: Unit::Expansions,
        budget: 200,
        goal: Goal::Verified,
        solutions: 1,
        shortest: false,
        depth: 4,
        width: 2,
        step_tokens: 8,
        parallel: 1,
        threshold: 0.0,
        beams: 2,
        aggregate: Aggregate::Last,
        cost: Cost::Steps,
        step_cost: 1.0,
        weights: vec![1.0],
        transpositions: true,
        c_init: 1.25,
        c_base: 19652.0,
        noise: 0.3,
        noise_share: 0.0,
        widen: 1.0,
        widen_power: 0.5,
    }
}

/// The rows of a search of the rules, and of random draws from them.
fn rows(problems: &[Problem], config: &SearchConfig, draws: Draws) -> SearchRows {
    let mut drawn = Rules::default();
    let sampler = (config.samples > 0).then_some(&mut drawn as &mut dyn Policy);
    search(
        problems,
        &Searching { config, tree: &tree(), scope: &Scope::ALL, draws, domains: &Domains::default() },
        sampler,
        &mut Values::None,
        &Silent,
    )
    .unwrap()
    .found
}

pub const DRAWS: Draws = Draws { seed: 1, round: 1, purpose: "search" };

fn texts(solution: &Solution) -> Vec<&str> {
    solution.steps.iter().map(|s| s.text.as_str()).collect()
}

#[test]
fn the_enumeration_finds_the_way_that_uses_what_the_question_gives() {
    let found = rows(&[clips()], &config(), DRAWS);
    assert_eq!(texts(&found.solutions[0]), ["48/2=24", "48+24=72"]);
    let paths: HashSet<String> =
        found.solutions.iter().map(|s| datasets::expr::canonical_path(&texts(s))).collect();
    assert_eq!(paths.len(), found.solutions.len(), "paths are distinct");
    assert!(
        verify(&Domains::default(), &[clips()], &found.solutions, &Silent)
            .unwrap()
            .iter()
            .all(|v| v.judgement.verdict == Verdict::Correct)
    );
    assert_eq!(found.nodes[0].parent_id, None);
    let ids: HashSet<u32> = found.nodes.iter().map(|n| n.node_id).collect();
    assert!(
        found.nodes.iter().all(|n| n.parent_id.is_none_or(|p| ids.contains(&p))),
        "every parent is in the table"
    );
}

#[test]
fn the_budget_of_expansions_is_never_exceeded() {
    let hard = problem("hard", "Use 3, 7, 11, 13 and 17.", "99999");
    for budget in [1, 5, 37] {
        let found =
            rows(std::slice::from_ref(&hard), &SearchConfig { rule_expansions: budget, ..config() }, DRAWS);
        assert!(found.solutions.is_empty());
        assert_eq!(found.nodes.iter().filter(|n| n.expansion_order.is_some()).count(), budget);
    }
}

#[test]
fn random_draws_over_the_rules_are_a_function_of_the_seed() {
    let config = SearchConfig { samples: 20, rule_solutions: 0, ..config() };
    let run = |draws| rows(&[clips()], &config, draws);
    let (a, b, c) = (run(DRAWS), run(DRAWS), run(Draws { seed: 2, ..DRAWS }));
    // As text: values that are not estimated are NaN, which equals nothing.
    let shown = |found: &super::SearchRows| format!("{:?}", found.solutions);
    assert_eq!(shown(&a), shown(&b));
    assert_eq!(a.nodes, b.nodes);
    assert_ne!(shown(&a), shown(&c));
    assert_eq!(a.solutions.len(), 20);
    assert_eq!(a.solutions.iter().map(|s| &s.solution_id).collect::<HashSet<_>>().len(), 20);
}

/// Every algorithm over the rules: within its budget, deterministic, and whatever it calls solved is correct.
#[test]
fn every_algorithm_keeps_to_its_budget() {
    let puzzle =
        Problem { domain: "countdown".into(), ..problem("puzzle", "Use 2, 3, 4 and 12 to make 24.", "24") };
    let problems = [clips(), puzzle];
    for algorithm in Algorithm::ALL {
        for budget in [1, 7, 60] {
            let plan = super::Plan {
                algorithm,
                tree: TreeConfig { budget, solutions: 3, ..tree() },
                samples: 500,
                aim: None,
                siblings: None,
                sampling: config().sampling(),
                name: algorithm.name(),
                draws: DRAWS,
                domains: Domains::default(),
            };
            let run = || {
                super::grow::run(&problems, &plan, &mut Rules::default(), &mut Values::Effort, &Silent)
                    .unwrap()
            };
            let (outcomes, again) = (run(), run());
            for ((problem, outcome), other) in problems.iter().zip(&outcomes).zip(&again) {
                assert!(outcome.spent.expansions <= budget, "{algorithm:?} spent {:?}", outcome.spent);
                assert_eq!(
                    (&outcome.spent, &outcome.solutions),
                    (&other.spent, &other.solutions),
                    "{algorithm:?}"
                );
                for node in &outcome.solutions {
                    let answer = outcome.tree.get(*node).answer.clone().unwrap();
                    let verdict =
                        crate::verify::judge(&plan.domains, problem, &outcome.tree.steps(*node), &answer)
                            .verdict;
                    assert_eq!(verdict, Verdict::Correct, "{algorithm:?}");
                }
            }
        }
    }
}
