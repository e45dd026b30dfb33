//! Forms of answers that hold expressions: sets by a condition, `±`, matrices, names of functions,
//! brackets with a factor before them or a unit behind them.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use super::expression::Parser;
use super::lex::{Kind, Token, is};
use super::limits::Stop;
use super::names::{MATRIX_OPEN, ROW, SET_CLOSE, SET_OPEN};
use super::parse::{answer, enclosed, is_close, is_open, is_separator, item, split};
use super::poly::Algebra;
use super::read::{FUEL, WORK, is_equal};
use super::tree::{Answer, Expr, expr_depends};
use super::units;

/// What stands between brackets, by the brackets.
pub(super) fn bracketed(tokens: &[Token], depth: usize) -> Option<Result<Answer, Stop>> {
    use super::names::MATRIX_CLOSE;
    let (open, close, inner) = enclosed(tokens)?;
    let several = || split(inner, is_separator).0.iter().filter(|part| !part.is_empty()).count() > 1;
    Some(match (open, close) {
        (MATRIX_OPEN, MATRIX_CLOSE) => matrix(inner, depth),
        // `\left[\begin{array}…\end{array}\right]`
        ('(' | '[', ')' | ']') if matches!(enclosed(inner), Some((MATRIX_OPEN, ..))) => {
            item(inner, depth + 1)
        }
        (SET_OPEN, SET_CLOSE) | ('{', '}') if condition(inner).is_some() => {
            answer(condition(inner)?, depth + 1)
        }
        (SET_OPEN, SET_CLOSE) => group('{', '}', inner, depth),
        ('{', '}') if several() => group('{', '}', inner, depth),
        ('{', '}') => answer(inner, depth + 1),
        ('[', ']') => group('[', ']', inner, depth),
        ('(' | '[', ')' | ']') if several() => group(open, close, inner, depth),
        _ => return None,
    })
}

fn group(open: char, close: char, inner: &[Token], depth: usize) -> Result<Answer, Stop> {
    let items = if inner.is_empty() {
        Vec::new()
    } else {
        split(inner, is_separator)
            .0
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| item(part, depth + 1))
            .collect::<Result<_, _>>()?
    };
    Ok(Answer::group(open, close, items))
}

fn matrix(inner: &[Token], depth: usize) -> Result<Answer, Stop> {
    let rows: Vec<Answer> = split(inner, |t| t.kind == Kind::Sign(ROW))
        .0
        .into_iter()
        .filter(|row| !row.is_empty())
        .map(|row| {
            let cells = split(row, |t| t.kind == Kind::Sign('&')).0;
            Ok(Answer::group(
                '(',
                ')',
                cells.into_iter().map(|cell| item(cell, depth + 1)).collect::<Result<_, _>>()?,
            ))
        })
        .collect::<Result<_, Stop>>()?;
    Ok(Answer::group('(', ')', rows))
}

/// The condition of `{x | x > 1}`, `{x ∈ ℝ : x > 1}`.
fn condition(inner: &[Token]) -> Option<&[Token]> {
    let bar = inner.iter().position(|t| matches!(t.kind, Kind::Sign('|' | ':')))?;
    let (name, condition) = (&inner[..bar], &inner[bar + 1..]);
    let real = |token: &Token| token.kind == Kind::Sign('ℝ') || token.kind == Kind::Variable("R".into());
    let named = match name {
        [x] => matches!(x.kind, Kind::Variable(_)),
        [x, of, set] => matches!(x.kind, Kind::Variable(_)) && of.kind == Kind::Sign('∈') && real(set),
        _ => false,
    };
    let relation = |t: &Token| matches!(t.kind, Kind::Sign('=' | '≠' | '<' | '>' | '≤' | '≥'));
    (named && condition.iter().any(relation)).then_some(condition)
}

fn is_either(token: &Token) -> bool {
    matches!(token.kind, Kind::Sign('±' | '∓'))
}

/// Whether a `±` stands anywhere.
pub(super) fn has_either(tokens: &[Token]) -> bool {
    tokens.iter().any(is_either)
}

/// `a ± b` is the set of both. With `∓` the signs go together, else each is chosen by itself.
pub(super) fn plus_minus(tokens: &[Token], depth: usize) -> Result<Answer, Stop> {
    let places: Vec<usize> = (0..tokens.len()).filter(|at| is_either(&tokens[*at])).collect();
    let together = tokens.iter().any(|t| t.kind == Kind::Sign('∓'));
    let free = if together { 1 } else { places.len() };
    if free > 3 {
        return Err(Stop::Unreadable);
    }
    let mut items = Vec::with_capacity(1 << free);
    for choice in 0..1_usize << free {
        let mut tokens = tokens.to_vec();
        for (i, at) in places.iter().enumerate() {
            let turned = tokens[*at].kind == Kind::Sign('∓');
            let minus = (choice >> if together { 0 } else { i }) & 1 == 1;
            tokens[*at].kind = Kind::Sign(if minus == turned { '+' } else { '-' });
        }
        items.push(item(&tokens, depth + 1)?);
    }
    Ok(Answer::group('{', '}', items))
}

/// A matrix or tuple with a number before it, or with a unit behind it: `\frac{1}{2}(1, 3)`,
/// `(1, 2)\text{ cm}`.
pub(super) fn around_brackets(tokens: &[Token], depth: usize) -> Option<Result<Answer, Stop>> {
    let start = tokens.iter().position(|t| is_open(&t.kind))?;
    if start == 0 {
        let mut open = 0_usize;
        let end = tokens.iter().position(|t| {
            open += usize::from(is_open(&t.kind));
            open -= usize::from(is_close(&t.kind)).min(open);
            open == 0
        })?;
        let (brackets, behind) = tokens.split_at(end + 1);
        let word = matches!(behind.first()?.kind, Kind::Word(_)) || units::is_unit_letter(behind.first()?);
        if !word || !units::may_follow(behind) {
            return None;
        }
        let read = bracketed(brackets, depth)?;
        return Some(read.map(|read| measured(read, behind)));
    }
    let (factor, brackets) = (0..tokens.len())
        .filter(|at| is_open(&tokens[*at].kind) && enclosed(&tokens[*at..]).is_some())
        .map(|at| tokens.split_at(at))
        .next()?;
    let of_matrix = brackets.iter().take(2).any(|t| t.kind == Kind::Sign(MATRIX_OPEN));
    let tuple =
        is(brackets.first(), '(') && split(&brackets[1..brackets.len() - 1], is_separator).0.len() > 1;
    if !of_matrix && !tuple {
        return None;
    }
    let factor = match factor {
        [rest @ .., last] if last.kind == Kind::Sign('*') => rest,
        all => all,
    };
    let factor = if let [Token { kind: Kind::Sign('-'), .. }] = factor {
        Expr::integer(-1)
    } else {
        let mut parser = Parser::new(factor, false);
        let expr = parser.sum().ok()?;
        if parser.at < factor.len() || tuple && expr_depends(&expr, None) {
            return None;
        }
        expr
    };
    let read = bracketed(brackets, depth)?;
    Some(read.map(|read| scaled(read, &factor)))
}

/// `60% (3/5)`, `3/5 (or 0.6)`: a value said in two ways.
pub(super) fn restated(tokens: &[Token], depth: usize) -> Option<Result<Answer, Stop>> {
    let percent = |tokens: &[Token]| tokens.last().is_some_and(|token| token.kind == Kind::Sign('%'));
    let open = (1..tokens.len()).rev().find(|at| is(tokens.get(*at), '('))?;
    let (before, brackets) = tokens.split_at(open);
    let ('(', ')', inner) = enclosed(brackets)? else { return None };
    let (sign, inner) = match inner {
        [Token { kind: Kind::Sign(sign @ ('=' | '≈')), .. }, rest @ ..] => (*sign, rest),
        [first, rest @ ..] if first.kind == Kind::Word("or".into()) => ('=', rest),
        all if tokens[open].spaced && (percent(before) || percent(inner)) => ('=', all),
        all if tokens[open].spaced => return beside(before, all, depth),
        _ => return None,
    };
    let both = item(before, depth + 1).and_then(|first| Ok([first, item(inner, depth + 1)?]));
    let fixed = |answer: &Answer| answer.expr().is_some_and(|expr| !expr_depends(expr, None));
    Some(match both {
        Ok(sides) if sides.iter().all(fixed) => {
            Ok(Answer::Relation { sides: sides.into(), signs: vec![sign] })
        }
        Ok(_) => Err(Stop::Unreadable),
        Err(stop) => Err(stop),
    })
}

/// `1/2 (0.5)`: a value behind a blank that equals the one before it is no factor. Where it is written in
/// the same way, is computed, or is near the one before it, it may be one.
fn beside(before: &[Token], inner: &[Token], depth: usize) -> Option<Result<Answer, Stop>> {
    let numeral = |tokens: &[Token]| {
        tokens
            .iter()
            .all(|t| matches!(t.kind, Kind::Number(..) | Kind::Name("frac") | Kind::Sign('/' | '{' | '}')))
    };
    if !before.iter().chain(inner).any(|t| matches!(t.kind, Kind::Number(..))) {
        return None;
    }
    let (first, second) = (item(before, depth + 1).ok()?, item(inner, depth + 1).ok()?);
    let mut algebra = Algebra::new(FUEL, WORK);
    if is_equal(&first, &second, &mut algebra) {
        let kinds = |tokens: &[Token]| tokens.iter().map(|t| t.kind.clone()).collect::<Vec<_>>();
        let sure = numeral(inner) && kinds(before) != kinds(inner) && enclosed(before).is_none();
        return Some(if sure { Ok(first) } else { Err(Stop::Unreadable) });
    }
    let fixed = first.expr().is_some_and(|expr| !expr_depends(expr, None));
    let surd = fixed && algebra.normal(first.expr()?).ok().is_some_and(|normal| normal.rational().is_none());
    let decimal = matches!(inner, [Token { kind: Kind::Number(value, false), .. }] if !value.is_integer());
    (surd && decimal).then_some(Err(Stop::Unreadable))
}

/// The unit on every value that has none.
fn measured(answer: Answer, behind: &[Token]) -> Answer {
    match answer {
        Answer::Group { open, close, items } => {
            let items = items.into_iter().map(|item| measured(item, behind)).collect();
            Answer::Group { open, close, items }
        }
        Answer::Value { expr, percent, unit: None, noun, product } => {
            let unit = units::measure(behind);
            Answer::Value { expr, percent, unit, noun, product }
        }
        other => other,
    }
}

fn scaled(answer: Answer, factor: &Expr) -> Answer {
    match answer {
        Answer::Group { open, close, items } => {
            Answer::Group { open, close, items: items.into_iter().map(|item| scaled(item, factor)).collect() }
        }
        Answer::Value { expr, percent, unit, noun, product } => {
            Answer::Value { expr: Expr::binary('*', factor.clone(), expr), percent, unit, noun, product }
        }
        other => other,
    }
}

/// `f(x)`, `f(3)`, `f^{-1}(x)`, `P(2, 3)` as the left side of an equation: no product. Arguments are other
/// variables, or hold none.
pub(super) fn application(tokens: &[Token]) -> Option<Answer> {
    let Kind::Variable(letter) = &tokens.first()?.kind else { return None };
    let inverse = [&['^', '{', '-', '1', '}'][..], &['^', '-', '1'][..]].into_iter().find(|signs| {
        tokens.len() > signs.len() + 1
            && signs.iter().zip(&tokens[1..]).all(|(sign, token)| match &token.kind {
                Kind::Sign(c) => c == sign,
                Kind::Number(n, true) => *sign == '1' && n.is_integer() && n.to_integer() == BigInt::from(1),
                _ => false,
            })
    });
    let rest = &tokens[1 + inverse.map_or(0, <[char]>::len)..];
    let ('(', ')', inner) = enclosed(rest)? else { return None };
    let argument = |part: &[Token]| {
        let mut parser = Parser::new(part, false);
        let expr = parser.sum().ok().filter(|_| parser.at == part.len())?;
        let fits = match &expr {
            Expr::Variable(name) => name != letter,
            expr => !expr_depends(expr, None),
        };
        fits.then_some(expr)
    };
    let arguments = split(inner, is_separator).0.into_iter().map(argument).collect::<Option<Vec<_>>>()?;
    let name = if inverse.is_some() { format!("{letter}^-1") } else { letter.clone() };
    Some(Answer::Application { name, arguments })
}

/// The reals without some numbers: `ℝ ∖ {1, 2}`.
pub(super) fn reals_without(points: &Answer) -> Option<Answer> {
    let Answer::Group { open: '{', items, .. } = points else { return None };
    let mut bounds: Vec<Expr> = items.iter().map(|item| item.expr().cloned()).collect::<Option<_>>()?;
    let sortable = bounds.iter().all(|bound| bound.number().is_some());
    if bounds.is_empty()
        || bounds.len() > 1 && !sortable
        || bounds.iter().any(|bound| expr_depends(bound, None))
    {
        return None;
    }
    bounds.sort_by_key(|bound| bound.number().unwrap_or_else(BigRational::zero));
    let infinity = || Expr::Variable("∞".into());
    let mut ends = vec![Expr::Negate(Box::new(infinity()))];
    ends.extend(bounds);
    ends.push(infinity());
    let spans = ends
        .windows(2)
        .map(|pair| Answer::group('(', ')', pair.iter().map(|end| Answer::value(end.clone())).collect()));
    Some(Answer::group('∪', '∪', spans.collect()))
}
