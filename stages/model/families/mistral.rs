//! Mistral: Llama with a sliding window, where there is one (`transformers`' `modeling_mistral`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::limits::LONG;
use crate::model::config::{DecoderConfig, Family};
use crate::model::parts::Switches;

pub(super) fn read(fields: &Fields<'_>) -> Result<DecoderConfig, String> {
    fields.plain("hidden_act", &[Value::Null, "silu".into()])?;
    let defaults = Defaults { tie: false, theta: 10_000.0, epsilon: 1e-6 };
    let mut config = fields.base(Family::Mistral, &defaults, Switches::default())?;
    if !fields.value["sliding_window"].is_null() {
        let window = fields.size("sliding_window", LONG)?;
        config.attention.iter_mut().for_each(|attention| attention.window = Some(window));
    }
    Ok(config)
}
