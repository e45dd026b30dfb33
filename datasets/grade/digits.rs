//! How the lexer reads numbers: separators of thousands, repeating decimals, powers of ten, fractions of one
//! character.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use super::lex::{Kind, Lexer, Token};
use super::limits::{MAX_DIGITS, Stop};
use super::names::{SET_OPEN, power_of, vulgar};

impl Lexer {
    pub(super) fn number(&mut self) -> Result<(), Stop> {
        let mut whole: String = self.take_digits();
        if (1..=3).contains(&whole.len()) {
            while let Some(gap) = self.group_follows() {
                self.at += gap;
                whole += &self.take_digits();
            }
        }
        if let Some(length) = self.lakhs_follow(whole.len()) {
            let groups = self.text(0, length);
            whole.extend(groups.chars().filter(char::is_ascii_digit));
            self.at += length;
        }
        let mut fraction = String::new();
        let mut plain = true;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            fraction = self.take_digits();
            plain = false;
        } else if self.peek(0) == '.' && self.repeats(1).or_else(|| self.repeats_in_brackets(1)).is_some() {
            self.at += 1;
            plain = false;
        } else if self.peek(0) == '.' && !matches!(self.peek(1), '.' | '\0') {
            // `18.` before a closing sign or a word.
            self.at += 1;
        }
        let mut value = ratio(&format!("{whole}{fraction}"), fraction.len());
        let brackets = if fraction.is_empty() { self.repeats_in_brackets(0) } else { None };
        if !plain && let Some((digits, end)) = self.repeats(0).or(brackets) {
            let nines = BigInt::from(10).pow(digits.len() as u32) - 1;
            let shift = BigInt::from(10).pow(fraction.len() as u32);
            value += BigRational::new(ratio(&digits, 0).to_integer(), nines * shift);
            self.at = end;
            self.digits += 2 * digits.len();
        }
        if let Some((exponent, length)) = self.power_of_ten() {
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
            self.at += length;
            plain = false;
        }
        self.digits += whole.len() + fraction.len();
        if self.digits > MAX_DIGITS {
            return Err(Stop::Fuel);
        }
        self.push(Kind::Number(value, plain), 0);
        // `1.234,5` is a number in some languages, and a list in others.
        if (1..=3).contains(&whole.len()) && fraction.len() == 3 && self.peek(0) == ',' {
            let digits = self.run(1, |c| c.is_ascii_digit());
            let ends = self.at + 1 + digits == self.chars.len() && self.tokens.len() == 1;
            if digits > 0 && ends {
                self.push(Kind::Other, 0);
            }
        }
        // `0.1(6)` alone is a repeating decimal, or a product.
        if !fraction.is_empty()
            && let Some((_, end)) = self.repeats_in_brackets(0)
            && self.chars[end..].iter().all(|c| c.is_whitespace() || *c == '$')
        {
            self.push(Kind::Other, 0);
        }
        Ok(())
    }

    /// Digits in brackets at `ahead`, and where they end: `0.(3)`.
    fn repeats_in_brackets(&self, ahead: usize) -> Option<(String, usize)> {
        let count = self.run(ahead + 1, |c| c.is_ascii_digit());
        let closed = self.peek(ahead) == '(' && self.peek(ahead + 1 + count) == ')';
        (closed && (1..=64).contains(&count))
            .then(|| (self.text(ahead + 1, count), self.at + ahead + count + 2))
    }

    /// The size of the exponent behind an `e` here, and the length of both.
    fn power_of_ten(&self) -> Option<(usize, usize)> {
        let sign = usize::from(matches!(self.peek(1), '+' | '-' | '−'));
        let begins = match self.peek(0) {
            'E' => true,
            'e' => !(self.euler && sign == 1),
            _ => false,
        };
        let digits = self.run(1 + sign, |c| c.is_ascii_digit());
        if !begins || !(1..=4).contains(&digits) || self.peek(1 + sign + digits).is_alphabetic() {
            return None;
        }
        let exponent = self.text(1 + sign, digits).parse().unwrap_or(usize::MAX);
        Some((exponent, 1 + sign + digits))
    }

    /// Digits under a bar at `ahead`, and where they end: `\overline{3}`, `\bar{3}`.
    fn repeats(&self, ahead: usize) -> Option<(String, usize)> {
        let rest = self.text(ahead, MAX_DIGITS);
        let (open, body) =
            ["\\overline{", "\\bar{"].into_iter().find_map(|open| Some((open, rest.strip_prefix(open)?)))?;
        let (digits, _) = body.split_once('}')?;
        let good = !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|b| b.is_ascii_digit());
        good.then(|| (digits.to_owned(), self.at + ahead + open.len() + digits.len() + 1))
    }

    fn take_digits(&mut self) -> String {
        let length = self.run(0, |c| c.is_ascii_digit());
        let digits = self.text(0, length);
        self.at += length;
        digits
    }

    /// Length of the rest of a number in groups of two digits and a last one of three, `1,23,456`, outside of
    /// brackets.
    fn lakhs_follow(&self, first: usize) -> Option<usize> {
        let length = self.run(0, |c| c.is_ascii_digit() || c == ',');
        let rest = self.text(0, length);
        let mut groups: Vec<&str> = rest.strip_prefix(',')?.split(',').collect();
        let last = groups.pop()?;
        let good = (1..=2).contains(&first) && last.len() == 3 && !groups.is_empty();
        let bracket = |token: &Token| matches!(token.kind, Kind::Sign('(' | '[' | '{' | SET_OPEN));
        (good && groups.iter().all(|group| group.len() == 2) && !self.tokens.iter().any(bracket))
            .then_some(length)
    }

    /// Length of a thousands separator here, if three digits follow it and so on to the end of the number.
    fn group_follows(&self) -> Option<usize> {
        let separator = |n: usize| -> usize {
            let rest = self.text(n, 20);
            if let Some(length) = comma(&rest) {
                return length;
            }
            let explicit = ["\\thinspace ", "{,}", "{\\,}", "\\,", "\\;", "\\:", "\\!", "\\ ", ",", "~", "'"];
            match explicit.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => sign.len(),
                None => usize::from(
                    rest.starts_with(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2004}'..='\u{200a}')),
                ),
            }
        };
        let first = separator(0);
        if first == 0 {
            return None;
        }
        let drawn = |n: usize| comma(&self.text(n, 20)).is_some();
        let blank = matches!(self.peek(0), ' ' | '\u{a0}' | '~');
        let mut n = 0;
        loop {
            let gap = separator(n);
            let three = (0..3).all(|i| self.peek(n + gap + i).is_ascii_digit());
            if gap == 0 || !three || self.peek(n + gap + 3).is_ascii_digit() {
                return None;
            }
            n += gap + 3;
            let next = separator(n);
            // `1,\!000,2` goes on behind a comma of another kind.
            let ends = drawn(0) && !drawn(n);
            if next == 0 || ends || !self.peek(n + next).is_ascii_digit() {
                // `1 234/500` is a mixed number, and `1 234` in a text of several numbers is unclear.
                return (!blank || !matches!(self.peek(n), '/' | '\\' | '.' | '^')).then_some(first);
            }
        }
    }

    pub(super) fn superscript(&mut self) {
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

    pub(super) fn vulgar(&mut self, c: char) {
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
}

/// Length of a comma that commands of spacing draw to the digits: `,\!`, `\!,\!`, `,\! `, `\text{,}`. Behind
/// `,\,` a list may go on, unless zero begins the next digits.
fn comma(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\\!").unwrap_or(text);
    let boxed =
        ["\\text{,}", "\\mathrm{,}", "\\mbox{,}"].into_iter().find_map(|sign| rest.strip_prefix(sign));
    let behind = boxed.or_else(|| rest.strip_prefix("{,}")).or_else(|| rest.strip_prefix(','))?;
    let drawn = behind.trim_start().strip_prefix("\\!").map(str::trim_start);
    let spaced = behind.strip_prefix("\\,").filter(|rest| rest.starts_with('0'));
    let rest = drawn.or(spaced).or_else(|| (boxed.is_some() || text.starts_with('\\')).then_some(behind))?;
    Some(text[..text.len() - rest.len()].chars().count())
}

/// `digits` divided by a power of ten.
fn ratio(digits: &str, places: usize) -> BigRational {
    let value = BigInt::parse_bytes(digits.as_bytes(), 10).unwrap_or_else(BigInt::zero);
    if places == 0 {
        return BigRational::new_raw(value, BigInt::one());
    }
    BigRational::new(value, BigInt::from(10).pow(places as u32))
}
