//! Contamination: train problems that are a held-out question in disguise.
//!
//! Questions are compared as n-grams of masked words: numbers become `#`, names `@`, case and punctuation go.
//! Problems made of one template share such n-grams by construction, so sharing one is only half of the
//! evidence; the other is the same multiset of numbers. N-grams that occur in more than 5% of the distinct
//! templates (masked questions) of the train problems, and in more than four of them, are a manner of
//! speaking and say nothing. A question that equals a held-out one up to case, blanks and punctuation is
//! contaminated whatever its n-grams.
//!
//! What is held out costs about 2 kB a question; of train questions eight bytes for each template are kept.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use datasets::agreement::is_name;

use super::config::{Contamination, CurateConfig};

/// Share of the train templates above which an n-gram is common.
const COMMON_SHARE: f64 = 0.05;
/// Templates up to which none is.
const COMMON_LEAST: u32 = 4;

/// Numbers that are written as words.
#[rustfmt::skip]
const NUMBERS: &[(&str, &str)] = &[
    ("zero", "0"), ("one", "1"), ("two", "2"), ("three", "3"), ("four", "4"), ("five", "5"), ("six", "6"), ("seven", "7"), ("eight", "8"),
    ("nine", "9"), ("ten", "10"), ("eleven", "11"), ("twelve", "12"), ("fifteen", "15"), ("twenty", "20"), ("thirty", "30"),
    ("forty", "40"), ("fifty", "50"), ("sixty", "60"), ("hundred", "100"), ("thousand", "1000"),
];

/// A question with its numbers and names masked.
#[derive(Debug, PartialEq)]
pub struct Masked {
    pub words: Vec<String>,
    /// The numbers, sorted: `1,200.0` is `1200`.
    pub numbers: Vec<String>,
}

/// Masks a question.
pub fn masked(question: &str) -> Masked {
    let mut masked = Masked { words: Vec::new(), numbers: Vec::new() };
    let mut starts = true;
    for word in question.split_whitespace() {
        for part in parts(word) {
            let lower = part.to_lowercase();
            let number = if part.starts_with(|c: char| c.is_numeric()) {
                Some(plain(part))
            } else {
                NUMBERS.iter().find(|(name, _)| *name == lower).map(|(_, number)| (*number).to_owned())
            };
            if let Some(number) = number {
                masked.numbers.push(number);
                masked.words.push("#".into());
            } else if is_name(part, starts) {
                // A first and a last name are one.
                if masked.words.last().is_none_or(|last| last != "@") {
                    masked.words.push("@".into());
                }
            } else {
                masked.words.push(lower);
            }
            starts = false;
        }
        starts |= word.trim_end_matches(['"', '\'', ')', '”', '’']).ends_with(['.', '?', '!', ':']);
    }
    masked.numbers.sort();
    masked
}

/// Numbers and words in a piece of text without blanks; punctuation is left out.
fn parts(word: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        rest = &rest[start..];
        let numeric = rest.starts_with(|c: char| c.is_numeric());
        let inside = |(at, c): (usize, char)| {
            let behind = rest[at + c.len_utf8()..].chars().next();
            if numeric {
                c.is_numeric() || (matches!(c, ',' | '.') && behind.is_some_and(char::is_numeric))
            } else {
                c.is_alphabetic() || (matches!(c, '\'' | '’') && behind.is_some_and(char::is_alphabetic))
            }
        };
        let end = rest.char_indices().find(|at| !inside(*at)).map_or(rest.len(), |(at, _)| at);
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    parts
}

/// A number without separators and without zeros that say nothing.
fn plain(number: &str) -> String {
    let digits: String = number.chars().filter(|c| *c != ',').collect();
    match digits.split_once('.') {
        Some((whole, decimals)) if decimals.bytes().all(|b| b == b'0') => whole.to_owned(),
        Some(_) => digits.trim_end_matches('0').to_owned(),
        None => digits,
    }
}

/// A text up to case, blanks and punctuation. A sign or point that belongs to a number stays.
pub fn normalised(text: &str) -> String {
    text.split_whitespace().flat_map(parts).map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

pub(super) fn hash(value: impl Hash) -> u64 {
    // Fixed keys: nothing that is written depends on them but through collisions of 64 bits.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The n-grams of a masked question; a shorter question is one itself.
fn grams(words: &[String], n: usize) -> impl Iterator<Item = &[String]> {
    words.windows(n.min(words.len()).max(1))
}

#[derive(Clone, Copy, Debug)]
struct Gram {
    /// The first held-out question that has it.
    held: u32,
    /// Distinct templates of train questions that have it.
    templates: u32,
}

/// The held-out questions, and what is common in the train questions.
#[derive(Debug)]
pub struct HeldOut {
    rule: Contamination,
    n: usize,
    /// Where each held-out question is from.
    places: Vec<String>,
    exact: HashMap<u64, u32>,
    grams: HashMap<u64, Gram>,
    /// An n-gram and the numbers of its question, to the first such question.
    with_numbers: HashMap<(u64, u64), u32>,
    templates: HashSet<u64>,
}

/// Why a question counts as held out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The shared n-gram; none if the whole question is the same.
    pub gram: Option<String>,
    /// Where the held-out question is from.
    pub place: String,
    /// Whether the numbers are the same too.
    pub same_numbers: bool,
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.gram {
            None => write!(f, "the same question as {}", self.place),
            Some(gram) if self.same_numbers => write!(f, "`{gram}` and the same numbers as {}", self.place),
            Some(gram) => write!(f, "`{gram}` as in {}", self.place),
        }
    }
}

impl HeldOut {
    pub fn new(config: &CurateConfig) -> Self {
        Self {
            rule: config.contamination,
            n: config.contamination_n,
            places: Vec::new(),
            exact: HashMap::new(),
            grams: HashMap::new(),
            with_numbers: HashMap::new(),
            templates: HashSet::new(),
        }
    }

    /// Holds a question out. All are to be held before the first [`HeldOut::count`].
    pub fn hold(&mut self, place: String, question: &str) {
        let held = self.places.len() as u32;
        self.places.push(place);
        self.exact.entry(hash(normalised(question))).or_insert(held);
        let Masked { words, numbers } = masked(question);
        let numbers = hash(numbers);
        for gram in grams(&words, self.n) {
            let gram = hash(gram);
            self.grams.entry(gram).or_insert(Gram { held, templates: 0 });
            self.with_numbers.entry((gram, numbers)).or_insert(held);
        }
    }

    /// Counts the n-grams of a train question, if its template is a new one. The order makes no difference.
    pub fn count(&mut self, question: &str) {
        let Masked { words, .. } = masked(question);
        if self.places.is_empty() || !self.templates.insert(hash(&words)) {
            return;
        }
        let distinct: HashSet<u64> = grams(&words, self.n).map(hash).collect();
        for gram in distinct {
            if let Some(gram) = self.grams.get_mut(&gram) {
                gram.templates += 1;
            }
        }
    }

    /// What shows that a train question is held out, if anything does.
    pub fn leak(&self, question: &str) -> Option<Leak> {
        if self.rule == Contamination::Off || self.places.is_empty() {
            return None;
        }
        if let Some(held) = self.exact.get(&hash(normalised(question))) {
            return Some(Leak { gram: None, place: self.places[*held as usize].clone(), same_numbers: true });
        }
        let Masked { words, numbers } = masked(question);
        let numbers = hash(numbers);
        let common = (self.templates.len() as f64 * COMMON_SHARE).max(f64::from(COMMON_LEAST));
        grams(&words, self.n).find_map(|gram| {
            let key = hash(gram);
            let known = self.grams.get(&key).filter(|known| f64::from(known.templates) <= common)?;
            let same = self.with_numbers.get(&(key, numbers));
            let held =
                same.copied().or_else(|| Some(known.held).filter(|_| self.rule == Contamination::Masked))?;
            Some(Leak {
                gram: Some(gram.join(" ")),
                place: self.places[held as usize].clone(),
                same_numbers: same.is_some(),
            })
        })
    }

    /// How many questions are held out.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELD: &str = "Ann Lee has 1,200 apples in her garden and gives 3.50 of them to each of her friends. How many friends?";

    fn held_out(rule: Contamination) -> HeldOut {
        let mut held = HeldOut::new(&CurateConfig {
            contamination: rule,
            contamination_n: 8,
            ..CurateConfig::default()
        });
        held.hold("test x".into(), HELD);
        held
    }

    #[test]
    fn numbers_and_names_are_masked() {
        let Masked { words, numbers } = masked(HELD);
        assert_eq!(
            words.join(" "),
            "@ has # apples in her garden and gives # of them to each of her friends how many friends"
        );
        assert_eq!(numbers, ["1200", "3.5"]);
        assert_eq!(masked("How far? Twelve miles, said Bo.").words.join(" "), "how far # miles said @");
        assert_eq!(normalised("How  FAR, Bo's 1,200.5 m?"), "how far bo's 1,200.5 m");
        assert!(masked("").words.is_empty());
    }

    #[test]
    fn renamed_and_renumbered_questions() {
        let other_name = HELD.replace("Ann Lee", "Bob");
        let other_number = other_name.replace("1,200", "900");
        let other_order = "Bob gives 3.5 pens away. Then Bob has 1200 apples in her garden and gives some.";
        let elsewhere = "A train has 1,200 seats. Each of 3.5 tickets costs a lot. How many seats are there?";
        let found = |rule, question: &str| {
            held_out(rule).leak(question).map(|leak| (leak.gram.is_some(), leak.same_numbers))
        };
        for (rule, number) in
            [(Contamination::SameNumbers, None), (Contamination::Masked, Some((true, false)))]
        {
            assert_eq!(found(rule, HELD), Some((false, true)));
            assert_eq!(
                found(rule, &HELD.to_uppercase().replace('.', " . ").replace("3 . 50", "3.50")),
                Some((false, true))
            );
            assert_eq!(found(rule, &other_name), Some((true, true)));
            assert_eq!(found(rule, other_order), Some((true, true)));
            assert_eq!(found(rule, &other_number), number);
            assert_eq!(found(rule, elsewhere), None);
        }
        assert_eq!(found(Contamination::Off, HELD), None);
        let leak = held_out(Contamination::SameNumbers).leak(&other_name).unwrap();
        assert_eq!(leak.to_string(), "`@ has # apples in her garden and` and the same numbers as test x");
    }

    #[test]
    fn common_phrases_say_nothing() {
        let mut held = held_out(Contamination::Masked);
        let question = |n: usize| {
            format!("{} Bob has 7 apples in her garden and gives 9 away.", "So it goes. ".repeat(n))
        };
        for n in 0..4 {
            held.count(&question(n));
            held.count(&question(n).replace('7', "8"));
        }
        assert!(held.leak(&question(0)).is_some(), "four templates are few");
        held.count(&question(4));
        assert!(held.leak(&question(0)).is_none());
        for n in 0..200 {
            held.count(&format!("{} here.", "word ".repeat(n)));
        }
        assert!(held.leak(&question(0)).is_some(), "five of 205 are few");
    }

    #[test]
    fn a_short_question_is_its_own_gram() {
        let mut held = HeldOut::new(&CurateConfig::default());
        held.hold("short".into(), "What is 5 times 6?");
        assert!(held.leak("What is 6 times 5?").is_some());
        assert!(held.leak("What is 6 times 7?").is_none());
    }

    proptest! {
        #[test]
        fn a_held_out_question_is_always_found(question in "[A-Z][a-z]{1,5}( [a-zA-Z0-9,.]{1,6}){0,30}[.?]", n in 1_usize..15) {
            let mut held = HeldOut::new(&CurateConfig { contamination_n: n, ..CurateConfig::default() });
            held.hold("it".into(), &question);
            prop_assert!(held.leak(&question).is_some());
            let rewritten = format!("  {}", question.to_lowercase().replace(' ', "  "));
            prop_assert!(held.leak(&rewritten).is_some());
        }

        #[test]
        fn no_panic(text in ".*") {
            let mut held = HeldOut::new(&CurateConfig::default());
            held.hold("it".into(), &text);
            held.count(&text);
            let _ = held.leak(&text);
        }
    }
}
