//! Word problems: a question in words, a number as the answer.
//!
//! # Rules
//!
//! A state's pool holds the numbers that the question writes or means ([`givens`]) and the results of the steps
//! so far. A step combines two of them with `+ - * /`; [`moves`] says which combinations make sense.
//! A path may end when every result but the last was used: no step is there for nothing.
//!
//! # Verdicts
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | the answer is the gold's, and the steps pass every check |
//! | `correct_answer_wrong_steps` | correct | the answer is the gold's, and the steps fail a check (see [`FaultKind`]) |
//! | `no_answer` | wrong | no final answer |
//! | `wrong_answer` | wrong | another value than the gold |
//! | `other_kind`, `other_unit` | wrong | the answer is never the gold: a pair and a number, `5 kg` and `5 m` |
//! | `answer_unreadable` | wrong | the gold is mathematics and the answer is text |
//! | `gold_unreadable` | undecidable | the gold is text, and the answer is another |
//! | `not_decided` | undecidable | the answer could be proved neither equal to the gold nor different |
//! | `out_of_fuel` | undecidable | the answer, the gold, or an equation on the way to a right answer is too long to evaluate |
//!
//! The answer is judged first ([`crate::grade::compare`]), then the steps. The domain `countdown` has further
//! reasons of its own, see [`super::countdown`].

mod givens;
mod moves;

pub use givens::{LEXICON, givens};
pub use moves::{Choice, MAX_DECIMALS, MAX_USES, MAX_VALUE, apply, choices};

use crate::answer::{Amount, compare};
use crate::domain::{Domain, Move, Origin, State};
use crate::expr::{self, Equation, ExprError, Kind, Truth, equations, evaluate};
use crate::types::{Fault, FaultKind, Judgement, Problem, StepCheck, Verdict};

/// The domain of word problems.
#[derive(Clone, Copy, Debug)]
pub struct Math;

impl Domain for Math {
    fn name(&self) -> &'static str {
        "math"
    }

    fn version(&self) -> u32 {
        3
    }

    fn start(&self, problem: &Problem) -> State {
        State { steps: Vec::new(), pool: givens(&problem.question) }
    }

    fn moves(&self, state: &State) -> Option<Vec<Move>> {
        Some(choices(state).iter().map(|choice| apply(state, choice)).collect())
    }

    fn answer(&self, state: &State) -> Option<String> {
        let last = state.pool.last().filter(|q| matches!(q.origin, Origin::Result(_)) && q.uses == 0)?;
        (unused_results(state) == 1).then(|| last.value.to_string())
    }

    fn check_step(&self, _problem: &Problem, _earlier: &[String], step: &str) -> StepCheck {
        check(&equations(step))
    }

    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let found: Vec<Vec<Equation>> = steps.iter().map(|step| equations(step)).collect();
        let checks: Vec<StepCheck> = found.iter().map(|equations| check(equations)).collect();
        let first_wrong = checks.iter().position(|&check| check == StepCheck::False);
        let comparison = compare(&problem.answer, final_answer);
        let out_of_fuel = || found.iter().flatten().any(|e| e.check() == Truth::Unknown(ExprError::OutOfFuel));
        let first_wrong = first_wrong.map(|at| at as u32);
        let mut faults = Vec::new();
        if let Some(at) = first_wrong {
            faults.push(Fault { kind: FaultKind::FalseEquation, step: Some(at), evidence: steps[at as usize].clone() });
        }
        if !supports(&found, steps, final_answer) {
            faults.push(Fault { kind: FaultKind::Unsupported, step: None, evidence: final_answer.to_owned() });
        }
        let (verdict, reason) = match comparison.verdict {
            Verdict::Correct if !faults.is_empty() => (Verdict::Correct, "correct_answer_wrong_steps"),
            Verdict::Correct if out_of_fuel() => (Verdict::Undecidable, "out_of_fuel"),
            verdict => (verdict, comparison.reason),
        };
        Judgement { verdict, reason: reason.to_owned(), checks, first_wrong, faults }
    }
}

/// Results that no later step has used, the last one included: a path that may end has exactly one.
pub fn unused_results(state: &State) -> usize {
    state.pool.iter().filter(|q| matches!(q.origin, Origin::Result(_)) && q.uses == 0).count()
}

/// The check of a step from its equations.
fn check(equations: &[Equation]) -> StepCheck {
    let truths: Vec<(bool, Truth)> = equations.iter().map(|e| (e.annotated, e.check())).collect();
    // `$2/person * 5 people = <<2*5=10>>10`: the annotation says what the words leave unclear.
    let annotated = truths.contains(&(true, Truth::Holds));
    let unclear = |&(own, truth): &(bool, Truth)| match truth {
        Truth::Unknown(ExprError::OutOfFuel) => true,
        Truth::Unknown(_) => own || !annotated,
        _ => false,
    };
    if truths.iter().any(|(_, truth)| *truth == Truth::Fails) {
        StepCheck::False
    } else if truths.iter().any(unclear) {
        StepCheck::Unreadable
    } else if truths.is_empty() {
        StepCheck::Prose
    } else {
        StepCheck::True
    }
}

/// Do the steps lead to the answer? Steps without an equation, and an answer that is no number, are not judged.
fn supports(found: &[Vec<Equation>], steps: &[String], answer: &str) -> bool {
    let Some(answer) = Amount::read(answer) else { return true };
    if found.iter().all(Vec::is_empty) {
        return true;
    }
    let is_answer = |text: &str, value| Amount { value, percent: text.ends_with('%') }.is_same(&answer);
    let mut sides = found.iter().flatten().flat_map(|e| [&e.rhs, &e.lhs]);
    sides.any(|side| evaluate(side.trim_end_matches('%')).is_ok_and(|value| is_answer(side, value)))
        || steps.last().is_some_and(|step| mentions(step, &answer))
}

/// Is the number written in the text, plainly or as a fraction?
fn mentions(text: &str, number: &Amount) -> bool {
    let tokens = expr::lex(text);
    (0..tokens.len()).filter(|&at| tokens[at].kind == Kind::Number).any(|at| {
        let percent = |end: usize| tokens.get(end).is_some_and(|t| t.kind == Kind::Percent);
        let read = |end: usize| expr::parse(tokens.get(at..end)?).ok()?.value().ok();
        [at + 1, at + 3].into_iter().any(|end| read(end).is_some_and(|value| Amount { value, percent: percent(end) }.is_same(number)))
    })
}

#[cfg(test)]
mod tests;
