//! The shape of a Llama-architecture decoder, read from and written to Hugging Face's `config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ModelError;

/// The most heads, layers, or numbers of a head.
const NARROW: u64 = 1 << 12;
/// The most numbers of a state.
const WIDE: u64 = 1 << 20;
/// The most tokens of a vocabulary or a context.
const LONG: u64 = 1 << 24;

/// Sizes and constants of a decoder (names as in `transformers`' `DecoderConfig`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub tie_word_embeddings: bool,
    /// Tokens that end a sequence.
    pub eos_token_ids: Vec<u32>,
    pub bos_token_id: Option<u32>,
    pub pad_token_id: Option<u32>,
}

impl DecoderConfig {
    /// A decoder small enough for device checks and tests.
    pub(crate) fn small(vocab_size: usize, positions: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 8,
            max_position_embeddings: positions,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            eos_token_ids: vec![],
            bos_token_id: None,
            pad_token_id: None,
        }
    }

    /// Reads `config.json` of a Hugging Face model directory.
    ///
    /// # Errors
    /// Names the file and the key when something is missing, malformed or of another architecture.
    pub fn read(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        let bad = |what: String| ModelError::Config { path: path.clone(), what };
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("not JSON: {e}")))?;

        let kind = value["model_type"].as_str().unwrap_or("");
        if kind != "llama" {
            return Err(bad(format!("model_type is `{kind}`; qstill reads `llama` (LlamaForCausalLM)")));
        }
        for (key, plain) in
            [("attention_bias", json!(false)), ("mlp_bias", json!(false)), ("hidden_act", json!("silu"))]
        {
            if !value[key].is_null() && value[key] != plain {
                return Err(bad(format!("`{key}` is {}; qstill supports {plain} only", value[key])));
            }
        }
        let rope = if value["rope_parameters"].is_object() {
            &value["rope_parameters"]
        } else {
            &value["rope_scaling"]
        };
        if rope.is_object() {
            let kind = rope["rope_type"].as_str().or(rope["type"].as_str()).unwrap_or("default");
            if kind != "default" {
                return Err(bad(format!("rope scaling `{kind}` is not supported; qstill reads `default`")));
            }
        }
        // Far above any model there is, and small enough that no product of theirs overflows.
        let size = |key: &str, most: u64| -> Result<usize, ModelError> {
            match value[key].as_u64() {
                Some(n) if (1..=most).contains(&n) => Ok(n as usize),
                _ => Err(bad(format!("`{key}` must be an integer from 1 to {most}, found {}", value[key]))),
            }
        };
        let number = |key: &str, fallback: f64| match &value[key] {
            Value::Null => Ok(fallback),
            v => v
                .as_f64()
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| bad(format!("`{key}` must be a positive number, found {v}"))),
        };
        let hidden_size = size("hidden_size", WIDE)?;
        let num_attention_heads = size("num_attention_heads", NARROW)?;
        let num_key_value_heads = if value["num_key_value_heads"].is_null() {
            num_attention_heads
        } else {
            size("num_key_value_heads", NARROW)?
        };
        let head_dim = if value["head_dim"].is_null() {
            hidden_size / num_attention_heads
        } else {
            size("head_dim", NARROW)?
        };
        if num_attention_heads % num_key_value_heads != 0 {
            return Err(bad(format!(
                "`num_attention_heads` ({num_attention_heads}) is not a multiple of `num_key_value_heads` \
                 ({num_key_value_heads})"
            )));
        }
        if head_dim % 2 != 0 {
            return Err(bad(format!("`head_dim` ({head_dim}) must be even for rotary embeddings")));
        }
        let rope_theta = match rope["rope_theta"].as_f64() {
            Some(theta) => theta,
            None => number("rope_theta", 10_000.0)?,
        };
        let id = |v: &Value| v.as_u64().map(|n| n as u32);
        let mut eos_token_ids = eos_ids(&value);
        if let Ok(text) = std::fs::read_to_string(dir.join("generation_config.json"))
            && let Ok(generation) = serde_json::from_str::<Value>(&text)
        {
            for token in eos_ids(&generation) {
                if !eos_token_ids.contains(&token) {
                    eos_token_ids.push(token);
                }
            }
        }
        Ok(Self {
            vocab_size: size("vocab_size", LONG)?,
            hidden_size,
            intermediate_size: size("intermediate_size", WIDE)?,
            num_hidden_layers: size("num_hidden_layers", NARROW)?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings: size("max_position_embeddings", LONG)?,
            rms_norm_eps: number("rms_norm_eps", 1e-6)?,
            rope_theta,
            tie_word_embeddings: value["tie_word_embeddings"].as_bool().unwrap_or(false),
            eos_token_ids,
            bos_token_id: id(&value["bos_token_id"]),
            pad_token_id: id(&value["pad_token_id"]),
        })
    }

    /// `config.json` as `transformers` reads it.
    pub fn to_json(&self) -> Value {
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
            "rope_theta": self.rope_theta,
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

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let attention =
            self.hidden_size * self.head_dim * 2 * (self.num_attention_heads + self.num_key_value_heads);
        let mlp = 3 * self.hidden_size * self.intermediate_size;
        let embeddings = self.vocab_size * self.hidden_size * if self.tie_word_embeddings { 1 } else { 2 };
        embeddings + self.num_hidden_layers * (attention + mlp + 2 * self.hidden_size) + self.hidden_size
    }
}

fn eos_ids(value: &Value) -> Vec<u32> {
    match &value["eos_token_id"] {
        Value::Number(n) => n.as_u64().map(|n| n as u32).into_iter().collect(),
        Value::Array(ids) => ids.iter().filter_map(|v| v.as_u64().map(|n| n as u32)).collect(),
        _ => Vec::new(),
    }
}
