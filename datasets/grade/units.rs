//! Units of measure and currencies: which words may stand behind a number without changing it, and when two
//! units make different amounts of equal numbers.
//!
//! Only units in [`TABLE`] are compared. Any other words (`18 clips`, `clips per day`) are dropped.

use num_rational::BigRational;
use num_traits::One;

use super::lex::{Kind, Token};
use super::names::DOLLAR;

/// A unit as its dimensions with powers, in the order of their names, and its size in their base units.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    pub dimensions: Vec<(&'static str, i32)>,
    pub size: BigRational,
}

/// Words, dimension, size as a fraction. A plural with `s` need not be listed.
const TABLE: &[(&[&str], &str, i64, i64)] = &[
    (&["mm", "millimeter", "millimetre"], "length", 1, 1000),
    (&["cm", "centimeter", "centimetre"], "length", 1, 100),
    (&["m", "meter", "metre"], "length", 1, 1),
    (&["km", "kilometer", "kilometre"], "length", 1000, 1),
    (&["inch", "inches"], "length", 254, 10_000),
    (&["ft", "foot", "feet"], "length", 3048, 10_000),
    (&["yd", "yard"], "length", 9144, 10_000),
    (&["mi", "mile"], "length", 1_609_344, 1000),
    (&["mg", "milligram"], "mass", 1, 1_000_000),
    (&["g", "gram"], "mass", 1, 1000),
    (&["kg", "kilogram"], "mass", 1, 1),
    (&["lb", "lbs", "pound"], "mass", 45_359_237, 100_000_000),
    (&["oz", "ounce"], "mass", 45_359_237, 1_600_000_000),
    (&["ml", "milliliter", "millilitre"], "volume", 1, 1000),
    (&["l", "liter", "litre"], "volume", 1, 1),
    (&["s", "sec", "second"], "time", 1, 1),
    (&["min", "minute"], "time", 60, 1),
    (&["h", "hr", "hour"], "time", 3600, 1),
    (&["day"], "time", 86_400, 1),
    (&["week"], "time", 604_800, 1),
    (&["cent", "¢"], "dollar", 1, 100),
    (&["dollar", "$", "usd", "buck"], "dollar", 1, 1),
    (&["euro", "€", "eur"], "euro", 1, 1),
    (&["£", "gbp"], "pound sterling", 1, 1),
    (&["¥", "yen"], "yen", 1, 1),
    (&["₹", "rupee", "rs"], "rupee", 1, 1),
    (&["°", "degree"], "degree", 1, 1),
];

/// Words that make another number of the one before them, so they are no units.
const NO_UNITS: &[&str] = &[
    "or", "to", "half", "trillion", "and", "sqrt", "not", "about", "than", "minus", "plus", "times",
    "squared", "cubed", "quarter", "third", "thirds", "am", "pm", "more", "less",
];

/// Words that multiply the number before them.
pub(super) const SCALES: &[(&str, i64)] = &[
    ("hundred", 100),
    ("thousand", 1000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000),
];

/// Is it a letter that names a unit where it stands behind a number and a blank?
pub(super) fn is_unit_letter(name: &str) -> bool {
    matches!(name, "m" | "g" | "s" | "h" | "l" | "L")
}

/// A currency sign or a word for one before a number.
pub(super) fn currency(token: &Token) -> Option<Unit> {
    match &token.kind {
        Kind::Sign('$' | '£' | '€' | '¥' | '₹' | DOLLAR) => known(&word(token)?, 1),
        Kind::Word(text) if matches!(text.as_str(), "usd" | "eur" | "gbp" | "rs") => known(text, 1),
        _ => None,
    }
}

fn word(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(text) => Some(text.clone()),
        Kind::Variable(name) if is_unit_letter(name) => Some(name.to_lowercase()),
        Kind::Sign(DOLLAR) => Some("$".to_owned()),
        Kind::Sign(c @ ('$' | '£' | '€' | '¥' | '₹' | '°' | '¢')) => Some(c.to_string()),
        _ => None,
    }
}

fn known(word: &str, power: i32) -> Option<Unit> {
    let find = |word: &str| TABLE.iter().find(|(words, ..)| words.contains(&word));
    let (_, dimension, over, under) = find(word).or_else(|| find(word.strip_suffix('s')?))?;
    let size = BigRational::new((*over).into(), (*under).into());
    Some(Unit { dimensions: vec![(dimension, power)], size: size.pow(power) })
}

impl Unit {
    fn times(mut self, other: Unit) -> Unit {
        self.size *= other.size;
        for (dimension, power) in other.dimensions {
            match self.dimensions.iter_mut().find(|(name, _)| *name == dimension) {
                Some(entry) => entry.1 += power,
                None => self.dimensions.push((dimension, power)),
            }
        }
        self.dimensions.retain(|(_, power)| *power != 0);
        self.dimensions.sort_unstable();
        self
    }
}

/// May these tokens stand behind a number without changing it?
pub(super) fn may_follow(tokens: &[Token]) -> bool {
    tokens.iter().enumerate().all(|(i, token)| {
        let before = i.checked_sub(1).map(|j| &tokens[j].kind);
        let next_is_word = tokens.get(i + 1).is_some_and(|t| word(t).is_some());
        let power = matches!(before, Some(Kind::Sign('^')));
        match &token.kind {
            Kind::Word(text) => !NO_UNITS.contains(&text.as_str()),
            Kind::Variable(name) => is_unit_letter(name) || matches!(name.as_str(), "a" | "A"),
            Kind::Sign('(' | ')' | '$' | '£' | '€' | '¥' | '₹' | '°' | '¢' | '\'' | '{' | '}' | DOLLAR) => {
                true
            }
            // `km/h`, `12-inch`, `km per h`, `cm^2`.
            Kind::Sign('/' | '-' | '*') => next_is_word,
            Kind::Sign('^') => matches!(before, Some(Kind::Word(_) | Kind::Variable(_))),
            Kind::Number(value, _) => power && value.is_integer(),
            Kind::Sign(_) | Kind::Name(_) | Kind::Other => false,
        }
    })
}

/// The unit if all the words are units in the table.
pub(super) fn measure(tokens: &[Token]) -> Option<Unit> {
    let mut unit: Option<Unit> = None;
    let (mut sign, mut prefix, mut at) = (1, 1, 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match &token.kind {
            Kind::Sign('*' | '-' | '{' | '}' | '\'') => {}
            Kind::Sign('/') => sign = -1,
            Kind::Word(text) if text == "per" => sign = -1,
            Kind::Word(text) if text == "square" || text == "sq" => prefix = 2,
            Kind::Word(text) if text == "cubic" => prefix = 3,
            _ => {
                let mut power = prefix;
                if tokens.get(at).is_some_and(|t| t.kind == Kind::Sign('^')) {
                    let braces = usize::from(tokens.get(at + 1).is_some_and(|t| t.kind == Kind::Sign('{')));
                    let Kind::Number(value, _) = &tokens.get(at + 1 + braces)?.kind else { return None };
                    power *= i32::try_from(value.to_integer()).ok().filter(|p| (1..=3).contains(p))?;
                    at += 2 + 2 * braces;
                }
                let next = known(&word(token)?, sign * power)?;
                unit = Some(unit.map_or(next.clone(), |unit| unit.times(next)));
                (sign, prefix) = (1, 1);
            }
        }
    }
    unit
}

/// How many of the second unit are one of the first. `None`: they measure different things.
pub(super) fn quotient(a: Option<&Unit>, b: Option<&Unit>) -> Option<BigRational> {
    match (a, b) {
        (Some(a), Some(b)) if a.dimensions != b.dimensions => None,
        (Some(a), Some(b)) => Some(&a.size / &b.size),
        _ => Some(BigRational::one()),
    }
}
