//! Numbers in bases other than ten: `4343_6`, `2A_{16}`, `0xFF`.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;

use super::judge::{Equality, NOT_DECIDED, OTHER_KIND, WRONG};
use super::lex::{Kind, Token};
use super::names::TEXTS;
use super::tree::{Answer, Expr, expr_depends};

/// Most digits of a number that is read as a text.
const MAX_LENGTH: usize = 64;

/// `4343_6`, `(4343)_{6}`, `4343_{\text{six}}`, `4343 base 6`.
pub(super) fn based(tokens: &[Token]) -> Option<Answer> {
    let without = |open, close, tokens: &[Token]| -> Vec<Token> {
        tokens
            .iter()
            .filter(|t| !matches!(t.kind, Kind::Sign(c) if c == open || c == close))
            .cloned()
            .collect()
    };
    let bare = without('(', ')', &without('{', '}', tokens));
    let (number, base) = match bare.as_slice() {
        [number, sign, base] if sign.kind == Kind::Sign('_') => (number, base),
        [number, word, base] if word.kind == Kind::Word("base".into()) => (number, base),
        [number, inside, word, base]
            if word.kind == Kind::Word("base".into()) && inside.kind == Kind::Word("in".into()) =>
        {
            (number, base)
        }
        _ => return None,
    };
    let Kind::Number(number, true) = &number.kind else { return None };
    let base = match &base.kind {
        Kind::Number(base, true) => base.to_integer().to_u32()?,
        Kind::Word(word) => {
            const WORDS: [&str; 11] =
                ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
            WORDS.iter().position(|name| name == word)? as u32 + 2
        }
        _ => return None,
    };
    let digits = number.to_integer().to_string();
    if !(2..=36).contains(&base) {
        return None;
    }
    let value = BigInt::parse_bytes(digits.as_bytes(), base)?;
    Some(match base {
        10 => Answer::value(Expr::Number(BigRational::from_integer(value))),
        _ => Answer::Based(value, base),
    })
}

/// `0xFF`, and digits beyond 9 with their base: `2A_{16}`, `\text{2A}_{16}`. Letters alone are digits as
/// capitals only.
pub(super) fn lettered(text: &str) -> Option<Answer> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit()) && digits.len() <= MAX_LENGTH;
        return hexadecimal
            .then(|| BigInt::parse_bytes(digits.as_bytes(), 16))?
            .map(|n| Answer::Based(n, 16));
    }
    let (digits, base) = text.rsplit_once('_')?;
    let base = base.strip_prefix('{').and_then(|base| base.strip_suffix('}')).unwrap_or(base);
    let base: u32 = base.parse().ok().filter(|base| (11..=36).contains(base))?;
    let mut digits = digits.trim();
    for command in TEXTS {
        let inner = digits.strip_prefix('\\').and_then(|rest| rest.strip_prefix(command));
        digits = inner.filter(|inner| inner.starts_with('{')).unwrap_or(digits);
    }
    let bracketed = [('{', '}'), ('(', ')')]
        .into_iter()
        .find_map(|(open, close)| digits.strip_prefix(open)?.strip_suffix(close));
    let digits = bracketed.unwrap_or(digits).trim();
    let capitals = digits.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let fits = digits.len() <= MAX_LENGTH && digits.bytes().any(|b| b.is_ascii_alphabetic());
    if !fits || !(capitals || digits.starts_with(|c: char| c.is_ascii_digit())) {
        return None;
    }
    BigInt::parse_bytes(digits.as_bytes(), base).map(|value| Answer::Based(value, base))
}

/// Equal values in different bases are not the same answer, and no other one either; nor is a number without
/// a base that has the value or the digits.
pub(super) fn compare(gold: &Answer, given: &Answer) -> Equality {
    match (gold, given) {
        (Answer::Based(a, p), Answer::Based(b, q)) if p == q => Equality::when(a == b),
        (Answer::Based(a, _), Answer::Based(b, _)) => {
            if a == b {
                NOT_DECIDED
            } else {
                WRONG
            }
        }
        (Answer::Based(value, base), other) | (other, Answer::Based(value, base)) => {
            // `2A_{16}` may be a product of 2 and a variable.
            let lettered = matches!(other, Answer::Value { product: Some(_), .. });
            if lettered || other.expr().is_some_and(|expr| expr_depends(expr, None)) {
                return NOT_DECIDED;
            }
            let Some(number) = other.expr().and_then(Expr::number) else { return OTHER_KIND };
            let digits = number.is_integer() && number.to_integer().to_string() == value.to_str_radix(*base);
            if digits || number == BigRational::from_integer(value.clone()) { NOT_DECIDED } else { WRONG }
        }
        _ => OTHER_KIND,
    }
}
