//! The calculation of a solution as a graph: which step uses which number and which earlier result.
//!
//! From it follow one canonical text, so that two solutions that compute the same thing in another order,
//! layout or wording are seen to be one; and what the calculation gives for other numbers.

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
/// Largest numerator or denominator when a graph is replayed with other numbers.
const MAX_BITS: u64 = 4096;

/// The equations of a path lifted into expressions over the numbers that no step computed.
///
/// An operand equal to an earlier result stands for that result (one that no step has used yet comes
/// first). Sums and products are flattened and their operands sorted; numbers are written in one form
/// (`.5`, `0.50` and `1/2` written as a number alike). The expressions of all results that no later step
/// used, normally one, are sorted and joined with `; `. A step without an equation contributes its words in
/// lower case, but for talk around a calculation. The order of steps that do not depend on each other, of
/// operands that commute, spacing, units and prose around equations make no difference. A given number that
/// equals an earlier result cannot be told from it: there the order of steps may show.
pub fn canonical_path<S: AsRef<str>>(steps: &[S]) -> String {
    Graph::of(steps, &|_| false).canonical()
}

/// What a graph is replayed in.
pub(crate) trait Arithmetic {
    type Value: Clone;

    /// What stands in for a number that no equation gave.
    fn number(&self, value: &BigRational) -> Option<Self::Value>;

    /// A number as it is.
    fn constant(&self, value: &BigRational) -> Option<Self::Value>;

    fn apply(&self, operator: Operator, left: Self::Value, right: Self::Value) -> Option<Self::Value>;
}

/// Exact replay where a function names the number that stands in; values with more than [`MAX_BITS`] are
/// none.
pub(crate) struct Exact<F>(pub F);

impl<F: Fn(&BigRational) -> BigRational> Arithmetic for Exact<F> {
    type Value = BigRational;

    fn number(&self, value: &BigRational) -> Option<BigRational> {
        Some(self.0(value))
    }

    fn constant(&self, value: &BigRational) -> Option<BigRational> {
        Some(value.clone())
    }

    fn apply(&self, operator: Operator, left: BigRational, right: BigRational) -> Option<BigRational> {
        operator.apply(left, right).filter(|value| value.numer().bits().max(value.denom().bits()) <= MAX_BITS)
    }
}

/// The equations of some steps, each a result made of numbers and earlier results.
#[derive(Default)]
pub(crate) struct Graph {
    results: Vec<Derived>,
    /// Equations without a value.
    unread: BTreeSet<String>,
    prose: BTreeSet<String>,
}

/// The result of one equation.
pub(crate) struct Derived {
    /// As it was written, right or wrong.
    pub value: BigRational,
    used: bool,
    term: Term,
    form: Form,
}

/// How a result was computed.
enum Term {
    Number(BigRational),
    /// Index of an earlier result.
    Result(usize),
    Negate(Box<Term>),
    Percent(Box<Term>),
    Binary(Operator, Box<Term>, Box<Term>),
    /// A left side that could not be read.
    Unknown,
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

impl Graph {
    /// Lifts the equations of some steps. `given` is asked of each number that equals an earlier result, in
    /// the order of the text: true if it is not to be taken for that.
    pub(crate) fn of<S: AsRef<str>>(steps: &[S], given: &dyn Fn(&BigRational) -> bool) -> Self {
        let mut graph = Graph::default();
        for step in steps {
            graph.read(step.as_ref(), given);
        }
        graph
    }

    pub(crate) fn results(&self) -> &[Derived] {
        &self.results
    }

    fn canonical(self) -> String {
        let mut roots: Vec<String> =
            self.results.into_iter().filter(|r| !r.used).map(|r| r.form.text()).collect();
        let calculates = !roots.is_empty();
        roots.extend(self.unread);
        roots.extend(self.prose.into_iter().filter(|words| !(calculates && is_talk(words))));
        roots.sort();
        roots.join("; ")
    }

    /// What all results would be in another arithmetic, or with other numbers; `None` for those that then
    /// have no value (division by zero, a left side that was not read).
    pub(crate) fn replay<A: Arithmetic>(&self, arithmetic: &A) -> Vec<Option<A::Value>> {
        let mut values: Vec<Option<A::Value>> = Vec::with_capacity(self.results.len());
        for result in &self.results {
            values.push(result.term.value(&values, arithmetic));
        }
        values
    }

    /// The numbers that steps compute with and that no step computed.
    pub(crate) fn numbers(&self) -> Vec<&BigRational> {
        let mut found = Vec::new();
        let mut open: Vec<&Term> = self.results.iter().map(|result| &result.term).collect();
        while let Some(term) = open.pop() {
            match term {
                Term::Number(value) => found.push(value),
                Term::Negate(inner) | Term::Percent(inner) => open.push(inner),
                Term::Binary(_, left, right) => open.extend([&**left, &**right]),
                Term::Result(_) | Term::Unknown => {}
            }
        }
        found
    }

    fn read(&mut self, step: &str, given: &dyn Fn(&BigRational) -> bool) {
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
            let unread = |text: String| (Form::Leaf(text), Term::Unknown);
            let (form, term) = match parse(&tokens) {
                Ok(node) if !node.computes() => continue,
                Ok(node) => self.lift(&node, given).unwrap_or_else(|_| unread(equation.lhs.clone())),
                Err(_) => unread(format!("?{}", equation.lhs)),
            };
            // A later step refers to what was written as the result, right or wrong.
            let written = evaluate(&equation.rhs).or_else(|_| evaluate(&equation.lhs));
            match written {
                Ok(value) => self.results.push(Derived { value, used: false, term, form }),
                Err(_) => self.unread.extend([format!("{}={}", form.text(), equation.rhs)]),
            }
        }
        if none {
            let words: Vec<String> = step.split_whitespace().map(str::to_lowercase).collect();
            if !words.is_empty() {
                self.prose.insert(format!("\"{}\"", words.join(" ")));
            }
        }
    }

    fn lift(
        &mut self,
        node: &Node<'_>,
        given: &dyn Fn(&BigRational) -> bool,
    ) -> Result<(Form, Term), ExprError> {
        Ok(match node {
            Node::Binary(operator, left, right) => {
                let ((left, one), (right, two)) = (self.lift(left, given)?, self.lift(right, given)?);
                let form = if operator.commutes() {
                    let mut operands = left.operands(*operator);
                    operands.extend(right.operands(*operator));
                    operands.sort();
                    Form::Flat(*operator, operands)
                } else {
                    Form::Ordered(*operator, left.text(), right.text())
                };
                (form, Term::Binary(*operator, Box::new(one), Box::new(two)))
            }
            Node::Negate(inner) if inner.computes() => {
                let (form, term) = self.lift(inner, given)?;
                (Form::Leaf(format!("-{}", form.text())), Term::Negate(Box::new(term)))
            }
            Node::Percent(inner) if inner.computes() => {
                let (form, term) = self.lift(inner, given)?;
                (Form::Leaf(format!("{}%", form.text())), Term::Percent(Box::new(term)))
            }
            Node::Percent(inner) => match self.operand(&node.value()?, given) {
                (form, Term::Number(_)) => (form, Term::Percent(Box::new(Term::Number(inner.value()?)))),
                earlier => earlier,
            },
            number => self.operand(&number.value()?, given),
        })
    }

    /// The earlier result that a number stands for, else the number itself.
    ///
    /// Among results of the same value those not used yet come first, then the smallest expression: a choice
    /// that does not depend on the order of independent steps.
    fn operand(&mut self, value: &BigRational, given: &dyn Fn(&BigRational) -> bool) -> (Form, Term) {
        let same = (0..self.results.len()).filter(|&at| self.results[at].value == *value);
        let best = same.min_by_key(|&at| (self.results[at].used, self.results[at].form.text()));
        match best.filter(|_| !given(value)) {
            Some(at) => {
                self.results[at].used = true;
                (self.results[at].form.clone(), Term::Result(at))
            }
            None => (Form::Leaf(render(value)), Term::Number(value.clone())),
        }
    }
}

/// Whether a quoted step has words, or is a formula that computes nothing: it says what is calculated, or
/// why.
fn is_talk(step: &str) -> bool {
    let step = step.trim_start_matches('"');
    step.starts_with(['\\', '$']) || step.contains(char::is_alphabetic)
}

impl Term {
    fn value<A: Arithmetic>(&self, results: &[Option<A::Value>], arithmetic: &A) -> Option<A::Value> {
        let constant = |number: i64| arithmetic.constant(&BigRational::from_integer(number.into()));
        match self {
            Term::Number(value) => arithmetic.number(value),
            Term::Result(at) => results.get(*at)?.clone(),
            Term::Negate(inner) => {
                arithmetic.apply(Operator::Subtract, constant(0)?, inner.value(results, arithmetic)?)
            }
            Term::Percent(inner) => {
                arithmetic.apply(Operator::Divide, inner.value(results, arithmetic)?, constant(100)?)
            }
            Term::Binary(operator, left, right) => arithmetic.apply(
                *operator,
                left.value(results, arithmetic)?,
                right.value(results, arithmetic)?,
            ),
            Term::Unknown => None,
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
            &[
                "Natalia sold 48/2 = <<48/2=24>>24 clips in May.",
                "Altogether 48 + 24 = <<48+24=72>>72 clips.",
            ],
            &["48 / 2 = 24.0 clips", "24 + 48 = 72"],
            &["48/2 + 48 = 24 + 48 = 72"],
        ] {
            assert_eq!(canonical_path(steps), one, "{steps:?}");
        }
    }

    #[test]
    fn another_calculation() {
        let one = canonical_path(&["48/2=24", "48+24=72"]);
        for steps in [
            &["48/2=24"][..],
            &["48*2=96"],
            &["24+48=72"],
            &["48/2=24", "48-24=24", "24+48=72"],
            &["2/48=24", "48+24=72"],
        ] {
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
        assert_eq!(canonical_path(&["Let us think.", "\\[ 3 \\]", "1+2=3"]), "(1+2)");
        assert_ne!(canonical_path(&["1 2 4", "1+2=3"]), canonical_path(&["1+2=3"]));
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
