//! Step checks on top of a grade, as the domain `math` makes them.

use super::{Options, grade, read_completion, split_completion};
use crate::domain::{Domain, Verifier};
use crate::domains::math::Math;
use crate::types::{Problem, Split, StepCheck, Verdict};

/// Outcome of [`grade_with_steps`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepsGrade {
    pub verdict: Verdict,
    /// A code of the table of [`crate::grade`] or of [`crate::domains::math`].
    pub reason: String,
    pub gold_read: String,
    pub prediction_read: String,
    /// See [`super::Grade::read_by`].
    pub read_by: &'static str,
}

/// [`grade`], and where the answer is correct the verdict and the reason of the domain `math`, which checks
/// the steps: each line of the prediction before its answer is one, unless a line `undo` took it back. A
/// prediction that takes back more than it has is wrong (`no_answer`). Without the question only the steps'
/// equations are checked.
///
/// ```
/// use datasets::grade::{Options, grade_with_steps};
///
/// let question = "Ann has 3 bags of 4 pens. How many pens?";
/// let found = grade_with_steps(Some(question), "12", "3*4=13\n#### 12", &Options::default());
/// assert_eq!((found.verdict.name(), found.reason.as_str()), ("correct", "correct_answer_wrong_steps"));
/// ```
pub fn grade_with_steps(
    question: Option<&str>,
    gold: &str,
    prediction: &str,
    options: &Options,
) -> StepsGrade {
    let found = grade(gold, prediction, options);
    let (mut verdict, mut reason) = (found.verdict, found.reason.to_owned());
    if verdict == Verdict::Correct {
        if read_completion(prediction).overdrawn {
            let (verdict, reason) = (Verdict::Wrong, "no_answer".to_owned());
            return StepsGrade {
                verdict,
                reason,
                gold_read: found.gold_read,
                prediction_read: String::new(),
                read_by: "",
            };
        }
        let (steps, marked) = split_completion(prediction);
        let given = if marked.is_empty() { prediction.trim().to_owned() } else { marked };
        // The verifier compares answers exactly. One that is right within a precision stands for the gold.
        let answer = match split_completion(gold).1 {
            _ if options.precision.is_some() => given.clone(),
            marked if marked.is_empty() => gold.trim().to_owned(),
            marked => marked,
        };
        let problem = problem(question.unwrap_or_default(), answer);
        if question.is_some() {
            let judged = Math.verify(&problem, &steps, &given);
            (verdict, reason) = (judged.verdict, judged.reason);
        } else if (0..steps.len())
            .any(|at| Math.check_step(&problem, &steps[..at], &steps[at]) == StepCheck::False)
        {
            reason = "correct_answer_wrong_steps".to_owned();
        }
    }
    let super::Grade { gold_read, prediction_read, read_by, .. } = found;
    StepsGrade { verdict, reason, gold_read, prediction_read, read_by }
}

/// A problem as the verifier sees it.
fn problem(question: &str, answer: String) -> Problem {
    Problem {
        problem_id: String::new(),
        domain: "math".into(),
        source: String::new(),
        split: Split::Test,
        question: question.to_owned(),
        answer,
        difficulty: 0,
        meta: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(gold: &str, prediction: &str) -> (&'static str, String) {
        let question = "Ann has 3 bags of 4 pens and loses 2. How many pens?";
        let found = grade_with_steps(Some(question), gold, prediction, &Options::default());
        let alone = grade_with_steps(None, gold, prediction, &Options::default());
        assert_eq!(alone, found, "{prediction}");
        (found.verdict.name(), found.reason)
    }

    #[test]
    fn steps_of_a_correct_answer_are_checked() {
        assert_eq!(
            judged("3*4=12\n12-2=10\n#### 10", "3*4=12\n12-2=10\nThe answer is 10."),
            ("correct", "correct".into())
        );
        assert_eq!(judged("10", "3*4=12\n12-2=10\n#### 10.0"), ("correct", "correct".into()));
        assert_eq!(judged("10", "3*4=14\n#### 10"), ("correct", "correct_answer_wrong_steps".into()));
        assert_eq!(
            judged("10", "3*4=14\n#### 11"),
            ("wrong", "wrong_answer".into()),
            "the answer is judged first"
        );
        assert_eq!(judged("because", "3*4=14\n#### 11"), ("undecidable", "gold_unreadable".into()));
    }

    #[test]
    fn steps_that_were_taken_back_are_not_checked() {
        assert_eq!(judged("10", "3*4=14\nundo\n3*4=12\n12-2=10\n#### 10"), ("correct", "correct".into()));
        assert_eq!(judged("10", "3*4=14\n#### 10").1, "correct_answer_wrong_steps");
        assert_eq!(judged("10", "3*4=12\nundo\nundo\n12-2=10\n#### 10"), ("wrong", "no_answer".into()));
    }

    #[test]
    fn an_answer_without_a_marker_is_a_final_answer() {
        for prediction in ["10", " $10$ ", "x = 10"] {
            assert_eq!(judged("10", prediction), ("correct", "correct".into()), "{prediction}");
        }
    }

    #[test]
    fn precision_is_that_of_the_grade() {
        let question = Some("Two of three marbles are red. Which share?");
        let rounded = |precision| {
            grade_with_steps(question, "2/3", "#### 0.67", &Options { precision, ..Options::default() })
                .reason
        };
        assert_eq!([rounded(None), rounded(Some(2))], ["wrong_answer", "correct"]);
    }

    #[test]
    fn without_the_question_equations_are_checked_alone() {
        let reason = |prediction| grade_with_steps(None, "10", prediction, &Options::default()).reason;
        assert_eq!(reason("27-17=10\n#### 10"), "correct", "nobody knows where 27 comes from");
        assert_eq!(reason("27-16=10\n#### 10"), "correct_answer_wrong_steps");
    }
}
