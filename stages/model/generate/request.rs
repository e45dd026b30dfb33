//! What is asked of a generator, and what it gives.

use crate::model::Tokenizer;
use crate::policy::Sampling;

/// One prompt, sampled once per seed.
pub struct Request {
    pub prompt: Vec<u32>,
    pub seeds: Vec<u64>,
    /// Text that the prompt already holds of the answer: what the calculator and stop rules see first.
    pub begun: String,
}

/// When a row ends besides the token limit and the model's end token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After a line with an answer behind `####`.
    AnswerLine,
    /// After any line, unless it is in the middle of a thought, a formula or code.
    Line,
    /// Never.
    Limit,
}

/// One token of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    pub id: u32,
    /// Natural log of the model's probability at temperature 1; 0 for what the calculator filled in.
    pub logprob: f32,
}

/// What was generated for one seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// The end token is not among them.
    pub tokens: Vec<Token>,
    /// Text of the tokens.
    pub text: String,
    /// False if the token limit cut it off.
    pub finished: bool,
}

/// What a call of the generator is about.
pub struct Generation<'a> {
    pub tokenizer: &'a Tokenizer,
    pub requests: &'a [Request],
    pub sampling: &'a Sampling,
    pub stop: Stop,
    /// Texts at which a row ends too; its text ends before them.
    pub stops: &'a [String],
}

/// How much a generator works on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows that are generated together.
    pub rows: usize,
    /// Bytes for keys and values.
    pub cache: usize,
}
