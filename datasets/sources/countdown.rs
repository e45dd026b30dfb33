//! Countdown problems: random numbers and a target that they can make.
//!
//! A target is made by combining all numbers with random legal steps, so every problem has a solution, which
//! goes into `meta`. Targets, not problems, are held out ([`held_out`]): a model that has learnt a training
//! target by heart gains nothing on the others.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::domains::countdown::combine;
use crate::expr::Operator;
use crate::key;
use crate::number::Number;

/// What problems to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Dial {
    /// How many numbers, 2 to 6.
    pub numbers: u32,
    pub min_number: u32,
    pub max_number: u32,
    pub min_target: u32,
    pub max_target: u32,
    /// Share of the targets that are held out, see [`held_out`].
    pub holdout: f64,
}

impl Default for Dial {
    /// Four numbers from 1 to 99, targets from 10 to 100: the setting of Stream of Search (arXiv:2404.03683).
    fn default() -> Self {
        Dial { numbers: 4, min_number: 1, max_number: 99, min_target: 10, max_target: 100, holdout: 0.1 }
    }
}

/// A problem before it has an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub question: String,
    /// The target.
    pub answer: String,
    /// Steps of a solution: one less than numbers.
    pub difficulty: u32,
    /// `numbers`, `target` and one solution as `solution`.
    pub meta: serde_json::Value,
}

/// Draws until the target is in range; beyond it the draw whose target is nearest to the range is taken.
const MAX_DRAWS: u32 = 100_000;

/// The problem number `index` of a seed. Bounds given in the wrong order are swapped, and the count of
/// numbers is kept within 2 to 6. Where the numbers cannot make a target in range, the target is out of
/// range.
pub fn generate(seed: u64, index: u64, dial: &Dial) -> Draft {
    let mut rng = key::rng(&["countdown".into(), seed.into(), index.into()]);
    let count = dial.numbers.clamp(2, 6) as usize;
    let numbers = ordered(dial.min_number, dial.max_number);
    let targets = ordered(dial.min_target, dial.max_target);
    let mut best: Option<(u64, Draw)> = None;
    for _ in 0..MAX_DRAWS {
        let Some(draw) = draw(&mut rng, count, numbers) else { continue };
        let off = distance(draw.target, targets);
        if best.as_ref().is_none_or(|(least, _)| off < *least) {
            best = Some((off, draw));
        }
        if off == 0 {
            break;
        }
    }
    // Sums alone always give a draw, so there is one; the empty draw only spares callers an error.
    best.map(|(_, draw)| draw).unwrap_or_default().into_draft()
}

/// Is a target held out for evaluation? Decided by seed and target alone, so that each target is on one side
/// in every run; `fraction` of all targets are.
pub fn held_out(seed: u64, target: u32, fraction: f64) -> bool {
    key::unit(&["countdown target".into(), seed.into(), u64::from(target).into()]) < fraction
}

fn ordered(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}

fn distance(target: Number, (low, high): (u32, u32)) -> u64 {
    let target = target.numerator();
    (i64::from(low) - target).max(target - i64::from(high)).max(0).unsigned_abs()
}

#[derive(Default)]
struct Draw {
    numbers: Vec<u32>,
    steps: Vec<String>,
    target: Number,
}

impl Draw {
    fn into_draft(self) -> Draft {
        let Draw { numbers, steps, target } = self;
        Draft {
            question: question(&numbers, target),
            answer: target.to_string(),
            difficulty: numbers.len().saturating_sub(1) as u32,
            meta: json!({ "numbers": numbers, "target": target.numerator(), "solution": steps }),
        }
    }
}

/// `Use each of the numbers 3, 7, 25 and 50 exactly once with + - * / to make 632.`
fn question(numbers: &[u32], target: Number) -> String {
    let mut list = String::new();
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 {
            list.push_str(if at + 1 == numbers.len() { " and " } else { ", " });
        }
        list.push_str(&number.to_string());
    }
    format!("Use each of the numbers {list} exactly once with + - * / to make {target}.")
}

/// Random numbers, combined by random legal steps that do not give zero. `None` where numbers grow too large.
fn draw(rng: &mut ChaCha8Rng, count: usize, (low, high): (u32, u32)) -> Option<Draw> {
    let numbers: Vec<u32> = (0..count).map(|_| rng.random_range(low..=high)).collect();
    let mut pool: Vec<Number> = numbers.iter().map(|&n| Number::from(n)).collect();
    let mut steps = Vec::with_capacity(count - 1);
    while pool.len() > 1 {
        let first = pool.swap_remove(rng.random_range(0..pool.len()));
        let second = pool.swap_remove(rng.random_range(0..pool.len()));
        let (a, b) = (first.max(second), first.min(second));
        let legal: Vec<(Operator, Number)> =
            [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide]
                .into_iter()
                .filter_map(|operator| {
                    Some((operator, combine(a, operator, b).filter(|value| !value.is_zero())?))
                })
                .collect();
        if legal.is_empty() {
            return None;
        }
        let (operator, value) = legal[rng.random_range(0..legal.len())];
        steps.push(format!("{a}{}{b}={value}", operator.sign()));
        pool.push(value);
    }
    Some(Draw { numbers, steps, target: pool.pop()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Verifier;
    use crate::domains::countdown::{Countdown, read_question};
    use crate::types::{Problem, Split};
    use proptest::prelude::*;

    fn solution(draft: &Draft) -> Vec<String> {
        serde_json::from_value(draft.meta["solution"].clone()).expect("a list of steps")
    }

    fn problem(draft: &Draft) -> Problem {
        Problem {
            problem_id: String::new(),
            domain: "countdown".into(),
            source: "countdown".into(),
            split: Split::Train,
            question: draft.question.clone(),
            answer: draft.answer.clone(),
            difficulty: draft.difficulty,
            meta: draft.meta.to_string(),
        }
    }

    #[test]
    fn wording() {
        let text = question(&[3, 7, 25, 50], Number::integer(632));
        assert_eq!(text, "Use each of the numbers 3, 7, 25 and 50 exactly once with + - * / to make 632.");
    }

    #[test]
    fn an_impossible_range_gives_the_nearest_target() {
        let dial = Dial {
            numbers: 2,
            min_number: 2,
            max_number: 3,
            min_target: 1000,
            max_target: 900,
            holdout: 0.0,
        };
        let draft = generate(1, 1, &dial);
        assert_eq!(draft.answer, "9");
        let zeros = Dial { min_number: 0, max_number: 0, ..dial };
        assert!(!generate(1, 1, &zeros).question.is_empty());
    }

    #[test]
    fn the_share_that_is_held_out() {
        let count = (0..10_000).filter(|&target| held_out(7, target, 0.1)).count();
        assert!((850..1150).contains(&count), "{count}");
        assert!((0..1000).all(|target| !held_out(7, target, 0.0) && held_out(7, target, 1.0)));
    }

    proptest! {
        #[test]
        fn solvable_in_range_and_repeatable(seed in any::<u64>(), index in any::<u64>(), numbers in 2_u32..=6) {
            let dial = Dial { numbers, ..Dial::default() };
            let draft = generate(seed, index, &dial);
            prop_assert_eq!(&draft, &generate(seed, index, &dial));
            let task = read_question(&draft.question).expect("readable");
            prop_assert_eq!(task.numbers.len(), numbers as usize);
            prop_assert_eq!(task.target.to_string(), draft.answer.clone());
            prop_assert!((10..=100).contains(&task.target.numerator()));
            prop_assert_eq!(draft.difficulty, numbers - 1);
            let judged = Countdown.verify(&problem(&draft), &solution(&draft), &draft.answer);
            prop_assert_eq!(judged.reason, "correct");
        }
    }
}
