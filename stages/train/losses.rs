//! What a token counts in the student's loss (`train.loss`). Every loss is a weighted cross-entropy, L = −Σ
//! m_t w_t log p_t / Σ m_t w_t over the whole accumulated batch, where m_t is what a row says of the token
//! ([`Example::weights`]) and w_t is
//!
//! - `ce`: 1
//! - `face`: small for tokens that the student itself writes all the time ([`Face`])
//! - `golden`: 1 for tokens on which the student is far behind a reference, else 0 ([`Golden`])
//! - `value`: large in steps that raise the value of the state ([`by_value`])
//!
//! `distil` is the exception: with w_t = 1, a teacher's distribution stands for the token that was written
//! ([`Distil`], from [`Example::teacher`]).
//!
//! w_t is a constant of the step: no gradient goes through it. Tokens of the prompt keep their weight, and
//! rows that weigh nothing (paths that teach a value head alone) weigh nothing under every loss. Validation
//! losses are plain cross-entropy, so that students of different losses can be compared.

use anyhow::Result;

use super::batch::Example;
pub use super::config::TokenLoss;
use super::config::TrainConfig;
use crate::model::Tokenizer;
use crate::model::soft::Distil;

/// What an engine does to the weights of a batch before it takes a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Objective {
    /// Nothing: `ce`, and `value`, whose weights stand in the rows.
    Plain,
    Face(Face),
    Golden(Golden),
    /// No weights are changed: the loss itself is another. With the k of the rows' teacher.
    Distil(Distil, usize),
}

/// Tokens of a vocabulary whose weight no loss lowers: numbers, operators and what ends a text.
///
/// A wrong digit, a wrong operator or a text that does not end costs the answer, however often such tokens
/// are written, and however well a reference knows them.
pub fn exact_tokens(tokenizer: &Tokenizer, vocabulary: usize, ends: &[u32]) -> Vec<bool> {
    let of = |id: u32| ends.contains(&id) || is_exact(&tokenizer.decode(&[id]));
    (0..vocabulary as u32).map(of).collect()
}

/// Whether a token is a number or an operator, or a piece of one.
fn is_exact(piece: &str) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || "+-*/=^%<>×÷−".contains(c);
    let piece = piece.trim();
    piece.contains(of_number) && piece.chars().all(|c| of_number(c) || ".,()$".contains(c))
}

impl Objective {
    /// What `[train]` asks for. `exact` is that of [`exact_tokens`].
    ///
    /// # Errors
    /// A share or a floor that is none.
    pub fn of(config: &TrainConfig, exact: &[bool]) -> Result<Self> {
        for (key, share) in [("face_floor", config.face_floor), ("golden_share", config.golden_share)] {
            ensure!((0.0..=1.0).contains(&share), "train.{key} is {share}: give a share from 0 to 1");
        }
        Ok(match config.loss {
            TokenLoss::Ce | TokenLoss::Value => Self::Plain,
            TokenLoss::Distil => Self::Distil(config.distil(), config.top_k),
            TokenLoss::Face => Self::Face(Face::new(config.face_floor, exact.to_vec())),
            TokenLoss::Golden => Self::Golden(Golden { share: config.golden_share, exact: exact.to_vec() }),
        })
    }

    /// What a checkpoint keeps of it besides tensors: how often each token was predicted, or nothing.
    pub fn counts(&self) -> &[u64] {
        match self {
            Self::Face(face) => &face.counts,
            _ => &[],
        }
    }

    /// Puts back what [`Objective::counts`] gave.
    pub fn set_counts(&mut self, counts: Vec<u64>) {
        if let Self::Face(face) = self {
            face.counts = counts;
        }
    }
}

/// Frequency-aware cross-entropy (FACE, arXiv 1902.09191) with pre-weights by the frequencies of the model's
/// own outputs, accumulated over training, which is the variant that was published as the best: w_i = 1 − f_i
/// / max f, rescaled to mean 1 over the vocabulary, where f_i is how often token i was the likeliest one at a
/// target of a completion.
///
/// The token that is predicted most often would weigh nothing, so that there is a floor. Numbers, operators
/// and the end ([`exact_tokens`]) are not counted and weigh 1. A step's weights are those of the steps before
/// it, so that they do not depend on how a batch is divided; in the first step all are 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    floor: f64,
    exact: Vec<bool>,
    counts: Vec<u64>,
}

impl Face {
    pub fn new(floor: f64, exact: Vec<bool>) -> Self {
        Self { floor, counts: vec![0; exact.len()], exact }
    }

    /// w of each token of the vocabulary.
    pub fn weights(&self) -> Vec<f32> {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        if most == 0 {
            return vec![1.0; self.counts.len()];
        }
        let raw = |count: u64| 1.0 - count as f64 / most as f64;
        let counted = || self.counts.iter().zip(&self.exact).filter(|(_, exact)| !**exact);
        let mean = counted().map(|(count, _)| raw(*count)).sum::<f64>() / counted().count() as f64;
        // Where all tokens are equally frequent none is to weigh less.
        let scale = if mean > 0.0 { 1.0 / mean } else { 0.0 };
        let weight = |(count, exact): (&u64, &bool)| match (*exact, scale > 0.0) {
            (false, true) => (raw(*count) * scale).max(self.floor).max(f64::from(f32::EPSILON)) as f32,
            _ => 1.0,
        };
        self.counts.iter().zip(&self.exact).map(weight).collect()
    }

    /// The rows of a batch with the weights of this step.
    pub fn weigh(&self, batch: &[&Example]) -> Vec<Example> {
        let weights = self.weights();
        let of = |example: &&Example| {
            let mut out = (*example).clone();
            let own = out.weights.iter_mut().zip(&example.tokens[1..]).skip(example.asked);
            own.for_each(|(weight, token)| *weight *= weights[*token as usize]);
            out
        };
        batch.iter().map(of).collect()
    }

    /// Counts the likeliest token at each target that weighs something, in the order of the rows.
    pub fn count(&mut self, batch: &[&Example], best: &[u32]) {
        let completion = batch
            .iter()
            .flat_map(|e| e.weights.iter().enumerate().filter(|(_, w)| **w > 0.0).map(|(i, _)| i >= e.asked));
        for (_, best) in completion.zip(best).filter(|(completion, _)| *completion) {
            if !self.exact[*best as usize] {
                self.counts[*best as usize] += 1;
            }
        }
    }
}

/// Training on the tokens that are worth it (Rho-1, arXiv 2404.07965): of a batch's completion tokens the
/// `share` with the largest excess loss Δ_t = CE_student − CE_reference ([`Example::reference`]) counts; the
/// others weigh nothing in this step. Numbers, operators and the end ([`exact_tokens`]) count always, and do
/// not compete. Ties go to the earlier token.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    share: f64,
    exact: Vec<bool>,
}

impl Golden {
    pub fn new(share: f64, exact: Vec<bool>) -> Self {
        Self { share, exact }
    }

    /// The rows of a batch with the weights of this step, by the student's losses at all targets that weigh
    /// something, in the order of the rows.
    ///
    /// # Errors
    /// Rows without reference losses.
    pub fn choose(&self, batch: &[&Example], losses: &[f32]) -> Result<Vec<Example>> {
        let mut excess: Vec<(f32, usize, usize)> = Vec::new();
        let mut losses = losses.iter();
        for (row, example) in batch.iter().enumerate() {
            for (at, _) in example.weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let Some(loss) = losses.next() else { break };
                if at >= example.asked && !self.exact[example.tokens[at + 1] as usize] {
                    ensure!(
                        example.reference.len() == example.weights.len(),
                        "train.loss is \"golden\", but a row has no reference losses"
                    );
                    excess.push((loss - example.reference[at], row, at));
                }
            }
        }
        excess.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let kept = (excess.len() as f64 * self.share).ceil() as usize;
        let mut out: Vec<Example> = batch.iter().map(|e| (*e).clone()).collect();
        for (_, row, at) in &excess[kept.min(excess.len())..] {
            out[*row].weights[*at] = 0.0;
        }
        Ok(out)
    }
}

/// Weights of a completion's tokens by what their step gains: 1 + `gain` max(0, V(after) − V(before)),
/// divided by its mean over the tokens. `values` are those of the states before the first line, after it,
/// after the second, … and after the last; a token belongs to the line that it ends, or stands in. The end
/// token belongs to the last line.
pub fn by_value(values: &[f32], lines: &[usize], gain: f64) -> Vec<f32> {
    let raise = |line: usize| match (values.get(line), values.get(line + 1)) {
        (Some(before), Some(after)) => f64::from((after - before).max(0.0)),
        _ => 0.0,
    };
    let last = values.len().saturating_sub(2);
    let raw: Vec<f64> = lines.iter().map(|line| 1.0 + gain * raise((*line).min(last))).collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    raw.into_iter().map(|w| (w / mean) as f32).collect()
}

/// The line that each token of a completion stands in, from 0.
pub fn lines(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<usize> {
    let mut line = 0;
    let of = |token: &u32| {
        let own = line;
        line += tokenizer.decode(&[*token]).matches('\n').count();
        own
    };
    tokens.iter().map(of).collect()
}
