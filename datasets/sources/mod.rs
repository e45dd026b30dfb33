//! Where problems come from: two generators and the user's files.
//!
//! A source gives [`Raw`] rows and knows nothing of ids, splits or duplicates. Those are fixed here, by
//! content alone, so that the same question is the same problem in the same split in every run and in
//! whatever order it is read.

pub mod countdown;
pub mod files;
#[cfg(test)]
mod tests;
pub mod words;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::key::{self, Part};
use crate::types::{Problem, Split};

/// A problem as its source gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    pub question: String,
    /// The gold final answer, without the way that leads to it.
    pub answer: String,
    /// Number of operations where the source knows it, else 0.
    pub difficulty: u32,
    /// JSON for audits: how it was generated, or where it stands in its file.
    pub meta: String,
    /// The worked solution, one step a line, where the source has one (GSM8K, generators). Never part of a
    /// [`Problem`].
    pub worked: Option<String>,
    /// What is asked, whatever form it is shown in, where that is not the question as it stands: the options
    /// of multiple choice in a fixed order.
    pub asked: Option<String>,
}

impl Raw {
    /// What decides its split.
    pub fn asked(&self) -> &str {
        self.asked.as_ref().unwrap_or(&self.question)
    }

    /// The problem that this row is, the `copy`-th of equal content (see [`Dedup`]), in a split.
    pub fn into_problem(self, domain: &str, source: &str, copy: u32, split: Split) -> Problem {
        let mut parts = content(domain, source, &self).to_vec();
        if copy > 0 {
            parts.push(Part::Int(u64::from(copy)));
        }
        Problem {
            problem_id: key::id(&parts),
            domain: domain.to_owned(),
            source: source.to_owned(),
            split,
            question: self.question,
            answer: self.answer,
            difficulty: self.difficulty,
            meta: self.meta,
        }
    }
}

impl From<countdown::Draft> for Raw {
    fn from(draft: countdown::Draft) -> Self {
        generated(draft.question, draft.answer, draft.difficulty, &draft.meta)
    }
}

impl From<words::Draft> for Raw {
    fn from(draft: words::Draft) -> Self {
        generated(draft.question, draft.answer, draft.difficulty, &draft.meta)
    }
}

/// A generator's row. Where `meta` has the steps that it was made from as a list `solution`, they are the
/// worked solution.
fn generated(question: String, answer: String, difficulty: u32, meta: &serde_json::Value) -> Raw {
    let steps = meta.get("solution").and_then(serde_json::Value::as_array);
    let worked =
        steps.and_then(|steps| steps.iter().map(serde_json::Value::as_str).collect::<Option<Vec<_>>>());
    let worked = worked.filter(|steps| !steps.is_empty()).map(|steps| steps.join("\n"));
    Raw { question, answer, difficulty, meta: meta.to_string(), worked, asked: None }
}

/// What makes two rows copies of each other.
fn content<'a>(domain: &'a str, source: &'a str, raw: &'a Raw) -> [Part<'a>; 4] {
    [domain.into(), source.into(), (&raw.question).into(), (&raw.answer).into()]
}

/// Counts copies of equal content in about ten bytes a row, so that millions of rows fit in memory.
///
/// Contents are told apart by 64 bits of their hash. Should two different ones ever agree in them, the
/// second counts as a copy of the first: it still has an id of its own, because the id hashes the content.
#[derive(Debug, Default)]
pub struct Dedup {
    seen: HashSet<u64, BuildHasherDefault<Hashed>>,
    /// Copies after the first, for the few contents that have any.
    copies: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
}

impl Dedup {
    /// How many rows of the same content came before this one: 0 for the first. Rows are to be given in their
    /// order.
    pub fn copy(&mut self, domain: &str, source: &str, raw: &Raw) -> u32 {
        let hash = key::digest(&content(domain, source, raw));
        let hash = hash[..8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        if self.seen.insert(hash) {
            return 0;
        }
        let copies = self.copies.entry(hash).or_default();
        *copies += 1;
        *copies
    }

    /// Different contents so far.
    pub fn distinct(&self) -> usize {
        self.seen.len()
    }
}

/// Passes on keys that are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, byte| all << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A number in [0, 1) that decides a question's split (see [`split_at`]). It depends on the domain and the
/// words of the question alone, white space aside: copies and re-wrapped copies land in the same split,
/// from whichever source they come.
pub fn split_of(domain: &str, question: &str) -> f64 {
    let words = question.split_whitespace().collect::<Vec<_>>().join(" ");
    key::unit(&["split".into(), domain.into(), (&words).into()])
}

/// The split for a draw, where the shares of the whole for `test` and `validation` are given. A larger share
/// only adds questions to a split: with `test` unchanged, no question enters or leaves it.
pub fn split_at(draw: f64, test: f64, validation: f64) -> Split {
    if draw < test {
        Split::Test
    } else if draw >= 1.0 - validation {
        Split::Validation
    } else {
        Split::Train
    }
}
