//! A regular expression of the user's that finds answers.

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::extract::{Found, Rule};

/// A regular expression, or none if it is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Option<Regex>);

impl Pattern {
    /// The expression as it was written; empty if there is none.
    pub fn text(&self) -> &str {
        self.0.as_ref().map_or("", Regex::as_str)
    }

    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The last match that is not empty, as the answer: its first group that took part, or all of it.
    pub(super) fn last<'t>(&self, text: &'t str, said: std::ops::Range<usize>) -> Option<Found<'t>> {
        let matches = self.0.as_ref()?.captures_iter(&text[said.clone()]);
        let group = |found: regex::Captures<'t>| {
            let whole = found.get(0)?;
            let answer = found.iter().skip(1).flatten().next().unwrap_or(whole);
            (!answer.as_str().trim().is_empty()).then(|| (whole.start(), answer.as_str()))
        };
        let (start, answer) = matches.filter_map(group).last()?;
        let start = said.start + start;
        let line_start = text[said.start..start].rfind('\n').map_or(said.start, |end| said.start + end + 1);
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ").into();
        Some(Found {
            rule: Rule::Hashes,
            line_start,
            beside: text[line_start..start].into(),
            answer,
            alone: false,
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        // The last line of the error says what is wrong; those before it point to where.
        let why = |error: regex::Error| {
            let all = error.to_string();
            let last = all.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            format!("`{text}` is no regular expression: {last}")
        };
        Regex::new(&text).map(|regex| Self(Some(regex))).map_err(why)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text().to_owned()
    }
}
