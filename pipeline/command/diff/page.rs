//! The difference as text.

use super::arms::{Arm, Moved, Solved};
use super::work::Count;
use super::{Difference, Side};
use crate::terminal::look::Look;
use crate::terminal::text::{brief, interval, p_value, plural, table};

/// Longest value of a setting, and longest answer.
const VALUE: usize = 48;
const ANSWER: usize = 16;

/// All of it. `one` says that both sides are rounds of one run.
pub fn text(found: &Difference, one: bool, look: Look) -> String {
    let mut text = String::new();
    for (name, side) in [("A", &found.a), ("B", &found.b)] {
        text.push_str(&format!("{}  {}\n", look.bold(name), said(side)));
    }
    for note in &found.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if !one {
        settings(found, look, &mut text);
    }
    counts(&found.counts, look, &mut text);
    solved(&found.arms, look, &mut text);
    for (at, arm) in found.arms.iter().enumerate() {
        // Of each kind, the last rounds.
        if found.arms[at + 1..].iter().all(|later| later.model != arm.model) {
            lists(arm, look, &mut text);
        }
    }
    text
}

fn said(side: &Side) -> String {
    let rounds = match side.rounds.as_slice() {
        [] => "no round".to_owned(),
        [one] => format!("round {one}"),
        [first, .., last] => format!("rounds {first} to {last}"),
    };
    format!("{}, {rounds}", side.path)
}

fn heading(title: &str, look: Look, text: &mut String) {
    text.push_str(&format!("\n{}\n", look.bold(title)));
}

/// A table whose lines are cut to the width.
fn cut(headers: &[&str], rows: &[Vec<String>], right: &[usize], look: Look, text: &mut String) {
    for line in table(headers, rows, right).lines() {
        text.push_str(&brief(line, look.width));
        text.push('\n');
    }
}

fn settings(found: &Difference, look: Look, text: &mut String) {
    let same = plural(found.same_settings as u64, "key");
    if found.settings.is_empty() {
        return heading(&format!("settings: all {same} the same"), look, text);
    }
    heading(&format!("settings ({same} more are the same)"), look, text);
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), |v| brief(v, VALUE));
    let rows: Vec<Vec<String>> =
        found.settings.iter().map(|s| vec![s.key.clone(), shown(&s.a), shown(&s.b)]).collect();
    cut(&["key", "A", "B"], &rows, &[], look, text);
}

fn counts(counts: &[Count], look: Look, text: &mut String) {
    let differing: Vec<&Count> = counts.iter().filter(|count| count.a != count.b).collect();
    let same = counts.len() - differing.len();
    if differing.is_empty() {
        if same > 0 {
            heading(&format!("rows and counts: all {same} the same"), look, text);
        }
        return;
    }
    heading(&format!("rows and counts ({same} more are the same)"), look, text);
    let number = |n: Option<i64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |count: &&Count| {
        let what = if count.table { format!("{} rows", count.what) } else { count.what.clone() };
        let by = count.a.zip(count.b).map_or_else(String::new, |(a, b)| format!("{:+}", b - a));
        let (a, b) = (number(count.a), number(count.b));
        vec![rounds(count.rounds), count.stage.to_owned(), what, a, b, by]
    };
    let rows: Vec<Vec<String>> = differing.iter().map(row).collect();
    cut(&["round", "stage", "what", "A", "B", "B - A"], &rows, &[0, 3, 4, 5], look, text);
}

fn rounds((a, b): (u32, u32)) -> String {
    match (a, b) {
        (0, 0) => "-".to_owned(),
        (a, b) if a == b => a.to_string(),
        (a, b) => format!("{a}, {b}"),
    }
}

fn of_rounds((a, b): (u32, u32)) -> String {
    if a == b { format!("round {a}") } else { format!("rounds {a} and {b}") }
}

fn solved(arms: &[Arm], look: Look, text: &mut String) {
    if arms.is_empty() {
        return heading("nothing that both have measured, searched or curated", look, text);
    }
    heading("problems solved, of those that both have", look, text);
    let share = |side: &Option<Solved>| match side {
        Some(Solved { solved, .. }) => {
            format!("{} ({})", solved.count, interval(solved.low, solved.high))
        }
        None => "-".to_owned(),
    };
    let tokens = |side: &Option<Solved>| {
        let measured = side.as_ref().and_then(|solved| solved.measured.as_ref());
        measured.map_or_else(|| "-".to_owned(), |summary| format!("{:.1}", summary.tokens_per_problem))
    };
    let row = |arm: &Arm| {
        vec![
            rounds(arm.rounds),
            name(arm),
            arm.problems.2.to_string(),
            share(&arm.a),
            share(&arm.b),
            arm.won_count.to_string(),
            arm.lost_count.to_string(),
            p_value(arm.mcnemar_p),
            tokens(&arm.a),
            tokens(&arm.b),
        ]
    };
    let rows: Vec<Vec<String>> = arms.iter().map(row).collect();
    let headers = ["round", "what", "problems", "A", "B", "won", "lost", "p", "tokens A", "tokens B"];
    cut(&headers, &rows, &[0, 2, 3, 4, 5, 6, 7, 8, 9], look, text);
    text.push_str(
        "A and B: solved (95% Wilson interval); won: B alone solves it; p: exact McNemar test; tokens: per \
         problem.\n",
    );
    for arm in arms.iter().filter(|arm| arm.problems.0 != arm.problems.2 || arm.problems.1 != arm.problems.2)
    {
        let (a, b, both) = arm.problems;
        let (rounds, name) = (of_rounds(arm.rounds), name(arm));
        text.push_str(&format!("note: {name}, {rounds}: A has {a} problems, B {b}, both {both}\n"));
    }
}

/// What an arm counts.
fn name(arm: &Arm) -> String {
    match arm.model.as_str() {
        "search" => "found by search".to_owned(),
        "curate" => "kept by curate".to_owned(),
        model => model.to_owned(),
    }
}

fn lists(arm: &Arm, look: Look, text: &mut String) {
    for (word, count, list) in [("won", arm.won_count, &arm.won), ("lost", arm.lost_count, &arm.lost)] {
        if list.is_empty() {
            continue;
        }
        let more = if count > list.len() { format!(", {} shown", list.len()) } else { String::new() };
        let title = format!("{}, {}: {count} {word}{more}", name(arm), of_rounds(arm.rounds));
        heading(&title, look, text);
        let answers = list.iter().any(|moved| moved.a.is_some() || moved.b.is_some());
        let shown = |answer: &Option<String>| match answer.as_deref() {
            None | Some("") => "-".to_owned(),
            Some(answer) => brief(answer, ANSWER),
        };
        let row = |moved: &Moved| {
            let mut cells = vec![moved.problem_id.clone(), moved.difficulty.to_string()];
            if answers {
                cells.extend([shown(&moved.a), shown(&moved.b)]);
            }
            cells.push(brief(&moved.question, look.width));
            cells
        };
        let rows: Vec<Vec<String>> = list.iter().map(row).collect();
        let headers: &[&str] = if answers {
            &["problem_id", "difficulty", "answer A", "answer B", "question"]
        } else {
            &["problem_id", "difficulty", "question"]
        };
        cut(headers, &rows, &[1], look, text);
    }
}
