//! Which matrices training changes: all, all but some, or low-rank adapters beside frozen ones (LoRA, arXiv
//! 2106.09685).
//!
//! An adapter stands for W + (alpha / rank) B A, with A `[rank, in]` drawn as PEFT draws it (Kaiming uniform,
//! a = √5: uniform within 1/√in) and B `[out, rank]` zero. On the CPU adapters are computed beside their
//! weights, which need no gradient. On a GPU the decoder runs on the sum, which spares launches, and
//! gradients follow from that of the sum G: dB = s G Aᵀ, dA = s Bᵀ G.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Result;
use rand::RngExt;
use serde_json::json;

use super::config::TrainConfig;
use super::optimizer::{Adam, Slot};
use super::value::HeadConfig;
use crate::model::cpu::low_rank::LowRank;
use crate::model::parts::Part;
use crate::model::{DecoderConfig, ModelError, tensors};

/// Names of adapted matrices, as in `transformers` and PEFT.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
/// Names of what may be frozen.
pub const FREEZABLE: [&str; 5] = ["embed", "head", "norms", "attention", "mlp"];

/// A low-rank change of some rows of a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// Place in [`crate::model::Decoder::weights`].
    pub weight: usize,
    /// Rows of that weight: queries, keys and values are one matrix, as are gate and up.
    pub rows: Range<usize>,
    pub columns: usize,
    /// As PEFT names it: `model.layers.0.self_attn.q_proj`.
    pub name: String,
}

/// What training changes.
#[derive(Clone, Debug)]
pub enum Tuned {
    /// For each weight in the order of [`crate::model::Decoder::weights`] whether it changes.
    Weights(Vec<bool>),
    /// Adapters, each a pair A, B; `scale` is alpha / rank.
    Adapters { adapters: Vec<Adapter>, rank: usize, scale: f32, seed: u64 },
}

impl Tuned {
    /// All weights.
    pub fn all(config: &DecoderConfig) -> Self {
        Self::Weights(vec![true; config.weights()])
    }

    /// What `[train]` asks for.
    ///
    /// # Errors
    /// Names a target or a part that does not exist, and settings that leave nothing to train.
    pub fn of(train: &TrainConfig, config: &DecoderConfig, seed: u64) -> Result<Self> {
        let tuned = Self::beside_head(train, config, seed)?;
        ensure!(tuned.any(), "train.freeze and train.freeze_layers leave nothing to train");
        Ok(tuned)
    }

    /// What `[train]` asks for where a value head is trained too: all of the decoder may be frozen.
    ///
    /// # Errors
    /// Names a target or a part that does not exist, and adapters that stand nowhere.
    pub fn beside_head(train: &TrainConfig, config: &DecoderConfig, seed: u64) -> Result<Self> {
        if train.lora_rank > 0 {
            for target in &train.lora_targets {
                ensure!(
                    TARGETS.contains(&target.as_str()),
                    "train.lora_targets names `{target}`; known: {}",
                    TARGETS.join(", ")
                );
            }
            ensure!(!train.lora_targets.is_empty(), "train.lora_targets is empty: nothing would be trained");
            ensure!(train.lora_alpha > 0.0, "train.lora_alpha must be positive");
            let adapters =
                adapters(config, |name| train.lora_targets.iter().any(|t| t == name), train.freeze_layers);
            ensure!(
                !adapters.is_empty(),
                "train.freeze_layers ({}) leaves no layer to train",
                train.freeze_layers
            );
            return Ok(Self::Adapters {
                adapters,
                rank: train.lora_rank,
                scale: (train.lora_alpha / train.lora_rank as f64) as f32,
                seed,
            });
        }
        for part in &train.freeze {
            ensure!(
                FREEZABLE.contains(&part.as_str()),
                "train.freeze names `{part}`; known: {}",
                FREEZABLE.join(", ")
            );
        }
        let frozen = |name: &str| train.freeze.iter().any(|f| f == name);
        let mut tuned = vec![!frozen("embed")];
        for layer in 0..config.num_hidden_layers {
            let open = layer >= train.freeze_layers;
            let (attention, mlp, norms) =
                (open && !frozen("attention"), open && !frozen("mlp"), open && !frozen("norms"));
            tuned.extend(config.parts.iter().map(|part| match part {
                part if part.is_norm() => norms,
                part if part.of_attention() => attention,
                _ => mlp,
            }));
        }
        tuned.push(!frozen("norms"));
        if !config.tie_word_embeddings {
            tuned.push(!frozen("head"));
        }
        Ok(Self::Weights(tuned))
    }

    /// Whether anything of the decoder changes.
    pub fn any(&self) -> bool {
        match self {
            Self::Weights(tuned) => tuned.contains(&true),
            Self::Adapters { adapters, .. } => !adapters.is_empty(),
        }
    }

    /// Whether a gradient of this weight is needed.
    pub fn needs(&self, weight: usize) -> bool {
        match self {
            Self::Weights(tuned) => tuned[weight],
            Self::Adapters { adapters, .. } => adapters.iter().any(|a| a.weight == weight),
        }
    }

    /// The adapters, with their first values, as the CPU runs them.
    pub fn low_rank(&self) -> Vec<LowRank> {
        let Self::Adapters { adapters, rank, scale, .. } = self else { return Vec::new() };
        let mut values = self.first_values().into_iter().map(|(_, values)| values);
        let own = |adapter: &Adapter| {
            let (a, b) = (values.next()?, values.next()?);
            let (weight, rows) = (adapter.weight, adapter.rows.clone());
            Some(LowRank { weight, rows, a, b, rank: *rank, scale: *scale })
        };
        adapters.iter().filter_map(own).collect()
    }

    /// First values of the adapters' matrices: A, B, A, B, …
    pub fn first_values(&self) -> Vec<([usize; 2], Vec<f32>)> {
        let Self::Adapters { adapters, rank, seed, .. } = self else { return Vec::new() };
        adapters
            .iter()
            .flat_map(|adapter| {
                let mut rng =
                    datasets::key::rng(&["adapter".into(), (*seed).into(), adapter.name.as_str().into()]);
                let bound = 1.0 / (adapter.columns as f32).sqrt();
                let a =
                    (0..rank * adapter.columns).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect();
                let height = adapter.rows.len();
                [([*rank, adapter.columns], a), ([height, *rank], vec![0.0; height * rank])]
            })
            .collect()
    }
}

/// What of a decoder is trained, and how.
#[derive(Clone, Debug)]
pub struct Setup {
    /// With nothing wanted the decoder stays as it is and no backward pass goes through it.
    pub tuned: Tuned,
    pub adam: Adam,
    /// Keep less of the forward pass, and compute it again.
    pub recompute: bool,
    /// A value head on the decoder.
    pub head: Option<HeadConfig>,
}

fn adapters(config: &DecoderConfig, wanted: impl Fn(&str) -> bool, first: usize) -> Vec<Adapter> {
    let c = config;
    let (query, shared) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let parts = [
        ("self_attn", "q_proj", Part::Qkv, 0..query, c.hidden_size),
        ("self_attn", "k_proj", Part::Qkv, query..query + shared, c.hidden_size),
        ("self_attn", "v_proj", Part::Qkv, query + shared..query + 2 * shared, c.hidden_size),
        ("self_attn", "o_proj", Part::Output, 0..c.hidden_size, query),
        ("mlp", "gate_proj", Part::GateUp, 0..c.intermediate_size, c.hidden_size),
        ("mlp", "up_proj", Part::GateUp, c.intermediate_size..2 * c.intermediate_size, c.hidden_size),
        ("mlp", "down_proj", Part::Down, 0..c.hidden_size, c.intermediate_size),
    ];
    (first..c.num_hidden_layers)
        .flat_map(|layer| parts.iter().map(move |part| (layer, part)))
        .filter(|(_, part)| wanted(part.1))
        .filter_map(|(layer, (group, name, part, rows, columns))| {
            Some(Adapter {
                weight: config.index(layer, *part)?,
                rows: rows.clone(),
                columns: *columns,
                name: format!("model.layers.{layer}.{group}.{name}"),
            })
        })
        .collect()
}

/// Adapters as PEFT reads them: `adapter_config.json` and `adapter_model.safetensors`.
///
/// # Errors
/// If the tensors cannot be encoded.
pub fn peft_files(
    adapters: &[(Adapter, Slot, Slot)],
    train: &TrainConfig,
    base: &str,
) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
    let layers: BTreeSet<usize> = adapters.iter().filter_map(|(a, ..)| layer_of(&a.name)).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": train.lora_rank,
        "lora_alpha": train.lora_alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "target_modules": train.lora_targets,
        "layers_to_transform": (train.freeze_layers > 0).then_some(layers),
    });
    let names: Vec<(String, &Slot)> = adapters
        .iter()
        .flat_map(|(adapter, a, b)| {
            let name = |side: &str| format!("base_model.model.{}.lora_{side}.weight", adapter.name);
            [(name("A"), a), (name("B"), b)]
        })
        .collect();
    let tensors: Vec<(&str, &[usize], &[f32])> = names
        .iter()
        .map(|(name, slot)| (name.as_str(), slot.shape.as_slice(), slot.values.as_slice()))
        .collect();
    let mut text = serde_json::to_string_pretty(&config).unwrap_or_default();
    text.push('\n');
    Ok(vec![
        ("adapter_config.json".into(), text.into_bytes()),
        ("adapter_model.safetensors".into(), tensors::write(&tensors)?),
    ])
}

fn layer_of(name: &str) -> Option<usize> {
    name.split('.').nth(2)?.parse().ok()
}
