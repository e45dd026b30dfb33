//! Where the numbers of a path come from, and whether its steps are there for something.

use super::known::{Known, is_near};
use super::reading::{EquationResult, Mention, Reading, Standing};
use crate::answer::Amount;
use crate::number::Number;
use crate::types::{Fault, FaultKind};

/// Operands that nobody gave.
///
/// What is known grows along the path: by results, by what is stated (`x = 5`, `1 hour = 60 minutes`), and by
/// numbers that the prose of an earlier step says and that follow from what is known in one operation (`then
/// there will be 14`), and by what is computed silently from what is known (`100 - (15 + 23)`, then `100 -
/// 38`).
pub(super) fn made_up(reading: &Reading) -> Vec<Fault> {
    let mut known = Known::of(reading);
    let mut found = Vec::new();
    let mut next = 0;
    let mut said: Vec<&Mention> = Vec::new();
    let mut silent = reading.silent.iter().peekable();
    for outcome in &reading.outcomes {
        while let Some(mention) = reading.mentions.get(next).filter(|_| next < outcome.at) {
            match mention.place {
                Standing::Stated | Standing::Result => known.learn(mention.value),
                Standing::Prose => said.push(mention),
                Standing::Operand => {}
            }
            next += 1;
        }
        let earlier = said.iter().take_while(|mention| mention.step < outcome.step).count();
        for mention in said.drain(..earlier) {
            if known.derives(mention.value) {
                known.learn(mention.value);
            }
        }
        while let Some(part) = silent.next_if(|part| part.step <= outcome.step) {
            if part.operands.iter().all(|&operand| known.has(operand)) {
                known.learn(part.value);
            }
        }
        for &operand in outcome.operands.iter().filter(|&&operand| !known.has(operand)) {
            let evidence = format!("{operand} in {}", outcome.text);
            let fault = Fault { kind: FaultKind::MadeUpNumber, step: Some(outcome.step as u32), evidence };
            if found.last() != Some(&fault) {
                found.push(fault);
            }
        }
        known.learn(outcome.value);
    }
    found
}

/// Results before the last step that nothing takes up: no later number is that result, nor it in percent, in
/// thousands, with another sign or to fewer decimals. Only equations that compute something are asked.
pub(super) fn orphans(reading: &Reading, answer: &str) -> Vec<Fault> {
    let Some(answer) = Amount::read(answer) else { return Vec::new() };
    let Some(last) = reading.outcomes.last().map(|outcome| outcome.step) else { return Vec::new() };
    let is_orphan = |outcome: &&EquationResult| {
        let takes_up = |m: &Mention| {
            m.place != Standing::Result
                && (is_form(outcome.value, m.value) || is_near(outcome.value, m.value))
        };
        let is_answer = || Amount { value: outcome.value.to_big(), percent: false }.is_same(&answer);
        !outcome.operands.is_empty() && !reading.mentions[outcome.at..].iter().any(takes_up) && !is_answer()
    };
    let fault = |outcome: &EquationResult| Fault {
        kind: FaultKind::OrphanStep,
        step: Some(outcome.step as u32),
        evidence: outcome.text.clone(),
    };
    reading.outcomes.iter().filter(|outcome| outcome.step < last).filter(is_orphan).map(fault).collect()
}

/// May a result be written like this later on: with another sign, as a percentage or as its decimal, in
/// thousands or millions or written out?
fn is_form(result: Number, written: Number) -> bool {
    if written == result || written.checked_neg() == Some(result) {
        return true;
    }
    let ratio = written.checked_div(result);
    let is = |times: i64, by: i64| ratio.is_some() && ratio == Number::ratio(times, by);
    let shrunk = !written.is_integer() && (is(1, 100) || is(1, 1000) || is(1, 1_000_000));
    shrunk || is(1000, 1) || is(1_000_000, 1) || is(100, 1) && !result.is_integer()
}
