//! Intervals and estimators of an evaluation.

/// 97.5% point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson score interval (95%) of a share of `n`; (0, 1) if n is 0.
pub fn wilson(successes: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (n as f64, successes as f64 / n as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

/// Unbiased pass@k of n draws with c correct: 1 − C(n−c, k) / C(n, k) (arXiv 2107.03374).
pub fn pass_at_k(n: usize, c: usize, k: usize) -> f64 {
    if k == 0 || n < k {
        return 0.0;
    }
    if n - c < k {
        return 1.0;
    }
    1.0 - ((n - c + 1)..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// Whether the most frequent answer is correct; among equally frequent ones, the share that is.
/// Votes are (normalised answer, correct); draws without an answer vote for nothing.
pub fn majority(votes: &[(String, bool)]) -> f64 {
    let mut counts: std::collections::BTreeMap<&str, (usize, usize)> = std::collections::BTreeMap::new();
    for (answer, correct) in votes.iter().filter(|(answer, _)| !answer.is_empty()) {
        let entry = counts.entry(answer).or_default();
        entry.0 += 1;
        entry.1 += usize::from(*correct);
    }
    let most = counts.values().map(|(n, _)| *n).max().unwrap_or(0);
    let leaders: Vec<&(usize, usize)> = counts.values().filter(|(n, _)| *n == most).collect();
    if most == 0 {
        return 0.0;
    }
    // An answer can be right for a wrong reason in some draws: it counts with the share of sound ones.
    leaders.iter().map(|(n, c)| *c as f64 / *n as f64).sum::<f64>() / leaders.len() as f64
}

/// McNemar's exact two-sided p-value for `b` and `c` discordant pairs: Binomial(b + c, 1/2).
pub fn mcnemar(b: usize, c: usize) -> f64 {
    let n = b + c;
    if n == 0 {
        return 1.0;
    }
    // Sum of C(n, i) / 2^n for i up to the smaller, in logarithms so that large n does not overflow.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for i in 1..=b.min(c) {
        log_term += ((n - i + 1) as f64 / i as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe (1998), table 1: 81 of 263, and 0 of 20.
        let (low, high) = wilson(81, 263);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
        let (low, high) = wilson(0, 20);
        assert!(low.abs() < 1e-12 && (high - 0.1611).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn pass_at_k_is_the_share_of_subsets_with_a_success() {
        for n in 1..8usize {
            for c in 0..=n {
                for k in 1..=n {
                    let subsets: Vec<u32> = (0..1u32 << n).filter(|s| s.count_ones() as usize == k).collect();
                    let hit = subsets.iter().filter(|s| *s & ((1 << c) - 1) != 0).count();
                    assert!((pass_at_k(n, c, k) - hit as f64 / subsets.len() as f64).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn majority_splits_ties_and_ignores_silence() {
        let votes = |v: &[(&str, bool)]| v.iter().map(|(a, c)| ((*a).to_owned(), *c)).collect::<Vec<_>>();
        assert!((majority(&votes(&[("1", true), ("1", true), ("2", false)])) - 1.0).abs() < 1e-12);
        assert!((majority(&votes(&[("1", true), ("2", false)])) - 0.5).abs() < 1e-12);
        assert!(majority(&votes(&[("", false), ("", false)])).abs() < 1e-12);
    }

    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        assert!((mcnemar(0, 0) - 1.0).abs() < 1e-12);
        assert!((mcnemar(5, 0) - 0.0625).abs() < 1e-12);
        assert!((mcnemar(10, 2) - 0.038_574_218_75).abs() < 1e-9);
        assert!(mcnemar(4000, 3000) < 1e-20);
    }
}
