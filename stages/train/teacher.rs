//! What a teacher says of kept rows, for `train.loss = "distil"`: its likeliest tokens in place of each that
//! was written, computed once and stored.

use anyhow::Result;
use datasets::table::TokenTargets;
use datasets::types::Kept;

use super::batch::Example;
use super::config::{Thoughts, TrainConfig};
use super::{cpu, device, row_tokens};
use crate::events::Events;
use crate::model::fault::{DeviceFault, recover};
use crate::model::soft::{FLOOR, NONE, TopK};
use crate::model::{Choice, Decoder, DecoderConfig, ModelError, Tokenizer};
use crate::policy::endpoint::{Given, Scorer};

/// Version of what is stored, part of the stage's fingerprint.
pub const VERSION: u32 = 1;

/// Rows that a teacher in this process reads at once.
const TOGETHER: usize = 8;
/// Rows that a server is given at once: it decides for itself how many it reads together.
const IN_FLIGHT: usize = 256;

/// Which rows a teacher reads, and how much of what it says is stored.
pub struct Lesson<'a> {
    /// The student's: rows are its tokens.
    pub tokenizer: &'a Tokenizer,
    pub student: &'a DecoderConfig,
    /// Longest row that training takes and the teacher reads.
    pub max_tokens: usize,
    pub top_k: usize,
    pub thoughts: Thoughts,
}

/// A teacher that reads rows.
pub enum Teacher<'a> {
    Cpu(Box<cpu::Reader>),
    Device(&'a Decoder),
    /// Behind `[endpoint]`, with the student's tokenizer, which has to be the server's too.
    Server(Box<Scorer>, &'a Tokenizer),
}

impl<'a> Teacher<'a> {
    pub fn new(decoder: &'a Decoder, device: &Choice) -> Self {
        match device.kind {
            "cpu" => Self::Cpu(Box::new(cpu::Reader::new(decoder))),
            _ => Self::Device(decoder),
        }
    }

    fn together(&self) -> usize {
        if matches!(self, Self::Server(..)) { IN_FLIGHT } else { TOGETHER }
    }

    /// The likeliest tokens at each target of some rows that weighs something, in the order of the rows: of
    /// the first `vocabulary`, `k` of them.
    ///
    /// # Errors
    /// If the device or the server fails; a server with other tokens.
    pub fn likeliest(
        &mut self,
        rows: &[&Example],
        (k, vocabulary): (usize, usize),
        events: &dyn Events,
    ) -> Result<TopK> {
        let decoder = match self {
            Self::Cpu(reader) => return Ok(reader.likeliest(rows, (k, vocabulary))),
            Self::Server(scorer, tokenizer) => {
                return served(scorer, tokenizer, rows, (k, vocabulary), events);
            }
            Self::Device(decoder) => decoder,
        };
        let mut micro = rows.len();
        loop {
            match device::likeliest(decoder, rows, micro, (k, vocabulary)) {
                Ok(top) => return Ok(top),
                Err(DeviceFault::Memory(_)) if micro > 1 => {
                    recover(&decoder.device());
                    micro /= 2;
                }
                Err(fault) => return Err(ModelError::from(fault).into()),
            }
        }
    }

    /// The same for each row by itself.
    ///
    /// # Errors
    /// Those of [`Teacher::likeliest`].
    pub fn each(
        &mut self,
        rows: &[&Example],
        (k, vocabulary): (usize, usize),
        events: &dyn Events,
    ) -> Result<Vec<TopK>> {
        let mut out = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.together()) {
            let top = self.likeliest(rows, (k, vocabulary), events)?;
            let mut first = 0;
            for row in rows {
                let places = first..first + row.weights.iter().filter(|weight| **weight > 0.0).count();
                first = places.end;
                let ids = top.ids[places.start * k..places.end * k].to_vec();
                let logs = top.logs[places.start * (k + 1)..places.end * (k + 1)].to_vec();
                out.push(TopK { k, ids, logs });
            }
        }
        Ok(out)
    }
}

/// What a server says of rows, as [`Teacher::likeliest`]. Tokens that the student does not have count to the
/// tail.
fn served(
    scorer: &mut Scorer,
    tokenizer: &Tokenizer,
    rows: &[&Example],
    (k, vocabulary): (usize, usize),
    events: &dyn Events,
) -> Result<TopK> {
    let given: Vec<Given<'_>> =
        rows.iter().map(|row| Given { tokens: &row.tokens, from: row.asked + 1 }).collect();
    let (mut ids, mut logs) = (Vec::new(), Vec::new());
    for (row, places) in given.iter().zip(scorer.read(&given, k, events)?) {
        for (id, place) in row.tokens[row.from..].iter().zip(places) {
            let own = tokenizer.decode(&[*id]);
            if let Some(text) = place.text.filter(|text| !same_text(text, &own)) {
                return Err(scorer.other_tokens(*id, text, own).into());
            }
            let known = place.likely.iter().filter(|(id, _)| (*id as usize) < vocabulary);
            let (mut own, mut own_logs): (Vec<u32>, Vec<f32>) = known.copied().unzip();
            let sum: f64 = own_logs.iter().map(|log| f64::from(*log).exp()).sum();
            own.resize(k, NONE);
            own_logs.resize(k, f32::NEG_INFINITY);
            ids.extend(own);
            logs.extend(own_logs);
            logs.push((1.0 - sum).ln().max(FLOOR) as f32);
        }
    }
    Ok(TopK { k, ids, logs })
}

/// Whether two texts of a token are the same, as far as they can be compared: parts of characters cannot, and
/// some tokenizers drop a space at the beginning.
fn same_text(a: &str, b: &str) -> bool {
    let partial = |text: &str| text.is_empty() || text.contains(char::REPLACEMENT_CHARACTER);
    partial(a) || partial(b) || a.trim_start() == b.trim_start()
}

/// A model's tokens, and those that end its texts.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    pub tokenizer: &'a Tokenizer,
    pub ends: &'a [u32],
}

/// Whether a teacher's tokens are a student's: what is needed to learn from its distribution. A student that
/// ends its texts by a token that the teacher does not would unlearn to end.
///
/// # Errors
/// Which tokenizers differ, and in what.
pub fn same_tokens(teacher: Tokens<'_>, student: Tokens<'_>) -> Result<(), String> {
    if let Some(end) = student.ends.first().filter(|end| !teacher.ends.contains(end)) {
        let of = |tokens: Tokens<'_>, ends: &[u32]| -> String {
            ends.iter().map(|id| format!("{:?}", tokens.tokenizer.piece(*id))).collect::<Vec<_>>().join(", ")
        };
        let (own, other) = (of(student, &[*end]), of(teacher, teacher.ends));
        return Err(format!("the student ends its texts with {own}, the teacher with {other}"));
    }
    let (teacher, student) = (teacher.tokenizer, student.tokenizer);
    if teacher.json() == student.json() {
        return Ok(());
    }
    let (own, other) = (student.vocab_size(), teacher.vocab_size());
    if own != other {
        return Err(format!("the teacher's tokenizer has {other} tokens, the student's {own}"));
    }
    match (0..own as u32).find(|id| teacher.piece(*id) != student.piece(*id)) {
        Some(id) => {
            let (other, own) = (teacher.piece(id), student.piece(id));
            Err(format!("token {id} is {other:?} for the teacher, but {own:?} for the student"))
        }
        None => Err("the tokenizers have the same tokens, but other rules (tokenizer.json differs)".into()),
    }
}

/// A teacher's likeliest tokens along kept rows, in their order; those that are too long for a student or the
/// teacher are left out. Also the number of tokens read, prompts with them.
///
/// # Errors
/// If the student's template does not render, or the device or the server fails; [`crate::Cancelled`].
pub fn score(
    kept: &[Kept],
    lesson: &Lesson<'_>,
    teacher: &mut Teacher<'_>,
    events: &dyn Events,
) -> Result<(Vec<TokenTargets>, usize)> {
    let Some(end) = lesson.student.eos_token_ids.first().copied() else {
        bail!("the model {}", super::NO_END)
    };
    let limit = lesson.max_tokens.min(lesson.student.max_position_embeddings);
    let (mut rows, mut of) = (Vec::new(), Vec::new());
    for row in kept {
        let spoken = lesson.thoughts.spoken(&row.thought, row.completion.clone());
        let (prompt, completion) = row_tokens(lesson.tokenizer, end, &row.prompt, &spoken)?;
        if !prompt.is_empty() && prompt.len() + completion.len() <= limit {
            rows.push(Example::new(&prompt, &completion, 0.0, 1.0));
            of.push((row, completion));
        }
    }
    let tokens = rows.iter().map(|row| row.tokens.len() - 1).sum();
    let k = lesson.top_k;
    let mut out = Vec::with_capacity(rows.len());
    let together = teacher.together();
    for (rows, of) in rows.chunks(together).zip(of.chunks(together)) {
        let examples: Vec<&Example> = rows.iter().collect();
        let read = teacher.each(&examples, (k, lesson.student.vocab_size), events)?;
        out.extend(of.iter().zip(read).map(|((row, completion), top)| TokenTargets {
            solution_id: row.solution_id.clone(),
            problem_id: row.problem_id.clone(),
            round: row.round,
            tokens: completion.clone(),
            top_ids: top.ids,
            top_logprobs: top.logs.chunks_exact(k + 1).flat_map(|logs| &logs[..k]).copied().collect(),
            tail_logprobs: top.logs.chunks_exact(k + 1).map(|logs| logs[k]).collect(),
        }));
        events.advance(of.len() as u64, 0, examples.iter().map(|e| e.tokens.len() as u64 - 1).sum());
        events.check()?;
    }
    Ok((out, tokens))
}

/// Stored targets as a student learns them.
///
/// # Errors
/// Another number of tokens for each than `config` asks for, which is that of the stage that stored them.
pub fn stored(row: TokenTargets, config: &TrainConfig) -> Result<TopK> {
    let (n, k) = (row.tokens.len(), config.top_k);
    let sizes = [row.top_ids.len(), row.top_logprobs.len(), row.tail_logprobs.len() * k];
    ensure!(sizes == [n * k; 3], "token_targets of solution {} are not {k} to a token", row.solution_id);
    let logs = row.top_logprobs.chunks_exact(k).zip(&row.tail_logprobs);
    let logs = logs.flat_map(|(top, tail)| top.iter().chain(std::iter::once(tail)).copied()).collect();
    Ok(TopK { k, ids: row.top_ids, logs })
}
