//! What solving costs, problem by problem.

use serde::Serialize;

use super::accounts::Accounts;
use super::samples::{Questions, shortened};
use crate::terminal::text::brief;

/// Problems in the list of the dearest.
const DEAREST: usize = 10;

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
