//! Sets of reals in any of their forms: intervals, unions, bounds on one variable joined by `and`, `or` or
//! commas, points left out. Ends are rational or infinite.

use num_rational::BigRational;
use num_traits::{Signed, Zero};

use super::forms::reals_without;
use super::judge::{Equality, NOT_DECIDED};
use super::relations::{interval, turned};
use super::tree::{Answer, Expr, Function, expr_depends, variable};

/// Most spans of one set.
const MAX_SPANS: usize = 64;

/// An end: `None` is infinite; the flag says that the end itself belongs to the span.
type End = (Option<BigRational>, bool);

#[derive(Clone, Debug, PartialEq)]
struct Span {
    low: End,
    high: End,
}

/// Disjoint spans in their order, with a gap between any two.
type Set = Vec<Span>;

/// What an answer says as a set of reals.
struct Reading {
    /// The variable, if one is named.
    name: Option<String>,
    set: Set,
    /// What it may mean as well.
    other: Option<Set>,
    sure: bool,
}

/// Two answers of which one at least is no plain interval or list: as sets of reals, they may be the same
/// where their forms differ (`x ≥ 1 and x ≤ 3`, `[1, 3]`), and may differ where their parts are the same.
pub(super) fn reconsider(found: Equality, gold: &Answer, given: &Answer) -> Equality {
    let compound = |answer: &Answer| match answer {
        Answer::Relation { signs, .. } => signs.iter().all(|sign| *sign != '=' && *sign != '≈'),
        Answer::Group { open: '∪', .. } => true,
        Answer::Group { open: ',' | '{', items, .. } => {
            items.iter().any(|i| matches!(i, Answer::Relation { .. }) || is_interval(i))
        }
        _ => false,
    };
    if !compound(gold) && !compound(given) {
        return found;
    }
    if found == Equality::Same {
        return if joined_apart(gold, given) { NOT_DECIDED } else { found };
    }
    let (Some(a), Some(b)) = (Reading::of(gold), Reading::of(given)) else { return found };
    let named_apart = a.name.is_some() && b.name.is_some() && a.name != b.name;
    if a.set == b.set {
        return if a.sure && b.sure && !named_apart { Equality::Same } else { NOT_DECIDED };
    }
    let either = |one: &Reading, set: &Set| one.other.as_ref() == Some(set);
    let both = a.other.is_some() && a.other == b.other;
    if either(&a, &b.set) || either(&b, &a.set) || both { NOT_DECIDED } else { found }
}

fn is_interval(answer: &Answer) -> bool {
    matches!(answer, Answer::Group { open: '(' | '[', items, .. } if items.len() == 2)
}

/// Whether `and` joins the parts of one answer and `or` those of the other, where that makes a difference:
/// the roots `x = 1 and x = 2` are `x = 1 or x = 2`.
fn joined_apart(gold: &Answer, given: &Answer) -> bool {
    let (Answer::Group { close: a, items: x, .. }, Answer::Group { close: b, items: y, .. }) = (gold, given)
    else {
        return false;
    };
    let roots = |items: &[Answer]| {
        let name = |item: &Answer| match item {
            Answer::Relation { sides, signs } if signs[..] == ['='] => variable(&sides[0]).map(str::to_owned),
            _ => None,
        };
        let first = items.first().and_then(name);
        let relations = items.iter().any(|item| matches!(item, Answer::Relation { .. }));
        !relations || first.is_some() && items.iter().all(|item| name(item) == first)
    };
    matches!((a, b), ('∧', '∨') | ('∨', '∧')) && !(roots(x) && roots(y))
}

impl Reading {
    fn sure(name: Option<String>, set: Set) -> Reading {
        Reading { name, set, other: None, sure: true }
    }

    fn of(answer: &Answer) -> Option<Reading> {
        match answer {
            Answer::Group { open: '∪', items, .. } => {
                let parts = items.iter().map(Reading::of).collect::<Option<Vec<_>>>()?;
                let sure = parts.iter().all(|part| part.sure);
                let set = union(parts.into_iter().flat_map(|part| part.set).collect())?;
                Some(Reading { name: None, set, other: None, sure })
            }
            Answer::Group { open: '(' | '[', items, .. } if items.len() == 2 => {
                Some(Reading::sure(None, span_of(answer)?))
            }
            Answer::Group { open: '{', items, .. } if items.iter().all(|i| number(i).is_some()) => {
                let points = items.iter().filter_map(number).map(|n| point(&n)).collect();
                Some(Reading::sure(None, union(points)?))
            }
            Answer::Group { open: open @ (',' | '{'), close, items } => Reading::list(*open, *close, items),
            Answer::Relation { sides, signs } => Reading::relation(answer, sides, signs),
            _ => None,
        }
    }

    fn relation(answer: &Answer, sides: &[Answer], signs: &[char]) -> Option<Reading> {
        if let ([name, points], ['≠']) = (sides, signs) {
            let set = match points {
                Answer::Group { open: '{', .. } => points.clone(),
                one => Answer::group('{', '}', vec![one.clone()]),
            };
            let without = Reading::of(&reals_without(&set)?)?;
            return Some(Reading::sure(Some(variable(name)?.to_owned()), without.set));
        }
        if let Some((name, span)) = interval(answer) {
            return Some(Reading { name, ..Reading::of(&span)? });
        }
        if let ([a, b], [sign]) = (sides, signs) {
            return absolute(a, b, *sign).or_else(|| absolute(b, a, turned(*sign)));
        }
        // `-1 ≤ f(x) ≤ 1` may describe the range.
        let ([low, middle, high], [_, _]) = (sides, signs) else { return None };
        let named = Answer::Relation {
            sides: vec![low.clone(), Answer::value(Expr::Variable("x".into())), high.clone()],
            signs: signs.to_vec(),
        };
        let (_, span) = middle.expr().filter(|m| expr_depends(m, None)).and_then(|_| interval(&named))?;
        Some(Reading { name: None, sure: false, ..Reading::of(&span)? })
    }

    /// `x ≥ 1 and x ≤ 3`, `x < 1 or x > 3`, `x ≠ 1, 2`, `x < 1, x ≠ 0`. What a comma means is clear where the
    /// parts have nothing in common, or are all reals together.
    fn list(open: char, close: char, items: &[Answer]) -> Option<Reading> {
        let mut name = None;
        let mut parts: Vec<(Set, bool)> = Vec::with_capacity(items.len());
        let mut excludes = false;
        for item in items {
            // `x ≠ 1, 2`
            if let Some(value) = number(item).filter(|_| excludes) {
                let points = Answer::group('{', '}', vec![Answer::value(Expr::Number(value))]);
                parts.push((Reading::of(&reals_without(&points)?)?.set, true));
                continue;
            }
            excludes = matches!(item, Answer::Relation { signs, .. } if signs[..] == ['≠']);
            let part = Reading::of(item)?;
            if name.is_some() && part.name.is_some() && part.name != name {
                return None;
            }
            name = name.or(part.name);
            parts.push((part.set, part.sure));
        }
        let certain = parts.iter().all(|part| part.1);
        let all = |set: &Set| matches!(&set[..], [Span { low: (None, _), high: (None, _) }]);
        let bounds: Vec<Set> = parts.iter().map(|part| part.0.clone()).filter(|set| !all(set)).collect();
        let whole = vec![Span { low: (None, false), high: (None, false) }];
        let both = bounds.iter().try_fold(whole, |so_far, set| intersection(&so_far, set))?;
        let either = union(parts.into_iter().flat_map(|part| part.0).collect())?;
        let relations = items.iter().any(|item| matches!(item, Answer::Relation { .. }));
        let (set, other, sure) = match close {
            '∨' => (either, None, true),
            // `(0, 1), (1, 2)`
            _ if !relations => (either, None, false),
            _ if bounds.len() < 2 => (both, None, true),
            '∧' if both.is_empty() => (both, Some(either), false),
            '∧' => (both, None, true),
            _ if both.is_empty() => (either, None, open == ','),
            _ if all(&either) => (both, None, true),
            _ => (both, Some(either), false),
        };
        Some(Reading { name, set, other, sure: sure && certain })
    }
}

/// `|x| ≤ 1`, `|x - 2| > 3`.
fn absolute(left: &Answer, right: &Answer, sign: char) -> Option<Reading> {
    let Expr::Call(Function::Abs, inner) = left.expr()? else { return None };
    let bound = number(right).filter(|bound| bound.is_positive())?;
    let (name, center) = match &inner[..] {
        [Expr::Variable(name)] => (name, BigRational::zero()),
        [Expr::Binary(sign @ ('+' | '-'), x, shift)] => {
            let Expr::Variable(name) = &**x else { return None };
            let shift = shift.number()?;
            (name, if *sign == '-' { shift } else { -shift })
        }
        _ => return None,
    };
    let closed = matches!(sign, '≤' | '≥');
    let (low, high) = (Some(&center - &bound), Some(center + bound));
    let set = match sign {
        '<' | '≤' => vec![Span { low: (low, closed), high: (high, closed) }],
        '>' | '≥' => vec![
            Span { low: (None, false), high: (low, closed) },
            Span { low: (high, closed), high: (None, false) },
        ],
        _ => return None,
    };
    // Whoever asks for bounds may not take an equation for them.
    Some(Reading { name: Some(name.clone()), set, other: None, sure: false })
}

fn number(answer: &Answer) -> Option<BigRational> {
    match answer {
        Answer::Value { expr, percent: false, .. } => expr.number(),
        _ => None,
    }
}

fn point(value: &BigRational) -> Span {
    Span { low: (Some(value.clone()), true), high: (Some(value.clone()), true) }
}

/// The span between two brackets, empty if its ends are the wrong way round.
fn span_of(answer: &Answer) -> Option<Set> {
    let Answer::Group { open, close, items } = answer else { return None };
    let end = |answer: &Answer, below: bool| -> Option<Option<BigRational>> {
        let expr = answer.expr()?;
        let infinite = |expr: &Expr| matches!(expr, Expr::Variable(name) if name == "∞");
        match expr {
            Expr::Negate(inner) if below && infinite(inner) => Some(None),
            expr if !below && infinite(expr) => Some(None),
            expr => expr.number().map(Some),
        }
    };
    let (low, high) = (end(&items[0], true)?, end(&items[1], false)?);
    let (low, high) = ((low, *open == '['), (high, *close == ']'));
    let low = if low.0.is_none() { (None, false) } else { low };
    let high = if high.0.is_none() { (None, false) } else { high };
    union(vec![Span { low, high }])
}

fn is_empty(span: &Span) -> bool {
    match (&span.low, &span.high) {
        ((Some(low), a), (Some(high), b)) => low > high || low == high && !(*a && *b),
        _ => false,
    }
}

/// Low ends in their order: where they are equal, a closed one is first.
fn low_key(end: &End) -> (bool, Option<BigRational>, bool) {
    (end.0.is_some(), end.0.clone(), !end.1)
}

/// High ends in their order: where they are equal, a closed one is last.
fn high_key(end: &End) -> (bool, Option<BigRational>, bool) {
    (end.0.is_none(), end.0.clone(), end.1)
}

/// `None`: more spans than one comparison may look at.
fn union(mut spans: Vec<Span>) -> Option<Set> {
    if spans.len() > MAX_SPANS {
        return None;
    }
    spans.retain(|span| !is_empty(span));
    spans.sort_by_cached_key(|span| low_key(&span.low));
    let mut set: Set = Vec::with_capacity(spans.len());
    for span in spans {
        match set.last_mut() {
            Some(last) if touches(&last.high, &span.low) => {
                if high_key(&span.high) > high_key(&last.high) {
                    last.high = span.high;
                }
            }
            _ => set.push(span),
        }
    }
    Some(set)
}

/// Whether nothing lies between a high end and a low end behind it.
fn touches(high: &End, low: &End) -> bool {
    match (&high.0, &low.0) {
        (Some(a), Some(b)) => a > b || a == b && (high.1 || low.1),
        _ => true,
    }
}

fn intersection(a: &Set, b: &Set) -> Option<Set> {
    let mut spans = Vec::new();
    for x in a {
        for y in b {
            let low = if low_key(&x.low) >= low_key(&y.low) { &x.low } else { &y.low };
            let high = if high_key(&x.high) <= high_key(&y.high) { &x.high } else { &y.high };
            spans.push(Span { low: low.clone(), high: high.clone() });
        }
    }
    spans.retain(|span| !is_empty(span));
    union(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ends: &[(i64, bool, i64, bool)]) -> Set {
        let end = |n: i64, closed| (Some(BigRational::from_integer(n.into())), closed);
        union(ends.iter().map(|(a, p, b, q)| Span { low: end(*a, *p), high: end(*b, *q) }).collect()).unwrap()
    }

    #[test]
    fn spans_that_touch_are_one() {
        assert_eq!(set(&[(2, false, 3, true), (1, true, 2, true)]), set(&[(1, true, 3, true)]));
        assert_eq!(set(&[(1, true, 2, false), (2, false, 3, true)]).len(), 2);
        assert_eq!(set(&[(1, false, 5, false), (2, true, 3, true)]), set(&[(1, false, 5, false)]));
        assert!(set(&[(2, true, 2, false), (3, true, 1, true)]).is_empty());
    }

    #[test]
    fn common_parts() {
        let common =
            intersection(&set(&[(1, true, 3, true), (5, false, 7, true)]), &set(&[(3, true, 6, false)]));
        assert_eq!(common, Some(set(&[(3, true, 3, true), (5, false, 6, false)])));
    }
}
