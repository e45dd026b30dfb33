//! gate: whether a round's student becomes the next policy. It is measured on validation problems against the
//! policy that it would replace.
//!
//! Two kinds of reasons speak against it: it solves fewer problems (paired, one-sided exact tests, over all
//! problems and by difficulty), or a monitor says that it collapses: fewer distinct calculations, less
//! entropy, other lengths, answers that never end, samples that together solve less. Model collapse shows in
//! the tails first (arXiv 2404.01413), so monitors look at samples and not at greedy answers.

use std::collections::{BTreeMap, HashMap, HashSet};

use datasets::expr::canonical_path;
use datasets::table::Evaluation;
use datasets::types::Problem;
use serde::{Deserialize, Serialize};

use crate::curate::text;
use crate::evaluate::{EvaluateConfig, statistics};

/// Version of the stage, part of its fingerprint.
pub const VERSION: u32 = 2;
/// Problems of a difficulty below which it says nothing of it.
const FEW: usize = 20;

/// What the paired test has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// Nothing is measured and every student is accepted.
    None,
    /// That it is not worse: rejected if it is, beyond chance.
    NotWorse,
    /// That it is better, beyond chance.
    Better,
}

/// What a rejection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// The next round goes on with the policy before.
    Rollback,
    /// The run stops.
    Halt,
}

/// `[gate]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    pub require: Require,
    pub on_fail: OnFail,
    /// How many validation problems; 0 for all.
    pub problems: usize,
    /// Samples per problem for the monitors.
    pub samples: usize,
    /// Level of the tests.
    pub alpha: f64,
    /// Least distinct calculations per problem, and least bits per token, as a share of the current policy's.
    pub min_distinct: f64,
    pub min_entropy: f64,
    /// Most that median and 90% quantile of the lengths may grow or shrink, as a factor.
    pub max_length: f64,
    /// Most by which pass@k may fall.
    pub max_drop: f64,
    /// Most samples without an answer, as a share, unless there were as many before.
    pub max_endless: f64,
}

impl GateConfig {
    /// How students answer here: as they are evaluated, with this many samples.
    pub fn as_evaluate(&self, config: &EvaluateConfig) -> EvaluateConfig {
        EvaluateConfig { samples: self.samples, ..config.clone() }
    }
}

/// What the monitors saw of a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Monitors {
    pub problems: usize,
    /// Solved greedily.
    pub solved: usize,
    pub pass_at_1: f64,
    pub k: usize,
    /// Unbiased pass@k of the samples.
    pub pass_at_k: f64,
    /// Distinct calculations among a problem's samples, mean.
    pub distinct: f64,
    /// Bits per token of all sampled texts together; None if there are too few.
    pub entropy: Option<f64>,
    /// Tokens of the samples: 10%, 50% and 90% quantiles.
    pub lengths: [u32; 3],
    /// Share of the samples that end without an answer.
    pub endless: f64,
    /// Difficulty, solved, problems.
    pub by_difficulty: Vec<(u32, usize, usize)>,
}

/// Measures the answers of one policy: sample 0 of each problem is the greedy one.
pub fn monitors(rows: &[Evaluation], problems: &HashMap<String, Problem>) -> Monitors {
    let (greedy, samples): (Vec<&Evaluation>, Vec<&Evaluation>) =
        rows.iter().partition(|row| row.sample == 0);
    let solved = greedy.iter().filter(|row| row.correct).count();
    let mut by_problem: BTreeMap<&str, Vec<&Evaluation>> = BTreeMap::new();
    for row in &samples {
        by_problem.entry(&row.problem_id).or_default().push(row);
    }
    let k = by_problem.values().map(Vec::len).min().unwrap_or(0);
    let mean = |of: &dyn Fn(&[&Evaluation]) -> f64| {
        by_problem.values().map(|rows| of(rows)).sum::<f64>() / by_problem.len().max(1) as f64
    };
    let calculation = |row: &Evaluation| {
        canonical_path(&row.completion.lines().filter(|l| !l.starts_with("####")).collect::<Vec<_>>())
    };
    let mut lengths: Vec<u32> = samples.iter().map(|row| row.tokens).collect();
    lengths.sort_unstable();
    let quantile =
        |share: f64| lengths.get(((lengths.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0);
    let mut by_difficulty: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for row in &greedy {
        let entry =
            by_difficulty.entry(problems.get(&row.problem_id).map_or(0, |p| p.difficulty)).or_default();
        *entry = (entry.0 + usize::from(row.correct), entry.1 + 1);
    }
    Monitors {
        problems: greedy.len(),
        solved,
        pass_at_1: solved as f64 / greedy.len().max(1) as f64,
        k,
        pass_at_k: mean(&|rows| {
            statistics::pass_at_k(rows.len(), rows.iter().filter(|row| row.correct).count(), k)
        }),
        distinct: mean(&|rows| rows.iter().map(|row| calculation(row)).collect::<HashSet<_>>().len() as f64),
        entropy: text::entropy(
            &samples.iter().map(|row| row.completion.as_str()).collect::<Vec<_>>().join("\n"),
        ),
        lengths: [quantile(0.1), quantile(0.5), quantile(0.9)],
        endless: samples.iter().filter(|row| row.final_answer.is_empty()).count() as f64
            / samples.len().max(1) as f64,
        by_difficulty: by_difficulty
            .into_iter()
            .map(|(difficulty, (solved, all))| (difficulty, solved, all))
            .collect(),
    }
}

/// What the gate decides, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    pub accepted: bool,
    /// Each with its figures; empty if it is accepted.
    pub reasons: Vec<String>,
    pub student: Monitors,
    /// Of the policy that it would replace; None where there is none, as before the first student from
    /// scratch.
    pub current: Option<Monitors>,
    /// Problems that only the student solves, and that only the current policy does.
    pub won: usize,
    pub lost: usize,
}

/// Decides on a student by its answers and those of the policy that it would replace, to the same problems.
pub fn decide(
    student: &[Evaluation],
    current: Option<&[Evaluation]>,
    problems: &HashMap<String, Problem>,
    config: &GateConfig,
) -> Decision {
    let new = monitors(student, problems);
    let mut reasons = Vec::new();
    let Some(current) = current else {
        return Decision { accepted: true, reasons, student: new, current: None, won: 0, lost: 0 };
    };
    let old = monitors(current, problems);
    if new.endless > config.max_endless.max(old.endless) {
        let share = |x: f64| format!("{:.1}%", 100.0 * x);
        reasons.push(format!(
            "{} of its samples end without an answer, {} before",
            share(new.endless),
            share(old.endless)
        ));
    }
    let (won, lost) = pairs(student, current, &|_| true);
    let (better, worse) = (one_sided(won, lost), one_sided(lost, won));
    let figures = format!(
        "{} of {} problems solved, {} before: {won} won, {lost} lost",
        new.solved, new.problems, old.solved
    );
    if worse < config.alpha {
        reasons.push(format!("it is significantly worse: {figures} (p = {worse:.2e})"));
    } else if config.require == Require::Better && better >= config.alpha {
        reasons.push(format!("it is not significantly better: {figures} (p = {better:.2e})"));
    }
    let bands = new.by_difficulty.iter().filter(|(_, _, all)| *all >= FEW);
    let several = bands.clone().count().max(1) as f64;
    for (difficulty, solved, all) in bands {
        let of_band =
            |row: &Evaluation| problems.get(&row.problem_id).map_or(0, |p| p.difficulty) == *difficulty;
        let (won, lost) = pairs(student, current, &of_band);
        // Several tests at a time: each at its share of the level (Bonferroni).
        if worse >= config.alpha && one_sided(lost, won) < config.alpha / several {
            reasons.push(format!(
                "it is worse at difficulty {difficulty}: {solved} of {all} solved, {won} won, {lost} lost"
            ));
        }
    }
    let mut below = |what: &str, is: f64, was: f64, share: f64| {
        if is < share * was {
            reasons.push(format!("{what} fell from {was:.2} to {is:.2}, limit {:.2}", share * was));
        }
    };
    below("distinct calculations per problem", new.distinct, old.distinct, config.min_distinct);
    if let (Some(is), Some(was)) = (new.entropy, old.entropy) {
        below("bits per token", is, was, config.min_entropy);
    }
    if new.pass_at_k < old.pass_at_k - config.max_drop {
        reasons.push(format!(
            "pass@{} fell from {:.1}% to {:.1}%",
            new.k,
            100.0 * old.pass_at_k,
            100.0 * new.pass_at_k
        ));
    }
    for (name, at) in [("median", 1), ("90% quantile", 2)] {
        let (is, was) = (f64::from(new.lengths[at].max(1)), f64::from(old.lengths[at].max(1)));
        if is > config.max_length * was || was > config.max_length * is {
            reasons.push(format!(
                "the {name} of its answer lengths went from {was} to {is} tokens, limit: a factor of {}",
                config.max_length
            ));
        }
    }
    Decision { accepted: reasons.is_empty(), reasons, student: new, current: Some(old), won, lost }
}

/// Problems that only the first solves greedily, and that only the second does.
fn pairs(a: &[Evaluation], b: &[Evaluation], counts: &dyn Fn(&Evaluation) -> bool) -> (usize, usize) {
    let other: HashMap<&str, bool> =
        b.iter().filter(|r| r.sample == 0).map(|r| (r.problem_id.as_str(), r.correct)).collect();
    let both = a
        .iter()
        .filter(|row| row.sample == 0 && counts(row))
        .filter_map(|row| Some((row.correct, *other.get(row.problem_id.as_str())?)));
    both.fold((0, 0), |(won, lost), pair| match pair {
        (true, false) => (won + 1, lost),
        (false, true) => (won, lost + 1),
        _ => (won, lost),
    })
}

/// Probability of as many wins or more among the discordant pairs by chance: the one-sided exact sign test.
fn one_sided(won: usize, lost: usize) -> f64 {
    let n = won + lost;
    let (mut log_term, mut sum) = (-(n as f64) * std::f64::consts::LN_2, 0.0);
    // P(X <= lost) = P(X >= won).
    for i in 0..=lost {
        sum += log_term.exp();
        log_term += ((n - i) as f64 / (i + 1) as f64).ln();
    }
    if won == 0 { 1.0 } else { sum.min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::types::{Split, Verdict};

    fn config() -> GateConfig {
        GateConfig {
            require: Require::NotWorse,
            on_fail: OnFail::Rollback,
            problems: 0,
            samples: 2,
            alpha: 0.05,
            min_distinct: 0.5,
            min_entropy: 0.7,
            max_length: 3.0,
            max_drop: 0.1,
            max_endless: 0.5,
        }
    }

    /// A hundred problems of difficulty 1 and 2 in turn; `solves` says which are solved, `text` how the two
    /// samples read.
    fn answers(
        solves: &dyn Fn(usize) -> bool,
        text: &dyn Fn(usize, u32) -> String,
        tokens: u32,
    ) -> Vec<Evaluation> {
        let row = |i: usize, sample: u32| Evaluation {
            round: 1,
            model: "student".into(),
            split: Split::Validation,
            problem_id: format!("p{i}"),
            sample,
            seed: 0,
            correct: solves(i),
            verdict: if solves(i) { Verdict::Correct } else { Verdict::Wrong },
            reason: String::new(),
            completion: text(i, sample),
            final_answer: "1".into(),
            answer_logprob: None,
            tokens,
            model_tokens: tokens,
            expansions: 0,
        };
        (0..100)
            .flat_map(|i| (0..3).map(move |sample| (i, sample)))
            .map(|(i, sample)| row(i, sample))
            .collect()
    }

    fn problems() -> HashMap<String, Problem> {
        let problem = |i: usize| Problem {
            problem_id: format!("p{i}"),
            domain: "math".into(),
            source: String::new(),
            split: Split::Validation,
            question: String::new(),
            answer: "1".into(),
            difficulty: 1 + (i % 2) as u32,
            meta: String::new(),
        };
        (0..100).map(|i| (format!("p{i}"), problem(i))).collect()
    }

    fn varied(i: usize, sample: u32) -> String {
        format!("{}+{}={}\n{}*3={}\n#### 1", i + 2, sample + 5, i + 7 + sample as usize, i + 7, 3 * i + 21)
    }

    #[test]
    fn a_student_is_accepted_unless_it_is_worse_beyond_chance() {
        let half = answers(&|i| i < 50, &varied, 20);
        let decided = |student: &[Evaluation], require| {
            decide(student, Some(&half), &problems(), &GateConfig { require, ..config() })
        };
        assert!(decided(&half, Require::NotWorse).accepted);
        assert!(!decided(&half, Require::Better).accepted);
        let better = answers(&|i| i < 70, &varied, 20);
        let decision = decided(&better, Require::Better);
        assert!(decision.accepted, "{:?}", decision.reasons);
        assert_eq!((decision.won, decision.lost), (20, 0));
        let worse = answers(&|i| i < 35, &varied, 20);
        let decision = decided(&worse, Require::NotWorse);
        assert!(
            !decision.accepted && decision.reasons[0].contains("significantly worse"),
            "{:?}",
            decision.reasons
        );
        // As good on the whole, but at the cost of one difficulty.
        let shifted = answers(&|i| if i % 2 == 0 { i < 30 } else { i < 70 }, &varied, 20);
        let decision = decided(&shifted, Require::NotWorse);
        assert!(!decision.accepted && decision.reasons[0].contains("difficulty 1"), "{:?}", decision.reasons);
    }

    #[test]
    fn each_monitor_rejects_its_own_collapse() {
        let good = answers(&|i| i < 50, &varied, 20);
        let reason =
            |student: &[Evaluation]| decide(student, Some(&good), &problems(), &config()).reasons.join("; ");
        let same = |i: usize, _: u32| varied(i, 0);
        assert!(
            reason(&answers(&|i| i < 50, &same, 20)).is_empty(),
            "half as many distinct calculations are just allowed"
        );
        let narrow = GateConfig { min_distinct: 0.6, ..config() };
        let found =
            decide(&answers(&|i| i < 50, &same, 20), Some(&good), &problems(), &narrow).reasons.join("; ");
        assert!(found.contains("distinct calculations"), "{found}");
        assert!(
            reason(&answers(&|i| i < 50, &|_, _| "1+1=2\n1+1=2\n#### 1".into(), 20))
                .contains("bits per token")
        );
        assert!(reason(&answers(&|i| i < 50, &varied, 80)).contains("median of its answer lengths"));
        let mut endless = good.clone();
        for row in &mut endless {
            row.final_answer.clear();
        }
        assert!(reason(&endless).contains("without an answer"));
        let mut unlucky = good.clone();
        for row in unlucky.iter_mut().filter(|row| row.sample > 0) {
            row.correct = false;
        }
        assert!(reason(&unlucky).contains("pass@2 fell"));
        // Without a policy to replace anything is better than nobody.
        assert!(decide(&endless, None, &problems(), &config()).accepted);
    }

    #[test]
    fn the_sign_test_is_exact() {
        assert!((one_sided(5, 0) - 1.0 / 32.0).abs() < 1e-12);
        assert!((one_sided(3, 1) - 5.0 / 16.0).abs() < 1e-12);
        assert!((one_sided(0, 4) - 1.0).abs() < 1e-12 && (one_sided(0, 0) - 1.0).abs() < 1e-12);
        assert!(one_sided(4000, 3000) < 1e-20);
    }
}
