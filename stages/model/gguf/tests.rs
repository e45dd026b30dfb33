//! GGUF files: quantised numbers against the `gguf` package, tokenizers against `sentencepiece`
//! (`tests/reference/quantised.py`), each family written and read again, and files that are no good.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};

use super::blocks::{Blocks, write_q8_0};
use super::export::{Type, Written, export};
use super::writer::{self, Put};
use super::{splits, vocabulary};
use crate::events::Silent;
use crate::model::tensors::Kind;
use crate::model::tests::logits;
use crate::model::{DecoderConfig, Model, ModelError, Tokenizer, hf};
use crate::policy::{Message, Role};

mod refused;

fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gguf").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn quantised_numbers_are_those_of_the_gguf_package() {
    let kinds = [
        ("F16", Kind::F16),
        ("BF16", Kind::Bf16),
        ("Q4_0", Kind::Blocks(Blocks::Q4_0)),
        ("Q4_1", Kind::Blocks(Blocks::Q4_1)),
        ("Q5_0", Kind::Blocks(Blocks::Q5_0)),
        ("Q5_1", Kind::Blocks(Blocks::Q5_1)),
        ("Q8_0", Kind::Blocks(Blocks::Q8_0)),
        ("Q4_K", Kind::Blocks(Blocks::Q4K)),
        ("Q5_K", Kind::Blocks(Blocks::Q5K)),
        ("Q6_K", Kind::Blocks(Blocks::Q6K)),
    ];
    let all = fixture("blocks.json");
    assert_eq!(all.as_object().unwrap().len(), kinds.len());
    for (name, kind) in kinds {
        let hex = all[name]["bytes"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
        let expected = floats(&all[name]["numbers"]);
        assert_eq!(kind.bytes(expected.len()), bytes.len(), "{name}");
        let mut read = Vec::new();
        kind.read(&bytes, &mut read);
        let far = read.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        let largest = expected.iter().map(|number| number.abs()).fold(0f32, f32::max);
        assert_eq!(read.len(), expected.len());
        // One operation more or less rounds otherwise.
        assert!(far <= largest * 1e-6, "{name}: {far} of {largest}");
        if let Some(given) = all[name].get("given").map(floats) {
            let mut written = Vec::new();
            writer::encode(kind, &given, &mut written);
            assert_eq!(written, bytes, "{name}");
        }
    }
    let mut zeros = Vec::new();
    write_q8_0(&[0.0; 32], &mut zeros);
    assert_eq!(zeros, [0; 34]);
}

/// A file of keys and tensors of f32.
fn file(metadata: &[(&str, Put)], tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let planned: Vec<writer::Planned> = tensors
        .iter()
        .map(|(name, shape, _)| writer::Planned {
            name: (*name).to_owned(),
            shape: shape.to_vec(),
            kind: Kind::F32,
        })
        .collect();
    let mut out = Vec::new();
    writer::header(&mut out, &metadata, &planned).unwrap();
    for (planned, (.., numbers)) in planned.iter().zip(tensors) {
        writer::encode(Kind::F32, numbers, &mut out);
        writer::padding(&mut out, planned).unwrap();
    }
    out
}

fn texts(all: &[&str]) -> Put {
    Put::Texts(all.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn tokens_of_sentence_pieces_are_those_of_sentencepiece() {
    let all = fixture("pieces.json");
    // As Llama 2 has it, and as Gemma has it, with runs of blanks and lines as tokens.
    assert_eq!(all.as_array().unwrap().len(), 2);
    all.as_array().unwrap().iter().for_each(tokens_of_pieces);
}

fn tokens_of_pieces(all: &Value) {
    let list = |key: &str| all[key].as_array().unwrap();
    let tokens: Vec<&str> = list("tokens").iter().map(|token| token.as_str().unwrap()).collect();
    let kinds = list("types").iter().map(|kind| kind.as_i64().unwrap() as i32).collect();
    let bytes = file(
        &[
            ("tokenizer.ggml.model", Put::Text("llama".into())),
            ("tokenizer.ggml.tokens", texts(&tokens)),
            ("tokenizer.ggml.scores", Put::F32s(floats(&all["scores"]))),
            ("tokenizer.ggml.token_type", Put::I32s(kinds)),
            ("tokenizer.ggml.add_space_prefix", Put::Flag(all["prefix"] == true)),
            ("tokenizer.ggml.bos_token_id", Put::U32(1)),
            ("tokenizer.ggml.eos_token_id", Put::U32(2)),
            ("tokenizer.ggml.unknown_token_id", Put::U32(0)),
        ],
        &[],
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pieces.gguf");
    std::fs::write(&path, bytes).unwrap();
    let tokenizer = Tokenizer::load(&path).unwrap();
    for pair in list("texts") {
        let (text, ids) = (pair[0].as_str().unwrap(), pair[1].as_array().unwrap());
        let ids: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
        assert_eq!(tokenizer.encode(text), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids), text.replace(vocabulary::BLANK, " "), "{text:?}");
    }
    assert_eq!(tokenizer.encode_first("a")[0], 1);
    // Written again, it has scores that give the same merges.
    let config = DecoderConfig::small(tokens.len(), 64);
    let written = super::pieces::metadata(&tokenizer, &config).unwrap();
    let written: Vec<(&str, Put)> = written.iter().map(|(key, put)| (key.as_str(), put.clone())).collect();
    std::fs::write(&path, file(&written, &[])).unwrap();
    let again = Tokenizer::load(&path).unwrap();
    assert_eq!(again.json(), tokenizer.json());
}

/// A byte-level tokenizer of 40 tokens, as the tiny models have.
fn tokenizer(split: &splits::Split) -> (Value, Value) {
    let mut vocabulary =
        json!({"<|begin|>": 0, "<|end|>": 1, "<tool>": 2, "Ġ": 3, "in": 4, "Ġin": 5, "Ċ": 6});
    for (at, character) in "0123456789abcdefghijklmnopqrst=+?".chars().enumerate() {
        vocabulary[character.to_string()] = json!(7 + at);
    }
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": special})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<|begin|>", true), added(1, "<|end|>", true), added(2, "<tool>", false)],
        "normalizer": (split.normalizer)(), "pre_tokenizer": (split.pre_tokenizer)(),
        "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "ignore_merges": split.ignore_merges, "vocab": vocabulary,
            "merges": ["i n", "Ġ in"]},
    });
    let template = "{% for m in messages %}{{ bos_token }}{{ m.content }}<|end|>\n{% endfor %}";
    let settings = json!({"bos_token": "<|begin|>", "eos_token": "<|end|>", "chat_template": template});
    (json, settings)
}

/// A fixture of a family with a tokenizer, in a folder of its own.
fn directory(name: &str, at: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families").join(name);
    let to = at.join(name);
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("model.safetensors"), to.join("model.safetensors")).unwrap();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(from.join("config.json")).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(to.join("config.json"), config.to_string()).unwrap();
    let (json, settings) = tokenizer(splits::named(Some("smollm")).unwrap());
    std::fs::write(to.join("tokenizer.json"), json.to_string()).unwrap();
    std::fs::write(to.join("tokenizer_config.json"), settings.to_string()).unwrap();
    to
}

fn written(dir: &Path, kind: Type) -> Result<PathBuf, ModelError> {
    let path = dir.with_extension("gguf");
    let mut bytes = Vec::new();
    assert_eq!(export(dir, kind, "tiny", (&path, &mut bytes), &Silent)?, Written::Whole);
    // An earlier one may still be looked at.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).unwrap();
    Ok(path)
}

fn load(path: &Path) -> Model {
    hf::load(path, &Device::flex()).unwrap()
}

/// What llama.cpp does not compute of the fixtures is changed.
fn computable(config: &mut Value) {
    for (key, value) in [("query_pre_attn_scalar", json!(8)), ("use_sliding_window", json!(false))] {
        if config.get(key).is_some() {
            config[key] = value;
        }
    }
    if config["model_type"] == "mistral" {
        config["sliding_window"] = Value::Null;
    }
}

const FAMILIES: [&str; 11] = [
    "gemma3",
    "llama",
    "llama-biased",
    "llama-dynamic",
    "llama-linear",
    "llama3",
    "mistral",
    "qwen2-window",
    "qwen2-yarn",
    "qwen3",
    "smollm3",
];

#[test]
fn a_family_that_is_written_is_read_again() {
    let tokens: Vec<u32> = (0..60).map(|i| (i * i * 7 + 3 * i) % 38 + 2).collect();
    let text = "1+2=3?\n  <tool>in the kind<|end|>";
    for name in FAMILIES {
        let dir = tempfile::tempdir().unwrap();
        let from = directory(name, dir.path(), computable);
        let model = load(&from);
        for kind in [Type::F32, Type::Bf16] {
            let again = load(&written(&from, kind).unwrap());
            // All weights are bf16 numbers, but for Gemma's norms, which are f32 in the file.
            assert_eq!(hf::export(&again.decoder), hf::export(&model.decoder), "{name}");
            let (there, here) = (logits(&again.decoder, &tokens), logits(&model.decoder, &tokens));
            let far = there.iter().zip(&here).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            // Factors of Llama 3's rope are f32 in the file, and found again.
            assert!(far <= 1e-6, "{name}: {far}");
            assert_eq!(again.decoder.config.eos_token_ids, model.decoder.config.eos_token_ids);
            let turn = [Message { role: Role::User, content: "1+2".into() }];
            assert_eq!(again.tokenizer.prompt(&turn).unwrap(), model.tokenizer.prompt(&turn).unwrap());
            assert_eq!(again.tokenizer.encode(text), model.tokenizer.encode(text), "{name}");
            let ids: Vec<u32> = (0..40).collect();
            assert_eq!(again.tokenizer.decode(&ids), model.tokenizer.decode(&ids));
        }
        // What was read from a file is a directory like any other.
        let file = load(&written(&from, Type::F32).unwrap());
        let back = dir.path().join("back");
        std::fs::create_dir(&back).unwrap();
        for (name, bytes) in hf::files(&file.decoder, &file.tokenizer).unwrap() {
            std::fs::write(back.join(name), bytes).unwrap();
        }
        let back = load(&back);
        assert_eq!(hf::export(&back.decoder), hf::export(&file.decoder), "{name}");
        assert_eq!(back.decoder.config.rope, file.decoder.config.rope);
        assert_eq!(back.tokenizer.json(), file.tokenizer.json());
    }
}

#[test]
fn a_file_in_lower_precision_is_its_dequantised_directory() {
    let dir = tempfile::tempdir().unwrap();
    let from = directory("llama-linear", dir.path(), |_| {});
    let far = |kind: Type| {
        let (model, again) = (load(&from), load(&written(&from, kind).unwrap()));
        let both = hf::export(&model.decoder).into_iter().zip(hf::export(&again.decoder));
        both.flat_map(|((name, _, a), (.., b))| {
            let most = a.iter().fold(0f32, |most, number| most.max(number.abs()));
            let far = a.iter().zip(&b).fold(0f32, |far, (a, b)| far.max((a - b).abs()));
            assert!(!name.contains("norm") || far == 0.0, "{name}");
            [far / most]
        })
        .fold(0f32, f32::max)
    };
    // Rows of 16 numbers are no whole blocks.
    let (half, blocks) = (far(Type::F16), far(Type::Q8_0));
    assert!(half < 1e-3 && blocks < 1e-3, "{half} {blocks}");
}

#[test]
fn what_llama_cpp_does_not_compute_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, change: &dyn Fn(&mut Value)| {
        let from = directory(name, dir.path(), change);
        written(&from, Type::F16).unwrap_err().to_string()
    };
    for (name, said) in [
        ("mistral", "sliding window of 7 tokens"),
        ("qwen2-window", "sliding window of 9 tokens"),
        ("gemma3", "`query_pre_attn_scalar` is 10"),
    ] {
        let error = refused(name, &|_| {});
        assert!(error.contains(said), "{name}: {error}");
    }
    let error = refused("smollm3", &|config| config["no_rope_layers"] = json!([1, 0, 1, 0]));
    assert!(error.contains("without rotary positions"), "{error}");
    let from = directory("llama", dir.path(), |_| {});
    let path = from.join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json["pre_tokenizer"]["pretokenizers"][0] = json!({"type": "Whitespace"});
    std::fs::write(&path, json.to_string()).unwrap();
    let error = written(&from, Type::F16).unwrap_err().to_string();
    assert!(error.contains("knows no name of llama.cpp"), "{error}");
}

#[test]
fn every_split_is_found_by_its_name_and_by_what_it_does() {
    for split in &splits::SPLITS {
        let (json, _) = tokenizer(split);
        assert_eq!(splits::of(&json).unwrap().names, split.names);
        for name in split.names {
            assert_eq!(splits::named(Some(name)).unwrap().names, split.names);
        }
        // The `tokenizers` library reads it.
        assert!(json.to_string().parse::<tokenizers::Tokenizer>().is_ok(), "{:?}", split.names);
    }
    for name in [None, Some("default"), Some("bloom")] {
        assert!(splits::named(name).err().unwrap().contains("does not say how texts are split"));
    }
}

#[test]
#[ignore = "needs QSTILL_TEST_GGUF, QSTILL_TEST_MODEL and QSTILL_TEST_TEXTS"]
fn a_real_file_is_its_directory() {
    let var = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name} names a path"));
    let (file, dir) = (PathBuf::from(var("QSTILL_TEST_GGUF")), PathBuf::from(var("QSTILL_TEST_MODEL")));
    let ((ours, from_file), (theirs, from_dir)) = (hf::shape(&file).unwrap(), hf::shape(&dir).unwrap());
    println!("ends {:?} and {:?}", ours.eos_token_ids, theirs.eos_token_ids);
    assert_eq!(ours.eos_token_ids[0], theirs.eos_token_ids[0]);
    let lines = std::fs::read_to_string(var("QSTILL_TEST_TEXTS")).unwrap();
    let questions = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut texts: Vec<String> =
        questions.map(|line| line["question"].as_str().unwrap().to_owned()).collect();
    let odd = [
        "",
        " ",
        "  two  blanks ",
        "\n\nlines\n\n\n",
        "tabs\tand\r\nreturns",
        "ünïcödé ☃ 漢字 🦀 e\u{301}",
        "12345.678 3/4 ¼ ١٢",
        "don't they'RE I'll",
        "<|im_start|>user\nhi<|im_end|>\n",
        "<|endoftext|>",
        "x = {\n\t'k': [1, 2]\n}",
        " \u{a0} ",
        "<tool_call>",
        "[PAD151900]",
    ];
    texts.extend(odd.map(str::to_owned));
    for text in &texts {
        assert_eq!(from_file.encode(text), from_dir.encode(text), "{text:?}");
        let ids = from_file.encode(text);
        assert_eq!(from_file.decode(&ids), from_dir.decode(&ids), "{text:?}");
        let turn = [Message { role: Role::User, content: text.clone() }];
        assert_eq!(from_file.prompt_tokens(&turn).unwrap(), from_dir.prompt_tokens(&turn).unwrap());
    }
    assert_eq!(from_file.template_source(), from_dir.template_source());
    // The same numbers in a directory give the same logits.
    let model = load(&file);
    let back = tempfile::tempdir().unwrap();
    for (name, bytes) in hf::files(&model.decoder, &model.tokenizer).unwrap() {
        std::fs::write(back.path().join(name), bytes).unwrap();
    }
    let back = load(back.path());
    let tokens = &from_file.encode(&texts[0])[..40];
    assert_eq!(logits(&model.decoder, tokens), logits(&back.decoder, tokens));
    // Those of the directory itself are near.
    let whole = load(&dir);
    let (here, there) = (logits(&model.decoder, tokens), logits(&whole.decoder, tokens));
    let best = |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    let size = whole.decoder.config.vocab_size;
    let both = here.chunks(size).zip(there.chunks(size));
    let same = both.filter(|(a, b)| best(a) == best(b)).count();
    println!("{} texts; {same} of {} next tokens are the same", texts.len(), tokens.len());
}
