//! Cuts an answer, in plain text or in LaTeX, into tokens. Total: what it does not know is a [`Kind::Other`].

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::limits::{MAX_DIGITS, MAX_TOKENS, Stop};
use super::names::{
    DOLLAR, GREEK, MATRIX_CLOSE, MATRIX_OPEN, NAMES, ROW, SET_CLOSE, SET_OPEN, SIGNS, SILENT, TEXTS,
    is_product, power_of, vulgar,
};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A number; the flag says that it was written as digits alone (so it may begin a mixed number).
    Number(BigRational, bool),
    /// A function, a constant or a LaTeX command that the grammar knows.
    Name(&'static str),
    /// One letter, perhaps with an index.
    Variable(String),
    /// A word of at least two letters, or any letters inside `\text{}`, in lower case.
    Word(String),
    /// Operators, relations, brackets and separators, each in one spelling.
    Sign(char),
    Other,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: Kind,
    /// Does a blank stand before it?
    pub spaced: bool,
}

/// Whether a token is this sign.
pub(super) fn is(token: Option<&Token>, sign: char) -> bool {
    token.is_some_and(|t| t.kind == Kind::Sign(sign))
}

pub(super) fn lex(text: &str) -> Result<Vec<Token>, Stop> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        tokens: Vec::new(),
        spaced: false,
        digits: 0,
        words_until: 0,
    };
    while lexer.at < lexer.chars.len() {
        lexer.step()?;
        if lexer.tokens.len() > MAX_TOKENS {
            return Err(Stop::Fuel);
        }
    }
    Ok(lexer.tokens)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
    spaced: bool,
    digits: usize,
    /// Up to here the letters are words (inside of `\text{}`).
    words_until: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn run(&self, ahead: usize, is_kind: impl Fn(char) -> bool) -> usize {
        self.chars.iter().skip(self.at + ahead).take_while(|&&c| is_kind(c)).count()
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, spaced: self.spaced });
        self.spaced = false;
        self.at += length;
    }

    fn sign(&mut self, sign: char, length: usize) {
        self.push(Kind::Sign(sign), length);
    }

    fn skip(&mut self, length: usize) {
        self.at += length;
        self.spaced = true;
    }

    fn after_operand(&self) -> bool {
        match self.tokens.last().map(|t| &t.kind) {
            Some(Kind::Sign(c)) => matches!(c, ')' | ']' | '}' | '|' | '!' | '%' | '°'),
            Some(Kind::Number(..) | Kind::Variable(_)) => true,
            Some(Kind::Name(name)) => *name == "pi",
            _ => false,
        }
    }

    fn step(&mut self) -> Result<(), Stop> {
        let c = self.peek(0);
        match c {
            _ if c.is_whitespace() || (c == '}' && self.at == self.words_until) => self.skip(1),
            '0'..='9' => return self.number(),
            '.' if self.peek(1).is_ascii_digit() => return self.number(),
            '\\' => self.command(),
            '−' | '–' | '‐' | '‑' | '﹣' | '－' => self.sign('-', 1),
            '×' | '·' | '⋅' | '∗' | '✕' => self.sign('*', 1),
            '÷' | '⁄' | '∕' => self.sign('/', 1),
            '√' => self.push(Kind::Name("sqrt"), 1),
            'π' => self.push(Kind::Name("pi"), 1),
            '∞' => self.push(Kind::Name("infinity"), 1),
            '°' => self.degree(1),
            '⩽' => self.sign('≤', 1),
            '⩾' => self.sign('≥', 1),
            '*' if self.peek(1) == '*' => {
                let power = self.after_operand()
                    && !self.spaced
                    && !self.peek(2).is_whitespace()
                    && self.at + 2 < self.chars.len();
                if power { self.sign('^', 2) } else { self.skip(2) }
            }
            '<' | '>' | '!' if self.peek(1) == '=' => self.sign(
                if c == '<' {
                    '≤'
                } else if c == '>' {
                    '≥'
                } else {
                    '≠'
                },
                2,
            ),
            '=' => self.sign('=', self.run(0, |c| c == '=')),
            '~' if self.after_operand() => self.skip(1),
            '`' => self.skip(1),
            '$' | '£' | '€' | '¥' | '₹' | '+' | '-' | '*' | '/' | '^' | '_' | '(' | ')' | '[' | ']' | '{'
            | '}' | ',' | ';' | ':' | '|' | '!' | '%' | '<' | '>' | '&' | '\'' | '±' | '≤' | '≥' | '≠'
            | '∪' | '∈' | '≈' | '⌊' | '⌋' | '⌈' | '⌉' | '∅' | '¢' => {
                self.sign(c, 1);
            }
            _ if power_of(c).is_some() => self.superscript(),
            _ if vulgar(c).is_some() => self.vulgar(c),
            _ if c.is_alphabetic() => self.letters(),
            _ => self.push(Kind::Other, 1),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        let mut whole: String = self.take_digits();
        if (1..=3).contains(&whole.len()) {
            while let Some(gap) = self.group_follows() {
                self.at += gap;
                whole += &self.take_digits();
            }
        }
        let mut fraction = String::new();
        let mut plain = true;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            fraction = self.take_digits();
            plain = false;
        } else if self.peek(0) == '.' && self.repeats(1).is_some() {
            self.at += 1;
            plain = false;
        } else if self.peek(0) == '.' && !matches!(self.peek(1), '.' | '\0') {
            // `18.` before a closing sign or a word.
            self.at += 1;
        }
        let mut value = ratio(&format!("{whole}{fraction}"), fraction.len());
        if !plain && let Some((digits, end)) = self.repeats(0) {
            let nines = BigInt::from(10).pow(digits.len() as u32) - 1;
            let shift = BigInt::from(10).pow(fraction.len() as u32);
            value += BigRational::new(ratio(&digits, 0).to_integer(), nines * shift);
            self.at = end;
            self.digits += 2 * digits.len();
        }
        if matches!(self.peek(0), 'e' | 'E') {
            let sign = usize::from(matches!(self.peek(1), '+' | '-' | '−'));
            let digits = self.run(1 + sign, |c| c.is_ascii_digit());
            if (1..=4).contains(&digits) && !self.peek(1 + sign + digits).is_alphabetic() {
                let exponent: String =
                    self.chars[self.at + 1 + sign..self.at + 1 + sign + digits].iter().collect();
                let exponent: usize = exponent.parse().unwrap_or(usize::MAX);
                self.digits += exponent;
                if exponent > MAX_DIGITS {
                    return Err(Stop::Fuel);
                }
                let power = BigInt::from(10).pow(exponent as u32);
                if matches!(self.peek(1), '-' | '−') {
                    value /= power;
                } else {
                    value *= power;
                }
                self.at += 1 + sign + digits;
                plain = false;
            }
        }
        self.digits += whole.len() + fraction.len();
        if self.digits > MAX_DIGITS {
            return Err(Stop::Fuel);
        }
        self.push(Kind::Number(value, plain), 0);
        Ok(())
    }

    /// Digits under a bar at `ahead`, and where they end: `\overline{3}`, `\bar{3}`.
    fn repeats(&self, ahead: usize) -> Option<(String, usize)> {
        let rest: String =
            self.chars[(self.at + ahead).min(self.chars.len())..].iter().take(MAX_DIGITS).collect();
        let (open, body) =
            ["\\overline{", "\\bar{"].into_iter().find_map(|open| Some((open, rest.strip_prefix(open)?)))?;
        let (digits, _) = body.split_once('}')?;
        let good = !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|b| b.is_ascii_digit());
        good.then(|| (digits.to_owned(), self.at + ahead + open.len() + digits.len() + 1))
    }

    fn take_digits(&mut self) -> String {
        let length = self.run(0, |c| c.is_ascii_digit());
        self.at += length;
        self.chars[self.at - length..self.at].iter().collect()
    }

    /// Length of a thousands separator here, if three digits follow it and so on to the end of the number.
    fn group_follows(&self) -> Option<usize> {
        let separator = |n: usize| -> usize {
            let rest: String = self.chars[(self.at + n).min(self.chars.len())..].iter().take(3).collect();
            match rest.as_bytes() {
                [b',', ..] => 1,
                [b'{', b',', b'}'] => 3,
                [b'\\', b',' | b'!' | b' ', ..] => 2,
                _ if rest.starts_with([' ', '\u{a0}', '\u{202f}', '\u{2009}']) => 1,
                _ => 0,
            }
        };
        let first = separator(0);
        if first == 0 {
            return None;
        }
        let blank = !matches!(self.peek(0), ',' | '{');
        let mut n = 0;
        loop {
            let gap = separator(n);
            let three = (0..3).all(|i| self.peek(n + gap + i).is_ascii_digit());
            if gap == 0 || !three || self.peek(n + gap + 3).is_ascii_digit() {
                return None;
            }
            n += gap + 3;
            let next = separator(n);
            if next == 0 || !self.peek(n + next).is_ascii_digit() {
                // `1 234/500` is a mixed number, and `1 234` in a text of several numbers is unclear.
                return (!blank || !matches!(self.peek(n), '/' | '\\' | '.' | '^')).then_some(first);
            }
        }
    }

    fn superscript(&mut self) {
        let digits: String = self.chars[self.at..].iter().map_while(|&c| power_of(c)).collect();
        let length = digits.chars().count();
        if length > 3 {
            return self.push(Kind::Other, length);
        }
        self.sign('^', 0);
        match digits.parse::<i64>() {
            Ok(power) => self.push(Kind::Number(BigRational::from_integer(power.into()), true), length),
            Err(_) => self.push(Kind::Other, length),
        }
    }

    /// `20°`, `20^\circ` and `20^{\circ}` alike.
    fn degree(&mut self, length: usize) {
        let is = |token: Option<&Token>, c: char| token.is_some_and(|t| t.kind == Kind::Sign(c));
        let count = self.tokens.len();
        let mut length = length;
        if is(self.tokens.last(), '^') {
            self.tokens.pop();
        } else if count >= 2
            && is(self.tokens.last(), '{')
            && is(self.tokens.get(count - 2), '^')
            && self.peek(length) == '}'
        {
            self.tokens.truncate(count - 2);
            length += 1;
        }
        self.sign('°', length);
    }

    fn vulgar(&mut self, c: char) {
        let (over, under) = vulgar(c).unwrap_or((0, 1));
        let value = BigRational::new(over.into(), under.into());
        // `1½` is a mixed number.
        if let Some(Token { kind: Kind::Number(whole, plain @ true), .. }) = self.tokens.last_mut() {
            *whole += value;
            *plain = false;
            self.at += 1;
        } else {
            self.push(Kind::Number(value, false), 1);
        }
    }

    fn letters(&mut self) {
        let length = self.run(0, char::is_alphabetic);
        let text: String = self.chars[self.at..self.at + length].iter().collect();
        if matches!(text.to_lowercase().as_str(), "percent" | "percentage") {
            return self.sign('%', length);
        }
        if self.at < self.words_until {
            return self.push(Kind::Word(text.to_lowercase()), length);
        }
        let lower = text.to_ascii_lowercase();
        if let Some((_, name)) = NAMES.iter().find(|(word, _)| *word == lower && length > 1) {
            return self.push(Kind::Name(name), length);
        }
        if is_product(&text) {
            return self.variable(1);
        }
        if length == 1 { self.variable(1) } else { self.push(Kind::Word(text.to_lowercase()), length) }
    }

    fn variable(&mut self, length: usize) {
        let mut name: String = self.chars[self.at..self.at + length].iter().collect();
        let mut end = length;
        if self.peek(end) == '_' {
            let braced = usize::from(self.peek(end + 1) == '{');
            let index = self.run(end + 1 + braced, char::is_alphanumeric);
            let closed = braced == 0 || self.peek(end + 2 + index) == '}';
            let index = if braced == 0 { index.min(1) } else { index };
            if (1..=8).contains(&index) && closed {
                name.push('_');
                name.extend(&self.chars[self.at + end + 1 + braced..self.at + end + 1 + braced + index]);
                end += 1 + index + 2 * braced;
            }
        }
        while self.peek(end) == '\'' {
            name.push('\'');
            end += 1;
        }
        self.push(Kind::Variable(name), end);
    }

    fn command(&mut self) {
        let letters = self.run(1, |c| c.is_ascii_alphabetic());
        let name: String = self.chars[self.at + 1..self.at + 1 + letters].iter().collect();
        let name = name.as_str();
        let length = 1 + letters;
        if letters == 0 {
            return match self.peek(1) {
                '$' => self.sign(DOLLAR, 2),
                '%' => self.sign('%', 2),
                '{' => self.sign(SET_OPEN, 2),
                '}' => self.sign(SET_CLOSE, 2),
                '|' => self.sign('|', 2),
                '&' => self.push(Kind::Word("and".into()), 2),
                '\\' => self.sign(ROW, 2),
                '(' | ')' | '[' | ']' | ',' | ';' | ':' | '!' | ' ' => self.skip(2),
                _ => self.push(Kind::Other, 1),
            };
        }
        if let Some((_, known)) = NAMES.iter().find(|(word, _)| *word == name) {
            return self.push(Kind::Name(known), length);
        }
        if let Some((_, sign)) = SIGNS.iter().find(|(word, _)| *word == name) {
            return if *sign == '°' { self.degree(length) } else { self.sign(*sign, length) };
        }
        if SILENT.contains(&name) {
            self.skip(length);
            // `\left.` is a bracket that is not there.
            if matches!(name, "left" | "right") && self.peek(0) == '.' {
                self.skip(1);
            }
            return;
        }
        if TEXTS.contains(&name) {
            let blanks = self.run(length, char::is_whitespace);
            self.skip(length + blanks);
            if self.peek(0) == '{' {
                let close = self.chars[self.at..].iter().position(|&c| c == '}').unwrap_or(0);
                self.words_until = self.at + close;
                self.at += 1;
            }
            return;
        }
        if matches!(name, "begin" | "end") {
            let rest: String = self.chars[self.at + length..].iter().take(16).collect();
            let known = ["pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "cases"];
            if let Some(kind) = known.iter().find(|kind| rest.starts_with(&format!("{{{kind}}}"))) {
                let sign = match (*kind, name) {
                    ("vmatrix" | "cases", _) => return self.push(Kind::Other, length),
                    (_, "begin") => MATRIX_OPEN,
                    _ => MATRIX_CLOSE,
                };
                self.sign(sign, length + kind.len() + 2);
                if *kind == "array" && name == "begin" && self.peek(0) == '{' {
                    self.at += self.run(0, |c| c != '}') + 1;
                }
                return;
            }
        }
        if GREEK.contains(&name) {
            return self.variable(length);
        }
        self.push(Kind::Other, length);
    }
}

/// `digits` divided by a power of ten.
fn ratio(digits: &str, places: usize) -> BigRational {
    let value = BigInt::parse_bytes(digits.as_bytes(), 10).unwrap_or_else(BigInt::zero);
    if places == 0 {
        return BigRational::new_raw(value, BigInt::one());
    }
    BigRational::new(value, BigInt::from(10).pow(places as u32))
}
