//! The JSON of a chat completion, read with tolerance: servers agree on the outline only.

use datasets::answer::without_end;
use serde_json::Value;

use super::document::Document;

/// Beginnings of turns that some servers leave in the text.
const HEADERS: [&str; 3] =
    ["<|start_header_id|>assistant<|end_header_id|>\n\n", "<|im_start|>assistant\n", "assistant\n\n"];
/// What stands for a log-probability that is not known.
const NO_LOGPROB: f32 = -9999.0;

/// One server answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// In order of their index; never empty.
    pub choices: Vec<Choice>,
    /// `usage.completion_tokens`: of all choices together.
    pub used: Option<u32>,
    /// `usage.prompt_tokens`.
    pub prompt: Option<u64>,
}

/// Why a body is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// It has no list of choices.
    Choices,
    /// The list is empty.
    Any,
    /// Every choice is an error.
    Sound,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub text: String,
    /// What the model thought, where the server tells it apart from the text.
    pub thought: String,
    pub ended: Ended,
    /// Empty where the server gave no log-probabilities.
    pub tokens: Vec<Token>,
    /// What the model or the server says instead of an answer.
    pub refusal: String,
}

#[derive(Debug)]
pub(super) struct Token {
    pub bytes: Vec<u8>,
    /// Natural logarithm; NaN if the server does not know it.
    pub logprob: f32,
}

/// How a choice came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// At this stop string.
    Stop(String),
    /// By the model's own end of text.
    Natural,
    /// At `max_tokens`.
    Length,
    /// By the server's filter, or the model's refusal.
    Filtered,
    /// At a stop string or at the end of text: the server does not say which.
    Unsaid,
}

impl Reply {
    /// Reads a body. Choices that are errors are left out.
    pub(super) fn read(body: &Value, stops: &[&str]) -> Result<Self, Lacking> {
        Self::with(body, &mut [], stops)
    }

    /// The same of a body whose tokens are read already.
    pub(super) fn of(mut document: Document, stops: &[&str]) -> Result<Self, (Lacking, Value)> {
        Self::with(&document.value, &mut document.tokens, stops).map_err(|lacking| (lacking, document.value))
    }

    fn with(body: &Value, tokens: &mut [Option<Vec<Token>>], stops: &[&str]) -> Result<Self, Lacking> {
        let all = body.get("choices").and_then(Value::as_array).ok_or(Lacking::Choices)?;
        if all.is_empty() {
            return Err(Lacking::Any);
        }
        let broken = |choice: &&Value| {
            choice.get("error").is_some_and(|error| !error.is_null())
                || choice.get("finish_reason").and_then(Value::as_str) == Some("error")
        };
        let mut raw: Vec<(usize, &Value)> = all.iter().enumerate().filter(|(_, one)| !broken(one)).collect();
        raw.sort_by_key(|(_, choice)| choice.get("index").and_then(Value::as_u64).unwrap_or(0));
        let mut tokens = |place: usize| tokens.get_mut(place).and_then(Option::take);
        let choices: Vec<_> =
            raw.into_iter().map(|(place, choice)| Choice::read(choice, body, tokens(place), stops)).collect();
        // Some count in floating point.
        let usage = |field: &str| {
            let count = body.get("usage")?.get(field)?.as_f64()?;
            (count >= 0.0 && count.fract() == 0.0).then_some(count as u64)
        };
        let used = usage("completion_tokens").and_then(|used| used.try_into().ok());
        let prompt = usage("prompt_tokens");
        if choices.is_empty() { Err(Lacking::Sound) } else { Ok(Self { choices, used, prompt }) }
    }

    /// Tokens of each of the first `count` choices, and whether they had to be estimated.
    ///
    /// Their sum is `usage.completion_tokens`, unless there are more log-probabilities than that.
    /// Log-probabilities give the shares of several choices; without, the shares are even. Without
    /// `usage` a token is a log-probability, and without either it is four characters.
    pub(super) fn shares(&self, count: usize) -> (Vec<u32>, bool) {
        let choices = &self.choices[..count.min(self.choices.len())];
        let mut shares: Vec<u32> = choices.iter().map(|choice| choice.tokens.len() as u32).collect();
        let Some(used) = self.used else {
            let estimate = |c: &Choice| match c.tokens.len() {
                0 => (c.text.chars().count() + c.thought.chars().count()).div_ceil(4) as u32,
                known => known as u32,
            };
            return (choices.iter().map(estimate).collect(), true);
        };
        if let [share] = shares.as_mut_slice() {
            *share = used;
            return (shares, false);
        }
        let rest = used.saturating_sub(shares.iter().sum());
        let (each, odd) = (rest / shares.len() as u32, rest % shares.len() as u32);
        for (place, share) in shares.iter_mut().enumerate() {
            *share += each + u32::from((place as u32) < odd);
        }
        (shares, false)
    }
}

impl Choice {
    /// `tokens` if they are read already.
    fn read(choice: &Value, body: &Value, tokens: Option<Vec<Token>>, stops: &[&str]) -> Self {
        let said = |place: &str| choice.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let mut thought = ["/message/reasoning_content", "/message/reasoning", "/message/thinking"]
            .iter()
            .map(|place| said(place))
            .find(|thought| !thought.trim().is_empty())
            .unwrap_or_default()
            .to_owned();
        let content = match choice.pointer("/message/content") {
            Some(Value::Array(parts)) => {
                if thought.is_empty() {
                    thought = parts.iter().map(thinking).collect();
                }
                parts.iter().filter_map(part).collect()
            }
            Some(Value::String(text)) => text.clone(),
            // The form of plain completions.
            _ => said("/text").to_owned(),
        };
        // All or nothing: with a token missing the others could not be laid along the text.
        let tokens = tokens.unwrap_or_else(|| {
            let list = choice.pointer("/logprobs/content").and_then(Value::as_array);
            list.and_then(|list| list.iter().map(Token::read).collect()).unwrap_or_default()
        });
        let refusal = said("/message/refusal").to_owned();
        let headless = HEADERS.iter().find_map(|header| content.strip_prefix(header));
        let text = headless.map_or_else(|| content.clone(), str::to_owned);
        let mut read = Self { text, thought, ended: Ended::Unsaid, tokens, refusal };
        let tail = read.strip_end();
        read.ended = match read.how_it_ended(choice, body, stops) {
            Ended::Unsaid if tail => Ended::Natural,
            ended => ended,
        };
        // Some servers can be told to include the stop string in the text; it is added back by the caller.
        if let Ended::Stop(stop) = &read.ended
            && let Some(text) = read.text.strip_suffix(stop.as_str())
        {
            read.text.truncate(text.len());
        }
        read
    }

    /// Removes ends of turns from the end of the text; true if there was one.
    fn strip_end(&mut self) -> bool {
        let mut found = false;
        while let Some(length) = without_end(&self.text).map(str::len) {
            self.text.truncate(length);
            found = true;
        }
        found
    }

    /// Reads what the server says of the end, in whatever dialect.
    ///
    /// - `finish_reason`: `length` everywhere; `eos_token` and `stop_sequence` from TGI.
    /// - `stop_reason` (vLLM), `matched_stop` (SGLang): the stop string, or the number of an end token.
    ///   `null` says nothing: proxies fill it in for servers that do not know.
    /// - `stopping_word` and `stop_type` (llama.cpp, inside `__verbose` when it runs verbosely).
    /// - the text itself, or its log-probabilities, where they go on into the stop string.
    fn how_it_ended(&self, choice: &Value, body: &Value, stops: &[&str]) -> Ended {
        match choice.get("finish_reason").and_then(Value::as_str) {
            Some("length") => return Ended::Length,
            Some("content_filter" | "refusal" | "safety" | "SAFETY") => return Ended::Filtered,
            _ if self.text.is_empty() && !self.refusal.is_empty() => return Ended::Filtered,
            Some("eos_token") => return Ended::Natural,
            Some("stop_sequence") if stops.len() == 1 => return Ended::Stop(stops[0].to_owned()),
            _ => {}
        }
        for place in [
            choice,
            body.get("__verbose").unwrap_or(&Value::Null),
            choice.get("__verbose").unwrap_or(&Value::Null),
        ] {
            for field in ["stop_reason", "matched_stop", "stopping_word", "stop_sequence"] {
                match place.get(field) {
                    Some(Value::String(stop)) if stops.contains(&stop.as_str()) => {
                        return Ended::Stop(stop.clone());
                    }
                    Some(Value::Number(_)) => return Ended::Natural,
                    _ => {}
                }
            }
            if place.get("stop_type").and_then(Value::as_str) == Some("eos") {
                return Ended::Natural;
            }
        }
        let sent: Vec<u8> = self.tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect();
        let beyond = sent.strip_prefix(self.text.as_bytes()).unwrap_or_default();
        let found =
            stops.iter().find(|stop| self.text.ends_with(**stop) || beyond.starts_with(stop.as_bytes()));
        found.map_or(Ended::Unsaid, |stop| Ended::Stop((*stop).to_owned()))
    }
}

/// The text of a part of a content that is a list; thoughts are none.
fn part(part: &Value) -> Option<&str> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
    let text = part.as_str().or_else(|| part.get("text").and_then(Value::as_str));
    text.filter(|_| matches!(kind, "text" | "output_text"))
}

/// The thought of such a part: a text, or parts of its own.
fn thinking(part: &Value) -> String {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "thinking" | "reasoning") {
        return String::new();
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(self::part).collect(),
        _ => String::new(),
    };
    ["thinking", "reasoning", "text", "summary"]
        .iter()
        .filter_map(|name| part.get(*name))
        .map(text)
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

impl Token {
    pub(super) fn new(bytes: Vec<u8>, logprob: f64) -> Self {
        // As f32 the number is as exact as the table's column.
        let logprob = logprob as f32;
        Self { bytes, logprob: if logprob > NO_LOGPROB { logprob } else { f32::NAN } }
    }

    fn read(entry: &Value) -> Option<Self> {
        let logprob = entry.get("logprob")?.as_f64()?;
        let bytes = match entry.get("bytes").and_then(Value::as_array) {
            Some(bytes) => bytes
                .iter()
                .map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()))
                .collect::<Option<Vec<u8>>>()?,
            None => entry.get("token")?.as_str()?.as_bytes().to_vec(),
        };
        Some(Self::new(bytes, logprob))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dialects_of_the_end() {
        let stop = |text: &str| Ended::Stop(text.to_owned());
        let token = |text: &str| json!({"token": text, "logprob": -1.0});
        let cases = [
            (json!({"finish_reason": "length", "stop_reason": null}), Ended::Length),
            (json!({"finish_reason": "stop", "stop_reason": "="}), stop("=")),
            (json!({"finish_reason": "stop", "stop_reason": 2}), Ended::Natural),
            (json!({"finish_reason": "stop", "stop_reason": null}), Ended::Unsaid),
            (json!({"finish_reason": "stop", "matched_stop": "\n"}), stop("\n")),
            (json!({"finish_reason": "stop", "matched_stop": "</s>"}), Ended::Unsaid),
            (json!({"finish_reason": "eos_token"}), Ended::Natural),
            (
                json!({"finish_reason": "stop", "__verbose": {"stop_type": "eos", "stopping_word": ""}}),
                Ended::Natural,
            ),
            (
                json!({"finish_reason": "stop", "__verbose": {"stop_type": "word", "stopping_word": "="}}),
                stop("="),
            ),
            (
                json!({"finish_reason": "stop", "logprobs": {"content": [token("3*8"), token(" =")]}}),
                Ended::Unsaid,
            ),
            (
                json!({"finish_reason": "stop", "logprobs": {"content": [token("3*8"), token("=")]}}),
                stop("="),
            ),
            (json!({"finish_reason": "stop", "message": {"content": "3*8="}}), stop("=")),
            (json!({"finish_reason": "stop"}), Ended::Unsaid),
            (json!({}), Ended::Unsaid),
        ];
        for (mut choice, expected) in cases {
            if choice.get("message").is_none() {
                choice["message"] = json!({"content": "3*8"});
            }
            let reply = Reply::read(&json!({"choices": [choice]}), &["=", "\n"]).unwrap();
            assert_eq!(reply.choices[0].ended, expected, "{choice}");
            assert_eq!(reply.choices[0].text, "3*8");
        }
    }

    #[test]
    fn shares_add_up() {
        let reply = |usage: Value| {
            let choices: Vec<_> =
                ["12345", "1", ""].iter().map(|text| json!({"message": {"content": text}})).collect();
            Reply::read(&json!({"choices": choices, "usage": usage}), &[]).unwrap()
        };
        assert_eq!(reply(json!({"completion_tokens": 11})).shares(3), (vec![4, 4, 3], false));
        assert_eq!(reply(json!({"completion_tokens": 11})).shares(2), (vec![6, 5], false));
        assert_eq!(reply(json!({"completion_tokens": 11})).shares(1), (vec![11], false));
        assert_eq!(reply(Value::Null).shares(9), (vec![2, 1, 0], true));
    }
}
