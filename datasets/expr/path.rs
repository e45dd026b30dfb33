//! One canonical text for a solution's calculation, so that two solutions that compute the same thing in
//! another order, layout or wording are seen to be one.

use std::collections::BTreeSet;

use num_rational::BigRational;

use super::{ExprError, Node, Operator, equations, evaluate, lex, parse};
use crate::key;
use crate::number::render;

/// Longest expression that is kept as text. A longer one is replaced by a hash of it, because results that
/// are used twice, again and again, would double the text with every step.
const MAX_TEXT: usize = 200;
/// Most operands of a flattened sum or product; beyond it the operands are grouped.
const MAX_OPERANDS: usize = 64;

/// The equations of a path lifted into expressions over the numbers that no step computed.
///
/// An operand equal to an earlier result stands for that result (one that no step has used yet comes first).
/// Sums and products are flattened and their operands sorted; numbers are written in one form (`.5`, `0.50`
/// and `1/2` written as a number alike). The expressions of all results that no later step used, normally
/// one, are sorted and joined with `; `. A step without an equation contributes its words in lower case.
/// The order of steps that do not depend on each other, of operands that commute, spacing, units and prose
/// around equations make no difference. A given number that equals an earlier result cannot be told from it:
/// there the order of steps may show.
pub fn canonical_path<S: AsRef<str>>(steps: &[S]) -> String {
    let mut path = Path::default();
    for step in steps {
        path.read(step.as_ref());
    }
    let mut roots: Vec<String> = path.results.into_iter().filter(|r| !r.used).map(|r| r.form.text()).collect();
    roots.extend(path.prose);
    roots.sort();
    roots.join("; ")
}

#[derive(Default)]
struct Path {
    results: Vec<Derived>,
    prose: BTreeSet<String>,
}

struct Derived {
    value: BigRational,
    form: Form,
    used: bool,
}

/// A canonical expression.
#[derive(Clone)]
enum Form {
    /// A number, a hash, or anything else that is not taken apart.
    Leaf(String),
    /// Sorted operands of a sum or product.
    Flat(Operator, Vec<String>),
    Ordered(Operator, String, String),
}

impl Form {
    fn text(&self) -> String {
        let text = match self {
            Form::Leaf(text) => text.clone(),
            Form::Flat(operator, operands) => format!("({})", operands.join(&operator.sign().to_string())),
            Form::Ordered(operator, left, right) => format!("({left}{}{right})", operator.sign()),
        };
        if text.len() > MAX_TEXT { format!("#{}", key::id(&[text.as_str().into()])) } else { text }
    }

    /// This form as operands of an operator around it.
    fn operands(self, around: Operator) -> Vec<String> {
        match self {
            Form::Flat(operator, operands) if operator == around && operands.len() < MAX_OPERANDS => operands,
            other => vec![other.text()],
        }
    }
}

impl Path {
    fn read(&mut self, step: &str) {
        let mut found = equations(step);
        // `48/2 = <<48/2=24>>24` says the same twice.
        if found.iter().any(|e| e.annotated) {
            found.retain(|e| e.annotated);
        }
        let none = found.is_empty();
        for equation in found {
            // In `a = b = c` the value of `a` is the result and the rest repeats it.
            if equation.chained {
                continue;
            }
            let tokens = lex(&equation.lhs);
            let form = match parse(&tokens) {
                Ok(node) if !node.computes() => continue,
                Ok(node) => self.lift(&node).unwrap_or(Form::Leaf(equation.lhs.clone())),
                Err(_) => Form::Leaf(format!("?{}", equation.lhs)),
            };
            // A later step refers to what was written as the result, right or wrong.
            let written = evaluate(&equation.rhs).or_else(|_| evaluate(&equation.lhs));
            match written {
                Ok(value) => self.results.push(Derived { value, form, used: false }),
                Err(_) => self.prose.extend([format!("{}={}", form.text(), equation.rhs)]),
            }
        }
        if none {
            let words: Vec<String> = step.split_whitespace().map(str::to_lowercase).collect();
            if !words.is_empty() {
                self.prose.insert(format!("\"{}\"", words.join(" ")));
            }
        }
    }

    fn lift(&mut self, node: &Node<'_>) -> Result<Form, ExprError> {
        Ok(match node {
            Node::Binary(operator, left, right) => {
                let (left, right) = (self.lift(left)?, self.lift(right)?);
                if operator.commutes() {
                    let mut operands = left.operands(*operator);
                    operands.extend(right.operands(*operator));
                    operands.sort();
                    Form::Flat(*operator, operands)
                } else {
                    Form::Ordered(*operator, left.text(), right.text())
                }
            }
            Node::Negate(inner) if inner.computes() => Form::Leaf(format!("-{}", self.lift(inner)?.text())),
            Node::Percent(inner) if inner.computes() => Form::Leaf(format!("{}%", self.lift(inner)?.text())),
            number => self.operand(&number.value()?),
        })
    }

    /// The earlier result that a number stands for, else the number itself.
    ///
    /// Among results of the same value those not used yet come first, then the smallest expression: a choice
    /// that does not depend on the order of independent steps.
    fn operand(&mut self, value: &BigRational) -> Form {
        let best = self.results.iter_mut().filter(|r| r.value == *value).min_by_key(|r| (r.used, r.form.text()));
        match best {
            Some(result) => {
                result.used = true;
                result.form.clone()
            }
            None => Form::Leaf(render(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_calculation() {
        let one = canonical_path(&["48/2=24", "48+24=72"]);
        assert_eq!(one, "((48/2)+48)");
        for steps in [
            &["48/2=24", "24+48=72"][..],
            &["Natalia sold 48/2 = <<48/2=24>>24 clips in May.", "Altogether 48 + 24 = <<48+24=72>>72 clips."],
            &["48 / 2 = 24.0 clips", "24 + 48 = 72"],
            &["48/2 + 48 = 24 + 48 = 72"],
        ] {
            assert_eq!(canonical_path(steps), one, "{steps:?}");
        }
    }

    #[test]
    fn another_calculation() {
        let one = canonical_path(&["48/2=24", "48+24=72"]);
        for steps in [&["48/2=24"][..], &["48*2=96"], &["24+48=72"], &["48/2=24", "48-24=24", "24+48=72"], &["2/48=24", "48+24=72"]] {
            assert_ne!(canonical_path(steps), one, "{steps:?}");
        }
        assert_ne!(canonical_path(&["10-4=6"]), canonical_path(&["4-10=6"]));
    }

    #[test]
    fn order_of_independent_steps() {
        let one = canonical_path(&["3*4=12", "6*2=12", "12+12=24", "40/5=8", "24+8=32"]);
        assert_eq!(one, canonical_path(&["40/5=8", "2*6=12", "4*3=12", "12+12=24", "8+24=32"]));
        assert_eq!(canonical_path(&["1+2=3", "3+4=7"]), canonical_path(&["4+2=6", "6+1=7"]));
    }

    #[test]
    fn prose() {
        assert_eq!(canonical_path(&["Let us  think."]), canonical_path(&["let us think."]));
        assert_ne!(canonical_path(&["yes"]), canonical_path(&["no"]));
        assert_eq!(canonical_path::<&str>(&[]), "");
        assert_eq!(canonical_path(&["Let us think.", "1+2=3"]), "\"let us think.\"; (1+2)");
    }

    #[test]
    fn reuse_stays_small() {
        let steps: Vec<String> = (0..60).map(|i| format!("{0}+{0}={1}", 1_u64 << i, 2_u64 << i)).collect();
        assert!(canonical_path(&steps).len() <= 17 * MAX_OPERANDS + 2);
    }

    proptest! {
        #[test]
        fn commuted_operands(a in 1_i64..99, b in 1_i64..99, c in 1_i64..99, sign in "[+*]") {
            let op = |x: i64, y: i64| if sign == "+" { x + y } else { x * y };
            let (first, second) = (op(a, b), op(op(a, b), c));
            let straight = canonical_path(&[format!("{a}{sign}{b}={first}"), format!("{first}{sign}{c}={second}")]);
            let turned = canonical_path(&[format!("{b} {sign} {a} = {first}"), format!("{c} {sign} {first} = {second}")]);
            prop_assert_eq!(straight, turned);
        }

        #[test]
        fn independent_steps_swapped(a in 1_i64..99, b in 1_i64..99, c in 1_i64..99, d in 1_i64..99) {
            // Neither step's operands may be the other's result.
            let (x, y) = (1000 + a + b, 5000 + c * d);
            let one = format!("{}+{b}={x}", 1000 + a);
            let two = format!("{c}*{d}+5000={y}");
            let end = format!("{x}-{y}={}", x - y);
            prop_assert_eq!(canonical_path(&[&one, &two, &end]), canonical_path(&[&two, &one, &end]));
        }

        #[test]
        fn no_panic(steps in proptest::collection::vec(".*", 0..5)) {
            let _ = canonical_path(&steps);
        }
    }
}
