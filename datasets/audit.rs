//! Is a path to the right answer right for the right reason?
//!
//! With answers as the only supervision, a path may reach the right number by chance: `2+2` for `2*2`, or two
//! mistakes that cancel. A generated word problem knows the calculation that it was made from (`meta`). Both
//! calculations are replayed with other numbers in place of the given ones, as if the same story had been
//! told of other amounts (after the fictitious worlds of Pasupat & Liang, arXiv:1606.06900). A path that is
//! right for the right reason gives the right result in all of them; one that fitted the numbers does not.
//!
//! Only audits may read `meta`: nothing here feeds search, verification or curation.

use std::cell::Cell;
use std::collections::HashMap;

use num_rational::BigRational;
use serde::Deserialize;

use crate::answer::Amount;
use crate::domain::Origin;
use crate::domains::math::givens;
use crate::expr::{Exact, Graph, Operator};
use crate::key;
use crate::types::Problem;

/// Replays that must agree.
pub const DRAWS: usize = 4;
/// Replays that are tried: one in which somebody divides by zero says nothing.
const TRIES: u64 = 16;
/// Numbers of a path that are read in both ways.
const MAX_DOUBTS: u32 = 6;
/// Numbers that stand in for the given ones: large enough that no small coincidence holds (0, 1, 2+2=2*2).
const NUMBERS: (u32, u32) = (11, 997);

/// What an audit finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finding {
    /// Right in every replay.
    Right,
    /// Right for the given numbers only.
    Coincidence,
    /// The path holds no calculation that ends in its answer, so there is nothing to replay.
    Unreadable,
}

/// The calculation that a generated problem was made from.
pub struct Oracle {
    nodes: Vec<(Operator, [Operand; 2])>,
    /// What words of the text mean: `three times` writes a number that no redraw replaces.
    constants: Vec<BigRational>,
}

enum Operand {
    /// A number of the text.
    Given(BigRational),
    /// What a word means: index among the constants.
    Constant(usize),
    /// Result of an earlier node.
    Result(usize),
}

#[derive(Deserialize)]
struct Meta {
    graph: Vec<MetaNode>,
    /// `48/2=24` for each node.
    solution: Vec<String>,
}

#[derive(Deserialize)]
struct MetaNode {
    name: String,
    op: char,
    args: [String; 2],
    value: String,
}

impl Oracle {
    /// `None` if the problem does not know how it was made: only the word-problem generator writes that down.
    pub fn of(problem: &Problem) -> Option<Self> {
        let meta: Meta = serde_json::from_str(&problem.meta).ok()?;
        let mut names: HashMap<&str, usize> = HashMap::new();
        let (mut nodes, mut constants) = (Vec::with_capacity(meta.graph.len()), Vec::new());
        for (at, (node, written)) in meta.graph.iter().zip(&meta.solution).enumerate() {
            let (left, right) = written.split_once('=')?.0.split_once(node.op)?;
            let mut operand = |arg: &String, written: &str| {
                // A node may be called as a word of the lexicon is: then the numbers tell which is meant.
                if let Some(&earlier) =
                    names.get(arg.as_str()).filter(|&&earlier| meta.graph[earlier].value == written)
                {
                    return Some(Operand::Result(earlier));
                }
                let value = Amount::read(written)?.value;
                // A word of the text has the number that it means in the solution.
                if arg == written {
                    return Some(Operand::Given(value));
                }
                constants.push(value);
                Some(Operand::Constant(constants.len() - 1))
            };
            nodes.push((
                Operator::parse(node.op)?,
                [operand(&node.args[0], left)?, operand(&node.args[1], right)?],
            ));
            names.insert(&node.name, at);
        }
        (!nodes.is_empty()).then_some(Self { nodes, constants })
    }

    /// The true result where `number` stands in for each given one; `None` for a division by zero.
    fn replay(&self, number: &dyn Fn(&BigRational) -> BigRational) -> Option<BigRational> {
        let mut values: Vec<BigRational> = Vec::with_capacity(self.nodes.len());
        for (operator, operands) in &self.nodes {
            let value = |operand: &Operand| match operand {
                Operand::Given(value) => number(value),
                Operand::Constant(at) => self.constants[*at].clone(),
                Operand::Result(at) => values[*at].clone(),
            };
            values.push(operator.apply(value(&operands[0]), value(&operands[1]))?);
        }
        values.pop()
    }

    /// Replays a path to the right answer.
    ///
    /// A number in the path that can be read in two ways (it is given and equals an earlier result, or is
    /// what a word means) has the benefit of the doubt: the path is right if one way of reading it is right
    /// in every replay.
    pub fn audit<S: AsRef<str>>(&self, problem: &Problem, steps: &[S], answer: &str) -> Finding {
        let is_given = |origin| origin == Origin::Given;
        let given: Vec<BigRational> = givens(&problem.question)
            .iter()
            .filter(|q| is_given(q.origin))
            .map(|q| q.value.to_big())
            .collect();
        let Some(answer) = Amount::read(answer) else { return Finding::Unreadable };
        let mut finding = Finding::Unreadable;
        let doubtful = |value: &BigRational| given.contains(value) || self.constants.contains(value);
        readings(steps, MAX_DOUBTS, &doubtful, |graph| {
            let Some(end) = graph.results().iter().rposition(|result| result.value == answer.value) else {
                return false;
            };
            for fixed in [&[][..], &self.constants] {
                match self.agree(problem, (graph, end), &given, fixed) {
                    Some(true) => finding = Finding::Right,
                    Some(false) if finding != Finding::Right => finding = Finding::Coincidence,
                    _ => {}
                }
            }
            finding == Finding::Right
        });
        finding
    }

    /// Whether a path's result (`end` of its graph) is the true one in every replay; `None` if too few
    /// replays have a result. `given` are the numbers that are replaced, but for those in `fixed`.
    fn agree(
        &self,
        problem: &Problem,
        (graph, end): (&Graph, usize),
        given: &[BigRational],
        fixed: &[BigRational],
    ) -> Option<bool> {
        let mut agreed = 0;
        for draw in 0..TRIES {
            let stands_in = |value: &BigRational| {
                let hundred = BigRational::from_integer(100.into());
                let times_hundred = value * &hundred;
                if fixed.contains(value) {
                    value.clone()
                } else if given.contains(value) {
                    drawn(problem, value, draw)
                } else if given.contains(&times_hundred) {
                    // `0.2` for a given `20%`.
                    drawn(problem, &times_hundred, draw) / hundred
                } else {
                    value.clone()
                }
            };
            let Some(truth) = self.replay(&|value| drawn(problem, value, draw)) else { continue };
            let Some(found) = graph.replay(&Exact(stands_in))[end].clone() else { continue };
            if found != truth {
                return Some(false);
            }
            agreed += 1;
            if agreed == DRAWS {
                return Some(true);
            }
        }
        None
    }
}

/// Visits the graphs of a path, one for each way of reading its doubtful numbers: those that equal an earlier
/// result and may mean something else. Beyond `most` of them the first reading is taken. Ends when a visit
/// says true.
pub(crate) fn readings<S: AsRef<str>>(
    steps: &[S],
    most: u32,
    doubtful: &dyn Fn(&BigRational) -> bool,
    mut visit: impl FnMut(&Graph) -> bool,
) {
    let (mut count, mut reading) = (1_u32, 0);
    while reading < count {
        // One bit for each doubt.
        let doubts = Cell::new(0);
        let graph = Graph::of(steps, &|value| {
            let doubt = doubtful(value);
            let bit = doubts.replace(doubts.get() + u32::from(doubt));
            doubt && bit < most && reading >> bit & 1 == 1
        });
        count = count.max(1 << doubts.get().min(most));
        reading += 1;
        if visit(&graph) {
            return;
        }
    }
}

/// The number that stands in for a given one: the same for the same problem, value and draw.
fn drawn(problem: &Problem, value: &BigRational, draw: u64) -> BigRational {
    let text = value.to_string();
    let unit =
        key::unit(&["audit".into(), problem.problem_id.as_str().into(), text.as_str().into(), draw.into()]);
    let (low, high) = NUMBERS;
    BigRational::from_integer((low + (unit * f64::from(high - low)) as u32).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Raw, words};
    use crate::types::Split;

    fn problem(index: u64) -> Problem {
        let dial = words::Dial { min_operations: 1, max_operations: 6, distractors: 0.3 };
        Raw::from(words::generate(3, index, &dial)).into_problem("math", "words", 0, Split::Train)
    }

    fn solution(problem: &Problem) -> Vec<String> {
        let meta: serde_json::Value = serde_json::from_str(&problem.meta).expect("JSON");
        meta["solution"]
            .as_array()
            .expect("steps")
            .iter()
            .map(|s| s.as_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn the_latent_solution_is_right() {
        for index in 0..2000 {
            let problem = problem(index);
            let oracle = Oracle::of(&problem).expect("generated");
            assert_eq!(
                oracle.audit(&problem, &solution(&problem), &problem.answer),
                Finding::Right,
                "{problem:?}"
            );
        }
    }

    fn told(question: &str, answer: &str, graph: &str) -> Problem {
        let raw = Raw {
            question: question.into(),
            answer: answer.into(),
            difficulty: 0,
            meta: graph.into(),
            worked: None,
            asked: None,
        };
        raw.into_problem("math", "words", 0, Split::Train)
    }

    #[test]
    fn coincidences() {
        let meta = r#"{"graph": [
            {"name": "left", "op": "-", "args": ["20", "4"], "value": "16"},
            {"name": "each", "op": "/", "args": ["left", "half"], "value": "8"}],
            "solution": ["20-4=16", "16/2=8"]}"#;
        let problem = told("Of 20 eggs 4 broke. Half of the rest were used. How many?", "8", meta);
        let oracle = Oracle::of(&problem).expect("a graph");
        let audit = |steps: &[&str]| {
            oracle.audit(&problem, &steps.iter().map(ToString::to_string).collect::<Vec<_>>(), "8")
        };
        assert_eq!(audit(&["20-4=16", "16/2=8"]), Finding::Right);
        assert_eq!(audit(&["20/2=10", "4/2=2", "10-2=8"]), Finding::Right, "another way to the same");
        assert_eq!(audit(&["20-4=16", "16*0.5=8"]), Finding::Right);
        assert_eq!(audit(&["4*2=8"]), Finding::Coincidence);
        assert_eq!(audit(&["20-4-4-4=8"]), Finding::Coincidence);
        assert_eq!(audit(&["3+5=8"]), Finding::Coincidence);
        assert_eq!(audit(&["It is 8."]), Finding::Unreadable);
        // Two mistakes that cancel.
        assert_eq!(audit(&["20-4=15", "15/2=7.5", "7.5+0.5=8"]), Finding::Coincidence);
        assert!(Oracle::of(&told("?", "1", "{}")).is_none());
    }

    #[test]
    fn readings_have_the_benefit_of_the_doubt() {
        // 12 is the first result, and given.
        let meta = r#"{"graph": [
            {"name": "pens", "op": "+", "args": ["5", "7"], "value": "12"},
            {"name": "all", "op": "*", "args": ["pens", "3"], "value": "36"},
            {"name": "left", "op": "-", "args": ["all", "12"], "value": "24"}],
            "solution": ["5+7=12", "12*3=36", "36-12=24"]}"#;
        let problem =
            told("3 boxes hold 5 red and 7 blue pens each. 12 pens are lost. How many are left?", "24", meta);
        let oracle = Oracle::of(&problem).expect("a graph");
        let audit = |steps: [&str; 3]| oracle.audit(&problem, &steps.map(str::to_owned), "24");
        assert_eq!(audit(["5+7=12", "12*3=36", "36-12=24"]), Finding::Right);
        assert_eq!(audit(["5+7=12", "12-3=9", "9+15=24"]), Finding::Coincidence);
    }
}
