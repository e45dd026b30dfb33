//! Text to tokens and back: a model's own `tokenizer.json` and chat template, or a byte-level BPE
//! trained on a run's own texts, digits apart.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, DecoderWrapper, PreTokenizerWrapper, TokenizerBuilder, TokenizerImpl};

use super::{ModelError, gguf};
use crate::policy::{Message, Role};

mod template;
#[cfg(test)]
mod tests;

use template::{Special, Template};

/// Start of the user's turn, start of the assistant's turn, end of a turn (a trained tokenizer's special
/// tokens).
const USER: &str = "<|user|>";
const ASSISTANT: &str = "<|assistant|>";
const END: &str = "<|end|>";
const SPECIALS: [&str; 3] = [USER, ASSISTANT, END];

/// Chat template of a trained tokenizer.
const TEMPLATE: &str = "{% for message in messages %}{% if message.role == 'assistant' %}<|assistant|>{{ \
    message.content }}<|end|>{% else %}<|user|>{{ message.content }}{% endif %}{% endfor %}{% if \
    add_generation_prompt %}<|assistant|>{% endif %}";

/// A tokenizer with its chat template.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: String,
    template: Template,
    /// Tokens that a text begins with where there is no chat template.
    first: Vec<u32>,
    /// `tokenizer_config.json`, kept as read.
    settings: Value,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and the chat template (`chat_template.jinja`, or the one in
    /// `tokenizer_config.json`) of a model directory, or what a GGUF file has in their place.
    ///
    /// # Errors
    /// Names the file that is missing or malformed.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        if gguf::is(dir) {
            let (json, settings) = gguf::tokenizer(dir)?;
            let bad = |what| ModelError::Tokenizer { path: dir.to_owned(), what };
            let template = Template::of(&settings).map_err(bad)?;
            return Self::of(dir.to_owned(), json, template, settings);
        }
        let path = dir.join("tokenizer.json");
        let json = fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
        ModelError::no_pointer(&path, json.as_bytes())?;
        let settings_path = dir.join("tokenizer_config.json");
        let settings: Value = match fs::read_to_string(&settings_path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|e| ModelError::Tokenizer { path: settings_path, what: format!("not JSON: {e}") })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(e) => return Err(ModelError::io(&settings_path, e)),
        };
        let template = Template::read(dir, &settings)?;
        Self::of(path, json, template, settings)
    }

    /// A tokenizer of what a model has; `path` is named in errors.
    fn of(path: PathBuf, json: String, template: Template, settings: Value) -> Result<Self, ModelError> {
        let tokenizer = Self::from_parts(json, template, settings)
            .map_err(|what| ModelError::Tokenizer { path, what })?;
        // A template that cannot be rendered is noticed now, not in the middle of a search.
        tokenizer.prompt(&[Message { role: Role::User, content: "1+1".into() }])?;
        Ok(tokenizer)
    }

    fn from_parts(json: String, template: Template, settings: Value) -> Result<Self, String> {
        let inner = parse(&json)?;
        let first = if template.is_empty() { first(&inner) } else { Vec::new() };
        Ok(Self { inner, json, template, first, settings })
    }

    /// The same for a model with embeddings for so many tokens. Added tokens beyond are not recognised: a
    /// text with one is read like any other (Gemma 3 has such a token for images).
    ///
    /// # Errors
    /// A token of the vocabulary itself that is beyond.
    pub fn within(mut self, size: usize) -> Result<Self, String> {
        let vocabulary = self.inner.get_vocab(false);
        if let Some((token, id)) =
            vocabulary.iter().filter(|(_, id)| **id as usize >= size).min_by_key(|(_, id)| **id)
        {
            return Err(format!("token {token:?} has id {id}, but config.json says vocab_size {size}"));
        }
        let added = self.inner.get_added_tokens_decoder();
        let beyond: Vec<&str> = added
            .iter()
            .filter(|(id, _)| **id as usize >= size)
            .map(|(_, token)| token.content.as_str())
            .collect();
        if beyond.is_empty() {
            return Ok(self);
        }
        let mut json: Value = serde_json::from_str(&self.json).map_err(|e| e.to_string())?;
        if let Some(tokens) = json["added_tokens"].as_array_mut() {
            tokens.retain(|token| !beyond.iter().any(|content| token["content"] == **content));
        }
        self.inner = parse(&json.to_string())?;
        Ok(self)
    }

    /// Least size of a vocabulary that is trained: the bytes and the special tokens.
    pub const LEAST: usize = 256 + SPECIALS.len();

    /// Trains a byte-level BPE on texts, every digit a token of its own.
    ///
    /// # Errors
    /// If `vocab_size` is below [`Tokenizer::LEAST`].
    pub fn train(texts: &[String], vocab_size: usize) -> Result<Self, ModelError> {
        let failed = |what: String| ModelError::Tokenizer { path: "tokenizer.json".into(), what };
        if vocab_size < Self::LEAST {
            let least = Self::LEAST;
            return Err(failed(format!(
                "a vocabulary of {vocab_size} is too small: the bytes and special tokens alone take {least}"
            )));
        }
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(SPECIALS.iter().map(|s| AddedToken::from(*s, true)).collect())
            .build();
        let split = Sequence::new(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ]);
        let mut tokenizer: TokenizerImpl<
            BPE,
            tokenizers::NormalizerWrapper,
            PreTokenizerWrapper,
            tokenizers::PostProcessorWrapper,
            DecoderWrapper,
        > = TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(split)))
            .with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())))
            .build()
            .map_err(|e| failed(e.to_string()))?;
        tokenizer.train(&mut trainer, texts.iter()).map_err(|e| failed(e.to_string()))?;
        let json = tokenizer.to_string(true).map_err(|e| failed(e.to_string()))?;
        let settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END, "pad_token": END,
            "clean_up_tokenization_spaces": false,
            "chat_template": TEMPLATE,
        });
        Self::from_parts(json, Template(TEMPLATE.to_owned()), settings).map_err(failed)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Id of the token that ends a text, where `tokenizer_config.json` names one.
    pub fn eos(&self) -> Option<u32> {
        self.special_id("eos_token")
    }

    /// Id of a token that `tokenizer_config.json` names.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.inner.token_to_id(&special(&self.settings, name))
    }

    /// What the tokenizer puts before a text that no chat template begins.
    pub fn begin(&self) -> Vec<u32> {
        first(&self.inner)
    }

    /// Of the tokens that end a text, the one by which the chat template ends a turn.
    pub fn end_of_turn(&self, ends: &[u32]) -> Option<u32> {
        const SAID: &str = "qstill";
        let turns = [(Role::User, "1+1"), (Role::Assistant, SAID)];
        let turns = turns.map(|(role, content)| Message { role, content: content.into() });
        let text = self.template.render(&turns, false, &self.specials()).ok()?;
        let (_, after) = text.rsplit_once(SAID)?;
        self.encode(after).into_iter().find(|id| ends.contains(id))
    }

    /// Tokens of plain text, special tokens in it recognised.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.inner.encode_fast(text, false).map(|e| e.get_ids().to_vec()).unwrap_or_default()
    }

    /// Tokens of a text that a sequence begins with, such as a prompt. A chat template writes its own first
    /// token; without one the tokenizer may add it (Llama's `<s>`).
    pub fn encode_first(&self, text: &str) -> Vec<u32> {
        let mut tokens = self.first.clone();
        tokens.extend(self.encode(text));
        tokens
    }

    /// Text of tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).unwrap_or_default()
    }

    /// Text of a single token, special or not.
    pub fn piece(&self, id: u32) -> String {
        self.inner.decode(&[id], false).unwrap_or_default()
    }

    /// The text that asks the model for its next turn. Without a chat template: turns separated by blank
    /// lines.
    ///
    /// # Errors
    /// If the model's template does not render.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, ModelError> {
        self.template.render(messages, true, &self.specials())
    }

    /// The token sequence of a prompt.
    ///
    /// # Errors
    /// If the model's template does not render.
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        Ok(self.encode_first(&self.prompt(messages)?))
    }

    fn specials(&self) -> Vec<Special> {
        let names = ["bos_token", "eos_token", "unk_token", "pad_token"];
        names.map(|name| (name, special(&self.settings, name))).into()
    }

    /// `tokenizer.json` as read or trained.
    pub fn json(&self) -> &str {
        &self.json
    }

    pub fn template_source(&self) -> &str {
        &self.template.0
    }

    /// The tokenizer's files of a model directory.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut settings = self.settings.clone();
        if !self.template.is_empty() {
            settings["chat_template"] = json!(self.template.0);
        }
        let text = serde_json::to_string_pretty(&settings).unwrap_or_default() + "\n";
        vec![
            ("tokenizer.json".to_owned(), self.json.clone().into_bytes()),
            ("tokenizer_config.json".to_owned(), text.into_bytes()),
        ]
    }

    /// A small trained tokenizer, for tests and device checks.
    pub fn tiny() -> Result<Self, ModelError> {
        Self::train(&["What is 1 + 2?".to_owned(), "1+2=3\n#### 3".to_owned()], 280)
    }
}

fn parse(json: &str) -> Result<tokenizers::Tokenizer, String> {
    // The library panics on some files that are no tokenizer.
    let parsed = catch_unwind(|| json.parse::<tokenizers::Tokenizer>());
    let parsed = parsed.map_err(|_| "not a tokenizer: it cannot be parsed".to_owned())?;
    let mut tokenizer = parsed.map_err(|e| format!("not a tokenizer: {e}"))?;
    // Padding and truncation are this program's business: batches are laid out by hand.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    Ok(tokenizer)
}

/// What a tokenizer puts before a text.
fn first(tokenizer: &tokenizers::Tokenizer) -> Vec<u32> {
    const TEXT: &str = "a";
    let ids =
        |special| tokenizer.encode_fast(TEXT, special).map(|e| e.get_ids().to_vec()).unwrap_or_default();
    let (plain, whole) = (ids(false), ids(true));
    let at = whole.windows(plain.len().max(1)).position(|window| window == plain);
    at.map_or_else(Vec::new, |at| whole[..at].to_vec())
}

/// Text of a special token, which files give as such or as an object; empty if there is none.
fn special(settings: &Value, name: &str) -> String {
    let value = &settings[name];
    value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
}
