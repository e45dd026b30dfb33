//! What the parser makes of an answer: expressions, and the forms that hold them.

use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Signed;

use super::moments::{Clock, Date};
use super::units::{Unit, scale_letter};
use crate::number::render;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Function {
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Ln,
    /// Base and argument; with one argument the base is not known.
    Log,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::Tan => "tan",
            Function::Asin => "arcsin",
            Function::Acos => "arccos",
            Function::Atan => "arctan",
            Function::Ln => "ln",
            Function::Log => "log",
            Function::Abs => "abs",
            Function::Floor => "floor",
            Function::Ceil => "ceil",
            Function::Factorial => "factorial",
            Function::Binomial => "binom",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Number(BigRational),
    Variable(String),
    Pi,
    E,
    I,
    Negate(Box<Expr>),
    Percent(Box<Expr>),
    /// One of `+ - * / ^`.
    Binary(char, Box<Expr>, Box<Expr>),
    Call(Function, Vec<Expr>),
}

impl Expr {
    pub(super) fn integer(value: i64) -> Expr {
        Expr::Number(BigRational::from_integer(value.into()))
    }

    pub(super) fn binary(sign: char, left: Expr, right: Expr) -> Expr {
        Expr::Binary(sign, Box::new(left), Box::new(right))
    }

    /// The value if the expression is a number, perhaps with signs.
    pub(super) fn number(&self) -> Option<BigRational> {
        match self {
            Expr::Number(value) => Some(value.clone()),
            Expr::Negate(inner) => inner.number().map(|value| -value),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Expr::Binary('+' | '-', ..) => 1,
            Expr::Negate(_) => 2,
            Expr::Binary('*' | '/', ..) => 3,
            Expr::Number(value) if value.is_negative() => 2,
            Expr::Number(value) if !value.is_integer() => 3,
            Expr::Binary(..) | Expr::Percent(_) => 4,
            _ => 5,
        }
    }

    /// The expression as an operand that needs at least this rank.
    fn operand(&self, f: &mut fmt::Formatter<'_>, rank: u8) -> fmt::Result {
        if self.rank() < rank { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(value) => f.write_str(&render(value)),
            Expr::Variable(name) => f.write_str(name),
            Expr::Pi => f.write_str("pi"),
            Expr::E => f.write_str("e"),
            Expr::I => f.write_str("i"),
            Expr::Negate(inner) => {
                f.write_str("-")?;
                inner.operand(f, 3)
            }
            Expr::Percent(inner) => {
                inner.operand(f, 5)?;
                f.write_str("%")
            }
            Expr::Binary(sign, left, right) => {
                let rank = self.rank();
                left.operand(f, rank + u8::from(*sign == '^'))?;
                f.write_str(sign.encode_utf8(&mut [0; 4]))?;
                right.operand(f, rank + 1)
            }
            Expr::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i > 0 { "," } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// `5 m` with the letter as a variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Product {
    pub expr: Expr,
    /// Whether the letter is rather a unit: it stands upright, or behind a blank in plain text.
    pub unlikely: bool,
}

impl Product {
    /// `5 K` as 5000.
    pub(super) fn scaled(&self) -> Option<BigRational> {
        let Expr::Binary('*', number, letter) = &self.expr else { return None };
        let Expr::Variable(letter) = &**letter else { return None };
        Some(number.number()? * BigRational::from_integer(scale_letter(letter)?.into()))
    }
}

/// Behind the name of a value that an equation gave it.
pub(super) const NAMED: &str = " =";

/// An answer as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// One expression; with `percent`, it is what stands before the sign.
    Value {
        expr: Expr,
        percent: bool,
        unit: Option<Unit>,
        /// What is counted or named, in lists: `9 chickens`, `boys = 3`. Empty if nothing is.
        noun: String,
        /// The other reading of `5 m`, where the letter is a variable.
        product: Option<Box<Product>>,
    },
    /// `sides[0] signs[0] sides[1] …`; a sign is one of `= ≠ < > ≤ ≥`.
    Relation {
        sides: Vec<Answer>,
        signs: Vec<char>,
    },
    /// `f(x)`, `f(3)`, as the name of a value.
    Application {
        name: String,
        arguments: Vec<Expr>,
    },
    /// A number in a base other than ten, by its value.
    Based(BigInt, u32),
    Clock(Clock),
    Date(Date),
    /// Answers between brackets. `open` is `(` or `[` for tuples and intervals (a matrix is a tuple of its
    /// rows), `{` for sets, `,` for a list without brackets (`close` is `∨` if its items are alternatives,
    /// `∧` behind the word `and`), `∪` for a union, `:` for a ratio, `-` for a range.
    Group {
        open: char,
        close: char,
        items: Vec<Answer>,
    },
    /// Multiple choice: the letter, and what stands behind it.
    Choice(char, Option<Box<Answer>>),
    Truth(bool),
    /// Text in normal form.
    Text(String),
}

impl Answer {
    pub(super) fn value(expr: Expr) -> Answer {
        Answer::Value { expr, percent: false, unit: None, noun: String::new(), product: None }
    }

    pub(super) fn noun(&self) -> &str {
        match self {
            Answer::Value { noun, .. } => noun.strip_suffix(NAMED).unwrap_or(noun),
            _ => "",
        }
    }

    /// The name that an equation gives to a value, if one does.
    pub(super) fn label(&self) -> &str {
        match self {
            Answer::Value { noun, .. } => noun.strip_suffix(NAMED).unwrap_or(""),
            _ => "",
        }
    }

    /// The answer with a name for what it counts, if it has none.
    pub(super) fn named(mut self, name: &str) -> Answer {
        if let Answer::Value { noun, .. } = &mut self
            && noun.is_empty()
        {
            name.clone_into(noun);
        }
        self
    }

    /// From minus infinity to infinity.
    pub(super) fn reals() -> Answer {
        let infinity = || Expr::Variable("∞".into());
        let ends = vec![Answer::value(Expr::Negate(Box::new(infinity()))), Answer::value(infinity())];
        Answer::group('(', ')', ends)
    }

    pub(super) fn group(open: char, close: char, items: Vec<Answer>) -> Answer {
        Answer::Group { open, close, items }
    }

    pub(super) fn expr(&self) -> Option<&Expr> {
        match self {
            Answer::Value { expr, .. } => Some(expr),
            _ => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Value { expr, percent, .. } => write!(f, "{expr}{}", if *percent { "%" } else { "" }),
            Answer::Relation { sides, signs } => {
                for (i, side) in sides.iter().enumerate() {
                    if i > 0 {
                        write!(f, " {} ", signs[i - 1])?;
                    }
                    write!(f, "{side}")?;
                }
                Ok(())
            }
            Answer::Group { open, close, items } => {
                let bracketed = matches!(open, '(' | '[' | '{');
                if bracketed {
                    write!(f, "{open}")?;
                }
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        match open {
                            '∪' => f.write_str(" ∪ ")?,
                            ':' | '-' => write!(f, "{open}")?,
                            _ => f.write_str(", ")?,
                        }
                    }
                    write!(f, "{item}")?;
                }
                if bracketed { write!(f, "{close}") } else { Ok(()) }
            }
            Answer::Application { name, arguments } => {
                write!(f, "{name}(")?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i > 0 { "," } else { "" })?;
                }
                f.write_str(")")
            }
            Answer::Based(value, base) => write!(f, "{}_{base}", value.to_str_radix(*base)),
            Answer::Clock(clock) => write!(f, "{clock}"),
            Answer::Date(date) => write!(f, "{date}"),
            Answer::Choice(letter, None) => write!(f, "({letter})"),
            Answer::Choice(letter, Some(body)) => write!(f, "({letter}) {body}"),
            Answer::Truth(truth) => f.write_str(if *truth { "yes" } else { "no" }),
            Answer::Text(text) => f.write_str(text),
        }
    }
}

/// The name, if an answer is a variable alone.
pub(super) fn variable(answer: &Answer) -> Option<&str> {
    match answer.expr()? {
        Expr::Variable(name) if name != "∞" => Some(name),
        _ => None,
    }
}

/// Whether a variable stands in an expression: any, or the one of this name.
pub(super) fn expr_depends(expr: &Expr, on: Option<&str>) -> bool {
    match expr {
        Expr::Variable(name) => name != "∞" && on.is_none_or(|on| name == on),
        Expr::Number(_) | Expr::Pi | Expr::E | Expr::I => false,
        Expr::Negate(inner) | Expr::Percent(inner) => expr_depends(inner, on),
        Expr::Binary(_, left, right) => expr_depends(left, on) || expr_depends(right, on),
        Expr::Call(_, arguments) => arguments.iter().any(|a| expr_depends(a, on)),
    }
}

/// Whether the variable of this name stands in an answer.
pub(super) fn depends(answer: &Answer, on: &str) -> bool {
    match answer {
        Answer::Value { expr, .. } => expr_depends(expr, Some(on)),
        Answer::Relation { sides: items, .. } | Answer::Group { items, .. } => {
            items.iter().any(|item| depends(item, on))
        }
        Answer::Choice(_, body) => body.as_deref().is_some_and(|body| depends(body, on)),
        Answer::Application { name, .. } => name == on,
        Answer::Truth(_) | Answer::Text(_) | Answer::Based(..) | Answer::Clock(_) | Answer::Date(_) => false,
    }
}

/// What a chain of equations states as the value: its last side if the first is a name (`x = …`, `f(x) = …`,
/// `(x, y) = …`) or a computation without variables; the first side if only the last is a name.
pub(super) fn stated(answer: &Answer) -> Option<&Answer> {
    let Answer::Relation { sides, signs } = answer else { return None };
    let (first, last) = (sides.first()?, sides.last()?);
    if signs.iter().any(|&sign| sign != '=') {
        return None;
    }
    let is_name = |answer: &Answer| match answer {
        Answer::Value { expr: Expr::Binary('*', f, x), .. } => {
            matches!((&**f, &**x), (Expr::Variable(_), Expr::Variable(_)))
        }
        Answer::Application { .. } => true,
        Answer::Group { open: '(', items, .. } => items.iter().all(|item| variable(item).is_some()),
        other => variable(other).is_some(),
    };
    let own = |name: &Answer, value: &Answer| match name {
        Answer::Application { name, .. } => depends(value, name),
        name => variable(name).is_some_and(|name| depends(value, name)),
    };
    let computes = |answer: &Answer| answer.expr().is_some_and(|expr| !expr_depends(expr, None));
    let open = |answer: &Answer| answer.expr().is_some_and(|expr| expr_depends(expr, None));
    if (is_name(first) && !own(first, last)) || computes(first) && !open(last) {
        return Some(last);
    }
    (is_name(last) && !own(last, first)).then_some(first)
}
