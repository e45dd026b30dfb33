//! Multiple choice: a question with its options, a letter as the answer.
//!
//! A question ends with a line for each option, `A. ` and its text ([`asked`]), in an order that follows
//! from the question and the options alone ([`order`]): where an option stands says nothing. `meta` has the
//! options in this order, so that an answer may name one by its text too.
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | the answer names the gold's option |
//! | `wrong_answer` | wrong | it names another |
//! | `no_answer` | wrong | no final answer |
//! | `answer_unreadable` | undecidable | it names no option, or several |
//!
//! There are no rules: nothing says which steps lead to an answer, and steps are not checked.

use serde_json::Value;

use super::compared::blanks;
use crate::domain::{Describe, Domain, Features, Key, Move, State, Verifier};
use crate::key::{self, Part};
use crate::types::{Judgement, Problem, StepCheck, Verdict};

/// Most options: one for each letter.
pub const MOST: usize = 26;

/// The domain of multiple choice.
#[derive(Clone, Copy, Debug)]
pub struct Choice;

/// The letter of an option by its place, from 0.
pub fn letter(place: usize) -> char {
    char::from(b'A' + (place % MOST) as u8)
}

/// A question with its options, as it is asked.
pub fn asked<S: AsRef<str>>(question: &str, options: &[S]) -> String {
    let lines = options.iter().enumerate();
    let lines = lines.map(|(at, option)| format!("\n{}. {}", letter(at), option.as_ref()));
    format!("{}\n{}", question.trim_end(), lines.collect::<String>())
}

/// The places of options in the order in which they are shown: a shuffle that does not depend on the order
/// they are given in, rotated `turn` times. Over as many turns as there are options, each stands once at each
/// place.
pub fn order<S: AsRef<str>>(question: &str, options: &[S], turn: usize) -> Vec<usize> {
    let text = |at: &usize| options[*at].as_ref();
    let mut order: Vec<usize> = (0..options.len()).collect();
    order.sort_by(|a, b| text(a).cmp(text(b)).then(a.cmp(b)));
    let mut parts: Vec<Part<'_>> = vec!["choice".into(), question.trim().into()];
    parts.extend(order.iter().map(|at| Part::from(text(at))));
    let mut rng = key::rng(&parts);
    for at in (1..order.len()).rev() {
        order.swap(at, key::below(&mut rng, at + 1));
    }
    if !order.is_empty() {
        let turn = turn % order.len();
        order.rotate_left(turn);
    }
    order
}

/// The options of a problem, in the order in which they are shown.
pub fn options(problem: &Problem) -> Vec<String> {
    let meta: Value = serde_json::from_str(&problem.meta).unwrap_or_default();
    let texts = meta["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    texts.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
}

/// The option that an answer names, by its letter (`B`, `(b)`, `B.`, `option B`, `B. its text`) or by its
/// text; None if it names none, or several.
pub fn named<S: AsRef<str>>(answer: &str, options: &[S]) -> Option<usize> {
    let answer = bare(answer);
    let texts: Vec<String> = options.iter().map(|option| plain(option.as_ref())).collect();
    let by_text = |text: &str| {
        let text = plain(text);
        let mut same = (0..texts.len()).filter(|at| texts[*at] == text && !text.is_empty());
        same.next().filter(|_| same.next().is_none())
    };
    let Some((place, rest)) = lettered(answer) else {
        let (text, letter) = behind(answer);
        return by_text(answer).or_else(|| letter.filter(|letter| by_text(text) == Some(*letter)));
    };
    let there = Some(place).filter(|place| *place < options.len())?;
    // `B. mitochondria`, where that is the text of another option; `B, or maybe A`.
    let said = plain(rest);
    let more = said.strip_prefix(&texts[there]).unwrap_or(&said);
    let letters = || {
        let words = rest.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() == 1);
        words.filter(|word| word.as_bytes()[0].is_ascii_uppercase()).map(|word| word.as_bytes()[0] - b'A')
    };
    let own = |text: &String| texts[there].contains(text.as_str());
    let names = |text: &String| !text.is_empty() && !own(text) && within(more, text);
    let others = by_text(rest).is_some_and(|at| at != there)
        || texts.iter().any(names)
        || said != texts[there]
            && letters().any(|at| usize::from(at) != there && usize::from(at) < options.len());
    (!others).then_some(there)
}

/// Whether words stand in a text, not as parts of others.
fn within(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(at, _)| {
        let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        outside(text[..at].chars().next_back()) && outside(text[at + words.len()..].chars().next())
    })
}

/// `Athens (D)`: the text, and the place of the letter in brackets behind it.
fn behind(answer: &str) -> (&str, Option<usize>) {
    let inner = answer.strip_suffix(')').and_then(|text| text.rsplit_once('('));
    let Some((text, letter)) = inner.filter(|(_, letter)| letter.len() == 1) else { return (answer, None) };
    let letter = letter.as_bytes()[0].to_ascii_uppercase();
    (text, letter.is_ascii_uppercase().then(|| usize::from(letter - b'A')))
}

/// The answer without what stands around it: `**(B)**`, `\text{B}`, `option B`.
fn bare(answer: &str) -> &str {
    let mut text = answer.trim();
    loop {
        let before = text;
        text = text.trim_matches(|c: char| c.is_whitespace() || "*_$`\"'".contains(c));
        for command in ["\\boxed", "\\text", "\\textbf", "\\mathrm", "\\mathbf", "\\rm"] {
            let inner = text.strip_prefix(command).and_then(|rest| rest.trim_start().strip_prefix('{'));
            text = inner.and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
        }
        for word in ["option ", "choice ", "answer ", "answer: "] {
            let head = text.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word));
            text = head.map_or(text, |_| &text[word.len()..]);
        }
        if text == before {
            return text;
        }
    }
}

/// The place of the letter that a text begins with, and what stands behind it. A letter alone, in brackets or
/// before a sign is one; the first letter of a word is none, and neither is the article of `A cat`.
fn lettered(text: &str) -> Option<(usize, &str)> {
    let inner = text.strip_prefix(['(', '[']);
    let mut chars = inner.unwrap_or(text).chars();
    let letter = chars.next().filter(char::is_ascii_alphabetic)?;
    let rest = chars.as_str();
    let place = usize::from(letter.to_ascii_uppercase() as u8 - b'A');
    let rest = match (inner, rest.chars().next()) {
        (_, None) if inner.is_none() => "",
        (Some(_), Some(')' | ']')) | (None, Some(')' | '.' | ':' | ',')) => &rest[1..],
        // `B is the only one`, `B - mitochondria`
        (None, Some(' ')) if letter != 'a' && letter != 'A' && letter.is_ascii_uppercase() => {
            let word = rest.split_whitespace().next().unwrap_or_default();
            let known = ["is", "because", "since", "as", "-", "–", "—", "="].contains(&word);
            // Reasons may name other options.
            let reason = ["because", "since", "as"].contains(&word);
            return known.then(|| (place, if reason { "" } else { rest.trim_start()[word.len()..].trim() }));
        }
        _ => return None,
    };
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "*_).:,-".contains(c)).trim_end();
    // `(a + b)`, `A and C`
    let goes_on = inner.is_some() && !rest.is_empty() && rest.starts_with(['+', '=', '/', '^', '(', '[']);
    let several = ["and ", "or ", "& "].iter().any(|word| rest.starts_with(word)) && lettered_word(rest);
    (!goes_on && !several).then_some((place, rest))
}

/// Whether `and (C)` goes on with a letter.
fn lettered_word(rest: &str) -> bool {
    let word = rest.split_whitespace().nth(1).unwrap_or_default();
    word.trim_matches(|c: char| !c.is_alphanumeric()).len() == 1
}

/// A text as it is compared: in lower case, without blanks and signs at its ends.
fn plain(text: &str) -> String {
    let text = text.trim().trim_end_matches(['.', ',', ';']).trim_matches(['"', '\'', '`', '*', '$']);
    blanks(text).to_lowercase()
}

impl Domain for Choice {
    fn name(&self) -> &'static str {
        "choice"
    }

    fn version(&self) -> u32 {
        1
    }

    fn start(&self, _: &Problem) -> State {
        State::default()
    }

    fn enumerates(&self) -> bool {
        false
    }

    fn moves(&self, _: &State) -> Option<Vec<Move>> {
        None
    }

    fn answer(&self, _: &State) -> Option<String> {
        None
    }

    fn follow(&self, _: &State, _: &str) -> Option<State> {
        None
    }

    fn key(&self, _: &State) -> Key {
        Key::Numbers(Vec::new())
    }

    fn least_steps(&self, _: &State) -> usize {
        0
    }

    fn effort(&self, _: &State) -> f64 {
        0.0
    }

    fn features<'a>(&self, _: &'a Problem) -> Describe<'a> {
        Box::new(|_| Features::default())
    }

    fn check_step(&self, _: &Problem, _: &[String], _: &str) -> StepCheck {
        StepCheck::Prose
    }

    /// The letter, so that `B`, `(B)` and the text of the option are one answer.
    fn reading(&self, problem: &Problem, final_answer: &str) -> String {
        named(final_answer, &options(problem))
            .map_or_else(|| plain(final_answer), |at| letter(at).to_string())
    }
}

impl Verifier for Choice {
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let options = options(problem);
        let gold = named(&problem.answer, &options);
        let (verdict, reason) = match (named(final_answer, &options), gold) {
            (_, None) => (Verdict::Undecidable, "gold_unreadable"),
            _ if final_answer.trim().is_empty() => (Verdict::Wrong, "no_answer"),
            (None, _) => (Verdict::Undecidable, "answer_unreadable"),
            (said, gold) if said == gold => (Verdict::Correct, "correct"),
            _ => (Verdict::Wrong, "wrong_answer"),
        };
        let checks = vec![StepCheck::Prose; steps.len()];
        Judgement { verdict, checks, ..Judgement::undecidable(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Reader;

    const OPTIONS: [&str; 4] = ["a cell wall", "Mitochondria", "7", "B"];

    #[test]
    fn answers_name_options() {
        let pairs = [
            ("B", Some(1)),
            ("(b)", Some(1)),
            ("B.", Some(1)),
            ("**B**", Some(1)),
            ("$\\boxed{\\text{B}}$", Some(1)),
            ("Option C", Some(2)),
            ("B. Mitochondria", Some(1)),
            ("(B) the one with a membrane", Some(1)),
            ("[D]", Some(3)),
            ("B is the only one left", Some(1)),
            ("mitochondria.", Some(1)),
            ("A cell wall", Some(0)),
            ("7", Some(2)),
            ("Mitochondria (B)", Some(1)),
            ("B - Mitochondria", Some(1)),
            ("B because A is a wall", Some(1)),
            ("D. B", Some(3)),
            // Another option's text, no option's letter or text, several.
            ("B, C", None),
            ("B: C", None),
            ("B, or maybe C", None),
            ("B - a cell wall", None),
            ("C. mitochondria", None),
            ("B. Mitochondria, a cell wall", None),
            ("Mitochondria (C)", None),
            ("C. mitochondria", None),
            ("E", None),
            ("Both of them", None),
            ("A and C", None),
            ("B, and C", None),
            ("(A) and (C)", None),
            ("a ribosome", None),
            ("8", None),
            ("", None),
        ];
        for (answer, place) in pairs {
            assert_eq!(named(answer, &OPTIONS), place, "{answer}");
        }
        let many: Vec<String> = (0..MOST).map(|n| format!("number {n}")).collect();
        assert_eq!((named("Z", &many), named("(j)", &many)), (Some(25), Some(9)));
        // Two options with one text are told apart by their letters alone.
        assert_eq!(named("x", &["x", "x"]), None);
    }

    #[test]
    fn answers_are_found_in_texts() {
        let texts = [
            ("It has two membranes.\nThe answer is (B).", Some(1)),
            ("So \\boxed{B}", Some(1)),
            ("B.", Some(1)),
            ("(b)", Some(1)),
            ("#### B", Some(1)),
            ("**Answer: D**", Some(3)),
            ("The correct option is C because 3+4=7.", Some(2)),
            ("The correct answer is **B. Mitochondria**.", Some(1)),
            ("<answer>A</answer>", Some(0)),
        ];
        for (text, place) in texts {
            let read = Reader::default().completion(text);
            assert_eq!(named(&read.answer, &OPTIONS), place, "{text}: {read:?}");
        }
    }

    #[test]
    fn each_option_stands_once_at_each_place() {
        let orders: Vec<Vec<usize>> = (0..4).map(|turn| order("Which?", &OPTIONS, turn)).collect();
        for place in 0..4 {
            let mut there: Vec<usize> = orders.iter().map(|order| order[place]).collect();
            there.sort_unstable();
            assert_eq!(there, [0, 1, 2, 3]);
        }
        assert_eq!(order("Which?", &OPTIONS, 4), orders[0]);
        // The order in the file is forgotten.
        let turned = [OPTIONS[2], OPTIONS[0], OPTIONS[3], OPTIONS[1]];
        let shown = |options: &[&str]| -> Vec<String> {
            order("Which?", options, 0).iter().map(|at| options[*at].to_owned()).collect()
        };
        assert_eq!(shown(&turned), shown(&OPTIONS));
        // Over many questions, an option is first as often as any other.
        let first = |n: usize| order(&format!("Question {n}"), &OPTIONS, 0)[0];
        let mut counts = [0; 4];
        (0..4000).for_each(|n| counts[first(n)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn verdicts() {
        let meta = serde_json::json!({ "options": OPTIONS }).to_string();
        let question = asked("What has a membrane? ", &OPTIONS);
        assert_eq!(question, "What has a membrane?\n\nA. a cell wall\nB. Mitochondria\nC. 7\nD. B");
        let problem = Problem { question, answer: "B".into(), meta, ..Problem::default() };
        let judge = |answer: &str| {
            let judged = Choice.verify(&problem, &["So".to_owned()], answer);
            assert_eq!(judged.checks, [StepCheck::Prose]);
            (judged.verdict, judged.reason)
        };
        assert_eq!(judge("(B)"), (Verdict::Correct, "correct".into()));
        assert_eq!(judge("D"), (Verdict::Wrong, "wrong_answer".into()));
        assert_eq!(judge(" "), (Verdict::Wrong, "no_answer".into()));
        assert_eq!(judge("all of them"), (Verdict::Undecidable, "answer_unreadable".into()));
        let other = Problem { meta: String::new(), ..problem.clone() };
        assert_eq!(Choice.verify(&other, &[], "B").verdict, Verdict::Undecidable);
        let read = |answer: &str| Choice.reading(&problem, answer);
        assert_eq!([read("b)"), read("Mitochondria"), read("None")], ["B", "B", "none"]);
    }
}
