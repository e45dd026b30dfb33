//! Numbers that are written otherwise than with digits and a point: in English words, with a decimal comma.

use super::blocks::item;

/// Words up to nineteen, in order.
const SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// Whether a word is one of a number.
pub(super) fn is_number_word(word: &str) -> bool {
    SMALL.contains(&word) || TENS.contains(&word) || matches!(word, "hundred" | "half")
}

/// The number that a text of nothing but number words names, in digits: `twenty-one`, `two and a half`, `a
/// dozen`.
pub(super) fn in_words(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(['.', '!']).to_lowercase();
    let text = text.strip_prefix("\\text{").and_then(|inner| inner.strip_suffix('}')).unwrap_or(&text);
    if text.len() > 80 || !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let (text, half) = match text.strip_suffix(" and a half") {
        Some(rest) => (rest, ".5"),
        None => (text, ""),
    };
    let (mut total, mut part, mut some) = (0_u64, 0_u64, false);
    for word in text.split([' ', '-']).filter(|word| !word.is_empty() && *word != "and") {
        let small = SMALL.iter().position(|known| *known == word);
        let tens = TENS.iter().position(|known| *known == word);
        match (small, tens, word) {
            (Some(number), _, _) if part % 10 == 0 && (number < 10 || part % 100 == 0) => {
                part += number as u64;
            }
            (_, Some(tens), _) if part % 100 == 0 => part += 20 + 10 * tens as u64,
            (_, _, "a") if !some => part = 1,
            (_, _, "dozen") if some && part < 1000 => part *= 12,
            (_, _, "hundred") if some && (1..100).contains(&part) => part *= 100,
            (_, _, "thousand") if some && part > 0 => (total, part) = (total + part * 1_000, 0),
            (_, _, "million") if some && part > 0 => (total, part) = (total + part * 1_000_000, 0),
            _ => return None,
        }
        some = true;
    }
    (some && text != "a").then(|| format!("{}{half}", total + part))
}

/// A text with the one decimal comma in it as a point: `3,5 кг`. Three digits behind a comma are thousands.
pub(super) fn with_point(text: &str) -> Option<String> {
    let text = text.replace("{,}", ",");
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let mut commas = text.match_indices(',').map(|(at, _)| at);
    let (comma, none) = (commas.next()?, commas.next());
    let behind = text[comma + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let decimal = none.is_none() && comma > 0 && digit(comma - 1) && behind > 0 && behind != 3;
    let plain = !text.contains(['.', '(', '[', '{', '=', ';']);
    (decimal && plain).then(|| format!("{}.{}", &text[..comma], &text[comma + 1..]))
}

/// One piece of a list of named values: `x` and `3` of `x = 3`.
fn named(piece: &str) -> Option<(u8, &str)> {
    let piece = piece.trim().trim_start_matches("and ").trim_matches(['$', ' ']);
    let (name, value) = piece.split_once('=')?;
    let [letter] = name.trim().as_bytes() else { return None };
    let plain = !value.contains('=') && value.contains(|c: char| c.is_ascii_digit());
    (letter.is_ascii_alphabetic() && plain).then_some((*letter, value.trim()))
}

/// Values with a name each, in the order of the names, if they stand in another one: `y = 5, x = 3`.
pub(super) fn in_order(text: &str) -> Option<String> {
    if !text.contains('=') || text.contains(['(', '[', '<', '>']) {
        return None;
    }
    let pieces: Vec<(u8, &str)> = text.split([',', ';']).map(named).collect::<Option<_>>()?;
    let mut sorted = pieces.clone();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    let distinct = sorted.windows(2).all(|pair| pair[0].0 != pair[1].0);
    let moved = distinct && sorted != pieces;
    moved.then(|| {
        let all = sorted.iter().map(|(name, value)| format!("{} = {value}", char::from(*name)));
        all.collect::<Vec<_>>().join(", ")
    })
}

/// The last lines of a text, if each names a value and nothing else, a line for each: `$x = 3$`, `- y = 5`.
pub(super) fn last_values(text: &str) -> Option<String> {
    let mut lines = Vec::new();
    for line in text.lines().rev().map(str::trim).filter(|line| !line.is_empty()) {
        let line = item(line).trim_end_matches(['.', ',']).trim_matches(['$', ' ']);
        let line = ["\\(", "\\["].iter().fold(line, |line, open| line.strip_prefix(open).unwrap_or(line));
        let line = ["\\)", "\\]"].iter().fold(line, |line, close| line.strip_suffix(close).unwrap_or(line));
        let Some((name, value)) = named(line) else { break };
        let letters =
            value.split('\\').next().is_some_and(|plain| plain.contains(|c: char| c.is_alphabetic()));
        if letters || lines.iter().any(|(known, _)| *known == name) {
            break;
        }
        lines.push((name, value));
    }
    let all = lines.iter().rev().map(|(name, value)| format!("{} = {value}", char::from(*name)));
    (lines.len() > 1).then(|| all.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        for (text, number) in [
            ("twelve", "12"),
            ("Twenty-one", "21"),
            ("one hundred and five", "105"),
            ("two thousand three hundred", "2300"),
            ("a dozen", "12"),
            ("two and a half", "2.5"),
            ("\\text{twelve}", "12"),
            ("zero", "0"),
        ] {
            assert_eq!(in_words(text).as_deref(), Some(number), "{text}");
        }
        for text in
            ["", "a", "and", "half", "twelve apples", "one two", "twenty eleven", "hundred", "x", "12"]
        {
            assert_eq!(in_words(text), None, "{text}");
        }
    }

    #[test]
    fn values_with_names() {
        assert_eq!(in_order("y = 5, x = 3").as_deref(), Some("x = 3, y = 5"));
        for text in ["x = 3, y = 5", "x = 3, x = 5", "y = 5", "3, 5", "f(x) = 3, a = 1", "y = x, x = 3"] {
            assert_eq!(in_order(text), None, "{text}");
        }
        let lines = Some("x = 3\ny = 5");
        for text in ["so\n$x = 3$\n\n$y = 5$.", "- x = 3\n- y = 5", "\\[ x = 3 \\]\n\\[ y = 5 \\]"] {
            assert_eq!(last_values(text).as_deref(), lines, "{text}");
        }
        for text in ["x = 3", "x = 3\ny = 2x = 6", "x = 3\nx = 4", "x = 3\ny = 5\nGood.", "x = 3\ny = x + 1"]
        {
            assert_eq!(last_values(text), None, "{text}");
        }
    }

    #[test]
    fn decimal_commas() {
        assert_eq!(with_point("3,5 кг").as_deref(), Some("3.5 кг"));
        assert_eq!(with_point("12{,}75").as_deref(), Some("12.75"));
        for text in ["3,500", "1, 2", "(3,5)", "1,2,3", "x=3,5", "3.5", ",5"] {
            assert_eq!(with_point(text), None, "{text}");
        }
    }
}
