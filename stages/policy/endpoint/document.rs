//! The JSON of an answer, without a tree for its log-probabilities: they are most of the bytes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::decode;
use super::wire::Token;

/// A body as JSON.
pub(super) struct Document {
    pub value: Value,
    /// The tokens of each choice, where `value` lacks them: its `logprobs.content` is null then.
    pub tokens: Vec<Option<Vec<Token>>>,
}

impl Document {
    /// Reads a body, also where its log-probabilities have another form than usual.
    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut tokens = Vec::new();
        let mut json = serde_json::Deserializer::from_str(text);
        let read = Part { place: Place::Top, tokens: &mut tokens }.deserialize(&mut json);
        match read.and_then(|value| json.end().map(|()| value)) {
            Ok(value) => Ok(Self { value, tokens }),
            Err(_) => decode::json(text).map(Self::from),
        }
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value, tokens: Vec::new() }
    }
}

/// An entry of `logprobs.content`.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    token: Option<Text<'a>>,
    #[serde(default)]
    logprob: Option<f64>,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
}

/// A text that is not copied where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Entry<'_> {
    fn token(self) -> Option<Token> {
        let bytes = match self.bytes {
            Some(bytes) => bytes,
            None => self.token?.0.as_bytes().to_vec(),
        };
        Some(Token::new(bytes, self.logprob?))
    }
}

/// Where in a body something stands.
#[derive(Clone, Copy)]
enum Place {
    Top,
    Choices,
    Choice(usize),
    Logprobs(usize),
    Elsewhere,
}

struct Part<'a> {
    place: Place,
    tokens: &'a mut Vec<Option<Vec<Token>>>,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let place = if matches!(self.place, Place::Choices) {
                Place::Choice(items.len())
            } else {
                Place::Elsewhere
            };
            match from.next_element_seed(Part { place, tokens: self.tokens })? {
                Some(item) => items.push(item),
                None => return Ok(items.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let place = match (self.place, key.as_str()) {
                (Place::Top, "choices") => Place::Choices,
                (Place::Choice(index), "logprobs") => Place::Logprobs(index),
                (Place::Logprobs(index), "content") => {
                    if let Some(entries) = from.next_value::<Option<Vec<Entry<'de>>>>()? {
                        // All or nothing: with a token missing the others could not be laid along the text.
                        let tokens: Option<Vec<Token>> = entries.into_iter().map(Entry::token).collect();
                        self.tokens.resize_with(self.tokens.len().max(index + 1), || None);
                        self.tokens[index] = Some(tokens.unwrap_or_default());
                    }
                    map.insert(key, Value::Null);
                    continue;
                }
                _ => Place::Elsewhere,
            };
            let value = from.next_value_seed(Part { place, tokens: self.tokens })?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::endpoint::wire::Reply;

    #[test]
    fn log_probabilities_are_read_as_the_rest_is() {
        let others = json!([{"token": "x"}]);
        let token = |token: &str, logprob: Value, bytes: Value| {
            let mut entry = json!({"token": token, "logprob": logprob, "top_logprobs": others});
            entry["bytes"] = bytes;
            entry
        };
        let usual =
            json!([token("3\n", json!(-1), json!([51, 10])), token("\"é", json!(-0.25), Value::Null)]);
        for content in [
            usual,
            json!([]),
            Value::Null,
            json!([token("3", json!(-9999.0), json!([51])), {"logprob": -1.0}]),
            json!([token("3", Value::Null, json!([51]))]),
            json!([token("3", json!(-1.0), json!([300]))]),
            json!([token("3", json!("-1.0"), json!([51]))]),
            json!([1, 2]),
            json!("none"),
            json!({"a": {"content": [1]}}),
        ] {
            let choice =
                |content: &Value| json!({"message": {"content": "3\n\"é"}, "logprobs": {"content": content}});
            let choices = json!([choice(&Value::Null), choice(&content), {"logprobs": null}, 1.5]);
            let body = json!({"choices": choices, "logprobs": {"content": [true]}, "n": [-1, 1e300]});
            let document = Document::read(&body.to_string()).unwrap();
            let shown = |reply: &Reply| format!("{reply:?}");
            let slow = Reply::read(&body, &["="]).unwrap();
            assert_eq!(shown(&Reply::of(document, &["="]).unwrap()), shown(&slow), "{content}");
            let bare = Document::read(&body.to_string().replace("null", "NaN")).unwrap();
            assert_eq!(Reply::of(bare, &["="]).unwrap().choices.len(), slow.choices.len());
        }
        assert!(Document::read("{} 1").is_err() && Document::read("{\"choices\": [").is_err());
    }
}
