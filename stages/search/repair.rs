//! Repairs of wrong samples: the steps that a policy drew, completed by one legal step of the domain that
//! reaches the answer.
//!
//! A policy that has learned short paths stops early or goes wrong at the end, while its first steps are
//! right: one step is missing, and there are few that could be it, so far fewer of them reach the answer by
//! chance than of all paths. Samples that are drawn apart and come to the same calculation confirm it (after
//! the completion consensus of rStar, arXiv 2408.06195).

use datasets::Domain;
use datasets::number::Number;
use datasets::types::{Problem, Step, Verdict};

use crate::policy::Proposal;

/// Most repairs of one sample.
const MOST: usize = 3;

/// The steps of wrong samples with one legal step behind them that reaches the answer: behind all of a
/// sample's steps, else behind all but the last. Each with the number of its sample.
pub fn repairs(
    problem: &Problem,
    domain: &dyn Domain,
    samples: &[Proposal],
) -> Vec<(usize, Vec<Step>, String)> {
    let Some(gold) = Number::parse(problem.answer.trim()) else { return Vec::new() };
    let right =
        |steps: &[String], answer: &str| domain.verify(problem, steps, answer).verdict == Verdict::Correct;
    let mut found = Vec::new();
    for (ordinal, sample) in samples.iter().enumerate() {
        let texts: Vec<String> = sample.steps.iter().map(|step| step.text.clone()).collect();
        if texts.is_empty() || right(&texts, &sample.final_answer) {
            continue;
        }
        for kept in [texts.len(), texts.len() - 1] {
            let mut state = Some(domain.start(problem));
            for step in &texts[..kept] {
                state = state.and_then(|state| domain.follow(&state, step));
            }
            let Some(moves) = state.and_then(|state| domain.moves(&state)) else { continue };
            let before = found.len();
            for last in moves.into_iter().filter(|last| last.value == Some(gold)) {
                let Some(answer) = domain.answer(&last.next) else { continue };
                let steps: Vec<String> = texts[..kept].iter().cloned().chain([last.text]).collect();
                if found.len() - before < MOST && right(&steps, &answer) {
                    let added = steps.last().cloned().unwrap_or_default();
                    let nan = f32::NAN;
                    let mut steps = sample.steps[..kept].to_vec();
                    steps.push(Step { text: added, logprob: nan, value: nan, q: nan, tokens: 0 });
                    found.push((ordinal, steps, answer));
                }
            }
            if found.len() > before {
                break;
            }
        }
    }
    found
}
