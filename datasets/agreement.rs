//! What can be said of right answers where nobody knows how a problem was made (see [`crate::audit`] for
//! where one does).
//!
//! Three signs, none of them a proof; whoever counts them reports an estimate:
//!
//! - [`classes`]: paths to the same answer that compute the same function of the given numbers agree,
//!   whatever their steps. Independent paths that are right agree; those that fitted the numbers each fit
//!   them in their own way.
//! - [`transfers`]: problems that differ in numbers and names alone ([`masked`]) have the same calculation,
//!   so the calculation of a right path gives the other problem's answer too.
//! - [`unused`]: given numbers that a path does without.
//!
//! Two functions are the same if they agree where random elements of a field with 2⁶¹ - 1 elements stand in
//! for the given numbers. Functions that differ agree there with a probability below their degree / 2⁶¹ for
//! each draw (Schwartz and Zippel), and nothing grows, rounds or allocates.

use std::collections::HashMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::answer::Amount;
use crate::audit::readings;
use crate::domain::Origin;
use crate::domains::math::{givens, written};
use crate::expr::{Arithmetic, Exact, Graph, Operator, lex};
use crate::key;
use crate::types::Problem;

/// Draws that must agree.
const DRAWS: usize = 2;
/// Numbers of a path that are read in both ways.
const MAX_DOUBTS: u32 = 3;
/// Most ways in which a number that stands in a question twice is mapped to another question.
const MAX_WAYS: usize = 16;
/// A Mersenne prime.
const PRIME: u64 = (1 << 61) - 1;

/// A path's results in all draws.
type Signature = [u64; DRAWS];

/// Groups paths to the right answer by the function of the given numbers that they compute: for each path the
/// number of its class, counted from 0 in the order of first members.
///
/// A path that cannot be read, or has no step with the problem's answer, is a class of its own. A number that
/// is given and equals an earlier result is read in both ways, and one way in common makes two paths agree.
pub fn classes<S: AsRef<str>>(problem: &Problem, paths: &[&[S]]) -> Vec<usize> {
    let given = given(&problem.question);
    let draws: Vec<Field> = (0..DRAWS).map(|draw| Field::draw(problem, &given, draw)).collect();
    let answer = Amount::read(&problem.answer).map(|amount| amount.value);
    let mut known: HashMap<Signature, usize> = HashMap::new();
    let mut count = 0;
    let mut class = |path: &&[S]| {
        let mut signatures: Vec<Signature> = Vec::new();
        readings(path, MAX_DOUBTS, &|value| given.contains(value), |graph| {
            signatures.extend(answer.as_ref().and_then(|answer| signature(graph, answer, &draws)));
            false
        });
        let class =
            signatures.iter().filter_map(|signature| known.get(signature)).min().copied().unwrap_or(count);
        count = count.max(class + 1);
        for signature in signatures {
            known.entry(signature).or_insert(class);
        }
        class
    };
    paths.iter().map(&mut class).collect()
}

fn signature(graph: &Graph, answer: &BigRational, draws: &[Field]) -> Option<Signature> {
    let end = graph.results().iter().rposition(|result| result.value == *answer)?;
    let mut signature = [0; DRAWS];
    for (slot, field) in signature.iter_mut().zip(draws) {
        *slot = graph.replay(field)[end]?;
    }
    Some(signature)
}

/// The numbers that a question writes, each once.
fn given(question: &str) -> Vec<BigRational> {
    givens(question).iter().filter(|q| q.origin == Origin::Given).map(|q| q.value.to_big()).collect()
}

/// The field, and what stands in for given numbers.
struct Field(Vec<(BigRational, u64)>);

impl Field {
    fn draw(problem: &Problem, given: &[BigRational], draw: usize) -> Self {
        let hundred = BigRational::from_integer(100.into());
        let mut stand_ins: Vec<(BigRational, u64)> = Vec::with_capacity(2 * given.len());
        for value in given {
            let text = value.to_string();
            let parts = [
                "agreement".into(),
                problem.problem_id.as_str().into(),
                text.as_str().into(),
                (draw as u64).into(),
            ];
            let digest = key::digest(&parts);
            let drawn = digest[..8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte)) % PRIME;
            stand_ins.push((value.clone(), drawn));
        }
        // `0.2` for a given `20%`.
        let shares: Vec<(BigRational, u64)> = stand_ins
            .iter()
            .filter_map(|(value, drawn)| Some((value / &hundred, multiply(*drawn, inverse(100)?))))
            .collect();
        stand_ins.extend(shares);
        Field(stand_ins)
    }
}

impl Arithmetic for Field {
    type Value = u64;

    fn number(&self, value: &BigRational) -> Option<u64> {
        match self.0.iter().find(|(given, _)| given == value) {
            Some((_, drawn)) => Some(*drawn),
            None => self.constant(value),
        }
    }

    fn constant(&self, value: &BigRational) -> Option<u64> {
        let element = |part: &BigInt| match part.to_u64() {
            Some(small) => Some(small % PRIME),
            None => part.mod_floor(&PRIME.into()).to_u64(),
        };
        let top = element(value.numer())?;
        if value.denom().is_one() {
            Some(top)
        } else {
            Some(multiply(top, inverse(element(value.denom())?)?))
        }
    }

    fn apply(&self, operator: Operator, left: u64, right: u64) -> Option<u64> {
        Some(match operator {
            Operator::Add => (left + right) % PRIME,
            Operator::Subtract => (left + PRIME - right) % PRIME,
            Operator::Multiply => multiply(left, right),
            Operator::Divide => multiply(left, inverse(right)?),
        })
    }
}

fn multiply(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

/// By Fermat: a power with exponent p - 2. None for zero.
fn inverse(a: u64) -> Option<u64> {
    let (mut base, mut exponent, mut power) = (a, PRIME - 2, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = multiply(power, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    (a != 0).then_some(power)
}

/// Words at the start of a sentence that are no names.
#[rustfmt::skip]
const STARTERS: &[&str] = &[
    "a", "after", "all", "also", "altogether", "an", "and", "another", "as", "at", "before", "both", "but",
    "by", "during", "each", "every", "everyone", "finally", "find", "first", "for", "from", "given", "half",
    "he", "her", "here", "his", "how", "however", "if", "in", "it", "its", "last", "later", "many", "most",
    "my", "next", "no", "not", "now", "of", "on", "once", "only", "other", "others", "our", "out", "people",
    "she", "since", "so", "some", "soon", "suppose", "that", "the", "their", "then", "there", "these", "they",
    "this", "those", "to", "today", "together", "use", "using", "we", "what", "when", "where", "which",
    "while", "who", "with", "you", "your",
];

/// Whether a word of a question is a name: it has a capital, and is no common word at the start of a
/// sentence.
pub fn is_name(word: &str, starts_sentence: bool) -> bool {
    word.starts_with(char::is_uppercase)
        && !(starts_sentence && STARTERS.contains(&word.to_lowercase().as_str()))
}

/// A question with `#` for each number, in digits or words, and `@1`, `@2` for its names, and the numbers in
/// their order. Words are in lower case and one blank apart, so that layout makes no difference, nor does the
/// sex of who is called he or she.
pub fn masked(question: &str) -> (String, Vec<BigRational>) {
    let tokens = lex(question);
    let (mut text, mut numbers) = (String::with_capacity(question.len()), Vec::new());
    let mut names: Vec<&str> = Vec::new();
    let (mut at, mut starts) = (0, true);
    while at < tokens.len() {
        if !text.is_empty() {
            text.push(' ');
        }
        let word = tokens[at].text.as_str();
        if let Some((value, length)) = written(&tokens[at..]) {
            text.push('#');
            numbers.push(value.to_big());
            at += length;
            starts = false;
            continue;
        }
        if is_name(word, starts) {
            let name = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word);
            let place = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            text.push_str(&format!("@{}{}", place + 1, &word[name.len()..]));
        } else {
            let word = word.to_lowercase();
            text.push_str(match word.as_str() {
                "she" => "he",
                "her" | "him" | "hers" => "his",
                other => other,
            });
        }
        starts = matches!(word, "." | "?" | "!" | ":") || starts && !word.contains(char::is_alphanumeric);
        at += 1;
    }
    (text, numbers)
}

/// What a problem has of its own among those with the same [`masked`] question.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub numbers: Vec<BigRational>,
    pub answer: BigRational,
}

impl Case {
    /// The masked question, and what is the problem's own. None if its answer is no number.
    pub fn of(problem: &Problem) -> Option<(String, Self)> {
        let answer = Amount::read(&problem.answer)?.value;
        let (text, numbers) = masked(&problem.question);
        Some((text, Self { numbers, answer }))
    }
}

/// Does the calculation of a path to one problem's answer give the answer of another with the same masked
/// question, with that one's numbers in their places?
///
/// `None` if their numbers are the same, or if the path cannot be read. A number that stands in the question
/// twice may mean either, and one meaning that transfers is enough.
pub fn transfers<S: AsRef<str>>(path: &[S], from: &Case, to: &Case) -> Option<bool> {
    let (numbers, others) = (&from.numbers, &to.numbers);
    if numbers == others || numbers.len() != others.len() {
        return None;
    }
    let (answer, wanted) = (&from.answer, &to.answer);
    // For each number what may stand in for it.
    let mut places: Vec<(&BigRational, Vec<&BigRational>)> = Vec::new();
    for (number, other) in numbers.iter().zip(others) {
        match places.iter_mut().find(|(known, _)| *known == number) {
            Some((_, meanings)) if meanings.contains(&other) => {}
            Some((_, meanings)) => meanings.push(other),
            None => places.push((number, vec![other])),
        }
    }
    let ways = places.iter().map(|(_, meanings)| meanings.len()).product::<usize>().min(MAX_WAYS);
    let hundred = BigRational::from_integer(100.into());
    let mut found = None;
    readings(path, MAX_DOUBTS, &|value| numbers.contains(value), |graph| {
        let Some(end) = graph.results().iter().rposition(|result| result.value == *answer) else {
            return false;
        };
        for way in 0..ways {
            let meaning = |value: &BigRational| {
                let mut rest = way;
                for (number, meanings) in &places {
                    if *number == value {
                        return Some(meanings[rest % meanings.len()].clone());
                    }
                    rest /= meanings.len();
                }
                None
            };
            let stands_in = |value: &BigRational| {
                meaning(value)
                    .or_else(|| Some(meaning(&(value * &hundred))? / &hundred))
                    .unwrap_or_else(|| value.clone())
            };
            if let Some(result) = &graph.replay(&Exact(stands_in))[end] {
                found = Some(found == Some(true) || result == wanted);
            }
        }
        found == Some(true)
    });
    found
}

/// The given numbers that no step uses, as they are or as a percentage's decimal, its rest, or a fraction's
/// two parts.
pub fn unused<S: AsRef<str>>(problem: &Problem, steps: &[S]) -> Vec<BigRational> {
    let given = given(&problem.question);
    let graph = Graph::of(steps, &|value| given.contains(value));
    let used: Vec<BigRational> = graph.numbers().into_iter().map(|value| value.abs()).collect();
    let (one, hundred) = (BigRational::one(), BigRational::from_integer(100.into()));
    let is_used = |value: &BigRational| {
        let share = value / &hundred;
        let parts = [
            BigRational::from_integer(value.numer().clone()),
            BigRational::from_integer(value.denom().clone()),
        ];
        let forms = [
            value.clone(),
            (&one - &share).abs(),
            &one + &share,
            (&hundred - value).abs(),
            &hundred + value,
            (&one - value).abs(),
            share,
        ];
        let inverse = (!value.is_zero()).then(|| value.recip());
        forms.iter().chain(&inverse).any(|form| used.contains(form))
            || !value.is_integer() && parts.iter().all(|part| used.contains(part))
    };
    given.iter().filter(|value| !is_used(value)).cloned().collect()
}

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod tests;
