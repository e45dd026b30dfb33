//! The tokenizer in the metadata of a GGUF file, as the `tokenizer.json` and `tokenizer_config.json` of a
//! Hugging Face directory of the same model.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::reader::{Contents, Meta};
use super::splits;

/// What a token is (`tokenizer.ggml.token_type`).
pub mod kinds {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// What stands for a blank in tokens of SentencePiece.
pub const BLANK: &str = "\u{2581}";

/// Tokens that llama.cpp takes for ends of texts by their name, whatever else a file says.
const ENDS: [&str; 8] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<｜end▁of▁sentence｜>",
];

/// The tokens of a file.
struct Tokens<'a> {
    texts: Vec<&'a str>,
    kinds: Vec<i32>,
}

impl<'a> Tokens<'a> {
    fn read(contents: &Contents<'a>) -> Result<Self, String> {
        let texts = contents.list("tokenizer.ggml.tokens", |value| match value {
            Meta::Text(text) => Some(*text),
            _ => None,
        })?;
        let kinds = if contents.metadata.contains_key("tokenizer.ggml.token_type") {
            contents.list("tokenizer.ggml.token_type", |value| match value {
                Meta::Integer(kind) => i32::try_from(*kind).ok(),
                _ => None,
            })?
        } else {
            vec![kinds::NORMAL; texts.len()]
        };
        if kinds.len() != texts.len() {
            let (tokens, kinds) = (texts.len(), kinds.len());
            return Err(format!("has {tokens} tokens, but {kinds} types (`tokenizer.ggml.token_type`)"));
        }
        Ok(Self { texts, kinds })
    }

    /// The id that a key names, and its text.
    fn special(&self, contents: &Contents<'_>, name: &str) -> Result<Option<(u64, &'a str)>, String> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(id) = contents.integer(&key)? else { return Ok(None) };
        match self.texts.get(id as usize) {
            Some(text) => Ok(Some((id, text))),
            // Some converters write -1, as an unsigned number, for none.
            None if id == u64::from(u32::MAX) => Ok(None),
            None => Err(format!("`{key}` is {id}, but there are {} tokens", self.texts.len())),
        }
    }

    /// A token without meaning, which fills the table of embeddings.
    fn is_filler(&self, id: usize) -> bool {
        self.kinds[id] == kinds::UNUSED && self.texts[id] == format!("[PAD{id}]")
    }
}

/// Ids of the tokens that end a text: the one of a whole text, of a turn, and what llama.cpp knows by name.
///
/// # Errors
/// Tokens that are missing or malformed.
pub fn ends(contents: &Contents<'_>) -> Result<Vec<u64>, String> {
    let tokens = Tokens::read(contents)?;
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        ends.extend(tokens.special(contents, name)?.map(|(id, _)| id));
    }
    let known = |(id, text): (usize, &&str)| {
        (ENDS.contains(text) && tokens.kinds[id] != kinds::NORMAL).then_some(id as u64)
    };
    let named: Vec<u64> = tokens.texts.iter().enumerate().filter_map(known).collect();
    for id in named {
        if !ends.contains(&id) {
            ends.push(id);
        }
    }
    ends.dedup();
    Ok(ends)
}

/// `tokenizer.json` and `tokenizer_config.json` of a file.
///
/// # Errors
/// A kind of tokenizer that is not read, and what is missing or malformed.
pub fn tokenizer(contents: &Contents<'_>) -> Result<(Value, Value), String> {
    let tokens = Tokens::read(contents)?;
    let kind = contents.text("tokenizer.ggml.model")?.unwrap_or_default();
    let (mut json, begins) = match kind {
        "gpt2" => byte_level(contents, &tokens)?,
        "llama" => sentence_pieces(contents, &tokens)?,
        other => {
            return Err(format!(
                "`tokenizer.ggml.model` is `{other}`; qstill reads `gpt2` (byte-level BPE) and `llama` \
                 (SentencePiece)"
            ));
        }
    };
    if contents.flag("tokenizer.ggml.add_eos_token")? == Some(true) {
        return Err("`tokenizer.ggml.add_eos_token` is true; qstill reads tokenizers that add no end".into());
    }
    let mut settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
    });
    let names = [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")];
    for (name, key) in names {
        if let Some((_, text)) = tokens.special(contents, key)? {
            settings[format!("{name}_token")] = json!(text);
        }
    }
    let begins = contents.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(begins);
    settings["add_bos_token"] = json!(begins);
    if let Some((id, text)) = tokens.special(contents, "bos")?.filter(|_| begins) {
        json["post_processor"] = first(id, text);
    }
    if let Some(template) = contents.text("tokenizer.chat_template")? {
        settings["chat_template"] = json!(template);
    }
    Ok((json, settings))
}

/// A tokenizer with everything but normalizer, splits and decoder.
fn whole(tokens: &Tokens<'_>, model: Value) -> Value {
    let added = (0..tokens.texts.len()).filter(|id| {
        let own = matches!(tokens.kinds[*id], kinds::CONTROL | kinds::USER_DEFINED | kinds::UNKNOWN);
        // Runs of blanks are merged like any other text.
        own && !tokens.texts[*id].is_empty() && !tokens.texts[*id].chars().all(|c| c == ' ')
    });
    let added: Vec<Value> = added
        .map(|id| {
            json!({
                "id": id, "content": tokens.texts[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": tokens.kinds[id] != kinds::USER_DEFINED,
            })
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": model,
    })
}

fn bpe(vocabulary: Map<String, Value>, merges: Vec<[&str; 2]>) -> Value {
    json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocabulary, "merges": merges,
    })
}

/// Puts a token into a vocabulary.
fn put(vocabulary: &mut Map<String, Value>, text: String, id: usize) -> Result<(), String> {
    match vocabulary.insert(text, json!(id)) {
        Some(other) => Err(format!("tokens {other} and {id} (`tokenizer.ggml.tokens`) are the same")),
        None => Ok(()),
    }
}

/// What puts the first token before a text.
fn first(id: u64, text: &str) -> Value {
    let token = json!({"SpecialToken": {"id": text, "type_id": 0}});
    let of = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [token, of("A")],
        "pair": [token, of("A"), token, of("B")],
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]}},
    })
}

/// Byte-level BPE, and whether texts begin with the first token unless the file says otherwise.
fn byte_level(contents: &Contents<'_>, tokens: &Tokens<'_>) -> Result<(Value, bool), String> {
    let split = splits::named(contents.text("tokenizer.ggml.pre")?)?;
    let mut vocabulary = Map::new();
    for (id, text) in tokens.texts.iter().enumerate() {
        // A split that takes words as tokens must not find these among them.
        let own = split.ignore_merges && tokens.kinds[id] != kinds::NORMAL;
        if !own && !tokens.is_filler(id) {
            put(&mut vocabulary, (*text).to_owned(), id)?;
        }
    }
    let merges = contents.list("tokenizer.ggml.merges", |value| match value {
        Meta::Text(text) => text.split_once(' ').map(|(left, right)| [left, right]),
        _ => None,
    })?;
    let mut json = whole(tokens, bpe(vocabulary, merges));
    json["model"]["ignore_merges"] = json!(split.ignore_merges);
    json["normalizer"] = (split.normalizer)();
    json["pre_tokenizer"] = (split.pre_tokenizer)();
    json["decoder"] =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    Ok((json, split.begins))
}

/// SentencePiece's BPE, whose merges follow from the scores of its tokens.
fn sentence_pieces(contents: &Contents<'_>, tokens: &Tokens<'_>) -> Result<(Value, bool), String> {
    let scores = contents.list("tokenizer.ggml.scores", |value| match value {
        Meta::Float(score) => Some(*score),
        _ => None,
    })?;
    if scores.len() != tokens.texts.len() {
        let (tokens, scores) = (tokens.texts.len(), scores.len());
        return Err(format!("has {tokens} tokens, but {scores} scores (`tokenizer.ggml.scores`)"));
    }
    if contents.flag("tokenizer.ggml.remove_extra_whitespaces")? == Some(true) {
        return Err(
            "`tokenizer.ggml.remove_extra_whitespaces` is true; qstill reads tokenizers that keep all \
                    blanks"
                .to_owned(),
        );
    }
    let mut vocabulary = Map::new();
    let mut pieces = Vec::new();
    for (id, text) in tokens.texts.iter().enumerate() {
        if !tokens.is_filler(id) {
            let text = text.replace(' ', BLANK);
            put(&mut vocabulary, text.clone(), id)?;
            pieces.push((text, scores[id], tokens.kinds[id]));
        }
    }
    let merges = merges(&pieces);
    let mut json = whole(tokens, bpe(vocabulary, Vec::new()));
    let model = &mut json["model"];
    model["merges"] = merges.into_iter().map(|pair| json!(pair)).collect();
    model["unk_token"] = json!(tokens.special(contents, "unknown")?.map_or("<unk>", |(_, text)| text));
    model["fuse_unk"] = json!(true);
    model["byte_fallback"] = json!(true);
    let prefix = contents.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let (normalizer, decoder) = blanks(prefix);
    (json["normalizer"], json["decoder"]) = (normalizer, decoder);
    Ok((json, true))
}

/// Normalizer and decoder of SentencePiece: blanks are characters, and there may be one before a text.
pub fn blanks(prefix: bool) -> (Value, Value) {
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": BLANK});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": BLANK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if !prefix {
        return (replace, json!({"type": "Sequence", "decoders": decoders}));
    }
    decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    let prepend = json!({"type": "Prepend", "prepend": BLANK});
    (
        json!({"type": "Sequence", "normalizers": [prepend, replace]}),
        json!({"type": "Sequence", "decoders": decoders}),
    )
}

/// The merges of SentencePiece's BPE, first first: a pair becomes a piece the earlier the higher the piece
/// scores, as `transformers` converts them. Control tokens and bytes are never merged, and user-defined
/// pieces, which SentencePiece looks for before all else, come first whatever a file says they score.
pub fn merges(pieces: &[(String, f64, i32)]) -> Vec<[String; 2]> {
    let apart = |kind: i32| matches!(kind, kinds::CONTROL | kinds::UNKNOWN | kinds::BYTE);
    let places: HashMap<&str, usize> =
        pieces.iter().enumerate().filter(|(_, p)| !apart(p.2)).map(|(at, p)| (p.0.as_str(), at)).collect();
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for (text, score, kind) in pieces {
        if apart(*kind) || !seen.insert(text) {
            continue;
        }
        let mut own: Vec<(usize, usize)> = Vec::new();
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(left), Some(right)) = (places.get(left), places.get(right)) {
                own.push((*left, *right));
            }
        }
        own.sort_unstable();
        let score = if *kind == kinds::USER_DEFINED { f64::INFINITY } else { *score };
        let length = |at: usize| pieces[at].0.chars().count();
        all.extend(own.into_iter().map(|(l, r)| (score, [length(l), length(r)], [l, r])));
    }
    all.sort_by(|(a, one, _), (b, two, _)| b.total_cmp(a).then_with(|| two.cmp(one)));
    all.into_iter().map(|(.., pair)| pair.map(|at| pieces[at].0.clone())).collect()
}
