//! Are two answers, as they were read, the same?

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::amount::Amount;
use super::limits::Stop;
use super::poly::Algebra;
use super::tree::{Answer, Expr};
use super::{decide, field, units};

/// Products of terms that one comparison may compute.
const FUEL: u64 = 8_000;
/// Microseconds, about, that its evaluations may take.
const WORK: u64 = 6_000;
/// Pairs of items that one comparison may look at.
const MAX_PAIRS: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Same,
    Different(&'static str),
    Unknown(&'static str),
}

pub(super) const WRONG: Outcome = Outcome::Different("wrong_answer");
pub(super) const OTHER_KIND: Outcome = Outcome::Different("other_kind");
pub(super) const NOT_DECIDED: Outcome = Outcome::Unknown("not_decided");

impl Outcome {
    pub(super) fn when(same: bool) -> Outcome {
        if same { Outcome::Same } else { WRONG }
    }

    /// Both must hold: a difference is certain whatever else is not known.
    fn and(self, other: impl FnOnce() -> Outcome) -> Outcome {
        match self {
            Outcome::Same => other(),
            Outcome::Different(_) => self,
            Outcome::Unknown(_) => match other() {
                different @ Outcome::Different(_) => different,
                _ => self,
            },
        }
    }

    /// One of both is enough.
    pub(super) fn or(self, other: impl FnOnce() -> Outcome) -> Outcome {
        match self {
            Outcome::Same => self,
            Outcome::Different(_) => match other() {
                Outcome::Different(_) => self,
                found => found,
            },
            Outcome::Unknown(_) => match other() {
                Outcome::Same => Outcome::Same,
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

    pub(super) fn compare(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        if self.pairs == 0 {
            return Outcome::Unknown("out_of_fuel");
        }
        self.pairs -= 1;
        match (gold, given) {
            (Answer::Text(a), Answer::Text(b)) if a == b => Outcome::Same,
            (Answer::Choice(..), _) | (_, Answer::Choice(..)) => self.choices(gold, given),
            (Answer::Text(_), _) => Outcome::Unknown("gold_unreadable"),
            (_, Answer::Text(_)) => Outcome::Different("answer_unreadable"),
            (Answer::Truth(a), Answer::Truth(b)) => Outcome::when(a == b),
            (Answer::Truth(_), _) | (_, Answer::Truth(_)) => OTHER_KIND,
            (Answer::Value { .. }, Answer::Value { .. }) => self.values(gold, given),
            (Answer::Relation { .. }, _) | (_, Answer::Relation { .. }) => self.relations(gold, given),
            (Answer::Group { .. }, Answer::Group { .. }) => self.groups(gold, given),
            (Answer::Group { open: '{' | ',', items, .. }, one) if items.len() == 1 => {
                self.compare(&items[0], one)
            }
            (one, Answer::Group { open: '{' | ',', items, .. }) if items.len() == 1 => {
                self.compare(one, &items[0])
            }
            (Answer::Group { .. }, Answer::Value { .. }) | (Answer::Value { .. }, Answer::Group { .. }) => {
                OTHER_KIND
            }
        }
    }

    fn choices(&mut self, gold: &Answer, given: &Answer) -> Outcome {
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
                (Some(a), Some(b)) if self.compare(&a, &b) != Outcome::Same => NOT_DECIDED,
                _ => Outcome::Same,
            },
            _ => match (body_of(gold), body_of(given)) {
                (Some(a), Some(b)) => self.compare(&a, &b),
                // What the letter stands for is not known.
                _ => NOT_DECIDED,
            },
        }
    }

    fn values(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        let (Answer::Value { expr: a, percent: p, unit: u }, Answer::Value { expr: b, percent: q, unit: v }) =
            (gold, given)
        else {
            return OTHER_KIND;
        };
        let Some(factor) = units::quotient(u.as_ref(), v.as_ref()) else {
            return Outcome::Different("other_unit");
        };
        if let (Some(x), Some(y)) = (a.number(), b.number()) {
            let (x, y) = (Amount { value: x * factor, percent: *p }, Amount { value: y, percent: *q });
            return Outcome::when(x.is_same(&y) || (p == q && self.is_near(&(&x.value - &y.value))));
        }
        if let (Expr::Variable(x), Expr::Variable(y)) = (a, b)
            && x.len() == 1
            && x.eq_ignore_ascii_case(y)
        {
            return Outcome::Same;
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

    fn expressions(&mut self, gold: &Expr, given: &Expr) -> Outcome {
        let a = match self.algebra.normal(gold) {
            Err(Stop::Undefined) => return Outcome::Unknown("gold_unreadable"),
            other => other,
        };
        let b = match self.algebra.normal(given) {
            Err(Stop::Undefined) => return Outcome::Different("answer_unreadable"),
            other => other,
        };
        if gold == given {
            return Outcome::Same;
        }
        let (a, b) = match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(stop), _) | (_, Err(stop)) => {
                return field::compare(gold, given).map_or(unknown(stop), Outcome::when);
            }
        };
        let difference = match self.algebra.sub(&a, &b) {
            Ok(difference) => difference,
            Err(stop) => return unknown(stop),
        };
        let exact = match decide::is_zero(&difference, &mut self.algebra) {
            Ok(true) => return Outcome::Same,
            Ok(false) => WRONG,
            Err(Stop::Fuel) => {
                field::compare(gold, given).map_or(Outcome::Unknown("out_of_fuel"), Outcome::when)
            }
            Err(stop) => unknown(stop),
        };
        match self.tolerance() {
            Some(tolerance) if exact != Outcome::Same => {
                match decide::is_within(&difference, &tolerance, &mut self.algebra) {
                    Ok(true) => Outcome::Same,
                    Ok(false) => WRONG,
                    Err(_) => exact,
                }
            }
            _ => exact,
        }
    }

    fn groups(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        let (gold, given) = (column(gold), column(given));
        let (Answer::Group { open: a, close: c, items: x }, Answer::Group { open: b, close: d, items: y }) =
            (&gold, &given)
        else {
            return self.compare(&gold, &given);
        };
        match (a, b) {
            ('{' | ',', '{' | ',') | ('∪', '∪') => self.same_set(x, y),
            (':', ':') => self.ratios(x, y),
            ('-', '-') => self.in_order(x, y),
            ('(' | '[' | ',', '(' | '[' | ',') => {
                let interval = x.len() == 2
                    && [(a, c), (b, d)].iter().any(|(open, close)| **open == '[' || **close == ']');
                if interval && (a, c) != (b, d) { OTHER_KIND } else { self.in_order(x, y) }
            }
            _ => OTHER_KIND,
        }
    }

    pub(super) fn in_order(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        if gold.len() != given.len() {
            return WRONG;
        }
        gold.iter().zip(given).fold(Outcome::Same, |so_far, (a, b)| so_far.and(|| self.compare(a, b)))
    }

    fn same_set(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        let all_in = |judge: &mut Self, from: &[Answer], to: &[Answer], turned: bool| {
            from.iter().fold(Outcome::Same, |so_far, a| {
                so_far.and(|| {
                    to.iter().fold(WRONG, |found, b| {
                        found.or(|| if turned { judge.compare(b, a) } else { judge.compare(a, b) })
                    })
                })
            })
        };
        all_in(self, gold, given, false).and(|| all_in(self, given, gold, true))
    }

    /// `3:4` and `6:8` may be one ratio, and are two times of day.
    fn ratios(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        let written = self.in_order(gold, given);
        let numbers = |items: &[Answer]| -> Option<Vec<BigRational>> {
            items.iter().map(|i| i.expr()?.number()).collect()
        };
        if let (Outcome::Different(_), Some(x), Some(y)) = (written, numbers(gold), numbers(given))
            && x.len() == y.len()
            && x.iter().chain(&y).all(|n| !n.is_zero())
            && x.iter().zip(&y).all(|(p, q)| p * &y[0] == q * &x[0])
        {
            return NOT_DECIDED;
        }
        written
    }
}

pub(super) fn unknown(stop: Stop) -> Outcome {
    if stop == Stop::Fuel { Outcome::Unknown("out_of_fuel") } else { NOT_DECIDED }
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
