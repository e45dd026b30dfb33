//! Fields of a request that a server may refuse: one that it does not take is left out from then on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::said::{Kind, Said};

/// What the limit of tokens is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokens {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

impl MaxTokens {
    fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => MAX_TOKENS,
            Self::MaxCompletionTokens => MAX_COMPLETION_TOKENS,
        }
    }
}

const MAX_TOKENS: &str = "max_tokens";
const MAX_COMPLETION_TOKENS: &str = "max_completion_tokens";
/// The system turn, which is no field but is refused like one.
const SYSTEM: &str = "system";
/// Several samples in one request.
pub(super) const N: &str = "n";
/// What `endpoint.omit` may name.
pub const OMITTABLE: [&str; 5] = ["max_tokens", "seed", "stop", "temperature", "top_p"];
/// What a server may refuse, the least important first, and what follows.
const REFUSABLE: [(&str, &str); 9] = [
    ("logprobs", "steps have no log-probabilities (endpoint.logprobs = false)"),
    ("seed", "the same samples cannot be drawn again (endpoint.omit = [\"seed\"])"),
    ("top_p", "the server's own is used (endpoint.omit = [\"top_p\"])"),
    ("top_k", "the server's own is used (search.top_k = 0)"),
    ("stop", "more is generated than is needed (endpoint.omit = [\"stop\"])"),
    (N, "samples are requested one by one (endpoint.use_n = false)"),
    (
        MAX_TOKENS,
        "it is sent as max_completion_tokens (endpoint.max_tokens_field = \"max_completion_tokens\")",
    ),
    (MAX_COMPLETION_TOKENS, "the server's own limit is used (endpoint.omit = [\"max_tokens\"])"),
    ("temperature", "samples are drawn at the server's own temperature (endpoint.omit = [\"temperature\"])"),
];
/// What is said of a field that is not taken.
const REFUSING: [&str; 14] = [
    "unsupported",
    "not supported",
    "not support",
    "n't support",
    "unknown",
    "unrecognized",
    "unexpected",
    "not permitted",
    "not allowed",
    "not available",
    "cannot both",
    "must be 1",
    "incompatible",
    "deprecated",
];

/// What this server is not sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LeftOut(Vec<&'static str>);

impl LeftOut {
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains(&field)
    }

    /// Leaves out another field; what follows, unless it is left out already.
    pub(super) fn add(&mut self, field: &'static str) -> Option<String> {
        if self.has(field) {
            return None;
        }
        self.0.push(field);
        if field == SYSTEM {
            return Some(
                "endpoint: the server takes no system turn: the instruction is put in front of the first \
                 question"
                    .to_owned(),
            );
        }
        let what = REFUSABLE.iter().find(|(name, _)| *name == field).map_or("", |(_, what)| what);
        Some(format!("endpoint: the server refuses `{field}`: {what}"))
    }

    /// The request as it is sent; `None` if that is as it is.
    pub(super) fn apply(&self, request: &Value, omit: &[String], limit: MaxTokens) -> Option<Value> {
        let Value::Object(request) = request else { return None };
        let omits = || omit.iter().any(|left| request.contains_key(left));
        if self.0.is_empty() && limit == MaxTokens::MaxTokens && !omits() {
            return None;
        }
        let mut sent = Map::new();
        for (name, value) in request {
            let mut name = name.as_str();
            if omit.iter().any(|left| left == name) {
                continue;
            }
            if name == MAX_TOKENS {
                name = if self.has(MAX_TOKENS) { MAX_COMPLETION_TOKENS } else { limit.name() };
            }
            if self.has(name) {
                continue;
            }
            let joined = name == "messages" && self.has(SYSTEM);
            sent.insert(name.to_owned(), if joined { without_system(value) } else { value.clone() });
        }
        Some(Value::Object(sent))
    }
}

/// The field of a request that a server refuses.
pub(super) fn refused(sent: &Value, said: &Said) -> Option<&'static str> {
    if said.kind != Kind::Rejected {
        return None;
    }
    let message = said.message.to_lowercase();
    let begins = sent.pointer("/messages/0/role").and_then(Value::as_str);
    let alternate = message.contains("roles must alternate") || message.contains("system role");
    if begins == Some(SYSTEM) && alternate {
        return Some(SYSTEM);
    }
    if !REFUSING.iter().any(|words| message.contains(words)) {
        return None;
    }
    let word = |name: &str| {
        message.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == name)
    };
    let mut there = REFUSABLE.iter().map(|(name, _)| *name).filter(|name| sent.get(name).is_some());
    let named = there.clone().find(|name| said.field.as_deref() == Some(*name));
    named.or_else(|| there.find(|name| word(name)))
}

/// Turns without the system turn, whose text stands in front of the first question.
fn without_system(messages: &Value) -> Value {
    let [first, second, rest @ ..] = messages.as_array().map_or(&[][..], Vec::as_slice) else {
        return messages.clone();
    };
    let text = |turn: &Value| turn["content"].as_str().unwrap_or_default().to_owned();
    let mut joined = second.clone();
    joined["content"] = json!(format!("{}\n\n{}", text(first), text(second)));
    std::iter::once(joined).chain(rest.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_is_meant() {
        let sent = json!({
            "messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1?"}],
            "seed": 1, "temperature": 0.7, "top_p": 0.9, "max_tokens": 9, "n": 2, "logprobs": true,
        });
        let field = |error: Value| refused(&sent, &Said::read(400, &json!({"error": error}).to_string()));
        let says = |message: &str| field(json!({"message": message}));
        assert_eq!(says("Unsupported parameter: 'seed'"), Some("seed"));
        assert_eq!(says("`temperature` and `top_p` cannot both be specified"), Some("top_p"));
        assert_eq!(says("'temperature' does not support 0.7"), Some("temperature"));
        assert_eq!(says("n must be 1"), Some("n"));
        assert_eq!(says("Conversation roles must alternate user/assistant"), Some("system"));
        assert_eq!(
            field(json!({"message": "not supported, use top_p", "param": "max_tokens"})),
            Some("max_tokens")
        );
        // Not sent; not refused; another fault.
        assert_eq!(says("Unsupported parameter: 'stop'"), None);
        assert_eq!(says("seed is too large"), None);
        assert_eq!(says("unknown maximum context length of max_tokens"), None);
    }

    #[test]
    fn what_is_left_out_is_not_sent() {
        let request = json!({
            "messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1?"}],
            "seed": 1, "max_tokens": 9,
        });
        let mut left = LeftOut::default();
        let sent = |left: &LeftOut, omit: &[&str]| {
            let omit: Vec<String> = omit.iter().map(ToString::to_string).collect();
            left.apply(&request, &omit, MaxTokens::MaxTokens).unwrap_or(request.clone())
        };
        assert_eq!(left.apply(&request, &["stop".to_owned()], MaxTokens::MaxTokens), None);
        assert_eq!(sent(&left, &[]), request);
        assert_eq!(sent(&left, &["seed", "max_tokens"]), json!({"messages": request["messages"]}));
        assert!(left.add("max_tokens").is_some() && left.add("max_tokens").is_none());
        assert_eq!(sent(&left, &["seed"])["max_completion_tokens"], 9);
        left.add("max_completion_tokens");
        left.add("seed");
        left.add("system");
        let turn = json!({"role": "user", "content": "Add.\n\n1+1?"});
        assert_eq!(sent(&left, &[]), json!({"messages": [turn]}));
    }
}
