//! The true value of a state: whether any path of the rules from it ends in a correct answer, by exhaustion.

use std::collections::HashMap;

use datasets::Domain;
use datasets::domain::{Key, State};
use datasets::number::Number;
use datasets::types::{Problem, Verdict};

/// Whether a correct answer can be reached in so many steps more. `None` if that takes more expansions than
/// are left, or the domain has no rules. What it takes is taken from those that are left.
pub fn solvable(
    problem: &Problem,
    domain: &dyn Domain,
    state: &State,
    steps: usize,
    left: &mut usize,
) -> Option<bool> {
    let gold = Number::parse(problem.answer.trim());
    let mut search = Exhaustion { problem, domain, gold, left, known: HashMap::new() };
    search.reaches(state, steps)
}

struct Exhaustion<'a> {
    problem: &'a Problem,
    domain: &'a dyn Domain,
    gold: Option<Number>,
    left: &'a mut usize,
    /// States from which nothing correct is reached, with the steps that were left.
    known: HashMap<Key, usize>,
}

impl Exhaustion<'_> {
    fn reaches(&mut self, state: &State, steps: usize) -> Option<bool> {
        // Where the gold is a plain number, it rules out almost every state without the verifier.
        let may = self.gold.is_none_or(|gold| state.pool.last().is_none_or(|last| last.value == gold));
        let correct = |answer: String| {
            may && self.domain.verify(self.problem, &state.steps, &answer).verdict == Verdict::Correct
        };
        if !state.steps.is_empty() && self.domain.answer(state).is_some_and(correct) {
            return Some(true);
        }
        if self.domain.least_steps(state) > steps || steps == 0 {
            return Some(false);
        }
        let key = self.domain.key(state);
        if self.known.get(&key).is_some_and(|most| *most >= steps) {
            return Some(false);
        }
        *self.left = self.left.checked_sub(1)?;
        for step in self.domain.moves(state)? {
            if self.reaches(&step.next, steps - 1)? {
                return Some(true);
            }
        }
        self.known.insert(key, steps);
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::domains::domain;
    use datasets::types::Split;

    fn problem(question: &str, answer: &str) -> Problem {
        Problem {
            problem_id: "p".into(),
            domain: "countdown".into(),
            source: "t".into(),
            split: Split::Train,
            question: question.into(),
            answer: answer.into(),
            difficulty: 0,
            meta: String::new(),
        }
    }

    #[test]
    fn a_state_is_worth_one_or_nothing_and_a_budget_too_small_says_nothing() {
        let domain = domain("countdown").unwrap();
        let of = |question: &str, mut expansions: usize| {
            let problem = problem(question, "24");
            solvable(&problem, domain, &domain.start(&problem), 3, &mut expansions)
        };
        assert_eq!(of("Use 2, 3, 4 and 1 to make 24.", 5000), Some(true));
        assert_eq!(of("Use 1, 1, 1 and 1 to make 24.", 5000), Some(false));
        assert_eq!(of("Use 1, 2, 2 and 97 to make 24.", 3), None);
    }
}
