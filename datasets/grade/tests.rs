use super::limits::MAX_DIGITS;
use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn verdict_of(word: &str) -> Option<Verdict> {
    Some(match word {
        "correct" => Verdict::Correct,
        "wrong" => Verdict::Wrong,
        "undecidable" => Verdict::Undecidable,
        _ => return None,
    })
}

/// `pairs.txt`: a line is `gold | prediction | verdict`; with ` || ` between, where a side holds a bar, and ⏎
/// for line breaks.
#[test]
fn pairs() {
    let table =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/grade/pairs.txt")).expect("the table");
    let (mut count, mut rejects, mut failures) = (0, 0, Vec::new());
    for (i, line) in
        table.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let separator = if line.contains(" || ") { " || " } else { " | " };
        let fields: Vec<&str> = line.split(separator).collect();
        let [gold, given, expected] = fields.as_slice() else { panic!("line {}: {line}", i + 1) };
        let expected = verdict_of(expected.trim()).unwrap_or_else(|| panic!("line {}: {expected}", i + 1));
        let (gold, given) = (gold.replace('⏎', "\n"), given.replace('⏎', "\n"));
        count += 1;
        rejects += usize::from(expected != Verdict::Correct);
        let there = grade(&gold, &given, &Options::default());
        let back = grade(&given, &gold, &Options::default());
        if there.verdict != expected {
            failures.push(format!(
                "line {}: {line}: {:?} {} ({} / {})",
                i + 1,
                there.verdict,
                there.reason,
                there.gold_read,
                there.prediction_read
            ));
        } else if (there.verdict == Verdict::Correct) != (back.verdict == Verdict::Correct) {
            failures.push(format!("line {}: {line}: swapped {:?} {}", i + 1, back.verdict, back.reason));
        }
    }
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 1600 && rejects >= 500, "{count} pairs, {rejects} rejects");
}

#[test]
fn precision_is_asked_for() {
    let with = |gold: &str, given: &str, precision| {
        grade(gold, given, &Options { precision, ..Options::default() }).verdict
    };
    for (gold, given, digits, expected) in [
        ("1/3", "0.33", None, Verdict::Wrong),
        ("1/3", "0.33", Some(2), Verdict::Correct),
        ("1/3", "0.34", Some(2), Verdict::Wrong),
        (r"\pi", "3.14", Some(2), Verdict::Correct),
        (r"\pi", "3.14", Some(3), Verdict::Wrong),
        (r"\sqrt{2}", "1.414", Some(3), Verdict::Correct),
        ("(1/3, 2/3)", "(0.33, 0.67)", Some(2), Verdict::Correct),
        ("1000000", "1000001", Some(2), Verdict::Wrong),
    ] {
        assert_eq!(with(gold, given, digits), expected, "{gold} {given} {digits:?}");
        assert_eq!(
            with(given, gold, digits) == Verdict::Correct,
            expected == Verdict::Correct,
            "{gold} {given} {digits:?}"
        );
    }
}

#[test]
fn reasons_and_readings() {
    for (gold, given, reason, gold_read, given_read) in [
        ("1,234", "1234.0", "correct", "1234", "1234"),
        (r"\frac{3}{4}", "36/48", "correct", "0.75", "0.75"),
        ("18", "19", "wrong_answer", "18", "19"),
        ("18", "(1, 8)", "other_kind", "18", "(1, 8)"),
        ("5 kg", "5 m", "other_unit", "5", "5"),
        ("18", "many", "answer_unreadable", "18", "many"),
        ("18", "5/0", "other_kind", "18", "5/0"),
        ("18", "", "no_answer", "18", ""),
        ("18", "First this.\nThen that.", "no_answer", "18", ""),
        ("Tuesday", "Monday", "gold_unreadable", "tuesday", "monday"),
        (r"\sin 2x", r"2\sin x\cos x", "not_decided", "sin(2*x)", "2*sin(x)*cos(x)"),
        ("yes", "True", "correct", "yes", "yes"),
        ("(B)", r"\textbf{(B)}\ 12", "correct", "(B)", "(B) 12"),
    ] {
        let found = grade(gold, given, &Options::default());
        assert_eq!(
            (found.reason, found.gold_read.as_str(), found.prediction_read.as_str()),
            (reason, gold_read, given_read),
            "{gold} {given}"
        );
        assert!(found.sentence().ends_with('.'));
    }
    let long = "9".repeat(MAX_DIGITS + 1);
    for (gold, given) in [(long.as_str(), "9"), ("9", long.as_str())] {
        assert_eq!(compare(gold, given).reason, "out_of_fuel");
    }
    assert_eq!(compare("1", &"1+".repeat(600)).reason, "out_of_fuel");
    assert_eq!(compare("1", &format!("{}1{}", "(".repeat(200), ")".repeat(200))).reason, "out_of_fuel");
}

#[test]
fn extraction() {
    for (text, expected) in [
        ("she answered 35 questions\n#### 12", "12"),
        ("A: 5\n#### 12", "12"),
        ("#### 3\n\\boxed{12}", "12"),
        ("\\boxed{3}\nno: \\boxed{\\frac{24}{2}}", "12"),
        ("\\boxed{\\text{so } \\boxed{12}}", "12"),
        ("\\boxed{12} and a box cut off \\boxed{4", "12"),
        ("The answer is 3.\nA: 12", "12"),
        ("Answer: 3\n**Final answer:** 12", "12"),
        ("The answer is 3. The answer is 12. Good.", "12"),
        ("The Answer Is: **12**", "12"),
        ("12", "12"),
        ("#### 12\r\n", "12"),
    ] {
        let found = grade("12", text, &Options::default());
        assert_eq!(found.reason, "correct", "{text}: {}", found.prediction_read);
        assert_eq!(grade(text, expected, &Options::default()).reason, "correct", "{text}");
    }
    let both = grade("1, 2", "$\\boxed{2}$ and $\\boxed{1}$", &Options::default());
    assert_eq!(both.reason, "correct", "{both:?}");
    assert_eq!(grade("2", "$\\boxed{1}$, $\\boxed{2}$", &Options::default()).reason, "other_kind");
}

/// Answers of GSM8K, each with its worked solution, from the file that `QSTILL_GSM8K` names.
fn gsm8k() -> Vec<(String, String)> {
    let path = std::env::var("QSTILL_GSM8K").expect("QSTILL_GSM8K names a file of GSM8K");
    let text = std::fs::read_to_string(&path).expect(&path);
    let rows = text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON object");
        let solution = row["answer"].as_str().expect("an answer").to_owned();
        (gold(&solution), solution)
    });
    rows.collect()
}

#[test]
#[ignore = "needs QSTILL_GSM8K"]
fn gsm8k_answers() {
    let rows = gsm8k();
    assert!(rows.len() > 1000, "{}", rows.len());
    for (gold, solution) in &rows {
        let plain = gold.replace(',', "");
        let next = match plain.split_once('.') {
            Some((whole, part)) => format!("{}.{part}", whole.parse::<i64>().expect(gold) + 1),
            None => (plain.parse::<i64>().expect(gold) + 1).to_string(),
        };
        let body = solution.rsplit_once("####").expect(solution).0;
        for (x, reason) in [(gold, "correct"), (&next, "wrong_answer")] {
            let hundredths = if x.contains('.') { x.clone() } else { format!("{x}.00") };
            for text in [
                format!("#### {x}"),
                format!("The answer is {x}."),
                format!("\\boxed{{{x}}}"),
                hundredths,
                format!("${x}"),
                format!("{body}#### {x}"),
            ] {
                assert_eq!(grade(gold, &text, &Options::default()).reason, reason, "{gold} {text}");
                assert_eq!(grade(solution, &text, &Options::default()).reason, reason, "{solution} {text}");
            }
        }
    }
}

#[test]
#[ignore = "measures speed; wants QSTILL_GSM8K"]
fn speed() {
    let rows = gsm8k();
    let short: Vec<(String, String)> =
        rows.iter().map(|(gold, _)| (gold.clone(), format!("The answer is {gold}."))).collect();
    let long: Vec<(String, String)> =
        rows.iter().map(|(_, solution)| (solution.clone(), solution.clone())).collect();
    for (name, pairs) in [("The answer is X.", short), ("full solutions", long)] {
        println!("{name}: {:.0} pairs a second", pairs_per_second(&pairs, Duration::from_secs(3)));
    }
}

/// Pieces of LaTeX and of plain answers, for texts that come far in the parser.
const PIECES: &[&str] = &[
    "1",
    "2",
    "3",
    "12",
    "0.5",
    "1,234",
    "10",
    "7",
    "x",
    "y",
    "n",
    "e",
    "i",
    "\\pi",
    "\\sqrt{",
    "\\sqrt[3]{",
    "\\frac{",
    "}{",
    "}",
    "{",
    "(",
    ")",
    "[",
    "]",
    "+",
    "-",
    "*",
    "/",
    "^",
    "^{",
    "!",
    "\\sin",
    "\\cos ",
    "\\tan",
    "\\ln",
    "\\log_",
    "\\binom{",
    "=",
    "<",
    "\\le",
    ",",
    ";",
    " ",
    "%",
    "$",
    "\\boxed{",
    "####",
    "A:",
    "answer is",
    "\\text{",
    "|",
    "\\pm",
    "\\cup",
    "\\{",
    "\\}",
    "and",
    "or",
    ":",
    ".",
    "\\left(",
    "\\right)",
    "\\infty",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "&",
    "\\\\",
    "½",
    "²",
    "−",
    "°",
    "\n",
    "9^{9^{9",
    "99999999",
    "1e9",
    "\\arctan",
    "\\lfloor",
    "\\rfloor",
    "million",
    "km",
    "é",
    "\\",
    "**",
    "e^{",
    "\\pi i",
    "2004!",
    "<think>",
    "</think>",
    "<answer>",
    "\"answer\": \"",
    "<|im_end|>",
    "<|channel|>final<|message|>",
    "答案是",
    "Question:",
    "# Answer",
    "because",
    "so ",
    "is ",
    "７",
    "\u{200b}",
    "x₁",
    "ℝ",
    "\\mathrm{i}",
    "\\boxed 2",
    "_6",
    "p.m.",
    "March 5",
    "f(3)=",
    "9 apples",
    "≈",
    "(or ",
    "**5**",
    "`",
    "1,23,456",
    "$5",
    "5'6\"",
];

/// Xorshift numbers below a bound.
fn draws(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    }
}

#[test]
#[ignore = "minutes; QSTILL_FUZZ is the number of texts, 10 million by default"]
fn many_inputs() {
    let count: u64 = std::env::var("QSTILL_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    let mut draw = draws(0x1234_5678_9abc_def1);
    let mut slowest: Vec<(Duration, String, String)> = Vec::new();
    let mut least = Duration::ZERO;
    let start = Instant::now();
    for _ in 0..count {
        let mut text = || (0..=draw(14)).map(|_| PIECES[draw(PIECES.len())]).collect::<String>();
        let (gold, mut given) = (text(), text());
        // Two such texts are rarely mathematics both, so every other pair is one of equals but for a part.
        if draw(2) == 0 {
            given = format!("({gold})+1");
        }
        let clock = Instant::now();
        let there = grade(&gold, &given, &Options::default());
        let time = clock.elapsed();
        let back = grade(&given, &gold, &Options::default());
        assert_eq!(
            there.verdict == Verdict::Correct,
            back.verdict == Verdict::Correct,
            "{gold:?} {given:?} {} {}",
            there.reason,
            back.reason
        );
        // A machine with other work to do stretches any of them: many are kept, to be timed again.
        if time > least {
            slowest.push((time, gold, given));
        }
        if slowest.len() >= 400 {
            slowest.sort_by_key(|entry| std::cmp::Reverse(entry.0));
            slowest.truncate(200);
            least = slowest[199].0;
        }
    }
    println!("{count} pairs in {:?}", start.elapsed());
    for (time, gold, given) in &mut slowest {
        let again = || {
            let clock = Instant::now();
            grade(gold, given, &Options::default());
            clock.elapsed()
        };
        *time = (0..20).map(|_| again()).fold(*time, Duration::min);
    }
    slowest.sort_by_key(|entry| std::cmp::Reverse(entry.0));
    println!("slowest, each the best of 20:");
    for (time, gold, given) in slowest.iter().take(5) {
        println!("{time:?}: {gold:?} | {given:?}");
    }
}

fn latex_like() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_panic_on_any_bytes(a in proptest::collection::vec(any::<u8>(), 0..200), b in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (a, b) = (String::from_utf8_lossy(&a), String::from_utf8_lossy(&b));
        let (there, back) = (grade(&a, &b, &Options::default()), grade(&b, &a, &Options::default()));
        prop_assert_eq!(there.verdict == Verdict::Correct, back.verdict == Verdict::Correct);
    }

    #[test]
    fn no_panic_on_latex_like_text(a in latex_like(), b in latex_like(), precision in proptest::option::of(0_u32..20)) {
        let options = Options { precision, ..Options::default() };
        let (there, back) = (grade(&a, &b, &options), grade(&b, &a, &options));
        prop_assert_eq!(there.verdict == Verdict::Correct, back.verdict == Verdict::Correct, "{:?} {:?}", there, back);
        prop_assert_eq!(grade(&a, &b, &options), there);
    }

    /// What can be read is never found different from itself.
    #[test]
    fn an_answer_is_not_wrong_by_itself(a in latex_like()) {
        let found = compare(&a, &a);
        prop_assert!(found.verdict != Verdict::Wrong || matches!(found.reason, "no_answer" | "answer_unreadable"), "{:?}", found);
    }

    /// Sums, products and powers of surds: written out in two ways they are equal, and one more is not.
    #[test]
    fn surds(a in 1_i64..50, b in -20_i64..20, c in 1_i64..50) {
        let square = format!("({a}+{b}\\sqrt{{{c}}})^2");
        let expanded = format!("{}+{}\\sqrt{{{c}}}", a * a + b * b * c, 2 * a * b);
        prop_assert_eq!(compare(&square, &expanded).reason, "correct");
        prop_assert_eq!(compare(&square, &format!("{expanded}+1")).reason, "wrong_answer");
        let root = format!("\\sqrt{{{expanded}}}");
        prop_assert_eq!(compare(&root, &format!("|{a}+{b}\\sqrt{{{c}}}|")).reason, "correct");
    }

    #[test]
    fn polynomials(a in -9_i64..9, b in -9_i64..9, c in 1_i64..9) {
        let product = format!("(x+{a})({c}x+{b}y)");
        let sum = format!("{c}x^2 + {b}xy + {}x + {}y", a * c, a * b);
        prop_assert_eq!(compare(&product.replace("+-", "-"), &sum).reason, "correct");
        prop_assert_eq!(compare(&product, &format!("{sum} + 1/1000000")).reason, "wrong_answer");
        prop_assert_eq!(compare(&format!("\\frac{{{product}}}{{x+{a}}}"), &format!("{c}x+{b}y")).reason, "correct");
    }

    #[test]
    fn fields_agree_with_normal_forms(a in -99_i64..99, b in 1_i64..99, n in 1_i64..6) {
        let read = |text: &str| match read::read(text, Exponents::AsWritten) { Ok(Answer::Value { expr, .. }) => expr, other => panic!("{other:?}") };
        let left = read(&format!("(x+{a}/{b})^{n} + y/{b}"));
        let right = read(&format!("({b}x+{a})^{n}/{b}^{n} + y/{b}"));
        prop_assert_eq!(field::compare(&left, &right), Some(true));
        prop_assert_eq!(field::compare(&left, &read(&format!("(x+{a}/{b})^{n} + y/{}", b + 1))), Some(false));
    }
}
