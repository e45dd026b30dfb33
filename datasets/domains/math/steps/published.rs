//! Solutions in the shape in which the authors of GSM8K published those of their models: a small sample of
//! our own, and the published file where `QSTILL_GSM8K_SOLUTIONS` names it.
//!
//! One JSON object a line: `question`, `ground_truth`, and for each of four models `is_correct` and
//! `solution`, whose answer stands behind `A:`. The labels judge the final answer.

use super::super::Math;
use crate::answer::split_completion;
use crate::domain::Verifier;
use crate::sources::Raw;
use crate::types::{FaultKind, Judgement, Split, StepCheck, Verdict};

const SAMPLE: &str = include_str!("../solutions.jsonl");
const MODELS: [&str; 4] = ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"];

struct Judged {
    labelled: bool,
    text: String,
    judgement: Judgement,
}

impl Judged {
    fn kinds(&self) -> Vec<FaultKind> {
        self.judgement.faults.iter().map(|fault| fault.kind).collect()
    }

    fn agrees(&self) -> bool {
        self.labelled == (self.judgement.verdict == Verdict::Correct)
    }
}

fn judged(text: &str) -> Vec<Judged> {
    let row = |line: &str| -> Vec<Judged> {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let field = |value: &serde_json::Value, name: &str| value[name].as_str().expect("text").to_owned();
        let (_, answer) = split_completion(&field(&row, "ground_truth"));
        let raw = Raw {
            question: field(&row, "question"),
            answer,
            difficulty: 0,
            meta: String::new(),
            worked: None,
            asked: None,
        };
        let problem = raw.into_problem("math", "published", 0, Split::Train);
        let of_model = |model: &&str| {
            let text = field(&row[model], "solution");
            let (steps, answer) = split_completion(&text);
            let judgement = Math.verify(&problem, &steps, &answer);
            Judged { labelled: row[model]["is_correct"].as_bool().expect("a label"), text, judgement }
        };
        MODELS.iter().map(of_model).collect()
    };
    text.lines().filter(|line| !line.trim().is_empty()).flat_map(row).collect()
}

#[test]
fn sample() {
    use FaultKind::{Contradiction, FalseEquation, MadeUpNumber, OrphanStep, Unsupported};
    let judged = judged(SAMPLE);
    assert_eq!((judged.len(), judged.iter().filter(|one| one.labelled).count()), (48, 29));
    for one in &judged {
        assert!(one.agrees(), "{}", one.text);
    }
    // Right answers with wrong steps: row, model, faults.
    let faulty: Vec<(usize, usize, Vec<FaultKind>)> = judged
        .iter()
        .enumerate()
        .filter(|(_, one)| one.labelled && !one.judgement.faults.is_empty())
        .map(|(at, one)| (at / 4, at % 4, one.kinds()))
        .collect();
    let expected = [
        (2, 0, vec![FalseEquation, OrphanStep, MadeUpNumber]),
        (2, 3, vec![Contradiction]),
        (3, 0, vec![MadeUpNumber, MadeUpNumber, Unsupported]),
        (5, 1, vec![MadeUpNumber, MadeUpNumber]),
        (5, 2, vec![OrphanStep]),
        (7, 3, vec![Unsupported]),
        (9, 2, vec![Unsupported]),
    ];
    assert_eq!(faulty, expected);
    for one in judged.iter().filter(|one| one.labelled) {
        let reason = if one.judgement.faults.is_empty() { "correct" } else { "correct_answer_wrong_steps" };
        assert_eq!(one.judgement.reason, reason, "{}", one.text);
    }
    assert_eq!(judged[4].judgement.checks, [StepCheck::Rounded]);
    assert_eq!(judged[8].judgement.first_wrong, Some(0));
}

#[test]
#[ignore = "needs QSTILL_GSM8K_SOLUTIONS"]
fn the_published_file() {
    let path =
        std::env::var("QSTILL_GSM8K_SOLUTIONS").expect("QSTILL_GSM8K_SOLUTIONS names the published file");
    let judged = judged(&std::fs::read_to_string(path).expect("a file"));
    let right: Vec<&Judged> = judged.iter().filter(|one| one.judgement.verdict == Verdict::Correct).collect();
    let count = |test: &dyn Fn(&Judged) -> bool| right.iter().filter(|one| test(one)).count();
    let is_wrong = |kind: &FaultKind| matches!(kind, FaultKind::FalseEquation | FaultKind::Contradiction);
    let wrong = count(&|one| one.kinds().iter().any(is_wrong));
    let other = count(&|one| one.kinds().contains(&FaultKind::Unsupported));
    println!("right answers           {} (published: 2001)", right.len());
    println!("no wrong annotation     {} (1991)", right.len() - wrong);
    println!("a wrong one             {wrong} (2)");
    println!("another final answer    {other} (12)");
    for kind in FaultKind::ALL {
        println!("{:16}        {}", kind.name(), count(&|one| one.kinds().contains(&kind)));
    }
    for one in judged.iter().filter(|one| !one.agrees()) {
        println!("labelled {}, judged {}:\n{}\n", one.labelled, one.judgement.reason, one.text);
    }
    assert_eq!(judged.len(), 5276);
    assert_eq!(judged.iter().filter(|one| !one.agrees()).count(), 0);
    assert_eq!(right.len(), 2001);
}
