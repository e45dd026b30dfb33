//! `kept`, `dropped` and `losses`: what a student is trained on, what was left out and why, and how training
//! went.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::cell::describe;
use super::column::{self, table};
use super::{BadCell, Row, turns};
use crate::types::Kept;

/// A solution that is not trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    pub solution_id: String,
    pub problem_id: String,
    pub round: u32,
    /// One reason code.
    pub reason: String,
    /// What shows that the reason holds, e.g. the id of the solution it duplicates.
    pub evidence: String,
}

table! {
    Dropped, "dropped", version 1, "a solution that is not trained on",
    {
        solution_id: "the solution",
        problem_id: "the problem it answers",
        round: "round of the run",
        reason: "one reason code",
        evidence: "evidence for the reason",
    }
}

/// A row of an earlier round that is no longer learned from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retired {
    pub solution_id: String,
    pub problem_id: String,
    /// The round whose samples contradict it.
    pub round: u32,
    /// One reason code.
    pub reason: String,
    /// What shows that the reason holds.
    pub evidence: String,
}

table! {
    Retired, "retired", version 1, "a row of an earlier round that is no longer trained on",
    {
        solution_id: "the solution that was kept",
        problem_id: "the problem it answers",
        round: "round whose samples contradict it",
        reason: "outvoted or unconfirmed",
        evidence: "evidence for the reason",
    }
}

/// One point of the training curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Optimizer steps taken.
    pub step: u32,
    /// Passes over the data, with fraction.
    pub epoch: f32,
    /// Tokens trained on up to and with this step.
    pub tokens: u64,
    pub learning_rate: f32,
    /// Mean loss of the step's target tokens, in nats; 0 if no token is a target.
    pub loss: f32,
    /// Mean loss of the step's value targets, if it has any.
    pub value_loss: Option<f32>,
    /// Norm of the gradient before clipping.
    pub grad_norm: f32,
    /// The same as `loss` over the validation rows, at the steps where it was measured.
    pub validation_loss: Option<f32>,
    /// The same as `value_loss` over the validation rows.
    pub validation_value_loss: Option<f32>,
    /// Tokens that the student has sampled to learn from, up to and with this step.
    pub sampled_tokens: u64,
    /// Tokens that a teacher has read of these, prompts with them.
    pub teacher_tokens: u64,
    /// Mean length of what it has sampled in this step, in tokens.
    pub sampled_length: Option<f32>,
    /// Share of these that ended by themselves.
    pub sampled_ended: Option<f32>,
}

table! {
    Loss, "losses", version 3, "a point of the training curve",
    {
        step: "optimizer steps taken",
        epoch: "passes over the data so far, fractional",
        tokens: "tokens trained on so far, including this step",
        learning_rate: "learning rate of the step",
        loss: "mean loss of the step's target tokens, in nats (see train.loss); 0 if no token is a target",
        value_loss: "mean loss of the step's value targets; null without a value head or targets",
        grad_norm: "norm of the gradient before clipping",
        validation_loss: "loss on the validation rows; null where not measured",
        validation_value_loss: "value_loss on the validation rows; null where not measured",
        sampled_tokens: "tokens that the student has sampled to learn from so far (train.on_policy)",
        teacher_tokens: "tokens that the teacher has read of these samples so far, prompts with them",
        sampled_length: "mean length in tokens of what the student sampled in this step; null if nothing",
        sampled_ended: "share of what it sampled in this step that ended by itself; null if nothing",
    }
}

/// Written out because `messages` is two fields of a row: one form of a row in a table, so that no trainer
/// has to choose between two.
impl Row for Kept {
    const TABLE: &'static str = "kept";
    const VERSION: u32 = 4;
    const DESCRIPTION: &'static str = "a training row";

    fn schema() -> SchemaRef {
        let messages = Field::new("messages", turns::data_type(), false);
        Arc::new(Schema::new(vec![
            describe(
                messages,
                "the question as the user's turn, and the assistant's: steps and answer line as the student \
                 should write them",
            ),
            column::field(
                "thought",
                "what the model thought before it wrote this; empty if nothing",
                |row: &Self| &row.thought,
            ),
            column::field("problem_id", "the problem", |row: &Self| &row.problem_id),
            column::field(
                "solution_id",
                "the solution that the assistant's turn was written from",
                |row: &Self| &row.solution_id,
            ),
            column::field("round", "round of the run", |row: &Self| &row.round),
            column::field("weight", "weight of the row in the loss, > 0", |row: &Self| &row.weight),
            column::field(
                "pass_rate",
                "share of its problem's samples in this round that are correct; of all its solutions where \
                 none was sampled",
                |row: &Self| &row.pass_rate,
            ),
            column::field("origin", "who found it: rules, model, endpoint or repair", |row: &Self| {
                &row.origin
            }),
        ]))
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, BadCell> {
        let said = rows.iter().flat_map(|row| turns::dialogue(&row.prompt, &row.completion));
        let messages = turns::pack(said, 2);
        let columns = vec![
            messages.map_err(|(row, problem)| BadCell { column: "messages", row, problem })?,
            column::pack("thought", rows, |row: &Self| &row.thought)?,
            column::pack("problem_id", rows, |row: &Self| &row.problem_id)?,
            column::pack("solution_id", rows, |row: &Self| &row.solution_id)?,
            column::pack("round", rows, |row: &Self| &row.round)?,
            column::pack("weight", rows, |row: &Self| &row.weight)?,
            column::pack("pass_rate", rows, |row: &Self| &row.pass_rate)?,
            column::pack("origin", rows, |row: &Self| &row.origin)?,
        ];
        column::batch(Self::schema(), columns)
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, BadCell> {
        let messages = column::array(batch, "messages")?;
        let thought = column::array(batch, "thought")?;
        let problem_id = column::array(batch, "problem_id")?;
        let solution_id = column::array(batch, "solution_id")?;
        let round = column::array(batch, "round")?;
        let weight = column::array(batch, "weight")?;
        let pass_rate = column::array(batch, "pass_rate")?;
        let origin = column::array(batch, "origin")?;
        (0..batch.num_rows())
            .map(|row| {
                let (prompt, completion) = turns::unpack_dialogue(messages, row)
                    .map_err(|problem| BadCell { column: "messages", row, problem })?;
                Ok(Kept {
                    prompt,
                    completion,
                    thought: column::cell(thought, "thought", row)?,
                    problem_id: column::cell(problem_id, "problem_id", row)?,
                    solution_id: column::cell(solution_id, "solution_id", row)?,
                    round: column::cell(round, "round", row)?,
                    weight: column::cell(weight, "weight", row)?,
                    pass_rate: column::cell(pass_rate, "pass_rate", row)?,
                    origin: column::cell(origin, "origin", row)?,
                })
            })
            .collect()
    }
}
