//! The generator against its promises: exact, grounded, well-formed, varied and repeatable.

use super::table::{Operand, WORLD};
use super::{Dial, Draft, LEXICON, MAX_OPERATIONS, SETTINGS, generate, lexicon_in};
use num_bigint::BigInt;
use num_rational::BigRational;
use std::collections::{BTreeMap, BTreeSet, HashSet};

const DIAL: Dial = Dial { min_operations: 1, max_operations: MAX_OPERATIONS, distractors: 0.3 };

/// An exact number from plain digits with at most one point.
fn rational(text: &str) -> BigRational {
    assert!(text.chars().all(|c| c.is_ascii_digit() || c == '.'), "not plain: {text}");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let numerator: BigInt = format!("{whole}{part}").parse().expect("digits");
    BigRational::new(numerator, BigInt::from(10).pow(part.len() as u32))
}

/// Numbers written in digits in a text.
fn numbers(text: &str) -> Vec<BigRational> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|run| run.trim_matches('.'))
        .filter(|run| !run.is_empty())
        .map(rational)
        .collect()
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    value.as_array().expect("a list").iter().map(|v| v.as_str().expect("a string").to_owned()).collect()
}

fn check_solution(draft: &Draft) {
    let question = &draft.question;
    let given = numbers(question);
    let words: Vec<BigRational> = lexicon_in(question).iter().map(|(_, value)| rational(value)).collect();
    let solution = strings(&draft.meta["solution"]);
    assert_eq!(solution.len(), draft.difficulty as usize, "{question}");
    let mut results: Vec<BigRational> = Vec::new();
    let mut used: BTreeMap<BigRational, u32> = BTreeMap::new();
    for step in &solution {
        let (left, result) = step.split_once('=').expect("an equation");
        let at = left.find(['+', '-', '*', '/']).expect("an operator");
        let (a, b) = (rational(&left[..at]), rational(&left[at + 1..]));
        for operand in [&a, &b] {
            assert!(
                given.contains(operand) || words.contains(operand) || results.contains(operand),
                "{step}: {question}"
            );
            if given.contains(operand) && !results.contains(operand) && !words.contains(operand) {
                *used.entry(operand.clone()).or_default() += 1;
            }
        }
        let value = match &left[at..=at] {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            _ => a / b,
        };
        assert_eq!(value, rational(result), "{step}: {question}");
        results.push(value);
    }
    assert_eq!(results.last(), Some(&rational(&draft.answer)), "{question}");
    let unused = given.iter().filter(|n| !used.contains_key(n)).count();
    let distractor = draft.meta["distractor"].as_bool().expect("a flag");
    assert!(
        unused <= usize::from(distractor) || given.iter().any(|n| results.contains(n) || words.contains(n)),
        "{question}"
    );

    let graph = draft.meta["graph"].as_array().expect("a list");
    assert_eq!(graph.len(), solution.len());
    let mut names: Vec<String> = Vec::new();
    for (node, step) in graph.iter().zip(&solution) {
        for arg in strings(&node["args"]) {
            let number = arg.starts_with(|c: char| c.is_ascii_digit());
            let word = lexicon_in(question).iter().any(|(word, _)| *word == arg);
            assert!(number || word || names.contains(&arg), "{arg}: {question}");
        }
        assert_eq!(Some(node["value"].as_str().expect("text")), step.split('=').next_back());
        names.push(node["name"].as_str().expect("text").to_owned());
    }
}

fn check_text(question: &str) {
    assert!(!question.contains(['{', '}']) && !question.contains("  "), "{question}");
    assert!(question.ends_with('?'), "{question}");
    let mut start = true;
    for (at, c) in question.char_indices() {
        if start && c != ' ' {
            assert!(c.is_uppercase(), "{question}");
            start = false;
        }
        let last = question[at + c.len_utf8()..].chars().next().is_none_or(|next| next == ' ');
        start |= matches!(c, '.' | '?') && last;
    }
    // Numbers are digits or words of the lexicon, nothing else; what a lexicon word names is used.
    let plain = question
        .to_lowercase()
        .replace("three times", "")
        .replace("two thirds", "")
        .replace("three quarters", "");
    for word in plain.split(|c: char| !c.is_alphabetic()) {
        assert!(
            !["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"]
                .contains(&word),
            "{question}"
        );
    }
}

#[test]
fn twenty_thousand_problems_keep_every_promise() {
    let (mut settings, mut templates) = (BTreeSet::new(), BTreeSet::new());
    let mut reached = BTreeSet::new();
    for index in 0..20_000 {
        let draft = generate(7, index, &DIAL);
        check_text(&draft.question);
        check_solution(&draft);
        let setting = draft.meta["setting"].as_str().expect("text").to_owned();
        reached.insert((setting.clone(), draft.difficulty));
        settings.insert(setting);
        templates.extend(strings(&draft.meta["templates"]));
    }
    assert_eq!(settings.len(), SETTINGS.len());
    assert_eq!(reached.len(), SETTINGS.len() * MAX_OPERATIONS as usize, "a setting misses a difficulty");
    let all: usize = WORLD.iter().map(|s| s.relations.len()).sum();
    let missing: Vec<String> = WORLD
        .iter()
        .flat_map(|s| s.relations.iter().map(|r| format!("{}/{}", s.name, r.name)))
        .filter(|name| !templates.contains(name))
        .collect();
    assert!(missing.is_empty(), "{} of {all} never occur: {missing:?}", missing.len());
}

#[test]
fn difficulty_follows_the_dial() {
    let dial = Dial { min_operations: 2, max_operations: 4, distractors: 0.0 };
    let mut count = [0; 9];
    for index in 0..3_000 {
        let draft = generate(1, index, &dial);
        count[draft.difficulty as usize] += 1;
        assert_eq!(draft.meta["distractor"], false);
    }
    assert!(count[2..=4].iter().all(|&n| (880..1_120).contains(&n)), "{count:?}");
    assert_eq!(count[2..=4].iter().sum::<u32>(), 3_000);
}

#[test]
fn same_arguments_same_problem() {
    for index in 0..300 {
        let (a, b) = (generate(3, index, &DIAL), generate(3, index, &DIAL));
        assert_eq!(
            (a.question, a.answer, a.difficulty, a.meta),
            (b.question, b.answer, b.difficulty, b.meta)
        );
    }
    assert_ne!(generate(3, 0, &DIAL).question, generate(4, 0, &DIAL).question);
}

#[test]
fn few_duplicates_and_few_ambiguous_problems() {
    let drafts: Vec<Draft> = (0..5_000).map(|index| generate(11, index, &DIAL)).collect();
    let distinct: HashSet<&str> = drafts.iter().map(|d| d.question.as_str()).collect();
    assert!(distinct.len() > 4_950, "{}", distinct.len());
    let shortcut = drafts.iter().filter(|d| d.difficulty > 1 && one_operation_answers(d)).count();
    assert!(shortcut < 50, "{shortcut}");
}

fn one_operation_answers(draft: &Draft) -> bool {
    let mut pool = numbers(&draft.question);
    pool.extend(lexicon_in(&draft.question).iter().map(|(_, value)| rational(value)));
    let answer = rational(&draft.answer);
    pool.iter().enumerate().any(|(i, a)| {
        let others = pool.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, b)| b).any(|b| [a + b, a - b, a * b, a / b].contains(&answer))
    })
}

#[test]
fn tables_are_complete() {
    let constants: BTreeSet<i64> = LEXICON
        .iter()
        .flat_map(|(_, values)| values.iter().map(|v| v.parse::<i64>().expect("an integer")))
        .collect();
    for setting in WORLD.iter() {
        for relation in setting.relations.iter().chain(&setting.distractors) {
            let name = format!("{}/{}", setting.name, relation.name);
            assert!(relation.texts.len() >= 2, "{name} needs a second phrasing");
            for assignment in &relation.assignments {
                for operand in [Some(assignment.left), assignment.right.map(|(_, operand)| operand)]
                    .into_iter()
                    .flatten()
                {
                    let Operand::Constant(value) = operand else { continue };
                    assert!(constants.contains(&value), "{name}");
                    for text in &relation.texts {
                        assert!(
                            lexicon_in(text).iter().any(|(_, v)| *v == value.to_string()),
                            "{name}: {text}"
                        );
                    }
                }
            }
            for text in &relation.texts {
                for (letter, _) in &relation.numbers {
                    let slot = format!("{{{}}}", char::from(*letter));
                    assert_eq!(text.matches(&slot).count(), 1, "{name}: {text}");
                }
                // Speeds say "hours" without meaning 60.
                let spare = lexicon_in(text).into_iter().filter(|(word, _)| !word.starts_with("hour"));
                for (word, value) in spare {
                    let used = relation.assignments.iter().any(|a| {
                        let operands = [Some(a.left), a.right.map(|(_, operand)| operand)];
                        operands
                            .into_iter()
                            .flatten()
                            .any(|o| matches!(o, Operand::Constant(v) if v.to_string() == value))
                    });
                    assert!(used, "{name} says {word} and does not use it: {text}");
                }
            }
        }
    }
}

/// Prints what a tokenizer and a teacher would ask: vocabulary, lengths, sizes of answers.
#[test]
#[ignore = "prints statistics"]
fn statistics() {
    let (mut words, mut lengths) = (BTreeMap::<String, u32>::new(), vec![Vec::new(); 9]);
    let (mut dim, mut relaxed, mut answers) = (0, 0, Vec::new());
    for index in 0..8_000 {
        let draft = generate(5, index, &DIAL);
        for word in draft.question.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()) {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
        lengths[draft.difficulty as usize].push(draft.question.split(' ').count());
        answers.push(draft.answer.parse::<f64>().expect("a number"));
        dim += u32::from(draft.answer.contains('.'));
        relaxed += u32::from(draft.difficulty > 1 && one_operation_answers(&draft));
    }
    println!(
        "{} words, {} seen fewer than 20 times; {dim} answers with a point; {relaxed} with a shortcut",
        words.len(),
        words.values().filter(|n| **n < 20).count()
    );
    println!("rare: {:?}", words.iter().filter(|(_, n)| **n < 30).map(|(w, _)| w).collect::<Vec<_>>());
    for (operations, list) in lengths.iter_mut().enumerate().skip(1) {
        list.sort_unstable();
        println!(
            "{operations} operations: {} words in the median, {} at most",
            list[list.len() / 2],
            list[list.len() - 1]
        );
    }
    answers.sort_by(f64::total_cmp);
    println!(
        "answers at 0, 5, 25, 50, 75, 95, 100%: {:?}",
        [0, 400, 2000, 4000, 6000, 7600, 7999].map(|i| answers[i])
    );
}

/// Prints problems to read: `cargo test -p datasets words::tests::print -- --ignored --nocapture`.
#[test]
#[ignore = "prints problems for a person to read"]
fn print() {
    let seed = std::env::var("WORDS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    for index in 0..60 {
        let operations = 1 + (index % 8) as u32;
        let draft = generate(
            seed,
            index,
            &Dial { min_operations: operations, max_operations: operations, distractors: 0.3 },
        );
        println!(
            "[{operations}] {}\n    {} => {}\n",
            draft.question,
            strings(&draft.meta["solution"]).join("  "),
            draft.answer
        );
    }
}
