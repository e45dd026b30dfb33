use super::super::{MAX_DIGITS, MAX_NODES};
use super::*;
use proptest::prelude::*;

/// Each equation of a line as `lhs=rhs`, with `?` behind it where it is not clear.
fn found(line: &str) -> Vec<String> {
    let mark = |e: &Equation| if e.clarity == Clarity::Clear { "" } else { "?" };
    equations(line).iter().map(|e| format!("{}={}{}", e.lhs, e.rhs, mark(e))).collect()
}

fn truth(line: &str) -> Vec<Truth> {
    equations(line).iter().map(Equation::check).collect()
}

const UNKNOWN: Truth = Truth::Unknown(ExprError::Unreadable);

#[test]
fn in_running_text() {
    let cases: &[(&str, &[&str])] = &[
        ("48/2=24", &["48/2=24"]),
        ("She has 48/2 = <<48/2=24>>24 clips", &["48/2=24", "48/2=24"]),
        ("Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.", &["12/60=0.2", "12/60=0.2"]),
        ("so 3 * 4 = 12 and 12+5=17.", &["3*4=12", "12+5=17"]),
        ("3 * 4 = 12 = 10 + 2", &["3*4=12", "12=10+2"]),
        ("2 + 3 + 4 = 5 + 4 = 9", &["2+3+4=5+4", "5+4=9"]),
        ("48/2 = 24 clips", &["48/2=24"]),
        ("$12 * 4 = $48.", &["12*4=48"]),
        ("1,200 + 34 = 1,234", &["1200+34=1234"]),
        ("- 3 * 4 = 12", &["3*4=12"]),
        ("1. 3 * 4 = 12", &["3*4=12"]),
        ("(2) 3 * 4 = 12", &["3*4=12"]),
        ("**3 × 4 = 12**", &["3*4=12"]),
        (r"\(3 \times 4 = 12\)", &["3*4=12"]),
        ("(that is (3+4)*2 = 14)", &["(3+4)*2=14"]),
        ("3 + 4 = 7 apples", &["3+4=7"]),
        ("so she pays $10/2 = $5.", &["10/2=5"]),
        (r"\$10/2 = \$5", &["10/2=5"]),
        (r"$10/2 = 5$ dollars each", &["10/2=5"]),
        (r"\frac{240}{3} = 80", &["(240/3)=80"]),
        (r"\[ \frac{240}{3} = 80 \]", &["(240/3)=80"]),
        (r"Each gets $\frac{240}{3} = 80$ pens.", &["(240/3)=80"]),
        (r"\frac{1}{2} \times 48 = 24 \text{ clips}", &["(1/2)*48=24"]),
        (r"1{,}200 + 34 = 1{,}234", &["1200+34=1234"]),
        (r"3 \times 4 = \boxed{12}", &["3*4=12"]),
        (r"**Step 1:** 3 + 4 = **7**", &["3+4=7"]),
        ("Total: 5+6=11, left: 20-11=9", &["5+6=11", "20-11=9"]),
        ("=> 5+6=11", &["5+6=11"]),
        ("32 slices + 16 slices = 58 slices", &["32+16=58"]),
        (r"32 \text{ slices} + 16 \text{ slices} = 58 \text{ slices}", &["32+16=58"]),
        (r"30 \text{ (shirt)} + 46 \text{ (suit pants)} = 76", &["30+46=76"]),
        ("\\[\n5+6 = 11\n\\]", &["5+6=11"]),
        ("a = 3*4 = 12\nb = 5*6 = 30", &["3*4=12", "5*6=30"]),
        (r"\begin{aligned} x &= 3+4 \\ &= 7 \end{aligned}", &["3+4=7"]),
        ("```python\nx = 3*5\nprint(3*5=16)\n```", &[]),
        ("3 hours + 4 minutes = 7 minutes", &["3+4=7?"]),
        ("3 boxes * 4 boxes = 7 boxes", &["3*4=7?"]),
        ("20/80*100 = 25 percent", &["20/80*100=25%"]),
        // Not arithmetic at all.
        ("x = 5", &[]),
        ("3x = 63", &[]),
        ("1 hour = 60 minutes", &[]),
        ("50% of 20 = 10", &[]),
        ("The price is 5.", &[]),
        ("3 * 4 >= 12, 3 != 4, 3 <= 5", &[]),
        // Seen, but something beside it matters.
        ("half of 20 + 5 = 15", &["20+5=15?"]),
        (".8 + . 84 = 1.64", &[]),
        (".8 + . 84 + 1 = 2.64", &["84+1=2.64?"]),
        ("150/60 = 2 hours 30 minutes", &["150/60=2?"]),
        ("150/60 = 2 hours and 30 minutes", &["150/60=2?"]),
        ("5/2 = 2 and a half", &["5/2=2?"]),
        ("600 * 5 = 3 thousand", &["600*5=3?"]),
        ("8 apples - 3 apples = 5 apples", &["8-3=5"]),
        ("x + 3 * 2 = 7", &["+3*2=7?"]),
        ("2^3 = 8", &["=8?"]),
        ("3x-3=63", &["3-3=63?"]),
        ("3x(4+5)=63", &["(4+5)=63?"]),
        ("2**3 = 8", &["=8?"]),
        ("3 * 4 = twelve", &["3*4="]),
        ("3 * 4 =", &["3*4="]),
        ("3 + = 7", &["=7?"]),
    ];
    for (line, expected) in cases {
        let found = found(line);
        let clear_ignored = |e: &String| e.trim_end_matches('?').to_owned();
        if expected.iter().any(|e| e.ends_with('=')) {
            assert_eq!(found.iter().map(clear_ignored).collect::<Vec<_>>(), *expected, "{line}");
        } else {
            assert_eq!(found, *expected, "{line}");
        }
    }
}

#[test]
fn truths() {
    let cases: &[(&str, &[Truth])] = &[
        ("48/2=24", &[Truth::Holds]),
        ("48/2=25", &[Truth::Fails]),
        (r"\frac{240}{3} = 81", &[Truth::Fails]),
        (r"2\frac{1}{2} \times 4 = 10", &[Truth::Holds]),
        (r"\frac{10}{3} = 3.33", &[Truth::Rounded]),
        ("3 + 4 = 8 apples", &[Truth::Fails]),
        ("$10/2 = $6", &[Truth::Fails]),
        ("48/2 = <<48/2=24>>25", &[Truth::Holds, Truth::Fails]),
        ("<<48/2=25>>", &[Truth::Fails]),
        ("3*4=12=13", &[Truth::Holds, Truth::Fails]),
        ("100/3 = 33.33", &[Truth::Rounded]),
        ("200/3 = 66.66", &[Truth::Rounded]),
        ("200/3 = 66.67", &[Truth::Rounded]),
        ("200/3 = 66.68", &[Truth::Fails]),
        ("200/3 = 67", &[Truth::Fails]),
        ("10/4 = 2.4", &[Truth::Fails]),
        ("10/4 = 2.50", &[Truth::Holds]),
        ("10/4 = 2.51", &[Truth::Fails]),
        ("-100/3 = -33.33", &[Truth::Rounded]),
        ("-100/3 = 33.33", &[Truth::Fails]),
        ("1/3 = 33.3%", &[Truth::Rounded]),
        ("<<800/3=266.6666666666667>>", &[Truth::Rounded]),
        ("<<3*1.1=3.3000000000000003>>", &[Truth::Rounded]),
        ("<<3*1.1=3.3000003>>", &[Truth::Fails]),
        ("<<2*0.5=1.0>>", &[Truth::Holds]),
        ("25 / 1/3 = 75", &[UNKNOWN]),
        ("25 / 1/3 = 76", &[Truth::Fails]),
        ("x = 2*3 = 6", &[Truth::Holds]),
        ("100/3 ≈ 33.33", &[]),
        ("5/0 = 0", &[Truth::Fails]),
        ("20/80 = 25%", &[Truth::Holds]),
        ("20/80*100 = 25%", &[Truth::Holds]),
        ("20/80 = 26%", &[Truth::Fails]),
        ("100 + 10% = 110", &[UNKNOWN]),
        ("8 apples - 3 apples = 5 apples", &[Truth::Holds]),
        ("8 dozen - 3 apples = 93 apples", &[UNKNOWN]),
        ("150/60 = 2 hours 30 minutes", &[UNKNOWN]),
        ("2**3 = 8", &[UNKNOWN]),
        ("3 * 4 = twelve", &[UNKNOWN]),
        ("3 * 4 = 12 and 12+5=18.", &[Truth::Holds, Truth::Fails]),
    ];
    for (line, expected) in cases {
        assert_eq!(truth(line), *expected, "{line}");
    }
    let long = format!("1{} = 1", "+1".repeat(MAX_NODES));
    assert_eq!(truth(&long), [Truth::Unknown(ExprError::OutOfFuel)]);
    let huge = format!("<<{} * 2 = 1>>", "9".repeat(MAX_DIGITS + 1));
    assert_eq!(truth(&huge), [Truth::Unknown(ExprError::OutOfFuel)]);
}

#[test]
fn calculator_fills_in() {
    for (tail, expected) in [
        ("48/2=", Some("24")),
        ("first line = 3\n48/2=", Some("24")),
        ("<<48/2=", Some("24>>")),
        ("Natalia sold 48/2 = <<48/2=", Some("24>>")),
        ("Natalia sold 48/2 = ", Some("24")),
        ("a <<1+1=2>>2 then 2 + 3 =", Some("5")),
        ("12/60=", Some("0.2")),
        ("3-5=", Some("-2")),
        ("3 * 4 = 12 - 2 =", Some("10")),
        ("1/3=", None),
        ("1/1000000=", Some("0.000001")),
        ("1/10000000=", None),
        ("1/0=", None),
        ("24=", None),
        ("<<24=", None),
        ("-24=", None),
        ("x =", None),
        ("half of 20 + 5 =", None),
        ("2**3=", None),
        ("3 *=", None),
        ("3 * 4 >=", None),
        ("3 * 4 ==", None),
        ("48/2", None),
        ("48/2=24", None),
        ("48/2=\n", None),
        ("", None),
    ] {
        assert_eq!(calculator(tail).as_deref(), expected, "{tail}");
    }
}

proptest! {
    #[test]
    fn no_panic_on_any_line(line in ".*") {
        for equation in equations(&line) {
            equation.check();
        }
        let _ = calculator(&line);
        let _ = calculator(&(line + "="));
    }

    #[test]
    fn no_panic_on_arithmetic_like_lines(line in r"([-+*/=x().,$%0-9 <>\\^]|and |of |apples )*") {
        for equation in equations(&line) {
            equation.check();
        }
        let _ = calculator(&(line + "="));
    }

    #[test]
    fn what_the_calculator_fills_in_holds(a in 0_u32..9999, b in 1_u32..9999, sign in "[-+*/]", open in any::<bool>()) {
        let start = format!("{}{a}{sign}{b}=", if open { "<<" } else { "so " });
        if let Some(result) = calculator(&start) {
            prop_assert_eq!(truth(&format!("{start}{result}")), vec![Truth::Holds]);
        } else {
            prop_assert_eq!(sign, "/");
        }
    }

    #[test]
    fn a_wrong_result_fails(a in 0_i64..9999, b in 0_i64..9999, off in 1_i64..50) {
        prop_assert_eq!(truth(&format!("She has {a} + {b} = {} clips.", a + b + off)), vec![Truth::Fails]);
    }
}
