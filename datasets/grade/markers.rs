//! Where an answer is marked in a text: in a box, behind `####`, a label or a phrase, between tags, in a
//! field of JSON. Each rule gives its last marker with an answer behind it.

use std::borrow::Cow;

use super::blocks::{display_length, first_block, sentence_end};
use super::boxes;
use super::extract::Rule;
use super::spelled::last_values;

/// A marker with its answer.
#[derive(Clone, Debug)]
pub(super) struct Marker<'a> {
    pub rule: Rule,
    /// Byte at which the marker's line starts.
    pub line_start: usize,
    /// Byte behind the answer.
    pub end: usize,
    /// What the marker's line says besides.
    pub beside: Cow<'a, str>,
    pub answer: Cow<'a, str>,
}

/// Whether a text has a marked answer.
pub(super) fn has_any(text: &str) -> bool {
    boxes::boxed(text).is_some()
        || hashes(text).is_some()
        || labelled(text).is_some()
        || phrase(text).is_some()
        || tag(text).is_some()
}

pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// `####`, with the rest of its line or, if that is blank, what follows.
pub(super) fn hashes(text: &str) -> Option<Marker<'_>> {
    let mut end = text.len();
    loop {
        let last = text[..end].rfind('#')?;
        if text[..last].ends_with("###") {
            let start = line_start(text, last);
            let (at, answer) = behind(text, last + 1);
            if !answer.is_empty() && !is_section(answer) {
                let beside = text[start..=last].trim_end_matches('#').into();
                return Some(Marker {
                    rule: Rule::Hashes,
                    line_start: start,
                    end: at + answer.len(),
                    beside,
                    answer: answer.into(),
                });
            }
        }
        end = last;
    }
}

/// Whether a heading is that of what stands behind an answer.
fn is_section(heading: &str) -> bool {
    const SECTIONS: [&str; 9] = [
        "explanation",
        "verification",
        "check",
        "checking",
        "reasoning",
        "justification",
        "proof",
        "notes",
        "note",
    ];
    let heading = heading.split(':').next().unwrap_or("").trim_end_matches(['.', '*']);
    SECTIONS.iter().any(|section| heading.eq_ignore_ascii_case(section))
}

/// The last of some markers of the user's own.
pub(super) fn own<'a>(text: &'a str, own: &[String]) -> Option<Marker<'a>> {
    let mut ends: Vec<(usize, usize)> = own
        .iter()
        .flat_map(|words| text.match_indices(words.as_str()))
        .map(|(at, w)| (at, at + w.len()))
        .collect();
    ends.sort_unstable();
    ends.into_iter().rev().find_map(|(at, from)| {
        let colon = text[from..].trim_start_matches([':', '：', ' ', '\t']);
        let (begin, answer) = behind(text, text.len() - colon.len());
        let start = line_start(text, at);
        (!answer.is_empty()).then(|| Marker {
            rule: Rule::Label,
            line_start: start,
            end: begin + answer.len(),
            beside: text[start..at].into(),
            answer: answer.into(),
        })
    })
}

/// The rest of a line without decoration, or the block behind it if it is blank, and where it begins.
fn behind(text: &str, at: usize) -> (usize, &str) {
    let line_end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    let (from, answer) = undecorated(&text[at..line_end]);
    if !answer.is_empty() {
        // A formula may go on below.
        let long = display_length(&text[at + from..]).filter(|length| at + from + length > line_end);
        return (at + from, long.map_or(answer, |length| &text[at + from..at + from + length]));
    }
    let (from, block) = first_block(&text[line_end..]);
    let (inside, answer) = undecorated(block);
    (line_end + from + inside, answer)
}

/// Without blanks and emphasis around it, and where it begins.
fn undecorated(text: &str) -> (usize, &str) {
    let decoration = |c: char| c.is_whitespace() || matches!(c, '*' | '_');
    let from = text.len() - text.trim_start_matches(decoration).len();
    let to = text.trim_end_matches(decoration).len().max(from);
    (from, &text[from..to])
}

/// Words of which a label or a heading is made, besides `answer`.
const LABEL_WORDS: [&str; 13] = [
    "the",
    "my",
    "our",
    "your",
    "final",
    "correct",
    "best",
    "right",
    "short",
    "so",
    "thus",
    "hence",
    "therefore",
];

fn is_label(words: &str) -> bool {
    let mut names = 0;
    words
        .split(|c: char| c.is_whitespace() || matches!(c, '*' | '_' | ','))
        .filter(|word| !word.is_empty())
        .all(|word| {
            let name = ["answer", "answers", "ans"].iter().any(|name| word.eq_ignore_ascii_case(name));
            names += usize::from(name);
            name || LABEL_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
                || (word.starts_with('(') && word.ends_with(')'))
        })
        && names == 1
}

/// A line without the marks of a heading, an item or a number before it.
fn unmarked(line: &str) -> &str {
    let mark = |c: char| {
        c.is_whitespace()
            || matches!(c, '*' | '_' | '#' | '>' | '-' | '•')
            || !c.is_ascii() && !c.is_alphanumeric()
    };
    let bare = line.trim_start_matches(mark);
    // `1. **Answer:** 5`
    let numbered = bare.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(". ");
    numbered
        .filter(|rest| rest.len() + 4 >= bare.len() && rest.starts_with("**"))
        .map_or(bare, |rest| rest.trim_start_matches(mark))
}

/// `A:`, `Answer:`, `Final answer:` at the start of a line, perhaps emphasised; or such words alone as a
/// heading.
pub(super) fn labelled(text: &str) -> Option<Marker<'_>> {
    const LONGEST: usize = 48;
    let mut last = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = unmarked(line);
        let offset = line.len() - bare.len();
        let colon = bare
            .char_indices()
            .take(LONGEST)
            .find(|(_, c)| matches!(c, ':' | '：'))
            .map(|(at, c)| (at, at + c.len_utf8()));
        let body = match colon {
            Some((at, end))
                if &bare[..at] == "A"
                    || is_label(&bare[..at])
                    || ["答案", "答案是", "答案为"].iter().any(|name| bare[..at].ends_with(name)) =>
            {
                Some(end)
            }
            _ if bare.starts_with("答案") => Some("答案是".len()).filter(|end| bare.is_char_boundary(*end)),
            None if offset > 0 && bare.trim_end().len() <= LONGEST && is_label(bare.trim_end()) => {
                Some(bare.trim_end().len())
            }
            _ => None,
        };
        if let Some(body) = body {
            let (at, answer) = behind(text, start + offset + body);
            if !answer.is_empty() {
                last = Some(Marker {
                    rule: Rule::Label,
                    line_start: start,
                    end: at + answer.len(),
                    beside: "".into(),
                    answer: answer.into(),
                });
            }
        }
        start += line.len();
    }
    last
}

/// What names an answer in a phrase, and how it goes on. The first is enough by itself.
const NAMES: [&str; 4] = ["answer", "solution", "choice", "option"];
const VERBS: [&str; 11] = [
    " is",
    "s are",
    " would be",
    " will be",
    " must be",
    " should be",
    " =",
    " equals",
    " comes to",
    " comes out to",
    " turns out to be",
];

/// `answer is`, up to the end of its sentence.
pub(super) fn phrase(text: &str) -> Option<Marker<'_>> {
    NAMES.iter().find_map(|name| {
        let mut end = text.len();
        loop {
            let at = last_word(&text.as_bytes()[..end], name.as_bytes())?;
            if let Some(found) = phrase_at(text, at, name) {
                return Some(found);
            }
            end = at;
        }
    })
}

fn last_word(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).rposition(|window| window.eq_ignore_ascii_case(word))
}

fn phrase_at<'a>(text: &'a str, at: usize, name: &str) -> Option<Marker<'a>> {
    let rest = &text[at + name.len()..];
    let verb = VERBS
        .iter()
        .find(|verb| rest.get(..verb.len()).is_some_and(|head| head.eq_ignore_ascii_case(verb)))?;
    let from = at + name.len() + verb.len();
    if text[from..].starts_with(char::is_alphanumeric) {
        return None;
    }
    let start = line_start(text, at);
    let before = &text[start..at];
    let word =
        before.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_ascii_lowercase();
    let leads = match name {
        "answer" => !matches!(word.as_str(), "wrong" | "incorrect" | "false" | "initial" | "previous"),
        "solution" => matches!(word.as_str(), "the" | "only" | ""),
        _ => matches!(word.as_str(), "correct" | "right" | "best" | "final"),
    };
    let asks = [
        "if the ",
        "if its ",
        "whether the ",
        "suppose the ",
        "unless the ",
        "false that the ",
        "not true that the ",
        "not the case that the ",
    ];
    if !leads || asks.iter().any(|words| before.to_ascii_lowercase().ends_with(words)) {
        return None;
    }
    let line_end = text[from..].find('\n').map_or(text.len(), |length| from + length);
    let lead =
        |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || c == ':').len();
    let mut begin = from + lead(&text[from..line_end]);
    let mut answer = &text[begin..line_end];
    if let Some(length) = display_length(&text[begin..]) {
        answer = &text[begin..begin + length];
    } else {
        answer = answer[..sentence_end(answer)].trim_end();
    }
    if super::closing::before_reason(answer).trim().is_empty() {
        // `The answer is as follows:`
        let (offset, block) = first_block(&text[line_end..]);
        begin = line_end + offset;
        answer = block;
        // `$x = 3$` and `$y = 5$`, each on its line.
        if let Some(values) = last_values(&text[line_end..]).filter(|_| !block.trim().is_empty()) {
            let (line_start, end) = (start, text.len());
            return Some(Marker {
                rule: Rule::Phrase,
                line_start,
                end,
                beside: "".into(),
                answer: values.into(),
            });
        }
    }
    if answer.trim().is_empty() {
        return None;
    }
    // `3*4=12. The answer is 12`: the sentence that holds the phrase is no step.
    let beside = [". ", "! ", "? ", "; ", ", "].iter().filter_map(|end| before.rfind(end)).max();
    Some(Marker {
        rule: Rule::Phrase,
        line_start: start,
        end: begin + answer.len(),
        beside: before[..beside.map_or(before.len(), |end| end + 1)].into(),
        answer: answer.into(),
    })
}

/// `<answer>…</answer>`; without an end, up to that of the text.
pub(super) fn tag(text: &str) -> Option<Marker<'_>> {
    [("<answer>", "</answer>"), ("<final_answer>", "</final_answer>")].into_iter().find_map(
        |(open, close)| {
            if !text.contains('<') {
                return None;
            }
            let opened = last_word(text.as_bytes(), open.as_bytes());
            let (at, from) = match opened {
                Some(at) => (at, at + open.len()),
                // It was opened in the prompt.
                None if text.trim_end().ends_with(close) => (0, 0),
                None => return None,
            };
            let is_close = |end: &usize| {
                text[*end..].get(..close.len()).is_some_and(|end| end.eq_ignore_ascii_case(close))
            };
            let mut ends = text[from..].match_indices("</").map(|(length, _)| from + length);
            let to = ends.find(is_close).unwrap_or(text.len());
            let answer = text[from..to].trim();
            let start = line_start(text, at);
            (!answer.is_empty()).then(|| Marker {
                rule: Rule::Tag,
                line_start: start,
                end: to,
                beside: text[start..at].into(),
                answer: answer.into(),
            })
        },
    )
}

/// The field `answer` of an object in JSON.
pub(super) fn json(text: &str) -> Option<Marker<'_>> {
    ["\"answer\"", "\"final_answer\"", "'answer'", "\"Answer\"", "\"final answer\""].into_iter().find_map(
        |name| {
            let at = text.rfind(name)?;
            let rest = &text[at + name.len()..];
            let value = rest.trim_start().strip_prefix(':')?.trim_start();
            let from = text.len() - value.len();
            let (length, answer) = match value.chars().next()? {
                quote @ ('"' | '\'') => {
                    quoted(&value[1..], quote).map(|(length, text)| (length + 2, Cow::Owned(text)))?
                }
                '[' => {
                    let length = value.find(']')? + 1;
                    (length, Cow::Borrowed(&value[1..length - 1]))
                }
                _ => {
                    let length = value.find([',', '}', '\n']).unwrap_or(value.len());
                    (length, Cow::Borrowed(value[..length].trim()))
                }
            };
            let line_start = text[..at].rfind('{').map_or(at, |brace| line_start(text, brace));
            (!answer.trim().is_empty()).then(|| Marker {
                rule: Rule::Json,
                line_start,
                end: from + length,
                beside: "".into(),
                answer,
            })
        },
    )
}

/// The content of a string that was opened before the text, and its length as written.
fn quoted(text: &str, quote: char) -> Option<(usize, String)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((at, content)),
            '\\' => match chars.next()?.1 {
                'n' => content.push('\n'),
                't' if !text[at + 2..].starts_with(char::is_alphabetic) => content.push('\t'),
                'u' => {
                    let code: String = (0..4).map_while(|_| chars.next().map(|(_, c)| c)).collect();
                    content.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                }
                // A backslash of LaTeX that nobody doubled.
                other if other.is_alphabetic() => content.extend(['\\', other]),
                other => content.push(other),
            },
            c => content.push(c),
        }
    }
    None
}
