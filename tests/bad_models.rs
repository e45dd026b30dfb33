//! Model directories that cannot be used: exit code 65 and the file.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::kit::{World, copy_folder, names, run};

/// Changes a JSON file.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn cut(path: &Path, length: usize) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..length.min(bytes.len())]).unwrap();
}

/// What Git leaves in the place of a file that it did not fetch.
fn pointer(path: &Path) {
    let oid = "a".repeat(64);
    fs::write(path, format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 9\n"))
        .unwrap();
}

type Damage = (&'static str, fn(&Path), &'static [&'static str]);

const DAMAGES: &[Damage] = &[
    ("no-config", |dir| fs::remove_file(dir.join("config.json")).unwrap(), &["config.json", "no such file"]),
    (
        "no-tokenizer",
        |dir| fs::remove_file(dir.join("tokenizer.json")).unwrap(),
        &["tokenizer.json", "no such file"],
    ),
    (
        "no-weights",
        |dir| fs::remove_file(dir.join("model.safetensors")).unwrap(),
        &["model.safetensors", "no such file"],
    ),
    ("lfs", |dir| pointer(&dir.join("model.safetensors")), &["model.safetensors", "Git LFS", "git lfs pull"]),
    ("lfs-tokenizer", |dir| pointer(&dir.join("tokenizer.json")), &["tokenizer.json", "Git LFS"]),
    ("nothing", |dir| fs::remove_dir_all(dir).unwrap(), &["nothing", "no such file"]),
    (
        "other",
        |dir| edit(&dir.join("config.json"), |c| c["model_type"] = json!("gpt2")),
        &["config.json", "`gpt2`", "llama"],
    ),
    (
        "biased",
        |dir| edit(&dir.join("config.json"), |c| c["attention_bias"] = json!(true)),
        &["model.safetensors", "lacks tensor `model.layers.0.self_attn.q_proj.bias`"],
    ),
    (
        "activation",
        |dir| edit(&dir.join("config.json"), |c| c["hidden_act"] = json!("relu")),
        &["config.json", "`hidden_act` is \"relu\"", "silu"],
    ),
    (
        "partly-rotary",
        |dir| edit(&dir.join("config.json"), |c| c["partial_rotary_factor"] = json!(0.5)),
        &["config.json", "partial_rotary_factor"],
    ),
    (
        "quantised",
        |dir| edit(&dir.join("config.json"), |c| c["quantization_config"] = json!({"quant_method": "awq"})),
        &["config.json", "quantised by awq"],
    ),
    (
        "longrope",
        |dir| edit(&dir.join("config.json"), |c| c["rope_scaling"] = json!({"rope_type": "longrope"})),
        &["config.json", "longrope", "llama3"],
    ),
    ("more", stray, &["model.safetensors", "`model.layers.0.self_attn.q_norm.weight`", "llama"]),
    (
        "wider",
        |dir| edit(&dir.join("config.json"), |c| c["hidden_size"] = json!(64)),
        &["model.safetensors", "has shape"],
    ),
    (
        "deeper",
        |dir| edit(&dir.join("config.json"), |c| c["num_hidden_layers"] = json!(2)),
        &["model.safetensors", "lacks tensor"],
    ),
    (
        "heads",
        |dir| edit(&dir.join("config.json"), |c| c["num_attention_heads"] = json!(0)),
        &["config.json", "num_attention_heads"],
    ),
    (
        "small",
        |dir| edit(&dir.join("config.json"), |c| c["vocab_size"] = json!(10)),
        &["tokenizer.json", "vocab_size 10"],
    ),
    ("config-cut", |dir| cut(&dir.join("config.json"), 20), &["config.json", "not JSON"]),
    ("weights-cut", |dir| cut(&dir.join("model.safetensors"), 5000), &["model.safetensors"]),
    ("weights-empty", |dir| cut(&dir.join("model.safetensors"), 0), &["model.safetensors"]),
    ("weights-nan", |dir| poison(&dir.join("model.safetensors")), &["model.safetensors", "contains NaN"]),
    ("tokenizer-cut", |dir| cut(&dir.join("tokenizer.json"), 200), &["tokenizer.json"]),
    (
        "template",
        |dir| fs::write(dir.join("chat_template.jinja"), "{% for m in %}").unwrap(),
        &["chat_template"],
    ),
    (
        "template-not-utf-8",
        |dir| fs::write(dir.join("chat_template.jinja"), b"caf\xe9").unwrap(),
        &["chat_template.jinja", "byte 3 is not UTF-8"],
    ),
    (
        "template-unnamed",
        |dir| {
            edit(&dir.join("tokenizer_config.json"), |c| {
                c["chat_template"] = json!([{"name": "rag", "template": "x"}]);
            });
        },
        &["tokenizer_config.json", "has the chat templates rag, but none is named `default`"],
    ),
    ("no-end", endless, &["no-end", "has no end of text", "eos_token_id"]),
    (
        "end-unknown",
        |dir| edit(&dir.join("config.json"), |c| c["eos_token_id"] = json!("<|end|>")),
        &["config.json", "`eos_token_id` must be the id of a token", "<|end|>"],
    ),
    (
        "generation",
        |dir| fs::write(dir.join("generation_config.json"), "{").unwrap(),
        &["generation_config.json", "not JSON"],
    ),
    ("shards", shards, &["model-00001-of-00002.safetensors", "no such file"]),
];

/// Adds a tensor that a decoder of this family does not have.
fn stray(dir: &Path) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = file.tensors();
    let norm = all.iter().find(|(name, _)| name == "model.norm.weight").unwrap().1.clone();
    all.push(("model.layers.0.self_attn.q_norm.weight".into(), norm));
    fs::write(&path, safetensors::serialize(all, None).unwrap()).unwrap();
}

/// Leaves no file that names a token by which texts end.
fn endless(dir: &Path) {
    for file in ["config.json", "generation_config.json"] {
        edit(&dir.join(file), |c| c["eos_token_id"] = Value::Null);
    }
    edit(&dir.join("tokenizer_config.json"), |c| c["eos_token"] = Value::Null);
}

/// Makes the last weight no number.
fn poison(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Replaces the weights by an index that names a file which is not there.
fn shards(dir: &Path) {
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    let index = json!({"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}});
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn model_directories_that_cannot_be_used() {
    let world = World::new();
    world.run("base", &["evaluate.samples=0", "evaluate.teacher=false", "problems.train=8"]).done();
    let student = world.left("base").join("round-1/student");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        assert!(names(&student).iter().any(|name| name == file), "a student has {file}");
    }
    for (name, damage, said) in DAMAGES {
        let dir = world.path(name);
        copy_folder(&student, &dir);
        damage(&dir);
        let path = format!("model.path={name}");
        world.qstill(&run("a", &["problems.train=8", &path])).fails(65, said);
    }
    // Nothing that was committed is lost by all that: with a sound model it goes on.
    let path = format!("model.path={}", student.display());
    world.qstill(&run("a", &["problems.train=8", &path])).done().says("problems: complete, skipped");
}
