//! Cuts an answer, in plain text or in LaTeX, into tokens. Total: what it does not know is a [`Kind::Other`].

use num_rational::BigRational;

use super::limits::{MAX_TOKENS, Stop};
use super::names::{
    ACCENTS, DOLLAR, GREEK, GREEK_LETTERS, MATRIX_CLOSE, MATRIX_OPEN, NAMES, ROW, SET_CLOSE, SET_OPEN, SIGNS,
    SILENT, SKIPPED, TEXTS, is_product, power_of, vulgar,
};
use super::{scripts, units};

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
    /// Is it a letter inside of `\mathrm{}` and the like, as units are written?
    pub upright: bool,
}

/// Whether a token is this sign.
pub(super) fn is(token: Option<&Token>, sign: char) -> bool {
    token.is_some_and(|t| t.kind == Kind::Sign(sign))
}

/// `euler`: in `2e-1` the letter is the number e, and no power of ten.
pub(super) fn lex(text: &str, euler: bool) -> Result<Vec<Token>, Stop> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        tokens: Vec::new(),
        spaced: false,
        digits: 0,
        words_until: 0,
        product_until: 0,
        euler,
    };
    while lexer.at < lexer.chars.len() {
        lexer.step()?;
        if lexer.tokens.len() > MAX_TOKENS {
            return Err(Stop::Fuel);
        }
    }
    Ok(lexer.tokens)
}

pub(super) struct Lexer {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
    pub(super) tokens: Vec<Token>,
    spaced: bool,
    pub(super) digits: usize,
    /// Up to here the letters are words (inside of `\text{}`).
    words_until: usize,
    /// Up to here each letter is a variable (`2mn`).
    product_until: usize,
    pub(super) euler: bool,
}

impl Lexer {
    pub(super) fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    pub(super) fn run(&self, ahead: usize, is_kind: impl Fn(char) -> bool) -> usize {
        self.chars.iter().skip(self.at + ahead).take_while(|&&c| is_kind(c)).count()
    }

    /// Up to `length` characters from `ahead` on.
    pub(super) fn text(&self, ahead: usize, length: usize) -> String {
        self.chars.iter().skip(self.at + ahead).take(length).collect()
    }

    pub(super) fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, spaced: self.spaced, upright: false });
        self.spaced = false;
        self.at += length;
    }

    pub(super) fn sign(&mut self, sign: char, length: usize) {
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
            // `sq. ft.`
            '.' if self.ends_abbreviation() => self.skip(1),
            '\\' => self.command(),
            '−' | '–' | '‐' | '‑' | '﹣' | '‒' => self.sign('-', 1),
            '×' | '·' | '⋅' | '∗' | '✕' => self.sign('*', 1),
            '÷' | '⁄' | '∕' => self.sign('/', 1),
            '√' => self.push(Kind::Name("sqrt"), 1),
            'π' => self.push(Kind::Name("pi"), 1),
            '∞' => self.push(Kind::Name("infinity"), 1),
            '°' => self.raised('°', 1),
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
                match c {
                    '<' => '≤',
                    '>' => '≥',
                    _ => '≠',
                },
                2,
            ),
            '=' => self.sign('=', self.run(0, |c| c == '=')),
            '~' if self.after_operand() => self.skip(1),
            '`' => self.skip(1),
            '$' | '£' | '€' | '¥' | '₹' | '+' | '-' | '*' | '/' | '^' | '_' | '(' | ')' | '[' | ']' | '{'
            | '}' | ',' | ';' | ':' | '|' | '!' | '%' | '<' | '>' | '&' | '\'' | '"' | '±' | '∓' | '≤'
            | '≥' | '≠' | '∪' | '∈' | '≈' | '⌊' | '⌋' | '⌈' | '⌉' | '∅' | '¢' | '∖' | 'ℝ' =>
            {
                self.sign(c, 1);
            }
            _ if power_of(c).is_some() => self.superscript(),
            _ if vulgar(c).is_some() => self.vulgar(c),
            _ if c.is_alphabetic() => self.letters(),
            _ => self.push(Kind::Other, 1),
        }
        Ok(())
    }

    fn ends_abbreviation(&self) -> bool {
        let next = self.peek(1);
        matches!(self.tokens.last(), Some(Token { kind: Kind::Word(_), .. }))
            && !self.spaced
            && (next.is_whitespace() || matches!(next, ')' | ',' | '}' | '\0'))
    }

    /// `20°`, `20^\circ` and `20^{\circ}` alike, and the same for minutes.
    fn raised(&mut self, sign: char, length: usize) {
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
        self.sign(sign, length);
    }

    fn letters(&mut self) {
        let length = self.run(0, char::is_alphabetic);
        let text = self.text(0, length);
        let lower = text.to_lowercase();
        if matches!(lower.as_str(), "percent" | "percentage") {
            return self.sign('%', length);
        }
        if self.at < self.words_until {
            if !text.is_ascii() {
                return self.foreign(&lower, length);
            }
            return self.push(Kind::Word(lower), length);
        }
        if self.at < self.product_until {
            return self.variable(1);
        }
        // `US$5`
        if matches!(text.as_str(), "US" | "AU" | "CA" | "NZ" | "HK")
            && (self.peek(2) == '$' || self.peek(2) == '\\' && self.peek(3) == '$')
        {
            return self.skip(2);
        }
        let first = self.peek(0);
        if let Some((_, name)) = GREEK_LETTERS.iter().find(|(letter, _)| *letter == first) {
            return self.variable_named(format!("\\{name}"), 1);
        }
        if !text.is_ascii() {
            return self.foreign(&lower, length);
        }
        if let Some((_, name)) = NAMES.iter().find(|(word, _)| *word == lower && length > 1) {
            return self.push(Kind::Name(name), length);
        }
        let behind_number = matches!(self.tokens.last(), Some(Token { kind: Kind::Number(..), .. }));
        let product = if behind_number && !self.spaced {
            // `2mn`, unlike `2km`.
            (2..=3).contains(&length) && !units::is_known(&lower)
        } else {
            is_product(&text, behind_number)
        };
        if product {
            self.product_until = self.at + length;
        }
        if product || length == 1 { self.variable(1) } else { self.push(Kind::Word(lower), length) }
    }

    /// A word that is not in ASCII: `3万元` and `5平方米` are several words of the tables.
    fn foreign(&mut self, lower: &str, length: usize) {
        match scripts::begins(lower) {
            Some((length, &[])) => self.push(Kind::Word(lower.chars().take(length).collect()), length),
            Some((length, words)) => {
                for word in words {
                    self.push(Kind::Word((*word).into()), 0);
                }
                self.at += length;
            }
            None => self.push(Kind::Word(lower.to_owned()), length),
        }
    }

    fn variable(&mut self, length: usize) {
        self.variable_named(self.text(0, length), length);
    }

    /// A variable that is written in `length` characters, with the index and the primes behind it.
    fn variable_named(&mut self, mut name: String, length: usize) {
        let mut end = length;
        if self.peek(end) == '_'
            && let Some((index, length)) = self.index_in_words(end + 1).or_else(|| self.index(end + 1))
        {
            name = format!("{name}_{index}");
            end += 1 + length;
        }
        while self.peek(end) == '\'' {
            name.push('\'');
            end += 1;
        }
        self.push(Kind::Variable(name), end);
    }

    /// An index of letters and digits at `ahead` and its length: `1`, `{12}`.
    fn index(&self, ahead: usize) -> Option<(String, usize)> {
        let braced = usize::from(self.peek(ahead) == '{');
        let index = self.run(ahead + braced, char::is_alphanumeric);
        let closed = braced == 0 || self.peek(ahead + 1 + index) == '}';
        let index = if braced == 0 { index.min(1) } else { index };
        ((1..=8).contains(&index) && closed).then(|| (self.text(ahead + braced, index), index + 2 * braced))
    }

    /// An index in words at `ahead` and its length: `\min`, `{\max}`, `{\text{max}}`.
    fn index_in_words(&self, ahead: usize) -> Option<(String, usize)> {
        let text = self.text(ahead, 32);
        let (inner, brace) = text.strip_prefix('{').map_or((text.as_str(), ""), |inner| (inner, "}"));
        let command = inner.strip_prefix('\\')?;
        let letters = |text: &str| text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, rest) = command.split_at(letters(command));
        let (index, rest) = match name {
            "min" | "max" => (name, rest),
            _ if TEXTS.contains(&name) => {
                let inner = rest.strip_prefix('{')?;
                let (index, rest) = inner.split_at(letters(inner));
                (index, rest.strip_prefix('}').filter(|_| !index.is_empty())?)
            }
            _ => return None,
        };
        let rest = rest.strip_prefix(brace)?;
        Some((index.to_owned(), text.len() - rest.len()))
    }

    fn command(&mut self) {
        let letters = self.run(1, |c| c.is_ascii_alphabetic());
        let name = self.text(1, letters);
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
                '(' | ')' | '[' | ']' | ',' | ';' | ':' | '!' | ' ' | '/' => self.skip(2),
                _ => self.push(Kind::Other, 1),
            };
        }
        if name == "sqrt" {
            return self.push(Kind::Name("root"), length);
        }
        if let Some((_, known)) = NAMES.iter().find(|(word, _)| *word == name) {
            return self.push(Kind::Name(known), length);
        }
        if let Some((_, sign)) = SIGNS.iter().find(|(word, _)| *word == name) {
            return match *sign {
                sign @ ('°' | '\'') => self.raised(sign, length),
                sign => self.sign(sign, length),
            };
        }
        if SILENT.contains(&name) {
            // A bracket stands as close to what is before it as without them.
            if matches!(name, "left" | "right") {
                self.at += length;
            } else {
                self.skip(length);
            }
            // `\left.` is a bracket that is not there.
            if matches!(name, "left" | "right") && self.peek(0) == '.' {
                self.skip(1);
            }
            return;
        }
        match name {
            _ if TEXTS.contains(&name) => self.words(length),
            _ if ACCENTS.contains(&name) => self.accent(name, length),
            _ if SKIPPED.contains(&name) => {
                let argument = if self.peek(length) == '{' { self.run(length, |c| c != '}') + 1 } else { 0 };
                self.skip(length + argument);
            }
            "mathbb" | "Bbb" if ["{R}", " R", "R"].iter().any(|r| self.text(length, r.len()) == *r) => {
                let braced =
                    if self.peek(length) == '{' { 3 } else { 1 + usize::from(self.peek(length) == ' ') };
                self.sign('ℝ', length + braced);
            }
            "begin" | "end" => self.environment(name, length),
            _ => match name.strip_prefix("var").filter(|base| GREEK.contains(base)) {
                Some(base) => self.variable_named(format!("\\{base}"), length),
                None if GREEK.contains(&name) => self.variable(length),
                None => self.push(Kind::Other, length),
            },
        }
    }

    /// `\text{ clips}`, `\mathrm{i}`: words, or one letter that stands upright.
    fn words(&mut self, length: usize) {
        let blanks = self.run(length, char::is_whitespace);
        self.skip(length + blanks);
        let braced = self.peek(0) == '{';
        let inner = if braced { self.text(1, self.run(1, |c| c != '}')) } else { self.text(0, 1) };
        let end = if braced { inner.chars().count() + 2 } else { 1 };
        let bare = inner.trim_start_matches("\\,").trim_matches(|c: char| c.is_whitespace() || c == '~');
        let mut letters = bare.chars();
        if let (Some(letter), None) = (letters.next(), letters.next())
            && letter.is_ascii_alphabetic()
            && (braced || !self.peek(1).is_ascii_alphabetic())
        {
            self.variable_named(letter.to_string(), end);
            if let Some(token) = self.tokens.last_mut() {
                token.upright = true;
            }
        } else if let Some((_, name)) = NAMES.iter().find(|(word, _)| braced && *word == bare) {
            self.push(Kind::Name(name), end);
        } else if braced {
            self.words_until = self.at + end - 1;
            self.at += 1;
        }
    }

    /// `\bar{x}`, `\vec{AB}`: a variable of its own.
    fn accent(&mut self, name: &str, length: usize) {
        let inner = if self.peek(length) == '{' {
            self.text(length + 1, self.run(length + 1, |c| c != '}'))
        } else {
            String::new()
        };
        let letters = inner.strip_prefix('\\').unwrap_or(&inner);
        let named = letters.starts_with(|c: char| c.is_ascii_alphabetic());
        if named && letters.len() <= 8 && letters.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            self.variable_named(format!("{name}({inner})"), length + inner.chars().count() + 2);
        } else {
            self.push(Kind::Other, length);
        }
    }

    fn environment(&mut self, name: &str, length: usize) {
        let rest = self.text(length, 16);
        let known = ["pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "array", "cases"];
        let Some(kind) = known.iter().find(|kind| rest.starts_with(&format!("{{{kind}}}"))) else {
            return self.push(Kind::Other, length);
        };
        let sign = match (*kind, name) {
            ("vmatrix" | "cases", _) => return self.push(Kind::Other, length),
            (_, "begin") => MATRIX_OPEN,
            _ => MATRIX_CLOSE,
        };
        self.sign(sign, length + kind.len() + 2);
        if *kind == "array" && name == "begin" && self.peek(0) == '{' {
            self.at += self.run(0, |c| c != '}') + 1;
        }
    }
}
