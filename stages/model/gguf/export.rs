//! A model as a GGUF file that llama.cpp computes alike. What llama.cpp does not compute for an architecture
//! is refused, not left out.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use super::names::{self, ROPE_FACTORS};
use super::pieces;
use super::shape::{LARGEST_GEMMA, rope_factors};
use super::writer::{self, Planned, Put};
use crate::events::Events;
use crate::model::config::Family;
use crate::model::gguf::blocks::Blocks;
use crate::model::rope::Scaling;
use crate::model::tensors::{Kind, Stored};
use crate::model::{DecoderConfig, ModelError, families, hf};

/// What matrices are written as; norms and biases are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F32,
    F16,
    Bf16,
    Q8_0,
}

impl Type {
    /// Of a matrix with rows of so many numbers: those that are no whole blocks are f16, as llama.cpp has it.
    fn kind(self, width: usize) -> Kind {
        match self {
            Self::F32 => Kind::F32,
            Self::Bf16 => Kind::Bf16,
            Self::Q8_0 if width.is_multiple_of(32) => Kind::Blocks(Blocks::Q8_0),
            Self::F16 | Self::Q8_0 => Kind::F16,
        }
    }

    /// llama.cpp's number for a file that is mostly of it.
    fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Bf16 => 32,
        }
    }
}

/// Whether all was written, or somebody wished to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Whole,
    Stopped,
}

/// Writes a model directory (or a GGUF file) as a GGUF file named `name`. `events` counts tensors.
///
/// # Errors
/// Those of [`hf::load`], what llama.cpp does not compute, and failed writes (`out` is named in them).
pub fn export(
    model: &Path,
    kind: Type,
    name: &str,
    out: (&Path, &mut dyn Write),
    events: &dyn Events,
) -> Result<Written, ModelError> {
    let (config, tokenizer) = hf::shape(model)?;
    let bad = |what| ModelError::Config { path: model.to_owned(), what };
    let mut metadata = general(config.family, kind, name);
    metadata.extend(shape(&config).map_err(bad)?);
    let bad = |what| ModelError::Tokenizer { path: model.to_owned(), what };
    metadata.extend(pieces::metadata(&tokenizer, &config).map_err(bad)?);
    hf::with_tensors(model, |tensors, (path, _)| {
        let plan = plan(&config, tensors, kind);
        let plan = plan.map_err(|what| ModelError::Weights { path: path.to_owned(), what })?;
        events.expect(plan.len() as u64);
        let (place, out) = out;
        let failed = |source: io::Error| ModelError::Io { path: place.to_owned(), source };
        let planned: Vec<Planned> = plan.iter().map(|(planned, _)| planned.clone()).collect();
        writer::header(out, &metadata, &planned).map_err(failed)?;
        for (planned, numbers) in &plan {
            if events.cancelled() {
                return Ok(Written::Stopped);
            }
            let named = |what| {
                let what = format!("tensor `{}` {what}", planned.name);
                ModelError::Weights { path: path.to_owned(), what }
            };
            for row in 0..numbers.rows() {
                let bytes = numbers.row(row, planned.kind).map_err(named)?;
                out.write_all(&bytes).map_err(failed)?;
            }
            writer::padding(out, planned).map_err(failed)?;
            events.advance(1, 0, 0);
        }
        Ok(Written::Whole)
    })
}

fn general(family: Family, kind: Type, name: &str) -> Vec<(String, Put)> {
    let text = |text: &str| Put::Text(text.to_owned());
    [
        ("architecture", text(names::architecture(family))),
        ("type", text("model")),
        ("name", text(name)),
        ("file_type", Put::U32(kind.number())),
        ("quantization_version", Put::U32(2)),
    ]
    .map(|(key, value)| (format!("general.{key}"), value))
    .into()
}

/// The keys of an architecture.
fn shape(c: &DecoderConfig) -> Result<Vec<(String, Put)>, String> {
    let name = names::architecture(c.family);
    let size = |size: usize| Put::U32(size as u32);
    let mut all = vec![
        ("block_count", size(c.num_hidden_layers)),
        ("context_length", size(c.max_position_embeddings)),
        ("embedding_length", size(c.hidden_size)),
        ("feed_forward_length", size(c.intermediate_size)),
        ("attention.head_count", size(c.num_attention_heads)),
        ("attention.head_count_kv", size(c.num_key_value_heads)),
        ("attention.key_length", size(c.head_dim)),
        ("attention.value_length", size(c.head_dim)),
        ("attention.layer_norm_rms_epsilon", Put::F32(c.rms_norm_eps as f32)),
        ("rope.dimension_count", size(c.head_dim)),
        ("rope.freq_base", Put::F32(c.rope.theta as f32)),
        ("vocab_size", size(c.vocab_size)),
    ];
    let cannot = |what: &str| Err(format!("{what}, which llama.cpp does not compute for `{name}`"));
    let text = |text: &str| Put::Text(text.to_owned());
    match c.rope.scaling {
        Scaling::None => {}
        Scaling::Linear { factor } => {
            all.push(("rope.scaling.type", text("linear")));
            all.push(("rope.scaling.factor", Put::F32(factor as f32)));
        }
        Scaling::Llama3 { .. } if name == "llama" => {}
        Scaling::Llama3 { .. } => return cannot("has RoPE scaling `llama3`"),
        Scaling::Yarn { factor, fast, slow, original, truncate, attention } => {
            if !truncate || (attention - (0.1 * factor.ln() + 1.0)).abs() > 1e-6 {
                return cannot("has a `truncate` or an attention factor of YaRN's own");
            }
            all.push(("rope.scaling.type", text("yarn")));
            all.push(("rope.scaling.factor", Put::F32(factor as f32)));
            all.push(("rope.scaling.original_context_length", size(original as usize)));
            if (fast, slow) != (32.0, 1.0) {
                all.push(("rope.scaling.yarn_beta_fast", Put::F32(fast as f32)));
                all.push(("rope.scaling.yarn_beta_slow", Put::F32(slow as f32)));
            }
        }
    }
    let s = &c.switches;
    let biased = s.qkv_bias || s.output_bias || s.mlp_bias;
    if biased && !matches!(c.family, Family::Llama | Family::Qwen2 | Family::SmolLm3) {
        return cannot("has biases");
    }
    let windows: Vec<Option<usize>> = c.attention.iter().map(|layer| layer.window).collect();
    if c.family == Family::Gemma3 {
        gemma(c, &windows, &mut all)?;
    } else if let Some(window) = windows.iter().flatten().next() {
        return cannot(&format!("has a sliding window of {window} tokens"));
    }
    let turned = |layer: usize| c.family != Family::SmolLm3 || !(layer + 1).is_multiple_of(4);
    if c.attention.iter().enumerate().any(|(layer, attention)| attention.rotary != turned(layer)) {
        return cannot("has other layers without rotary positions than each fourth");
    }
    Ok(all.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)).collect())
}

/// Gemma's windows, and the rope of the layers that have one.
fn gemma(
    c: &DecoderConfig,
    windows: &[Option<usize>],
    all: &mut Vec<(&'static str, Put)>,
) -> Result<(), String> {
    let size = c.switches.query_scale.unwrap_or(0.0);
    let divided =
        if c.num_hidden_layers == LARGEST_GEMMA { c.hidden_size / c.num_attention_heads } else { c.head_dim };
    if (size - divided as f32).abs() > 1e-3 {
        return Err(format!(
            "`query_pre_attn_scalar` is {size}; llama.cpp computes {divided} for this shape"
        ));
    }
    let window = windows.iter().flatten().next().copied().unwrap_or(0);
    let layers = c.num_hidden_layers;
    let every = (1..=layers + 1).find(|every| {
        (0..layers).all(|layer| windows[layer] == Some(window).filter(|_| (layer + 1) % every != 0))
    });
    let Some(every) = every else {
        return Err("has global layers that are not each n-th, which llama.cpp does not compute".to_owned());
    };
    all.push(("attention.sliding_window", Put::U32(window as u32)));
    all.push(("attention.sliding_window_pattern", Put::U32(every as u32)));
    if let Some(local) = &c.local_rope {
        if local.scaling != Scaling::None {
            return Err("has RoPE scaling in its local layers, which llama.cpp does not compute".to_owned());
        }
        all.push(("rope.freq_base_swa", Put::F32(local.theta as f32)));
    }
    Ok(())
}

/// The numbers of a tensor that is to be written.
enum Numbers<'a> {
    /// Rows of a matrix in the order in which they are written, and what they are.
    Rows(Vec<&'a [u8]>, Kind),
    /// A vector.
    Own(Vec<f32>),
}

impl Numbers<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Rows(rows, _) => rows.len(),
            Self::Own(_) => 1,
        }
    }

    /// The bytes of a row. The error says what is wrong with the tensor.
    fn row(&self, row: usize, kind: Kind) -> Result<Vec<u8>, String> {
        let mut numbers = Vec::new();
        match self {
            Self::Rows(rows, from) => {
                if *from == kind {
                    return Ok(rows[row].to_vec());
                }
                from.read(rows[row], &mut numbers);
            }
            Self::Own(own) => numbers.clone_from(own),
        }
        // Blocks of Q8_0 have a scale in f16, which 127 divides.
        let most = match kind {
            Kind::F32 | Kind::Bf16 => f32::MAX,
            Kind::F16 => 65_504.0,
            Kind::Blocks(_) => 65_504.0 * 127.0,
        };
        if let Some(number) = numbers.iter().find(|number| !number.is_finite() || number.abs() > most) {
            return Err(format!("contains {number}, which its type does not hold; write bf16 or f32"));
        }
        let mut bytes = Vec::new();
        writer::encode(kind, &numbers, &mut bytes);
        Ok(bytes)
    }
}

/// The tensors of a file in order. The error says what is wrong with them.
fn plan<'a>(
    c: &DecoderConfig,
    mut tensors: BTreeMap<String, Stored<'a>>,
    kind: Type,
) -> Result<Vec<(Planned, Numbers<'a>)>, String> {
    let prefix = if tensors.contains_key("embed_tokens.weight") { "model." } else { "" };
    let heads = [c.num_attention_heads, c.num_key_value_heads];
    let mut all = Vec::new();
    if let Scaling::Llama3 { .. } = c.rope.scaling {
        let factors: Vec<f32> =
            rope_factors(&c.rope, c.head_dim).into_iter().map(|factor| factor as f32).collect();
        let planned = Planned { name: ROPE_FACTORS.to_owned(), shape: vec![factors.len()], kind: Kind::F32 };
        all.push((planned, Numbers::Own(factors)));
    }
    for (name, shape) in families::all_tensors(c) {
        let found = tensors.remove(name.strip_prefix(prefix).unwrap_or(&name));
        let stored = found.ok_or_else(|| format!("lacks tensor `{name}`"))?;
        if stored.shape != shape {
            return Err(format!(
                "tensor `{name}` has shape {:?}, config.json implies {shape:?}",
                stored.shape
            ));
        }
        let own = names::of_file(&name, c.family)
            .ok_or_else(|| format!("has a tensor `{name}`, for which llama.cpp has no place"))?;
        let heads = names::paired_heads(&name, c.family, heads);
        let add = if c.switches.norm_less_1 && name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let numbers = if let [_, width] = shape[..] {
            let rows: Vec<&[u8]> = stored.rows().collect();
            (kind.kind(width), Numbers::Rows(paired(rows, heads), stored.kind))
        } else {
            (Kind::F32, Numbers::Own(paired(stored.floats_plus(add), heads)))
        };
        all.push((Planned { name: own, shape, kind: numbers.0 }, numbers.1));
    }
    if c.tie_word_embeddings {
        tensors.remove("lm_head.weight");
    }
    match tensors.keys().next() {
        Some(name) => Err(format!("has a tensor `{name}`, which its config.json does not imply")),
        None => Ok(all),
    }
}

/// Rows (or numbers) of heads in pairs of what turns together.
fn paired<T: Copy>(rows: Vec<T>, heads: Option<usize>) -> Vec<T> {
    let Some(heads) = heads else { return rows };
    let head = rows.len() / heads;
    let of = |row: usize| rows[row - row % head + row % head % 2 * (head / 2) + row % head / 2];
    (0..rows.len()).map(of).collect()
}
