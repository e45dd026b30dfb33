//! From tokens to an expression, by recursive descent with bounded depth.

use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

use super::lex::{Kind, Token, is};
use super::limits::{MAX_DEPTH, Stop};
use super::names::{CEIL_CLOSE, CEIL_OPEN, FLOOR_CLOSE, FLOOR_OPEN};
use super::tree::{Expr, Function};
use super::units;

pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    pub at: usize,
    depth: usize,
    /// Open `|`.
    bars: usize,
    /// Arguments of functions that are being read.
    in_call: usize,
    /// Whether a letter behind a number is a unit, where it may be one: then the expression ends there.
    letters_are_units: bool,
    /// The letter at which it ended.
    pub unit_at: Option<usize>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token], letters_are_units: bool) -> Self {
        Parser { tokens, at: 0, depth: 0, bars: 0, in_call: 0, letters_are_units, unit_at: None }
    }

    pub(super) fn kind(&self) -> Option<&'a Kind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn ahead(&self, by: usize) -> Option<&'a Kind> {
        self.tokens.get(self.at + by).map(|t| &t.kind)
    }

    fn take(&mut self, sign: char) -> bool {
        let found = is(self.tokens.get(self.at), sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), Stop> {
        if self.take(sign) { Ok(()) } else { Err(Stop::Unreadable) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Stop::Fuel);
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    pub(super) fn sum(&mut self) -> Result<Expr, Stop> {
        self.deeper(|p| {
            let mut left = p.product()?;
            while let Some(Kind::Sign(sign @ ('+' | '-'))) = p.kind() {
                if matches!(p.ahead(1), Some(Kind::Word(_)) | None) {
                    break;
                }
                p.at += 1;
                left = Expr::binary(*sign, left, p.product()?);
            }
            if p.kind() == Some(&Kind::Name("choose")) {
                p.at += 1;
                left = Expr::Call(Function::Binomial, vec![left, p.sum()?]);
            }
            Ok(left)
        })
    }

    fn product(&mut self) -> Result<Expr, Stop> {
        let mut left = self.unary()?;
        loop {
            match self.kind() {
                Some(Kind::Sign(sign @ ('*' | '/')))
                    if !matches!(self.ahead(1), Some(Kind::Word(_)) | None) =>
                {
                    self.at += 1;
                    left = Expr::binary(*sign, left, self.unary()?);
                }
                _ if self.begins_factor() => left = Expr::binary('*', left, self.power()?),
                _ => return Ok(left),
            }
        }
    }

    /// Does a factor without an operator follow?
    fn begins_factor(&mut self) -> bool {
        let before = self.at.checked_sub(1).map(|i| &self.tokens[i].kind);
        match self.kind() {
            Some(Kind::Name(name)) => *name != "choose",
            // `98!2!`, `(n-2) 2^n`
            Some(Kind::Number(..)) => match before {
                Some(Kind::Sign('!')) => true,
                // `3 + i4`
                Some(Kind::Variable(name)) if name == "i" && self.is_added(self.at - 1) => true,
                Some(Kind::Sign(')' | '}') | Kind::Variable(_)) => {
                    self.tokens[self.at].spaced && self.ahead(1) == Some(&Kind::Sign('^'))
                }
                _ => false,
            },
            // `18 a day`
            Some(Kind::Variable(name))
                if name == "a"
                    && self.tokens[self.at].spaced
                    && matches!(self.ahead(1), Some(Kind::Word(_))) =>
            {
                false
            }
            Some(Kind::Variable(_)) => {
                let token = &self.tokens[self.at];
                let behind = match before {
                    Some(Kind::Number(..)) => true,
                    _ => token.upright,
                };
                let unit =
                    self.letters_are_units && self.depth == 1 && behind && units::is_unit_letter(token);
                if unit {
                    self.unit_at = Some(self.at);
                }
                !unit
            }
            Some(Kind::Sign('(' | '[')) => !matches!(self.ahead(1), Some(Kind::Word(_))),
            Some(Kind::Sign('{' | FLOOR_OPEN | CEIL_OPEN)) => true,
            Some(Kind::Sign('|')) => self.bars == 0,
            _ => false,
        }
    }

    fn is_added(&self, at: usize) -> bool {
        at > 0 && matches!(self.tokens[at - 1].kind, Kind::Sign('+' | '-'))
    }

    fn unary(&mut self) -> Result<Expr, Stop> {
        if self.take('-') {
            return self.deeper(|p| Ok(Expr::Negate(Box::new(p.unary()?))));
        }
        if self.take('+') {
            return self.deeper(Self::unary);
        }
        self.power()
    }

    fn power(&mut self) -> Result<Expr, Stop> {
        if let Some(choose) = self.choose() {
            return Ok(choose);
        }
        let base = self.primary()?;
        let base = self.postfix(base)?;
        if !self.take('^') {
            return Ok(base);
        }
        let exponent = self.deeper(Self::unary)?;
        let power = Expr::binary('^', base, exponent);
        self.postfix(power)
    }

    /// `C_5^2` and `C(5, 2)` as binomial coefficients, `A_5^2` and `P_5^2` as numbers of permutations.
    fn choose(&mut self) -> Option<Expr> {
        let Kind::Variable(name) = self.kind()? else { return None };
        let whole = |token: Option<&Token>| match token.map(|t| &t.kind) {
            Some(Kind::Number(value, true)) => value.to_i64(),
            _ => None,
        };
        let rest = &self.tokens[self.at + 1..];
        let ordered = name.starts_with(['A', 'P']);
        let (n, k, length) =
            if name == "C" && is(rest.first(), '(') && is(rest.get(2), ',') && is(rest.get(4), ')') {
                (whole(rest.get(1))?, whole(rest.get(3))?, 6)
            } else {
                let n = name.strip_prefix(['C', 'A', 'P'])?.strip_prefix('_')?.parse().ok()?;
                let braced = usize::from(is(rest.get(1), '{'));
                let closed = braced == 0 || is(rest.get(3), '}');
                (n, whole(rest.get(1 + braced)).filter(|_| is(rest.first(), '^') && closed)?, 3 + 2 * braced)
            };
        if !(0..=n).contains(&k) || n < 2 {
            return None;
        }
        self.at += length;
        if ordered {
            let factorial = |n| Expr::Call(Function::Factorial, vec![Expr::integer(n)]);
            return Some(Expr::binary('/', factorial(n), factorial(n - k)));
        }
        Some(Expr::Call(Function::Binomial, vec![Expr::integer(n), Expr::integer(k)]))
    }

    fn postfix(&mut self, mut expr: Expr) -> Result<Expr, Stop> {
        loop {
            if self.take('!') {
                if is(self.tokens.get(self.at), '!') {
                    return Err(Stop::Unreadable);
                }
                expr = Expr::Call(Function::Factorial, vec![expr]);
            } else if self.take('%') {
                expr = Expr::Percent(Box::new(expr));
            } else if self.in_call > 0 && self.take('°') {
                expr = Expr::binary('*', expr, Expr::binary('/', Expr::Pi, Expr::integer(180)));
            } else {
                return Ok(expr);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Stop> {
        let kind = self.kind().ok_or(Stop::Unreadable)?;
        self.at += 1;
        match kind {
            Kind::Number(value, whole) => self.number(value, *whole),
            // Functions that the grammar has no name for.
            Kind::Variable(name)
                if matches!(name.as_str(), "\\zeta" | "\\Gamma" | "\\Phi")
                    && is(self.tokens.get(self.at), '(') =>
            {
                Err(Stop::Unreadable)
            }
            Kind::Variable(name) => Ok(match name.as_str() {
                "e" => Expr::E,
                "i" => Expr::I,
                _ => Expr::Variable(name.clone()),
            }),
            Kind::Name(name) => self.deeper(|p| p.named(name)),
            Kind::Sign('(') => self.closed(')'),
            Kind::Sign('[') => self.closed(']'),
            Kind::Sign('{') => self.closed('}'),
            Kind::Sign(FLOOR_OPEN) => Ok(Expr::Call(Function::Floor, vec![self.closed(FLOOR_CLOSE)?])),
            Kind::Sign(CEIL_OPEN) => Ok(Expr::Call(Function::Ceil, vec![self.closed(CEIL_CLOSE)?])),
            Kind::Sign('|') if self.bars == 0 => {
                self.bars += 1;
                let inner = self.sum()?;
                self.bars -= 1;
                self.expect('|')?;
                Ok(Expr::Call(Function::Abs, vec![inner]))
            }
            _ => Err(Stop::Unreadable),
        }
    }

    fn closed(&mut self, close: char) -> Result<Expr, Stop> {
        let bars = std::mem::take(&mut self.bars);
        let inner = self.sum()?;
        self.bars = bars;
        self.expect(close)?;
        Ok(inner)
    }

    /// A number, or the mixed number that it begins: `1 1/4`, `1\frac{1}{4}`.
    fn number(&mut self, value: &BigRational, whole: bool) -> Result<Expr, Stop> {
        let first = Expr::Number(value.clone());
        if !whole {
            return Ok(first);
        }
        if let (Some(Kind::Number(over, true)), Some(Kind::Sign('/')), Some(Kind::Number(under, true))) =
            (self.kind(), self.ahead(1), self.ahead(2))
            && self.tokens[self.at].spaced
            && !under.is_zero()
        {
            self.at += 3;
            return Ok(Expr::Number(value + over / under));
        }
        if self.kind() == Some(&Kind::Name("frac")) {
            let start = self.at;
            self.at += 1;
            let fraction = self.deeper(|p| p.named("frac"))?;
            if let Expr::Binary('/', over, under) = &fraction
                && let (Expr::Number(over), Expr::Number(under)) = (&**over, &**under)
                && over.is_integer()
                && under.is_integer()
                && !under.is_zero()
                && !is(self.tokens.get(self.at), '^')
            {
                return Ok(Expr::Number(value + over / under));
            }
            self.at = start;
        }
        Ok(first)
    }

    fn named(&mut self, name: &str) -> Result<Expr, Stop> {
        match name {
            "pi" => Ok(Expr::Pi),
            "infinity" => Ok(Expr::Variable("∞".into())),
            "frac" | "binom" => {
                let (over, under) = self.two_arguments()?;
                Ok(if name == "frac" {
                    Expr::binary('/', over, under)
                } else {
                    Expr::Call(Function::Binomial, vec![over, under])
                })
            }
            "sqrt" | "root" | "cbrt" => {
                let degree = if name == "cbrt" {
                    Expr::integer(3)
                } else if self.take('[') {
                    self.closed(']')?
                } else {
                    Expr::integer(2)
                };
                // TeX takes one token: `\sqrt2x` is `\sqrt{2}x`.
                let inner = match self.kind() {
                    Some(Kind::Number(..) | Kind::Variable(_) | Kind::Name(_)) if name == "root" => {
                        self.primary()?
                    }
                    _ => self.argument()?,
                };
                Ok(Expr::binary('^', inner, Expr::binary('/', Expr::integer(1), degree)))
            }
            "exp" => Ok(Expr::binary('^', Expr::E, self.argument()?)),
            _ => self.function(name),
        }
    }

    /// The arguments of a fraction or binomial: `{1}{2}`, `12`, `1{2}`, `(1, 2)`.
    fn two_arguments(&mut self) -> Result<(Expr, Expr), Stop> {
        if self.take('(') {
            let first = self.sum()?;
            self.expect(',')?;
            let second = self.sum()?;
            self.expect(')')?;
            return Ok((first, second));
        }
        if let Some(Kind::Number(both, true)) = self.kind()
            && let Some(both) = both.to_i64().filter(|both| (10..100).contains(both))
        {
            self.at += 1;
            return Ok((Expr::integer(both / 10), Expr::integer(both % 10)));
        }
        Ok((self.primary()?, self.primary()?))
    }

    /// The argument of a function: in brackets, or a product without operators (`\sin 2x`).
    fn argument(&mut self) -> Result<Expr, Stop> {
        if matches!(self.kind(), Some(Kind::Sign('(' | '{' | '['))) {
            return self.primary();
        }
        let negative = self.take('-');
        let mut left = self.power()?;
        while matches!(self.kind(), Some(Kind::Variable(_) | Kind::Name("pi" | "frac" | "sqrt" | "root"))) {
            left = Expr::binary('*', left, self.power()?);
        }
        Ok(if negative { Expr::Negate(Box::new(left)) } else { left })
    }

    fn function(&mut self, name: &str) -> Result<Expr, Stop> {
        let mut base = None;
        if name == "log" {
            if self.take('_') {
                base = Some(self.primary()?);
            } else if let (Some(Kind::Number(value, true)), Some(Kind::Sign('('))) =
                (self.kind(), self.ahead(1))
                && !self.tokens[self.at].spaced
            {
                base = Some(Expr::Number(value.clone()));
                self.at += 1;
            }
        }
        let exponent = if self.take('^') { Some(self.deeper(Self::unary)?) } else { None };
        self.in_call += 1;
        let argument = self.argument()?;
        self.in_call -= 1;
        let inverse = exponent
            .as_ref()
            .and_then(Expr::number)
            .is_some_and(|n| n == BigRational::from_integer((-1).into()));
        let exponent = exponent.filter(|_| !(inverse && matches!(name, "sin" | "cos" | "tan")));
        let inverse = inverse && exponent.is_none();
        let call = |function| Expr::Call(function, vec![argument.clone()]);
        let one_over = |expr| Expr::binary('/', Expr::integer(1), expr);
        let e_to = |negative: bool| {
            Expr::binary(
                '^',
                Expr::E,
                if negative { Expr::Negate(Box::new(argument.clone())) } else { argument.clone() },
            )
        };
        let expr = match name {
            "sin" => call(if inverse { Function::Asin } else { Function::Sin }),
            "cos" => call(if inverse { Function::Acos } else { Function::Cos }),
            "tan" => call(if inverse { Function::Atan } else { Function::Tan }),
            "cot" => one_over(call(Function::Tan)),
            "sec" => one_over(call(Function::Cos)),
            "csc" => one_over(call(Function::Sin)),
            "asin" => call(Function::Asin),
            "acos" => call(Function::Acos),
            "atan" => call(Function::Atan),
            "sinh" => Expr::binary('/', Expr::binary('-', e_to(false), e_to(true)), Expr::integer(2)),
            "cosh" => Expr::binary('/', Expr::binary('+', e_to(false), e_to(true)), Expr::integer(2)),
            "tanh" => Expr::binary(
                '/',
                Expr::binary('-', e_to(false), e_to(true)),
                Expr::binary('+', e_to(false), e_to(true)),
            ),
            "ln" => call(Function::Ln),
            "lg" => Expr::Call(Function::Log, vec![Expr::integer(10), argument.clone()]),
            "log" => Expr::Call(Function::Log, base.into_iter().chain([argument.clone()]).collect()),
            "abs" => call(Function::Abs),
            "floor" => call(Function::Floor),
            "ceil" => call(Function::Ceil),
            "factorial" => call(Function::Factorial),
            _ => return Err(Stop::Unreadable),
        };
        Ok(match exponent {
            Some(exponent) => Expr::binary('^', expr, exponent),
            None => expr,
        })
    }
}
