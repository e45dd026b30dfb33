//! Llama 2, 3 and 3.x, SmolLM2 and what else calls itself `llama` (`transformers`' `modeling_llama`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::{DecoderConfig, Family};
use crate::model::parts::Switches;

pub(super) fn read(fields: &Fields<'_>) -> Result<DecoderConfig, String> {
    fields.plain("hidden_act", &[Value::Null, "silu".into()])?;
    let bias = fields.flag("attention_bias", false);
    let switches = Switches {
        qkv_bias: bias,
        output_bias: bias,
        mlp_bias: fields.flag("mlp_bias", false),
        ..Switches::default()
    };
    let defaults = Defaults { tie: false, theta: 10_000.0, epsilon: 1e-6 };
    fields.base(Family::Llama, &defaults, switches)
}
