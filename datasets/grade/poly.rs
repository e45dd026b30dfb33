//! Polynomials over the rationals in generators: variables, and numbers of which nothing more is known than
//! how their powers multiply (π, roots of primes, logarithms of primes, sines, …). Exponents are rational, so
//! roots and denominators are exponents too: `1/(1+√2)` is the generator `Power(1+√2)` to the power -1.
//!
//! Products are normalised by the generators' own rules (`i² = -1`, `√2² = 2`, `Power(P)^1 = P`,
//! `sin² = 1 - cos²`), so that equal results mean equal values. Unequal results mean little by themselves.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::{BigRational, Ratio};
use num_traits::{CheckedAdd, CheckedMul, One, Pow, Signed, ToPrimitive, Zero};

use super::interval::Gap;
use super::limits::Stop;
use super::tree::Function;

pub(super) type Exponent = Ratio<i64>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Generator {
    I,
    Variable(String),
    /// A positive integer without small factors in common with any other: a prime, or what trial division
    /// left.
    Prime(BigInt),
    Pi,
    /// ln of the base of a logarithm that was written without one.
    Base,
    /// cos of this multiple of π, between 0 and 1/2.
    Cosine(Exponent),
    /// e to the power of a monomial.
    Exp(Monomial),
    Ln(Poly),
    /// A polynomial of several terms without rational content, with an exponent that is no positive integer.
    Power(Poly),
    Call(Function, Poly),
}

pub(super) type Monomial = Vec<(Generator, Exponent)>;

/// Terms by monomial; no coefficient is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Poly(pub BTreeMap<Monomial, BigRational>);

/// Largest product of integer powers of primes that is multiplied out, in bits.
const MAX_FOLD: u64 = 4096;
/// Largest coefficient, in bits.
const MAX_COEFFICIENT: u64 = 16_384;

impl Generator {
    /// Is it a positive real number, whatever (real) numbers the variables are?
    pub(super) fn is_positive(&self) -> bool {
        match self {
            Generator::Prime(_) | Generator::Pi | Generator::Cosine(_) => true,
            Generator::Exp(monomial) => {
                monomial.iter().all(|(g, _)| g.is_positive() || matches!(g, Generator::Variable(_)))
            }
            // A prime and π are larger than 1.
            Generator::Ln(poly) => poly.single().is_some_and(|(c, m)| {
                c.is_one() && matches!(m, [(Generator::Prime(_) | Generator::Pi, e)] if e.is_positive())
            }),
            _ => false,
        }
    }

    pub(super) fn is_never_zero(&self) -> bool {
        self.is_positive()
            || matches!(self, Generator::I | Generator::Exp(_) | Generator::Base | Generator::Variable(_))
    }
}

impl Poly {
    /// What it costs to copy, see [`weight`].
    fn weight(&self) -> u64 {
        self.0.keys().map(|monomial| weight(monomial).max(1)).sum()
    }

    pub(super) fn constant(value: BigRational) -> Poly {
        Poly::term(value, Vec::new())
    }

    pub(super) fn integer(value: i64) -> Poly {
        Poly::constant(BigRational::from_integer(value.into()))
    }

    pub(super) fn term(coefficient: BigRational, monomial: Monomial) -> Poly {
        let mut poly = Poly::default();
        if !coefficient.is_zero() {
            poly.0.insert(monomial, coefficient);
        }
        poly
    }

    pub(super) fn generator(generator: Generator) -> Poly {
        Poly::term(BigRational::one(), vec![(generator, Exponent::one())])
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The only term.
    pub(super) fn single(&self) -> Option<(&BigRational, &[(Generator, Exponent)])> {
        let (monomial, coefficient) = self.0.first_key_value()?;
        (self.0.len() == 1).then_some((coefficient, monomial.as_slice()))
    }

    pub(super) fn rational(&self) -> Option<BigRational> {
        match self.single() {
            Some((value, [])) => Some(value.clone()),
            Some(_) => None,
            None => self.is_zero().then(BigRational::zero),
        }
    }

    pub(super) fn whole(&self) -> Option<i64> {
        self.rational().filter(BigRational::is_integer)?.to_integer().to_i64()
    }

    pub(super) fn scaled(mut self, factor: &BigRational) -> Poly {
        if factor.is_zero() {
            return Poly::default();
        }
        for coefficient in self.0.values_mut() {
            *coefficient *= factor;
        }
        self
    }

    /// The positive rational that leaves coprime integers as coefficients.
    pub(super) fn content(&self) -> BigRational {
        let (mut over, mut under) = (BigInt::zero(), BigInt::one());
        for coefficient in self.0.values() {
            over = over.gcd(coefficient.numer());
            under = under.lcm(coefficient.denom());
        }
        if over.is_zero() { BigRational::one() } else { BigRational::new(over, under) }
    }

    pub(super) fn leads_negative(&self) -> bool {
        self.0.last_key_value().is_some_and(|(_, c)| c.is_negative())
    }

    /// Every generator, those inside of others included.
    pub(super) fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Generator, Exponent)) {
        fn monomial<'a>(m: &'a Monomial, see: &mut impl FnMut(&'a Generator, Exponent)) {
            for (generator, exponent) in m {
                see(generator, *exponent);
                match generator {
                    Generator::Exp(inner) => monomial(inner, see),
                    Generator::Ln(poly) | Generator::Power(poly) | Generator::Call(_, poly) => {
                        poly.visit(see);
                    }
                    _ => {}
                }
            }
        }
        for m in self.0.keys() {
            monomial(m, see);
        }
    }
}

/// What it costs to copy or compare a monomial, whose generators may hold whole polynomials: generators in
/// all.
fn weight(monomial: &Monomial) -> u64 {
    let of = |generator: &Generator| match generator {
        Generator::Exp(inner) => 1 + weight(inner),
        Generator::Ln(poly) | Generator::Power(poly) | Generator::Call(_, poly) => 1 + poly.weight(),
        _ => 1,
    };
    monomial.iter().map(|(generator, _)| of(generator)).sum()
}

/// Arithmetic with limited work, both for one comparison.
pub(super) struct Algebra {
    /// Products of terms.
    fuel: u64,
    /// Evaluations, in about a microsecond.
    work: u64,
}

impl Algebra {
    pub(super) fn new(fuel: u64, work: u64) -> Algebra {
        Algebra { fuel, work }
    }

    /// Pays for an elementary function at this precision.
    pub(super) fn pay(&mut self, bits: u64) -> Result<(), Gap> {
        let words = bits.div_ceil(64);
        self.pay_units(25 + words * words)
    }

    pub(super) fn pay_units(&mut self, units: u64) -> Result<(), Gap> {
        self.work = self.work.checked_sub(units).ok_or(Gap::Fuel)?;
        Ok(())
    }

    pub(super) fn spend(&mut self, amount: u64) -> Result<(), Stop> {
        self.fuel = self.fuel.checked_sub(amount).ok_or(Stop::Fuel)?;
        Ok(())
    }

    pub(super) fn add(&mut self, a: &Poly, b: &Poly) -> Result<Poly, Stop> {
        let (mut sum, small) = if a.0.len() < b.0.len() { (b.clone(), a) } else { (a.clone(), b) };
        self.spend(1 + small.weight() + sum.weight() / 4)?;
        for (monomial, coefficient) in &small.0 {
            insert(&mut sum, monomial.clone(), coefficient.clone());
        }
        Ok(sum)
    }

    pub(super) fn sub(&mut self, a: &Poly, b: &Poly) -> Result<Poly, Stop> {
        self.add(a, &b.clone().scaled(&-BigRational::one()))
    }

    pub(super) fn mul(&mut self, a: &Poly, b: &Poly) -> Result<Poly, Stop> {
        let mut product = Poly::default();
        let weights: Vec<u64> = b.0.keys().map(weight).collect();
        for (m, c) in &a.0 {
            let weight = weight(m);
            for ((n, d), other) in b.0.iter().zip(&weights) {
                self.spend(1 + (weight + other) / 2 + (c.numer().bits() + d.numer().bits()) / 256)?;
                let term = self.reduce(c * d, merge(m, n)?)?;
                for (monomial, coefficient) in term.0 {
                    insert(&mut product, monomial, coefficient);
                }
            }
        }
        Ok(product)
    }

    pub(super) fn whole_power(&mut self, base: &Poly, exponent: u64) -> Result<Poly, Stop> {
        let (mut result, mut square, mut left) = (Poly::integer(1), base.clone(), exponent);
        if base.0.len() > 1 && exponent > 200 {
            return Err(Stop::Fuel);
        }
        while left > 0 {
            if left & 1 == 1 {
                result = self.mul(&result, &square)?;
            }
            left >>= 1;
            if left > 0 {
                square = self.mul(&square, &square)?;
            }
        }
        Ok(result)
    }

    /// A term in normal form.
    pub(super) fn reduce(&mut self, mut coefficient: BigRational, monomial: Monomial) -> Result<Poly, Stop> {
        let mut rest = Monomial::with_capacity(monomial.len());
        let mut factors = Vec::new();
        let size = |(generator, exponent): &(Generator, Exponent)| match generator {
            Generator::Prime(p) => p.bits().saturating_mul(exponent.floor().to_integer().unsigned_abs()),
            _ => 0,
        };
        let folds = monomial.iter().map(size).fold(0, u64::saturating_add) <= MAX_FOLD;
        for (generator, exponent) in monomial {
            let floor = exponent.floor().to_integer();
            match &generator {
                Generator::Prime(p) if floor != 0 && folds => {
                    coefficient *= Pow::pow(&BigRational::from_integer(p.clone()), floor as i32);
                    push(&mut rest, generator, exponent - floor);
                }
                Generator::I if exponent.is_integer() => {
                    if floor.rem_euclid(4) >= 2 {
                        coefficient = -coefficient;
                    }
                    push(&mut rest, generator, Exponent::from_integer(floor.rem_euclid(2)));
                }
                Generator::Power(base) if floor >= 1 => {
                    factors.push((base.clone(), floor as u64));
                    push(&mut rest, generator, exponent - floor);
                }
                Generator::Call(Function::Sin, argument) if floor >= 2 && exponent.is_integer() => {
                    let cosine =
                        vec![(Generator::Call(Function::Cos, argument.clone()), Exponent::from_integer(2))];
                    let square = self.sub(&Poly::integer(1), &Poly::term(BigRational::one(), cosine))?;
                    factors.push((square, floor as u64 / 2));
                    push(&mut rest, generator, Exponent::from_integer(floor % 2));
                }
                _ => push(&mut rest, generator, exponent),
            }
            if coefficient.numer().bits() + coefficient.denom().bits() > MAX_COEFFICIENT {
                return Err(Stop::Fuel);
            }
        }
        let mut poly = Poly::term(coefficient, rest);
        for (base, exponent) in factors {
            let factor = self.whole_power(&base, exponent)?;
            poly = self.mul(&poly, &factor)?;
        }
        Ok(poly)
    }

    /// The polynomial times a monomial, in normal form.
    pub(super) fn shift(&mut self, poly: &Poly, by: &Monomial) -> Result<Poly, Stop> {
        self.mul(poly, &Poly::term(BigRational::one(), by.clone()))
    }
}

fn push(monomial: &mut Monomial, generator: Generator, exponent: Exponent) {
    if !exponent.is_zero() {
        monomial.push((generator, exponent));
    }
}

fn insert(poly: &mut Poly, monomial: Monomial, coefficient: BigRational) {
    use std::collections::btree_map::Entry;
    match poly.0.entry(monomial) {
        Entry::Vacant(entry) => {
            if !coefficient.is_zero() {
                entry.insert(coefficient);
            }
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += coefficient;
            if entry.get().is_zero() {
                entry.remove();
            }
        }
    }
}

/// The product of two monomials, before any rule.
fn merge(a: &[(Generator, Exponent)], b: &[(Generator, Exponent)]) -> Result<Monomial, Stop> {
    let mut merged = Monomial::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].0.cmp(&b[j].0) {
            std::cmp::Ordering::Less => {
                merged.push(a[i].clone());
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                merged.push(b[j].clone());
                j += 1;
            }
            std::cmp::Ordering::Equal => {
                let exponent = bounded(a[i].1.checked_add(&b[j].1))?;
                push(&mut merged, a[i].0.clone(), exponent);
                i += 1;
                j += 1;
            }
        }
    }
    merged.extend_from_slice(&a[i..]);
    merged.extend_from_slice(&b[j..]);
    Ok(merged)
}

/// Exponents are so small that arithmetic on two of them cannot overflow.
pub(super) fn bounded(exponent: Option<Exponent>) -> Result<Exponent, Stop> {
    exponent.filter(|e| e.numer().unsigned_abs() < 1 << 40 && *e.denom() < 1 << 16).ok_or(Stop::Fuel)
}

/// The monomial with all exponents multiplied.
pub(super) fn raise(monomial: &[(Generator, Exponent)], by: Exponent) -> Result<Monomial, Stop> {
    monomial.iter().map(|(g, e)| Ok((g.clone(), bounded(e.checked_mul(&by))?))).collect()
}
