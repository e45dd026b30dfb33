use super::steps::check_step;
use super::*;
use crate::expr;
use crate::number::Number;
use crate::types::Split;
use proptest::prelude::*;

fn problem(question: &str, answer: &str) -> Problem {
    Problem {
        problem_id: String::new(),
        domain: "math".into(),
        source: "test".into(),
        split: Split::Train,
        question: question.into(),
        answer: answer.into(),
        difficulty: 0,
        meta: String::new(),
    }
}

const CLIPS: &str = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. \
    How many clips did Natalia sell altogether?";

fn pool(question: &str) -> (Vec<String>, Vec<String>) {
    let (given, meant): (Vec<_>, Vec<_>) =
        givens(question).into_iter().partition(|q| q.origin == Origin::Given);
    let values = |list: Vec<crate::domain::Quantity>| list.iter().map(|q| q.value.to_string()).collect();
    (values(given), values(meant))
}

#[test]
fn numbers_of_a_question() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (CLIPS, &["48"], &["2"]),
        ("She pays $1,234.50 for 3 boxes.", &["1234.5", "3"], &[]),
        ("3/4 of 1 1/2 cups, or 2/3", &["0.75", "1.5", "2/3"], &[]),
        ("25% of 80, twenty percent of 60", &["25", "80", "20", "60"], &["100"]),
        ("5 and 5 and 5 and 7", &["5", "5", "7"], &[]),
        (
            "Twenty-five cats, two dozen dogs, three hundred ants, 2 million bees",
            &["25", "2", "300", "2000000"],
            &["12"],
        ),
        ("a 20-mile run in a week of 5 hours", &["20", "5"], &["7", "60"]),
        ("two-thirds, twice, double, a couple, triple", &["2"], &["3", "2"]),
        ("It took 0 hours.", &[], &["60"]),
        ("", &[], &[]),
    ];
    for (question, given, meant) in cases {
        assert_eq!(
            pool(question),
            (
                given.iter().map(ToString::to_string).collect(),
                meant.iter().map(ToString::to_string).collect()
            ),
            "{question}"
        );
    }
}

fn texts(state: &State) -> Vec<String> {
    Math.moves(state).expect("enumerable").into_iter().map(|m| m.text).collect()
}

fn follow(question: &str, steps: &[&str]) -> Option<State> {
    steps.iter().try_fold(Math.start(&problem(question, "")), |state, step| {
        Math.moves(&state)?.into_iter().find(|m| m.text == *step).map(|m| m.next)
    })
}

#[test]
fn sensible_steps() {
    // A lexicon number only multiplies and divides.
    assert_eq!(texts(&Math.start(&problem(CLIPS, ""))), ["48*2=96", "48/2=24", "2/48=0.0417"][..2]);
    assert_eq!(texts(&Math.start(&problem("7 and 3", ""))), ["7+3=10", "7-3=4", "7*3=21"]);
    assert_eq!(texts(&Math.start(&problem("3 and 3", ""))), ["3+3=6", "3*3=9"]);
    assert_eq!(texts(&Math.start(&problem("3", ""))), [""; 0]);
    assert_eq!(texts(&Math.start(&problem("a dozen in a week", ""))), ["12*7=84"]);
    assert_eq!(texts(&Math.start(&problem("1 and 5", ""))), ["1+5=6", "1/5=0.2", "5-1=4"]);
    assert_eq!(texts(&Math.start(&problem("1/3 of 60", ""))), ["(1/3)*60=20", "60/(1/3)=180"]);
}

#[test]
fn a_path_ends_when_every_result_was_used() {
    let end = follow(CLIPS, &["48/2=24", "48+24=72"]).expect("legal");
    assert_eq!(Math.answer(&end).as_deref(), Some("72"));
    let orphan = follow("3, 4, 5, 6", &["3*4=12", "5+6=11"]).expect("legal");
    assert_eq!((Math.answer(&orphan), unused_results(&orphan)), (None, 2));
    assert_eq!(Math.answer(&Math.start(&problem(CLIPS, ""))), None);
    // Half is sold, half is left; the results are equal and both count.
    let equal = follow("48 and half", &["48/2=24", "48-24=24", "24*2=48"]).expect("legal");
    assert_eq!(Math.answer(&equal).as_deref(), Some("48"));
}

#[test]
fn a_step_of_text_is_followed() {
    let start = Math.start(&problem(CLIPS, ""));
    let legal = follow(CLIPS, &["48/2=24", "48+24=72"]).expect("legal");
    let told = ["In May she sold 48 / 2 = <<48/2=24>>24 clips.", "48 + 24 = 72"];
    let read =
        told.iter().try_fold(start.clone(), |state, step| Math.follow(&state, step)).expect("equations");
    assert_eq!(Math.key(&read), Math.key(&legal));
    assert_eq!(Math.answer(&read).as_deref(), Some("72"));
    assert!(Math.follow(&start, "Let us think.").is_none());
    // Whatever the order of steps, the same numbers used as often are the same state.
    let ways = [["3*4=12", "5+6=11"], ["5+6=11", "3*4=12"]]
        .map(|way| Math.key(&follow("3, 4, 5, 6", &way).expect("legal")));
    assert_eq!(ways[0], ways[1]);
    assert_ne!(ways[0], Math.key(&follow("3, 4, 5, 6", &["3*4=12", "5*6=30"]).expect("legal")));
}

#[test]
fn numbers_wear_out() {
    assert!(follow(CLIPS, &["48/2=24", "48+24=72", "48+72=120"]).is_none());
    assert!(follow(CLIPS, &["48/2=24", "48/2=24"]).is_none());
}

fn verdict(steps: &[&str], answer: &str) -> (Verdict, String) {
    let steps: Vec<String> = steps.iter().map(|&s| s.to_owned()).collect();
    let judged = Math.verify(&problem(CLIPS, "72"), &steps, answer);
    assert_eq!(judged.checks.len(), steps.len());
    (judged.verdict, judged.reason)
}

#[test]
fn verdicts() {
    let long = format!("1{}=1", "+1".repeat(expr::MAX_NODES));
    for (steps, answer, expected, reason) in [
        (&["48/2=24", "48+24=72"][..], "72", Verdict::Correct, "correct"),
        (&["She sold 48/2 = <<48/2=24>>24 in May."], "72", Verdict::Correct, "correct_answer_wrong_steps"),
        (&["48/2=24", "so it is 72 in all"], "$72.00", Verdict::Correct, "correct"),
        (&["Just thinking."], "72", Verdict::Correct, "correct"),
        (&[], "72", Verdict::Correct, "correct"),
        (&["48/2=24", "48+24=73"], "72", Verdict::Correct, "correct_answer_wrong_steps"),
        (&["48/2=24", "48+24=73"], "73", Verdict::Wrong, "wrong_answer"),
        (&["48/2=24"], "", Verdict::Wrong, "no_answer"),
        (&["48/2=24"], "many", Verdict::Undecidable, "answer_unreadable"),
        (&["48+24=72", long.as_str()], "72", Verdict::Undecidable, "out_of_fuel"),
        (&["48/2=24", "48+24=72", "72 of them = twelve * 6 = lots"], "72", Verdict::Correct, "correct"),
    ] {
        assert_eq!(verdict(steps, answer), (expected, reason.to_owned()), "{steps:?} {answer}");
    }
    let gold = Math.verify(&problem("Which day?", "Monday"), &[], "Tuesday");
    assert_eq!((gold.verdict, gold.reason.as_str()), (Verdict::Undecidable, "gold_unreadable"));
}

#[test]
fn step_checks() {
    let check = |step: &str| Math.check_step(&problem(CLIPS, "72"), &[], step);
    assert_eq!(check("48/2=24 and 24+1=25"), StepCheck::True);
    assert_eq!(check("48/2=24 and 24+1=26"), StepCheck::False);
    assert_eq!(check("50/3=16.67"), StepCheck::Rounded);
    assert_eq!(check("<<48/2=24>>25"), StepCheck::False);
    assert_eq!(check("Let us think."), StepCheck::Prose);
    assert_eq!(check("$2/person * 5 people = $<<2*5=10>>10"), StepCheck::True);
    assert_eq!(check("$2/person * 5 people = $10"), StepCheck::True);
    assert_eq!(check("$2/person * 5 people = $11"), StepCheck::False);
    assert_eq!(check("$2/hour * 50 minutes = $10"), StepCheck::Unreadable);
    assert_eq!(check("2^3 = 8"), StepCheck::Unreadable);
}

proptest! {
    /// Whatever the search does, its steps hold, are new, and lead to states that say how they came about.
    #[test]
    fn random_walks(numbers in proptest::collection::vec(1_u32..200, 1..5), picks in proptest::collection::vec(any::<prop::sample::Index>(), 1..5)) {
        let question = format!("{numbers:?} half a dozen");
        let mut state = Math.start(&problem(&question, ""));
        for pick in picks {
            let moves = Math.moves(&state).expect("enumerable");
            let mut texts: Vec<&str> = moves.iter().map(|m| m.text.as_str()).collect();
            texts.sort_unstable();
            texts.dedup();
            prop_assert_eq!(texts.len(), moves.len(), "duplicates");
            if moves.is_empty() {
                break;
            }
            let chosen = pick.get(&moves);
            prop_assert_eq!(check_step(&chosen.text), StepCheck::True, "{}", chosen.text);
            prop_assert!(chosen.value > Some(Number::ZERO));
            prop_assert!(chosen.next.pool.iter().all(|q| q.uses <= MAX_USES));
            let uses = |s: &State| s.pool.iter().map(|q| q.uses).sum::<u32>();
            prop_assert_eq!(uses(&chosen.next), uses(&state) + 2);
            prop_assert_eq!(chosen.next.steps.last(), Some(&chosen.text));
            state = chosen.next.clone();
        }
        if let Some(answer) = Math.answer(&state) {
            let judged = Math.verify(&problem(&question, &answer), &state.steps, &answer);
            prop_assert_eq!(judged.reason, "correct");
            prop_assert!(!crate::expr::canonical_path(&state.steps).contains(';'));
        }
    }

    #[test]
    fn no_panic_on_any_text(question in ".*", steps in proptest::collection::vec(".*", 0..3), answer in ".*") {
        let problem = problem(&question, &answer);
        let _ = Math.moves(&Math.start(&problem));
        let _ = Math.verify(&problem, &steps, &answer);
    }
}
