//! From tokens to one expression with what may stand around it: currency, scale, percent sign, unit, noun.

use num_rational::BigRational;
use num_traits::Zero;

use super::expression::Parser;
use super::lex::{Kind, Token, is};
use super::limits::Stop;
use super::tree::{Answer, Expr, Product, expr_depends};
use super::units::{self, Unit};

/// Reads a value. `5 m` is an amount and a product of two: both are kept, and what it is compared with
/// decides.
pub(super) fn value(tokens: &[Token]) -> Result<Answer, Stop> {
    let (rest, currency) = without_currency(tokens);
    let (amount, letter) = read(&rest, true);
    let Some(letter) = letter else { return amount.map(|value| with_unit(value, currency)) };
    let product = read(&rest, false).0;
    match (amount, product) {
        // `m^2 + 4 m^2` is no amount.
        (Ok(value), Ok(other)) if value.expr().is_none_or(|expr| expr_depends(expr, None)) => {
            Ok(with_unit(other, currency))
        }
        (Ok(mut value), Ok(other)) => {
            let usual = |token: &Token| match &token.kind {
                Kind::Variable(name) if token.upright => {
                    units::scale_letter(name).is_none_or(|_| name == "K")
                }
                Kind::Variable(name) => units::is_common(name),
                _ => true,
            };
            let apart = rest[letter].upright || rest[letter].spaced;
            let unlikely = apart && rest[letter..].iter().all(usual);
            if let (Answer::Value { product, .. }, Some(expr)) = (&mut value, other.expr()) {
                *product = Some(Box::new(Product { expr: expr.clone(), unlikely }));
            }
            Ok(with_unit(value, currency))
        }
        (Ok(value), Err(_)) | (Err(_), Ok(value)) => Ok(with_unit(value, currency)),
        (Err(stop), Err(_)) => Err(stop),
    }
}

fn with_unit(mut value: Answer, currency: Option<Unit>) -> Answer {
    if let (Answer::Value { unit, .. }, Some(currency)) = (&mut value, currency) {
        *unit = Some(currency);
    }
    value
}

/// The tokens without signs of currency before a number.
fn without_currency(tokens: &[Token]) -> (Vec<Token>, Option<Unit>) {
    let mut rest: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut unit = None;
    let end = tokens
        .iter()
        .position(|t| matches!(t.kind, Kind::Word(_)) && units::currency(t).is_none())
        .unwrap_or(tokens.len());
    for (i, token) in tokens.iter().enumerate() {
        let next_is_operand =
            tokens.get(i + 1).is_some_and(|t| !matches!(t.kind, Kind::Sign('+' | '*' | '/')));
        match units::currency(token) {
            Some(currency) if i < end && next_is_operand => unit = Some(currency),
            _ => rest.push(token.clone()),
        }
    }
    (rest, unit)
}

/// The value, with letters behind numbers as units or as variables, and the place of the letter that the
/// expression ends at as a unit.
fn read(tokens: &[Token], letters_are_units: bool) -> (Result<Answer, Stop>, Option<usize>) {
    let mut parser = Parser::new(tokens, letters_are_units);
    let expr = match parser.sum() {
        Ok(expr) => expr,
        Err(stop) => return (Err(stop), parser.unit_at),
    };
    let letter = parser.unit_at;
    (finish(tokens, parser, expr), letter)
}

fn finish(tokens: &[Token], mut parser: Parser, mut expr: Expr) -> Result<Answer, Stop> {
    while let Some(Kind::Word(word)) = parser.kind()
        && let Some(scale) = units::scale(word)
    {
        expr = Expr::binary('*', expr, Expr::integer(scale));
        parser.at += 1;
        if is(tokens.get(parser.at), '%') {
            return Err(Stop::Unreadable);
        }
    }
    let (read, behind) = tokens.split_at(parser.at);
    let measure = units::measure(behind);
    if !units::may_follow(behind) || (is_word(read) && measure.is_none() && !behind.is_empty()) {
        return Err(Stop::Unreadable);
    }
    let (expr, percent) = match expr {
        Expr::Percent(inner) => (*inner, true),
        Expr::Negate(inner) if matches!(*inner, Expr::Percent(_)) => match *inner {
            Expr::Percent(inner) => (Expr::Negate(inner), true),
            other => (Expr::Negate(Box::new(other)), false),
        },
        other => (other, false),
    };
    let noun = if measure.is_none() { units::noun(behind) } else { String::new() };
    Ok(Answer::Value { expr, percent, unit: measure, noun, product: None })
}

/// `I like dogs`, `C major`: a letter with words behind it is one of them, and no variable.
fn is_word(tokens: &[Token]) -> bool {
    tokens.iter().all(|t| matches!(t.kind, Kind::Variable(_) | Kind::Sign('-')))
}

/// Where a new amount begins: at a number behind a unit (`5 hours 30 minutes`, `5'6"`, `63° 45'`).
pub(super) fn amounts(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Sign('(' | '{' | '[') => depth += 1,
            Kind::Sign(')' | '}' | ']') => depth = depth.saturating_sub(1),
            Kind::Number(..) if depth == 0 && i > start => {
                let behind_unit = match &tokens[i - 1].kind {
                    Kind::Word(_) | Kind::Sign('°' | '\'' | '}') => true,
                    _ => units::is_unit_letter(&tokens[i - 1]),
                };
                if behind_unit {
                    parts.push(&tokens[start..i]);
                    start = i;
                }
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// The sum of amounts in different units of one dimension, in the first unit.
pub(super) fn sum(parts: &[&[Token]]) -> Option<Answer> {
    if !(2..=4).contains(&parts.len()) {
        return None;
    }
    let mut found: Vec<(BigRational, Unit)> = Vec::with_capacity(parts.len());
    for part in parts {
        let of_degrees = found.first().is_some_and(|(_, unit)| unit.dimensions[0].0 == "degree");
        let (number, unit) = amount(part, of_degrees)?;
        let single = unit.dimensions.len() == 1 && unit.dimensions[0].1 == 1;
        let fits =
            found.iter().all(|(_, other)| other.dimensions == unit.dimensions && other.size != unit.size);
        if !single || !fits {
            return None;
        }
        found.push((number, unit));
    }
    let first = found[0].1.clone();
    let mut sum = BigRational::zero();
    for (number, unit) in found {
        sum += number * unit.size / &first.size;
    }
    let (expr, noun) = (Expr::Number(sum), String::new());
    Some(Answer::Value { expr, percent: false, unit: Some(first), noun, product: None })
}

/// A number and its unit. Behind degrees `'` and `"` are minutes and seconds, else feet and inches.
fn amount(tokens: &[Token], of_degrees: bool) -> Option<(BigRational, Unit)> {
    let mark =
        |from_end: usize, sign| tokens.len() > from_end && is(tokens.get(tokens.len() - 1 - from_end), sign);
    let (length, seconds) = match (mark(0, '"'), mark(0, '\''), mark(1, '\'')) {
        (true, ..) => (1, true),
        (_, true, true) => (2, true),
        (_, true, _) => (1, false),
        _ => (0, false),
    };
    let Answer::Value { expr, percent: false, unit, .. } = value(&tokens[..tokens.len() - length]).ok()?
    else {
        return None;
    };
    let number = expr.number().filter(|number| *number >= BigRational::zero())?;
    let marked = match (length > 0, of_degrees, seconds) {
        (false, ..) => return Some((number, unit?)),
        (_, true, false) => Unit { size: BigRational::new(1.into(), 60.into()), ..Unit::named("°")? },
        (_, true, true) => Unit { size: BigRational::new(1.into(), 3600.into()), ..Unit::named("°")? },
        (_, false, false) => Unit::named("foot")?,
        (_, false, true) => Unit::named("inch")?,
    };
    unit.is_none().then_some((number, marked))
}
