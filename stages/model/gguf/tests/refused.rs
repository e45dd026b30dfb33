//! Files that are no good: one line each, and no panic.

use std::path::Path;

use burn::tensor::Device;
use datasets::key;
use rand::RngExt;

use super::{Put, Type, directory, file, texts, written};
use crate::model::gguf::reader::{self, Contents, Meta};
use crate::model::gguf::{shape, views, vocabulary};
use crate::model::hf;

/// A small whole file.
fn small() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let from = directory("llama", dir.path(), |_| {});
    std::fs::read(written(&from, Type::Bf16).unwrap()).unwrap()
}

/// All that is made of a file's bytes.
fn all_of(bytes: &[u8]) -> Result<(), String> {
    let contents = reader::read(bytes)?;
    shape::config(&contents)?;
    vocabulary::ends(&contents)?;
    vocabulary::tokenizer(&contents)?;
    let tensors = views(Path::new("model.gguf"), bytes).map_err(|e| e.to_string())?;
    for tensor in tensors.values() {
        assert_eq!(tensor.floats().len(), tensor.shape.iter().product::<usize>());
    }
    Ok(())
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let bytes = small();
    all_of(&bytes).unwrap();
    let end = reader::read(&bytes).unwrap();
    let data: usize = end.tensors.values().map(|tensor| tensor.rows().map(<[u8]>::len).sum::<usize>()).sum();
    let header = bytes.len() - data;
    for length in (0..bytes.len() - 32).step_by(37) {
        assert!(all_of(&bytes[..length]).is_err(), "{length}");
    }
    let mut random = key::rng(&["damaged GGUF files".into()]);
    let mut errors = 0;
    for _ in 0..4000 {
        let mut changed = bytes.clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..header);
            changed[at] = random.random();
        }
        errors += usize::from(all_of(&changed).is_err());
    }
    assert!(errors > 1000, "{errors}");
    // Whatever is loaded: without a panic, too.
    let dir = tempfile::tempdir().unwrap();
    for at in 0..40 {
        // A file of its own: what was loaded before may still be looked at.
        let path = dir.path().join(format!("{at}.gguf"));
        let mut changed = bytes.clone();
        changed[random.random_range(0..header)] = random.random();
        std::fs::write(&path, changed).unwrap();
        drop(hf::load(&path, &Device::flex()));
    }
}

fn keys() -> Vec<(&'static str, Put)> {
    let number = Put::U32;
    vec![
        ("general.architecture", Put::Text("llama".into())),
        ("llama.embedding_length", number(4)),
        ("llama.block_count", number(1)),
        ("llama.context_length", number(64)),
        ("llama.feed_forward_length", number(4)),
        ("llama.attention.head_count", number(2)),
        ("llama.attention.layer_norm_rms_epsilon", Put::F32(1e-6)),
    ]
}

#[test]
fn what_is_wrong_is_named() {
    let table: (&str, &[usize], &[f32]) = ("token_embd.weight", &[3, 4], &[0.5; 12]);
    let with = |key: &'static str, value: Put| {
        let mut keys = keys();
        keys.retain(|(other, _)| *other != key);
        keys.push((key, value));
        views(Path::new("m.gguf"), &file(&keys, &[table])).unwrap_err().to_string()
    };
    let plain = file(&keys(), &[table]);
    let changed = |at: usize, byte: u8| {
        let mut bytes = plain.clone();
        bytes[at] = byte;
        views(Path::new("m.gguf"), &bytes).unwrap_err().to_string()
    };
    let kind = plain.windows(17).position(|window| window == b"token_embd.weight").unwrap() + 17 + 4 + 16;
    let mut wide = plain.clone();
    wide[4..8].copy_from_slice(&3u32.to_be_bytes());
    let cases = [
        (
            views(Path::new("m.gguf"), &plain).unwrap_err().to_string(),
            "lacks tensor `blk.0.attn_norm.weight`",
        ),
        (views(Path::new("m.gguf"), b"GGML").unwrap_err().to_string(), "is no GGUF file"),
        (views(Path::new("m.gguf"), &wide).unwrap_err().to_string(), "big-endian"),
        (changed(4, 1), "GGUF version 1; qstill reads versions 2 and 3"),
        (changed(kind, 10), "tensor `token_embd.weight` is Q2_K; qstill reads F32, F16, Q4_0"),
        (changed(kind, 2), "has 4 numbers a row, which are no whole blocks"),
        (changed(kind, 99), "is type 99"),
        (changed(kind + 4, 1), "no multiple of 32 (`general.alignment`)"),
        (changed(kind + 5, 1), "ends beyond the file"),
        (with("general.architecture", Put::Text("phi3".into())), "is `phi3`; qstill reads llama, qwen2"),
        (with("llama.attention.sliding_window", Put::U32(9)), "`llama.attention.sliding_window` is 9"),
        (with("llama.expert_count", Put::U32(8)), "`llama.expert_count` is 8"),
        (with("llama.logit_scale", Put::F32(2.0)), "`llama.logit_scale`, which qstill does not read"),
        (with("llama.rope.dimension_count", Put::U32(1)), "`llama.rope.dimension_count` is not the size"),
        (with("llama.rope.scaling.type", Put::Text("longrope".into())), "longrope"),
        (with("llama.block_count", Put::Text("1".into())), "`llama.block_count` must be an integer"),
        (with("general.alignment", Put::U32(33)), "`general.alignment` is 33"),
        (with("split.count", Put::U32(2)), "is one of 2 parts"),
    ];
    for (error, said) in cases {
        assert!(error.starts_with("m.gguf: ") && error.contains(said), "{said}: {error}");
    }
    let mut tensors = vec![table, ("blk.0.ssm_a", &[4][..], &[0.5; 4][..])];
    let error = views(Path::new("m.gguf"), &file(&keys(), &tensors)).unwrap_err().to_string();
    assert!(error.contains("has a tensor `blk.0.ssm_a`, which a llama model does not have"), "{error}");
    tensors[1] = ("rope_freqs.weight", &[1], &[3.0]);
    let error = views(Path::new("m.gguf"), &file(&keys(), &tensors)).unwrap_err().to_string();
    assert!(error.contains("lacks tensor") || error.contains("rope_freqs.weight"), "{error}");
}

#[test]
fn ends_are_those_that_a_file_names_and_those_of_known_names() {
    let names = texts(&["a", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "b"]);
    let bytes = file(
        &[
            ("tokenizer.ggml.tokens", names),
            ("tokenizer.ggml.token_type", Put::I32s(vec![1, 3, 3, 1, 3])),
            ("tokenizer.ggml.eos_token_id", Put::U32(4)),
            ("tokenizer.ggml.eot_token_id", Put::U32(1)),
        ],
        &[],
    );
    let contents: Contents<'_> = reader::read(&bytes).unwrap();
    assert_eq!(vocabulary::ends(&contents), Ok(vec![4, 1, 2]));
    assert_eq!(contents.metadata["tokenizer.ggml.eos_token_id"], Meta::Integer(4));
}
