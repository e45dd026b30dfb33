//! `[curate]` of a configuration: which rules apply and where their limits are.

use std::path::PathBuf;

use datasets::types::{FaultKind, Solution};
use serde::{Deserialize, Serialize};

/// What makes two correct solutions of a problem the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The same calculation: [`datasets::expr::canonical_path`].
    Graph,
    /// The same equations in the same order, as they are written, spaces aside (the key of RFT,
    /// arXiv:2308.01825).
    Text,
    Off,
}

/// Which of a problem's distinct solutions are kept when there are more than `per_problem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choose {
    /// Those that most solutions took.
    Votes,
    /// The one that most solutions took, then each time the one that is farthest from those chosen.
    Diverse,
}

/// When a train problem counts as held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contamination {
    /// It shares a masked n-gram with a held-out question that has the same numbers.
    SameNumbers,
    /// It shares a masked n-gram with a held-out question.
    Masked,
    Off,
}

/// Which rows that earlier rounds kept are no longer learned from; see [`super::retire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retire {
    Off,
    /// Those that samples of this round speak against.
    Outvoted,
    /// And those of the rules that none of them confirms.
    Unconfirmed,
}

/// Which answers a kept solution may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those that the verdict calls correct.
    #[default]
    Correct,
    /// Any, whatever the verdict; a solution without an answer is dropped.
    All,
}

/// Stands for the answer in [`CurateConfig::answer_line`].
pub const ANSWER: &str = "{answer}";
/// The answer line as in GSM8K.
const HASHES: &str = "#### {answer}";

fn is_hashes(line: &str) -> bool {
    line == HASHES
}

/// `[curate]` of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurateConfig {
    /// Left out of fingerprints where it changes nothing, so that rows from before it was there count.
    #[serde(skip_serializing_if = "crate::is_default")]
    pub keep: Keep,
    /// The last line of a text to learn from, a template of [`ANSWER`]. Left out of fingerprints likewise.
    #[serde(skip_serializing_if = "is_hashes")]
    pub answer_line: String,
    /// Faults of its steps for which a solution is dropped.
    #[serde(with = "fault_names")]
    pub faults: Vec<FaultKind>,
    /// Largest share of a text's characters in repeated n-grams of words; 0 for no limit.
    pub max_repetition: f64,
    /// How often smaller a text may get when it is compressed; 0 for no limit.
    pub max_compression: f64,
    /// Least bits per token of a text; 0 for no limit.
    pub min_entropy: f64,
    /// Most median absolute deviations between a solution's length and the median of its like; 0 for no
    /// limit.
    pub length_outliers: f64,
    pub contamination: Contamination,
    /// Tokens of an n-gram.
    pub contamination_n: usize,
    /// Files and folders of questions that nothing may be trained on, beside the run's own test problems.
    pub held_out_files: Vec<PathBuf>,
    /// Least and largest share of a problem's samples that are correct.
    pub min_pass_rate: f64,
    pub max_pass_rate: f64,
    /// Whether to drop what leaves a number of the question unused.
    pub use_all_numbers: bool,
    /// Which rows of earlier rounds are given up.
    pub retire: Retire,
    /// Least number of siblings whose answers a path gives so that it is confirmed; 0 to try none.
    pub min_siblings: usize,
    /// Least number of a problem's samples that compute the same function of its numbers; 0 for no limit.
    pub min_agreement: usize,
    /// The same as a share of the samples that were drawn of the problem; the larger limit counts.
    pub min_agreement_share: f64,
    pub duplicates: Duplicates,
    /// Whether to drop a problem's solutions if two paths were found equally often and are equally short.
    pub drop_ambiguous: bool,
    /// Most solutions kept per problem and round.
    pub per_problem: usize,
    pub choose: Choose,
    /// Whether to write `step_labels`.
    pub step_labels: bool,
    /// Most pairs of a problem in `preferences`; 0 for none.
    pub preferences: usize,
}

impl CurateConfig {
    /// A solution's text as a student learns it; without an answer line where it has no answer.
    pub(super) fn written(&self, solution: &Solution) -> String {
        let mut lines: Vec<&str> = solution.texts();
        let answer = self.answer_line.replace(ANSWER, &solution.final_answer);
        if !solution.final_answer.is_empty() {
            lines.push(&answer);
        }
        lines.join("\n")
    }
}

impl Default for CurateConfig {
    /// The defaults of `qstill init`; a test there compares them.
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            answer_line: HASHES.to_owned(),
            faults: FaultKind::ALL.to_vec(),
            max_repetition: 0.6,
            max_compression: 4.0,
            min_entropy: 2.0,
            length_outliers: 8.0,
            contamination: Contamination::SameNumbers,
            contamination_n: 13,
            held_out_files: Vec::new(),
            min_pass_rate: 0.0,
            max_pass_rate: 1.0,
            use_all_numbers: false,
            retire: Retire::Off,
            min_siblings: 0,
            min_agreement: 0,
            min_agreement_share: 0.0,
            duplicates: Duplicates::Graph,
            drop_ambiguous: false,
            per_problem: 4,
            choose: Choose::Diverse,
            step_labels: true,
            preferences: 2,
        }
    }
}

/// Kinds of faults by their names.
mod fault_names {
    use datasets::types::FaultKind;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(kinds: &[FaultKind], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(kinds.iter().map(|kind| kind.name()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FaultKind>, D::Error> {
        let known = || FaultKind::ALL.map(FaultKind::name).join(", ");
        let parse = |name: &String| {
            FaultKind::parse(name).ok_or_else(|| {
                D::Error::custom(format!("curate.faults: there is no fault `{name}`; known: {}", known()))
            })
        };
        Vec::<String>::deserialize(from)?.iter().map(parse).collect()
    }
}
