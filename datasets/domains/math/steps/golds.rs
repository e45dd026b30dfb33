//! How often the rules are wrong on solutions that are right, and how often they see what is wrong.
//!
//! Runs where `QSTILL_GSM8K` names a file of GSM8K. Its worked solutions are taken to be right, so what the
//! rules say of them is a false alarm (or one of the few mistakes in that file). The rules were made with its
//! training split at hand, so the test split is the fairer measure: 1.8% and 2.4% of solutions with a made-up
//! number. Then one thing at a time is spoiled in a way that leaves the final answer right.

use super::examine;
use crate::answer::split_completion;
use crate::expr::{Kind, lex, split_annotations};
use crate::number::Number;
use crate::types::FaultKind;

struct Gold {
    question: String,
    steps: Vec<String>,
    answer: String,
}

fn golds(path: &str) -> Vec<Gold> {
    let text = std::fs::read_to_string(path).expect("a file");
    let gold = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| row[name].as_str().expect("text").to_owned();
        let (steps, answer) = split_completion(&field("answer"));
        Gold { question: field("question"), steps, answer }
    };
    text.lines().map(gold).collect()
}

/// `a op b = r` of an annotation with two plain operands, where it stands, and the echo behind it.
struct Plain<'a> {
    annotation: &'a str,
    operands: [&'a str; 2],
    sign: char,
    result: &'a str,
    echoed: bool,
}

fn plain(step: &str) -> Option<Plain<'_>> {
    let (_, rest) = step.split_once("<<")?;
    let (annotation, behind) = rest.split_once(">>")?;
    if behind.contains("<<") {
        return None;
    }
    let (lhs, result) = annotation.split_once('=')?;
    let sign = lhs.chars().find(|c| "+-*/".contains(*c))?;
    let (left, right) = lhs.split_once(sign)?;
    let whole = |text: &str| !text.is_empty() && text.len() < 7 && text.bytes().all(|b| b.is_ascii_digit());
    let echoed = behind.starts_with(result)
        && !behind[result.len()..].starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == ',');
    (whole(left) && whole(right) && whole(result)).then_some(Plain {
        annotation,
        operands: [left, right],
        sign,
        result,
        echoed,
    })
}

fn numbers(texts: &[String]) -> Vec<Number> {
    let value = |text: &str| Number::parse(text);
    texts
        .iter()
        .flat_map(|text| lex(text))
        .filter(|t| t.kind == Kind::Number)
        .filter_map(|t| value(&t.text))
        .collect()
}

impl Gold {
    fn all(&self) -> Vec<Number> {
        let mut texts = self.steps.clone();
        texts.push(self.question.clone());
        texts.push(self.answer.clone());
        numbers(&texts)
    }

    /// The first plain annotation before the last step.
    fn middle(&self) -> Option<(usize, Plain<'_>)> {
        let steps = self.steps.iter().enumerate().take(self.steps.len().saturating_sub(1));
        steps.filter_map(|(at, step)| Some((at, plain(step)?))).find(|(_, plain)| plain.echoed)
    }

    fn with(&self, at: usize, step: String) -> Vec<String> {
        let mut steps = self.steps.clone();
        steps[at] = step;
        steps
    }
}

/// An annotation's result, and the number behind it, is another one; later steps go on with the old one.
fn wrong_result(gold: &Gold) -> Option<Vec<String>> {
    let (at, plain) = gold.middle()?;
    let wrong = plain.result.parse::<i64>().ok()? + 1 + (at as i64 % 3);
    let lhs = plain.annotation.split_once('=')?.0;
    let text = gold.steps[at]
        .replace(&format!("<<{}>>{}", plain.annotation, plain.result), &format!("<<{lhs}={wrong}>>{wrong}"));
    Some(gold.with(at, text))
}

/// The number behind an annotation is another one.
fn wrong_echo(gold: &Gold) -> Option<Vec<String>> {
    let (at, plain) = gold.middle()?;
    let wrong = plain.result.parse::<i64>().ok()? + 1 + (at as i64 % 3);
    Some(gold.with(at, gold.steps[at].replace(&format!(">>{}", plain.result), &format!(">>{wrong}"))))
}

/// Both operands of a step are replaced, so that its result stays what it was; the first was a number of the
/// question, and stands now nowhere else.
fn made_up(gold: &Gold) -> Option<Vec<String>> {
    let all = gold.all();
    let given = numbers(std::slice::from_ref(&gold.question));
    for (at, step) in gold.steps.iter().enumerate() {
        let Some(plain) = plain(step) else { continue };
        let [a, b] = plain.operands.map(|text| text.parse::<i64>().unwrap_or(0));
        if !given.contains(&Number::integer(a)) || a == b {
            continue;
        }
        let changes = (2..40).map(|k| match plain.sign {
            '+' => (a + k, b - k),
            '-' => (a + k, b + k),
            '*' if b % k == 0 => (a * k, b / k),
            '/' => (a * k, b * k),
            _ => (0, 0),
        });
        let new = |value: i64| value > 0 && !all.contains(&Number::integer(value));
        if let Some((x, y)) = changes.into_iter().find(|&(x, y)| new(x) && y > 0) {
            let words: Vec<String> = tokens_replaced(step, &[(a, x), (b, y)]);
            return Some(gold.with(at, words.concat()));
        }
    }
    None
}

/// The text in pieces, where whole numbers are replaced.
fn tokens_replaced(text: &str, pairs: &[(i64, i64)]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
        let length = if first.is_ascii_digit() {
            rest.find(|c| !digit(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let piece = &rest[..length];
        let pair = pairs.iter().find(|(old, _)| old.to_string() == piece);
        pieces.push(pair.map_or(piece.to_owned(), |(_, new)| new.to_string()));
        rest = &rest[length..];
    }
    pieces
}

/// A step that nobody needs, with two numbers of the question, stands before the last one.
fn useless(gold: &Gold) -> Option<Vec<String>> {
    let all = gold.all();
    let given: Vec<i64> = numbers(std::slice::from_ref(&gold.question))
        .iter()
        .filter(|n| n.is_integer())
        .map(|n| n.numerator())
        .collect();
    let (at, (a, b)) = given
        .windows(2)
        .map(|w| (w[0], w[1]))
        .enumerate()
        .find(|(_, (a, b))| !all.contains(&Number::integer(a * b)))?;
    let mut steps = gold.steps.clone();
    let place = at % steps.len();
    steps.insert(place, format!("First find this: {a}*{b} = <<{a}*{b}={}>>{}.", a * b, a * b));
    Some(steps)
}

/// The last step is missing.
fn cut(gold: &Gold) -> Option<Vec<String>> {
    let (last, rest) = gold.steps.split_last()?;
    (rest.len() > 1 && last.contains("<<")).then(|| rest.to_vec())
}

type Spoil = fn(&Gold) -> Option<Vec<String>>;

#[test]
#[ignore = "needs QSTILL_GSM8K"]
fn false_alarms_and_catches() {
    let path = std::env::var("QSTILL_GSM8K").expect("QSTILL_GSM8K names a file of GSM8K");
    let golds = golds(&path);
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let kinds = |steps: &[String], gold: &Gold| -> Vec<FaultKind> {
        examine(&gold.question, steps, &gold.answer).faults.iter().map(|fault| fault.kind).collect()
    };
    let start = std::time::Instant::now();
    let found: Vec<Vec<FaultKind>> = golds.iter().map(|gold| kinds(&gold.steps, gold)).collect();
    println!("{} golds, {:.0} a second", golds.len(), golds.len() as f64 / start.elapsed().as_secs_f64());
    let with = |kind| found.iter().filter(|kinds| kinds.contains(&kind)).count();
    for kind in FaultKind::ALL {
        println!("  {:16} {:4}  {:.2}%", kind.name(), with(kind), share(with(kind), golds.len()));
    }
    let clean = found.iter().filter(|kinds| kinds.is_empty()).count();
    println!("  {:16} {clean:4}  {:.2}%", "none", share(clean, golds.len()));
    let spoils: [(&str, Spoil, FaultKind, f64); 5] = [
        ("wrong result", wrong_result, FaultKind::FalseEquation, 99.0),
        ("wrong echo", wrong_echo, FaultKind::Contradiction, 99.0),
        ("made-up numbers", made_up, FaultKind::MadeUpNumber, 90.0),
        ("useless step", useless, FaultKind::OrphanStep, 95.0),
        ("last step cut", cut, FaultKind::Unsupported, 90.0),
    ];
    println!("spoiled           of     caught as meant   caught at all");
    let caught = spoils.map(|(name, spoil, meant, bound)| {
        let (mut whole, mut as_meant, mut at_all) = (0, 0, 0);
        for gold in golds.iter().zip(&found).filter(|(_, kinds)| kinds.is_empty()).map(|(gold, _)| gold) {
            let Some(steps) = spoil(gold) else { continue };
            assert_ne!(steps, gold.steps, "{name}");
            let kinds = kinds(&steps, gold);
            whole += 1;
            as_meant += usize::from(kinds.contains(&meant));
            at_all += usize::from(!kinds.is_empty());
        }
        println!(
            "  {name:16} {whole:5}  {:6.2}%          {:6.2}%",
            share(as_meant, whole),
            share(at_all, whole)
        );
        (name, share(as_meant, whole), bound)
    });
    for (kind, most) in FaultKind::ALL.into_iter().zip([1.0, 0.1, 0.5, 3.0, 2.0]) {
        assert!(share(with(kind), golds.len()) <= most, "{kind:?}");
    }
    for (name, caught, bound) in caught {
        assert!(caught >= bound, "{name}: {caught}");
    }
}

/// A step without annotations, and the same with another result, if its only equation has a word behind a
/// number of its left side.
fn with_units(step: &str) -> Option<[String; 2]> {
    let (_, text) = split_annotations(step);
    let (left, right) = text.split_once('=')?;
    let tokens = lex(left);
    let worded = tokens.windows(2).any(|pair| pair[0].kind == Kind::Number && pair[1].kind == Kind::Word);
    let computed = tokens.iter().any(|t| matches!(t.kind, Kind::Operator(_)));
    let digits = |c: char| c.is_ascii_digit();
    let start = right.len() - right.trim_start_matches([' ', '$']).len();
    let end = start + right[start..].find(|c| !digits(c)).unwrap_or(right.len() - start);
    let goes_on = right[end..].starts_with(['.', ',']) && right[end + 1..].starts_with(digits);
    let result: i64 = right[start..end].parse().ok()?;
    let other = format!("{left}={}{}{}", &right[..start], result + 1 + result % 3, &right[end..]);
    (worded && computed && !goes_on && !right.contains('=')).then_some([text, other])
}

#[test]
#[ignore = "needs QSTILL_GSM8K"]
fn equations_with_units() {
    let path = std::env::var("QSTILL_GSM8K").expect("QSTILL_GSM8K names a file of GSM8K");
    let golds = golds(&path);
    let pairs: Vec<_> =
        golds.iter().flat_map(|gold| &gold.steps).filter_map(|step| with_units(step)).collect();
    let is_false = |step: &String| super::check_step(step) == crate::types::StepCheck::False;
    let alarms: Vec<&String> = pairs.iter().map(|[right, _]| right).filter(|step| is_false(step)).collect();
    let caught = pairs.iter().filter(|[_, wrong]| is_false(wrong)).count();
    println!(
        "{} steps, {caught} spoiled ones caught, {} false alarms: {alarms:#?}",
        pairs.len(),
        alarms.len()
    );
    assert!(caught * 10 > pairs.len() * 7 && alarms.len() * 200 < pairs.len());
}
