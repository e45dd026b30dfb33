//! Countdown: combine given whole numbers, each exactly once, to make a target.
//!
//! A step `a op b = c` takes two of the numbers that are there and puts its result in their place. Numbers go
//! by index, so equal ones are kept apart. Results are whole and not negative; a division leaves no
//! remainder.
//!
//! The question is read by [`read_question`]. A question that cannot be read has no moves, and its solutions
//! are undecidable.
//!
//! | reason | verdict | when (the first that applies) |
//! |---|---|---|
//! | `question_unreadable` | undecidable | no numbers or no target in the question |
//! | `no_answer` | wrong | no final answer |
//! | `false_equation` | wrong | the first bad step has a false result |
//! | `illegal_step` | wrong | the first bad step is not `a op b = c` in whole numbers, or uses a number that is not there |
//! | `out_of_fuel` | undecidable | a step has a number too large to compute with, or the final answer has |
//! | `not_decided` | undecidable | the final answer could be proved neither equal to the target nor different |
//! | `numbers_left` | wrong | not all numbers were used |
//! | `wrong_target` | wrong | the last number, or the final answer, is not the target |
//! | `correct` | correct | otherwise |

mod features;
mod question;

use crate::answer::compare;
use crate::domain::{Describe, Domain, Key, Move, Origin, Quantity, State, Verifier};
use crate::expr::{Operator, equations};
use crate::number::Number;
use crate::types::{Judgement, Problem, StepCheck, Verdict};
use question::OPERATORS;
pub use question::{MAX_NUMBERS, Task, combine, read_question};

/// The domain of Countdown.
#[derive(Clone, Copy, Debug)]
pub struct Countdown;

impl Domain for Countdown {
    fn name(&self) -> &'static str {
        "countdown"
    }

    fn version(&self) -> u32 {
        4
    }

    fn start(&self, problem: &Problem) -> State {
        let numbers = read_question(&problem.question).map(|task| task.numbers).unwrap_or_default();
        let pool =
            numbers.into_iter().map(|value| Quantity { value, origin: Origin::Given, uses: 0 }).collect();
        State { pool, ..State::default() }
    }

    /// The larger number stands first. `x/1` is left out, since `x*1` leads to the same state, and so is a
    /// step with numbers equal to those of another.
    fn moves(&self, state: &State) -> Option<Vec<Move>> {
        let mut found = Vec::new();
        let mut pairs: Vec<(Number, Number)> = Vec::new();
        for i in 0..state.pool.len() {
            for j in i + 1..state.pool.len() {
                let (first, second) = (state.pool[i].value, state.pool[j].value);
                let (a, b) = (first.max(second), first.min(second));
                if pairs.contains(&(a, b)) {
                    continue;
                }
                pairs.push((a, b));
                for operator in OPERATORS {
                    if operator == Operator::Divide && b == Number::ONE {
                        continue;
                    }
                    let Some(value) = combine(a, operator, b) else { continue };
                    let text = format!("{a}{}{b}={value}", operator.sign());
                    let next = merge(state, [i, j], value, &text);
                    found.push(Move { next, text, value: Some(value) });
                }
            }
        }
        Some(found)
    }

    fn answer(&self, state: &State) -> Option<String> {
        match state.pool.as_slice() {
            [last] if !state.steps.is_empty() => Some(last.value.to_string()),
            _ => None,
        }
    }

    fn follow(&self, state: &State, step: &str) -> Option<State> {
        replay(state, step).ok()
    }

    /// The numbers that are left: where they came from does not matter.
    fn key(&self, state: &State) -> Key {
        let mut key: Vec<_> = state.pool.iter().map(|quantity| (quantity.value, 0)).collect();
        key.sort_unstable();
        Key::Numbers(key)
    }

    fn least_steps(&self, state: &State) -> usize {
        state.pool.len().saturating_sub(1)
    }

    fn effort(&self, state: &State) -> f64 {
        self.least_steps(state) as f64
    }

    fn features<'a>(&self, problem: &'a Problem) -> Describe<'a> {
        Box::new(features::of(read_question(&problem.question)))
    }

    fn check_step(&self, problem: &Problem, earlier: &[String], step: &str) -> StepCheck {
        let mut state = self.start(problem);
        for text in earlier {
            if let Ok(next) = replay(&state, text) {
                state = next;
            }
        }
        check(&replay(&state, step), step)
    }
}

impl Verifier for Countdown {
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let mut state = self.start(problem);
        let mut checks = Vec::with_capacity(steps.len());
        let mut fault = None;
        for step in steps {
            let next = replay(&state, step);
            checks.push(check(&next, step));
            match next {
                Ok(next) => state = next,
                Err(found) => fault = fault.or(Some(found)),
            }
        }
        let first_wrong = checks.iter().position(|&check| check == StepCheck::False).map(|at| at as u32);
        let judge = |verdict, reason: &str| Judgement {
            verdict,
            reason: reason.to_owned(),
            checks,
            first_wrong,
            faults: Vec::new(),
            score: None,
        };
        let Some(task) = read_question(&problem.question) else {
            return judge(Verdict::Undecidable, "question_unreadable");
        };
        let comparison = compare(&task.target.to_string(), final_answer);
        match fault {
            _ if comparison.reason == "no_answer" => judge(Verdict::Wrong, "no_answer"),
            Some(BadStep::False) => judge(Verdict::Wrong, "false_equation"),
            Some(BadStep::Illegal) => judge(Verdict::Wrong, "illegal_step"),
            Some(BadStep::TooLarge) => judge(Verdict::Undecidable, "out_of_fuel"),
            None if state.pool.len() != 1 => judge(Verdict::Wrong, "numbers_left"),
            None if state.pool[0].value != task.target => judge(Verdict::Wrong, "wrong_target"),
            None if comparison.verdict == Verdict::Undecidable => {
                judge(Verdict::Undecidable, comparison.reason)
            }
            None if comparison.verdict != Verdict::Correct => judge(Verdict::Wrong, "wrong_target"),
            None => judge(Verdict::Correct, "correct"),
        }
    }
}

/// The state after two numbers gave way to their result.
fn merge(state: &State, [i, j]: [usize; 2], value: Number, text: &str) -> State {
    let mut pool = Vec::with_capacity(state.pool.len());
    pool.extend(state.pool.iter().enumerate().filter(|(at, _)| *at != i && *at != j).map(|(_, q)| q.clone()));
    pool.push(Quantity { value, origin: Origin::Result(state.steps.len() as u32), uses: 0 });
    let mut steps = Vec::with_capacity(state.steps.len() + 1);
    steps.extend_from_slice(&state.steps);
    steps.push(text.to_owned());
    State { steps, pool, ..State::default() }
}

/// What is wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BadStep {
    /// Its result is not the value of its left side.
    False,
    Illegal,
    TooLarge,
}

/// Takes a step of text, whoever wrote it, from a state.
fn replay(state: &State, step: &str) -> Result<State, BadStep> {
    let (parts, operator) = read_step(step).ok_or(BadStep::Illegal)?;
    let [Some(a), Some(b), Some(written)] = parts.map(Number::parse) else { return Err(BadStep::TooLarge) };
    let holds = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide if b.is_zero() => return Err(BadStep::False),
        Operator::Divide => a.checked_div(b),
    };
    if holds.ok_or(BadStep::TooLarge)? != written {
        return Err(BadStep::False);
    }
    let find = |value, taken: Option<usize>| {
        (0..state.pool.len())
            .find(|&at| Some(at) != taken && state.pool[at].value == value)
            .ok_or(BadStep::Illegal)
    };
    let i = find(a, None)?;
    let j = find(b, Some(i))?;
    Ok(merge(state, [i, j], written, step))
}

/// `a op b = c` with three whole numbers in plain digits and one operator sign; blanks between them are free.
fn read_step(step: &str) -> Option<([&str; 3], Operator)> {
    let (left, result) = step.split_once('=')?;
    let at = left.find(['+', '-', '*', '/', '×', '·', '÷', '−'])?;
    let sign = left[at..].chars().next()?;
    let operator = match sign {
        '+' => Operator::Add,
        '-' | '−' => Operator::Subtract,
        '*' | '×' | '·' => Operator::Multiply,
        _ => Operator::Divide,
    };
    let parts = [&left[..at], &left[at + sign.len_utf8()..], result].map(str::trim);
    let plain = |part: &&str| {
        let canonical = *part == "0" || !part.starts_with('0');
        !part.is_empty() && canonical && part.bytes().all(|b| b.is_ascii_digit())
    };
    parts.iter().all(plain).then_some((parts, operator))
}

/// An illegal step is as false as a wrong result, unless it holds no equation at all.
fn check(replayed: &Result<State, BadStep>, step: &str) -> StepCheck {
    match replayed {
        Ok(_) => StepCheck::True,
        Err(BadStep::TooLarge) => StepCheck::Unreadable,
        Err(BadStep::Illegal) if equations(step).is_empty() => StepCheck::Prose,
        Err(BadStep::False | BadStep::Illegal) => StepCheck::False,
    }
}

#[cfg(test)]
#[path = "countdown_tests.rs"]
mod tests;
