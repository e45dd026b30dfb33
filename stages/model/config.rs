//! The shape of a decoder, read from and written to Hugging Face's `config.json`. What a family has of its
//! own is in [`families`](super::families).

use serde_json::{Value, json};

use super::parts::{Part, Switches};
use super::rope::Rope;

/// The largest shapes: far above any model there is, and small enough that no product of theirs overflows.
pub mod limits {
    /// The most heads, layers, or numbers of a head.
    pub const NARROW: u64 = 1 << 12;
    /// The most numbers of a state.
    pub const WIDE: u64 = 1 << 20;
    /// The most tokens of a vocabulary or a context.
    pub const LONG: u64 = 1 << 24;
}

/// A family, by its `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Llama,
    Qwen2,
    Qwen3,
    Mistral,
    SmolLm3,
    Gemma3,
}

impl Family {
    pub const ALL: [Family; 6] =
        [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Mistral, Self::SmolLm3, Self::Gemma3];

    /// Its `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Mistral => "mistral",
            Self::SmolLm3 => "smollm3",
            Self::Gemma3 => "gemma3_text",
        }
    }
}

/// Sizes and constants of a decoder (names as in `transformers`).
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub tie_word_embeddings: bool,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
    pub bos_token_id: Option<u32>,
    pub pad_token_id: Option<u32>,
    pub switches: Switches,
    pub rope: Rope,
    /// The rope of layers with a window, where it is another.
    pub local_rope: Option<Rope>,
    /// How each layer attends.
    pub attention: Vec<Attention>,
    /// The weights of a layer, in order: [`Switches::parts`].
    pub parts: Vec<Part>,
    /// `config.json` as it was read; null for a decoder from scratch.
    pub source: Value,
}

/// How a layer attends. Layers with a window turn by [`DecoderConfig::local_rope`], if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Whether queries and keys are turned by their positions.
    pub rotary: bool,
    /// How many tokens it sees, its own included; all if it is not said.
    pub window: Option<usize>,
}

impl Attention {
    /// Sees all, and is turned.
    pub const PLAIN: Self = Self { rotary: true, window: None };
}

/// Sizes of a decoder from scratch.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub context: usize,
}

impl DecoderConfig {
    /// A Llama decoder from scratch, with tied embeddings.
    pub fn llama(sizes: Sizes, end: Option<u32>) -> Self {
        let switches = Switches::default();
        Self {
            family: Family::Llama,
            vocab_size: sizes.vocab_size,
            hidden_size: sizes.hidden_size,
            intermediate_size: sizes.intermediate_size,
            num_hidden_layers: sizes.layers,
            num_attention_heads: sizes.heads,
            num_key_value_heads: sizes.kv_heads,
            head_dim: sizes.hidden_size / sizes.heads,
            max_position_embeddings: sizes.context,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: true,
            eos_token_ids: end.into_iter().collect(),
            bos_token_id: None,
            pad_token_id: end,
            switches,
            rope: Rope::plain(10_000.0),
            local_rope: None,
            attention: vec![Attention::PLAIN; sizes.layers],
            parts: switches.parts(),
            source: Value::Null,
        }
    }

    /// A decoder small enough for device checks and tests.
    pub(crate) fn small(vocab_size: usize, positions: usize) -> Self {
        let sizes = Sizes {
            vocab_size,
            hidden_size: 32,
            intermediate_size: 48,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            context: positions,
        };
        Self::llama(sizes, None)
    }

    /// The same with one layer that sees all and turns by the common rope: what a future head is.
    #[must_use]
    pub fn one_layer(&self) -> Self {
        Self { num_hidden_layers: 1, attention: vec![Attention::PLAIN], ..self.clone() }
    }

    /// `config.json` as `transformers` reads it: the one that was read, or Llama's for a decoder from
    /// scratch. Weights are written in f32.
    pub fn to_json(&self) -> Value {
        if let Value::Object(source) = &self.source {
            let mut fields = source.clone();
            let dtype = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
            fields.insert(dtype.into(), json!("float32"));
            return Value::Object(fields);
        }
        let eos = match self.eos_token_ids.as_slice() {
            [one] => json!(one),
            many => json!(many),
        };
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "rope_theta": self.rope.theta,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": false,
            "mlp_bias": false,
            "hidden_act": "silu",
            "eos_token_id": eos,
            "bos_token_id": self.bos_token_id,
            "pad_token_id": self.pad_token_id,
            "torch_dtype": "float32",
        })
    }

    /// Place of a layer's weight in the list of all: the embeddings come first. `None` if there is none.
    pub fn index(&self, layer: usize, part: Part) -> Option<usize> {
        let place = self.parts.iter().position(|p| *p == part)?;
        Some(1 + layer * self.parts.len() + place)
    }

    /// Shape of a layer's weight: `[out, in]`, or `[1, n]`.
    pub fn shape(&self, part: Part) -> [usize; 2] {
        let (hidden, inner, size) = (self.hidden_size, self.intermediate_size, self.head_dim);
        let query = self.num_attention_heads * size;
        let qkv = query + 2 * self.num_key_value_heads * size;
        match part {
            Part::Qkv => [qkv, hidden],
            Part::QkvBias => [1, qkv],
            Part::QNorm | Part::KNorm => [1, size],
            Part::Output => [hidden, query],
            Part::GateUp => [2 * inner, hidden],
            Part::GateUpBias => [1, 2 * inner],
            Part::Down => [hidden, inner],
            Part::AttentionNorm
            | Part::PostAttentionNorm
            | Part::MlpNorm
            | Part::PostMlpNorm
            | Part::OutputBias
            | Part::DownBias => [1, hidden],
        }
    }

    /// Shapes of a layer's weights, in order.
    pub fn shapes(&self) -> Vec<[usize; 2]> {
        self.parts.iter().map(|part| self.shape(*part)).collect()
    }

    /// Weights of the decoder in the list of all.
    pub fn weights(&self) -> usize {
        2 + self.num_hidden_layers * self.parts.len() + usize::from(!self.tie_word_embeddings)
    }

    /// Where the final norm stands in the list of all weights; the output matrix follows if it is not tied.
    pub fn norm_index(&self) -> usize {
        1 + self.num_hidden_layers * self.parts.len()
    }

    /// What attention scores are multiplied by.
    pub fn attention_scale(&self) -> f32 {
        1.0 / self.switches.query_scale.unwrap_or(self.head_dim as f32).sqrt()
    }

    /// Number of values in all weights.
    pub fn parameters(&self) -> usize {
        let layer: usize = self.parts.iter().map(|part| self.shape(*part).iter().product::<usize>()).sum();
        let embeddings = self.vocab_size * self.hidden_size * if self.tie_word_embeddings { 1 } else { 2 };
        embeddings + self.num_hidden_layers * layer + self.hidden_size
    }
}
