//! The decoder at work on generation: any mix of sequences, each with the tokens that are new to it (a whole
//! prompt, or the one token just drawn), in one pass. What is computed for a token depends on its own
//! sequence alone, to the last bit, so samples do not change with the batch that they share.

use rayon::prelude::*;

use super::cache::{BLOCK, Pool, Sequence};
use super::packed::{Packed, Work};
use super::{Rotary, Shape, simd};
use crate::model::config::Attention;
use crate::model::parts::Part;
use crate::model::weight::Weight;
use crate::model::{Decoder, DecoderConfig, FutureHeads, decoder as plain};

mod draft;

/// New tokens from which threads take sequences each, instead of sharing each product.
const MANY: usize = 16;

/// A decoder's weights as generation reads them.
pub struct PackedDecoder {
    shape: Shape,
    layers: Vec<Layer>,
    embed: Packed,
    /// Absent when tied.
    head: Option<Packed>,
    norm: Vec<f32>,
    embed_scale: Option<f32>,
    rotary: Rotary,
    /// Layers that stand behind the last one, each by itself: they draft the tokens after the next.
    heads: Vec<Layer>,
}

struct Layer {
    attention: Attention,
    qkv: Packed,
    output: Packed,
    gate_up: Packed,
    down: Packed,
    /// Norms and biases by their [`Part`]; empty where there is none.
    vectors: [Vec<f32>; Part::COUNT],
}

impl Layer {
    /// A layer of a decoder, as `layer` gives its weights.
    fn new(attention: Attention, layer: &plain::Layer, pack: fn(&Weight) -> Packed) -> Self {
        let mut vectors = [const { Vec::new() }; Part::COUNT];
        for (part, weight) in layer.0.iter().filter(|(part, _)| part.is_norm() || part.is_bias()) {
            vectors[*part as usize] = weight.values();
        }
        let [qkv, output, gate_up, down] =
            [Part::Qkv, Part::Output, Part::GateUp, Part::Down].map(|part| pack(&layer[part]));
        Self { attention, qkv, output, gate_up, down, vectors }
    }

    fn vector(&self, part: Part) -> &[f32] {
        &self.vectors[part as usize]
    }

    /// Queries, keys and values of the tokens whose stream is in `scratch.x`, not yet turned.
    fn project(&self, shape: &Shape, scratch: &mut Scratch) {
        let Scratch { x, normed, inverse, qkv, work, .. } = scratch;
        simd::rms_norm(x, self.vector(Part::AttentionNorm), shape.epsilon, normed, inverse);
        self.qkv.product(normed, qkv, false, work);
        simd::add_row(qkv, self.vector(Part::QkvBias));
        if self.vector(Part::QNorm).is_empty() {
            return;
        }
        for row in qkv.chunks_exact_mut(shape.qkv()) {
            let (queries, rest) = row.split_at_mut(shape.attended());
            simd::normalize(queries, self.vector(Part::QNorm), shape.epsilon);
            simd::normalize(&mut rest[..shape.shared * shape.size], self.vector(Part::KNorm), shape.epsilon);
        }
    }

    /// Adds to the stream what attention has gathered in `scratch.attended`, and then what the MLP makes.
    fn finish(&self, shape: &Shape, scratch: &mut Scratch) {
        let Scratch { x, normed, inverse, attended, gate_up, inner, work, .. } = scratch;
        let attention = Residual {
            weight: &self.output,
            bias: self.vector(Part::OutputBias),
            norm: self.vector(Part::PostAttentionNorm),
            epsilon: shape.epsilon,
        };
        attention.add(attended, x, normed, work);
        simd::rms_norm(x, self.vector(Part::MlpNorm), shape.epsilon, normed, inverse);
        self.gate_up.product(normed, gate_up, false, work);
        simd::add_row(gate_up, self.vector(Part::GateUpBias));
        simd::gated(shape.activation, gate_up, inner, shape.inner);
        let mlp = Residual {
            weight: &self.down,
            bias: self.vector(Part::DownBias),
            norm: self.vector(Part::PostMlpNorm),
            epsilon: shape.epsilon,
        };
        mlp.add(inner, x, normed, work);
    }
}

/// The end of attention or MLP, up to the stream.
struct Residual<'a> {
    weight: &'a Packed,
    /// Empty if there is none, as the norm.
    bias: &'a [f32],
    norm: &'a [f32],
    epsilon: f32,
}

impl Residual<'_> {
    /// Adds the product with `input` to the stream `x`; `aside` has room for as much.
    fn add(&self, input: &[f32], x: &mut [f32], aside: &mut [f32], work: &mut Work) {
        if self.bias.is_empty() && self.norm.is_empty() {
            return self.weight.product(input, x, true, work);
        }
        self.weight.product(input, aside, false, work);
        simd::add_row(aside, self.bias);
        if !self.norm.is_empty() {
            simd::normalize(aside, self.norm, self.epsilon);
        }
        simd::add(x, aside);
    }
}

/// A sequence and the tokens to add to it; [`Pool::extend`] has made room for them.
pub struct Entry<'a> {
    pub sequence: &'a mut Sequence,
    pub tokens: &'a [u32],
    /// How many of its last tokens [`PackedDecoder::draft`] verifies; [`PackedDecoder::forward`] looks at the
    /// last alone.
    pub asked: usize,
}

/// What is asked of the decoder after each entry's last token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Which token follows: logits `[V]`.
    Logits,
    /// The final normalised hidden state `[D]`, which spares the output product.
    Hidden,
}

/// Buffers of one thread's pass.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    inverse: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    logits: Vec<f32>,
    work: Work,
}

impl Scratch {
    /// Makes the buffers of a layer as long as so many tokens need.
    fn fit(&mut self, shape: &Shape, rows: usize) {
        for (buffer, width) in [
            (&mut self.x, shape.hidden),
            (&mut self.normed, shape.hidden),
            (&mut self.inverse, 1),
            (&mut self.qkv, shape.qkv()),
            (&mut self.attended, shape.attended()),
            (&mut self.gate_up, 2 * shape.inner),
            (&mut self.inner, shape.inner),
        ] {
            buffer.resize(rows * width, 0.0);
        }
    }
}

/// Some entries of a pass, with the buffers of the thread that works on them.
struct Portion<'p, 'e> {
    entries: &'p mut [Entry<'e>],
    /// Index of the first among all.
    first: usize,
    scratch: &'p mut Scratch,
}

/// Keys and values of a layer that a token looks at.
#[derive(Clone, Copy)]
struct Cached<'a> {
    sequence: &'a Sequence,
    /// Where the layer begins in a block.
    base: usize,
    /// Tokens up to the last one that is looked at.
    seen: usize,
    /// How many of these are looked at, if not all.
    window: Option<usize>,
}

/// Buffers of passes, kept between them.
#[derive(Default)]
pub struct Passes {
    threads: Vec<Scratch>,
}

impl PackedDecoder {
    pub fn new(decoder: &Decoder) -> Self {
        let c = &decoder.config;
        // The largest first, while there is little else in memory.
        let pack = if decoder.eight_bit { Packed::rounded } else { Packed::of };
        let (embed, head) = (pack(&decoder.embed), decoder.head.as_ref().map(pack));
        let layers = decoder.layers.iter().zip(&c.attention);
        Self {
            layers: layers.map(|(layer, attention)| Layer::new(*attention, layer, pack)).collect(),
            embed,
            head,
            norm: decoder.norm.values(),
            embed_scale: c.switches.embed_scale,
            rotary: Rotary::new(c, c.max_position_embeddings),
            heads: Vec::new(),
            shape: Shape::of(c),
        }
    }

    /// The same with heads that draft ([`PackedDecoder::draft`]). Their keys and values are kept as if they
    /// were further layers.
    #[must_use]
    pub fn with_heads(mut self, config: &DecoderConfig, heads: &FutureHeads) -> Self {
        self.heads = heads
            .decoder_layers(config)
            .iter()
            .map(|layer| Layer::new(Attention::PLAIN, layer, Packed::of))
            .collect();
        self
    }

    /// About what a pass that drafts costs of one that does not: a head is a layer and an output product
    /// more. `None` without heads.
    pub fn draft_cost(&self) -> Option<f64> {
        let output = self.head.as_ref().unwrap_or(&self.embed).bytes();
        let layer = |l: &Layer| {
            [&l.qkv, &l.output, &l.gate_up, &l.down].into_iter().map(Packed::bytes).sum::<usize>()
        };
        let heads: usize = self.heads.iter().map(|head| layer(head) + output).sum();
        let plain = self.layers.iter().map(layer).sum::<usize>() + output;
        (heads > 0).then(|| 1.0 + heads as f64 / plain as f64)
    }

    /// A pool for this decoder that holds at most `bytes`.
    pub fn pool(&self, bytes: usize) -> Pool {
        Pool::new(&self.shape, self.layers.len() + self.heads.len(), bytes)
    }

    pub fn vocab(&self) -> usize {
        self.head.as_ref().unwrap_or(&self.embed).outputs()
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        let layers =
            self.layers.iter().chain(&self.heads).flat_map(|l| [&l.qkv, &l.output, &l.gate_up, &l.down]);
        layers.chain([&self.embed]).chain(&self.head).map(Packed::bytes).sum()
    }

    /// Adds tokens to sequences, and gives `read` what is asked after the last token of each entry, by its
    /// index.
    pub fn forward(
        &self,
        entries: &mut [Entry<'_>],
        passes: &mut Passes,
        asked: Asked,
        read: &(impl Fn(usize, &[f32]) + Sync),
    ) {
        divide(entries, passes, &|portion| self.pass(portion, asked, read));
    }

    /// Adds tokens to sequences of which the last [`Entry::asked`] are to be verified: gives `read` the
    /// logits `[asked, V]` after each of these, and is told the place among the entry's tokens of the last
    /// one that stands (`None` if no more is wanted). From there the heads draft: `drafted` is given their
    /// likeliest tokens, of which the first comes two places further.
    pub fn draft(
        &self,
        entries: &mut [Entry<'_>],
        passes: &mut Passes,
        read: &(impl Fn(usize, &[f32]) -> Option<usize> + Sync),
        drafted: &(impl Fn(usize, Vec<u32>) + Sync),
    ) {
        divide(entries, passes, &|portion| self.draft_pass(portion, read, drafted));
    }

    /// Tokens through all layers: their stream is then in `scratch.x`, their keys and values in the cache.
    fn trunk(&self, entries: &mut [Entry<'_>], scratch: &mut Scratch) {
        let shape = &self.shape;
        scratch.fit(shape, entries.iter().map(|e| e.tokens.len()).sum());
        for (token, x) in entries.iter().flat_map(|e| e.tokens).zip(scratch.x.chunks_exact_mut(shape.hidden))
        {
            self.embed.row(*token as usize, x);
            if let Some(scale) = self.embed_scale {
                simd::scale(x, scale);
            }
        }
        for (l, layer) in self.layers.iter().enumerate() {
            layer.project(shape, scratch);
            let base = l * Pool::layer(shape);
            self.write(entries, layer.attention, &mut scratch.qkv, base);
            let Scratch { qkv, attended, work, .. } = &mut *scratch;
            let mut rows = qkv.chunks_exact(shape.qkv()).zip(attended.chunks_exact_mut(shape.attended()));
            let window = layer.attention.window;
            let tasks = entries.iter().flat_map(|entry| {
                let start = entry.sequence.len();
                (0..entry.tokens.len()).map(move |i| Cached {
                    sequence: entry.sequence,
                    base,
                    seen: start + i + 1,
                    window,
                })
            });
            let tasks = tasks.filter_map(|cached| rows.next().map(|(row, out)| (cached, row, out)));
            let attend =
                |(cached, row, out): (Cached<'_>, &[f32], &mut [f32])| attend(shape, cached, row, out);
            if work.spread {
                tasks.collect::<Vec<_>>().into_par_iter().for_each(attend);
            } else {
                tasks.for_each(attend);
            }
            layer.finish(shape, scratch);
        }
        // What heads will look back at, whether they draft now or later.
        for (h, head) in self.heads.iter().enumerate() {
            head.project(shape, scratch);
            let base = (self.layers.len() + h) * Pool::layer(shape);
            self.write(entries, head.attention, &mut scratch.qkv, base);
        }
    }

    /// Turns the new tokens' queries and keys as a layer does, and writes keys and values; `base` is where
    /// the layer begins in a block.
    fn write(&self, entries: &mut [Entry<'_>], layer: Attention, qkv: &mut [f32], base: usize) {
        let Shape { heads, shared, size, .. } = self.shape;
        let mut rows = qkv.chunks_exact_mut(self.shape.qkv());
        for entry in entries.iter_mut() {
            let start = entry.sequence.len();
            for (i, row) in rows.by_ref().take(entry.tokens.len()).enumerate() {
                self.rotary.turn(layer, &mut row[..self.shape.turned()], start + i, 1.0);
                let (block, place) = entry.sequence.writable(start + i);
                for head in 0..shared {
                    let at = base + head * 2 * size * BLOCK;
                    let (keys, values) = block[at..at + 2 * size * BLOCK].split_at_mut(size * BLOCK);
                    for (key, value) in
                        keys[place..].iter_mut().step_by(BLOCK).zip(&row[(heads + head) * size..])
                    {
                        *key = *value;
                    }
                    let from = (heads + shared + head) * size;
                    values[place * size..(place + 1) * size].copy_from_slice(&row[from..from + size]);
                }
            }
        }
    }

    fn pass(&self, portion: Portion<'_, '_>, asked: Asked, read: &(impl Fn(usize, &[f32]) + Sync)) {
        let Portion { entries, first, scratch } = portion;
        if entries.iter().all(|e| e.tokens.is_empty()) {
            return;
        }
        self.trunk(entries, scratch);
        let Shape { hidden, epsilon, .. } = self.shape;
        let Scratch { x, normed, inverse, logits, work, .. } = scratch;
        // Only each entry's last token is asked.
        let mut end = 0;
        for (i, entry) in entries.iter().enumerate() {
            end += entry.tokens.len();
            x.copy_within((end - 1) * hidden..end * hidden, i * hidden);
        }
        let ends = entries.len();
        let normed = &mut normed[..ends * hidden];
        simd::rms_norm(&x[..ends * hidden], &self.norm, epsilon, normed, &mut inverse[..ends]);
        if asked == Asked::Hidden {
            for (i, hidden) in normed.chunks_exact(hidden).enumerate() {
                read(first + i, hidden);
            }
            return;
        }
        let vocab = self.vocab();
        logits.resize(ends * vocab, 0.0);
        self.head.as_ref().unwrap_or(&self.embed).product(normed, logits, false, work);
        for (i, logits) in logits.chunks_exact(vocab).enumerate() {
            read(first + i, logits);
        }
    }
}

/// Divides entries among threads, where there is enough to do.
fn divide(entries: &mut [Entry<'_>], passes: &mut Passes, work: &(impl Fn(Portion<'_, '_>) + Sync)) {
    let total: usize = entries.iter().map(|e| e.tokens.len()).sum();
    let threads = rayon::current_num_threads();
    let groups = if total < MANY { 1 } else { threads.min(entries.len()) };
    passes.threads.resize_with(passes.threads.len().max(groups), Scratch::default);
    if groups == 1 {
        let scratch = &mut passes.threads[0];
        scratch.work.spread = true;
        // On a thread of the pool: from another one, every product would wait for two threads to wake up.
        return rayon::scope(|_| work(Portion { entries, first: 0, scratch }));
    }
    // Runs of entries of about equally many tokens.
    let mut parts = Vec::with_capacity(groups);
    let (mut rest, mut first, mut left) = (entries, 0, total);
    for scratch in passes.threads[..groups].iter_mut().rev() {
        let goal = left.div_ceil(groups - parts.len());
        let (mut tokens, mut count) = (0, 0);
        while count < rest.len() && tokens < goal {
            tokens += rest[count].tokens.len();
            count += 1;
        }
        let (part, others) = rest.split_at_mut(count);
        left -= tokens;
        scratch.work.spread = false;
        parts.push(Portion { entries: part, first, scratch });
        first += count;
        rest = others;
    }
    parts.into_par_iter().for_each(work);
}

/// What a token's query heads `[H d]` see; each group of them looks through one key/value head.
fn attend(shape: &Shape, cached: Cached<'_>, queries: &[f32], out: &mut [f32]) {
    let Cached { sequence, base, seen, window } = cached;
    let size = shape.size;
    let group = shape.heads / shape.shared * size;
    // Blocks before the first token in sight are passed over; scores count from the first block that is not.
    let hidden = seen - window.map_or(seen, |window| window.min(seen));
    let skipped = hidden / BLOCK;
    let (hidden, seen) = (hidden - skipped * BLOCK, seen - skipped * BLOCK);
    let blocks = &sequence.blocks()[skipped..];
    let mut scores = vec![0.0; seen.next_multiple_of(BLOCK)];
    let heads = queries[..shape.attended()].chunks_exact(group).zip(out.chunks_exact_mut(group));
    for (head, (queries, out)) in heads.enumerate() {
        let keys = base + head * 2 * size * BLOCK;
        let values = keys + size * BLOCK;
        for (query, out) in queries.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
            for (block, scores) in blocks.iter().zip(scores.as_chunks_mut::<BLOCK>().0) {
                simd::scores(query, &block[keys..values], scores);
            }
            simd::softmax(&mut scores[hidden..seen], shape.scale);
            scores[..hidden].fill(0.0);
            out.fill(0.0);
            for (block, weights) in blocks.iter().zip(scores[..seen].chunks(BLOCK)) {
                simd::weighted_sum(weights, &block[values..values + size * BLOCK], out);
            }
        }
    }
}
