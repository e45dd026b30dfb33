//! The rules that look at one solution, each a function of what it is shown. Their order and evidence:
//! [`super`].

use std::borrow::Cow;

use datasets::agreement::unused;
use datasets::domains;
use datasets::types::{Judgement, Solution, Verdict};

use super::config::{Contamination, Keep};
use super::outliers::characters;
use super::subject::{Fate, Finding, Measured, ProblemContext, Subject};
use super::text;

/// Decides on one solution.
pub type Rule = for<'a> fn(&'a Subject<'a>) -> Finding<'a>;

/// Reason codes of the rules on one solution, in their order.
pub const RULES: [(&str, Rule); 11] = [
    ("not_correct", not_correct),
    ("wrong_steps", wrong_steps),
    ("repetition", repetition),
    ("compressible", compressible),
    ("low_entropy", low_entropy),
    ("length_outlier", length_outlier),
    ("contaminated", contaminated),
    ("too_hard", too_hard),
    ("too_easy", too_easy),
    ("unused_number", unused_number),
    ("refuted", refuted),
];

impl<'a> Subject<'a> {
    pub(super) fn of(
        (solution, judgement): (&'a Solution, &'a Judgement),
        of: &'a ProblemContext<'a>,
    ) -> Self {
        Self { solution, judgement, of, text: std::cell::OnceCell::new() }
    }

    /// The steps, a line each.
    fn text(&self) -> &str {
        self.text.get_or_init(|| self.solution.texts().join("\n"))
    }
}

/// Where a solution ends by the rules on one: kept so far, or dropped by the first that applies.
pub(super) fn first(subject: &Subject<'_>) -> Fate {
    for (reason, rule) in RULES {
        if let Finding::Drops(measured) = rule(subject) {
            return Fate::Dropped { reason, evidence: measured.to_string() };
        }
    }
    Fate::Kept
}

/// Drops what is beyond a limit.
fn limit(beyond: bool, measured: Measured<'_>) -> Finding<'_> {
    if beyond { Finding::Drops(measured) } else { Finding::Passes(measured) }
}

fn not_correct<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let judgement = subject.judgement;
    if judgement.verdict == Verdict::Correct {
        return Finding::Passes(Measured::Text(Cow::Borrowed(&judgement.reason)));
    }
    let said = Measured::Text(format!("{}: {}", judgement.verdict.name(), judgement.reason).into());
    let any = subject.of.context.config.keep == Keep::All;
    limit(!any || subject.solution.final_answer.is_empty(), said)
}

fn wrong_steps<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let counting = &subject.of.context.config.faults;
    if counting.is_empty() {
        return Finding::Skips("off");
    }
    match subject.judgement.faults.iter().find(|fault| counting.contains(&fault.kind)) {
        Some(fault) => {
            Finding::Drops(Measured::Text(format!("{}: {}", fault.kind.name(), fault.evidence).into()))
        }
        None => Finding::Passes(Measured::Text(Cow::Borrowed("no fault that counts"))),
    }
}

/// A measure of the text against its limit, 0 for none.
fn measured<'a>(
    value: impl FnOnce() -> Option<f64>,
    of: &'static str,
    bound: f64,
    beyond: fn(f64, f64) -> bool,
) -> Finding<'a> {
    if bound <= 0.0 {
        return Finding::Skips("off");
    }
    match value() {
        None => Finding::Skips("too short to tell"),
        Some(value) => limit(beyond(value, bound), Measured::Figure { value, of, limit: bound }),
    }
}

fn repetition<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let most = subject.of.context.config.max_repetition;
    measured(
        || text::repetition(subject.text()),
        "of the characters in repeated n-grams",
        most,
        |value, most| value > most,
    )
}

fn compressible<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let most = subject.of.context.config.max_compression;
    measured(
        || text::compression(subject.text()),
        "times smaller when compressed",
        most,
        |value, most| value > most,
    )
}

fn low_entropy<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let least = subject.of.context.config.min_entropy;
    measured(|| text::entropy(subject.text()), "bits per token", least, |value, least| value < least)
}

fn length_outlier<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let context = subject.of.context;
    let most = context.config.length_outliers;
    if most <= 0.0 {
        return Finding::Skips("off");
    }
    let Some(usual) = context.usual.get(&(subject.solution.sampled(), subject.of.difficulty)) else {
        return Finding::Skips("too few comparable solutions to tell");
    };
    let characters = characters(subject.solution);
    limit(usual.distance(characters) > most, Measured::Length { characters, usual: *usual, limit: most })
}

fn contaminated<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    match &subject.of.leak {
        Some(leak) => Finding::Drops(Measured::Text(leak.to_string().into())),
        None if subject.of.context.config.contamination == Contamination::Off => Finding::Skips("off"),
        None => Finding::Passes(Measured::Text(Cow::Borrowed("its question is not held out"))),
    }
}

/// A problem without samples has no rate: the enumeration is told the answer.
fn too_hard<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let (rate, least) = (subject.of.rate, subject.of.context.config.min_pass_rate);
    if least <= 0.0 {
        return Finding::Skips("off");
    }
    if !rate.sampled {
        return Finding::Skips("no samples were judged");
    }
    limit(rate.share() < least, Measured::Rate { rate, limit: least })
}

fn too_easy<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let (rate, most) = (subject.of.rate, subject.of.context.config.max_pass_rate);
    if most >= 1.0 {
        return Finding::Skips("off");
    }
    if !rate.sampled {
        return Finding::Skips("no samples were judged");
    }
    limit(rate.share() > most, Measured::Rate { rate, limit: most })
}

fn unused_number<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    let (problem, steps) = (subject.of.problem, subject.solution.texts());
    if !subject.of.context.config.use_all_numbers {
        return Finding::Skips("off");
    }
    if subject.solution.sampled() {
        return Finding::Skips("sampled by a policy that does not know the answer");
    }
    if !domains::calculates(problem) || steps.is_empty() {
        return Finding::Skips("not a calculation for a word problem");
    }
    let left: Vec<String> = unused(problem, &steps).iter().map(ToString::to_string).collect();
    if left.is_empty() {
        return Finding::Passes(Measured::Text(Cow::Borrowed("every number is used")));
    }
    Finding::Drops(Measured::Text(format!("no step uses {}", left.join(", ")).into()))
}

fn refuted<'a>(subject: &'a Subject<'a>) -> Finding<'a> {
    if subject.of.context.config.min_siblings == 0 {
        return Finding::Skips("off");
    }
    let tried = subject.of.tried(subject.solution);
    if tried.tried == 0 {
        return Finding::Skips("no other problem differs in numbers and names alone");
    }
    let (solved, all) = (tried.solved, tried.tried);
    limit(
        tried.refuted(),
        Measured::Text(
            format!("gives the answer of {solved} of {all} problems that differ in numbers and names alone")
                .into(),
        ),
    )
}
