//! One answer in the making: drawing a token, filling in what the calculator says, and where it ends.

use datasets::answer::{ends_answer, is_open, spoken_from};
use datasets::key::Rng;
use rand::RngExt;

use super::request::{Generated, Generation, Stop, Token};
use crate::model::cpu::simd;
use crate::policy::Sampling;

/// Tokens whose probabilities are summed together before one of them is picked.
const BLOCK: usize = 256;

/// One answer.
pub struct Row {
    /// Index of the request and of the seed in it.
    pub home: (usize, usize),
    /// Tokens that the decoder has yet to read: what was drawn, and the calculator's result after it.
    pub queue: Vec<u32>,
    pub done: bool,
    pub out: Generated,
    rng: Rng,
}

impl Row {
    pub fn new(work: &Generation<'_>, home: (usize, usize)) -> Self {
        let seed = work.requests[home.0].seeds[home.1];
        Self {
            home,
            queue: Vec::new(),
            done: false,
            out: Generated::default(),
            rng: datasets::key::rng(&["sample".into(), seed.into()]),
        }
    }

    /// The random number of the next draw, for an engine that draws on its device.
    pub fn uniform(&mut self) -> f32 {
        self.rng.random()
    }

    /// Draws the next token from its logits `[V]`.
    pub fn draw(&mut self, work: &Generation<'_>, ends: &[u32], logits: &[f32]) {
        let (id, logprob) = draw(logits, work.sampling, &mut self.rng);
        self.accept(work, ends, id, logprob);
    }

    /// Takes a drawn token: the queue holds then what the decoder reads next, or the row is done.
    pub fn accept(&mut self, work: &Generation<'_>, ends: &[u32], id: u32, logprob: f32) {
        self.queue.clear();
        if ends.contains(&id) {
            self.out.finished = true;
            return self.end(work);
        }
        self.push(id, logprob);
        let piece = work.tokenizer.decode(&[id]);
        if piece.contains('\n') && work.stop != Stop::Limit {
            let (text, begun) = (self.text(work), &work.requests[self.home.0].begun);
            let written = format!("{begun}{text}");
            // No line of a thought ends a row.
            let said = spoken_from(&written).map(|said| &text[said.saturating_sub(begun.len())..]);
            let said = said.unwrap_or_default().trim_end();
            let ends = ends_answer(said) || work.stop == Stop::Line && !is_open(&written);
            if !said.is_empty() && ends {
                self.out.finished = true;
                return self.end(work);
            }
        }
        if self.stops_at(work).is_some() {
            self.out.finished = true;
            return self.end(work);
        }
        if work.sampling.calculator && piece.trim_end().ends_with('=') {
            let written = format!("{}{}", work.requests[self.home.0].begun, self.text(work));
            if let Some(result) = datasets::expr::calculator(&written) {
                let room = work.sampling.max_tokens - self.out.tokens.len();
                work.tokenizer.encode(&result).into_iter().take(room).for_each(|id| self.push(id, 0.0));
            }
        }
        if self.out.tokens.len() >= work.sampling.max_tokens {
            self.end(work);
        }
    }

    fn push(&mut self, id: u32, logprob: f32) {
        self.out.tokens.push(Token { id, logprob });
        self.queue.push(id);
    }

    fn text(&self, work: &Generation<'_>) -> String {
        let ids: Vec<u32> = self.out.tokens.iter().map(|t| t.id).collect();
        work.tokenizer.decode(&ids)
    }

    fn end(&mut self, work: &Generation<'_>) {
        self.done = true;
        self.out.text = self.text(work);
        if let Some(at) = self.stops_at(work) {
            self.out.text.truncate(at);
        }
    }

    /// Where one of the texts begins at which rows end; looked for at the end only, as each token is.
    fn stops_at(&self, work: &Generation<'_>) -> Option<usize> {
        let longest = work.stops.iter().map(String::len).max()?;
        // Special tokens have no text, and a character may take several.
        let last = self.out.tokens.len().saturating_sub(longest + 8);
        let ids: Vec<u32> = self.out.tokens[last..].iter().map(|token| token.id).collect();
        let tail = work.tokenizer.decode(&ids);
        work.stops.iter().find(|stop| tail.contains(stop.as_str()))?;
        let text = self.text(work);
        work.stops.iter().filter_map(|stop| text.find(stop.as_str())).min()
    }
}

/// Draws a token and gives its log-probability at temperature 1.
fn draw(logits: &[f32], sampling: &Sampling, rng: &mut Rng) -> (u32, f32) {
    let top = simd::max(logits);
    let log_sum = top + simd::sum_exp(logits, top, 1.0).ln();
    let logprob = |id: usize| (id as u32, logits[id] - log_sum);
    if sampling.temperature <= 0.0 {
        return logprob(logits.iter().position(|s| *s >= top).unwrap_or(0));
    }
    let uniform: f32 = rng.random();
    let scale = 1.0 / sampling.temperature;
    let warm = |s: f32| ((s - top) * scale).exp();
    if sampling.top_k == 0 && sampling.top_p >= 1.0 {
        let masses: Vec<f32> = logits.chunks(BLOCK).map(|block| simd::sum_exp(block, top, scale)).collect();
        let goal = uniform * masses.iter().sum::<f32>();
        let (block, before) = pick(masses.iter().copied().enumerate(), goal);
        let first = block * BLOCK;
        let inside = logits[first..].iter().take(BLOCK).map(|s| warm(*s)).enumerate();
        return logprob(first + pick(inside, goal - before).0);
    }
    let mut ranked: Vec<(usize, f32)> =
        logits.iter().map(|s| warm(*s)).enumerate().filter(|(_, w)| *w > 1e-9).collect();
    let likelier = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if sampling.top_k > 0 && sampling.top_k < ranked.len() {
        ranked.select_nth_unstable_by(sampling.top_k - 1, likelier);
        ranked.truncate(sampling.top_k);
    }
    ranked.sort_unstable_by(likelier);
    if sampling.top_p < 1.0 {
        let goal = ranked.iter().map(|(_, w)| w).sum::<f32>() * sampling.top_p;
        let mut mass = 0.0;
        let within = |(_, w): &&(usize, f32)| {
            let before = mass < goal;
            mass += w;
            before
        };
        let keep = ranked.iter().take_while(within).count();
        ranked.truncate(keep.max(1));
    }
    let mass: f32 = ranked.iter().map(|(_, w)| w).sum();
    logprob(pick(ranked.iter().copied(), uniform * mass).0)
}

/// The item at which the running sum of weights passes `goal`, and the sum before it.
fn pick(weights: impl Iterator<Item = (usize, f32)>, goal: f32) -> (usize, f32) {
    let (mut sum, mut last) = (0.0, (0, 0.0));
    for (id, weight) in weights {
        if weight > 0.0 {
            last = (id, sum);
            sum += weight;
            if sum > goal {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of many draws, each token's share is its probability: within five deviations of it.
    #[test]
    fn draws_have_the_frequencies_of_the_softmax() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 37) as f32).sin() * 3.0).collect();
        for (temperature, top_k, top_p) in
            [(1.0, 0, 1.0), (0.7, 0, 1.0), (1.3, 40, 1.0), (1.0, 0, 0.8), (0.8, 100, 0.5)]
        {
            let sampling = Sampling { temperature, top_p, top_k, max_tokens: 1, calculator: false };
            let mut ranked: Vec<(usize, f64)> =
                logits.iter().map(|l| f64::from(*l / temperature).exp()).enumerate().collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            ranked.truncate(if top_k > 0 { top_k } else { 1000 });
            let (all, mut mass) = (ranked.iter().map(|r| r.1).sum::<f64>(), 0.0);
            let kept: Vec<(usize, f64)> = ranked
                .into_iter()
                .take_while(|(_, w)| {
                    let before = mass < all * f64::from(top_p);
                    mass += w;
                    before
                })
                .collect();
            let (draws, mut rng) = (20_000, datasets::key::rng(&["test".into()]));
            let mut counts = vec![0usize; 1000];
            for _ in 0..draws {
                let (id, logprob) = draw(&logits, &sampling, &mut rng);
                let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
                assert!((f64::from(logprob) - (f64::from(logits[id as usize]) - sum.ln())).abs() < 1e-4);
                counts[id as usize] += 1;
            }
            let total: f64 = kept.iter().map(|k| k.1).sum();
            for (id, weight) in &kept {
                let expected = weight / total * f64::from(draws);
                let deviation = expected.sqrt().max(1.0);
                assert!(
                    (counts[*id] as f64 - expected).abs() < 5.0 * deviation + 6.0,
                    "token {id}: {} of {expected}",
                    counts[*id]
                );
                counts[*id] = 0;
            }
            assert_eq!(counts.iter().sum::<usize>(), 0, "drew what top-k or top-p leave out");
        }
    }
}
