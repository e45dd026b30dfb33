use super::*;
use crate::types::Split;
use proptest::prelude::*;

fn problem(question: &str) -> Problem {
    Problem {
        problem_id: String::new(),
        domain: "countdown".into(),
        source: "test".into(),
        split: Split::Train,
        question: question.into(),
        answer: String::new(),
        difficulty: 0,
        meta: String::new(),
    }
}

const QUESTION: &str = "Use each of the numbers 3, 7, 25 and 50 exactly once with + - * / to make 632.";

fn task(numbers: &[i64], target: i64) -> Task {
    Task { numbers: numbers.iter().map(|&n| Number::integer(n)).collect(), target: Number::integer(target) }
}

#[test]
fn questions() {
    assert_eq!(read_question(QUESTION), Some(task(&[3, 7, 25, 50], 632)));
    assert_eq!(read_question("Numbers: [25,100,50]. Target: 175"), Some(task(&[25, 100, 50], 175)));
    assert_eq!(read_question("Make 24 from 1 2 3 4"), Some(task(&[1, 2, 3, 4], 24)));
    assert_eq!(
        read_question("Using 3, 3, 8, 8, create an equation that equals 24."),
        Some(task(&[3, 3, 8, 8], 24))
    );
    assert_eq!(read_question("1 2 3"), Some(task(&[1, 2], 3)));
    for question in ["", "make", "make 3", "make 5 of 1.5 and 3", "3 to make 5", "1 2 3 4 5 6 7 8 9 make 10"]
    {
        assert_eq!(read_question(question), None, "{question}");
    }
}

#[test]
fn moves_of_two_numbers() {
    let texts = |question: &str| -> Vec<String> {
        let state = Countdown.start(&problem(question));
        Countdown.moves(&state).expect("enumerable").into_iter().map(|m| m.text).collect()
    };
    assert_eq!(texts("3 and 6 to make 2"), ["6+3=9", "6-3=3", "6*3=18", "6/3=2"]);
    assert_eq!(texts("5 and 7 to make 2"), ["7+5=12", "7-5=2", "7*5=35"]);
    assert_eq!(texts("5, 5 and 5 to make 2"), ["5+5=10", "5-5=0", "5*5=25", "5/5=1"]);
    assert_eq!(texts("1 and 7 to make 7"), ["7+1=8", "7-1=6", "7*1=7"]);
    assert_eq!(texts("nothing"), [""; 0]);
}

fn judged(steps: &[&str], answer: &str) -> (String, Vec<StepCheck>, Option<u32>) {
    let steps: Vec<String> = steps.iter().map(|&s| s.to_owned()).collect();
    let found = Countdown.verify(&problem("Use 2, 3, 3 and 8 to make 24."), &steps, answer);
    assert_eq!(found.verdict == Verdict::Correct, found.reason == "correct");
    (found.reason, found.checks, found.first_wrong)
}

#[test]
fn verdicts() {
    use StepCheck::{False, Prose, True, Unreadable};
    let huge = "9".repeat(30) + "*2=18";
    for (steps, answer, reason, checks) in [
        (&["8*2=16", "3*3=9", "16+9=25"][..], "24", "wrong_target", &[True, True, True][..]),
        (&["3-2=1", "8*3=24", "24*1=24"], "24", "correct", &[True, True, True]),
        (&["3 − 2 = 1", "8 × 3 = 24", "24 / 1 = 24"], "24", "correct", &[True, True, True]),
        (&["3-2=1", "8*3=24", "24*1=24"], "25", "wrong_target", &[True, True, True]),
        (&["3-2=1", "8*3=24", "24*1=24"], "", "no_answer", &[True, True, True]),
        (&["8*3=24"], "24", "numbers_left", &[True]),
        (&[], "24", "numbers_left", &[]),
        (&["8*3=25"], "24", "false_equation", &[False]),
        (&["8/3=2"], "24", "false_equation", &[False]),
        (&["8/0=0"], "24", "false_equation", &[False]),
        (&["8*8=64"], "24", "illegal_step", &[False]),
        (&["8*3=24", "3*3=9"], "24", "illegal_step", &[True, False]),
        (&["2**3=8"], "24", "illegal_step", &[False]),
        (&["factorial(3)=6"], "24", "illegal_step", &[Prose]),
        (&["1.5*2=3"], "24", "illegal_step", &[False]),
        (&["2-3=-1"], "24", "illegal_step", &[False]),
        (&["3/2=1.5"], "24", "illegal_step", &[False]),
        (&["2+3+3=8"], "24", "illegal_step", &[False]),
        (&["(2+3)=5"], "24", "illegal_step", &[False]),
        (&["02+3=5"], "24", "illegal_step", &[False]),
        (&["2+3=5=5"], "24", "illegal_step", &[False]),
        (&["Let us see."], "24", "illegal_step", &[Prose]),
        (&[huge.as_str()], "24", "out_of_fuel", &[Unreadable]),
    ] {
        let first = checks.iter().position(|&c| c == False).map(|at| at as u32);
        assert_eq!(judged(steps, answer), (reason.to_owned(), checks.to_vec(), first), "{steps:?}");
    }
    let unread = Countdown.verify(&problem("Tell me a story."), &[], "24");
    assert_eq!((unread.verdict, unread.reason.as_str()), (Verdict::Undecidable, "question_unreadable"));
}

#[test]
fn steps_are_checked_in_their_place() {
    let problem = problem("Use 2, 3, 3 and 8 to make 24.");
    let earlier = ["8*3=24".to_owned(), "8*3=24".to_owned()];
    assert_eq!(Countdown.check_step(&problem, &earlier[..1], "24*3=72"), StepCheck::True);
    assert_eq!(Countdown.check_step(&problem, &[], "24*3=72"), StepCheck::False);
    // A step that was not legal changes nothing.
    assert_eq!(Countdown.check_step(&problem, &earlier, "3*2=6"), StepCheck::True);
}

#[test]
fn equal_numbers_are_one_state() {
    let start = Countdown.start(&problem("Use 2, 3, 4 and 12 to make 24."));
    let after = |steps: &[&str]| {
        steps.iter().try_fold(start.clone(), |state, step| Countdown.follow(&state, step)).expect("legal")
    };
    // 12 / 4 = 3 and 12 / 3 = 4 leave other numbers; what a number came from does not count.
    assert_ne!(Countdown.key(&after(&["12/4=3"])), Countdown.key(&after(&["12/3=4"])));
    assert_eq!(Countdown.key(&after(&["12/4=3", "3-2=1"])), Countdown.key(&after(&["3-2=1", "12/4=3"])));
    assert_eq!(Countdown.least_steps(&after(&["12/4=3"])), 2);
    assert!(Countdown.follow(&start, "12/5=2").is_none());
}

proptest! {
    #[test]
    fn every_walk_is_accepted(
        numbers in proptest::collection::vec(1_u32..100, 2..7),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 6)
    ) {
        let question = format!("Use {numbers:?} to make 1.");
        let mut state = Countdown.start(&problem(&question));
        for pick in picks.iter().take(numbers.len() - 1) {
            prop_assert_eq!(Countdown.answer(&state), None);
            let moves = Countdown.moves(&state).expect("enumerable");
            state = pick.get(&moves).next.clone();
        }
        let answer = Countdown.answer(&state).expect("all numbers used");
        let asked = problem(&format!("Use {numbers:?} to make {answer}."));
        prop_assert_eq!(Countdown.verify(&asked, &state.steps, &answer).reason, "correct");
        prop_assert!(!crate::expr::canonical_path(&state.steps).contains(';'));
    }

    #[test]
    fn no_panic_on_any_text(question in ".*", steps in proptest::collection::vec(".*", 0..3), answer in ".*") {
        let _ = Countdown.verify(&problem(&question), &steps, &answer);
        let _ = Countdown.verify(&problem(QUESTION), &steps, &answer);
    }

    #[test]
    fn no_panic_on_steps_like_text(steps in proptest::collection::vec("[0-9]{1,25}[-+*/×] ?[0-9]{1,25} ?= \
        ?[0-9]{1,25}", 0..3)) {
        let _ = Countdown.verify(&problem(QUESTION), &steps, "632");
    }
}
