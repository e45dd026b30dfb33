//! How small an algebraic number that is not zero can be.
//!
//! Burnikel, Funke, Mehlhorn, Schirra, Schmitt, "A separation bound for real algebraic expressions" (2001):
//! an expression of integers, `+ - * /` and roots is a quotient of algebraic integers with conjugates of size
//! at most u and l in a field of degree at most D; it is 0, or at least `1 / (l u^(D-1))` in size. For `2
//! cos(2πk/n)`, u is 2.

use std::collections::BTreeMap;

use num_integer::Integer;
use num_traits::Signed;

use super::poly::{Exponent, Generator, Poly};

/// The number b such that the value of the polynomial is 0 or larger than `2^-b` in size.
pub(super) fn separation(poly: &Poly) -> u64 {
    let mut degrees = Degrees::default();
    let (size, under) = degrees.of(poly);
    under.saturating_add(degrees.product().saturating_sub(1).saturating_mul(size))
}

pub(super) fn is_algebraic(generator: &Generator) -> bool {
    match generator {
        Generator::I | Generator::Prime(_) | Generator::Cosine(_) => true,
        Generator::Power(poly) => poly.0.keys().flatten().all(|(g, _)| is_algebraic(g)),
        _ => false,
    }
}

/// Degrees of the roots of an algebraic number, and the sizes of BFMSS as logarithms to the base 2, rounded
/// up.
#[derive(Default)]
struct Degrees {
    roots: BTreeMap<Generator, u64>,
    circle: u64,
}

impl Degrees {
    fn product(&self) -> u64 {
        self.roots.values().fold(self.circle.max(1), |product, degree| product.saturating_mul(*degree))
    }

    /// log u and log l of a sum.
    fn of(&mut self, poly: &Poly) -> (u64, u64) {
        let mut sum: Option<(u64, u64)> = None;
        for (monomial, coefficient) in &poly.0 {
            let (mut u, mut l) = (coefficient.numer().bits(), coefficient.denom().bits());
            for (generator, e) in monomial {
                let (v, m) = self.power(generator, *e);
                (u, l) = (u.saturating_add(v), l.saturating_add(m));
            }
            sum = Some(match sum {
                None => (u, l),
                Some((v, m)) => {
                    (u.saturating_add(m).max(v.saturating_add(l)).saturating_add(1), l.saturating_add(m))
                }
            });
        }
        sum.unwrap_or((0, 0))
    }

    fn power(&mut self, generator: &Generator, e: Exponent) -> (u64, u64) {
        let (over, under) = (e.numer().unsigned_abs(), *e.denom() as u64);
        let (u, l) = match generator {
            Generator::Prime(p) => (p.bits(), 0),
            Generator::Power(poly) => self.of(poly),
            Generator::Cosine(turn) => {
                self.circle = self.circle.max(1).lcm(&(2 * *turn.denom() as u64));
                (1, 1)
            }
            _ => (0, 0),
        };
        let degree = if *generator == Generator::I { 2 } else { under };
        if degree > 1 {
            let known = self.roots.entry(generator.clone()).or_insert(1);
            *known = known.lcm(&degree);
        }
        let (u, l) = (u.saturating_mul(over), l.saturating_mul(over));
        let (u, l) = if u >= l {
            (u.saturating_add(l.saturating_mul(under - 1)).div_ceil(under), l)
        } else {
            (u, l.saturating_add(u.saturating_mul(under - 1)).div_ceil(under))
        };
        if e.is_negative() { (l, u) } else { (u, l) }
    }
}
