//! Values of rational functions modulo two primes, for expressions that are too large to multiply out.
//!
//! Both sides are evaluated at the same fixed pseudo-random points. Different values prove that the
//! expressions differ. Expressions of degree d agree at a random point although they differ with a chance
//! below d/2^61 (Schwartz, Zippel), so equal values at [`POINTS`] points for two primes are taken for
//! equality: with a degree below [`MAX_DEGREE`], the chance of an error is below 2^-200.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

use super::tree::Expr;

/// The largest primes below 2^61: 2^61 - 1 and 2^61 - 31.
const PRIMES: [u64; 2] = [2_305_843_009_213_693_951, 2_305_843_009_213_693_921];
const POINTS: u64 = 4;
const MAX_DEGREE: u64 = 1 << 30;

/// Are two rational functions over the rationals equal? `None` if they are none, or a point is a pole.
pub(super) fn compare(a: &Expr, b: &Expr) -> Option<bool> {
    if degree(a)?.max(degree(b)?) > MAX_DEGREE {
        return None;
    }
    for prime in PRIMES {
        for point in 0..POINTS {
            let field = Field { prime, point };
            if field.value(a)? != field.value(b)? {
                return Some(false);
            }
        }
    }
    Some(true)
}

/// Largest degree of numerator and denominator, multiplied out.
fn degree(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Number(_) => Some(0),
        Expr::Variable(name) => (name != "∞").then_some(1),
        Expr::Negate(inner) | Expr::Percent(inner) => degree(inner),
        Expr::Binary('^', base, exponent) => degree(base)?.checked_mul(whole(exponent)?.unsigned_abs()),
        Expr::Binary(_, left, right) => degree(left)?.checked_add(degree(right)?),
        Expr::Pi | Expr::E | Expr::I | Expr::Call(..) => None,
    }
}

fn whole(expr: &Expr) -> Option<i64> {
    let value = expr.number().filter(BigRational::is_integer)?;
    value.to_integer().to_i64()
}

struct Field {
    prime: u64,
    point: u64,
}

impl Field {
    fn mul(&self, a: u64, b: u64) -> u64 {
        (u128::from(a) * u128::from(b) % u128::from(self.prime)) as u64
    }

    fn add(&self, a: u64, b: u64) -> u64 {
        (a + b) % self.prime
    }

    fn power(&self, base: u64, exponent: u64) -> u64 {
        let (mut result, mut square, mut left) = (1, base, exponent);
        while left > 0 {
            if left & 1 == 1 {
                result = self.mul(result, square);
            }
            square = self.mul(square, square);
            left >>= 1;
        }
        result
    }

    fn inverse(&self, a: u64) -> Option<u64> {
        (a != 0).then(|| self.power(a, self.prime - 2))
    }

    fn integer(&self, n: &BigInt) -> Option<u64> {
        let prime = BigInt::from(self.prime);
        (((n % &prime) + &prime) % &prime).to_u64()
    }

    /// A value for a variable: FNV-1a of its name and the number of the point, mixed.
    fn variable(&self, name: &str) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes().chain(self.point.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ (hash >> 29)) % self.prime
    }

    fn value(&self, expr: &Expr) -> Option<u64> {
        match expr {
            Expr::Number(value) => {
                if value.denom().is_zero() {
                    return None;
                }
                Some(self.mul(self.integer(value.numer())?, self.inverse(self.integer(value.denom())?)?))
            }
            Expr::Variable(name) => Some(self.variable(name)),
            Expr::Negate(inner) => Some((self.prime - self.value(inner)?) % self.prime),
            Expr::Percent(inner) => Some(self.mul(self.value(inner)?, self.inverse(100)?)),
            Expr::Binary('^', base, exponent) => {
                let (base, exponent) = (self.value(base)?, whole(exponent)?);
                let power = self.power(base, exponent.unsigned_abs());
                if exponent < 0 { self.inverse(power) } else { Some(power) }
            }
            Expr::Binary(sign, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                match sign {
                    '+' => Some(self.add(left, right)),
                    '-' => Some(self.add(left, self.prime - right)),
                    '*' => Some(self.mul(left, right)),
                    _ => Some(self.mul(left, self.inverse(right)?)),
                }
            }
            Expr::Pi | Expr::E | Expr::I | Expr::Call(..) => None,
        }
    }
}
