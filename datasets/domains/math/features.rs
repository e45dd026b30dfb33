//! What a small network may know of a state: which numbers its steps joined, by the words around them in the
//! question.
//!
//! Text is never read as a language: a number is known by its neighbours (`12 apples`, `each of 4 boxes`), a
//! result by the operation and the unit of its left operand, a question by the words of its last sentence.

use std::collections::HashMap;

use super::givens::{LEXICON, givens, written};
use super::moves::MAX_USES;
use crate::domain::{Features, Origin, State, mix};
use crate::expr::{Kind, Token, equations, lex};
use crate::number::Number;

/// A number as it is known: by its kind and by the words at it.
#[derive(Clone, Copy, Default)]
struct Sign {
    kind: u64,
    /// The word behind it: mostly its unit.
    next: u64,
    /// The words around it.
    near: u64,
    /// Which of the givens, or whose result.
    place: u64,
}

struct Entry {
    value: Number,
    origin: Origin,
    uses: u32,
    sign: Sign,
}

/// The features of a question's states.
pub fn of(question: &str) -> impl Fn(&State) -> Features + Send + Sync + use<> {
    let given = given(question);
    let asked = asked(question);
    // Questions of one make ask in the same words.
    let make = asked.iter().fold(1, |hash, word| mix(hash, *word));
    move |state| describe(state, &given, &asked, make)
}

fn describe(state: &State, given: &[(Number, Origin, Sign)], asked: &[u64], make: u64) -> Features {
    let mut entries: Vec<Entry> = given
        .iter()
        .map(|(value, origin, sign)| Entry { value: *value, origin: *origin, uses: 0, sign: *sign })
        .collect();
    let mut sparse = Vec::with_capacity(16 * state.steps.len() + 24);
    let (mut shape, mut before) = (make, 0);
    for (n, step) in state.steps.iter().enumerate() {
        let last = u64::from(n + 1 == state.steps.len());
        let Some((left, operation, right)) = read(step) else { continue };
        let (a, at) = take(&mut entries, left, None);
        let (b, _) = take(&mut entries, right, at);
        let o = mix(3, u64::from(operation as u32));
        let places = mix(mix(o, a.place), b.place);
        shape = mix(shape, places);
        let both = |x: u64, y: u64| mix(mix(o, x), y);
        let own = [
            both(a.kind, b.kind),
            both(a.next, b.next),
            both(a.near, b.near),
            mix(places, given.len() as u64),
            mix(places, make),
            both(mix(7, a.near), a.kind),
            both(mix(8, b.near), b.kind),
            both(before, 9),
        ];
        for (i, feature) in own.into_iter().enumerate() {
            sparse.push(mix(feature, 100 + i as u64));
            sparse.push(mix(feature, 200 + 2 * i as u64 + last));
        }
        if last == 1 {
            sparse.extend(asked.iter().map(|word| mix(mix(o, *word), 300)));
            sparse.push(mix(both(a.next, b.next), mix(make, 301)));
        }
        before = o;
        let value = result(step).unwrap_or(Number::ZERO);
        let sign = Sign { kind: 5, next: a.next, near: both(a.near, 11), place: mix(o, 50 + n as u64) };
        entries.push(Entry { value, origin: Origin::Result(n as u32), uses: 0, sign });
    }
    let unused = |of: &dyn Fn(Origin) -> bool| {
        state.pool.iter().filter(|q| q.uses == 0 && of(q.origin)).count() as u64
    };
    let (givens, meant) = (unused(&|o| o == Origin::Given), unused(&|o| o == Origin::Lexicon));
    let results = unused(&|o| matches!(o, Origin::Result(_)));
    let steps = state.steps.len() as u64;
    sparse.push(mix(make, 400));
    sparse.push(mix(shape, 401));
    sparse.push(mix(mix(mix(givens.min(9), results.min(9)), steps.min(9)), 402));
    sparse.push(mix(mix(mix(givens.min(9), meant.min(9)), results.min(9)), mix(make, 403)));
    let last = state.pool.last().map_or(Number::ZERO, |q| q.value);
    let size = (last.numerator() as f32).abs() / last.denominator() as f32;
    let dense = vec![
        steps as f32 / 4.0,
        givens as f32 / 4.0,
        meant as f32 / 4.0,
        results as f32 / 4.0,
        f32::from(u8::from(last.is_integer())),
        size.ln_1p() / 8.0,
    ];
    Features { dense, sparse }
}

/// Left operand, operation and right operand of a step: of `48/2=24` at a glance, of prose by its last
/// equation.
fn read(step: &str) -> Option<(Number, char, Number)> {
    let plain = |text: &str| Number::parse(text.trim_start_matches('(').trim_end_matches(')'));
    let glance = |left: &str| {
        // A bracketed operand may hold a sign of its own: `60*(1/3)`.
        let start = if left.starts_with('(') { left.find(')')? } else { 0 };
        let at = start + left[start..].find(['+', '-', '*', '/'])?;
        Some((plain(&left[..at])?, left[at..].chars().next()?, plain(&left[at + 1..])?))
    };
    if let Some(found) = step.split_once('=').and_then(|(left, _)| glance(left)) {
        return Some(found);
    }
    let equation = equations(step).into_iter().next_back()?;
    let tokens = lex(&equation.lhs);
    let mut numbers = tokens.iter().filter(|t| t.kind == Kind::Number).filter_map(|t| Number::parse(&t.text));
    let left = numbers.next()?;
    let right = numbers.next_back()?;
    let operation =
        tokens.iter().find_map(|t| if let Kind::Operator(sign) = t.kind { Some(sign) } else { None })?;
    Some((left, operation, right))
}

fn result(step: &str) -> Option<Number> {
    Number::parse(step.rsplit('=').next()?.trim())
}

/// The entry that a step means by a value, and counts its use: the same choice as of the rules.
fn take(entries: &mut [Entry], value: Number, taken: Option<usize>) -> (Sign, Option<usize>) {
    let rank = |entry: &Entry| match (entry.origin, entry.uses) {
        (Origin::Result(_), 0) => 0,
        (Origin::Given, 0) => 1,
        (Origin::Lexicon, _) => 2,
        (Origin::Given, _) => 3,
        (Origin::Result(_), _) => 4,
    };
    let usable = |entry: &Entry| entry.value == value && entry.uses < MAX_USES;
    let best = (0..entries.len())
        .filter(|&at| Some(at) != taken && usable(&entries[at]))
        .min_by_key(|&at| rank(&entries[at]));
    let Some(at) = best else { return (Sign { kind: 99, ..Sign::default() }, None) };
    entries[at].uses += 1;
    (entries[at].sign, Some(at))
}

/// The numbers of a question in the order of its pool, each with the words at it.
fn given(question: &str) -> Vec<(Number, Origin, Sign)> {
    let tokens = lex(question);
    let mut signs: HashMap<Number, Vec<Sign>> = HashMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let (value, length) =
            written(&tokens[at..]).map_or((None, 1), |(value, length)| (Some(value), length));
        if let Some(value) = value {
            let before = if at > 0 { word(&tokens[at - 1]) } else { 0 };
            let behind = |n: usize| tokens.get(at + length + n).map(word).unwrap_or_default();
            let near = mix(mix(before, behind(0)), behind(1));
            signs.entry(value).or_default().push(Sign { kind: 1, next: behind(0), near, place: 0 });
        }
        at += length;
    }
    let mut seen: HashMap<Number, usize> = HashMap::new();
    let pool = givens(question);
    pool.iter()
        .enumerate()
        .map(|(place, quantity)| {
            let sign = if quantity.origin == Origin::Given {
                let nth = seen.entry(quantity.value).or_default();
                *nth += 1;
                signs
                    .get(&quantity.value)
                    .and_then(|all| all.get(*nth - 1))
                    .copied()
                    .unwrap_or(Sign { kind: 1, ..Sign::default() })
            } else {
                let said =
                    tokens.iter().find(|t| meant(t) == Some(quantity.value)).map(word).unwrap_or_default();
                Sign { kind: 2, next: said, near: said, place: 0 }
            };
            (quantity.value, quantity.origin, Sign { place: place as u64 + 1, ..sign })
        })
        .collect()
}

fn meant(token: &Token) -> Option<Number> {
    if token.kind == Kind::Percent {
        return Some(Number::integer(100));
    }
    let found = LEXICON.iter().find(|(name, _)| token.text.eq_ignore_ascii_case(name));
    found.map(|(_, value)| Number::integer(*value))
}

/// Words of the last sentence, without names and numbers.
fn asked(question: &str) -> Vec<u64> {
    let last = question.trim_end().trim_end_matches(['?', '.', '!']);
    let start = last.rfind(['.', '?', '!', '\n']).map_or(0, |at| at + 1);
    let words = last[start..].split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 1);
    let named = |(n, word): &(usize, &str)| *n > 0 && word.starts_with(char::is_uppercase);
    words.enumerate().filter(|word| !named(word)).map(|(_, word)| text(word)).collect()
}

fn word(token: &Token) -> u64 {
    match token.kind {
        Kind::Word => text(&token.text),
        Kind::Number => 21,
        kind => 22 + u64::from(kind == Kind::Percent) + 2 * u64::from(kind == Kind::Currency),
    }
}

/// FNV-1a of a word in lower case.
fn text(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;
    use crate::domains::math::Math;

    fn features(question: &str, steps: &[&str]) -> Features {
        let mut state = State { pool: givens(question), ..State::default() };
        for step in steps {
            state = Math.follow(&state, step).unwrap();
        }
        of(question)(&state)
    }

    #[test]
    fn other_names_and_numbers_are_the_same_steps_other_places_are_not() {
        let one = |a, b, name: &str| {
            format!(
                "{name} has {a} red apples and {b} green pears. How many more apples than pears does {name} \
                 have?"
            )
        };
        let (first, second) = (one(48, 2, "Ann"), one(31, 6, "Bob"));
        let same = (features(&first, &["48-2=46"]), features(&second, &["31-6=25"]));
        assert_eq!(same.0.sparse, same.1.sparse);
        let sum = features(&second, &["31+6=37"]);
        let shared = sum.sparse.iter().filter(|f| same.1.sparse.contains(f)).count();
        assert!(shared < sum.sparse.len() / 2, "{shared} of {}", sum.sparse.len());
    }

    #[test]
    fn prose_says_the_same_as_the_bare_equation() {
        let question = "Each of 4 boxes holds 12 pens. How many pens are there?";
        let (bare, prose) =
            (features(question, &["4*12=48"]), features(question, &["There are 4 * 12 = 48 pens."]));
        assert_eq!(bare.sparse, prose.sparse);
        assert_eq!(read("60*(1/3)=20"), Some((Number::integer(60), '*', Number::ratio(1, 3).unwrap())));
        assert_eq!(read("(1/3)*60=20"), Some((Number::ratio(1, 3).unwrap(), '*', Number::integer(60))));
    }
}
