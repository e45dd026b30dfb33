//! Continuous batching on the CPU: a row that is done leaves and the next one enters at the next pass, so a
//! pass is as full at the end of a long queue as at its beginning. Memory for keys and values has a limit,
//! and a row enters when there is room for the longest answer it may give.
//!
//! Each prompt is computed once for all of its samples, and the beginnings that prompts share once for all of
//! them, in this call and later ones (see [`super::super::cpu::cache`]). Hidden states are read the same way,
//! so that whoever goes on from a text that was valued does not read it again.
//!
//! Where the model has heads for the tokens after the next, they draft: drafts are read together with the
//! token before them, and stand if they are what is drawn there (arXiv 2404.19737, section 3.2). Each draw
//! has the row's next random number and the logits that it would have had anyway, to the last bit, so that
//! answers are the same with drafts and without.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::request::{Generated, Generation, Limits};
use super::row::Row;
use crate::events::Events;
use crate::model::cpu::cache::{BLOCK, Full, Pool, Sequence};
use crate::model::cpu::decoder::{Asked, Entry, PackedDecoder, Passes};
use crate::model::{Decoder, FutureHeads};

mod reading;

/// Most rows at work for which drafts are read: with more, a pass is busy enough, and what is drafted in vain
/// costs more than it saves.
const DRAFTING: usize = 8;
/// Rows that have drafted in as many passes say whether drafts pay, and every so many passes it is tried
/// again.
const TRIAL: u64 = 64;

/// A decoder with its cache.
pub struct Cpu {
    decoder: PackedDecoder,
    pool: Pool,
    passes: Passes,
    ends: Vec<u32>,
    rows: usize,
    computed: u64,
    steps: u64,
    /// What a pass with drafts costs of one without, if there are heads.
    cost: Option<f64>,
    /// Row by row: passes with drafts, and tokens that they gave.
    drafted: (u64, u64),
}

/// A prompt that has been read, with samples to start.
struct Open {
    request: usize,
    started: usize,
    sequence: Sequence,
    /// After the prompt's last token.
    logits: Vec<f32>,
}

/// Rows at work, those to come, and those that are done.
#[derive(Default)]
struct Queue {
    /// Requests whose prompts have not been read.
    waiting: VecDeque<usize>,
    open: VecDeque<Open>,
    active: Vec<Active>,
    /// Each answer with its place.
    done: Vec<((usize, usize), Generated)>,
}

/// A row at work.
struct Active {
    row: Row,
    sequence: Sequence,
    /// What may follow what is in the row's queue.
    drafts: Vec<u32>,
}

impl Cpu {
    pub fn new(decoder: &Decoder, future: Option<&FutureHeads>, limits: Limits) -> Self {
        let packed = PackedDecoder::new(decoder);
        let packed = match future {
            Some(heads) => packed.with_heads(&decoder.config, heads),
            None => packed,
        };
        let cost = packed.draft_cost();
        Self {
            pool: packed.pool(limits.cache),
            decoder: packed,
            passes: Passes::default(),
            ends: decoder.config.eos_token_ids.clone(),
            rows: limits.rows.max(1),
            computed: 0,
            steps: 0,
            cost,
            drafted: (0, 0),
        }
    }

    /// Whether drafts are worth a pass. No answer depends on it.
    fn drafts_pay(&self, rows: usize) -> bool {
        let Some(cost) = self.cost.filter(|_| rows <= DRAFTING) else { return false };
        let (passes, tokens) = self.drafted;
        passes < TRIAL || tokens as f64 >= cost * passes as f64 || self.steps.is_multiple_of(TRIAL)
    }

    /// Passes of rows at work so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Tokens run through the decoder so far.
    pub fn computed(&self) -> u64 {
        self.computed
    }

    pub fn cache_bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// All answers, each with its place, in the order in which they ended.
    ///
    /// # Errors
    /// [`crate::Cancelled`], or a message if one row alone exceeds the memory.
    pub fn run(
        &mut self,
        work: &Generation<'_>,
        events: &dyn Events,
    ) -> anyhow::Result<Vec<((usize, usize), Generated)>> {
        let waiting = (0..work.requests.len()).filter(|r| !work.requests[*r].seeds.is_empty()).collect();
        let mut queue = Queue { waiting, ..Queue::default() };
        let result: anyhow::Result<()> = loop {
            if let Err(stop) = events.check() {
                break Err(stop.into());
            }
            match self.admit(work, &mut queue) {
                Ok(()) if queue.active.is_empty() => break Ok(()),
                Ok(()) => {}
                Err(full) => break Err(full),
            }
            if let Err(full) = self.advance(work, &mut queue.active) {
                break Err(full.into());
            }
            let (ended, going) = queue.active.into_iter().partition(|a: &Active| a.row.done);
            queue.active = going;
            self.finish(ended, &mut queue.done);
        };
        // Whatever the reason to stop, the pool gets back what was held.
        queue
            .active
            .into_iter()
            .map(|a| a.sequence)
            .chain(queue.open.into_iter().map(|o| o.sequence))
            .for_each(|s| self.pool.release(s));
        result.map(|()| queue.done)
    }

    fn finish(&mut self, ended: Vec<Active>, done: &mut Vec<((usize, usize), Generated)>) {
        for Active { row, sequence, .. } in ended {
            self.pool.release(sequence);
            done.push((row.home, row.out));
        }
    }

    /// Blocks that a row may have in the end, with a prompt of this length.
    fn most(work: &Generation<'_>, prompt: usize) -> usize {
        (prompt + work.sampling.max_tokens).div_ceil(BLOCK)
    }

    /// Starts rows until as many are at work as may be, or memory is promised to those at work.
    fn admit(&mut self, work: &Generation<'_>, queue: &mut Queue) -> anyhow::Result<()> {
        // What rows at work may still take.
        let owed = |active: &[Active]| -> usize {
            let of = |a: &Active| {
                Self::most(work, work.requests[a.row.home.0].prompt.len()) - a.sequence.blocks().len()
            };
            active.iter().map(of).sum()
        };
        loop {
            while let Some(front) = queue.open.front_mut()
                && queue.active.len() < self.rows
            {
                let seeds = work.requests[front.request].seeds.len();
                let len = front.sequence.len();
                if !self.pool.make_room(owed(&queue.active) + Self::most(work, len) - len / BLOCK) {
                    break;
                }
                let mut row = Row::new(work, (front.request, front.started));
                row.draw(work, &self.ends, &front.logits);
                front.started += 1;
                let sequence = if front.started < seeds {
                    self.pool.fork(&front.sequence)?
                } else {
                    let Some(last) = queue.open.pop_front() else { break };
                    last.sequence
                };
                let started = Active { row, sequence, drafts: Vec::new() };
                if started.row.done {
                    self.finish(vec![started], &mut queue.done);
                } else {
                    queue.active.push(started);
                }
            }
            if !queue.open.is_empty() || queue.waiting.is_empty() || queue.active.len() >= self.rows {
                break;
            }
            self.read_prompts(work, queue, owed(&queue.active))?;
            if queue.open.is_empty() {
                break;
            }
        }
        if queue.active.is_empty() && !(queue.open.is_empty() && queue.waiting.is_empty()) {
            let next = queue.open.front().map(|o| o.request).or(queue.waiting.front().copied()).unwrap_or(0);
            let need = Self::most(work, work.requests[next].prompt.len()) + 1;
            bail!(
                "the KV cache of one answer ({} tokens of prompt and up to {} more) needs {} MiB: raise \
                 model.cache_mib, lower max_tokens or use shorter prompts",
                work.requests[next].prompt.len(),
                work.sampling.max_tokens,
                (need * self.pool.block_bytes()).div_ceil(1 << 20)
            );
        }
        Ok(())
    }

    /// One pass: every row reads its queue and draws its next token.
    fn advance(&mut self, work: &Generation<'_>, active: &mut [Active]) -> Result<(), Full> {
        self.steps += 1;
        if self.drafts_pay(active.len()) {
            return self.advance_drafting(work, active);
        }
        for a in active.iter_mut() {
            self.pool.extend(&mut a.sequence, a.row.queue.len())?;
        }
        let queues: Vec<Vec<u32>> = active.iter_mut().map(|a| std::mem::take(&mut a.row.queue)).collect();
        let (mut rows, mut entries) = (Vec::with_capacity(active.len()), Vec::with_capacity(active.len()));
        for (a, tokens) in active.iter_mut().zip(&queues) {
            rows.push(Mutex::new(&mut a.row));
            entries.push(Entry { sequence: &mut a.sequence, tokens, asked: 1 });
        }
        let draw = |i: usize, logits: &[f32]| {
            if let Ok(mut row) = rows[i].lock() {
                row.draw(work, &self.ends, logits);
            }
        };
        self.decoder.forward(&mut entries, &mut self.passes, Asked::Logits, &draw);
        for (a, tokens) in active.iter_mut().zip(&queues) {
            self.computed += tokens.len() as u64;
            self.pool.added(&mut a.sequence, tokens);
            a.drafts.clear();
        }
        Ok(())
    }

    /// The same with drafts: every row reads its queue and what is drafted after it, and draws as long as
    /// drafts are what it draws.
    fn advance_drafting(&mut self, work: &Generation<'_>, active: &mut [Active]) -> Result<(), Full> {
        let mut read: Vec<Vec<u32>> = Vec::with_capacity(active.len());
        let mut asked = Vec::with_capacity(active.len());
        let before: usize = active.iter().map(|a| a.row.out.tokens.len()).sum();
        for a in active.iter_mut() {
            // A pass draws one token at least, and no draft stands behind the last one.
            let room = work.sampling.max_tokens.saturating_sub(a.row.out.tokens.len());
            a.drafts.truncate(room.saturating_sub(1));
            let mut tokens = std::mem::take(&mut a.row.queue);
            asked.push(a.drafts.len() + 1);
            tokens.append(&mut a.drafts);
            self.pool.extend(&mut a.sequence, tokens.len())?;
            read.push(tokens);
        }
        let (mut rows, mut entries) = (Vec::with_capacity(active.len()), Vec::with_capacity(active.len()));
        for ((a, tokens), asked) in active.iter_mut().zip(&read).zip(&asked) {
            // Of the tokens read those up to this place stand.
            rows.push(Mutex::new((&mut a.row, &mut a.drafts, tokens.len() - 1)));
            entries.push(Entry { sequence: &mut a.sequence, tokens, asked: *asked });
        }
        let vocab = self.decoder.vocab();
        let draw = |i: usize, logits: &[f32]| {
            let Ok(mut guard) = rows[i].lock() else { return None };
            let (row, _, stands) = &mut *guard;
            let (tokens, first) = (&read[i], read[i].len() - asked[i]);
            let mut place = first;
            loop {
                row.draw(work, &self.ends, &logits[(place - first) * vocab..(place - first + 1) * vocab]);
                let known = row.queue.iter().zip(&tokens[place + 1..]).take_while(|(a, b)| a == b).count();
                place += known;
                *stands = place;
                if row.done {
                    return None;
                }
                row.queue.drain(..known);
                if !row.queue.is_empty() {
                    return Some(place);
                }
            }
        };
        let drafted = |i: usize, drafts: Vec<u32>| {
            if let Ok(mut guard) = rows[i].lock() {
                let (row, into, _) = &mut *guard;
                into.extend_from_slice(&drafts[(row.queue.len() - 1).min(drafts.len())..]);
            }
        };
        self.decoder.draft(&mut entries, &mut self.passes, &draw, &drafted);
        let stands: Vec<usize> =
            rows.into_iter().map(|row| row.into_inner().map_or(0, |(_, _, stands)| stands)).collect();
        for ((a, tokens), stands) in active.iter_mut().zip(&read).zip(stands) {
            self.computed += tokens.len() as u64;
            self.pool.added(&mut a.sequence, &tokens[..=stands]);
        }
        let after: usize = active.iter().map(|a| a.row.out.tokens.len()).sum();
        self.drafted = (self.drafted.0 + active.len() as u64, self.drafted.1 + (after - before) as u64);
        Ok(())
    }
}
