//! Siblings: problems whose questions differ in numbers and names alone. What is right for one is right for
//! the others, with their numbers in their places; what reached the answer by chance is not. With answers
//! alone this is the sharpest evidence there is, where a data set has siblings (consistency over instances of
//! a template, as GSM-Symbolic, arXiv:2410.05229, makes them).

use std::collections::HashMap;

use datasets::agreement::{Case, transfers};
use datasets::domains;
use datasets::key;
use datasets::types::Problem;

/// Most siblings that a path is tried on.
pub const MOST: usize = 8;

/// Word problems by what they say beside numbers and names. It keeps up to [`MOST`] + 1 problems of each
/// text, those that come first.
#[derive(Debug, Default)]
pub struct Siblings(HashMap<u64, Vec<Case>>);

/// On how many siblings a path was tried, and of how many it gives the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    pub tried: usize,
    pub solved: usize,
}

impl Tried {
    /// Whether it fails for most.
    pub fn refuted(self) -> bool {
        2 * self.solved < self.tried
    }

    /// Whether it solves so many, and not less than half.
    pub fn confirmed(self, least: usize) -> bool {
        self.solved >= least.max(1) && !self.refuted()
    }
}

impl Siblings {
    /// Takes in a problem. Problems of other domains and answers that are no numbers have no siblings.
    pub fn add(&mut self, problem: &Problem) {
        if !domains::calculates(problem) {
            return;
        }
        if let Some((text, case)) = Case::of(problem) {
            let known = self.0.entry(key::seed(&[text.as_str().into()])).or_default();
            if known.len() <= MOST && known.iter().all(|other| other.numbers != case.numbers) {
                known.push(case);
            }
        }
    }

    /// Whether a problem has a sibling with other numbers.
    pub fn has(&self, problem: &Problem) -> bool {
        self.case(problem)
            .is_some_and(|(case, known)| known.iter().any(|other| other.numbers != case.numbers))
    }

    /// Tries the path to a problem's answer on its siblings.
    pub fn try_on<S: AsRef<str>>(&self, problem: &Problem, path: &[S]) -> Tried {
        let Some((case, known)) = self.case(problem) else { return Tried::default() };
        let found: Vec<bool> =
            known.iter().filter_map(|other| transfers(path, &case, other)).take(MOST).collect();
        Tried { tried: found.len(), solved: found.iter().filter(|solved| **solved).count() }
    }

    fn case(&self, problem: &Problem) -> Option<(Case, &[Case])> {
        if !domains::calculates(problem) {
            return None;
        }
        let (text, case) = Case::of(problem)?;
        Some((case, self.0.get(&key::seed(&[text.as_str().into()]))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(question: &str, answer: &str) -> Problem {
        Problem {
            domain: "math".into(),
            question: question.into(),
            answer: answer.into(),
            ..Problem::default()
        }
    }

    #[test]
    fn a_coincidence_does_not_move_to_siblings() {
        let mut siblings = Siblings::default();
        let ann = problem("Ann has 2 bags of 4 pens and gives 3 away. How many pens has she?", "5");
        let tom = problem("Tom has 5 bags of 3 pens and gives 4 away. How many pens has he?", "11");
        let eve = problem("Eve has 6 bags of 3 pens and gives 7 away. How many pens has she?", "11");
        siblings.add(&ann);
        assert!(!siblings.has(&ann), "itself is none");
        siblings.add(&ann);
        siblings.add(&tom);
        siblings.add(&eve);
        siblings.add(&problem("Tom has 5 bags of 3 pens and sells 4 of them. How many pens has he?", "11"));
        assert!(siblings.has(&ann) && siblings.has(&tom));
        let right = siblings.try_on(&ann, &["2*4=8", "8-3=5"]);
        assert_eq!(right, Tried { tried: 2, solved: 2 });
        let chance = siblings.try_on(&ann, &["2+3=5"]);
        assert_eq!(chance, Tried { tried: 2, solved: 0 });
        assert!(right.confirmed(2) && !right.confirmed(3) && !right.refuted() && chance.refuted());
        assert_eq!(siblings.try_on(&ann, &["It is 5."]), Tried::default());
        assert!(!Tried::default().refuted() && !Tried::default().confirmed(0));
        // Other domains, and answers that are no numbers.
        let word = Problem { answer: "a cat".into(), ..ann.clone() };
        siblings.add(&word);
        assert!(!siblings.has(&word));
        let puzzle = Problem { domain: "countdown".into(), ..ann };
        siblings.add(&puzzle);
        assert!(!siblings.has(&puzzle));
    }
}
