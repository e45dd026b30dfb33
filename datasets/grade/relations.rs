//! Equations, inequalities and intervals: what they state, and when two of them state the same.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::decide;
use super::forms::reals_without;
use super::judge::{Equality, Judge, NOT_DECIDED, OTHER_KIND, WRONG, unknown};
use super::limits::Stop;
use super::poly::{Generator, Poly};
use super::tree::{Answer, Expr, depends, expr_depends, stated, variable};

impl Judge {
    pub(super) fn relations(&mut self, gold: &Answer, given: &Answer) -> Equality {
        if let Some(rounded) = Rounded::of(gold) {
            return self.rounded(&rounded, |judge, part| judge.compare(part, given));
        }
        if let Some(rounded) = Rounded::of(given) {
            return self.rounded(&rounded, |judge, part| judge.compare(gold, part));
        }
        if let (Some(a), Some(b)) = (interval(gold), interval(given)) {
            return match (&a.0, &b.0) {
                (Some(x), Some(y)) if x != y => NOT_DECIDED,
                _ => self.compare(&a.1, &b.1),
            };
        }
        match (gold, given) {
            (Answer::Relation { sides: x, signs: s }, Answer::Relation { sides: y, signs: t }) => {
                match (named(x, s), named(y, t)) {
                    (Some((a, p)), Some((b, q))) => match (variable(a), variable(b)) {
                        (Some(a), Some(b)) if a == b && !depends(p, a) && !depends(q, a) => {
                            self.compare(p, q)
                        }
                        (Some(_), Some(_)) => self.equations(x, s, y, t),
                        _ => self.functions((a, p), (b, q)),
                    },
                    _ => self.equations(x, s, y, t),
                }
            }
            (Answer::Application { .. }, _) | (_, Answer::Application { .. }) => {
                if gold == given {
                    Equality::Same
                } else {
                    NOT_DECIDED
                }
            }
            (relation, other) | (other, relation)
                if matches!(relation, Answer::Relation { .. }) && interval(relation).is_none() =>
            {
                let turned = std::ptr::eq(relation, given);
                match stated(relation) {
                    Some(value) if turned => self.compare(other, value),
                    Some(value) => self.compare(value, other),
                    // `x^2 = 4` and {-2, 2}
                    None if matches!(other, Answer::Group { open: '{', .. }) => NOT_DECIDED,
                    None => self.quantity(relation, other, turned),
                }
            }
            _ => OTHER_KIND,
        }
    }

    /// `f(x) = x + 1` and `f(n) = n + 1`, or `y = x + 1`; `f(3) = 6` says nothing of `f(2)` or `y`.
    fn functions(&mut self, gold: (&Answer, &Answer), given: (&Answer, &Answer)) -> Equality {
        match (gold.0, given.0) {
            (
                Answer::Application { name: f, arguments: x },
                Answer::Application { name: g, arguments: y },
            ) if x.len() == y.len() => {
                let mut value = given.1.clone();
                for (a, b) in x.iter().zip(y) {
                    match (a, b) {
                        (Expr::Variable(x), Expr::Variable(y)) if x == y => {}
                        // `P(A) = 1/2` and `P(B) = 1/2`
                        (Expr::Variable(x), Expr::Variable(y))
                            if !depends(gold.1, x) && !depends(&value, y) =>
                        {
                            return NOT_DECIDED;
                        }
                        // `f(x) = x^2` and `f(y) = x^2`
                        (Expr::Variable(x), Expr::Variable(_)) if depends(&value, x) => return NOT_DECIDED,
                        (Expr::Variable(_), Expr::Variable(b)) => value = renamed(value, b, a),
                        _ => match self.expressions(a, b) {
                            Equality::Same => {}
                            other => return other,
                        },
                    }
                }
                match self.compare(gold.1, &value) {
                    Equality::Same if f != g => NOT_DECIDED,
                    found => found,
                }
            }
            (Answer::Application { arguments, .. }, name) | (name, Answer::Application { arguments, .. })
                if variable(name).is_some()
                    && arguments
                        .iter()
                        .all(|a| matches!(a, Expr::Variable(x) if Some(x.as_str()) != variable(name))) =>
            {
                self.compare(gold.1, given.1)
            }
            _ => NOT_DECIDED,
        }
    }

    /// `1/3 ≈ 0.33` is either of both, if they are near each other.
    fn rounded(&mut self, of: &Rounded, mut compare: impl FnMut(&mut Self, &Answer) -> Equality) -> Equality {
        let near = match (stated(&of.exact).unwrap_or(&of.exact).expr(), of.near.expr()) {
            (Some(Expr::Variable(_)), _) => return compare(self, &of.near),
            (Some(exact), Some(near)) => self.is_near_by(exact, near),
            _ => false,
        };
        if !near {
            return NOT_DECIDED;
        }
        let exact = compare(self, &of.exact);
        exact.or(|| compare(self, &of.near))
    }

    /// Is one within a tenth of the other?
    fn is_near_by(&mut self, exact: &Expr, near: &Expr) -> bool {
        let Some(bound) = near.number().map(|n| n.abs() / BigRational::from_integer(10.into())) else {
            return false;
        };
        let (Ok(a), Ok(b)) = (self.algebra.normal(exact), self.algebra.normal(near)) else { return false };
        let Ok(difference) = self.algebra.sub(&a, &b) else { return false };
        !decide::has_variable(&difference)
            && decide::is_within(&difference, &bound, &mut self.algebra) == Ok(true)
    }

    /// Two equations or inequalities: the same if one is the other times a constant.
    fn equations(&mut self, x: &[Answer], s: &[char], y: &[Answer], t: &[char]) -> Equality {
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
            Ok(Some(factor)) => Equality::when(*p == if factor.is_negative() { turned(*q) } else { *q }),
            Ok(None) if *p == '=' && *q == '=' => self.witness(&first, &second),
            Ok(None) => NOT_DECIDED,
            Err(stop) => unknown(stop),
        }
    }

    /// The rational factor between two expressions.
    fn proportional(&mut self, first: &Expr, second: &Expr) -> Result<Option<BigRational>, Stop> {
        let (a, b) = (self.algebra.normal(first)?, self.algebra.normal(second)?);
        let (Some((m, c)), Some(d)) =
            (a.0.last_key_value(), a.0.last_key_value().and_then(|(m, _)| b.0.get(m)))
        else {
            return Ok((a.is_zero() && b.is_zero()).then(BigRational::one));
        };
        debug_assert!(b.0.contains_key(m));
        let factor = c / d;
        let difference = self.algebra.sub(&a, &b.scaled(&factor))?;
        Ok(decide::is_zero(&difference, &mut self.algebra)?.then_some(factor))
    }

    /// A point where one equation holds and the other does not, on a line where one of them is linear.
    fn witness(&mut self, first: &Expr, second: &Expr) -> Equality {
        let (Ok(a), Ok(b)) = (self.algebra.normal(first), self.algebra.normal(second)) else {
            return NOT_DECIDED;
        };
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
            let fix = |name: &str| {
                names
                    .iter()
                    .position(|n| n == name)
                    .map(|i| BigRational::new((7 + 4 * i as i64).into(), 3.into()))
            };
            let [zero, one_, two] = [0, 1, 2].map(|value: i64| {
                substitute(one, &|name| {
                    if name == solved { Some(BigRational::from_integer(value.into())) } else { fix(name) }
                })
            });
            let (Some(zero), Some(one_), Some(two)) = (zero, one_, two) else { return Ok(false) };
            let linear =
                one.0.keys().flatten().all(|(g, e)| *g != Generator::Variable(solved.clone()) || e.is_one());
            let slope = &one_ - &zero;
            if !linear || slope.is_zero() || &two - &one_ != slope {
                continue;
            }
            let root = -zero / slope;
            let value =
                substitute(other, &|name| if name == solved { Some(root.clone()) } else { fix(name) });
            if value.is_some_and(|value| !value.is_zero()) {
                return Ok(true);
            }
        }
        self.algebra.spend(1)?;
        Ok(false)
    }
}

/// What stands before a last `≈`, and behind it.
struct Rounded {
    exact: Answer,
    near: Answer,
}

impl Rounded {
    fn of(answer: &Answer) -> Option<Rounded> {
        let Answer::Relation { sides, signs } = answer else { return None };
        let at = signs.iter().position(|sign| *sign == '≈')?;
        let exact = match at {
            0 => sides[0].clone(),
            _ => Answer::Relation { sides: sides[..=at].to_vec(), signs: signs[..at].to_vec() },
        };
        Some(Rounded { exact, near: sides.last()?.clone() })
    }
}

/// Name and value of `x = …` and `f(x) = …`.
fn named<'a>(sides: &'a [Answer], signs: &[char]) -> Option<(&'a Answer, &'a Answer)> {
    match (sides, signs) {
        ([name, value], ['='])
            if variable(name).is_some()
                || matches!(name, Answer::Application { name, .. } if !depends(value, name)) =>
        {
            Some((name, value))
        }
        _ => None,
    }
}

/// An answer with another variable in place of one.
pub(super) fn renamed(answer: Answer, from: &str, to: &Expr) -> Answer {
    fn expr(of: Expr, from: &str, to: &Expr) -> Expr {
        match of {
            Expr::Variable(name) if name == from => to.clone(),
            Expr::Negate(inner) => Expr::Negate(Box::new(expr(*inner, from, to))),
            Expr::Percent(inner) => Expr::Percent(Box::new(expr(*inner, from, to))),
            Expr::Binary(sign, a, b) => Expr::binary(sign, expr(*a, from, to), expr(*b, from, to)),
            Expr::Call(function, arguments) => {
                Expr::Call(function, arguments.into_iter().map(|a| expr(a, from, to)).collect())
            }
            other => other,
        }
    }
    match answer {
        Answer::Value { expr: of, percent, unit, noun, .. } => {
            Answer::Value { expr: expr(of, from, to), percent, unit, noun, product: None }
        }
        Answer::Group { open, close, items } => Answer::Group {
            open,
            close,
            items: items.into_iter().map(|item| renamed(item, from, to)).collect(),
        },
        Answer::Relation { sides, signs } => {
            Answer::Relation { sides: sides.into_iter().map(|side| renamed(side, from, to)).collect(), signs }
        }
        other => other,
    }
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

/// An interval, or inequalities that bound one variable (then with its name) by expressions without
/// variables.
pub(super) fn interval(answer: &Answer) -> Option<(Option<String>, Answer)> {
    let (sides, signs) = match answer {
        Answer::Group { open, close, items }
            if matches!((open, close), ('(' | '[', ')' | ']')) && items.len() == 2 =>
        {
            return Some((None, answer.clone()));
        }
        Answer::Group { open: '∪', .. } => return Some((None, answer.clone())),
        // `x < 1 or x > 3`
        Answer::Group { open: ',', close: '∨', items } => {
            let spans: Vec<(Option<String>, Answer)> = items.iter().map(interval).collect::<Option<_>>()?;
            let name = spans.first()?.0.clone()?;
            let same = spans.iter().all(|span| span.0.as_ref() == Some(&name));
            let spans = spans.into_iter().map(|span| span.1).collect();
            return same.then(|| (Some(name), Answer::group('∪', '∪', spans)));
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
    if let ([name, point], ['≠']) = (sides.as_slice(), signs.as_slice()) {
        let points = Answer::group('{', '}', vec![point.clone()]);
        return Some((Some(variable(name)?.to_owned()), reals_without(&points)?));
    }
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
                Answer::group(
                    '(',
                    bracket(*sign, false),
                    vec![Answer::value(Expr::Negate(Box::new(infinity()))), bound.clone()],
                )
            } else {
                Answer::group(bracket(*sign, true), ')', vec![bound.clone(), Answer::value(infinity())])
            };
            Some((Some(name.to_owned()), interval))
        }
        ([a, middle, b], [s, t]) if below(*s) == below(*t) && fixed(a) && fixed(b) => {
            let name = variable(middle)?.to_owned();
            let (low, high, s, t) = if below(*s) { (a, b, *s, *t) } else { (b, a, *t, *s) };
            Some((
                Some(name),
                Answer::group(bracket(s, true), bracket(t, false), vec![low.clone(), high.clone()]),
            ))
        }
        _ => None,
    }
}

/// The sign of a relation whose sides change places.
pub(super) fn turned(sign: char) -> char {
    match sign {
        '<' => '>',
        '>' => '<',
        '≤' => '≥',
        '≥' => '≤',
        other => other,
    }
}
