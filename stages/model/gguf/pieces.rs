//! A tokenizer as the metadata of a GGUF file. llama.cpp has its own code for each way to split a text, so a
//! tokenizer is written only if it is known to be one of them.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::splits::{self, same};
use super::vocabulary::{BLANK, blanks, kinds, merges};
use super::writer::Put;
use crate::model::{DecoderConfig, Tokenizer};

/// The keys of `tokenizer.`. The error says what llama.cpp does not do.
///
/// # Errors
/// A tokenizer that llama.cpp does not have.
pub fn metadata(tokenizer: &Tokenizer, config: &DecoderConfig) -> Result<Vec<(String, Put)>, String> {
    let json: Value = serde_json::from_str(tokenizer.json()).map_err(|e| e.to_string())?;
    let model = &json["model"];
    // Files of a first version leave the type out.
    if model["type"].as_str().unwrap_or("BPE") != "BPE" {
        return Err(format!("is of type {}; llama.cpp has no other than BPE here", model["type"]));
    }
    let bytes = json["decoder"]["type"] == "ByteLevel";
    let mut all = Vec::new();
    let text = |text: &str| Put::Text(text.to_owned());
    let mut tokens = tokens(&json, config.vocab_size, !bytes);
    let pairs = pairs(&model["merges"])?;
    if bytes {
        let split = splits::of(&json).ok_or(
            "splits texts in a way for which qstill knows no name of llama.cpp (`pre_tokenizer`, \
             `normalizer` and `ignore_merges` of tokenizer.json)",
        )?;
        all.push(("model", text("gpt2")));
        all.push(("pre", text(split.names[0])));
        all.push((
            "merges",
            Put::Texts(pairs.iter().map(|[left, right]| format!("{left} {right}")).collect()),
        ));
    } else {
        let prefix = prefix(&json)?;
        let scores = scores(&tokens, &pairs)?;
        // llama.cpp looks for these in texts as they are.
        for (token, kind) in tokens.iter_mut().filter(|(_, kind)| *kind == kinds::USER_DEFINED) {
            *token = token.replace(BLANK, " ");
            *kind = kinds::USER_DEFINED;
        }
        all.push(("model", text("llama")));
        all.push(("pre", text("default")));
        all.push(("scores", Put::F32s(scores)));
        all.push(("add_space_prefix", Put::Flag(prefix)));
    }
    let id = |id: u32| Put::U32(id);
    let (tokens, kinds): (Vec<String>, Vec<i32>) = tokens.into_iter().unzip();
    all.push(("tokens", Put::Texts(tokens)));
    all.push(("token_type", Put::I32s(kinds)));
    let begin = tokenizer.begin();
    if begin.len() > 1 {
        return Err(format!("puts {} tokens before a text; llama.cpp puts one at most", begin.len()));
    }
    let special = |name: &str| tokenizer.special_id(name);
    if let Some(bos) = begin.first().copied().or(special("bos_token")).or(config.bos_token_id) {
        all.push(("bos_token_id", id(bos)));
    }
    for (key, end) in ["eos_token_id", "eot_token_id", "eom_token_id"].into_iter().zip(&config.eos_token_ids)
    {
        all.push((key, id(*end)));
    }
    if let Some(unknown) = special("unk_token") {
        all.push(("unknown_token_id", id(unknown)));
    }
    if let Some(padding) = special("pad_token").or(config.pad_token_id) {
        all.push(("padding_token_id", id(padding)));
    }
    all.push(("add_bos_token", Put::Flag(!begin.is_empty())));
    all.push(("add_eos_token", Put::Flag(false)));
    let mut all: Vec<(String, Put)> =
        all.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
    if !tokenizer.template_source().is_empty() {
        all.push(("tokenizer.chat_template".to_owned(), text(tokenizer.template_source())));
    }
    Ok(all)
}

/// All tokens of a vocabulary by their ids, with what they are; fillers for ids without one.
fn tokens(json: &Value, size: usize, pieces: bool) -> Vec<(String, i32)> {
    let mut all: Vec<(String, i32)> = (0..size).map(|id| (format!("[PAD{id}]"), kinds::UNUSED)).collect();
    let mut put = |id: &Value, token: &str, kind: i32| {
        if let Some(place) = id.as_u64().and_then(|id| all.get_mut(id as usize)) {
            *place = (token.to_owned(), kind);
        }
    };
    let unknown = &json["model"]["unk_token"];
    for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        let byte = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        let kind = match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(_) if pieces => kinds::BYTE,
            _ => kinds::NORMAL,
        };
        put(id, token, kind);
    }
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let content = token["content"].as_str().unwrap_or_default();
        let kind = match token["special"].as_bool() {
            _ if pieces && *unknown == *content => kinds::UNKNOWN,
            Some(true) => kinds::CONTROL,
            _ => kinds::USER_DEFINED,
        };
        put(&token["id"], content, kind);
    }
    all
}

/// Merges, in either spelling.
fn pairs(merges: &Value) -> Result<Vec<[String; 2]>, String> {
    let one = |merge: &Value| match merge {
        Value::String(text) => text.split_once(' ').map(|(left, right)| [left.to_owned(), right.to_owned()]),
        Value::Array(both) => Some([both.first()?.as_str()?.to_owned(), both.get(1)?.as_str()?.to_owned()]),
        _ => None,
    };
    let all: Option<Vec<[String; 2]>> = merges.as_array().into_iter().flatten().map(one).collect();
    all.ok_or_else(|| "has merges that are no pairs of tokens".to_owned())
}

/// Whether SentencePiece puts a blank before a text.
fn prefix(json: &Value) -> Result<bool, String> {
    let split = &json["pre_tokenizer"];
    // Gemma splits at blanks, of which its normalizer leaves none.
    let none = split.is_null() || (split["type"] == "Split" && split["pattern"]["String"] == " ");
    let found = [true, false].into_iter().find(|prefix| {
        let (normalizer, decoder) = blanks(*prefix);
        same(&json["normalizer"], &normalizer) && same(&json["decoder"], &decoder)
    });
    found.filter(|_| none && json["model"]["byte_fallback"] == true).ok_or_else(|| {
        "treats blanks in a way that qstill does not know of llama.cpp (`normalizer`, `pre_tokenizer`, \
         `decoder` and `byte_fallback` of tokenizer.json)"
            .to_owned()
    })
}

/// Scores of tokens from which SentencePiece makes the merges of a tokenizer: what is merged first scores
/// highest, and pieces whose merges stand between each other score alike.
fn scores(tokens: &[(String, i32)], pairs: &[[String; 2]]) -> Result<Vec<f32>, String> {
    let mut last: HashMap<String, usize> = HashMap::new();
    for (rank, [left, right]) in pairs.iter().enumerate() {
        last.insert(format!("{left}{right}"), rank);
    }
    // The groups of ranks that no piece leaves.
    let (mut score, mut until) = (0f64, 0);
    let mut found: HashMap<String, f64> = HashMap::new();
    for (rank, [left, right]) in pairs.iter().enumerate() {
        if rank > until {
            score -= 1.0;
        }
        let piece = format!("{left}{right}");
        until = until.max(last[&piece]);
        found.insert(piece, score);
    }
    let rest = score - 1.0;
    let score = |(at, (token, _)): (usize, &(String, i32))| {
        (token.clone(), found.get(token).copied().unwrap_or(rest - at as f64), tokens[at].1)
    };
    let pieces: Vec<(String, f64, i32)> = tokens.iter().enumerate().map(score).collect();
    let known: BTreeSet<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
    if merges(&pieces) != pairs || found.keys().any(|piece| !known.contains(piece.as_str())) {
        return Err(
            "has merges that do not follow from scores of its tokens, as SentencePiece's do".to_owned()
        );
    }
    Ok(pieces.into_iter().map(|(_, score, _)| score as f32).collect())
}
