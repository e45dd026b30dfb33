//! SmolLM3: every fourth layer has no rotary positions (`transformers`' `modeling_smollm3`).

use serde_json::Value;

use super::{Defaults, Fields};
use crate::model::config::limits::LONG;
use crate::model::config::{DecoderConfig, Family};

pub(super) fn read(fields: &Fields<'_>) -> Result<DecoderConfig, String> {
    fields.plain("hidden_act", &[Value::Null, "silu".into()])?;
    let defaults = Defaults { tie: true, theta: 2_000_000.0, epsilon: 1e-6 };
    let mut config = fields.base(Family::SmolLm3, &defaults, fields.biases())?;
    let layers = config.num_hidden_layers;
    let turned: Vec<bool> = match &fields.value["no_rope_layers"] {
        Value::Null => {
            let every = fields.size_or("no_rope_layer_interval", LONG, 4)?;
            (0..layers).map(|layer| (layer + 1) % every != 0).collect()
        }
        // Despite its name it says which layers are turned.
        Value::Array(flags) if flags.len() == layers => {
            flags.iter().map(|flag| flag.as_u64() != Some(0) && *flag != Value::Bool(false)).collect()
        }
        other => return Err(format!("`no_rope_layers` must be a list of {layers} numbers, found {other}")),
    };
    let sliding = fields.flag("use_sliding_window", false) && !fields.value["sliding_window"].is_null();
    let window = if sliding { Some(fields.size("sliding_window", LONG)?) } else { None };
    fields.put_windows(&mut config, window, |layer| sliding && turned[layer])?;
    for (attention, turned) in config.attention.iter_mut().zip(turned) {
        attention.rotary = turned;
    }
    Ok(config)
}
