//! Continuous batching on burn's tensors, for a GPU.
//!
//! Rows stand in the slots of a block of keys and values (see [`crate::model::cache`]); a pass reads one
//! token of each slot. A row that is done leaves, and the next one enters. Its prompt is computed once for
//! all of its samples, together with other prompts of similar length, and copied to the slots of its samples;
//! what all prompts of a call begin with is computed once, kept for the next call, and looked at by all rows
//! in one product. A prompt's last token is left to the row's first pass, so that all logits come from there.
//!
//! Hidden states are read in padded batches, without keys and values.
//!
//! Tokens are drawn on the device. With top-k or top-p, logits come to the host, which draws as the CPU
//! engine does.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::draw;
use super::request::{Generated, Generation, Limits};
use super::row::Row;
use crate::BadInput;
use crate::events::{Cancelled, Events};
use crate::model::ModelError;
use crate::model::cache::{Block, Memory, Pair, Prefix};
use crate::model::decoder::{Decoder, MASKED, Places, View};
use crate::model::fault::{DeviceFault, Reader, guard, read, recover};
use crate::model::rope::Rope;

/// Attention looks at a multiple of so many cells: few shapes, and so few kernels to try out.
const COLUMNS: usize = 64;
/// Most tokens of prompts in a pass, unless a prompt alone is longer.
const PROMPTS: usize = 4096;

mod prompts;

/// A decoder on a device.
pub struct OnDevice {
    decoder: Decoder,
    limits: Limits,
    /// Rotary `cos` and `sin` of every position, `[context, d/2]`; those of layers with a window beside.
    rotary: Pair<2>,
    local: Option<Pair<2>>,
    prefix: Option<Prefix>,
    block: Option<Block>,
    pub(super) reader: Reader<1>,
    warned: bool,
    computed: u64,
}

/// A row in a slot.
struct Active {
    row: Row,
    /// Where the next token of its queue stands.
    position: usize,
    /// How much of its queue has been read.
    read: usize,
}

/// Keys and values of some prompts, less their common part and their last token: `[N, K, T, d]` per layer.
type Made = Rc<Vec<Pair<4>>>;

/// A prompt that has been read, with samples to start.
struct Open {
    request: usize,
    samples: VecDeque<usize>,
    made: Made,
    /// Its place in `made`.
    index: usize,
    length: usize,
}

/// Rows at work and those to come.
struct Queue {
    /// Requests, and the samples of each that are to be made.
    waiting: VecDeque<(usize, VecDeque<usize>)>,
    open: VecDeque<Open>,
    slots: Vec<Option<Active>>,
}

/// Why a call came to an early end.
enum Stopped {
    DeviceFault(DeviceFault),
    Error(anyhow::Error),
}

impl From<DeviceFault> for Stopped {
    fn from(fault: DeviceFault) -> Self {
        Self::DeviceFault(fault)
    }
}

impl From<Cancelled> for Stopped {
    fn from(stop: Cancelled) -> Self {
        Self::Error(stop.into())
    }
}

impl OnDevice {
    pub fn new(decoder: &Decoder, limits: Limits) -> Self {
        let (context, size) = (decoder.config.max_position_embeddings, decoder.config.head_dim);
        let table = |rope: &Rope| {
            let (cos, sin) = rope.table(0..context, size);
            let table =
                |values| Tensor::from_data(TensorData::new(values, [context, size / 2]), &decoder.device());
            (table(cos), table(sin))
        };
        Self {
            rotary: table(&decoder.config.rope),
            local: decoder.config.local().map(|(_, rope)| table(rope)),
            decoder: decoder.cast(),
            limits,
            prefix: None,
            block: None,
            reader: Box::new(read),
            warned: false,
            computed: 0,
        }
    }

    /// Tokens run through the decoder so far, padding left out.
    pub fn computed(&self) -> u64 {
        self.computed
    }

    /// Final normalised hidden state `[D]` after the last token of each text, in order. What does not fit on
    /// the device is done again with half as many rows.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between passes; a device that fails, or has no room for a single text.
    pub fn hidden(&mut self, texts: &[Vec<u32>], events: &dyn Events) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut all = vec![Vec::new(); texts.len()];
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| (texts[i].len(), i));
        let mut most = self.limits.rows.max(1);
        let mut rest = &order[..];
        while let Some(&first) = rest.first() {
            events.check()?;
            let width = |i: usize| {
                texts[i].len().next_multiple_of(COLUMNS).min(self.decoder.config.max_position_embeddings)
            };
            let rows = (1..=rest.len().min(most))
                .take_while(|&n| n == 1 || n * width(rest[n - 1]) <= PROMPTS)
                .last()
                .unwrap_or(1);
            let width = width(rest.get(rows - 1).copied().unwrap_or(first));
            let batch: Vec<&[u32]> = rest[..rows].iter().map(|&i| &texts[i][..]).collect();
            match guard(|| self.read_hidden(&batch, width)) {
                Ok(hidden) => {
                    let size = self.decoder.config.hidden_size;
                    for (&i, hidden) in rest.iter().zip(hidden.chunks_exact(size)) {
                        all[i] = hidden.to_vec();
                    }
                    rest = &rest[rows..];
                }
                Err(DeviceFault::Memory(_)) if rows > 1 => {
                    recover(&self.decoder.device());
                    most = rows / 2;
                }
                Err(fault) => return Err(ModelError::from(fault).into()),
            }
        }
        Ok(all)
    }

    /// Hidden states `[B, D]`, row by row, after the last tokens of texts that are padded to one width.
    fn read_hidden(&mut self, texts: &[&[u32]], width: usize) -> Result<Vec<f32>, DeviceFault> {
        let device = self.decoder.device();
        let (rows, size) = (texts.len(), self.decoder.config.hidden_size);
        let mut tokens = Vec::with_capacity(rows * width);
        for (row, text) in texts.iter().enumerate() {
            tokens.extend_from_slice(text);
            tokens.resize((row + 1) * width, 0);
        }
        self.computed += texts.iter().map(|t| t.len() as u64).sum::<u64>();
        let ends: Vec<i64> =
            texts.iter().enumerate().map(|(row, text)| (row * width + text.len() - 1) as i64).collect();
        let ends = Tensor::<1, Int>::from_data(TensorData::new(ends, [rows]), &device);
        let hidden =
            self.decoder.hidden(ids(&tokens, rows, &device), &self.decoder.causal(width, &device), None);
        let hidden = hidden.reshape([rows * width, size]).select(0, ends);
        (self.reader)(hidden.cast(FloatDType::F32).reshape([rows * size]))
    }

    /// Bytes of keys and values.
    pub fn cache_bytes(&self) -> usize {
        self.block
            .as_ref()
            .map_or(0, |b| b.slots * Block::slot_bytes(&self.decoder.config, b.capacity, self.decoder.dtype))
    }

    /// All answers, each with its place. What does not fit on the device is done again with half as many
    /// rows.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between passes; a device that fails, or has no room for a single row.
    pub fn run(
        &mut self,
        work: &Generation<'_>,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<((usize, usize), Generated)>> {
        let mut done = Vec::new();
        loop {
            match self.attempt(work, events, &mut done) {
                Ok(()) => return Ok(done),
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::DeviceFault(fault)) => {
                    let slots = self.block.take().map_or(self.limits.rows, |block| block.slots);
                    self.prefix = None;
                    if !matches!(fault, DeviceFault::Memory(_)) || slots <= 1 {
                        return Err(ModelError::from(fault).into());
                    }
                    recover(&self.decoder.device());
                    self.limits.rows = slots / 2;
                    if !self.warned {
                        self.warned = true;
                        events.note(&format!(
                            "the GPU has too little memory for {slots} rows: continuing with {} \
                             (model.batch_rows, model.cache_mib)",
                            slots / 2
                        ));
                    }
                }
            }
        }
    }

    /// Makes what is not done yet.
    fn attempt(
        &mut self,
        work: &Generation<'_>,
        events: &dyn Events,
        done: &mut Vec<((usize, usize), Generated)>,
    ) -> Result<(), Stopped> {
        let known: HashSet<(usize, usize)> = done.iter().map(|(home, _)| *home).collect();
        let of = |r: usize| {
            (0..work.requests[r].seeds.len()).filter(|s| !known.contains(&(r, *s))).collect::<VecDeque<_>>()
        };
        let mut waiting: Vec<(usize, VecDeque<usize>)> =
            (0..work.requests.len()).map(|r| (r, of(r))).filter(|(_, samples)| !samples.is_empty()).collect();
        // Prompts of similar length are read together, so that little is padding.
        waiting.sort_by_key(|&(r, _)| (work.requests[r].prompt.len(), r));
        let Some((longest, _)) = waiting.last() else { return Ok(()) };
        let longest = work.requests[*longest].prompt.len();
        let rows = waiting.iter().map(|(_, samples)| samples.len()).sum();
        guard(|| {
            self.read_prefix(work.requests);
            Ok(())
        })?;
        let slots = self.make_room(longest, work.sampling.max_tokens, rows)?;
        let mut queue = Queue {
            waiting: waiting.into(),
            open: VecDeque::new(),
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
        };
        loop {
            events.check()?;
            let free = queue.slots.iter().filter(|s| s.is_none()).count();
            // A few enter together, for a prompt is a pass of its own.
            if free * 8 >= slots && !(queue.open.is_empty() && queue.waiting.is_empty()) {
                guard(|| {
                    self.admit(work, &mut queue);
                    Ok(())
                })?;
            }
            if queue.slots.iter().all(Option::is_none) {
                return Ok(());
            }
            guard(|| self.advance(work, &mut queue.slots))?;
            for slot in &mut queue.slots {
                if let Some(Active { row, .. }) = slot.take_if(|a| a.row.done) {
                    done.push((row.home, row.out));
                }
            }
        }
    }

    fn prefix_len(&self) -> usize {
        self.prefix.as_ref().map_or(0, |p| p.tokens.len())
    }

    /// Makes the block, or keeps that of the last call; returns its number of slots.
    fn make_room(&mut self, longest: usize, max_tokens: usize, rows: usize) -> Result<usize, Stopped> {
        let config = &self.decoder.config;
        let capacity = (longest - self.prefix_len() + max_tokens).next_multiple_of(COLUMNS);
        let most = self.limits.rows.max(1);
        let mut slots = rows.next_power_of_two().min(most);
        let bytes = Block::slot_bytes(config, capacity, self.decoder.dtype);
        if bytes > self.limits.cache {
            return Err(Stopped::Error(BadInput(format!(
                "the KV cache of one answer ({longest} tokens of prompt and up to {max_tokens} more) needs \
                 {} MiB: raise model.cache_mib, lower max_tokens or use shorter prompts",
                bytes.div_ceil(1 << 20)
            )).into()));
        }
        slots = slots.min(self.limits.cache / bytes);
        if !self
            .block
            .as_ref()
            .is_some_and(|b| b.slots == slots && b.capacity >= capacity && b.capacity <= 2 * capacity)
        {
            // The old one goes first: there may be no room for both.
            self.block = None;
            self.block = Some(guard(|| {
                Ok(Block::new(config, slots, capacity, self.decoder.dtype, &self.decoder.device()))
            })?);
        }
        Ok(slots)
    }

    /// Starts rows in free slots.
    fn admit(&mut self, work: &Generation<'_>, queue: &mut Queue) {
        let mut starts: Vec<(Made, usize, usize, usize)> = Vec::new();
        for slot in 0..queue.slots.len() {
            if queue.slots[slot].is_some() {
                continue;
            }
            if queue.open.is_empty() {
                let free = queue.slots[slot..].iter().filter(|s| s.is_none()).count();
                self.read_prompts(work, queue, free);
            }
            let Some(front) = queue.open.front_mut() else { break };
            let Some(sample) = front.samples.pop_front() else { break };
            let prompt = &work.requests[front.request].prompt;
            let mut row = Row::new(work, (front.request, sample));
            row.queue.extend(prompt.last());
            queue.slots[slot] = Some(Active { row, position: prompt.len() - 1, read: 0 });
            starts.push((Rc::clone(&front.made), front.index, front.length, slot));
            if front.samples.is_empty() {
                queue.open.pop_front();
            }
        }
        for group in starts.chunk_by(|a, b| Rc::ptr_eq(&a.0, &b.0)) {
            self.copy(group);
        }
    }

    /// One pass: every row reads a token, and those at the end of their queue draw the next.
    fn advance(&mut self, work: &Generation<'_>, slots: &mut [Option<Active>]) -> Result<(), DeviceFault> {
        let device = self.decoder.device();
        let prefix = self.prefix_len();
        self.computed += slots.iter().flatten().count() as u64;
        let sampling = work.sampling;
        let on_host = sampling.temperature > 0.0 && (sampling.top_k > 0 || sampling.top_p < 1.0);
        let (mut tokens, mut positions, mut uniform) = (Vec::new(), Vec::new(), Vec::new());
        for slot in slots.iter_mut() {
            // An empty slot reads some token into its first cell, which the next prompt overwrites.
            tokens.push(slot.as_ref().map_or(0, |a| a.row.queue[a.read]));
            positions.push(slot.as_ref().map_or(prefix, |a| a.position));
            if sampling.temperature > 0.0 && !on_host {
                uniform.push(
                    slot.as_mut()
                        .filter(|a| a.read + 1 == a.row.queue.len())
                        .map_or(0.5, |a| a.row.uniform()),
                );
            }
        }
        let Some(block) = &self.block else { return Ok(()) };
        let last = positions.iter().max().map_or(0, |p| p - prefix);
        let columns = (last + 1).next_multiple_of(COLUMNS).min(block.capacity);
        let (count, heads) = (slots.len(), self.decoder.config.num_key_value_heads);
        let cells: Vec<i64> = positions
            .iter()
            .enumerate()
            .flat_map(|(s, p)| block.cells(s, p - prefix).map(|c| c as i64).collect::<Vec<_>>())
            .collect();
        let cells = Tensor::<2, Int>::from_data(TensorData::new(cells, [count * heads, 1]), &device);
        let places = self.places(&positions, columns);
        let Some(block) = &mut self.block else { return Ok(()) };
        let mut memory = Memory::Slots { prefix: self.prefix.as_ref(), block, cells, columns };
        let hidden = self.decoder.hidden(ids(&tokens, count, &device), &places, Some(&mut memory));
        let logits = self.decoder.logits(hidden.reshape([count, self.decoder.config.hidden_size]));
        let vocabulary = logits.dims()[1];
        let out = if on_host {
            logits.reshape([count * vocabulary])
        } else if uniform.is_empty() {
            draw::greedy(logits)
        } else {
            draw::sample(
                logits,
                sampling.temperature,
                Tensor::from_data(TensorData::new(uniform, [count, 1]), &device),
            )
        };
        let out = (self.reader)(out)?;
        let ends = &self.decoder.config.eos_token_ids;
        slots.par_iter_mut().enumerate().for_each(|(i, slot)| {
            let Some(active) = slot else { return };
            active.position += 1;
            active.read += 1;
            if active.read < active.row.queue.len() {
                return;
            }
            active.read = 0;
            if on_host {
                active.row.draw(work, ends, &out[i * vocabulary..(i + 1) * vocabulary]);
            } else {
                let id = (out[i].max(0.0) as usize).min(vocabulary - 1);
                active.row.accept(work, ends, id as u32, out[count + i]);
            }
        });
        Ok(())
    }

    /// One token for each slot at its position; it looks at the cells up to its own.
    fn places(&self, positions: &[usize], columns: usize) -> Places {
        let (device, prefix, count) = (self.decoder.device(), self.prefix_len(), positions.len());
        let half = self.decoder.config.head_dim / 2;
        let at: Vec<i64> = positions.iter().map(|p| *p as i64).collect();
        let at = Tensor::<1, Int>::from_data(TensorData::new(at, [count]), &device);
        let row = |t: &Tensor<2>| t.clone().select(0, at.clone()).reshape([count, 1, 1, half]);
        let own = at.clone().reshape([count, 1, 1, 1]);
        // Which of the positions that stand at `first..` are too far ahead, or too far behind.
        let mask = |first: usize, columns: usize, window: Option<usize>| {
            let cells = first as i64..(first + columns) as i64;
            let cells = Tensor::<1, Int>::arange(cells, &device).reshape([1, 1, 1, columns]);
            let cells = cells.expand([count, 1, 1, columns]);
            let own = own.clone().expand([count, 1, 1, columns]);
            let ahead = cells.clone().greater(own.clone()).float();
            let hidden = match window {
                Some(window) => ahead + own.sub(cells).greater_equal_elem(window as i64).float(),
                None => ahead,
            };
            hidden.mul_scalar(MASKED)
        };
        let view = |(cos, sin): &Pair<2>, window: Option<usize>| View {
            cos: row(cos),
            sin: row(sin),
            mask: Some(mask(prefix, columns, window)),
            before: (window.is_some() && prefix > 0).then(|| mask(0, prefix, window)),
        };
        let window = self.decoder.config.local().map(|(window, _)| window);
        let local = self.local.as_ref().map(|rotary| view(rotary, window));
        Places { global: view(&self.rotary, None), local }
    }
}

fn ids(tokens: &[u32], rows: usize, device: &Device) -> Tensor<2, Int> {
    let data: Vec<i64> = tokens.iter().map(|t| i64::from(*t)).collect();
    Tensor::from_data(TensorData::new(data, [rows, tokens.len() / rows]), device)
}
