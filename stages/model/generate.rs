//! Batched sampling with a key/value cache.
//!
//! Rows of a batch are left-padded so that all write the same cache columns. What every prompt of a call
//! shares (instruction and worked examples) is computed once and looked at by all rows; each prompt is
//! computed once for all its samples; finished rows leave when they are half of the batch.
//!
//! A row's random numbers depend on its seed alone, and its tokens on its own prompt and seed.

use std::collections::VecDeque;

use burn::tensor::{Device, Int, Tensor, TensorData};
use datasets::key::Rng;
use rand::RngExt;
use rayon::prelude::*;

use super::llama::{Cache, Llama, MASKED, Places};
use super::tokenizer::Tokenizer;
use crate::events::Events;
use crate::policy::Sampling;

/// Shortest common prefix of prompts worth a pass of its own.
const LEAST_SHARED: usize = 32;

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
    /// After a line that starts with `####`.
    AnswerLine,
    /// After any line.
    Line,
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

struct Row {
    /// Index of the request and of the seed in it.
    home: (usize, usize),
    rng: Rng,
    forced: VecDeque<u32>,
    out: Generated,
    /// Columns of padding before its prompt.
    pad: usize,
    done: bool,
}

/// Samples every request; one result per seed, in order. At most `max_rows` rows at a time.
///
/// # Errors
/// [`crate::Cancelled`] between batches, or a message if a prompt and `max_tokens` exceed the context.
pub fn generate(
    llama: &Llama,
    tokenizer: &Tokenizer,
    requests: &[Request],
    sampling: &Sampling,
    stop: Stop,
    max_rows: usize,
    events: &dyn Events,
) -> anyhow::Result<Vec<Vec<Generated>>> {
    let limit = llama.config.max_position_embeddings;
    for request in requests {
        let need = request.prompt.len() + sampling.max_tokens;
        ensure!(
            need <= limit,
            "a prompt of {} tokens and max_tokens {} exceed the model's context of {limit}: use fewer worked examples, a lower max_tokens or shorter questions",
            request.prompt.len(),
            sampling.max_tokens
        );
        ensure!(!request.prompt.is_empty(), "a prompt has no tokens");
    }
    let device = llama.device();
    let prefix_len = shared_prefix(requests);
    let prefix = (prefix_len > 0).then(|| {
        let mut cache = Cache::new(llama.layers.len(), prefix_len);
        let tokens = ids(&requests[0].prompt[..prefix_len], 1, &device);
        llama.hidden(tokens, &llama.causal(prefix_len, &device), Some(&mut cache));
        cache
    });

    // Rows of similar length share a batch, so that little is padding.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| (requests[i].prompt.len(), i));
    let rows: Vec<(usize, usize)> = order.iter().flat_map(|&i| (0..requests[i].seeds.len()).map(move |s| (i, s))).collect();

    let mut results: Vec<Vec<Generated>> = requests.iter().map(|r| vec![Generated::default(); r.seeds.len()]).collect();
    for batch in rows.chunks(max_rows.max(1)) {
        events.check()?;
        for row in run_batch(llama, tokenizer, requests, batch, prefix.as_ref(), prefix_len, sampling, stop, &device) {
            results[row.home.0][row.home.1] = row.out;
        }
    }
    Ok(results)
}

/// Length of what all prompts have in common, leaving each at least one token of its own; 0 if too short to pay.
fn shared_prefix(requests: &[Request]) -> usize {
    let Some(first) = requests.first() else { return 0 };
    let common = requests.iter().fold(first.prompt.len(), |len, r| {
        let same = r.prompt.iter().zip(&first.prompt).take_while(|(a, b)| a == b).count();
        len.min(same).min(r.prompt.len() - 1)
    });
    if common < LEAST_SHARED || requests.len() == 1 { 0 } else { common }
}

#[allow(clippy::too_many_arguments)]
fn run_batch(
    llama: &Llama,
    tokenizer: &Tokenizer,
    requests: &[Request],
    batch: &[(usize, usize)],
    prefix: Option<&Cache>,
    prefix_len: usize,
    sampling: &Sampling,
    stop: Stop,
    device: &Device,
) -> Vec<Row> {
    let mut unique: Vec<usize> = batch.iter().map(|(request, _)| *request).collect();
    unique.dedup();
    let width = unique.iter().map(|&i| requests[i].prompt.len() - prefix_len).max().unwrap_or(1);
    let capacity = width + sampling.max_tokens;
    let mut cache = match prefix {
        Some(prefix) => prefix.share(capacity),
        None => Cache::new(llama.layers.len(), capacity),
    };

    // Every prompt once, left-padded.
    let mut tokens = Vec::with_capacity(unique.len() * width);
    let mut positions = Vec::with_capacity(unique.len() * width);
    let mut mask = Vec::with_capacity(unique.len() * width * width);
    let mut pads = Vec::with_capacity(unique.len());
    for &i in &unique {
        let own = &requests[i].prompt[prefix_len..];
        let pad = width - own.len();
        tokens.extend(std::iter::repeat_n(own[0], pad).chain(own.iter().copied()));
        positions.extend((0..width).map(|column| prefix_len + column.saturating_sub(pad)));
        for row in 0..width {
            mask.extend((0..width).map(|column| if column <= row && column >= pad { 0.0 } else { MASKED }));
        }
        pads.push(pad);
    }
    let (cos, sin) = llama.rotary(&positions, unique.len(), device);
    let mask = Tensor::from_data(TensorData::new(mask, [unique.len(), 1, width, width]), device);
    let hidden = llama.hidden(ids(&tokens, unique.len(), device), &Places { cos, sin, mask: Some(mask) }, Some(&mut cache));
    let [prompts, _, size] = hidden.dims();
    let last = hidden.narrow(1, width - 1, 1).reshape([prompts, size]);

    // Then once per sample.
    let place = |request: usize| unique.iter().position(|&u| u == request).unwrap_or(0);
    let sources: Vec<usize> = batch.iter().map(|(request, _)| place(*request)).collect();
    let index = row_index(&sources, device);
    cache = cache.rows(&index);
    let mut logits = llama.logits(last.select(0, index));
    let mut rows: Vec<Row> = batch
        .iter()
        .zip(&sources)
        .map(|(&home, &source)| Row {
            home,
            rng: datasets::key::rng(&["sample".into(), requests[home.0].seeds[home.1].into()]),
            forced: VecDeque::new(),
            out: Generated::default(),
            pad: pads[source],
            done: false,
        })
        .collect();

    let ends = &llama.config.eos_token_ids;
    let mut finished = Vec::new();
    loop {
        let vocab = logits.dims()[1];
        let scores: Vec<f32> = logits.to_data().iter::<f32>().collect();
        rows.par_iter_mut().zip(scores.par_chunks(vocab)).filter(|(row, _)| !row.done).for_each(|(row, scores)| {
            let begun = &requests[row.home.0].begun;
            advance(row, scores, tokenizer, sampling, stop, ends, begun);
        });
        if rows.iter().all(|row| row.done) {
            finished.append(&mut rows);
            return finished;
        }
        let active: Vec<usize> = (0..rows.len()).filter(|&i| !rows[i].done).collect();
        if active.len() * 2 <= rows.len() {
            cache = cache.rows(&row_index(&active, device));
            let (done, going) = rows.into_iter().partition(|row: &Row| row.done);
            finished.extend::<Vec<Row>>(done);
            rows = going;
        }
        let column = cache.len();
        let next: Vec<u32> = rows.iter().map(|row| row.out.tokens.last().map_or(0, |t| t.id)).collect();
        let positions: Vec<usize> = rows.iter().map(|row| prefix_len + column - row.pad).collect();
        let (cos, sin) = llama.rotary(&positions, rows.len(), device);
        let mask = rows.iter().any(|row| row.pad > 0).then(|| {
            let mask: Vec<f32> = rows.iter().flat_map(|row| (0..=column).map(|c| if c < row.pad { MASKED } else { 0.0 })).collect();
            Tensor::from_data(TensorData::new(mask, [rows.len(), 1, 1, column + 1]), device)
        });
        let hidden = llama.hidden(ids(&next, rows.len(), device), &Places { cos, sin, mask }, Some(&mut cache));
        logits = llama.logits(hidden.reshape([rows.len(), size]));
    }
}

/// Gives a row its next token and decides whether it is done.
fn advance(row: &mut Row, scores: &[f32], tokenizer: &Tokenizer, sampling: &Sampling, stop: Stop, ends: &[u32], begun: &str) {
    let forced = row.forced.pop_front();
    let (id, logprob) = match forced {
        Some(id) => (id, 0.0),
        None => draw(scores, sampling, &mut row.rng),
    };
    let text_of = |row: &Row| {
        let ids: Vec<u32> = row.out.tokens.iter().map(|t| t.id).collect();
        tokenizer.decode(&ids)
    };
    if ends.contains(&id) {
        row.out.finished = true;
        row.done = true;
        row.out.text = text_of(row);
        return;
    }
    row.out.tokens.push(Token { id, logprob });
    let piece = tokenizer.decode(&[id]);
    if piece.contains('\n') && row.forced.is_empty() {
        let text = text_of(row);
        let line = text.trim_end().rsplit('\n').next().unwrap_or_default().trim_start();
        if !line.is_empty() && (stop == Stop::Line || line.starts_with("####")) {
            row.out.finished = true;
            row.done = true;
            row.out.text = text;
            return;
        }
    }
    if sampling.calculator && forced.is_none() && piece.trim_end().ends_with('=') {
        let written = format!("{begun}{}", text_of(row));
        if let Some(result) = datasets::expr::calculator(&written) {
            row.forced.extend(tokenizer.encode(&result));
        }
    }
    if row.out.tokens.len() >= sampling.max_tokens {
        row.done = true;
        row.out.text = text_of(row);
    }
}

/// Draws a token and gives its log-probability at temperature 1.
fn draw(scores: &[f32], sampling: &Sampling, rng: &mut Rng) -> (u32, f32) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = scores.iter().map(|s| (s - top).exp()).sum();
    let logprob = |id: usize| scores[id] - top - total.ln();
    if sampling.temperature <= 0.0 {
        let id = scores.iter().position(|s| *s >= top).unwrap_or(0);
        return (id as u32, logprob(id));
    }
    let warm = |s: f32| ((s - top) / sampling.temperature).exp();
    let uniform: f32 = rng.random();
    if sampling.top_k == 0 && sampling.top_p >= 1.0 {
        let mass: f32 = scores.iter().map(|s| warm(*s)).sum();
        let id = pick(scores.iter().map(|s| warm(*s)).enumerate(), uniform * mass);
        return (id as u32, logprob(id));
    }
    let mut ranked: Vec<(usize, f32)> = scores.iter().map(|s| warm(*s)).enumerate().filter(|(_, w)| *w > 1e-9).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if sampling.top_k > 0 {
        ranked.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        let goal = ranked.iter().map(|(_, w)| w).sum::<f32>() * sampling.top_p;
        let mut mass = 0.0;
        let keep = ranked
            .iter()
            .take_while(|(_, w)| {
                let before = mass < goal;
                mass += w;
                before
            })
            .count();
        ranked.truncate(keep.max(1));
    }
    let mass: f32 = ranked.iter().map(|(_, w)| w).sum();
    let id = pick(ranked.iter().copied(), uniform * mass);
    (id as u32, logprob(id))
}

/// The item at which the running sum of weights passes `goal`.
fn pick(weights: impl Iterator<Item = (usize, f32)>, goal: f32) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for (id, weight) in weights {
        if weight > 0.0 {
            sum += weight;
            last = id;
            if sum > goal {
                break;
            }
        }
    }
    last
}

fn ids(tokens: &[u32], rows: usize, device: &Device) -> Tensor<2, Int> {
    let data: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
    Tensor::from_data(TensorData::new(data, [rows, tokens.len() / rows]), device)
}

fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let data: Vec<i64> = rows.iter().map(|r| *r as i64).collect();
    let len = data.len();
    Tensor::from_data(TensorData::new(data, [len]), device)
}
