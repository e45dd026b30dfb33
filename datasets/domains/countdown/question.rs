//! What a question of Countdown asks, and which results steps may have.

use crate::expr::Operator;
use crate::number::Number;

/// Most numbers in a question; beyond it it is taken for something else.
pub const MAX_NUMBERS: usize = 8;

/// What a question asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub numbers: Vec<Number>,
    pub target: Number,
}

/// The signs of steps.
pub(super) const OPERATORS: [Operator; 4] =
    [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide];

/// Words before the target.
const TARGET_WORDS: &[&str] = &[
    "make", "makes", "making", "target", "reach", "reaches", "reaching", "equal", "equals", "get", "gets",
    "obtain", "form", "create", "creates", "total", "result",
];

/// Reads numbers and target. The target is the first whole number behind the last word that announces one
/// (`make`, `target`, `equals`, ...), or the last number if there is no such word. All other whole numbers
/// are the numbers to use, in their order. `None` if there is a number that is not whole, or fewer than two
/// or more than [`MAX_NUMBERS`] to use.
pub fn read_question(question: &str) -> Option<Task> {
    let mut found: Vec<Number> = Vec::new();
    let mut target = None;
    let mut rest = question;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| {
            if first.is_ascii_digit() {
                c.is_ascii_digit()
            } else {
                c.is_alphabetic() && first.is_alphabetic()
            }
        };
        let length = rest.find(|c| !same(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (run, behind) = rest.split_at(length);
        if first.is_ascii_digit() {
            let fraction =
                behind.strip_prefix('.').is_some_and(|b| b.starts_with(|c: char| c.is_ascii_digit()));
            if fraction {
                return None;
            }
            found.push(Number::parse(run)?);
        } else if TARGET_WORDS.iter().any(|word| run.eq_ignore_ascii_case(word))
            && behind.contains(|c: char| c.is_ascii_digit())
        {
            target = Some(found.len());
        }
        rest = behind;
    }
    let at = target.unwrap_or(found.len().checked_sub(1)?);
    let target = (at < found.len()).then(|| found.remove(at))?;
    (2..=MAX_NUMBERS).contains(&found.len()).then_some(Task { numbers: found, target })
}

/// The result of a legal step; `None` if it is negative, not whole or too large.
#[inline]
pub fn combine(a: Number, operator: Operator, b: Number) -> Option<Number> {
    let value = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
    }?;
    (value.is_integer() && !value.is_negative()).then_some(value)
}
