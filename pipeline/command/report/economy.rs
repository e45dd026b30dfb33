//! What solving costs: by round, by problem, and from when on a student is cheaper than searching.

use serde::Serialize;

use super::accounts::Accounts;
use super::rounds::RoundFacts;
use super::samples::{Questions, shortened};
use crate::stage::evaluation::Results;
use crate::terminal::text::brief;

/// What a token of training costs against one that is generated or read: forward and backward.
const TRAINING: f64 = 3.0;
/// Problems in the list of the dearest.
const DEAREST: usize = 10;

/// From when on a student pays.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreakEven {
    /// Tokens per solved problem.
    pub search: f64,
    pub student: f64,
    /// What was spent to make the student, in tokens: on searching train problems, and on training.
    pub searching: f64,
    pub training: f64,
    /// Solved problems after which both have cost the same.
    pub problems: f64,
}

impl BreakEven {
    /// None without both measured, or where the student saves nothing.
    pub fn of(rounds: &[RoundFacts], results: &Results) -> Option<Self> {
        let (search, student) = (results.last("teacher")?, results.last("student")?);
        let (per_search, per_student) = (search.tokens_per_solved?, student.tokens_per_solved?);
        // A search of a train problem is taken to cost what one of a held-out problem does in its round.
        let cost = |round: u32| {
            let of = results.rows.iter().find(|row| row.model == "teacher" && row.round == round);
            of.unwrap_or(search).tokens_per_problem
        };
        let counted = rounds.iter().filter(|facts| facts.round <= student.round);
        let searching: f64 = counted
            .clone()
            .map(|facts| facts.searched.as_ref().map_or(0.0, |of| of.of as f64) * cost(facts.round))
            .sum();
        let trained: i64 = counted.filter_map(|facts| facts.trained.as_ref()).map(|of| of.tokens).sum();
        let training = TRAINING * trained as f64;
        let saved = per_search - per_student;
        (saved > 0.0).then(|| Self {
            search: per_search,
            student: per_student,
            searching,
            training,
            problems: (searching + training) / saved,
        })
    }
}

/// A problem that cost much.
#[derive(Clone, Debug, Serialize)]
pub struct Dear {
    pub id: String,
    pub question: String,
    pub difficulty: u32,
    pub expansions: u32,
    pub nodes: u32,
    pub tokens: u64,
    pub solutions: u32,
    pub correct: u32,
}

/// Those with most expansions over all rounds.
pub fn dearest(accounts: &Accounts, questions: &Questions) -> Vec<Dear> {
    let dear = |id: &String| {
        let of = &accounts.problems[id];
        let (question, _, difficulty) = questions.get(id).cloned().unwrap_or_default();
        Dear {
            id: id.clone(),
            question: brief(&shortened(&question), 110),
            difficulty,
            expansions: of.expansions,
            nodes: of.nodes,
            tokens: of.tokens,
            solutions: of.solutions,
            correct: of.correct,
        }
    };
    let searched = accounts.dearest().into_iter().filter(|id| accounts.problems[*id].nodes > 0);
    searched.take(DEAREST).map(dear).collect()
}
