//! Ablations: what students that were trained in different ways solve, compared problem by problem and seed
//! by seed. An arm is `solved[seed][problem]`, and all arms have the same seeds and problems in the same
//! order.

use datasets::key;

use crate::evaluate::statistics::wilson;

/// Version of the comparison's rows, part of its fingerprint.
pub const VERSION: u32 = 1;

/// Resamples behind an interval.
const DRAWS: usize = 2000;

/// A mean over seeds and problems with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// An arm against another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of the shares solved.
    pub share: Estimate,
    /// The same for each seed.
    pub by_seed: Vec<f64>,
    /// Answers, over all seeds, that only this arm has right, and that only the other one has.
    pub won: usize,
    pub lost: usize,
    /// Of [`sign_flip`]: over problems, for these very seeds.
    pub p: f64,
}

impl Difference {
    /// In a word: only where the interval, which knows of seeds too, leaves out 0.
    pub fn verdict(&self) -> &'static str {
        if self.share.low > 0.0 {
            "better than"
        } else if self.share.high < 0.0 {
            "worse than"
        } else {
            "not different from"
        }
    }
}

/// The share that an arm solves. Its interval is no narrower than Wilson's over problems: what was never
/// seen is not impossible.
pub fn share(solved: &[Vec<bool>]) -> Estimate {
    let values: Vec<Vec<f64>> =
        solved.iter().map(|row| row.iter().map(|right| f64::from(u8::from(*right))).collect()).collect();
    let found = pigeonhole(&values);
    let problems = values.first().map_or(0, Vec::len);
    let (low, high) = wilson((found.mean * problems as f64).round() as usize, problems);
    Estimate { low: found.low.min(low), high: found.high.max(high), ..found }
}

/// How an arm differs from another one.
pub fn difference(arm: &[Vec<bool>], other: &[Vec<bool>]) -> Difference {
    let pairs = || arm.iter().zip(other).map(|(a, b)| a.iter().zip(b));
    let signed = |a: bool, b: bool| i64::from(a) - i64::from(b);
    let values: Vec<Vec<f64>> =
        pairs().map(|row| row.map(|(a, b)| signed(*a, *b) as f64).collect()).collect();
    let mut by_problem = vec![0; arm.first().map_or(0, Vec::len)];
    let (mut won, mut lost) = (0, 0);
    for row in pairs() {
        for ((a, b), sum) in row.zip(&mut by_problem) {
            let sign = signed(*a, *b);
            *sum += sign;
            won += usize::from(sign > 0);
            lost += usize::from(sign < 0);
        }
    }
    Difference {
        share: pigeonhole(&values),
        by_seed: values.iter().map(|row| mean(row)).collect(),
        won,
        lost,
        p: sign_flip(&by_problem),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Mean of `values[seed][problem]` with a 95% percentile interval of the pigeonhole bootstrap (Owen, The
/// pigeonhole bootstrap, 2007): seeds and problems are resampled independently, each cell counts as often as
/// its seed and its problem were drawn. With one seed only problems vary.
fn pigeonhole(values: &[Vec<f64>]) -> Estimate {
    let (seeds, problems) = (values.len(), values.first().map_or(0, Vec::len));
    if problems == 0 {
        return Estimate { mean: 0.0, low: -1.0, high: 1.0 };
    }
    let all = values.iter().map(|row| mean(row)).sum::<f64>() / seeds as f64;
    let mut rng = key::rng(&["ablation interval".into()]);
    let mut drawn: Vec<f64> = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let mut rows = vec![0.0; seeds];
        (0..seeds).for_each(|_| rows[key::below(&mut rng, seeds)] += 1.0);
        let mut sums = 0.0;
        let by_seed: Vec<(&Vec<f64>, f64)> =
            values.iter().zip(rows).filter(|(_, times)| *times > 0.0).collect();
        for _ in 0..problems {
            let problem = key::below(&mut rng, problems);
            sums += by_seed.iter().map(|(row, times)| row[problem] * times).sum::<f64>();
        }
        drawn.push(sums / (seeds * problems) as f64);
    }
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[((DRAWS - 1) as f64 * share).round() as usize];
    Estimate { mean: all, low: at(0.025), high: at(0.975) }
}

/// Exact two-sided p-value of paired differences, one for each problem, if each could as well have the other
/// sign: the share of all choices of signs whose sum is at least as far from 0. For differences of -1, 0 and
/// 1 it is McNemar's exact test.
pub fn sign_flip(differences: &[i64]) -> f64 {
    let sizes: Vec<usize> =
        differences.iter().filter(|d| **d != 0).map(|d| d.unsigned_abs() as usize).collect();
    let total: usize = sizes.iter().sum();
    let found = differences.iter().sum::<i64>().unsigned_abs() as usize;
    // chances[t]: that the sizes with sign + sum to t; the signed sum is then 2t - total.
    let mut chances = vec![0.0; total + 1];
    chances[0] = 1.0;
    let mut most = 0;
    for size in sizes {
        most += size;
        for sum in (0..=most).rev() {
            let up = if sum >= size { chances[sum - size] } else { 0.0 };
            chances[sum] = 0.5 * (chances[sum] + up);
        }
    }
    if found == 0 {
        return 1.0;
    }
    let tail: f64 = chances[..=(total - found) / 2].iter().sum();
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::statistics::mcnemar;

    #[test]
    fn one_seed_is_mcnemar() {
        for (won, lost) in [(0, 0), (5, 0), (0, 5), (10, 2), (7, 7), (30, 11)] {
            let mut differences = vec![0; 20];
            differences.extend(vec![1; won]);
            differences.extend(vec![-1; lost]);
            let (p, exact) = (sign_flip(&differences), mcnemar(won, lost));
            assert!((p - exact).abs() < 1e-12, "{won} {lost}: {p} {exact}");
        }
    }

    #[test]
    fn signs_are_enumerated() {
        for differences in [vec![3, -1, 2, 0, 1, -2], vec![2, 2, 1], vec![-3, 1], vec![1, 2, 3, -3, 3, 1, -1]]
        {
            let found: i64 = differences.iter().sum();
            let n = differences.len();
            let far = (0..1u32 << n)
                .filter(|signs| {
                    let sum: i64 = differences
                        .iter()
                        .enumerate()
                        .map(|(i, d): (usize, &i64)| if signs >> i & 1 == 1 { *d } else { -*d })
                        .sum();
                    sum.abs() >= found.abs()
                })
                .count();
            let exact = far as f64 / f64::from(1u32 << n);
            assert!((sign_flip(&differences) - exact).abs() < 1e-12, "{differences:?}");
        }
    }

    fn solved(seeds: usize, problems: usize, right: impl Fn(usize, usize) -> bool) -> Vec<Vec<bool>> {
        (0..seeds).map(|s| (0..problems).map(|p| right(s, p)).collect()).collect()
    }

    #[test]
    fn an_arm_that_solves_more_is_better_and_equal_ones_are_not() {
        let first = solved(3, 200, |s, p| (p + s) % 4 == 0);
        let same = difference(&first, &first);
        assert_eq!((same.won, same.lost, same.verdict()), (0, 0, "not different from"));
        assert!((same.p - 1.0).abs() < 1e-12 && same.share.low <= 0.0 && same.share.high >= 0.0);
        let more = solved(3, 200, |s, p| (p + s) % 4 < 2);
        let found = difference(&more, &first);
        assert_eq!((found.won, found.lost, found.verdict()), (150, 0, "better than"));
        assert!((found.share.mean - 0.25).abs() < 1e-12 && found.p < 1e-9, "{found:?}");
        assert!(found.share.low < 0.25 && found.share.high > 0.25);
        let back = difference(&first, &more);
        assert_eq!((back.won, back.lost, back.verdict()), (0, 150, "worse than"));
        assert_eq!(found.by_seed.len(), 3);
        assert!((share(&more).mean - 0.5).abs() < 1e-12);
        let never = share(&solved(3, 20, |_, _| false));
        assert!(never.low <= 0.0 && (never.high - 0.1611).abs() < 1e-4, "{never:?}");
    }

    /// What one seed alone won is no difference: that is what seeds are for.
    #[test]
    fn a_lucky_seed_widens_the_interval() {
        let none = solved(3, 300, |_, _| false);
        let lucky = difference(&solved(3, 300, |s, p| s == 0 && p % 5 == 0), &none);
        assert!(lucky.p < 1e-9, "over problems alone it is beyond doubt");
        assert!(lucky.share.low <= 0.0 && lucky.verdict() == "not different from", "{lucky:?}");
        let steady = difference(&solved(3, 300, |_, p| p % 15 == 0), &none);
        assert!(steady.share.low > 0.0, "{steady:?}");
        assert!((steady.share.mean - lucky.share.mean).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_compare_is_no_difference() {
        assert_eq!(difference(&[], &[]).verdict(), "not different from");
        assert!((sign_flip(&[]) - 1.0).abs() < 1e-12);
    }
}
