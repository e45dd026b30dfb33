//! Heads that draft the tokens after the next, behind the last layer.

use super::super::cache::Pool;
use super::super::{Shape, simd};
use super::{Cached, Entry, PackedDecoder, Portion, Scratch, attend};

/// From where heads draft.
#[derive(Default)]
struct Going {
    /// Entry and position of each.
    places: Vec<(usize, usize)>,
    /// `[N, D]`: the stream after the last layer there.
    streams: Vec<f32>,
}

impl PackedDecoder {
    /// Some entries of [`PackedDecoder::draft`].
    pub(super) fn draft_pass(
        &self,
        portion: Portion<'_, '_>,
        read: &(impl Fn(usize, &[f32]) -> Option<usize> + Sync),
        drafted: &(impl Fn(usize, Vec<u32>) + Sync),
    ) {
        let Portion { entries, first, scratch } = portion;
        if entries.iter().all(|e| e.tokens.is_empty()) {
            return;
        }
        self.trunk(entries, scratch);
        let Shape { hidden, epsilon, .. } = self.shape;
        let vocab = self.vocab();
        let output = self.head.as_ref().unwrap_or(&self.embed);
        let total: usize = entries.iter().map(|entry| entry.asked).sum();
        let mut ends = Vec::with_capacity(total * hidden);
        let (mut start, mut starts) = (0, Vec::with_capacity(entries.len()));
        for entry in entries.iter() {
            starts.push(start);
            start += entry.tokens.len();
            ends.extend_from_slice(&scratch.x[(start - entry.asked) * hidden..start * hidden]);
        }
        let Scratch { x, normed, inverse, logits, work, .. } = scratch;
        let count = total.max(entries.len());
        normed.resize(normed.len().max(count * hidden), 0.0);
        inverse.resize(inverse.len().max(count), 0.0);
        simd::rms_norm(&ends, &self.norm, epsilon, &mut normed[..total * hidden], &mut inverse[..total]);
        logits.resize(total * vocab, 0.0);
        output.product(&normed[..total * hidden], logits, false, work);
        let (mut going, mut from) = (Going::default(), 0);
        for (i, entry) in entries.iter().enumerate() {
            if let Some(place) = read(first + i, &logits[from * vocab..(from + entry.asked) * vocab]) {
                going.places.push((i, entry.sequence.len() + place));
                going
                    .streams
                    .extend_from_slice(&x[(starts[i] + place) * hidden..(starts[i] + place + 1) * hidden]);
            }
            from += entry.asked;
        }
        if going.places.is_empty() {
            return;
        }
        let mut drafts = vec![Vec::with_capacity(self.heads.len()); going.places.len()];
        for head in 0..self.heads.len() {
            self.ahead(head, entries, &going, scratch);
            for (drafts, logits) in drafts.iter_mut().zip(scratch.logits.chunks_exact(vocab)) {
                let top = simd::max(logits);
                drafts.push(logits.iter().position(|logit| *logit >= top).unwrap_or(0) as u32);
            }
        }
        for ((i, _), drafts) in going.places.into_iter().zip(drafts) {
            drafted(first + i, drafts);
        }
    }

    /// A head's logits, one row for each place, left in `scratch.logits`. Its keys and values are in the
    /// cache.
    fn ahead(&self, index: usize, entries: &[Entry<'_>], going: &Going, scratch: &mut Scratch) {
        let (head, shape, count) = (&self.heads[index], &self.shape, going.places.len());
        scratch.fit(shape, count);
        scratch.x.copy_from_slice(&going.streams);
        head.project(shape, scratch);
        let base = (self.layers.len() + index) * Pool::layer(shape);
        let rows = scratch.qkv.chunks_exact_mut(shape.qkv());
        let rows = rows.zip(scratch.attended.chunks_exact_mut(shape.attended()));
        for (&(i, position), (row, out)) in going.places.iter().zip(rows) {
            self.rotary.turn(head.attention, &mut row[..shape.attended()], position, 1.0);
            let window = head.attention.window;
            attend(
                shape,
                Cached { sequence: entries[i].sequence, base, seen: position + 1, window },
                row,
                out,
            );
        }
        head.finish(shape, scratch);
        let Scratch { x, normed, inverse, logits, work, .. } = scratch;
        simd::rms_norm(x, &self.norm, shape.epsilon, normed, inverse);
        logits.resize(count * self.vocab(), 0.0);
        self.head.as_ref().unwrap_or(&self.embed).product(normed, logits, false, work);
    }
}
