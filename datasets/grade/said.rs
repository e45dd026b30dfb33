//! What of a text is said: neither the thoughts before it nor what runs on behind its end.
//!
//! - Thoughts: all up to the last `</think>` and the like, whether it was opened in the text or before it. A
//!   text that is cut off inside of a thought says nothing.
//! - Channels (gpt-oss): what stands in the last `final` one.
//! - Tokens that end a turn (`<|im_end|>`, `</s>`) end the text; those that begin one are passed over.
//! - A new question behind a marked answer (`Question: …`) and all that follows it is another text.

use std::ops::Range;

use super::markers;

/// What opens and what closes a thought.
const THOUGHTS: [(&str, &str); 11] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
];

/// Ends of turns that are not written `<|name|>`.
const ENDS: [&str; 5] = ["</s>", "<eos>", "<pad>", "<end_of_turn>", "<｜end▁of▁sentence｜>"];
/// Beginnings of turns, likewise.
const BEGINS: [&str; 5] = ["<s>", "<bos>", "<start_of_turn>", "[INST]", "[/INST]"];

/// What begins a new text at the start of a line, before a colon.
const QUESTIONS: [&str; 8] =
    ["question", "q", "problem", "human", "user", "instruction", "exercise", "input"];

/// The parts of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// What is said.
    pub range: Range<usize>,
    /// What was thought before it, without the marks of the thought.
    pub thought: Range<usize>,
    /// Whether the text ends within a thought.
    pub cut: bool,
}

/// The parts of a text.
pub(super) fn said(text: &str) -> Said {
    if text.contains(['<', '[', '◁']) || text.starts_with("analysis") {
        parts(text, behind_thoughts(text))
    } else {
        Said { range: 0..before_question(text), ..Said::default() }
    }
}

/// The same for a text that begins within a thought.
pub(super) fn said_behind(text: &str) -> Said {
    let closed = THOUGHTS.iter().any(|(_, close)| text.contains(close)) || text.contains(CHANNEL);
    parts(text, behind_thoughts(text).filter(|_| closed))
}

/// A text of which what is said starts at `start`; nowhere if the text ends within a thought.
fn parts(text: &str, start: Option<usize>) -> Said {
    let thought = |end: usize| within_marks(text, end);
    let Some(mut start) = start else {
        return Said { range: text.len()..text.len(), thought: thought(text.len()), cut: true };
    };
    let thought = thought(start);
    while let Some(length) = header(&text[start..]) {
        start += length;
    }
    let ends = |(at, _): (usize, &str)| turn(&text[start + at..]).is_some().then_some(start + at);
    let end = text[start..].match_indices(['<', '[']).find_map(ends).unwrap_or(text.len());
    Said { range: start..start + before_question(&text[start..end]), thought, cut: false }
}

/// The thought that ends here, without the marks around it.
fn within_marks(text: &str, end: usize) -> Range<usize> {
    let all = &text[..end];
    let (mut from, mut to) = (0, end);
    let body = all.trim_start();
    let bare = Some("analysis").filter(|_| all.ends_with(BARE));
    let mut starts =
        THOUGHTS.iter().map(|(open, _)| *open).chain(["<|channel|>analysis<|message|>"]).chain(bare);
    if let Some(open) = starts.find(|open| body.starts_with(open)) {
        from = end - body.len() + open.len();
    }
    let mut ends = THOUGHTS.iter().map(|(_, close)| *close).chain([BARE]);
    if let Some(close) = ends.find(|close| all.ends_with(close)) {
        to = end - close.len();
    } else if let Some(at) = all.rfind(FINAL) {
        to = ["<|end|>", "<|start|>assistant"]
            .iter()
            .filter_map(|mark| all[..at].rfind(mark))
            .min()
            .unwrap_or(at);
    }
    let inner = &text[from.min(to)..to];
    let start = from.min(to) + inner.len() - inner.trim_start().len();
    start..start + inner.trim().len()
}

/// Whether a thought is begun at the very end of a prompt.
pub(super) fn opens_at_end(prompt: &str) -> bool {
    let prompt = prompt.trim_end();
    THOUGHTS.iter().any(|(open, _)| prompt.ends_with(open))
        || prompt.ends_with("<|channel|>analysis<|message|>")
}

const CHANNEL: &str = "<|channel|>";
const FINAL: &str = "<|channel|>final";
/// Without its tokens a text of channels reads `analysis … assistantfinal …`.
const BARE: &str = "assistantfinal";

fn behind_thoughts(text: &str) -> Option<usize> {
    const MESSAGE: &str = "<|message|>";
    let mut start = 0;
    if text.contains(CHANNEL) {
        let last = text.rfind(FINAL)?;
        start = last + text[last..].find(MESSAGE)? + MESSAGE.len();
    } else if text.starts_with("analysis") {
        start = text.rfind(BARE).map_or(0, |at| at + BARE.len());
    }
    for (_, close) in THOUGHTS {
        start = start.max(text.rfind(close).map_or(0, |at| at + close.len()));
    }
    let opens = |(open, _): &(&str, &str)| {
        text[start..].match_indices(open).any(|(at, _)| {
            text[start..start + at]
                .trim_end_matches([' ', '\t'])
                .bytes()
                .next_back()
                .is_none_or(|b| b == b'\n')
        })
    };
    if THOUGHTS.iter().any(opens) { None } else { Some(start) }
}

/// The text without the token that ends a turn at its end; `None` if there is none.
pub fn without_end(text: &str) -> Option<&str> {
    let text = text.trim_end();
    if let Some(rest) = ENDS.iter().find_map(|end| text.strip_suffix(end)) {
        return Some(rest);
    }
    let at = text.strip_suffix("|>")?.rfind("<|")?;
    (turn(&text[at..]) == Some(text.len() - at)).then_some(&text[..at])
}

/// The length of a token that begins or ends a turn here.
fn turn(text: &str) -> Option<usize> {
    if let Some(turn) = ENDS.iter().chain(&BEGINS).find(|turn| text.starts_with(**turn)) {
        return Some(turn.len());
    }
    let name = text.strip_prefix("<|")?;
    let length = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    (length > 0 && name[length..].starts_with("|>")).then_some(length + 4)
}

/// The length of tokens and words that begin a turn here: `<|im_start|>assistant`.
fn header(text: &str) -> Option<usize> {
    let blanks = text.len() - text.trim_start().len();
    let mut length = blanks + turn(&text[blanks..])?;
    for role in ["assistant", "model"] {
        if let Some(rest) = text[length..].strip_prefix(role)
            && rest.starts_with(['\n', '<'])
        {
            length += role.len();
        }
    }
    (length < text.len()).then_some(length)
}

/// Where a new question begins behind a marked answer; else the end.
fn before_question(text: &str) -> usize {
    for (newline, _) in text.match_indices('\n') {
        let line = text[newline + 1..].trim_start_matches([' ', '#', '*']);
        let asks = line.split_once(':').is_some_and(|(head, _)| {
            head.len() <= 20 && {
                let word = head.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
                QUESTIONS.iter().any(|question| word.eq_ignore_ascii_case(question))
            }
        });
        if asks && markers::has_any(&text[..newline]) {
            return newline;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said() {
        for (text, expected) in [
            ("The answer is 5.", "The answer is 5."),
            ("<think>\n7?\n</think>\n5", "\n5"),
            ("7? No.</think>5", "5"),
            ("<think>7</think>5<think>8</think>9", "9"),
            ("<think>\\boxed{7} wait", ""),
            ("<think>7</think>so\n<think>", ""),
            ("I close `<think>` tags. 5", "I close `<think>` tags. 5"),
            ("<thought>7</thought> 5", " 5"),
            ("[THINK]7[/THINK]5", "5"),
            (
                "<|channel|>analysis<|message|>7<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>",
                "5",
            ),
            ("<|channel|>analysis<|message|>7 and then", ""),
            ("analysisIt is 7.assistantfinalIt is 5.", "It is 5."),
            ("analysis shows 5", "analysis shows 5"),
            ("5<|im_end|>\n<|im_start|>user\n7", "5"),
            ("<|im_start|>assistant\n5</s>", "\n5"),
            ("a < b and b <|c|", "a < b and b <|c|"),
            ("#### 5\n\nQuestion: How many?\n#### 7", "#### 5\n"),
            ("It is 5.\n#### 5\n### Problem 2: How many?\n7", "It is 5.\n#### 5"),
            ("Let me see.\nQuestion: How many?\nAnswer: 5", "Let me see.\nQuestion: How many?\nAnswer: 5"),
        ] {
            assert_eq!(&text[said(text).range], expected, "{text}");
        }
    }

    #[test]
    fn what_is_thought() {
        for (text, thought, cut) in [
            ("The answer is 5.", "", false),
            ("<think>\n7?\n</think>\n5", "7?", false),
            ("<think>\n\n</think>\n\n5", "", false),
            ("7? No.</think>5", "7? No.", false),
            ("<think>\\boxed{7} wait", "\\boxed{7} wait", true),
            (
                "<|channel|>analysis<|message|>7 é<|end|><|start|>assistant<|channel|>final<|message|>5",
                "7 é",
                false,
            ),
            ("<|channel|>analysis<|message|>7 and then", "7 and then", true),
            ("analysisIt is 7.assistantfinalIt is 5.", "It is 7.", false),
        ] {
            let said = said(text);
            assert_eq!((&text[said.thought], said.cut), (thought, cut), "{text}");
        }
        // A prompt may have opened it.
        assert!(opens_at_end("<|im_start|>assistant\n<think>\n") && !opens_at_end("<think></think>"));
        assert_eq!(said_behind("7, so 7 it is"), Said { range: 13..13, thought: 0..13, cut: true });
        assert_eq!(said_behind("7</think>5"), said("7</think>5"));
    }

    #[test]
    fn ends_of_turns() {
        for (text, rest) in [
            ("5<|eot_id|>\n", Some("5")),
            ("5</s>", Some("5")),
            ("5 <｜end▁of▁sentence｜>", Some("5 ")),
            ("5<|return|>", Some("5")),
            ("5", None),
            ("a|>", None),
            ("<|5 > 4|>", None),
        ] {
            assert_eq!(without_end(text), rest, "{text}");
        }
    }
}
