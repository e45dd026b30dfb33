//! Each family against `transformers`: small random models that it wrote, and the logits that it computes of
//! them (`tests/reference/families.py`).

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};

use super::exact::exact;
use super::{logits, off, plain};
use crate::events::Silent;
use crate::model::cpu::head::{Targets, cross_entropy};
use crate::model::cpu::trunk::Trunk;
use crate::model::cpu::{Weights, simd};
use crate::model::generate::device::OnDevice;
use crate::model::generate::{Generated, Generation, Generator, Limits, Request, Stop};
use crate::model::{Decoder, DecoderConfig, FutureHeads, Tokenizer, families, hf, tensors};
use crate::policy::Sampling;

/// The fixtures: name, directory, decoder.
fn fixtures() -> Vec<(String, PathBuf, Decoder)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families");
    let mut all: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| {
            let dir = entry.unwrap().path();
            let decoder = hf::load_decoder(&dir, &Device::flex()).unwrap();
            (dir.file_name().unwrap().to_string_lossy().into_owned(), dir, decoder)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all.len(), 11);
    all
}

/// Tokens, and after some of them the logits of `transformers`.
fn reference(dir: &Path) -> (Vec<u32>, Vec<(usize, Vec<f64>)>) {
    let text = std::fs::read_to_string(dir.join("logits.json")).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let tokens = list(&value["tokens"]).iter().map(|t| t.as_u64().unwrap() as u32).collect();
    let rows = list(&value["logits"]);
    let rows = rows.iter().map(|row| list(row).iter().map(|v| v.as_f64().unwrap()).collect());
    let positions = list(&value["positions"]);
    (tokens, positions.iter().map(|p| p.as_u64().unwrap() as usize).zip(rows).collect())
}

fn far(logits: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(logits.len(), wanted.len());
    logits.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn logits_are_those_of_transformers() {
    for (name, dir, decoder) in fixtures() {
        let (tokens, wanted) = reference(&dir);
        let vocab = decoder.config.vocab_size;
        let burn = logits(&decoder, &tokens);
        let weights = Weights::of(&decoder);
        let all = exact(&weights, &tokens);
        // The training pass reads the sequence in one batch with another.
        let mut trunk = Trunk::new(&weights, false);
        trunk.forward(&weights, &[&tokens[3..40], &tokens]);
        let hidden: Vec<f32> = trunk.active().iter().flat_map(|chunk| chunk.hidden.clone()).collect();
        let hidden = &hidden[37 * decoder.config.hidden_size..];
        let head = &weights.all[weights.head_index()];
        for (position, wanted) in &wanted {
            let row = &burn[position * vocab..(position + 1) * vocab];
            assert!(far(row, wanted) < 1e-4, "{name}: burn's decoder is {:.1e} off", far(row, wanted));
            let size = decoder.config.hidden_size;
            let state = &hidden[position * size..(position + 1) * size];
            let row: Vec<f32> = head.chunks_exact(size).map(|row| simd::dot(row, state)).collect();
            assert!(far(&row, wanted) < 1e-4, "{name}: the training pass is {:.1e} off", far(&row, wanted));
            let exact: Vec<f32> = all[*position].iter().map(|v| *v as f32).collect();
            assert!(far(&exact, wanted) < 1e-4, "{name}: the f64 pass is {:.1e} off", far(&exact, wanted));
        }
        // Generation's pass, token by token from its cache, at every position.
        let (engine, reference) = off(&decoder, &tokens);
        assert!(engine < 1e-4 && reference < 1e-4, "{name}: {engine:.1e} {reference:.1e}");
    }
}

#[test]
fn what_is_written_is_what_was_read() {
    for (name, dir, decoder) in fixtures() {
        let path = dir.join("model.safetensors");
        let mut read = tensors::read(&path, &std::fs::read(&path).unwrap()).unwrap();
        for (tensor, shape, values) in hf::export(&decoder) {
            let (read_shape, read_values) =
                read.remove(&tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
            assert_eq!((shape, read_shape.len()), (read_shape.clone(), read_shape.len()), "{name}: {tensor}");
            // Gemma's norms lose what 1 + w does not hold.
            let same = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-7;
            assert!(values.iter().zip(&read_values).all(same), "{name}: {tensor}");
        }
        assert!(read.is_empty(), "{name}: {:?}", read.keys());
        let source: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        let mut written = decoder.config.to_json();
        let dtype = if source.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
        assert_eq!(written[dtype], "float32");
        written[dtype] = source[dtype].clone();
        assert_eq!(written, source, "{name}");
    }
}

fn generated(decoder: &Decoder, requests: &[Request], on_device: bool) -> Vec<Generated> {
    let tokenizer = Tokenizer::tiny().unwrap();
    let sampling = Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, max_tokens: 12, calculator: false };
    let work =
        Generation { tokenizer: &tokenizer, requests, sampling: &sampling, stop: Stop::Limit, stops: &[] };
    let limits = Limits { rows: 4, cache: 1 << 24 };
    if on_device {
        let mut all = OnDevice::new(decoder, limits).run(&work, &Silent).unwrap();
        all.sort_by_key(|(home, _)| *home);
        return all.into_iter().map(|(_, generated)| generated).collect();
    }
    Generator::new(decoder, limits).generate(&work, &Silent).unwrap().concat()
}

#[test]
fn cached_generation_of_padded_rows_is_the_plain_pass() {
    for (name, dir, decoder) in fixtures() {
        let (tokens, _) = reference(&dir);
        // A common start that is longer than any window, and prompts of different lengths behind it.
        let requests: Vec<Request> = (0..5)
            .map(|n| Request {
                prompt: [&tokens[..40], &tokens[50..=50 + 4 * n]].concat(),
                seeds: vec![1],
                begun: String::new(),
            })
            .collect();
        for on_device in [false, true] {
            for (request, generated) in requests.iter().zip(generated(&decoder, &requests, on_device)) {
                let expected = plain(&decoder, &request.prompt, generated.tokens.len());
                for (token, (id, logprob)) in generated.tokens.iter().zip(&expected) {
                    assert_eq!(token.id, *id, "{name}, on the device: {on_device}");
                    assert!((token.logprob - logprob).abs() < 1e-4, "{name}: {} {logprob}", token.logprob);
                }
            }
        }
    }
}

/// Σ -log p of each token given those before it.
fn loss(weights: &Weights, tokens: &[u32]) -> f64 {
    let rows = exact(weights, &tokens[..tokens.len() - 1]);
    let one = |(row, token): (&Vec<f64>, &u32)| {
        let top = row.iter().copied().fold(f64::MIN, f64::max);
        top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - row[*token as usize]
    };
    rows.iter().zip(&tokens[1..]).map(one).sum()
}

#[test]
fn gradients_of_every_weight_are_slopes() {
    for (name, dir, decoder) in fixtures() {
        let tokens = &reference(&dir).0[..20];
        let mut weights = Weights::of(&decoder);
        let mut found = Vec::new();
        for recompute in [false, true] {
            let mut trunk = Trunk::new(&weights, recompute);
            let mut sums: Vec<Vec<f32>> = weights.all.iter().map(|w| vec![0.0; w.len()]).collect();
            trunk.forward(&weights, &[&tokens[..tokens.len() - 1]]);
            let output = weights.head_index();
            let chunk = &mut trunk.active()[0];
            let targets = Targets::hard(&tokens[1..], &[1.0; 19]);
            cross_entropy(&mut chunk.hidden, &weights.all[output], &targets, Some(&mut sums[output]), None);
            trunk.backward(&weights, &mut sums);
            found.push(sums);
        }
        assert_eq!(found[0], found[1], "{name}: computed again");
        for (index, gradient) in found[0].iter().enumerate() {
            let steepest = gradient.iter().map(|g| g.abs()).fold(0.0, f32::max);
            assert!(steepest > 0.0, "{name}: weight {index} has no gradient");
            // The steepest element, and some others.
            let first = gradient.iter().position(|g| g.abs() >= steepest).unwrap();
            for at in [first, gradient.len() / 3, gradient.len() - 1] {
                let value = weights.all[index][at];
                let mut with = |change: f32| {
                    weights.all[index][at] = value + change;
                    (f64::from(weights.all[index][at]), loss(&weights, tokens))
                };
                let ((up, more), (down, less)) = (with(1e-3), with(-1e-3));
                weights.all[index][at] = value;
                let slope = (more - less) / (up - down);
                let claimed = f64::from(gradient[at]);
                assert!(
                    (slope - claimed).abs() < 1e-3 * (1.0 + slope.abs() + f64::from(steepest)),
                    "{name}: weight {index} of shape {:?}, element {at}: slope {slope}, gradient {claimed}",
                    decoder.weights()[index].dims()
                );
            }
        }
    }
}

#[test]
fn future_heads_have_the_layers_of_their_family() {
    for (name, _, decoder) in fixtures() {
        let heads = FutureHeads::random(&decoder.config, 2, 3);
        let (file, bytes) = heads.file(&decoder.config).unwrap();
        assert_eq!(FutureHeads::parse(file.as_ref(), &bytes, &decoder.config).unwrap(), heads, "{name}");
        assert_eq!(heads.layers[0].len(), decoder.config.parts.len());
    }
}

#[test]
fn what_is_not_read_is_refused_with_its_key() {
    let (_, dir, _) = fixtures().remove(1);
    let source: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    for (key, value, said) in [
        ("model_type", json!("phi3"), "qwen3"),
        ("hidden_act", json!("gelu"), "`hidden_act` is \"gelu\""),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor"),
        ("rope_parameters", json!({"rope_type": "longrope", "factor": 4.0}), "longrope"),
        ("rope_parameters", json!({"rope_type": "linear"}), "`factor`"),
        ("quantization_config", json!({"quant_method": "gptq"}), "quantised by gptq"),
    ] {
        let mut changed = source.clone();
        changed[key] = value;
        let error = families::read(&changed).unwrap_err();
        assert!(error.contains(said), "{key}: {error}");
    }
}

#[test]
fn defaults_of_a_family_are_those_of_transformers() {
    let sizes = json!({"vocab_size": 10, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 8,
        "num_attention_heads": 2, "max_position_embeddings": 64});
    let read = |kind: &str, more: Value| -> DecoderConfig {
        let mut value = sizes.clone();
        value["model_type"] = json!(kind);
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        families::read(&value).unwrap()
    };
    assert!(!read("llama", json!({})).tie_word_embeddings && !read("qwen2", json!({})).tie_word_embeddings);
    // Qwen2 has biases whatever its configuration says; its window counts only if it is asked for.
    let qwen = read("qwen2", json!({"sliding_window": 4, "use_sliding_window": false}));
    assert!(qwen.switches.qkv_bias && !qwen.switches.output_bias);
    assert!(qwen.attention.iter().all(|layer| layer.window.is_none()));
    let rotary: Vec<bool> = read("smollm3", json!({})).attention.iter().map(|layer| layer.rotary).collect();
    assert_eq!(rotary, [true, true, true, false, true, true, true, false]);
    let gemma = read("gemma3_text", json!({"head_dim": 4, "sliding_window": 16}));
    let windows: Vec<bool> = gemma.attention.iter().map(|layer| layer.window == Some(16)).collect();
    assert_eq!(windows, [true, true, true, true, true, false, true, true]);
    assert_eq!((gemma.rope.theta, gemma.local_rope.map(|rope| rope.theta)), (1e6, Some(1e4)));
    assert!(gemma.tie_word_embeddings && gemma.switches.embed_scale == Some(8f32.sqrt()));
}
