//! Weights and forward pass of a Llama decoder: RMSNorm, rotary positions, grouped-query attention,
//! SwiGLU, optionally tied embeddings (as `transformers`' `modeling_llama`).
//!
//! Every weight is a rank-2 tensor in one list, so that optimizer, replicas and checkpoints are loops.
//! Projections that read the same input are stored as one matrix (`qkv`, `gate_up`): fewer, larger matrix
//! products. Sums that must not lose digits (norms, softmax) are in f32, whatever the weights are. Shapes: B
//! rows, T tokens, D hidden, H query heads, K key/value heads, d head size.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData, activation};
use rand::RngExt;

use super::cache::Memory;
use super::config::DecoderConfig;

/// A decoder's weights.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub config: DecoderConfig,
    /// What a GPU computes in; weights are f32 where they are trained or stored.
    pub dtype: FloatDType,
    /// `[V, D]`
    pub embed: Tensor<2>,
    pub layers: Vec<Layer>,
    /// `[1, D]`
    pub norm: Tensor<2>,
    /// `[V, D]`; absent when tied to `embed`.
    pub head: Option<Tensor<2>>,
}

/// One block's weights, each `[out, in]` as in PyTorch.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[1, D]`
    pub attention_norm: Tensor<2>,
    /// `[(H + 2K) d, D]`: queries, keys, values.
    pub qkv: Tensor<2>,
    /// `[D, H d]`
    pub output: Tensor<2>,
    /// `[1, D]`
    pub mlp_norm: Tensor<2>,
    /// `[2 F, D]`: gate, up.
    pub gate_up: Tensor<2>,
    /// `[D, F]`
    pub down: Tensor<2>,
}

/// Where the tokens of a call stand and what they may look at.
pub struct Places {
    /// Rotary `cos` and `sin`, `[B or 1, 1, T, d/2]`.
    pub cos: Tensor<4>,
    pub sin: Tensor<4>,
    /// Added to attention scores: 0 or a large negative number, `[B or 1, 1, T, columns]`; `None` if all may
    /// look at all.
    pub mask: Option<Tensor<4>>,
}

/// Score of a masked column: far below any real score, and finite, so that a row with nothing to see stays
/// finite.
pub const MASKED: f32 = -1e9;

impl Decoder {
    /// Random weights: normal with deviation 0.02, residual projections scaled by 1/sqrt(2 layers) (GPT-2).
    /// Drawn from `seed` on the CPU, so that they are the same on every device.
    pub fn random(config: &DecoderConfig, seed: u64, device: &Device) -> Self {
        let mut rng = datasets::key::rng(&["weights".into(), seed.into()]);
        let mut normal = |rows: usize, columns: usize, deviation: f32| {
            Tensor::<2>::from_data(
                TensorData::new(normal(&mut rng, rows * columns, deviation), [rows, columns]),
                device,
            )
        };
        let c = config;
        let residual = 0.02 / (2.0 * c.num_hidden_layers as f32).sqrt();
        let query = c.num_attention_heads * c.head_dim;
        let embed = normal(c.vocab_size, c.hidden_size, 0.02);
        let layers = (0..c.num_hidden_layers)
            .map(|_| Layer {
                attention_norm: Tensor::ones([1, c.hidden_size], device),
                qkv: normal(query + 2 * c.num_key_value_heads * c.head_dim, c.hidden_size, 0.02),
                output: normal(c.hidden_size, query, residual),
                mlp_norm: Tensor::ones([1, c.hidden_size], device),
                gate_up: normal(2 * c.intermediate_size, c.hidden_size, 0.02),
                down: normal(c.hidden_size, c.intermediate_size, residual),
            })
            .collect();
        let head = (!c.tie_word_embeddings).then(|| normal(c.vocab_size, c.hidden_size, 0.02));
        Self {
            config: c.clone(),
            dtype: FloatDType::F32,
            embed,
            layers,
            norm: Tensor::ones([1, c.hidden_size], device),
            head,
        }
    }

    /// Every weight, in a fixed order.
    pub fn weights(&self) -> Vec<&Tensor<2>> {
        let mut all = vec![&self.embed];
        for l in &self.layers {
            all.extend([&l.attention_norm, &l.qkv, &l.output, &l.mlp_norm, &l.gate_up, &l.down]);
        }
        all.push(&self.norm);
        all.extend(&self.head);
        all
    }

    /// A decoder of the same shape with weights made from this one's, in the order of [`Decoder::weights`].
    #[must_use]
    pub fn map(&self, mut f: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        let mut g = |t: &Tensor<2>| f(t.clone());
        Self {
            config: self.config.clone(),
            dtype: self.dtype,
            embed: g(&self.embed),
            layers: self
                .layers
                .iter()
                .map(|l| Layer {
                    attention_norm: g(&l.attention_norm),
                    qkv: g(&l.qkv),
                    output: g(&l.output),
                    mlp_norm: g(&l.mlp_norm),
                    gate_up: g(&l.gate_up),
                    down: g(&l.down),
                })
                .collect(),
            norm: g(&self.norm),
            head: self.head.as_ref().map(&mut g),
        }
    }

    /// The same decoder with other values, in the order of [`Decoder::weights`].
    #[must_use]
    pub fn with_values(&self, values: &[Vec<f32>]) -> Self {
        let mut values = values.iter();
        self.map(|old| match values.next() {
            Some(new) => Tensor::from_data(TensorData::new(new.clone(), old.dims()), &old.device()),
            None => old,
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

    /// Rotary tables for `positions`, `[B or 1, 1, T, d/2]` each; `positions` holds B x T entries row by row.
    pub fn rotary(&self, positions: &[usize], rows: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
        let half = self.config.head_dim / 2;
        let columns = positions.len() / rows;
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        let frequencies: Vec<f64> = (0..half)
            .map(|i| self.config.rope_theta.powf(-(2.0 * i as f64) / self.config.head_dim as f64))
            .collect();
        for &position in positions {
            for frequency in &frequencies {
                let angle = position as f64 * frequency;
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        let tensor =
            |data: Vec<f32>| Tensor::<4>::from_data(TensorData::new(data, [rows, 1, columns, half]), device);
        (tensor(cos), tensor(sin))
    }

    /// Places of whole sequences from their start, each token seeing those before it.
    pub fn causal(&self, tokens: usize, device: &Device) -> Places {
        let positions: Vec<usize> = (0..tokens).collect();
        let (cos, sin) = self.rotary(&positions, 1, device);
        let mask: Vec<f32> =
            (0..tokens).flat_map(|i| (0..tokens).map(move |j| if j <= i { 0.0 } else { MASKED })).collect();
        let mask = Tensor::from_data(TensorData::new(mask, [1, 1, tokens, tokens]), device);
        Places { cos, sin, mask: Some(mask) }
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
        rms_norm(stream, &self.norm, self.config.rms_norm_eps)
    }

    /// The stream `[B, T, D]` after the last layer, before the final norm.
    pub fn stream(
        &self,
        tokens: Tensor<2, Int>,
        places: &Places,
        memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        let [rows, len] = tokens.dims();
        let x = self.embed.clone().select(0, tokens.reshape([rows * len])).reshape([
            rows,
            len,
            self.config.hidden_size,
        ]);
        self.through(x, places, memory)
    }

    /// A stream `[B, T, D]` after all layers.
    pub fn through(
        &self,
        mut x: Tensor<3>,
        places: &Places,
        mut memory: Option<&mut Memory<'_>>,
    ) -> Tensor<3> {
        let c = &self.config;
        for (i, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(x.clone(), &layer.attention_norm, c.rms_norm_eps);
            x = x + self.attention(i, normed, places, memory.as_deref_mut());
            let normed = rms_norm(x.clone(), &layer.mlp_norm, c.rms_norm_eps);
            let gate_up = linear(normed, &layer.gate_up);
            let gate = gate_up.clone().narrow(2, 0, c.intermediate_size);
            let up = gate_up.narrow(2, c.intermediate_size, c.intermediate_size);
            x = x + linear(activation::silu(gate) * up, &layer.down);
        }
        x
    }

    /// Logits `[N, V]` in f32 of hidden states `[N, D]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.head.as_ref().unwrap_or(&self.embed).clone().transpose()).cast(FloatDType::F32)
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
        let qkv =
            linear(x, &self.layers[index].qkv).reshape([rows, len, heads + 2 * shared, size]).swap_dims(1, 2);
        let qk = rotate(qkv.clone().narrow(1, 0, heads + shared), places);
        let v = qkv.narrow(1, heads + shared, shared);
        let scale = 1.0 / (size as f64).sqrt();
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
        if let Some(mask) = &places.mask {
            let [mask_rows, _, _, _] = mask.dims();
            let mask = mask.clone().reshape([mask_rows, 1, 1, len, columns]);
            scores = (scores.reshape([rows, shared, group, len, columns]) + mask).reshape([
                rows,
                shared,
                group * len,
                columns,
            ]);
        }
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
                let weights = activation::softmax(Tensor::cat(vec![before, scores], 3), 3).cast(dtype);
                let near = weights.clone().narrow(3, seen, columns).matmul(v);
                let far = unfold(fold(weights.narrow(3, 0, seen), seen).matmul(prefix_v), size);
                near + far
            }
        };
        let out = out.reshape([rows, heads, len, size]).swap_dims(1, 2).reshape([rows, len, heads * size]);
        linear(out, &self.layers[index].output)
    }
}

/// Normal numbers of mean 0.
pub(super) fn normal(rng: &mut datasets::key::Rng, count: usize, deviation: f32) -> Vec<f32> {
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

/// `x W^T` for `x [B, T, in]`, `W [out, in]`, as one product over all B T rows.
fn linear(x: Tensor<3>, weight: &Tensor<2>) -> Tensor<3> {
    let [rows, len, input] = x.dims();
    let output = weight.dims()[0];
    x.reshape([rows * len, input]).matmul(weight.clone().transpose()).reshape([rows, len, output])
}

/// `x / rms(x) * w` over the last dimension.
fn rms_norm(x: Tensor<3>, weight: &Tensor<2>, epsilon: f64) -> Tensor<3> {
    let dtype: FloatDType = x.dtype().into();
    let x = x.cast(FloatDType::F32);
    let inverse = x.clone().square().mean_dim(2).add_scalar(epsilon).sqrt().recip();
    (x * inverse).cast(dtype) * weight.clone().unsqueeze_dim::<3>(0)
}

/// Rotary position embedding in the half-split order of `transformers`.
fn rotate(x: Tensor<4>, places: &Places) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let dtype: FloatDType = x.dtype().into();
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let (cos, sin) = (places.cos.clone().cast(dtype), places.sin.clone().cast(dtype));
    Tensor::cat(vec![a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin], 3)
}
