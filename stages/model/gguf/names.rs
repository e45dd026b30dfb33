//! What llama.cpp calls the tensors of a layer, and how they differ from those of a Hugging Face directory.

use crate::model::config::Family;

/// Names below `model.layers.N.`, and below `blk.N.`.
const LAYER: [(&str, &str); 14] = [
    ("input_layernorm.weight", "attn_norm.weight"),
    ("self_attn.q_proj.weight", "attn_q.weight"),
    ("self_attn.k_proj.weight", "attn_k.weight"),
    ("self_attn.v_proj.weight", "attn_v.weight"),
    ("self_attn.q_proj.bias", "attn_q.bias"),
    ("self_attn.k_proj.bias", "attn_k.bias"),
    ("self_attn.v_proj.bias", "attn_v.bias"),
    ("self_attn.q_norm.weight", "attn_q_norm.weight"),
    ("self_attn.k_norm.weight", "attn_k_norm.weight"),
    ("self_attn.o_proj.weight", "attn_output.weight"),
    ("self_attn.o_proj.bias", "attn_output.bias"),
    ("mlp.gate_proj.weight", "ffn_gate.weight"),
    ("mlp.up_proj.weight", "ffn_up.weight"),
    ("mlp.down_proj.weight", "ffn_down.weight"),
];

/// Biases of the MLP, which only Llama and SmolLM3 may have.
const BIASES: [(&str, &str); 3] = [
    ("mlp.gate_proj.bias", "ffn_gate.bias"),
    ("mlp.up_proj.bias", "ffn_up.bias"),
    ("mlp.down_proj.bias", "ffn_down.bias"),
];

/// The norm before the MLP, and Gemma's around attention and MLP.
const LLAMA: [(&str, &str); 1] = [("post_attention_layernorm.weight", "ffn_norm.weight")];
const GEMMA: [(&str, &str); 3] = [
    ("post_attention_layernorm.weight", "post_attention_norm.weight"),
    ("pre_feedforward_layernorm.weight", "ffn_norm.weight"),
    ("post_feedforward_layernorm.weight", "post_ffw_norm.weight"),
];

/// Tensors outside of layers.
const OTHER: [(&str, &str); 3] = [
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// Factors of the wavelengths of Llama 3's rope.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Architectures of llama.cpp, and the `model_type` of a file that has one.
pub const ARCHITECTURES: [(&str, Family); 5] = [
    ("llama", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("smollm3", Family::SmolLm3),
    ("gemma3", Family::Gemma3),
];

/// The architecture that computes a family. Mistral is Llama.
pub fn architecture(family: Family) -> &'static str {
    let found = ARCHITECTURES.iter().find(|(_, known)| *known == family);
    found.map_or("llama", |(name, _)| name)
}

/// Whether the rows of a family's queries and keys stand in pairs: whether llama.cpp turns neighbours, as
/// Llama's own code does, and not numbers half a head apart, as `transformers` does.
pub fn pairs(family: Family) -> bool {
    matches!(family, Family::Llama | Family::Mistral | Family::SmolLm3)
}

fn layer(family: Family) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let norms: &[(&str, &str)] = if family == Family::Gemma3 { &GEMMA } else { &LLAMA };
    LAYER.iter().chain(&BIASES).chain(norms)
}

/// The name of a tensor of a GGUF file in a Hugging Face directory; none if it has no place there.
pub fn of_directory(name: &str, family: Family) -> Option<String> {
    if let Some((other, _)) = OTHER.iter().find(|(_, known)| *known == name) {
        return Some((*other).to_owned());
    }
    let (number, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (other, _) = layer(family).find(|(_, known)| *known == rest)?;
    Some(format!("model.layers.{number}.{other}"))
}

/// The name of a tensor of a Hugging Face directory in a GGUF file; none if llama.cpp has no place for it.
pub fn of_file(name: &str, family: Family) -> Option<String> {
    if let Some((_, other)) = OTHER.iter().find(|(known, _)| *known == name) {
        return Some((*other).to_owned());
    }
    let (number, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, other) = layer(family).find(|(known, _)| *known == rest)?;
    Some(format!("blk.{number}.{other}"))
}

/// Of which heads a tensor's rows stand in pairs, if they do: of those of queries or of keys.
pub fn paired_heads(name: &str, family: Family, heads: [usize; 2]) -> Option<usize> {
    let of = |part: &str| name.contains(part).then_some(());
    let [queries, keys] = heads;
    let found = of(".q_proj.").map(|()| queries).or(of(".k_proj.").map(|()| keys));
    found.filter(|_| pairs(family))
}
