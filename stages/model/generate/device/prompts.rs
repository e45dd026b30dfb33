//! Prompts read on the device: what all of a call begin with once, the rest of each once for all of its
//! samples.

use std::collections::VecDeque;
use std::rc::Rc;

use burn::tensor::{Int, Tensor, TensorData};

use super::super::request::{Generation, Request};
use super::{Made, OnDevice, Open, PROMPTS, Queue, ids};
use crate::model::cache::{Memory, Pair, Prefix};

/// Shortest common prefix of prompts worth a pass of its own.
const LEAST_SHARED: usize = 32;
/// Prompts are padded to a multiple of so many tokens.
const WIDTH: usize = 16;

impl OnDevice {
    /// Computes what all prompts begin with, unless it is known.
    pub(super) fn read_prefix(&mut self, requests: &[Request]) {
        let common = shared_prefix(requests);
        if let Some(known) = &self.prefix {
            let fits =
                |r: &Request| r.prompt.len() > known.tokens.len() && r.prompt.starts_with(&known.tokens);
            if requests.iter().all(fits) && known.tokens.len() + LEAST_SHARED > common {
                return;
            }
        }
        self.prefix = None;
        if common > 0 {
            let tokens = requests[0].prompt[..common].to_vec();
            let layers = self.read_tokens(&tokens, 1);
            self.computed += common as u64;
            self.prefix = Some(Prefix { tokens, layers });
        }
    }

    /// Keys and values of token rows that follow the common part.
    fn read_tokens(&self, tokens: &[u32], rows: usize) -> Vec<Pair<4>> {
        let device = self.decoder.device();
        let (from, width) = (self.prefix_len(), tokens.len() / rows);
        let places = self.decoder.following(from, width, &device);
        let mut memory = Memory::Prompts { prefix: self.prefix.as_ref(), made: Vec::new() };
        self.decoder.hidden(ids(tokens, rows, &device), &places, Some(&mut memory));
        match memory {
            Memory::Prompts { made, .. } => made,
            Memory::Slots { .. } => Vec::new(),
        }
    }

    /// Copies keys and values of prompts to slots.
    pub(super) fn copy(&mut self, starts: &[(Made, usize, usize, usize)]) {
        let (Some((made, ..)), Some(block)) = (starts.first(), &mut self.block) else { return };
        let Some([_, heads, width, size]) = made.first().map(|(k, _)| k.dims()) else { return };
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (_, index, length, slot) in starts {
            for cell in 0..*length {
                from.extend((0..heads).map(|head| ((index * heads + head) * width + cell) as i64));
                to.extend(block.cells(*slot, cell).map(|row| row as i64));
            }
        }
        let count = from.len();
        if count == 0 {
            return;
        }
        let device = self.decoder.device();
        let from = Tensor::<1, Int>::from_data(TensorData::new(from, [count]), &device);
        let to = Tensor::<2, Int>::from_data(TensorData::new(to, [count, 1]), &device);
        for (layer, (k, v)) in made.iter().enumerate() {
            let take = |t: &Tensor<4>| {
                let rows = t.dims()[0] * heads * width;
                t.clone().reshape([rows, size]).select(0, from.clone())
            };
            block.write(layer, &to, take(k), take(v));
        }
    }

    /// Reads some of the waiting prompts in one pass, enough to start about `rows` rows.
    pub(super) fn read_prompts(&mut self, work: &Generation<'_>, queue: &mut Queue, rows: usize) {
        let prefix = self.prefix_len();
        let own =
            |request: usize| &work.requests[request].prompt[prefix..work.requests[request].prompt.len() - 1];
        let (mut taken, mut samples, mut width): (Vec<(usize, VecDeque<usize>)>, usize, usize) =
            (Vec::new(), 0, 0);
        while let Some((request, _)) = queue.waiting.front() {
            let wider = width.max(own(*request).len().next_multiple_of(WIDTH));
            if samples >= rows || (!taken.is_empty() && (taken.len() + 1) * wider > PROMPTS) {
                break;
            }
            let Some(next) = queue.waiting.pop_front() else { break };
            width = wider;
            samples += next.1.len();
            taken.push(next);
        }
        let made = if width == 0 {
            Vec::new()
        } else {
            // Padding stands behind a prompt, where none of its tokens looks.
            let mut tokens = Vec::with_capacity(taken.len() * width);
            for (request, _) in &taken {
                let end = tokens.len() + width;
                tokens.extend_from_slice(own(*request));
                tokens.resize(end, 0);
            }
            self.read_tokens(&tokens, taken.len())
        };
        self.computed += taken.iter().map(|(request, _)| own(*request).len() as u64).sum::<u64>();
        let made = Rc::new(made);
        for (index, (request, samples)) in taken.into_iter().enumerate() {
            queue.open.push_back(Open {
                request,
                samples,
                made: Rc::clone(&made),
                index,
                length: own(request).len(),
            });
        }
    }
}

/// Length of what all prompts have in common, leaving each at least one token of its own; 0 if too short to
/// pay.
fn shared_prefix(requests: &[Request]) -> usize {
    let Some(first) = requests.first() else { return 0 };
    let common = requests.iter().fold(first.prompt.len(), |len, r| {
        let same = r.prompt.iter().zip(&first.prompt).take_while(|(a, b)| a == b).count();
        len.min(same).min(r.prompt.len() - 1)
    });
    if common < LEAST_SHARED || requests.len() == 1 { 0 } else { common }
}
