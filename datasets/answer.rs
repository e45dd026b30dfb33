//! Final answers: where one stands in a text, and whether it is the gold answer. What domains and stages need
//! of [`crate::grade`].

pub(crate) use crate::grade::Amount;
pub use crate::grade::{
    Comparison, Completion, Form, Pattern, Reader, UNDO, closes_code, compare, ends_answer, gold,
    is_answer_line, is_open, opens_code, opens_thought, read_completion, read_marked, split_completion,
    spoken_from, without_end,
};

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
