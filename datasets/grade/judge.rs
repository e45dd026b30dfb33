//! Are two answers, as they were read, the same?

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::amount::Amount;
use super::poly::{Algebra, Generator, Poly};
use super::tree::{Answer, Expr};
use super::{Stop, decide, field, units};

/// Products of terms that one comparison may compute.
const FUEL: u64 = 20_000;
/// Pairs of items that one comparison may look at.
const MAX_PAIRS: u32 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Same,
    Different(&'static str),
    Unknown(&'static str),
}

const WRONG: Outcome = Outcome::Different("wrong-answer");
const OTHER_KIND: Outcome = Outcome::Different("other-kind");
const NOT_DECIDED: Outcome = Outcome::Unknown("not-decided");

impl Outcome {
    fn when(same: bool) -> Outcome {
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
    fn or(self, other: impl FnOnce() -> Outcome) -> Outcome {
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
    algebra: Algebra,
    pairs: u32,
}

impl Judge {
    pub(super) fn new(precision: Option<u32>) -> Judge {
        Judge { precision, algebra: Algebra { fuel: FUEL }, pairs: MAX_PAIRS }
    }

    pub(super) fn compare(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        if self.pairs == 0 {
            return Outcome::Unknown("out-of-fuel");
        }
        self.pairs -= 1;
        match (gold, given) {
            (Answer::Text(a), Answer::Text(b)) if a == b => Outcome::Same,
            (Answer::Choice(..), _) | (_, Answer::Choice(..)) => self.choices(gold, given),
            (Answer::Text(_), _) => Outcome::Unknown("gold-unreadable"),
            (_, Answer::Text(_)) => Outcome::Different("answer-unreadable"),
            (Answer::Truth(a), Answer::Truth(b)) => Outcome::when(a == b),
            (Answer::Truth(_), _) | (_, Answer::Truth(_)) => OTHER_KIND,
            (Answer::Value { .. }, Answer::Value { .. }) => self.values(gold, given),
            (Answer::Relation { .. }, _) | (_, Answer::Relation { .. }) => self.relations(gold, given),
            (Answer::Group { .. }, Answer::Group { .. }) => self.groups(gold, given),
            (Answer::Group { open: '{' | ',', items, .. }, one) if items.len() == 1 => self.compare(&items[0], one),
            (one, Answer::Group { open: '{' | ',', items, .. }) if items.len() == 1 => self.compare(one, &items[0]),
            (Answer::Group { .. }, Answer::Value { .. }) | (Answer::Value { .. }, Answer::Group { .. }) => OTHER_KIND,
        }
    }

    fn choices(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        let letter_of = |answer: &Answer| match answer {
            Answer::Choice(letter, _) => Some(*letter),
            Answer::Value { expr: Expr::Variable(name), .. } if name.len() == 1 => name.chars().next().map(|c| c.to_ascii_uppercase()),
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
        let (Answer::Value { expr: a, percent: p, unit: u }, Answer::Value { expr: b, percent: q, unit: v }) = (gold, given) else {
            return OTHER_KIND;
        };
        let Some(factor) = units::quotient(u.as_ref(), v.as_ref()) else { return Outcome::Different("other-unit") };
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
        if factor.is_one() { self.expressions(a, b) } else { self.expressions(&Expr::binary('*', a.clone(), Expr::Number(factor)), b) }
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
            Err(Stop::Undefined) => return Outcome::Unknown("gold-unreadable"),
            other => other,
        };
        let b = match self.algebra.normal(given) {
            Err(Stop::Undefined) => return Outcome::Different("answer-unreadable"),
            other => other,
        };
        if gold == given {
            return Outcome::Same;
        }
        let (a, b) = match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(stop), _) | (_, Err(stop)) => return field::compare(gold, given).map_or(unknown(stop), Outcome::when),
        };
        let difference = match self.algebra.sub(&a, &b) {
            Ok(difference) => difference,
            Err(stop) => return unknown(stop),
        };
        let exact = match decide::is_zero(&difference, &mut self.algebra) {
            Ok(true) => return Outcome::Same,
            Ok(false) => WRONG,
            Err(Stop::Fuel) => field::compare(gold, given).map_or(Outcome::Unknown("out-of-fuel"), Outcome::when),
            Err(stop) => unknown(stop),
        };
        match self.tolerance() {
            Some(tolerance) if exact != Outcome::Same => match decide::is_within(&difference, &tolerance, &mut self.algebra) {
                Ok(true) => Outcome::Same,
                Ok(false) => WRONG,
                Err(_) => exact,
            },
            _ => exact,
        }
    }

    fn groups(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        let (gold, given) = (column(gold), column(given));
        let (Answer::Group { open: a, close: c, items: x }, Answer::Group { open: b, close: d, items: y }) = (&gold, &given) else {
            return self.compare(&gold, &given);
        };
        match (a, b) {
            ('{' | ',', '{' | ',') | ('∪', '∪') => self.same_set(x, y),
            (':', ':') => self.ratios(x, y),
            ('-', '-') => self.in_order(x, y),
            ('(' | '[' | ',', '(' | '[' | ',') => {
                let interval = x.len() == 2 && [(a, c), (b, d)].iter().any(|(open, close)| **open == '[' || **close == ']');
                if interval && (a, c) != (b, d) { OTHER_KIND } else { self.in_order(x, y) }
            }
            _ => OTHER_KIND,
        }
    }

    fn in_order(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        if gold.len() != given.len() {
            return WRONG;
        }
        gold.iter().zip(given).fold(Outcome::Same, |so_far, (a, b)| so_far.and(|| self.compare(a, b)))
    }

    fn same_set(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        let all_in = |judge: &mut Self, from: &[Answer], to: &[Answer], turned: bool| {
            from.iter().fold(Outcome::Same, |so_far, a| {
                so_far.and(|| to.iter().fold(WRONG, |found, b| found.or(|| if turned { judge.compare(b, a) } else { judge.compare(a, b) })))
            })
        };
        all_in(self, gold, given, false).and(|| all_in(self, given, gold, true))
    }

    /// `3:4` and `6:8` may be one ratio, and are two times of day.
    fn ratios(&mut self, gold: &[Answer], given: &[Answer]) -> Outcome {
        let written = self.in_order(gold, given);
        let numbers = |items: &[Answer]| -> Option<Vec<BigRational>> { items.iter().map(|i| i.expr()?.number()).collect() };
        if let (Outcome::Different(_), Some(x), Some(y)) = (written, numbers(gold), numbers(given))
            && x.len() == y.len()
            && x.iter().chain(&y).all(|n| !n.is_zero())
            && x.iter().zip(&y).all(|(p, q)| p * &y[0] == q * &x[0])
        {
            return NOT_DECIDED;
        }
        written
    }

    fn relations(&mut self, gold: &Answer, given: &Answer) -> Outcome {
        if let (Some(a), Some(b)) = (interval(gold), interval(given)) {
            return match (&a.0, &b.0) {
                (Some(x), Some(y)) if x != y => NOT_DECIDED,
                _ => self.compare(&a.1, &b.1),
            };
        }
        match (gold, given) {
            (Answer::Relation { sides: x, signs: s }, Answer::Relation { sides: y, signs: t }) => {
                let named = |sides: &[Answer], signs: &[char]| match (sides, signs) {
                    ([name, value], ['=']) => Some((variable(name)?.to_owned(), value.clone())),
                    _ => None,
                };
                match (named(x, s), named(y, t)) {
                    (Some((a, p)), Some((b, q))) if a == b && !depends(&p, &a) && !depends(&q, &a) => self.compare(&p, &q),
                    _ => self.equations(x, s, y, t),
                }
            }
            (relation, other) | (other, relation) if matches!(relation, Answer::Relation { .. }) && interval(relation).is_none() => {
                let turned = std::ptr::eq(relation, given);
                match stated(relation) {
                    Some(value) if turned => self.compare(other, value),
                    Some(value) => self.compare(value, other),
                    None => OTHER_KIND,
                }
            }
            _ => OTHER_KIND,
        }
    }

    /// Two equations or inequalities: the same if one is the other times a constant.
    fn equations(&mut self, x: &[Answer], s: &[char], y: &[Answer], t: &[char]) -> Outcome {
        let ([a, b], [c, d], [p], [q]) = (x, y, s, t) else {
            return if s == t { self.in_order(x, y).or(|| NOT_DECIDED) } else { NOT_DECIDED };
        };
        let difference = |left: &Answer, right: &Answer| match (left.expr(), right.expr()) {
            (Some(left), Some(right)) => Some(Expr::binary('-', left.clone(), right.clone())),
            _ => None,
        };
        let (Some(first), Some(second)) = (difference(a, b), difference(c, d)) else {
            return if p == q { self.in_order(x, y) } else { OTHER_KIND };
        };
        match self.proportional(&first, &second) {
            Ok(Some(factor)) => {
                let turned = |sign: char| match sign {
                    '<' => '>',
                    '>' => '<',
                    '≤' => '≥',
                    '≥' => '≤',
                    other => other,
                };
                Outcome::when(*p == if factor.is_negative() { turned(*q) } else { *q })
            }
            Ok(None) if *p == '=' && *q == '=' => self.witness(&first, &second),
            Ok(None) => NOT_DECIDED,
            Err(stop) => unknown(stop),
        }
    }

    /// The rational factor between two expressions.
    fn proportional(&mut self, first: &Expr, second: &Expr) -> Result<Option<BigRational>, Stop> {
        let (a, b) = (self.algebra.normal(first)?, self.algebra.normal(second)?);
        let (Some((m, c)), Some(d)) = (a.0.last_key_value(), a.0.last_key_value().and_then(|(m, _)| b.0.get(m))) else {
            return Ok((a.is_zero() && b.is_zero()).then(BigRational::one));
        };
        debug_assert!(b.0.contains_key(m));
        let factor = c / d;
        let difference = self.algebra.sub(&a, &b.scaled(&factor))?;
        Ok(decide::is_zero(&difference, &mut self.algebra)?.then_some(factor))
    }

    /// A point where one equation holds and the other does not, on a line where one of them is linear.
    fn witness(&mut self, first: &Expr, second: &Expr) -> Outcome {
        let (Ok(a), Ok(b)) = (self.algebra.normal(first), self.algebra.normal(second)) else { return NOT_DECIDED };
        for (one, other) in [(&a, &b), (&b, &a)] {
            if self.has_witness(one, other).unwrap_or(false) {
                return WRONG;
            }
        }
        NOT_DECIDED
    }

    fn has_witness(&mut self, one: &Poly, other: &Poly) -> Result<bool, Stop> {
        let mut names: Vec<String> = Vec::new();
        for (generator, e) in one.0.keys().chain(other.0.keys()).flatten() {
            match generator {
                Generator::Variable(name) if e.is_positive() && e.is_integer() => names.push(name.clone()),
                _ => return Ok(false),
            }
        }
        names.sort();
        names.dedup();
        for solved in &names {
            // Fixed values for all variables but one, small so that powers stay small.
            let fix = |name: &str| names.iter().position(|n| n == name).map(|i| BigRational::new((7 + 4 * i as i64).into(), 3.into()));
            let [zero, one_, two] = [0, 1, 2].map(|value: i64| {
                substitute(one, &|name| if name == solved { Some(BigRational::from_integer(value.into())) } else { fix(name) })
            });
            let (Some(zero), Some(one_), Some(two)) = (zero, one_, two) else { return Ok(false) };
            let linear = one.0.keys().flatten().all(|(g, e)| *g != Generator::Variable(solved.clone()) || e.is_one());
            let slope = &one_ - &zero;
            if !linear || slope.is_zero() || &two - &one_ != slope {
                continue;
            }
            let root = -zero / slope;
            let value = substitute(other, &|name| if name == solved { Some(root.clone()) } else { fix(name) });
            if value.is_some_and(|value| !value.is_zero()) {
                return Ok(true);
            }
        }
        self.algebra.spend(1)?;
        Ok(false)
    }
}

fn unknown(stop: Stop) -> Outcome {
    if stop == Stop::Fuel { Outcome::Unknown("out-of-fuel") } else { NOT_DECIDED }
}

/// The value of a polynomial over the rationals with whole exponents up to 64.
fn substitute(poly: &Poly, value: &dyn Fn(&str) -> Option<BigRational>) -> Option<BigRational> {
    let mut sum = BigRational::zero();
    for (monomial, coefficient) in &poly.0 {
        let mut term = coefficient.clone();
        for (generator, e) in monomial {
            let Generator::Variable(name) = generator else { return None };
            let power = i32::try_from(*e.numer()).ok().filter(|p| e.is_integer() && (0..=64).contains(p))?;
            term *= value(name)?.pow(power);
        }
        sum += term;
    }
    Some(sum)
}

fn variable(answer: &Answer) -> Option<&str> {
    match answer.expr()? {
        Expr::Variable(name) if name != "∞" => Some(name),
        _ => None,
    }
}

fn expr_depends(expr: &Expr, on: Option<&str>) -> bool {
    match expr {
        Expr::Variable(name) => name != "∞" && on.is_none_or(|on| name == on),
        Expr::Number(_) | Expr::Pi | Expr::E | Expr::I => false,
        Expr::Negate(inner) | Expr::Percent(inner) => expr_depends(inner, on),
        Expr::Binary(_, left, right) => expr_depends(left, on) || expr_depends(right, on),
        Expr::Call(_, arguments) => arguments.iter().any(|a| expr_depends(a, on)),
    }
}

fn depends(answer: &Answer, on: &str) -> bool {
    match answer {
        Answer::Value { expr, .. } => expr_depends(expr, Some(on)),
        Answer::Relation { sides: items, .. } | Answer::Group { items, .. } => items.iter().any(|item| depends(item, on)),
        Answer::Choice(_, body) => body.as_deref().is_some_and(|body| depends(body, on)),
        Answer::Truth(_) | Answer::Text(_) => false,
    }
}

/// What a chain of equations states as the value: its last side if the first is a name (`x = …`, `f(x) = …`, `(x, y) = …`)
/// or a computation without variables; the first side if only the last is a name.
pub(super) fn stated(answer: &Answer) -> Option<&Answer> {
    let Answer::Relation { sides, signs } = answer else { return None };
    let (first, last) = (sides.first()?, sides.last()?);
    if signs.iter().any(|&sign| sign != '=') {
        return None;
    }
    let is_name = |answer: &Answer| match answer {
        Answer::Value { expr: Expr::Binary('*', f, x), .. } => {
            matches!((&**f, &**x), (Expr::Variable(_), Expr::Variable(_) | Expr::Number(_)))
        }
        Answer::Group { open: '(', items, .. } => items.iter().all(|item| variable(item).is_some()),
        other => variable(other).is_some(),
    };
    let own = |name: &Answer, value: &Answer| variable(name).is_some_and(|name| depends(value, name));
    let computes = |answer: &Answer| answer.expr().is_some_and(|expr| !expr_depends(expr, None));
    if (is_name(first) && !own(first, last)) || computes(first) && !is_name(last) {
        return Some(last);
    }
    (is_name(last) && !own(last, first)).then_some(first)
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

/// An interval, or inequalities that bound one variable (then with its name) by expressions without variables.
fn interval(answer: &Answer) -> Option<(Option<String>, Answer)> {
    let (sides, signs) = match answer {
        Answer::Group { open, close, items } if matches!((open, close), ('(' | '[', ')' | ']')) && items.len() == 2 => {
            return Some((None, answer.clone()));
        }
        Answer::Relation { sides, signs } => (sides, signs),
        _ => return None,
    };
    let infinity = || Expr::Variable("∞".into());
    let below = |sign: char| matches!(sign, '<' | '≤');
    let bracket = |sign: char, open: bool| match (matches!(sign, '≤' | '≥'), open) {
        (true, true) => '[',
        (true, false) => ']',
        (false, true) => '(',
        (false, false) => ')',
    };
    let fixed = |answer: &Answer| answer.expr().is_some_and(|expr| !expr_depends(expr, None));
    if signs.iter().any(|sign| !matches!(sign, '<' | '>' | '≤' | '≥')) {
        return None;
    }
    match (sides.as_slice(), signs.as_slice()) {
        ([a, b], [sign]) => {
            let (name, bound, upper) = match (variable(a), variable(b)) {
                (Some(name), None) if fixed(b) => (name, b, below(*sign)),
                (None, Some(name)) if fixed(a) => (name, a, !below(*sign)),
                _ => return None,
            };
            let interval = if upper {
                Answer::group('(', bracket(*sign, false), vec![Answer::value(Expr::Negate(Box::new(infinity()))), bound.clone()])
            } else {
                Answer::group(bracket(*sign, true), ')', vec![bound.clone(), Answer::value(infinity())])
            };
            Some((Some(name.to_owned()), interval))
        }
        ([a, middle, b], [s, t]) if below(*s) == below(*t) && fixed(a) && fixed(b) => {
            let name = variable(middle)?.to_owned();
            let (low, high, s, t) = if below(*s) { (a, b, *s, *t) } else { (b, a, *t, *s) };
            Some((Some(name), Answer::group(bracket(s, true), bracket(t, false), vec![low.clone(), high.clone()])))
        }
        _ => None,
    }
}
