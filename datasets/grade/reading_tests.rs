//! Which rule finds the answer of a text, what `strict` leaves of them, and the three values.

use super::*;

fn read(text: &str) -> (&'static str, String) {
    let found = grade("0", text, &Options::default());
    (found.read_by, found.prediction_read)
}

#[test]
fn the_rule_that_read_an_answer() {
    for (text, rule, answer) in [
        ("so \\boxed{12}", "box", "12"),
        ("so \\boxed 12 apples", "box", "12"),
        ("\\boxed{1} and \\boxed{2}", "box", "1, 2"),
        ("\\boxed{12} by \\boxed{}", "box", "12"),
        ("\\boxed{3}, no.\n#### 12", "hashes", "12"),
        ("\\boxed{3} The answer is 12.", "phrase", "12"),
        ("\\boxed{3}. Answer: 12", "label", "12"),
        ("3*4\n#### 12", "hashes", "12"),
        ("#### Answer\n12", "label", "12"),
        ("# Answer\n\n12 apples", "label", "12"),
        ("**Final answer**\n\\[\n12\n\\]\nThat is all.", "label", "12"),
        ("Answer: 12 because 3*4 is.", "label", "12"),
        ("Good. The answer is\n$12$", "phrase", "12"),
        ("The correct choice is C.", "phrase", "(C)"),
        ("The answer is 12, which is even.", "phrase", "12"),
        ("so <answer> 12 </answer>", "tag", "12"),
        ("{\"steps\": 3, \"answer\": \"12\"}", "json", "12"),
        ("12 apples", "whole", "12"),
        ("\\[\n\\frac{24}{2}\n\\]", "whole", "12"),
        ("We add.\n$$x = 12$$", "formula", "x = 12"),
        ("We add.\n\\begin{align*}\nx &= 3 \\cdot 4\\\\\n&= 12\n\\end{align*}", "formula", "12"),
        ("So it is \\(12\\) in all.", "formula", "12"),
        ("So she pays **12** dollars.", "bold", "12"),
        ("So she pays 48/4 = 12.", "sentence", "12"),
        ("Therefore x ≥ 12 is the solution.", "whole", "x ≥ 12"),
        ("3*2=6 pens, 6*2=12 pens", "sentence", "12"),
        ("She adds 5.\nSo she has 12 left, as 5+7 is.", "sentence", "12"),
        ("I hope this helps. It is 12.\n\nLet me know if you have 3 more!", "sentence", "12"),
        ("She adds.\nThen she rests.", "", ""),
    ] {
        assert_eq!(read(text), (rule, answer.to_owned()), "{text}");
    }
    let rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    let mut seen = rules.clone();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), rules.len());
}

#[test]
fn strict_takes_markers_alone() {
    let strict = Options { strict: true, ..Options::default() };
    for (text, marked) in [
        ("\\boxed{12}", true),
        ("#### 12", true),
        ("Answer: 12", true),
        ("The answer is 12.", true),
        ("<answer>12</answer>", true),
        ("{\"answer\": 12}", true),
        ("12", false),
        ("So it is $12$.", false),
        ("**12**", false),
        ("She has 12.", false),
    ] {
        let found = grade("12", text, &strict);
        assert_eq!(found.verdict == Verdict::Correct, marked, "{text}");
        assert_eq!(found.read_by.is_empty(), !marked, "{text}");
        assert!(marked || found.reason == "no_answer", "{text}: {}", found.reason);
        assert_eq!(grade("12", text, &Options::default()).verdict, Verdict::Correct, "{text}");
    }
    assert_eq!(grade("So it is $12$.", "\\boxed{12}", &strict).reason, "correct", "the gold needs no marker");
}

#[test]
fn what_cannot_be_read_is_not_wrong() {
    for (gold, given, verdict, reason) in [
        ("12", "a dozen or more", Verdict::Undecidable, "answer_unreadable"),
        ("12", "a dozen", Verdict::Correct, "correct"),
        ("12", "The answer is not 12.", Verdict::Undecidable, "answer_unreadable"),
        ("12", "She has about 12.", Verdict::Undecidable, "answer_unreadable"),
        ("12", "", Verdict::Wrong, "no_answer"),
        ("12", "She adds.\nThen she rests.", Verdict::Wrong, "no_answer"),
        ("12", "<think>It is 12", Verdict::Wrong, "no_answer"),
        ("12", "13", Verdict::Wrong, "wrong_answer"),
        ("", "13", Verdict::Undecidable, "gold_unreadable"),
        ("Tuesday", "Monday", Verdict::Undecidable, "gold_unreadable"),
        ("Tuesday", "Tuesday", Verdict::Correct, "correct"),
        ("She adds.\nThen she rests.", "She adds.\nThen she rests.", Verdict::Correct, "correct"),
        (r"\sin 2x", r"$\sin 2x$", Verdict::Correct, "correct"),
    ] {
        let found = grade(gold, given, &Options::default());
        assert_eq!((found.verdict, found.reason), (verdict, reason), "{gold} {given}");
    }
}

#[test]
fn characters_that_take_no_room_or_stand_for_others() {
    for (gold, given) in [
        ("12", "\u{200b}12\u{feff}"),
        ("12", "1\u{2060}2"),
        ("12345", "12\u{2009}345"),
        ("12345", "12\u{202f}345"),
        ("12345", "12\u{a0}345"),
        ("12", "１２"),
        ("12", "१२"),
        ("5 °C", "5℃"),
        ("(1, 2)", "（１，２）"),
    ] {
        assert_eq!(grade(gold, given, &Options::default()).reason, "correct", "{gold} {given:?}");
    }
    assert_eq!(grade("12346", "12\u{2009}345", &Options::default()).reason, "wrong_answer");
    assert_eq!(grade("5 °C", "5 °F", &Options::default()).reason, "other_unit");
}

#[test]
fn a_thought_is_neither_answer_nor_step() {
    let text = "<think>\n3*4=13\nSo \\boxed{13}?\n</think>\n3*4=12\n#### 12";
    assert_eq!(read(text), ("hashes", "12".to_owned()));
    assert_eq!(split_completion(text), (vec!["3*4=12".to_owned()], "12".to_owned()));
    let channels =
        "<|channel|>analysis<|message|>3*4=13<|end|><|start|>assistant<|channel|>final<|message|>3*4=12";
    assert_eq!(split_completion(channels).1, "3*4=12");
    let found = grade_with_steps(None, "12", text, &Options::default());
    assert_eq!((found.reason.as_str(), found.read_by), ("correct", "hashes"));
}
