//! Characters as the plain ones that they stand for: `７` is `7`, `“` is `"`, `x₁` is `x_{1}`, and what takes
//! no room is not there.

use std::borrow::Cow;

/// Where the digits of other scripts begin: ten in a row each.
const ZEROS: [u32; 18] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0e50,
    0x0ed0, 0x0f20, 0x1040, 0x17e0, 0x1810,
];

/// Text in plain characters; ASCII is left as it is.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut index = false;
    for c in text.chars() {
        let subscript = matches!(c, '₀'..='₉');
        if subscript != index {
            plain.push_str(if subscript { "_{" } else { "}" });
            index = subscript;
        }
        match c {
            '℃' => plain.push_str("°C"),
            '℉' => plain.push_str("°F"),
            c => plain.extend(character(c)),
        }
    }
    if index {
        plain.push('}');
    }
    Cow::Owned(plain)
}

fn character(c: char) -> Option<char> {
    let from = |base: u32, to: char| char::from_u32(u32::from(c) - base + u32::from(to)).unwrap_or(c);
    Some(match c {
        _ if c.is_ascii() => c,
        // No width: joiners, marks of direction, the byte order mark, soft hyphens, variants of signs.
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ad}'
        | '\u{180e}' => return None,
        '\u{ff01}'..='\u{ff5e}' => from(0xff01, '!'),
        '￥' => '¥',
        '￡' => '£',
        '\u{3000}' => ' ',
        '。' => '.',
        '、' => ',',
        '∶' => ':',
        '‘' | '’' | '‚' | '‛' | '′' | 'ʹ' => '\'',
        '“' | '”' | '„' | '‟' | '«' | '»' | '‹' | '›' | '「' | '」' | '『' | '』' | '″' => {
            '"'
        }
        '₀'..='₉' => from(0x2080, '0'),
        '≦' => '≤',
        '≧' => '≥',
        '≃' | '≅' => '≈',
        'ℎ' => 'h',
        // Letters and digits in the styles of mathematics.
        '\u{1d400}'..='\u{1d6a3}' => {
            let at = (u32::from(c) - 0x1d400) % 52;
            char::from_u32(if at < 26 { at + u32::from('A') } else { at - 26 + u32::from('a') }).unwrap_or(c)
        }
        '\u{1d7ce}'..='\u{1d7ff}' => char::from_digit((u32::from(c) - 0x1d7ce) % 10, 10).unwrap_or(c),
        _ => {
            let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&u32::from(c)));
            zero.and_then(|zero| char::from_digit(u32::from(c) - zero, 10)).unwrap_or(c)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_other_forms() {
        for (text, expected) in [
            ("７２．５", "72.5"),
            ("٧", "7"),
            ("\u{200b}7\u{feff}", "7"),
            ("x₁₂ + y₀", "x_{12} + y_{0}"),
            ("4343₆", "4343_{6}"),
            ("“5”", "\"5\""),
            ("𝑥+𝟑", "x+3"),
            ("é−5", "é−5"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
