//! What qstill reasons about: problems, solutions and verdicts; the domains that give them rules and
//! an exact verifier; the sources they come from; and the Parquet tables they are written to.
//!
//! Nothing here knows of models, terminals or runs.

pub mod agreement;
pub mod answer;
pub mod audit;
pub mod domain;
pub mod domains;
pub mod expr;
pub mod grade;
pub mod key;
pub mod number;
pub mod sources;
pub mod table;
pub mod types;

pub use domain::{Domain, Move, State};
pub use types::{Judgement, Kept, Problem, Solution, Split, Step, StepCheck, Verdict};
