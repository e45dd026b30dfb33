//! A teacher's distribution over the next token, cut down to its k likeliest tokens and one bucket for all
//! others; and how far a student is from it.
//!
//! The tail bucket keeps the sums at 1. Without it the "divergence" of the k tokens alone can be negative,
//! and pulls the student's probabilities up whatever they are.

use serde::{Deserialize, Serialize};

/// Stands for a token where a teacher named fewer than k.
pub const NONE: u32 = u32::MAX;
/// Least log-probability of a bucket: what is rarer counts as so rare.
pub const FLOOR: f64 = -30.0;

/// The k likeliest next tokens after each of n tokens, and what is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopK {
    pub k: usize,
    /// `[n, k]`, likeliest first; [`NONE`] where there are fewer.
    pub ids: Vec<u32>,
    /// Log-probabilities `[n, k + 1]`; the last of each row is that of all other tokens together.
    pub logs: Vec<f32>,
}

/// `train.divergence`: which way the student's distribution p is held against the teacher's q.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Divergence {
    /// KL(q ‖ p): the student covers all that the teacher may say.
    Forward,
    /// KL(p ‖ q): the student says only what the teacher would.
    Reverse,
}

/// L = (1 − a) CE + a T² KL, with both distributions at temperature T over the buckets of a [`TopK`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distil {
    /// a, from 0 to 1.
    pub share: f32,
    /// T, above 0.
    pub temperature: f32,
    pub divergence: Divergence,
}

/// A batch of rows with what a teacher says of each.
#[derive(Clone, Copy)]
pub struct Soft<'a> {
    pub k: usize,
    /// `[rows, k]`
    pub ids: &'a [u32],
    /// `[rows, k + 1]`
    pub logs: &'a [f32],
    pub how: Distil,
}

impl<'a> Soft<'a> {
    /// Some of the rows.
    pub fn rows(&self, from: usize, to: usize) -> Self {
        let (ids, logs) = (&self.ids[from * self.k..to * self.k], &self.logs[from * (self.k + 1)..]);
        Self { ids, logs: &logs[..(to - from) * (self.k + 1)], ..*self }
    }

    /// Tokens and log-probabilities of a row.
    pub fn row(&self, row: usize) -> (&'a [u32], &'a [f32]) {
        let k = self.k;
        (&self.ids[row * k..(row + 1) * k], &self.logs[row * (k + 1)..(row + 1) * (k + 1)])
    }
}

impl TopK {
    /// What there is of a token that no teacher has read.
    pub fn push_none(&mut self) {
        self.ids.extend(std::iter::repeat_n(NONE, self.k));
        self.logs.extend(std::iter::repeat_n(f32::NEG_INFINITY, self.k + 1));
    }

    /// Adds what stands at a place of another, which has the same k.
    pub fn push(&mut self, other: &Self, place: usize) {
        let k = self.k;
        self.ids.extend_from_slice(&other.ids[place * k..(place + 1) * k]);
        self.logs.extend_from_slice(&other.logs[place * (k + 1)..(place + 1) * (k + 1)]);
    }

    /// Adds the k likeliest of the first `vocabulary` logits of a row, which the student has too; ties go to
    /// the lower token. What the teacher alone has counts with the others.
    pub fn add(&mut self, logits: &[f32], vocabulary: usize) {
        let known = &logits[..vocabulary.min(logits.len())];
        let k = self.k.min(known.len());
        let order = |a: &u32, b: &u32| known[*b as usize].total_cmp(&known[*a as usize]).then(a.cmp(b));
        let mut ids: Vec<u32> = (0..known.len() as u32).collect();
        if k < ids.len() {
            ids.select_nth_unstable_by(k, order);
            ids.truncate(k);
        }
        ids.sort_unstable_by(order);
        let top = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let exp = |logit: f32| (f64::from(logit) - top).exp();
        let likeliest: f64 = ids.iter().map(|id| exp(logits[*id as usize])).sum();
        let mut rest = logits.to_vec();
        for id in &ids {
            rest[*id as usize] = f32::NEG_INFINITY;
        }
        let rest: f64 = rest.into_iter().map(exp).sum();
        let sum = (likeliest + rest).ln();
        let logs = ids.iter().map(|id| (f64::from(logits[*id as usize]) - top - sum) as f32);
        let missing = self.k - k;
        self.logs.extend(logs.chain(std::iter::repeat_n(f32::NEG_INFINITY, missing)));
        self.logs.push((rest.ln() - sum) as f32);
        self.ids.extend(ids.into_iter().chain(std::iter::repeat_n(NONE, missing)));
    }

    /// As what a student learns from.
    pub fn learned(&self, how: Distil) -> Soft<'_> {
        Soft { k: self.k, ids: &self.ids, logs: &self.logs, how }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len() / self.k.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Distil {
    /// Log-probabilities of buckets at temperature T. −infinity stays for a token that is none; the last, the
    /// tail, is always there.
    pub fn soften(&self, logs: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
        let last = logs.len() - 1;
        let floored = |(at, log): (usize, f64)| {
            let there = at == last || log > f64::NEG_INFINITY;
            if there { log.max(FLOOR) / f64::from(self.temperature) } else { log }
        };
        let logs: Vec<f64> = logs.enumerate().map(floored).collect();
        let sum = logs.iter().map(|log| log.exp()).sum::<f64>().ln();
        logs.into_iter().map(|log| log - sum).collect()
    }

    /// T² KL of a teacher's and a student's log-probabilities over the same buckets, the last of which is the
    /// tail; `slopes` are its derivatives by the student's, which sum to 0. A bucket without a token is
    /// −infinity on both sides, and counts as none.
    pub fn compare(&self, teacher: &[f32], student: &[f64], slopes: &mut [f64]) -> f64 {
        let t = f64::from(self.temperature);
        let (q, p) =
            (self.soften(teacher.iter().map(|q| f64::from(*q))), self.soften(student.iter().copied()));
        let there = |at: usize| q[at] > f64::NEG_INFINITY;
        let term = |at: usize| match (there(at), self.divergence) {
            (false, _) => 0.0,
            (true, Divergence::Forward) => q[at].exp() * (q[at] - p[at]),
            (true, Divergence::Reverse) => p[at].exp() * (p[at] - q[at]),
        };
        let kl: f64 = (0..q.len()).map(term).sum();
        for (at, slope) in slopes.iter_mut().enumerate() {
            *slope = t * match (there(at), self.divergence) {
                (false, _) => 0.0,
                (true, Divergence::Forward) => p[at].exp() - q[at].exp(),
                (true, Divergence::Reverse) => p[at].exp() * (p[at] - q[at] - kl),
            };
        }
        t * t * kl
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn logs(rng: &mut impl RngExt, count: usize) -> Vec<f64> {
        let raw: Vec<f64> = (0..count).map(|_| rng.random::<f64>() * 4.0).collect();
        let sum = raw.iter().map(|x| x.exp()).sum::<f64>().ln();
        raw.into_iter().map(|x| x - sum).collect()
    }

    #[test]
    fn slopes_are_those_of_the_divergence_and_equal_distributions_have_none() {
        let mut rng = datasets::key::rng(&["soft".into()]);
        for divergence in [Divergence::Forward, Divergence::Reverse] {
            for temperature in [1.0, 2.5] {
                let how = Distil { share: 1.0, temperature, divergence };
                let teacher: Vec<f32> = logs(&mut rng, 6).into_iter().map(|x| x as f32).collect();
                let student = logs(&mut rng, 6);
                let mut slopes = [0.0; 6];
                let kl = how.compare(&teacher, &student, &mut slopes);
                assert!(kl > 0.0 && slopes.iter().sum::<f64>().abs() < 1e-9);
                for at in 0..6 {
                    let moved = |by: f64| {
                        let mut moved = student.clone();
                        moved[at] += by;
                        how.compare(&teacher, &moved, &mut [0.0; 6])
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!((slope - slopes[at]).abs() < 1e-6, "{slope} {}", slopes[at]);
                }
                let same: Vec<f64> = teacher.iter().map(|x| f64::from(*x)).collect();
                assert!(how.compare(&teacher, &same, &mut slopes).abs() < 1e-9);
                assert!(slopes.iter().all(|slope| slope.abs() < 1e-9));
            }
        }
    }

    #[test]
    fn with_all_tokens_in_buckets_it_is_the_whole_divergence_and_never_negative() {
        let mut rng = datasets::key::rng(&["soft".into(), 2.into()]);
        let how = Distil { share: 1.0, temperature: 1.0, divergence: Divergence::Forward };
        for k in 1..20 {
            let logits: Vec<f32> = logs(&mut rng, 20).into_iter().map(|x| x as f32).collect();
            let student = logs(&mut rng, 20);
            let mut top = TopK { k, ..TopK::default() };
            top.add(&logits, 20);
            let tail: f64 =
                (0..20).filter(|id| !top.ids.contains(id)).map(|id| student[id as usize].exp()).sum();
            let mut own: Vec<f64> = top.ids.iter().map(|id| student[*id as usize]).collect();
            own.push(tail.ln());
            let part = how.compare(&top.logs, &own, &mut vec![0.0; k + 1]);
            let whole: f64 =
                logits.iter().zip(&student).map(|(q, p)| f64::from(*q).exp() * (f64::from(*q) - p)).sum();
            // Merging buckets can only lose divergence.
            assert!(part > -1e-9 && part < whole + 1e-6, "{part} {whole}");
            assert!(k < 19 || (part - whole).abs() < 1e-5, "{part} {whole}");
        }
    }

    #[test]
    fn the_likeliest_tokens_are_those_that_the_student_has_too() {
        let mut top = TopK { k: 3, ..TopK::default() };
        top.add(&[0.0, 2.0, 1.0, 2.0, 9.0], 4);
        assert_eq!(top.ids, [1, 3, 2]);
        assert!(top.logs[0] < -6.9 && top.logs[3] > -0.01, "{:?}", top.logs);
        let mut few = TopK { k: 3, ..TopK::default() };
        few.add(&[0.0, 1.0], 2);
        assert_eq!(few.ids, [1, 0, NONE]);
        assert_eq!((few.logs[2], few.logs[3]), (f32::NEG_INFINITY, f32::NEG_INFINITY));
        few.push_none();
        assert_eq!((few.len(), few.logs.len()), (2, 8));
        top.push(&few, 0);
        assert_eq!((top.len(), &top.ids[3..]), (2, &few.ids[..3]));
    }
}
