//! The metadata of a GGUF file as the `config.json` that a Hugging Face directory of the same model has, so
//! that families are read in one place.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{self, ROPE_FACTORS};
use super::reader::{Contents, Meta};
use crate::model::config::Family;
use crate::model::rope::{Rope, Scaling};

/// Layers of Gemma 3 27B, whose attention scores llama.cpp divides by another size than that of a head.
pub const LARGEST_GEMMA: usize = 62;

/// The family of a file.
///
/// # Errors
/// An architecture that is not read.
pub fn family(contents: &Contents<'_>) -> Result<Family, String> {
    let kind = contents.text("general.type")?.unwrap_or("model");
    if kind != "model" {
        return Err(format!("`general.type` is `{kind}`; qstill reads whole models"));
    }
    let name = contents.text("general.architecture")?.unwrap_or_default();
    let found = names::ARCHITECTURES.iter().find(|(known, _)| *known == name);
    found.map(|(_, family)| *family).ok_or_else(|| {
        let known = names::ARCHITECTURES.map(|(known, _)| known).join(", ");
        format!("`general.architecture` is `{name}`; qstill reads {known}")
    })
}

/// Keys of an architecture, each of which is asked for once. What is left over is not passed over.
struct Keys<'a> {
    contents: &'a Contents<'a>,
    name: &'static str,
    seen: BTreeSet<String>,
}

impl Keys<'_> {
    fn key(&mut self, key: &str) -> String {
        let key = format!("{}.{key}", self.name);
        self.seen.insert(key.clone());
        key
    }

    fn size(&mut self, key: &str) -> Result<Option<usize>, String> {
        let key = self.key(key);
        Ok(self.contents.integer(&key)?.map(|number| number as usize))
    }

    fn needed(&mut self, key: &str) -> Result<usize, String> {
        self.size(key)?.ok_or_else(|| format!("lacks the key `{}.{key}`", self.name))
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>, String> {
        let key = self.key(key);
        self.contents.number(&key)
    }

    /// A size that some files give for each layer; all must be the same.
    fn size_of_layers(&mut self, key: &str) -> Result<Option<usize>, String> {
        let full = self.key(key);
        if !matches!(self.contents.metadata.get(full.as_str()), Some(Meta::List(_))) {
            return self.size(key);
        }
        let all = self.contents.list(&full, |value| match value {
            Meta::Integer(size) => usize::try_from(*size).ok(),
            _ => None,
        })?;
        match all.first() {
            Some(first) if all.iter().all(|size| size == first) => Ok(Some(*first)),
            _ => Err(format!("`{full}` differs between layers; qstill reads models whose layers are alike")),
        }
    }

    /// Refuses a key that has another value than the one that changes nothing.
    fn nothing(&mut self, key: &str, value: f64) -> Result<(), String> {
        let full = self.key(key);
        match self.contents.number(&full)? {
            Some(found) if (found - value).abs() > 1e-9 => {
                Err(format!("`{full}` is {found}; qstill reads models where it is {value}"))
            }
            _ => Ok(()),
        }
    }

    fn no_others(&self) -> Result<(), String> {
        let prefix = format!("{}.", self.name);
        let mut own = self.contents.metadata.keys().filter(|key| key.starts_with(&prefix));
        match own.find(|key| !self.seen.contains(**key)) {
            Some(key) => Err(format!(
                "has the key `{key}`, which qstill does not read; it might compute something else without it"
            )),
            None => Ok(()),
        }
    }
}

/// The `config.json` of a file.
///
/// # Errors
/// Keys that are missing, of another kind, or not read.
pub fn config(contents: &Contents<'_>) -> Result<Value, String> {
    let family = family(contents)?;
    let has = |name: &str| contents.tensors.contains_key(name);
    let name = names::architecture(family);
    let mut keys = Keys { contents, name, seen: BTreeSet::new() };
    let hidden = keys.needed("embedding_length")?;
    let layers = keys.needed("block_count")?;
    let positions = keys.needed("context_length")?;
    let inner = keys.size_of_layers("feed_forward_length")?;
    let heads = keys.size_of_layers("attention.head_count")?.filter(|heads| *heads > 0);
    let (Some(inner), Some(heads)) = (inner, heads) else {
        return Err(format!("lacks the key `{name}.feed_forward_length` or `{name}.attention.head_count`"));
    };
    let shared = keys.size_of_layers("attention.head_count_kv")?.unwrap_or(heads);
    let size = keys.size("attention.key_length")?.unwrap_or(hidden / heads);
    for other in ["attention.value_length", "rope.dimension_count"] {
        if keys.size(other)?.is_some_and(|other| other != size) {
            return Err(format!("`{name}.{other}` is not the size of a head of keys, {size}"));
        }
    }
    let epsilon = keys.number("attention.layer_norm_rms_epsilon")?;
    let epsilon = epsilon.ok_or_else(|| format!("lacks `{name}.attention.layer_norm_rms_epsilon`"))?;
    for none in ["expert_count", "expert_used_count", "attn_logit_softcapping", "final_logit_softcapping"] {
        keys.nothing(none, 0.0)?;
    }
    keys.seen.insert(format!("{name}.vocab_size"));
    let table = contents.tensors.get("token_embd.weight").ok_or("lacks tensor `token_embd.weight`")?;
    let mut config = json!({
        "architectures": [architecture(family)],
        "model_type": family.model_type(),
        "vocab_size": table.shape[0],
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "head_dim": size,
        "max_position_embeddings": positions,
        "rms_norm_eps": epsilon,
        "rope_theta": keys.number("rope.freq_base")?.unwrap_or(10_000.0),
        "tie_word_embeddings": !has("output.weight"),
        "torch_dtype": "float32",
    });
    let scaling = scaling(&mut keys, &config)?;
    if !scaling.is_null() {
        config["rope_scaling"] = scaling;
    }
    match family {
        Family::Gemma3 => {
            config["hidden_activation"] = json!("gelu_pytorch_tanh");
            config["query_pre_attn_scalar"] =
                json!(if layers == LARGEST_GEMMA { hidden / heads } else { size });
            config["rope_local_base_freq"] = json!(keys.number("rope.freq_base_swa")?.unwrap_or(10_000.0));
            windows(&mut keys, &mut config, layers)?;
        }
        _ => {
            config["hidden_act"] = json!("silu");
            keys.nothing("attention.sliding_window", 0.0)?;
        }
    }
    if family != Family::Qwen2 {
        config["attention_bias"] = json!(has("blk.0.attn_q.bias"));
        config["mlp_bias"] = json!(has("blk.0.ffn_gate.bias"));
    }
    if family == Family::SmolLm3 {
        config["no_rope_layer_interval"] = json!(4);
    }
    keys.no_others()?;
    Ok(config)
}

/// The name that `transformers` has for a family's model.
fn architecture(family: Family) -> &'static str {
    match family {
        Family::Llama => "LlamaForCausalLM",
        Family::Qwen2 => "Qwen2ForCausalLM",
        Family::Qwen3 => "Qwen3ForCausalLM",
        Family::Mistral => "MistralForCausalLM",
        Family::SmolLm3 => "SmolLM3ForCausalLM",
        Family::Gemma3 => "Gemma3ForCausalLM",
    }
}

/// Which layers of Gemma have a window: all but each sixth, unless the file says otherwise.
fn windows(keys: &mut Keys<'_>, config: &mut Value, layers: usize) -> Result<(), String> {
    let window = keys.size("attention.sliding_window")?.unwrap_or(0);
    let pattern = keys.key("attention.sliding_window_pattern");
    let local: Vec<bool> = match keys.contents.metadata.get(pattern.as_str()) {
        Some(Meta::List(_)) => {
            let flags = keys.contents.list(&pattern, |value| match value {
                Meta::Flag(flag) => Some(*flag),
                Meta::Integer(number) => Some(*number != 0),
                _ => None,
            })?;
            if flags.len() != layers {
                return Err(format!("`{pattern}` has {} values for {layers} layers", flags.len()));
            }
            flags
        }
        _ => {
            let every = keys.contents.integer(&pattern)?.unwrap_or(6).max(1) as usize;
            (0..layers.min(1 << 20)).map(|layer| (layer + 1) % every != 0).collect()
        }
    };
    let name = |local: &bool| if *local && window > 0 { "sliding_attention" } else { "full_attention" };
    config["layer_types"] = local.iter().map(name).collect();
    config["sliding_window"] = json!(window.max(1));
    Ok(())
}

/// The `rope_scaling` of a file; null for none.
fn scaling(keys: &mut Keys<'_>, config: &Value) -> Result<Value, String> {
    let key = keys.key("rope.scaling.type");
    let kind = keys.contents.text(&key)?;
    // An older spelling of `linear`.
    let older = keys.number("rope.scale_linear")?;
    let factor = keys.number("rope.scaling.factor")?.or(older).filter(|factor| (factor - 1.0).abs() > 1e-9);
    let original = keys.number("rope.scaling.original_context_length")?;
    keys.seen.insert(format!("{}.rope.scaling.finetuned", keys.name));
    for (key, value) in [("attn_factor", 1.0), ("yarn_ext_factor", 1.0), ("yarn_attn_factor", 1.0)] {
        keys.nothing(&format!("rope.scaling.{key}"), value)?;
    }
    let (fast, slow) =
        (keys.number("rope.scaling.yarn_beta_fast")?, keys.number("rope.scaling.yarn_beta_slow")?);
    if let Some(factors) = keys.contents.tensors.get(ROPE_FACTORS) {
        if kind.is_some_and(|kind| kind != "none") {
            return Err(format!(
                "has both `{key}` and the tensor `{ROPE_FACTORS}`; qstill reads one of them"
            ));
        }
        return llama3(&factors.floats(), config);
    }
    let positions = config["max_position_embeddings"].clone();
    match (kind, factor) {
        (None | Some("none" | "linear"), None) => Ok(Value::Null),
        (None | Some("linear"), Some(factor)) => Ok(json!({"rope_type": "linear", "factor": factor})),
        (Some("yarn"), Some(factor)) => Ok(json!({
            "rope_type": "yarn", "factor": factor,
            "original_max_position_embeddings": original.map_or(positions, |original| json!(original as u64)),
            "beta_fast": fast.unwrap_or(32.0), "beta_slow": slow.unwrap_or(1.0),
        })),
        (kind, factor) => Err(format!(
            "`{key}` is {kind:?} with factor {factor:?}; qstill reads none, linear, and yarn with a factor"
        )),
    }
}

/// Llama 3's scaling that gives these factors of wavelengths. A file has them and not what they follow from.
fn llama3(factors: &[f32], config: &Value) -> Result<Value, String> {
    let size = config["head_dim"].as_u64().unwrap_or(0) as usize;
    let theta = config["rope_theta"].as_f64().unwrap_or(1.0);
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    if factors.len() == size / 2 && size > 0 {
        if factor <= 1.0 {
            return Ok(Value::Null);
        }
        // Most models stretch 8192.
        for original in [13].into_iter().chain(3..=24).map(|bits| f64::from(1u32 << bits)) {
            let rope = Rope { theta, scaling: Scaling::Llama3 { factor, low: 1.0, high: 4.0, original } };
            let same = |(a, b): (&f32, f64)| (f64::from(*a) / b - 1.0).abs() < 1e-4;
            if factors.iter().zip(rope_factors(&rope, size)).all(same) {
                return Ok(json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": original as u64,
                }));
            }
        }
    }
    Err(format!("tensor `{ROPE_FACTORS}` has other factors than Llama 3's scaling gives for heads of {size}"))
}

/// By what a scaling divides the frequencies of a rope.
pub fn rope_factors(rope: &Rope, size: usize) -> Vec<f64> {
    let plain = Rope::plain(rope.theta).frequencies(size).0;
    plain.iter().zip(rope.frequencies(size).0).map(|(plain, scaled)| plain / scaled).collect()
}
