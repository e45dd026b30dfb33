//! What a step may compute with: numbers of the question, constants that words mean, and what was computed so
//! far.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::LazyLock;

use super::super::givens::{LEXICON, givens, numerals};
use super::reading::{Reading, plain};
use crate::domain::Origin;
use crate::expr::{Kind, Token, lex};
use crate::number::Number;

/// Numbers that anybody may compute with: small counts (three friends who are named), halves, percent.
const COMMON: &[i64] = &[0, 1, 2, 3, 4, 100];

/// Constants of measures, by words of the question or the solution.
const MEASURES: &[(&[&str], &[i64])] = &[
    (
        &["second", "seconds", "minute", "minutes", "hour", "hours", "hourly", "o'clock", "am", "pm"],
        &[12, 15, 24, 30, 60, 3600],
    ),
    (
        &["day", "days", "daily", "week", "weeks", "weekly", "everyday", "tomorrow", "yesterday"],
        &[7, 14, 24, 52, 365, 366],
    ),
    (
        &["month", "months", "monthly", "year", "years", "annual", "annually", "yearly"],
        &[12, 30, 31, 52, 365, 366],
    ),
    (
        &[
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
            "weekday",
            "weekdays",
            "weekend",
        ],
        &[5, 6, 7],
    ),
    (&["january", "february", "march", "april", "june", "july", "august", "september"], &[28, 29, 30, 31]),
    (&["may", "october", "november", "december"], &[28, 29, 30, 31]),
    (&["foot", "feet", "inch", "inches", "yard", "yards", "mile", "miles"], &[12, 36, 144, 1760, 5280]),
    (&["ounce", "ounces", "oz", "pound", "pounds", "ton", "tons"], &[16, 2000]),
    (
        &[
            "cup",
            "cups",
            "pint",
            "pints",
            "quart",
            "quarts",
            "gallon",
            "gallons",
            "tablespoon",
            "tablespoons",
        ],
        &[8, 16, 32, 128],
    ),
    (&["meter", "meters", "kilometer", "kilometers", "km", "cm", "centimeter", "centimeters"], &[10, 1000]),
    (
        &["ml", "milliliters", "liter", "liters", "gram", "grams", "kg", "kilogram", "kilograms", "kilos"],
        &[10, 1000],
    ),
    (
        &["nickel", "nickels", "dime", "dimes", "quarter", "quarters", "penny", "pennies", "coins"],
        &[5, 10, 25],
    ),
    (
        &["square", "squares", "rectangle", "rectangular", "cube", "triangle", "angles", "degrees"],
        &[6, 90, 180, 360],
    ),
    (&["thousand", "thousands"], &[1000]),
    (&["million", "millions"], &[1_000_000]),
    (&["score"], &[20]),
];

/// The constants of each word, and for a word of the lexicon its inverse (`half`: 2 and 0.5).
static CONSTANTS: LazyLock<HashMap<&str, Vec<Number>>> = LazyLock::new(|| {
    let mut constants: HashMap<&str, Vec<Number>> = HashMap::new();
    for (words, values) in MEASURES {
        for word in *words {
            constants.entry(word).or_default().extend(values.iter().map(|&n| Number::integer(n)));
        }
    }
    for (word, value) in LEXICON {
        let both = [Some(Number::integer(*value)), Number::ratio(1, *value)];
        constants.entry(word).or_default().extend(both.into_iter().flatten());
    }
    constants
});

thread_local! {
    /// The last question and what it gives: solutions of a problem are judged one after the other.
    static LAST: RefCell<Option<(String, Rc<Known>)>> = const { RefCell::new(None) };
}

/// What a step may compute with.
#[derive(Clone)]
pub(super) struct Known {
    all: HashSet<Number>,
    /// What the question gives and what was computed from it, without constants.
    own: HashSet<Number>,
    /// Numbers in front of a percent sign, and sums of two of them.
    shares: HashSet<Number>,
}

impl Known {
    /// What is known before the first step. Words of the solution count too: who speaks of minutes may use
    /// 60.
    pub fn of(reading: &Reading) -> Self {
        let last = LAST.with_borrow(|last| {
            let (question, known) = last.as_ref()?;
            (question == reading.question).then(|| Rc::clone(known))
        });
        let of_question = last.unwrap_or_else(|| {
            let known = Rc::new(Self::of_question(reading.question));
            LAST.set(Some((reading.question.to_owned(), Rc::clone(&known))));
            known
        });
        let mut known = Self::clone(&of_question);
        for line in &reading.lines {
            known.understand(&line.tokens);
        }
        known
    }

    /// What a question gives.
    fn of_question(question: &str) -> Self {
        let tokens = lex(question);
        let given = givens(question);
        let mut own: HashSet<Number> =
            given.iter().filter(|q| q.origin == Origin::Given).map(|q| q.value).collect();
        // The parts of a fraction, and of a number in words.
        own.extend(tokens.iter().filter_map(plain));
        own.extend(numerals(&tokens));
        own.extend(halves(&tokens));
        let mut all: HashSet<Number> =
            COMMON.iter().map(|&n| Number::integer(n)).chain(Number::ratio(1, 2)).collect();
        all.extend(own.iter());
        let percent = |w: &[Token]| w[1].kind == Kind::Percent || w[1].text.eq_ignore_ascii_case("percent");
        let value = |w: &[Token]| plain(&w[0]).or_else(|| numerals(&w[..1]).next());
        let shares: Vec<Number> = tokens.windows(2).filter(|w| percent(w)).filter_map(value).collect();
        let sums = shares
            .iter()
            .enumerate()
            .flat_map(|(at, a)| shares[at + 1..].iter().filter_map(|b| a.checked_add(*b)));
        let shares = sums.chain(shares.iter().copied()).collect();
        let mut known = Known { all, own, shares };
        known.understand(&tokens);
        known
    }

    /// Adds the constants that words mean.
    fn understand(&mut self, tokens: &[Token]) {
        for token in tokens.iter().filter(|t| t.kind == Kind::Word) {
            let lower = token.text.bytes().all(|b| b.is_ascii_lowercase());
            let constants = CONSTANTS
                .get(token.text.as_str())
                .or_else(|| if lower { None } else { CONSTANTS.get(token.text.to_lowercase().as_str()) });
            self.all.extend(constants.into_iter().flatten());
        }
    }

    pub fn learn(&mut self, value: Number) {
        self.all.insert(value);
        self.own.insert(value);
    }

    /// Is the number known, perhaps in another form: a percentage as a decimal, what remains of the whole or
    /// what it grows to, an inverse, thousands written out, fewer decimals?
    pub fn has(&self, value: Number) -> bool {
        let hundred = Number::integer(100);
        let known = |form: Option<Number>| form.is_some_and(|form| self.all.contains(&form));
        let share = |form: Option<Number>| form.is_some_and(|form| self.shares.contains(&form));
        let decimal = value.checked_div(hundred).filter(|decimal| !decimal.is_integer());
        if known(Some(value))
            || known(value.checked_neg())
            || decimal.is_some_and(|decimal| self.own.contains(&decimal))
        {
            return true;
        }
        let other = if value.is_integer() {
            let scaled = value > Number::integer(999) && known(value.checked_div(Number::integer(1000)));
            scaled || share(hundred.checked_sub(value)) || share(value.checked_sub(hundred))
        } else {
            let rest = Number::ONE
                .checked_sub(value)
                .map(|rest| if rest.is_negative() { rest.checked_neg().unwrap_or(rest) } else { rest });
            let percent = |part: Option<Number>| part.and_then(|part| part.checked_mul(hundred));
            [Some(value), rest].into_iter().any(|form| known(form) || known(percent(form)))
                || known(Number::ONE.checked_div(value))
        };
        other || self.own.iter().any(|&known| is_near(known, value))
    }

    /// Is the number one operation away from something that the problem gives or that was computed?
    pub fn derives(&self, value: Number) -> bool {
        self.own.iter().filter(|a| !a.is_zero()).any(|&a| {
            let sums = [value.checked_sub(a), value.checked_add(a), a.checked_sub(value)];
            let products = [value.checked_div(a), value.checked_mul(a), a.checked_div(value)];
            let others = sums.into_iter().chain(products).flatten();
            others.filter(|b| !b.is_zero() && *b != Number::ONE).any(|b| self.all.contains(&b))
        })
    }
}

/// What `two and a half` means: a number with `half` two or three tokens behind it.
fn halves(tokens: &[Token]) -> Vec<Number> {
    let is = |t: &Token, word: &str| t.text.eq_ignore_ascii_case(word);
    let near = |w: &&[Token]| is(&w[1], "and") && (is(&w[2], "half") || is(&w[3], "half"));
    let number =
        |w: &[Token]| numerals(&w[..1]).next().or_else(|| plain(&w[0]))?.checked_add(Number::ratio(1, 2)?);
    tokens.windows(4).filter(near).filter_map(number).collect()
}

/// Is the second number the first to fewer decimals?
pub(super) fn is_near(exact: Number, written: Number) -> bool {
    let decimals = written.decimals().unwrap_or(0).min(9);
    exact.decimals().is_none_or(|d| d > decimals) && is_within(exact, written, decimals)
}

/// Do two numbers differ by less than a unit of a decimal place (at most the 18th)?
pub(super) fn is_within(one: Number, other: Number, decimals: u32) -> bool {
    let unit = 10_i64.checked_pow(decimals).and_then(|power| Number::ratio(1, power));
    let off = one.checked_sub(other);
    unit.zip(off).is_some_and(|(unit, off)| off < unit && off.checked_neg().is_some_and(|off| off < unit))
}
