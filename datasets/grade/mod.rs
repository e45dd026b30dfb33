//! Is a predicted answer the gold answer? Exactly, with bounded work, and with a reason.
//!
//! [`grade`] takes two whole texts and finds the final answers in them; [`compare`] takes final answers;
//! [`grade_with_steps`] checks the arithmetic on the way too. All are pure functions: no clock, no thread, no
//! random number, no floating point. Work is bounded by fuel (digits, tokens, nesting, products of terms,
//! bits of intervals), and where it runs out the verdict is `undecidable`, never `wrong`. No text makes them
//! panic. Swapping gold and prediction never turns `correct` into anything else.
//!
//! ```
//! use datasets::Verdict;
//! use datasets::grade::{Options, grade};
//!
//! let found = grade("48/2 = 24 clips in May.\n#### 72", r"Together \boxed{72.00}", &Options::default());
//! assert_eq!((found.verdict, found.reason), (Verdict::Correct, "correct"));
//! let found = grade(r"\sqrt{8}", r"2\sqrt{2} + 1", &Options::default());
//! assert_eq!((found.verdict, found.reason), (Verdict::Wrong, "wrong_answer"));
//! assert_eq!(found.sentence(), "The prediction 2*2^(1/2)+1 is not the gold answer 8^(1/2).");
//! ```
//!
//! # Reasons
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | the two answers are the same |
//! | `wrong_answer` | wrong | they are of one kind, and proved to differ |
//! | `other_kind` | wrong | they are of kinds that are never the same: a number and a pair, yes and a number; or the prediction has no value (`5/0`) |
//! | `other_unit` | wrong | equal kinds of number with units of other dimensions: `5 kg` and `5 m` |
//! | `no_answer` | wrong | the prediction is empty, or a text that ends without any claim |
//! | `answer_unreadable` | undecidable | the gold is mathematics, and the prediction is text |
//! | `gold_unreadable` | undecidable | the gold is text (or has no answer), and the prediction another text or mathematics |
//! | `not_decided` | undecidable | neither equality nor difference could be proved |
//! | `out_of_fuel` | undecidable | a side is too long to read or too large to compute with |
//!
//! # How an answer is read
//!
//! In this order, plain text and LaTeX alike:
//!
//! 1. Emphasis, quotes, delimiters of mathematics and a full stop around the answer are dropped.
//! 2. A letter A to H, alone or before a text (`(B)`, `B. 12`), is a choice: equal letters are equal. A
//!    choice with a text is also equal to that text. A letter alone and a text are `not_decided`.
//! 3. `yes` and `true`, `no` and `false`.
//! 4. Mathematics, end to end, by the grammar below.
//! 5. Anything else is text, compared without case, markup and runs of blanks.
//!
//! Lists (`1, 2`, `1 and 2`) and sets have no order, tuples, matrices and intervals do; a list equals a
//! tuple in its order. A value said twice (`3/4 or 0.75`, `1/2 (0.5)`) is that value, unless it may be a
//! product. `a ± b` is the set of both. `x = …` is its right side where the other answer is no equation. Two
//! equations are the same if one is a multiple of the other; a bound on one variable is an interval. `m + n
//! = 113` states 113, `x + 2 = 5` does not state 5, and with x, y or t it is `not_decided`. Names that an
//! equation gives (`AB = 5`) must not differ; parameters (`2kπ`, `2nπ`) may, undecided. Sets of reals are
//! compared in any form: `and` is their intersection, `or` their union, and a comma whichever makes sense
//! (`reals`). `18-20` is a range, `3:4` a ratio or a time.
//!
//! Numbers: `1,234`, `1,\!234`, `1 234`, `.5`, `1 1/4`, `1½`, `1e3`, `0.\overline{3}`, `0.(3)`, `2 million`,
//! `3万`, `0xFF`, `2A_{16}`, `50%` (see `Amount::is_same` for percent: one prediction never matches 100 and
//! 1). Words behind a number are dropped, unless both sides have units of measure or currencies that are
//! known: then `100 cm` is `1 m` and not `100 m`. Words of other scripts are units, counters and multipliers
//! that are known (`scripts`), and any other one makes the answer a text (`72以上`). Words behind a letter
//! alone make it a text (`C major`). `5 m` is an amount, `5m` a product. Functions: roots, powers, `!`,
//! binomials, sines and their inverses, logarithms (without a base: to one that is not known, so `log 100`
//! and 2 are `not_decided`), absolute value, floor and ceiling. A variable is a real number. There is no
//! tolerance, unless [`Options::precision`] asks for one.
//!
//! # How equality is proved
//!
//! Rationals are compared exactly. Everything else is a polynomial over the rationals in variables and in
//! such numbers as π, roots and logarithms of primes (`poly`, `normal`): equal normal forms are equal values.
//! Where they are not equal, `decide` evaluates the difference with intervals of up to 4096 bits, and proves
//! algebraic numbers equal by a bound on how small such a number can be.

mod amount;
mod bases;
mod blocks;
mod bound;
mod boxes;
mod calculation;
mod closing;
mod completion;
mod decide;
mod digits;
mod expression;
mod extract;
mod field;
mod forms;
mod interval;
mod judge;
mod letters;
mod lex;
mod limits;
mod lists;
mod markers;
mod moments;
mod names;
mod normal;
mod parse;
mod pattern;
mod plain;
mod poly;
mod quantity;
mod read;
mod reals;
mod relations;
mod remarks;
mod said;
mod scripts;
mod several;
mod side;
mod spelled;
mod steps;
mod tree;
mod trigonometry;
mod units;
mod value;

use crate::types::Verdict;
use extract::{Found, Scope};
use judge::{Equality, Judge};
use limits::{MAX_BYTES, Stop};
use read::Exponents;
use tree::Answer;

pub(crate) use amount::Amount;
pub use completion::{
    Completion, Form, Reader, UNDO, closes_code, ends_answer, gold, is_answer_line, is_open, opens_code,
    opens_thought, read_completion, read_marked, split_completion, spoken_from,
};
pub use extract::Rule;
pub use pattern::Pattern;
pub use said::without_end;
pub use steps::{StepsGrade, grade_with_steps};

/// What a user may ask for beyond exact equality.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Accept a difference of up to half a unit of this decimal: with 2, gold 1/3 accepts 0.33 and not 0.34.
    pub precision: Option<u32>,
    /// Take predicted answers behind markers only (see [`Rule`]).
    pub strict: bool,
}

/// Outcome of [`grade`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    pub verdict: Verdict,
    /// A code of the table above.
    pub reason: &'static str,
    /// The gold answer as it was read, empty if there is none.
    pub gold_read: String,
    pub prediction_read: String,
    /// The [`Rule`] by which the predicted answer was found; empty if there is none.
    pub read_by: &'static str,
}

impl Grade {
    /// The reason as a sentence.
    pub fn sentence(&self) -> String {
        let (gold, given) = (&self.gold_read, &self.prediction_read);
        match self.reason {
            "correct" => format!("The prediction {given} is the gold answer {gold}."),
            "wrong_answer" => format!("The prediction {given} is not the gold answer {gold}."),
            "other_kind" => {
                format!("The prediction {given} is a different kind of answer from the gold answer {gold}.")
            }
            "other_unit" => format!(
                "The prediction {given} and the gold answer {gold} have units of different dimensions."
            ),
            "answer_unreadable" => {
                format!("The prediction ({given}) cannot be read as a value; the gold answer is {gold}.")
            }
            "no_answer" => format!("The prediction has no final answer; the gold answer is {gold}."),
            "gold_unreadable" => format!(
                "The gold answer ({gold}) cannot be read as a value, and the prediction is not the same text."
            ),
            "out_of_fuel" => {
                format!("The answers are too large to compare: gold {gold}, prediction {given}.")
            }
            _ => format!("Whether {given} equals the gold answer {gold} could not be proved either way."),
        }
    }
}

/// Outcome of [`compare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub verdict: Verdict,
    /// A code of the table in the module's documentation.
    pub reason: &'static str,
    /// The gold as it was read: a number or an expression, or text in normal form.
    pub gold_read: String,
    pub predicted_read: String,
}

/// Judges a predicted text against the gold text: finds the final answer in both, see `extract`, and compares
/// them.
///
/// Texts that are equal word for word are equal, whatever they hold.
pub fn grade(gold: &str, prediction: &str, options: &Options) -> Grade {
    let scope = if options.strict { Scope::Marked } else { Scope::Whole };
    let (gold_found, given_found) = (extract::find(gold, Scope::Whole), extract::find(prediction, scope));
    let read_by = given_found.as_ref().map_or("", |found| found.rule.name());
    let (gold_side, given_side) =
        (Side::of(gold, gold_found.as_ref()), Side::of(prediction, given_found.as_ref()));
    let mut judged = judge(gold_side, given_side, options);
    let nothing = judged.reason == "no_answer" && !options.strict;
    if nothing && given_side.speaks && gold.trim() == prediction.trim() {
        (judged.verdict, judged.reason) = (Verdict::Correct, "correct");
    }
    Grade {
        verdict: judged.verdict,
        reason: judged.reason,
        gold_read: judged.gold_read,
        prediction_read: judged.predicted_read,
        read_by,
    }
}

/// Judges a final answer against the gold answer.
pub fn compare(gold: &str, predicted: &str) -> Comparison {
    let side = |text| Side { text, speaks: false, alone: false };
    judge(side(gold), side(predicted), &Options::default())
}

/// What is compared of a text.
#[derive(Clone, Copy)]
struct Side<'a> {
    /// Empty if the text has no answer.
    text: &'a str,
    /// Whether the text says anything, an answer or not.
    speaks: bool,
    /// Whether the text is one sentence, and the answer a number in it.
    alone: bool,
}

impl<'a> Side<'a> {
    fn of(text: &str, found: Option<&'a Found<'_>>) -> Side<'a> {
        let speaks = || !text[said::said(text).range].trim().is_empty();
        match found {
            Some(found) => {
                Side { text: &found.answer, speaks: true, alone: found.alone && found.rule == Rule::Sentence }
            }
            None => Side { text: "", speaks: speaks(), alone: false },
        }
    }

    fn read(self, exponents: Exponents) -> Result<Answer, Stop> {
        if self.text.len() > MAX_BYTES { Err(Stop::Fuel) } else { read::read(self.text, exponents) }
    }
}

fn judge(gold: Side, given: Side, options: &Options) -> Comparison {
    let ordered = |one: Side, other: Side| {
        if other.text.contains('=') { None } else { spelled::in_order(one.text) }
    };
    let (ours, theirs) = (ordered(gold, given), ordered(given, gold));
    let gold = ours.as_deref().map_or(gold, |text| Side { text, ..gold });
    let given = theirs.as_deref().map_or(given, |text| Side { text, ..given });
    if options.precision.is_none()
        && let (Some(a), Some(b)) = (amount::scan(gold.text), amount::scan(given.text))
    {
        let (verdict, reason) =
            if a == b { (Verdict::Correct, "correct") } else { (Verdict::Wrong, "wrong_answer") };
        return Comparison { verdict, reason, gold_read: a.to_string(), predicted_read: b.to_string() };
    }
    let (read, other) = (Exponents::AsWritten, Exponents::Other);
    let (a, b) = (gold.read(read), given.read(read));
    let mut outcome = match (&a, &b) {
        (Ok(Answer::Text(text)), Ok(Answer::Text(none)))
            if none.is_empty() && given.speaks && !text.is_empty() =>
        {
            Equality::Unknown("gold_unreadable")
        }
        (_, Ok(Answer::Text(text))) if text.is_empty() => Equality::Different("no_answer"),
        _ => outcome(&a, &b, options),
    };
    // `2e-1` in plain text may be read in two ways.
    if let Equality::Different(_) = outcome
        && (read::has_two_readings(gold.text) || read::has_two_readings(given.text))
    {
        let others = [(read, other), (other, read), (other, other)];
        let same = |(x, y): (Exponents, Exponents)| {
            outcome_of(gold.read(x), given.read(y), options) == Equality::Same
        };
        if others.into_iter().any(same) {
            let delimited = |text: &str| read::has_two_readings(text) && text.contains(['$', '\\']);
            let delimited = delimited(gold.text) || delimited(given.text);
            outcome = if delimited { Equality::Unknown("not_decided") } else { Equality::Same };
        }
    }
    if outcome != Equality::Same
        && let Some(equal) = respelled(gold, given, options)
    {
        outcome = equal;
    }
    let sentences = gold.alone && given.alone;
    let equal = read::undecorated(gold.text) == read::undecorated(given.text);
    let (verdict, reason) = match outcome {
        Equality::Different("no_answer") => (Verdict::Wrong, "no_answer"),
        Equality::Unknown(reason) if equal && reason != "gold_unreadable" => (Verdict::Correct, "correct"),
        // What two sentences count may be two things.
        Equality::Same if sentences && !equal && !matches!(a, Ok(Answer::Text(_))) => {
            (Verdict::Undecidable, "not_decided")
        }
        Equality::Same => (Verdict::Correct, "correct"),
        Equality::Different(reason) => (Verdict::Wrong, reason),
        Equality::Unknown(reason) => (Verdict::Undecidable, reason),
    };
    let text = |read: &Result<Answer, Stop>| {
        read.as_ref().map_or_else(|_| "(too long)".to_owned(), ToString::to_string)
    };
    Comparison { verdict, reason, gold_read: text(&a), predicted_read: text(&b) }
}

/// What comes of numbers that are written in words or with a decimal comma, if that decides.
fn respelled(gold: Side, given: Side, options: &Options) -> Option<Equality> {
    let number = |text: &str| Side { text, speaks: true, alone: false }.read(Exponents::AsWritten);
    let compared = |gold: &str, given: &str| outcome_of(number(gold), number(given), options);
    for (one, other) in [(given.text, gold.text), (gold.text, given.text)] {
        let point = spelled::with_point(one).filter(|_| !other.contains(','));
        let list = (one.contains('\n') && other.contains([',', '='])).then(|| one.replace('\n', ", "));
        if point.or(list).is_some_and(|text| compared(other, &text) == Equality::Same) {
            return Some(Equality::Same);
        }
    }
    let (a, b) = (spelled::in_words(gold.text), spelled::in_words(given.text));
    if a.is_none() && b.is_none() {
        return None;
    }
    let digits = |words: Option<String>, text: &str| words.unwrap_or_else(|| text.to_owned());
    match compared(&digits(a, gold.text), &digits(b, given.text)) {
        Equality::Unknown(_) => None,
        decided => Some(decided),
    }
}

fn outcome_of(gold: Result<Answer, Stop>, given: Result<Answer, Stop>, options: &Options) -> Equality {
    outcome(&gold, &given, options)
}

fn outcome(gold: &Result<Answer, Stop>, given: &Result<Answer, Stop>, options: &Options) -> Equality {
    match (gold, given) {
        (Err(_), _) | (_, Err(_)) => Equality::Unknown("out_of_fuel"),
        (Ok(Answer::Text(text)), _) if text.is_empty() => Equality::Unknown("gold_unreadable"),
        (Ok(gold), Ok(given)) => Judge::new(options.precision).compare(gold, given),
    }
}

/// Speed of [`grade`] on one thread: goes over the pairs of gold and prediction for about this long.
pub fn pairs_per_second(pairs: &[(String, String)], time: std::time::Duration) -> f64 {
    let (clock, mut count) = (std::time::Instant::now(), 0_u64);
    while clock.elapsed() < time && !pairs.is_empty() {
        for (gold, prediction) in pairs {
            std::hint::black_box(grade(gold, prediction, &Options::default()));
        }
        count += pairs.len() as u64;
    }
    count as f64 / clock.elapsed().as_secs_f64()
}

#[cfg(test)]
mod reading_tests;
#[cfg(test)]
mod tests;
