//! Hugging Face model directories: `config.json`, `tokenizer.json`, `tokenizer_config.json` and
//! `model.safetensors` (or shards named by `model.safetensors.index.json`), read and written, so that
//! `transformers`, vLLM and llama.cpp load what qstill trains and qstill loads what they publish. A value
//! head and future heads stand beside them in files of their own ([`value_head::FILE`],
//! [`future_heads::FILE`]). A [GGUF file](gguf) is read in the place of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use datasets::key::hex;
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::decoder::Layer;
use super::tensors::{self, Stored};
use super::weight::Weight;
use super::{
    Decoder, DecoderConfig, Fingerprint, FutureHeads, Model, ModelError, Tokenizer, ValueHead, families,
    future_heads, gguf, value_head,
};

/// Loads a model directory; weights in f32 on `device`, or where they stand in its files for the CPU, whose
/// engines lay them out in their own way.
///
/// # Errors
/// Names the file and what was expected when one is missing, truncated, of another architecture, or
/// lacks a tensor.
pub fn load(dir: &Path, device: &Device) -> Result<Model, ModelError> {
    let (config, tokenizer) = shape(dir)?;
    let weights = weight_files(dir)?;
    let open = |path: &PathBuf| fs::File::open(path).map_err(|e| ModelError::io(path, e));
    let mut weights = weights.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let decoder = with_tensors(dir, |all, files| assemble(&config, all, files, device))?;
    let value = beside(dir, value_head::FILE)?;
    let head = value.as_ref().map(|(path, bytes)| ValueHead::parse(path, bytes, config.hidden_size));
    let future = match beside(dir, future_heads::FILE)? {
        Some((path, bytes)) => Some(FutureHeads::parse(&path, &bytes, &config)?),
        None => None,
    };
    let mut hash = Sha256::new();
    hash.update(config.to_json().to_string());
    hash.update(tokenizer.json().as_bytes());
    hash.update(tokenizer.template_source().as_bytes());
    let fingerprint = Fingerprint::new(move || {
        // Not through memory, where a file that is cut meanwhile would end the program. What is hashed is
        // then another model, as it should be.
        for file in &mut weights {
            let _ = feed(&mut hash, file);
        }
        if let Some((_, bytes)) = value {
            hash.update(&bytes);
        }
        hex(&hash.finalize()[..16])
    });
    Ok(Model { decoder, tokenizer, value: head.transpose()?, future, fingerprint })
}

/// A file of qstill's own beside the weights, if there is one. A GGUF file has none.
fn beside(dir: &Path, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>, ModelError> {
    let path = dir.join(name);
    if gguf::is(dir) {
        return Ok(None);
    }
    match fs::read(&path) {
        Ok(bytes) => Ok(Some((path, bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ModelError::io(&path, e)),
    }
}

/// All of a model directory but its weights: its shape, with every end that any of its files names, the one
/// that ends a turn first; and its tokenizer.
///
/// # Errors
/// As [`load`].
pub fn shape(dir: &Path) -> Result<(DecoderConfig, Tokenizer), ModelError> {
    let mut config = DecoderConfig::read(dir)?;
    let path = if gguf::is(dir) { dir.to_owned() } else { dir.join("tokenizer.json") };
    let bad = |what| ModelError::Tokenizer { path, what };
    let tokenizer = Tokenizer::load(dir)?.within(config.vocab_size).map_err(bad)?;
    let ends = &mut config.eos_token_ids;
    ends.extend(tokenizer.eos().filter(|end| !ends.contains(end)));
    if let Some(at) = tokenizer.end_of_turn(ends).and_then(|end| ends.iter().position(|id| *id == end)) {
        ends[..=at].rotate_right(1);
    }
    Ok((config, tokenizer))
}

/// The first file of a model's weights, which errors name, and all of them, mapped.
type Files<'a> = (&'a Path, &'a [Arc<Mmap>]);

/// Loads the decoder of a model directory alone.
///
/// # Errors
/// As [`load`].
pub fn load_decoder(dir: &Path, device: &Device) -> Result<Decoder, ModelError> {
    let config = DecoderConfig::read(dir)?;
    with_tensors(dir, |all, files| assemble(&config, all, files, device))
}

/// Gives `then` all tensors of a model by their names, with the first file of them and the files as they are
/// mapped.
///
/// # Errors
/// Files that are missing or damaged, and what `then` returns.
pub fn with_tensors<T>(
    dir: &Path,
    then: impl FnOnce(BTreeMap<String, Stored<'_>>, Files<'_>) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    let files = weight_files(dir)?;
    let maps = files.iter().map(|path| tensors::map(path)).collect::<Result<Vec<_>, _>>()?;
    let mut all = BTreeMap::new();
    for (path, map) in files.iter().zip(&maps) {
        all.extend(if gguf::is(dir) { gguf::views(path, map)? } else { tensors::views(path, map)? });
    }
    then(all, (&files[0], &maps))
}

/// What [`load`] would give as fingerprint input, without building the weights: SHA-256 of each file
/// that makes the model, by name. For deciding what is outstanding.
pub fn file_hashes(dir: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let mut files = weight_files(dir)?;
    let others = if gguf::is(dir) {
        Vec::new()
    } else {
        vec![
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "chat_template.jinja",
            value_head::FILE,
        ]
    };
    files.extend(others.into_iter().map(|name| dir.join(name)));
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
    let mut hash = Sha256::new();
    feed(&mut hash, file)?;
    Ok(hex(&hash.finalize()))
}

/// Hashes a file to its end.
fn feed(hash: &mut Sha256, file: &mut fs::File) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    if gguf::is(dir) {
        return Ok(vec![dir.to_owned()]);
    }
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

/// Makes a decoder of tensors under their Hugging Face names. Whatever is left over is an error: a model that
/// has it computes something else.
fn assemble(
    config: &DecoderConfig,
    mut tensors: BTreeMap<String, Stored<'_>>,
    (path, maps): Files<'_>,
    device: &Device,
) -> Result<Decoder, ModelError> {
    let c = config;
    let bad = |what: String| ModelError::Weights { path: path.to_owned(), what };
    // Files of a model without its output matrix name its tensors without the prefix.
    let prefix = if tensors.contains_key("embed_tokens.weight") { "" } else { "model." };
    let mut take = |name: String, expected: &[usize]| {
        let view = tensors.remove(&name).ok_or_else(|| bad(format!("lacks tensor `{name}`")))?;
        let shape = &view.shape;
        if shape != expected {
            return Err(bad(format!(
                "tensor `{name}` has shape {shape:?}, config.json implies {expected:?}"
            )));
        }
        Ok((name, view))
    };
    let weight = |pieces: &[(String, Stored<'_>)], shape, add| {
        let infinite = |(name, piece): &(String, Stored<'_>)| {
            let (at, number) = piece.infinite()?;
            Some(bad(format!("tensor `{name}` contains {number} at element {at}")))
        };
        if let Some(error) = pieces.iter().find_map(infinite) {
            return Err(error);
        }
        let pieces: Vec<&Stored<'_>> = pieces.iter().map(|(_, piece)| piece).collect();
        let filed =
            if *device == super::device::cpu() { Weight::filed(&pieces, maps, shape, add) } else { None };
        if let Some(Weight::Filed(filed)) = &filed {
            filed.forget();
        }
        Ok(filed.unwrap_or_else(|| {
            let numbers = pieces.iter().flat_map(|piece| piece.floats_plus(add)).collect();
            Tensor::from_data(TensorData::new::<f32, _>(numbers, shape), device).into()
        }))
    };
    let table = [c.vocab_size, c.hidden_size];
    let norm_add = if c.switches.norm_less_1 { 1.0 } else { 0.0 };
    let embed_view = take(format!("{prefix}embed_tokens.weight"), &table)?;
    let embed = weight(std::slice::from_ref(&embed_view), table, 0.0)?;
    let mut layers = Vec::new();
    for i in 0..c.num_hidden_layers {
        let mut layer = Vec::new();
        for &part in &c.parts {
            let [_, columns] = c.shape(part);
            let pieces = families::tensors(part, c)
                .into_iter()
                .map(|(name, rows)| {
                    take(format!("{prefix}layers.{i}.{name}"), &families::stored(part, rows, columns))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let add = if part.is_norm() { norm_add } else { 0.0 };
            layer.push((part, weight(&pieces, c.shape(part), add)?));
        }
        layers.push(Layer(layer));
    }
    let norm =
        weight(&[take(format!("{prefix}norm.weight"), &[c.hidden_size])?], [1, c.hidden_size], norm_add)?;
    let head = if c.tie_word_embeddings {
        None
    } else {
        Some(weight(&[take("lm_head.weight".into(), &table)?], table, 0.0)?)
    };
    // Some programs write the tied table twice.
    if c.tie_word_embeddings
        && let Some(head) = tensors.remove("lm_head.weight")
        && head != embed_view.1
    {
        let why = "`lm_head.weight` is not `embed_tokens.weight`, but config.json says \
                   `tie_word_embeddings`: set it to false to use the head, or remove the tensor to use the \
                   embeddings";
        return Err(bad(why.to_owned()));
    }
    if let Some(name) = tensors.keys().next() {
        let family = c.family.model_type();
        return Err(bad(format!(
            "has a tensor `{name}`, which a {family} model with this config.json does not have; qstill would \
             compute something else without it"
        )));
    }
    Ok(Decoder { config: c.clone(), dtype: FloatDType::F32, eight_bit: false, embed, layers, norm, head })
}

/// Weights under their Hugging Face names: shape and f32 values.
pub fn export(decoder: &Decoder) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let c = &decoder.config;
    let norm = |weight: &Weight| {
        let mut values = weight.values();
        if c.switches.norm_less_1 {
            for weight in &mut values {
                *weight -= 1.0;
            }
        }
        values
    };
    let table = vec![c.vocab_size, c.hidden_size];
    let mut out = vec![("model.embed_tokens.weight".to_owned(), table.clone(), decoder.embed.values())];
    for (i, layer) in decoder.layers.iter().enumerate() {
        for &(part, ref weight) in &layer.0 {
            let values = if part.is_norm() { norm(weight) } else { weight.values() };
            let [_, columns] = c.shape(part);
            let mut rest = &values[..];
            for (name, rows) in families::tensors(part, c) {
                let shape = families::stored(part, rows, columns);
                let (own, others) = rest.split_at(shape.iter().product());
                out.push((format!("model.layers.{i}.{name}"), shape, own.to_vec()));
                rest = others;
            }
        }
    }
    out.push(("model.norm.weight".to_owned(), vec![c.hidden_size], norm(&decoder.norm)));
    if let Some(head) = &decoder.head {
        out.push(("lm_head.weight".to_owned(), table, head.values()));
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
