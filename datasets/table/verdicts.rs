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
}

/// Written out because the judgement's fields are columns of their own.
impl Row for VerdictRow {
    const TABLE: &'static str = "verdicts";
    const VERSION: u32 = 2;
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
                    },
                })
            })
            .collect()
    }
}
