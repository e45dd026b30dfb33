//! When a student has paid for itself: what it took to make it, over what it saves at each question.

use anyhow::Result;
use datasets::table::Evaluation;
use serde::{Deserialize, Serialize};
use stages::evaluate::Summary;

use crate::disk::layout::{RunDir, Stage};
use crate::run::rows::committed;
use crate::terminal::text::thousands;

/// Tokens generated that cost as much as one that is trained on: a forward pass, and a backward pass of twice
/// the work.
const TRAINING: f64 = 3.0;

/// From when on a student pays, in tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakEven {
    /// The student's round.
    pub round: u32,
    /// Share of problems that the student solves greedily.
    pub student_accuracy: f64,
    /// Share that the search solves with the smallest budget that solves as many; less if none does.
    pub search_accuracy: f64,
    /// Tokens per problem of the student, and of the search with that budget.
    pub student_tokens: f64,
    pub search_tokens: f64,
    /// What was spent to make the student: on searching train problems, and on training (a token trained on
    /// counts as three generated ones).
    pub searching: f64,
    pub training: f64,
    /// Questions after which both have cost the same; None if the student saves nothing.
    pub questions: Option<f64>,
}

impl BreakEven {
    /// Of the last student and the last search that were measured; None without both.
    ///
    /// # Errors
    /// Failed reads.
    pub fn of(run: &RunDir, rows: &[Summary], search: &[Evaluation]) -> Result<Option<Self>> {
        let last = |model: &str| rows.iter().rev().find(|row| row.model == model);
        let (Some(searched), Some(student)) = (last("teacher"), last("student")) else { return Ok(None) };
        let (search_accuracy, search_tokens) = matched(search, student.solved);
        let (mut searching, mut training) = (0.0, 0.0);
        for round in run.rounds()?.into_iter().filter(|round| *round <= student.round) {
            // A search of a train problem is taken to cost what one of a held-out problem does in its round.
            let own = rows.iter().find(|row| row.model == "teacher" && row.round == round);
            let cost = own.unwrap_or(searched).tokens_per_problem;
            searching += committed(run, round, Stage::Search)?.count("looked_at") as f64 * cost;
            training += TRAINING * committed(run, round, Stage::Train)?.count("tokens") as f64;
        }
        let saved = search_tokens - student.tokens_per_problem;
        Ok(Some(Self {
            round: student.round,
            student_accuracy: student.pass_at_1,
            search_accuracy,
            student_tokens: student.tokens_per_problem,
            search_tokens,
            searching,
            training,
            questions: (saved > 0.0).then(|| (searching + training) / saved),
        }))
    }

    /// One sentence of it.
    pub fn sentence(&self) -> String {
        if self.student_accuracy == 0.0 {
            return "break-even: the student solves nothing, so it saves nothing".to_owned();
        }
        let whole = |tokens: f64| thousands(tokens.round() as i64);
        let pays = match self.questions {
            Some(questions) => format!("has paid for itself after {} questions", whole(questions)),
            None => "saves no tokens".to_owned(),
        };
        format!(
            "break-even: a search* that solves {:.1}% of the problems spends {} tokens each, the student {} \
             for {:.1}%; made with {} tokens of search and {} of training, it {pays}",
            100.0 * self.search_accuracy,
            whole(self.search_tokens),
            whole(self.student_tokens),
            100.0 * self.student_accuracy,
            whole(self.searching),
            whole(self.training),
        )
    }
}

/// Accuracy of a search, and its tokens per problem, if each problem's search stops at the smallest budget
/// with which `solved` problems are solved; without a budget if none does.
fn matched(search: &[Evaluation], solved: usize) -> (f64, f64) {
    let first = || search.iter().filter(|row| row.sample == 0);
    let mut costs: Vec<u32> = first().filter(|row| row.correct).map(|row| row.tokens).collect();
    costs.sort_unstable();
    let budget = match solved {
        0 => 0,
        _ => costs.get(solved - 1).copied().unwrap_or(u32::MAX),
    };
    let problems = first().count().max(1) as f64;
    let reached = costs.partition_point(|cost| *cost <= budget) as f64;
    (reached / problems, first().map(|row| f64::from(row.tokens.min(budget))).sum::<f64>() / problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datasets::types::{Split, Verdict};

    #[test]
    fn a_search_is_compared_at_the_students_accuracy() {
        let row = |tokens: u32, correct: bool| Evaluation {
            round: 1,
            model: "teacher".into(),
            split: Split::Test,
            problem_id: tokens.to_string(),
            sample: 0,
            seed: 0,
            correct,
            verdict: Verdict::Correct,
            reason: String::new(),
            completion: String::new(),
            final_answer: String::new(),
            answer_logprob: None,
            tokens,
            model_tokens: 0,
            expansions: 0,
        };
        let search = [row(10, true), row(20, true), row(40, true), row(100, false)];
        assert_eq!(matched(&search, 2), (0.5, 70.0 / 4.0));
        assert_eq!(matched(&search, 3), (0.75, 110.0 / 4.0));
        // More than it ever solves: all that it spends.
        assert_eq!(matched(&search, 4), (0.75, 170.0 / 4.0));
        assert_eq!(matched(&search, 0), (0.0, 0.0));
    }
}
