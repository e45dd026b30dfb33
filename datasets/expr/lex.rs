//! Cuts text into tokens. Total: every text has tokens, and what is not arithmetic says so.

use super::latex::plain;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `12`, `12.5`, `.5`, `1,234`; its text holds digits and at most one point.
    Number,
    /// One of `+ - * /`.
    Operator(char),
    Open,
    Close,
    Percent,
    Currency,
    Equals,
    /// A run of letters, possibly with digits behind them.
    Word,
    /// A sign that ends a phrase and says nothing about numbers: `. , ; ?` and the like.
    Pause,
    /// A sign that changes what the numbers beside it mean: `^ √ < !` and the like.
    Symbol,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub text: String,
}

impl Token {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        Token { kind, text: text.into() }
    }
}

/// Signs with a meaning in mathematics that the grammar does not have.
const SYMBOLS: &str = "^√<>[]{}|~#&≈≠≤≥±∓∑∏∞∫∝≡∼°¢";

pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: plain(text).chars().collect(), at: 0, tokens: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn before(&self) -> char {
        self.at.checked_sub(1).map_or('\0', |i| self.chars[i])
    }

    /// How many characters from `ahead` on are of a kind.
    fn run(&self, ahead: usize, is_kind: impl Fn(char) -> bool) -> usize {
        self.chars.iter().skip(self.at + ahead).take_while(|&&c| is_kind(c)).count()
    }

    /// First character from `ahead` on that is not a blank.
    fn next_visible(&self, ahead: usize) -> char {
        self.chars[(self.at + ahead).min(self.chars.len())..]
            .iter()
            .copied()
            .find(|c| !c.is_whitespace())
            .unwrap_or('\0')
    }

    fn push(&mut self, kind: Kind, length: usize) {
        let end = (self.at + length).min(self.chars.len());
        let text: String = self.chars[self.at..end].iter().collect();
        self.tokens.push(Token::new(kind, text));
        self.at = end;
    }

    fn operator(&mut self, sign: char, length: usize) {
        self.tokens.push(Token::new(Kind::Operator(sign), sign));
        self.at += length;
    }

    fn step(&mut self) {
        let c = self.peek(0);
        let between_digits = self.before().is_ascii_digit() && self.peek(1).is_ascii_digit();
        match c {
            _ if c.is_whitespace() => self.at += 1,
            '0'..='9' => self.number(),
            '.' if self.peek(1).is_ascii_digit() && !matches!(self.before(), '0'..='9' | '.') => {
                self.number();
            }
            // Separators that glue two numbers together: `3.4.5`, `1,23`, `3:00`.
            '.' | ',' | ':' if between_digits => self.push(Kind::Symbol, 1),
            '$' | '£' | '€' | '¥' | '₹' => self.push(Kind::Currency, 1),
            '%' => self.push(Kind::Percent, 1),
            '(' => self.push(Kind::Open, 1),
            ')' => self.push(Kind::Close, 1),
            '=' | '-' if self.peek(1) == '>' => self.push(Kind::Pause, 2),
            '=' if self.peek(1) == '=' => {
                let length = self.run(0, |c| c == '=');
                self.push(Kind::Equals, length);
            }
            '=' => self.push(Kind::Equals, 1),
            '<' | '>' | '!' | '~' | ':' if self.peek(1) == '=' => self.push(Kind::Symbol, 2),
            '/' if self.peek(1) == '/' => self.push(Kind::Symbol, 2),
            '*' if self.peek(1) == '*' => self.stars(),
            '+' | '-' | '*' | '/' => self.operator(c, 1),
            '×' | '·' | '⋅' | '∗' | '✕' => self.operator('*', 1),
            '÷' => self.operator('/', 1),
            '−' | '–' => self.operator('-', 1),
            '\\' => self.command(),
            // Markdown: says nothing about numbers.
            '`' | '_' => self.at += 1,
            '!' if matches!(self.before(), '0'..='9' | ')') => self.push(Kind::Symbol, 1),
            'x' | 'X' if self.is_times() => self.operator('*', 1),
            _ if c.is_alphabetic() => self.word(),
            // Digits of other scripts, superscripts, vulgar fractions.
            _ if c.is_numeric() || SYMBOLS.contains(c) => self.push(Kind::Symbol, 1),
            _ => self.push(Kind::Pause, 1),
        }
    }

    fn number(&mut self) {
        let mut text = String::new();
        let start = self.at;
        self.digits(&mut text);
        if (1..=3).contains(&(self.at - start)) {
            while self.peek(0) == ',' && self.group_follows() {
                self.at += 1;
                self.digits(&mut text);
            }
        }
        if text.is_empty() {
            text.push('0');
        }
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            text.push('.');
            self.at += 1;
            self.digits(&mut text);
        }
        self.tokens.push(Token::new(Kind::Number, text));
    }

    fn digits(&mut self, text: &mut String) {
        while self.peek(0).is_ascii_digit() {
            text.push(self.peek(0));
            self.at += 1;
        }
    }

    /// At a comma: do exactly three digits follow, and all groups behind them have three too?
    ///
    /// `1,234` is one number; `1,2345` and `12,34` are none.
    fn group_follows(&self) -> bool {
        let mut n = 0;
        loop {
            if !(1..=3).all(|i| self.peek(n + i).is_ascii_digit()) || self.peek(n + 4).is_ascii_digit() {
                return false;
            }
            if self.peek(n + 4) != ',' || !self.peek(n + 5).is_ascii_digit() {
                return true;
            }
            n += 4;
        }
    }

    /// `2**3` is a power, which the grammar does not have; any other `**` is emphasis and is dropped.
    fn stars(&mut self) {
        let length = self.run(0, |c| c == '*');
        let left =
            matches!(self.tokens.last().map(|t| t.kind), Some(Kind::Number | Kind::Close | Kind::Percent));
        if left && matches!(self.next_visible(length), '0'..='9' | '(' | '-' | '.') {
            self.push(Kind::Symbol, length);
        } else {
            self.at += length;
        }
    }

    /// TeX: operators are read, spacing and delimiters dropped, anything else is a symbol.
    fn command(&mut self) {
        let letters = self.run(1, |c| c.is_ascii_alphabetic());
        let name: String = self.chars[self.at + 1..self.at + 1 + letters].iter().collect();
        match (name.as_str(), self.peek(1)) {
            ("times" | "cdot", _) => self.operator('*', 1 + letters),
            ("div", _) => self.operator('/', 1 + letters),
            ("left" | "right" | "quad", _) => self.at += 1 + letters,
            ("", '$' | '%') => self.at += 1,
            ("", '(' | ')' | '[' | ']' | ',' | ';' | ':' | '!' | ' ' | '\\') => self.at += 2,
            _ => self.push(Kind::Symbol, 1 + letters),
        }
    }

    /// An `x` means times between two numbers, where it stands alone: `3 x 4`, `3x4`, `2 boxes x 5`.
    fn is_times(&self) -> bool {
        let apart = !self.before().is_alphabetic();
        let left = matches!(
            self.tokens.last().map(|t| t.kind),
            Some(Kind::Number | Kind::Close | Kind::Percent | Kind::Word | Kind::Currency)
        );
        let spaced = self.before().is_whitespace() && self.peek(1).is_whitespace();
        let right = match self.next_visible(1) {
            '0'..='9' | '$' | '£' | '€' | '¥' | '₹' | '.' => !self.peek(1).is_alphabetic(),
            // `3x(4+5)` and `3x - 5` may be algebra.
            '(' => spaced,
            _ => false,
        };
        apart && left && right
    }

    fn word(&mut self) {
        let inside = |c: char| c.is_alphabetic() || c.is_ascii_digit() || matches!(c, '_' | '\'' | '’');
        let length = 1 + self.run(1, inside);
        self.push(Kind::Word, length);
    }
}
