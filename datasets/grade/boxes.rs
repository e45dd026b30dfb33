//! Boxes: `\boxed{}`, `\fbox{}` and what stands around them.

use std::borrow::Cow;
use std::ops::Range;

use super::blocks::sentence_end;
use super::extract::Rule;
use super::markers::{Marker, line_start};
use super::side;

/// A box: where it begins and ends, and its content.
struct Boxed {
    all: Range<usize>,
    content: Range<usize>,
}

/// The last closed box that starts before `end` and holds anything.
fn last_box(text: &str, end: usize) -> Option<Boxed> {
    let mut before = end;
    loop {
        // A search for one byte from the end is much faster than one for a word.
        let at = text[..before].rfind('\\')?;
        let rest = &text[at..];
        if let Some(name) = ["\\boxed", "\\fbox", "\\framebox"].iter().find(|name| rest.starts_with(**name)) {
            let body = &rest[name.len()..];
            let blanks = body.len() - body.trim_start_matches(' ').len();
            let from = at + name.len() + blanks;
            let found = match body[blanks..].strip_prefix('{') {
                Some(inner) => closing_brace(inner)
                    .map(|length| Boxed { all: at..from + length + 2, content: from + 1..from + 1 + length }),
                None => bare_content(&body[blanks..], blanks > 0)
                    .map(|length| Boxed { all: at..from + length, content: from..from + length }),
            };
            if let Some(found) = found.filter(|found| !text[found.content.clone()].trim().is_empty()) {
                return Some(found);
            }
        }
        before = at;
    }
}

/// The length of what `\boxed` without braces holds: a number, a choice or a command with its arguments.
fn bare_content(text: &str, spaced: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let sign = usize::from(bytes.first() == Some(&b'-'));
    match bytes.get(sign)? {
        b'0'..=b'9' => {
            let run = text[sign..]
                .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '/'))
                .unwrap_or(text.len() - sign);
            Some(text[..sign + run].trim_end_matches(['.', ',', '/']).len())
        }
        b'A'..=b'H' if spaced && sign == 0 => {
            (!bytes.get(1).is_some_and(u8::is_ascii_alphanumeric)).then_some(1)
        }
        b'\\' => {
            let name = 1 + text[sign + 1..]
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(text.len() - sign - 1);
            let mut length = sign + name;
            while let Some(inner) = text[length..].strip_prefix('{') {
                length += closing_brace(inner)? + 2;
            }
            let known = ["\\frac", "\\dfrac", "\\tfrac", "\\sqrt", "\\pi", "\\text", "\\mathrm", "\\textbf"];
            known.contains(&&text[sign..sign + name]).then_some(length)
        }
        _ => None,
    }
}

/// Byte of the `}` that closes a brace opened just before the text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.bytes().enumerate() {
        match c {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `\boxed{}` and `\fbox{}` with balanced braces; boxes side by side, with nothing but commas, `and`, `or`
/// and dollar signs between them, are one list.
pub(super) fn boxed(text: &str) -> Option<Marker<'_>> {
    let last = last_box(text, text.len())?;
    let (mut at, end) = (last.all.start, last.all.end);
    let mut answer = Cow::Borrowed(text[last.content].trim());
    let mut last = name(&text[..at]);
    while let Some(earlier) = last_box(text, at)
        && earlier.all.end <= at
        && between_boxes(&text[earlier.all.end..at])
    {
        let content = text[earlier.content].trim();
        let own = name(&text[..earlier.all.start]);
        if own != last && !own.is_empty() && !last.is_empty() {
            answer = Cow::Owned(format!("{own}={content}, {last}={answer}"));
            last = "";
        } else if content != answer {
            answer = Cow::Owned(format!("{content}, {answer}"));
        }
        at = earlier.all.start;
    }
    let start = line_start(text, at);
    let before = &text[start..at];
    let behind = text[end..].lines().next().unwrap_or("");
    let (more, answer) = surrounded((before, behind), answer);
    let end = end + more;
    let beside = if side::has_digit(before) {
        Cow::Owned(format!("{before}{answer}{behind}"))
    } else {
        Cow::Borrowed("")
    };
    Some(Marker { rule: Rule::Box, line_start: start, end, beside, answer })
}

/// The name before a box: `x` in `x = \boxed{5}`.
fn name(before: &str) -> &str {
    let Some(rest) = before.trim_end().strip_suffix('=') else { return "" };
    let rest = rest.trim_end();
    let length = rest.chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').count();
    &rest[rest.len() - length..]
}

/// Whether boxes belong to one list: between them stand commas, `and`, `or`, names (`x =`) and marks of
/// parts.
fn between_boxes(text: &str) -> bool {
    let joins = |word: &str| {
        let name = word.trim_end_matches('=');
        let letter = name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        let part = word.len() == 3 && word.starts_with('(') && word.ends_with(')');
        matches!(
            word,
            "and" | "or" | "\\text{and}" | "\\text{or}" | "\\text{" | "}" | "=" | "\\(" | "\\)" | "\\)."
        ) || part
            || letter && (name.len() == 1 || name.as_bytes()[1] == b'_' && name.len() <= 4)
    };
    let mut words = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '$' | ';'))
        .filter(|word| !word.is_empty());
    words.all(joins) && !text.contains('\n')
}

/// The answer of a box with what belongs to it before and behind it on its line, and how many bytes of what
/// is behind: a sign, a factor (`\boxed{12}\pi`), a fraction around it, `million`, another answer; or that
/// it is denied.
fn surrounded<'a>((before, behind): (&str, &str), answer: Cow<'a, str>) -> (usize, Cow<'a, str>) {
    if is_denied(before, behind) {
        return (0, Cow::Owned(format!("not {answer}")));
    }
    let close = behind.trim_start_matches(['$', ' ', '*', '}']);
    let close =
        ["\\)", "\\text{", "\\"].iter().fold(close, |rest, end| rest.strip_prefix(end).unwrap_or(rest));
    let close = close.trim_start();
    let word = close.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    if matches!(word, "hundred" | "thousand" | "million" | "billion" | "trillion") {
        return (behind.len() - close.len() + word.len(), Cow::Owned(format!("{answer} {word}")));
    }
    if word == "and" {
        let rest = &close[..sentence_end(close)];
        // Another of its kind, and nothing else: `and (2,1)`.
        let other = rest["and".len()..].trim_matches([' ', '$', '.', '*']);
        let tuple = answer.starts_with('(') && other.starts_with('(') && other.ends_with(')');
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let value = tuple && other.matches('(').count() == 1 || digits(&answer) && digits(other);
        if value && !other.is_empty() || rest.contains("permutation") {
            return (behind.len() - close.len() + rest.len(), Cow::Owned(format!("{answer} {rest}")));
        }
    }
    let (factor, mut length) = (factor(before), tail(behind));
    let lead = if factor.is_empty() { lead(before) } else { factor };
    if answer.contains(',') || lead.is_empty() && length == 0 {
        return (0, answer);
    }
    if factor.is_empty() && lead.starts_with('\\') {
        length = formula_end(behind);
        return (length, Cow::Owned(format!("{lead}{answer}{}", &behind[..length])));
    }
    (length, Cow::Owned(format!("{lead}({answer}){}", &behind[..length])))
}

/// `not \boxed{5}`, `\boxed{5} is incorrect`.
fn is_denied(before: &str, behind: &str) -> bool {
    let bare = before.trim_end_matches(['$', ' ', '(', '*']);
    let bare = bare.strip_suffix('\\').unwrap_or(bare).trim_end();
    let [_, second, last] = &side::last_words(before);
    let not = "not cannot can't isn't never";
    let after: Vec<String> = side::words(behind).take(3).map(|(_, word)| word).collect();
    let wrong = "not incorrect wrong invalid impossible false extraneous rejected";
    ["\\ne", "\\neq", "≠", "!="].iter().any(|sign| bare.ends_with(sign))
        || side::is(not, last) && !before.trim_end().ends_with([':', '.', ','])
        || last == "be" && side::is(not, second)
        || after.len() > 1 && after[0] == "is" && side::is(wrong, &after[1])
}

/// What stands before a box in its formula and belongs to its value: `2` in `$2\boxed{\sqrt{3}}$`, `x <` in
/// `$x < \boxed{3}$`.
fn factor(before: &str) -> &str {
    let dollars = before.matches('$').count();
    let opened = ["\\(", "\\["].iter().filter_map(|open| before.rfind(open).map(|at| at + 2)).max();
    let from = match (dollars % 2, opened) {
        (1, _) => before.rfind('$').map_or(0, |at| at + 1),
        (_, Some(at)) if !before[at..].contains(['\n', ')', ']']) => at,
        // `2\boxed{\sqrt{3}}` without signs of a formula.
        _ => before.trim_end_matches(|c: char| !c.is_whitespace()).len(),
    };
    let ends = ['=', '≈', ',', ':', ';', '&'];
    let formula = &before[from..];
    let lead = formula[formula.trim_end_matches(|c| !ends.contains(&c)).len()..].trim_start();
    let commands =
        ["frac", "dfrac", "tfrac", "sqrt", "pm", "mp", "cdot", "times", "pi", "le", "ge", "leq", "geq"];
    let mut known = lead.split('\\').skip(1).all(|rest| {
        commands.contains(&&rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())])
    });
    let letters = |rest: &str| rest.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word.len() > 1);
    known &= !letters(lead.split('\\').next().unwrap_or(""));
    let closed = lead.matches('{').count() == lead.matches('}').count();
    let says = side::has_digit(lead)
        || lead.contains(['+', '<', '>', '*', '/'])
        || ["\\pm", "\\le", "\\ge", "\\cdot", "\\times"].iter().any(|name| lead.contains(name));
    if known && closed && says { lead } else { "" }
}

/// A sign or the beginning of a fraction or root right before a box.
fn lead(before: &str) -> &str {
    for name in ["\\frac{", "\\dfrac{", "\\tfrac{", "\\sqrt{"] {
        if before.ends_with(name) {
            return &before[before.len() - name.len()..];
        }
    }
    let Some(rest) = before.strip_suffix('-') else { return "" };
    let rest = rest.trim_end();
    let begins = rest.is_empty() || rest.ends_with(['=', '$', '(', '[', '{', ':']);
    if begins { &before[before.len() - 1..] } else { "" }
}

/// How much of what is behind a box is multiplied with it, or an exponent or divisor of it.
fn tail(behind: &str) -> usize {
    let rest = behind.trim_start_matches(' ');
    let adjacent = rest.len() == behind.len();
    let mut chars = rest.chars();
    let (first, second) = (chars.next().unwrap_or(' '), chars.next().unwrap_or(' '));
    let letter = adjacent && "xyznkiabcpqrtuvw".contains(first) && !second.is_alphanumeric();
    let operator = first == '^' || first == '/' && (second.is_ascii_digit() || matches!(second, '\\' | '('));
    // `\boxed{12} + 3$`
    let end = formula_end(behind);
    let sum = matches!(first, '+' | '-') && second == ' ' && behind[end..].starts_with(['$', '\\']);
    let sum = sum && !behind[..end].split(|c: char| !c.is_ascii_alphabetic()).any(|word| word.len() > 1);
    let named = ["\\sqrt", "\\pi", "\\cdot", "\\times", "\\div"].iter().any(|name| rest.starts_with(name));
    if letter || operator || named || sum { end } else { 0 }
}

/// Where a formula ends that goes on here.
fn formula_end(text: &str) -> usize {
    let ends = ["$", "\\)", "\\]", ", ", ". ", "=", "\\text", "\\quad", "\\\\", "&"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].trim_end().trim_end_matches(['.', ',', '*']).len()
}
