//! `verdicts`: what the verifier says of each solution.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::{BadCell, Row, column};
use crate::types::Judgement;

/// A judged solution.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictRow {
    pub solution_id: String,
    pub problem_id: String,
    pub judgement: Judgement,
    /// Votes of a judge for the answer, and all of them, where the verdict rests on those.
    pub judge_yes: Option<u32>,
    pub judge_votes: Option<u32>,
}

/// Written out because the judgement's fields are columns of their own.
impl Row for VerdictRow {
    const TABLE: &'static str = "verdicts";
    const VERSION: u32 = 4;
    const DESCRIPTION: &'static str = "a judged solution";

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            column::field("solution_id", "the solution that is judged", |row: &Self| &row.solution_id),
            column::field("problem_id", "the problem it answers", |row: &Self| &row.problem_id),
            column::field("verdict", "correct, wrong or undecidable", |row: &Self| &row.judgement.verdict),
            column::field("reason", "reason code of the verdict", |row: &Self| &row.judgement.reason),
            column::field(
                "checks",
                "for each step: true, rounded, false, prose or unreadable",
                |row: &Self| &row.judgement.checks,
            ),
            column::field("first_wrong", "index of the first false step; null if none", |row: &Self| {
                &row.judgement.first_wrong
            }),
            column::field("faults", "what is wrong with the steps", |row: &Self| &row.judgement.faults),
            column::field(
                "score",
                "how good the verifier's command finds it, 0 to 1; null where it does not say",
                |row: &Self| &row.judgement.score,
            ),
            column::field(
                "judge_yes",
                "votes of the judge for the answer; null where the verdict does not rest on a judge",
                |row: &Self| &row.judge_yes,
            ),
            column::field("judge_votes", "all votes of the judge that could be read", |row: &Self| {
                &row.judge_votes
            }),
        ]))
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, BadCell> {
        let columns = vec![
            column::pack("solution_id", rows, |row: &Self| &row.solution_id)?,
            column::pack("problem_id", rows, |row: &Self| &row.problem_id)?,
            column::pack("verdict", rows, |row: &Self| &row.judgement.verdict)?,
            column::pack("reason", rows, |row: &Self| &row.judgement.reason)?,
            column::pack("checks", rows, |row: &Self| &row.judgement.checks)?,
            column::pack("first_wrong", rows, |row: &Self| &row.judgement.first_wrong)?,
            column::pack("faults", rows, |row: &Self| &row.judgement.faults)?,
            column::pack("score", rows, |row: &Self| &row.judgement.score)?,
            column::pack("judge_yes", rows, |row: &Self| &row.judge_yes)?,
            column::pack("judge_votes", rows, |row: &Self| &row.judge_votes)?,
        ];
        column::batch(Self::schema(), columns)
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, BadCell> {
        let solution_id = column::array(batch, "solution_id")?;
        let problem_id = column::array(batch, "problem_id")?;
        let verdict = column::array(batch, "verdict")?;
        let reason = column::array(batch, "reason")?;
        let checks = column::array(batch, "checks")?;
        let first_wrong = column::array(batch, "first_wrong")?;
        let faults = column::array(batch, "faults")?;
        let score = column::array(batch, "score")?;
        let judge_yes = column::array(batch, "judge_yes")?;
        let judge_votes = column::array(batch, "judge_votes")?;
        (0..batch.num_rows())
            .map(|row| {
                Ok(VerdictRow {
                    solution_id: column::cell(solution_id, "solution_id", row)?,
                    problem_id: column::cell(problem_id, "problem_id", row)?,
                    judgement: Judgement {
                        verdict: column::cell(verdict, "verdict", row)?,
                        reason: column::cell(reason, "reason", row)?,
                        checks: column::cell(checks, "checks", row)?,
                        first_wrong: column::cell(first_wrong, "first_wrong", row)?,
                        faults: column::cell(faults, "faults", row)?,
                        score: column::cell(score, "score", row)?,
                    },
                    judge_yes: column::cell(judge_yes, "judge_yes", row)?,
                    judge_votes: column::cell(judge_votes, "judge_votes", row)?,
                })
            })
            .collect()
    }
}
