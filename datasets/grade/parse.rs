//! From tokens to an [`Answer`]: the forms that hold expressions, by splitting at signs outside of all
//! brackets; `forms` has those with brackets, and `value` reads what is left.

use num_rational::BigRational;

use super::bases::based;
use super::forms::{
    application, around_brackets, bracketed, has_either, plus_minus, reals_without, restated,
};
use super::lex::{Kind, Token, is, lex};
use super::limits::{MAX_DEPTH, Stop};
use super::names::{
    CEIL_CLOSE, CEIL_OPEN, FLOOR_CLOSE, FLOOR_OPEN, MATRIX_CLOSE, MATRIX_OPEN, SET_CLOSE, SET_OPEN,
};
use super::tree::{Answer, Expr, NAMED};
use super::value::{amounts, sum, value};

/// Reads an answer that is mathematics from end to end. `euler`: see [`lex`].
pub(super) fn parse(text: &str, euler: bool) -> Result<Answer, Stop> {
    let mut tokens = lex(text, euler)?;
    // Dollar signs in pairs are delimiters, a single one is a currency.
    if tokens.iter().filter(|t| t.kind == Kind::Sign('$')).count() % 2 == 0 {
        tokens.retain(|t| t.kind != Kind::Sign('$'));
    }
    times(&mut tokens);
    answer(&tokens, 0)
}

/// `3 x 4`, `1.5x10^3`: a letter x between two numbers multiplies them, unless it is a variable elsewhere.
fn times(tokens: &mut [Token]) {
    let is_x =
        |token: &Token| matches!(&token.kind, Kind::Variable(name) if matches!(name.as_str(), "x" | "X"));
    let number = |token: Option<&Token>| matches!(token, Some(Token { kind: Kind::Number(..), .. }));
    let places: Vec<usize> = (0..tokens.len()).filter(|at| is_x(&tokens[*at])).collect();
    let between = |at: &usize| *at > 0 && number(tokens.get(at - 1)) && number(tokens.get(at + 1));
    if places.iter().all(between) {
        for at in places {
            tokens[at].kind = Kind::Sign('*');
        }
    }
}

pub(super) fn is_open(kind: &Kind) -> bool {
    matches!(kind, Kind::Sign('(' | '[' | '{' | SET_OPEN | MATRIX_OPEN | FLOOR_OPEN | CEIL_OPEN))
}

pub(super) fn is_close(kind: &Kind) -> bool {
    matches!(kind, Kind::Sign(')' | ']' | '}' | SET_CLOSE | MATRIX_CLOSE | FLOOR_CLOSE | CEIL_CLOSE))
}

/// The parts between tokens of a kind outside of all brackets, and those tokens.
pub(super) fn split(tokens: &[Token], at: impl Fn(&Token) -> bool) -> (Vec<&[Token]>, Vec<&Token>) {
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
pub(super) fn enclosed(tokens: &[Token]) -> Option<(char, char, &[Token])> {
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

pub(super) fn is_separator(token: &Token) -> bool {
    match &token.kind {
        Kind::Sign(',' | ';') => true,
        Kind::Word(word) => matches!(word.as_str(), "and" | "or"),
        _ => false,
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(&token.kind, Kind::Word(text) if text == word)
}

pub(super) fn answer(tokens: &[Token], depth: usize) -> Result<Answer, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Fuel);
    }
    let (parts, signs) = split(tokens, is_separator);
    let parts: Vec<&[Token]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if let [] | [_] = parts.as_slice() {
        return parts.first().map_or(Err(Stop::Unreadable), |one| item(one, depth));
    }
    let either = signs.iter().any(|sign| is_word(sign, "or"));
    let both = signs.iter().any(|sign| is_word(sign, "and"));
    // `3 hours and 5 minutes`
    if !either && let Some(sum) = sum(&parts) {
        return Ok(sum);
    }
    let mut items = Vec::with_capacity(parts.len());
    for part in parts {
        match item(part, depth + 1)? {
            // `0, 1 ± 2` is a list of three.
            Answer::Group { open: '{', items: both, .. } if has_either(part) => items.extend(both),
            Answer::Relation { sides, signs } if has_either(part) && sides.len() == 2 => {
                let [name, value] = <[Answer; 2]>::try_from(sides).map_err(|_| Stop::Unreadable)?;
                match value {
                    Answer::Group { open: '{', items: both, .. } => {
                        items.extend(both.into_iter().map(|value| Answer::Relation {
                            sides: vec![name.clone(), value],
                            signs: signs.clone(),
                        }));
                    }
                    value => items.push(Answer::Relation { sides: vec![name, value], signs }),
                }
            }
            one => items.push(one),
        }
    }
    let close = match (either, both) {
        (true, _) => '∨',
        (_, true) => '∧',
        _ => ',',
    };
    Ok(Answer::group(',', close, items))
}

/// Words before an answer that say nothing of it.
const FILLERS: [&str; 12] = [
    "exactly",
    "only",
    "just",
    "precisely",
    "simply",
    "actually",
    "then",
    "indeed",
    "therefore",
    "thus",
    "hence",
    "clearly",
];

pub(super) fn item(tokens: &[Token], depth: usize) -> Result<Answer, Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Fuel);
    }
    if let Some(described) = described(tokens, depth) {
        return described;
    }
    if let Some(restated) = restated(tokens, depth) {
        return restated;
    }
    // `exactly 4 apples`
    if let [Token { kind: Kind::Word(word), .. }, rest @ ..] = tokens
        && FILLERS.contains(&word.as_str())
        && rest.first().is_some_and(|token| !matches!(token.kind, Kind::Word(_)))
    {
        return item(rest, depth + 1);
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
        split(tokens, |t| matches!(t.kind, Kind::Sign('=' | '≠' | '<' | '>' | '≤' | '≥' | '∈' | '≈')));
    if sides.len() > 1 {
        return relation(&sides, &signs, depth);
    }
    if has_either(tokens) {
        return plus_minus(tokens, depth);
    }
    match tokens {
        [Token { kind: Kind::Sign('∅'), .. }] => return Ok(Answer::group('{', '}', Vec::new())),
        [Token { kind: Kind::Sign('ℝ'), .. }] => return Ok(Answer::reals()),
        [real, without, rest @ ..]
            if real.kind == Kind::Sign('ℝ') && matches!(without.kind, Kind::Sign('∖' | '-')) =>
        {
            return reals_without(&item(rest, depth + 1)?).ok_or(Stop::Unreadable);
        }
        _ => {}
    }
    let forms = [bracketed, around_brackets];
    if let Some(read) = forms.into_iter().find_map(|form| form(tokens, depth)) {
        return read;
    }
    if let Some(based) = based(tokens) {
        return Ok(based);
    }
    if let Some(ratio) = ratio(tokens) {
        return ratio;
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
        return Ok(Answer::group('-', '-', [low, high].map(number).into()));
    }
    match sum(&amounts(tokens)) {
        Some(sum) => Ok(sum),
        None => value(tokens),
    }
}

fn number(value: &BigRational) -> Answer {
    Answer::value(Expr::Number(value.clone()))
}

/// `3:4`, `3 to 4`.
fn ratio(tokens: &[Token]) -> Option<Result<Answer, Stop>> {
    if let [a, to, b] = tokens
        && let (Kind::Number(over, _), Kind::Number(under, _)) = (&a.kind, &b.kind)
        && is_word(to, "to")
    {
        return Some(Ok(Answer::group(':', ':', vec![number(over), number(under)])));
    }
    let (parts, _) = split(tokens, |t| t.kind == Kind::Sign(':'));
    (parts.len() > 1)
        .then(|| Ok(Answer::group(':', ':', parts.into_iter().map(value).collect::<Result<_, _>>()?)))
}

/// What stands behind a colon: `Total: 72` names a value, `-2 ≤ n ≤ 4: [-2, 4]` says it twice.
fn described(tokens: &[Token], depth: usize) -> Option<Result<Answer, Stop>> {
    let colon = split(tokens, |t| t.kind == Kind::Sign(':')).0.first()?.len();
    let (before, behind) = (&tokens[..colon], tokens.get(colon + 1..)?);
    let words = before.iter().any(|t| matches!(&t.kind, Kind::Word(word) if word.len() > 1));
    if is_name(before) && words && !before.iter().any(|t| is_word(t, "to")) {
        return Some(item(behind, depth + 1).map(|item| item.named(&super::units::noun(before))));
    }
    let relation = before.iter().any(|t| matches!(t.kind, Kind::Sign('<' | '>' | '≤' | '≥')));
    let interval = is(behind.first(), '[') || is(behind.first(), '(');
    (relation && interval && enclosed(behind).is_some()).then(|| item(behind, depth + 1))
}

fn relation(sides: &[&[Token]], signs: &[&Token], depth: usize) -> Result<Answer, Stop> {
    let mut signs: Vec<char> =
        signs.iter().map(|t| if let Kind::Sign(c) = t.kind { c } else { '=' }).collect();
    let last = sides[sides.len() - 1];
    if signs.contains(&'∈') {
        return match last {
            _ if signs.len() > 1 => Err(Stop::Unreadable),
            [Token { kind: Kind::Variable(set), .. }] if set == "R" => Ok(Answer::reals()),
            _ => item(last, depth + 1),
        };
    }
    // `= 5`, `5 =`, `≈ 5`: a side that is not there.
    let mut read: Vec<Answer> = Vec::new();
    let mut name = String::new();
    for (i, side) in sides.iter().enumerate() {
        if side.is_empty()
            && (i == 0 || i + 1 == sides.len())
            && signs.len() == 1
            && matches!(signs[0], '=' | '≈')
        {
            return item(if i == 0 { last } else { sides[0] }, depth + 1);
        }
        if (i == 0 || i + 1 == sides.len())
            && let Some(application) = application(side)
        {
            read.push(application);
            continue;
        }
        match item(side, depth + 1) {
            // `Total cost = 18`: a name in words.
            Err(Stop::Unreadable) if i == 0 && matches!(signs[0], '=' | '≈') && is_name(side) => {
                signs.remove(0);
                name = super::units::noun(side) + NAMED;
            }
            // `P(X = 2) = 1/4`
            Err(Stop::Unreadable) if i == 0 && signs[0] == '=' && sides.len() == 2 && is_event(side) => {
                signs.remove(0);
                name = spelled(side) + NAMED;
            }
            side => read.push(side?),
        }
    }
    if signs.is_empty() {
        return read.pop().ok_or(Stop::Unreadable).map(|value| value.named(&name));
    }
    Ok(Answer::Relation { sides: read, signs })
}

/// `P(X = 2)`, `P(A | B)`.
fn is_event(tokens: &[Token]) -> bool {
    let [Token { kind: Kind::Variable(name), .. }, rest @ ..] = tokens else { return false };
    name == "P" && matches!(enclosed(rest), Some(('(', ')', _)))
}

/// Tokens as one word.
fn spelled(tokens: &[Token]) -> String {
    let mut text = String::new();
    for token in tokens {
        match &token.kind {
            Kind::Number(value, _) => text += &value.to_string(),
            Kind::Variable(name) | Kind::Word(name) => text += name,
            Kind::Name(name) => text += name,
            Kind::Sign(sign) => text.push(*sign),
            Kind::Other => text.push('?'),
        }
    }
    text
}

fn is_name(tokens: &[Token]) -> bool {
    !tokens.is_empty()
        && tokens
            .iter()
            .all(|t| matches!(t.kind, Kind::Word(_) | Kind::Variable(_) | Kind::Sign('(' | ')' | '\'')))
}
