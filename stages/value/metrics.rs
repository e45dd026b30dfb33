//! How good values are on problems that they were not learned from, and how well they choose an answer among
//! samples.

use serde::{Deserialize, Serialize};

/// A state of a held-out problem: what the value model said, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub problem: u32,
    /// Steps taken.
    pub depth: u32,
    pub value: f32,
    /// 0..=1
    pub target: f32,
    pub weight: f32,
}

/// Quality of a value model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub places: usize,
    pub problems: usize,
    /// Mean target.
    pub base_rate: f64,
    /// Probability that a good state is given more than a bad one; 0.5 is chance.
    pub auroc: Option<f64>,
    /// The same inside of a problem, averaged over problems with states of both kinds: differences between
    /// problems do not help.
    pub auroc_within: Option<f64>,
    /// Mean squared error, and that of always saying the base rate.
    pub brier: f64,
    pub brier_constant: f64,
    /// Mean difference between what is said and what comes, over [`BINS`] bins of equal mass.
    pub ece: f64,
    pub reliability: Vec<Bin>,
    pub by_depth: Vec<Depth>,
}

/// States of similar value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    pub weight: f64,
    /// Mean value and mean target.
    pub value: f64,
    pub target: f64,
}

/// States of one depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Depth {
    pub depth: u32,
    pub places: usize,
    pub auroc: Option<f64>,
}

/// Bins of the reliability diagram.
pub const BINS: usize = 15;

/// Measures values. A target between 0 and 1 counts as so much of a good and the rest of a bad state.
pub fn report(points: &[Point]) -> Report {
    let total: f64 = points.iter().map(|p| f64::from(p.weight)).sum();
    let mean = |f: &dyn Fn(&Point) -> f64| {
        points.iter().map(|p| f64::from(p.weight) * f(p)).sum::<f64>() / total.max(1e-12)
    };
    let base_rate = mean(&|p| f64::from(p.target));
    let mut sorted: Vec<Point> = points.to_vec();
    sorted.sort_by_key(|p| (p.problem, p.depth));
    let within: Vec<f64> = sorted.chunk_by(|a, b| a.problem == b.problem).filter_map(auroc).collect();
    let problems = sorted.chunk_by(|a, b| a.problem == b.problem).count();
    sorted.sort_by_key(|p| p.depth);
    let depth = |of: &[Point]| Depth { depth: of[0].depth, places: of.len(), auroc: auroc(of) };
    let by_depth = sorted.chunk_by(|a, b| a.depth == b.depth).map(depth).collect();
    let reliability = bins(points);
    let ece = reliability.iter().map(|bin| bin.weight * (bin.value - bin.target).abs()).sum::<f64>()
        / total.max(1e-12);
    Report {
        places: points.len(),
        problems,
        base_rate,
        auroc: auroc(points),
        auroc_within: (!within.is_empty()).then(|| within.iter().sum::<f64>() / within.len() as f64),
        brier: mean(&|p| f64::from(p.value - p.target).powi(2)),
        brier_constant: mean(&|p| (base_rate - f64::from(p.target)).powi(2)),
        ece,
        reliability,
        by_depth,
    }
}

/// Area under the ROC curve: P(good above bad) + P(level) / 2. None without states of both kinds.
pub fn auroc(points: &[Point]) -> Option<f64> {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    let (mut below, mut won, mut good) = (0.0, 0.0, 0.0);
    for level in sorted.chunk_by(|a, b| a.value.total_cmp(&b.value).is_eq()) {
        let of = |f: &dyn Fn(&Point) -> f32| level.iter().map(|p| f64::from(p.weight * f(p))).sum::<f64>();
        let (up, down) = (of(&|p| p.target), of(&|p| 1.0 - p.target));
        won += up * (below + down / 2.0);
        below += down;
        good += up;
    }
    (good > 1e-9 && below > 1e-9).then(|| won / (good * below))
}

/// Bins of equal mass by value.
fn bins(points: &[Point]) -> Vec<Bin> {
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    let total: f64 = sorted.iter().map(|p| f64::from(p.weight)).sum();
    let mut sums = [(0.0, 0.0, 0.0); BINS];
    let mut seen = 0.0;
    for point in sorted {
        let weight = f64::from(point.weight);
        // By the middle of its mass.
        let at = (((seen + weight / 2.0) / total.max(1e-12) * BINS as f64) as usize).min(BINS - 1);
        sums[at].0 += weight;
        sums[at].1 += weight * f64::from(point.value);
        sums[at].2 += weight * f64::from(point.target);
        seen += weight;
    }
    sums.into_iter()
        .filter(|s| s.0 > 0.0)
        .map(|(weight, value, target)| Bin { weight, value: value / weight, target: target / weight })
        .collect()
}

/// A whole path, and the lowest value on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    pub correct: bool,
    pub lowest: f32,
}

/// The largest threshold under which at most the share `lost` of the correct branches has its lowest value; 0
/// without correct ones.
pub fn threshold(branches: &[Branch], lost: f64) -> f32 {
    let mut lowest: Vec<f32> = branches.iter().filter(|b| b.correct).map(|b| b.lowest).collect();
    lowest.sort_by(f32::total_cmp);
    let may_go = (lost * lowest.len() as f64).floor() as usize;
    lowest.get(may_go).or(lowest.last()).copied().unwrap_or(0.0).clamp(0.0, 1.0)
}

/// Share of the correct or of the wrong branches that a threshold gives up; 0 if there are none.
pub fn given_up(branches: &[Branch], correct: bool, threshold: f32) -> f64 {
    let of: Vec<&Branch> = branches.iter().filter(|b| b.correct == correct).collect();
    of.iter().filter(|b| b.lowest < threshold).count() as f64 / of.len().max(1) as f64
}

/// Of (value, truth): share of the states of which less is said than is true, and mean of max(V* - V, 0).
pub fn admissibility(states: &[(f32, f32)]) -> (f64, f64) {
    let count = states.len().max(1) as f64;
    let below = states.iter().filter(|(value, truth)| value < truth).count() as f64 / count;
    let gap = states.iter().map(|(value, truth)| f64::from((truth - value).max(0.0))).sum::<f64>() / count;
    (below, gap)
}

/// A sampled solution as it is chosen among: its answer in a form that equal answers share (empty: none), and
/// its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    pub answer: String,
    pub correct: bool,
    pub score: f32,
}

/// Expected accuracy of the best-scored of k of the samples, drawn without replacement: sorted by score, sum
/// over i of c_i C(n-1-i, k-1) / C(n, k), with c averaged over samples of equal score.
pub fn best_of_k(samples: &[Scored], k: usize) -> f64 {
    let n = samples.len();
    if k == 0 || k > n {
        return 0.0;
    }
    let mut sorted: Vec<&Scored> = samples.iter().collect();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut sum = 0.0;
    // P(the best is the i-th): C(n-1-i, k-1) / C(n, k), from one to the next.
    let mut p = k as f64 / n as f64;
    let mut at = 0;
    for level in sorted.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
        let share = level.iter().filter(|s| s.correct).count() as f64 / level.len() as f64;
        for _ in level {
            sum += p * share;
            p *= if n - 1 - at >= k { (n - at - k) as f64 / (n - 1 - at) as f64 } else { 0.0 };
            at += 1;
        }
    }
    sum
}

/// Expected accuracy of the most voted answer among k of the samples: over `draws` random subsets, or the one
/// there is. Votes count one each, or their score. Level answers share; an answer counts with its share of
/// correct samples.
pub fn vote_of_k(
    samples: &[Scored],
    k: usize,
    weighted: bool,
    draws: usize,
    uniform: &mut dyn FnMut(usize) -> usize,
) -> f64 {
    if k == 0 || k > samples.len() {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..samples.len()).collect();
    let draws = if k == samples.len() { 1 } else { draws };
    let mut sum = 0.0;
    for _ in 0..draws {
        for i in 0..k {
            let j = i + uniform(order.len() - i);
            order.swap(i, j);
        }
        let mut votes: std::collections::BTreeMap<&str, (f64, f64, f64)> = std::collections::BTreeMap::new();
        for sample in order[..k].iter().map(|i| &samples[*i]).filter(|s| !s.answer.is_empty()) {
            let vote = votes.entry(&sample.answer).or_default();
            vote.0 += if weighted { f64::from(sample.score) } else { 1.0 };
            vote.1 += f64::from(u8::from(sample.correct));
            vote.2 += 1.0;
        }
        let most = votes.values().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
        let leaders: Vec<f64> = votes.values().filter(|v| v.0 >= most - 1e-9).map(|v| v.1 / v.2).collect();
        sum += leaders.iter().sum::<f64>() / leaders.len().max(1) as f64;
    }
    sum / draws.max(1) as f64
}

/// 95% interval of a mean over problems, from so many resamples of the problems (percentile bootstrap).
pub fn bootstrap(per_problem: &[f64], draws: usize, uniform: &mut dyn FnMut(usize) -> usize) -> (f64, f64) {
    let n = per_problem.len();
    if n == 0 || draws == 0 {
        return (0.0, 1.0);
    }
    let mut means: Vec<f64> =
        (0..draws).map(|_| (0..n).map(|_| per_problem[uniform(n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((draws - 1) as f64 * share).round() as usize];
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::key;
    use rand::RngExt;

    fn point(problem: u32, value: f32, target: f32) -> Point {
        Point { problem, depth: 1, value, target, weight: 1.0 }
    }

    #[test]
    fn auroc_counts_pairs_and_within_is_not_helped_by_other_problems() {
        // Good 0.9 and 0.4 against bad 0.4 and 0.1: 3.5 of 4 pairs.
        let points = [point(0, 0.9, 1.0), point(0, 0.4, 1.0), point(0, 0.4, 0.0), point(0, 0.1, 0.0)];
        assert_eq!(auroc(&points), Some(3.5 / 4.0));
        assert_eq!(auroc(&points[..2]), None);
        let apart = [
            point(0, 0.9, 1.0),
            point(0, 0.8, 1.0),
            point(0, 0.95, 0.0),
            point(1, 0.1, 0.0),
            point(1, 0.2, 0.0),
        ];
        let report = report(&apart);
        assert_eq!((report.auroc, report.auroc_within), (Some(4.0 / 6.0), Some(0.0)));
        assert_eq!((report.places, report.problems), (5, 2));
    }

    #[test]
    fn a_calibrated_model_has_no_error_of_calibration_and_a_constant_the_brier_of_the_base_rate() {
        let mut rng = key::rng(&["t".into()]);
        let points: Vec<Point> = (0..30_000)
            .map(|_| {
                let value: f32 = rng.random();
                point(0, value, f32::from(u8::from(rng.random::<f32>() < value)))
            })
            .collect();
        let good = report(&points);
        assert!(good.ece < 0.02 && good.brier < 0.18 && good.reliability.len() == BINS, "{good:?}");
        let flat = report(&points.iter().map(|p| Point { value: 0.5, ..*p }).collect::<Vec<_>>());
        assert!((flat.brier - flat.brier_constant).abs() < 1e-3 && flat.auroc == Some(0.5));
        let bold = report(
            &points
                .iter()
                .map(|p| Point { value: f32::from(u8::from(p.value > 0.5)), ..*p })
                .collect::<Vec<_>>(),
        );
        assert!(bold.ece > 0.2, "{}", bold.ece);
    }

    #[test]
    fn a_threshold_loses_no_more_than_it_may() {
        let branches: Vec<Branch> =
            (0..100).map(|i| Branch { correct: i % 2 == 0, lowest: i as f32 / 100.0 }).collect();
        for lost in [0.0, 0.02, 0.1, 0.5, 1.0] {
            let tau = threshold(&branches, lost);
            assert!(given_up(&branches, true, tau) <= lost, "{lost}");
        }
        assert!((threshold(&branches, 0.02) - 0.02).abs() < 1e-6);
        assert!((given_up(&branches, false, 0.5) - 0.5).abs() < 1e-9);
        assert!(threshold(&[], 0.5).abs() < 1e-9);
    }

    #[test]
    fn estimates_over_subsets_are_those_of_all_subsets() {
        let sample = |answer: &str, correct, score| Scored { answer: answer.into(), correct, score };
        let samples = [
            sample("7", true, 0.5),
            sample("8", false, 0.9),
            sample("7", true, 0.6),
            sample("9", false, 0.5),
            sample("8", false, 0.1),
            sample("", false, 0.2),
        ];
        for k in 1..=samples.len() {
            let (mut best, mut vote, mut count) = (0.0, 0.0, 0.0);
            for bits in 0u32..1 << samples.len() {
                if bits.count_ones() as usize != k {
                    continue;
                }
                let subset: Vec<Scored> =
                    (0..samples.len()).filter(|i| bits >> i & 1 == 1).map(|i| samples[i].clone()).collect();
                best += best_of_k(&subset, k);
                vote += vote_of_k(&subset, k, true, 1, &mut |_| 0);
                count += 1.0;
            }
            assert!((best_of_k(&samples, k) - best / count).abs() < 1e-9, "k = {k}");
            let mut rng = key::rng(&["subsets".into()]);
            let drawn = vote_of_k(&samples, k, true, 20_000, &mut |n| rng.random_range(0..n));
            assert!((drawn - vote / count).abs() < 0.02, "k = {k}: {drawn}");
        }
        assert!((vote_of_k(&samples, 6, false, 1, &mut |_| 0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn an_interval_holds_the_mean() {
        let mut rng = key::rng(&["b".into()]);
        let (low, high) =
            bootstrap(&[0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0], 2000, &mut |n| rng.random_range(0..n));
        assert!(low < 0.625 && 0.625 < high && low > 0.1, "{low} {high}");
        assert_eq!(admissibility(&[(0.5, 1.0), (0.5, 0.0), (1.0, 1.0), (0.75, 1.0)]), (0.5, 0.1875));
    }
}
