//! Random draws: bounded integers, shuffles and the numbers of a relation.
//!
//! Written out here rather than taken from `rand`'s distributions, so that a stream stays the same
//! when that crate changes how it samples.

use super::fixed::Fixed;
use super::table::Spec;
use rand::Rng;

/// Percentages that occur in shops and classes. Not 50: half of a thing is the same number as what is left of
/// it.
const PERCENT: [i64; 9] = [5, 10, 15, 20, 25, 30, 40, 60, 75];
const BILLS: [i64; 5] = [10, 20, 50, 100, 200];

/// Uniform in `0..n`; 0 if `n` is 0.
pub fn below(rng: &mut impl Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Uniform in `low..=high`; `low` if that is empty.
pub fn between(rng: &mut impl Rng, low: i64, high: i64) -> i64 {
    low + below(rng, usize::try_from(high - low + 1).unwrap_or(0)) as i64
}

pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

pub fn pick<'a, T>(rng: &mut impl Rng, list: &'a [T]) -> Option<&'a T> {
    list.get(below(rng, list.len()))
}

pub fn shuffle<T>(rng: &mut impl Rng, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        list.swap(last, below(rng, last + 1));
    }
}

/// A number as the spec asks, and whether it is money. `register` gives the value behind a letter.
/// `None` if no number fits, which is common: the caller draws the whole problem again.
pub fn number(
    rng: &mut impl Rng,
    spec: Spec,
    register: impl Fn(u8) -> Option<Fixed>,
) -> Option<(Fixed, bool)> {
    let int = |value: i64| Fixed::from_int(value);
    Some(match spec {
        Spec::Int(low, high) => (int(between(rng, low, high)), false),
        Spec::Divisor(low, high, reg) => {
            let total = register(reg)?;
            let fits: Vec<i64> = (low..=high)
                .filter(|&d| total.apply('/', int(d)).is_some_and(|q| q.hundredths() > 200))
                .collect();
            (int(*pick(rng, &fits)?), false)
        }
        Spec::Below(reg) => {
            let total = register(reg)?.hundredths();
            (int(between(rng, (total * 15 / 10_000).max(3), (total * 80 / 10_000).max(3))), false)
        }
        Spec::MoneyBelow(reg) => {
            let total = register(reg)?.hundredths();
            let step = if total % 100 == 0 { 100 } else { [100, 50, 25][below(rng, 3)] };
            (
                Fixed::from_hundredths(
                    step * between(rng, (total * 15 / 100 / step).max(3), total * 80 / 100 / step),
                ),
                true,
            )
        }
        Spec::Above(reg, low, high) => {
            let total = register(reg)?.hundredths();
            let more = (total + 99) / 100 + between(rng, low, high);
            (int(if more > 60 && below(rng, 3) > 0 { (more + 4) / 5 * 5 } else { more }), false)
        }
        Spec::Price(low, high) => {
            // Mostly whole dollars where these leave a choice, else quarters of a dollar.
            let step =
                if high - low >= 400 && below(rng, 4) > 0 { 100 } else { [100, 50, 25][below(rng, 3)] };
            (Fixed::from_hundredths(step * between(rng, (low + step - 1) / step, high / step)), true)
        }
        Spec::Tenths(low, high) => (Fixed::from_hundredths(10 * between(rng, low, high)), false),
        Spec::Percent(reg) => {
            let total = register(reg)?;
            let whole = if total.is_multiple_of(100) && total > int(30) { 100 } else { 1 };
            let fits: Vec<i64> =
                PERCENT.into_iter().filter(|&p| (total.hundredths() * p) % (100 * whole) == 0).collect();
            (int(*pick(rng, &fits)?), false)
        }
        Spec::Bill(reg) => {
            let total = register(reg)?;
            let fits: Vec<i64> = BILLS.into_iter().filter(|&bill| int(bill) > total).take(2).collect();
            (int(*pick(rng, &fits)?), false)
        }
    })
}
