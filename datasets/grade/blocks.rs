//! How a text is cut: into sentences, formulas between delimiters, and blocks of lines that belong together.

use std::ops::Range;

/// Words before a full stop that does not end a sentence.
const ABBREVIATIONS: [&str; 24] = [
    "no", "approx", "sq", "mr", "mrs", "ms", "dr", "st", "vs", "ft", "in", "min", "hr", "hrs", "oz", "lbs",
    "e.g", "i.e", "a.m", "p.m", "eq", "fig", "cf", "resp",
];

/// Where the first sentence of a line ends, its full stop not included.
pub(super) fn sentence_end(line: &str) -> usize {
    line.match_indices(['.', '!', '?', '。'])
        .map(|(at, _)| at)
        .find(|at| ends_sentence(line, *at))
        .unwrap_or(line.len())
}

/// Where the last sentence of a line begins.
pub(super) fn sentence_start(line: &str) -> usize {
    let body = line.trim_end().trim_end_matches(['.', '!', '?', '。', '*', '_', '"', ')']);
    let mut ends = body
        .match_indices(['.', '!', '?', '。', ';'])
        .map(|(at, _)| at)
        .filter(|at| ends_sentence(line, *at));
    ends.next_back().map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8))
}

fn ends_sentence(line: &str, at: usize) -> bool {
    let sign = line[at..].chars().next().unwrap_or('.');
    let behind = line[at + sign.len_utf8()..].trim_start_matches(['*', '_', '"', '”', ')']);
    if sign == '。' || behind.is_empty() {
        return true;
    }
    let next = behind.trim_start().chars().next();
    let word =
        line[..at].rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("").to_ascii_lowercase();
    behind.starts_with(char::is_whitespace)
        && !next.is_some_and(char::is_lowercase)
        && (sign != '.' || !ABBREVIATIONS.contains(&word.trim_start_matches(['*', '_'])))
}

/// What begins and what ends a formula on lines of its own.
const DISPLAYS: [(&str, &str); 11] = [
    ("$$", "$$"),
    ("\\[", "\\]"),
    ("\\begin{align*}", "\\end{align*}"),
    ("\\begin{align}", "\\end{align}"),
    ("\\begin{aligned}", "\\end{aligned}"),
    ("\\begin{equation*}", "\\end{equation*}"),
    ("\\begin{equation}", "\\end{equation}"),
    ("\\begin{gather*}", "\\end{gather*}"),
    ("\\begin{pmatrix}", "\\end{pmatrix}"),
    ("\\begin{bmatrix}", "\\end{bmatrix}"),
    ("```", "```"),
];

/// What stands before and behind code.
pub(super) const FENCE: &str = "```";

/// Lines of a formula or of code that still belong together.
const MOST_LINES: usize = 60;

/// Whether a text is code between fences: in a named language, or of several lines.
pub(super) fn is_code(text: &str) -> bool {
    let inner = text.trim().strip_prefix(FENCE).and_then(|rest| rest.strip_suffix(FENCE));
    let Some((language, code)) = inner.and_then(|inner| inner.split_once('\n')) else { return false };
    !language.trim().is_empty() || lines(code).count() > 1
}

/// A text cut into lines that are not blank, each trimmed. A formula or code over several lines is one.
pub(super) struct Blocks {
    pub blocks: Vec<Range<usize>>,
    /// What would end the last one, which goes on at the end of the text.
    pub open: Option<&'static str>,
}

/// Lines that are not blank, trimmed.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at + line.len() - line.trim_start().len();
        at += line.len();
        let length = line.trim().len();
        (length > 0).then_some(start..start + length)
    })
}

pub(super) fn blocks(text: &str) -> Blocks {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut open: Option<&'static str> = None;
    let mut count = 0;
    for line in lines(text) {
        let joined = open.is_some();
        let mut at = line.start;
        loop {
            let rest = &text[at..line.end];
            if let Some(close) = open {
                let Some(end) = rest.find(close) else { break };
                at += end + close.len();
                open = None;
            } else {
                let Some((begin, close)) = opening(rest, at == line.start) else { break };
                at += begin;
                open = Some(close);
            }
        }
        match blocks.last_mut() {
            Some(last) if joined => last.end = line.end,
            _ => {
                count = 0;
                blocks.push(line);
            }
        }
        count += 1;
        if count > MOST_LINES && open.is_some() {
            // No formula is that long: these are lines.
            open = None;
            if let Some(last) = blocks.pop() {
                blocks.extend(lines(&text[last.clone()]).map(|l| last.start + l.start..last.start + l.end));
            }
        }
    }
    Blocks { blocks, open }
}

/// Behind what a formula or code begins in a line, and what ends it. Two dollar signs and code begin one at
/// the start of a line only.
fn opening(line: &str, first: bool) -> Option<(usize, &'static str)> {
    if first
        && let Some((open, close)) = [(FENCE, FENCE), ("$$", "$$")].iter().find(|d| line.starts_with(d.0))
    {
        return Some((open.len(), close));
    }
    if !line.contains('\\') {
        return None;
    }
    let found = DISPLAYS.iter().filter(|(open, _)| open.starts_with('\\')).filter_map(|(open, close)| {
        // `\\[2pt]` is space between rows.
        let (at, _) = line.match_indices(open).find(|(at, _)| !line[..*at].ends_with('\\'))?;
        Some((at + open.len(), *close))
    });
    found.min_by_key(|(behind, _)| *behind)
}

/// A line without the mark of an item: `- x = 3` is one, and `-5` a number.
pub(super) fn item(line: &str) -> &str {
    line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).unwrap_or(line)
}

/// The first block of a text and where it begins: a formula with its delimiters, or a line.
pub(super) fn first_block(text: &str) -> (usize, &str) {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    if let Some(length) = display_length(rest) {
        return (start, &rest[..length]);
    }
    let line = rest.lines().next().unwrap_or("");
    let bare = line.trim_start_matches(['-', '*', '>', '•']).trim_start();
    // `-5` and `**5**` are no items of a list.
    let item = line.len() > bare.len() && line[..line.len() - bare.len()].ends_with(' ');
    let bare = if item { bare } else { line };
    (start + line.len() - bare.len(), bare)
}

/// The length of a formula that begins the text, with its delimiters.
pub(super) fn display_length(text: &str) -> Option<usize> {
    let (open, close) = DISPLAYS.iter().find(|(open, _)| text.starts_with(open))?;
    let length = text[open.len()..].find(close)?;
    Some(open.len() + length + close.len())
}

/// The content of a formula on lines of its own that ends the text.
pub(super) fn last_display(text: &str) -> Option<&str> {
    let body = text.trim_end().trim_end_matches(['.', ',']).trim_end();
    let (open, close) = DISPLAYS.iter().find(|(_, close)| body.ends_with(close))?;
    let inner = body.strip_suffix(close)?;
    let start = inner.rfind(open)?;
    let matrix = open.contains("matrix");
    Some(if matrix { &body[start..] } else { inner[start + open.len()..].trim() })
}

/// Whether a text is one formula on lines of its own.
pub(super) fn is_display(text: &str) -> bool {
    let body = text.trim().trim_end_matches(['.', ',']).trim_end();
    display_length(body) == Some(body.len())
}

/// The answer that the rows of an aligned formula come to: the last side of the last row, or all rows where
/// each of them is an equation of its own.
pub(super) fn aligned(formula: &str) -> Option<String> {
    let inner = ["aligned", "align*", "align", "gathered", "gather*", "gather", "split", "cases"]
        .iter()
        .find_map(|name| {
            let rest = formula.trim().strip_prefix(&format!("\\begin{{{name}}}"))?;
            rest.trim_end().strip_suffix(&format!("\\end{{{name}}}"))
        });
    let body = inner.unwrap_or(formula);
    if inner.is_none() && body.contains("\\begin{") || !body.contains("\\\\") && !body.contains('&') {
        return None;
    }
    let rows = body.split("\\\\").map(|row| row.replace('&', " ").trim().to_owned());
    let rows: Vec<String> = rows.filter(|row| !row.is_empty()).collect();
    let last = rows.last()?;
    if last.starts_with(['=', '≈']) || last.starts_with("\\approx") || rows.len() == 1 {
        return Some(last.clone());
    }
    let equation = |row: &String| row.split_once('=').is_some_and(|(name, _)| name.trim().len() <= 3);
    Some(if rows.iter().all(equation) { rows.join(", ") } else { last.clone() })
}

/// Formulas within a sentence, `$…$` and `\(…\)`, by what stands between the delimiters. A dollar sign opens
/// one before anything but a blank, and closes it behind anything but a blank if no digit follows: prices are
/// none.
pub(super) fn inline_formulas(sentence: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let bytes = sentence.as_bytes();
    while let Some(next) = sentence[at..].find(['$', '\\']) {
        let start = at + next;
        if sentence[start..].starts_with("\\(")
            && let Some(length) = sentence[start + 2..].find("\\)")
        {
            found.push(start + 2..start + 2 + length);
            at = start + length + 4;
            continue;
        }
        at = start + if bytes[start] == b'\\' { 2 } else { 1 };
        while !sentence.is_char_boundary(at.min(sentence.len())) {
            at += 1;
        }
        at = at.min(sentence.len());
        if bytes[start] == b'$'
            && bytes.get(start + 1).is_some_and(|b| !b.is_ascii_whitespace() && *b != b'$')
        {
            let closes = |end: &usize| {
                !bytes[end - 1].is_ascii_whitespace()
                    && bytes[end - 1] != b'\\'
                    && !bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
            };
            let end = sentence[start + 1..].match_indices('$').map(|(i, _)| start + 1 + i).find(closes);
            if let Some(end) = end {
                found.push(start + 1..end);
                at = end + 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        for (line, first, last) in [
            ("She pays 13.5. Bye.", "She pays 13.5", " Bye."),
            ("It is 36 sq. ft. in all.", "It is 36 sq. ft. in all", "It is 36 sq. ft. in all."),
            ("**14**. Then", "**14**", " Then"),
            ("no end", "no end", "no end"),
            ("Yes! So it is.", "Yes", " So it is."),
        ] {
            assert_eq!(&line[..sentence_end(line)], first, "{line}");
            assert_eq!(line[sentence_start(line)..].trim_start_matches('*'), last, "{line}");
        }
    }

    #[test]
    fn formulas_and_prices() {
        let found =
            |text: &str| inline_formulas(text).into_iter().map(|at| text[at].to_owned()).collect::<Vec<_>>();
        assert_eq!(found("so $x = 3$ and \\(y\\), é $4$"), ["x = 3", "y", "4"]);
        assert!(found("she has $18 and gets $20, or \\$5 and $5-$10").is_empty());
    }

    #[test]
    fn rows_of_a_formula() {
        assert_eq!(
            aligned("\\begin{aligned} x &= 3+4 \\\\ &= 7 \\end{aligned}").as_deref(),
            Some("=  7").map(|_| "= 7")
        );
        assert_eq!(aligned("x &= 1 \\\\ y &= 2").as_deref(), Some("x  = 1, y  = 2"));
        assert_eq!(aligned("\\frac{1}{2}"), None);
        assert_eq!(aligned("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"), None);
    }
}
