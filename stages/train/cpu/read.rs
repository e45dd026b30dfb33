//! Rows as the trunk reads them, and how well a decoder predicts them, without gradients.

use super::super::batch::Example;
use super::super::future;
use crate::model::Decoder;
use crate::model::cpu::Weights;
use crate::model::cpu::head::{likeliest, token_losses};
use crate::model::cpu::trunk::{Chunk, Trunk};
use crate::model::soft::TopK;

/// The final hidden state of a batch's token.
pub(super) fn row(chunks: &mut [Chunk], mut place: usize, size: usize) -> &mut [f32] {
    for chunk in chunks {
        if place < chunk.tokens() {
            return &mut chunk.hidden[place * size..(place + 1) * size];
        }
        place -= chunk.tokens();
    }
    &mut []
}

/// What the trunk reads of some rows.
pub(super) fn inputs<'a>(rows: &[&'a Example]) -> Vec<&'a [u32]> {
    rows.iter().map(|e| &e.tokens[..e.tokens.len() - 1]).collect()
}

/// Reads some rows and gives the cross-entropy at each target that weighs something, in the order of the
/// rows.
pub(super) fn losses(weights: &Weights, trunk: &mut Trunk, rows: &[&Example]) -> Vec<f32> {
    let (hidden, tokens) = at_targets(weights, trunk, rows);
    token_losses(&hidden, &weights.all[weights.head_index()], weights.config.hidden_size, &tokens)
}

/// The final hidden states at the targets of some rows that weigh something, and those targets.
fn at_targets(weights: &Weights, trunk: &mut Trunk, rows: &[&Example]) -> (Vec<f32>, Vec<u32>) {
    trunk.forward(weights, &inputs(rows));
    let size = weights.config.hidden_size;
    let (places, tokens, _) = future::targets(rows, 0);
    let chunks = trunk.active();
    let mut hidden = Vec::with_capacity(places.len() * size);
    for place in places {
        hidden.extend_from_slice(row(chunks, place, size));
    }
    (hidden, tokens)
}

/// A decoder that says how well it predicts rows.
pub struct Reader {
    weights: Weights,
    trunk: Trunk,
}

impl Reader {
    pub fn new(decoder: &Decoder) -> Self {
        let weights = Weights::of(decoder);
        Self { trunk: Trunk::new(&weights, true), weights }
    }

    /// Cross-entropy at each target that weighs something, in the order of the rows.
    pub fn losses(&mut self, rows: &[&Example]) -> Vec<f32> {
        losses(&self.weights, &mut self.trunk, rows)
    }

    /// Its `k` likeliest tokens of the first `vocabulary` at each target that weighs something, in the order
    /// of the rows.
    pub fn likeliest(&mut self, rows: &[&Example], (k, vocabulary): (usize, usize)) -> TopK {
        let (hidden, _) = at_targets(&self.weights, &mut self.trunk, rows);
        let (matrix, size) = (&self.weights.all[self.weights.head_index()], self.weights.config.hidden_size);
        likeliest(&hidden, matrix, size, (k, vocabulary))
    }
}
