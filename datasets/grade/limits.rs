//! Bounds on the work of the grader, and why work ends without a result.

/// Most digits of all numbers of one answer.
pub(super) const MAX_DIGITS: usize = 512;
/// Most tokens of one answer.
pub(super) const MAX_TOKENS: usize = 512;
/// Deepest nesting.
pub(super) const MAX_DEPTH: usize = 48;
/// Longest answer, in bytes.
pub(super) const MAX_BYTES: usize = 8192;

/// Why reading or computing ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Unreadable,
    Fuel,
    /// Division by zero and the like.
    Undefined,
    Undecided,
}
