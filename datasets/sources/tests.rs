//! Ids, copies and splits are fixed by content.

use super::*;

fn raw(question: &str, answer: &str) -> Raw {
    Raw {
        question: question.into(),
        answer: answer.into(),
        difficulty: 1,
        meta: "{}".into(),
        worked: None,
        asked: None,
    }
}

#[test]
fn copies_are_counted_and_have_ids_of_their_own() {
    let mut dedup = Dedup::default();
    let mut copy = |question, answer| dedup.copy("math", "words", &raw(question, answer));
    assert_eq!(
        [copy("a", "1"), copy("b", "1"), copy("a", "1"), copy("a", "2"), copy("a", "1")],
        [0, 0, 1, 0, 2]
    );
    assert_eq!(dedup.distinct(), 3);

    let id = |copy| raw("a", "1").into_problem("math", "words", copy, Split::Train).problem_id;
    assert_ne!(id(0), id(1));
    assert_ne!(id(1), id(2));
    assert_eq!(id(1), id(1));
}

#[test]
fn an_id_hashes_domain_source_question_and_answer_only() {
    let id = |domain, source, raw: Raw, split| raw.into_problem(domain, source, 0, split).problem_id;
    let first = id("math", "words", raw("a", "1"), Split::Train);
    assert_eq!(first.len(), 16);
    let other_meta = Raw { meta: "{\"row\":9}".into(), difficulty: 7, ..raw("a", "1") };
    assert_eq!(first, id("math", "words", other_meta, Split::Test));
    assert_ne!(first, id("countdown", "words", raw("a", "1"), Split::Train));
    assert_ne!(first, id("math", "file", raw("a", "1"), Split::Train));
    assert_ne!(first, id("math", "words", raw("a", "2"), Split::Train));
    assert_ne!(first, id("math", "words", raw("a1", ""), Split::Train));
}

#[test]
fn steps_of_a_generator_are_the_worked_solution() {
    let worked = |meta| generated("q".into(), "3".into(), 1, &meta).worked;
    assert_eq!(worked(serde_json::json!({"solution": ["1+1=2", "2+1=3"]})).as_deref(), Some("1+1=2\n2+1=3"));
    assert_eq!(worked(serde_json::json!({"solution": []})), None);
    assert_eq!(worked(serde_json::json!({"target": 3})), None);
}

#[test]
fn rewrapped_copies_share_a_draw() {
    assert!(
        (split_of("math", "How many\n are there?") - split_of("math", " How many are there? ")).abs()
            < f64::EPSILON
    );
    assert!((split_of("math", "a") - split_of("countdown", "a")).abs() > f64::EPSILON);
}

#[test]
fn shares_of_the_splits_are_met() {
    let mut counts = HashMap::new();
    for n in 0..10_000 {
        *counts.entry(split_at(split_of("math", &n.to_string()), 0.2, 0.1)).or_insert(0) += 1;
    }
    assert!((1_800..2_200).contains(&counts[&Split::Test]), "{counts:?}");
    assert!((850..1_150).contains(&counts[&Split::Validation]), "{counts:?}");
    assert_eq!(split_at(0.0, 0.0, 0.0), Split::Train);
    assert_eq!(split_at(0.999_999, 0.0, 0.0), Split::Train);
}
