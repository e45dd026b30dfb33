//! Gemma 3, text only: norms before and after attention and MLP, stored less 1, norms of queries and keys,
//! GELU, scaled embeddings, and local layers with a window and a rope of their own between global ones
//! (`transformers`' `modeling_gemma3`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::limits::LONG;
use crate::model::config::{DecoderConfig, Family};
use crate::model::parts::{Activation, Part, Switches};
use crate::model::rope::Rope;

/// Names of norms that differ from Llama's.
pub(super) fn norm(part: Part) -> Option<&'static str> {
    match part {
        Part::PostAttentionNorm => Some("post_attention_layernorm.weight"),
        Part::MlpNorm => Some("pre_feedforward_layernorm.weight"),
        Part::PostMlpNorm => Some("post_feedforward_layernorm.weight"),
        _ => None,
    }
}

pub(super) fn read(fields: &Fields<'_>) -> Result<DecoderConfig, String> {
    let gelu = [Value::Null, "gelu_pytorch_tanh".into()];
    fields.plain("hidden_activation", &gelu)?;
    fields.plain("attn_logit_softcapping", &[Value::Null])?;
    fields.plain("final_logit_softcapping", &[Value::Null])?;
    fields.plain("use_bidirectional_attention", &[Value::Null, false.into()])?;
    let bias = fields.flag("attention_bias", false);
    let switches = Switches {
        qkv_bias: bias,
        output_bias: bias,
        qk_norm: true,
        post_norms: true,
        activation: Activation::Gelu,
        embed_scale: Some((fields.size("hidden_size", LONG)? as f32).sqrt()),
        query_scale: Some(fields.number_or("query_pre_attn_scalar", 256.0)? as f32),
        norm_less_1: true,
        ..Switches::default()
    };
    let defaults = Defaults { tie: true, theta: 1_000_000.0, epsilon: 1e-6 };
    let mut config = fields.base(Family::Gemma3, &defaults, switches)?;
    let positions = config.max_position_embeddings;
    // Newer files have a rope for each kind of layer.
    let ropes = &fields.value["rope_parameters"];
    if ropes["full_attention"].is_object() {
        config.rope = Rope::read(&ropes["full_attention"], defaults.theta, positions)?;
    }
    config.local_rope = Some(if ropes["sliding_attention"].is_object() {
        Rope::read(&ropes["sliding_attention"], 10_000.0, positions)?
    } else {
        Rope::plain(fields.number_or("rope_local_base_freq", 10_000.0)?)
    });
    let window = fields.size_or("sliding_window", LONG, 4096)?;
    let every = fields.size_or("sliding_window_pattern", LONG, 6)?;
    fields.put_windows(&mut config, Some(window), |layer| (layer + 1) % every != 0)?;
    Ok(config)
}
