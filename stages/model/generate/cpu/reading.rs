//! Texts and prompts read in passes, each beginning that they share once.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::super::request::Generation;
use super::{Cpu, Open, Queue};
use crate::events::Events;
use crate::model::cpu::cache::{BLOCK, Full, Sequence};
use crate::model::cpu::decoder::{Asked, Entry};

/// Most tokens of prompts in one pass.
const PROMPTS: usize = 1024;

/// A text that is being read: its number, its keys and values, and how much of it is known.
type Taken = (usize, Sequence, usize);

/// A row of numbers for each text, written by the threads of a pass.
struct Rows(Vec<Mutex<Vec<f32>>>);

impl Rows {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    fn keep(&self, i: usize, row: &[f32]) {
        if let Ok(mut place) = self.0[i].lock() {
            place.extend_from_slice(row);
        }
    }

    fn take(self) -> impl Iterator<Item = Vec<f32>> {
        self.0.into_iter().map(|row| row.into_inner().unwrap_or_default())
    }
}

impl Cpu {
    /// Final normalised hidden state `[D]` after the last token of each text, in order.
    ///
    /// # Errors
    /// [`crate::Cancelled`] between passes, or a message if one text alone exceeds the memory.
    pub fn hidden(&mut self, texts: &[Vec<u32>], events: &dyn Events) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut all = vec![Vec::new(); texts.len()];
        let mut waiting: VecDeque<usize> = (0..texts.len()).collect();
        while let Some(&front) = waiting.front() {
            events.check()?;
            let taken = self.take_texts(texts, &mut waiting)?;
            if taken.is_empty() {
                let need = texts[front].len().div_ceil(BLOCK) * self.pool.block_bytes();
                bail!(
                    "keys and values of a text of {} tokens need {} MiB: raise model.cache_mib or use shorter texts",
                    texts[front].len(),
                    need.div_ceil(1 << 20)
                );
            }
            for (text, sequence, hidden) in self.read(taken, &|i| &texts[i][..], Asked::Hidden) {
                self.pool.release(sequence);
                all[text] = hidden;
            }
        }
        Ok(all)
    }

    /// Takes from the waiting texts as many as one pass reads. One whose beginning another text of the pass
    /// computes stays for the next pass, where that is known.
    fn take_texts(&mut self, texts: &[Vec<u32>], waiting: &mut VecDeque<usize>) -> Result<Vec<Taken>, Full> {
        let (mut taken, mut tokens): (Vec<Taken>, usize) = (Vec::new(), 0);
        let mut left = VecDeque::new();
        while let Some(text) = waiting.pop_front() {
            let mut sequence = self.pool.begin(&texts[text]);
            let (known, new) = (sequence.len(), texts[text].len() - sequence.len());
            let full = !taken.is_empty() && tokens + new > PROMPTS;
            let room = !full && self.pool.make_room((known + new).div_ceil(BLOCK) - known / BLOCK);
            if full || !room || computes(&taken, &|i| &texts[i][..], &texts[text], known) {
                self.pool.release(sequence);
                left.push_back(text);
                if full || !room {
                    break;
                }
                continue;
            }
            self.pool.extend(&mut sequence, new)?;
            tokens += new;
            taken.push((text, sequence, known));
        }
        // In their old order, those that were passed over first.
        while let Some(text) = left.pop_back() {
            waiting.push_front(text);
        }
        Ok(taken)
    }

    /// Reads what is not known of texts that have room for it, and gives for each its number and what was
    /// asked after its last token. Only a text that is alone may be longer than a pass.
    fn read<'a>(
        &mut self,
        mut taken: Vec<Taken>,
        text: &dyn Fn(usize) -> &'a [u32],
        asked: Asked,
    ) -> Vec<(usize, Sequence, Vec<f32>)> {
        if let [(number, sequence, known)] = &mut taken[..] {
            let tokens = text(*number);
            while tokens.len() - *known > PROMPTS {
                let part = &tokens[*known..*known + PROMPTS];
                self.decoder.forward(
                    &mut [Entry { sequence, tokens: part, asked: 1 }],
                    &mut self.passes,
                    Asked::Hidden,
                    &|_, _| {},
                );
                self.pool.added(sequence, part);
                self.computed += part.len() as u64;
                *known += PROMPTS;
            }
        }
        let rows = Rows::new(taken.len());
        let mut entries: Vec<Entry<'_>> = taken
            .iter_mut()
            .map(|(number, sequence, known)| Entry { sequence, tokens: &text(*number)[*known..], asked: 1 })
            .collect();
        self.decoder.forward(&mut entries, &mut self.passes, asked, &|i, row| rows.keep(i, row));
        let mut out = Vec::with_capacity(taken.len());
        for ((number, mut sequence, known), row) in taken.into_iter().zip(rows.take()) {
            let new = &text(number)[known..];
            self.pool.added(&mut sequence, new);
            self.computed += new.len() as u64;
            out.push((number, sequence, row));
        }
        out
    }

    /// Reads some of the waiting prompts in one pass, enough to start about as many rows as there is place
    /// for. `owed` are the blocks that rows at work may still take.
    pub(super) fn read_prompts(
        &mut self,
        work: &Generation<'_>,
        queue: &mut Queue,
        owed: usize,
    ) -> Result<(), Full> {
        let rows = self.rows - queue.active.len();
        let (mut samples, mut tokens, mut promised) = (0, 0, owed);
        let mut taken: Vec<Taken> = Vec::new();
        let prompt_of = |request: usize| &work.requests[request].prompt[..];
        while let Some(&request) = queue.waiting.front()
            && samples < rows
        {
            let prompt = prompt_of(request);
            let mut sequence = self.pool.begin(prompt);
            let known = sequence.len();
            let new = prompt.len() - known;
            // Its own blocks, and those of one answer.
            let own = prompt.len().div_ceil(BLOCK) - known / BLOCK;
            let answer = Self::most(work, prompt.len()) - prompt.len() / BLOCK;
            let fits =
                (taken.is_empty() || tokens + new <= PROMPTS) && !computes(&taken, &prompt_of, prompt, known);
            if !fits || !self.pool.make_room(promised + own + answer) {
                self.pool.release(sequence);
                break;
            }
            self.pool.extend(&mut sequence, new)?;
            promised += answer;
            tokens += new;
            samples += work.requests[request].seeds.len();
            taken.push((request, sequence, known));
            queue.waiting.pop_front();
        }
        for (request, sequence, logits) in self.read(taken, &prompt_of, Asked::Logits) {
            queue.open.push_back(Open { request, started: 0, sequence, logits });
        }
        Ok(())
    }
}

/// Whether one of the texts that a pass reads computes a beginning of another text that is worth waiting for:
/// the block after what is known of it.
fn computes<'a>(taken: &[Taken], text: &dyn Fn(usize) -> &'a [u32], other: &[u32], known: usize) -> bool {
    let end = known + BLOCK;
    other.len() > end
        && taken.iter().any(|(number, _, start)| {
            let tokens = text(*number);
            *start == known && tokens.len() > end && tokens[..end] == other[..end]
        })
}
