//! The words of the project as types. Rows of the Parquet tables are made of these (see [`crate::table`]).

use serde::{Deserialize, Serialize};

/// Which part of the data a problem belongs to. Fixed by the problem's content; `Test` is read by evaluate
/// alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    #[default]
    Train,
    Validation,
    Test,
}

impl Split {
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Split::Train, Split::Validation, Split::Test].into_iter().find(|s| s.name() == name)
    }
}

/// A question with a known final answer. The answer is the only supervision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// Sixteen hex digits: hash of domain, source, question, answer and, for the second and later
    /// copies of the same content, the ordinal of the copy.
    pub problem_id: String,
    /// Name of the [`crate::Domain`] that can verify it.
    pub domain: String,
    /// Where it came from: `words`, `countdown`, or the file's name.
    pub source: String,
    pub split: Split,
    pub question: String,
    /// The gold final answer as text, e.g. `72` or `3/4`.
    pub answer: String,
    /// Number of operations where the source knows it, else 0.
    pub difficulty: u32,
    /// JSON: how it was generated, which only an audit reads; or where it stands in its file, and further
    /// columns, which a verifier gets.
    pub meta: String,
}

impl Problem {
    /// Its `meta` as data.
    pub fn meta(&self) -> serde_json::Value {
        match self.meta.as_str() {
            "" => serde_json::json!({}),
            text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        }
    }
}

/// One step of a solution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// A line, e.g. `48/2=24`, or a formula or code of several lines.
    pub text: String,
    /// Natural log of the probability that the policy gave to this step; NaN where it gives none.
    pub logprob: f32,
    /// Estimated probability that the state after the step leads to a correct answer; NaN if not estimated.
    pub value: f32,
    /// Step value from the search tree; NaN if not estimated.
    pub q: f32,
    /// Tokens generated for the step, the tool's included; 0 for the rule policy.
    pub tokens: u32,
}

/// The algorithm of a solution that completes a wrong sample by one step of the rules.
pub const REPAIR: &str = "repair";

/// A complete path of steps with a final answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// Hash of problem, round, algorithm, policy, seed and ordinal.
    pub solution_id: String,
    pub problem_id: String,
    pub round: u32,
    /// `best-first` (the enumeration over the rules), `best-of-n`, `beam`, `dvts`, `mcts`, `astar` or
    /// `repair`.
    pub algorithm: String,
    /// Kind of the policy: `rules`, `model` or `endpoint`.
    pub policy: String,
    /// Fingerprint of the policy: of its rules, weights or endpoint settings.
    pub policy_fingerprint: String,
    /// Key of the sample within the search: what [`crate::key`] was seeded with.
    pub seed: u64,
    pub steps: Vec<Step>,
    /// What stands behind the last answer marker; empty if the path ended without one.
    pub final_answer: String,
    /// How its sample ended.
    pub end: End,
    /// Tokens generated for this path, those of its thought included.
    pub tokens: u32,
    /// What the model thought before its first step; empty if nothing.
    pub thought: String,
    pub thought_tokens: u32,
    /// This path's share of all tokens that the search of its problem spent.
    pub search_tokens: f32,
    /// This path's share of all node expansions that the search of its problem spent.
    pub search_expansions: f32,
}

impl Solution {
    /// The texts of its steps.
    pub fn texts(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.text.as_str()).collect()
    }

    /// Whether a policy drew it, without knowing the answer: a search over the rules, and a repair, have it
    /// as their goal.
    pub fn sampled(&self) -> bool {
        (self.policy != "rules" || self.algorithm == "best-of-n") && self.algorithm != REPAIR
    }

    /// Whether it says something on its own of what its problem asks: a sample, or the repair of one.
    pub fn votes(&self) -> bool {
        self.sampled() || self.algorithm == REPAIR
    }
}

/// How a sample of a policy ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum End {
    /// By itself, or behind its answer.
    #[default]
    Complete,
    /// At the limit of tokens, or where the context was full.
    Truncated,
    /// The same within a thought: nothing was said.
    Thinking,
    /// The server refused it, or cut it off.
    Filtered,
    /// Without any text.
    Empty,
    /// The request was answered with an error, however often it was sent.
    Failed,
}

impl End {
    pub const ALL: [End; 6] =
        [End::Complete, End::Truncated, End::Thinking, End::Filtered, End::Empty, End::Failed];

    pub fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::Truncated => "truncated",
            End::Thinking => "thinking",
            End::Filtered => "filtered",
            End::Empty => "empty",
            End::Failed => "failed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.name() == name)
    }

    /// Whether there is no sample, for reasons that may have nothing to do with the model.
    pub fn is_lost(self) -> bool {
        matches!(self, End::Filtered | End::Empty | End::Failed)
    }
}

/// What the verifier says of a solution. Three outcomes, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Correct,
    Wrong,
    Undecidable,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Correct => "correct",
            Verdict::Wrong => "wrong",
            Verdict::Undecidable => "undecidable",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Verdict::Correct, Verdict::Wrong, Verdict::Undecidable].into_iter().find(|v| v.name() == name)
    }
}

/// What the check of one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepCheck {
    /// Every equation in the step holds exactly.
    True,
    /// Every equation in the step holds, some of them to the decimals that are written.
    Rounded,
    /// Some equation in the step is false, or the text behind its result says another.
    False,
    /// The step holds no equation.
    Prose,
    /// An equation is there, but cannot be read or evaluated.
    Unreadable,
}

impl StepCheck {
    pub fn name(self) -> &'static str {
        match self {
            StepCheck::True => "true",
            StepCheck::Rounded => "rounded",
            StepCheck::False => "false",
            StepCheck::Prose => "prose",
            StepCheck::Unreadable => "unreadable",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        let all =
            [StepCheck::True, StepCheck::Rounded, StepCheck::False, StepCheck::Prose, StepCheck::Unreadable];
        all.into_iter().find(|c| c.name() == name)
    }
}

/// What is wrong with the steps of a solution, whatever its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// An equation is false.
    FalseEquation,
    /// The text behind a calculator result says another number.
    Contradiction,
    /// The final answer is not what the steps compute.
    Unsupported,
    /// A step uses a number that the problem does not give, no word means and no earlier step computed.
    MadeUpNumber,
    /// Nothing uses the result of a step, and it is not the answer.
    OrphanStep,
    /// The verifier's command says that a step is wrong.
    WrongStep,
}

impl FaultKind {
    pub const ALL: [FaultKind; 6] = [
        Self::FalseEquation,
        Self::Contradiction,
        Self::Unsupported,
        Self::MadeUpNumber,
        Self::OrphanStep,
        Self::WrongStep,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FaultKind::FalseEquation => "false_equation",
            FaultKind::Contradiction => "contradiction",
            FaultKind::Unsupported => "unsupported",
            FaultKind::MadeUpNumber => "made_up_number",
            FaultKind::OrphanStep => "orphan_step",
            FaultKind::WrongStep => "wrong_step",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A check that a solution fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Index of the step; None where it is the path as a whole.
    pub step: Option<u32>,
    /// What shows it, e.g. the equation.
    pub evidence: String,
}

/// A verdict with its grounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Of the final answer; in Countdown, where the steps are the answer, of both.
    pub verdict: Verdict,
    /// One of the reason codes documented at [`crate::domains::math`], or one of a verifier's command.
    pub reason: String,
    /// One check a step, in order.
    pub checks: Vec<StepCheck>,
    /// Index of the first step with a false equation or a contradiction: the first whose check is `False`.
    pub first_wrong: Option<u32>,
    /// What is wrong with the steps, by step; empty if nothing is.
    pub faults: Vec<Fault>,
    /// How good the solution is, 0 to 1, where the verifier says more than right or wrong.
    pub score: Option<f32>,
}

impl Judgement {
    /// An answer that could not be judged, and why; nothing is said of the steps.
    pub fn undecidable(reason: &str) -> Self {
        Self {
            verdict: Verdict::Undecidable,
            reason: reason.to_owned(),
            checks: Vec::new(),
            first_wrong: None,
            faults: Vec::new(),
            score: None,
        }
    }
}

/// A training row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// The user turn: the question as asked.
    pub prompt: String,
    /// The assistant turn: steps and answer line as the student should write them.
    pub completion: String,
    /// What the model thought before it wrote this; empty if nothing.
    pub thought: String,
    pub problem_id: String,
    pub solution_id: String,
    pub round: u32,
    /// Weight of the row in the loss, > 0.
    pub weight: f32,
    /// Share of its problem's samples in this round that are correct; of all its solutions where none was
    /// sampled.
    pub pass_rate: f32,
    /// Who found it: `rules`, `model`, `endpoint` or `repair`.
    pub origin: String,
}
