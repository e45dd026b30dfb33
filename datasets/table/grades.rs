//! `grades`: what the grader says of each row of a user's file.

use super::column::table;
use crate::types::Verdict;

/// A judged row.
#[derive(Clone, Debug, PartialEq)]
pub struct GradeRow {
    /// Number of the row in the file, from 0; blank lines are no rows.
    pub row: u64,
    pub verdict: Verdict,
    /// Reason code of the verdict, see [`crate::grade`].
    pub reason: String,
    /// The gold answer as it was read, empty if there is none.
    pub gold_read: String,
    pub prediction_read: String,
    /// The rule by which the predicted answer was found, see [`crate::grade::Rule`]; empty if there is none.
    pub read_by: String,
}

table! {
    GradeRow, "grades", version 2, "a judged row of a user's file",
    {
        row: "index of the row in the file, from 0; blank lines are not counted",
        verdict: "correct, wrong or undecidable",
        reason: "reason code of the verdict",
        gold_read: "the gold answer as it was read; empty if there is none",
        prediction_read: "the predicted answer as it was read; empty if there is none",
        read_by: "the rule that found the predicted answer: box, hashes, label, phrase, tag, json, whole, \
            formula, bold or sentence; empty if there is none",
    }
}
