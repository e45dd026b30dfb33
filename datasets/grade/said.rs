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

/// Ends and beginnings of turns that are not written `<|name|>`.
const TURNS: [&str; 10] = [
    "</s>",
    "<s>",
    "<eos>",
    "<bos>",
    "<pad>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<｜end▁of▁sentence｜>",
    "[INST]",
    "[/INST]",
];

/// What begins a new text at the start of a line, before a colon.
const QUESTIONS: [&str; 8] =
    ["question", "q", "problem", "human", "user", "instruction", "exercise", "input"];

/// The part of a text that is said.
pub(super) fn said(text: &str) -> Range<usize> {
    let mut start = 0;
    let mut end = text.len();
    if text.contains(['<', '[', '◁']) || text.starts_with("analysis") {
        let Some(found) = behind_thoughts(text) else { return end..end };
        start = found;
        while let Some(length) = header(&text[start..]) {
            start += length;
        }
        let ends = |(at, _): (usize, &str)| turn(&text[start + at..]).is_some().then_some(start + at);
        end = text[start..].match_indices(['<', '[']).find_map(ends).unwrap_or(end);
    }
    start..start + before_question(&text[start..end])
}

fn behind_thoughts(text: &str) -> Option<usize> {
    const CHANNEL: &str = "<|channel|>";
    const MESSAGE: &str = "<|message|>";
    // Without its tokens such a text reads `analysis … assistantfinal …`.
    const BARE: &str = "assistantfinal";
    let mut start = 0;
    if text.contains(CHANNEL) {
        let last = text.rfind(&format!("{CHANNEL}final"))?;
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

/// The length of a token that begins or ends a turn here.
fn turn(text: &str) -> Option<usize> {
    if let Some(turn) = TURNS.iter().find(|turn| text.starts_with(**turn)) {
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
            assert_eq!(&text[said(text)], expected, "{text}");
        }
    }
}
