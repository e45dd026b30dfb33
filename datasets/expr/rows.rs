//! The rows of a step: a line is one, a formula over several lines has one for each, code has none.

use std::borrow::Cow;

/// The rows of a step, in order. What stands between the rows of a LaTeX formula (`\\`, `&`, the names of its
/// environments) is left out, and a row that begins with `=` goes on with the one before it.
pub(crate) fn rows(step: &str) -> Vec<Cow<'_, str>> {
    if let Some(code) = step.trim_start().strip_prefix("```") {
        // With the name of a language it is a program, whose `=` says something else.
        let (name, inner) = code.split_once('\n').unwrap_or((code, ""));
        if !name.trim().is_empty() {
            return Vec::new();
        }
        let inner = inner.trim_end().trim_end_matches("```");
        return inner.lines().filter(|line| !line.trim().is_empty()).map(Cow::Borrowed).collect();
    }
    if !step.contains('\n') && !step.contains("\\\\") {
        return vec![Cow::Borrowed(step)];
    }
    let mut rows: Vec<Cow<'_, str>> = Vec::new();
    for line in step.lines() {
        for row in breaks(line) {
            let row = without_alignment(row);
            let trimmed = row.trim();
            match rows.last_mut() {
                _ if trimmed.is_empty() => {}
                Some(last) if trimmed.starts_with('=') => *last = Cow::Owned(format!("{last} {trimmed}")),
                _ => rows.push(Cow::Owned(trimmed.to_owned())),
            }
        }
    }
    rows
}

/// The parts of a line between `\\`, which starts no command.
fn breaks(line: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, sign) in line.match_indices("\\\\") {
        let behind = &line[at + sign.len()..];
        if at >= start && !behind.starts_with(|c: char| c.is_ascii_alphabetic()) {
            parts.push(&line[start..at]);
            // `\\[2pt]` is space between rows.
            let space = behind.strip_prefix('[').and_then(|space| space.find(']')).map_or(0, |end| end + 2);
            start = at + sign.len() + space;
        }
    }
    parts.push(&line[start..]);
    parts
}

fn without_alignment(row: &str) -> String {
    let mut out = String::with_capacity(row.len());
    let mut rest = row;
    while let Some(at) = ["\\begin{", "\\end{"].iter().filter_map(|name| rest.find(name)).min() {
        let Some(end) = rest[at..].find('}') else { break };
        out.push_str(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out.replace("\\&", "\u{1}").replace('&', " ").replace('\u{1}', "\\&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_steps() {
        for (step, expected) in [
            ("48/2 = 24 & more", &["48/2 = 24 & more"][..]),
            ("\\[\n3 \\times 4 = 12\n\\]", &["\\[", "3 \\times 4 = 12", "\\]"]),
            ("\\begin{align*} x &= 3+4 \\\\ &= 7 \\end{align*}", &["x  = 3+4 = 7"]),
            ("$$\na = 1 \\\\[2pt]\nb = 2\n$$", &["$$", "a = 1", "b = 2", "$$"]),
            ("\\\\frac{1}{2}", &["\\\\frac{1}{2}"]),
            ("```python\nx = 3*5\n```", &[]),
            ("```\n3*4=12\n\n12+1=13\n```", &["3*4=12", "12+1=13"]),
        ] {
            assert_eq!(rows(step), expected, "{step}");
        }
    }
}
