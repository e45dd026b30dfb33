//! Batches on burn's tensors, for a GPU.
//!
//! Rows of a batch are left-padded so that all write the same cache columns. What every prompt of a call
//! shares (instruction and worked examples) is computed once and looked at by all rows; each prompt is
//! computed once for all its samples; finished rows leave when they are half of the batch.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::row::{Row, Work};
use super::{Generated, Limits, Request};
use crate::events::Events;
use crate::model::llama::{Cache, Llama, MASKED, Places};

/// Shortest common prefix of prompts worth a pass of its own.
const LEAST_SHARED: usize = 32;

/// A decoder on a device.
pub struct OnDevice {
    llama: Llama,
    limits: Limits,
}

/// A row, and the columns of padding before its prompt.
struct Padded {
    row: Row,
    pad: usize,
    /// How much of its queue has been read.
    read: usize,
}

impl OnDevice {
    pub fn new(llama: &Llama, limits: Limits) -> Self {
        Self { llama: llama.clone(), limits }
    }

    /// All answers, each with its place.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between batches.
    pub fn run(&mut self, work: &Work<'_>, events: &dyn Events) -> anyhow::Result<Vec<((usize, usize), Generated)>> {
        let requests = work.requests;
        let llama = &self.llama;
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
        let mut results = Vec::new();
        for batch in rows.chunks(self.limits.rows.max(1)) {
            events.check()?;
            results
                .extend(run_batch(llama, work, batch, prefix.as_ref(), prefix_len, &device).into_iter().map(|p| (p.row.home, p.row.out)));
        }
        Ok(results)
    }
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

fn run_batch(
    llama: &Llama,
    work: &Work<'_>,
    batch: &[(usize, usize)],
    prefix: Option<&Cache>,
    prefix_len: usize,
    device: &Device,
) -> Vec<Padded> {
    let Work { requests, sampling, .. } = work;
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
    let mut rows: Vec<Padded> =
        batch.iter().zip(&sources).map(|(&home, &source)| Padded { row: Row::new(work, home), pad: pads[source], read: 0 }).collect();

    let ends = &llama.config.eos_token_ids;
    let mut finished = Vec::new();
    loop {
        let vocab = logits.dims()[1];
        let scores: Vec<f32> = logits.to_data().iter::<f32>().collect();
        rows.par_iter_mut().zip(scores.par_chunks(vocab)).filter(|(p, _)| !p.row.done).for_each(|(p, scores)| {
            if p.read == p.row.queue.len() {
                p.row.draw(work, ends, scores);
                p.read = 0;
            }
        });
        if rows.iter().all(|p| p.row.done) {
            finished.append(&mut rows);
            return finished;
        }
        let active: Vec<usize> = (0..rows.len()).filter(|&i| !rows[i].row.done).collect();
        if active.len() * 2 <= rows.len() {
            cache = cache.rows(&row_index(&active, device));
            let (done, going) = rows.into_iter().partition(|p: &Padded| p.row.done);
            finished.extend::<Vec<Padded>>(done);
            rows = going;
        }
        let column = cache.len();
        let mut next = Vec::with_capacity(rows.len());
        for p in &mut rows {
            next.push(p.row.queue.get(p.read).copied().unwrap_or(0));
            p.read = p.row.queue.len().min(p.read + 1);
        }
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

fn ids(tokens: &[u32], rows: usize, device: &Device) -> Tensor<2, Int> {
    let data: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
    Tensor::from_data(TensorData::new(data, [rows, tokens.len() / rows]), device)
}

fn row_index(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let data: Vec<i64> = rows.iter().map(|r| *r as i64).collect();
    let len = data.len();
    Tensor::from_data(TensorData::new(data, [len]), device)
}
