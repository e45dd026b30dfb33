//! A command of the user's as the verifier of a run (`verify.command`).
//!
//! [`Commanded`] judges in the place of a domain, which keeps its rules: what solutions are worth, the
//! command says. So everything that asks a domain for a verdict asks the command: search, verify, gate,
//! evaluate, value targets. Several processes answer at once ([`crate::command`]), each line of JSON
//! ([`ask`]) with a line ([`reply`]), and what was answered is kept in the run ([`pool`], [`store`]).
//!
//! An answer is a function of the question alone. What fails is asked once more of a process that has seen
//! no other question, and only if that fails too, the solution is undecidable:
//!
//! | reason | when |
//! |---|---|
//! | `verifier_timeout` | no answer within the time limit |
//! | `verifier_memory` | the process ended over its memory limit |
//! | `verifier_died` | the process ended, or could not be started |
//! | `verifier_unreadable` | the line is no answer |

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use datasets::domain::{Case, Domain, Unsound, Verifier};
use datasets::domains::Domains;
use datasets::types::{Judgement, Problem};

use crate::command::{CommandInputs, Host};

mod ask;
mod pool;
mod reply;
mod store;

use ask::Question;
use pool::Pool;

/// Version of what a command is asked and how its answers are read, part of fingerprints.
pub const VERSION: u32 = 1;

/// Domains whose verdicts a command gives; `folder` keeps its answers, else this process alone does.
///
/// # Errors
/// Answers that cannot be read or stored.
pub fn domains(
    rules: Vec<Box<dyn Domain>>,
    inputs: &CommandInputs,
    folder: Option<&Path>,
    host: Host,
) -> Result<Domains> {
    let pool = Arc::new(Pool::new(inputs, folder, host)?);
    Ok(Domains::judged(rules, || Commanded(Arc::clone(&pool))))
}

/// What a command says of solutions.
struct Commanded(Arc<Pool>);

impl Verifier for Commanded {
    /// The steps may be all that counts.
    fn needs_answer(&self) -> bool {
        false
    }

    fn verify(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Judgement {
        self.0.judge(&Question::of(self.0.name(), problem, steps, final_answer))
    }

    fn foresee(&self, cases: &mut dyn Iterator<Item = Case<'_>>) {
        let question = |case: Case<'_>| Question::of(self.0.name(), case.problem, &case.steps, &case.answer);
        self.0.judge_all(cases.map(question).collect());
    }

    fn score(&self, problem: &Problem, steps: &[String], final_answer: &str) -> Option<f32> {
        self.verify(problem, steps, final_answer).score
    }

    fn sound(&self) -> Result<(), Unsound> {
        self.0.sound()
    }
}

#[cfg(all(test, unix))]
mod tests;
