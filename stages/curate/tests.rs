//! The ledger from solutions to kept rows: every rule, their order, and what is promised of all of them.

use std::collections::{BTreeMap, BTreeSet};

use datasets::domains::Domains;
use datasets::table::{Dropped, VerdictRow};
use datasets::types::{End, Fault, FaultKind, Judgement, Problem, Solution, Split, Step, StepCheck, Verdict};
use proptest::prelude::*;

use super::story::story;
use super::{
    Choose, Contamination, CurateConfig, Curated, CurationContext, Duplicates, Keep, Survey, curate, rates,
};
use crate::events::Silent;
use crate::verify::verify;

const CLIPS: &str =
    "Ann sold 48 clips in April and half as many in May. How many clips did she sell in both months?";

pub fn problem(id: &str, question: &str, answer: &str) -> Problem {
    Problem {
        problem_id: id.into(),
        domain: "math".into(),
        source: "test".into(),
        split: Split::Train,
        question: question.into(),
        answer: answer.into(),
        difficulty: 0,
        meta: "{}".into(),
    }
}

pub fn solution(id: &str, problem: &str, algorithm: &str, steps: &[&str], answer: &str) -> Solution {
    Solution {
        solution_id: id.into(),
        problem_id: problem.into(),
        round: 1,
        algorithm: algorithm.into(),
        policy: if algorithm == "best-first" { "rules" } else { "model" }.into(),
        policy_fingerprint: String::new(),
        seed: 0,
        steps: steps.iter().map(|s| Step { text: (*s).into(), ..Step::default() }).collect(),
        final_answer: answer.into(),
        end: End::Complete,
        thought: String::new(),
        thought_tokens: 0,
        tokens: 0,
        search_tokens: 0.0,
        search_expansions: 0.0,
    }
}

fn clips(id: &str, steps: &[&str], answer: &str) -> Solution {
    solution(id, "clips", "best-of-n", steps, answer)
}

fn everything() -> Vec<Solution> {
    vec![
        clips("odd", &["48*2=96", "96*3/4=72"], "72"),
        clips("first", &["48/2=24", "48+24=72"], "72"),
        clips("again", &["48/2=24", "24+48=72"], "72"),
        clips("false", &["48/2=25", "48+24=72"], "72"),
        clips("wrong", &["48*2=96"], "96"),
        clips("near", &["48/2=24", "48-24=24"], "24"),
    ]
}

/// Verdicts by hand: correct or wrong, and a fault at a step.
pub fn verdict(solution: &Solution, correct: bool, fault: Option<(FaultKind, Option<u32>)>) -> VerdictRow {
    let judgement = Judgement {
        verdict: if correct { Verdict::Correct } else { Verdict::Wrong },
        reason: if correct { "correct" } else { "wrong_answer" }.into(),
        checks: vec![StepCheck::True; solution.steps.len()],
        first_wrong: None,
        faults: fault
            .map(|(kind, step)| Fault { kind, step, evidence: "shown".into() })
            .into_iter()
            .collect(),
        score: None,
    };
    VerdictRow {
        judge_yes: None,
        judge_votes: None,
        solution_id: solution.solution_id.clone(),
        problem_id: solution.problem_id.clone(),
        judgement,
    }
}

/// Without rules that look at more than the solutions, but the one on wrong steps.
fn bare() -> CurateConfig {
    CurateConfig {
        length_outliers: 0.0,
        contamination: Contamination::Off,
        per_problem: 99,
        ..CurateConfig::default()
    }
}

fn context(config: &CurateConfig) -> CurationContext {
    Survey::new(config).finish()
}

fn run(problems: &[Problem], solutions: &[Solution], config: &CurateConfig) -> Curated {
    let verdicts = verify(&Domains::default(), problems, solutions, &Silent).unwrap();
    curate(problems, solutions, &verdicts, &context(config), &Silent).unwrap()
}

fn ids(curated: &Curated) -> Vec<&str> {
    curated.kept.iter().map(|k| k.solution_id.as_str()).collect()
}

fn why<'a>(dropped: &'a [Dropped], id: &str) -> (&'a str, &'a str) {
    dropped.iter().find(|d| d.solution_id == id).map(|d| (d.reason.as_str(), d.evidence.as_str())).unwrap()
}

#[test]
fn every_solution_is_kept_or_dropped_once_and_the_path_found_most_often_wins() {
    let curated =
        run(&[problem("clips", CLIPS, "72")], &everything(), &CurateConfig { per_problem: 1, ..bare() });
    assert_eq!(ids(&curated), ["first"]);
    assert_eq!(curated.kept[0].completion, "48/2=24\n48+24=72\n#### 72");
    assert!(
        (curated.kept[0].pass_rate - 4.0 / 6.0).abs() < 1e-6
            || (curated.kept[0].pass_rate - 0.5).abs() < 1e-6
    );
    let dropped = &curated.dropped;
    assert_eq!(why(dropped, "again"), ("duplicate", "first"));
    assert_eq!(why(dropped, "odd"), ("over_cap", "1 rank before it, cap 1, the last kept is first"));
    assert_eq!(why(dropped, "false").0, "wrong_steps");
    assert_eq!(why(dropped, "wrong"), ("not_correct", "wrong: wrong_answer"));
    assert_eq!(curated.kept.len() + dropped.len(), everything().len());
}

#[test]
fn what_too_few_samples_compute_is_unconfirmed() {
    let rule = |id, steps: &[&str]| solution(id, "clips", "best-first", steps, "72");
    let mut solutions = vec![rule("half", &["48/2=24", "48+24=72"]), rule("odd", &["48+48=96", "96-24=72"])];
    let dropped = |solutions: &[Solution], min_agreement| -> Vec<String> {
        let faults = Vec::new();
        let curated = run(
            &[problem("clips", CLIPS, "72")],
            solutions,
            &CurateConfig { faults, min_agreement, ..bare() },
        );
        curated
            .dropped
            .iter()
            .filter(|d| d.reason == "unconfirmed")
            .map(|d| format!("{} {}", d.solution_id, d.evidence))
            .collect()
    };
    assert_eq!(dropped(&solutions, 1), [""; 0], "no samples were drawn");
    // Another layout of the same calculation.
    solutions.push(clips("sample", &["48*1.5=72"], "72"));
    assert_eq!(dropped(&solutions, 0), [""; 0]);
    assert_eq!(dropped(&solutions, 1), ["odd 0 of 1 samples compute the same, limit 1"]);
    assert_eq!(dropped(&solutions, 2).len(), 3);
    solutions.push(clips("other", &["48/2=24", "24+48=72"], "72"));
    assert_eq!(dropped(&solutions, 2), ["odd 0 of 2 samples compute the same, limit 2"]);
}

#[test]
fn every_number_is_used_where_that_is_asked() {
    let question = "Ann sold 48 clips in April, half as many in May, and 5 pens. How many clips did she sell \
        in both months?";
    let rule = |id, steps: &[&str]| solution(id, "clips", "best-first", steps, "72");
    // What a policy drew without knowing the answer need not use all there is.
    let solutions =
        [rule("half", &["48/2=24", "48+24=72"]), rule("none", &[]), clips("sample", &["48*1.5=72"], "72")];
    let dropped = |use_all_numbers, question| -> Vec<String> {
        let curated =
            run(&[problem("clips", question, "72")], &solutions, &CurateConfig { use_all_numbers, ..bare() });
        curated.dropped.iter().map(|d| format!("{} {}", d.reason, d.evidence)).collect()
    };
    assert_eq!(dropped(false, question), [""; 0]);
    assert_eq!(dropped(true, question), ["unused_number no step uses 5"]);
    assert_eq!(dropped(true, CLIPS), [""; 0]);
}

#[test]
fn faults_that_count_drop() {
    let solutions = [clips("a", &["48/2=24"], "72"), clips("b", &["48+24=72"], "72")];
    let verdicts = [
        verdict(&solutions[0], true, Some((FaultKind::OrphanStep, Some(0)))),
        verdict(&solutions[1], true, Some((FaultKind::Unsupported, None))),
    ];
    let reasons = |faults: &[FaultKind]| -> Vec<String> {
        let context = context(&CurateConfig { faults: faults.to_vec(), ..bare() });
        let curated =
            curate(&[problem("clips", CLIPS, "72")], &solutions, &verdicts, &context, &Silent).unwrap();
        curated.dropped.iter().map(|d| format!("{} {} {}", d.solution_id, d.reason, d.evidence)).collect()
    };
    assert_eq!(reasons(&[FaultKind::OrphanStep]), ["a wrong_steps orphan_step: shown"]);
    assert_eq!(reasons(&[FaultKind::Unsupported]), ["b wrong_steps unsupported: shown"]);
    assert!(reasons(&[]).is_empty());
}

#[test]
fn degenerate_text_is_dropped_by_the_first_measure_that_tells() {
    let line = "So he works on for 48/2=24 and then for 48+24=72 of them again.";
    let lines = vec![line; 6];
    let signs = ["48/2=24 48/2=24 48/2=24 48/2=24 48/2=24 48/2=24 48/2=24 48/2=24"; 1];
    let solutions = [clips("loop", &lines, "72"), clips("signs", &signs, "72")];
    let verdicts: Vec<VerdictRow> = solutions.iter().map(|s| verdict(s, true, None)).collect();
    let reasons = |config: CurateConfig| -> Vec<String> {
        let curated =
            curate(&[problem("clips", CLIPS, "72")], &solutions, &verdicts, &context(&config), &Silent)
                .unwrap();
        curated.dropped.iter().map(|d| format!("{} {}", d.solution_id, d.reason)).collect()
    };
    assert_eq!(reasons(bare()), ["loop repetition", "signs repetition"]);
    assert_eq!(
        reasons(CurateConfig { max_repetition: 0.0, min_entropy: 2.5, ..bare() }),
        ["loop compressible", "signs low_entropy"]
    );
    assert_eq!(
        reasons(CurateConfig { max_repetition: 0.0, max_compression: 0.0, min_entropy: 2.5, ..bare() }),
        ["signs low_entropy"]
    );
    assert!(
        reasons(CurateConfig { max_repetition: 0.0, max_compression: 0.0, min_entropy: 0.0, ..bare() })
            .is_empty()
    );
}

/// Sixty problems with a solution each, one of them far too long; shards in both orders.
#[test]
fn a_length_outlier_is_told_from_all_shards_in_any_order() {
    let problems: Vec<Problem> = (0..60).map(|n| problem(&format!("p{n}"), CLIPS, "72")).collect();
    let prose = "and so on and on, ".repeat(80);
    let long = format!("{prose}48+24=72");
    let solutions: Vec<Solution> = (0..60)
        .map(|n| {
            let second = if n == 7 { long.as_str() } else { "48+24=72" };
            solution(&format!("s{n}"), &format!("p{n}"), "best-of-n", &["48/2=24", second], "72")
        })
        .collect();
    let verdicts: Vec<VerdictRow> = solutions.iter().map(|s| verdict(s, true, None)).collect();
    let config = CurateConfig { length_outliers: 8.0, max_repetition: 0.0, max_compression: 0.0, ..bare() };
    let of = |shards: &[(usize, usize)], config: &CurateConfig| {
        let mut survey = Survey::new(config);
        assert_eq!(survey.needs(), (config.length_outliers > 0.0, config.length_outliers > 0.0));
        for &(from, to) in shards {
            survey.shard(&problems[from..to], &solutions[from..to], &verdicts[from..to]).unwrap();
        }
        curate(&problems, &solutions, &verdicts, &survey.finish(), &Silent).unwrap()
    };
    let curated = of(&[(0, 20), (20, 60)], &config);
    assert_eq!(curated, of(&[(20, 60), (0, 20)], &config));
    assert_eq!(curated.dropped.len(), 1);
    let (reason, evidence) = why(&curated.dropped, "s7");
    assert_eq!(reason, "length_outlier");
    assert!(evidence.contains("characters") && evidence.contains("limit 8"), "{evidence}");
    assert!(
        of(&[(0, 20), (20, 60)], &CurateConfig { length_outliers: 0.0, ..config.clone() }).dropped.is_empty()
    );
    assert!(of(&[(0, 20)], &config).dropped.is_empty(), "twenty are too few to tell what is usual");
}

#[test]
fn a_held_out_question_is_dropped_with_its_evidence_and_gives_no_labels() {
    let (problems, solutions) = ([problem("clips", &CLIPS.replace("Ann", "Zoe"), "72")], everything());
    let verdicts = verify(&Domains::default(), &problems, &solutions, &Silent).unwrap();
    let with = |rule, held: &str| {
        let config = CurateConfig { contamination: rule, ..bare() };
        let mut survey = Survey::new(&config);
        survey.hold("test problem x".into(), held);
        survey.shard(&problems, &[], &[]).unwrap();
        curate(&problems, &solutions, &verdicts, &survey.finish(), &Silent).unwrap()
    };
    let curated = with(Contamination::SameNumbers, CLIPS);
    let (reason, evidence) = why(&curated.dropped, "first");
    assert_eq!(reason, "contaminated");
    assert!(
        evidence.ends_with("and the same numbers as test problem x")
            && evidence.starts_with("`@ sold # clips"),
        "{evidence}"
    );
    assert_eq!(why(&curated.dropped, "wrong").0, "not_correct", "the first reason counts");
    assert!(curated.kept.is_empty() && curated.step_labels.is_empty() && curated.preferences.is_empty());
    let renumbered = CLIPS.replace("48", "50");
    assert!(!with(Contamination::SameNumbers, &renumbered).kept.is_empty());
    assert!(with(Contamination::Masked, &renumbered).kept.is_empty());
    assert!(!with(Contamination::Off, CLIPS).kept.is_empty());
}

#[test]
fn bands_and_rates_go_by_samples() {
    let problems = [problem("clips", CLIPS, "72")];
    let mut solutions = vec![clips("right", &["48/2=24", "48+24=72"], "72")];
    solutions.extend((0..3).map(|n| clips(&format!("wrong{n}"), &["48*2=96"], "96")));
    solutions.push(solution("rule", "clips", "best-first", &["48*2=96", "96*3/4=72"], "72"));
    let verdicts: Vec<VerdictRow> =
        solutions.iter().map(|s| verdict(s, s.final_answer == "72", None)).collect();
    let of = |config: CurateConfig, solutions: &[Solution]| {
        curate(&problems, solutions, &verdicts, &context(&config), &Silent).unwrap()
    };
    let hard = of(CurateConfig { min_pass_rate: 0.3, ..bare() }, &solutions);
    assert_eq!(why(&hard.dropped, "right"), ("too_hard", "1 of 4 samples correct, limit 0.3"));
    assert_eq!(why(&hard.dropped, "rule").0, "too_hard");
    let easy = of(CurateConfig { max_pass_rate: 0.2, ..bare() }, &solutions);
    assert_eq!(why(&easy.dropped, "right"), ("too_easy", "1 of 4 samples correct, limit 0.2"));
    let all = of(bare(), &solutions);
    assert_eq!(ids(&all), ["right", "rule"]);
    for row in &all.kept {
        assert!((row.pass_rate - 0.25).abs() < 1e-6 && (row.weight - 0.5).abs() < 1e-6, "{row:?}");
    }
    let rate = rates(&solutions, &verdicts).unwrap()["clips"];
    assert!(rate.sampled && (rate.correct, rate.of) == (1, 4), "{rate:?}");
    // An answer that cannot be read is neither right nor wrong.
    let (mut unread, mut with_unread) = (clips("unread", &["48/2=24"], "many"), solutions.clone());
    with_unread.push(unread.clone());
    let judged = verify(&Domains::default(), &problems, &with_unread, &Silent).unwrap();
    assert_eq!(judged.last().unwrap().judgement.verdict, Verdict::Undecidable);
    assert_eq!(rates(&with_unread, &judged).unwrap()["clips"], rate);
    unread.problem_id = "other".into();
    let other = problem("other", CLIPS, "72");
    let judged = verify(&Domains::default(), &[other], &[unread.clone()], &Silent).unwrap();
    let unknown = rates(&[unread], &judged).unwrap()["other"];
    assert!(!unknown.sampled && unknown.of == 0, "{unknown:?}");
    // What only the enumeration solved has no rate.
    let alone = of(CurateConfig { min_pass_rate: 0.3, max_pass_rate: 0.5, ..bare() }, &solutions[4..]);
    assert_eq!(ids(&alone), ["rule"]);
    assert!(!rates(&solutions[4..], &verdicts).unwrap()["clips"].sampled);
}

#[test]
fn duplicates_by_graph_by_text_and_not_at_all() {
    let problems = [problem("clips", CLIPS, "72")];
    let solutions = [
        clips("a", &["48/2=24", "48+24=72"], "72"),
        clips("b", &["In May 48 / 2 = 24 clips", "48 + 24 = 72"], "72"),
        clips("c", &["48/2=24", "24+48=72"], "72"),
    ];
    let kept = |duplicates| {
        let curated = run(&problems, &solutions, &CurateConfig { duplicates, ..bare() });
        assert!(curated.dropped.iter().all(|d| d.reason == "duplicate" && d.evidence == "a"));
        ids(&curated).join(" ")
    };
    assert_eq!(kept(Duplicates::Graph), "a");
    assert_eq!(kept(Duplicates::Text), "a c");
    assert_eq!(kept(Duplicates::Off), "a b c");
}

#[test]
fn what_is_chosen_beyond_the_first_is_different() {
    let problems = [problem("clips", CLIPS, "72")];
    let paths: [&[&str]; 3] = [&["48/2=24", "48+24=72"], &["48/2=24", "24*3=72"], &["48*3=144", "144/2=72"]];
    let mut solutions = Vec::new();
    for (n, (votes, path)) in [4, 3, 1].into_iter().zip(paths).enumerate() {
        solutions.extend((0..votes).map(|vote| clips(&format!("{n}{vote}"), path, "72")));
    }
    let verdicts: Vec<VerdictRow> = solutions.iter().map(|s| verdict(s, true, None)).collect();
    let kept = |choose, per_problem| {
        let context = context(&CurateConfig { per_problem, choose, ..bare() });
        let curated = curate(&problems, &solutions, &verdicts, &context, &Silent).unwrap();
        assert_eq!(curated.dropped.iter().filter(|d| d.reason == "over_cap").count(), 3 - per_problem);
        ids(&curated).join(" ")
    };
    assert_eq!(kept(Choose::Votes, 2), "00 10");
    assert_eq!(kept(Choose::Diverse, 2), "00 20");
    assert_eq!(kept(Choose::Votes, 1), kept(Choose::Diverse, 1));
}

#[test]
fn ambiguous_problems_are_dropped_where_asked() {
    let problems = [problem("clips", CLIPS, "72")];
    let solutions = [clips("a", &["48/2=24", "48+24=72"], "72"), clips("b", &["48*2=96", "96*3/4=72"], "72")];
    let verdicts: Vec<VerdictRow> = solutions.iter().map(|s| verdict(s, true, None)).collect();
    let of = |drop_ambiguous| {
        let context = context(&CurateConfig { drop_ambiguous, ..bare() });
        curate(&problems, &solutions, &verdicts, &context, &Silent).unwrap()
    };
    let curated = of(true);
    assert_eq!(
        (why(&curated.dropped, "a"), why(&curated.dropped, "b")),
        (("ambiguous", "b"), ("ambiguous", "a"))
    );
    assert!(of(false).dropped.is_empty());
}

#[test]
fn labels_end_at_the_first_wrong_step() {
    let curated = run(&[problem("clips", CLIPS, "72")], &everything(), &bare());
    let labels = |id: &str| {
        let row = curated.step_labels.iter().find(|row| row.solution_id == id).unwrap();
        assert!(row.completions.len() == row.labels.len() && row.labels.len() == row.values.len());
        (
            row.labels.clone(),
            row.values.iter().map(|v| (v * 100.0).round() as i32).collect::<Vec<_>>(),
            row.tries.clone(),
        )
    };
    // `first`, `again` and `near` begin alike, and two of the three come right.
    assert_eq!(labels("first"), (vec![true, true], vec![67, 100], vec![3, 2]));
    assert_eq!(labels("near"), (vec![true, false], vec![67, 0], vec![3, 1]));
    assert_eq!(labels("false").0, [false]);
    assert!(curated.step_labels.iter().all(|row| row.solution_id != "again"), "the same steps are one row");
    let unsolved = run(&[problem("clips", CLIPS, "72")], &everything()[4..5], &bare());
    assert!(unsolved.step_labels.is_empty(), "nobody knows which step of it is wrong");
    assert!(
        run(&[problem("clips", CLIPS, "72")], &everything(), &CurateConfig { step_labels: false, ..bare() })
            .step_labels
            .is_empty()
    );
}

#[test]
fn pairs_part_as_late_as_they_can() {
    let problems = [problem("clips", CLIPS, "72")];
    let pairs =
        |preferences| run(&problems, &everything(), &CurateConfig { preferences, ..bare() }).preferences;
    let shown: Vec<_> =
        pairs(9).into_iter().map(|p| (p.chosen_id, p.rejected_id, p.margin, p.reason)).collect();
    let ends = |row: &(String, String, f32, String)| (row.0.clone(), row.1.clone());
    assert_eq!(
        shown[..2].iter().map(ends).collect::<Vec<_>>(),
        [("odd", "wrong"), ("first", "near")].map(|(a, b)| (a.into(), b.into()))
    );
    assert!(
        shown[..2].iter().all(|(.., margin, reason)| (margin - 1.0).abs() < 1e-6 && reason == "not_correct")
    );
    let (.., margin, reason) = shown.iter().find(|(_, rejected, ..)| rejected == "false").unwrap();
    assert!((margin - 0.5).abs() < 1e-6 && reason == "wrong_steps");
    let rejected: BTreeSet<&String> = shown.iter().map(|(_, rejected, ..)| rejected).collect();
    assert_eq!(rejected.len(), shown.len(), "a rejected text is used once");
    assert_eq!(pairs(1).len(), 1);
    assert!(pairs(0).is_empty());
    assert_eq!(
        (&*pairs(1)[0].chosen, &*pairs(1)[0].rejected),
        ("48*2=96\n96*3/4=72\n#### 72", "48*2=96\n#### 96")
    );
}

#[test]
fn wrong_answers_are_kept_where_that_is_asked_for() {
    let problems = [problem("clips", CLIPS, "72")];
    let mut solutions = everything();
    solutions.push(clips("silent", &["48*3=144"], ""));
    let with = |keep, faults: &[FaultKind]| {
        run(&problems, &solutions, &CurateConfig { keep, faults: faults.to_vec(), preferences: 9, ..bare() })
    };
    assert_eq!(ids(&with(Keep::Correct, &FaultKind::ALL)), ["odd", "first"]);
    assert_eq!(ids(&with(Keep::Correct, &[])), ["odd", "first", "false"]);
    let all = with(Keep::All, &[]);
    assert_eq!(ids(&all), ["odd", "first", "false", "wrong", "near"]);
    let (reason, evidence) = why(&all.dropped, "silent");
    assert_eq!((reason, evidence), ("not_correct", "wrong: no_answer"));
    // Pairs still prefer right to wrong, and labels of steps are those of the verdicts.
    let wrong = ["wrong", "near"];
    let pairs = &all.preferences;
    assert!(pairs.iter().any(|p| p.rejected_id == "wrong") && pairs.iter().any(|p| p.rejected_id == "near"));
    assert!(pairs.iter().all(|p| !wrong.contains(&p.chosen_id.as_str()) && p.reason == "not_correct"));
    assert_eq!(all.step_labels, with(Keep::Correct, &[]).step_labels);
    // Steps are checked whatever the answer.
    let checked = with(Keep::All, &FaultKind::ALL);
    assert_eq!(why(&checked.dropped, "false").0, "wrong_steps");
}

#[test]
fn the_answer_line_is_the_runs_own() {
    let answer_line = "The answer is \\boxed{{answer}}.".to_owned();
    let config = CurateConfig { answer_line, preferences: 1, ..bare() };
    let curated = run(&[problem("clips", CLIPS, "72")], &everything(), &config);
    let at = ids(&curated).iter().position(|id| *id == "first").unwrap();
    assert_eq!(curated.kept[at].completion, "48/2=24\n48+24=72\nThe answer is \\boxed{72}.");
    let [pair] = &curated.preferences[..] else { panic!("one pair") };
    let ends: Vec<_> = [&pair.chosen, &pair.rejected].map(|text| text.lines().last().unwrap()).into();
    assert!(ends.iter().all(|end| end.starts_with("The answer is \\boxed{")), "{ends:?}");
}

#[test]
fn stories_end_where_the_solution_did() {
    let (problems, solutions) = ([problem("clips", CLIPS, "72")], everything());
    let verdicts = verify(&Domains::default(), &problems, &solutions, &Silent).unwrap();
    let context = context(&CurateConfig { per_problem: 1, ..bare() });
    let curated = curate(&problems, &solutions, &verdicts, &context, &Silent).unwrap();
    for solution in &solutions {
        let told = story(&problems[0], &solutions, &verdicts, &solution.solution_id, &context).unwrap();
        assert_eq!(told.rules.len(), 15);
        match curated.dropped.iter().find(|d| d.solution_id == solution.solution_id) {
            None => assert!(told.end == "kept" && told.weight.is_some()),
            Some(dropped) => {
                assert_eq!((&told.end, &told.evidence), (&dropped.reason, &dropped.evidence));
                let ended = told.rules.iter().find(|r| r.outcome == "drops").unwrap();
                assert_eq!(ended.rule, dropped.reason, "the first rule that drops");
            }
        }
    }
    let told = story(&problems[0], &solutions, &verdicts, "again", &context).unwrap();
    assert_eq!(told.other.as_deref(), Some("first"));
    assert!(story(&problems[0], &solutions, &verdicts, "none", &context).is_err());
}

#[test]
fn what_does_not_belong_together_is_an_error() {
    let solutions = everything();
    let verdicts =
        verify(&Domains::default(), &[problem("clips", CLIPS, "72")], &solutions, &Silent).unwrap();
    let failed = |problems: &[Problem], verdicts: &[VerdictRow]| {
        curate(problems, &solutions, verdicts, &context(&bare()), &Silent).unwrap_err().to_string()
    };
    assert!(
        failed(&[problem("other", CLIPS, "72")], &verdicts)
            .contains("6 solutions answer problems that are not in this shard")
    );
    assert!(failed(&[problem("clips", CLIPS, "72")], &verdicts[1..]).contains("solution odd has no verdict"));
    assert!(
        failed(&[problem("clips", CLIPS, "72"), problem("clips", "?", "1")], &verdicts)
            .contains("1 problems of this shard")
    );
}

/// Some problems with solutions of all kinds.
fn worlds() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    proptest::collection::vec((0_u8..4, 0_u8..7, any::<bool>()), 0..40)
}

fn built(draws: &[(u8, u8, bool)]) -> (Vec<Problem>, Vec<Solution>, Vec<VerdictRow>) {
    let problems: Vec<Problem> =
        (0..4).map(|n| problem(&format!("p{n}"), &format!("{CLIPS} {n}"), "72")).collect();
    let looped = vec!["and so on with 48/2=24 of the clips again and again"; 8];
    let solutions: Vec<Solution> = draws
        .iter()
        .enumerate()
        .map(|(at, (of, kind, enumerated))| {
            let steps: &[&str] = match kind {
                0 => &["48/2=24", "48+24=72"],
                1 => &["48/2=24", "24+48=72"],
                2 => &["48*2=96", "96*3/4=72"],
                3 => &["48+24=72"],
                4 => &[],
                5 => &looped,
                _ => &["48*2=96"],
            };
            let algorithm = if *enumerated { "best-first" } else { "best-of-n" };
            solution(
                &format!("s{at}"),
                &format!("p{of}"),
                algorithm,
                steps,
                if *kind == 6 { "96" } else { "72" },
            )
        })
        .collect();
    let verdicts = solutions
        .iter()
        .zip(draws)
        .map(|(s, (_, kind, _))| {
            verdict(s, *kind != 6, (*kind == 3).then_some((FaultKind::MadeUpNumber, Some(0))))
        })
        .collect();
    (problems, solutions, verdicts)
}

proptest! {
    #[test]
    fn every_solution_ends_once_whatever_the_rules(
        draws in worlds(), off in 0_usize..11, per_problem in 1_usize..4, diverse in any::<bool>(), drop_ambiguous in any::<bool>(),
    ) {
        let (problems, solutions, verdicts) = built(&draws);
        let mut config = CurateConfig { per_problem, drop_ambiguous, min_pass_rate: 0.3, max_pass_rate: 0.9, min_agreement: 1, use_all_numbers: true, ..CurateConfig::default() };
        config.choose = if diverse { Choose::Diverse } else { Choose::Votes };
        let silenced = match off {
            0 => { config.faults = Vec::new(); "wrong_steps" }
            1 => { config.max_repetition = 0.0; "repetition" }
            2 => { config.max_compression = 0.0; "compressible" }
            3 => { config.min_entropy = 0.0; "low_entropy" }
            4 => { config.min_pass_rate = 0.0; "too_hard" }
            5 => { config.max_pass_rate = 1.0; "too_easy" }
            6 => { config.duplicates = Duplicates::Off; "duplicate" }
            7 => { config.min_agreement = 0; "unconfirmed" }
            8 => { config.use_all_numbers = false; "unused_number" }
            9 => { config.drop_ambiguous = false; "ambiguous" }
            _ => { config.per_problem = 1000; "over_cap" }
        };
        let context = context(&config);
        let curated = curate(&problems, &solutions, &verdicts, &context, &Silent).unwrap();
        let mut ended: Vec<&str> = ids(&curated);
        ended.extend(curated.dropped.iter().map(|d| d.solution_id.as_str()));
        ended.sort_unstable();
        let mut all: Vec<&str> = solutions.iter().map(|s| s.solution_id.as_str()).collect();
        all.sort_unstable();
        prop_assert_eq!(ended, all);
        prop_assert!(curated.dropped.iter().all(|d| d.reason != silenced && !d.evidence.is_empty()));
        let mut of_problem: BTreeMap<&str, (usize, f32)> = BTreeMap::new();
        for row in &curated.kept {
            let (rows, weight) = of_problem.entry(&row.problem_id).or_default();
            *rows += 1;
            *weight += row.weight;
        }
        prop_assert!(of_problem.values().all(|(rows, weight)| *rows <= config.per_problem && (weight - 1.0).abs() < 1e-5));

        // Shards and the order of problems make no difference to what becomes of a solution.
        let mut parts = Curated::default();
        for problem in problems.iter().rev() {
            let own: Vec<Solution> = solutions.iter().filter(|s| s.problem_id == problem.problem_id).cloned().collect();
            let part = curate(std::slice::from_ref(problem), &own, &verdicts, &context, &Silent).unwrap();
            let mut before = std::mem::replace(&mut parts, part);
            parts.kept.append(&mut before.kept);
            parts.dropped.append(&mut before.dropped);
            parts.step_labels.append(&mut before.step_labels);
            parts.preferences.append(&mut before.preferences);
        }
        prop_assert_eq!(parts, curated);
    }

    #[test]
    fn labels_and_pairs_are_well_formed(draws in worlds()) {
        let (problems, solutions, verdicts) = built(&draws);
        let curated = curate(&problems, &solutions, &verdicts, &context(&bare()), &Silent).unwrap();
        for row in &curated.step_labels {
            let wrong = row.labels.iter().position(|label| !label);
            prop_assert!(wrong.is_none_or(|at| at + 1 == row.labels.len()));
            prop_assert!(row.values.iter().all(|value| (0.0..=1.0).contains(value)) && row.tries.is_sorted_by(|a, b| a >= b));
        }
        let kept = ids(&curated);
        for pair in &curated.preferences {
            prop_assert!(kept.contains(&pair.chosen_id.as_str()) && !kept.contains(&pair.rejected_id.as_str()));
            prop_assert!(pair.chosen != pair.rejected);
        }
    }
}
