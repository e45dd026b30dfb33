use super::*;
use crate::audit::{Finding, Oracle};
use crate::domain::{Domain, State};
use crate::domains::math::Math;
use crate::sources::{Raw, words};
use crate::types::Split;
use proptest::prelude::*;

fn told(question: &str, answer: &str) -> Problem {
    let raw = Raw {
        question: question.into(),
        answer: answer.into(),
        difficulty: 0,
        meta: String::new(),
        worked: None,
        asked: None,
    };
    raw.into_problem("math", "told", 0, Split::Train)
}

fn generated(index: u64, operations: u32, distractors: f64) -> Problem {
    let dial = words::Dial { min_operations: 1, max_operations: operations, distractors };
    Raw::from(words::generate(11, index, &dial)).into_problem("math", "words", 0, Split::Train)
}

/// Whether a path moves from one problem to another; None also if they do not read the same.
fn moves(path: &[impl AsRef<str>], one: &Problem, two: &Problem) -> Option<bool> {
    let ((text, from), (other, to)) = (Case::of(one)?, Case::of(two)?);
    if text == other { transfers(path, &from, &to) } else { None }
}

fn latent(problem: &Problem) -> Vec<String> {
    let meta: serde_json::Value = serde_json::from_str(&problem.meta).expect("JSON");
    meta["solution"].as_array().expect("steps").iter().map(|s| s.as_str().expect("text").to_owned()).collect()
}

#[test]
fn same_function_same_class() {
    let problem = told("Of 20 eggs 4 broke. Half of the rest were used. How many?", "8");
    let paths: &[&[&str]] = &[
        &["20-4=16", "16/2=8"],
        &["20/2=10", "4/2=2", "10-2=8"],
        &["20-4=<<20-4=16>>16", "16*50%=8"],
        &["4*2=8"],
        &["20-4-4-4=8"],
        &["It is 8."],
        &["It is 8."],
        &["2*4=<<4+4=8>>8"],
    ];
    assert_eq!(classes(&problem, paths), [0, 0, 0, 1, 2, 3, 4, 1]);
    // 12 is given, and a result.
    let problem = told("3 boxes hold 5 red and 7 blue pens each. 12 pens are lost. How many are left?", "24");
    let paths: &[&[&str]] = &[
        &["5+7=12", "12*3=36", "36-12=24"],
        &["5*3=15", "7*3=21", "15+21=36", "36-12=24"],
        &["12-3=9", "9+15=24"],
    ];
    assert_eq!(classes(&problem, paths), [0, 0, 1]);
}

#[test]
fn masks() {
    let (text, numbers) = masked("Ann has 1,200  pens and\ttwo dozen of 3/4 inch; twenty-five are red.");
    assert_eq!(text, "@1 has # pens and # dozen of # inch ; # are red .");
    assert_eq!(numbers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1200", "2", "3/4", "25"]);
    assert_eq!(masked("").0, "");
    let names = |question: &str| masked(question).0;
    assert_eq!(
        names("Then Ann met Ben, and she gave him Ann's 3 pens."),
        "then @1 met @2 , and he gave his @1's # pens ."
    );
    assert_eq!(names("Ann met Ben. How old is she?"), names("Tom met Eve. How old is he?"));
    assert_ne!(names("Ann met Ben. How old is Ann?"), names("Ann met Ben. How old is Ben?"));
}

#[test]
fn transfer_by_position() {
    let one = told("Of 20 eggs 4 broke. The rest costs 3 each. What is 10% of that?", "4.8");
    let two = told("Of 30 eggs 6 broke. The rest costs 2 each. What is 20% of that?", "9.6");
    assert_eq!(moves(&["20-4=16", "16*3=48", "48*.1=4.8"], &one, &two), Some(true));
    assert_eq!(moves(&["20*4=80", "80-32=48", "48/10=4.8"], &one, &two), Some(false));
    assert_eq!(moves(&["It is 4.8"], &one, &two), None);
    assert_eq!(moves(&["20-4=16"], &one, &told("Of 20 eggs?", "1")), None);
    assert_eq!(moves(&["20-4=16", "16*.3=4.8"], &one, &one), None);
    // A number that stands there twice.
    let (one, two) = (told("4 boys have 4 pens each.", "16"), told("5 boys have 3 pens each.", "15"));
    assert_eq!(moves(&["4*4=16"], &one, &two), Some(false), "one number, one meaning");
    let (one, two) = (
        told("Of 8 boys 8 sing, and 2 leave. How many do not?", "6"),
        told("Of 9 boys 7 sing, and 2 leave. How many do not?", "7"),
    );
    assert_eq!(moves(&["8-2=6"], &one, &two), Some(true));
}

#[test]
fn numbers_left_over() {
    let problem = told(
        "Of 20 eggs 1/4 broke, and 30% of the rest were eaten by 2 of 6 dogs. How many were left?",
        "10.5",
    );
    let left = |steps: &[&str]| unused(&problem, steps).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(left(&["20*3/4=15", "15*.7=10.5"]), ["2", "6"], "3/4 is what 1/4 leaves");
    assert_eq!(left(&["20*1/4=5", "20-5=15", "15*70/100=10.5", "6-2=4"]), [""; 0]);
    assert_eq!(left(&[]), ["20", "1/4", "30", "2", "6"]);
}

#[test]
fn latent_solutions_agree_with_themselves() {
    for index in 0..500 {
        let problem = generated(index, 6, 0.0);
        let steps = latent(&problem);
        assert_eq!(classes(&problem, &[&steps, &steps]), [0, 0]);
        assert!(unused(&problem, &steps).is_empty(), "{} {steps:?}", problem.question);
    }
}

/// Every path of the rules to the answer in at most `depth` steps, up to a number of states.
fn enumerated(problem: &Problem, depth: usize, most: usize) -> Vec<Vec<String>> {
    let (mut open, mut found, mut seen) = (vec![Math.start(problem)], Vec::new(), 0);
    while let Some(state) = open.pop().filter(|_| seen < most) {
        seen += 1;
        if Math.answer(&state).is_some_and(|answer| answer == problem.answer) {
            found.push(state.steps.clone());
        }
        if state.steps.len() < depth {
            let next: Vec<State> = Math.moves(&state).into_iter().flatten().map(|step| step.next).collect();
            open.extend(next);
        }
    }
    found
}

/// How well the signs tell, where the truth is known. Prints; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn calibration() {
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    println!("paths of the rules to the right answer, by the size of their class");
    for operations in [2, 3] {
        let (mut paths, mut right, mut mixed, mut kinds, mut problems) = (0, 0, 0, 0, 0);
        let (mut largest, mut largest_right, mut left, mut left_right) = (0, 0, 0, 0);
        let mut seconds = 0.0;
        for problem in (0..)
            .map(|index| generated(index, operations, 0.3))
            .filter(|p| p.difficulty == operations)
            .take(300)
        {
            let oracle = Oracle::of(&problem).expect("generated");
            let found = enumerated(&problem, operations as usize, 200_000);
            let slices: Vec<&[String]> = found.iter().map(Vec::as_slice).collect();
            let start = std::time::Instant::now();
            let classes = classes(&problem, &slices);
            seconds += start.elapsed().as_secs_f64();
            let truth: Vec<bool> = found
                .iter()
                .map(|steps| oracle.audit(&problem, steps, &problem.answer) == Finding::Right)
                .collect();
            let count = classes.iter().max().map_or(0, |most| most + 1);
            let sizes: Vec<(usize, usize)> = (0..count)
                .map(|class| {
                    classes
                        .iter()
                        .zip(&truth)
                        .filter(|(of, _)| **of == class)
                        .fold((0, 0), |(n, r), (_, is)| (n + 1, r + usize::from(*is)))
                })
                .collect();
            paths += found.len();
            right += truth.iter().filter(|is| **is).count();
            kinds += sizes.len();
            mixed += sizes.iter().filter(|(n, r)| *r > 0 && r < n).count();
            // One class that is larger than every other.
            let most = sizes.iter().max_by_key(|(n, _)| *n);
            if let Some(&(n, r)) =
                most.filter(|(n, _)| sizes.iter().filter(|(other, _)| other == n).count() == 1)
            {
                problems += 1;
                largest += n;
                largest_right += r;
            }
            let whole = |steps: &[String]| unused(&problem, steps).is_empty();
            left += found.iter().filter(|steps| whole(steps)).count();
            left_right += found.iter().zip(&truth).filter(|(steps, is)| **is && whole(steps)).count();
        }
        println!(
            "{operations} operations: {paths} paths, {:.1}% right; {kinds} classes, {mixed} of them mixed; \
             {:.0} paths a second",
            percent(right, paths),
            paths as f64 / seconds
        );
        println!(
            "  in the largest class of {problems} problems that have one: {largest} paths, {:.1}% right",
            percent(largest_right, largest)
        );
        println!("  that use every given number: {left} paths, {:.1}% right", percent(left_right, left));
    }
    println!("transfers between generated problems with the same masked text");
    let mut groups: HashMap<String, Vec<Problem>> = HashMap::new();
    for index in 0..60_000 {
        let problem = generated(index, 2, 0.0);
        groups.entry(masked(&problem.question).0).or_default().push(problem);
    }
    let mut table = [[0_usize; 2]; 2];
    let mut unread = 0;
    let mut pairs: Vec<&Vec<Problem>> = groups.values().filter(|group| group.len() > 1).collect();
    pairs.sort_by_key(|group| &group[0].problem_id);
    for group in pairs.iter().take(1500) {
        let (one, two) = (&group[0], &group[1]);
        let oracle = Oracle::of(one).expect("generated");
        for steps in enumerated(one, one.difficulty as usize, 20_000) {
            let truth = oracle.audit(one, &steps, &one.answer) == Finding::Right;
            match moves(&steps, one, two) {
                Some(transfers) => table[usize::from(truth)][usize::from(transfers)] += 1,
                None => unread += 1,
            }
        }
    }
    println!(
        "  {} texts; right paths that transfer: {} of {}",
        pairs.len(),
        table[1][1],
        table[1][0] + table[1][1]
    );
    println!(
        "  coincidences that transfer: {} of {}; no verdict: {unread}",
        table[0][1],
        table[0][0] + table[0][1]
    );
}

proptest! {
    #[test]
    fn no_panic(question in ".*", other in ".*", steps in proptest::collection::vec(".*", 0..3), answer in ".*") {
        let (one, two) = (told(&question, &answer), told(&other, &answer));
        classes(&one, &[&steps, &steps]);
        moves(&steps, &one, &two);
        unused(&one, &steps);
    }

    #[test]
    fn no_panic_on_arithmetic(
        question in "([0-9]{1,20}|[.,%$/ ]|half |two )*",
        steps in proptest::collection::vec("([-+*/=()]|[0-9]{1,20}|[.% ])*", 0..4),
        answer in "[-0-9.]*",
    ) {
        let (one, two) = (told(&question, &answer), told(&question.replace('1', "2"), &answer));
        classes(&one, &[&steps, &steps]);
        moves(&steps, &one, &two);
        unused(&one, &steps);
    }

    #[test]
    fn field(a in 1..PRIME, b in 1..PRIME) {
        let field = Field(Vec::new());
        let apply = |operator, a, b| field.apply(operator, a, b).expect("no zero");
        prop_assert_eq!(apply(Operator::Multiply, apply(Operator::Divide, a, b), b), a);
        prop_assert_eq!(apply(Operator::Add, apply(Operator::Subtract, a, b), b), a);
    }
}
