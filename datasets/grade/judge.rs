//! Are two answers, as they were read, the same?

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::amount::Amount;
use super::limits::Stop;
use super::poly::Algebra;
use super::relations::interval;
use super::tree::{Answer, Expr, Product, expr_depends, variable};
use super::units::Unit;
use super::{bases, decide, field, moments, reals, units};

/// Products of terms that one comparison may compute.
const FUEL: u64 = 8_000;
/// Microseconds, about, that its evaluations may take.
const WORK: u64 = 6_000;
/// Pairs of items that one comparison may look at.
const MAX_PAIRS: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Equality {
    Same,
    Different(&'static str),
    Unknown(&'static str),
}

pub(super) const WRONG: Equality = Equality::Different("wrong_answer");
pub(super) const OTHER_KIND: Equality = Equality::Different("other_kind");
pub(super) const NOT_DECIDED: Equality = Equality::Unknown("not_decided");

impl Equality {
    pub(super) fn when(same: bool) -> Equality {
        if same { Equality::Same } else { WRONG }
    }

    /// Both must hold: a difference is certain whatever else is not known.
    pub(super) fn and(self, other: impl FnOnce() -> Equality) -> Equality {
        match self {
            Equality::Same => other(),
            Equality::Different(_) => self,
            Equality::Unknown(_) => match other() {
                different @ Equality::Different(_) => different,
                _ => self,
            },
        }
    }

    /// One of both is enough.
    pub(super) fn or(self, other: impl FnOnce() -> Equality) -> Equality {
        match self {
            Equality::Same => self,
            Equality::Different(_) => match other() {
                Equality::Different(_) => self,
                found => found,
            },
            Equality::Unknown(_) => match other() {
                Equality::Same => Equality::Same,
                _ => self,
            },
        }
    }
}

pub(super) struct Judge {
    pub precision: Option<u32>,
    pub algebra: Algebra,
    pairs: u32,
}

impl Judge {
    pub(super) fn new(precision: Option<u32>) -> Judge {
        Judge { precision, algebra: Algebra::new(FUEL, WORK), pairs: MAX_PAIRS }
    }

    pub(super) fn compare(&mut self, gold: &Answer, given: &Answer) -> Equality {
        if self.pairs == 0 {
            return Equality::Unknown("out_of_fuel");
        }
        self.pairs -= 1;
        let found = self.forms(gold, given);
        let plain = |answer: &Answer| !matches!(answer, Answer::Relation { .. } | Answer::Group { .. });
        match found {
            Equality::Same if named_apart(gold, given) => NOT_DECIDED,
            WRONG if self.is_renamed(gold, given) => NOT_DECIDED,
            _ if plain(gold) && plain(given) => found,
            _ => reals::reconsider(found, gold, given),
        }
    }

    fn forms(&mut self, gold: &Answer, given: &Answer) -> Equality {
        match (gold, given) {
            (Answer::Text(a), Answer::Text(b)) if compact(a) == compact(b) => Equality::Same,
            (Answer::Choice(..), _) | (_, Answer::Choice(..)) => self.choices(gold, given),
            (Answer::Text(_), _) => Equality::Unknown("gold_unreadable"),
            (_, Answer::Text(_)) => Equality::Unknown("answer_unreadable"),
            (Answer::Truth(a), Answer::Truth(b)) => Equality::when(a == b),
            (Answer::Truth(_), _) | (_, Answer::Truth(_)) => OTHER_KIND,
            (Answer::Value { .. }, Answer::Value { .. }) => self.values(gold, given),
            (Answer::Relation { .. } | Answer::Application { .. }, _)
            | (_, Answer::Relation { .. } | Answer::Application { .. }) => self.relations(gold, given),
            (Answer::Clock(_) | Answer::Date(_), _) | (_, Answer::Clock(_) | Answer::Date(_)) => {
                moments::compare(gold, given)
            }
            (Answer::Based(..), _) | (_, Answer::Based(..)) => bases::compare(gold, given),
            (Answer::Group { .. }, Answer::Group { .. }) => self.groups(gold, given),
            (Answer::Group { open: ':', items, .. }, one) | (one, Answer::Group { open: ':', items, .. }) => {
                ratio_and_number(items, one)
            }
            (Answer::Group { open: '{' | ',', items, .. }, one) if items.len() == 1 => {
                self.compare(&items[0], one)
            }
            (one, Answer::Group { open: '{' | ',', items, .. }) if items.len() == 1 => {
                self.compare(one, &items[0])
            }
            // `[5]` may be a list of one, or the floor of 5.
            (Answer::Group { open: '[', items, .. }, one) | (one, Answer::Group { open: '[', items, .. })
                if items.len() == 1 =>
            {
                if self.compare(&items[0], one) == Equality::Same {
                    NOT_DECIDED
                } else {
                    OTHER_KIND
                }
            }
            (Answer::Group { .. }, Answer::Value { .. }) | (Answer::Value { .. }, Answer::Group { .. }) => {
                let real = [gold, given].into_iter().any(|side| variable(side) == Some("R"));
                let all = [gold, given].into_iter().any(|side| *side == Answer::reals());
                let identity = [gold, given].into_iter().any(|side| variable(side) == Some("I"));
                if real && all || identity { NOT_DECIDED } else { OTHER_KIND }
            }
        }
    }

    fn choices(&mut self, gold: &Answer, given: &Answer) -> Equality {
        let letter_of = |answer: &Answer| match answer {
            Answer::Choice(letter, _) => Some(*letter),
            Answer::Value { expr: Expr::Variable(name), .. } if name.len() == 1 => {
                name.chars().next().map(|c| c.to_ascii_uppercase())
            }
            Answer::Value { expr: Expr::E, .. } => Some('E'),
            _ => None,
        };
        let body_of = |answer: &Answer| match answer {
            Answer::Choice(_, body) => body.as_deref().cloned(),
            other => letter_of(other).is_none().then(|| other.clone()),
        };
        match (letter_of(gold), letter_of(given)) {
            (Some(a), Some(b)) if a != b => WRONG,
            (Some(_), Some(_)) => match (body_of(gold), body_of(given)) {
                // The same letter with another text contradicts itself.
                (Some(a), Some(b)) if self.compare(&a, &b) != Equality::Same => NOT_DECIDED,
                _ => Equality::Same,
            },
            _ => match (body_of(gold), body_of(given)) {
                (Some(a), Some(b)) => self.compare(&a, &b),
                // What the letter stands for is not known.
                _ => NOT_DECIDED,
            },
        }
    }

    fn values(&mut self, gold: &Answer, given: &Answer) -> Equality {
        let (
            Answer::Value { expr: a, percent: p, unit: u, product: m, .. },
            Answer::Value { expr: b, percent: q, unit: v, product: n, .. },
        ) = (gold, given)
        else {
            return OTHER_KIND;
        };
        // `5 m` beside an expression in variables is a product.
        match (m, n) {
            (Some(m), None) if expr_depends(b, None) => return self.expressions(&m.expr, b),
            (None, Some(n)) if expr_depends(a, None) => return self.expressions(a, &n.expr),
            _ => {}
        }
        let Some(factor) = units::quotient(u.as_ref(), v.as_ref()) else {
            return Equality::Different("other_unit");
        };
        let found = self.amounts((a, *p), (b, *q), factor);
        // `20%` is no `$20`.
        if p != q && found == Equality::Same && (u.is_some() || v.is_some()) {
            return NOT_DECIDED;
        }
        // `5m` is no 5, as long as nobody says that it is a length.
        let unclear = match (m, n) {
            (Some(m), None) => !m.unlikely && v.is_none(),
            (None, Some(n)) => !n.unlikely && u.is_none(),
            _ => false,
        };
        let scaled = |product: &Option<Box<Product>>, other: &Expr| {
            product
                .as_ref()
                .and_then(|product| product.scaled())
                .is_some_and(|value| other.number() == Some(value))
        };
        let degrees = |unit: &Option<Unit>| unit == &Unit::named("degree");
        match (found, u, v) {
            (Equality::Different(_), ..)
                if degrees(u) && given.noun() == "radian" || degrees(v) && gold.noun() == "radian" =>
            {
                NOT_DECIDED
            }
            (Equality::Same, ..) if unclear => NOT_DECIDED,
            // `5K` may be 5000.
            (Equality::Different(_), ..) if scaled(m, b) || scaled(n, a) => NOT_DECIDED,
            // `2 hours` and 120: the number may count minutes.
            (Equality::Different(_), Some(unit), None) if is_converted(unit, a, b) => NOT_DECIDED,
            (Equality::Different(_), None, Some(unit)) if is_converted(unit, b, a) => NOT_DECIDED,
            _ => found,
        }
    }

    /// Two expressions with their percent signs, the first in units of which `factor` are one of the second.
    fn amounts(&mut self, (a, p): (&Expr, bool), (b, q): (&Expr, bool), factor: BigRational) -> Equality {
        if let (Some(x), Some(y)) = (a.number(), b.number()) {
            let (x, y) = (Amount { value: x * factor, percent: p }, Amount { value: y, percent: q });
            return Equality::when(x.is_same(&y) || (p == q && self.is_near(&(&x.value - &y.value))));
        }
        if let (Expr::Variable(x), Expr::Variable(y)) = (a, b)
            && x.len() == 1
            && x.eq_ignore_ascii_case(y)
        {
            return Equality::Same;
        }
        if p != q {
            return NOT_DECIDED;
        }
        if factor.is_one() {
            self.expressions(a, b)
        } else {
            self.expressions(&Expr::binary('*', a.clone(), Expr::Number(factor)), b)
        }
    }

    /// Within half a unit of the last decimal that was asked for.
    fn is_near(&self, difference: &BigRational) -> bool {
        self.tolerance().is_some_and(|tolerance| difference.abs() <= tolerance)
    }

    fn tolerance(&self) -> Option<BigRational> {
        let decimals = self.precision?.min(1000);
        Some(BigRational::new(1.into(), num_bigint::BigInt::from(10).pow(decimals) * 2))
    }

    pub(super) fn expressions(&mut self, gold: &Expr, given: &Expr) -> Equality {
        let a = match self.algebra.normal(gold) {
            Err(Stop::Undefined) => return Equality::Unknown("gold_unreadable"),
            other => other,
        };
        let b = match self.algebra.normal(given) {
            Err(Stop::Undefined) => return OTHER_KIND,
            other => other,
        };
        if gold == given {
            return Equality::Same;
        }
        let (a, b) = match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(stop), _) | (_, Err(stop)) => {
                return field::compare(gold, given).map_or(unknown(stop), Equality::when);
            }
        };
        let difference = match self.algebra.sub(&a, &b) {
            Ok(difference) => difference,
            Err(stop) => return unknown(stop),
        };
        let exact = match decide::is_zero(&difference, &mut self.algebra) {
            Ok(true) => return Equality::Same,
            Ok(false) => WRONG,
            Err(Stop::Fuel) => {
                field::compare(gold, given).map_or(Equality::Unknown("out_of_fuel"), Equality::when)
            }
            Err(stop) => unknown(stop),
        };
        match self.tolerance() {
            Some(tolerance) if exact != Equality::Same => {
                match decide::is_within(&difference, &tolerance, &mut self.algebra) {
                    Ok(true) => Equality::Same,
                    Ok(false) => WRONG,
                    Err(_) => exact,
                }
            }
            _ => exact,
        }
    }

    fn groups(&mut self, gold: &Answer, given: &Answer) -> Equality {
        let alternatives = |answer: &Answer| matches!(answer, Answer::Group { close: '∨', .. });
        if (alternatives(gold) || alternatives(given))
            && let (Some(a), Some(b)) = (interval(gold), interval(given))
        {
            return if a.0 == b.0 || a.0.is_none() || b.0.is_none() {
                self.compare(&a.1, &b.1)
            } else {
                NOT_DECIDED
            };
        }
        let (gold, given) = (column(gold), column(given));
        let (Answer::Group { open: a, close: c, items: x }, Answer::Group { open: b, close: d, items: y }) =
            (&gold, &given)
        else {
            return self.compare(&gold, &given);
        };
        match (a, b) {
            ('{' | ',', '{' | ',') => self.lists(x, y),
            ('{' | ',', '(' | '[') if x.len() == 1 => self.compare(&x[0], &given),
            ('(' | '[', '{' | ',') if y.len() == 1 => self.compare(&gold, &y[0]),
            ('∪', '∪') => self.same_set(x, y),
            (':', ':') => self.ratios(x, y),
            (':', '-') | ('-', ':') => NOT_DECIDED,
            ('-', '-') => self.in_order(x, y),
            ('(' | '[' | ',', '(' | '[' | ',') => {
                let interval = x.len() == 2
                    && [(a, c), (b, d)].iter().any(|(open, close)| **open == '[' || **close == ']');
                if interval && (a, c) != (b, d) { OTHER_KIND } else { self.in_order(x, y) }
            }
            // A program writes a list as `[1, 2, 3]`.
            ('{', '[') | ('[', '{') if x.len() > 2 && self.same_set(x, y) == Equality::Same => NOT_DECIDED,
            _ => OTHER_KIND,
        }
    }
}

/// A text without blanks beside anything but letters and digits: `1,2,...,n` is `1, 2, ..., n`.
fn compact(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    for word in text.split(' ') {
        let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if joins(compact.chars().next_back()) && joins(word.chars().next()) {
            compact.push(' ');
        }
        compact.push_str(word);
    }
    compact
}

/// `AB = 5` and `CD = 5`: names without a word in common.
fn named_apart(gold: &Answer, given: &Answer) -> bool {
    let (a, b) = (gold.label(), given.label());
    let says =
        |name: &str| !name.is_empty() && !matches!(name, "answer" | "result" | "value" | "final answer");
    says(a) && says(b) && !a.split(' ').any(|word| b.split(' ').any(|other| word == other))
}

/// Is the amount, in another unit of the same dimension, the number?
fn is_converted(unit: &Unit, amount: &Expr, number: &Expr) -> bool {
    let (Some(amount), Some(number)) = (amount.number(), number.number()) else { return false };
    unit.conversions().any(|factor| &amount * factor == number)
}

/// `2:3` may stand for 2/3.
fn ratio_and_number(items: &[Answer], other: &Answer) -> Equality {
    let number = |answer: &Answer| answer.expr().and_then(Expr::number);
    match (items, number(other)) {
        ([a, b], Some(quotient))
            if number(a).zip(number(b)).is_some_and(|(a, b)| !b.is_zero() && a == &quotient * b) =>
        {
            NOT_DECIDED
        }
        _ if moments::lasts(items, other) => NOT_DECIDED,
        _ => OTHER_KIND,
    }
}

pub(super) fn unknown(stop: Stop) -> Equality {
    if stop == Stop::Fuel { Equality::Unknown("out_of_fuel") } else { NOT_DECIDED }
}

/// A column or a row of a matrix is a tuple.
fn column(answer: &Answer) -> Answer {
    if let Answer::Group { open: '(' | '[', items, .. } = answer {
        let single = |item: &Answer| match item {
            Answer::Group { open: '(' | '[', items, .. } if items.len() == 1 => Some(items[0].clone()),
            _ => None,
        };
        if items.len() > 1
            && let Some(cells) = items.iter().map(single).collect::<Option<Vec<_>>>()
        {
            return Answer::group('(', ')', cells);
        }
        if let [Answer::Group { open: '(' | '[', items, .. }] = items.as_slice() {
            return Answer::group('(', ')', items.clone());
        }
        // Brackets of rows say nothing: `[[1, 2], [3, 4]]` is a matrix.
        if items.len() > 1 && items.iter().all(|item| matches!(item, Answer::Group { open: '(' | '[', .. })) {
            let rows = items.iter().map(|item| match item {
                Answer::Group { items, .. } => Answer::group('(', ')', items.clone()),
                other => other.clone(),
            });
            return Answer::group('(', ')', rows.collect());
        }
    }
    answer.clone()
}
