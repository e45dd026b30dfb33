//! The bytes of an answer as text, and the text as JSON.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::Value;

/// Why bytes are no text.
pub(super) enum Undecoded {
    /// More than the limit.
    TooLarge,
    /// In this encoding, which nobody asked for.
    Unknown(String),
    Damaged(String),
}

/// Undoes the encodings of a body, the last one first; at most `limit` bytes come out.
pub(super) fn unpack(body: Vec<u8>, encodings: &str, limit: usize) -> Result<Vec<u8>, Undecoded> {
    let mut body = body;
    for encoding in encodings.rsplit(',').map(|name| name.trim().to_ascii_lowercase()) {
        body = match encoding.as_str() {
            "" | "identity" => body,
            "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(&body[..]), limit)?,
            // Meant is zlib; some send the bare stream.
            "deflate" => match inflate(ZlibDecoder::new(&body[..]), limit) {
                Err(Undecoded::Damaged(_)) => inflate(DeflateDecoder::new(&body[..]), limit)?,
                other => other?,
            },
            _ => return Err(Undecoded::Unknown(super::said::plain(&encoding).chars().take(20).collect())),
        };
    }
    Ok(body)
}

fn inflate(from: impl Read, limit: usize) -> Result<Vec<u8>, Undecoded> {
    let mut out = Vec::new();
    let read = from.take(limit as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| Undecoded::Damaged(error.to_string()))?;
    if out.len() > limit { Err(Undecoded::TooLarge) } else { Ok(out) }
}

/// Bytes as text, without a byte order mark. What is no UTF-8 is read as Latin-1; true if something was.
pub(super) fn text(body: &[u8]) -> (String, bool) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let (mut text, mut foreign) = (String::with_capacity(body.len()), false);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        foreign |= !chunk.invalid().is_empty();
        text.extend(chunk.invalid().iter().map(|byte| match byte {
            0xa0.. => char::from(*byte),
            _ => char::REPLACEMENT_CHARACTER,
        }));
    }
    (text, foreign)
}

/// JSON, also where it has the numbers that JSON does not know.
pub(super) fn json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
        .or_else(|error| without_nan(text).map_or(Err(error), |text| serde_json::from_str(&text)))
}

/// `NaN` and infinities outside of strings as `null`; `None` if there are none.
fn without_nan(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    let (mut out, mut rest, mut found, mut quoted) = (String::new(), text, false, false);
    while let Some(c) = rest.chars().next() {
        if !quoted && let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
            out.push_str("null");
            rest = &rest[word.len()..];
            found = true;
            continue;
        }
        let mut length = c.len_utf8();
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => length += rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    found.then_some(out)
}

/// Whether a body is a stream of server-sent events.
pub(super) fn is_stream(text: &str) -> bool {
    let text = text.trim_start();
    ["data:", "event:", ": ", "id:", "retry:"].iter().any(|field| text.starts_with(field))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use serde_json::json;

    use super::*;

    #[test]
    fn compressed_bodies_are_read_up_to_a_limit() {
        let body = b"{\"choices\": []}".repeat(9);
        let level = Compression::fast();
        let (mut gzip, mut zlib, mut bare) = (
            GzEncoder::new(Vec::new(), level),
            ZlibEncoder::new(Vec::new(), level),
            DeflateEncoder::new(Vec::new(), level),
        );
        gzip.write_all(&body).unwrap();
        zlib.write_all(&body).unwrap();
        bare.write_all(&body).unwrap();
        let cases = [
            (gzip.finish().unwrap(), "gzip"),
            (zlib.finish().unwrap(), "deflate"),
            (bare.finish().unwrap(), "identity, Deflate"),
            (body.clone(), ""),
        ];
        for (packed, name) in cases {
            assert_eq!(unpack(packed.clone(), name, body.len()).ok(), Some(body.clone()), "{name}");
            if !name.is_empty() {
                assert!(matches!(unpack(packed, name, body.len() - 1), Err(Undecoded::TooLarge)), "{name}");
            }
        }
        assert!(matches!(unpack(body.clone(), "gzip", 99), Err(Undecoded::Damaged(_))));
        assert!(matches!(unpack(body, "br", 99), Err(Undecoded::Unknown(name)) if name == "br"));
    }

    #[test]
    fn text_that_is_not_quite_utf_8_or_json() {
        assert_eq!(text(b"\xef\xbb\xbf{}"), ("{}".to_owned(), false));
        assert_eq!(text(b"caf\xe9 \xc3\xa9 \x80"), ("café é \u{fffd}".to_owned(), true));
        assert_eq!(
            json(r#"{"a": [NaN, -Infinity, 1], "b": "NaN \" NaN \\"}"#).unwrap(),
            json!({"a": [null, null, 1], "b": "NaN \" NaN \\"})
        );
        assert!(json("NaNa").is_err() && json("{").is_err());
        assert!(is_stream("\ndata: {}") && !is_stream("{\"data\": 1}"));
    }
}
