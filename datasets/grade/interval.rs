//! Real numbers between two bounds: fixed-point intervals on big integers, rounded outwards. No floats.
//!
//! An interval at precision `p` is a pair of integers `lo <= hi` that stand for `lo / 2^p` and `hi / 2^p`;
//! whatever an operation is given, the true result lies inside of what it returns. Elementary functions are
//! computed with guard bits from their series after argument reduction, and their result is widened by more
//! than the error bound.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Why there is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The argument is too wide: more precision may help.
    Wide,
    /// The value is out of reach in size.
    Huge,
    /// Not a real number, or nothing that is evaluated.
    Unknown,
    /// The work allowed is done.
    Fuel,
}

/// Largest number of bits before the point.
const MAX_WHOLE: u64 = 6000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub lo: BigInt,
    pub hi: BigInt,
}

/// Arithmetic at one precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(pub u64);

impl Bits {
    fn one(self) -> BigInt {
        BigInt::one() << self.0
    }

    fn checked(lo: BigInt, hi: BigInt, bits: u64) -> Result<Interval, Gap> {
        if lo.bits().max(hi.bits()) > bits + MAX_WHOLE { Err(Gap::Huge) } else { Ok(Interval { lo, hi }) }
    }

    pub(super) fn rational(self, value: &BigRational) -> Result<Interval, Gap> {
        if value.numer().bits() > value.denom().bits() + MAX_WHOLE {
            return Err(Gap::Huge);
        }
        let lo = floor_div(&(value.numer() << self.0), value.denom());
        let hi = if (&lo * value.denom()) == (value.numer() << self.0) { lo.clone() } else { &lo + 1 };
        Ok(Interval { lo, hi })
    }

    pub(super) fn mul(self, a: &Interval, b: &Interval) -> Result<Interval, Gap> {
        let ends = [&a.lo * &b.lo, &a.lo * &b.hi, &a.hi * &b.lo, &a.hi * &b.hi];
        let lo = ends.iter().min().ok_or(Gap::Unknown)? >> self.0;
        let hi: BigInt = (ends.iter().max().ok_or(Gap::Unknown)? >> self.0) + 1;
        Self::checked(lo, hi, self.0)
    }

    pub(super) fn inverse(self, a: &Interval) -> Result<Interval, Gap> {
        if !a.lo.is_positive() && !a.hi.is_negative() {
            return Err(Gap::Wide);
        }
        let square = BigInt::one() << (2 * self.0);
        Self::checked(floor_div(&square, &a.hi), floor_div(&square, &a.lo) + 1, self.0)
    }

    pub(super) fn power(self, a: &Interval, exponent: u32) -> Result<Interval, Gap> {
        let (mut result, mut square, mut left) =
            (Interval { lo: self.one(), hi: self.one() }, a.clone(), exponent);
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

    /// The real root; of negative numbers for odd degrees.
    pub(super) fn root(self, a: &Interval, degree: u32) -> Result<Interval, Gap> {
        if degree == 1 {
            return Ok(a.clone());
        }
        if degree.is_multiple_of(2) && a.lo.is_negative() {
            return Err(if a.hi.is_negative() { Gap::Unknown } else { Gap::Wide });
        }
        let shift = self.0 * u64::from(degree - 1);
        let root = |x: &BigInt| {
            if x.is_negative() { -((-x) << shift).nth_root(degree) } else { (x << shift).nth_root(degree) }
        };
        Ok(Interval { lo: root(&a.lo) - 1, hi: root(&a.hi) + 1 })
    }

    /// Brings a value at a higher precision down to this one, and widens it.
    fn settle(self, lo: &BigInt, hi: &BigInt, from: u64) -> Result<Interval, Gap> {
        let down = from - self.0;
        Self::checked((lo >> down) - 2, (hi >> down) + 3, self.0)
    }

    pub(super) fn pi(self) -> Interval {
        let work = self.0 + 32;
        let value = pi(work);
        Interval { lo: (&value >> 32) - 1, hi: (&value >> 32) + 2 }
    }

    pub(super) fn exp(self, a: &Interval) -> Result<Interval, Gap> {
        let limit = BigInt::from(MAX_WHOLE * 2 / 3) << self.0;
        if a.hi > limit {
            return Err(Gap::Huge);
        }
        if a.hi < -&limit {
            return Ok(Interval { lo: BigInt::zero(), hi: BigInt::one() });
        }
        // exp(x) = exp(x / 2^k)^(2^k): what is lost to squaring and to size is there in guard bits.
        let k = halvings(self.0);
        let size = (&a.hi >> self.0).to_u64().unwrap_or(0) * 3 / 2;
        let work = self.0 + 64 + k + size;
        let end = |x: &BigInt| -> BigInt {
            if *x < -&limit {
                return BigInt::zero();
            }
            let small: BigInt = (x << (work - self.0)) >> k;
            let (mut sum, mut term, mut n) = (BigInt::one() << work, BigInt::one() << work, 0_u32);
            while !term.is_zero() && term != BigInt::from(-1) {
                n += 1;
                term = ((term * &small) >> work) / n;
                sum += &term;
            }
            for _ in 0..k {
                sum = (&sum * &sum) >> work;
            }
            sum
        };
        let lo = end(&a.lo);
        let hi = if a.lo == a.hi { lo.clone() } else { end(&a.hi) };
        self.settle(&lo, &hi, work)
    }

    pub(super) fn ln(self, a: &Interval) -> Result<Interval, Gap> {
        if !a.lo.is_positive() {
            return Err(if a.hi.is_positive() { Gap::Wide } else { Gap::Unknown });
        }
        let work = self.0 + 64 + halvings(self.0);
        let two = ln_near_one(&(BigInt::from(2) << work), work, 1);
        let end = |x: &BigInt| {
            // x = m 2^e with m in [1/2, 1).
            let exponent = x.bits() as i64 - self.0 as i64;
            let shift = work as i64 - x.bits() as i64;
            let m = if shift >= 0 { x << shift as u64 } else { x >> (-shift) as u64 };
            ln_near_one(&m, work, 0) + &two * exponent
        };
        let (lo, hi) = (end(&a.lo), end(&a.hi));
        self.settle(&lo, &hi, work)
    }

    /// Of an interval by its middle: the slope is at most 1.
    pub(super) fn cos(self, a: &Interval) -> Result<Interval, Gap> {
        let k = halvings(self.0);
        let work = self.0 + 64 + 2 * k;
        let middle: BigInt = (&a.lo + &a.hi) >> 1;
        let radius: BigInt = ((&a.hi - &a.lo) >> 1) + 1;
        if middle.bits() > self.0 + MAX_WHOLE / 2 {
            return Err(Gap::Huge);
        }
        // As many bits more as are lost to whole turns.
        let more = middle.bits().saturating_sub(self.0) + 8;
        let turn = pi(work + more) * 2;
        let wide: BigInt = middle << (work + more - self.0);
        let turns = floor_div(&wide, &turn);
        let reduced: BigInt = (wide - turns * turn) >> (more + k);
        let square: BigInt = (&reduced * &reduced) >> work;
        let (mut sum, mut term, mut n) = (BigInt::one() << work, BigInt::one() << work, 0_u32);
        while !term.is_zero() && term != BigInt::from(-1) {
            n += 2;
            term = -((term * &square) >> work) / (n * (n - 1));
            sum += &term;
        }
        for _ in 0..k {
            sum = ((&sum * &sum) >> (work - 1)) - (BigInt::one() << work);
        }
        self.settle(&sum, &sum, work).map(|v| Interval { lo: v.lo - &radius, hi: v.hi + radius })
    }

    pub(super) fn atan(self, a: &Interval) -> Interval {
        let k = roots(self.0);
        let work = self.0 + 64 + k;
        let one = BigInt::one() << work;
        let end = |x: &BigInt| {
            let mut x: BigInt = x << (work - self.0);
            for _ in 0..k {
                // atan(x) = 2 atan(x / (1 + sqrt(1 + x^2)))
                let root = ((&one << work) + &x * &x).sqrt();
                x = (x << work) / (&one + root);
            }
            let square: BigInt = (&x * &x) >> work;
            let (mut sum, mut power, mut n) = (x.clone(), x, 1_u32);
            while !power.is_zero() && power != BigInt::from(-1) {
                n += 2;
                power = -((power * &square) >> work);
                sum += &power / n;
            }
            sum << k
        };
        let down = work - self.0;
        Interval { lo: (end(&a.lo) >> down) - 2, hi: (end(&a.hi) >> down) + 3 }
    }
}

impl Interval {
    pub(super) fn excludes_zero(&self) -> bool {
        self.lo.is_positive() || self.hi.is_negative()
    }

    pub(super) fn plus(&self, other: &Interval) -> Interval {
        Interval { lo: &self.lo + &other.lo, hi: &self.hi + &other.hi }
    }

    pub(super) fn negate(self) -> Interval {
        Interval { lo: -self.hi, hi: -self.lo }
    }
}

/// How often an argument is halved before a series: it balances squarings against terms.
fn halvings(bits: u64) -> u64 {
    bits.isqrt() / 2 + 4
}

/// How often a square root is taken before a series: each costs as much as dozens of terms.
fn roots(bits: u64) -> u64 {
    bits.isqrt() / 12 + 4
}

pub(super) fn floor_div(a: &BigInt, b: &BigInt) -> BigInt {
    let quotient = a / b;
    if (a.is_negative() != b.is_negative()) && &quotient * b != *a { quotient - 1 } else { quotient }
}

/// Machin's formula, within 2^-16 of the last guard bits.
fn pi(work: u64) -> BigInt {
    let bits = work + 16;
    let arc = |inverse: u32| {
        let (mut power, mut n) = ((BigInt::one() << bits) / inverse, 1_u32);
        let mut sum = power.clone();
        while !power.is_zero() {
            power /= inverse * inverse;
            n += 2;
            if n % 4 == 3 { sum -= &power / n } else { sum += &power / n }
        }
        sum
    };
    (arc(5) * 16 - arc(239) * 4) >> 16
}

/// ln of a number between 1/2 and 2 (times 2^`scale` at the most), by square roots and 2 atanh((x-1)/(x+1)).
fn ln_near_one(x: &BigInt, work: u64, scale: u64) -> BigInt {
    let k = roots(work) + scale;
    let bits = work + 2 * k + 16;
    let one = BigInt::one() << bits;
    let mut x: BigInt = x << (bits - work);
    for _ in 0..k {
        x = (x << bits).sqrt();
    }
    let z = ((&x - &one) << bits) / (x + one);
    let square: BigInt = (&z * &z) >> bits;
    let (mut sum, mut power, mut n) = (z.clone(), z, 1_u32);
    while !power.is_zero() && power != BigInt::from(-1) {
        n += 2;
        power = (power * &square) >> bits;
        sum += &power / n;
    }
    (sum << (k + 1)) >> (bits - work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(over: i64, under: i64, bits: Bits) -> Interval {
        bits.rational(&BigRational::new(over.into(), under.into())).expect("small")
    }

    /// Do two intervals of one number overlap, and is the narrower of the two at most this many units wide?
    fn agree(a: &Interval, b: &Interval, width: i64) -> bool {
        a.lo <= b.hi && b.lo <= a.hi && (&a.hi - &a.lo).min(&b.hi - &b.lo) <= BigInt::from(width)
    }

    proptest! {
        #[test]
        fn functions_keep_their_identities(p in 1_i64..400, q in 1_i64..60, level in proptest::sample::select(vec![64_u64, 200, 1024])) {
            let bits = Bits(level);
            let x = of(p, q, bits);
            let back = bits.ln(&bits.exp(&x).expect("exp")).expect("ln");
            prop_assert!(agree(&x, &back, 1), "ln exp");
            let square = bits.mul(&x, &x).expect("square");
            prop_assert!(agree(&x, &bits.root(&square, 2).expect("root"), 1), "root");
            // cos 2x = 2 cos^2 x - 1
            let cos = bits.cos(&x).expect("cos");
            let twice = bits.cos(&x.plus(&x)).expect("cos");
            let square = bits.mul(&cos, &cos).expect("square");
            prop_assert!(agree(&twice, &square.plus(&square).plus(&of(-1, 1, bits)), 64), "cos");
            // atan x + atan 1/x = pi/2
            let sum = bits.atan(&x).plus(&bits.atan(&bits.inverse(&x).expect("positive")));
            prop_assert!(agree(&bits.pi(), &sum.plus(&sum), 64), "atan");
        }
    }
}
