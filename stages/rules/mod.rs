//! Rules of the user's, which a command tells (`problems.rules`): the domain `rules`.
//!
//! A state is JSON of the command's own. It says where a problem starts ([`World::start`]), what the legal
//! steps of a state are and where they lead ([`World::moves`]), or only where a step leads
//! ([`World::follow`]). So searches over rules, step values and checks of steps work in worlds that are not
//! compiled in. A solution is right if each of its steps is legal, a path may stop where they lead, and the
//! answer there is its own and the gold answer.
//!
//! | reason | verdict | when |
//! |---|---|---|
//! | `correct` | correct | as above |
//! | `illegal_step` | wrong | a step is none of the legal ones; it is the first wrong step |
//! | `unfinished` | wrong | the steps lead where no path may stop |
//! | `no_answer` | wrong | there is no final answer |
//! | `other_answer` | wrong | the final answer is not that of the state |
//! | `wrong_answer` | wrong | it is not the gold answer |
//! | `rules_failed` | undecidable | the command does not work: the run stops |

use std::sync::Arc;

use anyhow::Result;
use datasets::domain::{Case, Describe, Domain, Features, Key, Move, State, Told, Unsound, Verifier, mix};
use datasets::domains::compared::Compare;
use datasets::types::{Fault, FaultKind, Judgement, Problem, StepCheck, Verdict};
use serde::Serialize;

use crate::command::{CommandInputs, Host};

mod told;
mod world;

use world::World;

/// Version of what the command is asked, of how it is read and of the verdicts, part of fingerprints.
pub const VERSION: u32 = 1;

/// Name of the domain.
pub const NAME: &str = "rules";

/// Characters of a text in a state that are features of their own.
const MOST_CHARACTERS: usize = 256;

/// Rules and how answers are compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulesInputs {
    pub command: CommandInputs,
    /// Whether the command tells all legal steps; else it says where a step leads.
    pub enumerates: bool,
    pub compare: Compare,
}

impl RulesInputs {
    /// Names the rules in fingerprints.
    pub fn identity(&self) -> String {
        let name = self.command.name();
        format!("{NAME}:{VERSION}:{}:{}", if self.enumerates { "moves" } else { "follow" }, &name[..16])
    }
}

/// The domain `rules`. Clones are the same one.
#[derive(Clone)]
pub struct Ruled {
    world: Arc<World>,
    inputs: RulesInputs,
}

impl Ruled {
    /// # Errors
    /// A sandbox that is required and not there.
    pub fn new(inputs: &RulesInputs, host: Host) -> Result<Self> {
        Ok(Self { world: Arc::new(World::new(inputs, host)?), inputs: inputs.clone() })
    }

    /// Whether two answers are the same.
    fn same(&self, gold: &str, answer: &str) -> bool {
        let how = if self.inputs.compare.is_exact() { Compare::Text } else { self.inputs.compare };
        how.same(gold, answer)
    }

    /// Where steps lead, or how many of them are legal.
    fn replay(&self, problem: &Problem, steps: &[String]) -> Result<State, usize> {
        let follow = |state: State, (at, step): (usize, &String)| self.follow(&state, step).ok_or(at);
        steps.iter().enumerate().try_fold(self.start(problem), follow)
    }

    /// The verdict on a path that is legal, with its reason.
    fn judge(&self, problem: &Problem, end: &State, answer: &str) -> (Verdict, &'static str) {
        let Some(reached) = self.answer(end) else { return (Verdict::Wrong, "unfinished") };
        if answer.trim().is_empty() {
            return (Verdict::Wrong, "no_answer");
        }
        match (self.same(&reached, answer), self.same(&problem.answer, answer)) {
            (true, true) => (Verdict::Correct, "correct"),
            (true, false) => (Verdict::Wrong, "wrong_answer"),
            (false, _) => (Verdict::Wrong, "other_answer"),
        }
    }
}

impl Verifier for Ruled {
    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        let (legal, (verdict, reason)) = match self.replay(problem, steps) {
            Ok(end) => (steps.len(), self.judge(problem, &end, final_answer)),
            Err(at) => (at, (Verdict::Wrong, "illegal_step")),
        };
        if self.world.sound().is_err() {
            return Judgement::undecidable("rules_failed");
        }
        let first_wrong = (legal < steps.len()).then_some(legal as u32);
        let check = |at: usize| match at.cmp(&legal) {
            std::cmp::Ordering::Less => StepCheck::True,
            std::cmp::Ordering::Equal => StepCheck::False,
            // Nobody knows where it begins.
            std::cmp::Ordering::Greater => StepCheck::Unreadable,
        };
        let fault = |at| Fault {
            kind: FaultKind::WrongStep,
            step: Some(at),
            evidence: "no rule permits it".to_owned(),
        };
        Judgement {
            verdict,
            checks: (0..steps.len()).map(check).collect(),
            first_wrong,
            faults: first_wrong.map(fault).into_iter().collect(),
            ..Judgement::undecidable(reason)
        }
    }

    /// Follows all solutions a step at a time.
    fn foresee(&self, cases: &mut dyn Iterator<Item = Case<'_>>) {
        let cases: Vec<Case<'_>> = cases.collect();
        self.begin(&mut cases.iter().map(|case| case.problem));
        let mut open: Vec<(State, &[String])> =
            cases.iter().map(|case| (self.start(case.problem), case.steps.as_slice())).collect();
        while !open.is_empty() && self.world.sound().is_ok() {
            open.retain(|(_, steps)| !steps.is_empty());
            let next = || open.iter().map(|(state, steps)| (state, steps[0].as_str()));
            self.world.foresee(next());
            open = next()
                .zip(&open)
                .filter_map(|((state, step), (_, steps))| Some((self.follow(state, step)?, &steps[1..])))
                .collect();
        }
    }

    fn sound(&self) -> Result<(), Unsound> {
        self.world.sound()
    }
}

/// The state behind a step.
fn behind(state: &State, step: &str, told: Arc<Told>) -> State {
    let steps = state.steps.iter().cloned().chain([step.to_owned()]).collect();
    State { steps, told: Some(told), ..State::default() }
}

impl Domain for Ruled {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn identity(&self) -> String {
        self.inputs.identity()
    }

    fn start(&self, problem: &Problem) -> State {
        State { told: self.world.start(problem), ..State::default() }
    }

    fn enumerates(&self) -> bool {
        self.inputs.enumerates
    }

    fn moves(&self, state: &State) -> Option<Vec<Move>> {
        if !self.inputs.enumerates {
            return None;
        }
        let Some(told) = &state.told else { return Some(Vec::new()) };
        let lead = |(step, told): &(String, Arc<Told>)| Move {
            text: step.clone(),
            value: None,
            next: behind(state, step, Arc::clone(told)),
        };
        Some(self.world.moves(told).iter().map(lead).collect())
    }

    fn answer(&self, state: &State) -> Option<String> {
        state.told.as_ref()?.answer.clone()
    }

    fn follow(&self, state: &State, step: &str) -> Option<State> {
        let (step, told) = self.world.follow(state.told.as_ref()?, step)?;
        Some(behind(state, &step, told))
    }

    fn begin(&self, problems: &mut dyn Iterator<Item = &Problem>) {
        self.world.begin(problems);
    }

    fn expand(&self, states: &mut dyn Iterator<Item = &State>) {
        if self.inputs.enumerates {
            self.world.expand(&mut states.filter_map(|state| state.told.as_deref()));
        }
    }

    fn is_told(&self) -> bool {
        true
    }

    /// In a world of one's own the order of steps may be all that counts.
    fn path(&self, steps: &[String]) -> String {
        steps.join("\n")
    }

    /// `left` is no more than a bound: it may be 0 on the way to an answer.
    fn ended(&self, state: &State) -> bool {
        state.told.as_ref().is_none_or(|told| told.left == Some(0) && told.answer.is_some())
    }

    fn key(&self, state: &State) -> Key {
        Key::Told(state.told.as_ref().map_or(String::new(), |told| told.text.clone()))
    }

    /// What the rules say of it; at least one step where no path may stop.
    fn least_steps(&self, state: &State) -> usize {
        let least = |told: &Told| told.left.unwrap_or(0).max(u32::from(told.answer.is_none())) as usize;
        state.told.as_deref().map_or(0, least)
    }

    fn effort(&self, state: &State) -> f64 {
        self.least_steps(state) as f64
    }

    /// Every part of the state with its place, and each character of a text with its own: a board is often
    /// written as one text.
    fn features<'a>(&self, _: &'a Problem) -> Describe<'a> {
        Box::new(|state| {
            let Some(told) = &state.told else { return Features { dense: vec![0.0; 3], sparse: Vec::new() } };
            let mut sparse = Vec::new();
            if let Ok(value) = serde_json::from_str(&told.text) {
                parts(&value, 0, &mut sparse);
            }
            let left = told.left.map_or(-1.0, |left| left as f32 / 8.0);
            let stops = f32::from(u8::from(told.answer.is_some()));
            Features { dense: vec![state.steps.len() as f32 / 8.0, left, stops], sparse }
        })
    }

    fn check_step(&self, problem: &Problem, earlier: &[String], step: &str) -> StepCheck {
        match self.replay(problem, earlier) {
            Err(_) => StepCheck::Unreadable,
            Ok(state) if self.follow(&state, step).is_some() => StepCheck::True,
            Ok(_) => StepCheck::False,
        }
    }
}

/// Hashes of the leaves of a state; `place` names where a value stands.
fn parts(value: &serde_json::Value, place: u64, found: &mut Vec<u64>) {
    use serde_json::Value;
    let hash = |text: &str| text.bytes().fold(place, |hash, byte| mix(hash, u64::from(byte) + 1));
    match value {
        Value::Array(items) => {
            (1..).zip(items).for_each(|(at, item)| parts(item, mix(place, at), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| parts(item, hash(name), found));
        }
        Value::String(text) => {
            found.push(hash(text));
            let characters = (1..).zip(text.chars()).take(MOST_CHARACTERS);
            found.extend(characters.map(|(at, c)| mix(mix(place, at), u64::from(c) + 1)));
        }
        other => found.push(hash(&other.to_string())),
    }
}
