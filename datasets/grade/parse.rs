//! From tokens to an [`Answer`]: first the forms that hold expressions, by splitting at signs outside of all
//! brackets; `expression` reads what is left.

use super::expression::Parser;
use super::lex::{Kind, Token, is, lex};
use super::limits::{MAX_DEPTH, Stop};
use super::names::{
    CEIL_CLOSE, CEIL_OPEN, FLOOR_CLOSE, FLOOR_OPEN, MATRIX_CLOSE, MATRIX_OPEN, ROW, SET_CLOSE, SET_OPEN,
};
use super::tree::{Answer, Expr};
use super::units::{self, SCALES, Unit};

/// Reads an answer that is mathematics from end to end.
pub(super) fn parse(text: &str) -> Result<Answer, Stop> {
    let mut tokens = lex(text)?;
    // Dollar signs in pairs are delimiters, a single one is a currency.
    if tokens.iter().filter(|t| t.kind == Kind::Sign('$')).count() % 2 == 0 {
        tokens.retain(|t| t.kind != Kind::Sign('$'));
    }
    answer(&tokens, 0)
}

fn is_open(kind: &Kind) -> bool {
    matches!(kind, Kind::Sign('(' | '[' | '{' | SET_OPEN | MATRIX_OPEN | FLOOR_OPEN | CEIL_OPEN))
}

fn is_close(kind: &Kind) -> bool {
    matches!(kind, Kind::Sign(')' | ']' | '}' | SET_CLOSE | MATRIX_CLOSE | FLOOR_CLOSE | CEIL_CLOSE))
}

/// The parts between tokens of a kind outside of all brackets, and those tokens.
fn split(tokens: &[Token], at: impl Fn(&Token) -> bool) -> (Vec<&[Token]>, Vec<&Token>) {
    let (mut parts, mut signs, mut start, mut depth) = (Vec::new(), Vec::new(), 0, 0_usize);
    for (i, token) in tokens.iter().enumerate() {
        if is_open(&token.kind) {
            depth += 1;
        } else if is_close(&token.kind) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && at(token) {
            parts.push(&tokens[start..i]);
            signs.push(token);
            start = i + 1;
        }
    }
    parts.push(&tokens[start..]);
    (parts, signs)
}

/// What stands between a bracket that opens the tokens and its partner that ends them.
fn enclosed(tokens: &[Token]) -> Option<(char, char, &[Token])> {
    let (Kind::Sign(open), Kind::Sign(close)) = (&tokens.first()?.kind, &tokens.last()?.kind) else {
        return None;
    };
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        depth += usize::from(is_open(&token.kind));
        if is_close(&token.kind) {
            depth = depth.checked_sub(1)?;
            if depth == 0 && i + 1 < tokens.len() {
                return None;
            }
        }
        if i == 0 && depth == 0 {
            return None;
        }
    }
    (depth == 0).then(|| (*open, *close, &tokens[1..tokens.len() - 1]))
}

fn is_separator(token: &Token) -> bool {
    match &token.kind {
        Kind::Sign(',' | ';') => true,
        Kind::Word(word) => matches!(word.as_str(), "and" | "or"),
        _ => false,
    }
}

fn answer(tokens: &[Token], depth: usize) -> Result<Answer, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Fuel);
    }
    let (parts, _) = split(tokens, is_separator);
    let parts: Vec<&[Token]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => Err(Stop::Unreadable),
        [one] => item(one, depth),
        _ => Ok(Answer::group(
            ',',
            ',',
            parts.iter().map(|part| item(part, depth + 1)).collect::<Result<_, _>>()?,
        )),
    }
}

fn item(tokens: &[Token], depth: usize) -> Result<Answer, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Fuel);
    }
    let (parts, _) = split(tokens, |t| t.kind == Kind::Sign('∪') || t.kind == Kind::Variable("U".into()));
    if parts.len() > 1 && parts.iter().all(|part| enclosed(part).is_some()) {
        return Ok(Answer::group(
            '∪',
            '∪',
            parts.into_iter().map(|part| item(part, depth + 1)).collect::<Result<_, _>>()?,
        ));
    }
    let (sides, signs) =
        split(tokens, |t| matches!(t.kind, Kind::Sign('=' | '≠' | '<' | '>' | '≤' | '≥' | '∈')));
    if sides.len() > 1 {
        return relation(&sides, &signs, depth);
    }
    let (terms, _) = split(tokens, |t| t.kind == Kind::Sign('±'));
    if terms.len() == 2 {
        return plus_minus(tokens, terms[0].len(), depth);
    }
    if let Some((open, close, inner)) = enclosed(tokens) {
        match (open, close) {
            (MATRIX_OPEN, MATRIX_CLOSE) => return matrix(inner, depth),
            (SET_OPEN, SET_CLOSE) => return group('{', '}', inner, depth),
            ('{', '}') if split(inner, is_separator).0.len() > 1 => return group('{', '}', inner, depth),
            ('{', '}') => return answer(inner, depth + 1),
            ('[', ']') => return group('[', ']', inner, depth),
            ('(' | '[', ')' | ']') if split(inner, is_separator).0.len() > 1 => {
                return group(open, close, inner, depth);
            }
            _ => {}
        }
    }
    if let [Token { kind: Kind::Sign('∅'), .. }] = tokens {
        return Ok(Answer::group('{', '}', Vec::new()));
    }
    let (parts, _) = split(tokens, |t| t.kind == Kind::Sign(':'));
    if parts.len() > 1 {
        return Ok(Answer::group(':', ':', parts.into_iter().map(value).collect::<Result<_, _>>()?));
    }
    if let [a, sign, b, rest @ ..] = tokens
        && let (Kind::Number(low, true), Kind::Sign('-'), Kind::Number(high, true)) =
            (&a.kind, &sign.kind, &b.kind)
        && low < high
        && !sign.spaced
        && !b.spaced
        && rest.iter().all(|t| matches!(t.kind, Kind::Word(_)))
    {
        // `18-20` is a range, or a difference that somebody left to the reader.
        return Ok(Answer::group(
            '-',
            '-',
            [low, high].map(|n| Answer::value(Expr::Number(n.clone()))).into(),
        ));
    }
    value(tokens)
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

fn relation(sides: &[&[Token]], signs: &[&Token], depth: usize) -> Result<Answer, Stop> {
    let mut signs: Vec<char> =
        signs.iter().map(|t| if let Kind::Sign(c) = t.kind { c } else { '=' }).collect();
    let last = sides[sides.len() - 1];
    if signs.contains(&'∈') {
        return if signs.len() == 1 { item(last, depth + 1) } else { Err(Stop::Unreadable) };
    }
    // `= 5`, `5 =`: a side that is not there.
    let mut read: Vec<Answer> = Vec::new();
    for (i, side) in sides.iter().enumerate() {
        if side.is_empty() && (i == 0 || i + 1 == sides.len()) && signs.len() == 1 && signs[0] == '=' {
            return item(if i == 0 { last } else { sides[0] }, depth + 1);
        }
        match item(side, depth + 1) {
            // `Total cost = 18`: a name in words.
            Err(Stop::Unreadable) if i == 0 && signs[0] == '=' && is_name(side) => {
                signs.remove(0);
            }
            side => read.push(side?),
        }
    }
    if signs.is_empty() {
        return read.pop().ok_or(Stop::Unreadable);
    }
    Ok(Answer::Relation { sides: read, signs })
}

fn is_name(tokens: &[Token]) -> bool {
    !tokens.is_empty()
        && tokens
            .iter()
            .all(|t| matches!(t.kind, Kind::Word(_) | Kind::Variable(_) | Kind::Sign('(' | ')' | '\'')))
}

/// `I like dogs`, `C major`: a letter with words behind it is one of them, and no variable.
fn is_word(tokens: &[Token]) -> bool {
    tokens.iter().all(|t| matches!(t.kind, Kind::Variable(_) | Kind::Sign('-')))
}

/// `a ± b` is the set of both.
fn plus_minus(tokens: &[Token], at: usize, depth: usize) -> Result<Answer, Stop> {
    let both = ['+', '-'].map(|sign| {
        let mut tokens = tokens.to_vec();
        tokens[at].kind = Kind::Sign(sign);
        item(&tokens, depth + 1)
    });
    let [plus, minus] = both;
    Ok(Answer::group('{', '}', vec![plus?, minus?]))
}

/// One expression with what may stand around it: currency, scale, percent sign, unit.
fn value(tokens: &[Token]) -> Result<Answer, Stop> {
    let mut rest: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut unit: Option<Unit> = None;
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
    let mut parser = Parser::new(&rest);
    let mut expr = parser.sum()?;
    while let Some(Kind::Word(word)) = parser.kind()
        && let Some((_, scale)) = SCALES.iter().find(|(name, _)| name == word)
    {
        expr = Expr::binary('*', expr, Expr::integer(*scale));
        parser.at += 1;
        if is(rest.get(parser.at), '%') {
            return Err(Stop::Unreadable);
        }
    }
    let (read, behind) = rest.split_at(parser.at);
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
    Ok(Answer::Value { expr, percent, unit: unit.or(measure) })
}
