//! The families of models that are read: one decoder computes them all, and each has a file here that says
//! what its `config.json` means. Tensors have Llama's names unless a family says otherwise.

use std::path::Path;

use serde_json::Value;

use super::config::limits::{LONG, NARROW, WIDE};
use super::config::{Attention, DecoderConfig, Family};
use super::parts::{Part, Switches};
use super::rope::Rope;
use super::{ModelError, gguf};

mod gemma3;
mod llama;
mod mistral;
mod qwen;
mod smollm3;

/// Names of the tensors that make a layer's weight, below `model.layers.N.`, and how many of its rows (of its
/// values, for biases; 1 for norms) each has.
pub fn tensors(part: Part, config: &DecoderConfig) -> Vec<(&'static str, usize)> {
    let query = config.num_attention_heads * config.head_dim;
    let shared = config.num_key_value_heads * config.head_dim;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    if let Some(name) = (config.family == Family::Gemma3).then(|| gemma3::norm(part)).flatten() {
        return vec![(name, 1)];
    }
    match part {
        Part::AttentionNorm => vec![("input_layernorm.weight", 1)],
        Part::Qkv => vec![
            ("self_attn.q_proj.weight", query),
            ("self_attn.k_proj.weight", shared),
            ("self_attn.v_proj.weight", shared),
        ],
        Part::QkvBias => vec![
            ("self_attn.q_proj.bias", query),
            ("self_attn.k_proj.bias", shared),
            ("self_attn.v_proj.bias", shared),
        ],
        Part::QNorm => vec![("self_attn.q_norm.weight", 1)],
        Part::KNorm => vec![("self_attn.k_norm.weight", 1)],
        Part::Output => vec![("self_attn.o_proj.weight", hidden)],
        Part::OutputBias => vec![("self_attn.o_proj.bias", hidden)],
        Part::PostAttentionNorm | Part::PostMlpNorm => Vec::new(),
        Part::MlpNorm => vec![("post_attention_layernorm.weight", 1)],
        Part::GateUp => vec![("mlp.gate_proj.weight", inner), ("mlp.up_proj.weight", inner)],
        Part::GateUpBias => vec![("mlp.gate_proj.bias", inner), ("mlp.up_proj.bias", inner)],
        Part::Down => vec![("mlp.down_proj.weight", hidden)],
        Part::DownBias => vec![("mlp.down_proj.bias", hidden)],
    }
}

/// Shape of a tensor in a file that gives a weight so many rows, or values of a bias.
pub fn stored(part: Part, rows: usize, columns: usize) -> Vec<usize> {
    match part {
        part if part.is_norm() => vec![columns],
        part if part.is_bias() => vec![rows],
        _ => vec![rows, columns],
    }
}

/// Names and shapes of all tensors of a model.
pub fn all_tensors(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
    let table = vec![config.vocab_size, config.hidden_size];
    let mut all = vec![("model.embed_tokens.weight".to_owned(), table.clone())];
    for layer in 0..config.num_hidden_layers {
        for &part in &config.parts {
            let [_, columns] = config.shape(part);
            let own = tensors(part, config).into_iter();
            all.extend(
                own.map(|(name, rows)| (format!("model.layers.{layer}.{name}"), stored(part, rows, columns))),
            );
        }
    }
    all.push(("model.norm.weight".to_owned(), vec![config.hidden_size]));
    if !config.tie_word_embeddings {
        all.push(("lm_head.weight".to_owned(), table));
    }
    all
}

impl DecoderConfig {
    /// Reads `config.json` of a Hugging Face model directory, or what a GGUF file has in its place.
    ///
    /// # Errors
    /// Names the file and the key when something is missing, malformed or not read.
    pub fn read(dir: &Path) -> Result<Self, ModelError> {
        if gguf::is(dir) {
            let bad = |what| ModelError::Config { path: dir.to_owned(), what };
            return read(&gguf::config(dir)?).map_err(bad);
        }
        let path = dir.join("config.json");
        let bad = |what: String| ModelError::Config { path: path.clone(), what };
        let text = std::fs::read_to_string(&path).map_err(|source| ModelError::io(&path, source))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("not JSON: {e}")))?;
        let mut config = read(&value).map_err(bad)?;
        let path = dir.join("generation_config.json");
        let bad = |what: String| ModelError::Config { path: path.clone(), what };
        let generation: Value = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|e| bad(format!("not JSON: {e}")))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
            Err(error) => return Err(ModelError::io(&path, error)),
        };
        for token in eos_ids(&generation).map_err(bad)? {
            if !config.eos_token_ids.contains(&token) {
                config.eos_token_ids.push(token);
            }
        }
        Ok(config)
    }
}

/// Reads a `config.json`. The error says what is wrong.
///
/// # Errors
/// Another family, a key that is missing or malformed, and whatever changes what a decoder computes in a
/// way that is not read.
pub fn read(value: &Value) -> Result<DecoderConfig, String> {
    let fields = Fields { value };
    let kind = value["model_type"].as_str().unwrap_or("");
    let Some(family) = Family::ALL.into_iter().find(|family| family.model_type() == kind) else {
        let known = Family::ALL.map(Family::model_type).join(", ");
        return Err(format!("model_type is `{kind}`; qstill reads {known}"));
    };
    if let Some(method) = value["quantization_config"]["quant_method"].as_str() {
        return Err(format!("weights are quantised by {method}; qstill reads F32, BF16 and F16"));
    }
    fields.plain("partial_rotary_factor", &[Value::Null, 1.0.into(), 1.into()])?;
    match family {
        Family::Llama => llama::read(&fields),
        Family::Qwen2 | Family::Qwen3 => qwen::read(&fields, family),
        Family::Mistral => mistral::read(&fields),
        Family::SmolLm3 => smollm3::read(&fields),
        Family::Gemma3 => gemma3::read(&fields),
    }
}

/// A `config.json` as families read it.
struct Fields<'a> {
    value: &'a Value,
}

/// What a family's keys mean where they are missing.
struct Defaults {
    tie: bool,
    theta: f64,
    epsilon: f64,
}

impl Fields<'_> {
    /// A positive integer.
    fn size(&self, key: &str, most: u64) -> Result<usize, String> {
        match self.value[key].as_u64() {
            Some(n) if (1..=most).contains(&n) => Ok(n as usize),
            _ => Err(format!("`{key}` must be an integer from 1 to {most}, found {}", self.value[key])),
        }
    }

    fn size_or(&self, key: &str, most: u64, other: usize) -> Result<usize, String> {
        if self.value[key].is_null() { Ok(other) } else { self.size(key, most) }
    }

    fn number_or(&self, key: &str, other: f64) -> Result<f64, String> {
        match &self.value[key] {
            Value::Null => Ok(other),
            v => v
                .as_f64()
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| format!("`{key}` must be a positive number, found {v}")),
        }
    }

    fn flag(&self, key: &str, other: bool) -> bool {
        self.value[key].as_bool().unwrap_or(other)
    }

    /// Refuses a key that has none of these values.
    fn plain(&self, key: &str, known: &[Value]) -> Result<(), String> {
        let value = &self.value[key];
        if known.contains(value) {
            return Ok(());
        }
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        Err(format!("`{key}` is {value}; qstill supports {}", known.join(" or ")))
    }

    /// What all families have, with the rope in either spelling. Every layer sees all and is turned.
    fn base(&self, family: Family, defaults: &Defaults, switches: Switches) -> Result<DecoderConfig, String> {
        let hidden_size = self.size("hidden_size", WIDE)?;
        let heads = self.size("num_attention_heads", NARROW)?;
        let shared = self.size_or("num_key_value_heads", NARROW, heads)?;
        let head_dim = self.size_or("head_dim", NARROW, hidden_size / heads)?;
        if heads % shared != 0 {
            return Err(format!(
                "`num_attention_heads` ({heads}) is not a multiple of `num_key_value_heads` ({shared})"
            ));
        }
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(format!("`head_dim` ({head_dim}) must be even for rotary embeddings"));
        }
        let layers = self.size("num_hidden_layers", NARROW)?;
        let positions = self.size("max_position_embeddings", LONG)?;
        let theta = self.number_or("rope_theta", defaults.theta)?;
        let id = |key: &str| self.value[key].as_u64().map(|n| n as u32);
        Ok(DecoderConfig {
            family,
            vocab_size: self.size("vocab_size", LONG)?,
            hidden_size,
            intermediate_size: self.size("intermediate_size", WIDE)?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: shared,
            head_dim,
            max_position_embeddings: positions,
            rms_norm_eps: self.number_or("rms_norm_eps", defaults.epsilon)?,
            tie_word_embeddings: self.flag("tie_word_embeddings", defaults.tie),
            eos_token_ids: eos_ids(self.value)?,
            bos_token_id: id("bos_token_id"),
            pad_token_id: id("pad_token_id"),
            switches,
            rope: Rope::read(self.rope(), theta, positions)?,
            local_rope: None,
            attention: vec![Attention::PLAIN; layers],
            parts: switches.parts(),
            source: self.value.clone(),
        })
    }

    /// `rope_parameters`, or `rope_scaling` as it was called.
    fn rope(&self) -> &Value {
        let newer = &self.value["rope_parameters"];
        if newer.is_object() { newer } else { &self.value["rope_scaling"] }
    }

    /// Biases that the keys of Llama and its kin switch on.
    fn biases(&self) -> Switches {
        let attention = self.flag("attention_bias", false);
        Switches {
            qkv_bias: attention,
            output_bias: attention,
            mlp_bias: self.flag("mlp_bias", false),
            ..Switches::default()
        }
    }

    /// Gives a sliding window, where there is one, to the layers that [`Fields::windowed`] names.
    fn put_windows(
        &self,
        config: &mut DecoderConfig,
        window: Option<usize>,
        rule: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let windowed = self.windowed(config.num_hidden_layers, rule)?;
        for (attention, windowed) in config.attention.iter_mut().zip(windowed) {
            attention.window = window.filter(|_| windowed);
        }
        Ok(())
    }

    /// Which layers have a sliding window: by `layer_types`, else by a rule.
    fn windowed(&self, layers: usize, rule: impl Fn(usize) -> bool) -> Result<Vec<bool>, String> {
        match &self.value["layer_types"] {
            Value::Null => Ok((0..layers).map(rule).collect()),
            Value::Array(kinds) if kinds.len() == layers => kinds
                .iter()
                .map(|kind| match kind.as_str() {
                    Some("full_attention") => Ok(false),
                    Some("sliding_attention") => Ok(true),
                    _ => Err(format!("`layer_types` names {kind}; qstill reads full and sliding attention")),
                })
                .collect(),
            other => Err(format!("`layer_types` must be a list of {layers} names, found {other}")),
        }
    }
}

/// Tokens that end a sequence, as a `config.json` or `generation_config.json` names them.
fn eos_ids(value: &Value) -> Result<Vec<u32>, String> {
    let id = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let wrong = || format!("`eos_token_id` must be the id of a token, or a list of ids, found {value}");
        number.and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong)
    };
    match &value["eos_token_id"] {
        Value::Null => Ok(Vec::new()),
        Value::Array(ids) => ids.iter().map(id).collect(),
        one => Ok(vec![id(one)?]),
    }
}
