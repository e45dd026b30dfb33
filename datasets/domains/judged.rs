//! A domain with the rules of another one, and a verifier of its own.

use crate::domain::{Case, Describe, Domain, Key, Move, State, Unsound, Verifier};
use crate::types::{Judgement, Problem, StepCheck};

/// A domain whose solutions `verifier` judges, steps included: single steps are not checked, for the rules of
/// a domain say nothing of what somebody else judges.
pub struct Judged<V> {
    pub rules: Box<dyn Domain>,
    pub verifier: V,
}

impl<V: Verifier> Domain for Judged<V> {
    fn name(&self) -> &'static str {
        self.rules.name()
    }

    fn version(&self) -> u32 {
        self.rules.version()
    }

    fn identity(&self) -> String {
        self.rules.identity()
    }

    fn start(&self, problem: &Problem) -> State {
        self.rules.start(problem)
    }

    fn enumerates(&self) -> bool {
        self.rules.enumerates()
    }

    fn calculates(&self) -> bool {
        self.rules.calculates()
    }

    fn moves(&self, state: &State) -> Option<Vec<Move>> {
        self.rules.moves(state)
    }

    fn answer(&self, state: &State) -> Option<String> {
        self.rules.answer(state)
    }

    fn follow(&self, state: &State, step: &str) -> Option<State> {
        self.rules.follow(state, step)
    }

    fn begin(&self, problems: &mut dyn Iterator<Item = &Problem>) {
        self.rules.begin(problems);
    }

    fn expand(&self, states: &mut dyn Iterator<Item = &State>) {
        self.rules.expand(states);
    }

    fn is_told(&self) -> bool {
        self.rules.is_told()
    }

    fn path(&self, steps: &[String]) -> String {
        self.rules.path(steps)
    }

    fn ended(&self, state: &State) -> bool {
        self.rules.ended(state)
    }

    fn key(&self, state: &State) -> Key {
        self.rules.key(state)
    }

    fn least_steps(&self, state: &State) -> usize {
        self.rules.least_steps(state)
    }

    fn effort(&self, state: &State) -> f64 {
        self.rules.effort(state)
    }

    fn features<'a>(&self, problem: &'a Problem) -> Describe<'a> {
        self.rules.features(problem)
    }

    fn check_step(&self, _: &Problem, _: &[String], _: &str) -> StepCheck {
        StepCheck::Prose
    }

    fn reading(&self, problem: &Problem, final_answer: &str) -> String {
        self.rules.reading(problem, final_answer)
    }
}

impl<V: Verifier> Verifier for Judged<V> {
    fn needs_answer(&self) -> bool {
        self.verifier.needs_answer()
    }

    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        self.verifier.verify(problem, steps, final_answer)
    }

    fn foresee(&self, cases: &mut dyn Iterator<Item = Case<'_>>) {
        self.verifier.foresee(cases);
    }

    fn score(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Option<f32> {
        self.verifier.score(problem, steps, final_answer)
    }

    fn sound(&self) -> Result<(), Unsound> {
        self.rules.sound()?;
        self.verifier.sound()
    }
}
