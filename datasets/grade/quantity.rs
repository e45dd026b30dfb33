//! What an equation says of an expression in variables: `m + n = 113` states a value. And parameters, whose
//! letters are free: `x = 2kπ` and `x = 2nπ`.

use std::collections::BTreeSet;

use num_traits::Zero;

use super::judge::{Equality, Judge, NOT_DECIDED, OTHER_KIND};
use super::relations::renamed;
use super::tree::{Answer, Expr, Function, expr_depends};

/// Letters that name parameters.
const PARAMETERS: &str = "abcdklmnpqrtCK";
/// Those of whole numbers and constants.
const WHOLE: &str = "klmnCK";

impl Judge {
    /// `m + n = 113` and 113: the value of an expression that no single variable is solved from. `x + y = 7`
    /// may be a line, `|x| = 5` an equation; `x + 2 = 5` is one.
    pub(super) fn quantity(&mut self, relation: &Answer, other: &Answer, turned: bool) -> Equality {
        let Some((quantity, value, computed)) = quantity(relation) else { return OTHER_KIND };
        if other.expr().is_none_or(|expr| expr_depends(expr, None)) {
            return OTHER_KIND;
        }
        let found = if turned { self.compare(other, value) } else { self.compare(value, other) };
        match found {
            Equality::Same if computed || is_quantity(quantity) => found,
            Equality::Same => NOT_DECIDED,
            _ if computed || is_quantity(quantity) => found,
            _ => OTHER_KIND,
        }
    }

    /// Whether two answers that differ may be the same with other letters for their parameters.
    pub(super) fn is_renamed(&mut self, gold: &Answer, given: &Answer) -> bool {
        let (Some(a), Some(b)) = (parametric(gold), parametric(given)) else { return false };
        let (Some(x), Some(y)) = (a.expr(), b.expr()) else { return false };
        let (x_names, y_names) = (variables(x), variables(y));
        // The letters of a formula `A = bc` are known.
        let letters = match gold {
            Answer::Relation { sides, .. } if matches!(sides[0], Answer::Application { .. }) => PARAMETERS,
            _ => WHOLE,
        };
        let parameter = |name: &&&str| name.len() == 1 && letters.contains(**name);
        let (mut from, mut to): (Vec<&str>, Vec<&str>) = (
            y_names.difference(&x_names).filter(parameter).copied().collect(),
            x_names.difference(&y_names).filter(parameter).copied().collect(),
        );
        if x_names == y_names {
            from = y_names.iter().filter(parameter).copied().collect();
            to = from.iter().rev().copied().collect();
        }
        if from.len() != to.len() || !(1..=2).contains(&from.len()) {
            return false;
        }
        (0..from.len()).any(|turn| {
            let mut value = b.clone();
            for (i, name) in from.iter().enumerate() {
                value = renamed(value, name, &Expr::Variable(format!("{i}'")));
            }
            for i in 0..from.len() {
                let name = to[(i + turn) % to.len()].to_owned();
                value = renamed(value, &format!("{i}'"), &Expr::Variable(name));
            }
            value.expr().is_some_and(|value| self.expressions(x, value) == Equality::Same)
        })
    }
}

/// The right side of `x = …` and `f(x) = …`, or a value that runs over multiples of π.
fn parametric(answer: &Answer) -> Option<&Answer> {
    match answer {
        Answer::Relation { sides, signs } if signs[..] == ['='] => sides.last(),
        Answer::Value { expr, .. } if has_pi(expr) => Some(answer),
        _ => None,
    }
}

fn has_pi(expr: &Expr) -> bool {
    match expr {
        Expr::Pi => true,
        Expr::Binary(_, a, b) => has_pi(a) || has_pi(b),
        Expr::Negate(inner) => has_pi(inner),
        _ => false,
    }
}

/// The expression and the value of a chain of equations between them, where the expression has more than one
/// variable or is no equation for its only one; and whether the chain computes the value.
fn quantity(relation: &Answer) -> Option<(&Expr, &Answer, bool)> {
    let Answer::Relation { sides, signs } = relation else { return None };
    if signs.iter().any(|sign| *sign != '=') {
        return None;
    }
    let fixed = |side: &&Answer| side.expr().is_some_and(|expr| !expr_depends(expr, None));
    let (first, last) = (sides.first()?, sides.last()?);
    let (open, value) = if fixed(&last) { (first, last) } else { (last, first) };
    let expr = open.expr().filter(|expr| expr_depends(expr, None))?;
    let single = variables(expr).len() < 2;
    let closed = matches!(expr, Expr::Call(Function::Abs | Function::Floor | Function::Ceil, _));
    let called = single && applies(expr);
    // `3x - y + 13 = 0` is an equation.
    if value.expr().and_then(Expr::number).is_some_and(|value| value.is_zero()) {
        return None;
    }
    let computed = sides.len() > 2 && sides.iter().filter(fixed).count() + 1 == sides.len();
    (fixed(&value) && (!single || closed || called)).then_some((expr, value, computed && !single))
}

/// `f(2) + f(3)` was read as products of f.
fn applies(expr: &Expr) -> bool {
    match expr {
        Expr::Binary('*', f, x) if matches!(**f, Expr::Variable(_)) => !expr_depends(x, None),
        Expr::Binary(_, a, b) => applies(a) || applies(b),
        _ => false,
    }
}

/// Whether an expression is rather what is asked for than a side of an equation.
fn is_quantity(expr: &Expr) -> bool {
    let unknown = |name: &str| matches!(name, "x" | "y" | "t");
    let names = variables(expr);
    let closed = matches!(expr, Expr::Call(Function::Abs, inner) if matches!(inner[..], [Expr::Variable(_)]));
    (names.len() > 1 || closed) && !names.iter().any(|name| unknown(name))
}

/// The names of the variables in an expression, each once.
fn variables(expr: &Expr) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut left = vec![expr];
    while let Some(expr) = left.pop() {
        match expr {
            Expr::Variable(name) if name != "∞" => {
                names.insert(name.as_str());
            }
            Expr::Negate(inner) | Expr::Percent(inner) => left.push(inner),
            Expr::Binary(_, a, b) => left.extend([&**a, &**b]),
            Expr::Call(_, arguments) => left.extend(arguments),
            _ => {}
        }
    }
    names
}
