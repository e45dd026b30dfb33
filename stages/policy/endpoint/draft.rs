//! One sample while it is written: what to stop at, when to go on, and how text becomes steps.
//!
//! With the calculator a sample takes several requests. Each stops at `=`; the result is filled in
//! and the text so far goes into the next request. That needs to know whether a request ended at `=`
//! or because the sample is complete. Where the server does not say ([`Ended::Unsaid`]):
//!
//! 1. with an answer line (`#### x`) in the text it is complete;
//! 2. else, if its last line looks like the left side of an equation, it stopped at `=`: either the
//!    calculator can work out what stands behind the line's last `=`, or the text ends in a space
//!    (models write ` = `; complete texts do not end in spaces);
//! 3. else it is complete.

use std::sync::Arc;

use datasets::answer::{Completion, closes_code, is_answer_line, is_open, opens_code, spoken_from};
use datasets::expr::calculator;
use datasets::types::{End, Step};

use super::wire::{Choice, Ended};
use crate::policy::{Horizon, Prompt, Proposal, Sampling};

/// Where steps end.
const LINE: &str = "\n";
/// Where the calculator takes over.
const EQUALS: &str = "=";

/// A run of tokens within the text.
struct Piece {
    /// Byte offset in the text.
    start: usize,
    /// Bytes over which the tokens are spread; 0 if all are at `start`.
    spread: usize,
    tokens: u32,
    /// Natural log of the tokens' probability; `None` if unknown.
    logprob: Option<f32>,
}

/// A sample in the making.
pub(super) struct Draft {
    /// The steps that were given, as text; empty, or ending in a newline.
    given: String,
    /// What was written since.
    text: String,
    /// What the server tells apart as thought, and how many of the tokens that is.
    thought: String,
    thought_tokens: u32,
    prompt: Arc<Prompt>,
    pieces: Vec<Piece>,
    tokens: u32,
    how: End,
    limit: u32,
    horizon: Horizon,
    calculator: bool,
    /// Stop at the end of the line.
    stop_at_line: bool,
}

/// Some servers (llama.cpp) answer a begun turn with the whole turn, what was sent of it included; others
/// with what is new. A chat template may have trimmed what was sent.
fn without_echo<'a>(answer: &'a str, sent: &str) -> &'a str {
    let trimmed = sent.trim_end();
    if trimmed.is_empty() {
        return answer;
    }
    answer.strip_prefix(sent).or_else(|| answer.strip_prefix(trimmed)).unwrap_or(answer)
}

impl Draft {
    pub(super) fn new(given: &str, horizon: Horizon, sampling: &Sampling, prompt: &Arc<Prompt>) -> Self {
        Self {
            given: given.to_owned(),
            text: String::new(),
            thought: String::new(),
            thought_tokens: 0,
            prompt: prompt.clone(),
            pieces: Vec::new(),
            tokens: 0,
            how: End::Complete,
            limit: u32::try_from(sampling.max_tokens).unwrap_or(u32::MAX),
            horizon,
            calculator: sampling.calculator,
            stop_at_line: horizon == Horizon::Step,
        }
    }

    /// Stop strings of the next request.
    pub(super) fn stops(&self) -> Vec<&str> {
        let line = self.stop_at_line.then_some(LINE);
        let equals = self.calculator.then_some(EQUALS);
        line.into_iter().chain(equals).chain(self.prompt.config.stop.iter().map(String::as_str)).collect()
    }

    /// What the assistant has written so far.
    pub(super) fn so_far(&self) -> String {
        format!("{}{}", self.given, self.text)
    }

    /// Tokens that may still be generated.
    pub(super) fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.tokens)
    }

    /// Takes in what a request brought, `tokens` tokens of it; true if another one is needed.
    pub(super) fn absorb(&mut self, choice: &Choice, tokens: u32) -> bool {
        // At least one, so that a server that counts nothing cannot keep the loop going for ever.
        self.append(choice, tokens.max(1));
        let ended = self.how_it_ended(&choice.ended);
        // For servers that know no stop strings.
        let stops = self.prompt.config.stop.iter();
        if let Some(stop) = stops.filter_map(|stop| self.text.find(stop.as_str())).min() {
            self.text.truncate(stop);
            return false;
        }
        if let Some(end) = self.end() {
            self.text.truncate(end);
            return false;
        }
        match ended {
            Ended::Filtered => self.stop(End::Filtered),
            Ended::Length => self.stop(End::Truncated),
            Ended::Stop(stop) if stop == EQUALS => {
                if self.remaining() > 0 {
                    self.text.push_str(EQUALS);
                    self.calculate();
                }
                self.remaining() > 0 || self.stop(End::Truncated)
            }
            // A chat template may drop the newline behind the given steps; then the first line is
            // empty. It is asked for once more, to be cut at the end of the second. So is a line in the
            // middle of a thought, a formula or code.
            Ended::Stop(stop)
                if self.stop_at_line
                    && stop == LINE
                    && self.remaining() > 0
                    && (!self.given.is_empty() && self.text.trim().is_empty() || is_open(&self.text)) =>
            {
                if !self.text.trim().is_empty() {
                    self.text.push_str(LINE);
                }
                self.stop_at_line = false;
                true
            }
            _ => false,
        }
    }

    /// Ends the sample here; `false`, as no further request is needed.
    pub(super) fn stop(&mut self, how: End) -> bool {
        self.how = how;
        false
    }

    /// Lays the tokens of a choice along the text.
    fn append(&mut self, choice: &Choice, mut tokens: u32) {
        if !choice.thought.is_empty() {
            // A server counts thought and text together: each has its share of the characters, or what
            // log-probabilities leave to it.
            let (thought, text) = (choice.thought.chars().count() as u64, choice.text.chars().count() as u64);
            let shown = choice.tokens.len() as u32;
            let thinking = match shown {
                0 => (u64::from(tokens) * thought / (thought + text).max(1)) as u32,
                shown => tokens.saturating_sub(shown),
            };
            self.thought = join(&self.thought, &choice.thought);
            self.thought_tokens = self.thought_tokens.saturating_add(thinking);
            self.tokens = self.tokens.saturating_add(thinking);
            tokens -= thinking;
        }
        let start = self.text.len();
        let new = without_echo(&choice.text, &self.so_far()).to_owned();
        self.text.push_str(&new);
        self.tokens = self.tokens.saturating_add(tokens);
        let sent: Vec<u8> = choice.tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
        let text = new.as_bytes();
        // The tokens may go on into the stop string, or lack the end.
        let along = sent.starts_with(text) || (!sent.is_empty() && text.starts_with(&sent));
        if choice.tokens.is_empty() || !along {
            self.pieces.push(Piece { start, spread: text.len(), tokens, logprob: None });
            return;
        }
        let (mut at, mut left) = (start, tokens);
        for token in &choice.tokens {
            let counted = left.min(1);
            left -= counted;
            self.pieces.push(Piece { start: at, spread: 0, tokens: counted, logprob: Some(token.logprob) });
            at += token.bytes.len();
        }
        if left > 0 {
            // Counted by the server but not shown: the stop string or the end token.
            self.pieces.push(Piece { start: self.text.len(), spread: 0, tokens: left, logprob: Some(0.0) });
        }
    }

    /// Fills in the result behind the `=` just written, if there is one. Its characters count one
    /// token each, an upper bound: the server's tokenizer is not at hand.
    fn calculate(&mut self) {
        if let Some(result) = calculator(&self.so_far()) {
            let tokens = result.chars().count() as u32;
            self.pieces.push(Piece { start: self.text.len(), spread: 0, tokens, logprob: Some(0.0) });
            self.tokens = self.tokens.saturating_add(tokens);
            self.text.push_str(&result);
        }
    }

    /// Puts what the server left unsaid into words; see the module's documentation.
    fn how_it_ended(&self, said: &Ended) -> Ended {
        if *said != Ended::Unsaid {
            return said.clone();
        }
        if self.calculator && !has_answer(&self.text) && looks_like_left_side(&self.so_far()) {
            return Ended::Stop(EQUALS.to_owned());
        }
        if self.stop_at_line { Ended::Stop(LINE.to_owned()) } else { Ended::Natural }
    }

    /// Where the text is complete, though it may go on: behind the first line that holds anything
    /// for [`Horizon::Step`], behind the answer line for [`Horizon::Path`]. The newline must be there.
    fn end(&self) -> Option<usize> {
        // No line of a thought is one.
        let said = spoken_from(&self.text)?;
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let full = line.ends_with('\n');
            let spoken = &line[said.saturating_sub(start).min(line.len())..];
            let wanted = match self.horizon {
                Horizon::Step => !spoken.trim().is_empty() && !is_open(&self.text[..start + line.len()]),
                Horizon::Path => {
                    has_answer(spoken) && !opens_code(spoken) || closes_code(&self.text[..start + line.len()])
                }
            };
            if full && wanted {
                return Some(start + line.len() - 1);
            }
            start += line.len();
        }
        None
    }

    /// Cuts the text into steps.
    ///
    /// A step owns its line up to the start of the next one. What follows the last step belongs to the final
    /// answer, or to the last step if there is none; then the steps' tokens add up to the proposal's, but for
    /// what lines took back ([`datasets::answer::UNDO`]): that counts in the proposal alone. A step's
    /// log-probability is NaN if that of any of its tokens is unknown; the calculator's tokens count as
    /// certain.
    pub(super) fn finish(self) -> Proposal {
        // A step, or a text that was cut off, has an answer only where one is marked.
        let whole = self.horizon == Horizon::Path && self.how == End::Complete && self.remaining() > 0;
        let prompt = self.prompt.clone();
        let reader = prompt.reader();
        let mut read = if whole { reader.completion(&self.text) } else { reader.marked(&self.text) };
        let bounds = self.bounds(&read);
        let mut steps = Vec::with_capacity(read.steps.len());
        for place in read.steps {
            let text = std::mem::take(&mut read.lines[place]);
            let (from, to) = (bounds[place], bounds[place + 1]);
            let tokens = self.tokens_before(to) - self.tokens_before(from);
            steps.push(Step { text, logprob: self.logprob(from, to), value: f32::NAN, q: f32::NAN, tokens });
        }
        let (mut thought, mut thought_tokens) = (self.thought.clone(), self.thought_tokens);
        if read.said > 0 || read.thinking {
            thought = join(&thought, &self.text[read.thought]);
            let said = if read.thinking { usize::MAX } else { read.said };
            thought_tokens = thought_tokens.saturating_add(self.tokens_before(said)).min(self.tokens);
        }
        let silent = self.text.trim().is_empty() && self.horizon == Horizon::Path;
        let end = match self.how {
            End::Complete if silent => End::Empty,
            End::Truncated if read.thinking || silent && !thought.is_empty() => End::Thinking,
            how => how,
        };
        let final_answer = read.answer;
        let tokens = self.tokens;
        Proposal { steps, final_answer, end, tokens, thought, thought_tokens, ..Proposal::default() }
    }

    /// Byte offsets at which the lines begin, and where the last one ends.
    fn bounds(&self, read: &Completion) -> Vec<usize> {
        let mut bounds: Vec<usize> = read.spans.iter().map(|span| span.start).collect();
        let at = read.spans.last().map_or(read.said, |span| span.end);
        // What precedes the first step is its own, but for thoughts.
        if let Some(first) = bounds.first_mut() {
            *first = read.said;
        }
        let line_end = self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1);
        bounds.push(if read.answer.is_empty() { usize::MAX } else { line_end });
        bounds
    }

    /// Tokens that begin before a byte offset. It grows with the offset and ends at the total, so
    /// differences of it add up exactly.
    fn tokens_before(&self, offset: usize) -> u32 {
        let before = |piece: &Piece| {
            if offset >= piece.start.saturating_add(piece.spread.max(1)) {
                return piece.tokens;
            }
            let part = offset.saturating_sub(piece.start).min(piece.spread) as u64;
            (u64::from(piece.tokens) * part / piece.spread.max(1) as u64) as u32
        };
        self.pieces.iter().map(before).sum()
    }

    /// Sum of the log-probabilities of the tokens that begin in a range and belong to the text or
    /// end it; NaN if any is unknown.
    fn logprob(&self, from: usize, to: usize) -> f32 {
        let end = to.min(self.text.len() + 1);
        let within = |piece: &&Piece| piece.start < end && piece.start + piece.spread.max(1) > from;
        self.pieces.iter().filter(within).map(|piece| piece.logprob.unwrap_or(f32::NAN)).sum()
    }
}

/// Whether some line is an answer line with an answer on it.
fn has_answer(text: &str) -> bool {
    text.lines().any(|line| is_answer_line(line) && !line.trim_matches(['#', ' ', '\t']).is_empty())
}

/// Thoughts, one behind the other.
fn join(first: &str, second: &str) -> String {
    let (first, second) = (first.trim(), second.trim());
    if first.is_empty() || second.is_empty() {
        format!("{first}{second}")
    } else {
        format!("{first}\n{second}")
    }
}

/// Whether a text may have stopped in front of a `=`.
fn looks_like_left_side(text: &str) -> bool {
    let line = text.rsplit('\n').next().unwrap_or_default();
    if line.trim().is_empty() {
        return false;
    }
    let side = line.rsplit('=').next().unwrap_or_default().trim();
    // A number alone is a right side; a sign in front of it makes it no expression. `x` multiplies
    // only behind a number; in words it is a letter.
    let factor = |before: &str| before.trim_end().ends_with(|c: char| c.is_ascii_digit() || c == ')');
    let operator = side
        .char_indices()
        .any(|(at, c)| at > 0 && ("+-*/×÷·−\\".contains(c) || (c == 'x' && factor(&side[..at]))));
    line.ends_with(' ') || (operator && calculator(&format!("{line}=")).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_sides() {
        for text in ["48/2", "so 48/2", "1+1=2\nthen 24+1", "48/2=24+1", "the cost "] {
            assert!(looks_like_left_side(text), "{text}");
        }
        for text in ["", "48/2=24", "48/2=-24", "48/2=24\n", "it is 24.", "The answer is 24", "24"] {
            assert!(!looks_like_left_side(text), "{text}");
        }
    }
}
