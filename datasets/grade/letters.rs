//! The letter of a choice that a sentence names.

use super::closing::{bare, is_among, split_words};
use super::scripts::ENDS;

/// How a sentence goes on behind the letter of a choice.
const RIGHT: [&str; 6] =
    ["is correct", "is right", "is the correct", "is the right", "is the answer", "is the best"];

/// The letter of `option C` and `(C)`, if a sentence names one alone.
pub(super) fn choice(sentence: &str) -> Option<&str> {
    let mut found: Option<&str> = None;
    let mut before = "";
    for (at, word) in split_words(sentence) {
        let letter = bare(word);
        let is_letter = letter.len() == 1 && matches!(letter.as_bytes()[0], b'A'..=b'H');
        let named = is_among("option choice answer", before) && !before.ends_with(['.', ',']);
        let behind = sentence[at + word.len()..].trim_start();
        let begins = before.is_empty() || is_among("so thus hence therefore then and finally", before);
        let named = named || begins && RIGHT.iter().any(|words| behind.starts_with(words));
        if is_letter && (named || word.starts_with('(') && word[1..].contains(')')) {
            if found.is_some_and(|found| found != letter) {
                return None;
            }
            found = Some(letter);
        }
        before = word;
    }
    found
}

/// The letter of a choice that a Chinese sentence ends in: `故选B。`, `正确答案是 B`.
pub(super) fn choice_in_chinese(sentence: &str) -> Option<&str> {
    let at = ["故选", "应选", "选择", "答案是", "答案为", "答案選", "正解は", "答えは", "정답은"]
        .iter()
        .filter_map(|words| sentence.rfind(words).map(|at| at + words.len()))
        .max()?;
    let rest = sentence[at..].trim_start_matches([' ', '：', ':', '(', '（', '选', '项']);
    let letter = rest.get(..1).filter(|letter| matches!(letter.as_bytes()[0], b'A'..=b'H'))?;
    let behind = rest[1..].trim_start_matches([')', '）', '。', '.', ' ', '项', '选']);
    (behind.is_empty() || ENDS.iter().any(|end| behind.trim_end_matches(['。', '.']) == *end))
        .then_some(letter)
}
