//! Which steps make sense from a state.
//!
//! All pairs of numbers with all four operations, less those that lead nowhere or say the same as another:
//!
//! - `a+b` and `a*b` in one order only, that of the pool (given numbers, then results), with numbers from the
//!   lexicon last; `a-b` only if positive;
//! - no zero operand or result, no `x*1`, `x/1`, `x-x`, `x/x`;
//! - a division only if its result ends within [`MAX_DECIMALS`] decimals; the same holds for every result;
//! - no result above [`MAX_VALUE`];
//! - a number from the lexicon only multiplies and divides, and two of them are not divided by each other;
//! - no number more often than [`MAX_USES`] times, one that stands in the pool twice twice as often;
//!   `x+x` and `x*x` only if it stands there twice;
//! - no step a second time.
//!
//! A result may equal a number that is already there: half of 48 sold leaves 24, twice. Which of two equal
//! numbers a step uses cannot be seen in its text, so the choice that leaves most open is made: a result that
//! is still unused comes first, then unused givens, then the lexicon, then what has been used before.

use crate::domain::{Move, Origin, Quantity, State};
use crate::expr::{Kind, Operator, equations, evaluate, lex};
use crate::number::Number;

/// Most decimals of a result.
pub const MAX_DECIMALS: u32 = 4;
/// Largest result.
pub const MAX_VALUE: i64 = 1_000_000_000;
/// How often one number may be used.
pub const MAX_USES: u32 = 2;

const OPERATORS: [Operator; 4] = [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide];

/// A step before it is written out: cheap to make, copy and score. [`apply`] makes it a [`Move`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    pub left: Number,
    pub operator: Operator,
    pub right: Number,
    pub value: Number,
}

impl Choice {
    /// The step as text, e.g. `48/2=24`. A number without a finite decimal is bracketed: `60*(1/3)=20`.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(24);
        // Writing to a string cannot fail.
        let mut operand = |number: Number, end: char| {
            let _ = match number.decimals() {
                Some(_) => write!(text, "{number}{end}"),
                None => write!(text, "({number}){end}"),
            };
        };
        operand(self.left, self.operator.sign());
        operand(self.right, '=');
        let _ = write!(text, "{}", self.value);
        text
    }
}

/// Equal numbers of the pool, as one.
struct Group {
    value: Number,
    /// Entries that may be used in any operation.
    general: u32,
    /// Entries that may be used to multiply and divide.
    scaling: u32,
}

fn groups(pool: &[Quantity]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(pool.len());
    for quantity in pool.iter().filter(|q| q.uses < MAX_USES && !q.value.is_zero()) {
        let general = u32::from(quantity.origin != Origin::Lexicon);
        match groups.iter_mut().find(|g| g.value == quantity.value) {
            Some(group) => {
                group.general += general;
                group.scaling += 1;
            }
            None => groups.push(Group { value: quantity.value, general, scaling: 1 }),
        }
    }
    // `24*2` for twice 24: what a word means stands behind what it is said of.
    groups.sort_by_key(|g| g.general == 0);
    groups
}

/// The steps that make sense, in a fixed order, without duplicates.
pub fn choices(state: &State) -> Vec<Choice> {
    let groups = groups(&state.pool);
    let mut found = Vec::with_capacity(groups.len() * groups.len() * 2);
    for (i, a) in groups.iter().enumerate() {
        for (j, b) in groups.iter().enumerate() {
            for operator in OPERATORS {
                let ordered = if operator.commutes() { i <= j } else { i != j };
                if !ordered || !is_allowed(a, b, operator, i == j) {
                    continue;
                }
                let Some(value) = result(a.value, operator, b.value) else { continue };
                let choice = Choice { left: a.value, operator, right: b.value, value };
                if !is_repeat(state, &choice) {
                    found.push(choice);
                }
            }
        }
    }
    found
}

fn is_allowed(a: &Group, b: &Group, operator: Operator, same: bool) -> bool {
    let needed = if same { 2 } else { 1 };
    let general = a.general >= needed && b.general >= needed;
    match operator {
        Operator::Add | Operator::Subtract => general,
        Operator::Multiply => a.scaling >= needed,
        Operator::Divide => a.general > 0 || b.general > 0,
    }
}

/// The result of a step that makes sense by its numbers alone.
fn result(a: Number, operator: Operator, b: Number) -> Option<Number> {
    let value = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract if a > b => a.checked_sub(b),
        Operator::Multiply if a != Number::ONE && b != Number::ONE => a.checked_mul(b),
        Operator::Divide if b != Number::ONE => a.checked_div(b),
        _ => None,
    }?;
    let small = value <= Number::integer(MAX_VALUE);
    (small && value.decimals().is_some_and(|d| d <= MAX_DECIMALS)).then_some(value)
}

/// Has this very step been made? Its result would be in the pool, so text is compared only if it is.
fn is_repeat(state: &State, choice: &Choice) -> bool {
    let known = state.pool.iter().any(|q| q.value == choice.value && matches!(q.origin, Origin::Result(_)));
    known && state.steps.contains(&choice.text())
}

/// Makes a step.
pub fn apply(state: &State, choice: &Choice) -> Move {
    let text = choice.text();
    let mut steps = Vec::with_capacity(state.steps.len() + 1);
    steps.extend_from_slice(&state.steps);
    steps.push(text.clone());
    let mut pool = Vec::with_capacity(state.pool.len() + 1);
    pool.extend_from_slice(&state.pool);
    let scales = matches!(choice.operator, Operator::Multiply | Operator::Divide);
    let left = consume(&mut pool, choice.left, scales, None);
    consume(&mut pool, choice.right, scales, left);
    pool.push(Quantity { value: choice.value, origin: Origin::Result(state.steps.len() as u32), uses: 0 });
    Move { text, value: Some(choice.value), next: State { steps, pool, ..State::default() } }
}

/// The state after a step of text: its equations use up what stands on their left, as far as the pool has it,
/// and add what stands on their right. `None` if there is no equation to be read.
pub fn follow(state: &State, step: &str) -> Option<State> {
    let mut next = state.clone();
    let mut followed = false;
    let equations = equations(step);
    // `48 / 2 = <<48/2=24>>24` says the same twice.
    let annotated = equations.iter().any(|equation| equation.annotated);
    for equation in equations.iter().filter(|equation| equation.annotated == annotated) {
        let written = evaluate(equation.rhs.trim_end_matches('%')).ok();
        let Some(value) = written.and_then(|value| Number::from_big(&value)) else { continue };
        let mut taken = None;
        for token in lex(&equation.lhs).iter().filter(|token| token.kind == Kind::Number) {
            let operand = evaluate(&token.text).ok().and_then(|value| Number::from_big(&value));
            taken = operand.and_then(|operand| consume(&mut next.pool, operand, true, taken)).or(taken);
        }
        next.pool.push(Quantity { value, origin: Origin::Result(state.steps.len() as u32), uses: 0 });
        followed = true;
    }
    next.steps.push(step.to_owned());
    followed.then_some(next)
}

/// Counts one use of a value, at the entry that leaves most open; returns it. `taken` is the other operand.
fn consume(pool: &mut [Quantity], value: Number, scales: bool, taken: Option<usize>) -> Option<usize> {
    let rank = |q: &Quantity| match (q.origin, q.uses) {
        (Origin::Result(_), 0) => 0,
        (Origin::Given, 0) => 1,
        (Origin::Lexicon, _) => 2,
        (Origin::Given, _) => 3,
        (Origin::Result(_), _) => 4,
    };
    let usable =
        |q: &Quantity| q.value == value && q.uses < MAX_USES && (scales || q.origin != Origin::Lexicon);
    let best = (0..pool.len())
        .filter(|&at| Some(at) != taken && usable(&pool[at]))
        .min_by_key(|&at| rank(&pool[at]))?;
    pool[best].uses += 1;
    Some(best)
}
