//! Normal forms of sines, cosines and their inverses: exact at multiples of π/12, reduced to the first
//! quarter turn.

use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::limits::Stop;
use super::normal::{exponent, half, opaque};
use super::poly::{Algebra, Exponent, Generator, Poly};
use super::tree::Function;

impl Algebra {
    /// cos(c π), exactly for multiples of π/12.
    pub(super) fn cosine_of_pi(&mut self, c: &BigRational) -> Result<Poly, Stop> {
        let two = BigRational::from_integer(2.into());
        let mut turn = c.abs() - &two * (c.abs() / &two).floor();
        if turn > BigRational::one() {
            turn = two - turn;
        }
        let negative = turn > half();
        if negative {
            turn = BigRational::one() - turn;
        }
        let twelfths = &turn * BigRational::from_integer(12.into());
        let root =
            |n: i64| Poly::term(BigRational::one(), vec![(Generator::Prime(n.into()), Exponent::new(1, 2))]);
        let value = if twelfths.is_integer() {
            let quarter = BigRational::new(1.into(), 4.into());
            match twelfths.to_integer().to_i64() {
                Some(0) => Poly::integer(1),
                Some(2) => root(3).scaled(&half()),
                Some(3) => root(2).scaled(&half()),
                Some(4) => Poly::constant(half()),
                Some(6) => Poly::default(),
                other => {
                    let six = self.mul(&root(2), &root(3))?;
                    let two = root(2);
                    if other == Some(1) {
                        self.add(&six, &two)?.scaled(&quarter)
                    } else {
                        self.sub(&six, &two)?.scaled(&quarter)
                    }
                }
            }
        } else {
            Poly::generator(Generator::Cosine(exponent(&turn)?))
        };
        Ok(if negative { value.scaled(&-BigRational::one()) } else { value })
    }

    pub(super) fn trigonometric(&mut self, function: Function, argument: &Poly) -> Result<Poly, Stop> {
        let pi = vec![(Generator::Pi, Exponent::one())];
        let turn = argument.0.get(&pi).cloned().unwrap_or_else(BigRational::zero);
        let rest = self.sub(argument, &Poly::term(turn.clone(), pi.clone()))?;
        if rest.is_zero() {
            return self.cosine_of_pi(&if function == Function::Sin { half() - turn } else { turn });
        }
        // Whole half turns come out: f(x + π) = -f(x); a quarter turn swaps the two.
        let quarters = (&turn * BigRational::from_integer(2.into())).floor();
        let left = &turn - &quarters * half();
        let mut argument = self.add(&rest, &Poly::term(left, pi))?;
        let quarters = (quarters.to_integer() % 4_i32 + 4_i32) % 4_i32;
        let quarters = quarters.to_i64().unwrap_or(0);
        // In quarters of a turn, cos x = sin(x + 1).
        let phase = quarters + i64::from(function == Function::Cos);
        let function = if phase % 2 == 0 { Function::Sin } else { Function::Cos };
        let mut negative = matches!(phase % 4, 2 | 3);
        if argument.leads_negative() {
            argument = argument.scaled(&-BigRational::one());
            negative ^= function == Function::Sin;
        }
        let value = Poly::generator(Generator::Call(function, argument));
        Ok(if negative { value.scaled(&-BigRational::one()) } else { value })
    }

    pub(super) fn inverse_trigonometric(
        &mut self,
        function: Function,
        argument: &Poly,
    ) -> Result<Poly, Stop> {
        for k in 0..=12_i64 {
            let (turn, turn_of_sine) =
                (BigRational::new(k.into(), 12.into()), BigRational::new((k - 6).into(), 12.into()));
            let angle = if function == Function::Acos { turn.clone() } else { turn_of_sine.clone() };
            let value = match function {
                Function::Acos => self.cosine_of_pi(&turn)?,
                Function::Asin => self.cosine_of_pi(&(half() - turn_of_sine))?,
                _ if k == 0 || k == 12 => continue,
                _ => {
                    let (sin, cos) =
                        (self.cosine_of_pi(&(half() - &turn_of_sine))?, self.cosine_of_pi(&turn_of_sine)?);
                    // tan x = y where sin x = y cos x.
                    let product = self.mul(argument, &cos)?;
                    if product != sin {
                        continue;
                    }
                    argument.clone()
                }
            };
            if value == *argument {
                return Ok(Poly::term(angle, vec![(Generator::Pi, Exponent::one())]));
            }
        }
        if function == Function::Acos {
            let asin = opaque_odd(Function::Asin, argument.clone());
            return self.sub(&Poly::term(half(), vec![(Generator::Pi, Exponent::one())]), &asin);
        }
        Ok(opaque_odd(function, argument.clone()))
    }
}

fn opaque_odd(function: Function, argument: Poly) -> Poly {
    if argument.leads_negative() {
        return opaque(function, argument.scaled(&-BigRational::one())).scaled(&-BigRational::one());
    }
    opaque(function, argument)
}
