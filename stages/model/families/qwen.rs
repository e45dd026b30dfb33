//! Qwen2 and Qwen2.5 (biases of queries, keys and values; R1-Distill-Qwen too) and Qwen3 (norms of queries
//! and keys instead), dense models only (`transformers`' `modeling_qwen2`, `modeling_qwen3`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::limits::LONG;
use crate::model::config::{DecoderConfig, Family};
use crate::model::parts::Switches;

pub(super) fn read(fields: &Fields<'_>, family: Family) -> Result<DecoderConfig, String> {
    fields.plain("hidden_act", &[Value::Null, "silu".into()])?;
    let newer = family == Family::Qwen3;
    let bias = newer && fields.flag("attention_bias", false);
    let switches =
        Switches { qkv_bias: !newer || bias, output_bias: bias, qk_norm: newer, ..Switches::default() };
    let defaults = Defaults { tie: false, theta: 10_000.0, epsilon: 1e-6 };
    let mut config = fields.base(family, &defaults, switches)?;
    if newer && fields.value["head_dim"].is_null() {
        return Err("`head_dim` is missing".into());
    }
    if fields.flag("use_sliding_window", false) && !fields.value["sliding_window"].is_null() {
        let window = fields.size("sliding_window", LONG)?;
        let first = fields.value["max_window_layers"].as_u64().unwrap_or(28) as usize;
        fields.put_windows(&mut config, Some(window), |layer| layer >= first)?;
    }
    Ok(config)
}
