//! Final answers: where one stands in a text, and whether it is the gold answer. What domains and stages need
//! of [`crate::grade`].

pub(crate) use crate::grade::Amount;
pub use crate::grade::{
    Comparison, Completion, UNDO, compare, gold, read_completion, read_marked, split_completion,
};

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
