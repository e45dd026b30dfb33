//! How byte-level tokenizers split a text before they merge: by the name that llama.cpp has for it
//! (`tokenizer.ggml.pre`), and as `tokenizer.json` says it. llama.cpp knows a way by its name alone, so one
//! that is not in this list cannot be written.

use serde_json::{Value, json};

/// A way to split.
pub struct Split {
    /// What llama.cpp calls it; the first name is the one that is written.
    pub names: &'static [&'static str],
    pub normalizer: fn() -> Value,
    pub pre_tokenizer: fn() -> Value,
    /// Whether a word that is a token is one, whatever merges would make of it.
    pub ignore_merges: bool,
    /// Whether texts begin with the first token, unless a file says otherwise.
    pub begins: bool,
}

/// Every split that is read and written.
pub const SPLITS: [Split; 6] = [
    Split {
        names: &["qwen2"],
        normalizer: || json!({"type": "NFC"}),
        pre_tokenizer: || words(QWEN),
        ignore_merges: false,
        begins: false,
    },
    // The same without a normal form: what llama.cpp itself does for both.
    Split {
        names: &["deepseek-r1-qwen", "stablelm2"],
        normalizer: || Value::Null,
        pre_tokenizer: || words(QWEN),
        ignore_merges: false,
        begins: false,
    },
    Split {
        names: &["llama-bpe", "llama3", "llama-v3", "smaug-bpe"],
        normalizer: || Value::Null,
        pre_tokenizer: || words(LLAMA),
        ignore_merges: true,
        begins: true,
    },
    Split {
        names: &["tekken"],
        normalizer: || Value::Null,
        pre_tokenizer: || words(TEKKEN),
        ignore_merges: true,
        begins: true,
    },
    Split {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell"],
        normalizer: || Value::Null,
        pre_tokenizer: || {
            let digits = json!({"type": "Digits", "individual_digits": true});
            json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]})
        },
        ignore_merges: false,
        begins: false,
    },
    Split {
        names: &["gpt-2", "phi-2", "olmo", "mpt"],
        normalizer: || Value::Null,
        pre_tokenizer: || bytes(true),
        ignore_merges: false,
        begins: false,
    },
];

const QWEN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const LLAMA: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

fn bytes(regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex})
}

fn words(regex: &str) -> Value {
    let split =
        json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
}

/// The split of a name.
///
/// # Errors
/// A name that is not read, or none.
pub fn named(name: Option<&str>) -> Result<&'static Split, String> {
    let found = name.and_then(|name| SPLITS.iter().find(|split| split.names.contains(&name)));
    found.ok_or_else(|| {
        let known: Vec<&str> = SPLITS.iter().flat_map(|split| split.names).copied().collect();
        format!(
            "`tokenizer.ggml.pre` is {}, which does not say how texts are split; qstill reads {}",
            name.map_or("missing".to_owned(), |name| format!("`{name}`")),
            known.join(", ")
        )
    })
}

/// The split of a `tokenizer.json`.
pub fn of(tokenizer: &Value) -> Option<&'static Split> {
    let ignore = tokenizer["model"]["ignore_merges"].as_bool().unwrap_or(false);
    SPLITS.iter().find(|split| {
        split.ignore_merges == ignore
            && same(&tokenizer["pre_tokenizer"], &(split.pre_tokenizer)())
            && same(&tokenizer["normalizer"], &(split.normalizer)())
    })
}

/// Whether two parts of a tokenizer do the same: offsets are nobody's business here, and a list of nothing
/// does nothing.
pub fn same(a: &Value, b: &Value) -> bool {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Object(fields) if fields.get("normalizers") == Some(&json!([])) => Value::Null,
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(key, _)| *key != "trim_offsets");
                kept.map(|(key, value)| (key.clone(), plain(value))).collect()
            }
            Value::Array(all) => all.iter().map(plain).collect(),
            other => other.clone(),
        }
    }
    plain(a) == plain(b)
}
