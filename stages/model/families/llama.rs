//! Llama 2, 3 and 3.x, SmolLM2 and what else calls itself `llama` (`transformers`' `modeling_llama`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::{DecoderConfig, Family};

pub(super) fn read(fields: &Fields<'_>) -> Result<DecoderConfig, String> {
    fields.plain("hidden_act", &[Value::Null, "silu".into()])?;
    let defaults = Defaults { tie: false, theta: 10_000.0, epsilon: 1e-6 };
    fields.base(Family::Llama, &defaults, fields.biases())
}
