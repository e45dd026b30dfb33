//! Is the final answer what the steps end in?

use super::known::Known;
use super::reading::{EquationResult, Mention, Reading, Standing};
use crate::answer::Amount;
use crate::expr::{Kind, Token, is_rounded};
use crate::number::Number;

/// Words that ask for counts of what is never cut, or for a rounded number, wherever they stand in the
/// question.
const ROUNDING: &[&str] =
    &["round", "rounded", "nearest", "whole", "full", "complete", "approximately", "about", "estimate"];

/// Nouns behind `how many` that are measured and not counted.
const MEASURES: &[&str] = &["dollars", "percent", "percentage"];

/// Does the solution lead to its answer? Steps without an equation, and an answer that is no number, are not
/// judged.
///
/// The answer may be
///
/// - the last result, or an earlier one that nothing used (the larger of two prices);
/// - such a result to the decimals that the answer shows, or as a whole number where the question counts or
///   rounds;
/// - such a result in percent or as a fraction, as cents or dollars;
/// - a number that the last step states outside of its calculation: as `x = 5`, or in words behind its last
///   equation, if it is known or follows from what is known in one operation.
pub(super) fn supports(reading: &Reading, answer: &str) -> bool {
    let Some(amount) = Amount::read(answer) else { return true };
    let Some(value) = Number::from_big(&amount.value) else { return true };
    if reading.outcomes.is_empty() {
        return true;
    }
    let words = words(reading.question);
    let counts = counts(&words);
    let ends = reading
        .outcomes
        .iter()
        .enumerate()
        .rev()
        .filter(|(at, outcome)| *at + 1 == reading.outcomes.len() || !is_used(reading, outcome));
    for (_, end) in ends {
        let is = |result: Number| {
            let same = Amount { value: result.to_big(), percent: false }.is_same(&amount);
            same || is_rounded(&result.to_big(), answer.trim().trim_start_matches('$'))
                || counts && is_whole(result, value)
        };
        if is(end.value) || end.value.checked_mul(Number::integer(100)).is_some_and(is) && scales(&words) {
            return true;
        }
    }
    is_stated(reading, value)
}

/// Does anything compute with the result, or mention it, later on?
pub(super) fn is_used(reading: &Reading, outcome: &EquationResult) -> bool {
    reading.mentions[outcome.at..].iter().any(|m| m.place == Standing::Operand && m.value == outcome.value)
}

/// Is the answer the whole number below or above the result?
fn is_whole(result: Number, answer: Number) -> bool {
    answer.is_integer()
        && result.checked_sub(answer).is_some_and(|off| off < Number::ONE && off > Number::integer(-1))
}

/// Does the question count things (`how many buses`), or ask for a rounded number?
fn counts(words: &[String]) -> bool {
    let asks =
        words.windows(3).any(|w| w[0] == "how" && w[1] == "many" && !MEASURES.contains(&w[2].as_str()));
    asks || words.iter().any(|word| ROUNDING.contains(&word.as_str()))
}

fn scales(words: &[String]) -> bool {
    words.iter().any(|word| matches!(word.as_str(), "percent" | "percentage" | "cents" | "%"))
}

/// Is the number stated in the last step, other than as an operand, and not out of thin air?
fn is_stated(reading: &Reading, value: Number) -> bool {
    let last = reading.lines.len().saturating_sub(1);
    let founded = || {
        let mut known = Known::of(reading);
        for outcome in &reading.outcomes {
            known.learn(outcome.value);
        }
        known.has(value) || known.derives(value)
    };
    let computed = |m: &Mention| m.step == last && matches!(m.place, Standing::Operand | Standing::Result);
    let end = reading.mentions.iter().rposition(computed).map_or(0, |at| at + 1);
    let stated = |place, from: usize| {
        reading.mentions[from..].iter().any(|m| m.step == last && m.place == place && m.value == value)
    };
    stated(Standing::Stated, 0) || stated(Standing::Prose, end) && founded()
}

/// Words and percent signs of a text, in lower case.
pub(super) fn words(text: &str) -> Vec<String> {
    let is_word = |t: &Token| matches!(t.kind, Kind::Word | Kind::Percent);
    crate::expr::lex(text).into_iter().filter(is_word).map(|t| t.text.to_lowercase()).collect()
}
