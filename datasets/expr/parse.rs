//! A tree from tokens that are all arithmetic, by recursive descent with bounded size and depth.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use super::{ExprError, Kind, MAX_DEPTH, MAX_DIGITS, MAX_NODES, Token};
use crate::number::Number;

/// Digits of a decimal that surely fits into a machine's number.
const SHORT: usize = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub fn sign(self) -> char {
        match self {
            Operator::Add => '+',
            Operator::Subtract => '-',
            Operator::Multiply => '*',
            Operator::Divide => '/',
        }
    }

    pub(crate) fn parse(sign: char) -> Option<Self> {
        [Operator::Add, Operator::Subtract, Operator::Multiply, Operator::Divide]
            .into_iter()
            .find(|o| o.sign() == sign)
    }

    /// The exact value; `None` for a division by zero.
    pub fn apply(self, left: BigRational, right: BigRational) -> Option<BigRational> {
        Some(match self {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide if right.is_zero() => return None,
            Operator::Divide => left / right,
        })
    }

    pub fn commutes(self) -> bool {
        matches!(self, Operator::Add | Operator::Multiply)
    }
}

/// An expression. Numbers stay text until they are needed, so that a parse that fails costs little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node<'a> {
    Number(&'a str),
    Negate(Box<Node<'a>>),
    Percent(Box<Node<'a>>),
    Binary(Operator, Box<Node<'a>>, Box<Node<'a>>),
}

impl Node<'_> {
    /// The exact value. Its size is bounded by the number of digits read, since there are no powers.
    pub(crate) fn value(&self) -> Result<BigRational, ExprError> {
        // Nearly all are small, and a machine's numbers are a multiple faster.
        self.small().map_or_else(|| self.large(), |value| Ok(value.to_big()))
    }

    fn large(&self) -> Result<BigRational, ExprError> {
        Ok(match self {
            Node::Number(text) => decimal(text).ok_or(ExprError::Unreadable)?,
            Node::Negate(inner) => -inner.large()?,
            Node::Percent(inner) => inner.large()? / BigInt::from(100),
            Node::Binary(operator, left, right) => {
                let (left, right) = (left.large()?, right.large()?);
                operator.apply(left, right).ok_or(ExprError::DivisionByZero)?
            }
        })
    }

    /// The same, where every number on the way is small enough.
    fn small(&self) -> Option<Number> {
        match self {
            Node::Number(text) => small_decimal(text),
            Node::Negate(inner) => inner.small()?.checked_neg(),
            Node::Percent(inner) => inner.small()?.checked_div(Number::integer(100)),
            Node::Binary(operator, left, right) => {
                let (left, right) = (left.small()?, right.small()?);
                match operator {
                    Operator::Add => left.checked_add(right),
                    Operator::Subtract => left.checked_sub(right),
                    Operator::Multiply => left.checked_mul(right),
                    Operator::Divide => left.checked_div(right),
                }
            }
        }
    }

    /// Is there anything to compute, i.e. an operator between two operands?
    pub(crate) fn computes(&self) -> bool {
        match self {
            Node::Number(_) => false,
            Node::Negate(inner) | Node::Percent(inner) => inner.computes(),
            Node::Binary(..) => true,
        }
    }
}

/// `12`, `12.5`, `.5` as a rational.
pub(crate) fn decimal(text: &str) -> Option<BigRational> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
    let places = u32::try_from(fraction.len()).ok()?;
    Some(BigRational::new(digits, BigInt::from(10).pow(places)))
}

/// The same, if it is short.
fn small_decimal(text: &str) -> Option<Number> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || digits > SHORT || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = whole.bytes().chain(fraction.bytes()).fold(0, |value, b| value * 10 + i64::from(b - b'0'));
    Number::ratio(value, 10_i64.pow(fraction.len() as u32))
}

/// Parses tokens that are an expression from end to end.
pub(crate) fn parse(tokens: &[Token]) -> Result<Node<'_>, ExprError> {
    let mut parser = Parser { tokens, at: 0, nodes: 0, digits: 0, depth: 0 };
    let node = parser.sum()?;
    if parser.at == tokens.len() { Ok(node) } else { Err(ExprError::Unreadable) }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nodes: usize,
    digits: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn kind(&self) -> Option<Kind> {
        self.tokens.get(self.at).map(|t| t.kind)
    }

    fn spend(&mut self) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(ExprError::OutOfFuel) } else { Ok(()) }
    }

    fn sum(&mut self) -> Result<Node<'a>, ExprError> {
        self.chain(['+', '-'], Self::product)
    }

    fn product(&mut self) -> Result<Node<'a>, ExprError> {
        self.chain(['*', '/'], Self::signed)
    }

    /// Operands between operators of one rank, grouped to the left.
    fn chain(
        &mut self,
        signs: [char; 2],
        operand: fn(&mut Self) -> Result<Node<'a>, ExprError>,
    ) -> Result<Node<'a>, ExprError> {
        let mut left = operand(self)?;
        while let Some(Kind::Operator(sign)) =
            self.kind().filter(|k| matches!(k, Kind::Operator(s) if signs.contains(s)))
        {
            self.spend()?;
            self.at += 1;
            let right = operand(self)?;
            let operator = Operator::parse(sign).ok_or(ExprError::Unreadable)?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node<'a>, ExprError> {
        // `-$5` and `$-5` alike.
        let currency = self.kind() == Some(Kind::Currency);
        self.at += usize::from(currency);
        match self.kind() {
            Some(Kind::Operator(sign @ ('-' | '+'))) => {
                self.at += 1;
                let inner = self.deeper(Self::signed)?;
                Ok(if sign == '-' { Node::Negate(Box::new(inner)) } else { inner })
            }
            _ => self.quantity(),
        }
    }

    fn deeper(&mut self, inner: fn(&mut Self) -> Result<Node<'a>, ExprError>) -> Result<Node<'a>, ExprError> {
        if self.depth == MAX_DEPTH {
            return Err(ExprError::OutOfFuel);
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    fn quantity(&mut self) -> Result<Node<'a>, ExprError> {
        self.spend()?;
        let node = match self.kind() {
            Some(Kind::Number) => {
                let text = self.tokens[self.at].text.as_str();
                self.digits += text.len();
                if self.digits > MAX_DIGITS {
                    return Err(ExprError::OutOfFuel);
                }
                self.at += 1;
                Node::Number(text)
            }
            Some(Kind::Open) => {
                self.at += 1;
                let node = self.deeper(Self::sum)?;
                if self.kind() != Some(Kind::Close) {
                    return Err(ExprError::Unreadable);
                }
                self.at += 1;
                node
            }
            _ => return Err(ExprError::Unreadable),
        };
        // A currency sign behind the number (`5€`), unless it belongs to a number that follows.
        let next = self.tokens.get(self.at + 1).map(|t| t.kind);
        if self.kind() == Some(Kind::Currency) && !matches!(next, Some(Kind::Number | Kind::Open)) {
            self.at += 1;
        }
        if self.kind() == Some(Kind::Percent) {
            self.at += 1;
            return Ok(Node::Percent(Box::new(node)));
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::expr::lex;

    proptest! {
        #[test]
        fn small_and_large_numbers_give_the_same_value(
            text in "-?[0-9]{1,9}(\\.[0-9]{1,4})?%?( ?[-+*/] ?\\(?-?[0-9]{1,12}(\\.[0-9]{1,3})?%?\\)?){0,4}",
        ) {
            let tokens = lex(&text);
            if let Ok(node) = parse(&tokens) {
                prop_assert_eq!(node.value(), node.large());
            }
        }
    }
}
