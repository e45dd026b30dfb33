//! Sentences with several numbers: which of them is the answer, if anybody can tell.

use super::closing::{LEADS, VERBS, is_among, is_number};
use super::side::has_digit;

/// Whether a sentence gives two things a number each: `Alice has 3 apples, Bob has 12`. The word before the
/// numbers is the same, and neither is a total.
pub(super) fn is_parallel(sentence: &str) -> bool {
    let parts: Vec<&str> = ["; ", ", and ", ", ", " and "]
        .iter()
        .find(|sign| sentence.split(**sign).filter(|part| has_digit(part)).count() > 1)
        .map_or_else(Vec::new, |sign| sentence.split(*sign).collect());
    let [.., before, last] = &parts[..] else { return false };
    let verb = |part: &str| -> Option<(String, String)> {
        let words: Vec<&str> = part.split_whitespace().collect();
        let at = words.iter().position(|word| is_number(word)).filter(|at| *at > 1)?;
        let one = words.iter().filter(|word| is_number(word)).count() == 1;
        let verb = words[at - 1].to_lowercase();
        let verb = verb.trim_end_matches(['$', '(', '\\']);
        (one && verb.len() > 1 && verb.chars().all(char::is_alphabetic))
            .then(|| (words[at - 2].to_lowercase(), verb.to_owned()))
    };
    // A premise and what follows from it.
    let first = |part: &str| part.split_whitespace().next().unwrap_or("").to_lowercase();
    if is_among("since as because given knowing when if while", &first(before))
        || is_among("so thus hence therefore which that meaning", &first(last))
    {
        return false;
    }
    let whole = "total altogether all combined left remaining sum together she he they it so now then";
    match (verb(before), verb(last)) {
        (Some((one, a)), Some((other, b))) => {
            let same = a == b && one != other && !is_among("of to by for in than the from", &a);
            same && !is_among(whole, &other) && !last.split_whitespace().any(|word| is_among(whole, word))
        }
        _ => false,
    }
}

/// The first number of the clause that ends in words `first..`, if there is one before these; also where two
/// clauses that are joined by `and` each have a number.
pub(super) fn uncovered(words: &[(usize, &str)], first: usize) -> Option<usize> {
    let breaks = |word: &str| {
        word.ends_with([',', ';', ':'])
            || word.contains('=')
            || is_among(VERBS, word)
            || is_among(LEADS, word)
    };
    let mut start = (0..first).rev().find(|at| breaks(words[*at].1)).map_or(0, |at| at + 1);
    // All of `: 1, 2, 3`.
    while start > 1
        && is_number(words[first].1)
        && words[start - 1].1.ends_with(',')
        && is_number(words[start - 1].1)
    {
        start -= 1;
    }
    let listed = start > 0 && words[start - 1].1.ends_with(':');
    if let Some(at) = (start..first).find(|at| is_number(words[*at].1)).filter(|_| !listed) {
        return Some(at);
    }
    let number = |at: &usize| is_number(words[*at].1);
    if start > 0 && words[start - 1].1.ends_with(':') && (start..=first).filter(number).count() > 1 {
        return (0..start).find(number);
    }
    let verb = start.checked_sub(1).filter(|at| is_among(VERBS, words[*at].1))?;
    let comma = (0..verb).rev().find(|at| words[*at].1.ends_with([',', ';', ':'])).map_or(0, |at| at + 1);
    let joined = (comma..verb).rev().find(|at| is_among("and but", words[*at].1))?;
    let other = (comma..joined).find(|at| is_number(words[*at].1))?;
    (comma..joined)
        .any(|at| {
            is_among("is are was were has have had gets get costs pays", words[at].1)
                || words[at].1.contains('=')
        })
        .then_some(other)
}

/// Where words begin that say of what the number at `from` is, with a number that was given: `10 chapters
/// over the 5 days`, `10 chapters in 5 days`.
pub(super) fn given(words: &[(usize, &str)], from: usize, last: usize) -> Option<usize> {
    let at = |place: usize| words.get(place).map_or("", |(_, word)| *word);
    let definite = last > from + 1 && is_among("the these those his her their its", at(last - 1));
    let time = "day days week weeks hour hours minute minutes month months year years seconds";
    let of_it = "for of in over during at from on after with among within";
    let place = if definite && is_among(of_it, at(last - 2)) {
        last - 2
    } else if is_among("in over after during within", at(last - 1)) && is_among(time, at(last + 1)) {
        last - 1
    } else {
        return None;
    };
    // `at the end of the 4 hours`
    let mut start = place;
    while start > from + 1 && is_among("at the end of by start", at(start - 1)) {
        start -= 1;
    }
    let plain = |place: usize| {
        !is_number(at(place)) && !at(place).ends_with([',', ';', ':']) && !is_among(VERBS, at(place))
    };
    // `3 groups of the 12` is a part of something; so is `10 less than the 12`.
    let between = |words: &str| (from + 1..start).any(|place| is_among(words, at(place)));
    let unlike = "less more than times groups per each sets half multiple";
    let ends = (last + 1..words.len()).all(|place| !is_number(at(place)));
    (start > from && (from + 1..start).all(plain) && !between(unlike) && ends).then_some(start)
}
