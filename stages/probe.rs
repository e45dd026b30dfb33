//! Whether a verifier tells right from wrong: solutions that are known to be good, and the same ones spoiled,
//! are put to it, twice.
//!
//! | kind | what is put to it |
//! |---|---|
//! | `good` | the gold answer, or a solution that the user knows to be good |
//! | `other` | the good solution of another problem, one with another gold answer |
//! | `altered` | the last digit of an answer is another, the letter of a choice, `yes` is `no` |
//! | `cut` | the first half of an answer of several lines |
//! | `empty` | nothing at all |

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use datasets::domains::Domains;
use datasets::types::{Judgement, Problem, Verdict};
use serde::Serialize;

use crate::events::{Cancelled, Events};
use crate::verify::judge;

/// How a solution was made that is put to the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Good,
    Other,
    Altered,
    Cut,
    Empty,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Good, Kind::Other, Kind::Altered, Kind::Cut, Kind::Empty];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Good => "good",
            Kind::Other => "other",
            Kind::Altered => "altered",
            Kind::Cut => "cut",
            Kind::Empty => "empty",
        }
    }

    /// It in words, as part of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Good => "solutions known to be good",
            Kind::Other => "good solutions of other problems",
            Kind::Altered => "answers with another digit, letter or word",
            Kind::Cut => "answers cut in half",
            Kind::Empty => "solutions without any text",
        }
    }
}

/// A solution: its steps, and its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub steps: Vec<String>,
    pub answer: String,
}

/// What is put to the verifier.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    pub kind: Kind,
    pub problem: &'a Problem,
    pub solution: Known,
}

/// Each problem with its good solution, and what is made of that.
pub fn trials(known: &[(Problem, Known)]) -> Vec<Trial<'_>> {
    let mut all = Vec::new();
    for (at, (problem, good)) in known.iter().enumerate() {
        let unlike = |(other, solution): &&(Problem, Known)| {
            other.answer.trim() != problem.answer.trim() && solution != good
        };
        let other = known[at + 1..].iter().chain(&known[..at]).find(unlike).map(|(_, other)| other.clone());
        let with = |answer: String| Known { steps: good.steps.clone(), answer };
        let made = [
            (Kind::Good, Some(good.clone())),
            (Kind::Other, other),
            (Kind::Altered, altered(&good.answer).map(with)),
            (Kind::Cut, cut(&good.answer).map(with)),
            (Kind::Empty, Some(Known::default())),
        ];
        let made = made.into_iter().filter_map(|(kind, solution)| Some((kind, solution?)));
        all.extend(made.map(|(kind, solution)| Trial { kind, problem, solution }));
    }
    all
}

/// An answer of one line that says something else; None if it holds nothing that could be changed.
fn altered(answer: &str) -> Option<String> {
    let text = answer.trim();
    if text.contains('\n') {
        return None;
    }
    if let Some((at, digit)) = text.char_indices().rfind(|(_, c)| c.is_ascii_digit()) {
        let next = if digit == '9' { '0' } else { char::from(digit as u8 + 1) };
        return Some(format!("{}{next}{}", &text[..at], &text[at + 1..]));
    }
    let core = text.trim_matches(|c: char| !c.is_alphanumeric());
    let other = match core.to_lowercase().as_str() {
        "yes" => "no",
        "no" => "yes",
        "true" => "false",
        "false" => "true",
        "a" => "b",
        "b" => "c",
        "c" => "d",
        letter if letter.len() == 1 && letter.is_ascii() => "a",
        _ => return None,
    };
    let mut case = other.to_owned();
    if core.starts_with(char::is_uppercase) {
        case[..1].make_ascii_uppercase();
    }
    Some(text.replacen(core, &case, 1))
}

/// The first half of the lines of an answer that has several.
fn cut(answer: &str) -> Option<String> {
    let lines: Vec<&str> = answer.trim().lines().collect();
    (lines.len() > 1).then(|| lines[..lines.len() / 2].join("\n"))
}

/// What was said of trials, in their order.
#[derive(Debug)]
pub struct Heard {
    pub judgements: Vec<Judgement>,
    /// Time of each, in their order.
    pub each: Vec<Duration>,
    /// Time of all together.
    pub whole: Duration,
}

/// Puts all trials to a verifier, `workers` at once, in their order or from the last to the first.
///
/// # Errors
/// [`Cancelled`].
pub fn ask(
    domains: &Domains,
    trials: &[Trial<'_>],
    (backwards, workers): (bool, usize),
    events: &dyn Events,
) -> Result<Heard, Cancelled> {
    let (clock, next) = (Instant::now(), AtomicUsize::new(0));
    let heard: Mutex<BTreeMap<usize, (Judgement, Duration)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, trials.len().max(1)) {
            scope.spawn(|| {
                while !events.cancelled() {
                    let turn = next.fetch_add(1, SeqCst);
                    if turn >= trials.len() {
                        return;
                    }
                    let at = if backwards { trials.len() - 1 - turn } else { turn };
                    let Trial { problem, solution, .. } = &trials[at];
                    let clock = Instant::now();
                    let judged = judge(domains, problem, &solution.steps, &solution.answer);
                    let took = clock.elapsed();
                    heard.lock().unwrap_or_else(PoisonError::into_inner).insert(at, (judged, took));
                    events.advance(1, 0, 0);
                }
            });
        }
    });
    events.check()?;
    let heard = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (judgements, each) = heard.into_values().unzip();
    Ok(Heard { judgements, each, whole: clock.elapsed() })
}

/// What was said of the trials of a kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub kind: Kind,
    pub asked: usize,
    pub accepted: usize,
    pub rejected: usize,
    pub undecidable: usize,
    /// How often each reason was given.
    pub reasons: BTreeMap<String, usize>,
}

impl Line {
    /// The share of those asked that were accepted; 0 of none.
    pub fn share(&self) -> f64 {
        self.accepted as f64 / self.asked.max(1) as f64
    }
}

/// A line for each kind that there are trials of.
pub fn lines(trials: &[Trial<'_>], judgements: &[Judgement]) -> Vec<Line> {
    let of = |kind: Kind| {
        let (asked, accepted, rejected, undecidable) = (0, 0, 0, 0);
        let mut line = Line { kind, asked, accepted, rejected, undecidable, reasons: BTreeMap::new() };
        for (_, judged) in trials.iter().zip(judgements).filter(|(trial, _)| trial.kind == kind) {
            line.asked += 1;
            *line.reasons.entry(judged.reason.clone()).or_default() += 1;
            *match judged.verdict {
                Verdict::Correct => &mut line.accepted,
                Verdict::Wrong => &mut line.rejected,
                Verdict::Undecidable => &mut line.undecidable,
            } += 1;
        }
        line
    };
    Kind::ALL.map(of).into_iter().filter(|line| line.asked > 0).collect()
}

/// Why a verifier is refused, a sentence each: it accepts less than the share `good` of what is good, or more
/// than the share `spoiled` of a kind that is not.
pub fn complaints(lines: &[Line], good: f64, spoiled: f64) -> Vec<String> {
    let wrong = |line: &Line| match line.kind {
        Kind::Good => line.share() < good,
        _ => line.share() > spoiled,
    };
    let say = |line: &Line| {
        let words = line.kind.words();
        let only = if line.kind == Kind::Good { "only " } else { "" };
        format!("it accepts {only}{} of {} {words}", line.accepted, line.asked)
    };
    let mut all: Vec<String> = lines.iter().filter(|line| wrong(line)).map(say).collect();
    if !lines.iter().any(|line| matches!(line.kind, Kind::Other | Kind::Altered | Kind::Cut)) {
        all.push("all gold answers are the same, and none of them can be altered".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::tests::problem;
    use crate::events::Silent;

    #[test]
    fn answers_are_altered_where_they_can_be() {
        let pairs = [
            ("72", Some("73")),
            ("\\boxed{9}", Some("\\boxed{0}")),
            ("3/4 cups", Some("3/5 cups")),
            ("(B)", Some("(C)")),
            ("d", Some("a")),
            ("E.", Some("A.")),
            ("Yes", Some("No")),
            ("false", Some("true")),
            ("a cat", None),
            ("", None),
            ("1\n2", None),
        ];
        for (answer, other) in pairs {
            assert_eq!(altered(answer).as_deref(), other, "{answer}");
        }
        assert_eq!(cut("a\nb\nc").as_deref(), Some("a"));
        assert_eq!(cut("a b"), None);
    }

    fn known() -> Vec<(Problem, Known)> {
        let row = |n: usize| {
            let (question, answer) = (format!("What is 3 and {n}?"), (3 + n / 2).to_string());
            (problem(&n.to_string(), &question, &answer), Known { steps: Vec::new(), answer })
        };
        (0..8).map(row).collect()
    }

    #[test]
    fn the_exact_verifier_tells_them_apart() {
        let known = known();
        let trials = trials(&known);
        assert_eq!(trials.len(), 8 * 4);
        assert!(trials.iter().all(|trial| trial.kind != Kind::Other
            || trial.solution.answer != trial.problem.answer && !trial.solution.answer.is_empty()));
        let domains = Domains::default();
        let there = ask(&domains, &trials, (false, 3), &Silent).unwrap();
        let back = ask(&domains, &trials, (true, 1), &Silent).unwrap();
        assert_eq!(there.judgements, back.judgements);
        let lines = lines(&trials, &there.judgements);
        let accepted: Vec<_> = lines.iter().map(|line| (line.kind, line.accepted, line.asked)).collect();
        let expected = [(Kind::Good, 8, 8), (Kind::Other, 0, 8), (Kind::Altered, 0, 8), (Kind::Empty, 0, 8)];
        assert_eq!(accepted, expected);
        assert!(complaints(&lines, 1.0, 0.0).is_empty());
    }

    #[test]
    fn what_accepts_too_much_or_too_little_is_refused() {
        let line = |kind, accepted| Line {
            kind,
            asked: 10,
            accepted,
            rejected: 10 - accepted,
            undecidable: 0,
            reasons: BTreeMap::new(),
        };
        let said = |good, other| complaints(&[line(Kind::Good, good), line(Kind::Other, other)], 0.9, 0.1);
        assert!(said(9, 1).is_empty());
        assert_eq!(said(8, 0), ["it accepts only 8 of 10 solutions known to be good"]);
        assert_eq!(said(10, 2), ["it accepts 2 of 10 good solutions of other problems"]);
        assert_eq!(complaints(&[line(Kind::Good, 10), line(Kind::Empty, 0)], 0.9, 0.1).len(), 1);
    }
}
