//! LaTeX of steps in plain text: `\frac{240}{3}` is `(240/3)`, `\text{ clips}` is ` clips`, `1{,}200` is
//! `1,200`. Operators and delimiters are left to [`super::lex`].

use std::borrow::Cow;

/// Fractions within fractions that are read.
const MAX_DEPTH: usize = 8;

/// The text in plain form; as it is where it has no LaTeX.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') && !text.contains("{,}") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    write(text, 0, &mut out);
    Cow::Owned(out)
}

fn write(text: &str, depth: usize, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(behind) = rest.strip_prefix("{,}") {
            out.push(',');
            rest = behind;
            continue;
        }
        let letters = rest[1..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |end| end + 1);
        let (name, behind) = rest.split_at(letters);
        rest = behind;
        match name {
            "\\frac" | "\\dfrac" | "\\tfrac" | "\\cfrac" if depth < MAX_DEPTH => {
                let parts = group(rest).and_then(|(over, rest)| Some((over, group(rest)?)));
                let Some((over, (under, behind))) = parts else {
                    out.push_str(name);
                    continue;
                };
                fraction(over, under, depth + 1, out);
                rest = behind;
            }
            "\\text" | "\\textbf" | "\\textit" | "\\textrm" | "\\mathrm" | "\\mathbf" | "\\mbox"
            | "\\boxed"
                if depth < MAX_DEPTH =>
            {
                let Some((inner, behind)) = group(rest) else {
                    out.push_str(name);
                    continue;
                };
                out.push(' ');
                // `30 \\text{ (shirt)} + 46`: a remark on the number before it.
                if !is_remark(inner, behind) {
                    write(inner, depth + 1, out);
                    out.push(' ');
                }
                rest = behind;
            }
            // A brace, or a sign behind a backslash.
            "\\" | "{" => {
                out.push_str(name);
                let sign = rest.chars().next().filter(|_| name == "\\");
                out.extend(sign);
                rest = &rest[sign.map_or(0, char::len_utf8)..];
            }
            _ => out.push_str(name),
        }
    }
    out.push_str(rest);
}

/// Words in brackets before an operator.
fn is_remark(text: &str, behind: &str) -> bool {
    let words = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let operators = ["+", "-", "=", "\\times", "\\div", "\\cdot", "*", "/"];
    words.is_some_and(|words| {
        words.starts_with(char::is_alphabetic) && !words.contains(|c: char| c.is_ascii_digit())
    }) && operators.iter().any(|sign| behind.trim_start().starts_with(sign))
}

/// In brackets; `2\frac{1}{2}` is `(2+1/2)`.
fn fraction(over: &str, under: &str, depth: usize, out: &mut String) {
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let before = out.trim_end().trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let apart = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | ',' | '_' | '}');
    let mixed = before < out.trim_end().len() && out[..before].chars().next_back().is_none_or(apart);
    if mixed && whole(over) && whole(under) {
        let number = out[before..].trim_end().to_owned();
        out.truncate(before);
        out.push_str(&format!("({number}+{over}/{under})"));
        return;
    }
    out.push('(');
    for (part, end) in [(over, '/'), (under, ')')] {
        let bare = part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','));
        if !bare {
            out.push('(');
        }
        write(part, depth, out);
        if !bare {
            out.push(')');
        }
        out.push(end);
    }
}

/// What stands between braces here, or one digit, and the text behind it.
fn group(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(text.split_at(1));
    }
    let inner = text.strip_prefix('{')?;
    let mut depth = 0_usize;
    for (at, c) in inner.bytes().enumerate() {
        match c {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some((&inner[..at], &inner[at + 1..])),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn in_plain_text() {
        for (text, expected) in [
            ("48/2=24", "48/2=24"),
            (r"\frac{240}{3} = 80", "(240/3) = 80"),
            (r"\frac12 + \dfrac{3+1}{4}", "(1/2) + ((3+1)/4)"),
            (r"2\frac{1}{2} \times 4", r"(2+1/2) \times 4"),
            (r"8 / \frac{1}{\frac{1}{2}}", "8 / (1/((1/2)))"),
            (r"3 \text{ boxes} \times 4 = 12\text{ pens}", r"3   boxes  \times 4 = 12  pens "),
            (r"1{,}200 + 34", "1,200 + 34"),
            (r"\$5 + \{x\}", r"\$5 + \{x\}"),
            (r"\frac{1}{2", r"\frac{1}{2"),
            (r"\frac", r"\frac"),
            (r"\", r"\"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_panic_on_any_text(text in r"(\\frac|\\text|\{|\}|\{,\}|[0-9]|é|\\| ){0,40}") {
            plain(&text);
        }
    }
}
