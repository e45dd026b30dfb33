//! Hugging Face model directories: `config.json`, `tokenizer.json`, `tokenizer_config.json` and
//! `model.safetensors` (or shards named by `model.safetensors.index.json`), read and written, so that
//! `transformers`, vLLM and llama.cpp load what qstill trains and qstill loads what they publish. A value
//! head and future heads stand beside them in files of their own ([`value_head::FILE`],
//! [`future_heads::FILE`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use datasets::key::hex;
use sha2::{Digest, Sha256};

use super::decoder::Layer;
use super::tensors::{self, Raw, values};
use super::{
    Decoder, DecoderConfig, FutureHeads, Model, ModelError, Tokenizer, ValueHead, future_heads, value_head,
};

/// Loads a model directory; weights in f32 on `device`.
///
/// # Errors
/// Names the file and what was expected when one is missing, truncated, of another architecture, or
/// lacks a tensor.
pub fn load(dir: &Path, device: &Device) -> Result<Model, ModelError> {
    let config = DecoderConfig::read(dir)?;
    let tokenizer = Tokenizer::load(dir)?;
    if tokenizer.vocab_size() > config.vocab_size {
        return Err(ModelError::Tokenizer {
            path: dir.join("tokenizer.json"),
            what: format!(
                "has {} tokens, but config.json says vocab_size {}",
                tokenizer.vocab_size(),
                config.vocab_size
            ),
        });
    }
    let files = weight_files(dir)?;
    let mut hash = Sha256::new();
    hash.update(config.to_json().to_string());
    hash.update(tokenizer.json().as_bytes());
    hash.update(tokenizer.template_source().as_bytes());
    let mut all = BTreeMap::new();
    for path in &files {
        let bytes = fs::read(path).map_err(|e| ModelError::io(path, e))?;
        hash.update(&bytes);
        all.extend(tensors::read(path, &bytes)?);
    }
    let decoder = assemble(&config, all, &files[0], device)?;
    let path = dir.join(value_head::FILE);
    let value = match fs::read(&path) {
        Ok(bytes) => {
            hash.update(&bytes);
            Some(ValueHead::parse(&path, &bytes, config.hidden_size)?)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(ModelError::io(&path, e)),
    };
    let path = dir.join(future_heads::FILE);
    let future = match fs::read(&path) {
        Ok(bytes) => Some(FutureHeads::parse(&path, &bytes, &config)?),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(ModelError::io(&path, e)),
    };
    Ok(Model { decoder, tokenizer, value, future, fingerprint: hex(&hash.finalize()[..16]) })
}

/// What [`load`] would give as fingerprint input, without building the weights: SHA-256 of each file
/// that makes the model, by name. For deciding what is outstanding.
pub fn file_hashes(dir: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let mut files = weight_files(dir)?;
    files.extend(
        [
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "chat_template.jinja",
            value_head::FILE,
        ]
        .map(|name| dir.join(name)),
    );
    let mut hashes = BTreeMap::new();
    for path in files {
        match fs::File::open(&path) {
            Ok(mut file) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                hashes.insert(name, hash_file(&mut file).map_err(|e| ModelError::io(&path, e))?);
            }
            Err(e)
                if e.kind() == std::io::ErrorKind::NotFound
                    && !path.ends_with("config.json")
                    && !path.ends_with("tokenizer.json") => {}
            Err(e) => return Err(ModelError::io(&path, e)),
        }
    }
    Ok(hashes)
}

fn hash_file(file: &mut fs::File) -> std::io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = dir.join("model.safetensors");
    let index = dir.join("model.safetensors.index.json");
    if single.exists() || !index.exists() {
        if !single.exists() {
            return Err(ModelError::Missing { path: single });
        }
        return Ok(vec![single]);
    }
    let bad = |what: &str| ModelError::Weights { path: index.clone(), what: what.to_owned() };
    let text = fs::read_to_string(&index).map_err(|e| ModelError::io(&index, e))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| bad(&format!("not JSON: {e}")))?;
    let map = value["weight_map"].as_object().ok_or_else(|| bad("has no `weight_map` object"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    let mut files = Vec::new();
    for name in names {
        if name.contains(['/', '\\']) {
            return Err(bad(&format!("names a shard outside the model directory: {name}")));
        }
        let path = dir.join(name);
        if !path.exists() {
            return Err(ModelError::Missing { path });
        }
        files.push(path);
    }
    if files.is_empty() {
        return Err(bad("names no shard"));
    }
    Ok(files)
}

fn assemble(
    config: &DecoderConfig,
    mut tensors: BTreeMap<String, Raw>,
    path: &Path,
    device: &Device,
) -> Result<Decoder, ModelError> {
    let c = config;
    let (query, shared) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
    // Reads matrices that stand one above the other, `[sum of rows, columns]`.
    let mut stacked = |parts: &[(String, usize)], columns: usize| -> Result<Tensor<2>, ModelError> {
        let mut all = Vec::new();
        let mut height = 0;
        for (name, rows) in parts {
            let (shape, values) =
                tensors.remove(name).ok_or_else(|| bad(format!("lacks tensor `{name}`")))?;
            let expected = if *rows == 1 && shape.len() == 1 { vec![columns] } else { vec![*rows, columns] };
            if shape != expected {
                return Err(bad(format!(
                    "tensor `{name}` has shape {shape:?}, config.json implies {expected:?}"
                )));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return Err(bad(format!("tensor `{name}` contains {} at element {at}", values[at])));
            }
            all.extend(values);
            height += rows;
        }
        Ok(Tensor::from_data(TensorData::new(all, [height, columns]), device))
    };
    let embed = stacked(&[("model.embed_tokens.weight".into(), c.vocab_size)], c.hidden_size)?;
    let mut layers = Vec::new();
    for i in 0..c.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        layers.push(Layer {
            attention_norm: stacked(&[(name("input_layernorm"), 1)], c.hidden_size)?,
            qkv: stacked(
                &[
                    (name("self_attn.q_proj"), query),
                    (name("self_attn.k_proj"), shared),
                    (name("self_attn.v_proj"), shared),
                ],
                c.hidden_size,
            )?,
            output: stacked(&[(name("self_attn.o_proj"), c.hidden_size)], query)?,
            mlp_norm: stacked(&[(name("post_attention_layernorm"), 1)], c.hidden_size)?,
            gate_up: stacked(
                &[(name("mlp.gate_proj"), c.intermediate_size), (name("mlp.up_proj"), c.intermediate_size)],
                c.hidden_size,
            )?,
            down: stacked(&[(name("mlp.down_proj"), c.hidden_size)], c.intermediate_size)?,
        });
    }
    let norm = stacked(&[("model.norm.weight".into(), 1)], c.hidden_size)?;
    let head = if c.tie_word_embeddings {
        None
    } else {
        Some(stacked(&[("lm_head.weight".into(), c.vocab_size)], c.hidden_size)?)
    };
    Ok(Decoder { config: c.clone(), dtype: FloatDType::F32, embed, layers, norm, head })
}

/// Weights under their Hugging Face names: shape and f32 values.
pub fn export(decoder: &Decoder) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let c = &decoder.config;
    let (query, shared) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let mut out = Vec::new();
    let mut put = |tensor: &Tensor<2>, parts: &[(String, usize)]| {
        let columns = tensor.dims()[1];
        let values = values(tensor);
        let mut from = 0;
        for (name, rows) in parts {
            let shape = if name.contains("norm") { vec![columns] } else { vec![*rows, columns] };
            out.push((name.clone(), shape, values[from * columns..(from + rows) * columns].to_vec()));
            from += rows;
        }
    };
    put(&decoder.embed, &[("model.embed_tokens.weight".into(), c.vocab_size)]);
    for (i, layer) in decoder.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        put(&layer.attention_norm, &[(name("input_layernorm"), 1)]);
        put(
            &layer.qkv,
            &[
                (name("self_attn.q_proj"), query),
                (name("self_attn.k_proj"), shared),
                (name("self_attn.v_proj"), shared),
            ],
        );
        put(&layer.output, &[(name("self_attn.o_proj"), c.hidden_size)]);
        put(&layer.mlp_norm, &[(name("post_attention_layernorm"), 1)]);
        put(
            &layer.gate_up,
            &[(name("mlp.gate_proj"), c.intermediate_size), (name("mlp.up_proj"), c.intermediate_size)],
        );
        put(&layer.down, &[(name("mlp.down_proj"), c.hidden_size)]);
    }
    put(&decoder.norm, &[("model.norm.weight".into(), 1)]);
    if let Some(head) = &decoder.head {
        put(head, &[("lm_head.weight".into(), c.vocab_size)]);
    }
    out
}

/// The files of a model directory: name and content. Equal models give equal bytes.
pub fn files(decoder: &Decoder, tokenizer: &Tokenizer) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
    let weights = export(decoder);
    let tensors: Vec<(&str, &[usize], &[f32])> =
        weights.iter().map(|(n, s, v)| (n.as_str(), s.as_slice(), v.as_slice())).collect();
    let mut files = vec![
        ("config.json".to_owned(), pretty(&decoder.config.to_json())),
        (
            "generation_config.json".to_owned(),
            pretty(&serde_json::json!({
                "eos_token_id": decoder.config.eos_token_ids,
                "pad_token_id": decoder.config.pad_token_id,
                "do_sample": false,
            })),
        ),
        ("model.safetensors".to_owned(), tensors::write(&tensors)?),
    ];
    files.extend(tokenizer.files());
    Ok(files)
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text.into_bytes()
}
