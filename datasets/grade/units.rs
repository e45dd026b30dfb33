//! Units of measure and currencies: which words may stand behind a number without changing it, and when two
//! units make different amounts of equal numbers.
//!
//! Only units in [`TABLE`] are compared. Any other words (`18 clips`, `clips per day`) are dropped, in the
//! Latin script; `scripts` has those of others.

use num_rational::BigRational;
use num_traits::One;

use super::lex::{Kind, Token, is};
use super::names::DOLLAR;
use super::scripts;

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
    (&["dm", "decimeter", "decimetre"], "length", 1, 10),
    (&["m", "meter", "metre"], "length", 1, 1),
    (&["km", "kilometer", "kilometre"], "length", 1000, 1),
    (&["in", "inch", "inches"], "length", 254, 10_000),
    (&["ft", "foot", "feet"], "length", 3048, 10_000),
    (&["yd", "yard"], "length", 9144, 10_000),
    (&["mi", "mile"], "length", 1_609_344, 1000),
    (&["mg", "milligram"], "mass", 1, 1_000_000),
    (&["g", "gram"], "mass", 1, 1000),
    (&["kg", "kilogram"], "mass", 1, 1),
    (&["lb", "lbs", "pound"], "mass", 45_359_237, 100_000_000),
    (&["oz", "ounce"], "mass", 45_359_237, 1_600_000_000),
    (&["tonne"], "mass", 1000, 1),
    (&["ml", "milliliter", "millilitre"], "volume", 1, 1000),
    (&["l", "liter", "litre"], "volume", 1, 1),
    (&["gallon"], "volume", 473_176_473, 125_000_000),
    (&["quart"], "volume", 473_176_473, 500_000_000),
    (&["pint"], "volume", 473_176_473, 1_000_000_000),
    (&["s", "sec", "second", "sekunde", "sekunden", "seconde", "segundo"], "time", 1, 1),
    (&["min", "minute", "minuten", "minuto"], "time", 60, 1),
    (&["h", "hr", "hour", "stunde", "stunden", "heure", "hora"], "time", 3600, 1),
    (&["day", "tag", "tage", "jour"], "time", 86_400, 1),
    (&["week"], "time", 604_800, 1),
    (&["month"], "month", 1, 1),
    (&["year", "yr"], "month", 12, 1),
    (&["cent", "¢"], "dollar", 1, 100),
    (&["dollar", "$", "usd", "buck"], "dollar", 1, 1),
    (&["euro", "€", "eur"], "euro", 1, 1),
    (&["pence"], "pound sterling", 1, 100),
    (&["£", "gbp"], "pound sterling", 1, 1),
    (&["¥"], "¥", 1, 1),
    (&["yen"], "yen", 1, 1),
    (&["yuan", "rmb", "cny"], "yuan", 1, 1),
    (&["jiao"], "yuan", 1, 10),
    (&["₹", "rupee", "rs"], "rupee", 1, 1),
    (&["°", "degree"], "degree", 1, 1),
    (&["celsius"], "celsius", 1, 1),
    (&["fahrenheit"], "fahrenheit", 1, 1),
];

/// Short forms that are no product of variables where they stand right behind a number (`18pcs`), and that no
/// unit of the table is compared with.
const SHORT: &[&str] = &[
    "st", "nd", "rd", "th", "pc", "pcs", "pt", "pts", "ppl", "doz", "ea", "mph", "kph", "kmh", "rpm", "bpm",
    "fps", "psi", "gal", "qt", "kw", "kwh", "kb", "mb", "gb", "tb", "hz", "khz", "mhz", "yo", "hp", "cal",
    "deg", "rad", "tsp", "sq", "am", "pm", "bn", "mo", "wk", "ns", "ms", "kn", "kj", "kpa", "mol", "cc",
    "cl", "dl", "ml",
];

/// Words that make another number of the one before them, so they are no units.
const NO_UNITS: &[&str] = &[
    "or",
    "to",
    "half",
    "halves",
    "and",
    "sqrt",
    "not",
    "about",
    "than",
    "minus",
    "plus",
    "squared",
    "cubed",
    "quarter",
    "quarters",
    "third",
    "thirds",
    "fourths",
    "fifths",
    "sixths",
    "sevenths",
    "eighths",
    "ninths",
    "tenths",
    "hundredths",
    "thousandths",
    "am",
    "pm",
    "more",
    "less",
    "least",
    "most",
    "fewer",
    "base",
    "mod",
    "modulo",
    "approximately",
    "approx",
    "roughly",
    "around",
    "nearly",
    "almost",
    "remainder",
    "wrong",
    "incorrect",
    "never",
    "billions",
    "if",
    "unless",
    "when",
    "except",
    "without",
    "factorial",
    "times",
    "ish",
    "twelfths",
    "elevenths",
    "demi",
    "bn",
    "mn",
    "mil",
];

/// Words that multiply the number before them.
const SCALES: &[(&[&str], i64)] = &[
    (&["hundred", "hundreds", "百", "hundert"], 100),
    (&["thousand", "thousands", "mille", "tausend", "千"], 1000),
    (&["lakh", "lakhs"], 100_000),
    (&["万", "萬"], 10_000),
    (&["million", "millions", "millionen", "millones", "mio", "mln"], 1_000_000),
    (&["crore", "crores"], 10_000_000),
    (&["亿", "億"], 100_000_000),
    (
        &["billion", "billions", "milliard", "milliards", "milliarde", "milliarden", "mrd", "mld"],
        1_000_000_000,
    ),
    (&["trillion", "trillions"], 1_000_000_000_000),
];

/// What a word multiplies the number before it by.
pub(super) fn scale(word: &str) -> Option<i64> {
    SCALES.iter().find(|(words, _)| words.contains(&word)).map(|(_, scale)| *scale)
}

/// Is it a word of the table, or a short form?
pub(super) fn is_known(word: &str) -> bool {
    known(word, 1).is_some() || SHORT.contains(&word) || scale(word).is_some()
}

/// Is it a letter that may name a unit or a scale behind a number?
pub(super) fn is_unit_letter(token: &Token) -> bool {
    const RARE: [&str; 12] = ["N", "J", "V", "W", "K", "A", "C", "F", "T", "k", "M", "B"];
    let Kind::Variable(name) = &token.kind else { return false };
    is_common(name) || RARE.contains(&name.as_str())
}

/// Is it a letter that names a unit more often than a variable, where a blank stands before it?
pub(super) fn is_common(letter: &str) -> bool {
    matches!(letter, "m" | "g" | "s" | "h" | "l" | "L")
}

/// What a letter behind a number multiplies it by, if it is meant so: `5K`, `2 M`.
pub(super) fn scale_letter(letter: &str) -> Option<i64> {
    match letter {
        "k" | "K" => Some(1000),
        "M" => Some(1_000_000),
        "B" => Some(1_000_000_000),
        _ => None,
    }
}

/// A currency sign or a word for one before a number.
pub(super) fn currency(token: &Token) -> Option<Unit> {
    match &token.kind {
        Kind::Sign('$' | '£' | '€' | '¥' | '₹' | DOLLAR) => known(&word(token)?, 1),
        Kind::Word(text) if matches!(text.as_str(), "usd" | "eur" | "gbp" | "rs" | "rmb" | "cny") => {
            known(text, 1)
        }
        _ => None,
    }
}

fn word(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(text) => Some(text.clone()),
        Kind::Variable(name) if is_unit_letter(token) => Some(match name.as_str() {
            "L" => "l".to_owned(),
            "C" => "celsius".to_owned(),
            "F" => "fahrenheit".to_owned(),
            name => name.to_owned(),
        }),
        Kind::Sign(DOLLAR) => Some("$".to_owned()),
        Kind::Sign(c @ ('$' | '£' | '€' | '¥' | '₹' | '°' | '¢')) => Some(c.to_string()),
        _ => None,
    }
}

fn known(word: &str, power: i32) -> Option<Unit> {
    if let "mph" | "kph" | "kmh" = word {
        let length = known(if word == "mph" { "mile" } else { "km" }, power)?;
        return Some(length.times(known("hour", -power)?));
    }
    let find = |word: &str| TABLE.iter().find(|(words, ..)| words.contains(&word));
    let (_, dimension, over, under) = find(word).or_else(|| find(word.strip_suffix('s')?))?;
    let size = BigRational::new((*over).into(), (*under).into());
    // A liter is a cubic decimeter.
    let (dimension, size, times) = match *dimension {
        "volume" => ("length", size / BigRational::from_integer(1000.into()), 3),
        dimension => (dimension, size, 1),
    };
    Some(Unit { dimensions: vec![(dimension, times * power)], size: size.pow(power) })
}

impl Unit {
    /// A unit of the table by its name.
    pub(super) fn named(word: &str) -> Option<Unit> {
        known(word, 1)
    }

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

    /// What a number in this unit is multiplied by in another one of the same dimension.
    pub(super) fn conversions(&self) -> impl Iterator<Item = BigRational> {
        let of = |(words, ..): &(&[&str], &str, i64, i64)| {
            known(words[0], 1)
                .filter(|unit| unit.dimensions == self.dimensions)
                .map(|unit| &self.size / unit.size)
        };
        TABLE.iter().filter_map(of)
    }
}

/// Tokens of an exponent that begins here: `^2`, `^{-1}`; its value with their number.
fn exponent(tokens: &[Token]) -> Option<(i32, usize)> {
    let at = |i: usize, sign| is(tokens.get(i), sign);
    if !at(0, '^') {
        return None;
    }
    let braced = usize::from(at(1, '{'));
    let negative = usize::from(at(1 + braced, '-'));
    let Kind::Number(value, _) = &tokens.get(1 + braced + negative)?.kind else { return None };
    if braced == 1 && !at(2 + braced + negative, '}') || !value.is_integer() {
        return None;
    }
    let power = i32::try_from(value.to_integer()).ok().filter(|power| (1..=9).contains(power))?;
    Some((if negative == 1 { -power } else { power }, 2 + 2 * braced + negative))
}

/// May these tokens stand behind a number without changing it?
pub(super) fn may_follow(tokens: &[Token]) -> bool {
    let bracketed = |i: usize| i > 0 && is(tokens.get(i - 1), '(') && is(tokens.get(i + 1), ')');
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next_is_word = tokens.get(at + 1).is_some_and(|t| word(t).is_some());
        let fine = match &token.kind {
            // `6 times`, `6 (times)`: how often; `6 times 3` holds a number.
            Kind::Word(text) if text == "times" => at + 1 == tokens.len() || bracketed(at),
            Kind::Word(text) => leaves_number(text),
            Kind::Variable(name) => {
                // Two letters side by side are variables: `3 g h`.
                let beside = at > 0 && is_unit_letter(&tokens[at - 1]) && !tokens[at].upright;
                is_unit_letter(token) && !beside || matches!(name.as_str(), "a" | "A")
            }
            Kind::Sign('(' | ')' | '$' | '£' | '€' | '¥' | '₹' | '°' | '¢' | '\'' | '{' | '}' | DOLLAR) => {
                true
            }
            // `km/h`, `12-inch`, `km per h`.
            Kind::Sign('-') => matches!(tokens.get(at + 1), Some(Token { kind: Kind::Word(_), .. })),
            Kind::Sign('/' | '*') => next_is_word,
            Kind::Sign('^') if at > 0 && word(&tokens[at - 1]).is_some() => match exponent(&tokens[at..]) {
                Some((_, length)) => {
                    at += length - 1;
                    true
                }
                None => false,
            },
            Kind::Number(..) | Kind::Sign(_) | Kind::Name(_) | Kind::Other => false,
        };
        if !fine {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether a word behind a number says nothing of its size.
fn leaves_number(word: &str) -> bool {
    let part = word.ends_with("teenths") || word.ends_with("ieths");
    let script = word.chars().all(scripts::is_latin) || scripts::is_counter(word);
    !part && script && !NO_UNITS.contains(&word) && scale(word).is_none()
}

fn is_money(unit: Option<&Unit>) -> bool {
    const CURRENCIES: [&str; 7] = ["¥", "yuan", "dollar", "euro", "pound sterling", "yen", "rupee"];
    unit.is_some_and(|unit| matches!(unit.dimensions.as_slice(), [(name, 1)] if CURRENCIES.contains(name)))
}

/// The unit if all the words are units in the table.
pub(super) fn measure(tokens: &[Token]) -> Option<Unit> {
    let mut unit: Option<Unit> = None;
    let (mut sign, mut prefix, mut at) = (1, 1, 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match &token.kind {
            Kind::Sign('*' | '-' | '{' | '}' | '(' | ')' | '\'') => {}
            // What something costs is compared as money: `$5 per hour` is 5 dollars.
            Kind::Sign('/') if is_money(unit.as_ref()) => break,
            Kind::Word(text) if text == "per" && is_money(unit.as_ref()) => break,
            Kind::Sign('/') => sign = -1,
            Kind::Word(text) if text == "per" => sign = -1,
            Kind::Word(text) if text == "square" || text == "sq" => prefix = 2,
            Kind::Word(text) if text == "cubic" => prefix = 3,
            // `5 °C`, `5 degrees Celsius`
            _ if matches!(word(token).as_deref(), Some("°" | "degree" | "degrees"))
                && matches!(tokens.get(at).and_then(word).as_deref(), Some("celsius" | "fahrenheit")) => {}
            _ => {
                let mut power = prefix;
                if let Some((exponent, length)) = exponent(&tokens[at..]) {
                    power *= Some(exponent).filter(|power| power.abs() <= 3)?;
                    at += length;
                }
                let next = known(&word(token)?, sign * power)?;
                unit = Some(unit.map_or(next.clone(), |unit| unit.times(next)));
                (sign, prefix) = (1, 1);
            }
        }
    }
    unit
}

/// The words behind a number as one name: in lower case, without what is no word, in the singular.
pub(super) fn noun(tokens: &[Token]) -> String {
    let words = tokens.iter().filter_map(|token| match &token.kind {
        Kind::Word(text) => Some(text.strip_suffix('s').unwrap_or(text)),
        Kind::Variable(name) => Some(name.as_str()),
        _ => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// How many of the second unit are one of the first. `None`: they measure different things.
pub(super) fn quotient(a: Option<&Unit>, b: Option<&Unit>) -> Option<BigRational> {
    match (a, b) {
        (Some(a), Some(b)) if a.dimensions != b.dimensions => {
            // `5 °C` is `5 degrees`.
            let name = |unit: &Unit| match unit.dimensions.as_slice() {
                [(name, 1)] => *name,
                _ => "",
            };
            // `¥5` is 5 yen or 5 yuan.
            let wide = |one: &str, other: &str| match one {
                "degree" => matches!(other, "celsius" | "fahrenheit"),
                "¥" => matches!(other, "yen" | "yuan"),
                _ => false,
            };
            let (p, q) = (name(a), name(b));
            (wide(p, q) || wide(q, p)).then(|| &a.size / &b.size)
        }
        (Some(a), Some(b)) => Some(&a.size / &b.size),
        _ => Some(BigRational::one()),
    }
}
