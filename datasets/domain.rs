//! The seam between qstill and a kind of problem.

use std::sync::Arc;

use crate::answer::compare;
use crate::expr::canonical_path;
use crate::number::Number;
use crate::types::{Judgement, Problem, StepCheck};

/// Where a search stands: the steps so far, and what the next one begins with.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Step texts so far.
    pub steps: Vec<String>,
    /// Quantities a next step may use, in a fixed order: given numbers first, then results in order. Empty in
    /// a domain that does not compute.
    pub pool: Vec<Quantity>,
    /// What the rules of a domain say of it that does not compute with numbers.
    pub told: Option<Arc<Told>>,
}

/// A state of rules that are asked ([`State::told`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The state, as JSON. Equal texts are equal states.
    pub text: String,
    /// The final answer, if a path may stop here.
    pub answer: Option<String>,
    /// No path from here ends with fewer steps more.
    pub left: Option<u32>,
}

/// A number a step may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    pub value: Number,
    pub origin: Origin,
    /// How often a step has used it.
    pub uses: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in the question.
    Given,
    /// Not written as a number but meant by a word (`dozen`, `half`, `week`, `percent`).
    Lexicon,
    /// Result of step `n`.
    Result(u32),
}

/// Names a state for transpositions: states with equal keys allow the same continuations, whatever order
/// their steps came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Sorted numbers, each with what else decides how it may be used.
    Numbers(Vec<(Number, u32)>),
    /// What rules say of it.
    Told(String),
}

/// A state as a small network sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Numbers of about unit size, always as many in a domain.
    pub dense: Vec<f32>,
    /// Names of what is there, as hashes (see [`mix`]); in any number and order.
    pub sparse: Vec<u64>,
}

/// What tells the features of a problem's states.
pub type Describe<'a> = Box<dyn Fn(&State) -> Features + Send + Sync + 'a>;

/// Hash of a hash and a number (the finaliser of SplitMix64 over both).
pub fn mix(hash: u64, number: u64) -> u64 {
    let mut z = hash.rotate_left(23).wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A legal next step and where it leads.
#[derive(Clone, Debug)]
pub struct Move {
    /// The step as text, e.g. `48/2=24`.
    pub text: String,
    /// Its result, in a domain that computes.
    pub value: Option<Number>,
    pub next: State,
}

/// A solution that is to be judged.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub problem: &'a Problem,
    pub steps: Vec<String>,
    /// The final answer; empty: none was given.
    pub answer: String,
}

/// Why verdicts of a domain cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// The user asked to stop while something was judged.
    #[error("stopped on request")]
    Stopped,
    /// The verifier, or what tells the rules, does not work: says what it did.
    #[error("{0}")]
    Broken(String),
    /// It is no longer what it was when the run began to use it.
    #[error("{0}")]
    Changed(String),
}

/// Who gives verdicts: a domain itself, or what stands in its place.
pub trait Verifier: Send + Sync {
    /// Judges steps and a final answer (empty: none was given) against the gold.
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement;

    /// Whether a solution without a final answer is wrong, whatever its steps are.
    fn needs_answer(&self) -> bool {
        true
    }

    /// Says beforehand what [`Verifier::verify`] will be asked: a verifier that takes its time then judges
    /// many at once. Others do not look at the cases.
    fn foresee(&self, _cases: &mut dyn Iterator<Item = Case<'_>>) {}

    /// How good a solution is, 0 to 1, if the verifier says more than right or wrong.
    fn score(&self, _problem: &Problem, _steps: &[String], _final_answer: &str) -> Option<f32> {
        None
    }

    /// Whether the verdicts given so far may be used.
    ///
    /// # Errors
    /// Some were not made, as the user asked to stop or the verifier does not work.
    fn sound(&self) -> Result<(), Unsound> {
        Ok(())
    }
}

/// A kind of problem: its rules, its step check and its verifier.
pub trait Domain: Verifier {
    /// Name as in the `domain` column.
    fn name(&self) -> &'static str;

    /// Version of the rules and of the verifier: part of every fingerprint that depends on them.
    fn version(&self) -> u32;

    /// Names the rules in fingerprints.
    fn identity(&self) -> String {
        format!("{}:{}", self.name(), self.version())
    }

    /// The state before the first step.
    fn start(&self, problem: &Problem) -> State;

    /// Whether [`Domain::moves`] gives steps: a domain without rules can only be sampled.
    fn enumerates(&self) -> bool {
        true
    }

    /// Whether solutions are calculations with the numbers of the question, so that they can be replayed with
    /// those of another one.
    fn calculates(&self) -> bool {
        false
    }

    /// Legal next steps in a fixed order without duplicates; `None` if the domain cannot enumerate them.
    fn moves(&self, state: &State) -> Option<Vec<Move>>;

    /// If the state may stop here, the final answer it would give: e.g. the last result as text.
    /// For Countdown only a state whose numbers are all used up has one.
    fn answer(&self, state: &State) -> Option<String>;

    /// The state after a step of text, whoever wrote it; `None` if it computes nothing that could be
    /// followed.
    fn follow(&self, state: &State, step: &str) -> Option<State>;

    /// Says beforehand whose start or whose moves will be asked for: rules that take their time then look at
    /// many at once. Others do not look at them.
    fn begin(&self, _problems: &mut dyn Iterator<Item = &Problem>) {}
    fn expand(&self, _states: &mut dyn Iterator<Item = &State>) {}

    /// Whether a command tells the rules: it is asked about states, of many at once best.
    fn is_told(&self) -> bool {
        false
    }

    /// Names a path: those of one name are one solution.
    fn path(&self, steps: &[String]) -> String {
        canonical_path(steps)
    }

    /// Whether nothing can follow a state: one number has nothing to be joined with.
    fn ended(&self, state: &State) -> bool {
        state.pool.len() < 2
    }

    /// Names a state.
    fn key(&self, state: &State) -> Key;

    /// No path through this state ends with fewer steps more.
    fn least_steps(&self, state: &State) -> usize;

    /// About how many steps more a sensible path has: orders a search that has learned nothing yet.
    fn effort(&self, state: &State) -> f64;

    /// What a value network may know of a problem's states: never the answer.
    fn features<'a>(&self, problem: &'a Problem) -> Describe<'a>;

    /// An answer in the form in which equal answers are equal, for votes.
    fn reading(&self, _: &Problem, final_answer: &str) -> String {
        compare("0", final_answer).predicted_read
    }

    /// Checks one step of text, whoever wrote it.
    fn check_step(&self, problem: &Problem, earlier: &[String], step: &str) -> StepCheck;
}
