//! Words behind the numbers of an equation: whether they can change what the numbers say.

use super::sides::{OPERATING, SCALING, is_one_of};
use super::{Kind, Token};

/// Units of one dimension, in the singular: between two of them a number is converted.
const DIMENSIONS: &[&[&str]] = &[
    &[
        "second",
        "sec",
        "minute",
        "min",
        "hour",
        "hr",
        "day",
        "night",
        "week",
        "weekend",
        "fortnight",
        "month",
        "year",
        "yr",
        "decade",
        "century",
        "centuries",
    ],
    &[
        "inch",
        "foot",
        "ft",
        "yard",
        "yd",
        "mile",
        "mm",
        "cm",
        "meter",
        "metre",
        "kilometer",
        "kilometre",
        "km",
        "centimeter",
        "centimetre",
        "millimeter",
        "millimetre",
        "block",
        "lap",
    ],
    &["pound", "lb", "ounce", "oz", "ton", "tonne", "gram", "kilogram", "kg", "mg", "stone"],
    &[
        "ml",
        "liter",
        "litre",
        "gallon",
        "quart",
        "pint",
        "cup",
        "ounce",
        "oz",
        "tablespoon",
        "tbsp",
        "teaspoon",
        "tsp",
    ],
    &["dollar", "buck", "penny", "pennie", "pence", "dime", "nickel", "euro", "pound"],
    &["byte", "kb", "mb", "gb", "tb", "bit", "megabyte", "gigabyte", "kilobyte", "terabyte"],
    &["degree", "celsius", "fahrenheit", "kelvin", "turn", "radian"],
];

/// Units of two dimensions, as the places of their dimensions.
const SPEEDS: &[(&str, &str)] = &[("mph", "mile"), ("kph", "km"), ("kmh", "km"), ("kmph", "km")];

/// What things are counted by, behind a slash: `$3/person`.
const EACH: &[&str] =
    &["person", "item", "unit", "piece", "each", "student", "child", "kid", "box", "ticket"];

/// Words that are no unit: with the number before them they make another one, or say where it stands.
const NO_UNITS: &[&str] = &[
    "percent",
    "pct",
    "am",
    "pm",
    "score",
    "gross",
    "couple",
    "single",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "twenty",
    "fifty",
    "fold",
    "as",
    "is",
    "are",
    "equals",
    "equal",
    "if",
    "where",
    "when",
    "mod",
    "factorial",
    "choose",
    "remaining",
    "st",
    "nd",
    "rd",
    "th",
    "o'clock",
    "fifth",
    "fifths",
    "fourth",
    "fourths",
    "sixth",
    "eighth",
    "tenth",
    "tenths",
];

/// Words that may stand inside of a unit: `miles per hour`, `bags of rice`, `square feet`.
const INSIDE: &[&str] = &["per", "of", "to", "from", "square"];

/// Words that begin what is said of a thing.
const LINKS: &[&str] =
    &["for", "of", "in", "to", "from", "with", "by", "at", "on", "per", "that", "which", "and", "if", "when"];

/// Do the words of an equation's sides leave what its numbers say?
///
/// They do if no word makes another number of the one before it, no two are units of one dimension (`hours`
/// in `$5/hour * 8 hours` cancel), and what is added or subtracted is computed or carries no word: prices may
/// be meant in `2 pens + 3 books = 12`.
pub(super) fn leave_numbers(left: &[Token], right: &[Token]) -> bool {
    let plain = |t: &Token| {
        let letters = t.text.len() > 1 && t.text.bytes().all(|b| b.is_ascii_alphabetic());
        letters
            && (is_one_of(t, INSIDE) || ![OPERATING, SCALING, NO_UNITS].iter().any(|list| is_one_of(t, list)))
    };
    // `1/3 of the boys = 22`
    let share = |side: &[Token]| {
        side.windows(2).any(|pair| pair[0].kind != Kind::Word && is_one_of(&pair[1], &["of", "to", "from"]))
    };
    let sides = [left, phrase(right)];
    let mut words = sides.into_iter().flatten().filter(|t| t.kind == Kind::Word);
    words.all(plain) && !sides.into_iter().any(share) && !has_bare_terms(left) && !converts(left, sides[1])
}

/// Is this a number of such things, as `36 miles not counting the walk` are miles?
pub(super) fn counts(side: &[Token], unit: &str) -> bool {
    let (words, rest): (Vec<&Token>, Vec<&Token>) = phrase(side).iter().partition(|t| t.kind == Kind::Word);
    words.iter().any(|t| singular(&t.text) == unit) && rest.iter().all(|t| t.kind != Kind::Currency)
}

/// A result up to what is said of it: `36 miles` of `36 miles from here`.
fn phrase(side: &[Token]) -> &[Token] {
    let first = side.iter().position(|t| t.kind == Kind::Word).unwrap_or(side.len());
    let ends = |(at, t): (usize, &Token)| is_one_of(t, LINKS) || at > first && is_one_of(t, OPERATING);
    &side[..side.iter().enumerate().position(ends).unwrap_or(side.len())]
}

/// Of several terms, is one a number with words alone?
fn has_bare_terms(side: &[Token]) -> bool {
    let terms: Vec<&[Token]> =
        side.split(|t| matches!(t.kind, Kind::Operator('+' | '-'))).filter(|term| !term.is_empty()).collect();
    let bare = |term: &&[Token]| {
        term.iter().any(|t| t.kind == Kind::Word)
            && term.iter().filter(|t| t.kind == Kind::Number).count() == 1
    };
    terms.len() > 1 && terms.iter().any(bare)
}

/// Are there two units of one dimension?
fn converts(left: &[Token], right: &[Token]) -> bool {
    let mut seen: [Option<String>; DIMENSIONS.len()] = Default::default();
    let cancelled = cancelled(left);
    let names = units(left).into_iter().filter(|unit| !cancelled.contains(unit)).chain(units(right));
    names.flat_map(|name| dimensions(&name).map(|(at, unit)| (at, unit.to_owned())).collect::<Vec<_>>()).any(
        |(at, unit)| {
            let first = seen[at].get_or_insert_with(|| unit.clone());
            *first != unit
        },
    )
}

/// The words of a side and what its signs stand for, in the singular.
fn units(side: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    for token in side {
        match token.kind {
            Kind::Currency => names.push("dollar".to_owned()),
            Kind::Word => {
                let word = singular(&token.text);
                match SPEEDS.iter().find(|(name, _)| *name == word) {
                    Some((_, length)) => names.extend([(*length).to_owned(), "hour".to_owned()]),
                    None => names.push(word),
                }
            }
            _ => {}
        }
    }
    names
}

/// What numbers are told of one of (`$5/hour`, `5 dollars per hour`) and stand behind another number too.
fn cancelled(side: &[Token]) -> Vec<String> {
    let by = |t: &Token| t.kind == Kind::Operator('/') || is_one_of(t, &["per"]);
    let words = |divides: bool| {
        let pairs = side.windows(2).filter(move |pair| pair[1].kind == Kind::Word && by(&pair[0]) == divides);
        pairs.map(|pair| singular(&pair[1].text))
    };
    words(true).filter(|unit| words(false).any(|other| other == *unit)).collect()
}

/// A word in lower case and in the singular.
pub(super) fn singular(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    let sibilant = ["ches", "shes", "sses", "xes"].iter().any(|end| word.ends_with(end));
    match word.as_str() {
        "feet" => "foot".to_owned(),
        "people" => "person".to_owned(),
        "children" => "child".to_owned(),
        _ if sibilant => word[..word.len() - 2].to_owned(),
        _ if word.ends_with("ss") => word,
        _ => word.strip_suffix('s').unwrap_or(&word).to_owned(),
    }
}

/// The dimensions of a word in the singular, with the unit.
fn dimensions(word: &str) -> impl Iterator<Item = (usize, &str)> {
    (0..DIMENSIONS.len()).filter(move |&at| DIMENSIONS[at].contains(&word)).map(move |at| (at, word))
}

/// Is it a word that numbers are counted by, in the singular: `hour` in `$5/hour`?
pub(super) fn is_rate(token: &Token) -> bool {
    let word = token.text.to_ascii_lowercase();
    token.kind == Kind::Word && (dimensions(&word).next().is_some() || EACH.contains(&word.as_str()))
}

/// Do the words at the end go on before a slash, as `hour` does in `5 dollars/hour`? So does what is counted
/// elsewhere in the `side`: `train` in `2 trains * 80 miles/train`.
pub(super) fn is_rate_of(before: &[Token], words: &[Token], side: &[Token]) -> bool {
    let ([.., number, slash], [first, ..]) = (before, words) else { return false };
    let counted = matches!(number.kind, Kind::Number | Kind::Word | Kind::Close | Kind::Percent);
    let elsewhere = || {
        let unit = singular(&first.text);
        let stands = |t: &Token| t.kind == Kind::Word && singular(&t.text) == unit;
        unit == first.text.to_ascii_lowercase() && side.iter().filter(|t| stands(t)).count() > 1
    };
    counted && slash.kind == Kind::Operator('/') && words.len() == 1 && (is_rate(first) || elsewhere())
}

#[cfg(test)]
mod tests {
    use super::super::{Equation, ExprError, Truth, equations};

    const UNKNOWN: Truth = Truth::Unknown(ExprError::Unreadable);

    #[test]
    fn words_behind_numbers() {
        for (line, expected) in [
            (r"\frac{20 \text{ miles}}{25 \text{ mph}} = 8 \text{ hours}", Truth::Fails),
            (r"\frac{20 \text{ miles}}{25 \text{ mph}} = 0.8 \text{ hours}", Truth::Holds),
            ("20 miles / 25 mph = 8 hours", Truth::Fails),
            ("20 miles * 5 days = 90 miles", Truth::Fails),
            ("20 miles * 5 days = 100 miles", Truth::Holds),
            ("$5/hour * 8 hours = $45", Truth::Fails),
            ("$5/hour * 8 hours = $40", Truth::Holds),
            ("5 dollars/hour * 8 hours = 45 dollars", Truth::Fails),
            ("5 dollars per hour * 8 hours = 45 dollars", Truth::Fails),
            ("2 trains * 80 miles/train = 161 miles together", Truth::Fails),
            ("8 units/floor * 15 floors = 121 units", Truth::Fails),
            ("43 brownies x $3/brownie = $131 by selling them", Truth::Fails),
            ("90 flowers - 40 = 51 flowers", Truth::Fails),
            ("2b - 5 = 3b - 15", UNKNOWN),
            ("20 minutes / 240 minutes = 8.333...%", Truth::Rounded),
            ("$20/hour * 35 hours/week = $710/week", Truth::Fails),
            ("$20/hour * 35 hours/week = $700/week", Truth::Holds),
            ("10 cages * 5 pieces of straw per hamster cage = 49 pieces", Truth::Fails),
            ("20 miles + 15 miles = 36 miles not counting the walk", Truth::Fails),
            ("3 confirmed clients + 5 potential clients = 10 clients", Truth::Fails),
            ("a total of 4 teachers * 2 lessons each = 9 lessons", Truth::Fails),
            ("it increases 36/2 = 17 times.", Truth::Fails),
            ("36/2 = 3 times 6", UNKNOWN),
            ("3 feet * 4 feet = 13 square feet", Truth::Fails),
            ("2 adults * $10 + 3 kids * $5 = $40", Truth::Fails),
            ("2 adults * $10 + 3 kids * $5 = $35", Truth::Holds),
            ("10 gallons / 3 trips = 3.33 gallons per trip", Truth::Rounded),
            // Counted things are rounded as they come.
            ("100 people / 30 seats = 4 buses", UNKNOWN),
            ("100 people / 30 seats = 5 buses", Truth::Fails),
            ("15 trucks / 90 vehicles * 100% = 16.66...%", Truth::Rounded),
            ("9 frogs / 27 frogs * 100% = 33%", UNKNOWN),
            // Something is converted, or may be.
            ("120 minutes / 60 = 2 hours", Truth::Holds),
            ("2 hours * 3 = 360 minutes", UNKNOWN),
            ("60 miles/hour * 30 minutes = 30 miles", UNKNOWN),
            ("2 hours * 60 minutes/hour = 130 minutes", Truth::Fails),
            ("60 mph * 30 minutes = 30 miles", UNKNOWN),
            ("3 feet * 4 = 144 inches", UNKNOWN),
            ("20 nickels * 2 = $2", UNKNOWN),
            ("60 minutes / 2 = 1 hour / 2", UNKNOWN),
            ("5 feet 6 inches + 2 inches = 68 inches", UNKNOWN),
            // Shares of something, and what goes on.
            ("1/3 of Solomon = 66/3", UNKNOWN),
            ("3 bags of rice / 15 minutes = 8 bags of rice / Y", UNKNOWN),
            ("7/12 / 1/12/day = 7 days", UNKNOWN),
            // Prices, variables, numbers in words, times of day.
            ("2 pens + 3 books = 12", UNKNOWN),
            ("2 pens + 3 pens = $10", UNKNOWN),
            ("2 pens + 3 pens = 10 dollars for the pens", UNKNOWN),
            ("2 x + 3 = 7", UNKNOWN),
            ("2 dozen * 3 = 72", UNKNOWN),
            ("3 times as many * 2 = 12", UNKNOWN),
            ("9 am + 5 hours = 2 pm", UNKNOWN),
            ("20 percent * 50 = 10", UNKNOWN),
        ] {
            let found: Vec<Truth> = equations(line).iter().map(Equation::check).collect();
            assert_eq!(found, [expected], "{line}");
        }
        let chain: Vec<Truth> =
            equations("10 boxes / 2 = 20 rows / 4 = 5").iter().map(Equation::check).collect();
        assert!(chain.contains(&Truth::Holds) && !chain.contains(&Truth::Fails), "{chain:?}");
    }
}
