//! Multiple choice by letters: whether a model prefers a place, and how good the probability is that it gives
//! to its letter.

use std::collections::HashMap;
use std::fmt;

use datasets::domains::choice;
use datasets::table::Evaluation;
use datasets::types::Problem;
use serde::{Deserialize, Serialize};

/// Ranges of probability that answers are sorted into.
const BINS: usize = 10;

/// Greedy answers by the letter of the right option, and by that which was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    pub letters: Vec<Letter>,
    /// Answers that name no option.
    pub none: usize,
    /// None if the model gave no probabilities.
    pub calibration: Option<Calibration>,
}

/// A letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    pub letter: char,
    /// Problems whose right option has it, and how many of them were solved.
    pub right: usize,
    pub solved: usize,
    /// Problems for which it was the answer.
    pub chosen: usize,
}

/// How the probability that a model gives to its answer agrees with how often that is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Answers with a probability.
    pub answers: usize,
    /// Expected calibration error: the mean distance of share and probability, over ten ranges of it.
    pub ece: f64,
    /// Mean squared distance of probability and outcome.
    pub brier: f64,
    /// The ranges that have answers.
    pub bins: Vec<Bin>,
}

/// Answers whose probability is in a range of a tenth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    pub from: f64,
    pub answers: usize,
    /// Mean probability, and share that is right.
    pub probability: f64,
    pub right: f64,
}

impl Choices {
    /// Sums up greedy answers; None if no problem has options.
    pub fn of(rows: &[&Evaluation], problems: &HashMap<String, Problem>) -> Option<Self> {
        let mut all = Self { letters: Vec::new(), none: 0, calibration: None };
        let mut sure: Vec<(f64, bool)> = Vec::new();
        for row in rows {
            let Some(problem) = problems.get(&row.problem_id) else { continue };
            let options = choice::options(problem);
            let Some(right) = choice::named(&problem.answer, &options) else { continue };
            while all.letters.len() < options.len() {
                let letter = choice::letter(all.letters.len());
                all.letters.push(Letter { letter, right: 0, solved: 0, chosen: 0 });
            }
            all.letters[right].right += 1;
            all.letters[right].solved += usize::from(row.correct);
            match choice::named(&row.final_answer, &options) {
                Some(place) => all.letters[place].chosen += 1,
                None => all.none += 1,
            }
            sure.extend(row.answer_logprob.map(|logprob| (f64::from(logprob).exp(), row.correct)));
        }
        all.calibration = Calibration::of(&sure);
        (!all.letters.is_empty()).then_some(all)
    }
}

impl Calibration {
    /// Of answers by their probability, and whether they are right.
    fn of(sure: &[(f64, bool)]) -> Option<Self> {
        let count = sure.len() as f64;
        let bin = |probability: f64| ((probability * BINS as f64) as usize).min(BINS - 1);
        let mean = |of: &[(f64, bool)], value: fn(&(f64, bool)) -> f64| {
            of.iter().map(value).sum::<f64>() / of.len() as f64
        };
        let bins: Vec<Bin> = (0..BINS)
            .filter_map(|at| {
                let within: Vec<(f64, bool)> =
                    sure.iter().filter(|(probability, _)| bin(*probability) == at).copied().collect();
                (!within.is_empty()).then(|| Bin {
                    from: at as f64 / BINS as f64,
                    answers: within.len(),
                    probability: mean(&within, |(probability, _)| *probability),
                    right: mean(&within, |(_, right)| f64::from(u8::from(*right))),
                })
            })
            .collect();
        (!sure.is_empty()).then(|| Self {
            answers: sure.len(),
            ece: bins.iter().map(|b| b.answers as f64 * (b.probability - b.right).abs()).sum::<f64>() / count,
            brier: mean(sure, |(probability, right)| (probability - f64::from(u8::from(*right))).powi(2)),
            bins,
        })
    }
}

impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters =
            |text: fn(&Letter) -> String| self.letters.iter().map(text).collect::<Vec<_>>().join("  ");
        write!(
            f,
            "solved by the right letter: {}",
            letters(|l| format!("{} {}/{}", l.letter, l.solved, l.right))
        )?;
        write!(f, "; chosen: {}", letters(|l| format!("{} {}", l.letter, l.chosen)))?;
        if self.none > 0 {
            write!(f, "; no option: {}", self.none)?;
        }
        if let Some(Calibration { answers, ece, brier, .. }) = &self.calibration {
            write!(f, "; calibration of {answers} answers: ECE {ece:.3}, Brier {brier:.3}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datasets::types::{Split, Verdict};

    use super::*;

    #[test]
    fn letters_and_their_probabilities() {
        let problem = |n: usize| Problem {
            problem_id: n.to_string(),
            domain: "choice".into(),
            answer: ["A", "B"][n % 2].into(),
            meta: r#"{"options": ["red", "blue"]}"#.into(),
            ..Problem::default()
        };
        let row = |n: usize, answer: &str, probability: Option<f32>| Evaluation {
            round: 1,
            model: "student".into(),
            split: Split::Test,
            problem_id: n.to_string(),
            sample: 0,
            seed: 0,
            correct: answer == ["A", "B"][n % 2],
            verdict: Verdict::Wrong,
            reason: String::new(),
            completion: String::new(),
            final_answer: answer.into(),
            answer_logprob: probability.map(f32::ln),
            tokens: 1,
            model_tokens: 1,
            expansions: 0,
        };
        let rows =
            [row(0, "A", Some(0.9)), row(1, "A", Some(0.9)), row(2, "A", Some(0.5)), row(3, "none", None)];
        let problems: HashMap<String, Problem> = (0..4).map(|n| (n.to_string(), problem(n))).collect();
        let rows: Vec<&Evaluation> = rows.iter().collect();
        let found = Choices::of(&rows, &problems).unwrap();
        let letter = |letter, right, solved, chosen| Letter { letter, right, solved, chosen };
        assert_eq!(found.letters, [letter('A', 2, 2, 3), letter('B', 2, 0, 0)]);
        assert_eq!(found.none, 1);
        let calibration = found.calibration.clone().unwrap();
        assert_eq!((calibration.answers, calibration.bins.len()), (3, 2));
        // Two of 0.9 with one right, and one of 0.5 that is right.
        assert!((calibration.ece - (2.0 * 0.4 + 0.5) / 3.0).abs() < 1e-6, "{calibration:?}");
        assert!((calibration.brier - (0.01 + 0.81 + 0.25) / 3.0).abs() < 1e-6, "{calibration:?}");
        assert!(found.to_string().contains("A 2/2  B 0/2; chosen: A 3  B 0; no option: 1; calibration of 3"));
        // Other questions have none of it.
        let plain = |n: usize| (n.to_string(), Problem { meta: String::new(), ..problem(n) });
        assert_eq!(Choices::of(&rows, &(0..4).map(plain).collect()), None);
    }
}
