//! What a server says where it gives no completion. Each has its own form: a status or only words, an error
//! as an object or a text, at the top of the body or within a choice, codes as numbers or names.

use serde_json::Value;

pub(super) use crate::events::plain;

/// What follows from what a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The same request may succeed later.
    Passing,
    /// The question, or the answer to it, is not wanted by the server.
    Filtered,
    /// Prompt and answer do not fit into the context.
    TooLong,
    /// The account is empty.
    Unpaid,
    Denied,
    NotFound,
    /// Something is wrong with the request.
    Rejected,
}

#[derive(Debug)]
pub(super) struct Said {
    pub kind: Kind,
    /// In the server's words; may hold anything.
    pub message: String,
    /// The field of the request that it names.
    pub field: Option<String>,
    /// The status, or what the body says of one where the status is that of a success.
    pub status: u16,
    /// Whether fewer requests at a time would help.
    pub crowded: bool,
}

/// Names and words that mean the same, wherever servers put them. Compared in lower case.
const PASSING: [&str; 13] = [
    "rate_limit",
    "ratelimit",
    "too_many_requests",
    "too many requests",
    "toomanyrequests",
    "overload",
    "resource_exhausted",
    "server_error",
    "internal",
    "unavailable",
    "timeout",
    "bad_gateway",
    "upstream",
];
/// Those of them that say that there are too many requests.
const CROWDED: usize = 7;
const FILTERED: [&str; 5] =
    ["content_filter", "content_policy", "content_moderation", "responsibleaipolicy", "safety"];
const FILTERED_WORDS: [&str; 4] =
    ["content management policy", "content policy", "requires moderation", "input was flagged"];
const TOO_LONG: [&str; 2] = ["context_length", "exceed_context"];
const TOO_LONG_WORDS: [&str; 4] = ["context length", "context window", "context size", "prompt is too long"];
const UNPAID: [&str; 4] = ["insufficient_quota", "insufficient_credit", "insufficient_balance", "billing"];
const DENIED: [&str; 5] =
    ["invalid_api_key", "authentication", "unauthorized", "permission_denied", "permission_error"];
const NOT_FOUND: [&str; 3] = ["model_not_found", "not_found", "notfounderror"];

impl Said {
    /// Reads a body that came with a status.
    pub(super) fn read(status: u16, body: &str) -> Self {
        let json: Value = super::decode::json(body).unwrap_or_default();
        let error = Self::error(&json).unwrap_or(&json);
        let texts = [error.get("message"), Some(error), error.get("detail"), error.get("msg")];
        let message = texts.into_iter().flatten().find_map(Value::as_str).unwrap_or(body).to_owned();
        let (mut names, mut number) = (String::new(), None);
        for field in ["code", "type", "status", "error_type", "reason"] {
            match error.get(field) {
                Some(Value::String(name)) => match name.trim().parse::<u64>() {
                    Ok(code) => number = number.or(Some(code)),
                    Err(_) => names += &(name.to_lowercase() + " "),
                },
                Some(Value::Number(code)) => number = number.or(code.as_u64()),
                _ => {}
            }
        }
        let inner = number.and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
        let status = if (200..300).contains(&status) { inner.unwrap_or(status) } else { status };
        let field = error.get("param").and_then(Value::as_str).map(str::to_owned);
        let words = message.to_lowercase();
        let kind = kind(status, &names, &words);
        let many = || PASSING[..CROWDED].iter().any(|word| names.contains(word) || words.contains(word));
        let crowded = kind == Kind::Passing && (matches!(status, 429 | 529) || many());
        Self { kind, message, field, status, crowded }
    }

    /// The error in a body, if it holds one.
    pub(super) fn error(json: &Value) -> Option<&Value> {
        let there = |value: &&Value| !value.is_null();
        if let Some(error) = json.get("error").filter(there) {
            return Some(error);
        }
        if json.get("object").and_then(Value::as_str) == Some("error") {
            return Some(json);
        }
        json.get("choices")?.as_array()?.iter().find_map(|choice| choice.get("error")).filter(there)
    }
}

fn kind(status: u16, names: &str, message: &str) -> Kind {
    let named = |list: &[&str]| list.iter().any(|name| names.contains(name));
    let worded = |list: &[&str]| list.iter().any(|words| message.contains(words));
    match status {
        _ if named(&UNPAID) => Kind::Unpaid,
        _ if named(&FILTERED) || worded(&FILTERED_WORDS) => Kind::Filtered,
        402 => Kind::Unpaid,
        401 | 403 => Kind::Denied,
        404 => Kind::NotFound,
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Kind::Passing,
        _ if named(&TOO_LONG) || worded(&TOO_LONG_WORDS) => Kind::TooLong,
        _ if named(&DENIED) => Kind::Denied,
        _ if named(&NOT_FOUND) || message.contains("unexpected endpoint") => Kind::NotFound,
        _ if named(&PASSING) => Kind::Passing,
        // A gateway that hides the status and gives no name.
        200..=299 if worded(&PASSING) => Kind::Passing,
        _ => Kind::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_all_their_clothes() {
        let cases = [
            (200, r#"{"error": {"message": "m", "code": 429}}"#, Kind::Passing),
            (200, r#"{"error": {"message": "m", "code": "429"}}"#, Kind::Passing),
            (200, r#"{"error": {"message": "m", "code": "rate_limit_exceeded"}}"#, Kind::Passing),
            (200, r#"{"error": {"message": "m", "type": "overloaded_error"}}"#, Kind::Passing),
            (529, r#"{"type": "error", "error": {"type": "overloaded_error"}}"#, Kind::Passing),
            (200, r#"{"object": "error", "message": "m", "code": 503}"#, Kind::Passing),
            (200, r#"{"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}}"#, Kind::Passing),
            (200, r#"{"error": "Too many requests"}"#, Kind::Passing),
            (200, r#"{"choices": [{"error": {"code": 502, "message": "m"}}]}"#, Kind::Passing),
            (500, "oops", Kind::Passing),
            (200, r#"{"error": "Unexpected endpoint or method. (POST /x)"}"#, Kind::NotFound),
            (404, "not found", Kind::NotFound),
            (200, r#"{"error": {"code": 401}}"#, Kind::Denied),
            (400, r#"{"error": {"code": "invalid_api_key"}}"#, Kind::Denied),
            (403, r#"{"error": {"message": "your input was flagged"}}"#, Kind::Filtered),
            (400, r#"{"error": {"code": "content_filter"}}"#, Kind::Filtered),
            (400, r#"{"error": {"message": "maximum context length is 512"}}"#, Kind::TooLong),
            (400, r#"{"error": {"type": "exceed_context_size_error"}}"#, Kind::TooLong),
            (429, r#"{"error": {"code": "insufficient_quota"}}"#, Kind::Unpaid),
            (402, "{}", Kind::Unpaid),
            (400, r#"{"detail": "no"}"#, Kind::Rejected),
            (200, r#"{"error": {"message": "no"}}"#, Kind::Rejected),
        ];
        for (status, body, kind) in cases {
            assert_eq!(Said::read(status, body).kind, kind, "{status} {body}");
        }
        let crowded = |status, body: &str| Said::read(status, body).crowded;
        assert!(crowded(429, "") && crowded(200, r#"{"error": {"type": "overloaded_error"}}"#));
        assert!(!crowded(500, "") && !crowded(429, r#"{"error": {"code": "insufficient_quota"}}"#));
        let said = Said::read(400, r#"{"error": {"message": "no", "param": "seed", "code": "400"}}"#);
        assert_eq!((said.message.as_str(), said.field.as_deref(), said.status), ("no", Some("seed"), 400));
    }
}
