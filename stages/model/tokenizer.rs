//! Text to tokens and back: a model's own `tokenizer.json` and chat template, or a byte-level BPE
//! trained on a run's own texts, digits apart.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, context};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, DecoderWrapper, PreTokenizerWrapper, TokenizerBuilder, TokenizerImpl};

use super::ModelError;
use crate::policy::{Message, Role};

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
    template: String,
    bos: String,
    eos: String,
    /// `tokenizer_config.json`, kept as read.
    settings: Value,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and the chat template (`chat_template.jinja`, or the one in
    /// `tokenizer_config.json`) of a model directory.
    ///
    /// # Errors
    /// Names the file that is missing or malformed.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("tokenizer.json");
        let json = fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
        let settings_path = dir.join("tokenizer_config.json");
        let settings: Value = match fs::read_to_string(&settings_path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|e| ModelError::Tokenizer { path: settings_path, what: format!("not JSON: {e}") })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(e) => return Err(ModelError::io(&settings_path, e)),
        };
        let template = match fs::read_to_string(dir.join("chat_template.jinja")) {
            Ok(text) => text,
            Err(_) => settings["chat_template"].as_str().unwrap_or_default().to_owned(),
        };
        let tokenizer = Self::from_parts(json, template, settings)
            .map_err(|what| ModelError::Tokenizer { path, what })?;
        // A template that cannot be rendered is noticed now, not in the middle of a search.
        tokenizer.prompt(&[Message { role: Role::User, content: "1+1".into() }])?;
        Ok(tokenizer)
    }

    fn from_parts(json: String, template: String, settings: Value) -> Result<Self, String> {
        // The library panics on some files that are no tokenizer.
        let parsed = catch_unwind(|| json.parse::<tokenizers::Tokenizer>());
        let parsed = parsed.map_err(|_| "not a tokenizer: it cannot be parsed".to_owned())?;
        let mut inner = parsed.map_err(|e| format!("not a tokenizer: {e}"))?;
        // Padding and truncation are this program's business: batches are laid out by hand.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        let special = |key: &str| {
            let value = &settings[key];
            value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
        };
        Ok(Self { inner, template, bos: special("bos_token"), eos: special("eos_token"), json, settings })
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
        Self::from_parts(json, TEMPLATE.to_owned(), settings).map_err(failed)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Id of the token that ends a turn, where the tokenizer names one.
    pub fn eos(&self) -> Option<u32> {
        self.inner.token_to_id(&self.eos)
    }

    /// Tokens of plain text, special tokens in it recognised.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.inner.encode_fast(text, false).map(|e| e.get_ids().to_vec()).unwrap_or_default()
    }

    /// Text of tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, true).unwrap_or_default()
    }

    /// The text that asks the model for its next turn. Without a chat template: turns separated by blank
    /// lines.
    ///
    /// # Errors
    /// If the model's template does not render.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, ModelError> {
        if self.template.is_empty() {
            return Ok(messages.iter().map(|m| format!("{}\n\n", m.content)).collect());
        }
        let failed = |e: minijinja::Error| ModelError::Tokenizer {
            path: "chat_template".into(),
            what: format!(
                "failed to render: {}, line {}",
                e.detail().map_or_else(|| e.kind().to_string(), str::to_owned),
                e.line().unwrap_or(1)
            ),
        };
        let mut environment = Environment::new();
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        // As `transformers` renders them.
        environment.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?,
        );
        environment.add_function("raise_exception", |text: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text))
        });
        environment.add_template("chat", &self.template).map_err(failed)?;
        let template = environment.get_template("chat").map_err(failed)?;
        let turns: Vec<minijinja::Value> = messages
            .iter()
            .map(|m| context! { role => m.role.to_string(), content => m.content.clone() })
            .collect();
        let values = context! {
            messages => turns,
            add_generation_prompt => true,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        template.render(values).map_err(failed)
    }

    /// The token sequence of a prompt.
    ///
    /// # Errors
    /// If the model's template does not render.
    pub fn prompt_tokens(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        Ok(self.encode(&self.prompt(messages)?))
    }

    /// `tokenizer.json` as read or trained.
    pub fn json(&self) -> &str {
        &self.json
    }

    pub fn template_source(&self) -> &str {
        &self.template
    }

    /// The tokenizer's files of a model directory.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut settings = self.settings.clone();
        if !self.template.is_empty() {
            settings["chat_template"] = json!(self.template);
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
