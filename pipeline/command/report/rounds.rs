//! What the rounds of a run did, as the records of their stages count it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use stages::evaluate::statistics::wilson;

use super::measures::json;
use crate::command::show::sheet::Outputs;
use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::{StageOutput, committed};

/// A share of some things, with its 95% Wilson interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proportion {
    pub of: usize,
    pub count: usize,
    pub share: f64,
    pub low: f64,
    pub high: f64,
}

impl Proportion {
    /// None of nothing.
    pub fn new(count: usize, of: usize) -> Option<Self> {
        let (low, high) = wilson(count, of);
        (of > 0).then(|| Self { of, count, share: count as f64 / of as f64, low, high })
    }
}

/// A round.
#[derive(Clone, Debug, Serialize)]
pub struct RoundFacts {
    pub round: u32,
    /// Train problems that the search has solved, of those it looked at.
    pub searched: Option<Proportion>,
    /// Tokens that a model generated for the search, and states that it expanded.
    pub search_tokens: i64,
    pub expansions: i64,
    /// Solutions: found, judged correct, kept.
    pub funnel: Vec<Bar>,
    /// Why solutions were dropped, most frequent first.
    pub dropped: Vec<Bar>,
    /// Training: rows, tokens, optimizer steps.
    pub trained: Option<Trained>,
    pub gate: Option<Gate>,
}

/// A bar: how many of a kind, and what share that is of the solutions.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    pub name: String,
    pub meaning: &'static str,
    pub count: i64,
    pub share: f64,
    /// Whether the reason speaks against the solution; otherwise it was only not chosen.
    pub fault: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Trained {
    pub rows: i64,
    pub tokens: i64,
    pub steps: i64,
}

/// What the gate decided.
#[derive(Clone, Debug, Serialize)]
pub struct Gate {
    pub accepted: bool,
    pub reasons: Vec<String>,
    /// Validation problems that student and current policy solve.
    pub student: Option<Proportion>,
    pub current: Option<Proportion>,
}

impl RoundFacts {
    /// # Errors
    /// Failed reads.
    pub fn of(run: &RunDir, outputs: &Outputs) -> Result<Self> {
        let Outputs { round, search, verify, curate } = outputs;
        let train = committed(run, *round, Stage::Train)?;
        let solutions = search.count("solutions");
        // Where the search's files were deleted, later stages still know how many there were.
        let all = [solutions, verify.count("units"), curate.count("units")].into_iter().max().unwrap_or(0);
        let count = |name: &str, meaning: &'static str, count: i64, fault: bool| {
            let share = if all > 0 { count as f64 / all as f64 } else { 0.0 };
            Bar { name: name.to_owned(), meaning, count, share, fault }
        };
        let mut funnel = Vec::new();
        if !search.commits.is_empty() {
            funnel.push(count("solutions", "complete paths that the search found", solutions, false));
        }
        if !verify.commits.is_empty() {
            let correct = verify.count("verdict correct");
            funnel.push(count("right answer", "the final answer is the known one", correct, false));
        }
        let dropped = curate.counted("dropped ");
        if !curate.commits.is_empty() {
            let faulty = dropped.iter().filter(|(reason, _)| meaning(reason).1).map(|(_, n)| n).sum::<i64>();
            let passed = curate.count("units") - faulty;
            funnel.push(count("no fault found", "no rule speaks against it", passed, false));
            funnel.push(count("kept", "chosen for training", curate.count("kept"), false));
        }
        let reason = |(name, n): (String, i64)| {
            let (meaning, fault) = meaning(&name);
            count(&name, meaning, n, fault)
        };
        let whole = |n: i64| usize::try_from(n).unwrap_or(0);
        Ok(Self {
            round: *round,
            searched: Proportion::new(whole(search.count("solved")), whole(looked_at(search))),
            search_tokens: search.count("tokens"),
            expansions: search.count("expansions"),
            funnel,
            dropped: dropped.into_iter().map(reason).collect(),
            trained: (!train.commits.is_empty()).then(|| Trained {
                rows: train.count("rows"),
                tokens: train.count("tokens"),
                steps: train.count("units"),
            }),
            gate: gate(run, *round)?,
        })
    }
}

/// Problems that were searched: with `search.slices`, a part of them in each round.
fn looked_at(search: &StageOutput) -> i64 {
    search.count("looked_at")
}

/// `gate.json`, as far as it is shown.
#[derive(Deserialize)]
struct Decision {
    accepted: bool,
    reasons: Vec<String>,
    student: Answered,
    current: Option<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    solved: usize,
    problems: usize,
}

/// The decision of a round's gate; None if it has none.
fn gate(run: &RunDir, round: u32) -> Result<Option<Gate>> {
    let Some(decision) = json::<Decision>(&run.round(round).join("gate.json"))? else { return Ok(None) };
    let share = |of: Answered| Proportion::new(of.solved, of.problems);
    Ok(Some(Gate {
        accepted: decision.accepted,
        reasons: decision.reasons,
        student: share(decision.student),
        current: decision.current.and_then(share),
    }))
}

/// What a reason of curation says, and whether it speaks against the solution.
pub fn meaning(reason: &str) -> (&'static str, bool) {
    match reason {
        "not_correct" => ("the verdict is not correct", true),
        "wrong_steps" => ("the answer is right, but a step is wrong", true),
        "repetition" => ("the text repeats itself", true),
        "compressible" => ("the text says little for its length", true),
        "low_entropy" => ("the text has few different tokens", true),
        "length_outlier" => ("far shorter or longer than its like", true),
        "contaminated" => ("its problem resembles a held-out question", true),
        "too_hard" => ("too few samples of its problem are correct", true),
        "too_easy" => ("too many samples of its problem are correct", true),
        "unused_number" => ("a number of the question is used by no step", true),
        "refuted" => ("its calculation fails for problems that differ in numbers alone", true),
        "unconfirmed" => ("too few other samples compute the same", true),
        "duplicate" => ("the same calculation as another solution", false),
        "ambiguous" => ("another path ranks equal, and nothing tells them apart", false),
        "over_cap" => ("its problem has as many rows as allowed", false),
        _ => ("", true),
    }
}
