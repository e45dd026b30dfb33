//! What a small network may know of a state: how the numbers stand to the target, each by itself and after
//! one more step.

use super::question::{OPERATORS, Task, combine};
use crate::domain::{Features, State, mix};
use crate::number::Number;

/// Numbers that have places of their own, the largest first.
const PLACES: usize = 4;
/// Beyond it a distance is merely far.
const NEAR: i64 = 128;

/// The features of a task's states.
pub fn of(task: Option<Task>) -> impl Fn(&State) -> Features + Send + Sync {
    move |state| task.as_ref().map_or_else(Features::default, |task| describe(state, task.target))
}

fn describe(state: &State, target: Number) -> Features {
    let mut numbers: Vec<Number> = state.pool.iter().map(|q| q.value).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let count = numbers.len() as u64;
    let mut sparse = vec![mix(count, 1), mix(mix(count, 2), target.numerator() as u64)];
    let mut dense = Vec::with_capacity(6 * PLACES + 6);
    for place in 0..PLACES {
        let Some(number) = numbers.get(place) else {
            dense.extend([0.0; 6]);
            continue;
        };
        dense.extend([
            1.0,
            size(*number) / 4.0,
            (size(*number) - size(target)) / 4.0,
            flag(*number == target),
            flag(divides(*number, target)),
            flag(divides(target, *number)),
        ]);
        let named = |what: u64, number: u64| mix(mix(mix(count, what), place as u64), number);
        sparse.push(named(10, number.numerator().min(128) as u64));
        sparse.push(named(11, apart(*number, target)));
    }
    // One step ahead: how near its results come, and whether what they leave is plain.
    let (mut nearest, mut hits, mut factors, mut close, mut all) =
        (f32::INFINITY, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for i in 0..numbers.len() {
        for j in i + 1..numbers.len() {
            for operator in OPERATORS {
                let Some(result) = combine(numbers[i], operator, numbers[j]) else { continue };
                let distance = (size(result) - size(target)).abs();
                nearest = nearest.min(distance);
                all += 1.0;
                hits += flag(result == target);
                factors += flag(divides(result, target));
                close += flag(distance < 0.5);
                let others = (0..numbers.len()).filter(|k| *k != i && *k != j).map(|k| numbers[k]);
                let rest = others
                    .fold(mix(count, 20), |hash, number| mix(hash, number.numerator().min(NEAR) as u64));
                sparse.push(mix(rest, apart(result, target)));
                sparse.extend(times(result, target).map(|times| mix(mix(rest, 30), times)));
            }
        }
    }
    let share = |x: f32| if all > 0.0 { x / all } else { 0.0 };
    let last = if count == 2 { 1.0 } else { 0.0 };
    dense.extend([
        nearest.min(4.0),
        flag(hits > 0.0) * last,
        flag(hits > 0.0) * (1.0 - last),
        share(factors),
        share(close),
        all / 20.0,
    ]);
    Features { dense, sparse }
}

/// Signed distance, up to [`NEAR`].
fn apart(number: Number, target: Number) -> u64 {
    let distance = (number.numerator() - target.numerator()).clamp(-NEAR, NEAR);
    (distance + NEAR) as u64
}

/// How often one goes into the other without a rest.
fn times(number: Number, target: Number) -> Option<u64> {
    let (a, b) = (number.numerator(), target.numerator());
    match (a, b) {
        (1.., 1..) if b % a == 0 => Some((b / a) as u64),
        (1.., 1..) if a % b == 0 => Some(1 << 32 | (a / b) as u64),
        _ => None,
    }
}

fn size(number: Number) -> f32 {
    (number.numerator() as f32).ln_1p()
}

fn flag(holds: bool) -> f32 {
    f32::from(u8::from(holds))
}

/// Whether one whole number above 1 goes into another.
fn divides(number: Number, into: Number) -> bool {
    number > Number::ONE && into.numerator() % number.numerator() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;
    use crate::domains::countdown::{Countdown, read_question};
    use crate::types::{Problem, Split};

    #[test]
    fn order_does_not_matter_and_the_last_step_is_seen() {
        let problem = |question: &str| Problem {
            problem_id: "p".into(),
            domain: "countdown".into(),
            source: "t".into(),
            split: Split::Train,
            question: question.into(),
            answer: String::new(),
            difficulty: 0,
            meta: String::new(),
        };
        let seen = |question: &str| of(read_question(question))(&Countdown.start(&problem(question)));
        let (a, b) = (seen("Use 3, 40 and 7 to make 61."), seen("Use 40, 7 and 3 to make 61."));
        assert_eq!((&a.dense, sorted(&a)), (&b.dense, sorted(&b)));
        let hit = 6 * PLACES + 1;
        assert!(seen("Use 3 and 7 to make 21.").dense[hit] > 0.5);
        assert!(seen("Use 3 and 7 to make 22.").dense[hit] < 0.5);
        assert_eq!(of(None)(&State::default()), Features::default());
    }

    fn sorted(features: &Features) -> Vec<u64> {
        let mut sparse = features.sparse.clone();
        sparse.sort_unstable();
        sparse
    }
}
