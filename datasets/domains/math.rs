//! Word problems: a question in words, a number as the answer.
//!
//! # Rules
//!
//! A state's pool holds the numbers that the question writes or means ([`givens`]) and the results of the
//! steps so far. A step combines two of them with `+ - * /`; [`moves`] says which combinations make sense. A
//! path may end when every result but the last was used: no step is there for nothing.
//!
//! # Verdicts
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | the answer is the gold's, and the steps pass every check |
//! | `correct_answer_wrong_steps` | correct | the answer is the gold's, and the steps fail a check (see [`crate::types::FaultKind`]) |
//! | `no_answer` | wrong | no final answer |
//! | `wrong_answer` | wrong | another value than the gold |
//! | `other_kind`, `other_unit` | wrong | the answer is never the gold: a pair and a number, `5 kg` and `5 m` |
//! | `answer_unreadable` | wrong | the gold is mathematics and the answer is text |
//! | `gold_unreadable` | undecidable | the gold is text, and the answer is another |
//! | `not_decided` | undecidable | the answer could be proved neither equal to the gold nor different |
//! | `out_of_fuel` | undecidable | the answer, the gold, or an equation on the way to a right answer is too long to evaluate |
//!
//! The answer is judged first ([`crate::grade::compare`]), then the steps (`steps`): their equations, what
//! the text says of them, where their numbers come from, what they are there for, and whether they end in the
//! answer. The domain `countdown` has further reasons of its own, see [`super::countdown`].

mod features;
mod givens;
mod moves;
mod steps;

pub(crate) use givens::written;
pub use givens::{LEXICON, givens};
pub use moves::{Choice, MAX_DECIMALS, MAX_USES, MAX_VALUE, apply, choices, follow};

use crate::answer::compare;
use crate::domain::{Describe, Domain, Key, Move, Origin, State, Verifier};
use crate::types::{Judgement, Problem, StepCheck, Verdict};

/// What a given number left unused counts, in steps: it may be there to distract, so a little less than one.
const UNUSED_GIVEN: f64 = 0.9;

/// The domain of word problems.
#[derive(Clone, Copy, Debug)]
pub struct Math;

impl Domain for Math {
    fn name(&self) -> &'static str {
        "math"
    }

    fn version(&self) -> u32 {
        12
    }

    fn calculates(&self) -> bool {
        true
    }

    fn start(&self, problem: &Problem) -> State {
        State { pool: givens(&problem.question), ..State::default() }
    }

    fn moves(&self, state: &State) -> Option<Vec<Move>> {
        Some(choices(state).iter().map(|choice| apply(state, choice)).collect())
    }

    fn answer(&self, state: &State) -> Option<String> {
        let last = state.pool.last().filter(|q| matches!(q.origin, Origin::Result(_)) && q.uses == 0)?;
        (unused_results(state) == 1).then(|| last.value.to_string())
    }

    fn follow(&self, state: &State, step: &str) -> Option<State> {
        follow(state, step)
    }

    /// Every quantity with its kind and its uses.
    fn key(&self, state: &State) -> Key {
        let kind = |origin| match origin {
            Origin::Given => 0,
            Origin::Lexicon => 1,
            Origin::Result(_) => 2,
        };
        let mut key: Vec<_> = state.pool.iter().map(|q| (q.value, kind(q.origin) + 3 * q.uses)).collect();
        key.sort_unstable();
        Key::Numbers(key)
    }

    /// A step joins two quantities into one, and every result must be used.
    fn least_steps(&self, state: &State) -> usize {
        unused_results(state).saturating_sub(1)
    }

    /// Without the given numbers in it, a search would find the shortest coincidences first: paths that
    /// ignore half of the question.
    fn effort(&self, state: &State) -> f64 {
        let given = state.pool.iter().filter(|q| q.uses == 0 && q.origin == Origin::Given).count();
        self.least_steps(state) as f64 + UNUSED_GIVEN * given as f64
    }

    fn features<'a>(&self, problem: &'a Problem) -> Describe<'a> {
        Box::new(features::of(&problem.question))
    }

    fn check_step(&self, _problem: &Problem, _earlier: &[String], step: &str) -> StepCheck {
        steps::check_step(step)
    }
}

impl Verifier for Math {
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let comparison = compare(&problem.answer, final_answer);
        let examined = steps::examine(&problem.question, steps, final_answer);
        let (verdict, reason) = match comparison.verdict {
            Verdict::Correct if !examined.faults.is_empty() => {
                (Verdict::Correct, "correct_answer_wrong_steps")
            }
            Verdict::Correct if examined.out_of_fuel => (Verdict::Undecidable, "out_of_fuel"),
            verdict => (verdict, comparison.reason),
        };
        let first_wrong = examined.first_wrong();
        Judgement {
            verdict,
            reason: reason.to_owned(),
            checks: examined.checks,
            first_wrong,
            faults: examined.faults,
            score: None,
        }
    }
}

/// Results that no later step has used, the last one included: a path that may end has exactly one.
pub fn unused_results(state: &State) -> usize {
    state.pool.iter().filter(|q| matches!(q.origin, Origin::Result(_)) && q.uses == 0).count()
}

#[cfg(test)]
mod tests;
