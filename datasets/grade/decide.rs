//! Is a normal form zero?
//!
//! 1. The normal form is empty: yes. Before, denominators and common factors that cannot be zero are removed.
//! 2. It is a polynomial in variables over ℚ(i): no.
//! 3. Intervals of 64, 256, 1024 and 4096 bits (at fixed rational points, where there are variables): one
//!    that excludes zero says no.
//! 4. Terms are grouped by their transcendental part. If every group's factor is an algebraic number that is
//!    smaller than any such number but zero can be (see `bound`), yes.
//! 5. Two terms out of reach in size are compared by their logarithms.
//! 6. Otherwise it is not decided.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::bound::{is_algebraic, separation};
use super::interval::{Bits, Gap, Interval};
use super::limits::Stop;
use super::poly::{Algebra, Exponent, Generator, Monomial, Poly};
use super::tree::Function;

const LEVELS: [u64; 4] = [64, 256, 1024, 4096];
/// Most bits of a bound for algebraic numbers.
const MAX_BOUND: u64 = 6000;
const MAX_DEPTH: u32 = 6;

pub(super) fn is_zero(poly: &Poly, algebra: &mut Algebra) -> Result<bool, Stop> {
    Decision { algebra }.is_zero(poly, 0)
}

/// The sign of a real constant.
pub(super) fn sign(poly: &Poly, algebra: &mut Algebra) -> Result<i32, Stop> {
    if has_variable(poly) {
        return Err(Stop::Undecided);
    }
    let mut decision = Decision { algebra };
    if let Some(value) = poly.rational() {
        return Ok(if value.is_zero() {
            0
        } else if value.is_positive() {
            1
        } else {
            -1
        });
    }
    for bits in LEVELS {
        let (real, imaginary) = decision.evaluate(poly, Bits(bits), &[]).map_err(|_| Stop::Undecided)?;
        if !imaginary.lo.is_zero() || !imaginary.hi.is_zero() {
            return Err(Stop::Undecided);
        }
        if real.excludes_zero() {
            return Ok(if real.lo.is_positive() { 1 } else { -1 });
        }
    }
    if decision.is_zero(poly, 0)? { Ok(0) } else { Err(Stop::Undecided) }
}

/// The floor of a real constant that is no integer.
pub(super) fn floor(poly: &Poly, algebra: &mut Algebra) -> Result<BigInt, Stop> {
    if has_variable(poly) {
        return Err(Stop::Undecided);
    }
    let mut decision = Decision { algebra };
    for bits in LEVELS {
        let (real, imaginary) = decision.evaluate(poly, Bits(bits), &[]).map_err(|_| Stop::Undecided)?;
        let (low, high): (BigInt, BigInt) = (&real.lo >> bits, &real.hi >> bits);
        if imaginary.lo.is_zero() && imaginary.hi.is_zero() && low == high && (&low << bits) != real.lo {
            return Ok(low);
        }
    }
    Err(Stop::Undecided)
}

/// Is the constant's size at most the bound?
pub(super) fn is_within(poly: &Poly, bound: &BigRational, algebra: &mut Algebra) -> Result<bool, Stop> {
    if let Some(value) = poly.rational() {
        return Ok(value.abs() <= *bound);
    }
    let size = match sign(poly, algebra)? {
        -1 => poly.clone().scaled(&-BigRational::one()),
        _ => poly.clone(),
    };
    let distance = algebra.sub(&size, &Poly::constant(bound.clone()))?;
    Ok(sign(&distance, algebra)? <= 0)
}

pub(super) fn has_variable(poly: &Poly) -> bool {
    let mut found = false;
    poly.visit(&mut |generator, _| found |= matches!(generator, Generator::Variable(_)));
    found
}

/// Fixed points, by the place of the variable among all: inside of (0, 1), above 1 and below 0.
fn points(poly: &Poly) -> Vec<Vec<(String, BigRational)>> {
    let mut names: Vec<&String> = Vec::new();
    poly.visit(&mut |generator, _| {
        if let Generator::Variable(name) = generator {
            names.push(name);
        }
    });
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return vec![Vec::new()];
    }
    let point = |over: i64, step: i64, under: i64| {
        let value = |i: usize| BigRational::new((over + step * i as i64).into(), under.into());
        names.iter().enumerate().map(|(i, name)| ((*name).clone(), value(i))).collect()
    };
    vec![point(17, 13, 101), point(211, 37, 97), point(-19, -11, 103), point(1009, 113, 89)]
}

struct Decision<'a> {
    algebra: &'a mut Algebra,
}

impl Decision<'_> {
    fn is_zero(&mut self, poly: &Poly, depth: u32) -> Result<bool, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Undecided);
        }
        let poly = self.without_common_factors(poly, depth)?;
        if poly.is_zero() {
            return Ok(true);
        }
        if poly.0.keys().flatten().all(|(g, _)| matches!(g, Generator::Variable(_) | Generator::I)) {
            return Ok(false);
        }
        let mut huge = false;
        let points = points(&poly);
        // Functions that differ do so at some point by more than a few bits.
        let levels = if points.len() > 1 { &LEVELS[..2] } else { &LEVELS[..] };
        for &bits in levels {
            for point in &points {
                match self.evaluate(&poly, Bits(bits), point) {
                    Ok((real, imaginary)) if real.excludes_zero() || imaginary.excludes_zero() => {
                        return Ok(false);
                    }
                    Err(Gap::Huge) => huge = true,
                    _ => {}
                }
            }
            if huge {
                break;
            }
        }
        if huge {
            return self.compare_by_logarithms(&poly, depth);
        }
        if self.all_factors_vanish(&poly) { Ok(true) } else { Err(Stop::Undecided) }
    }

    /// Multiplied by denominators, and divided by what all terms share, as far as that is not zero.
    fn without_common_factors(&mut self, poly: &Poly, depth: u32) -> Result<Poly, Stop> {
        let mut poly = poly.clone();
        for _ in 0..MAX_DEPTH {
            if poly.is_zero() {
                break;
            }
            let mut least: BTreeMap<&Generator, (Exponent, usize)> = BTreeMap::new();
            for (generator, e) in poly.0.keys().flatten() {
                let entry = least.entry(generator).or_insert((*e, 0));
                *entry = (entry.0.min(*e), entry.1 + 1);
            }
            let mut by = Monomial::new();
            for (generator, (e, count)) in least {
                let e = if count < poly.0.len() { e.min(Exponent::zero()) } else { e };
                let divides = e.is_positive() && generator.is_positive();
                if divides || (e.is_negative() && self.is_nonzero(generator, depth)?) {
                    // Whole powers of a polynomial are multiplied out.
                    let e = if matches!(generator, Generator::Power(_)) { e.floor() } else { e };
                    by.push((generator.clone(), -e));
                }
            }
            if by.is_empty() {
                break;
            }
            poly = self.algebra.shift(&poly, &by)?;
        }
        let content = poly.content();
        Ok(poly.scaled(&content.recip()))
    }

    fn is_nonzero(&mut self, generator: &Generator, depth: u32) -> Result<bool, Stop> {
        if generator.is_never_zero() {
            return Ok(true);
        }
        if let Generator::Power(base) = generator {
            return match self.is_zero(base, depth + 1) {
                Ok(true) => Err(Stop::Undefined),
                Ok(false) => Ok(true),
                Err(stop) => Err(stop),
            };
        }
        let poly = Poly::generator(generator.clone());
        for bits in LEVELS {
            for point in points(&poly) {
                if self.evaluate(&poly, Bits(bits), &point).is_ok_and(|(real, _)| real.excludes_zero()) {
                    return Ok(true);
                }
            }
        }
        Err(Stop::Undecided)
    }

    fn compare_by_logarithms(&mut self, poly: &Poly, depth: u32) -> Result<bool, Stop> {
        let terms: Vec<(&Monomial, &BigRational)> = poly.0.iter().collect();
        let [(m, c), (n, d)] = terms.as_slice() else { return Err(Stop::Undecided) };
        if !m.iter().chain(n.iter()).all(|(g, _)| g.is_positive()) || has_variable(poly) {
            return Err(Stop::Undecided);
        }
        if c.is_positive() == d.is_positive() {
            return Ok(false);
        }
        if let (Some(first), Some(second)) = (size(c, m), size(d, n))
            && (first.1 < second.0 || second.1 < first.0)
        {
            return Ok(false);
        }
        let first = self.algebra.ln(&Poly::term(c.abs(), (*m).clone()))?;
        let second = self.algebra.ln(&Poly::term(d.abs(), (*n).clone()))?;
        let difference = self.algebra.sub(&first, &second)?;
        self.is_zero(&difference, depth + 1)
    }

    fn all_factors_vanish(&mut self, poly: &Poly) -> bool {
        let mut groups: BTreeMap<Monomial, Poly> = BTreeMap::new();
        for (monomial, coefficient) in &poly.0 {
            let (algebraic, other): (Monomial, Monomial) =
                monomial.iter().cloned().partition(|(g, _)| is_algebraic(g));
            groups.entry(other).or_default().0.insert(algebraic, coefficient.clone());
        }
        for group in groups.values() {
            let bound = separation(group);
            if bound > MAX_BOUND {
                return false;
            }
            let bits = bound + 64;
            let Ok((real, imaginary)) = self.evaluate(group, Bits(bits), &[]) else { return false };
            // |x| < 2^-bound for both parts.
            let limit = BigInt::one() << (bits - bound - 1);
            if [real, imaginary].iter().any(|part| part.hi >= limit || part.lo <= -&limit) {
                return false;
            }
        }
        true
    }

    /// Real and imaginary part.
    fn evaluate(
        &mut self,
        poly: &Poly,
        bits: Bits,
        point: &[(String, BigRational)],
    ) -> Result<(Interval, Interval), Gap> {
        let zero = Interval { lo: BigInt::zero(), hi: BigInt::zero() };
        let (mut real, mut imaginary) = (zero.clone(), zero);
        for (monomial, coefficient) in &poly.0 {
            let mut term = bits.rational(coefficient)?;
            let mut is_imaginary = false;
            for (generator, e) in monomial {
                if *generator == Generator::I {
                    is_imaginary = true;
                    continue;
                }
                let factor = self.power(generator, *e, bits, point)?;
                term = bits.mul(&term, &factor)?;
            }
            let part = if is_imaginary { &mut imaginary } else { &mut real };
            *part = part.plus(&term);
        }
        Ok((real, imaginary))
    }

    fn real(&mut self, poly: &Poly, bits: Bits, point: &[(String, BigRational)]) -> Result<Interval, Gap> {
        let (real, imaginary) = self.evaluate(poly, bits, point)?;
        if imaginary.lo.is_zero() && imaginary.hi.is_zero() { Ok(real) } else { Err(Gap::Unknown) }
    }

    fn power(
        &mut self,
        generator: &Generator,
        e: Exponent,
        bits: Bits,
        point: &[(String, BigRational)],
    ) -> Result<Interval, Gap> {
        let one = BigRational::one;
        let base = match generator {
            Generator::Prime(p) => bits.rational(&BigRational::from_integer(p.clone()))?,
            Generator::Pi => {
                self.algebra.pay(bits.0)?;
                bits.pi()
            }
            Generator::Variable(name) => {
                let (_, value) = point.iter().find(|(known, _)| known == name).ok_or(Gap::Unknown)?;
                bits.rational(value)?
            }
            Generator::Cosine(turn) => {
                self.algebra.pay(bits.0)?;
                let turn = BigRational::new((*turn.numer()).into(), (*turn.denom()).into());
                let angle = bits.mul(&bits.pi(), &bits.rational(&turn)?)?;
                bits.cos(&angle)?
            }
            Generator::Exp(monomial) => {
                self.algebra.pay(bits.0)?;
                let factor = BigRational::new((*e.numer()).into(), (*e.denom()).into());
                let exponent = self.real(&Poly::term(factor, monomial.clone()), bits, point)?;
                return bits.exp(&exponent);
            }
            Generator::Ln(poly) => {
                self.algebra.pay(bits.0)?;
                let inner = self.real(poly, bits, point)?;
                bits.ln(&inner)?
            }
            Generator::Power(poly) => self.real(poly, bits, point)?,
            Generator::Call(function, poly) => {
                self.algebra.pay(bits.0)?;
                let inner = self.real(poly, bits, point)?;
                call(*function, &inner, bits)?
            }
            Generator::I | Generator::Base => return Err(Gap::Unknown),
        };
        let (over, under) =
            (u32::try_from(e.numer().unsigned_abs()).map_err(|_| Gap::Huge)?, *e.denom() as u32);
        let cheap = u64::from(under - 1) * bits.0 <= 40_000 && over <= 10_000;
        let words = bits.0.div_ceil(64);
        self.algebra.pay_units(1 + if under > 1 { 5 + words * words / 5 } else { 0 })?;
        let result = if cheap {
            let root = bits.root(&base, under)?;
            bits.power(&root, over)?
        } else {
            self.algebra.pay(bits.0)?;
            let exponent =
                bits.mul(&bits.ln(&base)?, &bits.rational(&BigRational::new(over.into(), under.into()))?)?;
            bits.exp(&exponent)?
        };
        if e < Exponent::zero() {
            bits.inverse(&result)
        } else {
            bits.rational(&one()).and_then(|unit| bits.mul(&unit, &result))
        }
    }
}

fn call(function: Function, x: &Interval, bits: Bits) -> Result<Interval, Gap> {
    let half_pi = || {
        let pi = bits.pi();
        Interval { lo: pi.lo >> 1, hi: (pi.hi >> 1) + 1 }
    };
    match function {
        Function::Cos => bits.cos(x),
        Function::Sin => bits.cos(&x.plus(&half_pi().negate())),
        Function::Atan => Ok(bits.atan(x)),
        Function::Asin => {
            // asin x = atan(x / sqrt(1 - x^2))
            let square = bits.mul(x, x)?.negate();
            let under = bits.root(&bits.rational(&BigRational::one())?.plus(&square), 2)?;
            Ok(bits.atan(&bits.mul(x, &bits.inverse(&under)?)?))
        }
        Function::Abs => Ok(if x.lo.is_negative() && x.hi.is_positive() {
            Interval { lo: BigInt::zero(), hi: x.hi.clone().max(-&x.lo) }
        } else if x.lo.is_negative() {
            x.clone().negate()
        } else {
            x.clone()
        }),
        _ => Err(Gap::Unknown),
    }
}

/// Bounds of the logarithm to the base 2 of a product of powers of primes, e and π.
fn size(coefficient: &BigRational, monomial: &Monomial) -> Option<(i64, i64)> {
    let (over, under) = (coefficient.numer().bits() as i64, coefficient.denom().bits() as i64);
    monomial.iter().try_fold((over - 1 - under, over - under + 1), |(low, high), (generator, e)| {
        let bits = match generator {
            Generator::Prime(p) => p.bits() as i64,
            Generator::Pi => 2,
            Generator::Exp(inner) if inner.is_empty() => 2,
            _ => return None,
        };
        let ends = [bits - 1, bits].map(|b| e * b);
        let (least, most) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
        Some((low.checked_add(least.floor().to_integer())?, high.checked_add(most.ceil().to_integer())?))
    })
}
