//! Calculations that a text says: `48 + 24 = 72`.

use super::closing::{is_among, is_number, split_words};
use super::extract::is_readable;
use super::limits::MAX_BYTES;
use super::read::{Exponents, read};
use super::side::has_digit;
use super::tree::{Answer, Expr, expr_depends};

/// What the last calculation of a sentence comes to, whatever is said around it: `9 + 6 = 15 liters of the
/// 24`.
pub(super) fn computed(part: &str) -> Option<&str> {
    let (left, right) = part.rsplit_once('=')?;
    let left = ["=", ", ", ";", ":"].iter().fold(left, |left, end| left.rsplit(end).next().unwrap_or(left));
    let mut signs = left.match_indices(['+', '-', '−', '*', '/', '×', '÷', 'x']);
    if !signs.any(|(at, _)| has_digit(&left[..at]) && has_digit(&left[at..])) {
        return None;
    }
    let right = right.trim_start();
    let words: Vec<(usize, &str)> = split_words(right).collect();
    let behind = &right[words.first().filter(|first| is_number(first.1))?.1.len()..];
    if has_digit(behind) && split_words(behind).any(|(_, word)| is_among("and but", word)) {
        return None;
    }
    let more = words[1..].iter().take(2).take_while(|(_, word)| !is_number(word)).count();
    let value = |more: usize| {
        let end = words.get(1 + more).map_or(right.len(), |(at, _)| *at);
        right[..end].trim().trim_end_matches([',', ';', ':', '!', '.', '$'])
    };
    (0..=more).rev().map(value).find(|value| is_readable(value))
}

/// Of `48 + 24 = 72` the last side, of `x = 5` all.
pub(super) fn value_of(claim: &str) -> &str {
    let Some((_, value)) = claim.rsplit_once('=') else { return claim };
    let computed = read(claim, Exponents::AsWritten).is_ok_and(|answer| is_computed(&answer));
    if computed && is_readable(value) { value.trim() } else { claim }
}

/// `48 + 24 = 72`: an equation that begins with no name.
fn is_computed(answer: &Answer) -> bool {
    let Answer::Relation { sides, signs } = answer else { return false };
    let first = sides.first().and_then(Answer::expr);
    signs.iter().all(|sign| *sign == '=')
        && first.is_some_and(|expr| !expr_depends(expr, None) && *expr != Expr::E)
}

/// `48/2 = 24, 48 + 24 = 72`: several equations in a line, of which the last one says the answer.
pub(super) fn is_calculation(text: &str) -> bool {
    if text.matches('=').count() < 2 || text.len() > MAX_BYTES {
        return false;
    }
    let Ok(Answer::Group { open: ',', items, .. }) = read(text, Exponents::AsWritten) else { return false };
    items.iter().all(is_computed)
}
