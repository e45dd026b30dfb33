//! Weights and forward pass of a decoder: RMSNorm, rotary positions, grouped-query attention, gated MLP, and
//! what [`Switches`](super::parts::Switches) say that its family has besides.
//!
//! Every weight is a rank-2 tensor in one list, so that optimizer, replicas and checkpoints are loops.
//! Projections that read the same input are stored as one matrix (`qkv`, `gate_up`): fewer, larger matrix
//! products. Sums that must not lose digits (norms, softmax) are in f32, whatever the weights are. Shapes: B
//! rows, T tokens, D hidden, H query heads, K key/value heads, d head size.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, activation};
use rand::RngExt;

use super::cache::Memory;
use super::config::{Attention, DecoderConfig};
use super::parts::{Activation, Part};
use super::weight::Weight;

mod places;

pub use places::{MASKED, Places, View};

/// A decoder's weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub config: DecoderConfig,
    /// What a GPU computes in; weights are f32 where they are trained or stored.
    pub dtype: FloatDType,
    /// Whether the CPU generates with 8-bit weights.
    pub eight_bit: bool,
    /// `[V, D]`
    pub embed: Weight,
    pub layers: Vec<Layer>,
    /// `[1, D]`
    pub norm: Weight,
    /// `[V, D]`; absent when tied to `embed`.
    pub head: Option<Weight>,
}

/// The weights of a layer, in the order of [`DecoderConfig::parts`], each of the shape that
/// [`DecoderConfig::shape`] says.
#[derive(Clone, Debug)]
pub struct Layer(pub Vec<(Part, Weight)>);

impl Layer {
    /// A weight that some families have.
    pub fn get(&self, part: Part) -> Option<Tensor<2>> {
        self.0.iter().find(|(own, _)| *own == part).map(|(_, weight)| weight.tensor())
    }
}

impl std::ops::Index<Part> for Layer {
    type Output = Weight;

    /// A weight that all families have.
    fn index(&self, part: Part) -> &Weight {
        &self.0.iter().find(|(own, _)| *own == part).unwrap_or(&self.0[0]).1
    }
}

impl Decoder {
    /// Random weights: normal with deviation 0.02, residual projections scaled by 1/sqrt(2 layers) (GPT-2).
    /// Drawn from `seed` on the CPU, so that they are the same on every device.
    pub fn random(config: &DecoderConfig, seed: u64, device: &Device) -> Self {
        let mut rng = datasets::key::rng(&["weights".into(), seed.into()]);
        let tensor = |values: Vec<f32>, shape: [usize; 2]| {
            Weight::from(Tensor::from_data(TensorData::new(values, shape), device))
        };
        let (c, all) = (config, [config.vocab_size, config.hidden_size]);
        let embed = tensor(normal(&mut rng, all[0] * all[1], 0.02), all);
        let layers = (0..c.num_hidden_layers)
            .map(|_| {
                let values = c.parts.iter().map(|part| (*part, c.drawn(*part, &mut rng)));
                Layer(values.map(|(part, values)| (part, tensor(values, c.shape(part)))).collect())
            })
            .collect();
        let head = (!c.tie_word_embeddings).then(|| tensor(normal(&mut rng, all[0] * all[1], 0.02), all));
        let norm = Tensor::ones([1, c.hidden_size], device).into();
        Self { config: c.clone(), dtype: FloatDType::F32, eight_bit: false, embed, layers, norm, head }
    }

    /// Every weight, in a fixed order.
    pub fn weights(&self) -> Vec<&Weight> {
        let layers = self.layers.iter().flat_map(|layer| layer.0.iter().map(|(_, weight)| weight));
        std::iter::once(&self.embed).chain(layers).chain([&self.norm]).chain(&self.head).collect()
    }

    /// A decoder of the same shape with weights made from this one's, in the order of [`Decoder::weights`].
    #[must_use]
    pub fn map(&self, mut f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        self.exchanged(|weight| f(weight.tensor()).into())
    }

    fn exchanged(&self, mut f: impl FnMut(&Weight) -> Weight) -> Self {
        let embed = f(&self.embed);
        let mut layer = |layer: &Layer| Layer(layer.0.iter().map(|(part, own)| (*part, f(own))).collect());
        let layers = self.layers.iter().map(&mut layer).collect();
        let (config, norm, head) = (self.config.clone(), f(&self.norm), self.head.as_ref().map(&mut f));
        Self { config, dtype: self.dtype, eight_bit: self.eight_bit, embed, layers, norm, head }
    }

    /// The same decoder with other values, in the order of [`Decoder::weights`].
    #[must_use]
    pub fn with_values(&self, values: &[Vec<f32>]) -> Self {
        self.replaced(|weight| values.get(weight).cloned())
    }

    /// The same decoder with other values of some weights, by their place in [`Decoder::weights`].
    #[must_use]
    pub fn replaced(&self, new: impl Fn(usize) -> Option<Vec<f32>>) -> Self {
        let mut places = 0..;
        self.exchanged(|old| match places.next().and_then(&new) {
            Some(new) => Tensor::from_data(TensorData::new(new, old.dims()), &old.device()).into(),
            None => old.clone(),
        })
    }

    /// The weights in the type that a GPU computes in.
    #[must_use]
    pub fn cast(&self) -> Self {
        self.map(|weight| weight.cast(self.dtype))
    }

    pub fn device(&self) -> Device {
        self.embed.device()
    }

    /// Final hidden states `[B, T, D]` (normalised) of tokens `[B, T]`.
    pub fn hidden(
        &self,
        tokens: Tensor<2, Int>,
        places: &Places,
        memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        self.normed(self.stream(tokens, places, memory))
    }

    /// A stream `[B, T, D]` after the final norm.
    pub fn normed(&self, stream: Tensor<3>) -> Tensor<3> {
        self.norm(stream, &self.norm.tensor())
    }

    /// The stream `[B, T, D]` after the last layer, before the final norm.
    pub fn stream(
        &self,
        tokens: Tensor<2, Int>,
        places: &Places,
        memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        let [rows, len] = tokens.dims();
        let x = self.embed.tensor().select(0, tokens.reshape([rows * len]));
        let x = x.reshape([rows, len, self.config.hidden_size]);
        let x = match self.config.switches.embed_scale {
            Some(scale) => x.mul_scalar(scale),
            None => x,
        };
        self.through(x, places, memory)
    }

    /// A stream `[B, T, D]` after all layers.
    pub fn through(
        &self,
        mut x: Tensor<3>,
        places: &Places,
        mut memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        for (i, layer) in self.layers.iter().enumerate() {
            let normed = self.norm(x.clone(), &layer[Part::AttentionNorm].tensor());
            let attended = self.attention(i, normed, places, memory.as_deref_mut());
            x = x + self.after(attended, layer.get(Part::PostAttentionNorm));
            let normed = self.norm(x.clone(), &layer[Part::MlpNorm].tensor());
            x = x + self.after(self.mlp(layer, normed), layer.get(Part::PostMlpNorm));
        }
        x
    }

    fn norm<const N: usize>(&self, x: Tensor<N>, weight: &Tensor<2>) -> Tensor<N> {
        rms_norm(x, weight, self.config.rms_norm_eps)
    }

    /// What is added to the stream.
    fn after(&self, x: Tensor<3>, norm: Option<Tensor<2>>) -> Tensor<3> {
        match norm {
            Some(weight) => self.norm(x, &weight),
            None => x,
        }
    }

    fn mlp(&self, layer: &Layer, normed: Tensor<3>) -> Tensor<3> {
        let inner = self.config.intermediate_size;
        let gate_up = linear(normed, &layer[Part::GateUp], layer.get(Part::GateUpBias));
        let gate = gate_up.clone().narrow(2, 0, inner);
        let up = gate_up.narrow(2, inner, inner);
        let gate = match self.config.switches.activation {
            Activation::Silu => activation::silu(gate),
            Activation::Gelu => {
                let cubed = gate.clone().powi_scalar(3).mul_scalar(0.044_715);
                gate.clone() * activation::sigmoid((gate + cubed).mul_scalar(GELU))
            }
        };
        linear(gate * up, &layer[Part::Down], layer.get(Part::DownBias))
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, D]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.head.as_ref().unwrap_or(&self.embed).tensor().transpose()).cast(FloatDType::F32)
    }

    fn attention(
        &self,
        index: usize,
        x: Tensor<3>,
        places: &Places,
        memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        let c = &self.config;
        let [rows, len, _] = x.dims();
        let (heads, shared, size) = (c.num_attention_heads, c.num_key_value_heads, c.head_dim);
        let group = heads / shared;
        let layer = &self.layers[index];
        let Attention { rotary, window } = c.attention[index];
        let view = places.of(window);
        let qkv = linear(x, &layer[Part::Qkv], layer.get(Part::QkvBias));
        let qkv = qkv.reshape([rows, len, heads + 2 * shared, size]).swap_dims(1, 2);
        let qk = match (layer.get(Part::QNorm), layer.get(Part::KNorm)) {
            (Some(q_norm), Some(k_norm)) => {
                let q = self.norm(qkv.clone().narrow(1, 0, heads), &q_norm);
                let k = self.norm(qkv.clone().narrow(1, heads, shared), &k_norm);
                Tensor::cat(vec![q, k], 1)
            }
            _ => qkv.clone().narrow(1, 0, heads + shared),
        };
        let qk = if rotary { rotate(qk, view) } else { qk };
        let v = qkv.narrow(1, heads + shared, shared);
        let scale = c.attention_scale();
        // Queries of one group look at the same keys: fold them into the rows of one product.
        let q = qk.clone().narrow(1, 0, heads).mul_scalar(scale).reshape([rows, shared, group * len, size]);
        let k = qk.narrow(1, heads, shared);

        let prefix = memory.as_ref().and_then(|m| m.prefix(index));
        let (k, v) = match memory {
            Some(memory) => memory.exchange(index, k, v),
            None => (k, v),
        };
        let columns = k.dims()[2];
        let dtype: FloatDType = v.dtype().into();
        let mut scores = q.clone().matmul(k.swap_dims(2, 3)).cast(FloatDType::F32);
        let masked = |scores: Tensor<4>, mask: &Option<Tensor<4>>| {
            let Some(mask) = mask.clone() else { return scores };
            let [mask_rows, _, _, columns] = mask.dims();
            let mask = mask.reshape([mask_rows, 1, 1, len, columns]);
            let scores = scores.reshape([rows, shared, group, len, columns]) + mask;
            scores.reshape([rows, shared, group * len, columns])
        };
        scores = masked(scores, &view.mask);
        let out = match prefix {
            None => activation::softmax(scores, 3).cast(dtype).matmul(v),
            Some((prefix_k, prefix_v)) => {
                // All rows look at the same prefix: one product for the whole batch instead of one a row.
                let seen = prefix_k.dims()[2];
                let fold = |t: Tensor<4>, last: usize| {
                    t.swap_dims(0, 1).reshape([1, shared, rows * group * len, last])
                };
                let unfold =
                    |t: Tensor<4>, last: usize| t.reshape([shared, rows, group * len, last]).swap_dims(0, 1);
                let before =
                    unfold(fold(q, size).matmul(prefix_k.swap_dims(2, 3)), seen).cast(FloatDType::F32);
                let before = masked(before, &view.before);
                let weights = activation::softmax(Tensor::cat(vec![before, scores], 3), 3).cast(dtype);
                let near = weights.clone().narrow(3, seen, columns).matmul(v);
                let far = unfold(fold(weights.narrow(3, 0, seen), seen).matmul(prefix_v), size);
                near + far
            }
        };
        let out = out.reshape([rows, heads, len, size]).swap_dims(1, 2).reshape([rows, len, heads * size]);
        linear(out, &layer[Part::Output], layer.get(Part::OutputBias))
    }
}

impl DecoderConfig {
    /// First values of a layer's weight: those of [`Decoder::random`].
    pub(super) fn drawn(&self, part: Part, rng: &mut datasets::key::Rng) -> Vec<f32> {
        let count = self.shape(part).iter().product();
        match part {
            part if part.is_norm() => vec![1.0; count],
            part if part.is_bias() => vec![0.0; count],
            Part::Output | Part::Down => {
                normal(rng, count, 0.02 / (2.0 * self.num_hidden_layers as f32).sqrt())
            }
            _ => normal(rng, count, 0.02),
        }
    }
}

/// Normal numbers of mean 0.
fn normal(rng: &mut datasets::key::Rng, count: usize, deviation: f32) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Box-Muller: two normal numbers from two uniform ones.
        let (u, v): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random::<f32>());
        let radius = (-2.0 * u.ln()).sqrt() * deviation;
        let angle = std::f32::consts::TAU * v;
        values.push(radius * angle.cos());
        values.push(radius * angle.sin());
    }
    values.truncate(count);
    values
}

/// Twice √(2/π): x sigmoid(GELU (x + 0.044715 x³)) is GELU by its tanh approximation.
pub(super) const GELU: f32 = 1.595_769;

/// `x W^T + b` for `x [B, T, in]`, `W [out, in]`, `b [1, out]`, as one product over all B T rows.
fn linear(x: Tensor<3>, weight: &Weight, bias: Option<Tensor<2>>) -> Tensor<3> {
    let [rows, len, input] = x.dims();
    let output = weight.dims()[0];
    let product = x.reshape([rows * len, input]).matmul(weight.tensor().transpose());
    let product = match bias {
        Some(bias) => product + bias,
        None => product,
    };
    product.reshape([rows, len, output])
}

/// `x / rms(x) * w` over the last dimension; `w` is `[1, n]`.
fn rms_norm<const N: usize>(x: Tensor<N>, weight: &Tensor<2>, epsilon: f64) -> Tensor<N> {
    let dtype: FloatDType = x.dtype().into();
    let x = x.cast(FloatDType::F32);
    let inverse = x.clone().square().mean_dim(N - 1).add_scalar(epsilon).sqrt().recip();
    (x * inverse).cast(dtype) * weight.clone().unsqueeze::<N>()
}

/// Rotary position embedding in the half-split order of `transformers`.
fn rotate(x: Tensor<4>, view: &View) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let dtype: FloatDType = x.dtype().into();
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let (cos, sin) = (view.cos.clone().cast(dtype), view.sin.clone().cast(dtype));
    Tensor::cat(vec![a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin], 3)
}
