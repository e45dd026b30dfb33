//! What is wrong with the steps of a solution, whatever its answer.
//!
//! A solution is read once, in order, as numbers with the place that each stands in ([`Reading`]); the rules
//! are functions over that reading. Golds of GSM8K set the bounds of every rule: nearly all of them are
//! right, so what a rule says of them is a false alarm.
//!
//! | fault | rule |
//! |---|---|
//! | false equation | [`Equation::check`] says so; a result that was rounded to the decimals written is none |
//! | contradiction | the number right behind an annotation is not its result ([`contradicts`]) |
//! | unsupported | the answer is not what the steps end in ([`support::supports`]) |
//! | made-up number | an operand is neither given nor known nor computed ([`origins::made_up`], [`known`]) |
//! | orphan step | nothing takes up a result ([`origins::orphans`]) |

mod known;
mod origins;
mod reading;
mod support;

use crate::expr::{Equation, ExprError, Truth, evaluate};
use crate::number::Number;
use crate::types::{Fault, FaultKind, StepCheck};
use known::is_within;
use reading::{Echo, Line, Reading};

/// All that the steps say against or for a solution.
pub(super) struct Examination {
    /// One check a step, in order.
    pub checks: Vec<StepCheck>,
    /// By step; those of the path as a whole come last.
    pub faults: Vec<Fault>,
    /// An equation is too long to evaluate.
    pub out_of_fuel: bool,
}

impl Examination {
    /// The first step with a false equation or a contradiction.
    pub fn first_wrong(&self) -> Option<u32> {
        let wrong =
            |fault: &&Fault| matches!(fault.kind, FaultKind::FalseEquation | FaultKind::Contradiction);
        self.faults.iter().filter(wrong).filter_map(|fault| fault.step).min()
    }
}

/// Applies every rule. Of a solution with more than [`reading::MAX_MENTIONS`] numbers, or with an equation
/// that is too long, only the equations are judged.
pub(super) fn examine(question: &str, steps: &[String], answer: &str) -> Examination {
    let reading = Reading::of(question, steps);
    let mut examination =
        Examination { checks: Vec::with_capacity(steps.len()), faults: Vec::new(), out_of_fuel: false };
    for (at, line) in reading.lines.iter().enumerate() {
        let truths = truths(line);
        examination.out_of_fuel |=
            truths.iter().any(|(_, truth)| *truth == Truth::Unknown(ExprError::OutOfFuel));
        let contradictions: Vec<&Echo> = line.echoes.iter().filter(|echo| contradicts(echo)).collect();
        let mut fault = |kind, evidence| {
            let fault = Fault { kind, step: Some(at as u32), evidence };
            // `48/2 = <<48/2=25>>25` is false twice.
            if !examination.faults.contains(&fault) {
                examination.faults.push(fault);
            }
        };
        for (equation, _) in
            line.equations.iter().zip(&truths).filter(|(_, (_, truth))| *truth == Truth::Fails)
        {
            // `48/2 = <<48/2=24>>25`: what the text says is the contradiction.
            if equation.annotated || !contradictions.iter().any(|echo| echo.written == equation.rhs) {
                fault(FaultKind::FalseEquation, format!("{}={}", equation.lhs, equation.rhs));
            }
        }
        for echo in &contradictions {
            fault(FaultKind::Contradiction, format!("<<{}>>{}", echo.annotation, echo.written));
        }
        examination.checks.push(if contradictions.is_empty() { check(&truths) } else { StepCheck::False });
    }
    if reading.is_cut() || examination.out_of_fuel {
        return examination;
    }
    examination.faults.extend(origins::made_up(&reading));
    examination.faults.extend(origins::orphans(&reading, answer));
    examination.faults.sort_by_key(|fault| (fault.step, fault.kind));
    if !support::supports(&reading, answer) {
        let last = reading.outcomes.last().map_or("", |last| &last.text);
        let evidence = format!("{} after {last}", answer.trim());
        examination.faults.push(Fault { kind: FaultKind::Unsupported, step: None, evidence });
    }
    examination
}

/// The check of one step.
pub(super) fn check_step(step: &str) -> StepCheck {
    let reading = Reading::of("", std::slice::from_ref(&step));
    let line = &reading.lines[0];
    if line.echoes.iter().any(contradicts) { StepCheck::False } else { check(&truths(line)) }
}

/// For each equation whether it is an annotation, and what exact evaluation says. `10/4 = <<10/4=2.5>>3`
/// repeats an annotation in fewer digits.
fn truths(line: &Line) -> Vec<(bool, Truth)> {
    let repeats = |e: &Equation, echo: &Echo| {
        !e.annotated
            && echo.written == e.rhs
            && !contradicts(echo)
            && evaluate(&e.lhs).is_ok_and(|value| Ok(value) == evaluate(&echo.result))
    };
    let truth = |e: &Equation| match e.check() {
        Truth::Fails if line.echoes.iter().any(|echo| repeats(e, echo)) => Truth::Rounded,
        truth => truth,
    };
    line.equations.iter().map(|e| (e.annotated, truth(e))).collect()
}

fn check(truths: &[(bool, Truth)]) -> StepCheck {
    // `$2/person * 5 people = <<2*5=10>>10`: the annotation says what the words leave unclear.
    let annotated = truths.iter().any(|&(own, truth)| own && matches!(truth, Truth::Holds | Truth::Rounded));
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
    } else if truths.iter().any(|(_, truth)| *truth == Truth::Rounded) {
        StepCheck::Rounded
    } else {
        StepCheck::True
    }
}

/// Does the number right behind an annotation say another result?
///
/// It may be rounded to the digits that it shows, and be told in percent, cents, thousands or millions.
fn contradicts(echo: &Echo) -> bool {
    let Some(result) =
        evaluate(echo.result.trim_end_matches('%')).ok().and_then(|value| Number::from_big(&value))
    else {
        return false;
    };
    let decimals = echo.written.split_once('.').map_or(0, |(_, decimals)| decimals.len() as u32);
    let whole = echo.values.iter().all(|value| *value == echo.values[0]);
    let says =
        |value: Number| echo.values.contains(&value) || whole && is_within(value, echo.values[0], decimals);
    let scales = [(100, 1), (1, 100), (1, 1000), (1, 1_000_000), (1, 1_000_000_000)];
    let scaled = |&(times, by): &(i64, i64)| result.checked_mul(Number::ratio(times, by)?);
    !(says(result) || echo.has_unit && scales.iter().filter_map(scaled).any(says))
}

#[cfg(test)]
#[path = "steps/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "steps/published.rs"]
mod published;

#[cfg(test)]
#[path = "steps/golds.rs"]
mod golds;
