use super::*;
use crate::types::Verdict;

/// More digits than are read.
const MAX_DIGITS: usize = 512;
use proptest::prelude::*;

fn reason(gold: &str, predicted: &str) -> &'static str {
    compare(gold, predicted).reason
}

#[test]
fn same_answers() {
    for (gold, predicted) in [
        ("18", "18"),
        ("18", "18.00"),
        ("18", "$18"),
        ("18", "$18.00."),
        ("18", "18 dollars"),
        ("18", "18 clips per day"),
        ("18", "x = 18"),
        ("18", "3*6 = 18"),
        ("18", "**18**"),
        ("18", "`18`"),
        ("18", "$18$"),
        ("18", r"\$18"),
        ("18", r"\(18\)"),
        ("18", r"18 \text{ clips}"),
        ("18", "18 (eighteen) clips"),
        ("18", "+18"),
        ("18", "36/2"),
        ("18", "USD 18"),
        ("1234", "1,234"),
        ("1,234,567", "1234567"),
        ("-5", "−5"),
        ("-5", "-$5"),
        ("-5", "$-5"),
        ("0.75", "3/4"),
        ("3/4", ".75"),
        ("3/4", r"\frac{3}{4}"),
        ("3/4", "6/8 cups"),
        ("1.25", "1 1/4"),
        ("-1.25", "-1 1/4"),
        ("1.25", r"1\dfrac{1}{4}"),
        ("2000000", "2 million"),
        ("60", "60 km/h"),
        ("12", "12 cm^2"),
        ("12", "12 cm²"),
        ("28%", "28 percent"),
        ("28%", "28%"),
        ("28", "28%"),
        ("0.28", "28%"),
        ("12.5", "12.5%"),
        ("28%", "0.28"),
        ("100", "100%"),
        ("0", "0%"),
        ("100000000000000000000000000001", "100,000,000,000,000,000,000,000,000,001"),
        ("Tuesday", " tuesday. "),
        ("3:00", "3:00"),
        ("x", "**X**"),
    ] {
        assert_eq!(reason(gold, predicted), "correct", "{gold} and {predicted}");
    }
}

#[test]
fn other_answers() {
    for (gold, predicted, expected) in [
        ("18", "18.01", "wrong_answer"),
        ("18", "-18", "wrong_answer"),
        ("18", "1.8", "wrong_answer"),
        ("1", "0.9999999999999999999", "wrong_answer"),
        ("0.33", "1/3", "wrong_answer"),
        ("1", "100%", "wrong_answer"),
        ("0.5", "0.5%", "wrong_answer"),
        ("28", "2800%", "wrong_answer"),
        ("28%", "2800", "wrong_answer"),
        ("100000000000000000000000000001", "100000000000000000000000000000", "wrong_answer"),
        ("18", "", "no_answer"),
        ("18", "  ", "no_answer"),
        ("18", "** **", "no_answer"),
        ("18", "eighteen", "correct"),
        ("18", "eighty", "wrong_answer"),
        ("18", "a few", "answer_unreadable"),
        ("18", "about 18", "answer_unreadable"),
        ("18", "~18", "answer_unreadable"),
        ("18", "18 or 19", "other_kind"),
        ("18", "18-20", "other_kind"),
        ("18", "18 19", "answer_unreadable"),
        ("2", "2 and 1/2", "other_kind"),
        ("2", "2 and a half", "answer_unreadable"),
        ("5", "5π", "wrong_answer"),
        ("5", r"5\pi", "wrong_answer"),
        ("5", "5x", "wrong_answer"),
        ("5", "5²", "wrong_answer"),
        ("5", "5^2", "wrong_answer"),
        ("1", "1e5", "wrong_answer"),
        ("3", "3:00", "other_kind"),
        ("1", "1,23", "other_kind"),
        ("5", "5/0", "other_kind"),
        ("Tuesday", "Monday", "gold_unreadable"),
        ("Tuesday", "18", "gold_unreadable"),
        ("", "18", "gold_unreadable"),
    ] {
        assert_eq!(reason(gold, predicted), expected, "{gold} and {predicted}");
    }
    let long = "9".repeat(MAX_DIGITS + 1);
    assert_eq!(compare("9", &long).verdict, Verdict::Undecidable);
    assert_eq!(compare(&long, "9").reason, "out_of_fuel");
}

#[test]
fn readings_are_reported() {
    let found = compare("1,234", "28 %");
    assert_eq!((found.gold_read.as_str(), found.predicted_read.as_str()), ("1234", "28%"));
}

#[test]
fn completions() {
    for (text, steps, answer) in [
        ("48/2=24\n\n 48+24=72 \n#### 72\n", &["48/2=24", "48+24=72"][..], "72"),
        ("a\n#### 1\nb\n#### 2", &["a", "#### 1", "b"], "2"),
        ("The answer is 3\n#### 4", &["The answer is 3"], "4"),
        ("#### 4\nthe answer is 3", &[], "4"),
        ("so \\boxed{1}\n#### 2", &["so \\boxed{1}"], "2"),
        ("3*4 = \\boxed{12}.", &["3*4 = 12."], "12"),
        ("x\n\\boxed{\\frac{3}{4}} ok\n\\boxed{cut", &["x"], "\\frac{3}{4}"),
        ("1+1=2\nA: 2", &["1+1=2"], "2"),
        ("1+1=2\n**Answer:** $2", &["1+1=2"], "$2"),
        ("1+1=2\n**Final Answer**: 2", &["1+1=2"], "2"),
        ("1+1=2\nAnswer:\n\n2 clips", &["1+1=2"], "2 clips"),
        ("3*4=13. The answer is: 13.5. Bye.", &["3*4=13."], "13.5"),
        ("The Answer is 5", &[], "5"),
        ("Apples: 5\nno marker", &["Apples: 5", "no marker"], ""),
        ("", &[], ""),
    ] {
        let found = split_completion(text);
        assert_eq!(found, (steps.iter().map(|&s| s.to_owned()).collect(), answer.to_owned()), "{text}");
    }
}

#[test]
fn a_formula_or_code_over_several_lines_is_one_step() {
    let steps = |text: &str| split_completion(text).0;
    let half = "\\[\n\\frac{48}{2} = 24\n\\]";
    let text = format!("In May:\n{half}\nSo in all\n$$ 48 + 24\n= 72 $$\nthat is\n\\[\n\\boxed{{72}}\n\\]");
    let expected = ["In May:", half, "So in all", "$$ 48 + 24\n= 72 $$", "that is"];
    assert_eq!(split_completion(&text), (expected.map(str::to_owned).to_vec(), "72".to_owned()));
    // What the answer's formula computes is a step, whole again.
    let text = "So\n\\[\n3 \\times 4 = \\boxed{12}\n\\]\nDone.";
    assert_eq!(steps(text), ["So", "\\[\n3 \\times 4 = 12\n\\]"]);
    assert_eq!(steps("\\[\n3*4 =\n\\boxed{12}\n\\]"), ["\\[\n3*4 =\n12\n\\]"]);
    let code = "```python\nfor i in range(3):\n    print(i)\n```";
    assert_eq!(steps(&format!("Look:\n\n{code}\n#### 3")), ["Look:", code]);
    assert_eq!(steps("```\n1+1=2\n#### 2\n```"), ["1+1=2"], "the whole answer is written as code");
    // Cut off, or no formula at all.
    assert_eq!(steps("a\n\\[\n3*4\n#### 12"), ["a", "\\[", "3*4"]);
    assert_eq!(steps("It costs $$5.\nTwo cost $$10.\n#### 10"), ["It costs $$5.", "Two cost $$10."]);
    let long = format!("$$\n{}", "1+1=2\n".repeat(80));
    assert_eq!(steps(&format!("{long}#### 2")).len(), 81);
    let read = read_completion(&text.replace("So", "Só"));
    assert_eq!(read.spans.len(), read.lines.len());
    for (text, open) in [
        ("so \\[ 3*4", true),
        ("so \\[ 3*4 \\]", false),
        ("\\begin{align*} x &= 1 \\\\[2pt]", true),
        ("```\n1+1", true),
        ("<think>\n1+1", true),
        ("<think>1+1</think>\n", false),
        ("3*4=12\n", false),
    ] {
        assert_eq!(is_open(text), open, "{text}");
    }
}

#[test]
fn markers_of_ones_own_come_first() {
    let markers = ["RESULT".to_owned(), "=>".to_owned()];
    let reader = Reader { markers: &markers, ..Reader::default() };
    let read = |text: &str| reader.completion(text);
    let found = read("3*4=12\n\\boxed{11} => 12\nThanks.");
    assert_eq!((found.answer.as_str(), found.lines), ("12", vec!["3*4=12".into(), "\\boxed{11}".into()]));
    assert_eq!(read("=> 11\nRESULT\n12").answer, "12");
    assert_eq!(read("RESULT: 12\n#### 11").answer, "12");
    assert_eq!(read("no such word\n#### 12").answer, "12");
    assert_eq!(reader.marked("a => 5").answer, "5");
}

#[test]
fn code_is_an_answer_as_it_stands() {
    let code = "```python\ndef double(n):\n    # 4 -> 8\n    return 2*n\n```";
    // Behind the marker, as students write it: the closing formula of the code is no answer.
    let read = read_completion(&format!("Add it to itself.\n#### {code}\n"));
    assert_eq!((read.answer.as_str(), read.lines), (code, vec!["Add it to itself.".to_owned()]));
    assert_eq!(read_completion(&format!("####\n{code}")).answer, code);
    // In a model's own words.
    let reader = Reader { form: Form::Code, ..Reader::default() };
    let text = format!(
        "First ```x = 1```, badly:\n```\nx = 2\n```\nBetter:\n\n  {code}\nIt is 8 for 4, the answer is 8."
    );
    let read = reader.completion(&text);
    assert_eq!(read.answer, code);
    assert_eq!(read.lines, ["First ```x = 1```, badly:", "```\nx = 2\n```", "Better:"]);
    for text in ["#### 8", "```python\ndef cut(", "no code"] {
        assert_eq!(reader.completion(text).answer, "", "{text}");
    }
}

#[test]
fn a_whole_text_is_an_answer_on_one_line() {
    let reader = Reader { form: Form::Whole, ..Reader::default() };
    let read = reader.completion("<think>\nred?\n</think>\n{\"colour\":\n  \"red\"}\n");
    assert_eq!((read.answer.as_str(), read.lines.len()), ("{\"colour\": \"red\"}", 0));
    // A text that may go on, and none.
    for read in [reader.marked("red"), reader.completion(" \n")] {
        assert_eq!(read.answer, "");
    }
    assert_eq!(reader.marked("red").lines, ["red"]);
}

#[test]
fn an_answer_is_the_last_match_of_a_pattern() {
    let pattern = Pattern::try_from(r"FINAL\(([^)]*)\)|\[\[(.*?)\]\]".to_owned()).unwrap();
    let reader = Reader { form: Form::Pattern, pattern: Some(&pattern), ..Reader::default() };
    let read = reader.completion("3*4 = 12\nFINAL(1)\nSo 12+1 = 13, FINAL( 13\n pens )\n#### 9");
    assert_eq!(read.answer, "13 pens");
    assert_eq!(read.lines, ["3*4 = 12", "FINAL(1)", "So 12+1 = 13,"]);
    for (text, answer) in [("[[a]] [[b c]]", "b c"), ("#### 9", ""), ("FINAL(2) FINAL()", "2"), ("", "")] {
        assert_eq!(reader.completion(text).answer, answer, "{text}");
    }
    let whole = Pattern::try_from(r"(?m)^[A-D]$".to_owned()).unwrap();
    let read =
        Reader { form: Form::Pattern, pattern: Some(&whole), ..Reader::default() }.completion("Hm.\nB");
    assert_eq!((read.answer.as_str(), read.lines.len()), ("B", 1));
    assert!(Pattern::try_from("(".to_owned()).unwrap_err().contains("unclosed group"));
}

#[test]
fn a_text_ends_behind_its_answer() {
    for (text, ends) in [
        ("a\n#### 72\n", true),
        ("a\n#### ```python\n", false),
        ("a\n#### ```python\nx = 1\n", false),
        ("a\n#### ```python\n# 1\nx = 1\n```\n", true),
        ("a\n#### ```x = 1```\n", true),
        ("a\n```python\nx = 1\n```\n", false),
        ("a\n", false),
    ] {
        assert_eq!(ends_answer(text), ends, "{text}");
    }
}

#[test]
fn headings_are_no_answers() {
    for (line, answer) in [
        ("#### 72", true),
        ("  #### $72", true),
        ("####", true),
        ("#### B", true),
        ("#### **3/4**", true),
        ("#### Step 1: Add", false),
        ("#### **Final Answer:**", false),
        ("#### 2. Add the pens", false),
        ("### 72", false),
        ("72", false),
    ] {
        assert_eq!(is_answer_line(line), answer, "{line}");
    }
}

#[test]
fn thoughts_are_told_apart() {
    let text = "<think>\n3*4=13\n</think>\n3*4=12\n#### 12";
    let read = read_completion(text);
    assert_eq!(
        (&text[read.thought.clone()], &text[read.said..], read.thinking),
        ("3*4=13", "\n3*4=12\n#### 12", false)
    );
    assert_eq!((read.lines, read.answer.as_str()), (vec!["3*4=12".to_owned()], "12"));
    // A prompt may have opened the thought.
    let reader = Reader { thinking: true, ..Reader::default() };
    let cut = reader.completion("So \\boxed{12}, but");
    assert!(cut.thinking && cut.answer.is_empty() && cut.steps.is_empty(), "{cut:?}");
    assert_eq!(reader.completion("3*4=13</think>\n#### 12").answer, "12");
}

#[test]
fn an_undo_takes_back_the_last_step_that_stands() {
    for (text, standing, answer) in [
        ("1+1=2\nundo\n1+2=3\n#### 3", &[2][..], "3"),
        ("a\nb\n undo \n\nundo\nc\nd\n#### 3", &[4, 5], "3"),
        ("a\nb\nundo\nc\nno marker", &[0, 3, 4], ""),
        ("a\nundo", &[], ""),
        // Other words than the line itself take nothing back.
        ("a\nUndo\nundo it\n#### undo", &[0, 1, 2], "undo"),
        ("a\nundo, so \\boxed{4}", &[0], "4"),
    ] {
        let found = read_completion(text);
        assert_eq!(
            (found.steps.as_slice(), found.answer.as_str(), found.overdrawn),
            (standing, answer, false),
            "{text}"
        );
        let steps: Vec<String> = standing.iter().map(|at| found.lines[*at].clone()).collect();
        assert_eq!(split_completion(text), (steps, answer.to_owned()), "{text}");
    }
    for text in ["undo\n#### 3", "a\nundo\nundo\nb\n#### 3", "undo"] {
        let found = read_completion(text);
        assert!(found.overdrawn && found.steps.is_empty() && found.answer.is_empty(), "{text}");
        assert_eq!(split_completion(text), (Vec::new(), String::new()), "{text}");
    }
}

#[test]
fn gold_fields() {
    for (text, expected) in [
        ("Natalia sold 48/2 = <<48/2=24>>24 clips.\n#### 72", "72"),
        ("#### 1\n#### 1,000 \n", "1,000"),
        (" 3/4 ", "3/4"),
        ("#### 5\nlast line", "#### 5\nlast line"),
        ("", ""),
    ] {
        assert_eq!(gold(text), expected);
    }
}

/// Ways to write a whole number.
fn written(n: i64) -> impl Strategy<Value = String> {
    prop_oneof![
        Just(format!("{n}")),
        Just(format!("{n}.0")),
        Just(format!("{n} clips")),
        Just(format!("${n}")),
        Just(format!("x = {n}")),
        Just(format!("**{n}**.")),
        Just(format!("{}/2", 2 * n)),
    ]
}

proptest! {
    #[test]
    fn forms_of_one_number_agree((a, b) in (-9999_i64..9999).prop_flat_map(|n| (written(n), written(n)))) {
        prop_assert_eq!(reason(&a, &b), "correct");
    }

    #[test]
    fn different_numbers_differ(
        (a, b) in (-9999_i64..9999, 1_i64..500).prop_flat_map(|(n, d)| (written(n), written(n + d)))
    ) {
        prop_assert_eq!(reason(&a, &b), "wrong_answer");
    }

    #[test]
    fn numbers_compare_symmetrically(a in r"-?[0-9]{1,3}(\.[0-9]{1,2})?%?", b in r"-?[0-9]{1,3}(\.[0-9]{1,2})?%?") {
        prop_assert_eq!(compare(&a, &b).verdict, compare(&b, &a).verdict);
    }

    /// One answer never matches both a number and its hundredfold, when both are whole.
    #[test]
    fn percent_matches_one_whole_number(p in 1_u32..100_000) {
        let matches = |gold: u32| reason(&gold.to_string(), &format!("{p}%")) == "correct";
        prop_assert!(matches(p));
        prop_assert!(!p.is_multiple_of(100) || !matches(p / 100));
    }

    #[test]
    fn no_panic_on_any_text(a in ".*", b in ".*") {
        let _ = compare(&a, &b);
        let _ = gold(&a);
        let _ = split_completion(&a);
    }

    #[test]
    fn no_panic_on_undone_text(text in "(undo|undo\n|\n|1\\+1=2\n|#### 2)*") {
        let found = read_completion(&text);
        prop_assert!(found.steps.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(found.steps.iter().all(|at| found.lines[*at] != UNDO));
        prop_assert!(!found.overdrawn || found.answer.is_empty());
    }

    #[test]
    fn no_panic_on_marked_text(text in r"([-+*/=x.,$%0-9 {}\n#]|\\boxed\{|\\frac\{|A:|answer is|é)*") {
        let (steps, answer) = split_completion(&text);
        let _ = compare(&answer, &text);
        prop_assert_eq!(read_completion(&text).lines, steps.clone());
        prop_assert!(steps.iter().all(|s| !s.is_empty() && s.trim() == s));
    }
}
