//! Answers compared as texts, for golds that are no mathematics: names, labels, lists, extracted values.
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | the answer is the gold, as [`Compare`] says |
//! | `wrong_answer` | wrong | it is not |
//! | `no_answer` | wrong | there is no final answer |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::Verifier;
use crate::types::{Judgement, Problem, StepCheck, Verdict};

/// Version of these comparisons, part of fingerprints.
pub const VERSION: u32 = 1;

/// How an answer is compared with the gold answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// As the domain does.
    #[default]
    Exact,
    /// The same text, up to blanks.
    Text,
    /// The same words, whatever their case and the signs at their ends.
    Words,
    /// The same items in any order: parts between commas, semicolons or line ends, each compared as words.
    Set,
}

impl Compare {
    pub fn is_exact(&self) -> bool {
        *self == Compare::Exact
    }

    pub fn name(self) -> &'static str {
        match self {
            Compare::Exact => "exact",
            Compare::Text => "text",
            Compare::Words => "words",
            Compare::Set => "set",
        }
    }

    /// Whether two texts are the same answer.
    pub fn same(self, one: &str, other: &str) -> bool {
        self.form(one) == self.form(other)
    }

    /// A text in the form in which equal ones are equal.
    fn form(self, text: &str) -> String {
        match self {
            Compare::Exact | Compare::Text => blanks(text),
            Compare::Words => words(text),
            Compare::Set => items(text).into_iter().collect::<Vec<_>>().join(", "),
        }
    }
}

/// A text with one blank between its words.
pub fn blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Words in lower case, without signs at their ends; those that are signs alone are kept.
fn words(text: &str) -> String {
    let sign = |c: char| ".,;:!?\"'`*_()[]{}<>$。，！？".contains(c);
    let word = |word: &str| {
        let mut bare = word.trim_end_matches(sign);
        // Up to the point of `.5`.
        let point =
            |rest: &str, bare: &str| bare.starts_with('.') && rest.starts_with(|c: char| c.is_ascii_digit());
        while let Some(rest) = bare.strip_prefix(sign).filter(|rest| !point(rest, bare)) {
            bare = rest;
        }
        if bare.is_empty() { word.to_lowercase() } else { bare.to_lowercase() }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// The items of a list, with or without brackets around it, marks before its lines, and an `and` before the
/// last. Where there are semicolons, commas are parts of items.
fn items(text: &str) -> BTreeSet<String> {
    let text = text.trim().trim_start_matches(['[', '{', '(', '\\']).trim_end_matches([']', '}', ')', '\\']);
    let ends: &[char] = if text.contains(';') { &[';', '\n'] } else { &[',', '，', '、', '\n'] };
    let parts =
        text.split(ends).map(|part| words(part.trim().trim_start_matches(['-', '*', '•']).trim_start()));
    let mut all: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    // `red, white and blue`
    if let Some(last) = all.pop() {
        let last = last.strip_prefix("and ").unwrap_or(&last);
        all.extend(last.split(" and ").map(str::to_owned));
    }
    all.into_iter().collect()
}

impl Verifier for Compare {
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let (verdict, reason) = if final_answer.trim().is_empty() {
            (Verdict::Wrong, "no_answer")
        } else if self.same(final_answer, &problem.answer) {
            (Verdict::Correct, "correct")
        } else {
            (Verdict::Wrong, "wrong_answer")
        };
        let checks = vec![StepCheck::Prose; steps.len()];
        Judgement { verdict, checks, ..Judgement::undecidable(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(how: Compare, gold: &str, answer: &str) -> bool {
        let problem = Problem { answer: gold.into(), ..Problem::default() };
        let judged = how.verify(&problem, &["So".into()], answer);
        assert_eq!(judged.checks.len(), 1);
        judged.verdict == Verdict::Correct
    }

    #[test]
    fn texts_words_and_sets() {
        use Compare::{Set, Text, Words};
        let pairs = [
            (Text, "New  York", " New York\n", true),
            (Text, "New York", "new york", false),
            (Text, "3/4", "0.75", false),
            (Words, "New York", "new york.", true),
            (Words, "\"yes\"", "**Yes**", true),
            (Words, "red", "dark red", false),
            (Words, "C++", "C", false),
            (Words, "-", "+", false),
            (Set, "red, blue", "Blue; red", true),
            (Set, "red, blue", "[blue, red]", true),
            (Set, "red, blue", "blue and red", true),
            (Set, "a\nb\nc", "c, b, and a", true),
            (Set, "red, blue", "red", false),
            (Set, "red, blue", "red, blue, green", false),
            (Set, "red, blue", "red, blue, red", true),
            (Set, "New York, Rome", "rome, new york", true),
            (Set, "a, b, c", "a, b and c", true),
            (Set, "x, y", "\\{x, y\\}", true),
            (Set, "a, b", "a、b", true),
            (Set, "a, b", "- a\n- b", true),
            (Set, "1,000; 2", "2; 1000", false),
            (Set, "Washington, D.C.; Paris", "Paris; Washington, D.C.", true),
            (Set, "Washington, D.C.; Paris", "Paris, D.C., Washington", false),
            (Words, ".5", "5", false),
            (Words, "5", "(5).", true),
            (Words, "日本", "日本。", true),
        ];
        for (how, gold, answer, expected) in pairs {
            assert_eq!(same(how, gold, answer), expected, "{how:?} {gold} {answer}");
        }
        let problem = Problem { answer: "red".into(), ..Problem::default() };
        assert_eq!(Text.verify(&problem, &[], " ").reason, "no_answer");
    }
}
