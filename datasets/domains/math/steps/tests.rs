use super::*;
use crate::sources::{Raw, words};
use crate::types::FaultKind::{Contradiction, FalseEquation, MadeUpNumber, OrphanStep, Unsupported};
use proptest::prelude::*;

const PENS: &str =
    "A box holds 24 pens. A shop has 6 boxes and sells half of the pens for $3 each. How much does it earn?";
const TILES: &str = "A wall of 10 square meters is covered with 3 layers of paint. A can covers 7 square \
    meters. How many cans are needed?";
const SHARE: &str = "Of 250 guests 40% are children, of whom 1/4 sing. What percent of the guests sing?";
const RACE: &str = "Ann, Bo and Cy run 5, 8 and 11 laps of 400 meters. What is the average number of laps?";
const TIME: &str = "A film takes 2 hours and 15 minutes. How many minutes do 4 films take?";
const MONEY: &str = "A pen costs 85 cents. How many dollars do 12 pens cost?";
const SUMS: &str = "Of 100 stamps Ann gives 15 to Bo and 23 to Cy. How many has she left?";
const DEPTH: &str = "A diver is at 400 meters and dives 800 meters deeper. How deep is he?";

fn found(question: &str, steps: &[&str], answer: &str) -> Vec<FaultKind> {
    let steps: Vec<String> = steps.iter().map(|&step| step.to_owned()).collect();
    examine(question, &steps, answer).faults.into_iter().map(|fault| fault.kind).collect()
}

type Case<'a> = (&'a str, &'a [&'a str], &'a str, &'a [FaultKind]);

fn assert_all(cases: &[Case]) {
    for (question, steps, answer, faults) in cases {
        assert_eq!(found(question, steps, answer), *faults, "{steps:?} {answer}");
    }
}

#[test]
fn right_solutions() {
    for (question, steps, answer) in [
        (PENS, &["6*24=144", "144/2=72", "72*3=216"][..], "216"),
        (
            PENS,
            &[
                "There are 6*24 = <<6*24=144>>144 pens.",
                "It sells 144/2=<<144/2=72>>72.",
                "It earns 72*$3=$<<72*3=216>>216.",
            ],
            "$216",
        ),
        (PENS, &["6 boxes x 24 pens = 144 pens", "144 pens / 2 = 72 pens", "72 pens x $3 = $216"], "216"),
        (PENS, &["Half of 24 is 12.", "6*12=<<6*12=72>>72", "72*3=<<72*3=216>>216"], "216.00"),
        (PENS, &["24*6*.5=<<24*6*.5=72.0>>72.0", "72*3=<<72*3=216>>216"], "216"),
        (PENS, &["24*6*0.5*3=216"], "216"),
        (PENS, &["It sells 72 pens, which earns 216 dollars."], "216"),
        (PENS, &[], "216"),
        (PENS, &["Let x be the pens.", "x = 24*6 = 144", "144/2*3=216"], "216"),
        (TILES, &["10*3=<<10*3=30>>30", "30/7=<<30/7=4.29>>4.29, so 5 cans"], "5"),
        (TILES, &["10*3=<<10*3=30>>30", "30/7=<<30/7=4.285714285714286>>4.285714285714286"], "5"),
        (TILES, &["10*3=<<10*3=30>>30", "30/7=<<30/7=4.28>>4.28"], "4.28"),
        (TILES, &["10*3=<<10*3=30>>30", "30/7=<<30/7=4.2857>>4.29"], "5"),
        (
            SHARE,
            &["40/100*250=<<40/100*250=100>>100", "100/4=<<100/4=25>>25", "25/250=<<25/250=0.1>>0.1"],
            "10%",
        ),
        (
            SHARE,
            &["250*.4=<<250*.4=100.0>>100", "100*1/4=<<100*1/4=25>>25", "25/250*100=<<25/250*100=10>>10%"],
            "10",
        ),
        (SHARE, &["40% * 1/4 = 10%"], "10"),
        (SHARE, &["40/4=<<40/4=10>>10 percent of the guests sing"], "10"),
        (SHARE, &["60% are not children.", "100-60=<<100-60=40>>40", "40/4=<<40/4=10>>10"], "10"),
        (RACE, &["5+8+11=<<5+8+11=24>>24", "24/3=<<24/3=8>>8"], "8"),
        (RACE, &["They run 24 laps.", "24/3=<<24/3=8>>8"], "8"),
        (TIME, &["2*60=<<2*60=120>>120", "120+15=<<120+15=135>>135", "135*4=<<135*4=540>>540"], "540"),
        (TIME, &["2 hours = 120 minutes", "120+15=135", "135*4=540"], "540"),
        (
            TIME,
            &[
                "15/60=<<15/60=.25>>.25",
                "2+.25=<<2+.25=2.25>>2.25",
                "2.25*60=<<2.25*60=135>>135",
                "135*4=<<135*4=540>>540",
            ],
            "540",
        ),
        (MONEY, &["12*85=<<12*85=1020>>1020 cents", "1020/100=$<<1020/100=10.2>>10.20"], "10.20"),
        (MONEY, &["12*.85=$<<12*.85=10.2>>10.20"], "10.2"),
        (MONEY, &["12*85=<<12*85=1020>>1,020 cents, which is $10.20"], "10.20"),
        (SUMS, &["\\[ 100 - (15 + 23) \\]", "\\[ 100 - 38 = 62 \\]"], "62"),
        (SUMS, &["100 - (15 + 23) = 62", "100 - 38 = 62"], "62"),
        (SUMS, &["\\(100 - (15 + 23) = 100 - 38 = 62\\)", "38 + 62 = 100", "100 - 38 = 62"], "62"),
        (SUMS, &["He gives away 15 + 23.", "15 + 23", "100 - 38 = 62"], "62"),
        (SUMS, &["100 - ($15 + $23)", "100 - 38 = 62"], "62"),
        (DEPTH, &["400+800=<<400+800=1200>>1,200"], "1,200"),
        (DEPTH, &["-400-800=-1200, so he is 1200 meters deep"], "1200"),
        (
            "Two lamps cost $45 and $38, with delivery for $6 and $11. What is the lower price?",
            &["45+6=51", "38+11=49", "49<51"],
            "49",
        ),
        (
            "A farm of 3 fields yields 1.5 million tons in all. How much does a field yield?",
            &["1.5/3=<<1.5/3=.5>>.5 million"],
            "0.5",
        ),
        (
            "Twenty-five cats eat 2 cans a day. How many cans do they eat in a week?",
            &["25*2=50", "50*7=350"],
            "350",
        ),
        ("What is two and a half times 40?", &["2.5*40=<<2.5*40=100>>100"], "100"),
        ("Half a dozen eggs cost $3. What does one cost?", &["12/2=6", "3/6=.5"], "0.5"),
    ] {
        assert_eq!(found(question, steps, answer), [], "{steps:?} {answer}");
    }
}

/// Generated problems, and the calculations that they were made from.
#[test]
fn latent_solutions() {
    for index in 0..2000 {
        let dial = words::Dial { min_operations: 1, max_operations: 8, distractors: 0.3 };
        let raw = Raw::from(words::generate(5, index, &dial));
        let steps: Vec<&str> = raw.worked.as_deref().unwrap_or("").lines().collect();
        assert_eq!(found(&raw.question, &steps, &raw.answer), [], "{} {steps:?}", raw.question);
    }
}

#[test]
fn false_equations() {
    assert_all(&[
        (PENS, &["6*24=144", "144/2=62", "62*3=186"], "186", &[FalseEquation]),
        (
            PENS,
            &["6*24=<<6*24=142>>142", "142/2=<<142/2=71>>71", "71*3=<<71*3=213>>213"],
            "213",
            &[FalseEquation],
        ),
        (
            PENS,
            &["6*24 = 154 = <<6*24=144>>144", "144/2=72", "72*3=216"],
            "216",
            &[FalseEquation, FalseEquation],
        ),
        (TILES, &["10*3=30", "30/7=4.3"], "5", &[]),
        (TILES, &["10*3=30", "30/7=4.2"], "5", &[]),
        (TILES, &["10*3=30", "30/7=4.4"], "5", &[FalseEquation]),
        (TILES, &["10*3=30", "30/7=5"], "5", &[FalseEquation]),
        (SHARE, &["40% * 1/4 = 11%"], "11", &[FalseEquation]),
        (DEPTH, &["400+800=1,300"], "1300", &[FalseEquation]),
        (RACE, &["5+8+11=24", "24/3=8, and 24-8=15"], "15", &[FalseEquation]),
    ]);
}

#[test]
fn contradictions_of_the_text() {
    assert_all(&[
        (
            PENS,
            &["6*24=<<6*24=144>>140", "144/2=<<144/2=72>>72", "72*3=<<72*3=216>>216"],
            "216",
            &[Contradiction],
        ),
        (
            PENS,
            &["There are <<6*24=144>>$154.", "144/2=<<144/2=72>>72", "72*3=<<72*3=216>>216"],
            "216",
            &[Contradiction],
        ),
        (MONEY, &["12*.85=$<<12*.85=10.2>>12.0"], "10.2", &[Contradiction]),
        (MONEY, &["12*.85=<<12*.85=10.2>>1020 cents"], "10.2", &[]),
        (MONEY, &["12*.85=$<<12*.85=10.2>>10"], "10.2", &[]),
        (MONEY, &["12*.85=$10.20<<12*.85=10.2>> 12 times"], "10.2", &[]),
        (SHARE, &["40/4=<<40/4=10>>-10"], "10", &[Contradiction]),
        (SHARE, &["40%/4=<<.4/4=.1>>10%"], "10%", &[]),
        (
            TIME,
            &["135/60=<<135/60=2.25>>2 1/4 hours", "2.25*4*60=<<2.25*4*60=540>>540"],
            "540",
            &[MadeUpNumber],
        ),
        (
            TIME,
            &["135/60=<<135/60=2.25>>3 1/4 hours", "2.25*4*60=<<2.25*4*60=540>>540"],
            "540",
            &[Contradiction, MadeUpNumber],
        ),
    ]);
}

#[test]
fn unsupported_answers() {
    assert_all(&[
        (DEPTH, &["400-800=-400"], "400", &[Unsupported]),
        (DEPTH, &["400-800=-400"], "-400", &[]),
        (DEPTH, &["So 400 were left alone. 400 - 800 =-400"], "400", &[Unsupported]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216"], "217", &[Unsupported]),
        (PENS, &["6*24=144", "144/2=72"], "216", &[Unsupported]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216"], "72", &[Unsupported]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216"], "3", &[Unsupported]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216", "So it earns $216."], "$216", &[]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216", "So it earns $217."], "$217", &[Unsupported]),
        (RACE, &["5+8+11=24", "24/3=8"], "8.5", &[Unsupported]),
        (MONEY, &["12*.85=10.2"], "11", &[Unsupported]),
        (TILES, &["10*3=30", "30/7=4.29"], "6", &[Unsupported]),
        (SHARE, &["40/100*250=100", "100/4=25"], "10", &[Unsupported]),
        (SHARE, &["40/100*250=100", "100/4=25"], "ten", &[]),
    ]);
}

#[test]
fn made_up_numbers() {
    assert_all(&[
        (PENS, &["9*16=144", "144/2=72", "72*3=216"], "216", &[MadeUpNumber, MadeUpNumber]),
        (PENS, &["6*24=144", "144/2=72", "72*3=216", "216+17=233"], "233", &[MadeUpNumber]),
        (PENS, &["200+16=216"], "216", &[MadeUpNumber, MadeUpNumber]),
        (RACE, &["5+8+11=24", "24/6=4"], "4", &[MadeUpNumber]),
        (SUMS, &["100 - (15 + 27)", "100 - 42 = 58"], "58", &[MadeUpNumber]),
        (
            TIME,
            &["2*50=<<2*50=100>>100", "100+15=<<100+15=115>>115", "115*4=<<115*4=460>>460"],
            "460",
            &[MadeUpNumber],
        ),
        (SHARE, &["250*.35=<<250*.35=87.5>>87.5"], "87.5", &[MadeUpNumber]),
        (SHARE, &["250*.6=<<250*.6=150>>150"], "150", &[]),
        (SHARE, &["250*1.4=<<250*1.4=350>>350"], "350", &[]),
        (DEPTH, &["He is 77 years old.", "77+400=477"], "477", &[MadeUpNumber]),
    ]);
}

#[test]
fn orphans() {
    assert_all(&[
        (PENS, &["6*24=144", "24/3=8", "144/2=72", "72*3=216"], "216", &[OrphanStep]),
        (
            PENS,
            &["6*24=<<6*24=144>>144", "24*3=<<24*3=72>>72 for a box", "144/2*3=<<144/2*3=216>>216"],
            "216",
            &[OrphanStep],
        ),
        (RACE, &["5*400=2000", "5+8+11=24", "24/3=8"], "8", &[OrphanStep]),
        (RACE, &["5*400=2000", "5+8+11=24", "24/3=8, and Ann runs 2000 meters"], "8", &[]),
        (MONEY, &["12*85=1020", "12*.85=10.20"], "10.2", &[OrphanStep]),
        (MONEY, &["12+85=97", "12*.85=10.20"], "10.2", &[OrphanStep]),
        (TIME, &["4*15=60 and 4*2=8", "8*60=480", "480+60=540"], "540", &[]),
    ]);
}

#[test]
fn evidence_and_first_wrong() {
    let steps = ["6*24=<<6*24=144>>140", "144/2=62", "62*17=1054"].map(str::to_owned);
    let found = examine(PENS, &steps, "1054");
    let texts: Vec<(Option<u32>, &str)> =
        found.faults.iter().map(|fault| (fault.step, fault.evidence.as_str())).collect();
    assert_eq!(texts, [(Some(0), "<<6*24=144>>140"), (Some(1), "144/2=62"), (Some(2), "17 in 62*17=1054")]);
    assert_eq!(found.first_wrong(), Some(0));
    assert_eq!(found.checks, [StepCheck::False, StepCheck::False, StepCheck::True]);
    let steps = ["6*24=144", "9*8=72"].map(str::to_owned);
    let found = examine(PENS, &steps, "71");
    assert_eq!(found.faults.last().map(|fault| fault.evidence.as_str()), Some("71 after 9*8=72"));
    assert_eq!(found.first_wrong(), None);
}

#[test]
fn work_is_bounded() {
    let step = "1+1=2 and ".repeat(20_000);
    let start = std::time::Instant::now();
    examine(&step, std::slice::from_ref(&step), "2");
    examine("?", &vec!["3 and 5 and 7".to_owned(); 20_000], "2");
    let long: Vec<String> = (0..300).map(|n| format!("so {n}+{n}={} and then {}", 2 * n, n * 7919)).collect();
    examine("?", &long, "2");
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn no_panic(question in ".*", steps in proptest::collection::vec(".*", 0..4), answer in ".*") {
        examine(&question, &steps, &answer);
    }

    #[test]
    fn no_panic_on_text_like_solutions(
        question in "([0-9]{1,20}|[.,%$/ ]|half |two |and |dozen |percent )*",
        steps in proptest::collection::vec("(<<|>>|[-+*/=]|[0-9]{1,20}|[.,%$() ]|half |two |and a |thousand \
            |x )*", 0..4),
        answer in "[-0-9.,$%]*",
    ) {
        examine(&question, &steps, &answer);
    }

    /// Whatever is computed from two given numbers and stated is without fault.
    #[test]
    fn a_plain_solution(a in 5_u32..999, b in 5_u32..999, sign in "[+*-]") {
        let value = match sign.as_str() { "+" => a + b, "*" => a * b, _ => a.abs_diff(b) };
        let (a, b) = if sign == "-" { (a.max(b), a.min(b)) } else { (a, b) };
        let step = format!("That is {a}{sign}{b} = <<{a}{sign}{b}={value}>>{value} in all.");
        prop_assert_eq!(found(&format!("We have {a} and {b}. How much?"), &[&step], &value.to_string()), []);
    }
}
