//! Which answer a search gives, if no verifier decides: votes of its whole paths, weighted or not, or the
//! best of them.

use std::collections::BTreeMap;

use datasets::domains;
use datasets::types::Problem;
use serde::{Deserialize, Serialize};

use super::beam::score;
use super::config::TreeConfig;
use super::single::SearchOutcome;

/// How an answer is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The answer of the most paths.
    Majority,
    /// The answer whose paths have the largest sum of scores.
    Weighted,
    /// The answer of the path with the best score.
    Best,
}

/// A whole path as it votes: its answer in a form that equal answers share, and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    pub answer: String,
    pub score: f32,
}

/// The votes of a search's paths. A path that was sampled twice votes twice; one that stands in a tree votes
/// once, however often the search went through it.
pub fn votes(problem: &Problem, outcome: &SearchOutcome, config: &TreeConfig) -> Vec<Vote> {
    let of = |node: &u32| {
        let answer = outcome.tree.get(*node).answer.as_deref().filter(|answer| !answer.is_empty())?;
        let score = score(&outcome.tree, *node, config);
        Some(Vote {
            answer: domains::reading(problem, answer),
            score: if score.is_nan() { 0.5 } else { score },
        })
    };
    outcome.ends.iter().filter_map(of).collect()
}

/// The chosen answers: one, or several that are level, in the order of their text. Empty without votes.
pub fn choose(votes: &[Vote], choice: Choice) -> Vec<String> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for vote in votes {
        let sum = sums.entry(&vote.answer).or_insert(0.0);
        match choice {
            Choice::Majority => *sum += 1.0,
            Choice::Weighted => *sum += f64::from(vote.score),
            Choice::Best => *sum = sum.max(f64::from(vote.score)),
        }
    }
    let most = sums.values().copied().fold(f64::NEG_INFINITY, f64::max);
    sums.into_iter().filter(|(_, sum)| *sum >= most - 1e-9).map(|(answer, _)| answer.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(answer: &str, score: f32) -> Vote {
        Vote { answer: answer.into(), score }
    }

    #[test]
    fn votes_are_counted_weighed_or_outdone() {
        let votes =
            [vote("7", 0.2), vote("7", 0.3), vote("7", 0.1), vote("8", 0.9), vote("9", 0.4), vote("9", 0.6)];
        assert_eq!(choose(&votes, Choice::Majority), ["7"]);
        assert_eq!(choose(&votes, Choice::Weighted), ["9"]);
        assert_eq!(choose(&votes, Choice::Best), ["8"]);
        assert_eq!(choose(&votes[3..5], Choice::Majority), ["8", "9"]);
        assert!(choose(&[], Choice::Majority).is_empty());
    }
}
