//! Exact rational numbers small enough to copy.
//!
//! The search makes millions of them a second, so a [`Number`] is two machine words. Every operation is
//! checked: a result that does not fit is `None`, never rounded or wrapped. Numbers of any size, as they
//! may stand in text that somebody wrote, are [`num_rational::BigRational`] in [`crate::expr`].

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// Decimals up to which a finite expansion is written out; beyond it a number is written `p/q`.
pub const MAX_DECIMALS: u32 = 18;

/// An exact rational in lowest terms with a positive denominator; numerator above `i64::MIN`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    numerator: i64,
    denominator: i64,
}

impl Number {
    pub const ZERO: Number = Number::integer(0);
    pub const ONE: Number = Number::integer(1);

    /// A whole number.
    ///
    /// `i64::MIN`, whose negation does not fit, becomes `i64::MIN + 1`.
    pub const fn integer(value: i64) -> Self {
        let numerator = if value == i64::MIN { i64::MIN + 1 } else { value };
        Number { numerator, denominator: 1 }
    }

    /// `numerator / denominator` in lowest terms; `None` for a zero denominator.
    pub fn ratio(numerator: i64, denominator: i64) -> Option<Self> {
        Self::reduced(numerator.into(), denominator.into())
    }

    pub fn numerator(self) -> i64 {
        self.numerator
    }

    /// Always positive.
    pub fn denominator(self) -> i64 {
        self.denominator
    }

    pub fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub fn is_negative(self) -> bool {
        self.numerator < 0
    }

    pub fn is_integer(self) -> bool {
        self.denominator == 1
    }

    /// Decimals of the exact expansion (0 for a whole number); `None` if it never ends.
    pub fn decimals(self) -> Option<u32> {
        let twos = self.denominator.trailing_zeros();
        let mut rest = self.denominator >> twos;
        let mut fives = 0;
        while rest % 5 == 0 {
            rest /= 5;
            fives += 1;
        }
        (rest == 1).then_some(twos.max(fives))
    }

    pub fn checked_neg(self) -> Option<Self> {
        Some(Number { numerator: self.numerator.checked_neg()?, ..self })
    }

    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.is_integer() && other.is_integer() {
            return Self::whole(self.numerator.checked_add(other.numerator)?);
        }
        let (a, b) = self.wide();
        let (c, d) = other.wide();
        // Each product is below 2^126, so their sum fits.
        Self::reduced(a * d + c * b, b * d)
    }

    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.checked_neg()?)
    }

    pub fn checked_mul(self, other: Self) -> Option<Self> {
        if self.is_integer() && other.is_integer() {
            return Self::whole(self.numerator.checked_mul(other.numerator)?);
        }
        let (a, b) = self.wide();
        let (c, d) = other.wide();
        Self::reduced(a * c, b * d)
    }

    /// `None` for a zero divisor too.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        let (a, b) = self.wide();
        let (c, d) = other.wide();
        Self::reduced(a * d, b * c)
    }

    /// Reads what `Display` writes: `-7`, `12.75`, `p/q`. Nothing else: no blanks, separators or signs but
    /// `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, body) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (numerator, denominator) = if let Some((p, q)) = body.split_once('/') {
            (digits(p)?, digits(q)?)
        } else if let Some((whole, fraction)) = body.split_once('.') {
            let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            (digits(whole)?.checked_mul(scale)?.checked_add(digits(fraction)?)?, scale)
        } else {
            (digits(body)?, 1)
        };
        Self::reduced(if negative { -numerator } else { numerator }, denominator)
    }

    pub fn to_big(self) -> BigRational {
        BigRational::new_raw(self.numerator.into(), self.denominator.into())
    }

    /// `None` if it does not fit.
    pub fn from_big(value: &BigRational) -> Option<Self> {
        Self::reduced(value.numer().to_i64()?.into(), value.denom().to_i64()?.into())
    }

    fn whole(value: i64) -> Option<Self> {
        (value != i64::MIN).then_some(Number { numerator: value, denominator: 1 })
    }

    fn wide(self) -> (i128, i128) {
        (self.numerator.into(), self.denominator.into())
    }

    fn reduced(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let common = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let common = i128::try_from(common).ok()? * denominator.signum();
        let numerator = i64::try_from(numerator / common).ok()?;
        let denominator = i64::try_from(denominator / common).ok()?;
        (numerator != i64::MIN).then_some(Number { numerator, denominator })
    }
}

/// Euclid, in 64 bits as soon as both fit: 128-bit division is several times slower.
fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        if let (Ok(mut small_a), Ok(mut small_b)) = (u64::try_from(a), u64::try_from(b)) {
            while small_b != 0 {
                (small_a, small_b) = (small_b, small_a % small_b);
            }
            return small_a.into();
        }
        (a, b) = (b, a % b);
    }
    a
}

fn digits(text: &str) -> Option<i128> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits { text.parse().ok() } else { None }
}

impl Default for Number {
    fn default() -> Self {
        Number::ZERO
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Number::integer(value.into())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.denominator == other.denominator {
            return self.numerator.cmp(&other.numerator);
        }
        let (a, b) = self.wide();
        let (c, d) = other.wide();
        (a * d).cmp(&(c * b))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_integer() {
            return write!(f, "{}", self.numerator);
        }
        if self.decimals().is_none_or(|d| d > MAX_DECIMALS) {
            return write!(f, "{}/{}", self.numerator, self.denominator);
        }
        let (numerator, denominator) = (i128::from(self.numerator).abs(), i128::from(self.denominator));
        let sign = if self.is_negative() { "-" } else { "" };
        write!(f, "{sign}{}.", numerator / denominator)?;
        let mut rest = numerator % denominator;
        while rest != 0 {
            rest *= 10;
            write!(f, "{}", rest / denominator)?;
            rest %= denominator;
        }
        Ok(())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a rational of any size as `Display` writes a [`Number`].
pub fn render(value: &BigRational) -> String {
    if value.is_integer() {
        return value.numer().to_string();
    }
    match big_decimals(value) {
        Some(places) => {
            let scaled = (value.numer().abs() * BigInt::from(10).pow(places)) / value.denom();
            let width = places as usize + 1;
            let mut text = format!("{scaled:0>width$}");
            text.insert(text.len() - places as usize, '.');
            if value.is_negative() {
                text.insert(0, '-');
            }
            text
        }
        None => format!("{}/{}", value.numer(), value.denom()),
    }
}

/// Decimals of the exact expansion; `None` if it never ends or is longer than [`MAX_DECIMALS`].
pub fn big_decimals(value: &BigRational) -> Option<u32> {
    let mut rest = value.denom().clone();
    let mut places = [0_u32; 2];
    for (count, factor) in places.iter_mut().zip([2_u32, 5]) {
        while (&rest % factor).is_zero() {
            rest /= factor;
            *count += 1;
            if *count > MAX_DECIMALS {
                return None;
            }
        }
    }
    rest.is_one().then_some(places[0].max(places[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn forms() {
        for (p, q, text) in [
            (24, 1, "24"),
            (51, 4, "12.75"),
            (1, 3, "1/3"),
            (-1, 8, "-0.125"),
            (-7, 3, "-7/3"),
            (0, -5, "0"),
            (6, -4, "-1.5"),
        ] {
            let value = Number::ratio(p, q).expect(text);
            assert_eq!(value.to_string(), text);
            assert_eq!(number(text), value);
            assert_eq!(render(&value.to_big()), text);
        }
        assert_eq!(number("007.50"), number("15/2"));
        assert_eq!(Number::ratio(1, 1 << 40).expect("fits").to_string(), format!("1/{}", 1_u64 << 40));
    }

    #[test]
    fn unreadable() {
        for text in [
            "",
            "-",
            "+1",
            "1.",
            ".5",
            "1/0",
            "1/-2",
            "--1",
            "1,234",
            " 1",
            "1e3",
            "9223372036854775808",
            "٣",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn limits() {
        let max = Number::integer(i64::MAX);
        assert_eq!(max.checked_add(Number::ONE), None);
        assert_eq!(max.checked_mul(max), None);
        assert_eq!(Number::integer(i64::MIN).checked_sub(Number::ONE), None);
        assert_eq!(Number::ONE.checked_div(Number::ZERO), None);
        assert_eq!(Number::ratio(i64::MIN, 2), Some(Number::integer(i64::MIN / 2)));
    }

    fn any_number() -> impl Strategy<Value = Number> {
        let part = prop_oneof![-50_i64..50, any::<i64>()];
        (part.clone(), part).prop_filter_map("a ratio", |(p, q)| Number::ratio(p, q))
    }

    proptest! {
        #[test]
        fn display_round_trips(a in any_number()) {
            prop_assert_eq!(Number::parse(&a.to_string()), Some(a));
            prop_assert_eq!(render(&a.to_big()), a.to_string());
            prop_assert_eq!(Number::from_big(&a.to_big()), Some(a));
        }

        #[test]
        fn operations_are_exact(a in any_number(), b in any_number()) {
            let (x, y) = (a.to_big(), b.to_big());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            let pairs = [
                (a.checked_add(b), Some(&x + &y)),
                (a.checked_sub(b), Some(&x - &y)),
                (a.checked_mul(b), Some(&x * &y)),
                (a.checked_div(b), (!y.is_zero()).then(|| &x / &y)),
            ];
            for (small, big) in pairs {
                // What fits is exact; what does not fit is refused.
                prop_assert_eq!(small, big.as_ref().and_then(Number::from_big));
            }
        }

        #[test]
        fn no_panic_on_any_text(text in ".*") {
            let _ = Number::parse(&text);
        }
    }
}
