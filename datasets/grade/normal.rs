//! Normal forms: what an expression is as a [`Poly`].
//!
//! Every rule here is an identity of the principal values, so that two expressions with one normal form are
//! equal. Roots of odd degree of negative rationals are the real ones (`(-8)^(1/3)` is -2).

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::decide;
use super::limits::Stop;
use super::poly::{Algebra, Exponent, Generator, Monomial, Poly, bounded, raise};
use super::tree::{Expr, Function};

/// Largest `n` of which the factorial is written as a product of primes.
const MAX_FACTORIAL: i64 = 2_500;
/// Most factors of a number of which the logarithm is a sum.
const MAX_LOGARITHMS: usize = 12;
/// Largest trial divisor.
const MAX_DIVISOR: u64 = 10_000;

pub(super) fn exponent(value: &BigRational) -> Result<Exponent, Stop> {
    let parts = (value.numer().to_i64(), value.denom().to_i64());
    let (Some(over), Some(under)) = parts else { return Err(Stop::Fuel) };
    bounded(Some(Exponent::new(over, under)))
}

fn big(value: Exponent) -> BigRational {
    BigRational::new((*value.numer()).into(), (*value.denom()).into())
}

pub(super) fn half() -> BigRational {
    BigRational::new(1.into(), 2.into())
}

impl Algebra {
    pub(super) fn normal(&mut self, expr: &Expr) -> Result<Poly, Stop> {
        self.spend(1)?;
        match expr {
            Expr::Number(value) => Ok(Poly::constant(value.clone())),
            Expr::Variable(name) => Ok(Poly::generator(Generator::Variable(name.clone()))),
            Expr::Pi => Ok(Poly::generator(Generator::Pi)),
            Expr::E => Ok(Poly::generator(Generator::Exp(Vec::new()))),
            Expr::I => Ok(Poly::generator(Generator::I)),
            Expr::Negate(inner) => Ok(self.normal(inner)?.scaled(&-BigRational::one())),
            Expr::Percent(inner) => Ok(self.normal(inner)?.scaled(&BigRational::new(1.into(), 100.into()))),
            Expr::Binary(sign, left, right) => {
                let (left, right) = (self.normal(left)?, self.normal(right)?);
                match sign {
                    '+' => self.add(&left, &right),
                    '-' => self.sub(&left, &right),
                    '*' => self.mul(&left, &right),
                    '/' => self.quotient(&left, &right),
                    _ => self.power(&left, &right),
                }
            }
            Expr::Call(function, arguments) => {
                let arguments: Vec<Poly> =
                    arguments.iter().map(|a| self.normal(a)).collect::<Result<_, _>>()?;
                self.call(*function, &arguments)
            }
        }
    }

    fn quotient(&mut self, left: &Poly, right: &Poly) -> Result<Poly, Stop> {
        let inverse = self.rational_power(right, -Exponent::one())?;
        self.mul(left, &inverse)
    }

    fn power(&mut self, base: &Poly, exponent_: &Poly) -> Result<Poly, Stop> {
        if let Some(value) = exponent_.rational() {
            if let Ok(value) = exponent(&value) {
                return self.rational_power(base, value);
            }
            if base.rational().is_some_and(|b| b.is_one()) {
                return Ok(Poly::integer(1));
            }
        }
        if base.is_zero() {
            return Err(Stop::Undefined);
        }
        let ln = self.ln(base)?;
        let product = self.mul(exponent_, &ln)?;
        self.exp(&product)
    }

    pub(super) fn rational_power(&mut self, base: &Poly, by: Exponent) -> Result<Poly, Stop> {
        if base.is_zero() {
            return if by.is_positive() { Ok(Poly::default()) } else { Err(Stop::Undefined) };
        }
        if by.is_zero() {
            return Ok(Poly::integer(1));
        }
        if by.is_one() {
            return Ok(base.clone());
        }
        if let Some((coefficient, monomial)) = base.single() {
            return self.monomial_power(coefficient, monomial, by);
        }
        if by.is_integer() && by.is_positive() {
            return self.whole_power(base, *by.numer() as u64);
        }
        if *by.denom() == 2
            && let Some(root) = self.denested(base)?
        {
            return self.rational_power(&root, Exponent::from_integer(*by.numer()));
        }
        let content = base.content();
        let mut primitive = base.clone().scaled(&content.recip());
        let mut factor = self.monomial_power(&content, &[], by)?;
        if by.is_integer() && primitive.leads_negative() {
            primitive = primitive.scaled(&-BigRational::one());
            if by.numer() % 2 != 0 {
                factor = factor.scaled(&-BigRational::one());
            }
        }
        let power = self.reduce(BigRational::one(), vec![(Generator::Power(primitive), by)])?;
        self.mul(&factor, &power)
    }

    /// `(c m)^by`: what is positive comes out of the power, the rest stays in it.
    fn monomial_power(
        &mut self,
        c: &BigRational,
        m: &[(Generator, Exponent)],
        by: Exponent,
    ) -> Result<Poly, Stop> {
        if c.is_negative() && m.is_empty() && *by.denom() == 2 {
            let unit =
                self.reduce(BigRational::one(), vec![(Generator::I, Exponent::from_integer(*by.numer()))])?;
            let positive = self.monomial_power(&-c, m, by)?;
            return self.mul(&positive, &unit);
        }
        if c.is_negative() && m.is_empty() && by.denom() % 2 == 1 {
            let positive = self.monomial_power(&-c, m, by)?;
            return Ok(if by.numer() % 2 == 0 { positive } else { positive.scaled(&-BigRational::one()) });
        }
        let (mut out, mut inside) = (Monomial::new(), Monomial::new());
        for (generator, e) in m {
            // (g^e)^by = g^(e by) for any g if by is whole, or if g^e is in the half plane of g.
            let alone = m.len() == 1 && c.is_positive() && *e <= Exponent::one() && *e > -Exponent::one();
            if by.is_integer() || generator.is_positive() || (alone && *generator != Generator::I) {
                out.push((generator.clone(), *e));
            } else {
                inside.push((generator.clone(), *e));
            }
        }
        let mut result = self.reduce(BigRational::one(), raise(&out, by)?)?;
        if by.is_integer() {
            let power = by.numer().unsigned_abs();
            let size = (c.numer().bits() + c.denom().bits()).saturating_mul(power);
            if size <= 4096 {
                let factor = Pow::pow(c, *by.numer() as i32);
                return Ok(result.scaled(&factor));
            }
            if c.is_negative() && power % 2 == 1 {
                result = result.scaled(&-BigRational::one());
            }
        }
        let mut primes = Monomial::new();
        for (number, sign) in [(c.numer(), 1), (c.denom(), -1)] {
            for (prime, count) in self.factors(&number.abs())? {
                primes.push((Generator::Prime(prime), Exponent::from_integer(sign * count)));
            }
        }
        primes.sort();
        let primes = self.reduce(BigRational::one(), raise(&primes, by)?)?;
        result = self.mul(&result, &primes)?;
        let negative = c.is_negative() && !by.is_integer();
        if inside.is_empty() && !negative {
            return Ok(result);
        }
        let inside = Poly::term(if negative { -BigRational::one() } else { BigRational::one() }, inside);
        let opaque = self.reduce(BigRational::one(), vec![(Generator::Power(inside), by)])?;
        self.mul(&result, &opaque)
    }

    /// Factors with their powers: primes, and at most one number without small factors.
    fn factors(&mut self, n: &BigInt) -> Result<Vec<(BigInt, i64)>, Stop> {
        let mut rest = n.clone();
        let mut found = Vec::new();
        let mut divisor = 2_u64;
        let limit = if rest.bits() > 256 { 300 } else { MAX_DIVISOR };
        while divisor <= limit && rest.bits() > 64 {
            let mut count = 0;
            while (&rest % divisor).is_zero() {
                rest /= divisor;
                count += 1;
            }
            if count > 0 {
                found.push((BigInt::from(divisor), count));
            }
            divisor += if divisor == 2 { 1 } else { 2 };
        }
        if let Some(mut small) = rest.to_u64() {
            while divisor <= MAX_DIVISOR && divisor.saturating_mul(divisor) <= small {
                let mut count = 0;
                while small % divisor == 0 {
                    small /= divisor;
                    count += 1;
                }
                if count > 0 {
                    found.push((BigInt::from(divisor), count));
                }
                divisor += if divisor == 2 { 1 } else { 2 };
            }
            rest = small.into();
        }
        self.spend(10)?;
        if !rest.is_one() {
            let power = [2_u32, 3, 5].into_iter().find(|&k| rest.nth_root(k).pow(k) == rest);
            match power {
                Some(k) => found.push((rest.nth_root(k), i64::from(k))),
                None => found.push((rest, 1)),
            }
        }
        Ok(found)
    }

    /// The root of `a + b√c` as a sum of roots, where `a² - b²c` is the square of a rational.
    fn denested(&mut self, poly: &Poly) -> Result<Option<Poly>, Stop> {
        let Some(a) = poly.0.get(&Vec::new()).filter(|a| a.is_positive() && poly.0.len() == 2) else {
            return Ok(None);
        };
        let surd = self.sub(poly, &Poly::constant(a.clone()))?;
        let Some(square) = self.mul(&surd, &surd)?.rational() else { return Ok(None) };
        let Some(root) = rational_root(&(a * a - square)) else { return Ok(None) };
        if surd.0.keys().flatten().any(|(g, _)| !matches!(g, Generator::Prime(_))) {
            return Ok(None);
        }
        let part = |x: BigRational| Poly::constant(x * half());
        let one_half = Exponent::new(1, 2);
        let first = self.rational_power(&part(a + &root), one_half)?;
        let second = self.rational_power(&part(a - &root), one_half)?;
        Ok(Some(if surd.leads_negative() { self.sub(&first, &second)? } else { self.add(&first, &second)? }))
    }

    fn exp(&mut self, poly: &Poly) -> Result<Poly, Stop> {
        let mut result = Poly::integer(1);
        for (monomial, c) in &poly.0 {
            let factor = match monomial.as_slice() {
                // e^(c ln P) = P^c
                [(Generator::Ln(base), e)] if e.is_one() && exponent(c).is_ok() => {
                    self.rational_power(base, exponent(c)?)?
                }
                [(Generator::I, _), (Generator::Pi, e)] if e.is_one() => {
                    let cos = self.cosine_of_pi(c)?;
                    let sin = self.cosine_of_pi(&(half() - c))?;
                    let imaginary = self.mul(&sin, &Poly::generator(Generator::I))?;
                    self.add(&cos, &imaginary)?
                }
                [(Generator::I, _), rest @ ..] => {
                    let angle = Poly::term(c.clone(), rest.to_vec());
                    let (cos, sin) = (
                        self.trigonometric(Function::Cos, &angle)?,
                        self.trigonometric(Function::Sin, &angle)?,
                    );
                    let imaginary = self.mul(&sin, &Poly::generator(Generator::I))?;
                    self.add(&cos, &imaginary)?
                }
                _ => match exponent(c) {
                    Ok(power) => {
                        Poly::term(BigRational::one(), vec![(Generator::Exp(monomial.clone()), power)])
                    }
                    // A multiple too large for an exponent: part of what e is raised to.
                    Err(_) => self.exp_of_much(c, monomial)?,
                },
            };
            result = self.mul(&result, &factor)?;
        }
        Ok(result)
    }

    /// e to a multiple that is too large for an exponent: its factors become part of the monomial.
    fn exp_of_much(&mut self, c: &BigRational, monomial: &Monomial) -> Result<Poly, Stop> {
        let mut inner = monomial.clone();
        for (number, sign) in [(c.numer(), 1), (c.denom(), -1)] {
            for (prime, count) in self.factors(&number.abs())? {
                let generator = Generator::Prime(prime);
                match inner.iter_mut().find(|(g, _)| *g == generator) {
                    Some((_, e)) => *e = bounded(Some(*e + sign * count))?,
                    None => inner.push((generator, Exponent::from_integer(sign * count))),
                }
            }
        }
        inner.retain(|(_, e)| !e.is_zero());
        inner.sort();
        let sign = Exponent::from_integer(if c.is_negative() { -1 } else { 1 });
        Ok(Poly::term(BigRational::one(), vec![(Generator::Exp(inner), sign)]))
    }

    pub(super) fn ln(&mut self, poly: &Poly) -> Result<Poly, Stop> {
        if poly.is_zero() {
            return Err(Stop::Undefined);
        }
        if let Some((c, monomial)) = poly.single()
            && monomial.iter().all(|(g, _)| g.is_positive())
            && monomial.len() <= MAX_LOGARITHMS
        {
            let mut sum = Poly::default();
            if c.is_negative() {
                sum = self.mul(&Poly::generator(Generator::I), &Poly::generator(Generator::Pi))?;
            }
            for (number, sign) in [(c.numer(), 1), (c.denom(), -1)] {
                for (prime, count) in self.factors(&number.abs())? {
                    let ln = Poly::generator(Generator::Ln(Poly::generator(Generator::Prime(prime))));
                    sum = self.add(&sum, &ln.scaled(&BigRational::from_integer((sign * count).into())))?;
                }
            }
            for (generator, e) in monomial {
                let ln = match generator {
                    Generator::Exp(inner) => self.reduce(BigRational::one(), inner.clone())?,
                    other => Poly::generator(Generator::Ln(Poly::generator(other.clone()))),
                };
                sum = self.add(&sum, &ln.scaled(&big(*e)))?;
            }
            return Ok(sum);
        }
        let content = poly.content();
        let primitive = poly.clone().scaled(&content.recip());
        let outside = self.ln(&Poly::constant(content))?;
        self.add(&outside, &Poly::generator(Generator::Ln(primitive)))
    }

    fn call(&mut self, function: Function, arguments: &[Poly]) -> Result<Poly, Stop> {
        let [first, rest @ ..] = arguments else { return Err(Stop::Unreadable) };
        match function {
            Function::Sin | Function::Cos => self.trigonometric(function, first),
            Function::Tan => {
                let (sin, cos) =
                    (self.trigonometric(Function::Sin, first)?, self.trigonometric(Function::Cos, first)?);
                self.quotient(&sin, &cos)
            }
            Function::Asin | Function::Acos | Function::Atan => self.inverse_trigonometric(function, first),
            Function::Ln => self.ln(first),
            Function::Log => {
                let (base, argument) = match rest {
                    [argument] => (self.ln(first)?, argument),
                    _ => (Poly::generator(Generator::Base), first),
                };
                let ln = self.ln(argument)?;
                self.quotient(&ln, &base)
            }
            Function::Abs => match decide::sign(first, self) {
                Ok(sign) => Ok(first.clone().scaled(&BigRational::from_integer(sign.into()))),
                Err(_) if first.leads_negative() => {
                    Ok(opaque(Function::Abs, first.clone().scaled(&-BigRational::one())))
                }
                Err(_) => Ok(opaque(Function::Abs, first.clone())),
            },
            Function::Floor | Function::Ceil => match first.rational() {
                Some(value) => {
                    Ok(Poly::constant(if function == Function::Floor { value.floor() } else { value.ceil() }))
                }
                None => match decide::floor(first, self) {
                    Ok(floor) => Ok(Poly::constant(BigRational::from_integer(
                        floor + i32::from(function == Function::Ceil),
                    ))),
                    Err(_) => Ok(opaque(function, first.clone())),
                },
            },
            Function::Factorial => self.factorial(first),
            Function::Binomial => self.binomial(first, rest.first().ok_or(Stop::Unreadable)?),
        }
    }

    /// `n!` as a product of primes (Legendre); `(n + k)!` by `n!`.
    fn factorial(&mut self, argument: &Poly) -> Result<Poly, Stop> {
        if let Some(n) = argument.rational() {
            if !n.is_integer() || n.is_negative() {
                return Err(Stop::Undefined);
            }
            let Some(n) = n.to_integer().to_i64().filter(|&n| n <= MAX_FACTORIAL) else {
                return Ok(opaque(Function::Factorial, argument.clone()));
            };
            let mut monomial = Monomial::new();
            for p in (2..=n).filter(|&p| (2..=p.isqrt()).all(|d| p % d != 0)) {
                let count = std::iter::successors(Some(n / p), |q| Some(q / p)).take_while(|&q| q > 0).sum();
                monomial.push((Generator::Prime(p.into()), Exponent::from_integer(count)));
            }
            self.spend(monomial.len() as u64)?;
            return self.reduce(BigRational::one(), monomial);
        }
        let shift =
            argument.0.get(&Vec::new()).filter(|k| k.is_integer()).and_then(|k| k.to_integer().to_i64());
        let Some(k) = shift.filter(|k| k.abs() <= 16) else {
            return Ok(opaque(Function::Factorial, argument.clone()));
        };
        let base = self.sub(argument, &Poly::integer(k))?;
        let mut result = opaque(Function::Factorial, base.clone());
        for j in 1..=k.abs() {
            let offset = if k > 0 { j } else { 1 - j };
            let factor = self.add(&base, &Poly::integer(offset))?;
            result = if k > 0 { self.mul(&result, &factor)? } else { self.quotient(&result, &factor)? };
        }
        Ok(result)
    }

    fn binomial(&mut self, n: &Poly, k: &Poly) -> Result<Poly, Stop> {
        let k = match (n.whole(), k.whole()) {
            (_, Some(k)) if k < 0 => return Ok(Poly::default()),
            (Some(n), Some(k)) if n >= 0 && k > n => return Ok(Poly::default()),
            (Some(n), Some(k)) if n >= 0 => k.min(n - k),
            (_, Some(k)) => k,
            _ => return Err(Stop::Undecided),
        };
        if k > 1000 {
            return Err(Stop::Fuel);
        }
        let mut result = Poly::integer(1);
        for j in 0..k {
            let factor = self.sub(n, &Poly::integer(j))?.scaled(&BigRational::new(1.into(), (j + 1).into()));
            result = self.mul(&result, &factor)?;
        }
        Ok(result)
    }
}

pub(super) fn opaque(function: Function, argument: Poly) -> Poly {
    Poly::generator(Generator::Call(function, argument))
}

/// The rational square root.
pub(super) fn rational_root(value: &BigRational) -> Option<BigRational> {
    if value.is_negative() {
        return None;
    }
    let (over, under) = (value.numer().sqrt(), value.denom().sqrt());
    (&over * &over == *value.numer() && &under * &under == *value.denom())
        .then(|| BigRational::new(over, under))
}
