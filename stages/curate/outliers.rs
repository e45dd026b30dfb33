//! Lengths: which solutions are far longer or shorter than others to problems as difficult.
//!
//! A first pass over all shards counts the lengths of correct solutions in bins of their logarithm, so that
//! the memory is that of the bins, and the order of the shards makes no difference. Solutions are compared
//! with those of the same difficulty, and what a policy wrote only with what a policy wrote: the
//! enumeration's bare equations say nothing about the length of prose.

use std::collections::BTreeMap;

use datasets::types::{Judgement, Problem, Solution, Verdict};

/// Bins for a factor of e: 1/64 is a step of 1.6% in length.
const BINS: f64 = 64.0;
/// The last bin: 64 MiB of text.
const LAST: usize = 18 * 64;
/// Difficulties above this are taken together.
const MAX_DIFFICULTY: u32 = 64;
/// Fewest lengths that tell what is usual.
const MIN_COUNT: u64 = 50;
/// Least deviation, in units of the logarithm: where all solutions are about as long, none is an outlier for
/// a word.
const MIN_DEVIATION: f64 = 0.2;

/// Whom a solution is compared with: sampled or enumerated, and the difficulty of its problem.
pub type Like = (bool, u32);

/// What is usual for a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// Characters, the median.
    pub median: f64,
    /// Median absolute deviation of the logarithm.
    pub deviation: f64,
}

impl Usual {
    /// How many deviations a length is away from the median.
    pub fn distance(&self, characters: usize) -> f64 {
        ((characters.max(1) as f64).ln() - self.median.ln()).abs() / self.deviation
    }
}

/// The lengths that were counted so far.
#[derive(Clone, Debug, Default)]
pub struct Lengths(BTreeMap<Like, Vec<u64>>);

impl Lengths {
    /// Counts the correct solutions of a problem.
    pub fn add(&mut self, problem: &Problem, solutions: &[(&Solution, &Judgement)]) {
        let difficulty = difficulty(problem, solutions);
        for (solution, judgement) in solutions {
            if judgement.verdict == Verdict::Correct {
                let bins =
                    self.0.entry((solution.sampled(), difficulty)).or_insert_with(|| vec![0; LAST + 1]);
                bins[bin(characters(solution))] += 1;
            }
        }
    }

    /// What is usual for each group that is large enough.
    pub fn usual(&self) -> BTreeMap<Like, Usual> {
        let spread = |bins: &Vec<u64>| {
            let total: u64 = bins.iter().sum();
            let middle = median(bins.iter().copied().enumerate(), total);
            let mut away = vec![0; LAST + 1];
            for (at, count) in bins.iter().enumerate() {
                away[at.abs_diff(middle)] += count;
            }
            let deviation = median(away.into_iter().enumerate(), total) as f64 / BINS;
            let usual = Usual {
                median: ((middle as f64 + 0.5) / BINS).exp(),
                deviation: deviation.max(MIN_DEVIATION),
            };
            (total >= MIN_COUNT).then_some(usual)
        };
        self.0.iter().filter_map(|(like, bins)| Some((*like, spread(bins)?))).collect()
    }
}

fn bin(characters: usize) -> usize {
    (((characters.max(1) as f64).ln() * BINS) as usize).min(LAST)
}

/// The first bin at which half of all is reached.
fn median(bins: impl Iterator<Item = (usize, u64)>, total: u64) -> usize {
    let mut below = 0;
    let mut at = 0;
    for (index, count) in bins {
        below += count;
        at = index;
        if below * 2 >= total {
            break;
        }
    }
    at
}

/// Characters of a completion.
pub fn characters(solution: &Solution) -> usize {
    solution.steps.iter().map(|s| s.text.chars().count() + 1).sum::<usize>()
        + solution.final_answer.chars().count()
        + 5
}

/// The problem's difficulty where its source knows it, else the median number of steps of its correct
/// solutions.
pub fn difficulty(problem: &Problem, solutions: &[(&Solution, &Judgement)]) -> u32 {
    if problem.difficulty > 0 {
        return problem.difficulty.min(MAX_DIFFICULTY);
    }
    let mut steps: Vec<usize> = solutions
        .iter()
        .filter(|(_, j)| j.verdict == Verdict::Correct)
        .map(|(solution, _)| solution.steps.len())
        .collect();
    steps.sort_unstable();
    steps.get(steps.len().saturating_sub(1) / 2).map_or(0, |n| (*n as u32).min(MAX_DIFFICULTY))
}
